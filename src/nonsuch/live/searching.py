"""`Search` effects, carried out on an engine.

On threads of this process one search has all of them; a core that wants two at once has them share
the machine. Each runs under a thread of its own that waits for it, so the event loop never does.
Where all threads are taken, the next search waits here, where one that is cancelled leaves nothing
behind.

On any other engine a search is cut into pieces (`nonsuch.search.engines.spread`), and as many go on
at once as the core wants: it was told how many slots there are.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from nonsuch.errors import LocalError
from nonsuch.node import Advanced, Event, Search, Searched
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.local import ThreadEngine
from nonsuch.search.engines.spread import REVIEW_SECONDS, Spread, Spreader
from nonsuch.search.halt import Halt
from nonsuch.search.searcher import Outcome, Progress, search

__all__ = [
    "SEARCHES_MAX",
    "SPREAD_WANTED_MAX",
    "WANTED_MAX",
    "Searches",
    "Searching",
    "SpreadSearches",
    "searching_on",
]

SEARCHES_MAX = 4
"""Searches at once: one goes on, one was cancelled and is about to notice, and room."""

WANTED_MAX = 16
"""Searches that a core may want at once: twice the leases of a miner, who wants most."""

SPREAD_WANTED_MAX = 2**13
"""On an engine: two for each of 2,048 slots, and as many that were cancelled for others."""

ADVANCED_SECONDS = 0.5
"""How often a core hears how far a search is."""


class Searching(Protocol):
    """The searches of one core."""

    def start(self, effect: Search) -> None:
        """Begin; ends in a `Searched`, unless it is cancelled, or all is being closed.

        Raises `LocalError` for a core that wants too many, and for nonces that there are not.
        """

    def cancel(self, task: int) -> None:
        """Stop it; nothing more is heard of it."""

    async def close(self) -> None:
        """Stop all. The engine goes on: it is of whoever has opened it."""


def searching_on(
    engine: Engine | None,
    threads: int | None,
    deliver: Callable[[Event], None],
    fail: Callable[[BaseException], None],
) -> Searching:
    """The way to search on this engine; without one on so many `threads` of this process.

    `deliver` and `fail` are called in the event loop.
    """
    if engine is None or isinstance(engine, ThreadEngine):
        return Searches(threads if engine is None else engine.threads, deliver, fail)
    return SpreadSearches(engine, deliver, fail)


class Searches:
    """`Searching` on threads of this process."""

    def __init__(
        self,
        threads: int | None,
        deliver: Callable[[Event], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._threads = threads
        self._deliver = deliver
        self._fail = fail
        self._waiting: dict[int, Search] = {}
        self._halts: dict[int, Halt] = {}
        self._busy = 0
        self._closed = False
        self._pool = ThreadPoolExecutor(SEARCHES_MAX, thread_name_prefix="nonsuch-node")

    def start(self, effect: Search) -> None:
        """Begin; ends in a `Searched`, unless it is cancelled, or all is being closed.

        Raises `LocalError` for a core that wants too many.
        """
        if self._closed:
            return
        if len(self._waiting) + len(self._halts) >= WANTED_MAX:
            raise LocalError(f"a core may want {WANTED_MAX} searches at once, and no more")
        self._waiting[effect.task] = effect
        self._begin()

    def _begin(self) -> None:
        """As many of those that wait as there are threads."""
        while self._waiting and self._busy < SEARCHES_MAX:
            self._run(self._waiting.pop(next(iter(self._waiting))))

    def _run(self, effect: Search) -> None:
        self._busy += 1
        loop = asyncio.get_running_loop()
        halt = self._halts[effect.task] = Halt()
        told = _Advances(loop, functools.partial(self._advanced, effect.task))
        future = loop.run_in_executor(
            self._pool,
            functools.partial(
                search,
                effect.puzzle,
                effect.nonces,
                effect.goal,
                threads=self._threads,
                halt=halt,
                progress=told,
            ),
        )
        future.add_done_callback(functools.partial(self._ended, effect))

    def cancel(self, task: int) -> None:
        """Stop it; nothing more is heard of it."""
        self._waiting.pop(task, None)
        halt = self._halts.pop(task, None)
        if halt is not None:
            halt.set()

    def _advanced(self, task: int, hashes: int) -> None:
        if task in self._halts:
            self._deliver(Advanced(task, hashes))

    def _ended(self, effect: Search, future: asyncio.Future[Outcome]) -> None:
        self._busy -= 1
        self._begin()
        if self._halts.pop(effect.task, None) is None or future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._fail(error)
            return
        self._deliver(_searched(effect, future.result()))

    async def close(self) -> None:
        """Stop all, and wait until their threads have let go."""
        self._closed = True
        self._waiting.clear()
        for halt in self._halts.values():
            halt.set()
        self._halts.clear()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class _Advances:
    """A progress callback in the search's thread, which tells the loop now and then."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[int], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._next_seconds = ADVANCED_SECONDS

    def __call__(self, progress: Progress) -> None:
        if progress.seconds >= self._next_seconds:
            self._next_seconds = progress.seconds + ADVANCED_SECONDS
            self._loop.call_soon_threadsafe(self._tell, progress.hashes)


def _searched(effect: Search, outcome: Outcome) -> Searched:
    """What a core hears of an outcome; see `nonsuch.node.Searched`."""
    nonces = list(outcome.shares)
    proof = outcome.proof
    if proof is not None and proof.nonce not in nonces[-1:]:
        nonces.append(proof.nonce)
    ended = effect.nonces.stop
    if proof is not None and outcome.ended_early:
        ended = proof.nonce + 1
    return Searched(effect.task, ended, tuple(nonces))


class SpreadSearches:
    """`Searching` on any other engine."""

    def __init__(
        self,
        engine: Engine,
        deliver: Callable[[Event], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._spreader = Spreader(engine)
        self._deliver = deliver
        self._fail = fail
        self._tasks: dict[int, Spread] = {}
        self._told: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._review_at = 0.0
        self._closed = False

    def start(self, effect: Search) -> None:
        """Begin; see `Searching`."""
        if self._closed:
            return
        if len(self._tasks) >= SPREAD_WANTED_MAX:
            raise LocalError(f"a core may want {SPREAD_WANTED_MAX} searches at once, and no more")
        spread = self._spreader.start(effect.puzzle, effect.nonces, effect.goal)
        self._tasks[effect.task] = spread
        loop = asyncio.get_running_loop()
        spread.outcome.add_done_callback(
            lambda future: loop.call_soon_threadsafe(self._ended, effect, future)
        )
        if self._timer is None:
            self._timer = loop.call_later(ADVANCED_SECONDS, self._look)

    def _look(self) -> None:
        """Tell how far all are, and see after what is overdue."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(ADVANCED_SECONDS, self._look) if self._tasks else None
        if loop.time() >= self._review_at:
            self._review_at = loop.time() + REVIEW_SECONDS
            self._spreader.review()
        for task, spread in list(self._tasks.items()):
            hashes = spread.snapshot().hashes
            if hashes > self._told.get(task, 0) and task in self._tasks:
                self._told[task] = hashes
                self._deliver(Advanced(task, hashes))

    def cancel(self, task: int) -> None:
        """Stop it."""
        self._told.pop(task, None)
        spread = self._tasks.pop(task, None)
        if spread is not None:
            self._spreader.drop(spread)

    def _ended(self, effect: Search, future: Future[Outcome]) -> None:
        self._told.pop(effect.task, None)
        if self._tasks.pop(effect.task, None) is None or future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._fail(error)
        else:
            self._deliver(_searched(effect, future.result()))

    async def close(self) -> None:
        """Stop all."""
        self._closed = True
        self._tasks.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._spreader.close()
