"""Jobs and whose they are: accepted, watched, answered, withdrawn, and there again after a crash.

A job's id is its client's choice, so everything here can be said twice: a submit that comes again,
because its connection broke before anybody answered, is the same job, and watching it again does no
harm. An answer is kept for whoever comes back, up to `PoolSettings.finished_max` of them, and for
longer where nobody has heard it yet.

What `LOCAL` asks for is a job like any other (`gather`), except that clients do not see it and that
it ends with this life of the pool.
"""

from __future__ import annotations

from nonsuch.errors import LocalError, RemoteError
from nonsuch.networks.pool import facts, messages, records
from nonsuch.networks.pool.gather import Gather
from nonsuch.networks.pool.job import Finished, Job
from nonsuch.networks.pool.leases import WAKE_SECONDS, Leases
from nonsuch.networks.pool.liteminer import LITEMINER
from nonsuch.networks.pool.roster import Peer
from nonsuch.networks.pool.state import REASON_CHARACTERS_MAX, State
from nonsuch.networks.pool.statistics import JobStatistics
from nonsuch.node import LOCAL, Advanced, Cancel, Search, Send
from nonsuch.work.puzzle import Merit

__all__ = ["Jobs"]


RANK_BITS_MIN = 64
"""LiteMiner's number: the share limit of the longest shard still lies between two such ranks."""

GATHER_BITS = 128
"""Names of the pool's own jobs are so long that no client's job has one of them already."""


class RequestRefused(RemoteError):
    """A request that is well formed and cannot be granted: cheap, but not free."""

    cost = 50


class Jobs:
    """All that clients can have done."""

    def __init__(self, state: State, leases: Leases) -> None:
        self._state = state
        self._leases = leases
        self._order = 0

    # What clients ask for. Each raises `RemoteError` for what it cannot have.

    def submit(self, peer: Peer, submit: messages.Submit, now: float) -> None:
        """A new job, or one that is known already."""
        state = self._state
        if state.settings.refuses_jobs:
            raise self._refusal(peer, submit.job, state.settings.refuses_jobs)
        opened = records.JobOpened(
            submit.job,
            submit.puzzle,
            submit.first,
            submit.last,
            submit.target,
            stays=peer.wire != LITEMINER,
        )
        known = self._known(submit.job)
        if known is not None and known != opened:
            raise self._refusal(peer, submit.job, "another job has this id already")
        if known is not None:
            self.watch(peer, messages.Watch(submit.job), now)
            return
        if len(state.jobs) >= state.settings.jobs_max:
            raise self._refusal(peer, submit.job, f"this pool has its {len(state.jobs)} jobs")
        if peer.jobs >= state.settings.jobs_per_client_max:
            raise self._refusal(peer, submit.job, f"a client may have {peer.jobs} jobs at once")
        try:
            job = self._made(opened, now)
        except LocalError as error:
            raise self._refusal(peer, submit.job, str(error)) from None
        self._accept(peer, job, now)

    def _accept(self, peer: Peer, job: Job, now: float) -> None:
        state, opened = self._state, job.opened
        peer.jobs += 1
        job.owner = peer.number
        state.jobs[job.id] = job
        # The first leases need not wait for the disk: if the pool dies now, they mean nothing.
        state.dispatcher.offer(job)
        self._leases.serve_idle(now)
        state.persist_job(job, opened)
        state.counts["jobs"] += 1
        miners = len(state.roster.miners)
        state.emit(facts.JobAccepted(job.id, opened.first, opened.last, miners, *job.described))
        self._tell_best(job)
        self.watch(peer, messages.Watch(job.id), now)
        self.complete_if_done(job, now)

    def watch(self, peer: Peer, watch: messages.Watch, now: float) -> None:
        """News of a job, and its answer; at once where there is one."""
        state = self._state
        finished = state.finished.get(watch.job)
        if finished is not None:
            state.send(peer.number, finished.status)
            state.send(peer.number, finished.answer)
            state.heard[watch.job] = None
            return
        job = self._client_job(watch.job)
        if job is None:
            raise self._refusal(peer, watch.job, "this pool has no job of this id")
        job.watchers[peer.number] = None
        peer.watching[job.id] = None
        state.send(peer.number, self._status(job, now))
        state.wake(now + WAKE_SECONDS)

    def withdraw(self, peer: Peer, withdraw: messages.Withdraw, now: float) -> None:
        """The job is not needed any more."""
        job = self._client_job(withdraw.job)
        if job is None:
            finished = withdraw.job in self._state.finished
            reason = "this job is done already" if finished else "this pool has no job of this id"
            raise self._refusal(peer, withdraw.job, reason)
        job.watchers[peer.number] = None
        self._end(job, "withdrawn", now)

    def _client_job(self, name: str) -> Job | None:
        job = self._state.jobs.get(name)
        return None if job is None or job.gather is not None else job

    def left(self, peer: Peer, now: float) -> None:
        """A client's connection has ended."""
        for name in list(peer.watching):
            job = self._state.jobs.get(name)
            if job is None:
                continue
            job.watchers.pop(peer.number, None)
            if job.owner == peer.number and not job.opened.stays:
                self._end(job, "its client left, and has no way to come back for it", now)

    def _refusal(self, peer: Peer, job: str, reason: str) -> RequestRefused:
        reason = reason[:REASON_CHARACTERS_MAX]
        self._state.send(peer.number, messages.Ended(job, reason))
        return RequestRefused(reason)

    # What the pool's own node asks for.

    def gather(self, search: Search, now: float) -> None:
        """Have all miners do this search. Raises `LocalError` where they cannot."""
        state, gather = self._state, Gather(search)
        opened = records.JobOpened(
            f"{state.lots.getrandbits(GATHER_BITS):0{GATHER_BITS // 4}x}",
            messages.PuzzleForm.of(search.puzzle),
            search.nonces.start,
            search.nonces.stop - 1,
            None if gather.target is None else messages.target_bytes(gather.target),
            stays=False,
        )
        job = self._made(opened, now, gather=gather)
        state.jobs[job.id] = state.gathers[search.task] = job
        state.dispatcher.offer(job)
        self._leases.serve_idle(now)
        state.wake(now + WAKE_SECONDS)
        self.complete_if_done(job, now)

    def cancel(self, task: int, now: float) -> None:
        """Such a search is not needed any more."""
        job = self._state.gathers.get(task)
        if job is not None:
            self._withdraw(job, now)

    # What becomes of jobs.

    def offer(self, job: Job, merit: Merit) -> None:
        """A nonce that was hashed here: is it the best so far, or the first that is admitted?"""
        if self._offer(job, merit) and job.gather is None:
            self._tell_best(job)

    def _offer(self, job: Job, merit: Merit) -> bool:
        better = job.offer(merit)
        rank, nonce = merit
        if job.target is not None and job.target.admits(rank):
            for number in job.meet(nonce):
                self._leases.revoke(number)
        return better

    def _tell_best(self, job: Job) -> None:
        if job.best is not None:
            self._state.emit(facts.BestImproved(job.id, job.best.nonce, job.best.hexdigest))

    def complete_if_done(self, job: Job, now: float) -> None:
        """Answer a job that has nothing left to do. The answer is on disk before it is sent."""
        state = self._state
        if not job.complete or state.jobs.get(job.id) is not job:
            return
        if job.gather is not None:
            state.effects.append(Send(LOCAL, job.gather.searched(job.so_far)))
            self._retire(job)
            return
        closed = job.closed(now)
        state.close_job(job.id, closed)
        state.counts["finished"] += 1
        finished = self._keep(closed)
        for watcher in job.watchers:
            state.send(watcher, finished.status)
            state.send(watcher, finished.answer)
        if job.watchers and job.id in state.finished:
            state.heard[job.id] = None
        nonce = closed.nonce
        digest = "" if nonce is None else job.puzzle.prove(nonce).hexdigest
        state.emit(facts.JobFinished(job.id, nonce, closed.hashes, closed.seconds, digest))
        self._retire(job)

    def _keep(self, closed: records.JobClosed) -> Finished:
        """An answer for whoever comes back; the oldest that was heard makes room for it, or any."""
        state = self._state
        finished = state.finished[closed.opened.job] = Finished(closed)
        if len(state.finished) > state.settings.finished_max:
            oldest = next(iter(state.heard or state.finished))
            state.heard.pop(oldest, None)
            del state.finished[oldest]
            state.close_job(oldest, None)
        return finished

    def _end(self, job: Job, reason: str, now: float) -> None:
        state = self._state
        state.close_job(job.id, None)
        for watcher in job.watchers:
            state.send(watcher, messages.Ended(job.id, reason))
        state.emit(facts.JobEnded(job.id, reason))
        self._withdraw(job, now)

    def _withdraw(self, job: Job, now: float) -> None:
        state = self._state
        if state.own_audit is not None and state.own_audit.audit.job is job:
            state.effects.append(Cancel(state.own_audit.task))
            state.own_audit = None
        self._leases.revoke_job(job)
        self._retire(job)
        self._leases.serve_idle(now)

    def _retire(self, job: Job) -> None:
        """The job is no more; nobody needs to remember it."""
        state = self._state
        del state.jobs[job.id]
        if job.gather is not None:
            del state.gathers[job.gather.task]
        owner = state.roster.peers.get(job.owner)
        if owner is not None:
            owner.jobs -= 1
        for watcher in job.watchers:
            if watcher in state.roster.peers:
                state.roster.peers[watcher].watching.pop(job.id, None)
        for miner in state.roster.miners.values():
            if job.id in miner.known:
                del miner.known[job.id]
                state.send(miner.peer, messages.Retire(job.id))

    # What watchers hear.

    def tell_watchers(self, now: float) -> None:
        """How each watched job stands."""
        state = self._state
        for task, job in state.gathers.items():
            tried = job.tried
            job.measure(tried, now)
            state.effects.append(Send(LOCAL, Advanced(task, tried)))
            state.wake(now + WAKE_SECONDS)
        for job in state.jobs.values():
            if job.watchers:
                status = self._status(job, now)
                for watcher in job.watchers:
                    state.send(watcher, status)
                state.wake(now + WAKE_SECONDS)

    def _status(self, job: Job, now: float) -> messages.Status:
        tried = job.tried
        job.measure(tried, now)
        return job.status(tried, len(self._state.roster.miners), now)

    def described(self, job: Job, now: float) -> JobStatistics:
        """What statistics say of it."""
        return JobStatistics(
            job=job.id,
            first=job.opened.first,
            last=job.opened.last,
            done=min(job.total, job.tried),
            total=job.total,
            leases=len(job.book.open),
            returned=job.book.returned,
            audits=job.audits,
            rate=job.rate,
            watchers=len(job.watchers),
            nonce=None if job.best is None else job.best.nonce,
            seconds=now - job.now,
        )

    # Before and after.

    def restore(self, replay: records.Replay, now: float) -> None:
        """All that an earlier life left behind."""
        state = self._state
        for closed in replay.closed.values():
            self._keep(closed)
        for left in replay.open.values():
            if not left.opened.stays:
                state.close_job(left.opened.job, None)
                continue
            job = self._made(left.opened, now, tuple(left.done))
            job.records = left.records
            state.jobs[job.id] = job
            for nonce in (left.opened.last, *left.nonces):
                self._offer(job, job.puzzle.prove(nonce).merit)
        for job in list(state.jobs.values()):
            state.dispatcher.offer(job)
            self.complete_if_done(job, now)

    def _made(
        self,
        opened: records.JobOpened,
        now: float,
        done: tuple[range, ...] = (),
        gather: Gather | None = None,
    ) -> Job:
        """Raises `LocalError` for a job that makes no sense."""
        puzzle = opened.puzzle.puzzle()
        if not opened.first <= opened.last < puzzle.nonce.count:
            raise LocalError(
                f"a job's nonces lie in [0, {puzzle.nonce.count - 1}], first to last;"
                f" {opened.first} to {opened.last} do not"
            )
        if puzzle.rank_bits < RANK_BITS_MIN:
            raise LocalError(
                f"a pool's puzzles compare {RANK_BITS_MIN} bits or more, not {puzzle.rank_bits}:"
                " with fewer, a miner's shares would be too many to send"
            )
        if opened.target is not None:
            messages.target_of(opened.target)
        self._order += 1
        return Job(opened, self._order, now, done=done, gather=gather)

    def _known(self, name: str) -> records.JobOpened | None:
        job = self._state.jobs.get(name)
        if job is not None:
            return job.opened
        finished = self._state.finished.get(name)
        return None if finished is None else finished.closed.opened
