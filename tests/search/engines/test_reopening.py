"""Executors break and are made again; whoever waits for a future hears of nothing but its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, wait
from typing import ParamSpec, TypeVar

import pytest

from nonsuch.errors import LocalError
from nonsuch.search.engines.reopening import FLYING_MAX, LOSSES_MAX, Reopening

P = ParamSpec("P")
T = TypeVar("T")


class Lost(Exception):
    """The whole executor is gone."""


class Dropped(Exception):
    """One call is."""


class Bench(Executor):
    """Does nothing by itself: the test says what becomes of each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], object], Future[object]]] = []
        self.is_broken = False
        self.was_shut_down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self.is_broken:
            raise Lost
        future: Future[T] = Future()
        self.calls.append((lambda: fn(*args, **kwargs), future))  # type: ignore[arg-type]
        return future

    def work(self, number: int) -> None:
        """Do one of the calls."""
        call, future = self.calls[number]
        future.set_result(call())

    def break_down(self) -> None:
        """Lose all that has not ended."""
        self.is_broken = True
        for _, future in self.calls:
            if not future.done():
                future.set_exception(Lost("kill -9"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.was_shut_down = True


class Hall:
    """Where benches come from; each is told of when it is used."""

    def __init__(self) -> None:
        self.benches: list[Bench] = []
        self.failures: list[BaseException] = []
        self._more = threading.Semaphore(0)
        self.executor = Reopening(self._make, (Lost,), again=(Dropped,), name="the bench")
        assert self._more.acquire(timeout=30)

    def _make(self) -> Bench:
        if self.failures:
            raise self.failures.pop(0)
        self.benches.append(Bench())
        self._more.release()
        return self.benches[-1]

    def next_with(self, calls: int) -> Bench:
        """The next bench, when it has been given so many calls."""
        assert self._more.acquire(timeout=30)
        bench, seen = self.benches[-1], threading.Event()
        while len(bench.calls) < calls:
            seen.wait(0.001)
        return bench


def test_what_was_in_flight_is_sent_again_under_the_same_futures() -> None:
    hall = Hall()
    futures = [hall.executor.submit(pow, 2, n) for n in range(4)]
    hall.benches[0].work(1)
    hall.benches[0].break_down()
    second = hall.next_with(3)
    for number in range(3):
        second.work(number)
    assert [future.result(30) for future in futures] == [1, 2, 4, 8]
    assert hall.benches[0].was_shut_down
    hall.executor.shutdown()
    assert second.was_shut_down


def test_one_that_is_found_broken_by_who_submits_is_made_again_too() -> None:
    hall = Hall()
    hall.benches[0].is_broken = True
    future = hall.executor.submit(pow, 3, 2)
    hall.next_with(1).work(0)
    assert future.result(30) == 9
    hall.executor.shutdown()


def test_what_cannot_be_made_yet_is_tried_again() -> None:
    hall = Hall()
    future = hall.executor.submit(pow, 3, 3)
    hall.failures = [Lost(), ConnectionRefusedError()]
    hall.benches[0].break_down()
    hall.next_with(1).work(0)
    assert future.result(30) == 27
    hall.executor.shutdown()


def test_a_single_call_that_was_dropped_is_sent_again_but_not_for_ever() -> None:
    hall = Hall()
    future = hall.executor.submit(pow, 3, 3)
    for number in range(LOSSES_MAX + 1):
        assert not future.done()
        hall.benches[0].calls[number][1].set_exception(Dropped())
    assert isinstance(future.exception(30), Dropped)
    assert len(hall.benches) == 1
    hall.executor.shutdown()


def test_one_that_is_lost_again_and_again_is_given_up() -> None:
    hall = Hall()
    future = hall.executor.submit(pow, 3, 3)
    for _ in range(LOSSES_MAX):
        hall.benches[-1].break_down()
        hall.next_with(1)
    hall.benches[-1].break_down()
    with pytest.raises(LocalError, match="lost the bench 11 times in a row: kill -9"):
        future.result(30)
    with pytest.raises(LocalError, match="in a row"):
        hall.executor.submit(pow, 3, 3)
    hall.executor.shutdown()


def test_whoever_cannot_be_made_for_another_reason_is_given_up() -> None:
    hall = Hall()
    future = hall.executor.submit(pow, 3, 3)
    hall.failures = [LocalError("no certificate")]
    hall.benches[0].break_down()
    with pytest.raises(LocalError, match="cannot open the bench again: no certificate"):
        future.result(30)
    hall.executor.shutdown()


def test_a_late_answer_of_one_that_is_gone_counts_and_a_late_failure_does_not() -> None:
    hall = Hall()
    early, late = hall.executor.submit(pow, 2, 2), hall.executor.submit(pow, 2, 3)
    hall.benches[0].calls[0][1].set_exception(Lost())
    second = hall.next_with(2)
    hall.benches[0].work(1)
    assert late.result(30) == 8
    assert not early.done()
    second.work(0)
    assert early.result(30) == 4
    assert second.calls[1][1].cancelled(), "nobody waits for it any more"
    hall.executor.shutdown()


def test_errors_of_the_call_itself_and_cancelling_go_through() -> None:
    hall = Hall()
    wrong, unwanted = hall.executor.submit(pow, 0, -1), hall.executor.submit(pow, 1, 1)
    unwanted.cancel()
    assert hall.benches[0].calls[1][1].cancelled()
    assert wait([unwanted], timeout=30).done
    hall.benches[0].calls[0][1].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        wrong.result(30)
    hall.executor.shutdown()


def test_after_the_end_nothing_waits_and_nothing_is_taken() -> None:
    hall = Hall()
    future = hall.executor.submit(pow, 1, 1)
    hall.executor.shutdown()
    hall.executor.shutdown()
    with pytest.raises(CancelledError):
        future.result(30)
    with pytest.raises(RuntimeError):
        hall.executor.submit(pow, 1, 1)


def test_only_so_much_is_in_flight() -> None:
    hall = Hall()
    for _ in range(FLYING_MAX):
        hall.executor.submit(pow, 1, 1)
    with pytest.raises(LocalError, match="in flight"):
        hall.executor.submit(pow, 1, 1)
    hall.executor.shutdown()
