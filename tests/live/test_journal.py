"""The journal keeps what it said it kept, in order, through anything short of a broken disk."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.live.journal import APPLICATION_ID, FORMAT, Journal
from nonsuch.node import Persist


def decode(body: bytes) -> object:
    return msgspec.msgpack.decode(body)


def opened(path: Path) -> Journal:
    return Journal(path, msgspec.msgpack.encode, decode)


def contents(path: Path) -> list[object]:
    """What another life would find."""
    journal = opened(path)
    try:
        return list(journal.read())
    finally:
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pool.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = opened(path)
    yield journal
    journal.close()


# Order.


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert journal.read() == ()


def test_records_come_back_in_the_order_they_were_persisted(journal: Journal, path: Path) -> None:
    journal.commit([Persist("b", 1), Persist("a", 2)])
    journal.commit([Persist("b", 3)])
    journal.commit([])
    journal.commit([Persist("", "four"), Persist("a", {"five": [5, b"5"]})])
    expected = [1, 2, 3, "four", {"five": [5, b"5"]}]
    assert list(journal.read()) == expected
    journal.close()
    assert contents(path) == expected
    assert contents(path) == expected, "reading changes nothing"


def test_what_replaces_takes_the_place_of_its_own_subject_only(journal: Journal) -> None:
    journal.commit([Persist("a", 1), Persist("b", 2), Persist("a", 3)])
    journal.commit([Persist("a", 4, replaces=True), Persist("a", 5)])
    assert journal.read() == (2, 4, 5)


def test_a_replacement_in_the_middle_of_a_commit_spares_what_comes_after(journal: Journal) -> None:
    journal.commit(
        [
            Persist("a", 1),
            Persist("b", 2),
            Persist("a", 3, replaces=True),
            Persist("b", 4),
            Persist("a", 5),
            Persist("b", 6, replaces=True),
        ]
    )
    assert journal.read() == (3, 5, 6)


def test_none_removes(journal: Journal, path: Path) -> None:
    journal.commit([Persist("a", 1), Persist("b", 2), Persist("a", 3)])
    journal.commit([Persist("a", None, replaces=True)])
    journal.commit([Persist("never", None, replaces=True)])
    assert journal.read() == (2,)
    journal.commit([Persist("b", None, replaces=True), Persist("a", 4)])
    journal.close()
    assert contents(path) == [4]


def test_none_that_replaces_nothing_is_no_record(journal: Journal) -> None:
    journal.commit([Persist("a", 1), Persist("a", None)])
    assert journal.read() == (1,)


def test_subjects_are_compared_whole(journal: Journal) -> None:
    subjects = ["a", "A", "a ", "a%", "ä", "", "'; DROP TABLE records; --", "a\0b"]
    journal.commit(Persist(subject, subject) for subject in subjects)
    journal.commit([Persist("a", None, replaces=True)])
    assert list(journal.read()) == subjects[1:]


effects = st.builds(
    Persist,
    subject=st.sampled_from(["a", "b", "c"]),
    record=st.none() | st.integers(0, 2**64 - 1),
    replaces=st.booleans(),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(effects, max_size=8), max_size=6), st.sets(st.integers(0, 5)))
def test_beside_a_plain_list(
    tmp_path: Path, commits: list[list[Persist]], reopened: set[int]
) -> None:
    path = tmp_path / "beside.db"
    path.unlink(missing_ok=True)
    journal = opened(path)
    expected: list[tuple[str, object]] = []
    for number, commit in enumerate(commits):
        journal.commit(commit)
        for effect in commit:
            if effect.replaces:
                expected = [each for each in expected if each[0] != effect.subject]
            if effect.record is not None:
                expected.append((effect.subject, effect.record))
        if number in reopened:
            journal.close()
            journal = opened(path)
        assert list(journal.read()) == [record for _, record in expected]
    journal.close()


# The end of a life, good or bad.


def test_a_commit_that_cannot_be_encoded_keeps_nothing_of_itself(path: Path) -> None:
    journal = opened(path)
    journal.commit([Persist("a", 1)])
    with pytest.raises(TypeError):
        journal.commit([Persist("a", 2), Persist("a", object())])
    journal.close()
    assert contents(path) == [1]


def test_a_closed_journal_says_that_it_cannot_write(path: Path) -> None:
    journal = opened(path)
    journal.close()
    with pytest.raises(LocalError, match="cannot write the journal"):
        journal.commit([Persist("a", 1)])
    journal.close()


DOOMED = """
import sys
from pathlib import Path
import msgspec
from nonsuch.live.journal import Journal
from nonsuch.node import Persist

journal = Journal(Path(sys.argv[1]), msgspec.msgpack.encode, msgspec.msgpack.decode)
number = 0
while True:
    # Two of one kind together, so that half a commit would be seen, and one that replaces.
    journal.commit(
        [Persist("all", number), Persist("all", number), Persist("last", [number], True)]
    )
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("commits", [1, 40, 300])
def test_what_was_committed_is_there_after_a_kill(path: Path, commits: int) -> None:
    command = [sys.executable, "-c", DOOMED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= commits:
                break
        os.kill(process.pid, signal.SIGKILL)
        told = [commits, *(int(line) for line in process.stdout.read().split("\n")[:-1])]
    last = told[-1]
    records = contents(path)
    numbers = [record for record in records if isinstance(record, int)]
    assert len(numbers) // 2 - 1 in (last, last + 1), "one commit may have been on its way"
    assert numbers == [number for number in range(len(numbers) // 2) for _ in range(2)]
    assert [record for record in records if not isinstance(record, int)] == [[numbers[-1]]]
    assert records[-1] == [numbers[-1]]
    # And it goes on from there.
    journal = opened(path)
    journal.commit([Persist("all", None, replaces=True), Persist("last", "again")])
    assert journal.read() == ([numbers[-1]], "again")
    journal.close()


# One at a time.


def test_a_second_opener_is_refused(journal: Journal, path: Path) -> None:
    with pytest.raises(LocalError, match="another process uses it"):
        opened(path)
    journal.commit([Persist("a", 1)])
    assert journal.read() == (1,)


def test_a_second_process_is_refused(journal: Journal, path: Path) -> None:
    journal.commit([Persist("a", 1)])
    command = [sys.executable, "-c", DOOMED, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "LocalError" in ran.stderr
    assert "another process uses it" in ran.stderr
    assert journal.read() == (1,)


def test_after_a_close_the_next_may_open(path: Path) -> None:
    for number in range(5):
        journal = opened(path)
        assert journal.read() == tuple(range(number))
        journal.commit([Persist("a", number)])
        journal.close()


# What is no journal.


def refused(path: Path) -> str:
    with pytest.raises(LocalError) as refusal:
        opened(path)
    assert str(path) in str(refusal.value)
    return str(refusal.value)


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE records (sequence, subject, body)")
    foreign.execute("INSERT INTO records VALUES (1, 'a', 'precious')")
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    assert "was not made by nonsuch" in refused(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_journal_of_a_later_version_is_refused(path: Path) -> None:
    opened(path).close()
    later = sqlite3.connect(path)
    later.execute(f"PRAGMA user_version={FORMAT + 1}")
    later.close()
    assert "a newer nonsuch made it" in refused(path)


def test_a_journal_says_what_it_is(path: Path) -> None:
    opened(path).close()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert database.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    database.close()


@pytest.mark.parametrize("size", [20, 600, 5_000])
def test_a_file_of_garbage_is_refused_and_left_alone(path: Path, size: int) -> None:
    garbage = (b"this is no database " * 300)[:size]
    path.write_bytes(garbage)
    assert "not a database" in refused(path)
    assert path.read_bytes() == garbage


def test_an_empty_file_is_a_new_journal(path: Path) -> None:
    path.touch()
    assert contents(path) == []


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    refused(tmp_path)


def undamaged(path: Path, fourth: bytes) -> None:
    """Five commits, of which the fourth is these bytes."""
    journal = Journal(path, lambda record: record if isinstance(record, bytes) else b"\x07", decode)
    for number in range(5):
        journal.commit([Persist(f"subject {number}", fourth if number == 3 else "anything")])
    journal.close()


def tamper(path: Path, change: str) -> None:
    undamaged(path, msgspec.msgpack.encode("the fourth"))
    database = sqlite3.connect(path)
    database.execute(f"UPDATE records SET body = {change} WHERE sequence = 4")
    database.commit()
    database.close()


def overwritten(path: Path) -> None:
    """A page of the file is lost."""
    journal = opened(path)
    for number in range(20):
        journal.commit([Persist(f"subject {number}", b"x" * 3_000)])
    journal.close()
    data = bytearray(path.read_bytes())
    data[4096:20_000] = b"\xff" * (20_000 - 4096)
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no message": lambda path: undamaged(path, b"\xc1"),
    "no UTF-8": lambda path: undamaged(path, b"\xa1\xff"),
    "nested without end": lambda path: undamaged(path, b"\x91" * 100_000),
    "cut short": lambda path: tamper(path, "substr(body, 1, length(body) - 1)"),
    "grown": lambda path: tamper(path, "body || x'00'"),
    "one byte": lambda path: tamper(path, "x'c1'"),
    "a number": lambda path: tamper(path, "7"),
    "a text": lambda path: tamper(path, "'text'"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_is_refused_with_its_place(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    with pytest.raises(LocalError, match=f"{path.name} is damaged after [a-z]+ 3: .*move it away"):
        contents(path)


def test_damaged_pages_are_refused(path: Path) -> None:
    overwritten(path)
    with pytest.raises(LocalError, match=r"malformed|damaged"):
        contents(path)


# Where it stands.


def test_its_folder_is_made(tmp_path: Path) -> None:
    assert contents(tmp_path / "state" / "of" / "the" / "pool.db") == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "pool.db")
    refused(tmp_path / "file" / "deeper" / "pool.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    refused(locked / "pool.db")
    refused(locked / "deeper" / "pool.db")
