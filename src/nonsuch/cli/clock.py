"""What time it is, for cores that write it down: they are told, since they have no clock."""

from __future__ import annotations

import asyncio
import time

from nonsuch.live.driver import Node
from nonsuch.node import LOCAL, Clock, Received

__all__ = ["origin_seconds", "tell_time"]

TELL_SECONDS = 10.0
"""How often a node is told."""


def origin_seconds() -> float:
    """The Unix time at which the clock of the running event loop showed 0."""
    return time.time() - asyncio.get_running_loop().time()


async def tell_time(node: Node) -> None:
    """Tell a node what time it is as long as it runs."""
    while True:
        node.deliver((Received(LOCAL, Clock(time.time())),))
        await asyncio.sleep(TELL_SECONDS)
