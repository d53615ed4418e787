"""Metrics beside a node, where `--metrics` asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nonsuch.cli.access import Place
from nonsuch.cli.beside import Job
from nonsuch.cli.facts import MetricsServed
from nonsuch.cli.logs import Logger
from nonsuch.live.driver import Node
from nonsuch.web.descriptions import Description

__all__ = ["serve_metrics"]


def serve_metrics(
    port: int | None,
    description: Description,
    statistics: Callable[[Node, float], object],
    log: Logger,
) -> Job:
    """What serves them to this machine as long as a node runs; nothing for no port.

    `statistics` are a node's, at the event loop's time.
    """

    async def serve(node: Node) -> None:
        if port is None:
            return
        from nonsuch.web.metrics import MetricsServer  # It brings an HTTP server along.

        clock = asyncio.get_running_loop().time
        server = MetricsServer(port, description, lambda: statistics(node, clock()))
        log(MetricsServed(f"http://{Place(*server.address)}/metrics"))
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

    return serve
