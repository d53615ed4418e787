"""Who searches which nonces of a job: every nonce is free, leased or done.

A *shard* is a range cut for one lease. A lease that ends well moves its nonces from leased to done;
one that is lost moves them back to free, at the end of a first-in first-out queue that is served
before anything new is cut. So what was lost longest is leased first, and a job of 2**64 nonces is
a frontier, a short queue and a `RangeSet`.

A shard may have several leases at once: near the end of a job an idle miner is given a copy of what
a slow one still holds, and whoever comes first wins. The others' leases are then void.

Lease numbers are the caller's; they only grow, and one that is not open earns nothing. Nothing here
knows of miners, time or networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from nonsuch.work.ranges import RangeSet

__all__ = ["LeaseBook", "Shard"]


class Shard(msgspec.Struct, eq=False):
    """A range of nonces that is leased, and the numbers of its open leases."""

    start: int
    stop: int
    leases: list[int]

    @property
    def count(self) -> int:
        """How many nonces it has."""
        return self.stop - self.start


class LeaseBook:
    """The nonces of one job, [start, stop), of which the ranges `done` are searched already.

    `free` says how many nonces wait to be leased. Do not set it.
    """

    __slots__ = ("_copied", "_done", "_frontier", "_open", "_returned", "_start", "_stop", "free")

    def __init__(self, start: int, stop: int, done: Iterable[range] = ()) -> None:
        self._start = start
        self._stop = max(start, stop)
        self._done = RangeSet(done)
        gaps = list(self._done.gaps(self._start, self._stop))
        self._frontier = gaps.pop().start if gaps and gaps[-1].stop == self._stop else self._stop
        self._returned = deque((gap.start, gap.stop) for gap in gaps)
        self.free = self._stop - self._frontier + sum(gap.stop - gap.start for gap in gaps)
        self._open: dict[int, Shard] = {}
        # Shards that are out and had a second lease at some time: no others can be done in part.
        self._copied: dict[Shard, None] = {}

    @property
    def start(self) -> int:
        """The first nonce of the job."""
        return self._start

    @property
    def stop(self) -> int:
        """Past the last nonce that matters; `truncate` lowers it."""
        return self._stop

    @property
    def done(self) -> RangeSet:
        """What has been searched. Do not change it."""
        return self._done

    @property
    def returned(self) -> int:
        """How many shards wait in the queue of the lost."""
        return len(self._returned)

    @property
    def open(self) -> dict[int, Shard]:
        """The shard of every open lease by its number, oldest first. Do not change it."""
        return self._open

    @property
    def finished(self) -> bool:
        """Whether every nonce is done. O(log n)."""
        return not self.free and not self._open and self._done.covers(self._start, self._stop)

    def lease(self, number: int, count: int) -> Shard | None:
        """Cut a shard of at most `count` (1 or more) free nonces; None where none is free."""
        if not self.free:
            return None
        if self._returned:
            start, end = self._returned.popleft()
            stop = min(end, start + count)
            if stop < end:
                self._returned.appendleft((stop, end))
        else:
            start, stop = self._frontier, min(self._stop, self._frontier + count)
            self._frontier = stop
        self.free -= stop - start
        shard = Shard(start, stop, [number])
        self._open[number] = shard
        return shard

    def copy(self, number: int, of: int) -> Shard:
        """One more lease on the shard of the open lease `of`."""
        shard = self._open[of]
        shard.leases.append(number)
        self._open[number] = shard
        self._copied[shard] = None
        return shard

    def finish(self, number: int, stop: int) -> list[int]:
        """The holder searched its shard up to `stop`. Returns the leases that this makes void.

        What the holder left undone is free again, unless a copy of the shard is still out. Raises
        `KeyError` where the lease is not open: the result is late and must not count.
        """
        shard = self._close(number)
        stop = min(stop, shard.stop)
        if shard.start < stop:
            self._done.add(shard.start, stop)
        if stop < shard.stop:
            self._free_rest(shard)
            return []
        rivals = list(shard.leases)
        for rival in rivals:
            self._close(rival)
        return rivals

    def give_back(self, number: int) -> None:
        """The lease is lost: what is not done of its shard goes to the end of the queue."""
        self._free_rest(self._close(number))

    def redo(self, start: int, stop: int) -> int:
        """Take back that [start, stop) is done; it must be searched again. Returns how many."""
        stop = min(stop, self._stop)
        if start >= stop:
            return 0
        taken = RangeSet(self._done.gaps(start, stop))
        redone = stop - start - taken.total
        self._done.remove(start, stop)
        # Neither what was not done, nor what a copy of a shard is out for, is free now.
        for shard in self._copied:
            taken.add(shard.start, shard.stop)
        for part in taken.gaps(start, stop):
            self._return(part)
        return redone

    def truncate(self, stop: int) -> list[int]:
        """Nothing from `stop` on matters any more. Returns the leases that this makes void."""
        if stop >= self._stop:
            return []
        self._stop = max(self._start, stop)
        self._frontier = min(self._frontier, self._stop)
        for shard in self._open.values():
            shard.stop = max(shard.start, min(shard.stop, self._stop))
        # What is left of a shard may be done: a rival of this lease came as far as the new stop.
        void = [n for n, shard in self._open.items() if self._done.covers(shard.start, shard.stop)]
        for number in void:
            self._close(number)
        cut = ((start, min(end, self._stop)) for start, end in self._returned)
        self._returned = deque((start, end) for start, end in cut if start < end)
        returned = sum(end - start for start, end in self._returned)
        self.free = self._stop - self._frontier + returned
        if self._done:
            self._done.remove(self._stop, max(self._stop, next(reversed(list(self._done))).stop))
        return void

    def _close(self, number: int) -> Shard:
        """The lease is open no more; a shard without any is not out any more."""
        shard = self._open.pop(number)
        shard.leases.remove(number)
        if not shard.leases:
            self._copied.pop(shard, None)
        return shard

    def _free_rest(self, shard: Shard) -> None:
        if shard.leases:
            return
        for gap in self._done.gaps(shard.start, shard.stop):
            self._return(gap)

    def _return(self, part: range) -> None:
        """These wait to be leased again; as one shard with those before them, if they touch.

        Else what is lost again and again would be cut into crumbs.
        """
        self.free += part.stop - part.start
        start = part.start
        if self._returned and self._returned[-1][1] == start:
            start, _ = self._returned.pop()
        self._returned.append((start, part.stop))

    def _check(self) -> None:
        """Every nonce is free, leased or done, and only one of them."""
        shards = {id(shard): shard for shard in self._open.values()}.values()
        parts = RangeSet(self._done)
        total = parts.total
        leased: list[range] = []
        for shard in shards:
            assert shard.leases, f"{shard} is open without a lease"
            leased += self._done.gaps(shard.start, shard.stop)
        free = [range(a, b) for a, b in self._returned]
        if self._frontier < self._stop:
            free.append(range(self._frontier, self._stop))
        for part in (*leased, *free):
            assert part.start < part.stop, f"an empty part {part}"
            parts.add(part.start, part.stop)
            total += part.stop - part.start
        assert parts.total == total, "a nonce is in two places"
        assert parts.covers(self._start, self._stop), "a nonce is nowhere"
        assert total == self._stop - self._start, "a nonce from outside the job"
        assert self.free == sum(part.stop - part.start for part in free), "free is miscounted"
        for number, shard in self._open.items():
            assert number in shard.leases, f"lease {number} does not know its shard"
            rest = sum(gap.stop - gap.start for gap in self._done.gaps(shard.start, shard.stop))
            assert rest == shard.count or shard in self._copied, f"{shard} was not copied"
        assert all(shard.leases for shard in self._copied), "what is not out is done, or free"
