"""Who is connected to a pool: strangers, clients and miners, and when each must next be heard.

Every peer has one time at which to look at it again, kept in a heap. A message only notes when it
came; the look finds out whether the peer was silent for too long, and sets the next time. So ten
thousand beats a second cost ten thousand assignments, and no timers.

A miner has one slot, until it says that it has more: then it searches so many leases at once, and
is known by what one of its slots does, for a shard is what one slot searches. How fast that is, is
known for each kind of puzzle by itself: one kind takes fifty times as long as another.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import msgspec

from nonsuch.errors import RemoteError
from nonsuch.networks.pool.audits import Audit
from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.liteminer import LITEMINER
from nonsuch.networks.pool.messages import Capacity
from nonsuch.work.leases import Shard
from nonsuch.work.shares import Drift

if TYPE_CHECKING:
    from nonsuch.networks.pool.dispatch import Quota

__all__ = ["NEVER", "Grant", "Miner", "Peer", "Roster", "TooOften", "Unaudited"]

NEVER = math.inf

RATE_WEIGHT = 0.5
"""How much the latest shard says about a miner's rate."""

RATE_GROWTH_MAX = 16.0
"""How much faster than before a miner can prove to be with one shard."""

KINDS_MAX = 8
"""Kinds of puzzles of which a miner's rate is kept: of those that it has searched last."""

PUZZLE_BYTES_UNREAD_MAX = 2**19
"""Bytes of puzzles that are on their way to a miner, before it has shown that it has read them, and
before the last one: a miner of many slots is given as many jobs at once, and is cut off by what it
leaves unread."""

MEASURE_SECONDS_MIN = 0.05
"""Many slots are measured over longer than this: their results come in bursts."""

WORDS_SECONDS = 1.0
WORDS_MAX = 512
"""Messages that are no work, which a peer may send in so many seconds. One beat a second is usual;
what waited for minutes in a network comes at once, a cluster tells of its workers one by one, and a
client may have hundreds of jobs."""


class TooOften(RemoteError):
    """A peer says what costs it nothing again and again. A hundred times too often is the end."""

    cost = 10


class Grant(msgspec.Struct, eq=False):
    """An open lease, as the pool knows it: whose it is, of which shard, since when.

    `start` and `stop` are what the miner was told; its shard may have been cut shorter since.
    `began_at` is when a slot should have come to it, None while all are busy with older ones.
    `expected_seconds` is how long it should take, by what was thought of its miner at the start.
    `tried` is how many of its nonces count as `Job.under_way`. `raced_at` is when somebody was last
    given a copy because it was late.
    """

    number: int
    job: Job
    shard: Shard
    miner: Miner
    quota: Quota | None
    granted_at: float
    start: int
    stop: int
    expected_seconds: float
    audit: Audit | None = None
    began_at: float | None = None
    tried: int = 0
    raced_at: float = -math.inf

    def count_tried(self, count: int) -> None:
        """So many of its nonces are tried by now; of copies, and of audits, the job counts none."""
        if count and (self.audit is not None or self.shard.leases[0] != self.number):
            count = 0
        self.job.under_way += count - self.tried
        self.tried = count


class Unaudited(msgspec.Struct, eq=False, gc=False):
    """A shard that a miner returned, and that has not been vouched for; `waits` for its audit.

    `passed` is how much, in shards, has passed audits of it and of later ones.
    Of no interest to the garbage collector: there are millions, and no circle goes through one.
    """

    job: Job
    start: int
    stop: int
    waits: bool = False
    passed: float = 0.0


class Miner:
    """What the pool knows of a miner, and what it thinks of it.

    Its leases are `grants`, oldest first; those of them that no slot has come to are `ahead`. It is
    `overdue` from when it has lost all of them, because none came to an end, to its next result.
    Results of `owed` leases, which were taken from it, may be on their way. It has `audited` if
    that is what it was given last. It has `doubted` results that do not look searched.
    """

    __slots__ = (
        "_counted",
        "_counted_results",
        "_counted_since",
        "_hint",
        "_kind",
        "_others",
        "_unread",
        "_unread_bytes",
        "address",
        "ahead",
        "audited",
        "busy_since",
        "caught",
        "doubted",
        "draining",
        "drift",
        "evidence",
        "gone",
        "grants",
        "known",
        "lease_seconds",
        "looked_at",
        "measured",
        "name",
        "overdue",
        "owed",
        "peer",
        "results",
        "returned_at",
        "since_audit",
        "slot_rate",
        "slots",
        "told",
        "told_at",
        "unaudited",
        "wire",
        "workers",
    )

    def __init__(self, peer: Peer, name: str, rate_hint: float) -> None:
        self.peer = peer.number
        self.address = peer.address
        self.wire = peer.wire
        self.name = name or f"miner {peer.number}"
        self.evidence = peer.wire != LITEMINER
        self.slots = 1
        self.workers = 0
        self.lease_seconds = 0.0
        self._hint = self.slot_rate = rate_hint
        self._kind = ""
        self._others: dict[str, float] = {}
        self.measured = False
        self._counted = self._counted_results = 0
        self._counted_since = 0.0
        self.grants: dict[int, Grant] = {}
        self.ahead: dict[int, Grant] = {}
        self.known: dict[str, None] = {}
        self._unread: list[tuple[int, int]] = []
        self._unread_bytes = 0
        self.busy_since = 0.0
        self.returned_at = 0.0
        self.results = 0
        self.drift = Drift()
        self.unaudited: deque[Unaudited] = deque()
        self.since_audit = 0
        self.draining = 0
        self.overdue = False
        self.looked_at = self.told_at = float("-inf")
        self.told = (self.slots, self.workers)
        self.owed = 0
        self.audited = False
        self.doubted = 0
        self.caught = False
        self.gone = False

    def can_search(self, job: Job) -> bool:
        """Whether its wire has words for the job, and room for the puzzle if it must be told."""
        if self._unread_bytes >= PUZZLE_BYTES_UNREAD_MAX and job.id not in self.known:
            return False
        return self.evidence or job.is_liteminer

    # What it knows.

    def learn(self, job: Job, lease: int) -> bool:
        """This lease goes to it. Returns whether the puzzle must go with it."""
        if job.id in self.known:
            return False
        self.known[job.id] = None
        self._unread.append((lease, job.puzzle_bytes))
        self._unread_bytes += job.puzzle_bytes
        return True

    def has_read(self, lease: int) -> None:
        """It knows of this lease: so it has read all that was sent before."""
        while self._unread and self._unread[0][0] <= lease:
            self._unread_bytes -= self._unread.pop(0)[1]

    # How fast it is.

    @property
    def rate(self) -> float:
        """Hashes a second of all its slots together."""
        return self.slot_rate * self.slots

    @property
    def shown_rate(self) -> float:
        """Its rate, once it has shown one; what it only says of itself is for its first shard."""
        return self.slot_rate * self.slots if self.measured else 0.0

    def pace(self, job: Job) -> float:
        """Nonces of this job that one of its slots does in a second; 0 where nobody knows."""
        if self._kind == job.kind or not self._kind:
            return self.slot_rate
        return self._others.get(job.kind, 0.0)

    @property
    def pace_best(self) -> float:
        """Nonces a second of the kind that it is best at."""
        return max(self.slot_rate, *self._others.values()) if self._others else self.slot_rate

    def slot_seconds(self, job: Job, count: int) -> float:
        """How long one of its slots takes for so many nonces of this job; 0 where nobody knows."""
        pace = self.pace(job)
        return count / pace if pace else 0.0

    def resize(self, capacity: Capacity) -> None:
        """It has other slots than before, each as fast as they were; what it holds it keeps."""
        self.slots = capacity.slots
        self.workers = capacity.workers
        self.lease_seconds = capacity.seconds
        if not self.measured:
            self.slot_rate = self._hint / max(1, capacity.slots)
        self._counted_results = 0

    def returned(self, grant: Grant, count: int, now: float) -> None:
        """`count` nonces of a lease came back: follow the rate; 0 say nothing of it."""
        began = max(grant.granted_at, self.returned_at)
        self.returned_at = now
        self.results += 1
        self.overdue = False
        if self._kind != grant.job.kind and self._turn_to(grant.job.kind):
            # Leases of several kinds at once are not counted together.
            began = grant.granted_at if grant.began_at is None else grant.began_at
        elif self.slots > 1:
            self._count(count, began, now)
            return
        if now > began and count:
            self._follow(count / (now - began))
        self.measured |= count > 0

    def _turn_to(self, kind: str) -> bool:
        """It does another kind of puzzles than before. Returns whether it did any before."""
        before, self._kind = self._kind, kind
        if not before:
            return False
        self._counted_results = 0
        self._others[before] = self.slot_rate
        self.slot_rate = self._others.pop(kind, 0.0)
        if len(self._others) > KINDS_MAX:
            del self._others[next(iter(self._others))]
        return True

    def slow_down(self, job: Job, slot_rate: float) -> None:
        """One slot turns out to be no faster than this; what it only said of itself was wrong."""
        if self.measured and self._kind != job.kind:
            self._others[job.kind] = min(slot_rate, self._others.get(job.kind, slot_rate))
            return
        slower = min(slot_rate, self.slot_rate or slot_rate)
        if self.measured:
            self.slot_rate += (slower - self.slot_rate) / max(1, self.slots)
        else:
            self.slot_rate = slower
            self._hint = slower * max(1, self.slots)

    def _count(self, count: int, began: float, now: float) -> None:
        """Many slots may end together: what counts is what all of them did in some time."""
        if not self._counted_results:
            self._counted, self._counted_since = 0, began
        self._counted += count
        self._counted_results += 1
        seconds = now - self._counted_since
        if self._counted_results >= self.slots and seconds > MEASURE_SECONDS_MIN and self._counted:
            self._counted_results = 0
            self._follow(self._counted / seconds / self.slots)
            self.measured = True

    def _follow(self, measured: float) -> None:
        """What a slot has done lately, in hashes a second."""
        if self.slot_rate:
            measured = min(measured, self.slot_rate * RATE_GROWTH_MAX)
            self.slot_rate += RATE_WEIGHT * (measured - self.slot_rate)
        else:
            self.slot_rate = measured

    # What it holds.

    @property
    def leases_max(self) -> int:
        """One for each slot, and one ahead of it if it has shown a rate; else it may be slow."""
        return self.slots * (2 if self.measured and self.evidence else 1)

    @property
    def has_room(self) -> bool:
        """Whether a slot of it stands still that should have work."""
        most = min(1, self.slots) if self.overdue else self.slots
        return len(self.grants) < most and not self.doubted

    def hold(self, grant: Grant) -> None:
        """A lease is on its way to it."""
        if not self.grants:
            self.busy_since = grant.granted_at
            self._counted_results = 0
        self.grants[grant.number] = grant
        if self.ahead or len(self.grants) > max(1, self.slots):
            self.ahead[grant.number] = grant
        else:
            grant.began_at = grant.granted_at

    def release(self, grant: Grant) -> None:
        """It does not hold this lease any more. Slots come to others at the next `begin_next`."""
        self.grants.pop(grant.number, None)
        self.ahead.pop(grant.number, None)

    def begin_next(self, now: float) -> None:
        """Slots that are free come to what is ahead. Who has lost all of them has one again."""
        if not self.ahead:
            return
        idle = max(1, self.slots) - (len(self.grants) - len(self.ahead))
        while self.ahead and idle > 0:
            self.ahead.pop(next(iter(self.ahead))).began_at = now
            idle -= 1

    def count_tried(self, hashes: int) -> None:
        """Its beat says how many nonces it has tried of all that its slots have come to."""
        each = hashes // max(1, len(self.grants) - len(self.ahead))
        for grant in self.grants.values():
            if grant.began_at is not None:
                grant.count_tried(min(each, grant.shard.count))

    def remaining_seconds(self, grant: Grant, now: float) -> float:
        """When this grant of its own should come back; as long again where it is overdue."""
        expected, began_at = self.slot_seconds(grant.job, grant.shard.count), grant.began_at
        if began_at is None:
            oldest = next(iter(self.grants.values()))
            expected += self.slot_seconds(oldest.job, oldest.shard.count)
            began_at = oldest.granted_at if oldest.began_at is None else oldest.began_at
        elapsed = now - began_at
        return expected - elapsed if expected > elapsed else elapsed


class Peer:
    """A connection."""

    __slots__ = (
        "_words",
        "_words_since",
        "address",
        "check_at",
        "cost",
        "heard_at",
        "jobs",
        "miner",
        "number",
        "role",
        "since",
        "watching",
        "wire",
    )

    def __init__(self, number: int, address: str, wire: str, now: float) -> None:
        self.number = number
        self.address = address
        self.wire = wire
        self.since = self.heard_at = now
        self.check_at = NEVER
        self.role = ""
        self.miner: Miner | None = None
        self.cost = 0
        self.jobs = 0
        self.watching: dict[str, None] = {}
        self._words = 0
        self._words_since = float("-inf")

    def count_words(self, words: int, now: float) -> None:
        """It has said something that is no work, as dear as so many words. Raises `TooOften`."""
        if now >= self._words_since + WORDS_SECONDS:
            self._words, self._words_since = 0, now
        self._words += words
        if self._words > WORDS_MAX:
            raise TooOften(
                f"more than {WORDS_MAX} messages that are no work in {WORDS_SECONDS:g} s"
            )


class Roster:
    """All peers. Miners with slots to spare are `idle`, in the order in which they came to it, and
    those of the older wire, for whom there is other work, `idle_blind`.

    `rate` and `slots` are those of all miners together, `shown_slots` of those with a rate shown.
    """

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}
        self.miners: dict[int, Miner] = {}
        self.idle: dict[int, Miner] = {}
        self.idle_blind: dict[int, Miner] = {}
        self.rate = 0.0
        self.slots = self.shown_slots = 0
        self.evident = 0
        self._checks: list[tuple[float, int]] = []

    @property
    def has_idle(self) -> bool:
        """Whether any miner has a slot to spare."""
        return bool(self.idle or self.idle_blind)

    @property
    def all_idle(self) -> Iterator[Miner]:
        """All that have a slot to spare."""
        return chain(self.idle.values(), self.idle_blind.values())

    def first_idle(self, count: int) -> list[Miner]:
        """The first so many of either kind."""
        kinds = (self.idle, self.idle_blind)
        return [miner for idle in kinds for miner in islice(idle.values(), count)]

    @property
    def usual_rate(self) -> float:
        """What a slot does on average, of those who have shown it; 0.0 where nobody has."""
        return self.rate / self.shown_slots if self.shown_slots else 0.0

    def add(self, peer: Peer) -> None:
        """A connection has come."""
        self.peers[peer.number] = peer

    def add_miner(self, peer: Peer, miner: Miner) -> None:
        """A peer has said that it is a miner."""
        peer.miner = miner
        self.miners[miner.peer] = miner
        self.slots += miner.slots
        self.evident += miner.evidence

    def remove(self, number: int) -> Peer | None:
        """A connection has gone."""
        peer = self.peers.pop(number, None)
        if peer is not None and peer.miner is not None:
            self.remove_miner(peer.miner)
        return peer

    def remove_miner(self, miner: Miner) -> None:
        """A miner takes no further part, whether or not its connection stands."""
        if self.miners.pop(miner.peer, None) is not None:
            self._idle_of(miner).pop(miner.peer, None)
            self.rate = max(0.0, self.rate - miner.shown_rate)
            self.slots -= miner.slots
            self.shown_slots -= miner.slots if miner.measured else 0
            self.evident -= miner.evidence
            if not self.miners:
                self.rate = 0.0  # Sums of floats drift; an empty roster is a good moment.

    def returned(self, grant: Grant, count: int, now: float) -> None:
        """A shard came back: the rate of its miner, and of all, follows."""
        miner = grant.miner
        before, measured = miner.shown_rate, miner.measured
        miner.returned(grant, count, now)
        self.rate += miner.shown_rate - before
        if miner.measured and not measured:
            self.shown_slots += miner.slots

    def slow_down(self, miner: Miner, job: Job, slot_rate: float) -> None:
        """One slot of a miner turns out to be no faster than this."""
        before = miner.shown_rate
        miner.slow_down(job, slot_rate)
        self.rate += miner.shown_rate - before

    def resize(self, miner: Miner, capacity: Capacity) -> None:
        """A miner has other slots than before."""
        before, slots = miner.shown_rate, miner.slots
        miner.resize(capacity)
        self.rate += miner.shown_rate - before
        self.slots += miner.slots - slots
        self.shown_slots += miner.slots - slots if miner.measured else 0
        self.place(miner)

    def place(self, miner: Miner) -> None:
        """A miner is idle, or it is not, after what it holds has changed."""
        idle = self._idle_of(miner)
        if miner.has_room and not miner.gone:
            idle[miner.peer] = miner
        else:
            idle.pop(miner.peer, None)

    def place_last(self, miner: Miner) -> None:
        """The same, behind all others that are idle."""
        self._idle_of(miner).pop(miner.peer, None)
        self.place(miner)

    def _idle_of(self, miner: Miner) -> dict[int, Miner]:
        return self.idle if miner.evidence else self.idle_blind

    def has_other(self, miner: Miner, *, evidence: bool) -> bool:
        """Whether somebody else is there who could scan this miner's shard again."""
        if evidence:
            return self.evident - (miner.evidence and miner.peer in self.miners) > 0
        return len(self.miners) - (miner.peer in self.miners) > 0

    def look_at(self, peer: Peer, when: float) -> None:
        """Look at this peer at `when` at the latest."""
        if when < peer.check_at:
            peer.check_at = when
            heapq.heappush(self._checks, (when, peer.number))

    def due(self, now: float) -> Iterator[Peer]:
        """The peers to be looked at now. Each must be given a new time, or removed."""
        while self._checks and self._checks[0][0] <= now:
            when, number = heapq.heappop(self._checks)
            peer = self.peers.get(number)
            if peer is not None and peer.check_at == when:
                peer.check_at = NEVER
                yield peer

    @property
    def next_look_at(self) -> float:
        """When somebody must be looked at; early, perhaps, but never late."""
        return self._checks[0][0] if self._checks else NEVER

    def _check(self) -> None:
        for number, miner in self.miners.items():
            assert self.peers[number].miner is miner
            idle = number in self._idle_of(miner)
            assert idle <= miner.has_room, "an idle miner has work for all slots"
            assert miner.ahead.keys() <= miner.grants.keys()
            assert all(grant.began_at is None for grant in miner.ahead.values())
        assert all(miner.peer in self.miners for miner in self.all_idle)
        assert self.slots == sum(miner.slots for miner in self.miners.values())
        shown = (miner.slots for miner in self.miners.values() if miner.measured)
        assert self.shown_slots == sum(shown)
        assert self.evident == sum(miner.evidence for miner in self.miners.values())
        waiting = {entry[1] for entry in self._checks}
        for number, peer in self.peers.items():
            assert number in waiting, f"nobody looks at peer {number}"
            assert peer.check_at < NEVER
