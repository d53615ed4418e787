"""Somebody's own executor as an engine: `module:callable`.

The callable is called without arguments and returns an engine, or any executor of the standard
kind: a pool of threads or processes, of MPI, of Ray, of Parsl. Whatever can carry a function of
this package and plain values to where the package is installed will do. An executor that breaks is
made again by the same callable.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import Engine, Piece, perform
from nonsuch.search.engines.halts import HaltFile, perform_watched
from nonsuch.search.engines.reopening import Reopening

__all__ = ["SLOTS_MAX", "ExecutorEngine", "open_custom"]

SLOTS_MAX = 2048
"""Slots of one engine; whoever has more starts another one beside it."""

_FORM = re.compile(r"([\w.]+):([\w.]+)(?:\?slots=(\d{1,9}))?")

P = ParamSpec("P")
T = TypeVar("T")


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
        """Halt all that can be, and wait for the rest. Safe to call twice."""
        self._halts.close()
        self._reopening.shutdown(cancel_futures=True)


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
    if isinstance(made, Executor):
        return ExecutorEngine(where, made, lambda: _executor(where, make), slots)
    if slots is not None:
        raise LocalError(f"{where} knows its own slots; leave ?slots={slots} out")
    return made


def _callable(where: str, module: str, name: str) -> Callable[[], object]:
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109  # as sys.path has it
        sys.path.append(os.getcwd())  # noqa: PTH109  # Last: it takes nothing's place.
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise LocalError(f"{where}: there is no module {error.name!r}") from None
    except Exception as error:  # somebody's code
        raise LocalError(f"{where}: {module} cannot be imported: {_reason(error)}") from error
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
    except Exception as error:  # somebody's code
        raise LocalError(f"{where} raised {_reason(error)}") from error
    if isinstance(made, Executor | Engine):
        return made
    raise LocalError(f"{where} returned {type(made).__name__}, neither an engine nor an executor")


def _executor(where: str, make: Callable[[], object]) -> Executor:
    made = _made(where, make)
    if isinstance(made, Executor):
        return made
    raise LocalError(f"{where} returned an executor first, and then an engine")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
