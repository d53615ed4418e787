"""What a picture says in numbers, for Prometheus: made in the event loop when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nonsuch.web.feed import Feed

__all__ = ["CONTENT_TYPE_LATEST", "metrics_text"]


class _Counts(Collector):
    """The samples of one picture."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def collect(self) -> Iterator[Metric]:
        """Called once for each scrape."""
        feed, picture = self._feed, self._feed.picture
        yield GaugeMetricFamily("nonsuch_dashboard_clients", "Streams", feed.clients)
        yield CounterMetricFamily(
            "nonsuch_dashboard_clients_dropped", "Streams that were too slow", feed.dropped
        )
        yield CounterMetricFamily(
            "nonsuch_observations_unreadable",
            "Facts whose values are not of their kind",
            picture.unreadable,
        )
        facts = CounterMetricFamily("nonsuch_facts", "Facts told", labels=["fact"])
        for name, count in sorted(picture.facts.items()):
            facts.add_metric([name], count)
        yield facts
        yield from self._nodes()
        yield from self._told()

    def _nodes(self) -> Iterator[Metric]:
        rows = self._feed.picture.board.nodes.rows.values()
        states = GaugeMetricFamily("nonsuch_nodes", "Nodes, by state", labels=["role", "state"])
        for key, count in sorted(Counter((row.role, row.state) for row in rows).items()):
            states.add_metric(key, count)
        yield states
        for name, text in (
            ("rate", "Hashes a second"),
            ("height", "Height of the tip"),
            ("mined", "Blocks found"),
            ("kept", "Blocks found that are on the best chain"),
        ):
            family = GaugeMetricFamily(f"nonsuch_node_{name}", text, labels=["node"])
            for row in rows:
                value: float | None = getattr(row, name)
                if value is not None:
                    family.add_metric([row.name], value)
            yield family

    def _told(self) -> Iterator[Metric]:
        rows = GaugeMetricFamily("nonsuch_rows", "Rows of each table", labels=["table"])
        for table in self._feed.picture.tables:
            rows.add_metric([table.name], len(table.whole()))
        yield rows


def metrics_text(feed: Feed) -> bytes:
    """The picture as Prometheus reads it, in the format `CONTENT_TYPE_LATEST`."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Counts(feed))
    return prometheus_client.generate_latest(registry)
