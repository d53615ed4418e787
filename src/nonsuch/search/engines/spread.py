"""A search on an engine: cut into pieces, and put together to one exact outcome.

A piece takes a slot some two seconds: long against handing it out, short against losing it with its
worker. How many nonces that is, the answers tell; until they have, pieces are short and grow. Twice
as many pieces as there are slots are in flight, of all searches together: one that is worked on and
one that waits for each slot. So a slot is never idle, and little is lost with one. The last pieces
of a search are shorter, that all slots end together; and a search that is no longer than a piece is
one piece.

**The outcome is that of `nonsuch.search.searcher`**, whoever worked on it: the first nonce from the
start, once all before it was searched; the lowest of all; every share up to the first nonce that
ends the search. What a worker says it found is hashed again before it counts; that it has searched
what it says is believed.

**A piece that does not come back is given to somebody else.** Executors send again what they know
to be lost. A worker that is frozen, or hangs, is another matter: a piece that takes ten times as
long as it should goes out once more, and the first answer counts. So does one whose answer makes no
sense.
"""

from __future__ import annotations

import functools
import math
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import (
    SLOTS_MAX,
    Answer,
    Engine,
    Piece,
    perform,
    reason_of,
    submitted,
)
from nonsuch.search.halt import Halt
from nonsuch.search.searcher import (
    PROGRESS_SECONDS,
    Outcome,
    Progress,
    check_range,
    until_of,
)
from nonsuch.work.goals import Goal, Lowest, Shares
from nonsuch.work.puzzle import Proof, Puzzle
from nonsuch.work.ranges import RangeSet

__all__ = [
    "OVERDUE_A_SLOT_MAX",
    "PIECES_A_SECOND_MAX",
    "PIECE_SECONDS",
    "REVIEW_SECONDS",
    "WINDOW",
    "Spread",
    "Spreader",
    "search_on",
]

PIECE_SECONDS = 2.0
"""How long a slot should have a piece."""

PIECES_A_SECOND_MAX = 300
"""What the scheduler of a cluster is asked to hand out: many slots have longer pieces."""

PIECE_SECONDS_MIN = 0.25
"""The last pieces of a search are no shorter, unless nothing more is left."""

FIRST_NONCES = 2**18
"""A piece while nobody knows how fast the workers are: 0.4 s of hashlib, 10 ms of a kernel."""

GROWTH = 8
"""A piece is at most so many times as long as the longest that came back before it."""

PROBES_MAX = 64
"""Pieces in flight while they still grow: more would keep a scheduler busy for nothing."""

KINDS_MAX = 64
"""Kinds of puzzles whose rate is remembered."""

WINDOW = 2
"""Pieces in flight for each slot."""

OVERDUE_FACTOR = 10
OVERDUE_SECONDS = 3.0
"""A piece that takes so many times as long as it should, and so many seconds, goes out again."""

OVERDUE_A_SLOT_MAX = 4
"""Pieces for each slot that went out again and may still come back. Where all are overdue it is not
the workers: a scheduler that is frozen for minutes is not given ever more."""

RATE_SECONDS_MIN = 1e-9
"""No piece is believed to have taken less; a rate is a number that can be reckoned with."""

FAILURES_MAX = 10
"""Pieces that fail one after another, until their search does."""

RANGES_MAX = 4096
SHARES_MAX = 2**20
"""What an answer may hold; both far beyond what a piece of some seconds gives."""

REVIEW_SECONDS = 1.0
"""How often `Spreader.review` should be called."""

HALT_SECONDS = 1.0
"""How long a search that is halted waits for what its workers have found until then."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an answer says, its nonces hashed again."""

    found: Proof | None
    best: Proof | None
    shares: tuple[int, ...]
    covered: tuple[tuple[int, int], ...]


def _formed(answer: object) -> Answer | None:
    """None for what is no answer: an executor of somebody's own may return anything."""
    if not isinstance(answer, tuple):
        return None
    with suppress(msgspec.ValidationError):
        return msgspec.convert(tuple(answer), Answer)
    return None


def _believed(piece: Piece, answer: Answer) -> _Claim | None:
    """None for an answer that cannot be."""
    if len(answer.covered) > RANGES_MAX or len(answer.shares) > SHARES_MAX:
        return None
    parts = (n for a, b in answer.covered for n in (a, b))
    bounds = [piece.start, *parts, piece.stop]
    nonces = [n for n in (answer.best, answer.proof, *answer.shares) if n is not None]
    if bounds != sorted(bounds) or any(not piece.start <= n < piece.stop for n in nonces):
        return None
    return _proven(piece, answer)


def _proven(piece: Piece, answer: Answer) -> _Claim | None:
    prove, until = piece.puzzle.prove, until_of(piece.goal)
    best = None if answer.best is None else prove(answer.best)
    found = None
    if until is not None and answer.proof is not None:
        found = prove(answer.proof)
        if not until.admits(found.rank):
            return None
    if isinstance(piece.goal, Shares):
        limit, rank = piece.goal.limit, piece.puzzle.rank
        ordered = sorted(set(answer.shares))
        if not all(limit.admits(rank(each)) for each in piece.puzzle.digests(ordered)):
            return None
    return _Claim(found, best, answer.shares, answer.covered)


class _Merged:
    """What the answers say together."""

    def __init__(self, start: int, stop: int, goal: Goal) -> None:
        self.start = start
        self.stop = stop
        self.goal = goal
        self.covered = RangeSet()
        self.best: Proof | None = None
        self.found: Proof | None = None
        self._shares: set[int] = set()

    @property
    def needed(self) -> int:
        """Everything before this nonce must be searched."""
        return self.stop if self.found is None else self.found.nonce

    @property
    def is_complete(self) -> bool:
        """Whether it is."""
        return self.covered.covers(self.start, self.needed)

    def add(self, claim: _Claim) -> None:
        """One more answer; the same twice changes nothing."""
        for start, stop in claim.covered:
            self.covered.add(start, stop)
        self._shares.update(claim.shares)
        if claim.best and (self.best is None or claim.best.merit < self.best.merit):
            self.best = claim.best
        if claim.found and (self.found is None or claim.found.nonce < self.found.nonce):
            self.found = claim.found

    def outcome(self, seconds: float) -> Outcome:
        """As `nonsuch.search.searcher` would put it."""
        needed, covered = self.needed, self.covered
        shares = (n for n in self._shares if n == needed or (n < needed and n in covered))
        return Outcome(
            proof=self.best if isinstance(self.goal, Lowest) else self.found,
            best=self.best,
            covered=RangeSet(covered),
            hashes=covered.total,
            seconds=seconds,
            stopped=not self.is_complete,
            shares=tuple(sorted(shares)),
            ended_early=self.found is not None,
        )


class _Pace:
    """How many nonces a piece of one kind of puzzle has."""

    __slots__ = ("_longest", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self._longest = 0

    def count(self, hashes: int, seconds: float) -> None:
        """A piece came back: so many hashes in so many seconds of a slot."""
        if seconds <= 0 or hashes <= 0 or not math.isfinite(seconds):
            return
        rate = hashes / max(seconds, RATE_SECONDS_MIN)
        self.rate = (self.rate + rate) / 2 if self.rate else rate
        self._longest = max(self._longest, hashes)

    @property
    def is_known(self) -> bool:
        """Whether pieces have grown to what they should be."""
        return self._longest * GROWTH >= self.rate * PIECE_SECONDS > 0

    def nonces(self, slots: int) -> int:
        """What a piece should have."""
        if not self.rate:
            return FIRST_NONCES
        seconds = max(PIECE_SECONDS, slots / PIECES_A_SECOND_MAX)
        return max(FIRST_NONCES, int(min(self.rate * seconds, self._longest * GROWTH)))

    def nonces_min(self, slots: int) -> int:
        """What the last pieces of a search should have."""
        seconds = max(PIECE_SECONDS_MIN, slots / PIECES_A_SECOND_MAX)
        return max(FIRST_NONCES, int(self.rate * seconds))

    def seconds(self, nonces: int) -> float:
        """How long a slot should take for so many."""
        return nonces / self.rate if self.rate else PIECE_SECONDS


@dataclass(slots=True, eq=False)
class _Flight:
    """A piece that somebody has. One that is overdue counts no more, but may still come back."""

    piece: Piece
    sent: float
    is_overdue: bool = False


class Spread:
    """One search; made by `Spreader.start`. `outcome` is how it ends: cancelled where dropped."""

    def __init__(
        self,
        job: str,
        puzzle: Puzzle,
        nonces: range,
        goal: Goal,
        pace: _Pace,
        lock: threading.Lock,
    ) -> None:
        self.outcome: Future[Outcome] = Future()
        self._lock = lock
        self.job = job
        self.puzzle = puzzle
        self.pace = pace
        stop = max(nonces.start, nonces.stop)
        self.merged = _Merged(nonces.start, stop, goal)
        self.flights: dict[Future[Answer], _Flight] = {}
        self.again: list[tuple[int, int]] = []
        self.next = nonces.start
        self.failures = 0
        self.is_halted = False
        self._began = time.perf_counter()

    def snapshot(self) -> Progress:
        """Where the search stands, by the answers so far."""
        merged, seconds = self.merged, time.perf_counter() - self._began
        with self._lock:
            total = merged.stop - merged.start
            return Progress(merged.covered.total, total, seconds, merged.found or merged.best)

    # What the spreader calls, under its lock.

    def cut(self, slots: int) -> Piece | None:
        """The next piece; None where all are out."""
        if self.is_halted:
            return None
        merged = self.merged
        while self.again:
            start, stop = self.again.pop()
            if start < merged.needed and not merged.covered.covers(start, stop):
                return self._piece(start, stop)
        if self.next >= merged.needed:
            return None
        start, self.next = self.next, self._cut_at(slots)
        return self._piece(start, self.next)

    def _piece(self, start: int, stop: int) -> Piece:
        return Piece(self.job, self.puzzle, start, stop, self.merged.goal)

    def _cut_at(self, slots: int) -> int:
        left, nonces = self.merged.stop - self.next, self.pace.nonces(slots)
        if self.next > self.merged.start:
            nonces = min(nonces, max(self.pace.nonces_min(slots), left // (WINDOW * slots)))
        # What would be left alone is not worth a piece.
        return self.merged.stop if 2 * left <= 3 * nonces else self.next + nonces

    def is_overdue(self, flight: _Flight, now: float) -> bool:
        """Whether a piece should be given to somebody else."""
        seconds = self.pace.seconds(flight.piece.stop - flight.piece.start)
        return now - flight.sent > OVERDUE_FACTOR * seconds + OVERDUE_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of it."""
        return self.merged.is_complete or (self.is_halted and not self.flights)

    def result(self) -> Outcome:
        """What is known now."""
        return self.merged.outcome(time.perf_counter() - self._began)


class Spreader:
    """All searches on one engine. Every method may be called from any thread.

    The `clock` gives monotonic seconds, by which a piece is overdue.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._searches: dict[str, Spread] = {}
        self._ready: dict[str, Spread] = {}
        self._paces: dict[tuple[object, ...], _Pace] = {}
        self._flying = 0
        self._overdue = 0
        self._is_filling = False
        self._is_to_fill = False
        self._name = secrets.token_hex(8)
        self._count = 0

    def start(self, puzzle: Puzzle, nonces: range, goal: Goal) -> Spread:
        """Begin a search. Raises `LocalError` for nonces that the puzzle cannot hold."""
        check_range(puzzle, nonces)
        with self._lock:
            self._count += 1
            job = f"nonsuch-{self._name}-{self._count}"
            search = Spread(job, puzzle, nonces, goal, self._pace(puzzle), self._lock)
            self._searches[job] = self._ready[job] = search
            is_over = search.is_over
        if is_over:
            self.stop(search)
        self._fill()
        return search

    def _pace(self, puzzle: Puzzle) -> _Pace:
        """One for all puzzles that only differ in what they say."""
        sizes = len(puzzle.prefix), len(puzzle.suffix)
        kind = (puzzle.nonce, puzzle.hash, puzzle.order, *sizes)
        if kind not in self._paces:
            if len(self._paces) >= KINDS_MAX:
                del self._paces[next(iter(self._paces))]
            self._paces[kind] = _Pace()
        return self._paces[kind]

    def halt(self, search: Spread) -> None:
        """Stop a search; it ends, stopped, once its workers have said what they had."""
        with self._lock:
            search.is_halted = True
            is_over = search.is_over
        self._engine.halt(search.job)
        if is_over:
            self.stop(search)

    def stop(self, search: Spread) -> None:
        """End a search with what is known now."""
        self._end(search, search.outcome.set_result)

    def drop(self, search: Spread) -> None:
        """End a search that nobody wants any more."""
        self._end(search, lambda _: _cancel(search.outcome))

    def review(self) -> None:
        """Send what is overdue again, and what there are slots for now."""
        now, overdue_max = self._clock(), OVERDUE_A_SLOT_MAX * self._slots()
        with self._lock:
            for search in self._searches.values():
                for flight in search.flights.values():
                    if self._overdue >= overdue_max:
                        break
                    if not flight.is_overdue and search.is_overdue(flight, now):
                        flight.is_overdue = True
                        self._flying -= 1
                        self._overdue += 1
                        self._hand_out_again(search, flight.piece)
        self._fill()

    def close(self) -> None:
        """Drop all searches."""
        with self._lock:
            self._ready.clear()
            searches = list(self._searches.values())
        for search in searches:
            self.drop(search)

    # Pieces out.

    def _fill(self) -> None:
        """Give out as many pieces as there is room for.

        Where somebody does so already, they look once more: an answer that comes at once, while its
        piece is given out, should not be answered from within.
        """
        with self._lock:
            self._is_to_fill = True
            if self._is_filling:
                return
            self._is_filling = True
        try:
            while self._goes_on_filling():
                while (cut := self._next_piece()) is not None:
                    self._give_out(*cut)
        except BaseException:
            self._is_filling = False
            raise

    def _goes_on_filling(self) -> bool:
        with self._lock:
            self._is_filling, self._is_to_fill = self._is_to_fill, False
            return self._is_filling

    def _give_out(self, search: Spread, piece: Piece) -> None:
        try:
            future = submitted(self._engine.executor, perform, piece)
        except Exception as error:  # noqa: BLE001  # told to whoever waits for the outcome
            with self._lock:
                self._flying -= 1
            self._fail(search, error)
            return
        if self._has_flown(search, piece, future):
            future.add_done_callback(functools.partial(self._back, search))
        elif not future.cancel():
            self._engine.halt(search.job)

    def _slots(self) -> int:
        return min(self._engine.slots(), SLOTS_MAX)

    def _next_piece(self) -> tuple[Spread, Piece] | None:
        """The next piece of the next search that has one, each in its turn."""
        slots = self._slots()
        with self._lock:
            while self._flying < slots * WINDOW and (search := self._next_ready()) is not None:
                del self._ready[search.job]
                piece = search.cut(slots)
                if piece is not None:
                    self._flying += 1
                    self._ready[search.job] = search
                    return search, piece
        return None

    def _next_ready(self) -> Spread | None:
        may_probe = self._flying < PROBES_MAX
        ready = self._ready.values()
        return next((each for each in ready if may_probe or each.pace.is_known), None)

    def _hand_out_again(self, search: Spread, piece: Piece) -> None:
        search.again.append((piece.start, piece.stop))
        self._ready[search.job] = search

    def _has_flown(self, search: Spread, piece: Piece, future: Future[Answer]) -> bool:
        """Whether the search goes on, and knows now who has the piece."""
        with self._lock:
            if search.job not in self._searches or search.is_halted:
                self._flying -= 1
                return False
            search.flights[future] = _Flight(piece, self._clock())
            return True

    # Answers in.

    def _back(self, search: Spread, future: Future[Answer]) -> None:
        with self._lock:
            flight = search.flights.pop(future, None)
            if flight is None:
                return  # The search is over.
            self._land(flight)
        error = None if future.cancelled() else future.exception()
        if isinstance(error, LocalError):
            self._fail(search, error)
        else:
            answered = not future.cancelled() and error is None
            self._take(search, flight.piece, _formed(future.result()) if answered else None, error)
        self._fill()

    def _land(self, flight: _Flight) -> None:
        self._flying -= not flight.is_overdue
        self._overdue -= flight.is_overdue

    def _take(
        self, search: Spread, piece: Piece, answer: Answer | None, error: BaseException | None
    ) -> None:
        claim = None if answer is None else _believed(piece, answer)
        with self._lock:
            if answer is not None and claim is not None:
                search.pace.count(sum(b - a for a, b in claim.covered), answer.seconds)
            self._merge(search, piece, claim)
            is_over, failures, beyond = search.is_over, search.failures, _beyond(search)
        for each in beyond:
            each.cancel()
        if is_over:
            self.stop(search)
        elif failures > FAILURES_MAX:
            self._fail(search, error)

    def _merge(self, search: Spread, piece: Piece, claim: _Claim | None) -> None:
        if claim is not None and (search.is_halted or _is_whole(piece, claim)):
            search.merged.add(claim)
            search.failures = 0
        elif piece.start < search.merged.needed:
            # All of it: who was stopped in the middle may not know the lowest of what it has seen.
            self._hand_out_again(search, piece)
            search.failures += 1

    def _fail(self, search: Spread, error: BaseException | None) -> None:
        """End a search whose engine fails: by this, or by answers that nobody believes."""
        if isinstance(error, LocalError):
            told = error
        else:
            reason = "answers that cannot be" if error is None else reason_of(error)
            told = LocalError(f"the engine {self._engine.name} fails: {reason}")
        self._end(search, lambda _: search.outcome.set_exception(told))

    def _end(self, search: Spread, tell: Callable[[Outcome], None]) -> None:
        with self._lock:
            if self._searches.pop(search.job, None) is None:
                return
            self._ready.pop(search.job, None)
            outcome = search.result()
            flights, search.flights = search.flights, {}
            for flight in flights.values():
                self._land(flight)
        tell(outcome)
        if flights:
            self._engine.halt(search.job)
        for future in flights:
            future.cancel()
        self._fill()


def _is_whole(piece: Piece, claim: _Claim) -> bool:
    """Whether an answer tells all that there is to know of a piece."""
    needed = piece.stop if claim.found is None else claim.found.nonce
    is_covered = RangeSet(range(a, b) for a, b in claim.covered).covers(piece.start, needed)
    return is_covered and (claim.best is not None or not isinstance(piece.goal, Lowest))


def _beyond(search: Spread) -> list[Future[Answer]]:
    """Who works on what cannot matter any more."""
    if search.merged.found is None:
        return []
    needed = search.merged.needed
    return [each for each, flight in search.flights.items() if flight.piece.start >= needed]


def _cancel(future: Future[Outcome]) -> None:
    future.cancel()
    future.set_running_or_notify_cancel()


def search_on(
    engine: Engine,
    puzzle: Puzzle,
    nonces: range,
    goal: Goal,
    *,
    progress: Callable[[Progress], None] | None = None,
    halt: Halt | None = None,
) -> Outcome:
    """`nonsuch.search.searcher.search`, on an engine.

    `halt.set()`, from any thread, ends the search within a second or so: workers tell what they
    have found until then.

    Raises `LocalError` as `search` does, and where the engine fails.
    """
    spreader = Spreader(engine)
    search = spreader.start(puzzle, nonces, goal)
    try:
        outcome = _waited(spreader, search, progress, Halt() if halt is None else halt)
    finally:
        spreader.close()
    if progress is not None:
        progress(search.snapshot())
    return outcome


def _waited(
    spreader: Spreader,
    search: Spread,
    progress: Callable[[Progress], None] | None,
    halt: Halt,
) -> Outcome:
    review_at, stop_at = 0.0, None
    while True:
        with suppress(NotYet):
            return search.outcome.result(PROGRESS_SECONDS)
        if progress is not None:
            progress(search.snapshot())
        now = time.monotonic()
        if now >= review_at:
            review_at = now + REVIEW_SECONDS
            spreader.review()
        if halt and stop_at is None:
            stop_at = now + HALT_SECONDS
            spreader.halt(search)
        elif stop_at is not None and now >= stop_at:
            spreader.stop(search)
