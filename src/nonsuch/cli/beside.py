"""What goes on beside a node, from the moment that others can reach it until it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from nonsuch.live.driver import Node

__all__ = ["Beside", "Job"]

Job = Callable[[Node], Awaitable[None]]


class Beside:
    """`ready` and `run` are what a `Node` and `live.run` are given.

    `tell` is called once the node can be reached, and then all jobs run side by side. One that
    raises ends them all.
    """

    def __init__(self, tell: Callable[[Node], None], *jobs: Job) -> None:
        self._tell = tell
        self._jobs = jobs
        self._node: Node | None = None
        self._reachable = asyncio.Event()

    def ready(self, node: Node) -> None:
        """Others can come."""
        self._node = node
        self._tell(node)
        self._reachable.set()

    async def run(self) -> None:
        """Do all jobs; does not end before the node does."""
        await self._reachable.wait()
        assert self._node is not None
        tasks = [asyncio.ensure_future(job(self._node)) for job in self._jobs]
        try:
            await asyncio.gather(*tasks)
            await asyncio.Event().wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
