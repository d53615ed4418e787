"""A node's statistics for Prometheus, as text over HTTP.

The client library's server has a thread of its own; the node's core belongs to the event loop. So
each scrape asks the loop for a frozen picture and makes the samples of that.
"""

from __future__ import annotations

import asyncio
import wsgiref.simple_server
from collections.abc import Callable, Iterator
from threading import Thread

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nonsuch.errors import LocalError
from nonsuch.web.descriptions import Description

__all__ = ["MetricsServer"]

SNAPSHOT_SECONDS_MAX = 5.0
"""A scrape waits no longer for the loop."""


_NAMES = {"rate": "hashes_per_second"}
"""Where a metric's name says more than the field's."""


class _Statistics(Collector):
    """The samples of one picture."""

    def __init__(self, description: Description, snapshot: Callable[[], object]) -> None:
        self._description = description
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Called by a scrape."""
        statistics = self._snapshot()
        prefix, gauges, counters, labelled = self._description
        for name, help_text in gauges.items():
            value = getattr(statistics, name)
            yield GaugeMetricFamily(f"{prefix}_{_NAMES.get(name, name)}", help_text, value)
        for name, help_text in counters.items():
            yield CounterMetricFamily(f"{prefix}_{name}", help_text, getattr(statistics, name))
        for name, help_text in labelled.items():
            causes = CounterMetricFamily(f"{prefix}_{name}", help_text, labels=["cause"])
            for cause, count in sorted(getattr(statistics, name).items()):
                causes.add_metric([cause], count)
            yield causes


class MetricsServer:
    """Serves `/metrics` from construction to `close`. Made in the event loop it asks."""

    def __init__(
        self, host: str, port: int, description: Description, statistics: Callable[[], object]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._statistics = statistics
        registry = prometheus_client.CollectorRegistry()
        registry.register(_Statistics(description, self._snapshot))
        try:
            self._server: wsgiref.simple_server.WSGIServer
            self._thread: Thread
            self._server, self._thread = prometheus_client.start_http_server(
                port, addr=host, registry=registry
            )
        except OSError as error:
            raise LocalError(f"cannot serve metrics on port {port}: {error.strerror}") from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def _snapshot(self) -> object:
        async def taken() -> object:
            return self._statistics()

        future = asyncio.run_coroutine_threadsafe(taken(), self._loop)
        return future.result(SNAPSHOT_SECONDS_MAX)

    async def close(self) -> None:
        """Stop serving."""
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        await asyncio.to_thread(self._thread.join)
