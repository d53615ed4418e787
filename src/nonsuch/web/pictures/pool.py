"""A pool's picture: its jobs, what became of which nonces, how fast its miners are.

The pool tells of jobs, of leases that were lost and of shards that were scanned again; each miner
tells which shard it begins and which it has searched. They come from different processes and in any
order, so a job has a row from its first mention on, whoever mentions it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from nonsuch.errors import LocalError
from nonsuch.networks.pool import facts
from nonsuch.web.observations import Observation
from nonsuch.web.pictures.board import Board, handlers, on
from nonsuch.web.pictures.sentences import Again, general, plural
from nonsuch.web.pictures.spans import SPANS_MAX, Spans
from nonsuch.web.rows import Audit, Best, Job, Kind, Node, NodeState, Rate, Shard, ShardState
from nonsuch.web.tables import AnyTable, Table, whole
from nonsuch.work.presets import PRESETS
from nonsuch.work.ranges import RangeSet

__all__ = ["PoolPart"]

JOBS_MAX = 200
"""Jobs with a row; those that are over make room first."""

JOBS_PAINTED_MAX = 8
"""Jobs whose shards are shown: as many as fit a screen, and a dozen megabytes of rows."""

JOBS_GONE_MAX = 1_000
"""Jobs remembered as gone, so that a late fact does not bring a row back."""

DONE_RANGES_MAX = 10_000
"""A job that is done in more pieces than that is none of ours."""

BEST_MAX = 2_000
"""Improvements kept, of all jobs; a job has some twenty (the harmonic numbers)."""

SHARD_SECONDS_SHOWN = 60.0
"""A miner is heard of when a shard is done; over this much of it, it was as fast as that."""

RATES_MAX = 30_000
RATE_SECONDS_MAX = 300.0
"""How long a second's rate is kept."""

RATE_SHARDS = 8
"""How many shards a miner's rate is taken of, as its own display has it."""

SLOT_ROUNDS = 2
SLOTS_COUNTED_MAX = 128
"""The same of each slot of a miner that has many, and of how many slots."""

JOB_RATE_SECONDS = 10.0
JOB_RATE_SHARDS_MAX = 1_000
"""A job's rate is that of the shards of the last seconds, or the last so many."""

AUDITS_MAX = 200

_OVER: dict[ShardState, frozenset[ShardState]] = {
    "leased": frozenset({"leased", "returned", "redone", "failed"}),
    "done": frozenset({"leased", "returned", "redone", "failed", "done"}),
    "returned": frozenset({"leased", "returned"}),
    "redone": frozenset({"leased", "returned", "done", "audited", "failed"}),
    "audited": frozenset({"done", "audited", "leased"}),
    "failed": frozenset({"done", "audited", "leased", "redone"}),
}
"""What may be painted over what: a lease that is told late does not undo what is done."""


class _Searched(NamedTuple):
    """So many nonces, and when or how long."""

    nonces: int
    seconds: float


class _Job:
    """What is known of a job beside its row."""

    def __init__(self, row: Job, shards: Table[Shard]) -> None:
        self.row = row
        self.total = 0
        self.preset = ""
        self.ranges = RangeSet()
        self.done = 0
        self.spans = Spans(row.job, shards)
        self.painted = True
        self.latest: deque[_Searched] = deque()
        self.latest_nonces = 0
        self.best = 0

    @property
    def over(self) -> bool:
        """Whether nothing is searched any more."""
        return self.row.state != "running"

    def add(self, start: int, stop: int) -> None:
        """These are done."""
        if len(self.ranges) < DONE_RANGES_MAX:
            self.done += sum(gap.stop - gap.start for gap in self.ranges.gaps(start, stop))
            self.ranges.add(start, stop)

    def remove(self, start: int, stop: int) -> None:
        """These are not done after all."""
        if len(self.ranges) < DONE_RANGES_MAX:
            missing = sum(gap.stop - gap.start for gap in self.ranges.gaps(start, stop))
            self.done -= stop - start - missing
            self.ranges.remove(start, stop)

    def measure(self, nonces: int, now: float) -> None:
        """A shard was searched: how fast is the job, and when will it be done?"""
        # The first of them marks where the time begins: its own nonces lie before it.
        latest = self.latest
        if latest:
            self.latest_nonces += nonces
        latest.append(_Searched(nonces, now))
        while len(latest) > 1 and (
            len(latest) > JOB_RATE_SHARDS_MAX or latest[0].seconds < now - JOB_RATE_SECONDS
        ):
            latest.popleft()
            self.latest_nonces -= latest[0].nonces
        seconds = now - latest[0].seconds
        if seconds > 0:
            self.row.rate = self.latest_nonces / seconds
        self.show_done()

    def show_done(self) -> None:
        """The row says how far it is."""
        row = self.row
        row.done = whole(self.done)
        left = max(0, self.total - self.done)
        row.seconds_left = left / row.rate if row.rate > 0 and not self.over else None


class PoolPart:
    """The tables of a pool."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._jobs: dict[str, _Job] = {}
        self._gone: dict[str, None] = {}
        self._speeds: dict[str, deque[_Searched]] = {}
        self._audits_count = 0
        self._caught = ""
        self.jobs: Table[Job] = Table("jobs", JOBS_MAX)
        # Each job keeps within its bound; a job that is being painted may be above it for a moment.
        self.shards: Table[Shard] = Table("shards", 2 * JOBS_PAINTED_MAX * SPANS_MAX)
        self.best: Table[Best] = Table("best", BEST_MAX)
        self.rates: Table[Rate] = Table("rates", RATES_MAX)
        self.audits: Table[Audit] = Table("audits", AUDITS_MAX)
        self.tables: tuple[AnyTable, ...] = (
            *(self.jobs, self.shards, self.best),
            *(self.rates, self.audits),
        )
        self.handlers = handlers(
            (
                on(facts.Restored, self._restored),
                on(facts.MinerJoined, self._miner_joined),
                on(facts.MinerChanged, self._miner_changed),
                on(facts.MinerLeft, self._miner_left),
                on(facts.LeaseLost, self._lease_lost),
                on(facts.JobAccepted, self._job_accepted),
                on(facts.BestImproved, self._best_improved),
                on(facts.JobFinished, self._job_finished),
                on(facts.JobEnded, self._job_ended),
                on(facts.AuditPassed, self._audit_passed),
                on(facts.AuditFailed, self._audit_failed),
                on(facts.ShardVoided, self._shard_voided),
                on(facts.Cheated, self._cheated),
                on(facts.PeerDropped, self._peer_dropped),
                on(facts.ConnectionLost, self._connection_lost),
                on(facts.PoolRefused, self._pool_refused),
                on(facts.ShardTaken, self._shard_taken),
                on(facts.Worked, self._worked),
                on(facts.SearchGivenUp, self._given_up),
                on(facts.Progressed, self._progressed),
                on(facts.Answered, self._answered),
                on(facts.SubmitRefused, self._submit_refused),
            )
        )

    # Of a pool.

    def _restored(self, now: Observation, fact: facts.Restored) -> None:
        self._board.node(now.node, "pool")
        if fact.records:
            jobs = plural(fact.jobs, "job")
            self._board.tell_of(now, f" read its journal: {jobs} to go on with.")

    def _miner_joined(self, now: Observation, fact: facts.MinerJoined) -> None:
        board = self._board
        board.node(now.node, "pool")
        row = board.node(fact.miner, "miner")
        row.address = fact.address
        row.slots, row.workers = 1, 0  # Until it says that it has others.
        board.set_state(fact.miner, "up", now.at)
        board.touch(row)
        after = f" joined the pool, which has {plural(fact.miners, 'miner')} now."
        board.tell_of(now, after, of=fact.miner, cause="", again=Again(" joined the pool"))

    def _miner_changed(self, now: Observation, fact: facts.MinerChanged) -> None:
        board = self._board
        row = board.node(fact.miner, "miner")
        row.slots, row.workers = fact.slots, fact.workers
        board.touch(row)
        self._speeds.pop(fact.miner, None)
        on = f" on {plural(fact.workers, 'worker')}" if fact.workers else ""
        after = f" has {plural(fact.slots, 'slot')}{on} now." if fact.slots else " has no workers."
        board.tell_of(now, after, of=fact.miner)

    def _miner_left(self, now: Observation, fact: facts.MinerLeft) -> None:
        board = self._board
        board.node(fact.miner, "miner")
        board.set_state(fact.miner, "dead", now.at)
        self._speed(fact.miner, 0.0, now.at)
        back = ""
        if fact.leases:
            its = "lease" if fact.leases == 1 else f"{fact.leases} leases"
            back = f"its {its} went back into the queue"
        if not back or not board.came_of_death(fact.miner, back):
            why = f" ({fact.why}){', and leases went back into the queue' if back else ''}."
            again = Again(" left the pool", why)
            kind: Kind = "fault" if back else "info"
            board.tell_of(now, f" left the pool{why}", kind, of=fact.miner, again=again)

    def _lease_lost(self, now: Observation, fact: facts.LeaseLost) -> None:
        self._paint(fact.job, fact.start, fact.stop, "returned", fact.miner, now.at)
        if fact.cause not in ("left", "cheated"):
            why = {"frozen": "fell silent", "missed": "was too late"}.get(fact.cause, fact.cause)
            after = f" {why}, and leases went back into the queue."
            self._board.tell_of(now, after, "fault", of=fact.miner)

    def _job_accepted(self, now: Observation, fact: facts.JobAccepted) -> None:
        job = self._job(fact.job)
        if job is None:
            return
        row = job.row
        row.message, job.preset = fact.message, fact.preset
        row.first, row.last = whole(fact.first), whole(fact.last)
        job.total = max(0, fact.last + 1 - fact.first)
        row.total = whole(job.total)
        row.submitted = now.at
        job.show_done()
        self.jobs.touch(fact.job)
        named = f"{fact.message[:40]!r}" if fact.message else fact.job
        many = plural(fact.miners, "miner")
        text = f"A job came: {named}, nonces {fact.first:,} to {fact.last:,}, for {many}."
        self._board.tell(now.at, now.node, text)

    def _best_improved(self, now: Observation, fact: facts.BestImproved) -> None:
        job = self._job(fact.job)
        if job is None:
            return
        job.best += 1
        nonce = whole(fact.nonce)
        job.row.best_nonce, job.row.best_hash = nonce, fact.hash
        self.jobs.touch(fact.job)
        self.best.put(f"{fact.job}:{job.best}", Best(fact.job, now.at, nonce, fact.hash))

    def _job_finished(self, now: Observation, fact: facts.JobFinished) -> None:
        job = self._job(fact.job)
        if job is None:
            return
        row = job.row
        row.state, row.finished = "done", now.at
        row.nonce = None if fact.nonce is None else whole(fact.nonce)
        row.hash = fact.hash or None
        row.verified = row.verified or _verified(job, fact)
        self._over(job)
        row.done = whole(min(job.total, fact.hashes) if job.total else fact.hashes)
        after = f"after {plural(fact.hashes, 'nonce')} in {fact.seconds:.1f} s"
        if fact.nonce is None:
            text = f"Job {row.message[:40]!r} is over {after}: no nonce meets its target."
        else:
            text = f"Job {row.message[:40]!r} has its answer {after}: nonce {fact.nonce:,}."
        self._board.tell(now.at, now.node, text, "good")

    def _job_ended(self, now: Observation, fact: facts.JobEnded) -> None:
        job = self._job(fact.job)
        if job is None:
            return
        job.row.state, job.row.finished = "ended", now.at
        self._over(job)
        text = f"Job {job.row.message[:40]!r} has ended: {fact.reason}."
        self._board.tell(now.at, now.node, text)

    def _over(self, job: _Job) -> None:
        job.row.rate, job.row.seconds_left = 0.0, None
        job.spans.drop("leased")
        self.jobs.touch(job.row.job)

    def _audit_passed(self, now: Observation, fact: facts.AuditPassed) -> None:
        self._paint(fact.job, fact.start, fact.stop, "audited", fact.miner, now.at)
        text = f"{fact.auditor} scanned {_shard(fact.start, fact.stop)} again: nothing was missing."
        self._audited(Audit(now.at, fact.miner, fact.auditor, True, text))

    def _audit_failed(self, now: Observation, fact: facts.AuditFailed) -> None:
        self._paint(fact.job, fact.start, fact.stop, "failed", fact.miner, now.at)
        missed = plural(fact.missed, "share")
        text = (
            f"{fact.auditor} scanned {_shard(fact.start, fact.stop)} again:"
            f" {fact.miner} had left out {missed}."
        )
        self._audited(Audit(now.at, fact.miner, fact.auditor, False, text))
        self._board.tell(now.at, fact.miner, text, "fault")

    def _audited(self, audit: Audit) -> None:
        self._audits_count += 1
        self.audits.put(str(self._audits_count), audit)

    def _shard_voided(self, now: Observation, fact: facts.ShardVoided) -> None:
        job = self._job(fact.job)
        if job is not None and fact.start < fact.stop:
            job.remove(fact.start, fact.stop)
            self._paint(fact.job, fact.start, fact.stop, "redone", fact.miner, now.at)
            job.show_done()
            self.jobs.touch(fact.job)

    def _cheated(self, now: Observation, fact: facts.Cheated) -> None:
        redone = f"; {plural(fact.redone, 'nonce')} of its are searched again"
        how = f": {fact.reason}{redone if fact.redone else ''}."
        caught = " was caught cheating"
        self._board.node(fact.miner, "miner")
        again = Again(caught, f"; the last{how}")
        self._board.tell_of(
            now, f"{caught}{how}", "fault", of=fact.miner, cause=fact.miner, again=again
        )
        self._caught = fact.reason

    def _is_told(self, reason: str) -> bool:
        """Whether this is what came of a miner that was caught: that much is clear."""
        return bool(self._caught) and self._caught in reason

    def _peer_dropped(self, now: Observation, fact: facts.PeerDropped) -> None:
        if self._is_told(fact.reason):
            return
        after = f" ended a connection: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=general(fact.reason))

    # Of a miner.

    def _connection_lost(self, now: Observation, fact: facts.ConnectionLost) -> None:
        lost = " lost the pool"
        again = Again(lost, f": {fact.why}.")
        self._board.tell_of(now, f"{lost}: {fact.why}.", "bad", again=again)

    def _pool_refused(self, now: Observation, fact: facts.PoolRefused) -> None:
        if not self._is_told(fact.reason):
            self._board.tell_of(now, f" was refused by the pool: {fact.reason}.", "bad")

    def _shard_taken(self, now: Observation, fact: facts.ShardTaken) -> None:
        self._board.node(now.node, "miner")
        self._paint(fact.job, fact.start, fact.stop, "leased", now.node, now.at)

    def _worked(self, now: Observation, fact: facts.Worked) -> None:
        nonces = fact.stop - fact.start
        if nonces <= 0:
            return
        row = self._board.node(now.node, "miner")
        self._searched(row, _Searched(nonces, fact.seconds), now.at)
        job = self._job(fact.job)
        if job is None:
            return
        job.add(fact.start, fact.stop)
        self._paint(fact.job, fact.start, fact.stop, "done", now.node, now.at)
        if not job.over:
            job.measure(nonces, now.at)
            self.jobs.touch(fact.job)

    def _given_up(self, now: Observation, fact: facts.SearchGivenUp) -> None:
        after = f" gave up a worker that stood still for {fact.seconds:.0f} s."
        self._board.tell_of(now, after, "fault")

    def _searched(self, row: Node, shard: _Searched, now: float) -> None:
        """How fast is this miner?"""
        name = row.name
        latest = self._speeds.get(name)
        if latest is None:
            if name not in self._board.nodes.rows:
                return
            shards = max(RATE_SHARDS, SLOT_ROUNDS * min(row.slots, SLOTS_COUNTED_MAX))
            latest = self._speeds[name] = deque(maxlen=shards)
        if row.slots > 1:
            self._searched_by_many(row, latest, _Searched(shard.nonces, now))
            return
        latest.append(shard)
        nonces = seconds = 0.0
        for each in latest:
            nonces += each.nonces
            seconds += each.seconds
        if seconds > 0:
            self._speed(name, nonces / seconds, now, min(shard.seconds, SHARD_SECONDS_SHOWN))

    def _searched_by_many(self, row: Node, latest: deque[_Searched], shard: _Searched) -> None:
        """Shards that were searched side by side, of which the `seconds` here are when."""
        latest.append(shard)
        took = shard.seconds - latest[0].seconds
        if took > 0 and len(latest) > min(row.slots, SLOTS_COUNTED_MAX):
            nonces = sum(each.nonces for each in latest) - latest[0].nonces
            self._speed(row.name, nonces / took, shard.seconds)

    def _speed(self, name: str, rate: float, now: float, lasted: float = 0.0) -> None:
        """So fast it is now, and was for the seconds of which nothing was known yet."""
        row = self._board.nodes.get(name)
        if row is None:
            return
        row.rate, row.measured = rate, True
        self._board.touch(row)
        for second in range(int(now - lasted), int(now) + 1):
            key = f"{name}:{second}"
            if second == int(now) or key not in self.rates.rows:
                self.rates.put(key, Rate(name, float(second), rate))
        oldest = next(iter(self.rates.rows.items()))
        while oldest[1].at < now - RATE_SECONDS_MAX:
            self.rates.drop(oldest[0])
            oldest = next(iter(self.rates.rows.items()))

    def state_changed(self, name: str, state: NodeState, at: float) -> None:
        """One that does not run is not fast."""
        if state in ("dead", "frozen") and name in self._speeds:
            del self._speeds[name]
            self._speed(name, 0.0, at)

    # Of a client.

    def _progressed(self, now: Observation, fact: facts.Progressed) -> None:
        job = self._job(fact.job)
        if job is not None and not job.over and fact.done > job.done:
            job.row.done, job.row.rate = whole(fact.done), fact.rate
            self.jobs.touch(fact.job)

    def _answered(self, now: Observation, fact: facts.Answered) -> None:
        job = self._job(fact.job)
        if job is not None:
            nonce = None if fact.nonce is None else whole(fact.nonce)
            job.row.verified = job.row.verified or job.row.nonce in (None, nonce)
            self.jobs.touch(fact.job)

    def _submit_refused(self, now: Observation, fact: facts.SubmitRefused) -> None:
        text = f"The pool refused a job: {fact.reason}."
        self._board.tell(now.at, now.node, text, "bad")

    # Jobs.

    def _job(self, name: str) -> _Job | None:
        """The job of this name, new where it is; None for one whose row has gone."""
        job = self._jobs.get(name)
        if job is None and name not in self._gone:
            self._make_room()
            job = self._jobs[name] = _Job(Job(name), self.shards)
            self.jobs.put(name, job.row)
            self._hide_shards()
        return job

    def _make_room(self) -> None:
        if len(self._jobs) < JOBS_MAX:
            return
        oldest = next((name for name, job in self._jobs.items() if job.over), None)
        name = next(iter(self._jobs)) if oldest is None else oldest
        self._hide(self._jobs.pop(name))
        self.jobs.drop(name)
        self._gone[name] = None
        if len(self._gone) > JOBS_GONE_MAX:
            del self._gone[next(iter(self._gone))]

    def _hide_shards(self) -> None:
        """The shards of too many jobs: those of one that is over go, or else of the oldest."""
        painted = [job for job in self._jobs.values() if job.painted]
        if len(painted) > JOBS_PAINTED_MAX:
            self._hide(next((job for job in painted if job.over), painted[0]))

    def _hide(self, job: _Job) -> None:
        job.painted = False
        job.spans.forget()

    def _paint(
        self, name: str, start: int, stop: int, state: ShardState, node: str, at: float
    ) -> None:
        job = self._job(name)
        if job is None or not job.painted or start >= stop:
            return
        if not (job.over and state in ("leased", "returned")):
            job.spans.paint(start, stop, state, node, at, _OVER[state])

    def _check(self) -> None:
        assert self._jobs.keys() == self.jobs.rows.keys()
        painted = [job for job in self._jobs.values() if job.painted]
        assert len(painted) <= JOBS_PAINTED_MAX
        assert len(self.shards.rows) == sum(job.spans._check() for job in painted)
        for job in self._jobs.values():
            assert len(job.ranges) <= DONE_RANGES_MAX + 1
            if len(job.ranges) < DONE_RANGES_MAX:
                assert job.done == job.ranges.total
        assert len(self._gone) <= JOBS_GONE_MAX
        assert self._speeds.keys() <= self._board.nodes.rows.keys() | self._gone.keys()


def _shard(start: int, stop: int) -> str:
    return f"nonces {start:,}–{stop - 1:,}"


def _verified(job: _Job, fact: facts.JobFinished) -> bool:
    """Whether the answer has this hash, by hashing it here: the message is the whole puzzle."""
    preset = PRESETS.get(job.preset)
    if preset is None or fact.nonce is None:
        return False
    try:
        return preset.build(job.row.message.encode()).prove(fact.nonce).hexdigest == fact.hash
    except LocalError:
        return False
