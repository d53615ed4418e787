"""Feed a coordinator what is almost a stream of answers.

    python -m fuzz.coordinator --seconds 10 --seed 1

What must hold: any bytes are headers, the same ones however they are cut, and less than a header
waits for its end; and whatever they say, the coordinator's core raises nothing, keeps a valid
chain, and lets go of whoever is wrong. Where it does not hold, the input is printed in hex and the
exit code is 1.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator
from random import Random

from fuzz.mutation import mutate, run
from nonsuch.networks.coordinator.coordinator import Coordinator
from nonsuch.networks.coordinator.header import HEADER_BYTES, Header
from nonsuch.networks.coordinator.messages import Half
from nonsuch.networks.coordinator.settings import CoordinatorSettings
from nonsuch.networks.coordinator.wire import HeaderWire
from nonsuch.node import Close, Connected, Disconnected, Received, Send, Started, Tick
from nonsuch.scenarios.coordinator import check_chain
from nonsuch.scenarios.coordinator_cheats import solved
from nonsuch.work.target import Target

EASY = Target.from_work(2)
ORIGIN_SECONDS = 1_700_000_000.0
EDGES = (0x00, 0x01, 0x03, 0x04, 0x05, 0x7F, 0x80, 0xFF)


def fuzz_one(data: bytes) -> None:
    """Assert the sentence above for `data`: whole, byte by byte, and cut at places it decides."""
    random = Random(zlib.crc32(data))
    cuts = sorted(random.randint(0, len(data)) for _ in range(4))
    bounds = list(zip([0, *cuts], [*cuts, len(data)], strict=True))
    whole = headers([data])
    assert headers(data[at : at + 1] for at in range(len(data))) == whole
    assert headers(data[start:stop] for start, stop in bounds) == whole
    assert b"".join(each.data for each in whole) == data[: len(data) // HEADER_BYTES * HEADER_BYTES]
    answer_all(data)


def headers(segments: Iterable[bytes]) -> list[Header]:
    """The headers in `segments`. No exception is right."""
    wire = HeaderWire()
    found: list[Header] = []
    for segment in segments:
        for message in wire.feed(segment):
            if isinstance(message, Header):
                found.append(message)
            else:
                assert message == Half()
        assert len(wire._rest) < HEADER_BYTES
    return found


def answer_all(data: bytes) -> None:
    """Let a coordinator hear the stream, after one good answer, and time pass behind it."""
    core, header = begun()
    wire, there = HeaderWire(), True
    for message in [solved(header), *wire.feed(data)]:
        effects = core.handle(Received(1, message), 1.0)
        there = there and not any(isinstance(effect, Close) for effect in effects)
        assert there or not any(isinstance(each, Send) and each.peer == 1 for each in effects)
        core._check()
    core.handle(Tick(), 100.0)
    core.handle(Disconnected(1, "over"), 101.0)
    core._check()
    check_chain([entry.block.header.data for entry in core.ledger.tree], EASY)
    assert core.ledger.height >= 0


def begun() -> tuple[Coordinator, Header]:
    """A coordinator with two agents, always the same, and the first header of the first agent."""
    core = Coordinator(CoordinatorSettings(target=EASY), Random(1), ORIGIN_SECONDS)
    core.handle(Started(), 0.0)
    core.handle(Connected(2, "other:1"), 0.0)
    header = next(e.message for e in core.handle(Connected(1, "a:1"), 0.0) if isinstance(e, Send))
    assert isinstance(header, Header)
    return core, header


def inputs(seed: int) -> Iterator[bytes]:
    """Answers with a few mutations each, without end; the same for the same seed."""
    random = Random(seed)
    core, first = begun()
    effects = core.handle(Received(1, solved(first)), 1.0)
    second = next(e.message for e in effects if isinstance(e, Send) and e.peer == 1)
    assert isinstance(second, Header)
    pieces = [first, solved(first), second, solved(second), solved(second, 7)]
    while True:
        chosen = random.choices(pieces, k=random.randint(1, 4))
        stream = bytearray(b"".join(each.data for each in chosen))
        for _ in range(random.randrange(5)):
            mutate(stream, random, EDGES)
        yield bytes(stream)


if __name__ == "__main__":
    sys.exit(run("the coordinator's wire and core", fuzz_one, inputs))
