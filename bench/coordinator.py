"""Measure a coordinator on this machine: a real process, and agents over real sockets.

    python3 dev.py bench coordinator             all of it, about a minute
    python3 dev.py bench coordinator broadcast   one part: broadcast, restart

*broadcast*: one of a thousand agents answers; how long until the last of them has the next header.
The agents are connections of this process, on the other processor; the answer is on disk before
anybody hears of it. *restart*: a chain of a hundred thousand blocks, from start to listening.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nonsuch.live.journal import Journal
from nonsuch.networks.coordinator.header import HEADER_BYTES, VERSION, Block, Header
from nonsuch.networks.coordinator.records import CHAIN_SUBJECT, decode_record, encode_record
from nonsuch.node import Persist
from nonsuch.search.searcher import search
from nonsuch.work.goals import First
from nonsuch.work.target import Target

AGENTS = 1000
ROUNDS = 30
STORED_BLOCKS = 100_000
EASY = Target(2**254)
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


@contextlib.contextmanager
def coordinator(journal: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that listens, and its port."""
    command = [sys.executable, "-m", "nonsuch", "coordinator", "--port", "0", "--json"]
    command += ["--journal", str(journal), *options]
    # A pipe that nobody reads would be full after some hundred agents.
    log = journal.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
    try:
        while not (port := _port(log)):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.005)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _port(log: Path) -> int:
    """Where it listens; 0 before it does."""
    for line in log.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n") and (fact := json.loads(line))["event"] == "listening":
            return int(fact["address"].rpartition(":")[2])
    return 0


class Agents:
    """A thousand connections, and when the last of them has what all are waited for."""

    def __init__(self) -> None:
        self.connections: list[Agent] = []
        self.awaited = b""
        self.missing = 0
        self.last_at = 0.0
        self.complete = asyncio.Event()

    def expect(self, parent: bytes) -> None:
        self.awaited = parent
        self.missing = len(self.connections)
        self.complete.clear()

    def heard(self, parent: bytes) -> None:
        if parent == self.awaited:
            self.missing -= 1
            if not self.missing:
                self.last_at = time.perf_counter()
                self.complete.set()


class Agent(asyncio.Protocol):
    """One connection. It keeps the newest header."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._rest = b""
        self.transport: asyncio.WriteTransport | None = None
        self.header = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        for at in range(0, len(data) - HEADER_BYTES + 1, HEADER_BYTES):
            self.header = data[at : at + HEADER_BYTES]
            self._agents.heard(self.header[4:36])
        self._rest = data[len(data) - len(data) % HEADER_BYTES :]


async def broadcast(folder: Path) -> None:
    with coordinator(folder / "broadcast.journal", "--block-seconds", "3600") as (_, port):
        agents = Agents()
        agents.expect(bytes(32))
        loop = asyncio.get_running_loop()
        for _ in range(AGENTS):
            _, agent = await loop.create_connection(lambda: Agent(agents), "127.0.0.1", port)
            agents.connections.append(agent)
        while not all(agent.header for agent in agents.connections):
            await asyncio.sleep(0.01)
        times = [await _round(agents, number) for number in range(ROUNDS)]
    report(
        f"a solved header to the last of {AGENTS:,} agents with the next",
        f"{1000 * statistics.median(times):.1f} ms",
        f"100 ms; slowest of {ROUNDS} {1000 * max(times):.1f} ms",
    )


async def _round(agents: Agents, number: int) -> float:
    agent = agents.connections[number * 37 % len(agents.connections)]
    header = Header(agent.header)
    target = First(header.target)
    outcome = search(header.puzzle, range(header.nonce, 2**32), target, threads=1)
    assert outcome.proof is not None
    solved = header.with_nonce(outcome.proof.nonce)
    assert agent.transport is not None
    agents.expect(Block(solved).id)
    began = time.perf_counter()
    agent.transport.write(solved.data)
    await agents.complete.wait()
    return agents.last_at - began


def restart(folder: Path) -> None:
    path = folder / "restart.journal"
    journal = Journal(path, encode_record, decode_record)
    parent, timestamp = bytes(32), 1_700_000_000
    records = []
    for _ in range(STORED_BLOCKS):
        header = Header.of(VERSION, parent, bytes(32), timestamp, EASY, 0)
        nonce = 0
        while not EASY.admits(Block(header).rank):
            nonce += 1
            header = header.with_nonce(nonce)
        records.append(Persist(CHAIN_SUBJECT, header))
        parent, timestamp = Block(header).id, timestamp + 15
    journal.commit(records)
    journal.close()
    times, sizes = [], []
    for _ in range(3):
        for name in ("none.journal", "restart.journal"):
            began = time.perf_counter()
            options = ("--target", str(EASY.value))
            with coordinator(folder / name, *options) as (process, _):
                seconds = time.perf_counter() - began
                size = _resident_bytes(process.pid)
            times.append(seconds)
            sizes.append(size)
    empty, full = statistics.median(times[::2]), statistics.median(times[1::2])
    per_block = (statistics.median(sizes[1::2]) - statistics.median(sizes[::2])) / STORED_BLOCKS
    report(f"a store of {STORED_BLOCKS:,} blocks: start to listening", f"{full:.2f} s", "")
    report("  of which an empty one takes", f"{empty:.2f} s", "2 s beyond that")
    report("memory of that process a block", f"{per_block:.0f} B", "1 KiB")


def _resident_bytes(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", choices=[[], "broadcast", "restart"], default=[])
    chosen = parser.parse_args().parts or ["broadcast", "restart"]
    with tempfile.TemporaryDirectory() as folder:
        if "broadcast" in chosen:
            asyncio.run(broadcast(Path(folder)))
        if "restart" in chosen:
            restart(Path(folder))


if __name__ == "__main__":
    main()
