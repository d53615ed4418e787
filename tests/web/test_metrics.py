"""Metrics of a node over HTTP: for this machine, and for those who ask."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from pathlib import Path

import pytest

from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.web import metrics
from nonsuch.web.descriptions import POOL

SECONDS = 20.0
"""How long a test waits for what should happen at once."""

SILENT = 30

NOTHING = PoolStatistics(
    name="pool",
    seconds=1.0,
    connections=0,
    miners=0,
    miners_idle=0,
    rate=0.0,
    leases=0,
    jobs=0,
    jobs_accepted=0,
    jobs_finished=0,
    answers_kept=0,
    queue=0,
    results=0,
    late_results=0,
    copies=0,
    requeues={"frozen": 3, "left": 4},
    audits_passed=0,
    audits_failed=0,
    audits_waiting=0,
    cheats=0,
    errors=0,
    dropped=0,
    jobs_described=(),
    miners_described=(),
)


def served() -> metrics.MetricsServer:
    return metrics.MetricsServer(0, POOL, lambda: NOTHING)


def read(server: metrics.MetricsServer) -> str:
    host, port = server.address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=SECONDS) as answer:
        text: str = answer.read().decode()
    return text


async def read_once() -> str:
    server = served()
    text = await asyncio.to_thread(read, server)
    await server.close()
    return text


def test_every_cause_has_a_number_of_its_own() -> None:
    lines = asyncio.run(read_once()).splitlines()
    assert 'nonsuch_pool_requeues_total{cause="frozen"} 3.0' in lines
    assert 'nonsuch_pool_requeues_total{cause="left"} 4.0' in lines


def test_who_connects_and_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SILENT_SECONDS_MAX", 0.2)
    threads = threading.active_count()

    def stay_silent(server: metrics.MetricsServer) -> list[bytes]:
        silent = [socket.create_connection(server.address, SECONDS) for _ in range(SILENT)]
        ended = [each.recv(1) for each in silent]
        for each in silent:
            each.close()
        return ended

    async def story() -> None:
        server = served()
        assert await asyncio.to_thread(stay_silent, server) == [b""] * SILENT
        assert "nonsuch_pool_miners 0.0" in await asyncio.to_thread(read, server)
        await server.close()

    asyncio.run(story())
    assert threading.active_count() <= threads


def test_the_page_about_metrics_shows_all_that_a_pool_says() -> None:
    page = (Path(__file__).parents[2] / "docs/howto/metrics.md").read_text(encoding="utf-8")
    lines = asyncio.run(read_once()).splitlines()
    names = [line.split()[0] for line in lines if not line.startswith("#") and "{" not in line]
    shown = [line.split()[0] for line in page.splitlines() if line.startswith("nonsuch_pool")]
    assert shown == names
