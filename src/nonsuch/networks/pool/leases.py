"""Work goes out: leases are given, copied, revoked and lost.

Each lease is entered in three places, always together: the job's `LeaseBook` knows the nonces,
`State.grants` whose it is, and `Miner.grants` what a miner holds. An audit is a lease like any
other, but of nonces that the book has as done already.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import chain, islice

from nonsuch.networks.pool import facts, messages
from nonsuch.networks.pool.audits import LOSSES_MAX, Audit
from nonsuch.networks.pool.dispatch import COPY_GAIN, TAIL_SECONDS, quota_for
from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.roster import NEVER, Grant, Miner
from nonsuch.networks.pool.state import OwnAudit, State
from nonsuch.node import Cancel, Search
from nonsuch.work.goals import Shares
from nonsuch.work.leases import Shard

__all__ = ["WAKE_SECONDS", "Leases"]

WAKE_SECONDS = 0.5
"""How often watchers hear of their jobs, and idle miners are held against slow ones."""

SERVED_AT_ONCE = 500
"""Leases that are given in one event: they travel while the next ones are cut."""

LEASES_OPEN_MAX = 2**17
"""Leases that are out at once. The first half of them is whose it may be; of the other half each
miner has an equal part, so that those who come later have theirs."""

COPIES_A_ROUND = 64
"""How many idle miners are given copies at once."""

AUDITORS_LOOK_MAX = 8
"""How many idle miners are asked whether they can do what the pool is doing itself."""

MISSES_MAX = 16
"""How many idle miners in a row are found to have nothing that they could do."""

LATE_MAX = 64
"""How many late leases are to be copied at once."""

OVERDUE_FACTOR = 10.0
"""A lease that takes so many times as long as its shard should is lost, beats or not."""


class Leases:
    """All that changes who holds what."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._task = 0

    # Giving.

    def serve_idle(self, now: float) -> None:
        """Give the idle miners what there is."""
        state = self._state
        if state.own_audit is not None:
            self._hand_over(state.own_audit, now)
        if state.desk.given and state.roster.has_idle:
            self._take_over(now)
        if state.desk.waiting:
            self._audit_here(now)
        state.serve_at = NEVER
        if state.roster.has_idle and (state.dispatcher.has_work or state.desk.waiting):
            self._serve(now)
        if state.grants:
            state.wake(now + WAKE_SECONDS)

    def _serve(self, now: float) -> None:
        state = self._state
        roster, dispatcher, desk = state.roster, state.dispatcher, state.desk
        given = misses = 0
        most = SERVED_AT_ONCE + MISSES_MAX
        blind = dispatcher.has_liteminer_work or desk.waiting
        idle = chain(roster.idle.values(), roster.idle_blind.values() if blind else ())
        for miner in list(islice(idle, most)):
            if not dispatcher.has_work and not desk.waiting:
                break
            leases = self.refill(miner, now)
            if not leases:
                misses += 1
                roster.place_last(miner)
            given += leases
            if given >= SERVED_AT_ONCE:
                state.serve_at = now
            if given >= SERVED_AT_ONCE or misses >= MISSES_MAX:
                break

    def find_late(self, now: float) -> None:
        """Look for leases that hold up a job which has nothing else left."""
        state = self._state
        late = state.dispatcher.late(state.jobs, state.grants, now)
        state.late = deque(islice(late, LATE_MAX))

    def copy_slow_shards(self, now: float) -> None:
        """Let idle miners race slow ones, the fastest first, as long as that gains time."""
        roster, left = self._state.roster, COPIES_A_ROUND
        for miner in heapq.nlargest(left, roster.all_idle, key=lambda each: each.slot_rate):
            while miner.has_room and not miner.draining and left > 0:
                if not (self._race_late(miner, now) or self._copy(miner, now)):
                    break
                left -= 1
            roster.place(miner)

    def refill(self, miner: Miner, now: float) -> int:
        """Give the miner work until it has enough; if it could have more, it is idle.

        Returns how many leases it was given, `SERVED_AT_ONCE` at most.
        """
        if miner.gone or miner.draining or miner.doubted:
            return 0
        miner.begin_next(now)
        given, most = 0, min(SERVED_AT_ONCE, miner.leases_max - len(miner.grants))
        if self._state.late and most > 0:
            given += self._race_late(miner, now)
        while given < most and self._grant(miner, now):
            given += 1
        if miner.has_room and given < SERVED_AT_ONCE:
            given += self._copy(miner, now)
        self._state.roster.place(miner)
        return given

    def _grant(self, miner: Miner, now: float) -> bool:
        if miner.overdue and miner.grants:
            return False  # It shows with one that it comes to an end at all.
        if not self._state.desk.waiting:
            return self._grant_shard(miner, now)
        # Liars can make more audits than others can do: whoever has done one does a shard first.
        if miner.audited:
            return self._grant_shard(miner, now) or self._take_audit(miner, now)
        return self._take_audit(miner, now) or self._grant_shard(miner, now)

    def _take_audit(self, miner: Miner, now: float) -> bool:
        audit = self._state.desk.take_for(miner, now)
        if audit is not None:
            self._grant_audit(audit, miner, now)
        return audit is not None

    def _grant_shard(self, miner: Miner, now: float) -> bool:
        state = self._state
        if len(state.grants) >= LEASES_OPEN_MAX // 2 and not self._may_hold_more(miner):
            return False
        job = state.dispatcher.next_job(miner)
        if job is None:
            return False
        count = state.dispatcher.shard_nonces(job, miner)
        if not miner.has_room and not state.dispatcher.is_plenty(job, miner, count):
            return False
        state.number += 1
        if not job.book.returned:
            job.progressed_at = now
        shard = job.book.lease(state.number, count)
        assert shard is not None, "a job that is offered has free nonces"
        miner.audited = False
        # What the pool's own node asks for is served in its order, one after the other.
        job.served += 0 if job.gather is not None else state.dispatcher.cost(job, miner, shard)
        self._open(job, shard, miner, now)
        return True

    def _may_hold_more(self, miner: Miner) -> bool:
        """Whether it has less than its part of the second half of all leases, or nothing."""
        part = LEASES_OPEN_MAX // 2 // len(self._state.roster.miners)
        return len(miner.grants) < max(1, part)

    def _copy(self, miner: Miner, now: float) -> bool:
        state = self._state
        slow = state.dispatcher.slow_grant(state.jobs, state.grants, miner, now)
        if slow is None:
            return False
        self._open_copy(slow, miner, now)
        return True

    def _race_late(self, miner: Miner, now: float) -> bool:
        """Give the next late lease to this miner too, if it has shown that it searches at all."""
        state = self._state
        if miner.overdue and miner.grants:
            return False
        if not miner.measured and state.roster.shown_slots:
            return False
        for _ in range(len(state.late)):
            late = state.late.popleft()
            if state.grants.get(late.number) is not late:
                continue
            holders = (state.grants[number].miner for number in late.shard.leases)
            if miner.can_search(late.job) and miner not in holders:
                late.raced_at = now
                self._open_copy(late, miner, now)
                return True
            state.late.append(late)
        return False

    def _open_copy(self, grant: Grant, miner: Miner, now: float) -> None:
        state = self._state
        state.number += 1
        shard = grant.job.book.copy(state.number, grant.number)
        state.counts["copies"] += 1
        self._open(grant.job, shard, miner, now)

    def _grant_audit(self, audit: Audit, miner: Miner, now: float) -> None:
        self._state.number += 1
        miner.audited = True
        shard = Shard(audit.start, audit.stop, [])
        self._state.desk.give(audit, self._open(audit.job, shard, miner, now, audit))

    def _hand_over(self, own: OwnAudit, now: float) -> None:
        """A miner with nothing to do audits faster than a pool, which has other things to do."""
        state = self._state
        for miner in state.roster.first_idle(AUDITORS_LOOK_MAX):
            if state.desk.can_audit(miner, own.audit) and state.desk.suits(miner, own.audit):
                state.effects.append(Cancel(own.task))
                state.own_audit = None
                self._grant_audit(own.audit, miner, now)
                state.roster.place(miner)
                return

    def _take_over(self, now: float) -> None:
        """A miner with nothing to do audits what another is slow to, as it races slow shards."""
        state = self._state
        for audit, grant in list(islice(state.desk.given.items(), AUDITORS_LOOK_MAX)):
            remaining = grant.miner.remaining_seconds(grant, now)
            for miner in state.roster.first_idle(AUDITORS_LOOK_MAX):
                if miner is not grant.miner and self._gains(miner, audit, remaining):
                    state.desk.lose(audit)  # So it does not go from one to the next for ever.
                    self.revoke(grant.number)
                    self._grant_audit(audit, miner, now)
                    state.roster.place(miner)
                    break

    def _gains(self, miner: Miner, audit: Audit, remaining_seconds: float) -> bool:
        """Whether this one would be done with it so much sooner."""
        if miner.draining or not self._state.desk.can_audit(miner, audit):
            return False
        rate = miner.pace(audit.job) if miner.measured else 0.0
        return audit.count * COPY_GAIN < rate * (remaining_seconds - TAIL_SECONDS)

    def _audit_here(self, now: float) -> None:
        """What no miner can do, or does for long, the pool does, one at a time."""
        state = self._state
        if state.own_audit is not None:
            return
        audit = state.desk.waiting[0]
        suspect = audit.suspect
        others = state.roster.has_other(suspect, evidence=suspect.evidence)
        if others and audit.losses < LOSSES_MAX and now < state.desk.patient_until(audit):
            state.wake(state.desk.patient_until(audit))
            return
        state.desk.take_first()
        self._task += 1
        state.own_audit = OwnAudit(self._task, audit, now)
        nonces = range(audit.start, audit.stop)
        state.effects.append(
            Search(
                self._task,
                audit.job.puzzle,
                nonces,
                Shares(audit.quota.limit, audit.job.target),
            )
        )

    def _open(
        self, job: Job, shard: Shard, miner: Miner, now: float, audit: Audit | None = None
    ) -> Grant:
        """Enter the lease that has the latest number, and send it."""
        state, number, count = self._state, self._state.number, shard.count
        quota = None
        if miner.evidence:
            quota = quota_for(count, job.share_limit) if audit is None else audit.quota
        expected_seconds, start = miner.slot_seconds(job, count), shard.start
        grant = Grant(
            number, job, shard, miner, quota, now, start, shard.stop, expected_seconds, audit
        )
        if not miner.grants:
            peer = state.roster.peers[miner.peer]
            state.roster.look_at(peer, now + state.settings.lease_seconds)
        miner.hold(grant)
        state.grants[number] = grant
        state.send(
            miner.peer,
            messages.Lease(
                number,
                job.id,
                start,
                count,
                0 if quota is None else quota.bits,
                job.opened.target,
                job.opened.puzzle if miner.learn(job, number) else None,
            ),
        )
        return grant

    # Taking.

    def close(self, grant: Grant) -> None:
        """The lease is open no more; the book is the caller's business."""
        del self._state.grants[grant.number]
        if grant.tried:
            grant.count_tried(0)
        grant.miner.release(grant)

    def revoke(self, number: int) -> None:
        """A lease that the book has as void: its miner may stop, and have something else."""
        grant = self._state.grants[number]
        self.close(grant)
        miner = grant.miner
        if miner.gone:
            return
        miner.owed += 1
        self._state.send(miner.peer, messages.Revoke(number))
        if not miner.evidence:
            # Its wire has no word for "stop": it will come to the end of this one first.
            miner.draining += 1
        else:
            self._state.roster.place(miner)

    def revoke_job(self, job: Job) -> None:
        """The job is over: so are its leases, audits included."""
        state = self._state
        state.desk.drop(job=job)
        for number in job.book.truncate(job.book.start):
            self.revoke(number)
        for number in [number for number, grant in state.grants.items() if grant.job is job]:
            self.revoke(number)

    def lose(self, grant: Grant, cause: str) -> None:
        """A lease that did not end well: its shard goes back into the queue."""
        state = self._state
        self.close(grant)
        grant.miner.owed += 1
        state.requeues[cause] += 1
        # A message may be what was lost: the puzzle had better come again.
        grant.miner.known.pop(grant.job.id, None)
        if grant.audit is not None:
            state.desk.put_back(grant.audit)
        else:
            grant.job.book.give_back(grant.number)
            state.dispatcher.offer(grant.job)
        state.emit(facts.LeaseLost(grant.miner.name, cause, grant.job.id, grant.start, grant.stop))

    def take_away(self, miner: Miner, cause: str, reason: str) -> None:
        """A miner that is connected does not get on: it loses what it holds."""
        if not miner.evidence:
            # Its wire has no word for "stop": what came later could not be told apart.
            self._state.drop(self._state.roster.peers[miner.peer], reason)
        self.lose_all(miner, cause)

    def lose_all(self, miner: Miner, cause: str) -> None:
        """Everything that a miner holds goes back."""
        self._lose_these(list(miner.grants.values()), cause)

    def _lose_these(self, grants: list[Grant], cause: str) -> None:
        for grant in grants:
            if not grant.miner.gone:
                self._state.send(grant.miner.peer, messages.Revoke(grant.number))
            self.lose(grant, cause)

    def lose_overdue(self, miner: Miner, now: float) -> None:
        """A miner may beat for ever and never come to an end, with one of its slots or with all.

        The idle ones are served before it: it takes its place behind them.
        """
        miner.begin_next(now)
        overdue = [
            (grant, now - grant.began_at)
            for grant in miner.grants.values()
            if grant.began_at is not None and self._is_overdue(grant, now - grant.began_at)
        ]
        if not overdue:
            return
        for grant, elapsed in overdue:
            count = grant.stop - grant.start
            self._state.roster.slow_down(miner, grant.job, count / elapsed / 2)
        if len(overdue) < len(miner.grants) - len(miner.ahead):
            self._lose_these([grant for grant, _ in overdue], "overdue")
        else:
            miner.overdue = True
            self.take_away(miner, "overdue", f"no result for {overdue[0][1]:.0f} s")
        miner.begin_next(now)
        self._state.roster.place_last(miner)

    def _is_overdue(self, grant: Grant, elapsed: float) -> bool:
        # A slow one that is honest needs what it has shown; who only says so keeps nobody waiting.
        settings, expected = self._state.settings, grant.expected_seconds
        if grant.audit is not None:
            # Nobody races an auditor, and the job waits: another has it, or in the end the pool.
            expected = min(expected, grant.audit.suspect.slot_seconds(grant.job, grant.shard.count))
        return elapsed > (
            OVERDUE_FACTOR * max(expected, settings.shard_seconds) + settings.lease_seconds
        )
