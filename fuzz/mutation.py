"""What fuzz targets share: how a valid stream is spoilt, and how a target is run.

python -m fuzz.gob --seconds 10 --seed 1
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from random import Random

__all__ = ["MESSAGE_PACK_EDGES", "mutate", "mutated_streams", "run"]

MESSAGE_PACK_EDGES = (
    *(0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4),
    *(0xC6, 0xCB, 0xCF, 0xD3, 0xD9, 0xDD, 0xFF),
)
"""Bytes at which MessagePack changes its mind."""

MESSAGES_MAX = 4
MUTATIONS_MAX = 4


def mutate(
    stream: bytearray, random: Random, edges: Sequence[int], pieces: Sequence[bytes] = ()
) -> None:
    """Change one place, or repeat, drop or move one piece; or put one of `pieces` in.

    `edges` are the bytes at which the format's meaning changes.
    """
    at = random.randrange(len(stream) + 1)
    piece = stream[at : at + random.randint(1, 24)]
    match random.randrange(8 if pieces else 7):
        case 0:
            stream[at : at + 1] = bytes((random.randrange(256),))
        case 1:
            stream[at : at + 1] = bytes((random.choice(edges),))
        case 2:
            stream[at:at] = random.randbytes(random.randint(1, 9))
        case 3:
            del stream[at : at + len(piece)]
        case 4:
            stream[at:at] = piece
        case 5:
            elsewhere = random.randrange(len(stream) + 1)
            stream[elsewhere : elsewhere + len(piece)] = piece
        case 6:
            # One more or one less: a length, a count or an id that is just wrong.
            step = random.choice((1, 255))
            stream[at : at + 1] = bytes((byte + step) % 256 for byte in stream[at : at + 1])
        case _:
            stream[at:at] = random.choice(pieces)


def mutated_streams(
    seed: int, message: Callable[[Random], bytes], pieces: Sequence[bytes], bytes_max: int
) -> Iterator[bytes]:
    """Some encoded messages with a few mutations each, without end; the same for the same seed."""
    random = Random(seed)
    while True:
        count = random.randint(1, MESSAGES_MAX)
        stream = bytearray(b"".join(message(random) for _ in range(count)))
        for _ in range(random.randrange(MUTATIONS_MAX + 1)):
            mutate(stream, random, MESSAGE_PACK_EDGES, pieces)
        yield bytes(stream[:bytes_max])


def run(
    what: str, fuzz_one: Callable[[bytes], object], inputs: Callable[[int], Iterator[bytes]]
) -> int:
    """The command line of a target. Returns its exit code: 1 where an input failed."""
    parser = argparse.ArgumentParser(description=f"fuzz {what}")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    seconds: float = arguments.seconds
    seed: int = arguments.seed
    end = time.monotonic() + seconds
    for count, data in enumerate(inputs(seed), start=1):
        try:
            fuzz_one(data)
        except Exception:  # noqa: BLE001 - whatever it is, it is the finding
            traceback.print_exc()
            print(f"seed {seed}: input {count} failed: {data.hex()}")
            return 1
        if time.monotonic() >= end:
            print(f"seed {seed}: {count} inputs, none failed")
            break
    return 0
