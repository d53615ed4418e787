"""Measure peers on this machine: real processes, real sockets, real journals.

python3 dev.py bench peer                all of it, a minute
python3 dev.py bench peer sync           one part: sync, heartbeat
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from nonsuch.live.journal import Journal
from nonsuch.networks.peer.block import Template, Transaction, genesis_block
from nonsuch.networks.peer.records import (
    CHAIN_SUBJECT,
    BlockKept,
    decode_record,
    encode_record,
)
from nonsuch.node import Persist
from nonsuch.work.target import Target

EASY = Target.from_bits(Target.from_work(4).bits)
BLOCKS = 10_000
ROUNDS = 3
BEATS = 20
BEAT_SECONDS = 0.5
BEGINS = 1_600_000_000
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


def write_journal(path: Path, count: int) -> None:
    """A chain of so many blocks, five transactions in each."""
    parent = genesis_block("nonsuch", EASY)
    effects = []
    for height in range(1, count + 1):
        when = BEGINS + 10 * height
        transactions = [
            Transaction("abcd1234", f"number {number} of {height}", when * 10**6 + number)
            for number in range(5)
        ]
        template = Template(parent.id, transactions, when, EASY.bits)
        nonce = next(n for n in range(2**16) if EASY.admits(template.header(n).rank))
        parent = template.block(nonce)
        effects.append(Persist(CHAIN_SUBJECT, BlockKept(parent.form)))
    journal = Journal(path, encode_record, decode_record)
    journal.commit(effects)
    journal.close()


class PeerProcess:
    """`nonsuch peer` on a free port, with one neighbour or none."""

    def __init__(self, folder: Path, name: str, journal: Path, neighbour: int | None) -> None:
        config = folder / f"{name}.config"
        config.write_text("0\n" if neighbour is None else f"1\nother {neighbour}\n")
        command = [sys.executable, "-m", "nonsuch", "peer", name, "0", str(config), "--json"]
        command += ["--journal", str(journal), "--target", str(EASY.value), "--no-mine"]
        command += ["--heartbeat-seconds", str(BEAT_SECONDS)]
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stdin=subprocess.DEVNULL)
        self.began = time.perf_counter()
        address = self.wait_for("listening")["address"]
        assert isinstance(address, str)
        self.port = int(address.rpartition(":")[2])

    def wait_for(self, event: str) -> dict[str, object]:
        while self.process.poll() is None:
            for line in self.log.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    fact = msgspec.json.decode(line, type=dict[str, object])
                    if fact.get("event") == event:
                        return fact
            time.sleep(0.005)
        raise SystemExit(f"the peer ended before it was {event}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


async def sync() -> None:
    """A peer without anything gets the chain of one that has it: checked, kept, on disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "full.journal"
        write_journal(journal, BLOCKS)
        full = PeerProcess(folder, "full", journal, None)
        opened = time.perf_counter() - full.began
        times = []
        for number in range(ROUNDS):
            empty = PeerProcess(folder, f"empty{number}", folder / f"{number}.journal", full.port)
            fact = empty.wait_for("synchronised")
            times.append(time.perf_counter() - empty.began)
            assert fact["height"] == BLOCKS, fact
            empty.stop()
        full.stop()
    report(
        f"{BLOCKS:,} blocks, start to synchronised", f"{statistics.median(times):.2f} s", "≤ 5 s"
    )
    report("… opened from a journal, start to listening", f"{opened:.2f} s", "")


async def heartbeat() -> None:
    """What a pair that has the same says to each other, in both directions."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "full.journal"
        write_journal(journal, 100)
        full = PeerProcess(folder, "full", journal, None)
        passed = 0

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal passed
            while data := await reader.read(2**16):
                passed += len(data)
                writer.write(data)
                await writer.drain()
            writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection("127.0.0.1", full.port)
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        other = await asyncio.to_thread(
            PeerProcess, folder, "other", folder / "other.journal", port
        )
        await asyncio.to_thread(other.wait_for, "synchronised")
        await asyncio.sleep(2)
        before = passed
        await asyncio.sleep(BEATS * BEAT_SECONDS)
        each = (passed - before) / BEATS
        other.stop()
        full.stop()
        await asyncio.sleep(0.5)  # The relay hears of it.
        server.close()
    report("heartbeat of a pair in step, both directions", f"{each:.0f} bytes", "≤ 1,024")


PARTS = {"sync": sync, "heartbeat": heartbeat}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all where none is named")
    for name in parser.parse_args().parts or list(PARTS):
        print(f"{name}: {PARTS[name].__doc__}")
        asyncio.run(PARTS[name]())


if __name__ == "__main__":
    main()
