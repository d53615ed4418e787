"""Measure the dashboard on this machine: a real server, and two hundred who watch.

    python3 dev.py bench web

A simulated network of a hundred miners is recorded, played to nobody, and then to two hundred
clients over real sockets, as fast as it was made; what the server takes of a processor is compared.
How many messages that were stands above it: a feed allows twenty a second, and only near that the
last line says what watching can cost. Clients are a process of their own, and not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIENTS = 200
RECORDED_SECONDS = 40.0
MEASURED_SECONDS = 8.0
ROUNDS = 3
SPEED = "30"
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


def nonsuch(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "nonsuch", *arguments], stdout=output, stderr=output
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait()


def record(folder: Path) -> Path:
    path = folder / "gossip.recording"
    network = ("--sim", "--network", "gossip", "--nodes", "100", "--speed", SPEED)
    command = ("up", *network, "--headless", "--json", "--record", str(path))
    process = nonsuch(*command, log=folder / "up.log")
    time.sleep(RECORDED_SECONDS)
    stop(process)
    return path


def port_of(log: Path) -> int:
    while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)/", log.read_bytes())):
        time.sleep(0.05)
    return int(found[1])


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def watch(port: int, clients: int, seconds: float) -> None:
    """Read so many streams for a while, and print how many messages each had in a second."""
    counts = [0] * clients

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        try:
            while line := await reader.readline():
                counts[number] += line.startswith(b"data:")
        finally:
            writer.close()

    tasks = [asyncio.create_task(one(number)) for number in range(clients)]
    await asyncio.sleep(seconds / 4)
    before = sum(counts)
    began = time.monotonic()
    await asyncio.sleep(seconds)
    print((sum(counts) - before) / clients / (time.monotonic() - began))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def measure(recording: Path, folder: Path, clients: int) -> tuple[float, float]:
    """The server's share of a processor, and messages a second and client."""
    log = folder / "replay.log"
    process = nonsuch("replay", str(recording), "--port", "8400", "--speed", SPEED, log=log)
    try:
        port = port_of(log)
        command = [sys.executable, __file__, "--watch", str(port), str(clients)]
        watcher = subprocess.Popen(command, stdout=subprocess.PIPE) if clients else None
        time.sleep(MEASURED_SECONDS / 4 + 1.0)
        before, began = processor_seconds(process), time.monotonic()
        time.sleep(MEASURED_SECONDS)
        share = (processor_seconds(process) - before) / (time.monotonic() - began)
        output = b"0" if watcher is None else watcher.communicate()[0]
        return share, float(output)
    finally:
        stop(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--watch", nargs=2, type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.watch:
        port, clients = chosen.watch
        asyncio.run(watch(port, clients, MEASURED_SECONDS))
        return
    processors = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = record(folder)
        pairs = [
            (measure(recording, folder, 0), measure(recording, folder, CLIENTS))
            for _ in range(ROUNDS)
        ]
    nobody = statistics.median(none[0] for none, _ in pairs)
    all_of_them = statistics.median(some[0] for _, some in pairs)
    messages = statistics.median(some[1] for _, some in pairs)
    cost = (all_of_them - nobody) / processors
    report(f"messages a second to each of {CLIENTS} clients", f"{messages:.1f}", "20")
    report("a processor's time with nobody who watches", f"{nobody:.1%}", "")
    report("… with all of them", f"{all_of_them:.1%}", "")
    report(f"what they take of {processors} processors", f"{cost:.1%}", "10 %")


if __name__ == "__main__":
    main()
