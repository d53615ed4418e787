"""What people type: numbers, messages, targets. An error is a sentence that says what to do."""

from __future__ import annotations

import binascii
import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

from nonsuch import First, Goal, LocalError, Lowest, Puzzle, Target
from nonsuch.errors import shown
from nonsuch.search.searcher import THREADS_MAX
from nonsuch.search.solve import Question
from nonsuch.work.presets import PRESETS, Preset

__all__ = [
    "MESSAGE_BYTES_MAX",
    "check_threads",
    "chosen_target",
    "parse_nonce",
    "parse_number",
    "read_message",
    "read_preset",
    "read_question",
]

MESSAGE_BYTES_MAX = 64 * 2**20
"""A longer message is more likely a wrong file than something to be hashed a billion times."""

_NUMBER_DIGITS_MAX = 100
_NO_MESSAGE = "no message: give one as an argument, with --file, or on standard input"
_POWER = re.compile(r"(\d{1,3})(?:\*\*|\^)(\d{1,4})")


def parse_number(text: str, what: str) -> int:
    """A whole number as people write it: `1000000`, `1_000_000`, `1e6`, `2**20`, `0xff`."""
    compact = text.strip().replace("_", "").replace(",", "")
    if len(compact) <= _NUMBER_DIGITS_MAX:
        if power := _POWER.fullmatch(compact):
            return int(pow(int(power[1]), int(power[2])))
        if exponent := re.fullmatch(r"(\d+)[eE]\+?(\d{1,2})", compact):
            return int(exponent[1] + "0" * int(exponent[2]))
        try:
            return int(compact, 16 if compact.lower().startswith("0x") else 10)
        except ValueError:
            pass
    raise LocalError(
        f"{what} must be a whole number such as 1000000, 1_000_000, 1e6 or 2**20, not {text[:40]!r}"
    )


def parse_nonce(text: str, what: str, count: int) -> int:
    """A nonce of a field that holds `count` of them."""
    nonce = parse_number(text, what)
    if not 0 <= nonce < count:
        raise LocalError(f"{what} is a nonce, here from 0 to {count - 1}; {shown(nonce)} is not")
    return nonce


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no search takes, even where this one would need only one."""
    if threads is not None and not 1 <= threads <= THREADS_MAX:
        raise LocalError(
            f"--threads must lie between 1 and {THREADS_MAX}; {shown(threads)} does not"
        )


def read_preset(name: str) -> Preset:
    """The preset of this name."""
    if name not in PRESETS:
        raise LocalError(f"there is no preset {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def read_message(
    message: str | None, file: Path | None, *, hexadecimal: bool, binary: bool
) -> bytes:
    """The message from the argument, a file, or standard input.

    Text must be UTF-8; from a file or standard input, its last line ending is dropped.
    `hexadecimal` decodes hex digits, `binary` takes the bytes as they are. Standard input that
    nobody asked for and that holds nothing is a message forgotten, not an empty one.
    """
    if hexadecimal and binary:
        raise LocalError("--hex and --binary exclude each other")
    if message is not None and file is not None:
        raise LocalError("give a message or --file, not both")
    if message not in (None, "-"):
        assert message is not None
        content = os.fsencode(message)
        return (
            _from_hex(content, "the message") if hexadecimal else _as_text(content, "the message")
        )
    content, source = _read_source(file)
    if not content and message is None and file is None:
        raise LocalError(_NO_MESSAGE + '; "" is an empty one')
    if hexadecimal:
        return _from_hex(content, source)
    if binary:
        return content
    return _as_text(content, source).removesuffix(b"\n").removesuffix(b"\r")


def _read_source(file: Path | None) -> tuple[bytes, str]:
    source = "standard input" if file is None else str(file)
    try:
        if file is not None:
            with file.open("rb") as stream:
                return _read_bounded(stream, source), source
        if sys.stdin is None or sys.stdin.isatty():
            raise LocalError(_NO_MESSAGE)
        return _read_bounded(sys.stdin.buffer, source), source
    except OSError as error:
        raise LocalError(f"cannot read {source}: {error.strerror or error}") from error


def _read_bounded(stream: BinaryIO, source: str) -> bytes:
    content = stream.read(MESSAGE_BYTES_MAX + 1)
    if len(content) > MESSAGE_BYTES_MAX:
        raise LocalError(
            f"{source} holds more than {MESSAGE_BYTES_MAX} bytes; is it the right file?"
        )
    return content


def _as_text(content: bytes, source: str) -> bytes:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise LocalError(
            f"{source} is not UTF-8 text (byte {error.start});"
            " use --binary for raw bytes from a file"
        ) from None
    return content


def _from_hex(content: bytes, source: str) -> bytes:
    try:
        return binascii.unhexlify(b"".join(content.split()))
    except ValueError:
        raise LocalError(f"{source} is not hex digits, two a byte") from None


def read_question(
    content: bytes, preset: str, wanted: Target | None, start: str | None, upto: str | None
) -> Question:
    """What to search for: the preset's puzzle of this message, a range of it, and a goal."""
    chosen = read_preset(preset)
    puzzle = chosen.build(content)
    goal = _goal(chosen, content, wanted, upto is not None)
    return Question(puzzle, _nonces(puzzle, chosen, start, upto), goal)


def _goal(preset: Preset, content: bytes, wanted: Target | None, bounded: bool) -> Goal:
    if wanted is None and not bounded and preset.target is not None:
        wanted = preset.target(content)
    if wanted is not None:
        return First(wanted)
    if bounded:
        return Lowest()
    raise LocalError(
        "say what to find: --upto N for the lowest hash of nonces 0 to N, or a target"
        " (--zeros, --bits, --target, --difficulty) for the first nonce that meets it"
    )


def _nonces(puzzle: Puzzle, preset: Preset, start: str | None, upto: str | None) -> range:
    count = puzzle.nonce.count
    first = preset.first_nonce if start is None else parse_nonce(start, "--start", count)
    last = count - 1 if upto is None else parse_nonce(upto, "--upto", count)
    if first > last:
        raise LocalError(f"the range is empty: it begins at {first} and ends at {last}")
    return range(first, last + 1)


def chosen_target(
    *,
    zeros: int | None = None,
    bits: str | None = None,
    target: str | None = None,
    difficulty: float | None = None,
) -> Target | None:
    """The target of whichever option was given; None for none."""
    given = [option for option in (zeros, bits, target, difficulty) if option is not None]
    if len(given) > 1:
        raise LocalError("give one of --zeros, --bits, --target and --difficulty")
    if zeros is not None:
        return Target.from_zero_digits(zeros)
    if bits is not None:
        return Target.from_bits(_parse_bits(bits))
    if target is not None:
        return Target(_parse_target(target))
    return None if difficulty is None else Target.from_difficulty(difficulty)


def _parse_bits(text: str) -> int:
    digits = text.strip().lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]{1,8}", digits):
        raise LocalError(f"--bits takes up to eight hex digits such as 1d00ffff, not {text[:40]!r}")
    return int(digits, 16)


def _parse_target(text: str) -> int:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()):
        return int(text, 16)
    try:
        return parse_number(text, "--target")
    except LocalError:
        raise LocalError(
            f"--target takes 64 hex digits, 0x…, 2**235 or a whole number, not {text[:40]!r}"
        ) from None
