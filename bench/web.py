"""Measure what watching costs a pool on this machine: two hundred clients, and a feed at its limit.

    python3 dev.py bench web

A pool, its miners and its dashboard are started as `nonsuch up` starts them, and work at their full
rate. The dashboard hears more than a pool of this size would tell, so that its feed says as often
as it may, twenty times a second, that something has changed. How many hashes a second get done is
compared with nobody who watches and with two hundred clients, in turn.

The clients read and count. They are a process of their own on the same machine, and what they take
of it the miners do not get, though other people's browsers would not take it here. So their share
is measured too, and what is left of the loss is what the dashboard itself costs the pool.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nonsuch.fleets.processes import ProcessFleet
from nonsuch.fleets.site import Site
from nonsuch.networks.pool.facts import Progressed
from nonsuch.web import server
from nonsuch.web.feed import Feed
from nonsuch.web.observations import Observation, observed_fact

CLIENTS = 200
WARM_SECONDS = 3.0
MEASURED_SECONDS = 15.0
ROUNDS = 5

CHANGE_SECONDS = 0.02
"""Something changes oftener than the feed says so."""

FIRST_PORT = 23_400
LAST_NONCE = 2**62
RECEIVED_BYTES = 2**18
LINE = "  {:58}{:>16}   {}"


class Shard(NamedTuple):
    """A miner has searched so many nonces, and was done at `at`, Unix seconds."""

    miner: str
    at: float
    nonces: int


class Measured(NamedTuple):
    """Hashes a second, shares of one processor, and messages a second to each client."""

    rate: float
    server: float
    clients: float
    messages: float


def report(what: str, measured: str, wanted: str = "") -> None:
    print(LINE.format(what, measured, wanted), flush=True)


# The clients, a process.


def watch(port: int, clients: int, seconds: float) -> None:
    """Read so many streams. Print the messages a second of each, and what it took to read them."""
    selector = selectors.DefaultSelector()
    ask = f"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(ask)
        selector.register(connection, selectors.EVENT_READ, connection)
    read(selector, WARM_SECONDS)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    count = read(selector, seconds)
    after, took = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([count / clients / took, spent / took]), flush=True)
    read(selector, 1.0)  # Until the other end has measured, too.


def read(selector: selectors.BaseSelector, seconds: float) -> int:
    """Read for a while; how many messages came."""
    count = 0
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            data = key.data.recv(RECEIVED_BYTES)
            if not data:
                raise SystemExit("a stream has ended")
            count += data.count(b"data: ")
    return count


# The pool and its dashboard, a process; each miner is another.


async def serve(miners: int, folder: Path) -> None:
    """Print the dashboard's port, and each shard that was searched, until the end."""
    site = Site(folder, FIRST_PORT, threads=1, control=False, lots=random.Random())
    fleet = ProcessFleet("pool", miners, site, recordings=folder, traffic=False, hear=print_shard)
    serving = await server.serve(server.dashboard(fleet.feed, fleet), port=0)
    print(serving.port, flush=True)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await fleet.start()
    await fleet.submit("a job without an end", LAST_NONCE)
    beside = [asyncio.ensure_future(each) for each in (fleet.run(), change(fleet.feed))]
    await over.wait()
    for task in beside:
        task.cancel()
    await serving.close()
    await fleet.close()


def print_shard(observation: Observation) -> None:
    values = observation.values
    match values.get("start"), values.get("stop"):
        case int(start), int(stop) if observation.fact == "worked":
            print(json.dumps([observation.node, observation.at, stop - start]), flush=True)


async def change(feed: Feed) -> None:
    """A job is further than before, all the time."""
    jobs = feed.picture.whole()["jobs"]
    done = LAST_NONCE
    while True:
        await asyncio.sleep(CHANGE_SECONDS)
        for name in list(jobs):
            done += 1
            told = Progressed(name, done, 2 * LAST_NONCE, 0.0, 1, None)
            feed.observe(observed_fact(told, "client", time.time()))


class Pool:
    """That process, from outside."""

    def __init__(self, folder: Path, miners: int) -> None:
        command = (sys.executable, __file__, "--serve", str(miners), str(folder))
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        self.port = int(self._lines.readline())
        self._shards: list[Shard] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._lines:
            self._shards.append(Shard(*json.loads(line)))

    def wait_until_all_work(self, miners: int) -> None:
        """Every miner has done some shards, and knows how fast it is."""
        while len({shard.miner for shard in self._shards[8 * miners :]}) < miners:
            if self._process.poll() is not None:
                raise SystemExit("the pool has ended")
            time.sleep(0.1)

    def rate(self, begin: float, end: float) -> float:
        """Hashes a second between two times: of each miner, from one end of a shard to another."""
        total = 0.0
        for miner in {shard.miner for shard in self._shards}:
            own = [each for each in self._shards if each.miner == miner]
            first, *others = [each for each in own if begin <= each.at <= end]
            total += sum(each.nonces for each in others) / (others[-1].at - first.at)
        return total

    def processor_seconds(self) -> float:
        """What the dashboard's process has taken."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def measure(pool: Pool, clients: int, seconds: float) -> Measured:
    """With so many clients who watch."""
    watcher = None
    if clients:
        arguments = ("--watch", str(pool.port), str(clients), "--seconds", str(seconds))
        watcher = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE)
    time.sleep(WARM_SECONDS + 1.0)  # They are there by then, and read a second longer.
    spent, began, begin = pool.processor_seconds(), time.monotonic(), time.time()
    time.sleep(seconds)
    share = (pool.processor_seconds() - spent) / (time.monotonic() - began)
    rate = pool.rate(begin, time.time())
    messages, taken = (0.0, 0.0) if watcher is None else json.loads(watcher.communicate()[0])
    return Measured(rate, share, taken, messages)


def rounds(pool: Pool, clients: int, count: int, seconds: float) -> list[list[Measured]]:
    """Nobody and all of them, in turn, and every other time the other way round."""
    measured: list[list[Measured]] = [[], []]
    for number in range(count):
        for some in (True, False) if number % 2 else (False, True):
            measured[some].append(measure(pool, clients if some else 0, seconds))
        without, with_all = (each[-1].rate for each in measured)
        report(f"round {number + 1}", f"{without:,.0f}", f"with all of them {with_all:,.0f}")
    return measured


def tell(clients: int, nobody: list[Measured], everybody: list[Measured]) -> None:
    processors = len(os.sched_getaffinity(0))

    def middle(values: Callable[[Measured, Measured], float]) -> float:
        return statistics.median(map(values, nobody, everybody))

    loss = middle(lambda none, some: 1 - some.rate / none.rate)
    theirs = middle(lambda _, some: some.clients) / processors
    ours = middle(lambda none, some: some.server - none.server) / processors
    messages = middle(lambda _, some: some.messages)
    report(f"messages a second to each of {clients} clients", f"{messages:.1f}", "20")
    report("hashes a second with nobody who watches", f"{middle(lambda none, _: none.rate):,.0f}")
    report("… with all of them", f"{middle(lambda _, some: some.rate):,.0f}")
    report("what the pool loses, the median of all rounds", f"{loss:.1%}")
    report(f"what the clients take of {processors} processors", f"{theirs:.1%}")
    report("what the dashboard takes of them to serve the clients", f"{ours:.1%}")
    report("the loss without what the clients take", f"{loss - theirs:.1%}", "10 %")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--watch", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=MEASURED_SECONDS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    chosen = parser.parse_args()
    if chosen.watch:
        port, clients = chosen.watch
        return watch(port, clients, chosen.seconds)
    if chosen.serve:
        miners, folder = chosen.serve
        return asyncio.run(serve(int(miners), Path(folder)))
    miners = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        pool = Pool(Path(name), miners)
        try:
            pool.wait_until_all_work(miners)
            tell(chosen.clients, *rounds(pool, chosen.clients, chosen.rounds, chosen.seconds))
        finally:
            pool.stop()


if __name__ == "__main__":
    main()
