"""Feed the wires of a race streams that are almost valid.

    python -m fuzz.race --seconds 10 --seed 1

What must hold of the frames between a node and its keeper, at both ends: any bytes in any
segmentation give messages, a wait for more, or RemoteProtocolError, never anything else; the
segmentation does not matter; and what was understood is understood again when it is said again. A
node's end of bare text gives back what came, and a client's end one reply or one error. Where it
does not hold, the input is printed in hex and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from random import Random

from fuzz.mutation import mutated_streams, run
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.race.ledger import Entry
from nonsuch.networks.race.messages import (
    KEY_BYTES,
    Claim,
    End,
    Enter,
    Fragment,
    Hello,
    Join,
    Joined,
    Leave,
    Lost,
    Message,
    Refused,
    Replaced,
    Reply,
    Welcome,
    Won,
)
from nonsuch.networks.race.wire import REPLY_BYTES_MAX, ClientWire, KeeperWire, TextWire

INPUT_BYTES_MAX = 4096

PIECES = (b"\x91" * 3000, b"\xdd\xff\xff\xff\xff", b"\x81\xa1a", b"\xed\xa0\x80")
"""A deep nest, an array of more than there is, a map, and what is no UTF-8."""


def fuzz_one(data: bytes) -> None:
    """Assert what must hold for `data`: whole, byte by byte, and in halves."""
    half = len(data) // 2
    segmentations = ([data[at : at + 1] for at in range(len(data))], [data[:half], data[half:]])
    for dialled in (False, True):
        whole = outcome([data], dialled)
        assert all(outcome(segments, dialled) == whole for segments in segmentations)
    for segments in segmentations:
        heard = [piece for segment in segments for piece in TextWire().feed(segment)]
        assert all(isinstance(piece, Fragment) for piece in heard)
        assert b"".join(piece.data for piece in heard if isinstance(piece, Fragment)) == data
    assert TextWire().end() == [End()]
    assert {reply(segments) for segments in segmentations} == {reply([data])}


def outcome(segments: Iterable[bytes], dialled: bool) -> list[bytes] | str:
    """The messages, said again, or what was wrong."""
    wire = KeeperWire(dialled=dialled)
    messages: list[object] = []
    try:
        for segment in segments:
            messages += wire.feed(segment)
    except RemoteProtocolError as error:
        return str(error)
    said = [wire.encode(message) for message in messages]
    for message, again in zip(messages, said, strict=True):
        # Not compared as it is: one number is not equal to itself.
        assert [wire.encode(each) for each in KeeperWire(dialled=True).feed(again)] == [again]
        assert isinstance(message, Message)
    return said


def reply(segments: Iterable[bytes]) -> str | None:
    """What a client hears, or None for what is no reply."""
    wire = ClientWire()
    try:
        for segment in segments:
            assert wire.feed(segment) == []
    except RemoteProtocolError:
        return None
    (said,) = wire.end()
    assert isinstance(said, Reply)
    assert len(said.text) <= REPLY_BYTES_MAX
    return said.text


def number(random: Random) -> int:
    return random.getrandbits(random.choice((1, 8, 32, 62)))


def text(random: Random) -> str:
    return "".join(random.choices("a ž鉱\0", k=random.choice((1, 8, 128))))


def generation(random: Random) -> str:
    return random.choice(("", random.randbytes(32).hex()))


def key(random: Random) -> bytes:
    return random.randbytes(KEY_BYTES)


def entry(random: Random) -> Entry:
    time = "2025-02-13 19:16:07.045130"
    hashed = random.randbytes(32).hex()
    return Entry(text(random), text(random), number(random), hashed, random.random(), time, time)


MAKERS: list[Callable[[Random], Message]] = [
    lambda random: Hello(text(random), random.randint(1, 31), text(random)),
    lambda random: Welcome(text(random)),
    lambda random: Refused(text(random), random.random() < 0.5),
    lambda random: Join(number(random)),
    lambda random: Enter(number(random), generation(random), number(random), 1, text(random)),
    lambda random: Claim(number(random), generation(random), number(random), 1, entry(random)),
    lambda _: Leave(),
    lambda random: Joined(number(random), generation(random), number(random)),
    lambda random: Won(number(random), generation(random), 1, key(random)),
    lambda random: Lost(number(random), generation(random), 1, key(random), text(random)),
    lambda random: Replaced(number(random), generation(random)),
]


def inputs(seed: int) -> Iterator[bytes]:
    """Valid streams with a few mutations each, without end; the same for the same seed."""
    wire = KeeperWire(dialled=True)

    def message(random: Random) -> bytes:
        return wire.encode(random.choice(MAKERS)(random))

    return mutated_streams(seed, message, PIECES, INPUT_BYTES_MAX)


if __name__ == "__main__":
    sys.exit(run("the wires of a race", fuzz_one, inputs))
