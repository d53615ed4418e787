"""Scanning again what somebody says was scanned.

An audit is a shard with what its miner said of it. It is chosen by lot, or because the miner's
shares fall behind the law (`work/shares.py`), or because so many of its shards have gone by
unaudited. Another miner scans the shard under the same limit; where there is none who could, the
pool does it itself.

Every share either of them names was rehashed, so the union of the two lists is true, and whoever
lacks one of it has left it out: that is proof, against the first miner or against the second. A
miner of a wire without evidence names its lowest nonce only; there a lower one is the proof.

Of a lease that was as long as many shards, as those of a relay are, the lots choose a piece: each
nonce is as likely to be scanned again as any other, and nobody waits for an audit of minutes. Where
there is suspicion it is all of it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from nonsuch.networks.pool.job import Job
from nonsuch.work.puzzle import Proof

if TYPE_CHECKING:
    from nonsuch.networks.pool.dispatch import Quota
    from nonsuch.networks.pool.roster import Miner, Unaudited

__all__ = [
    "AUDITS_MAX",
    "LOSSES_MAX",
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
"""A miner's shards in a row of which none is audited. So many are redone, at most, when it is
caught, and what it returned between an audit's beginning and its end."""


class Scan(msgspec.Struct, frozen=True):
    """What a result comes to: a lease was searched up to `stop`, and gave these shares.

    `hit` is the nonce that ended the search because it meets the job's target, and `best` that one,
    or else the best share; on a wire without evidence, what was said to be the lowest.
    """

    stop: int
    shares: tuple[int, ...]
    best: Proof | None
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
        hit = self.hit if self.hit in nonces else None
        return Scan(min(self.stop, nonces.stop), shares, self.best, hit)


class Audit:
    """A shard, or the piece of it that the lots have chosen, to be scanned again."""

    __slots__ = (
        "entry",
        "job",
        "losses",
        "quota",
        "scan",
        "start",
        "stop",
        "suspect",
    )

    def __init__(
        self,
        job: Job,
        entry: Unaudited,
        suspect: Miner,
        scan: Scan,
        quota: Quota,
        nonces: range,
    ) -> None:
        self.job = job
        self.start = nonces.start
        self.stop = nonces.stop
        self.entry = entry
        self.suspect = suspect
        self.scan = scan
        self.quota = quota
        self.losses = 0

    @property
    def count(self) -> int:
        """How many nonces are to be scanned again."""
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """Whether all that the suspect has searched is scanned again."""
        return (self.start, self.stop) == (self.entry.start, self.entry.stop)

    def verdict(self, again: Scan, *, blind: bool) -> Verdict:
        """Compare with what the auditor found, who is `blind` where it names the best alone."""
        if blind or not self.suspect.evidence:
            return self._blind_verdict(again.best)
        if again.stop < self.stop:
            # It ended at a proof, where the suspect went on.
            return Verdict((again.stop - 1,), ())
        said, found = set(self.scan.named), set(again.named)
        return Verdict(tuple(sorted(found - said)), tuple(sorted(said - found)))

    def _blind_verdict(self, best: Proof | None) -> Verdict:
        claim = self.scan.best
        if claim is None or best is None:
            return Verdict((), ())
        # Ranks alone: of equal ones, miners of that wire may name any.
        if best.rank < claim.rank:
            return Verdict((best.nonce,), ())
        if claim.rank < best.rank and self.start <= claim.nonce < self.stop:
            return Verdict((), (claim.nonce,))
        return Verdict((), ())


class Verdict:
    """Which nonces the suspect left out, and which ones the auditor did."""

    __slots__ = ("auditor_missed", "suspect_missed")

    def __init__(self, suspect_missed: tuple[int, ...], auditor_missed: tuple[int, ...]) -> None:
        self.suspect_missed = suspect_missed
        self.auditor_missed = auditor_missed


class AuditDesk:
    """The audits that wait for an auditor, first in, first out. Do not change `waiting`."""

    def __init__(self) -> None:
        self.waiting: deque[Audit] = deque()

    def add(self, audit: Audit) -> None:
        """One more. The job waits for it."""
        audit.job.audits += 1
        self.waiting.append(audit)

    def put_back(self, audit: Audit) -> None:
        """Its auditor was lost: it is the next again."""
        audit.losses += 1
        self.waiting.appendleft(audit)

    def take_for(self, miner: Miner) -> Audit | None:
        """The next audit that this miner can do: not one of itself."""
        for _ in range(min(len(self.waiting), AUDITS_LOOK_MAX)):
            audit = self.waiting[0]
            if self.can_audit(miner, audit):
                return self.waiting.popleft()
            self.waiting.rotate(-1)
        return None

    def take_first(self) -> Audit | None:
        """The next audit for the pool itself."""
        return self.waiting.popleft() if self.waiting else None

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
            audit.job.audits -= 1
        return dropped
