"""`nonsuch solve` as a process: its answers, what it prints, and the ways it can be stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Run

DATA = Path(__file__).parents[1] / "data"


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """What `--json` promises: these fields and no others."""

    nonce: int | None
    hash: str | None
    found: bool
    stopped: bool
    verified: bool
    goal: str
    target: str | None
    preset: str
    preimage: str | None
    range: tuple[int, int]
    covered: list[tuple[int, int]]
    hashes: int
    seconds: float
    hashes_per_second: float
    threads: int
    engine: str


def read_report(output: str) -> Report:
    assert output.count("\n") == 1, "one object, on one line"
    return msgspec.json.decode(output, type=Report)


def vectors(name: str) -> list[dict[str, str | int]]:
    found = json.loads((DATA / "vectors" / f"{name}.json").read_text())["vectors"]
    assert isinstance(found, list)
    return found


def plain_hash(message: bytes, nonce: int) -> str:
    return hashlib.sha256(message + str(nonce).encode()).hexdigest()


# The right answer.


def test_the_lowest_hash_is_the_one_that_brute_force_finds(run: Run) -> None:
    answer = run("solve", "Your transaction data", "--upto", "5_000")
    expected = min((plain_hash(b"Your transaction data", n), n) for n in range(5_001))
    assert (answer.facts["hash"], int(answer.facts["nonce"])) == expected
    assert answer.facts["range"] == "0 to 5,000"
    assert answer.facts["checked"] == "hashlib's sha256 gives the same hash"
    assert (answer.code, answer.errors) == (0, "")


def test_a_range_that_is_worth_a_kernel_has_the_same_answer(run: Run) -> None:
    answer = run("solve", "Your transaction data", "--upto", "1000000", "--json")
    report = read_report(answer.output)
    assert report.nonce is not None
    expected = min((plain_hash(b"Your transaction data", n), n) for n in range(1_000_001))
    assert (report.hash, report.nonce) == expected


def test_json_holds_every_fact(run: Run) -> None:
    answer = run("solve", "x", "-n", "0x64", "--start", "1e1", "--threads", "2", "--json")
    report = read_report(answer.output)
    assert (report.hash, report.nonce) == min((plain_hash(b"x", n), n) for n in range(10, 101))
    assert (report.found, report.stopped, report.verified) == (True, False, True)
    assert (report.goal, report.target, report.preset) == ("lowest", None, "plain")
    assert report.preimage == f"x{report.nonce}".encode().hex()
    assert (report.range, report.covered, report.hashes) == ((10, 100), [(10, 100)], 91)
    assert report.seconds > 0
    assert report.threads == 1, "a range this small is searched by one thread"


@pytest.mark.parametrize(
    ("option", "value", "limit"),
    [
        ("--zeros", "3", 16**61 - 1),
        ("--bits", "1f0fffff", 0x0FFFFF << 8 * 0x1C),
        ("--target", "2**245", 2**245),
        ("--target", f"{2**245:064x}", 2**245),
        ("--target", hex(2**245), 2**245),
        ("--difficulty", "0.0000005", (0xFFFF << 208) * 2_000_000),
    ],
)
def test_the_first_nonce_that_meets_a_target(run: Run, option: str, value: str, limit: int) -> None:
    report = read_report(run("solve", "x", option, value, "--json").output)
    assert report.target is not None
    assert abs(int(report.target, 16) - limit) <= limit >> 50, "as near as a float can say it"
    assert report.nonce == next(n for n in range(10**6) if int(plain_hash(b"x", n), 16) <= limit)
    assert (report.goal, report.found) == ("first", True)


def test_a_target_that_nothing_meets_is_an_answer_too(run: Run) -> None:
    answer = run("solve", "x", "--zeros", "40", "--upto", "500")
    assert answer.code == 1
    assert answer.errors == "nonsuch: no nonce of this range meets the target\n"
    lowest = min((plain_hash(b"x", n), n) for n in range(501))
    assert answer.facts["nonce"].split() == [str(lowest[1]), "(the", "lowest)"]
    report = read_report(run("solve", "x", "--zeros", "40", "--upto", "500", "--json").output)
    assert (report.found, report.stopped, report.nonce) == (False, False, lowest[1])


def test_a_search_without_a_kernel_says_so_and_has_the_same_answer(run: Run) -> None:
    arguments = ("solve", "x", "--start", "100000", "--upto", "300000", "--json")
    with_kernel = read_report(run(*arguments).output)
    without = read_report(run(*arguments, NONSUCH_CPU_FEATURES="none").output)
    assert (with_kernel.nonce, with_kernel.hash) == (without.nonce, without.hash)
    assert without.threads == 1
    process = subprocess.run(
        [sys.executable, "-m", "nonsuch", *arguments],
        env={**os.environ, "NONSUCH_CPU_FEATURES": "none"},
        capture_output=True,
        text=True,
        check=True,
    )
    (notice,) = process.stderr.splitlines()
    assert notice.startswith("nonsuch: searching with hashlib, which is slower: ")


# The message.


def test_the_message_comes_from_an_argument_a_file_or_standard_input(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "message.txt"
    file.write_bytes("grüße\r\n".encode())
    asked = ("--upto", "50", "--json")
    argument = read_report(run("solve", "grüße", *asked).output)
    assert argument.hash == min(plain_hash("grüße".encode(), n) for n in range(51))
    for other in (
        run("solve", "--file", str(file), *asked),
        run("solve", *asked, stdin="grüße\n".encode()),
        run("solve", "-", *asked, stdin="grüße".encode()),
        run("solve", "--hex", "grüße".encode().hex(" "), *asked),
        run("solve", "--hex", *asked, stdin="grüße".encode().hex().encode() + b"\n"),
        run("solve", "--binary", *asked, stdin="grüße".encode()),
    ):
        report = read_report(other.output)
        assert (report.hash, report.preimage) == (argument.hash, argument.preimage)


def test_binary_input_keeps_its_last_line_ending(run: Run) -> None:
    report = read_report(run("solve", "--binary", "--upto", "9", "--json", stdin=b"\xff\n").output)
    assert report.hash == min(plain_hash(b"\xff\n", n) for n in range(10))


def test_an_empty_message_is_one_if_it_is_meant(run: Run) -> None:
    for answer in (run("solve", "", "--upto", "9"), run("solve", "-", "--upto", "9")):
        assert answer.facts["hash"] == min(plain_hash(b"", n) for n in range(10))


# Every preset, on vectors that its network gave.


@pytest.mark.parametrize("vector", vectors("pool"), ids=str)
def test_liteminer(run: Run, vector: Mapping[str, str | int]) -> None:
    message, upper = str(vector["message"]), str(vector["upper"])
    answer = run("solve", message, "--preset", "liteminer", "--upto", upper, "--json")
    report = read_report(answer.output)
    assert report.nonce == vector["nonce"]
    assert report.hash is not None
    assert int(report.hash[:16], 16) == vector["value"]


@pytest.mark.parametrize("vector", vectors("race"), ids=str)
def test_race(run: Run, vector: Mapping[str, str | int]) -> None:
    own = vector["difficulty"] == 2  # the preset's own target: two zero bytes
    target = () if own else ("--zeros", str(2 * int(vector["difficulty"])))
    answer = run("solve", str(vector["transaction"]), "-p", "race", *target)
    assert (int(answer.facts["nonce"]), answer.facts["hash"]) == (vector["nonce"], vector["hash"])


@pytest.mark.parametrize("vector", vectors("gossip"), ids=str)
def test_gossip(run: Run, vector: Mapping[str, str | int]) -> None:
    message = str(vector["data"]).encode() + bytes.fromhex(str(vector["previous"]))
    target = f"2**{vector['target_log2']}"
    answer = run("solve", "-p", "gossip", "--binary", "--target", target, stdin=message)
    assert int(answer.facts["nonce"]) == int(str(vector["p_o_w"]), 16)
    assert answer.facts["hash"] == vector["hash"]


@pytest.mark.parametrize("vector", vectors("coordinator"), ids=str)
def test_coordinator(run: Run, vector: Mapping[str, str | int]) -> None:
    answer = run("solve", "--preset", "coordinator", "--hex", str(vector["header"]))
    assert (int(answer.facts["nonce"]), answer.facts["hash"]) == (vector["nonce"], vector["hash"])


def test_bitcoin_from_just_before_the_nonce_that_was_found(run: Run) -> None:
    block = json.loads((DATA / "bitcoin_headers.json").read_text())["blocks"][1]
    fields = (
        block["version"].to_bytes(4, "little"),
        bytes.fromhex(block["previous"])[::-1],
        bytes.fromhex(block["merkle_root"])[::-1],
        block["time"].to_bytes(4, "little"),
        bytes.fromhex(block["bits"])[::-1],
    )
    begin = str(block["nonce"] - 10_000)
    answer = run("solve", "--hex", b"".join(fields).hex(), "-p", "bitcoin", "--start", begin)
    assert (int(answer.facts["nonce"]), answer.facts["hash"]) == (block["nonce"], block["hash"])
    assert answer.facts["checked"] == "hashlib's sha256d gives the same hash"


def test_peer_counts_from_one(run: Run) -> None:
    proofs = json.loads((DATA / "vectors" / "peer.json").read_text())["proofs"]
    previous = 100
    for proof in proofs[:3]:
        answer = run("solve", str(previous), "--preset", "peer")
        assert int(answer.facts["nonce"]) == proof
        previous = proof


# Being stopped.


@contextlib.contextmanager
def endless_search(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A search of thousands of years that is under way: its progress line has appeared."""
    # Standard error is a terminal, since there the first line of progress appears at once.
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nonsuch", "solve", "x", "--zeros", "60", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        text=True,
        start_new_session=True,  # a process group of its own: whatever it started is in it
    )
    os.close(theirs)
    try:
        seen = b""
        while b"best" not in seen:
            seen += os.read(ours, 65_536)
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ptys")


@needs_terminal
def test_ctrl_c_prints_the_best_so_far_and_what_was_searched() -> None:
    with endless_search() as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    facts = dict(line.split(maxsplit=1) for line in output.splitlines())
    assert process.returncode == 130
    nonce, _, note = facts["nonce"].partition(" ")
    assert note.strip() == "(the best so far)"
    assert facts["hash"] == plain_hash(b"x", int(nonce))
    assert facts["covered"].startswith("0 to ")


@needs_terminal
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_search_still_prints_valid_json(number: signal.Signals, code: int) -> None:
    with endless_search("--json") as process:
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == code
    report = read_report(output)
    assert (report.found, report.stopped, report.verified) == (False, True, True)
    assert report.nonce is not None
    assert report.hash == plain_hash(b"x", report.nonce)
    assert report.hashes == sum(last - first + 1 for first, last in report.covered) > 0


@needs_terminal
def test_nothing_is_left_running_after_ctrl_c() -> None:
    with endless_search() as process:
        os.killpg(process.pid, 0)  # the group is there
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def test_a_reader_that_goes_away_is_no_tragedy() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "nonsuch", "solve", "x", "--upto", "9"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "nonsuch", "solve", "x", "--upto", "9"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert process.returncode == 2
    assert process.stderr == b"nonsuch: cannot write the result: No space left on device\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--pool", "127.0.0.1", "--threads", "2"), "--threads is of no use here: a pool has"),
        (("--pool", "127.0.0.1", "--engine", "threads"), "--engine is of no use here: a pool has"),
        (("--pool", "127.0.0.1", "--insecure"), "--insecure is of no use here: a pool has"),
        (("--token-file", "token"), "--token-file is of no use here: it is about the pool"),
        (("--tls",), "--tls is of no use here: it is about the pool of --pool: name it"),
        (("--tls-ca", "pool.crt"), "--tls-ca is of no use here: it is about the pool"),
        (("--pool", "127.0.0.1", "--token-file", "/none/token"), "cannot read the token from"),
    ],
)
def test_options_that_mean_nothing_with_a_pool_or_without_are_refused(
    run: Run, options: tuple[str, ...], complaint: str
) -> None:
    answer = run("solve", "hello", "--upto", "9", *options)
    assert answer.code == 2
    assert complaint in answer.errors
