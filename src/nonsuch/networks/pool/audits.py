"""Scanning again what somebody says was scanned.

An audit is a shard with what its miner said of it. It is chosen by lot, or because the miner's
shares fall behind the law (`work/shares.py`), or because so many of its shards have gone by
unaudited. Another miner scans the shard under the same limit; where there is none who could, the
pool does it itself.

Every share either of them names was rehashed, so the union of the two lists is true, and whoever
lacks one of it has left it out: that is proof, against the first miner or against the second. A
miner of a wire without evidence names its lowest nonce only; there a lower one is the proof.

**Pieces.** An audit should take its auditor as long as a shard. Of what its suspect was faster to
scan, or of a lease as long as many shards, as those of a relay are, the lots choose a piece, and so
much more often that each nonce is as likely to be scanned again as any other. Where all is to be
scanned again it is never a piece. Where auditors are so slow that they could not do their part,
less is scanned again, for jobs wait for audits.

A piece that passes says little: what was left out may be elsewhere. Only when pieces worth a whole
lease have passed are the leases before them vouched for, and suspicion is put aside.

**Who does it.** Not whoever would take minutes for it, as long as somebody is there who does not;
and an idle miner takes over what another one is slow to do. What has waited for too long the pool
does itself, or anybody who asks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from nonsuch.networks.pool.job import Job
from nonsuch.work.puzzle import Merit

if TYPE_CHECKING:
    from nonsuch.networks.pool.dispatch import Quota
    from nonsuch.networks.pool.roster import Grant, Miner, Roster, Unaudited
    from nonsuch.networks.pool.settings import PoolSettings

__all__ = [
    "AUDITS_MAX",
    "LOSSES_MAX",
    "SHARDS_AN_AUDIT_MAX",
    "UNAUDITED_KEPT_MAX",
    "UNAUDITED_MAX",
    "Audit",
    "AuditDesk",
    "Scan",
    "Verdict",
]

AUDITS_MAX = 4096
"""Audits that wait at once. More can only be wanted by more miners than can be suspected."""

AUDITS_LOOK_MAX = 16
"""How many of them are held against one miner that asks for work."""

LOSSES_MAX = 3
"""Auditors that an audit may lose before the pool does it itself."""

UNAUDITED_MAX = 128
"""A miner's shards in a row of which none is audited, nor pieces of some that are worth one. Two
such rows are redone, at most, when it is caught, and what it returned between an audit's beginning
and its end; but never more than `UNAUDITED_KEPT_MAX` of which only pieces are audited."""

UNAUDITED_KEPT_MAX = 1024
"""Shards that are remembered of a miner of whose shards auditors can only do pieces."""

SHARDS_AN_AUDIT_MAX = 3
"""An audit should take no longer than so many shards, nor wait for longer until it is begun."""

RATE_PART_MIN = 1e-6
"""Auditors whose part of the pool's rate is less are nobody: sums of floats drift."""


class Scan(msgspec.Struct, frozen=True):
    """What a result comes to: a lease was searched up to `stop`, and gave these shares.

    `hit` is the nonce that ended the search because it meets the job's target, and `best` the merit
    of that one, or else of the best share; on a wire without evidence, of what was said to be best.
    """

    stop: int
    shares: tuple[int, ...]
    best: Merit | None
    hit: int | None = None

    @property
    def named(self) -> tuple[int, ...]:
        """All nonces that had to be named."""
        if self.hit is None or self.hit in self.shares[-1:]:
            return self.shares
        return (*self.shares, self.hit)

    def within(self, nonces: range) -> Scan:
        """What it says of these nonces alone."""
        shares = tuple(nonce for nonce in self.shares if nonce in nonces)
        # Asked for None, a range would look at each of its numbers.
        hit = self.hit if self.hit is not None and self.hit in nonces else None
        return Scan(min(self.stop, nonces.stop), shares, self.best, hit)


class Audit:
    """A shard, or the piece of it that the lots have chosen, to be scanned again.

    It is `doubtful` where its suspect has named too few: no other miner's word is enough then, nor
    is that of one that has named too few itself. `witness` is the one that found nothing amiss, and
    `testimony` what it said.
    """

    __slots__ = (
        "doubtful",
        "entry",
        "job",
        "losses",
        "quota",
        "scan",
        "since",
        "start",
        "stop",
        "suspect",
        "testimony",
        "witness",
    )

    def __init__(
        self,
        job: Job,
        entry: Unaudited,
        suspect: Miner,
        scan: Scan,
        quota: Quota,
        nonces: range,
        now: float,
        *,
        doubtful: bool = False,
    ) -> None:
        self.job = job
        self.start = nonces.start
        self.stop = nonces.stop
        self.entry = entry
        self.suspect = suspect
        self.scan = scan
        self.quota = quota
        self.losses = 0
        self.since = now
        self.doubtful = doubtful
        self.witness: Miner | None = None
        self.testimony: Scan | None = None

    @property
    def count(self) -> int:
        """How many nonces are to be scanned again."""
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """Whether all that the suspect has searched is scanned again."""
        return (self.start, self.stop) == (self.entry.start, self.entry.stop)

    @property
    def part(self) -> float:
        """How much of what the suspect has searched that is; 1.0 for all."""
        return self.count / (self.entry.stop - self.entry.start)

    def verdict(self, again: Scan, *, blind: bool) -> Verdict:
        """Compare with what the auditor found, who is `blind` where it names the best alone."""
        if blind or not self.suspect.evidence:
            return self._blind_verdict(self.scan.best, again.best)
        if again.stop < self.stop:
            # It ended at a proof, where the suspect went on.
            return Verdict((again.stop - 1,), ())
        said, found = set(self.scan.named), set(again.named)
        return Verdict(tuple(sorted(found - said)), tuple(sorted(said - found)))

    def left_out(self, testimony: Scan, truth: Scan, *, blind: bool) -> int:
        """How many nonces a witness, be it `blind`, did not name that the pool itself has found."""
        if blind:
            return len(self._blind_verdict(testimony.best, truth.best).suspect_missed)
        return len(set(truth.named) - set(testimony.named))

    def _blind_verdict(self, claim: Merit | None, best: Merit | None) -> Verdict:
        if claim is None or best is None:
            return Verdict((), ())
        nonce, claimed = best[1], claim[1]
        rank, claimed_rank = (self.job.puzzle.prove(each).rank for each in (nonce, claimed))
        # Ranks alone: of equal ones, miners of that wire may name any. Some search the end as well,
        # of which those who do not know nothing.
        if rank < claimed_rank:
            return Verdict((nonce,), ()) if self.start <= nonce < self.stop else Verdict((), ())
        if claimed_rank < rank and self.start <= claimed < self.stop:
            return Verdict((), (claimed,))
        return Verdict((), ())


class Verdict:
    """Which nonces the suspect left out, and which ones the auditor did."""

    __slots__ = ("auditor_missed", "suspect_missed")

    def __init__(self, suspect_missed: tuple[int, ...], auditor_missed: tuple[int, ...]) -> None:
        self.suspect_missed = suspect_missed
        self.auditor_missed = auditor_missed


class AuditDesk:
    """The audits that wait for an auditor, first in, first out, and those that miners do.

    Do not change `waiting`, nor `given`. `own_rate` is how fast the pool itself has scanned its
    latest one, in hashes a second; 0.0 before the first.
    """

    def __init__(self, settings: PoolSettings, roster: Roster) -> None:
        self._settings = settings
        self._roster = roster
        self.waiting: deque[Audit] = deque()
        self.given: dict[Audit, Grant] = {}
        self.own_rate = 0.0

    @property
    def full(self) -> bool:
        """Whether as many wait as ever may."""
        return len(self.waiting) >= AUDITS_MAX

    def add(self, audit: Audit) -> None:
        """One more. The job waits for it."""
        audit.job.audits += 1
        self.waiting.append(audit)
        self._doubt(audit, 1)

    def give(self, audit: Audit, grant: Grant) -> None:
        """A miner does it from now on, whoever did before."""
        self.given[audit] = grant

    def take_back(self, audit: Audit) -> None:
        """Its auditor has returned it: nobody does it any more."""
        self.given.pop(audit, None)

    def done(self, audit: Audit) -> None:
        """Its job waits for it no more."""
        audit.job.audits -= 1
        self._doubt(audit, -1)

    def _doubt(self, audit: Audit, more: int) -> None:
        """Who does not seem to search has nothing more to search until that is settled."""
        if audit.doubtful:
            audit.suspect.doubted += more
            self._roster.place(audit.suspect)

    def lose(self, audit: Audit) -> None:
        """Its auditor was lost, or is too slow; none has so many of them for ever."""
        self.take_back(audit)
        audit.losses += 1

    def put_back(self, audit: Audit) -> None:
        """Its auditor was lost: it is the next again."""
        self.lose(audit)
        self.waiting.appendleft(audit)

    def keep(self, audit: Audit, witness: Miner, testimony: Scan) -> None:
        """A miner found nothing amiss, and is not to be believed: the pool does it as well."""
        audit.witness, audit.testimony = witness, testimony
        audit.losses = LOSSES_MAX
        self.waiting.appendleft(audit)

    def take_for(self, miner: Miner, now: float) -> Audit | None:
        """The next audit that this miner can do, and should: not one of itself."""
        for _ in range(min(len(self.waiting), AUDITS_LOOK_MAX)):
            audit = self.waiting[0]
            wanted = now >= self.patient_until(audit) or self.suits(miner, audit)
            if wanted and self.can_audit(miner, audit):
                return self.waiting.popleft()
            self.waiting.rotate(-1)
        return None

    def take_first(self) -> Audit | None:
        """The next audit for the pool itself."""
        return self.waiting.popleft() if self.waiting else None

    def patient_until(self, audit: Audit) -> float:
        """From when on anybody may do it."""
        return audit.since + SHARDS_AN_AUDIT_MAX * self._settings.shard_seconds

    def suits(self, miner: Miner, audit: Audit) -> bool:
        """Whether this one would soon be done with it, or sooner than most of the others."""
        if self._settings.shard_nonces is not None:
            return True  # It has as long for a shard.
        usual = self._others_rate(audit.suspect)
        if not usual or miner.slot_rate >= usual:
            return miner.measured or not usual
        seconds_max = SHARDS_AN_AUDIT_MAX * self._settings.shard_seconds
        return miner.measured and audit.count <= seconds_max * miner.pace(audit.job)

    def pieces(self, suspect: Miner, count: int, fraction: float) -> int:
        """In how many pieces so many nonces are cut, of which one takes an auditor a shard's time.

        `fraction` of all nonces should be scanned again. Where auditors cannot do that, pieces
        are as small as to take them `SHARDS_AN_AUDIT_MAX` times as long.
        """
        if self._settings.shard_nonces is not None or fraction >= 1:
            return 1
        rate = self._others_rate(suspect) or self.own_rate or suspect.slot_rate
        if not rate:
            return 1
        most = count / (rate * self._settings.shard_seconds)
        wanted = max(1 / max(fraction, 1 / count), most / SHARDS_AN_AUDIT_MAX)
        return max(1, int(min(most, wanted, count)))

    def _others_rate(self, suspect: Miner) -> float:
        """What a slot of the others does on average, in hashes a second; 0.0 where none has yet."""
        rate, slots = self._roster.rate, self._roster.shown_slots
        if self._roster.miners.get(suspect.peer) is suspect and suspect.measured:
            rate, slots = rate - suspect.shown_rate, slots - suspect.slots
        shown = slots > 0 and rate > RATE_PART_MIN * self._roster.rate
        return rate / slots if shown else 0.0

    @staticmethod
    def can_audit(miner: Miner, audit: Audit) -> bool:
        """Whether the miner is somebody else, and can say enough."""
        enough = miner.evidence or not audit.suspect.evidence
        other = miner is not audit.suspect and audit.losses < LOSSES_MAX
        return other and enough and miner.can_search(audit.job)

    def drop(self, job: Job | None = None, suspect: Miner | None = None) -> list[Audit]:
        """Give up those of a job that is over, or of a miner that is caught already."""
        dropped = [each for each in self.waiting if each.job is job or each.suspect is suspect]
        for audit in dropped:
            self.waiting.remove(audit)
            self.done(audit)
        for audit in [each for each in self.given if each.job is job]:
            self.take_back(audit)
            self.done(audit)
        return dropped
