"""Where a key may be found: a multimap from keys to small numbers, ten bytes an item.

A ledger must know which of its blocks have a transaction. A dictionary of a million keys answers
that with a quarter of a gigabyte; but the blocks are in memory anyhow and have the keys, so it is
enough to be told which few blocks to look into. Of a key, only the first eight bytes count: they
choose a bucket, and four of them are held there, and behind them a number of four. A bucket is one
`bytearray`, and is searched by `find`.

**An answer is a candidate.** Two keys may begin alike. Whoever asks looks for the whole key at the
place that the number stands for, and never goes by a number alone.

**Nobody can aim at it.** A key's bucket is a secret: Python's `hash` of its eight bytes, which is
drawn anew for each process. So of keys that were ground to have four bytes in common one in 4,096
shares a bucket with another, and no bucket can be made longer than the others. To find two keys
that have eight bytes in common takes 2**32 hashes, three of them 2**43; and what it gains is that
one block, or two, is looked into in vain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias

from nonsuch.errors import LocalError

__all__ = ["BUCKETS", "KEY_BYTES", "NUMBER_MAX", "CandidateIndex", "Candidates"]

BUCKETS = 2**12
"""Made once they are needed. Their ends, where they grow, fit a processor's cache together; of a
million keys one holds 244, two kilobytes, and is searched in half a microsecond."""

KEY_BYTES = 8
"""Of a key, from its beginning: all that counts."""

SHORT_BYTES = 4
"""Of those, what is held. With the bucket's number it is told from all but one in 2**44 others."""

NUMBER_BYTES = 4
NUMBER_MAX = 2 ** (8 * NUMBER_BYTES) - 1
RECORD_BYTES = SHORT_BYTES + NUMBER_BYTES

Candidates: TypeAlias = list[tuple[bytes, int]]
"""Keys, and the numbers at which they may be found."""


class CandidateIndex:
    """Keys, bytes of which the first `KEY_BYTES` count, and the numbers that were added with them.

    A key has `SHORT_BYTES` or more.
    """

    __slots__ = ("_buckets", "_count")

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * BUCKETS
        self._count = 0

    def __len__(self) -> int:
        """How many pairs of a key and a number are here."""
        return self._count

    def add(self, keys: Collection[bytes], number: int) -> None:
        """These keys are found at a number. Raises `LocalError` where it is above `NUMBER_MAX`."""
        if not 0 <= number <= NUMBER_MAX:
            raise LocalError(f"an index has numbers up to {NUMBER_MAX}, not {number}")
        buckets = self._buckets
        self._count += len(keys)
        tail = number.to_bytes(NUMBER_BYTES, "big")
        for key in keys:
            place = hash(key[:KEY_BYTES]) % BUCKETS
            bucket = buckets[place]
            if bucket is None:
                bucket = buckets[place] = bytearray()
            bucket += key[:SHORT_BYTES] + tail

    def remove(self, keys: Iterable[bytes], number: int) -> None:
        """These keys are no longer found there; what was not added is not removed."""
        tail = number.to_bytes(NUMBER_BYTES, "big")
        for key in keys:
            bucket = self._buckets[hash(key[:KEY_BYTES]) % BUCKETS]
            at = -1 if bucket is None else _find(bucket, key[:SHORT_BYTES] + tail, 0)
            if bucket is not None and at >= 0:
                del bucket[at : at + RECORD_BYTES]
                self._count -= 1

    def candidates(self, keys: Iterable[bytes]) -> Candidates:
        """Each key with each number where it may be found, in the order in which they came."""
        found: Candidates = []
        buckets = self._buckets
        for key in keys:
            bucket = buckets[hash(key[:KEY_BYTES]) % BUCKETS]
            short = key[:SHORT_BYTES]
            if bucket is not None and bucket.find(short) >= 0:
                found += [(key, number) for number in _numbers(bucket, short)]
        return found


def _find(bucket: bytearray, wanted: bytes, start: int) -> int:
    """The first record from `start` on that begins so; -1 where there is none."""
    at = bucket.find(wanted, start)
    while at > 0 and at % RECORD_BYTES:
        # It begins within a record; the one that is looked for may begin within this find.
        at = bucket.find(wanted, at + 1)
    return at


def _numbers(bucket: bytearray, short: bytes) -> list[int]:
    numbers = []
    at = _find(bucket, short, 0)
    while at >= 0:
        behind = at + RECORD_BYTES
        numbers.append(int.from_bytes(bucket[at + SHORT_BYTES : behind], "big"))
        at = _find(bucket, short, behind)
    return numbers
