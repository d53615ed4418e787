"""What a pool's metrics say while a miner leaves, and another leaves something out."""

from __future__ import annotations

import socket
import urllib.request
from typing import TYPE_CHECKING

import nonsuch
from nonsuch.networks.pool.messages import Hello, Lease, Message, Result
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.work.shares import limit_of_bits
from tests.processes.conftest import EVENT_SECONDS, answer_of

if TYPE_CHECKING:
    from tests.processes.conftest import Network

UPTO = 2999
READ_BYTES = 2**16


class Stranger:
    """A miner that does what the test has it do."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), EVENT_SECONDS)
        self._wire = PoolWire(accepts_puzzles=True)
        self.say(Hello("miner", name=name))

    def say(self, message: Message) -> None:
        self.socket.sendall(self._wire.encode(message))

    def lease(self) -> Lease:
        """The next lease that it gets."""
        while True:
            for message in self._wire.feed(self.socket.recv(READ_BYTES)):
                if isinstance(message, Lease):
                    return message


def metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=EVENT_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name.removeprefix("nonsuch_pool_"): float(value) for name, value in pairs}


def test_metrics_tell_of_what_was_lost_what_waits_and_who_was_caught(network: Network) -> None:
    pool = network.pool("--metrics", "0", "--audit", "1", "--shard-nonces", "3000")
    url = (pool.has_seen("metrics served") or [pool.wait_for("metrics served")])[0]["url"]
    client = network.submit("told in numbers", UPTO)
    pool.wait_for("job accepted")
    assert metrics(url)["jobs"] == 1

    leaver = Stranger(network.port, "leaver")
    leaver.lease()
    assert metrics(url)["leases"] == 1
    leaver.socket.close()
    pool.wait_for("lease lost", cause="left")
    now = metrics(url)
    assert now['requeues_total{cause="left"}'] == 1
    assert (now["queue"], now["leases"], now["miners"]) == (1, 0, 0)

    cheat = Stranger(network.port, "cheat")
    lease = cheat.lease()
    assert lease.puzzle is not None
    nonces = range(lease.start, lease.start + lease.count)
    goal = nonsuch.Shares(limit_of_bits(lease.share_bits))
    shares = nonsuch.search(lease.puzzle.puzzle(), nonces, goal).shares
    cheat.say(Result(lease.lease, nonces.stop, shares[1:]))
    pool.wait_for("cheated", miner="cheat")
    now = metrics(url)
    assert (now["audits_failed_total"], now["cheats_total"], now["audits_passed_total"]) == (
        1,
        1,
        0,
    )

    network.miner("honest")
    assert answer_of(client).nonce == nonsuch.solve("told in numbers", UPTO).nonce
    now = metrics(url)
    assert (now["jobs"], now["jobs_finished_total"], now["queue"]) == (0, 1, 0)
    cheat.socket.close()
