"""A search: threads share a range of nonces and agree on one exact answer.

The range is cut into *stripes*, handed out in ascending order, each some hundredths of a second
long. A thread asks its scanner for candidates in its stripe, rehashes them with `hashlib`, and
offers what it found. Three goals, one machine:

`First(target)` is the *first* nonce from the start that the target admits. Once a thread has one,
no stripe beyond it is begun and those under way beyond it are halted; the stripes before it run to
their end, because one of them may hold an earlier nonce.

`Lowest()` is the smallest rank of all, the smallest nonce on a tie. Scanners are asked for nonces
that could still win: after the best nonce so far, only a strictly better rank can.

`Shares(limit, until)` is every nonce that a fixed limit admits, up to the first that `until` does:
what a miner owes a pool (`work/shares.py`).

A search of the first two kinds begins with a limit that some dozens of nonces will meet and lowers
it to the best rank found, so that Python sees a few dozen candidates whether the range holds a
thousand nonces or 2**60. The same limit gives `First` its best near miss, to be shown meanwhile.

Results depend on puzzle, range and goal alone: not on threads, stripes, back end or luck.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from nonsuch.errors import KernelUnavailable, LocalError, shown
from nonsuch.search.backends import best_backend, compiled
from nonsuch.search.halt import Halt
from nonsuch.search.layout import Field
from nonsuch.search.scanners import (
    NO_LIMIT,
    WORD_BITS,
    HashlibScanner,
    KernelScanner,
    Scanner,
)
from nonsuch.work.goals import First, Goal, Lowest, Shares
from nonsuch.work.nonce import Decimal, Raw
from nonsuch.work.puzzle import DIGEST_BITS, Proof, Puzzle
from nonsuch.work.ranges import RangeSet
from nonsuch.work.target import Target

__all__ = [
    "THREADS_MAX",
    "Outcome",
    "Progress",
    "Searcher",
    "check_range",
    "default_threads",
    "notify_once",
    "search",
    "threads_or_default",
    "until_of",
]

THREADS_MAX = 1024
"""More than any machine has processors; a typing error should not exhaust it."""

STRIPE_SECONDS = 0.03
"""How long a stripe should take: long against handing it out (20 µs), short against a person."""

PROGRESS_SECONDS = 0.1
"""How often the progress callback is called."""

KERNEL_WORTH_NONCES = 150_000
"""Below this many nonces of one width, hashlib is done before a kernel is compiled."""

CANDIDATES_EXPECTED = 32
"""How many candidates the first limit aims at; that it has none at all has odds of 1 in 10**13."""

CANDIDATES_SAMPLE = 2**14
"""The first limit is set for this many nonces at most, so that a best-so-far appears at once."""

_FIRST_STRIPE = {KernelScanner: 262_144, HashlibScanner: 8_192}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A search from outside: nonces hashed so far, of how many, seconds so far, the best proof."""

    hashes: int
    total: int
    seconds: float
    best: Proof | None

    @property
    def rate(self) -> float:
        """Hashes a second, over the whole search so far."""
        return self.hashes / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    `proof` is the answer: the first admitted, or the lowest; None where there is none. `best` is
    the lowest-ranking nonce met on the way, `covered` what was searched, `hashes` how many nonces
    that cost, and `stopped` is true where the search was halted before its goal was reached.
    `shares` are what `Shares` asks for, ascending; those of a stopped search lie in `covered` too.
    `ended_early` where the proof ended the search, and nothing behind it counts.
    """

    proof: Proof | None
    best: Proof | None
    covered: RangeSet
    hashes: int
    seconds: float
    stopped: bool
    shares: tuple[int, ...] = ()
    ended_early: bool = False


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of the range that one kind of scanner serves: a field's kernel, or hashlib."""

    start: int
    stop: int
    field: Field | None

    @property
    def alignment(self) -> int:
        return 1 if self.field is None else self.field.radix.row


@dataclass(slots=True)
class _Stripe:
    """What one thread is searching now."""

    start: int
    stop: int
    segment: int
    scanner: Scanner | None = None

    @property
    def position(self) -> int:
        """How far it has come."""
        return self.start if self.scanner is None else self.scanner.position


def default_threads() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def search(
    puzzle: Puzzle,
    nonces: range,
    goal: Goal,
    *,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    halt: Halt | None = None,
) -> Outcome:
    """Search `nonces` (a range of step 1) and return what came of it.

    `threads` defaults to the processors this process may use. `progress` is called in the calling
    thread some ten times a second. `halt.set()`, from any thread, ends the search within 20 ms;
    so does an exception in the calling thread, Ctrl-C for one, which is passed on.

    Raises `LocalError` for a range that the puzzle's nonce field cannot hold.
    """
    return Searcher(puzzle, nonces, goal, threads=threads, halt=halt).run(progress)


class Searcher:
    """One search. `run` it once; `snapshot` may be called from other threads meanwhile.

    Takes what `search` takes, and from how many nonces of one width on a kernel is worth it.
    """

    def __init__(
        self,
        puzzle: Puzzle,
        nonces: range,
        goal: Goal,
        *,
        threads: int | None = None,
        halt: Halt | None = None,
        kernel_worth_nonces: int = KERNEL_WORTH_NONCES,
    ) -> None:
        check_range(puzzle, nonces)
        self._puzzle = puzzle
        self._goal = goal
        self._start = nonces.start
        self._stop = max(nonces.start, nonces.stop)
        self._segments = _segments(puzzle, self._start, self._stop, kernel_worth_nonces)
        asked = threads_or_default(threads)
        kernels = any(segment.field for segment in self._segments)
        # hashlib holds the interpreter lock for short messages: more threads would only quarrel.
        self._threads = asked if kernels else 1
        self._halt = Halt(halt)
        self._first_limit = self._initial_limit()
        self._shares_limit = self._fixed_limit(goal) if isinstance(goal, Shares) else NO_LIMIT

        self._lock = threading.Lock()
        self._next = self._start
        self._segment = 0
        self._prepared = 0
        self._rates: dict[type[Scanner], float] = {}
        self._stripes: dict[Halt, _Stripe] = {}
        self._covered = RangeSet()
        self._best: Proof | None = None
        self._found: Proof | None = None
        self._shares: list[int] = []
        self._until = until_of(goal)
        self._error: BaseException | None = None
        self._working = 0
        self._done = threading.Event()
        self._began = time.perf_counter()

    @property
    def threads(self) -> int:
        """How many threads the search uses."""
        return self._threads

    def run(self, progress: Callable[[Progress], None] | None = None) -> Outcome:
        """Search to the end. Returns the outcome; passes on what `progress` raises."""
        self._began = time.perf_counter()
        self._pass(progress)
        if isinstance(self._goal, Lowest) and self._best is None and self._start < self._stop:
            self._start_over()
            self._pass(progress)
        if progress is not None:
            progress(self.snapshot())
        return self._outcome()

    def snapshot(self) -> Progress:
        """Where the search stands."""
        with self._lock:
            under_way = sum(stripe.position - stripe.start for stripe in self._stripes.values())
            hashes = self._covered.total + under_way
            seconds = time.perf_counter() - self._began
            return Progress(hashes, self._stop - self._start, seconds, self._found or self._best)

    def _pass(self, progress: Callable[[Progress], None] | None) -> None:
        """Run all threads until the range or the goal is exhausted."""
        threads = [
            threading.Thread(target=self._work, name=f"nonsuch-search-{number}", daemon=True)
            for number in range(self._threads)
        ]
        started: list[threading.Thread] = []
        self._working = len(threads)
        self._done.clear()
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
            while not self._done.wait(PROGRESS_SECONDS):
                if progress is not None:
                    progress(self.snapshot())
        except BaseException:
            self._halt.set()
            raise
        finally:
            for thread in started:
                thread.join()
        if self._error is not None:
            raise self._error

    def _start_over(self) -> None:
        """No nonce met the first limit, against all odds: search again without one."""
        if self._halt:
            return
        self._first_limit = NO_LIMIT
        self._covered = RangeSet()
        self._next, self._segment, self._prepared = self._start, 0, 0

    def _outcome(self) -> Outcome:
        proof = self._best if isinstance(self._goal, Lowest) else self._found
        # A proof is the first only if everything before it was searched.
        needed = self._stop if self._found is None else self._found.nonce
        covered = self._covered
        shares = (n for n in self._shares if n == needed or (n < needed and n in covered))
        return Outcome(
            proof=proof,
            best=self._best,
            covered=covered,
            hashes=covered.total,
            seconds=time.perf_counter() - self._began,
            stopped=not covered.covers(self._start, needed),
            shares=tuple(sorted(shares)),
            ended_early=self._found is not None,
        )

    # What each thread does. A thread is known by its halt flag.

    def _work(self) -> None:
        halt = Halt(self._halt)
        scanners: dict[int, Scanner] = {}
        try:
            while (stripe := self._take_stripe(halt)) is not None:
                if stripe.segment not in scanners:
                    scanners[stripe.segment] = self._scanner(stripe.segment, halt)
                self._search_stripe(stripe, scanners[stripe.segment])
                self._put_back(halt, stripe)
        except BaseException as error:  # noqa: BLE001  # raised again in the calling thread
            self._error = error
            self._halt.set()
        finally:
            with self._lock:
                self._working -= 1
                if not self._working:
                    self._done.set()

    def _scanner(self, segment: int, halt: Halt) -> Scanner:
        field = self._segments[segment].field
        return HashlibScanner(self._puzzle, halt) if field is None else KernelScanner(field, halt)

    def _search_stripe(self, stripe: _Stripe, scanner: Scanner) -> None:
        scanner.position = stripe.start
        stripe.scanner = scanner
        limit = functools.partial(self._limit, stripe)
        began = time.perf_counter()
        for candidates in scanner.candidates(stripe.start, stripe.stop, limit):
            for nonce in candidates:
                self._offer(self._puzzle.prove(nonce))
        seconds = time.perf_counter() - began
        if seconds > 0:
            self._rates[type(scanner)] = (stripe.stop - stripe.start) / seconds

    def _take_stripe(self, halt: Halt) -> _Stripe | None:
        with self._lock:
            if self._halt or self._found is not None or self._next >= self._stop:
                return None
            segment = self._segments[self._segment]
            if self._prepared <= self._segment and self._next >= self._worth_preparing(segment):
                self._prepared = self._segment + 1
                self._prepare_next_segment()
            stripe = _Stripe(self._next, self._stripe_stop(segment), self._segment)
            self._next = stripe.stop
            self._segment += stripe.stop == segment.stop
            self._stripes[halt] = stripe
            return stripe

    def _put_back(self, halt: Halt, stripe: _Stripe) -> None:
        with self._lock:
            del self._stripes[halt]
            self._covered.add(stripe.start, stripe.position)

    def _worth_preparing(self, segment: _Segment) -> int:
        """From which nonce on the next segment is likely to be reached.

        A compiler holds up hashlib, so it does not begin where the search may well end before.
        """
        if self._until is None or segment.field is not None:
            return segment.start
        return segment.start + min(self._until.work, (segment.stop - segment.start) // 2)

    def _prepare_next_segment(self) -> None:
        """Have the next segment's code compiled while this one is being searched."""
        field = next((s.field for s in self._segments[self._segment + 1 :]), None)
        if field is not None:
            # Not a daemon, as the thread that starts it is: an interpreter that exits under a
            # running compiler would crash.
            threading.Thread(
                target=lambda: compiled(field.layout, best_backend(field.layout)),
                name="nonsuch-compile",
                daemon=False,
            ).start()

    def _stripe_stop(self, segment: _Segment) -> int:
        stop = self._next + self._stripe_nonces(segment)
        aligned = max(self._next + 1, stop - stop % segment.alignment)
        return min(segment.stop, aligned)

    def _stripe_nonces(self, segment: _Segment) -> int:
        kind = HashlibScanner if segment.field is None else KernelScanner
        if kind not in self._rates:
            return _FIRST_STRIPE[kind]
        return max(segment.alignment, int(self._rates[kind] * STRIPE_SECONDS))

    # What threads tell each other.

    def _initial_limit(self) -> int:
        """A leading word that some dozens of nonces will not exceed."""
        sample = max(1, min(self._stop - self._start, CANDIDATES_SAMPLE))
        limit = min(NO_LIMIT, (CANDIDATES_EXPECTED << WORD_BITS) // sample)
        return self._leading_word(limit << DIGEST_BITS - WORD_BITS)

    def _limit(self, stripe: _Stripe) -> int:
        """The leading word that a nonce of this stripe must not exceed to matter, from here on."""
        if isinstance(self._goal, Shares):
            return self._shares_limit
        best, limit = self._best, self._first_limit
        if best is not None:
            earlier = stripe.position < best.nonce
            limit = self._leading_word(best.rank if earlier else best.rank - 1)
        if isinstance(self._goal, First):
            limit = max(limit, self._leading_word(self._goal.target.value))
        return limit

    def _fixed_limit(self, goal: Shares) -> int:
        targets = (goal.limit,) if goal.until is None else (goal.limit, goal.until)
        return self._leading_word(max(target.value for target in targets))

    def _leading_word(self, rank: int) -> int:
        """The leading word of the greatest digest that ranks no higher than `rank`; -1 if none."""
        dropped = DIGEST_BITS - self._puzzle.rank_bits
        greatest = rank | (1 << dropped) - 1 if rank >= 0 else rank
        return greatest >> DIGEST_BITS - WORD_BITS

    def _offer(self, proof: Proof) -> None:
        with self._lock:
            if self._best is None or proof.merit < self._best.merit:
                self._best = proof
            if isinstance(self._goal, Shares) and self._goal.limit.admits(proof.rank):
                self._shares.append(proof.nonce)
            if self._until is None or not self._until.admits(proof.rank):
                return
            if self._found is None or proof.nonce < self._found.nonce:
                self._found = proof
                for halt, stripe in self._stripes.items():
                    if stripe.stop > proof.nonce:
                        halt.set()


def until_of(goal: Goal) -> Target | None:
    """The target whose first proof ends the search; None where the whole range is searched."""
    if isinstance(goal, Lowest):
        return None
    return goal.target if isinstance(goal, First) else goal.until


def check_range(puzzle: Puzzle, nonces: range) -> None:
    """Raise `LocalError` for what cannot be searched: a step, or nonces that do not fit."""
    if nonces.step != 1:
        raise LocalError("a search goes through every nonce: the range must have step 1")
    if nonces.start < 0:
        raise LocalError(f"nonces are not negative; the range begins at {shown(nonces.start)}")
    if nonces.stop > puzzle.nonce.count:
        raise LocalError(
            f"nonce {shown(nonces.stop - 1)} is too large: this puzzle has room for nonces up to"
            f" {puzzle.nonce.count - 1}"
        )


def threads_or_default(threads: int | None) -> int:
    """As many as asked for. Raises `LocalError` for a number that makes no sense."""
    if threads is None:
        return default_threads()
    if not 1 <= threads <= THREADS_MAX:
        raise LocalError(f"threads must lie between 1 and {THREADS_MAX}; {shown(threads)} does not")
    return threads


def _segments(puzzle: Puzzle, start: int, stop: int, worth_nonces: int) -> list[_Segment]:
    """The range cut where the width of the nonce changes, each part with its way to be searched."""
    segments: list[_Segment] = []
    position = start
    while position < stop:
        width, end = _width_at(puzzle, position)
        end = min(end, stop)
        field = _field(puzzle, width) if end - position >= worth_nonces else None
        if field is None and segments and segments[-1].field is None:
            position = segments.pop().start
        segments.append(_Segment(position, end, field))
        position = end
    return segments


def _width_at(puzzle: Puzzle, nonce: int) -> tuple[int, int]:
    """The width of this nonce's encoding, 0 where it has no digits, and where that width ends."""
    if isinstance(puzzle.nonce, Decimal):
        width = len(str(nonce))
        return width, int(min(10**width, puzzle.nonce.count))
    width = puzzle.nonce.size if isinstance(puzzle.nonce, Raw) else 0
    return width, puzzle.nonce.count


def _field(puzzle: Puzzle, width: int) -> Field | None:
    """The field for nonces of this width, or None, with a notice, where it cannot have a kernel."""
    try:
        field = Field(puzzle, width)
        best_backend(field.layout)
    except KernelUnavailable as reason:
        notify_once(str(reason))
        return None
    return field


@functools.cache
def notify_once(reason: str) -> None:
    """Say why the slow way is taken, however often that happens."""
    _log.warning("searching with hashlib, which is slower: %s", reason)
