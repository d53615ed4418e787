"""Feed the pool's own wire streams that are almost valid.

    python -m fuzz.wire --seconds 10 --seed 1

What must hold, at both ends: any bytes in any segmentation give messages, a wait for more, or
RemoteProtocolError, never anything else. And the segmentation must not matter to which of them, and
what a decoder holds is less than one frame of the length that it allows.
Where it does not hold, the input is printed in hex and the exit code is 1.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from random import Random

import msgspec

from fuzz.mutation import mutate, run
from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.networks.pool.messages import (
    Answer,
    Ask,
    Beat,
    Ended,
    Hello,
    Lease,
    Message,
    PuzzleForm,
    Refused,
    Report,
    Result,
    Retire,
    Revoke,
    Status,
    Submit,
    Watch,
    Welcome,
    Withdraw,
)
from nonsuch.networks.pool.wire import FRAME_BYTES_MAX, HELLO_BYTES_MAX, LENGTH_BYTES, PoolWire

INPUT_BYTES_MAX = 4096
"""Longer streams are cut: the decoder's states are reached by short ones, and more of them."""

PIECES = (b"\x91" * 3000, b"\xdd\xff\xff\xff\xff", b"\x81\xa1a")
"""A deep nest, an array of more than there is, and a map."""

EDGES = (0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC6, 0xCA, 0xCB, 0xCF, 0xD3, 0xD9, 0xDD, 0xFF)
"""Bytes at which MessagePack changes its mind."""


def fuzz_one(data: bytes) -> None:
    """Assert the sentence above for `data`: whole, byte by byte, and cut at places it decides."""
    random = Random(zlib.crc32(data))
    cuts = sorted(random.randint(0, len(data)) for _ in range(4))
    bounds = list(zip([0, *cuts], [*cuts, len(data)], strict=True))
    for accepts_puzzles in (False, True):
        whole = outcome([data], accepts_puzzles)
        assert outcome((data[at : at + 1] for at in range(len(data))), accepts_puzzles) == whole
        assert outcome((data[start:stop] for start, stop in bounds), accepts_puzzles) == whole


def outcome(segments: Iterable[bytes], accepts_puzzles: bool) -> list[bytes] | str:
    """The messages in `segments`, encoded again, or what was wrong. No other exception is right."""
    wire = PoolWire(accepts_puzzles=accepts_puzzles)
    held_max = LENGTH_BYTES + (FRAME_BYTES_MAX if accepts_puzzles else HELLO_BYTES_MAX)
    messages: list[object] = []
    try:
        for segment in segments:
            messages += wire.feed(segment)
            if any(isinstance(message, Hello) for message in messages):
                held_max = LENGTH_BYTES + FRAME_BYTES_MAX
            assert len(wire._buffer) < held_max
    except RemoteProtocolError as error:
        assert_broken(wire, str(error))
        return str(error)
    return [encoded_again(message) for message in messages]


def encoded_again(message: object) -> bytes:
    """Its own bytes, from which it can be read again, and again be written as they are."""
    data = PoolWire(accepts_puzzles=True).encode(message)
    (again,) = PoolWire(accepts_puzzles=True).feed(data)
    assert type(again) is type(message)
    assert PoolWire(accepts_puzzles=True).encode(again) == data
    if isinstance(message, Submit | Lease) and message.puzzle is not None:
        assert_a_puzzle_or_none(message.puzzle)
    return data


def assert_a_puzzle_or_none(form: PuzzleForm) -> None:
    """A form is one of a puzzle that can travel back, or is refused."""
    try:
        puzzle = form.puzzle()
    except LocalError:
        return
    assert PuzzleForm.of(puzzle).puzzle() == puzzle
    assert 0 <= puzzle.prove(0).rank < 2**256


def assert_broken(wire: PoolWire, reason: str) -> None:
    """A stream that could not be understood once is never understood again."""
    assert not wire._buffer
    said = ""
    try:
        wire.feed(b"")
    except RemoteProtocolError as error:
        said = str(error)
    assert said == reason


def inputs(seed: int) -> Iterator[bytes]:
    """Valid streams with a few mutations each, without end; the same for the same seed.

    Half of them are mutated inside their frames, whose lengths stay right.
    """
    random = Random(seed)
    while True:
        bodies = [bytearray(any_body(random)) for _ in range(random.randint(1, 4))]
        if random.random() < 0.5:
            for body in bodies:
                mutate_often(body, random)
        stream = bytearray(b"".join(framed(body) for body in bodies))
        if random.random() < 0.5:
            mutate_often(stream, random)
        yield bytes(stream[:INPUT_BYTES_MAX])


def framed(body: bytes | bytearray) -> bytes:
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def any_body(random: Random) -> bytes:
    body = msgspec.msgpack.encode(random.choice(MAKERS)(random))
    assert 0x91 <= body[0] <= 0x9F, "an array of a few fields"
    if random.random() < 0.1:
        # One more field, as a later version appends it.
        return bytes((0xDC, 0, body[0] - 0x90 + 1)) + body[1:] + b"\xc0"
    return body


def number(random: Random) -> int:
    return random.getrandbits(random.choice((0, 1, 8, 32, 64)))


def text(random: Random) -> str:
    return "".join(random.choices("a ž鉱\0", k=random.choice((1, 8, 128))))


def target(random: Random) -> bytes | None:
    return random.choice((None, bytes(32), b"\xff" * 32))


def numbers(random: Random, at_most: int) -> tuple[int, ...]:
    return tuple(number(random) for _ in range(random.randint(0, at_most)))


def form(random: Random) -> PuzzleForm:
    return PuzzleForm(
        random.randbytes(random.choice((0, 5, 80))),
        random.choice(("decimal", "big1", "little8", "square", "big9", "")),
        random.randbytes(random.choice((0, 5))),
        random.choice(("sha256", "sha256d")),
        random.choice(("big", "little")),
        random.choice((256, 64, 1, 0, -1, 257)),
        number(random),
    )


MAKERS: list[Callable[[Random], Message]] = [
    lambda random: Hello(random.choice(("miner", "client")), token=text(random)),
    lambda random: Hello(random.choice(("miner", "client")), rate=random.random() * 1e9),
    lambda random: Beat(numbers(random, 8), number(random)),
    lambda random: Result(number(random), number(random), numbers(random, 20)),
    lambda random: Submit(text(random), form(random), 0, number(random), target(random)),
    lambda random: Watch(text(random)),
    lambda random: Withdraw(text(random)),
    lambda _: Ask(),
    lambda random: Welcome(random.random(), text(random)),
    lambda random: Lease(
        number(random),
        text(random),
        number(random),
        1 + number(random) // 2,
        random.getrandbits(32),
        target(random),
        random.choice((None, form(random))),
    ),
    lambda random: Revoke(number(random)),
    lambda random: Retire(text(random)),
    lambda random: Status(text(random), 1, number(random), 1.5, 2, 0.5, number(random)),
    lambda random: Answer(text(random), random.choice((None, 7)), number(random), 0.5),
    lambda random: Ended(text(random), text(random)),
    lambda random: Report(random.randbytes(random.choice((0, 9, 300)))),
    lambda random: Refused(text(random), random.random() < 0.5),
]


def mutate_often(stream: bytearray, random: Random) -> None:
    for _ in range(random.randrange(5)):
        mutate(stream, random, EDGES, PIECES)


if __name__ == "__main__":
    sys.exit(run("the pool's own wire", fuzz_one, inputs))
