"""Who is connected to a pool: strangers, clients and miners, and when each must next be heard.

Every peer has one time at which to look at it again, kept in a heap. A message only notes when it
came; the look finds out whether the peer was silent for too long, and sets the next time. So ten
thousand beats a second cost ten thousand assignments, and no timers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from nonsuch.networks.pool.audits import Audit
from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.liteminer import LITEMINER
from nonsuch.work.leases import Shard
from nonsuch.work.shares import Drift

if TYPE_CHECKING:
    from nonsuch.networks.pool.dispatch import Quota

__all__ = ["Grant", "Miner", "Peer", "Roster", "Unaudited"]

RATE_WEIGHT = 0.5
"""How much the latest shard says about a miner's rate."""

RATE_GROWTH_MAX = 16.0
"""How much faster than before a miner can prove to be with one shard."""


class Grant:
    """An open lease, as the pool knows it: whose it is, of which shard, since when.

    `start` and `stop` are what the miner was told; its shard may have been cut shorter since.
    """

    __slots__ = (
        "audit",
        "granted_at",
        "job",
        "miner",
        "number",
        "quota",
        "shard",
        "start",
        "stop",
    )

    def __init__(
        self, number: int, job: Job, shard: Shard, miner: Miner, quota: Quota | None, now: float
    ) -> None:
        self.number = number
        self.job = job
        self.shard = shard
        self.start = shard.start
        self.stop = shard.stop
        self.miner = miner
        self.quota = quota
        self.granted_at = now
        self.audit: Audit | None = None


class Unaudited(msgspec.Struct, eq=False):
    """A shard that a miner returned, and that has not been vouched for; `waits` for its audit."""

    job: Job
    start: int
    stop: int
    waits: bool = False


class Miner:
    """What the pool knows of a miner, and what it thinks of it."""

    __slots__ = (
        "address",
        "busy_since",
        "caught",
        "draining",
        "drift",
        "evidence",
        "gone",
        "grants",
        "hashes",
        "known",
        "leases_max",
        "name",
        "peer",
        "rate",
        "results",
        "returned_at",
        "unaudited",
        "wire",
    )

    def __init__(self, peer: Peer, name: str, rate_hint: float) -> None:
        self.peer = peer.number
        self.address = peer.address
        self.wire = peer.wire
        self.name = name or f"miner {peer.number}"
        self.evidence = peer.wire != LITEMINER
        self.leases_max = 2 if self.evidence else 1
        self.rate = rate_hint
        self.grants: dict[int, Grant] = {}
        self.known: dict[str, None] = {}
        self.busy_since = 0.0
        self.returned_at = 0.0
        self.hashes = 0
        self.results = 0
        self.drift = Drift()
        self.unaudited: deque[Unaudited] = deque()
        self.draining = 0
        self.caught = False
        self.gone = False

    def can_search(self, job: Job) -> bool:
        """Whether its wire has words for the job."""
        return self.evidence or job.is_liteminer

    @property
    def shown_rate(self) -> float:
        """Its rate, once it has shown one; what it only says of itself is for its first shard."""
        return self.rate if self.results else 0.0

    def returned(self, count: int, granted_at: float, now: float) -> None:
        """A shard of `count` nonces came back: follow the rate."""
        began = max(granted_at, self.returned_at)
        self.returned_at = now
        self.results += 1
        self.hashes = 0
        if now <= began or not count:
            return
        measured = count / (now - began)
        if self.rate:
            measured = min(measured, self.rate * RATE_GROWTH_MAX)
            self.rate += RATE_WEIGHT * (measured - self.rate)
        else:
            self.rate = measured

    def remaining_seconds(self, grant: Grant, now: float) -> float:
        """When this grant of its own should come back; as long again where it is overdue."""
        ahead = 0
        for each in self.grants.values():
            ahead += each.shard.count
            if each is grant:
                break
        elapsed = now - max(next(iter(self.grants.values())).granted_at, self.returned_at)
        expected = ahead / self.rate if self.rate else elapsed
        return expected - elapsed if expected > elapsed else elapsed


class Peer:
    """A connection."""

    __slots__ = (
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
        self.check_at = float("inf")
        self.role = ""
        self.miner: Miner | None = None
        self.cost = 0
        self.jobs = 0
        self.watching: dict[str, None] = {}


class Roster:
    """All peers. Miners without work wait in `idle`, in the order in which they came to it."""

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}
        self.miners: dict[int, Miner] = {}
        self.idle: dict[int, Miner] = {}
        self.rate = 0.0
        self.evident = 0
        self._checks: list[tuple[float, int]] = []

    def add(self, peer: Peer) -> None:
        """A connection has come."""
        self.peers[peer.number] = peer

    def add_miner(self, peer: Peer, miner: Miner) -> None:
        """A peer has said that it is a miner."""
        peer.miner = miner
        self.miners[miner.peer] = miner
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
            self.idle.pop(miner.peer, None)
            self.rate = max(0.0, self.rate - miner.shown_rate)
            self.evident -= miner.evidence
            if not self.miners:
                self.rate = 0.0  # Sums of floats drift; an empty roster is a good moment.

    def returned(self, miner: Miner, count: int, granted_at: float, now: float) -> None:
        """A shard came back: the rate of this miner, and of all, follows."""
        before = miner.shown_rate
        miner.returned(count, granted_at, now)
        self.rate += miner.rate - before

    def slow_down(self, miner: Miner, rate: float) -> None:
        """A miner turns out to be no faster than this."""
        before = miner.shown_rate
        miner.rate = rate
        self.rate += miner.shown_rate - before

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
                peer.check_at = float("inf")
                yield peer

    @property
    def next_look_at(self) -> float | None:
        """When somebody must be looked at; early, perhaps, but never late."""
        return self._checks[0][0] if self._checks else None

    def _check(self) -> None:
        for number, miner in self.miners.items():
            assert self.peers[number].miner is miner
            assert (number in self.idle) <= (not miner.grants), "an idle miner has work"
        assert all(number in self.miners for number in self.idle)
        assert self.evident == sum(miner.evidence for miner in self.miners.values())
        waiting = {entry[1] for entry in self._checks}
        for number, peer in self.peers.items():
            assert number in waiting, f"nobody looks at peer {number}"
            assert peer.check_at < float("inf")
