"""Transactions that wait for a block, first come, first served.

A transaction is anything with a key and a size; what it means is its ledger's. It leaves when a
block of the best chain has it. When that block is disconnected it comes back to the front: it has
waited the longest.

**Bounds.** Strangers fill the pool up to `count_max` and `bytes_max`, and are then refused: nobody
pays here, so there is no ground to prefer a newcomer. What a reorganization brings back was
accepted once, must not be lost, and is in memory already, in blocks that took work: it may exceed
both bounds, and nothing is added until the pool has shrunk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import islice
from typing import ClassVar, Generic, NamedTuple, TypeVar

from nonsuch.errors import RemoteError, shown

__all__ = ["Mempool", "MempoolFull", "TransactionKnown", "TransactionRefused"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class TransactionRefused(RemoteError):
    """A transaction was not taken. Honest peers cannot know what is here, so it costs nothing."""

    cost: ClassVar[int] = 0


class TransactionKnown(TransactionRefused):
    """It is here already."""


class MempoolFull(TransactionRefused):
    """There is no room for it."""


class _Held(NamedTuple, Generic[T]):
    """A transaction and its bytes."""

    transaction: T
    size: int


class Mempool(Generic[K, T]):
    """Transactions by their keys. `bytes` says what they take; do not set it.

    Holds at most `count_max` of them, of at most `bytes_max` together, but after `restore`.
    """

    __slots__ = ("_bytes_max", "_count_max", "_held", "bytes")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._held: dict[K, _Held[T]] = {}
        self.bytes = 0

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[T]:
        """The transactions, in the order in which they are served."""
        return (held.transaction for held in self._held.values())

    def get(self, key: K) -> T | None:
        """The transaction with this key; None where it is not here."""
        held = self._held.get(key)
        return None if held is None else held.transaction

    def first(self, count: int) -> list[T]:
        """The next `count` transactions for a block, or all where there are fewer."""
        return list(islice(self, max(0, count)))

    def add(self, key: K, transaction: T, size: int) -> None:
        """A new one, at the end. Raises `TransactionKnown` or `MempoolFull`."""
        if key in self._held:
            raise TransactionKnown("the transaction waits already")
        if len(self._held) >= self._count_max:
            raise MempoolFull(f"{len(self._held)} transactions wait; there is no room for more")
        if self.bytes + size > self._bytes_max:
            raise MempoolFull(
                f"{self.bytes} of {self._bytes_max} bytes are taken;"
                f" there is no room for {shown(size)}"
            )
        self._held[key] = _Held(transaction, size)
        self.bytes += size

    def confirm(self, keys: Iterable[K]) -> None:
        """A block has these: they leave, as far as they are here."""
        for key in keys:
            held = self._held.pop(key, None)
            if held is not None:
                self.bytes -= held.size

    def restore(self, items: Iterable[tuple[K, T, int]]) -> int:
        """Blocks were disconnected: put (key, transaction, size) to the front, in this order.

        One that is here keeps its place. Returns how many came back. O(n): reorganizations are
        rare.
        """
        returned: dict[K, _Held[T]] = {}
        for key, transaction, size in items:
            if key in self._held or key in returned:
                continue
            returned[key] = _Held(transaction, size)
            self.bytes += size
        self._held = returned | self._held
        return len(returned)
