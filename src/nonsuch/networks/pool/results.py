"""Work comes back, and is not believed: everything is rehashed, and some of it scanned again.

What a result says is checked in three steps. *Can it be?* Every nonce it names lies in the lease
and meets its limit, by hashing here; if not, that is a lie and the miner is out. *Is it likely?*
The number of shares is held against the law (`work/shares.py`); if not, the shard is audited. *Is
it so?* Some shards are audited whatever they look like, and an audit that finds what the miner left
out is proof (`audits`). A miner that is caught loses its leases, and all its shards since the last
audit that it passed go back to the queue.
"""

from __future__ import annotations

from collections import deque

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.pool import facts, messages, records
from nonsuch.networks.pool.audits import (
    UNAUDITED_KEPT_MAX,
    UNAUDITED_MAX,
    Audit,
    Scan,
    Verdict,
)
from nonsuch.networks.pool.dispatch import Quota, quota_for
from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.jobs import Jobs
from nonsuch.networks.pool.leases import Leases
from nonsuch.networks.pool.roster import Grant, Miner, Unaudited
from nonsuch.networks.pool.state import State
from nonsuch.node import Searched
from nonsuch.work.puzzle import Proof
from nonsuch.work.shares import (
    FalseEvidence,
    Rehash,
    check_shares,
    expected_shares,
    shares_least,
)
from nonsuch.work.target import TARGET_MAX, Target

__all__ = ["Results"]

PASSED_MIN = 0.999
"""Pieces that are worth so many leases are worth one: sums of floats drift."""


class Results:
    """All that happens when a miner, or the pool's own search, comes back."""

    def __init__(self, state: State, leases: Leases, jobs: Jobs) -> None:
        self._state = state
        self._leases = leases
        self._jobs = jobs

    def take(self, miner: Miner, result: messages.Result, now: float) -> bool:
        """A miner's result. Returns whether it was due, be it late.

        Raises `RemoteError` for one of a lease that never was.
        """
        miner.has_read(result.lease)
        grant = self._state.grants.get(result.lease)
        if grant is None or grant.miner is not miner:
            return self._late(miner, result, now)
        try:
            scan = _scan_of(grant, result, self._state.rehash)
        except FalseEvidence as error:
            self.catch(miner, str(error), now)
            return True
        count = scan.stop - grant.start
        doubtful = _is_doubtful(grant, scan)
        # Who sleeps is not fast.
        self._state.roster.returned(grant, 0 if doubtful else count, now)
        quota = grant.quota
        if quota is not None:
            miner.drift.add(_expected(grant, scan, quota), len(scan.shares))
        self._leases.close(grant)
        if grant.audit is not None:
            self._audited(grant, grant.audit, scan, now, doubtful=doubtful)
        else:
            self._shard_done(grant, scan, now, doubtful=doubtful)
        self._leases.refill(miner, now)
        self._leases.serve_idle(now)
        return True

    def _late(self, miner: Miner, result: messages.Result, now: float) -> bool:
        """The nonces are somebody else's by now; but the miner lives."""
        self._state.counts["late"] += 1
        if result.lease > self._state.number:
            raise RemoteProtocolError(f"lease {result.lease} has never been given")
        miner.draining = max(0, miner.draining - 1)
        due, miner.owed = miner.owed > 0, max(0, miner.owed - 1)
        if miner.has_room:
            self._leases.refill(miner, now)
        return due

    def _shard_done(self, grant: Grant, scan: Scan, now: float, *, doubtful: bool) -> None:
        state, job, shard = self._state, grant.job, grant.shard
        start, stop = grant.start, min(scan.stop, shard.stop)
        for rival in job.book.finish(grant.number, stop):
            self._leases.revoke(rival)
        state.dispatcher.offer(job)
        if scan.best is not None:
            self._jobs.offer(job, scan.best)
        job.gathered(scan.shares)
        if start < stop:
            job.progressed_at = now
            state.counts["results"] += 1
            entry = Unaudited(job, start, scan.stop)
            self._believe(grant.miner, entry, stop, scan, grant.quota, now, doubtful=doubtful)
        self._jobs.complete_if_done(job, now)

    def _believe(
        self,
        miner: Miner,
        entry: Unaudited,
        stop: int,
        scan: Scan,
        quota: Quota | None,
        now: float,
        *,
        doubtful: bool = False,
    ) -> None:
        """So much is done, up to `stop`; unless the lots want it audited, it goes to the disk."""
        miner.unaudited.append(entry)
        nonces = self._chosen(miner, entry, doubtful=doubtful)
        if nonces is not None:
            entry.waits = True
            audit = _audit(miner, entry, scan, quota, nonces, now, doubtful=doubtful)
            self._state.desk.add(audit)
        elif doubtful:
            self._search_again(miner, entry)
        else:
            self._persist_done(entry.job, entry.start, stop)

    def _persist_done(self, job: Job, start: int, stop: int) -> None:
        """What waits for an audit is not on disk: a pool that dies has it searched again."""
        so_far = job.so_far
        nonce = so_far if so_far is not None and start <= so_far < stop else None
        self._state.persist_job(job, records.ShardDone(job.id, start, stop - start, nonce))

    # Audits.

    def _chosen(self, miner: Miner, entry: Unaudited, *, doubtful: bool) -> range | None:
        """What of a shard is scanned again: nothing, all of it, or a piece."""
        state, count = self._state, entry.stop - entry.start
        settings = state.settings
        fraction = settings.audit_fraction if miner.evidence else settings.blind_audit_fraction
        pieces = state.desk.pieces(miner, count, fraction)
        if state.desk.full:
            _forget_oldest(miner, UNAUDITED_MAX)
            return None
        if not self._audit_is_due(miner, fraction, pieces) and not doubtful:
            return None
        place = state.lots.randrange(pieces) if pieces > 1 else 0
        begin, end = count * place // pieces, count * (place + 1) // pieces
        return range(entry.start + begin, entry.start + end)

    def _audit_is_due(self, miner: Miner, fraction: float, pieces: int) -> bool:
        state = self._state
        if pieces > 1 or not fraction:
            _forget_oldest(miner, UNAUDITED_KEPT_MAX)
        miner.since_audit += 1
        chosen = state.lots.random() < fraction * pieces
        overdue = fraction > 0 and miner.since_audit * pieces >= UNAUDITED_MAX
        # Of pieces more than one must pass, and each of its slots may be about to return one.
        suspicious = miner.drift.suspicious and (pieces == 1 or miner.since_audit >= miner.slots)
        if not (chosen or suspicious or overdue):
            return False
        miner.since_audit = 0
        if pieces == 1:
            # One shard will tell. Of many slots, thousands of results may come before it has.
            miner.drift.clear()
        return True

    def own_audit_done(self, event: Searched, now: float) -> None:
        """The pool's own search has ended."""
        state = self._state
        if state.own_audit is None or state.own_audit.task != event.task:
            return
        audit, began_at, state.own_audit = state.own_audit.audit, state.own_audit.began_at, None
        if now > began_at:
            state.desk.own_rate = (event.stop - audit.start) / (now - began_at)
        result = messages.Result(0, event.stop, event.nonces)
        scan = _read(audit.job, audit.quota, result, audit.start, audit.stop, state.rehash)
        self._settle(audit, scan, None, now)
        self._leases.serve_idle(now)

    def _audited(
        self, grant: Grant, audit: Audit, scan: Scan, now: float, *, doubtful: bool
    ) -> None:
        """An auditor is back."""
        self._state.desk.take_back(audit)
        if scan.stop < audit.stop and scan.hit is None:
            self._state.desk.put_back(audit)
        else:
            self._settle(audit, scan, grant.miner, now, doubtful=doubtful or audit.doubtful)

    def _settle(
        self,
        audit: Audit,
        scan: Scan,
        auditor: Miner | None,
        now: float,
        *,
        doubtful: bool = False,
    ) -> None:
        """Somebody left something out, or nobody did, as far as one may believe it."""
        blind = auditor is not None and not auditor.evidence
        verdict = audit.verdict(scan, blind=blind)
        if scan.best is not None:
            self._jobs.offer(audit.job, scan.best)
        audit.job.gathered(scan.shares)
        if verdict.auditor_missed and auditor is not None:
            if not verdict.suspect_missed:
                # What such an auditor did not find says nothing for the suspect.
                self._state.desk.put_back(audit)
            said = _left_out(len(verdict.auditor_missed), scan)
            self.catch(auditor, f"{said} when it audited another miner", now)
            if not verdict.suspect_missed:
                return
        if doubtful and auditor is not None and not verdict.suspect_missed:
            self._state.desk.keep(audit, auditor, scan)
            return
        self._state.desk.done(audit)
        if verdict.suspect_missed:
            self._convict(audit, scan, verdict, auditor, now)
        else:
            self._acquit(audit, auditor)
        if auditor is None:
            self._judge_witness(audit, scan, now)
        self._jobs.complete_if_done(audit.job, now)

    def _convict(
        self, audit: Audit, scan: Scan, verdict: Verdict, auditor: Miner | None, now: float
    ) -> None:
        self._state.counts["audits failed"] += 1
        suspect, missed = audit.suspect, len(verdict.suspect_missed)
        if audit.entry in suspect.unaudited and _is_searched(audit, scan, auditor):
            # It stays done. Or those who lie and come back would leave others only audits to do.
            suspect.unaudited.remove(audit.entry)
            if auditor is None:
                self._persist_done(audit.job, audit.start, audit.stop)
            else:
                entry = Unaudited(audit.job, audit.start, audit.stop)
                self._believe(auditor, entry, audit.stop, scan, audit.quota, now)
        who = "the pool" if auditor is None else auditor.name
        self._state.emit(
            facts.AuditFailed(suspect.name, who, audit.job.id, audit.start, audit.stop, missed)
        )
        said = _left_out(missed, audit.scan)
        self.catch(suspect, f"{said} of [{audit.start}, {audit.stop})", now)

    def _judge_witness(self, audit: Audit, truth: Scan, now: float) -> None:
        """The pool itself has found what is there."""
        witness, testimony = audit.witness, audit.testimony
        if witness is None or testimony is None:
            return
        missed = audit.left_out(testimony, truth, blind=not witness.evidence)
        if missed:
            said = _left_out(missed, testimony)
            self.catch(witness, f"{said} when it audited another miner", now)

    def _acquit(self, audit: Audit, auditor: Miner | None) -> None:
        suspect = audit.suspect
        self._state.counts["audits"] += 1
        entry = audit.entry
        if audit.doubtful and not audit.is_whole:
            self._search_again(suspect, entry)
        elif entry in suspect.unaudited:
            _vouch(suspect, entry, audit.part)
            self._persist_done(audit.job, entry.start, entry.stop)
        if audit.is_whole or entry.passed >= PASSED_MIN:
            suspect.drift.clear()
        who = "the pool" if auditor is None else auditor.name
        name, job = suspect.name, audit.job.id
        self._state.emit(facts.AuditPassed(name, who, job, audit.start, audit.stop))

    def _search_again(self, miner: Miner, entry: Unaudited) -> None:
        """Nobody vouches for a shard with so few shares; a piece of it says little."""
        if entry in miner.unaudited:
            miner.unaudited.remove(entry)
            entry.job.book.redo(entry.start, entry.stop)
            self._state.dispatcher.offer(entry.job)

    def catch(self, miner: Miner, reason: str, now: float) -> None:
        """A miner has cheated: it is out, and what nobody vouched for is searched again."""
        if miner.caught:
            return
        state = self._state
        miner.caught = True
        state.counts["cheats"] += 1
        dropped = [audit.job for audit in state.desk.drop(suspect=miner)]
        redone = self._void(miner)
        drift = miner.drift
        shares, expected = drift.observed, round(drift.expected, 1)
        state.emit(  # Before what comes of it, so that whoever hears of that knows why.
            facts.Cheated(
                miner.name, miner.address, reason, shares, expected, miner.results, redone
            )
        )
        peer = state.roster.peers.get(miner.peer)
        if peer is not None:
            state.drop(peer, f"cheating: {reason}")
        self._leases.lose_all(miner, "cheated")
        for job in dropped:
            self._jobs.complete_if_done(job, now)
        self._leases.serve_idle(now)

    def _void(self, miner: Miner) -> int:
        """Shards that nobody vouched for are free again. Returns how many nonces that is."""
        state, redone = self._state, 0
        for entry in miner.unaudited:
            job = entry.job
            if state.jobs.get(job.id) is job:
                redone += job.book.redo(entry.start, entry.stop)
                count = entry.stop - entry.start
                state.emit(facts.ShardVoided(miner.name, job.id, entry.start, entry.stop))
                state.persist_job(job, records.ShardVoided(job.id, entry.start, count))
                state.dispatcher.offer(job)
        miner.unaudited.clear()
        return redone


def _expected(grant: Grant, scan: Scan, quota: Quota) -> float:
    """How many shares there are on average in what was searched of a lease."""
    if scan.stop == grant.stop:
        return quota.expected
    return expected_shares(scan.stop - grant.start, quota.limit)


def _is_doubtful(grant: Grant, scan: Scan) -> bool:
    """Whether so few shares, or so high a lowest hash, are hardly those of a shard searched."""
    count, quota = scan.stop - grant.start, grant.quota
    if quota is not None:
        return len(scan.shares) < shares_least(_expected(grant, scan, quota))
    if scan.best is None:
        return False
    lower = expected_shares(count, Target(max(1, scan.best[0])))
    return shares_least(lower) > 0


def _left_out(missed: int, said: Scan) -> str:
    return f"left out {missed} of {missed + len(said.named)} shares"


def _is_searched(audit: Audit, scan: Scan, auditor: Miner | None) -> bool:
    """Whether an audit is as good as a result: by the pool, or by a miner that is as evident."""
    if not audit.is_whole or scan.stop != audit.stop:
        return False
    if auditor is None:
        return True
    honest = auditor.evidence and not auditor.caught
    return honest and len(scan.shares) >= shares_least(audit.quota.expected)


def _audit(
    miner: Miner,
    entry: Unaudited,
    scan: Scan,
    scanned: Quota | None,
    nonces: range,
    now: float,
    *,
    doubtful: bool,
) -> Audit:
    """To scan these nonces of a lease again, at the limit at which they were scanned."""
    limit = (scanned or quota_for(entry.stop - entry.start)).limit
    quota = Quota(limit, limit.bits, expected_shares(len(nonces), limit))
    within = scan.within(nonces)
    return Audit(entry.job, entry, miner, within, quota, nonces, now, doubtful=doubtful)


def _forget_oldest(miner: Miner, most: int) -> None:
    """Nobody will ever vouch for them, but by the audits that they wait for."""
    while len(miner.unaudited) > most and not miner.unaudited[0].waits:
        miner.unaudited.popleft()


def _vouch(miner: Miner, entry: Unaudited, part: float) -> None:
    """So much of this shard is as it was said to be, and says as much for those before it.

    They are vouched for when that is worth a shard; not those that wait for an audit of their own.
    """
    entry.waits = False
    unaudited = iter(miner.unaudited)
    kept: deque[Unaudited] = deque()
    for each in unaudited:
        each.passed += part
        if each.waits or each.passed < PASSED_MIN:
            kept.append(each)
        if each is entry:
            break
    kept.extend(unaudited)
    miner.unaudited = kept


# Can it be? Pure functions of a lease and what is said of it.


def _scan_of(grant: Grant, result: messages.Result, rehash: Rehash) -> Scan:
    """Rehash what a miner says. Raises `FalseEvidence` for what cannot be."""
    if result.stop < grant.start:
        raise FalseEvidence(f"a result that ends at {result.stop}, before its lease begins")
    if grant.quota is None:
        return _believe_lowest(grant, result)
    return _read(grant.job, grant.quota, result, grant.start, grant.stop, rehash)


def _read(
    job: Job, quota: Quota, result: messages.Result, start: int, whole: int, rehash: Rehash
) -> Scan:
    """What a result of [start, whole) says of the shares there, and of the job's target."""
    stop = min(result.stop, whole)
    shares = result.nonces
    hit = None if job.target is None else _hit(job, job.target, shares, start, stop)
    if hit is None and stop < whole:
        raise FalseEvidence(f"a result that ends at {stop} and not at {whole}, without a proof")
    if hit is not None and not quota.limit.admits(hit.rank):
        shares = shares[:-1]
    best = check_shares(job.puzzle, shares, start, stop, quota.limit, rehash)
    if quota.limit.value == TARGET_MAX and len(shares) < stop - start:
        raise FalseEvidence(f"{len(shares)} shares of {stop - start} nonces, which all are shares")
    if job.target is not None and best is not None and job.target.admits(best[0]):
        best = job.puzzle.prove(best[1]).merit
        _check_first(job, job.target, shares, stop)
    if hit is None:
        return Scan(stop, shares, best)
    return Scan(stop, shares, hit.merit, hit.nonce)


def _hit(job: Job, target: Target, nonces: tuple[int, ...], start: int, stop: int) -> Proof | None:
    """The nonce that ended the search because it meets the job's target, whatever the limit."""
    if not nonces or nonces[-1] != stop - 1 or stop <= start:
        return None
    last = job.puzzle.prove(nonces[-1])
    return last if target.admits(last.rank) else None


def _check_first(job: Job, target: Target, shares: tuple[int, ...], stop: int) -> None:
    """A search ends at the first nonce that meets the target."""
    for nonce, digest in zip(shares, job.puzzle.digests(shares), strict=True):
        if nonce != stop - 1 and target.admits(job.puzzle.rank(digest)):
            raise FalseEvidence(f"nonce {nonce} meets the target, and the search went on")


def _believe_lowest(grant: Grant, result: messages.Result) -> Scan:
    """A wire without evidence: one nonce. Its miners may search the end of the range as well."""
    if len(result.nonces) != 1:
        raise FalseEvidence(f"{len(result.nonces)} lowest nonces, where there is one")
    nonce = result.nonces[0]
    if not grant.start <= nonce <= grant.stop:
        raise FalseEvidence(f"nonce {nonce} is not of [{grant.start}, {grant.stop}]")
    puzzle = grant.job.puzzle
    proof = puzzle.prove(nonce)
    if result.claimed not in (None, puzzle.compared(proof.digest)):
        raise FalseEvidence(f"nonce {nonce} does not hash to {result.claimed}")
    return Scan(grant.stop, (), proof.merit)
