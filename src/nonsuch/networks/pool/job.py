"""One job of a pool: its puzzle, what is searched of it, and the best so far.

The last nonce of a job is hashed by the pool itself, when the job comes in. Some miners of the
LiteMiner wire search up to and including the end of a range that was meant without it; so no range
that is handed out ends above the last nonce, and whatever they report is a nonce of the job.
"""

from __future__ import annotations

from collections.abc import Iterable

from nonsuch.networks.pool.gather import Gather
from nonsuch.networks.pool.messages import Answer, Status, target_of
from nonsuch.networks.pool.records import JobClosed, JobOpened, JobSnapshot
from nonsuch.work.leases import LeaseBook
from nonsuch.work.presets import liteminer, plain
from nonsuch.work.puzzle import Merit, Proof, Puzzle
from nonsuch.work.ranges import RangeSet
from nonsuch.work.target import Target

__all__ = ["Finished", "Job"]

COUNT_MAX = 2**64 - 1
"""As many as a message can tell of: one less than the nonces of the longest job."""

RATE_MEMORY_SECONDS = 5.0
"""How far back a job's rate looks."""

RATE_MIN = 0.01
"""Hashes a second below which a job stands still."""

MESSAGE_CHARACTERS_MAX = 200
"""How much of its message people are told."""


class Job:
    """A job that runs or waits. `now` is when it came, or came back from disk.

    One that has a `gather` is the pool's own (`gather`): clients do not see it, nor does the disk.
    """

    __slots__ = (
        "_measured",
        "_merit",
        "audits",
        "best",
        "book",
        "found",
        "gather",
        "id",
        "is_liteminer",
        "kind",
        "now",
        "opened",
        "order",
        "owner",
        "progressed_at",
        "puzzle",
        "puzzle_bytes",
        "queued",
        "rate",
        "records",
        "served",
        "target",
        "under_way",
        "watchers",
    )

    def __init__(
        self,
        opened: JobOpened,
        order: int,
        now: float,
        *,
        done: Iterable[range] = (),
        gather: Gather | None = None,
    ) -> None:
        self.opened = opened
        self.gather = gather
        self.id = opened.job
        self.order = order
        self.now = now
        self.puzzle: Puzzle = opened.puzzle.puzzle()
        self.puzzle_bytes = len(self.puzzle.prefix) + len(self.puzzle.suffix)
        self.kind = self.puzzle.kind
        self.target = None if opened.target is None else target_of(opened.target)
        self.book = LeaseBook(opened.first, opened.last, done)
        self.best: Proof | None = None
        self._merit: tuple[int, int] | None = None
        self.found: int | None = None
        self.is_liteminer = (
            self.target is None and self.share_limit is None and _is_liteminer(self.puzzle)
        )
        # When something of it was done last, or leased for the first time.
        self.progressed_at = now
        self.served = 0
        self.queued = False
        self.audits = 0
        self.owner = 0
        self.records = 0
        self.watchers: dict[int, None] = {}
        # Nonces of open leases that miners say they have tried, kept up to date by each beat: a
        # large pool has no time to ask all leases twice a second.
        self.under_way = 0
        self.rate = 0.0
        self._measured = (now, self.book.done.total)
        last = self.puzzle.prove(opened.last)
        self.offer(last.merit)
        self.gathered([last.nonce])
        if self.target is not None and self.target.admits(last.rank):
            self.found = last.nonce

    @property
    def total(self) -> int:
        """How many nonces it has."""
        return self.opened.last + 1 - self.opened.first

    @property
    def share_limit(self) -> Target | None:
        """Nonces that meet it must be named, however small the shard; None where none must."""
        return None if self.gather is None else self.gather.limit

    def gathered(self, shares: Iterable[int]) -> None:
        """Shares of this job, each hashed here."""
        if self.gather is not None:
            self.gather.take(self.puzzle, shares)

    @property
    def described(self) -> tuple[str, str]:
        """What people know the job by, and the preset under which that is the whole puzzle.

        The text is cut where it is long, and the preset empty where it would not give the puzzle.
        """
        prefix = self.puzzle.prefix
        for preset, message in ((liteminer, prefix[:-1]), (plain, prefix)):
            if preset(message) == self.puzzle:
                text = message.decode(errors="replace")[:MESSAGE_CHARACTERS_MAX]
                return text, preset.__name__ if text.encode() == message else ""
        return prefix.decode(errors="replace")[:MESSAGE_CHARACTERS_MAX], ""

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to search, nor to search again."""
        return not self.audits and self.book.finished

    def offer(self, merit: Merit) -> bool:
        """A nonce of this job that is said to be so good: is it the best so far?"""
        if self._merit is not None and merit >= self._merit:
            return False
        proof = self.puzzle.prove(merit[1])
        better = self._merit is None or proof.merit < self._merit
        if better:
            self.best, self._merit = proof, proof.merit
        return better

    def meet(self, nonce: int) -> list[int]:
        """A nonce that the target admits. Returns the leases that lie behind the first such."""
        if self.found is not None and self.found <= nonce:
            return []
        self.found = nonce
        return self.book.truncate(nonce + 1)

    @property
    def so_far(self) -> int | None:
        """The answer if there is nothing better: the first that meets the target, or the lowest."""
        if self.target is not None:
            return self.found
        return None if self.best is None else self.best.nonce

    @property
    def tried(self) -> int:
        """Nonces done, the last one among them, and what miners say they have tried by now."""
        return self.book.done.total + 1 + self.under_way

    def measure(self, hashes: int, now: float) -> None:
        """So many nonces are tried by now: follow the rate."""
        before, tried = self._measured
        seconds = now - before
        if seconds <= 0:
            return
        current = max(0, hashes - tried) / seconds
        weight = min(1.0, seconds / RATE_MEMORY_SECONDS) if self.rate else 1.0
        self.rate += (current - self.rate) * weight
        if self.rate < RATE_MIN:
            self.rate = 0.0
        self._measured = (now, hashes)

    def status(self, hashes: int, miners: int, now: float) -> Status:
        """What its watchers are told."""
        return Status(
            job=self.id,
            # While it runs something is left, be it an audit.
            done=min(self.total - 1, hashes, COUNT_MAX),
            total=min(self.total, COUNT_MAX),
            rate=self.rate,
            miners=miners,
            seconds=now - self.now,
            nonce=None if self.best is None else self.best.nonce,
        )

    def snapshot(self, waiting: RangeSet) -> JobSnapshot:
        """All that a restart needs to know; what waits for its audit is searched again."""
        done = RangeSet(self.book.done)
        for part in waiting:
            done.remove(part.start, part.stop)
        parts = tuple((part.start, part.stop - part.start) for part in done)
        return JobSnapshot(self.opened, parts, self.so_far)

    def closed(self, now: float) -> JobClosed:
        """All that is kept of it when it is done."""
        hashes = min(COUNT_MAX, self.book.done.total + 1)
        return JobClosed(self.opened, self.so_far, hashes, now - self.now)


class Finished:
    """A job that has its answer."""

    __slots__ = ("closed",)

    def __init__(self, closed: JobClosed) -> None:
        self.closed = closed

    @property
    def answer(self) -> Answer:
        """What a client that comes back is told."""
        closed = self.closed
        return Answer(closed.opened.job, closed.nonce, closed.hashes, closed.seconds)

    @property
    def status(self) -> Status:
        """The last status of it."""
        opened = self.closed.opened
        total = min(COUNT_MAX, opened.last + 1 - opened.first)
        return Status(
            opened.job, total, total, 0.0, 0, self.closed.seconds, nonce=self.closed.nonce
        )


def _is_liteminer(puzzle: Puzzle) -> bool:
    """Whether some text stands for this puzzle on the LiteMiner wire."""
    message = puzzle.prefix[:-1]
    if puzzle != liteminer(message):
        return False
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
