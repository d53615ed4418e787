"""Blocks whose parents are not here yet.

Datagrams overtake each other and get lost. A block that comes before its parent waits here, for a
minute, rather than be asked for again, and `missing` says which parents to ask for.

**Bounds.** What waits is a stranger's, and no rule has been checked but its proof of work. So the
pool is bounded in blocks, in bytes and in time, and shared fairly: what is over a bound goes at the
expense of the source that holds the most, its oldest block first. A source that holds no more than
its share, `count` or `bytes` divided by the number of sources that have blocks here, loses nothing
to the others, however many blocks they send.
"""

from __future__ import annotations

from itertools import islice
from typing import Generic, TypeVar

import msgspec

from nonsuch.chain.block import Block

__all__ = ["ORPHAN_LIMITS", "Orphan", "OrphanLimits", "OrphanPool"]

B = TypeVar("B", bound=Block)

MISSING_MAX = 16
"""How many parents are asked for at once: few are missing where the net works, and a block that is
not asked for this time is asked for the next."""


class OrphanLimits(msgspec.Struct, frozen=True):
    """How much may wait, for how long."""

    count: int = 256
    """Blocks, all sources together."""

    bytes: int = 2**20
    """Their sizes, added up; a block that is larger by itself is not kept at all."""

    per_source: int = 64
    """Blocks of one source."""

    seconds: float = 60.0
    """A block that nobody found a parent for by then is forgotten."""


ORPHAN_LIMITS = OrphanLimits()
"""What a pool keeps unless it is told otherwise."""


class Orphan(msgspec.Struct, Generic[B], frozen=True):
    """A block that waits, who sent it, and since when."""

    block: B
    source: int
    since: float


class _Source(Generic[B]):
    """What one source has here, oldest first, and how many bytes that is."""

    __slots__ = ("bytes", "orphans")

    def __init__(self) -> None:
        self.orphans: dict[bytes, Orphan[B]] = {}
        self.bytes = 0


class OrphanPool(Generic[B]):
    """The blocks that wait. `bytes` says how much they take; do not set it."""

    __slots__ = ("_by_parent", "_by_source", "_limits", "_orphans", "bytes")

    def __init__(self, limits: OrphanLimits = ORPHAN_LIMITS) -> None:
        self._limits = limits
        self._orphans: dict[bytes, Orphan[B]] = {}
        self._by_parent: dict[bytes, dict[bytes, None]] = {}
        self._by_source: dict[int, _Source[B]] = {}
        self.bytes = 0

    def __contains__(self, block_id: object) -> bool:
        return block_id in self._orphans

    def __len__(self) -> int:
        return len(self._orphans)

    def add(self, block: B, source: int, now: float) -> None:
        """Keep a block that is not here yet, and let go of what is then too old or too much."""
        self.expire(now)
        if block.size > self._limits.bytes:
            return
        orphan = Orphan(block, source, now)
        self._orphans[block.id] = orphan
        self._by_parent.setdefault(block.parent, {})[block.id] = None
        holder = self._by_source.setdefault(source, _Source())
        holder.orphans[block.id] = orphan
        holder.bytes += block.size
        self.bytes += block.size
        self._evict(holder)

    def wait_for(self, parent: bytes) -> bool:
        """Whether any of them waits for this parent."""
        return parent in self._by_parent

    def take(self, parent: bytes) -> list[Orphan[B]]:
        """The blocks that wait for this parent, in the order they came. They wait no more."""
        return [self._remove(block_id) for block_id in list(self._by_parent.get(parent, ()))]

    def expire(self, now: float) -> None:
        """Forget what has waited for too long."""
        oldest = now - self._limits.seconds
        late = []
        for block_id, orphan in self._orphans.items():
            if orphan.since > oldest:
                break
            late.append(block_id)
        for block_id in late:
            self._remove(block_id)

    def missing(self, limit: int = MISSING_MAX) -> list[bytes]:
        """At most `limit` ids of parents that are waited for, the latest first.

        A parent that waits here itself is not missing; its own parent is.
        """
        wanted = (each for each in reversed(self._by_parent) if each not in self._orphans)
        return list(islice(wanted, max(0, limit)))

    def _evict(self, sender: _Source[B]) -> None:
        """Back within the bounds, at the expense of those who take the most."""
        limits, sources = self._limits, self._by_source
        while len(sender.orphans) > limits.per_source:
            self._remove(next(iter(sender.orphans)))
        while len(self._orphans) > limits.count:
            most = max(sources.values(), key=lambda source: len(source.orphans))
            self._remove(next(iter(most.orphans)))
        while self.bytes > limits.bytes:
            most = max(sources.values(), key=lambda source: source.bytes)
            self._remove(next(iter(most.orphans)))

    def _remove(self, block_id: bytes) -> Orphan[B]:
        orphan = self._orphans.pop(block_id)
        block, source = orphan.block, self._by_source[orphan.source]
        self.bytes -= block.size
        source.bytes -= block.size
        del source.orphans[block_id]
        if not source.orphans:
            del self._by_source[orphan.source]
        siblings = self._by_parent[block.parent]
        del siblings[block_id]
        if not siblings:
            del self._by_parent[block.parent]
        return orphan

    def check(self) -> None:
        """Assert that the three indices agree and that the bounds hold."""
        limits, orphans = self._limits, self._orphans
        by_parent = {each: None for ids in self._by_parent.values() for each in ids}
        by_source = {each: None for held in self._by_source.values() for each in held.orphans}
        assert set(orphans) == set(by_parent) == set(by_source)
        assert all(self._by_parent.values())
        assert len(orphans) <= limits.count
        assert self.bytes == sum(each.block.size for each in orphans.values()) <= limits.bytes
        for number, held in self._by_source.items():
            assert 0 < len(held.orphans) <= limits.per_source
            assert held.bytes == sum(each.block.size for each in held.orphans.values())
            assert all(each.source == number for each in held.orphans.values())
