"""Miners whose searches run on Dask: real pools, schedulers and workers, and some are killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import nonsuch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.processes.conftest import Answer, Network, Process

pytest.importorskip("distributed", reason="Dask is an extra: nonsuch[dask]")

import psutil

from tests.processes.conftest import answer_of
from tests.search.engines.dask_processes import DaskProcesses, dask_processes, wait_until

pytestmark = pytest.mark.timeout(240)

SHARDS = ("--shard-seconds", "0.3")
"""So that a short job has many shards."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskProcesses]:
    folder = tmp_path / "dask"
    folder.mkdir()
    with dask_processes(folder) as made:
        yield made


def patient_answer_of(client: Process) -> Answer:
    """Its answer, also where all that is going on here has to share two processors."""
    wait_until(lambda: client.process.poll() is not None, "an answer")
    return answer_of(client)


def workers_of(miner: int) -> list[int]:
    """The worker processes of a cluster that is the miner's own: copies of one of its children."""
    (server,) = [
        each
        for each in psutil.Process(miner).children()
        if "multiprocessing.forkserver" in " ".join(each.cmdline())
    ]
    return [each.pid for each in server.children()]


def test_a_cluster_of_this_machine_survives_its_workers(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    upto = hash_count(1)
    pool = network.pool(*SHARDS)
    miner = network.start(
        "miner", network.address, "--engine", "dask", "--threads", "2", "--json", "--verbose"
    )
    pool.wait_for("miner joined")
    client = network.submit("a worker dies", upto)
    miner.wait_for("worked")
    first, *_ = workers = workers_of(miner.process.pid)
    assert len(workers) == 2
    os.kill(first, signal.SIGKILL)
    answer = patient_answer_of(client)
    assert answer.verified
    assert answer.nonce == nonsuch.solve("a worker dies", upto).nonce
    miner.signal(signal.SIGINT)
    assert miner.wait() == 0
    assert miner.errors == ""
    assert not any(psutil.pid_exists(worker) for worker in workers)


def test_a_miner_survives_the_scheduler_and_its_workers(
    network: Network, cluster: DaskProcesses, hash_count: Callable[[float], int]
) -> None:
    upto = hash_count(1)
    scheduler, workers = cluster.scheduler(), [cluster.worker(), cluster.worker()]
    pool = network.pool(*SHARDS)
    miner = network.start(
        "miner", network.address, "--engine", cluster.address, "--json", "--verbose"
    )
    pool.wait_for("miner joined")
    client = network.submit("the scheduler dies", upto)
    miner.wait_for("worked")
    workers[0].kill()
    miner.wait_for("worked")
    scheduler.kill()
    workers[1].kill()
    cluster.scheduler()
    cluster.worker()
    cluster.worker()
    answer = patient_answer_of(client)
    assert answer.verified
    assert answer.nonce == nonsuch.solve("the scheduler dies", upto).nonce
    miner.signal(signal.SIGINT)
    assert miner.wait() == 0


def test_solve_on_a_cluster_and_what_cannot_be(
    network: Network, cluster: DaskProcesses, hash_count: Callable[[float], int]
) -> None:
    nobody = network.start("solve", "hello", "--upto", "99", "--engine", cluster.address)
    assert nobody.wait() == 2
    assert f"cannot reach the cluster at {cluster.address}" in nobody.errors
    cluster.scheduler()
    cluster.worker()
    upto = hash_count(0.5)
    solved = network.start("solve", "hello", "--upto", str(upto), "--engine", cluster.address)
    assert solved.wait() == 0, solved.errors
    assert str(nonsuch.solve("hello", upto).nonce) in solved.output
    afar = network.start("solve", "hello", "--upto", "99", "--engine", "dask://192.0.2.1:8786")
    assert afar.wait() == 2
    assert "could run code" in afar.errors


def test_a_miner_that_is_killed_leaves_no_worker(network: Network) -> None:
    pool = network.pool()
    miner = network.start("miner", network.address, "--engine", "dask", "--threads", "2", "--json")
    pool.wait_for("miner joined")
    assert len(workers_of(miner.process.pid)) == 2
    children = psutil.Process(miner.process.pid).children(recursive=True)
    miner.kill()
    wait_until(lambda: not any(each.is_running() for each in children), "all that it started ends")
