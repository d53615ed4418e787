"""The search for programs that run an event loop: the same calls, awaited.

Threads search while the loop goes on. A cancelled task halts its search, waits until the threads
have let go, which takes some milliseconds, and only then lets the cancellation through.
"""

from __future__ import annotations

import asyncio

from nonsuch.search.halt import Halt
from nonsuch.search.searcher import Outcome, search
from nonsuch.search.solve import first_question, lowest_question
from nonsuch.work.goals import Goal
from nonsuch.work.puzzle import Proof, Puzzle
from nonsuch.work.target import Target

__all__ = ["first_async", "search_async", "solve_async"]


async def search_async(
    puzzle: Puzzle, nonces: range, goal: Goal, *, threads: int | None = None
) -> Outcome:
    """`nonsuch.search`, awaited. Cancelling the task halts the search."""
    halt = Halt()
    searching = asyncio.ensure_future(
        asyncio.to_thread(search, puzzle, nonces, goal, threads=threads, halt=halt)
    )
    try:
        return await asyncio.shield(searching)
    except asyncio.CancelledError:
        halt.set()
        await asyncio.wait([searching])
        raise


async def solve_async(
    subject: Puzzle | bytes | str,
    upto: int,
    *,
    preset: str = "plain",
    threads: int | None = None,
) -> Proof:
    """`nonsuch.solve`, awaited: the nonce in [0, upto] whose hash is the lowest."""
    outcome = await search_async(*lowest_question(subject, upto, preset), threads=threads)
    assert outcome.proof is not None, "a range that is not empty has a lowest hash"
    return outcome.proof


async def first_async(
    subject: Puzzle | bytes | str,
    target: Target,
    *,
    start: int = 0,
    stop: int | None = None,
    preset: str = "plain",
    threads: int | None = None,
) -> Proof | None:
    """`nonsuch.first`, awaited: the first nonce in [start, stop) that the target admits."""
    question = first_question(subject, target, start, stop, preset)
    return (await search_async(*question, threads=threads)).proof
