"""Searches of a core on an engine: as many as it wants, each ended once or heard of no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from nonsuch.errors import LocalError
from nonsuch.live.searching import SPREAD_WANTED_MAX, Searches, SpreadSearches, searching_on
from nonsuch.node import Advanced, Event, Search, Searched
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.local import ProcessEngine, ThreadEngine
from nonsuch.search.searcher import search
from nonsuch.work import presets
from nonsuch.work.goals import First, Lowest, Shares
from nonsuch.work.target import Target

PUZZLE = presets.plain(b"spread searches ")
ENDLESS = range(2**60)
NONE_AS_LOW = First(Target(1))


class Desk:
    """What a core would hear."""

    def __init__(self, engine: Engine) -> None:
        self.heard: list[Event] = []
        self.failures: list[BaseException] = []
        self._news = asyncio.Event()
        self.searches = SpreadSearches(engine, self._hear, self._fail)

    def _hear(self, event: Event) -> None:
        self.heard.append(event)
        self._news.set()

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self._news.set()

    @property
    def ended(self) -> dict[int, Searched]:
        return {event.task: event for event in self.heard if isinstance(event, Searched)}

    @property
    def advanced(self) -> list[Advanced]:
        return [event for event in self.heard if isinstance(event, Advanced)]

    async def until(self, *, ended: int = 0, advanced: int = 0, failures: int = 0) -> None:
        """Wait until so much was heard."""
        async with asyncio.timeout(90):
            while (
                len(self.ended) < ended
                or len(self.advanced) < advanced
                or len(self.failures) < failures
            ):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    engine = ThreadEngine(2)
    desk = Desk(engine)
    yield desk
    await desk.searches.close()
    engine.close()


async def test_many_searches_go_on_at_once_and_each_ends_with_its_own_answer(desk: Desk) -> None:
    ranges = {task: range(task * 40_000, task * 40_000 + 40_000) for task in range(32)}
    for task, nonces in ranges.items():
        desk.searches.start(Search(task, PUZZLE, nonces, Lowest()))
    await desk.until(ended=32)
    assert not desk.failures
    for task, nonces in ranges.items():
        lowest = search(PUZZLE, nonces, Lowest()).proof
        assert lowest is not None
        assert desk.ended[task] == Searched(task, nonces.stop, (lowest.nonce,))


async def test_shares_end_with_the_one_that_ends_the_search(desk: Desk) -> None:
    goal = Shares(Target(2**256 // 5_000), Target(2**256 // 300_000))
    desk.searches.start(Search(1, PUZZLE, ENDLESS, goal))
    await desk.until(ended=1)
    expected = search(PUZZLE, ENDLESS, goal)
    assert expected.proof is not None
    assert desk.ended[1] == Searched(1, expected.proof.nonce + 1, expected.shares)


async def test_a_core_hears_how_far_a_search_is_and_nothing_more_once_it_is_cancelled(
    desk: Desk,
) -> None:
    desk.searches.start(Search(1, PUZZLE, ENDLESS, NONE_AS_LOW))
    await desk.until(advanced=2)
    hashes = [event.hashes for event in desk.advanced]
    assert hashes == sorted(set(hashes))
    desk.searches.cancel(1)
    desk.searches.cancel(1)
    heard = len(desk.heard)
    desk.searches.start(Search(2, PUZZLE, range(1000), Lowest()))
    await desk.until(ended=1)
    assert {event.task for event in desk.heard[heard:] if isinstance(event, Searched)} == {2}
    assert all(event.task == 2 for event in desk.heard[heard:] if isinstance(event, Advanced))


async def test_a_core_may_want_so_many_and_no_more_and_closing_ends_them_all(desk: Desk) -> None:
    for task in range(SPREAD_WANTED_MAX):
        desk.searches.start(Search(task, PUZZLE, ENDLESS, NONE_AS_LOW))
    with pytest.raises(LocalError, match=f"want {SPREAD_WANTED_MAX} searches at once"):
        desk.searches.start(Search(SPREAD_WANTED_MAX, PUZZLE, ENDLESS, NONE_AS_LOW))
    await desk.searches.close()
    desk.searches.start(Search(-1, PUZZLE, range(100), Lowest()))
    await asyncio.sleep(0)
    assert desk.ended == {}


async def test_an_engine_that_is_gone_is_the_end_of_the_node() -> None:
    engine = ProcessEngine(1)
    desk = Desk(engine)
    desk.searches.start(Search(1, PUZZLE, ENDLESS, NONE_AS_LOW))
    await desk.until(advanced=1)
    await asyncio.to_thread(engine.close)
    await desk.until(failures=1)
    await desk.searches.close()


def test_threads_of_this_process_are_not_cut_up() -> None:
    engine = ThreadEngine(1)
    for chosen in (None, engine):
        assert isinstance(searching_on(chosen, 1, print, print), Searches)
    engine.close()
