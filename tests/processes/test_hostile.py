"""Peers that lie, stammer, shout and sulk, at a real pool that has work to do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct
from typing import TYPE_CHECKING

import pytest

import nonsuch
from nonsuch.live.driver import Node
from nonsuch.live.tcp import Address
from nonsuch.networks.pool.messages import Hello, Result
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.wire import HELLO_BYTES_MAX, PoolWire
from nonsuch.scenarios.cheats import CHEATS, Cheat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.processes.conftest import Network

from tests.processes.conftest import answer_of

HOSTILE_COUNT = 1000
CONNECT_SECONDS = 30.0

pytestmark = pytest.mark.timeout(180)


def _wire() -> PoolWire:
    return PoolWire(accepts_puzzles=True)


# A thousand strangers.


async def _garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(os.urandom(2000))


async def _half_a_frame(writer: asyncio.StreamWriter) -> None:
    writer.write(_wire().encode(Hello("miner"))[:-3])


async def _huge_length(writer: asyncio.StreamWriter) -> None:
    writer.write(struct.pack(">I", 2**32 - 1) + b"x" * 100)


async def _longest_allowed(writer: asyncio.StreamWriter) -> None:
    """As much as a stranger may make the pool keep, and never the end of it."""
    writer.write(struct.pack(">I", HELLO_BYTES_MAX) + b"x" * (HELLO_BYTES_MAX - 1))


async def _silence(_writer: asyncio.StreamWriter) -> None:
    """Say nothing at all."""


async def _byte_at_a_time(writer: asyncio.StreamWriter) -> None:
    for byte in _wire().encode(Hello("client")) * 3:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)


async def _a_result_of_nothing(writer: asyncio.StreamWriter) -> None:
    writer.write(_wire().encode(Hello("miner", name="liar")))
    writer.write(_wire().encode(Result(2**60, 5, (1, 2, 3))))


async def _another_protocol(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n")


MISCHIEF: tuple[Callable[[asyncio.StreamWriter], Awaitable[None]], ...] = (
    _garbage,
    _half_a_frame,
    _huge_length,
    _longest_allowed,
    _silence,
    _byte_at_a_time,
    _a_result_of_nothing,
    _another_protocol,
)


async def _stranger(port: int, number: int) -> bool:
    """One hostile connection to its end. True where the pool ended it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            await MISCHIEF[number % len(MISCHIEF)](writer)
            await writer.drain()
        # A stranger that becomes a client, or a miner, is welcome to stay: it hears something.
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(reader.read(4096), CONNECT_SECONDS):
                if number % len(MISCHIEF) == MISCHIEF.index(_byte_at_a_time):
                    return True
        return True
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def test_a_thousand_hostile_connections_do_not_disturb_a_job(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    upto = hash_count(3)
    pool = network.pool()
    network.miner("honest")
    pool.wait_for("miner joined")
    client = network.submit("undisturbed", upto)
    pool.wait_for("job accepted")

    async def attack() -> list[bool]:
        strangers = (_stranger(network.port, number) for number in range(HOSTILE_COUNT))
        return await asyncio.gather(*strangers)

    ended = asyncio.run(attack())
    assert all(ended)
    assert answer_of(client).nonce == nonsuch.solve("undisturbed", upto).nonce
    assert pool.process.poll() is None
    # Without a kernel it may say so, when it audits.
    said = [line for line in pool.errors.splitlines() if "searching with hashlib" not in line]
    assert said == []
    # Whoever comes next finds a pool as good as new.
    assert answer_of(network.submit("afterwards", 10_000)).found


# Miners that lie.


@pytest.mark.parametrize("kind", CHEATS)
def test_a_cheating_miner_is_caught_and_its_work_done_again(network: Network, kind: str) -> None:
    upto = 3_000_000
    pool = network.pool("--audit", "1", "--shard-nonces", "20000")
    network.miner("honest")
    pool.wait_for("miner joined")

    async def cheat() -> None:
        core = Cheat(Miner(Hello("miner", name=kind), random.Random(1)), kind, random.Random(2))
        address = Address("127.0.0.1", network.port, _wire)
        node = Node(core, dial=address, threads=1)
        running = asyncio.create_task(node.run())
        caught = asyncio.create_task(asyncio.to_thread(pool.wait_for, "cheated", miner=kind))
        await asyncio.wait([running, caught], return_when=asyncio.FIRST_COMPLETED)
        node.stop()
        await running
        fact = await caught
        assert fact["reason"]
        assert fact["expected"] >= 0

    client = network.submit(f"cheated by {kind}", upto)
    pool.wait_for("job accepted")
    asyncio.run(cheat())
    answer = answer_of(client)
    assert answer.nonce == nonsuch.solve(f"cheated by {kind}", upto).nonce
    names = {fact["miner"] for fact in pool.has_seen("cheated")}
    assert names == {kind}
