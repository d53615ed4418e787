"""Feed the peers' own wire streams that are almost valid.

    python -m fuzz.peers --seconds 10 --seed 1

What must hold, at both ends: any bytes in any segmentation give messages, a wait for more, or
RemoteProtocolError, never anything else; the segmentation does not matter; and what was understood
is understood again when it is said again. Where it does not hold, the input is printed in hex and
the exit code is 1. (`fuzz/peer.py` is about the dialects.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from random import Random

from fuzz.mutation import mutated_streams, run
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS, HEADER_BYTES, BlockForm, Transaction
from nonsuch.networks.peer.messages import (
    AnnounceBlock,
    AskBlocks,
    AskChain,
    AskHeaders,
    AskStatus,
    AskTransactions,
    Blocks,
    Chain,
    Headers,
    Heartbeat,
    Hello,
    Message,
    OfferProof,
    Refused,
    Reward,
    Status,
    Stop,
    SubmitTransaction,
    Template,
    Transactions,
    Verdict,
    Welcome,
)
from nonsuch.networks.peer.wire import PeerWire

INPUT_BYTES_MAX = 4096

PIECES = (b"\x91" * 3000, b"\xdd\xff\xff\xff\xff", b"\x81\xa1a")
"""A deep nest, an array of more than there is, and a map."""


def fuzz_one(data: bytes) -> None:
    """Assert the sentence above for `data`: whole, byte by byte, and in halves."""
    half = len(data) // 2
    for dialled in (False, True):
        whole = outcome([data], dialled)
        assert outcome((data[at : at + 1] for at in range(len(data))), dialled) == whole
        assert outcome((data[:half], data[half:]), dialled) == whole


def outcome(segments: Iterable[bytes], dialled: bool) -> list[bytes] | str:
    """The messages, said again, or what was wrong."""
    wire = PeerWire(dialled=dialled)
    messages: list[object] = []
    try:
        for segment in segments:
            messages += wire.feed(segment)
    except RemoteProtocolError as error:
        return str(error)
    said = [PeerWire(dialled=True).encode(message) for message in messages]
    for message, again in zip(messages, said, strict=True):
        assert PeerWire(dialled=True).feed(again) == [message]
    return said


def form(random: Random) -> BlockForm:
    """A block of the right sizes."""
    count = random.randint(0, BLOCK_TRANSACTIONS)
    return BlockForm(random.randbytes(HEADER_BYTES), transactions(random, count))


def transactions(random: Random, count: int) -> tuple[Transaction, ...]:
    return tuple(Transaction("abcd1234", "ž" * random.randint(0, 70), n) for n in range(count))


def ids(random: Random, at_most: int) -> tuple[bytes, ...]:
    return tuple(random.randbytes(32) for _ in range(random.randint(0, at_most)))


MAKERS: list[Callable[[Random], Message]] = [
    lambda random: Hello(random.choice(("peer", "client")), random.randbytes(32), b"node", "name"),
    lambda random: Welcome(random.randbytes(16), "name"),
    lambda _: Refused("a reason"),
    lambda random: Heartbeat(
        3, random.randbytes(32), random.randbytes(32), 2, random.randbytes(32)
    ),
    lambda random: AskHeaders(ids(random, 5)),
    lambda random: Headers(tuple(random.randbytes(HEADER_BYTES) for _ in range(3))),
    lambda random: AskBlocks(ids(random, 5)),
    lambda random: Blocks((form(random), form(random))),
    lambda random: AnnounceBlock(form(random)),
    lambda random: AskTransactions(random.randbytes(24)),
    lambda random: Transactions(transactions(random, 3)),
    lambda _: SubmitTransaction("abcd1234", "content", 5),
    lambda random: OfferProof(1, random.getrandbits(64)),
    lambda random: AskChain(random.getrandbits(20), 9),
    lambda _: AskStatus(),
    lambda _: Stop(),
    lambda _: Verdict(True, ""),
    lambda random: Template(1, 2, random.randbytes(80), 0x1D00FFFF, 7),
    lambda _: Reward(False, "no"),
    lambda random: Chain(0, 1, (form(random),)),
    lambda _: Status(b"{}"),
]


def inputs(seed: int) -> Iterator[bytes]:
    """Valid streams with a few mutations each, without end; the same for the same seed."""
    wire = PeerWire(dialled=True)

    def message(random: Random) -> bytes:
        return wire.encode(random.choice(MAKERS)(random))

    return mutated_streams(seed, message, PIECES, INPUT_BYTES_MAX)


if __name__ == "__main__":
    sys.exit(run("the peers' own wire", fuzz_one, inputs))
