"""The pool: jobs come from clients, go out to miners in shards, and come back as one answer.

    client ──Submit──▶ job ──cut──▶ shard ──Lease──▶ miner ──Result──▶ rehashed ──▶ done, best
                        ▲                     │                            │
                        └──── returned ◀── silent, gone, caught            └──▶ journal

This file is the core's face: events, connections and the clock. Behind it, `leases` give work out,
`results` take it back and believe nothing, and `jobs` are what clients see; `state` is what they
share. `work/leases` knows which nonces are free, leased and done; `dispatch` decides who gets what.

**What is lost when.** A miner that closes gives its shards back at once; one that is silent for
`lease_seconds` while it holds work loses them; one whose beat does not name a lease that it should
hold (the message was lost) loses that one. A result of a lease that is not open any more is
ignored: the nonces are somebody else's by now. A client that goes leaves its job behind, and finds
it again by its id; only a LiteMiner client, whose wire has no ids, takes its job along.

**What is on disk when.** A job is accepted when its record is on disk, and answered when its answer
is. A finished shard need not be: if its record is lost with the pool, it is searched again.
"""

from __future__ import annotations

import hmac
import random
from collections import Counter
from itertools import islice

import msgspec

from nonsuch.errors import RemoteError, RemoteProtocolError
from nonsuch.networks.pool import facts, messages, records
from nonsuch.networks.pool.jobs import Jobs
from nonsuch.networks.pool.leases import Leases
from nonsuch.networks.pool.liteminer import LITEMINER
from nonsuch.networks.pool.results import Results
from nonsuch.networks.pool.roster import NEVER, Miner, Peer
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.state import DROPPED, State
from nonsuch.networks.pool.statistics import MinerStatistics, PoolStatistics
from nonsuch.node import (
    LOCAL,
    Cancel,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Received,
    Search,
    Searched,
    Started,
    Tick,
)
from nonsuch.work.shares import Rehash, hashed_extremes

__all__ = ["Pool"]

BEATS_A_LEASE = 3
"""A miner beats so often in `lease_seconds`: two of them may be late."""

ASK_WORDS = 32
"""What a report costs, whose hundreds of lines are kept until they are read."""

TELL_SECONDS = 1.0
"""A miner's slots may change more often than people want to read of it."""

DESCRIBED_MAX = 100
"""Jobs and miners that statistics describe one by one."""

LIFE_BITS = 40
"""Lease numbers of one life of the pool: a million million."""

LOOK_AGAIN_SECONDS = 0.001
"""At the least: a clock that stands still must not make a loop."""


class Pool:
    """The core of a pool. `lots` decides what is audited; its seed makes a run repeatable.

    `rehash` is how shares are rehashed; one way is faster than another, and none says otherwise.
    """

    def __init__(
        self,
        settings: PoolSettings,
        lots: random.Random,
        rehash: Rehash = hashed_extremes,
    ) -> None:
        self._settings = settings
        self._state = State(settings, lots, rehash)
        self._leases = Leases(self._state)
        self._jobs = Jobs(self._state, self._leases)
        self._results = Results(self._state, self._leases, self._jobs)
        self.upstream: bool | None = None
        """Whether the pool above is reached, where this one is a relay's."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received():
                self._on_received(event, now)
            case Tick():
                self._on_tick(now)
            case Connected():
                self._on_connected(event, now)
            case Disconnected():
                self._on_disconnected(event, now)
            case Erred(peer=number, cost=cost, reason=reason):
                if (peer := self._state.roster.peers.get(number)) is not None:
                    self._charge(peer, cost, reason, now)
            case Searched():
                self._results.own_audit_done(event, now)
            case Started():
                self._on_started(event, now)
            case _:
                pass
        return self._state.take_effects()

    def deadline(self) -> float | None:
        """When somebody may have been silent for too long, or watchers want news."""
        state = self._state
        nearest = min(state.roster.next_look_at, state.wake_at, state.serve_at)
        return None if nearest == NEVER else nearest

    def _on_started(self, event: Started, now: float) -> None:
        replay = records.Replay(event.records)
        self._state.began = now
        self._state.number = replay.life + 1 << LIFE_BITS
        self._state.persist_life(records.Life(replay.life + 1))
        self._jobs.restore(replay, now)
        if replay.count:
            jobs, finished = len(self._state.jobs), len(self._state.finished)
            self._state.emit(facts.Restored(jobs, finished, replay.count))

    def _on_connected(self, event: Connected, now: float) -> None:
        peer = Peer(event.peer, event.address, event.wire, now)
        roster = self._state.roster
        roster.add(peer)
        roster.look_at(peer, now + self._settings.hello_seconds)
        if len(roster.peers) > self._settings.connections_max:
            reason = f"this pool has its {self._settings.connections_max} connections"
            self._state.drop(peer, reason)

    def _on_disconnected(self, event: Disconnected, now: float) -> None:
        peer = self._state.roster.peers.get(event.peer)
        if peer is None:
            return
        self._jobs.left(peer, now)
        if peer.miner is not None:
            self._miner_left(peer.miner, event.why, now)
        self._state.roster.remove(event.peer)

    def _on_received(self, event: Received, now: float) -> None:
        message = event.message
        peer = self._state.roster.peers.get(event.peer)
        if peer is None:
            if event.peer == LOCAL:
                self._from_owner(message, now)
            return
        if peer.role == DROPPED:
            return
        peer.heard_at = now
        try:
            if peer.miner is not None:
                self._from_miner(peer, peer.miner, message, now)
            elif peer.role == "client":
                self._from_client(peer, message, now)
            elif isinstance(message, messages.Hello):
                self._hello(peer, message, now)
            else:
                raise _out_of_place(message, "before a hello")
        except RemoteError as error:
            self._charge(peer, error.cost, str(error), now)

    def _from_owner(self, message: object, now: float) -> None:
        """What the node itself wants searched. Raises `LocalError` for what cannot be."""
        match message:
            case Search():
                self._jobs.gather(message, now)
            case Cancel(task=task):
                self._jobs.cancel(task, now)
            case _:
                pass

    def _from_miner(self, peer: Peer, miner: Miner, message: object, now: float) -> None:
        match message:
            case messages.Result():
                if not self._results.take(miner, message, now):
                    peer.count_words(1, now)
            case messages.Beat():
                peer.count_words(1, now)
                self._beat(miner, message, now)
            case messages.Capacity():
                peer.count_words(1, now)
                self._capacity(miner, message, now)
            case _:
                raise _out_of_place(message, "from a miner")

    def _from_client(self, peer: Peer, message: object, now: float) -> None:
        peer.count_words(ASK_WORDS if isinstance(message, messages.Ask) else 1, now)
        match message:
            case messages.Submit():
                self._jobs.submit(peer, message, now)
            case messages.Watch():
                self._jobs.watch(peer, message, now)
            case messages.Withdraw():
                self._jobs.withdraw(peer, message, now)
            case messages.Ask():
                report = msgspec.json.encode(self.statistics(now))
                self._state.send(peer.number, messages.Report(report))
            case _:
                raise _out_of_place(message, "from a client")

    def _on_tick(self, now: float) -> None:
        state = self._state
        for peer in state.roster.due(now):
            self._look_at(peer, now)
        if now >= state.wake_at:
            state.wake_at = NEVER
            self._jobs.tell_watchers(now)
            self._leases.find_late(now)
            self._leases.copy_slow_shards(now)
        self._leases.serve_idle(now)

    # Connections.

    def _look_at(self, peer: Peer, now: float) -> None:
        """Is this peer silent for too long? If not, look again when it could be."""
        state, settings, miner = self._state, self._settings, peer.miner
        late_at = peer.heard_at + settings.idle_seconds
        if peer.role == DROPPED or self._may_be_silent(peer):
            late_at = now + settings.idle_seconds
        if not peer.role:
            state.drop(peer, f"no hello within {settings.hello_seconds:g} s")
        elif miner is not None and miner.grants and not miner.gone:
            frozen_at = max(peer.heard_at, miner.busy_since) + settings.lease_seconds
            if now >= frozen_at:
                reason = f"silent for {settings.lease_seconds:g} s with work in hand"
                self._leases.take_away(miner, "frozen", reason)
            else:
                self._leases.lose_overdue(miner, now)
                late_at = frozen_at
        elif now >= late_at:
            state.drop(peer, f"silent for {settings.idle_seconds:g} s")
        state.roster.look_at(peer, max(late_at, now + LOOK_AGAIN_SECONDS))

    @staticmethod
    def _may_be_silent(peer: Peer) -> bool:
        """Who waits for an answer need not speak, nor a LiteMiner miner without work.

        That the other end is there at all, the system finds out.
        """
        idle = peer.miner is not None and not peer.miner.evidence and not peer.miner.grants
        return idle or bool(peer.watching)

    def _charge(self, peer: Peer, cost: int, reason: str, now: float) -> None:
        """An error of a peer's; when its budget is spent, it goes."""
        self._state.counts["errors"] += 1
        peer.cost += cost
        if peer.cost >= self._settings.error_budget and peer.role != DROPPED:
            miner = peer.miner
            self._state.drop(peer, reason)
            if miner is not None:
                self._leases.lose_all(miner, "dropped")
                self._leases.serve_idle(now)

    def _hello(self, peer: Peer, hello: messages.Hello, now: float) -> None:
        state, settings = self._state, self._settings
        expected = (messages.PROTOCOL, messages.VERSION)
        if (hello.protocol, hello.version) != expected:
            ours, theirs = f"{expected[0]} version {expected[1]}", f"version {hello.version}"
            reason = f"this pool speaks {ours}, not {hello.protocol} {theirs}"
            state.drop(peer, reason, final=True)
            return
        # LiteMiner has no room for a token: whoever opens a port for it lets everybody in.
        given, wanted = hello.token.encode(), settings.token.encode()
        if peer.wire != LITEMINER and not hmac.compare_digest(given, wanted):
            reason = "the token is wrong" if hello.token else "this pool wants a token"
            state.drop(peer, reason, final=True)
            return
        peer.role = hello.role
        beat_seconds = settings.lease_seconds / BEATS_A_LEASE
        state.send(peer.number, messages.Welcome(beat_seconds, settings.name))
        state.roster.look_at(peer, now + settings.idle_seconds)
        if hello.role == "miner":
            # Written so that what is no number is no rate.
            hint = hello.rate if 0 < hello.rate <= messages.RATE_MAX else 0.0
            miner = Miner(peer, hello.name, hint)
            state.roster.add_miner(peer, miner)
            count = len(state.roster.miners)
            state.emit(facts.MinerJoined(miner.name, peer.address, peer.wire, count))
            self._leases.refill(miner, now)

    # Miners.

    def _beat(self, miner: Miner, beat: messages.Beat, now: float) -> None:
        often_seconds = self._settings.lease_seconds / BEATS_A_LEASE / 2
        is_due = now >= miner.looked_at + often_seconds
        if is_due:
            miner.looked_at = now
            self._look_through(miner, beat, now)
        if not miner.grants:
            # It has none that it could name; those that were revoked it has read of.
            miner.has_read(self._state.number)
        if miner.has_room:
            # Back from the dead, or from a lost message: it may have work again.
            self._leases.refill(miner, now)
        if is_due:
            self._leases.serve_idle(now)

    def _look_through(self, miner: Miner, beat: messages.Beat, now: float) -> None:
        """Hold a beat against all that the miner should hold: O(n) of its leases."""
        self._tell_changed(miner, now)
        miner.count_tried(beat.hashes)
        miner.has_read(max(beat.leases, default=0))
        if miner.evidence and tuple(miner.grants) != beat.leases:
            held, sent_before = set(beat.leases), now - self._settings.lease_seconds
            for grant in list(miner.grants.values()):
                if grant.number not in held and grant.granted_at < sent_before:
                    self._leases.lose(grant, "missed")

    def _capacity(self, miner: Miner, capacity: messages.Capacity, now: float) -> None:
        """A miner has other slots than before. It keeps what it holds."""
        self._state.roster.resize(miner, capacity)
        self._tell_changed(miner, now)
        self._leases.refill(miner, now)
        self._leases.serve_idle(now)

    def _tell_changed(self, miner: Miner, now: float) -> None:
        """Tell of its slots, but not too often: what changes meanwhile is told with a beat."""
        state, slots = self._state, (miner.slots, miner.workers)
        if slots != miner.told and now >= miner.told_at + TELL_SECONDS:
            miner.told, miner.told_at = slots, now
            state.emit(facts.MinerChanged(miner.name, *slots, state.roster.slots))

    def _miner_left(self, miner: Miner, why: str, now: float) -> None:
        leases = len(miner.grants)
        if not miner.gone:
            miner.gone = True
            self._state.roster.remove_miner(miner)
            miners = len(self._state.roster.miners)
            self._state.emit(facts.MinerLeft(miner.name, why, leases, miners))
        self._leases.lose_all(miner, "left")
        self._leases.serve_idle(now)

    # What is seen from outside.

    @property
    def rate(self) -> float:
        """Hashes a second that all miners have shown."""
        return self._state.roster.rate

    @property
    def evident_miners(self) -> int:
        """How many miners there are whose shares can be gathered."""
        return self._state.roster.evident

    @property
    def gathers(self) -> int:
        """How many searches go on that the node itself has asked for."""
        return len(self._state.gathers)

    def statistics(self, now: float) -> PoolStatistics:
        """A frozen picture of the pool."""
        state = self._state
        jobs = islice(state.jobs.values(), DESCRIBED_MAX)
        miners = islice(state.roster.miners.values(), DESCRIBED_MAX)
        counts = state.counts
        return PoolStatistics(
            name=self._settings.name,
            seconds=now - state.began,
            connections=len(state.roster.peers),
            miners=len(state.roster.miners),
            miners_idle=sum(not miner.grants for miner in state.roster.all_idle),
            slots=state.roster.slots,
            workers=sum(miner.workers for miner in state.roster.miners.values()),
            rate=state.roster.rate,
            leases=len(state.grants),
            jobs=len(state.jobs),
            jobs_accepted=counts["jobs"],
            jobs_finished=counts["finished"],
            answers_kept=len(state.finished),
            queue=sum(job.book.returned for job in state.jobs.values()),
            results=counts["results"],
            late_results=counts["late"],
            copies=counts["copies"],
            requeues=dict(state.requeues),
            audits_passed=counts["audits"],
            audits_failed=counts["audits failed"],
            audits_waiting=len(state.desk.waiting) + (state.own_audit is not None),
            cheats=counts["cheats"],
            errors=counts["errors"],
            dropped=counts["dropped"],
            jobs_described=tuple(self._jobs.described(job, now) for job in jobs),
            miners_described=tuple(_described(miner) for miner in miners),
            is_relay=self.upstream is not None,
            upstream_reached=bool(self.upstream),
        )

    def _check(self) -> None:
        """Every nonce is free, leased or done; every lease is known in all three places."""
        state = self._state
        state.roster._check()
        for number, grant in state.grants.items():
            assert grant.miner.grants[number] is grant, f"its miner does not know lease {number}"
            assert state.roster.miners.get(grant.miner.peer) is grant.miner, "held by nobody"
            assert state.jobs.get(grant.job.id) is grant.job, f"lease {number} of a dead job"
            if grant.audit is None:
                assert grant.job.book.open[number] is grant.shard
        audits: dict[str, int] = {}
        for audit in state.open_audits():
            audits[audit.job.id] = audits.get(audit.job.id, 0) + 1
        tried: Counter[str] = Counter()
        for grant in state.grants.values():
            tried[grant.job.id] += grant.tried
        for job in state.jobs.values():
            job.book._check()
            assert job.under_way == tried[job.id], "what is under way is miscounted"
            assert job.audits == audits.get(job.id, 0), "audits are miscounted"
            assert all(number in state.grants for number in job.book.open)
            assert job.queued or not job.book.free, "free nonces that nobody is offered"
            assert not job.complete, "a complete job without an answer"
        own = {job.gather.task: job for job in state.jobs.values() if job.gather is not None}
        assert state.gathers == own, "a search that is forgotten, or for nobody"
        assert state.heard.keys() <= state.finished.keys()
        for miner in state.roster.miners.values():
            assert all(state.grants[number] is grant for number, grant in miner.grants.items())


def _described(miner: Miner) -> MinerStatistics:
    return MinerStatistics(
        name=miner.name,
        address=miner.address,
        wire=miner.wire,
        slots=miner.slots,
        workers=miner.workers,
        rate=miner.rate,
        leases=len(miner.grants),
        results=miner.results,
        shares=miner.drift.observed,
        expected=round(miner.drift.expected, 1),
        unaudited=len(miner.unaudited),
    )


def _out_of_place(message: object, where: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{type(message).__name__} {where} makes no sense")
