"""Somebody's own executor as an engine: `module:callable`.

The callable is called without arguments and returns an engine, or any executor of the standard
kind: a pool of threads or processes, of MPI, of Ray, of Parsl. Whatever can carry a function of
this package and plain values to where the package is installed will do. An executor that breaks is
made again by the same callable.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar, cast

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import SLOTS_MAX, Engine, Piece, perform, reason_of
from nonsuch.search.engines.halts import HaltFile, perform_watched
from nonsuch.search.engines.reopening import Reopening

__all__ = ["ExecutorEngine", "open_custom"]

CLOSE_SECONDS = 5.0
"""How long an executor may take to end what was halted; a process of its own may be frozen."""

_FORM = re.compile(r"([\w.]+):([\w.]+)(?:\?slots=(\d{1,9}))?")

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class ExecutorEngine:
    """An engine of executors: the `first`, and where it breaks those that `make` makes.

    `slots` is how many pieces at once are worked on, None where the executor itself knows. Raises
    `LocalError` where it does not.
    """

    def __init__(
        self, name: str, first: Executor, make: Callable[[], Executor], slots: int | None = None
    ) -> None:
        self.name = name
        self._slots = _slots_of(name, first) if slots is None else slots
        self._workers = 0 if isinstance(first, ThreadPoolExecutor) else self._slots
        self._halts = HaltFile()
        made = [first]
        self._reopening = Reopening(
            lambda: made.pop() if made else make(), (BrokenExecutor,), name=f"the executor {name}"
        )
        self.executor: Executor = _Watched(self._reopening, self._halts.path)

    def slots(self) -> int:
        """As many as were given, or as the executor says."""
        return self._slots

    def workers(self) -> int:
        """One a slot, but for threads of this process."""
        return self._workers

    def halt(self, job: str) -> None:
        """Stop all pieces of this job on this machine; others run to their end."""
        self._halts.halt(job)

    def close(self) -> None:
        """Halt all that can be, and wait for the rest, but not for ever. Safe to call twice."""
        self._halts.close()
        executor = self._reopening.executor
        processes = _processes_of(executor)
        if _is_over_within(CLOSE_SECONDS, lambda: self._reopening.shutdown(cancel_futures=True)):
            return
        for process in processes:
            process.kill()
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
        left = f"killed its {len(processes)} processes" if processes else "left it behind"
        _log.warning("the executor %s did not end when it was told to: %s", self.name, left)


class _Watched(Executor):
    """Sends pieces to another executor together with the file that may halt them."""

    def __init__(self, executor: Executor, path: str) -> None:
        self._executor = executor
        self._path = path

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if fn is perform:
            piece = cast(Piece, args[0])
            return cast("Future[T]", self._executor.submit(perform_watched, self._path, piece))
        return self._executor.submit(fn, *args, **kwargs)


class _Killable(Protocol):
    def kill(self) -> None: ...


def _processes_of(executor: Executor | None) -> list[_Killable]:
    """The processes of a standard pool, or of one that is made like it."""
    processes: object = getattr(executor, "_processes", None)
    if not isinstance(processes, Mapping):
        return []
    return [each for each in list(processes.values()) if hasattr(each, "kill")]


def _is_over_within(seconds: float, work: Callable[[], None]) -> bool:
    """Have it done in a thread of its own, and wait no longer than this."""
    thread = threading.Thread(target=work, name="nonsuch-close", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _slots_of(name: str, executor: Executor) -> int:
    for attribute in ("slots", "max_workers", "_max_workers"):
        slots = getattr(executor, attribute, None)
        if isinstance(slots, int) and 1 <= slots <= SLOTS_MAX:
            return slots
    raise LocalError(
        f"nobody knows how many pieces the executor of {name} works on at once; say so behind the"
        f" name: {name}?slots=8"
    )


def open_custom(name: str) -> Engine:
    """The engine at `module:callable` or `module:callable?slots=N`.

    Raises `LocalError` for a module or callable that is not there, and what makes no engine.
    """
    form = _FORM.fullmatch(name)
    if form is None:
        raise LocalError(f"{name[:80]!r} is no engine, nor MODULE:CALLABLE?slots=N")
    slots = None if form[3] is None else int(form[3])
    if slots is not None and not 1 <= slots <= SLOTS_MAX:
        raise LocalError(f"{name}: slots lie between 1 and {SLOTS_MAX}")
    where = f"{form[1]}:{form[2]}"
    make = _callable(where, form[1], form[2])
    made = _made(where, make)
    try:
        return _engine_of(where, made, make, slots)
    except LocalError:
        _let_go(made)
        raise


def _engine_of(
    where: str, made: Engine | Executor, make: Callable[[], object], slots: int | None
) -> Engine:
    if isinstance(made, Executor):
        return ExecutorEngine(where, made, lambda: _executor(where, make), slots)
    if slots is not None:
        raise LocalError(f"{where} knows its own slots; leave ?slots={slots} out")
    executor: object = made.executor
    if not isinstance(executor, Executor):
        kind = type(executor).__name__
        raise LocalError(f"the engine of {where} has no executor: that is {kind}")
    return made


def _let_go(made: Engine | Executor) -> None:
    """Whatever it has started would keep this process from ending."""
    with contextlib.suppress(Exception):
        if isinstance(made, Executor):
            made.shutdown(wait=False, cancel_futures=True)
        else:
            made.close()


def _callable(where: str, module: str, name: str) -> Callable[[], object]:
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109  # as sys.path has it
        sys.path.append(os.getcwd())  # noqa: PTH109  # Last: it takes nothing's place.
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise LocalError(f"{where}: there is no module {error.name!r}") from None
    except (Exception, SystemExit) as error:  # somebody's code
        raise LocalError(f"{where}: {module} cannot be imported: {reason_of(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise LocalError(f"{where}: {module} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise LocalError(f"{where}: it cannot be called, it is {type(found).__name__}")
    return found


def _made(where: str, make: Callable[[], object]) -> Engine | Executor:
    try:
        made = make()
    except (Exception, SystemExit) as error:  # somebody's code
        raise LocalError(f"{where} raised {reason_of(error)}") from error
    if isinstance(made, Executor | Engine):
        return made
    raise LocalError(f"{where} returned {type(made).__name__}, neither an engine nor an executor")


def _executor(where: str, make: Callable[[], object]) -> Executor:
    made = _made(where, make)
    if isinstance(made, Executor):
        return made
    raise LocalError(f"{where} returned an executor first, and then an engine")
