"""What the system grants, and what a pool does with less of it than it wanted."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import msgspec

from nonsuch.networks.pool.messages import Hello, Refused, Welcome
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.networks.pool.wire import PoolWire
from tests.processes.conftest import EVENT_SECONDS, open_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes.conftest import Network

READ_BYTES = 2**16


@contextlib.contextmanager
def crowd(network: Network, count: int) -> Iterator[list[socket.socket]]:
    """So many miners that come all at once, and do nothing."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.settimeout(EVENT_SECONDS)
            each.connect(("127.0.0.1", network.port))
        for each in sockets:
            with contextlib.suppress(ConnectionError):  # Who was refused already.
                each.sendall(PoolWire(accepts_puzzles=True).encode(Hello("miner")))
        yield sockets


def first_word(peer: socket.socket) -> object:
    """What a pool says first."""
    return PoolWire(accepts_puzzles=True).feed(peer.recv(READ_BYTES))[0]


def test_a_pool_has_the_system_raise_its_limit_of_files(network: Network) -> None:
    pool = network.pool("--connections", "150", before=open_files("-Sn 64"))
    with crowd(network, 100) as miners:
        assert all(isinstance(first_word(miner), Welcome) for miner in miners)
        client = network.start("status", network.address, "--json")
        assert client.wait() == 0, client.errors
        assert msgspec.json.decode(client.output, type=PoolStatistics).miners == 100
    assert pool.has_seen("connections limited") == []
    assert pool.errors == ""


def test_a_pool_with_few_files_says_so_and_refuses_strangers_politely(network: Network) -> None:
    pool = network.pool(before=open_files("-n 128"))
    (limited,) = pool.has_seen("connections limited")
    assert (limited["connections"], limited["wanted"]) == (64, 20_000)
    assert "raise that limit (ulimit -n)" in limited["why"]
    with crowd(network, 200) as miners:
        words = [first_word(miner) for miner in miners]
        refused = [word for word in words if isinstance(word, Refused)]
        assert {word.reason for word in refused} == {"this pool has its 64 connections"}
        assert len(refused) == 200 - 64
    # They have left: there is room again, and nobody was shown a traceback.
    network.miner("late")
    pool.wait_for("miner joined", miner="late")
    assert "Traceback" not in pool.errors
    assert len(pool.complaints) <= 1
