"""What an engine is, and what its workers run.

An engine is a standard `concurrent.futures.Executor` and a little knowledge about it: how many
pieces it works on at once, and how to stop one. Whoever has work cuts a search into *pieces*, keeps
about twice as many in flight as there are slots, and merges the answers (`spread.py`). What a
worker runs is `perform`, here: a function of this package and plain values, so that any executor
can carry it to a process or a machine that has the package installed.

An answer is a claim. It names nonces and no digests: whoever uses it hashes them again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import NamedTuple, ParamSpec, Protocol, TypeVar, runtime_checkable

from nonsuch.errors import LocalError
from nonsuch.search.halt import Halt
from nonsuch.search.searcher import search
from nonsuch.work.goals import Goal
from nonsuch.work.puzzle import Puzzle

__all__ = [
    "SLOTS_MAX",
    "Answer",
    "Engine",
    "Piece",
    "halt_here",
    "perform",
    "reason_of",
    "submitted",
]

SLOTS_MAX = 2048
"""Slots of one engine, for all in flight is bounded; whoever has more starts another beside it."""

HALTED_MAX = 4096
"""Jobs that were halted before they came: so many are remembered in a worker."""

P = ParamSpec("P")
T = TypeVar("T")


class Piece(NamedTuple):
    """A part of a search, for one slot. Everything in it can be pickled.

    `job` names the search that it is part of, in all of a cluster; `threads` is how many the slot
    has, None for as many as the machine.
    """

    job: str
    puzzle: Puzzle
    start: int
    stop: int
    goal: Goal
    threads: int | None = 1


class Answer(NamedTuple):
    """What came of a piece: see `nonsuch.search.searcher.Outcome`, of which it is the nonces.

    `proof` ended the piece or is its lowest; `covered` are half-open ranges, ascending.
    """

    proof: int | None
    best: int | None
    shares: tuple[int, ...]
    covered: tuple[tuple[int, int], ...]
    hashes: int
    seconds: float
    stopped: bool
    ended_early: bool


@runtime_checkable
class Engine(Protocol):
    """Somebody to give pieces to. Only `halt` may be called from any thread."""

    name: str
    """For people: `threads`, `processes`, `dask`, …"""

    executor: Executor
    """Runs `perform(piece)`. Its futures outlive workers and schedulers that are lost meanwhile."""

    def slots(self) -> int:
        """How many pieces it works on at once. It may change, and be 0 where nobody is there."""

    def workers(self) -> int:
        """How many processes or machines that is; 0 where it is this process alone."""

    def halt(self, job: str) -> None:
        """Stop all pieces of this job that are under way, within some 100 ms."""

    def close(self) -> None:
        """Let go of all workers. What is in flight is halted first; safe to call twice."""


def submitted(
    executor: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Future[T]:
    """What `executor.submit` returns. Raises `LocalError` where that is no future."""
    future: object = executor.submit(work, *args, **kwargs)
    if not isinstance(future, Future):
        kind = type(executor).__name__
        raise LocalError(f"the executor {kind} returned {type(future).__name__}, and no future")
    return future


def reason_of(error: BaseException) -> str:
    """An error of somebody else's code in words, and be it its name alone."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# In the worker.


class _Jobs:
    """The pieces that this process searches, by job."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, list[Halt]] = {}
        self._halted: dict[str, None] = {}

    @contextmanager
    def running(self, job: str) -> Iterator[Halt]:
        """A flag that is set once the job is halted; set already if it has been."""
        halt = Halt()
        with self._lock:
            self._running.setdefault(job, []).append(halt)
            if job in self._halted:
                halt.set()
        try:
            yield halt
        finally:
            with self._lock:
                self._running[job].remove(halt)
                if not self._running[job]:
                    del self._running[job]

    def halt(self, job: str) -> None:
        with self._lock:
            self._halted[job] = None
            if len(self._halted) > HALTED_MAX:
                del self._halted[next(iter(self._halted))]
            for halt in self._running.get(job, ()):
                halt.set()


_jobs = _Jobs()


def perform(piece: Piece) -> Answer:
    """Search a piece, in the process and thread that this is called in.

    Raises `LocalError` as `search` does.
    """
    with _jobs.running(piece.job) as halt:
        outcome = search(
            piece.puzzle,
            range(piece.start, piece.stop),
            piece.goal,
            threads=piece.threads,
            halt=halt,
        )
    return Answer(
        proof=None if outcome.proof is None else outcome.proof.nonce,
        best=None if outcome.best is None else outcome.best.nonce,
        shares=outcome.shares,
        covered=tuple((part.start, part.stop) for part in outcome.covered),
        hashes=outcome.hashes,
        seconds=outcome.seconds,
        stopped=outcome.stopped,
        ended_early=outcome.ended_early,
    )


def halt_here(job: str) -> None:
    """Stop the pieces of a job that run in this process, and those that come later."""
    _jobs.halt(job)
