"""What was appended to a shared ledger stays there, whoever else writes and whoever is killed."""

from __future__ import annotations

import fcntl
import io
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.live import ledgers
from nonsuch.live.ledgers import (
    Entry,
    JsonLedger,
    Ledger,
    LedgerDamaged,
    SqliteLedger,
    open_ledger,
)

KINDS: dict[str, Callable[[Path], Ledger]] = {"json": JsonLedger, "sqlite": SqliteLedger}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


class Opener:
    """Ledgers of one kind, closed behind the test."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        self._stack = stack

    def __call__(self, path: Path) -> Ledger:
        ledger = KINDS[self.kind](path)
        self._stack.callback(ledger.close)
        return ledger


@pytest.fixture
def opened(kind: str) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield Opener(kind, stack)


def append(ledger: Ledger, *new: Mapping[str, object]) -> None:
    with ledger.locked() as entries:
        for entry in new:
            entries.append(dict(entry))


def dumped(entries: list[Entry]) -> bytes:
    """As any Python program writes a ledger."""
    text = io.StringIO()
    json.dump(entries, text, indent=4)
    return text.getvalue().encode()


# One process.


def test_a_ledger_that_is_not_there_is_empty_and_reading_does_not_make_it(
    opened: Opener, path: Path
) -> None:
    ledger = opened(path)
    assert ledger.read() == []
    assert ledger.changed(), "nobody has looked yet"
    assert list(path.parent.iterdir()) == []
    with ledger.locked() as entries:
        assert list(entries) == []
    assert ledger.read() == []


def test_an_empty_file_is_an_empty_ledger(opened: Opener, path: Path) -> None:
    path.touch()
    ledger = opened(path)
    assert ledger.read() == []
    assert path.read_bytes() == b""
    append(ledger, {"number": 1})
    assert ledger.read() == opened(path).read() == [{"number": 1}]


def test_entries_come_back_in_their_order(opened: Opener, path: Path) -> None:
    ledger = opened(path)
    append(ledger, {"number": 0})
    append(ledger)
    append(ledger, {"number": 1}, {"number": 2, "who": "é\ud800\0"})
    expected: list[Entry] = [{"number": 0}, {"number": 1}, {"number": 2, "who": "é\ud800\0"}]
    assert ledger.read() == expected
    with opened(path).locked() as entries:
        assert list(entries) == expected
        assert len(entries) == 3
        assert entries[-1]["number"] == 2
        assert entries[1:] == expected[1:]
        assert entries[::-2] == expected[::-2]
        entries.append({"number": 3})
        assert [each["number"] for each in entries] == [0, 1, 2, 3]
    assert opened(path).read() == [*expected, {"number": 3}]


def test_an_error_within_the_block_appends_nothing(opened: Opener, path: Path) -> None:
    ledger = opened(path)
    append(ledger, {"number": 0})

    def fail() -> None:
        with ledger.locked() as entries:
            entries.append({"number": 1})
            raise KeyError("on the way")

    with pytest.raises(KeyError):
        fail()
    assert ledger.read() == opened(path).read() == [{"number": 0}]
    append(ledger, {"number": 2})
    assert opened(path).read() == [{"number": 0}, {"number": 2}]


class Strange:
    """What JSON has no words for."""


def deep(levels: int) -> Entry:
    nested: Entry = {}
    for _ in range(levels):
        nested = {"in": nested}
    return nested


@pytest.mark.parametrize(
    "entry",
    [
        {"nan": float("nan")},
        {"in": [{"infinity": float("inf")}]},
        {"object": Strange()},
        {"bytes": b"x"},
        {"twice": {1: "one", "1": "another"}},
        deep(100_000),
        {"digits": 10**5_000},
    ],
    ids=lambda entry: next(iter(entry)),
)
def test_what_json_cannot_say_is_refused_and_the_ledger_goes_on(
    opened: Opener, path: Path, entry: Entry
) -> None:
    ledger = opened(path)
    with ledger.locked() as entries:
        with pytest.raises(LocalError, match="this is no entry for a ledger"):
            entries.append(entry)
        entries.append({"good": True})
    assert ledger.read() == [{"good": True}]


def test_an_entry_is_kept_as_it_was_when_it_was_appended(opened: Opener, path: Path) -> None:
    ledger, entry = opened(path), {"list": [1]}
    with ledger.locked() as entries:
        entries.append({"entry": entry})
        entry["list"].append(2)
        assert entries[0] == {"entry": {"list": [1]}}
    assert ledger.read() == opened(path).read() == [{"entry": {"list": [1]}}]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Any text, lone surrogates included.
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
json_entries = st.dictionaries(st.text(), json_values, max_size=4)
patient = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@patient
@given(st.lists(st.lists(json_entries, max_size=3), max_size=4))
def test_any_entries_come_back_exactly(
    kind: str, tmp_path: Path, batches: list[list[Entry]]
) -> None:
    path = tmp_path / "any"
    for each in tmp_path.iterdir():
        each.unlink()
    one, other, expected = KINDS[kind](path), KINDS[kind](path), list[Entry]()
    for number, batch in enumerate(batches):
        append((one, other)[number % 2], *batch)
        expected += batch
        # repr tells 1.0 from 1 and -0.0 from 0.0, and has the keys in their order.
        assert repr(one.read()) == repr(other.read()) == repr(expected)
        if kind == "json" and expected:
            assert path.read_bytes() == dumped(expected)
    one.close()
    other.close()


# Several.


def test_a_change_is_noticed_and_only_a_change(opened: Opener, path: Path) -> None:
    ours, theirs = opened(path), opened(path)
    append(ours, {"number": 0})
    assert not ours.changed(), "it was us"
    append(theirs)
    assert not ours.changed(), "nothing was appended"
    append(theirs, {"number": 1})
    assert ours.changed()
    assert ours.read() == [{"number": 0}, {"number": 1}]
    assert ours.changed(), "to read is not to lock"
    append(ours)
    assert not ours.changed()
    assert not theirs.changed()


def test_a_ledger_that_was_moved_away_has_changed_and_begins_anew(
    opened: Opener, path: Path
) -> None:
    ledger = opened(path)
    append(ledger, {"number": 0})
    path.rename(path.with_name("old"))
    assert ledger.changed()
    assert ledger.read() == []
    append(ledger, {"number": 1})
    assert opened(path).read() == [{"number": 1}]
    assert not ledger.changed()


def test_a_ledger_that_was_shortened_by_hand_is_read_again(path: Path) -> None:
    ledger = SqliteLedger(path)
    append(ledger, *({"number": number} for number in range(5)))
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM entries WHERE sequence > 2")
    database.close()
    assert ledger.changed()
    append(ledger, {"number": 9})
    assert [each["number"] for each in ledger.read()] == [0, 1, 9]
    ledger.close()


def test_who_waits_too_long_is_told_who_may_be_in_the_way(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "LOCK_SECONDS", 0.05)
    ours, theirs = opened(path), opened(path)
    append(theirs, {"number": 0})
    with ours.locked() as entries:
        with pytest.raises(
            LocalError, match=r"has been locked for 0\.05 s by another process.*fuser"
        ):
            append(theirs, {"number": 1})
        assert theirs.read() == [{"number": 0}], "to read is to wait for nobody"
        entries.append({"number": 2})
    append(theirs, {"number": 3})
    assert [each["number"] for each in ours.read()] == [0, 2, 3]


def test_who_waits_for_a_lock_can_be_interrupted(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "LOCK_SECONDS", 10_000.0)
    ours, theirs = opened(path), opened(path)
    refusals: list[LocalError] = []

    def wait() -> None:
        with pytest.raises(LocalError) as refusal:
            append(theirs, {"number": 1})
        refusals.append(refusal.value)

    with ours.locked() as entries:
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        theirs.interrupt()
        waiting.join(30)
        assert "not waited for any longer" in str(refusals[0])
        entries.append({"number": 0})
    append(theirs, {"number": 2})
    assert ours.read() == [{"number": 0}, {"number": 2}], "one that is free is not waited for"


def test_a_lock_file_that_was_thrown_away_locks_nobody_out_and_nobody_in(path: Path) -> None:
    """Whoever waits for it holds what is nobody's lock any more, and tries again."""
    lock = path.with_name(".ledger.lock")
    stale = lock.open("w")
    fcntl.flock(stale, fcntl.LOCK_EX)
    ledger = JsonLedger(path)
    appender = threading.Thread(target=append, args=(ledger, {"number": 1}))
    appender.start()
    lock.unlink()
    appender.join(30)
    assert not appender.is_alive()
    assert ledger.read() == [{"number": 1}]
    stale.close()


APPENDING = """
import sys, time
from nonsuch.live.ledgers import open_ledger

ledger, name = open_ledger(sys.argv[1]), sys.argv[2]
for number in range(int(sys.argv[3])):
    with ledger.locked() as entries:
        last = entries[-1]["total"] if len(entries) else -1
        entries.append({"total": last + 1, "name": name, "number": number, "ballast": "x" * 500})
    print(last + 1, flush=True)
    time.sleep(0.002)  # Let the others have it.
"""


def appending(kind: str, path: Path, name: str, count: int) -> subprocess.Popen[str]:
    text = str(path) if kind == "json" else f"sqlite:{path}"
    command = [sys.executable, "-c", APPENDING, text, name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class Reader(threading.Thread):
    """Reads a ledger without a pause, as any program would."""

    def __init__(self, read: Callable[[], list[Entry]]) -> None:
        super().__init__()
        self._read = read
        self.over = threading.Event()
        self.counts = [0]
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self.over.is_set():
                totals = [entry["total"] for entry in self._read()]
                assert totals == list(range(len(totals)))
                self.counts.append(len(totals))
        except Exception as error:  # noqa: BLE001  # raised again by `finished`
            self.error = error

    def finished(self) -> list[int]:
        self.over.set()
        self.join()
        if self.error is not None:
            raise self.error
        return self.counts


def plain(kind: str, path: Path) -> Callable[[], list[Entry]]:
    """A ledger as others read it."""

    def read() -> list[Entry]:
        entries: list[Entry] = json.loads(path.read_text() or "[]") if path.exists() else []
        return entries

    return read if kind == "json" else SqliteLedger(path).read


def test_processes_that_append_at_once_lose_nothing(kind: str, path: Path) -> None:
    reader = Reader(plain(kind, path))
    reader.start()
    processes = [appending(kind, path, str(name), 60) for name in range(3)]
    for process in processes:
        said, _ = process.communicate(timeout=100)
        assert process.returncode == 0
        assert len(said.split()) == 60
    counts = reader.finished()
    assert counts == sorted(counts)
    entries = plain(kind, path)()
    for name in range(3):
        own = [each["number"] for each in entries if each["name"] == str(name)]
        assert own == list(range(60))
    assert [each["total"] for each in entries] == list(range(180))


LIVES = 6


def test_processes_that_are_killed_at_any_moment_lose_nothing_that_they_told(
    kind: str, path: Path
) -> None:
    lots = random.Random(5)
    reader = Reader(plain(kind, path))
    reader.start()
    told: set[int] = set()
    bystander = appending(kind, path, "bystander", 10**6)
    assert bystander.stdout is not None
    for life in range(LIVES):
        with appending(kind, path, f"life {life}", 10**6) as process:
            assert process.stdout is not None
            told.update(int(process.stdout.readline()) for _ in range(lots.randrange(1, 7)))
            # Somewhere in the next append: it takes some milliseconds.
            threading.Event().wait(lots.random() * 0.005)
            process.kill()
            told.update(int(line) for line in process.stdout.read().split("\n")[:-1])
    bystander.send_signal(signal.SIGKILL)
    told.update(int(line) for line in bystander.stdout.read().split("\n")[:-1])
    bystander.stdout.close()
    bystander.wait()
    counts = reader.finished()
    assert counts == sorted(counts), "no entry was ever gone again"
    entries = plain(kind, path)()
    assert told <= {each["total"] for each in entries}
    assert len(entries) - len(told) <= LIVES + 1, "each may have died before it could tell"
    if kind == "json":
        assert path.read_bytes() == dumped(entries)
        append(JsonLedger(path), {"total": len(entries)})
        names = {each.name for each in path.parent.iterdir()}
        assert names == {"ledger", ".ledger.lock"}, "and what they left was thrown away"


REPEATING = """
import sys
from nonsuch.errors import LocalError
from nonsuch.live.ledgers import open_ledger

ledger, name = open_ledger(sys.argv[1]), sys.argv[2]
number = 0
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        number += 1
        while True:
            try:
                with ledger.locked() as entries:
                    entries.append({"name": name, "number": number})
            except LocalError as error:
                print(f"again {error}", flush=True)
                continue
            break
        print(f"wrote {number}", flush=True)
    print("done", flush=True)
"""


class Writer:
    """A process that has a ledger open, and appends when it is told to."""

    def __init__(self, ledger: str, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", REPEATING, ledger, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.wait_for("ready")

    def begin(self, count: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def append(self, count: int) -> None:
        self.begin(count)
        self.wait_for("done")

    def wait_for(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.rstrip())
            if line.startswith(word):
                return
        raise AssertionError(f"it ended: {self.said}")

    @property
    def told(self) -> set[tuple[object, object]]:
        """What it has said that it wrote."""
        words = (line.split() for line in self.said if line.startswith("wrote"))
        return {(self.name, int(number)) for _, number in words}

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=100)


@pytest.fixture
def writers(kind: str, path: Path) -> Iterator[list[Writer]]:
    text = str(path) if kind == "json" else f"sqlite:{path}"
    both = [Writer(text, name) for name in ("a", "b")]
    yield both
    for writer in both:
        writer.close()


def written(ledger: Ledger) -> list[tuple[object, object]]:
    return [(entry["name"], entry["number"]) for entry in ledger.read()]


def test_a_ledger_that_is_moved_while_processes_have_it_open_keeps_its_entries(
    opened: Opener, path: Path, writers: list[Writer]
) -> None:
    a, b = writers
    a.append(2)
    b.append(1)
    old = path.rename(path.with_name("old"))
    assert written(opened(old)) == [("a", 1), ("a", 2), ("b", 1)]
    b.append(1)
    a.append(1)
    b.append(1)
    assert written(opened(path)) == [("b", 2), ("a", 3), ("b", 3)], "the new one began empty"
    path.unlink()
    a.append(1)
    b.append(1)
    assert written(opened(path)) == [("a", 4), ("b", 4)]
    assert written(opened(old)) == [("a", 1), ("a", 2), ("b", 1)]
    assert not [line for line in a.said + b.said if line.startswith("again")]


def test_a_ledger_that_is_moved_in_the_middle_of_everything_loses_nothing(
    opened: Opener, path: Path, writers: list[Writer]
) -> None:
    for writer in writers:
        writer.begin(150)
    places = []
    for number in range(8):
        for writer in writers:
            for _ in range(10):
                writer.wait_for("wrote")
        places.append(path.rename(path.with_name(f"old {number}")))
    for writer in writers:
        writer.wait_for("done")
    found = [each for place in [*places, path] for each in written(opened(place))]
    for writer in writers:
        assert len(writer.told) == 150
        assert writer.told <= set(found)


# What others wrote.


def test_a_splice_keeps_every_byte_of_what_stands_there(path: Path) -> None:
    before = (
        b'\n[ {"b":1.50, "a":[1E2, 12345678901234567890123], "\xc3\xa9": "\\u00e9"} ,{}\n\t]\n\n'
    )
    path.write_bytes(before)
    ledger = JsonLedger(path)
    append(ledger, {"new": 1})
    head = before[: before.index(b"\n\t]")]
    assert path.read_bytes() == head + b',\n    {\n        "new": 1\n    }\n]\n\n'
    (first, second, third) = JsonLedger(path).read()
    assert first == {"b": 1.5, "a": [100.0, 12345678901234567890123], "é": "é"}
    assert list(first) == ["b", "a", "é"]
    assert (second, third) == ({}, {"new": 1})


@pytest.mark.parametrize("text", [b"[]", b"[ ]", b"[\n]", b"[ \r\n\t]"])
def test_an_empty_array_is_spliced_as_json_dump_would(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    append(JsonLedger(path), {"a": []}, {"b": {"c": [1, 2]}})
    assert path.read_bytes() == dumped([{"a": []}, {"b": {"c": [1, 2]}}])


@patient
@given(
    st.lists(json_entries, min_size=1, max_size=4),
    st.lists(json_entries, min_size=1, max_size=4),
    st.sampled_from([None, 0, 1, 4]),
    st.sampled_from(["", "\n", " \r\n\t"]),
)
def test_whatever_python_wrote_goes_on(
    tmp_path: Path, old: list[Entry], new: list[Entry], indent: int | None, behind: str
) -> None:
    path = tmp_path / "theirs"
    path.write_text(json.dumps(old, indent=indent) + behind)
    before = path.read_bytes()
    ledger, watching = JsonLedger(path), JsonLedger(path)
    assert watching.read() == old
    append(ledger, *new)
    after = path.read_bytes()
    assert after.startswith(before.rstrip().removesuffix(b"]").rstrip())
    assert json.loads(after) == old + new == ledger.read() == watching.read()
    assert after.endswith(b"]" + behind.encode())


def test_what_another_program_rewrites_is_read_anew(path: Path) -> None:
    ledger = JsonLedger(path)
    append(ledger, {"number": 0}, {"number": 1})
    rewritten: list[Entry] = [{"number": 7}]
    path.write_bytes(dumped(rewritten))
    assert ledger.changed()
    append(ledger, {"number": 8})
    assert path.read_bytes() == dumped([{"number": 7}, {"number": 8}])


def test_a_program_that_writes_without_the_lock_is_not_overwritten(path: Path) -> None:
    ledger = JsonLedger(path)
    append(ledger, {"number": 0})
    theirs = dumped([{"number": 0}, {"number": "theirs"}])

    def collide() -> None:
        with ledger.locked() as entries:
            path.write_bytes(theirs)
            entries.append({"number": "ours"})

    with pytest.raises(LocalError, match="a program that does not lock it"):
        collide()
    assert path.read_bytes() == theirs
    append(ledger, {"number": "ours"})
    assert [each["number"] for each in ledger.read()] == [0, "theirs", "ours"]


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    link, target = tmp_path / "link", folder / "target"
    link.symlink_to(target)
    append(JsonLedger(link), {"number": 0})
    append(JsonLedger(target), {"number": 1})
    assert link.is_symlink()
    assert target.read_bytes() == dumped([{"number": 0}, {"number": 1}])
    assert {each.name for each in tmp_path.iterdir()} == {"folder", "link"}, (
        "one lock, at the target"
    )


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_the_mode_of_the_file_is_kept(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)
    append(JsonLedger(path), {})
    assert stat.S_IMODE(path.stat().st_mode) == mode


# What is no ledger.


GARBAGE: dict[bytes, str] = {
    b"\n": "line 2, column 1: an array should begin here",
    b"{}": "line 1, column 1: an array should begin here",
    b"\xef\xbb\xbf[]": "line 1, column 1: an array should begin here",
    b"[\n    1\n]": "line 2, column 5: an object should begin here",
    b'[{"a": 1},\n [] ]': "line 2, column 2: an object should begin here",
    b'[{"a": 1},\n]': "line 2, column 1: an object should begin here",
    b'[{"a": 1}': "line 1, column 10: a comma or the end should be here",
    b'[{"a": 1} {}]': "line 1, column 11: a comma or the end should be here",
    b'[{"a": 1}]\n]': "line 2, column 1: the array has ended before",
    b'[{"a": 1}]\0': "line 1, column 11: the array has ended before",
    b'[{"a": 1},\n {"b": }]': "line 2, column 8: Expecting value",
    b'[{"a": "\n"}]': "line 1, column 9: Invalid control character at",
    b'[\n {"a": 1, "a": 1}]': "line 2, column 2: in the object that begins here, a key",
    b'[{"a": NaN}]': "line 1, column 2: in the object that begins here, NaN is no number",
    b'[{"a": [-Infinity]}]': "-Infinity is no number",
    b'[{"a": 1e400}]': "a number that is too large",
    b'[{"a": ' + b"9" * 5000 + b"}]": "line 1, column 2: in the object that begins here, Exceeds",
    b'[\n\n{"a": ' + b"[" * 100_000: "line 3, column 1: nested too deeply",
    b'[{"a": "\xff"}]': "line 1, column 9: this is not UTF-8",
    b'[{\n"\xc3\xa9": "\xc3"}]': "line 2, column 8: this is not UTF-8",
    '[{"a": 1}]'.encode("utf-16"): "line 1, column 1: this is not UTF-8",
}


@pytest.mark.parametrize(("garbage", "why"), GARBAGE.items(), ids=GARBAGE.values())
def test_what_is_no_ledger_is_refused_with_its_place_and_left_alone(
    path: Path, garbage: bytes, why: str
) -> None:
    path.write_bytes(garbage)
    ledger = JsonLedger(path)
    for attempt in (ledger.read, lambda: append(ledger, {"a": 1})):
        with pytest.raises(LedgerDamaged) as refusal:
            attempt()
        assert f"the ledger {path} is damaged: line " in str(refusal.value)
        assert why in str(refusal.value)
        assert "mend it or move it away: it was left as it is" in str(refusal.value)
    assert path.read_bytes() == garbage


def test_damage_behind_what_is_known_is_found_in_its_place(path: Path) -> None:
    ledger = JsonLedger(path)
    append(ledger, {"number": 0})
    damaged = path.read_bytes().removesuffix(b"\n]") + b',\n    {"number": }\n]'
    path.write_bytes(damaged)
    with pytest.raises(LedgerDamaged, match="line 5, column 16: Expecting value"):
        append(ledger, {"number": 2})
    assert path.read_bytes() == damaged


@patient
@given(st.binary(max_size=30), st.integers(0, 60), st.integers(0, 10))
def test_a_ledger_with_bytes_changed_is_read_or_refused(
    tmp_path: Path, noise: bytes, at: int, cut: int
) -> None:
    path = tmp_path / "noisy"
    data = dumped([{"a": 1}, {"b": [1.5, None]}])
    noisy = data[:at] + noise + data[at + cut :]
    path.write_bytes(noisy)
    try:
        assert JsonLedger(path).read() == (json.loads(noisy) if noisy else [])
    except LedgerDamaged:
        assert path.read_bytes() == noisy


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, body)")
    database.close()


def json_instead(path: Path) -> None:
    path.write_bytes(dumped([{"a": 1}] * 100))


def later(path: Path) -> None:
    made(path)
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version={ledgers.FORMAT + 1}")
    database.close()


def made(path: Path) -> None:
    ledger = SqliteLedger(path)
    append(ledger, *({"number": number, "ballast": "x" * 3_000} for number in range(9)))
    ledger.close()


def overwritten(path: Path) -> None:
    made(path)
    data = bytearray(path.read_bytes())
    data[4096:20_000] = b"\xff" * (20_000 - 4096)
    path.write_bytes(data)


def tampered(statement: str) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        made(path)
        with sqlite3.connect(path) as database:
            database.execute(statement)
        database.close()

    return tamper


DAMAGES: dict[str, Callable[[Path], None]] = {
    "it is no ledger of nonsuch": foreign,
    "a newer nonsuch made it": later,
    "file is not a database": json_instead,
    "malformed": overwritten,
    "entry 4 is missing": tampered("DELETE FROM entries WHERE sequence = 4"),
    "entry 4: no text": tampered("UPDATE entries SET body = 7 WHERE sequence = 4"),
    "entry 4: .*utf-8": tampered("UPDATE entries SET body = x'ff' WHERE sequence = 4"),
    "entry 4: an object should": tampered("UPDATE entries SET body = '1' WHERE sequence = 4"),
    "entry 4: too many": tampered("UPDATE entries SET body = '{},{}' WHERE sequence = 4"),
    "entry 4: not enough": tampered("UPDATE entries SET body = '' WHERE sequence = 4"),
}


@pytest.mark.parametrize(("why", "damage"), DAMAGES.items(), ids=DAMAGES)
def test_what_is_no_database_of_ours_is_refused_and_left_alone(
    path: Path, why: str, damage: Callable[[Path], None]
) -> None:
    damage(path)
    before = path.read_bytes()
    ledger = SqliteLedger(path)
    for attempt in (ledger.read, lambda: append(ledger, {"a": 1})):
        with pytest.raises(LedgerDamaged, match=f"(?s)is damaged: .*{why}.*move it away"):
            attempt()
    ledger.close()
    assert path.read_bytes() == before


def test_a_ledger_is_full_at_its_bound(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "LEDGER_BYTES_MAX", 2**15)
    ledger = opened(path)
    append(ledger, {"ballast": "x" * 20_000})
    with pytest.raises(LocalError, match="full"):
        append(ledger, {"ballast": "y" * 20_000})
    assert len(ledger.read()) == 1
    append(ledger, {"small": 1})
    assert opened(path).read() == [{"ballast": "x" * 20_000}, {"small": 1}]


def test_a_ledger_that_is_too_long_is_not_read(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(opened(path), {"ballast": "x" * 20_000})
    monkeypatch.setattr(ledgers, "LEDGER_BYTES_MAX", 2**12)
    with pytest.raises(LocalError, match="full"):
        opened(path).read()


def logged(path: Path) -> None:
    """A ledger of earlier days, in the middle of its life: all entries stand in its log."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    database.execute(f"PRAGMA application_id={ledgers.APPLICATION_ID}")
    database.execute(f"PRAGMA user_version={ledgers.FORMAT}")
    database.execute("INSERT INTO entries (body) VALUES (?)", (b'{"number": 0}',))
    copy = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    database.close()
    for name, data in copy.items():
        path.with_name(name).write_bytes(data)


def test_a_ledger_with_a_write_ahead_log_is_freed_of_it_by_whoever_locks_it_first(
    path: Path,
) -> None:
    logged(path)
    assert path.with_name("ledger-wal").stat().st_size > 0
    readers = [SqliteLedger(path) for _ in range(3)]
    for ledger in readers:
        assert ledger.read() == [{"number": 0}]
    for number, ledger in enumerate(readers, 1):
        append(ledger, {"number": number})
    assert [each.name for each in path.parent.iterdir()] == ["ledger"]
    old = path.rename(path.with_name("old"))
    assert [each["number"] for each in SqliteLedger(old).read()] == [0, 1, 2, 3]


NOBODY = 65_534


@contextmanager
def powerless() -> Iterator[None]:
    """Meanwhile this process may do what the modes of files allow, and no more."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


def test_who_may_not_write_may_read(opened: Opener) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ledger"
        append(opened(path), {"number": 0})
        path.chmod(0o444)
        folder.chmod(0o555)
        with powerless():
            ledger = opened(path)
            assert ledger.read() == [{"number": 0}]
            with pytest.raises(LocalError, match="cannot use the ledger"):
                append(ledger, {"number": 1})
            assert ledger.read() == [{"number": 0}]
        folder.chmod(0o755)
        assert opened(path).read() == [{"number": 0}]


# Where it stands.


def test_a_ledger_by_its_name(tmp_path: Path) -> None:
    one, other = open_ledger(str(tmp_path / "a")), open_ledger(f"sqlite:{tmp_path / 'b'}")
    assert isinstance(one, JsonLedger)
    assert isinstance(other, SqliteLedger)
    assert one.path == (tmp_path / "a").resolve()
    assert other.path == (tmp_path / "b").resolve()


@pytest.mark.parametrize("text", ["", "sqlite:", "nowhere/at/all", "sqlite:nowhere/at/all", "a\0b"])
def test_what_names_no_ledger_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        open_ledger(text)


def test_a_folder_or_a_pipe_is_no_ledger(opened: Opener, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    circle = tmp_path / "circle"
    for path in (tmp_path, pipe):
        ledger = opened(path)
        with pytest.raises(LocalError, match="it is no file"):
            ledger.read()
        with pytest.raises(LocalError, match="it is no file"):
            append(ledger, {})
    circle.symlink_to(circle)
    with pytest.raises(LocalError):
        opened(circle)


def test_a_folder_that_is_gone_is_told(opened: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    ledger = opened(folder / "ledger")
    folder.rmdir()
    with pytest.raises(LocalError, match="cannot use the ledger"):
        append(ledger, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_may_not_be_written_is_told(opened: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    append(opened(folder / "ledger"), {"number": 0})
    (folder / "ledger").chmod(0o400)
    with pytest.raises(LocalError, match="cannot use the ledger"):
        append(opened(folder / "ledger"), {"number": 1})
    folder.chmod(0o500)
    try:
        ledger = opened(folder / "another")
        with pytest.raises(LocalError, match="cannot use the ledger"):
            append(ledger, {})
    finally:
        folder.chmod(0o700)
