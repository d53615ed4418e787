"""What the parts of a pool share: who is there, what is to be done, and what is to be said.

The parts are `leases` (work goes out), `results` (work comes back, believed or not), `jobs`
(clients and their answers) and `pool` (events and connections). Each is given the one `State`.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator

from nonsuch.networks.pool import facts, messages
from nonsuch.networks.pool.audits import Audit, AuditDesk
from nonsuch.networks.pool.dispatch import Dispatcher
from nonsuch.networks.pool.job import Finished, Job
from nonsuch.networks.pool.records import Record
from nonsuch.networks.pool.roster import NEVER, Grant, Peer, Roster
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.node import Close, Effect, Emit, Persist, Send
from nonsuch.work.ranges import RangeSet
from nonsuch.work.shares import Rehash

__all__ = ["DROPPED", "OwnAudit", "State"]

DROPPED = "dropped"
"""The role of a peer that was told to go."""

JOB_SUBJECT = "job:"
LIFE_SUBJECT = "pool"

SNAPSHOT_RECORDS = 10_000
"""A running job's records on disk before a snapshot takes their place. At the least:"""

SNAPSHOT_FACTOR = 4
"""So many for each piece in which its nonces are done: records cost more than their snapshots."""

REASON_CHARACTERS_MAX = 500


class OwnAudit:
    """An audit that the pool does itself since `now`, as a search of this number."""

    __slots__ = ("audit", "began_at", "task")

    def __init__(self, task: int, audit: Audit, now: float) -> None:
        self.task = task
        self.audit = audit
        self.began_at = now


class State:
    """All that a pool knows, and the effects of the event at hand.

    `heard` are those of the `finished` jobs whose answer some client was sent in this life. `late`
    are leases for which jobs wait, as they were at the last look.
    """

    def __init__(self, settings: PoolSettings, lots: random.Random, rehash: Rehash) -> None:
        self.settings = settings
        self.lots = lots
        self.rehash = rehash
        self.roster = Roster()
        self.dispatcher = Dispatcher(settings, self.roster)
        self.desk = AuditDesk(settings, self.roster)
        self.own_audit: OwnAudit | None = None
        self.jobs: dict[str, Job] = {}
        self.gathers: dict[int, Job] = {}
        self.finished: dict[str, Finished] = {}
        self.heard: dict[str, None] = {}
        self.grants: dict[int, Grant] = {}
        self.late: deque[Grant] = deque()
        self.number = 0
        self.began = 0.0
        self.wake_at = self.serve_at = NEVER
        self.counts: Counter[str] = Counter()
        self.requeues: Counter[str] = Counter()
        self.effects: list[Effect] = []

    def send(self, peer: int, message: messages.Message) -> None:
        """Say something to a peer."""
        self.effects.append(Send(peer, message))

    def emit(self, fact: facts.Fact) -> None:
        """Say something to people."""
        self.effects.append(Emit(fact))

    def wake(self, when: float) -> None:
        """See to watchers and idle miners at `when` at the latest."""
        self.wake_at = min(self.wake_at, when)

    def persist(self, subject: str, record: Record | None, *, replaces: bool = False) -> None:
        """Keep a record."""
        self.effects.append(Persist(subject, record, replaces))

    def persist_job(self, job: Job, record: Record) -> None:
        """One more record of a job, or a snapshot in the place of many.

        Of one that is gathered there are none: who asked for it asks again.
        """
        if job.gather is not None:
            return
        job.records += 1
        if SNAPSHOT_RECORDS <= job.records >= SNAPSHOT_FACTOR * len(job.book.done):
            job.records = 0
            # What waits for its audit is not for the disk, and be it for that of a piece.
            waiting = (audit for audit in self.open_audits() if audit.job is job)
            entries = (range(each.entry.start, each.entry.stop) for each in waiting)
            snapshot = job.snapshot(RangeSet(entries))
            self.persist(JOB_SUBJECT + job.id, snapshot, replaces=True)
        else:
            self.persist(JOB_SUBJECT + job.id, record)

    def open_audits(self) -> Iterator[Audit]:
        """All audits that wait, that miners do, and that the pool does."""
        yield from self.desk.waiting
        yield from self.desk.given
        if self.own_audit is not None:
            yield self.own_audit.audit

    def close_job(self, job: str, record: Record | None) -> None:
        """What is left on disk of a job that is over; None for nothing."""
        self.persist(JOB_SUBJECT + job, record, replaces=True)

    def persist_life(self, record: Record) -> None:
        """How often the pool has begun."""
        self.persist(LIFE_SUBJECT, record, replaces=True)

    def drop(self, peer: Peer, reason: str, *, final: bool = False) -> None:
        """Tell a peer why, and hang up. Its leases are the caller's business."""
        if peer.role == DROPPED:
            return
        peer.role = DROPPED
        if peer.miner is not None:
            peer.miner.gone = True
            self.roster.remove_miner(peer.miner)
        self.counts["dropped"] += 1
        self.send(peer.number, messages.Refused(reason[:REASON_CHARACTERS_MAX], final))
        self.effects.append(Close(peer.number, reason))
        self.emit(facts.PeerDropped(peer.address, reason))
        self.roster.look_at(peer, peer.heard_at + self.settings.idle_seconds)

    def take_effects(self) -> list[Effect]:
        """What the event at hand has brought about, once."""
        effects, self.effects = self.effects, []
        return effects
