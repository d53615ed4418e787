"""Which job a miner works for next, and how large a piece of it it gets.

**Fairness.** Each job counts the nonces that were leased of it, those that take longer for
more; the job with the fewest is served next (start-time fair queueing; Goyal, Vin and Cheng, 1996).
A job that comes, or that had nothing to lease for a while, begins at the count of whoever is served
now, so it can neither be starved by a huge job nor catch up on time in which it did not exist.

**Size.** A shard should take its miner `shard_seconds`. Toward the end of a job shards shrink with
what is left, to the miner's part of half of it, down to `TAIL_SECONDS`: so all miners come to the
end together. Who has shown no rate yet has its part at the most, however fast it says it is. A
miner has leases ahead of its slots only while there is plenty. Jobs of the pool's own node
(`gather`) are served one after the other, and the next one fills the end of this one.

**The last shards.** When nothing is left to lease, an idle miner gets a copy of a shard that its
holder will not finish before the idle one could. Oldest leases are looked at first, and only a few.
One that is *late*, whatever its holder said of itself, or whose job has stood still for so long, is
copied by the next miner that has shown a rate, busy or not: no job waits for who never comes back.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.roster import Grant, Miner, Roster
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.work.leases import Shard
from nonsuch.work.shares import expected_shares, share_limit
from nonsuch.work.target import Target

__all__ = ["COPY_GAIN", "TAIL_SECONDS", "Dispatcher", "Quota", "quota_for"]

FIRST_NONCES = 2**18
"""The first shard of a miner that says nothing of its rate: some milliseconds of a kernel."""

FIRST_SECONDS = 0.25
"""How long the first shard should take one that does."""

RATE_HINT_MAX = 1e12
"""No miner is believed to be faster before it has shown it."""

COUNT_MAX = 2**56
"""Nonces in a shard: more would be a rate that no machine has."""

TASKS_A_SECOND_MAX = 300.0
"""Shards that one miner should get through: whoever gives them to its workers does that alone."""

COUNT_BITS = 6
"""Shard sizes keep so many leading bits, so that they, and their share limits, repeat."""

PLENTY = 3.0
"""Shards' worth of free nonces a miner, from which on leases are given ahead."""

TAIL_PART = 0.5
"""How much of what is left is shared out in one round of leases."""

TAIL_SECONDS = 0.1
"""The smallest shards: they still take a hundred times as long as handing them out."""

COPIES_MAX = 2
"""Leases on one shard at once; a late one may have more."""

COPY_JOBS_MAX = 8
COPY_LEASES_MAX = 16
"""How many jobs, and how many of the oldest leases of each, are looked at for a copy."""

COPY_GAIN = 1.5
"""A copy is made where it would be done in two thirds of the time that the holder still needs."""


LATE_FACTOR = 3.0
"""A lease that takes so many times as long as it should, and `lease_seconds` on top, is late."""

SLOWER_MAX = 10.0
"""Where shards have a fixed size, a miner may take so many times as long as others usually do."""

COST_RATIO_MAX = 64
"""How many times as much a nonce of one kind may cost as one of another, whoever says so."""


class Quota(NamedTuple):
    """What a shard of some size owes: all nonces that meet `limit`, about `expected` of them."""

    limit: Target
    bits: int
    expected: float


@functools.lru_cache(maxsize=4096)
def quota_for(count: int, asked: Target | None = None) -> Quota:
    """The quota of so many nonces, those that meet `asked` included.

    Remembered, because sizes repeat.
    """
    limit = share_limit(count)
    if asked is not None and asked.value > limit.value:
        limit = asked
    return Quota(limit, limit.bits, expected_shares(count, limit))


class Dispatcher:
    """The jobs that have something to lease, and the decisions above."""

    def __init__(self, settings: PoolSettings, roster: Roster) -> None:
        self._settings = settings
        self._roster = roster
        self._heap: list[tuple[int, int, Job]] = []
        self._served = 0
        self._liteminers = 0

    def offer(self, job: Job) -> None:
        """The job has, or has again, free nonces. It stays in the heap until it has none."""
        if not job.queued and job.book.free:
            job.queued = True
            self._liteminers += job.is_liteminer
            job.served = max(job.served, self._served)
            heapq.heappush(self._heap, (job.served, job.order, job))

    @property
    def has_work(self) -> bool:
        """Whether some job may have something to lease; `next_job` finds out."""
        return bool(self._heap)

    @property
    def has_liteminer_work(self) -> bool:
        """The same for miners of the older wire."""
        return self._liteminers > 0

    def next_job(self, miner: Miner) -> Job | None:
        """The job to be served next among those that this miner can search."""
        heap = self._heap
        aside: list[tuple[int, int, Job]] = []
        found: Job | None = None
        while heap and found is None:
            served, _, job = heap[0]
            if not job.book.free:
                job.queued = False
                self._liteminers -= job.is_liteminer
                heapq.heappop(heap)
            elif served < job.served:
                # It was served meanwhile: nobody has looked for its place until now.
                heapq.heapreplace(heap, (job.served, job.order, job))
            elif miner.can_search(job):
                found = job
                self._served = max(self._served, served)
            else:
                aside.append(heapq.heappop(heap))
        for entry in aside:
            heapq.heappush(heap, entry)
        return found

    def shard_nonces(self, job: Job, miner: Miner) -> int:
        """How many nonces of the job this miner should get now."""
        if self._settings.shard_nonces is not None:
            return self._settings.shard_nonces
        rate = self._believed(miner, job)
        if not rate:
            if not self._roster.rate:
                return FIRST_NONCES
            # Others have shown a rate: it has an equal part of what is shared out.
            equal = self._free(job) * TAIL_PART / self._roster.slots
            return max(
                1, int(min(FIRST_NONCES, max(equal, self._roster.usual_rate * TAIL_SECONDS)))
            )
        everyone = self._everyone(job, miner)
        part = self._free(job) * TAIL_PART * rate / max(rate * miner.slots, everyone)
        # No crumbs: who lies, and comes back, would leave nothing else to the others.
        if miner.measured or self._roster.usual_rate:
            part = max(part, rate * self._tail_seconds(miner))
        wanted = rate * (self._seconds(miner) if miner.measured else FIRST_SECONDS)
        return _rounded(max(1, int(min(wanted, part, COUNT_MAX))))

    def _everyone(self, job: Job, miner: Miner) -> float:
        """What all together do of this kind in a second, if it is to all what it is to this one."""
        rate = self._roster.rate
        if miner.measured and miner.slot_rate:
            rate *= miner.pace(job) / miner.slot_rate
        return rate

    def cost(self, job: Job, miner: Miner, shard: Shard) -> int:
        """For how many nonces a shard counts: as its miner had done of what it is best at."""
        pace, best = miner.pace(job), miner.pace_best
        return int(shard.count * min(best / pace, COST_RATIO_MAX)) if pace else shard.count

    def _believed(self, miner: Miner, job: Job) -> float:
        """The rate of one of its slots; before it has shown one, no more than others have."""
        rate, usual = min(miner.pace(job), RATE_HINT_MAX), self._roster.usual_rate
        return rate if miner.measured or not usual else min(rate, usual)

    def _seconds(self, miner: Miner) -> float:
        """How long one of its slots should search a shard."""
        busy = miner.slots / TASKS_A_SECOND_MAX
        return max(self._settings.shard_seconds, miner.lease_seconds, busy)

    def _tail_seconds(self, miner: Miner) -> float:
        """The same of the last ones: who wants longer shards wants longer ones at the end too."""
        longer = max(1.0, miner.lease_seconds / self._settings.shard_seconds)
        return max(TAIL_SECONDS * longer, miner.slots / TASKS_A_SECOND_MAX)

    def _free(self, job: Job) -> int:
        """What is left to lease until this job's miners come to an end; O(1) but in a relay."""
        if job.gather is None:
            return job.book.free
        gathers = (other for _, _, other in self._heap if other.gather is not None)
        return sum(other.book.free for other in gathers)

    def is_plenty(self, job: Job, miner: Miner, count: int) -> bool:
        """Whether a lease of `count` nonces may be given to a miner whose slots are all busy."""
        if self._settings.shard_nonces is not None:
            return self._free(job) > PLENTY * count * self._roster.slots
        if miner.measured and not miner.pace(job):
            return False  # The first shard of a kind shows how long it takes.
        return self._free(job) > PLENTY * self._seconds(miner) * self._everyone(job, miner)

    def slow_grant(
        self, jobs: dict[str, Job], grants: dict[int, Grant], miner: Miner, now: float
    ) -> Grant | None:
        """An open lease that this idle miner would finish well before its holder."""
        best: Grant | None = None
        best_gain = 0.0
        over = (job for job in jobs.values() if not job.book.free and miner.can_search(job))
        for job in islice(over, COPY_JOBS_MAX):
            for number in islice(job.book.open, COPY_LEASES_MAX):
                grant = grants[number]
                gain = self._gain(grant, miner, now)
                if gain > best_gain:
                    best, best_gain = grant, gain
        return best

    def late(self, jobs: dict[str, Job], grants: dict[int, Grant], now: float) -> Iterator[Grant]:
        """Leases for which jobs wait that have nothing else left, one a shard. O(n) of all jobs."""
        late_at = now - LATE_FACTOR * self._settings.shard_seconds - self._settings.lease_seconds
        for job in jobs.values():
            if job.book.free or not job.book.open:
                continue
            oldest = grants[next(iter(job.book.open))]
            if min(oldest.granted_at, job.progressed_at) >= late_at:
                continue
            for number in islice(job.book.open, COPY_LEASES_MAX):
                grant = grants[number]
                if grant.shard.leases[0] == number and self._is_late(grant, now):
                    yield grant

    def _is_late(self, grant: Grant, now: float) -> bool:
        """What comes back from one and goes to the next may stand still without an old lease."""
        settings = self._settings
        seconds = max(settings.shard_seconds, self._expected_seconds(grant))
        since = max(grant.raced_at, min(grant.granted_at, grant.job.progressed_at))
        return now - since > LATE_FACTOR * seconds + settings.lease_seconds

    def _expected_seconds(self, grant: Grant) -> float:
        """How long a lease should take, whatever its holder says, or shows, of itself."""
        miner, settings = grant.miner, self._settings
        most = self._seconds(miner) if miner.measured else settings.shard_seconds
        if settings.shard_nonces is not None:
            usual = self._roster.usual_rate
            most = max(most, SLOWER_MAX * grant.shard.count / usual) if usual else math.inf
        return min(grant.expected_seconds, most)

    def _gain(self, grant: Grant, miner: Miner, now: float) -> float:
        """Seconds that a copy would save; 0 where there should be none."""
        holder = grant.miner
        if holder is miner or len(grant.shard.leases) >= COPIES_MAX:
            return 0.0
        remaining = holder.remaining_seconds(grant, now)
        rate = miner.pace(grant.job)
        needed = grant.shard.count / rate if rate else remaining / COPY_GAIN
        if needed * COPY_GAIN + TAIL_SECONDS / 2 > remaining:
            return 0.0
        return remaining - needed


def _rounded(count: int) -> int:
    surplus = max(0, count.bit_length() - COUNT_BITS)
    return count >> surplus << surplus
