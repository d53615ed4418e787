"""The awaited forms: the loop goes on meanwhile, and a cancelled search lets go of its threads."""

import asyncio
import threading

import pytest

import nonsuch
from nonsuch import LocalError, Lowest, Target, presets


async def test_awaited_searches_give_the_same_proofs() -> None:
    assert await nonsuch.solve_async(b"hello", 20_000) == nonsuch.solve(b"hello", 20_000)
    target = Target.from_zero_digits(3)
    assert await nonsuch.first_async(b"hello", target) == nonsuch.first(b"hello", target)
    with pytest.raises(LocalError):
        await nonsuch.solve_async(b"hello", -1)


async def test_the_loop_goes_on_while_threads_search() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    await nonsuch.solve_async(b"hello", 300_000)
    ticking.cancel()
    assert ticks > 10


def searching() -> bool:
    return any(thread.name.startswith("nonsuch-search") for thread in threading.enumerate())


def wait_for_threads() -> None:
    while not searching():
        pass


async def test_a_cancelled_search_has_ended_when_the_cancellation_arrives() -> None:
    search = nonsuch.search_async(presets.plain(b"for ever"), range(2**64), Lowest())
    task = asyncio.ensure_future(search)
    await asyncio.to_thread(wait_for_threads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not searching()
