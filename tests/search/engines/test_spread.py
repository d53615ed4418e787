"""A search cut into pieces: what goes out, what comes back, and what becomes of it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import ParamSpec, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import SLOTS_MAX, Answer, Piece, perform
from nonsuch.search.engines.reopening import FLYING_MAX
from nonsuch.search.engines.spread import (
    FAILURES_MAX,
    FIRST_NONCES,
    GROWTH,
    OVERDUE_A_SLOT_MAX,
    PIECE_SECONDS,
    PROBES_MAX,
    WINDOW,
    Spreader,
)
from nonsuch.search.searcher import search
from nonsuch.work import presets
from nonsuch.work.goals import First, Goal, Lowest, Shares
from nonsuch.work.target import Target

P = ParamSpec("P")
T = TypeVar("T")

PUZZLE = presets.plain(b"spread ")
RATE = 1_000_000
"""Hashes a second of a slot here, so that pieces become long quickly and stay computable."""


class Table(Executor):
    """An engine whose pieces lie on a table; the test says who does which, and when."""

    name = "table"

    def __init__(self, slots: int = 2) -> None:
        self.executor: Executor = self
        self.count = slots
        self.pieces: dict[Piece, Future[Answer]] = {}
        self.sent: list[Piece] = []
        self.halted: list[str] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        piece = cast(Piece, args[0])
        self.sent.append(piece)
        self.pieces[piece] = cast("Future[Answer]", future)
        return future

    def slots(self) -> int:
        return self.count

    def workers(self) -> int:
        return self.count

    def halt(self, job: str) -> None:
        self.halted.append(job)

    def close(self) -> None:
        pass

    def open_pieces(self) -> list[Piece]:
        """Those that nobody has done yet, and somebody waits for."""
        return [piece for piece, future in self.pieces.items() if not future.done()]

    def do(self, piece: Piece) -> None:
        """As an honest worker does it."""
        answer = perform(piece)
        self.say(piece, answer._replace(seconds=max(1, answer.hashes) / RATE))

    def say(self, piece: Piece, answer: Answer) -> None:
        """Whatever somebody says."""
        self.pieces.pop(piece).set_result(answer)

    def do_all(self, lots: random.Random) -> None:
        """Until nothing is left, in any order."""
        while pieces := self.open_pieces():
            self.do(lots.choice(pieces))


def whole(piece: Piece) -> Answer:
    """What somebody says who has found nothing, and has not looked."""
    covered = ((piece.start, piece.stop),)
    hashes = piece.stop - piece.start
    return Answer(None, piece.start, (), covered, hashes, hashes / RATE, False, False)


GOALS: list[Goal] = [
    Lowest(),
    First(Target(2**256 // 300_000)),
    First(Target(2**256 // 3_000_000)),
    Shares(Target(2**256 // 20_000)),
    Shares(Target(2**256 // 20_000), Target(2**256 // 400_000)),
    Shares(Target(2**256 // 400_000), Target(2**256 // 100_000)),
]


@settings(max_examples=25)
@given(
    st.sampled_from(GOALS), st.integers(0, 2**20), st.integers(0, 5 * FIRST_NONCES), st.integers()
)
def test_in_whatever_order_answers_come_the_outcome_is_that_of_one_search(
    goal: Goal, start: int, count: int, seed: int
) -> None:
    table, nonces = Table(), range(start, start + count)
    running = Spreader(table).start(PUZZLE, nonces, goal)
    table.do_all(random.Random(seed))
    outcome, expected = running.outcome.result(0), search(PUZZLE, nonces, goal)
    assert (outcome.proof, outcome.shares) == (expected.proof, expected.shares)
    assert (outcome.stopped, outcome.ended_early) == (False, expected.ended_early)
    needed = (
        nonces.stop if outcome.proof is None or not outcome.ended_early else outcome.proof.nonce
    )
    assert outcome.covered.covers(nonces.start, needed)


def test_pieces_grow_to_two_seconds_and_shrink_at_the_end() -> None:
    table = Table(slots=2)
    stop = 40 * int(RATE * PIECE_SECONDS)
    Spreader(table).start(PUZZLE, range(stop), Lowest())
    assert [piece.stop - piece.start for piece in table.sent] == [FIRST_NONCES] * 4
    while pieces := table.open_pieces():
        table.say(pieces[0], whole(pieces[0]))
    lengths = [piece.stop - piece.start for piece in table.sent]
    assert lengths[4] == min(GROWTH * FIRST_NONCES, RATE * PIECE_SECONDS)
    assert max(lengths) == RATE * PIECE_SECONDS
    assert sum(lengths) == stop
    assert min(lengths[4:]) >= 0.25 * RATE / 2
    assert lengths[-3] < RATE * PIECE_SECONDS


def test_twice_the_slots_are_in_flight_of_all_searches_together_and_few_while_they_are_short() -> (
    None
):
    table = Table(slots=1000)
    spreader = Spreader(table)
    first = spreader.start(PUZZLE, range(2**60), Lowest())
    second = spreader.start(PUZZLE, range(2**60), Lowest())
    assert len(table.open_pieces()) == PROBES_MAX
    while len(table.sent) < 5_000:
        piece = next(iter(table.pieces))
        table.say(piece, whole(piece))
    assert len(table.open_pieces()) == WINDOW * 1000
    lengths = [piece.stop - piece.start for piece in table.open_pieces()]
    assert lengths[-1] == pytest.approx(RATE * 1000 / 300), "no more than 300 pieces a second"
    jobs = [piece.job for piece in table.open_pieces()]
    assert jobs.count(first.job) == jobs.count(second.job), "each in its turn"
    spreader.close()
    assert set(table.halted) == {first.job, second.job}
    assert table.open_pieces() == []


def test_what_is_as_short_as_a_piece_is_one_piece() -> None:
    table = Table(slots=8)
    spreader = Spreader(table)
    warm = spreader.start(PUZZLE, range(30 * RATE), Lowest())
    while pieces := table.open_pieces():
        table.say(pieces[0], whole(pieces[0]))
    assert warm.outcome.done()
    table.sent.clear()
    for number in range(16):
        start = number * 2 * RATE
        spreader.start(PUZZLE, range(start, start + 2 * RATE + 1000), Lowest())
    assert len(table.sent) == 16


def test_slots_come_and_go() -> None:
    table = Table(slots=0)
    spreader = Spreader(table)
    running = spreader.start(PUZZLE, range(8 * FIRST_NONCES), Lowest())
    spreader.review()
    assert table.sent == []
    table.count = 1
    spreader.review()
    assert len(table.sent) == 2
    table.count = 3
    spreader.review()
    assert len(table.sent) == 6
    table.do_all(random.Random(1))
    assert (
        running.outcome.result(0).proof == search(PUZZLE, range(8 * FIRST_NONCES), Lowest()).proof
    )


def test_a_piece_that_takes_far_too_long_goes_to_somebody_else_and_the_first_answer_counts() -> (
    None
):
    table, now = Table(slots=1), [0.0]
    spreader = Spreader(table, lambda: now[0])
    running = spreader.start(PUZZLE, range(2 * FIRST_NONCES), Lowest())
    frozen, other = table.open_pieces()
    stuck = table.pieces.pop(frozen)
    table.do(other)
    now[0] = 2.0
    spreader.review()
    assert len(table.sent) == 2
    now[0] = 30.0
    spreader.review()
    assert table.sent[2] == frozen
    table.do(table.sent[2])
    assert (
        running.outcome.result(0).proof == search(PUZZLE, range(2 * FIRST_NONCES), Lowest()).proof
    )
    assert stuck.cancelled()
    assert table.halted == [running.job]
    # And what is stuck takes nobody's place.
    spreader.start(PUZZLE, range(2**40), Lowest())
    assert len(table.open_pieces()) == WINDOW


def test_a_scheduler_that_is_frozen_is_not_given_ever_more() -> None:
    table, now = Table(slots=2 * SLOTS_MAX), [0.0]
    spreader = Spreader(table, lambda: now[0])
    running = spreader.start(PUZZLE, range(2**60), Lowest())
    while len(table.sent) < 20_000:
        piece = next(iter(table.pieces))
        table.say(piece, whole(piece))
    done = len(table.sent) - len(table.open_pieces())
    for _ in range(20):
        now[0] += 1000.0
        spreader.review()
    assert len(table.sent) - done == (WINDOW + OVERDUE_A_SLOT_MAX) * SLOTS_MAX <= FLYING_MAX
    assert not running.outcome.done()
    spreader.close()


class Inline(Executor):
    """Whoever gives it a piece does it, there and then."""

    def __init__(self) -> None:
        self.name = "inline"
        self.executor: Executor = self
        self.count = 1

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except LocalError as error:
            future.set_exception(error)
        return future

    def slots(self) -> int:
        return self.count

    def workers(self) -> int:
        return 0

    def halt(self, job: str) -> None:
        pass

    def close(self) -> None:
        pass


def test_answers_that_come_at_once_pile_nothing_up() -> None:
    inline = Inline()
    inline.count = 0
    spreader = Spreader(inline)
    count = 2 * sys.getrecursionlimit()
    searches = [spreader.start(PUZZLE, range(n, n + 2), Lowest()) for n in range(count)]
    inline.count = 1
    spreader.review()
    for number, each in enumerate(searches):
        assert each.outcome.result(0).covered.covers(number, number + 2)


class Broken(Inline):
    """An engine that somebody has not finished."""

    def __init__(self, returns: object) -> None:
        super().__init__()
        self.name = "broken"
        self.returns = returns

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if isinstance(self.returns, Exception):
            raise self.returns
        return cast("Future[T]", self.returns)


@pytest.mark.parametrize(
    ("returns", "told"),
    [
        (None, "the executor Broken returned NoneType, and no future"),
        (NotImplementedError(), "the engine broken fails: NotImplementedError"),
        (OSError("no room"), "the engine broken fails: OSError: no room"),
        (LocalError("given up"), "^given up"),
    ],
)
def test_an_engine_that_takes_no_pieces_ends_the_search_in_words(
    returns: object, told: str
) -> None:
    running = Spreader(Broken(returns)).start(PUZZLE, range(100), Lowest())
    with pytest.raises(LocalError, match=told):
        running.outcome.result(0)


NOT_A_PROOF = First(Target(2**256 // 10**12))


@pytest.mark.parametrize(
    "lie",
    [
        lambda piece: whole(piece)._replace(proof=piece.start, ended_early=True),
        lambda piece: whole(piece)._replace(best=piece.stop),
        lambda piece: whole(piece)._replace(covered=((piece.start - 1, piece.stop),)),
        lambda piece: whole(piece)._replace(covered=((piece.stop, piece.start),)),
        lambda piece: whole(piece)._replace(covered=((piece.start, piece.stop - 1),)),
        lambda piece: whole(piece)._replace(covered=(), stopped=True),
        lambda piece: whole(piece)._replace(covered=((0, 1),) * 5000),
        lambda piece: Answer._make((None, None, (), ((piece.start, "x"),), 0, 1.0, False, False)),
        lambda piece: Answer._make(("a", *whole(piece)[1:])),
        lambda piece: Answer._make((True, *whole(piece)[1:])),
        lambda piece: Answer._make((None, None, None, *whole(piece)[3:])),
        lambda piece: whole(piece)[:5],
        lambda _: "nonsense",
        lambda _: None,
    ],
)
def test_an_answer_that_cannot_be_is_not_believed(lie: Callable[[Piece], Answer]) -> None:
    table = Table(slots=1)
    spreader = Spreader(table)
    running = spreader.start(PUZZLE, range(FIRST_NONCES), NOT_A_PROOF)
    (piece,) = table.open_pieces()
    table.say(piece, lie(piece))
    assert table.open_pieces() == [piece], "somebody else does it again"
    table.do(piece)
    assert running.outcome.result(0).proof is None
    worse = spreader.start(PUZZLE, range(FIRST_NONCES), NOT_A_PROOF)
    for _ in range(FAILURES_MAX + 1):
        (piece,) = table.open_pieces()
        table.say(piece, lie(piece))
    with pytest.raises(LocalError, match="engine table fails: answers that cannot be"):
        worse.outcome.result(0)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 5e-324, -1.0, 0.0])
def test_a_time_that_cannot_be_stops_nobody(seconds: float) -> None:
    table = Table(slots=1)
    running = Spreader(table).start(PUZZLE, range(20 * FIRST_NONCES), Lowest())
    while pieces := table.open_pieces():
        table.say(pieces[0], whole(pieces[0])._replace(seconds=seconds))
    assert not running.outcome.result(0).stopped


def test_shares_that_are_none_and_a_lowest_that_is_missing_are_not_believed() -> None:
    table = Table(slots=1)
    spreader = Spreader(table)
    spreader.start(PUZZLE, range(100), Shares(Target(2**250)))
    (piece,) = table.open_pieces()
    table.say(piece, whole(piece)._replace(shares=(50, 51, 52)))
    assert table.open_pieces() == [piece]
    table.do(piece)
    spreader.start(PUZZLE, range(100), Lowest())
    (piece,) = table.open_pieces()
    table.say(piece, whole(piece)._replace(best=None))
    assert table.open_pieces() == [piece]


def test_errors_of_workers_are_tried_again_and_those_of_the_search_are_not() -> None:
    table = Table(slots=1)
    spreader = Spreader(table)
    running = spreader.start(PUZZLE, range(100), Lowest())
    (piece,) = table.open_pieces()
    table.pieces.pop(piece).set_exception(MemoryError("too much"))
    table.do(piece)
    assert running.outcome.result(0).proof is not None
    failing = spreader.start(PUZZLE, range(100), Lowest())
    (piece,) = table.open_pieces()
    table.pieces.pop(piece).set_exception(LocalError("lost 11 worker processes in a row"))
    with pytest.raises(LocalError, match="in a row"):
        failing.outcome.result(0)


def test_who_is_halted_keeps_what_was_found_and_who_is_dropped_is_forgotten() -> None:
    table = Table(slots=1)
    spreader = Spreader(table)
    halted = spreader.start(PUZZLE, range(2**40), Lowest())
    dropped = spreader.start(PUZZLE, range(2**40), Lowest())
    first = table.open_pieces()[0]
    table.do(first)
    spreader.halt(halted)
    spreader.drop(dropped)
    with pytest.raises(CancelledError):
        dropped.outcome.result(0)
    last = table.open_pieces()
    for piece in last:
        part = perform(Piece(piece.job, PUZZLE, piece.start, piece.start + 1000, Lowest()))
        table.say(piece, part._replace(stopped=True))
    outcome = halted.outcome.result(0)
    assert outcome.stopped
    assert outcome.covered.covers(first.start, first.stop)
    assert outcome.hashes == FIRST_NONCES + 1000 * len(last)


def test_who_is_halted_and_hears_nothing_ends_with_what_there_is() -> None:
    table = Table(slots=1)
    spreader = Spreader(table)
    running = spreader.start(PUZZLE, range(2**40), Lowest())
    table.do(table.open_pieces()[0])
    spreader.halt(running)
    assert not running.outcome.done()
    spreader.stop(running)
    assert running.outcome.result(0).hashes == FIRST_NONCES
