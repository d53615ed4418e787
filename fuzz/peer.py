"""Feed the dialects of the peer network streams that are almost valid.

    python -m fuzz.peer --seconds 10 --seed 1

What must hold, at both ends of both: any bytes in any segmentation give messages, a wait for more,
or RemoteProtocolError, never anything else; what a wire holds is within the bound of one message;
and what was decoded can be sent again. The segmentation must not matter to pickles, nor to the
answers in text that show their end. Requests in bare text end with their segment: there, only the
rest is asserted.
Where it does not hold, the input is printed in hex and the exit code is 1.
"""

from __future__ import annotations

import pickle
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from random import Random

from fuzz.mutation import mutate, run
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer.dialects.messages import (
    ANSWER_BYTES_MAX,
    REQUEST_BYTES_MAX,
    Answer,
    Block,
    Chain,
    CloseConnection,
    GetChain,
    GetProof,
    Heartbeat,
    HeartbeatAnswer,
    Proof,
    Request,
    Reward,
    Transaction,
    UpdateProof,
    Verdict,
    parse_request,
    request_text,
)
from nonsuch.networks.peer.dialects.pickle import PickleClientWire, PickleServerWire
from nonsuch.networks.peer.dialects.text import TextClientWire, TextServerWire
from nonsuch.networks.peer.dialects.wires import ClientWire

INPUT_BYTES_MAX = 4096
"""Longer streams are cut: the wires' states are reached by short ones, and more of them."""

EDGES = (*b"().NRXabehjstu]}\x80\x85\x86\x87\x88\x8a\x8c\x8d\x94\x95'\"\\[{,:|0", 0x7F, 0xC3, 0xFF)
"""Opcodes, quotes, brackets, bars, and the beginning of a character."""

PIECES = (
    b"\x94" * 300,
    b"]" * 300,
    b"[" * 300,
    b"(" * 300,
    b"tx|abcd1234|",
    b"up|7",
    b"\\ud800",
    b"\x8d" + b"\xff" * 8,
    pickle.dumps(print),
)

REFUSED = None
"""An outcome. The reason quotes what had come by then, and so depends on the segments."""

TRANSACTION = Transaction("abcd1234", "x")
ASKED: tuple[tuple[Request, ...], ...] = (
    (Heartbeat(),),
    (GetChain(),),
    (TRANSACTION, Heartbeat(), GetChain()),
    (UpdateProof(5), TRANSACTION, UpdateProof(7)),
    (),
    (GetChain(), CloseConnection()),
    (GetProof(), TRANSACTION, GetProof(), GetChain()),
)
"""What a client has asked; the first byte of an input says which. Only the last asks for numbers,
which in bare text end with their segment."""


def fuzz_one(data: bytes) -> None:
    """Assert the sentence above for `data`: whole, byte by byte, and cut at places it decides."""
    random = Random(zlib.crc32(data))
    choice, stream = (data[0] if data else 0) % len(ASKED), data[1:]
    cuts = sorted(random.randint(0, len(stream)) for _ in range(4))
    bounds = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    segmentations = (
        [stream],
        [stream[at : at + 1] for at in range(len(stream))],
        [stream[start:stop] for start, stop in bounds],
    )
    asked = ASKED[choice]
    same(requests_of(PickleServerWire(), segments) for segments in segmentations)
    same(answers_of(PickleClientWire(), asked, segments) for segments in segmentations)
    in_text = [answers_of(TextClientWire(), asked, segments) for segments in segmentations]
    if not any(isinstance(request, GetProof) for request in asked):
        same(in_text)
    for segments in segmentations:
        requests_of(TextServerWire(), segments)


def same(outcomes: Iterable[object]) -> None:
    first, *others = outcomes
    assert all(other == first for other in others)


def requests_of(
    wire: PickleServerWire | TextServerWire, segments: Iterable[bytes]
) -> list[object] | None:
    found = outcome(wire, segments, REQUEST_BYTES_MAX)
    for request in found or []:
        assert isinstance(request, Request)
        assert parse_request(request_text(request)) == request
    return found


def answers_of(
    wire: ClientWire, asked: Iterable[Request], segments: Iterable[bytes]
) -> list[object] | None:
    for request in asked:
        wire.encode(request)
    found = outcome(wire, segments, ANSWER_BYTES_MAX)
    for answer in found or []:
        assert_sent_again(answer)
    return found


def assert_sent_again(answer: object) -> None:
    """An answer can be given to somebody else, who reads the same."""
    assert isinstance(answer, Answer)
    client = PickleClientWire()
    client.encode(REQUEST_OF[type(answer)])
    assert client.feed(PickleServerWire().encode(answer)) == [answer]


REQUEST_OF: dict[type, Request] = {
    Verdict: TRANSACTION,
    Proof: GetProof(),
    Reward: UpdateProof(1),
    Chain: GetChain(),
    HeartbeatAnswer: Heartbeat(),
}


def outcome(
    wire: PickleServerWire | TextServerWire | ClientWire, segments: Iterable[bytes], held_max: int
) -> list[object] | None:
    """The messages in `segments`, or REFUSED. Anything else that is raised is a fault."""
    messages: list[object] = []
    try:
        for segment in segments:
            messages += wire.feed(segment)
            assert wire.pending <= held_max
    except RemoteProtocolError as error:
        assert_broken(wire, str(error))
        return REFUSED
    return messages


def assert_broken(wire: PickleServerWire | TextServerWire | ClientWire, reason: str) -> None:
    """A stream that could not be understood once is never understood again."""
    assert wire.pending == 0
    said = ""
    try:
        wire.feed(b"")
    except RemoteProtocolError as error:
        said = str(error)
    assert said == reason


def inputs(seed: int) -> Iterator[bytes]:
    """Valid streams with a few mutations each, without end; the same for the same seed."""
    random = Random(seed)
    while True:
        choice = random.randrange(len(ASKED))
        stream = bytearray(random.choice(MAKERS)(random, ASKED[choice]))
        for _ in range(random.randrange(5)):
            mutate(stream, random, EDGES, PIECES)
        yield bytes((choice,)) + bytes(stream[:INPUT_BYTES_MAX])


def any_requests(random: Random) -> list[Request]:
    return [any_request(random) for _ in range(random.randint(1, 4))]


def any_request(random: Random) -> Request:
    content = text(random)[:70].replace("|", "")
    number = random.getrandbits(random.choice((1, 8, 64)))
    return random.choice(
        (Transaction("abcd1234", content), UpdateProof(number), GetProof(), GetChain(), Heartbeat())
    )


def any_answer(random: Random, request: Request) -> Answer:
    match request:
        case GetProof():
            return Proof(random.getrandbits(random.choice((1, 8, 16, 32, 64))))
        case UpdateProof():
            return Reward(random.random() < 0.5)
        case GetChain():
            return Chain(any_blocks(random))
        case Heartbeat():
            pool = tuple((text(random), text(random)) for _ in range(random.randrange(4)))
            chain = any_blocks(random) if random.random() < 0.8 else None
            return HeartbeatAnswer(pool, chain, chain is not None)
        case _:
            return Verdict(random.random() < 0.5)


def any_blocks(random: Random) -> tuple[Block, ...]:
    return tuple(
        Block(
            random.getrandbits(random.choice((1, 8, 64))),
            text(random),
            tuple(text(random) for _ in range(random.randrange(6))),
            random.getrandbits(random.choice((1, 8, 64))),
            text(random),
            text(random),
        )
        for _ in range(random.randrange(4))
    )


def text(random: Random) -> str:
    return "".join(random.choices("a ž鉱🜚\0'\"\\|[]{},:\n", k=random.choice((0, 1, 8, 60))))


def answered(random: Random, asked: Iterable[Request]) -> list[Answer]:
    return [
        any_answer(random, request) for request in asked if not isinstance(request, CloseConnection)
    ]


MAKERS: tuple[Callable[[Random, tuple[Request, ...]], bytes], ...] = (
    lambda random, _: b"".join(PickleClientWire().encode(each) for each in any_requests(random)),
    lambda random, _: b"".join(TextClientWire().encode(each) for each in any_requests(random)),
    lambda random, asked: b"".join(map(PickleServerWire().encode, answered(random, asked))),
    lambda random, asked: b"".join(map(TextServerWire().encode, answered(random, asked))),
)


if __name__ == "__main__":
    sys.exit(run("the dialects of the peer network", fuzz_one, inputs))
