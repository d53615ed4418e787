"""An executor of so many slots, each of which does one call at a time in its own way.

What it adds to a standard executor is that it knows the jobs: pieces of one that is halted leave
the queue, and the slots that work on one of its pieces are told.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec, Protocol, TypeVar, cast

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import Piece
from nonsuch.search.engines.reopening import FLYING_MAX

__all__ = ["Call", "Slot", "SlotExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class Call(NamedTuple):
    """What a slot is to do, and the job whose piece it is; an empty text where it is none."""

    work: Callable[[], object]
    job: str = ""


class Slot(Protocol):
    """What a thread of the executor owns. `halt` and `close` are called from any thread."""

    def open(self) -> None:
        """Called once, before the first call; it raises nothing."""

    def carry_out(self, call: Call) -> object:
        """Do it, and return or raise what it does."""

    def halt(self, job: str) -> None:
        """Stop what is being carried out, if it is of this job."""

    def close(self) -> None:
        """Let go of what is being carried out, and of all else. Safe to call twice."""


@dataclass(slots=True, eq=False)
class _Flight:
    call: Call
    future: Future[object]


class SlotExecutor(Executor):
    """Calls wait in one queue, in their order. Threads begin with `start`, or the first call."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = tuple(slots)
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._waiting: deque[_Flight] = deque()
        self._running: dict[Slot, _Flight] = {}
        self._closing = False

    def start(self) -> None:
        """Open all slots now, each in its own thread. Safe to call twice."""
        with self._changed:
            if self._threads:
                return
            self._threads = [
                threading.Thread(
                    target=self._serve, args=(slot,), name=f"nonsuch-slot-{number}", daemon=True
                )
                for number, slot in enumerate(self._slots)
            ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` called in the next slot that is free.

        Raises `LocalError` where too many calls wait.
        """
        self.start()
        future: Future[T] = Future()
        flight = _Flight(
            Call(functools.partial(fn, *args, **kwargs), _job_of(args)),
            cast("Future[object]", future),
        )
        with self._changed:
            if self._closing:
                raise RuntimeError("this executor was shut down")
            if len(self._waiting) >= FLYING_MAX:
                raise LocalError(f"more than {FLYING_MAX} calls wait")
            self._waiting.append(flight)
            self._changed.notify()
        return future

    def halt(self, job: str) -> None:
        """Let go of a job's pieces that wait, and stop those that are under way."""
        with self._changed:
            dropped = [flight for flight in self._waiting if flight.call.job == job]
            for flight in dropped:
                self._waiting.remove(flight)
            told = [slot for slot, flight in self._running.items() if flight.call.job == job]
        _drop(dropped)
        for slot in told:
            slot.halt(job)

    def _serve(self, slot: Slot) -> None:
        slot.open()
        try:
            while (flight := self._next(slot)) is not None:
                _settle(slot, flight)
        finally:
            slot.close()

    def _next(self, slot: Slot) -> _Flight | None:
        with self._changed:
            self._running.pop(slot, None)
            while True:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return None
                flight = self._waiting.popleft()
                if flight.future.set_running_or_notify_cancel():
                    self._running[slot] = flight
                    return flight

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; what waits is still done, unless it is to be cancelled."""
        with self._changed:
            self._closing = True
            dropped = list(self._waiting) if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
            self._changed.notify_all()
        _drop(dropped)
        if wait:
            for thread in self._threads:
                thread.join()

    def abort(self) -> None:
        """Stop all that is under way, and return when every slot is closed."""
        self.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            running = list(self._running.items())
        for slot, flight in running:
            slot.halt(flight.call.job)
        for slot in self._slots:
            slot.close()
        self.shutdown()


def _job_of(arguments: tuple[object, ...]) -> str:
    first = arguments[0] if arguments else None
    return first.job if isinstance(first, Piece) else ""


def _drop(flights: Sequence[_Flight]) -> None:
    for flight in flights:
        flight.future.cancel()
        flight.future.set_running_or_notify_cancel()


def _settle(slot: Slot, flight: _Flight) -> None:
    try:
        result = slot.carry_out(flight.call)
    except BaseException as error:  # noqa: BLE001  # raised again where the result is asked for
        flight.future.set_exception(error)
    else:
        flight.future.set_result(result)
