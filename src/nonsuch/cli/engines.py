"""Engines for a command: opened, told of, closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import msgspec

from nonsuch.cli.inputs import check_threads
from nonsuch.live.driver import Node
from nonsuch.node import LOCAL, Capacity, Received
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.local import ThreadEngine
from nonsuch.search.engines.opening import open_engine
from nonsuch.search.engines.spread import REVIEW_SECONDS

__all__ = ["Searching", "capacity_of", "opened_engine", "tell_capacity"]


class Searching(msgspec.Struct, frozen=True):
    """Where searches go; again where that has changed."""

    engine: str
    slots: int
    workers: int


@contextlib.contextmanager
def opened_engine(name: str, threads: int | None, *, insecure: bool = False) -> Iterator[Engine]:
    """The engine that a person has asked for, closed at the end."""
    check_threads(threads)
    engine = open_engine(name, threads, insecure=insecure)
    try:
        yield engine
    finally:
        engine.close()


def capacity_of(engine: Engine) -> Capacity:
    """What a core is told of an engine: a search has all threads of this process, one at a time."""
    if isinstance(engine, ThreadEngine):
        return Capacity(1)
    return Capacity(engine.slots(), engine.workers())


async def tell_capacity(node: Node, engine: Engine, tell: Callable[[object], None]) -> None:
    """Tell a core, and people, what there is to search on, now and whenever that changes."""
    told: Searching | None = None
    while True:
        now = Searching(engine.name, engine.slots(), engine.workers())
        if now != told:
            told = now
            tell(now)
            node.deliver((Received(LOCAL, capacity_of(engine)),))
        await asyncio.sleep(REVIEW_SECONDS)
