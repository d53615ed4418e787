"""A pool's statistics for Prometheus, as text over HTTP.

The client library's server has a thread of its own; the pool's core belongs to the event loop. So
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
from nonsuch.networks.pool.statistics import PoolStatistics

__all__ = ["MetricsServer"]

SNAPSHOT_SECONDS_MAX = 5.0
"""A scrape waits no longer for the loop."""

_GAUGES = {
    "connections": "Connections, whoever is behind them",
    "miners": "Miners that said hello",
    "miners_idle": "Miners without work",
    "leases": "Leases that are out",
    "jobs": "Jobs that run or wait",
    "queue": "Shards that came back and wait to be leased again",
    "audits_waiting": "Shards that wait to be scanned again",
    "answers_kept": "Answers kept for clients that come back",
}
_COUNTERS = {
    "jobs_accepted": "Jobs accepted",
    "jobs_finished": "Jobs answered",
    "results": "Shards done",
    "late_results": "Results of leases that were not open any more",
    "copies": "Shards given to a second miner because the first was slow",
    "audits_passed": "Shards scanned again without a finding",
    "audits_failed": "Shards scanned again in which something had been left out",
    "cheats": "Miners caught cheating",
    "errors": "Errors of peers",
    "dropped": "Connections ended by the pool",
}


class _Statistics(Collector):
    """The samples of one picture."""

    def __init__(self, snapshot: Callable[[], PoolStatistics]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Called by a scrape."""
        statistics = self._snapshot()
        for name, help_text in _GAUGES.items():
            yield GaugeMetricFamily(f"nonsuch_pool_{name}", help_text, getattr(statistics, name))
        for name, help_text in _COUNTERS.items():
            yield CounterMetricFamily(f"nonsuch_pool_{name}", help_text, getattr(statistics, name))
        yield GaugeMetricFamily(
            "nonsuch_pool_hashes_per_second", "Hash rate of all miners", statistics.rate
        )
        causes = CounterMetricFamily(
            "nonsuch_pool_requeues", "Leases that went back, by cause", labels=["cause"]
        )
        for cause, count in sorted(statistics.requeues.items()):
            causes.add_metric([cause], count)
        yield causes


class MetricsServer:
    """Serves `/metrics` from construction to `close`. Made in the event loop it asks."""

    def __init__(self, host: str, port: int, statistics: Callable[[], PoolStatistics]) -> None:
        self._loop = asyncio.get_running_loop()
        self._statistics = statistics
        registry = prometheus_client.CollectorRegistry()
        registry.register(_Statistics(self._snapshot))
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

    def _snapshot(self) -> PoolStatistics:
        async def taken() -> PoolStatistics:
            return self._statistics()

        future = asyncio.run_coroutine_threadsafe(taken(), self._loop)
        return future.result(SNAPSHOT_SECONDS_MAX)

    async def close(self) -> None:
        """Stop serving."""
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        await asyncio.to_thread(self._thread.join)
