"""An executor that outlives its workers: what was lost with one is given to the next.

Pools of processes break when one of their processes is killed, and clients of a cluster when their
scheduler is. Both say so by an exception of their own, and are of no use from then on. So whoever
uses them gives a way to *make* one and says which exceptions mean that it is lost. What is in
flight then is sent again to a new one, under the futures that were handed out.

How long a new one cannot be made, it is tried again, ever more slowly. One that comes and is lost
again before it has done anything, and that several times in a row, is not lost by accident: then
all that was in flight fails.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import submitted

__all__ = ["FLYING_MAX", "LOSSES_MAX", "Reopening"]

LOSSES_MAX = 10
"""An executor that was lost so often in a row, and a call that was, is given up."""

FLYING_MAX = 16_384
"""Calls at once: two for each slot of the largest engine, four that are overdue, and room."""

WAIT_SECONDS_MIN = 0.1
WAIT_SECONDS_MAX = 5.0
"""How long to wait for one that cannot be made: doubling from the one to the other."""

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call(Generic[T]):
    """What was submitted, under which future, and where it is now."""

    send: Callable[[Executor], Future[T]]
    future: Future[T]
    executor: Executor | None
    inner: Future[T] | None = None
    losses: int = 0


class Reopening(Executor):
    """An executor over those that `make` makes, the first of them at once.

    Exceptions of `lost` mean that the whole executor is gone, those of `again` that one call is,
    and may be sent again to the same one. `CancelledError` may be in either. Raises what `make`
    raises the first time; later, an exception of `lost` or an `OSError` means that it should be
    tried again. The `name` is for the log. Calls must be such that twice does no harm.
    """

    def __init__(
        self,
        make: Callable[[], Executor],
        lost: tuple[type[BaseException], ...],
        *,
        again: tuple[type[BaseException], ...] = (),
        name: str = "the executor",
    ) -> None:
        self._make = make
        self._lost = lost
        self._again = again
        self._name = name
        self._lock = threading.Lock()
        self._calls: dict[_Call[object], None] = {}  # in the order in which they came
        self._losses = 0
        self._failure: LocalError | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._executor: Executor | None = make()

    @property
    def executor(self) -> Executor | None:
        """The one in use; None while it is being made again, and once all is over."""
        return self._executor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` called, once or again.

        Raises `LocalError` where the executor was given up, or too much is in flight.
        """
        future: Future[T] = Future()
        call = _Call(lambda executor: submitted(executor, fn, *args, **kwargs), future, None)
        with self._lock:
            if self._closing.is_set():
                raise RuntimeError("this executor was shut down")
            if self._failure is not None:
                raise self._failure
            if len(self._calls) >= FLYING_MAX:
                raise LocalError(f"more than {FLYING_MAX} calls are in flight")
            self._calls[call] = None  # type: ignore[index]  # nobody asks them for their T
            call.executor = executor = self._executor
        future.add_done_callback(functools.partial(self._over, call))
        if executor is not None:
            self._send(call, executor)
        return future

    def _send(self, call: _Call[T], executor: Executor) -> None:
        try:
            call.inner = inner = call.send(executor)
        except Exception as error:  # noqa: BLE001  # told to whoever waits for the future
            self._failed(call, executor, error)
            return
        inner.add_done_callback(functools.partial(self._ended, call, executor))
        if call.future.cancelled():
            inner.cancel()

    # What becomes of calls.

    def _ended(self, call: _Call[T], executor: Executor, inner: Future[T]) -> None:
        error = CancelledError() if inner.cancelled() else inner.exception()
        if error is not None:
            self._failed(call, executor, error)
            return
        self._losses = 0
        with contextlib.suppress(InvalidStateError):  # It was cancelled meanwhile.
            call.future.set_result(inner.result())

    def _failed(self, call: _Call[T], executor: Executor, error: BaseException) -> None:
        if call.future.done() or call.executor is not executor:
            return  # Nobody wants it, or it was sent again already.
        if isinstance(error, self._lost):
            self.lose(executor, error)
        elif isinstance(error, self._again) and call.losses < LOSSES_MAX:
            call.losses += 1
            self._send(call, executor)
        elif isinstance(error, CancelledError):
            call.future.cancel()
        else:
            with contextlib.suppress(InvalidStateError):
                call.future.set_exception(error)

    def _over(self, call: _Call[T], future: Future[T]) -> None:
        with self._lock:
            self._calls.pop(call, None)  # type: ignore[arg-type]
        if future.cancelled():
            future.set_running_or_notify_cancel()  # Or `wait` would not hear of it.
        if call.inner is not None:
            call.inner.cancel()

    # Lost, and made again.

    def lose(self, executor: Executor, error: BaseException) -> None:
        """This one is of no use any more; that it is not the present one is no harm."""
        with self._lock:
            if executor is not self._executor or self._closing.is_set():
                return
            self._executor = None
            self._losses += 1
            work = functools.partial(self._reopen, executor, error)
            self._thread = threading.Thread(target=work, name="nonsuch-reopen", daemon=True)
            self._thread.start()

    def _reopen(self, lost: Executor, error: BaseException) -> None:
        began = time.monotonic()
        reason = str(error) or type(error).__name__
        _log.warning("lost %s, opening it again: %s", self._name, reason)
        with contextlib.suppress(Exception):
            lost.shutdown(wait=False)
        if self._losses > LOSSES_MAX:
            self._give_up(LocalError(f"lost {self._name} {self._losses} times in a row: {reason}"))
            return
        try:
            executor = self._made()
        except Exception as failure:  # noqa: BLE001  # told to all that wait
            self._give_up(LocalError(f"cannot open {self._name} again: {failure}"))
            return
        if executor is not None:
            _log.warning("%s is back after %.1f s", self._name, time.monotonic() - began)
            self._send_all(executor)

    def _made(self) -> Executor | None:
        """A new one, however long that takes; None where all is being closed."""
        wait_seconds = WAIT_SECONDS_MIN
        absent: tuple[type[BaseException], ...] = (OSError, *self._lost)
        while not self._closing.is_set():
            try:
                return self._make()
            except absent:
                self._closing.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, WAIT_SECONDS_MAX)
        return None

    def _send_all(self, executor: Executor) -> None:
        with self._lock:
            if closing := self._closing.is_set():
                calls = []
            else:
                self._executor = executor
                calls = list(self._calls)
            for call in calls:
                call.executor, call.inner = executor, None
        if closing:
            executor.shutdown(wait=False)
        for call in calls:
            self._send(call, executor)

    def _give_up(self, failure: LocalError) -> None:
        with self._lock:
            self._failure = failure
            calls = list(self._calls)
        for call in calls:
            with contextlib.suppress(InvalidStateError):
                call.future.set_exception(failure)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the executor go; what it has not done then is cancelled. Safe to call twice."""
        with self._lock:
            self._closing.set()
            executor, self._executor = self._executor, None
            thread, calls = self._thread, list(self._calls)
        if cancel_futures:
            for call in calls:
                call.future.cancel()
        if executor is not None:
            executor.shutdown(wait=wait)
        if wait and thread is not None:
            thread.join()
        for call in calls:
            call.future.cancel()
