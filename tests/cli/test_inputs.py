"""Requests that make no sense: one line that says what is wrong, exit code 2, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nonsuch.cli import main
from nonsuch.cli.inputs import parse_number

if TYPE_CHECKING:
    from tests.cli.conftest import Run

UPTO = ("--upto", "5")
BITCOIN = ("solve", "00" * 80, "--hex", "-p", "bitcoin")

REFUSED: list[tuple[Sequence[str], str]] = [
    # The range.
    (("solve", "x", "--upto", "-5"), "--upto is a nonce, here from 0 to"),
    (("solve", "x", "--upto", "2**64"), "here from 0 to 18446744073709551615"),
    (("solve", "x", "--upto", "999**9999"), "a number of 99634 bits is not"),
    (("solve", "x", "--upto", "1.5"), "--upto must be a whole number"),
    (("solve", "x", "--upto", "1\n2"), "--upto must be a whole number"),
    (("solve", "x", "--upto", ""), "--upto must be a whole number"),
    (("solve", "x", "--upto"), "requires an argument"),
    ((*BITCOIN, "--upto", "2**32"), "here from 0 to 4294967295"),
    (("solve", "x", *UPTO, "--start", "6"), "the range is empty"),
    (("solve", "x", *UPTO, "--start", "-1"), "--start is a nonce"),
    (("solve", "x", *UPTO, "--start", "x"), "--start must be a whole number"),
    (("solve", "x"), "say what to find"),
    # The target.
    (("solve", "x", "--zeros", "64"), "between 0 and 63"),
    (("solve", "x", "--zeros", "-1"), "between 0 and 63"),
    (("solve", "x", "--zeros", "many"), "--zeros"),
    (("solve", "x", "--target", "0"), "between 1 and 2**256 - 1; 0 does not"),
    (("solve", "x", "--target", "-1"), "between 1 and 2**256 - 1"),
    (("solve", "x", "--target", "2**256"), "between 1 and 2**256 - 1"),
    (("solve", "x", "--target", "999**9999"), "between 1 and 2**256 - 1"),
    (("solve", "x", "--target", "low"), "--target takes 64 hex digits"),
    (("solve", "x", "--bits", "01003456"), "target of zero"),
    (("solve", "x", "--bits", "04923456"), "negative target"),
    (("solve", "x", "--bits", "ff123456"), "above 2**256 - 1"),
    (("solve", "x", "--bits", "xyz"), "--bits takes up to eight hex digits"),
    (("solve", "x", "--bits", "1d00ffff0"), "--bits takes up to eight hex digits"),
    (("solve", "x", "--difficulty", "0"), "a difficulty is above 0"),
    (("solve", "x", "--difficulty", "-1"), "a difficulty is above 0"),
    (("solve", "x", "--difficulty", "nan"), "a difficulty is a finite number"),
    (("solve", "x", "--difficulty", "inf"), "a difficulty is a finite number"),
    (("solve", "x", "--difficulty", "1e400"), "a difficulty is a finite number"),
    (("solve", "x", "--difficulty", "hard"), "--difficulty"),
    (("solve", "x", "--zeros", "4", "--bits", "1d00ffff"), "give one of"),
    # The message.
    (("solve", "--file", "/no/such/file", *UPTO), "cannot read /no/such/file"),
    (("solve", "--file", "/", *UPTO), "cannot read /"),
    (("solve", "x", "--file", "/no/such/file", *UPTO), "not both"),
    (("solve", "abc", "--hex", *UPTO), "not hex digits"),
    (("solve", "zz", "--hex", *UPTO), "not hex digits"),
    (("solve", "aa", "--hex", "--binary", *UPTO), "exclude each other"),
    (("solve", "a\udcffb", *UPTO), "not UTF-8 text (byte 1)"),
    (("solve", "x", "y", *UPTO), "extra argument"),
    # The preset.
    (("solve", "x", "--preset", "nope", *UPTO), "no preset 'nope'; choose from plain, liteminer"),
    (("solve", "x", "--preset", "[red]", *UPTO), "no preset '[red]'"),
    (("solve", "x", "--preset", "bitcoin"), "a header has 80 bytes"),
    (("solve", "x", "--preset", "coordinator"), "a header has 108 bytes"),
    (("solve", "x", "--preset", "gossip"), "32-byte"),
    (("solve", "x", "--preset", "peer"), "previous proof"),
    ((*BITCOIN,), "target of zero"),
    # Threads, and what else counts.
    (("solve", "x", *UPTO, "--threads", "0"), "--threads must lie between 1 and 1024"),
    (("solve", "x", *UPTO, "--threads", "1000000"), "--threads must lie between 1 and 1024"),
    (("bench", "--threads", "0"), "--threads must lie between 1 and 1024"),
    (("bench", "--seconds", "0"), "--seconds must be above 0"),
    (("bench", "--seconds", "nan"), "--seconds must be above 0"),
    (("bench", "--seconds", "1e9"), "at most 3600"),
    (("bench", "--rounds", "0"), "--rounds must lie between 1 and 1000"),
    (("bench", "--preset", "peer"), "nothing to measure for 'peer'"),
    (("verify", "x"), "--nonce"),
    (("verify", "x", "--nonce", "-1"), "--nonce is a nonce"),
    (("verify", "x", "--nonce", "2**64"), "--nonce is a nonce"),
    (("verify", "x", "--nonce", "5", "--hash", "123"), "--hash takes 64 hex digits"),
    (("verify", "x", "--nonce", "5", "--hash", "g" * 64), "--hash takes 64 hex digits"),
    # Commands and options that do not exist.
    (("solv", "x"), "No such command"),
    (("solve", "x", "--uptoo", "5"), "No such option"),
    (("--quiet",), "No such option"),
    (("info", "x"), "extra argument"),
]


def check_refusal(code: object, output: str, errors: str, why: str) -> None:
    assert (code, output) == (2, "")
    assert errors.startswith("nonsuch: ")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1, "one line"
    assert why in errors


@pytest.mark.parametrize(("arguments", "why"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_request_that_makes_no_sense_is_refused_in_one_line(
    arguments: Sequence[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    check_refusal(ended.value.code, *capfd.readouterr(), why=why)


# The same for what only a process of its own can show.


@pytest.mark.parametrize(
    ("arguments", "stdin", "why"),
    [
        (UPTO, b"", 'no message: give one as an argument, with --file, or on standard input; ""'),
        (("--binary", *UPTO), b"", "no message"),
        (UPTO, b"\xff\xfe", "standard input is not UTF-8 text (byte 0)"),
        (("--hex", *UPTO), b"0g", "standard input is not hex digits"),
    ],
)
def test_standard_input_that_cannot_be_a_message_is_refused(
    run: Run, arguments: Sequence[str], stdin: bytes, why: str
) -> None:
    check_refusal(*run("solve", *arguments, stdin=stdin), why=why)


def test_a_file_that_is_not_text_is_refused_and_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "picture [1].png"
    file.write_bytes(b"caf\xe9")
    check_refusal(*run("solve", "-f", str(file), *UPTO), why=f"{file} is not UTF-8 text (byte 3)")


def test_a_refusal_from_a_real_process_has_no_traceback(run: Run) -> None:
    check_refusal(*run("solve", "x", "--zeros", "64"), why="between 0 and 63")
    check_refusal(*run("nonsense"), why="No such command")


def test_processor_features_that_do_not_exist_are_refused(run: Run) -> None:
    answer = run("info", NONSUCH_CPU_FEATURES="warp")
    if answer.code:  # where there is no compiler there are no features to choose from
        check_refusal(*answer, why="NONSUCH_CPU_FEATURES names 'warp'")


# Numbers as people write them.


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1000000", 10**6),
        ("1_000_000", 10**6),
        ("1,000,000", 10**6),
        (" 1e6 ", 10**6),
        ("5E+3", 5000),
        ("2**20", 2**20),
        ("2^20", 2**20),
        ("0xff", 255),
        ("-3", -3),
    ],
)
def test_a_number_can_be_written_in_many_ways(text: str, number: int) -> None:
    assert parse_number(text, "it") == number
