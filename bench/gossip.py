"""Measure gossip miners on this machine: real sockets, and for agreement real processes.

    python3 dev.py bench gossip                 all of it, some twelve minutes
    python3 dev.py bench gossip datagrams       one part: datagrams, flood, store, stale, agreement
    python3 dev.py bench gossip agreement --minutes 1

Each part says what was asked for beside what it is. Blocks that are only to be checked are mined
before, for an easy target: what is measured is the taking of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import math
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.udp import Datagrams
from nonsuch.networks.gossip.messages import ROOT, Block, decode_record, encode_record
from nonsuch.networks.gossip.miner import Miner
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.node import Persist
from nonsuch.scenarios.gossip import stale_share
from nonsuch.scenarios.gossip_cheats import mine
from nonsuch.work.target import Target

EASY = Target(2**254)
CHAIN_BLOCKS = 60_000
STORED_BLOCKS = 100_000
HONEST_BLOCKS = 50
FLOOD_SECONDS = 5.0
MINUTES = 10.0
SEEDS = 40
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


def chain(count: int, parent: bytes = ROOT, name: bytes = b"block") -> list[Block]:
    """So many blocks with work, each on the one before."""
    blocks: list[Block] = []
    for number in range(count):
        data = b"%b %08d" % (name, number)
        blocks.append(mine(data, parent, EASY))
        parent = blocks[-1].id
    return blocks


def datagrams_of(blocks: Sequence[Block]) -> list[bytes]:
    wire = GossipWire()
    return [wire.encode(block.announcement) for block in blocks]


def bound_socket() -> socket.socket:
    """A peer's socket: what it is sent is not read."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    return peer


class Running:
    """A miner that listens and relays, in this process."""

    def __init__(self, peers: Sequence[socket.socket]) -> None:
        self.core = Miner(GossipSettings(target=EASY, mines=False))
        places = tuple(peer.getsockname() for peer in peers)
        self.listening = asyncio.Event()
        self.node = Node(
            self.core,
            datagrams=Datagrams("127.0.0.1", 0, places, GossipWire),
            ready=lambda _node: self.listening.set(),
        )

    async def __aenter__(self) -> Running:
        self._task = asyncio.ensure_future(self.node.run())
        await self.listening.wait()
        self.address = self.node.addresses[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.node.stop()
        await self._task


async def datagrams() -> None:
    """Valid new blocks through a socket: checked, put on the chain, the last of a burst relayed."""
    sent = datagrams_of(chain(CHAIN_BLOCKS))
    peers = [bound_socket() for _ in range(3)]
    rates = []
    for _ in range(3):
        async with Running(peers) as miner:
            began = time.process_time()
            spent_here = 0.0
            for start in range(0, len(sent), 64):
                before = time.thread_time()
                for datagram in sent[start : start + 64]:
                    peers[0].sendto(datagram, miner.address)
                spent_here += time.thread_time() - before
                while miner.core.statistics().received < min(len(sent), start + 64):
                    await asyncio.sleep(0)
            spent = time.process_time() - began - spent_here
            now = miner.core.statistics()
            assert now.height == len(sent) - 1, "all of them are in the chain"
            rates.append(now.received / spent)
    report("valid new blocks a second of one core", f"{statistics.median(rates):,.0f}", "≥ 12,000")


def _flood(address: tuple[str, int], own: tuple[str, int], datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sender.bind(own)
        sender.connect(address)
        while True:
            for datagram in datagrams:
                with contextlib.suppress(OSError):
                    sender.send(datagram)


async def flood() -> None:
    """One peer sends valid and invalid blocks as fast as it can; another sends fifty good ones."""
    blocks = chain(HONEST_BLOCKS)
    noise = datagrams_of(chain(200, bytes(range(32)), b"noise")) + [b"garbage"] * 200
    attacker, honest = bound_socket(), bound_socket()
    async with Running([attacker, honest]) as miner:
        own = attacker.getsockname()
        attacker.close()
        arguments = (miner.address, own, noise)
        process = multiprocessing.get_context("spawn").Process(target=_flood, args=arguments)
        process.start()
        try:
            while miner.core.statistics().received < 1000:
                await asyncio.sleep(0.01)
            for datagram in datagrams_of(blocks):
                honest.sendto(datagram, miner.address)
                await asyncio.sleep(FLOOD_SECONDS / HONEST_BLOCKS)
            await asyncio.sleep(0.2)
            now = miner.core.statistics()
            heard = now.received + now.invalid
        finally:
            process.kill()
            process.join()
        arrived = sum(block.id in miner.core.tree for block in blocks)
    report("honest blocks that arrive in a flood", f"{arrived} of {HONEST_BLOCKS}", "50 of 50")
    report("… of which this many datagrams were heard", f"{heard:,}", f"in {FLOOD_SECONDS:.0f} s")


async def store() -> None:
    """A store of a hundred thousand blocks: opened by a process, each of them checked again."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "blocks", f"{EASY.value}"
        journal = Journal(path, encode_record, decode_record)
        journal.commit(Persist("chain", block.announcement) for block in chain(STORED_BLOCKS))
        journal.close()
        times, sizes = [], []
        for blocks in (0, STORED_BLOCKS):
            own = bound_socket()
            port = own.getsockname()[1]
            own.close()
            kept = path if blocks else Path(folder) / "empty"
            command = [sys.executable, "-m", "nonsuch", "gossip", f"127.0.0.1:{port}", "--json"]
            command += ["--no-mine", "--target", target, "--store", str(kept)]
            began = time.perf_counter()
            miner = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert miner.stdout is not None
            while b'"listening"' not in miner.stdout.readline():
                pass
            times.append(time.perf_counter() - began)
            pages = int(Path(f"/proc/{miner.pid}/statm").read_text().split()[1])
            sizes.append(pages * os.sysconf("SC_PAGE_SIZE"))
            miner.terminate()
            miner.communicate(timeout=20)
    what = f"a store of {STORED_BLOCKS:,} blocks, start to listening"
    report(what, f"{times[1]:.2f} s", f"≤ 2 s; an empty one takes {times[0]:.2f} s")
    each = (sizes[1] - sizes[0]) / STORED_BLOCKS
    report("memory of the process a block, records as read included", f"{each:,.0f} B", "≤ 1 KiB")


async def stale() -> None:
    """Three miners in virtual time, a block every five seconds, and datagrams that get lost."""
    for loss, wanted in ((0.05, "≤ 1%"), (0.2, "≤ 12%"), (0.5, "")):
        share, blocks = stale_share(loss, range(SEEDS))
        what = f"stale blocks at {loss:.0%} loss, of {blocks:,}"
        report(what, f"{share:.2%}", wanted)


async def agreement() -> None:
    """Two processes mine for 2**235; every block of the chain is at the other one soon."""
    seconds = 60 * MINUTES
    ports = [peer.getsockname()[1] for peer in (bound_socket(), bound_socket())]
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / f"{port}.log" for port in ports]
        miners = []
        for number, (port, log) in enumerate(zip(ports, logs, strict=True)):
            command = [sys.executable, "-m", "nonsuch", "gossip", f"127.0.0.1:{port}"]
            command += [f"127.0.0.1:{ports[1 - number]}", *(["genesis"] if not number else [])]
            command += ["--threads", "1", "--json"]
            with log.open("wb") as file:
                miners.append(subprocess.Popen(command, stdout=file))
        await asyncio.sleep(seconds)
        for miner in miners:
            miner.terminate()
        for miner in miners:
            miner.wait(20)
        _judge([log.read_bytes() for log in logs])


class Fact(msgspec.Struct):
    """A line of a miner's log."""

    event: str
    timestamp: datetime.datetime
    block: str = ""
    parent: str = ""
    height: int = -1
    left: int = 0


def _judge(logs: list[bytes]) -> None:
    """Of each block of the chain: when was it made, and when was it at the other one?"""
    facts = [[msgspec.json.decode(line, type=Fact) for line in log.splitlines()] for log in logs]
    made = {f.block: f.timestamp for log in facts for f in log if f.event == "block mined"}
    parents = {f.block: f.parent for log in facts for f in log if f.block and f.parent}
    heights = {f.block: f.height for log in facts for f in log if f.block and f.height >= 0}
    tip = max((f for log in facts for f in log if f.height >= 0), key=lambda f: f.height).block
    best = []
    while tip in made:
        best.append(tip)
        tip = parents[tip]
    heard = {f.block: f.timestamp for log in facts for f in log if f.event == "block accepted"}
    # The last ones were on their way when the processes were stopped.
    judged = [b for b in best if made[b] < made[best[0]] - datetime.timedelta(seconds=3)]
    late = [(heard[b] - made[b]).total_seconds() if b in heard else math.inf for b in judged]
    deepest = max((f.left for log in facts for f in log if f.event == "reorganised"), default=0)
    what = f"blocks of the chain in {MINUTES:g} min; stale beside it"
    report(what, f"{len(best):,}", f"{len(heights) - len(best):,} stale")
    report("a block is at the other miner after, median", f"{statistics.median(late):.4f} s", "")
    report("… the slowest of all", f"{max(late):.3f} s", "≤ 3 s")
    report("deepest reorganisation", f"{deepest} blocks", "")


PARTS = {
    "datagrams": datagrams,
    "flood": flood,
    "store": store,
    "stale": stale,
    "agreement": agreement,
}


def main() -> None:
    global MINUTES
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all where none is named")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long to agree")
    arguments = parser.parse_args()
    MINUTES = arguments.minutes
    for name in arguments.parts or list(PARTS):
        print(f"{name}: {PARTS[name].__doc__}")
        asyncio.run(PARTS[name]())


if __name__ == "__main__":
    main()
