"""Measure engines on this machine: what a cluster costs, and what its deaths cost.

    python3 dev.py bench engines               all of it, some ten minutes
    python3 dev.py bench engines rate          one part: rate, worker, scheduler
    python3 dev.py bench engines --seconds 6 --rounds 1   a short try

Everything is what people start: a pool, a miner, a client, each a process. Rates are of the pool's
answer, so that all that is on the way is in them: leases, pieces, shares that are hashed again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nonsuch import solve
from nonsuch.search.backends import calibration
from nonsuch.search.engines.dask import open_dask
from nonsuch.search.engines.engine import Engine

WORKERS = 2
SHARD_SECONDS = "2"
KILLS = 5
HOST = "127.0.0.1"
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


class Answer(msgspec.Struct):
    """What `submit --json` prints, as far as it matters here."""

    nonce: int
    seconds: float
    hashes: int


class Process:
    """A process that writes to a file of its own."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.log = folder / f"{os.urandom(4).hex()}.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file)

    def wait_for(self, text: str) -> None:
        while text not in self.log.read_text():
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(folder: Path, *command: str) -> Iterator[Process]:
    process = Process(folder, *command)
    try:
        yield process
    finally:
        process.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def pool(folder: Path) -> Iterator[str]:
    port = str(free_port())
    options = ("--port", port, "--json", "--journal", "off", "--shard-seconds", SHARD_SECONDS)
    with running(folder, "-m", "nonsuch", "pool", *options) as process:
        process.wait_for('"listening"')
        yield f"{HOST}:{port}"


@contextlib.contextmanager
def miner(folder: Path, address: str, *options: str) -> Iterator[Process]:
    command = ("-m", "nonsuch", "miner", address, "--json", "--verbose", *options)
    with running(folder, *command) as process:
        process.wait_for('"pool reached"')
        yield process


def submit(folder: Path, address: str, message: str, upto: int) -> Answer:
    command = [sys.executable, "-m", "nonsuch", "submit", address, message]
    command += ["--upto", str(upto), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=folder, check=True)
    return msgspec.json.decode(done.stdout, type=Answer)


def nonces_in(seconds: float) -> int:
    measured = calibration(False)
    return int(measured.rates[measured.best] * WORKERS * seconds)


# The parts.


def rate(seconds: float, rounds: int) -> None:
    """The same job by two threads, and by two workers of Dask, in turn."""
    upto = nonces_in(seconds)
    rates: dict[str, list[float]] = {"threads": [], "processes": [], "dask": []}
    for number in range(rounds):
        for engine, measured in rates.items():
            with tempfile.TemporaryDirectory() as name, pool(Path(name)) as address:
                options = ("--engine", engine, "--threads", str(WORKERS))
                with miner(Path(name), address, *options):
                    submit(Path(name), address, "warm", nonces_in(2.0))
                    answer = submit(Path(name), address, f"bench {number}", upto)
            measured.append(answer.hashes / answer.seconds)
    threads = statistics.median(rates["threads"])
    for engine, measured in rates.items():
        median = statistics.median(measured)
        of = f"{median / threads:.1%} of threads"
        wanted = "≥ 95 %" if engine == "dask" else ""
        report(f"{engine}: a job of {seconds:.0f} s", f"{median / 1e6:.2f} MH/s", f"{of}  {wanted}")


class Held:
    """Calls that write which process they run in, and then go on for a time."""

    def __init__(self, folder: Path, engine: Engine, count: int, seconds: float) -> None:
        self.log = folder / "held.log"
        self.log.touch()
        script = 'echo $PPID "$0" >> "$1"; sleep "$2"'
        for number in range(count):
            command = ["sh", "-c", script, str(number), str(self.log), str(seconds)]
            engine.executor.submit(subprocess.call, command)

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()]

    def wait_for(self, count: int) -> list[list[str]]:
        while len(lines := self.lines()) < count:
            time.sleep(0.002)
        return lines


def worker(_seconds: float, _rounds: int) -> None:
    """Seconds from a worker's kill -9 until its piece runs again."""
    for slots, what in ((WORKERS + 1, "where a slot is free"), (WORKERS, "where none is")):
        times = [_killed_worker(slots, busy=slots == WORKERS) for _ in range(KILLS)]
        text = f"{statistics.median(times):.2f} s, at most {max(times):.2f} s"
        report(f"killed worker: its piece runs again {what}", text, "≤ 1 s")


def _killed_worker(slots: int, *, busy: bool) -> float:
    engine = open_dask(None, workers=slots, insecure=False)
    try:
        with tempfile.TemporaryDirectory() as name:
            if busy:
                # As of a miner that has been at it for a while: a scheduler learns from a stream.
                for _ in range(2 * slots + 1):
                    engine.executor.submit(subprocess.call, ["sleep", "0.1"])
            count = 2 * slots if busy else slots - 1
            held = Held(Path(name), engine, count, float(SHARD_SECONDS))
            lines = held.wait_for(min(count, slots))
            process, piece = lines[0]
            time.sleep(0.5)
            os.kill(int(process), signal.SIGKILL)
            began = time.perf_counter()
            while not any(line[1] == piece for line in held.lines()[len(lines) :]):
                time.sleep(0.002)
            return time.perf_counter() - began
    finally:
        engine.close()


def scheduler(seconds: float, _rounds: int) -> None:
    """A scheduler and its workers, killed in the middle of a job and started again."""
    upto = nonces_in(min(seconds, 20.0))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), free_port()
        address = stack.enter_context(pool(folder))
        cluster = start_cluster(folder, port)
        stack.enter_context(miner(folder, address, "--engine", f"dask://{HOST}:{port}"))
        command = ("-m", "nonsuch", "submit", address, "killed", "--upto", str(upto), "--json")
        client = Process(folder, *command)
        time.sleep(3)
        for each in cluster:
            each.kill()
        began = time.perf_counter()
        cluster = start_cluster(folder, port)
        started = time.perf_counter() - began
        client.process.wait()
        for each in cluster:
            stack.callback(each.kill)
        lines = client.log.read_text().splitlines()
        answer = msgspec.json.decode(lines[-1], type=Answer)
        right = answer.nonce == solve("killed", upto).nonce
        report("killed scheduler and workers: the answer", "right" if right else "WRONG", "right")
        report("of that, until they were started again", f"{started:.1f} s", "")


def start_cluster(folder: Path, port: int) -> list[Process]:
    common = ("--host", HOST, "--no-dashboard", "--dashboard-address", f"{HOST}:0")
    command = ("-m", "distributed.cli.dask_scheduler", "--port", str(port), *common)
    processes = [Process(folder, *command)]
    processes[0].wait_for("Scheduler at:")
    options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder), *common)
    where = f"tcp://{HOST}:{port}"
    worker = ("-m", "distributed.cli.dask_worker", where, *options)
    processes += [Process(folder, *worker) for _ in range(WORKERS)]
    for each in processes[1:]:
        each.wait_for("Registered to:")
    return processes


PARTS = {"rate": rate, "worker": worker, "scheduler": scheduler}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all where none is named")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a job is")
    parser.add_argument("--rounds", type=int, default=3, help="how often each engine has it")
    chosen = parser.parse_args()
    for name in chosen.parts or list(PARTS):
        print(f"{name}: {PARTS[name].__doc__}")
        PARTS[name](chosen.seconds, chosen.rounds)


if __name__ == "__main__":
    main()
