"""A node's statistics for Prometheus, as text over HTTP.

The server has a thread of its own, and one for each connection; the node's core belongs to the
event loop. So each scrape asks the loop for a frozen picture and makes the samples of that. It
listens to this machine alone: metrics have no token that they could ask for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
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

SILENT_SECONDS_MAX = 5.0
"""A connection that says nothing for so long is ended, and its thread with it."""

HOST = "127.0.0.1"

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


class _Server(ThreadingHTTPServer):
    """Who hangs up is no news."""

    def handle_error(self, request: object, client_address: object) -> None:
        """A traceback, but for what others do to their own connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class MetricsServer:
    """Serves `/metrics` from construction to `close`. Made in the event loop it asks."""

    def __init__(
        self, port: int, description: Description, statistics: Callable[[], object]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._statistics = statistics
        collected = prometheus_client.CollectorRegistry()
        collected.register(_Statistics(description, self._snapshot))

        class Handler(prometheus_client.MetricsHandler):
            registry = collected
            timeout = SILENT_SECONDS_MAX

        try:
            self._server = _Server((HOST, port), Handler)
        except OSError as error:
            raise LocalError(f"cannot serve metrics on port {port}: {error.strerror}") from None
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return HOST, self._server.server_port

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
