"""Measure peers on this machine: real processes, real sockets, real journals.

python3 dev.py bench peer                all of it, a minute
python3 dev.py bench peer sync           one part: sync, store, heartbeat
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nonsuch.live.journal import Journal
from nonsuch.networks.peer.block import Template, Transaction, genesis_block
from nonsuch.networks.peer.records import (
    CHAIN_SUBJECT,
    BlockKept,
    decode_record,
    encode_record,
    transaction_subject,
)
from nonsuch.node import Persist
from nonsuch.work.target import Target

EASY = Target.from_bits(Target.from_work(4).bits)
BLOCKS = 10_000
STORED_BLOCKS = 100_000
ROUNDS = 3
WORDS = [
    "pay",
    "Ann",
    "Bob",
    "Čeněk",
    "seven",
    "eleven",
    "12.50",
    "AUD",
    "for",
    "lunch",
    "and",
    "thanks,",
]
SENDERS = [f"abcd{number:04}" for number in range(100)]
BEATS = 20
BEAT_SECONDS = 0.5
BEGINS = 1_600_000_000
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


def write_journal(path: Path, count: int) -> None:
    """A chain of so many blocks, each in a row of its own, as where they come one by one."""
    journal = Journal(path, encode_record, decode_record)
    journal.commit(kept(count))
    journal.close()


def kept(count: int) -> Iterator[Persist]:
    """What a peer asks its disk for so many blocks: to keep each, and to forget what waited."""
    lots = random.Random(1)
    parent = genesis_block("nonsuch", EASY)
    for height in range(1, count + 1):
        when = BEGINS + 10 * height
        transactions = [said(lots, when * 10**6 + number) for number in range(5)]
        template = Template(parent.id, transactions, when, EASY.bits)
        nonce = next(n for n in range(2**16) if EASY.admits(template.header(n).rank))
        parent = template.block(nonce)
        yield Persist(CHAIN_SUBJECT, BlockKept.of(parent))
        yield Persist(transaction_subject(transactions[0].key), None, replaces=True)


def said(lots: random.Random, timestamp: int) -> Transaction:
    """Something of the usual length: a few characters to seventy, 35 on average."""
    length = round(lots.triangular(4, 70, 31))
    words = " ".join(lots.choices(WORDS, k=1 + length // 4))
    return Transaction(lots.choice(SENDERS), words[:length].strip(), timestamp)


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

    @property
    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


class Opened(msgspec.Struct, frozen=True):
    """What it took to open a journal, until others could come."""

    seconds: float
    processor_seconds: float
    resident_bytes: float

    @classmethod
    def median(cls, folder: Path, journal: Path) -> Opened:
        """Of some processes, one after another."""
        return cls.of([cls.once(folder, journal) for _ in range(ROUNDS)])

    @classmethod
    def of(cls, each: list[Opened]) -> Opened:
        names = cls.__struct_fields__
        return cls(*(statistics.median(getattr(one, name) for one in each) for name in names))

    @classmethod
    def once(cls, folder: Path, journal: Path) -> Opened:
        peer = PeerProcess(folder, "opened", journal, None)
        seconds = time.perf_counter() - peer.began
        opened = cls(seconds, peer.processor_seconds, peer.resident_bytes)
        peer.stop()
        return opened


async def store() -> None:
    """A long chain: opened from its journal, each block of it checked again; and what it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "full.journal"
        write_journal(journal, STORED_BLOCKS)
        none = Opened.median(folder, folder / "empty.journal")
        full = Opened.median(folder, journal)
    report(
        f"{STORED_BLOCKS:,} blocks opened, beyond the start of an empty peer",
        f"{full.seconds - none.seconds:.2f} s",
        "≤ 2 s",
    )
    seconds = full.processor_seconds - none.processor_seconds
    report("… processor time of it", f"{seconds:.2f} s", "")
    report("… the start of an empty peer", f"{none.seconds:.2f} s", "")
    each = (full.resident_bytes - none.resident_bytes) / STORED_BLOCKS
    report("memory of the process a block", f"{each:,.0f} B", "≤ 1,024 B")


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


PARTS = {"sync": sync, "store": store, "heartbeat": heartbeat}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all where none is named")
    for name in parser.parse_args().parts or list(PARTS):
        print(f"{name}: {PARTS[name].__doc__}")
        asyncio.run(PARTS[name]())


if __name__ == "__main__":
    main()
