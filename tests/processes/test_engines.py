"""Miners and searches whose workers are processes: killed, counted, and never left behind."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nonsuch

if TYPE_CHECKING:
    from tests.processes.conftest import Network, Process

from tests.processes.conftest import EVENT_SECONDS, answer_of

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes as Linux has them"),
]


def workers_of(process: Process) -> list[int]:
    """The processes that one has started."""
    tasks = Path(f"/proc/{process.process.pid}/task")
    return [int(n) for task in tasks.iterdir() for n in (task / "children").read_text().split()]


def processor_seconds(number: int) -> float:
    """What a process has used; after two seconds it does not load itself any more, but searches."""
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def await_end(number: int) -> None:
    """Until this process is no more."""
    try:
        watch = os.pidfd_open(number)
    except ProcessLookupError:
        return
    assert select.select([watch], [], [], EVENT_SECONDS)[0], f"process {number} lives"
    os.close(watch)


def test_a_miner_of_processes_loses_one_and_the_answer_is_exact(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    upto = hash_count(2)
    pool = network.pool("--shard-seconds", "0.5")
    miner = network.start(
        "miner", network.address, "--engine", "processes", "--threads", "2", "--json"
    )
    miner.wait_for("searching", engine="processes", slots=2, workers=2)
    client = network.submit("kill -9 a worker", upto)
    pool.wait_for("job accepted")
    miner.wait_for("pool reached")
    killed = workers_of(miner)
    assert len(killed) == 2
    os.kill(killed[0], signal.SIGKILL)
    await_end(killed[0])
    assert answer_of(client).nonce == nonsuch.solve("kill -9 a worker", upto).nonce
    assert "starting another" in miner.errors
    workers = workers_of(miner)
    miner.signal(signal.SIGINT)
    assert miner.wait() == 0
    for number in workers:
        await_end(number)
    assert pool.has_seen("miner lost") == []


def test_a_miner_that_is_killed_takes_its_processes_along(network: Network) -> None:
    network.pool()
    miner = network.start("miner", network.address, "--engine", "processes", "--json")
    miner.wait_for("searching")
    workers = workers_of(miner)
    assert workers
    miner.kill()
    for number in workers:
        await_end(number)


def test_ctrl_c_ends_a_search_on_processes_with_the_best_so_far(network: Network) -> None:
    command = ("solve", "x", "--upto", "2**50", "--engine", "processes", "--threads", "2", "--json")
    search = network.start(*command)
    while len(workers := workers_of(search)) < 2 or processor_seconds(workers[0]) < 2:
        assert search.process.poll() is None, search.errors
    os.kill(search.process.pid, signal.SIGINT)
    assert search.wait() == 130, search.errors
    report = json.loads(search.output)
    assert (report["engine"], report["threads"], report["stopped"]) == ("processes", 2, True)
    assert report["hashes"] == sum(last - first + 1 for first, last in report["covered"])
    for number in workers:
        await_end(number)


def test_gossip_and_agents_search_on_processes_too(network: Network) -> None:
    port = network.port
    miner = network.start(
        *("gossip", f"127.0.0.1:{port}", "", "genesis", "--engine", "processes", "--threads", "1"),
        *("--target", "2**240", "--json"),
    )
    miner.wait_for("block mined")
    network.start("coordinator", "--port", str(port), "--journal", "off", "--json").wait_for(
        "listening"
    )
    agent = network.start(
        "agent", network.address, "--engine", "processes", "--threads", "1", "--json"
    )
    agent.wait_for("coordinator reached")
    for process in (miner, agent):
        process.signal(signal.SIGINT)
        assert process.wait() == 0


def test_an_engine_that_is_none_is_refused_in_a_line(network: Network) -> None:
    for command in (("miner", network.address), ("agent",), ("solve", "x", "--upto", "9")):
        process = network.start(*command, "--engine", "steam")
        assert process.wait() == 2
        (line,) = process.errors.splitlines()
        assert line.startswith("nonsuch: there is no engine 'steam'; choose from threads, ")


OPENING = """
import threading

def never():
    print('{"event": "opening", "timestamp": ""}', flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "command",
    [("miner",), ("agent",), ("gossip", "127.0.0.1:5000"), ("solve", "x", "--upto", "2**50")],
)
def test_a_signal_while_an_engine_opens_ends_the_command_and_nothing_is_said(
    network: Network, tmp_path: Path, command: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    (tmp_path / "somebodys.py").write_text(OPENING)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    process = network.start(*command, "--engine", "somebodys:never", PYTHONPATH=path)
    process.wait_for("opening")
    process.signal(number)
    assert process.wait() == code
    assert process.errors.strip() == ""


def test_who_does_not_mine_needs_no_engine(network: Network) -> None:
    for option in (("--engine", "processes"), ("--threads", "2"), ("--insecure",)):
        process = network.start("gossip", "127.0.0.1:5000", "--no-mine", *option)
        assert process.wait() == 2
        assert f"{option[0]} is of no use here: --no-mine searches nothing" in process.errors
