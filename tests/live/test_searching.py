"""Searches begin, end and are cancelled; whoever cancels many holds no memory and no thread."""

from __future__ import annotations

import asyncio
import gc

import pytest

from nonsuch.errors import LocalError
from nonsuch.live.searching import SEARCHES_MAX, WANTED_MAX, Searches
from nonsuch.node import Advanced, Event, Search, Searched
from nonsuch.search.halt import Halt
from nonsuch.work import presets
from nonsuch.work.goals import First, Lowest
from nonsuch.work.target import Target

PUZZLE = presets.plain(b"searches ")
ENDLESS = range(2**60)
NONE_AS_LOW = First(Target(1))


class Desk:
    """What a core would hear."""

    def __init__(self) -> None:
        self.ended: list[Searched] = []
        self.failures: list[BaseException] = []
        self.news = asyncio.Event()
        self.searches = Searches(1, self._hear, self._fail)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Searched):
            self.ended.append(event)
            self.news.set()
        else:
            assert isinstance(event, Advanced)

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.news.set()

    async def until(self, count: int) -> None:
        """Wait until so many searches have ended."""
        async with asyncio.timeout(60):
            while len(self.ended) < count and not self.failures:
                self.news.clear()
                await self.news.wait()


def halts() -> int:
    """Searches that something still holds."""
    gc.collect()
    return sum(isinstance(each, Halt) for each in gc.get_objects())


async def test_whoever_streams_headers_has_the_last_of_them_searched_and_fills_no_memory() -> None:
    desk, before = Desk(), halts()
    for task in range(3_000):
        desk.searches.start(Search(task, PUZZLE, ENDLESS, NONE_AS_LOW))
        desk.searches.cancel(task)
        if task % 600 == 0:
            await asyncio.sleep(0)
    # A search of one thread has a flag, and so has its thread.
    assert halts() - before <= 3 * SEARCHES_MAX
    desk.searches.start(Search(3_000, PUZZLE, range(100), Lowest()))
    await desk.until(1)
    assert [each.task for each in desk.ended] == [3_000]
    await desk.searches.close()


async def test_searches_wait_for_a_thread_in_their_order_and_one_may_be_cancelled_there() -> None:
    desk = Desk()
    for task in range(SEARCHES_MAX):
        desk.searches.start(Search(task, PUZZLE, ENDLESS, NONE_AS_LOW))
    for task in range(SEARCHES_MAX, WANTED_MAX):
        desk.searches.start(Search(task, PUZZLE, range(100), Lowest()))
    desk.searches.cancel(SEARCHES_MAX + 1)
    desk.searches.cancel(0)
    wanted = [task for task in range(SEARCHES_MAX, WANTED_MAX) if task != SEARCHES_MAX + 1]
    await desk.until(len(wanted))
    assert [each.task for each in desk.ended] == wanted
    await desk.searches.close()
    assert not desk.failures


async def test_a_core_may_want_so_many_searches_and_no_more() -> None:
    desk = Desk()
    for task in range(WANTED_MAX):
        desk.searches.start(Search(task, PUZZLE, ENDLESS, NONE_AS_LOW))
    with pytest.raises(LocalError, match=f"want {WANTED_MAX} searches at once"):
        desk.searches.start(Search(WANTED_MAX, PUZZLE, ENDLESS, NONE_AS_LOW))
    await desk.searches.close()
    assert desk.ended == []
