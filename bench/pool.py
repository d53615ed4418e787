"""Measure the pool on this machine: real processes, real sockets, a real journal.

    python3 dev.py bench pool                all of it, some five minutes
    python3 dev.py bench pool crowd          one part: crowd, results, beats, rate, relay, requeue,
                                             restart

The pool is a process of its own, started as its users start it. What talks to it is this process,
with connections that speak the wire and search as little as the question needs. Times of the pool
are its processor's, as the system counts them; each part says what was asked for beside what it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from nonsuch import Lowest, presets, search
from nonsuch.live.journal import Journal
from nonsuch.networks.pool import messages, records
from nonsuch.networks.pool.dispatch import quota_for
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.work.shares import check_shares

CROWD = 10_000
IDLE = 5_000
RESULT_MINERS = 1_000
RESULT_SECONDS = 15.0
RESULT_ROUNDS = 5
BURST_PAUSE_SECONDS = 0.1
SLOTS = 16
SHARD_NONCES = 32
"""So small that every nonce is a share: a pool checks as many as ever, and miners need not hash."""

BEAT_MINERS = 3_000
BEAT_SECONDS = 15.0
BEATS_AT_ONCE = 30
RATE_SECONDS = 60.0
RATE_ROUNDS = 3
RELAY_SECONDS = 45.0
RELAY_ROUNDS = 5
MINERS_START_SECONDS = 6.0
REQUEUES = 15
FROZEN = 3
SHARDS_ON_DISK = 100_000
POLL_SECONDS = 0.002
"""Looking more often would take the pool's processor time from it."""

CONNECT_AT_ONCE = 200
LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, wanted: str) -> None:
    print(LINE.format(what, measured, wanted), flush=True)


# The pool's process.


class PoolProcess:
    """`nonsuch pool` on a free port, and what the system says of it; a relay has no journal."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.journal = folder / "pool.journal"
        command = [sys.executable, "-m", "nonsuch", "pool", "--port", "0", "--json", *options]
        command += [] if "--upstream" in options else ["--journal", str(self.journal)]
        self.began = time.perf_counter()
        log = folder / f"pool-{os.urandom(4).hex()}.log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file)
        self.port = self._port(log)

    def _port(self, log: Path) -> int:
        while self.process.poll() is None:
            for line in log.read_bytes().splitlines(keepends=True):
                fact = msgspec.json.decode(line) if line.endswith(b"\n") else {}
                if fact.get("event") == "listening":
                    return int(fact["address"].rpartition(":")[2])
            time.sleep(0.005)
        raise SystemExit("the pool did not start")

    @property
    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


@contextlib.contextmanager
def pool(*options: str) -> Iterator[PoolProcess]:
    with tempfile.TemporaryDirectory() as folder:
        running = PoolProcess(Path(folder), *options)
        try:
            yield running
        finally:
            running.stop()


# Those who talk to it.


class Peer(asyncio.Protocol):
    """One connection: says hello, and hands on what it hears."""

    def __init__(self, role: str, hear: Callable[[Peer, object], None] | None) -> None:
        self.wire = PoolWire(accepts_puzzles=True)
        self.role = role
        self.hear = hear
        self.unsaid: list[bytes] | None = None
        self.welcome = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.say(messages.Hello(self.role, name="bench"))  # type: ignore[arg-type]

    @property
    def descriptor(self) -> int:
        return int(self.transport.get_extra_info("socket").fileno())

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self.unsaid = []
        for message in self.wire.feed(data):
            if isinstance(message, messages.Welcome):
                self.welcome.set_result(None)
            elif self.hear is not None:
                self.hear(self, message)
        said, self.unsaid = b"".join(self.unsaid), None
        if said:
            self.transport.write(said)

    def say(self, message: object) -> None:
        """At once, or with all else that is answered to what has just come, as a node does."""
        data = self.wire.encode(message)
        if self.unsaid is None:
            self.transport.write(data)
        else:
            self.unsaid.append(data)


async def connect(port: int, role: str, hear: Callable[[Peer, object], None] | None = None) -> Peer:
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_connection(lambda: Peer(role, hear), "127.0.0.1", port)
    await peer.welcome
    return peer


async def connect_many(
    port: int, count: int, hear: Callable[[Peer, object], None] | None = None
) -> list[Peer]:
    peers: list[Peer] = []
    while len(peers) < count:
        some = min(CONNECT_AT_ONCE, count - len(peers))
        peers += await asyncio.gather(*(connect(port, "miner", hear) for _ in range(some)))
    return peers


def submit(client: Peer, upto: int, message: bytes = b"bench") -> str:
    job = os.urandom(8).hex()
    client.say(messages.Submit(job, messages.PuzzleForm.of(presets.plain(message)), 0, upto))
    return job


class Arrivals:
    """Tells when each of these peers has something in its socket, which nobody reads meanwhile.

    Miners have machines of their own: what they do about it is not the pool's time.
    """

    def __init__(self, peers: list[Peer]) -> None:
        self._peers = peers
        self._arrivals = select.epoll()

    def __enter__(self) -> Arrivals:
        for peer in self._peers:
            peer.transport.pause_reading()
            self._arrivals.register(peer.descriptor, select.EPOLLIN | select.EPOLLET)
        return self

    def __exit__(self, *_: object) -> None:
        self._arrivals.close()
        for peer in self._peers:
            peer.transport.resume_reading()

    def wait(self) -> None:
        """Until all of them have."""
        waiting = {peer.descriptor for peer in self._peers}
        while waiting:
            time.sleep(POLL_SECONDS)
            arrived = self._arrivals.poll(1.0, len(self._peers))
            waiting.difference_update(descriptor for descriptor, _ in arrived)


class Searching:
    """Answers leases truly: where every nonce is a share, they need no search.

    It does so at once, or where they are `held`, all together when it is told.
    """

    def __init__(self) -> None:
        self.results = 0
        self.held: dict[Peer, list[messages.Lease]] | None = None

    def __call__(self, peer: Peer, message: object) -> None:
        if not isinstance(message, messages.Lease):
            return
        if self.held is None:
            peer.say(self._result(message))
        else:
            self.held.setdefault(peer, []).append(message)

    def burst(self) -> None:
        """Answer all that is held, and hold what is leased for it."""
        held, self.held = self.held or {}, {}
        said = {
            peer: b"".join(peer.wire.encode(self._result(lease)) for lease in leases)
            for peer, leases in held.items()
        }
        with Arrivals([*said]) as arrivals:
            for peer, data in said.items():
                peer.transport.write(data)
            arrivals.wait()

    def _result(self, lease: messages.Lease) -> messages.Result:
        self.results += 1
        nonces = range(lease.start, lease.start + lease.count)
        return messages.Result(lease.lease, nonces.stop, tuple(nonces))


# The parts.


async def crowd() -> None:
    """Ten thousand miners, and how soon a job reaches half of them."""
    with pool("--connections", str(2 * CROWD)) as running:
        await asyncio.sleep(1)
        before = running.resident_bytes
        spent, began = running.processor_seconds, time.perf_counter()
        peers = await connect_many(running.port, CROWD)
        seconds = time.perf_counter() - began
        spent = running.processor_seconds - spent
        client = await connect(running.port, "client")
        alive = sum(not peer.lost for peer in peers)
        report("miners connected at once", f"{alive:,}", "≥ 10,000")
        report("… connected and welcomed", f"{alive / seconds:,.0f}/s", f"pool {spent:.1f} s")
        each = (running.resident_bytes - before) / alive
        report("memory of the pool a miner", f"{each / 1024:.1f} KiB", "≤ 12 KiB")
        for peer in peers[IDLE:]:
            peer.transport.abort()
        await asyncio.sleep(2)
        times = [await _reach(client, peers[:IDLE], number) for number in range(5)]
        report(f"a new job at the last of {IDLE:,} idle miners", _milliseconds(times), "≤ 150 ms")


async def _reach(client: Peer, peers: list[Peer], number: int) -> float:
    """Seconds from the submit until the last of these miners has its lease in its socket."""
    with Arrivals(peers) as arrivals:
        began = time.perf_counter()
        job = submit(client, 2**60, b"bench %d" % number)
        arrivals.wait()
        seconds = time.perf_counter() - began
    client.say(messages.Withdraw(job))
    await asyncio.sleep(1.5)
    return seconds


async def results() -> None:
    """Results that the pool takes, a second of its processor, journal on."""
    await _results(1)
    await _results(SLOTS)


async def _results(slots: int) -> None:
    """From miners with so many slots each, whose results come in bursts."""
    searching = Searching()
    options = ("--shard-nonces", str(SHARD_NONCES))
    who = "miners of one slot" if slots == 1 else f"miners of {slots} slots"
    with pool(*options) as running:
        for peer in await connect_many(running.port, RESULT_MINERS // slots, searching):
            if slots > 1:
                peer.say(messages.Capacity(slots))
        client = await connect(running.port, "client")
        submit(client, 2**60)
        await asyncio.sleep(2)
        beside = await _rate_of_results(running, searching)
        searching.held = {}
        await asyncio.sleep(1)
        alone, checked = await _rate_of_results(running, searching), _check_rate()
        report(
            f"results a second of the pool's processor, {who}",
            f"{alone:,.0f}",
            f"≥ 15,000; hashlib on their shares alone: {checked:,.0f}",
        )
        report(
            "… while the miners use the same core", f"{beside:,.0f}", "if cores have two threads"
        )
        size = running.journal.with_name("pool.journal").stat().st_size
        report("… journal after it", f"{size / 2**20:.1f} MiB", f"{searching.results:,} shards")


async def _rate_of_results(running: PoolProcess, searching: Searching) -> float:
    """The median of five rounds: miners answer whenever they are asked, or take turns with it."""
    rates: list[float] = []
    for _ in range(RESULT_ROUNDS):
        count, spent = searching.results, running.processor_seconds
        stop = time.perf_counter() + RESULT_SECONDS / RESULT_ROUNDS
        while time.perf_counter() < stop:
            if searching.held is not None:
                searching.burst()
            await asyncio.sleep(BURST_PAUSE_SECONDS)
        rates.append((searching.results - count) / (running.processor_seconds - spent))
    return statistics.median(rates)


def _check_rate() -> float:
    """Results a second if only their 32 shares were rehashed, by hashlib, in this process."""
    puzzle, limit = presets.plain(b"bench"), quota_for(SHARD_NONCES).limit
    nonces = range(10**9, 10**9 + SHARD_NONCES)
    digests = zip(nonces, puzzle.digests(nonces), strict=True)
    shares = tuple(nonce for nonce, digest in digests if limit.admits(puzzle.rank(digest)))
    began = time.process_time()
    for _ in range(5000):
        check_shares(puzzle, shares, nonces.start, nonces.stop, limit)
    return 5000 / (time.process_time() - began)


async def beats() -> None:
    """What miners cost that hold work and only beat, as between two results."""
    numbers: dict[Peer, int] = {}

    def hear(peer: Peer, message: object) -> None:
        if isinstance(message, messages.Lease):
            numbers[peer] = message.lease

    async def beat_once(peers: list[Peer]) -> None:
        for place, peer in enumerate(peers):
            if place % BEATS_AT_ONCE == 0:
                await asyncio.sleep(BEATS_AT_ONCE / len(peers))
            peer.say(messages.Beat((numbers[peer],), 1))

    with pool() as running:
        peers = await connect_many(running.port, BEAT_MINERS, hear)
        client = await connect(running.port, "client")
        submit(client, 2**60)
        while len(numbers) < BEAT_MINERS:
            await asyncio.sleep(0.1)
        spent, sent = running.processor_seconds, 0
        began = time.perf_counter()
        while time.perf_counter() < began + BEAT_SECONDS:
            await beat_once(peers)
            sent += len(peers)
        spent = running.processor_seconds - spent
        alive = sum(not peer.lost for peer in peers)
        report(
            f"a beat of {alive:,} miners, of the pool's processor",
            f"{spent / sent * 1e6:.1f} µs",
            f"looking for silent ones included; {sent / (time.perf_counter() - began):,.0f}/s",
        )


async def rate() -> None:
    """Two miners of one thread each against the bare search with two threads."""
    puzzle = presets.plain(b"bench")
    start = 10**11
    warm = search(puzzle, range(start, start + 10**8), Lowest(), threads=2)
    count = int(warm.hashes / warm.seconds * RATE_SECONDS)

    def bare() -> float:
        outcome = search(puzzle, range(start, start + count // 4), Lowest(), threads=2)
        return outcome.hashes / outcome.seconds

    with pool() as running, two_miners(running.port):
        bares, ratios = [bare()], []
        for _ in range(RATE_ROUNDS):
            pooled = await asyncio.to_thread(_pooled_rate, running.port, start, count)
            bares.append(bare())
            # The machine's own speed drifts: each run is held against its neighbours.
            ratios.append(2 * pooled / (bares[-2] + bares[-1]))
    each = ", ".join(f"{rate / 1e6:.1f}" for rate in bares)
    report("bare search, two threads", f"{statistics.median(bares) / 1e6:.1f} MH/s", f"of {each}")
    ratio, each = statistics.median(ratios), ", ".join(f"{ratio:.1%}" for ratio in ratios)
    report("two miners of one thread, a job of 60 s", f"{ratio:.1%}", f"≥ 97% of that; of {each}")


async def relay() -> None:
    """Two miners of one thread each behind a relay against two at the pool itself."""
    start = 10**11
    warm = search(presets.plain(b"bench"), range(start, start + 10**8), Lowest(), threads=2)
    count = int(warm.hashes / warm.seconds * RELAY_SECONDS)
    with contextlib.ExitStack() as stack:
        flat, above = stack.enter_context(pool()), stack.enter_context(pool())
        below = stack.enter_context(pool("--upstream", f"127.0.0.1:{above.port}"))
        for running in (flat, below):
            stack.enter_context(two_miners(running.port))
        flats, ratios = [_pooled_rate(flat.port, start, count)], []
        for _ in range(RELAY_ROUNDS):
            relayed = _pooled_rate(above.port, start, count)
            flats.append(_pooled_rate(flat.port, start, count))
            ratios.append(2 * relayed / (flats[-2] + flats[-1]))
    each = ", ".join(f"{rate / 1e6:.1f}" for rate in flats)
    report("flat pool", f"{statistics.median(flats) / 1e6:.1f} MH/s", f"of {each}")
    ratio, each = statistics.median(ratios), ", ".join(f"{ratio:.1%}" for ratio in ratios)
    what = f"pool, relay and miners, a job of {RELAY_SECONDS:.0f} s"
    report(what, f"{ratio:.1%}", f"≥ 95% of that; of {each}")


@contextlib.contextmanager
def two_miners(port: int) -> Iterator[None]:
    """Two miners of one thread each, once they have measured themselves."""
    command = [sys.executable, "-m", "nonsuch", "miner", f"127.0.0.1:{port}", "-t", "1"]
    quiet = subprocess.DEVNULL
    miners = [subprocess.Popen(command, stdout=quiet, stderr=quiet) for _ in range(2)]
    time.sleep(MINERS_START_SECONDS)
    try:
        yield
    finally:
        for miner in miners:
            miner.terminate()
            miner.wait(10)


def _pooled_rate(port: int, start: int, count: int) -> float:
    command = [sys.executable, "-m", "nonsuch", "submit", f"127.0.0.1:{port}", "bench", "--json"]
    command += ["--start", str(start), "--upto", str(start + count - 1)]
    answer = msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout)
    return float(answer["hashes"] / answer["seconds"])


async def requeue() -> None:
    """A miner that goes, and one that falls silent: when is its shard somebody else's?"""
    with pool("--shard-nonces", "1000000") as running:
        client = await connect(running.port, "client")
        closed = [await _lost_shard(running.port, client, freeze=False) for _ in range(REQUEUES)]
        report("closed miner: shard leased again", _milliseconds(closed), "≤ 50 ms")
        frozen = [await _lost_shard(running.port, client, freeze=True) for _ in range(FROZEN)]
        worst = f"{max(frozen):.2f} s"
        report("frozen miner: shard leased again, slowest", worst, "≤ 3 s + 0.5 s")


async def _lost_shard(port: int, client: Peer, *, freeze: bool) -> float:
    """Seconds until an idle miner has the shard that another one lost."""
    leased: asyncio.Queue[tuple[Peer, messages.Lease, float]] = asyncio.Queue()

    def hear(peer: Peer, message: object) -> None:
        if isinstance(message, messages.Lease):
            leased.put_nowait((peer, message, time.perf_counter()))

    peers = await connect_many(port, 2, hear)
    job = submit(client, 999_999)
    first, lease, _ = await leased.get()
    other = next(peer for peer in peers if peer is not first)
    beats = asyncio.create_task(_beat(other))
    await asyncio.sleep(random.uniform(0.2, 0.5))
    if freeze:
        first.say(messages.Beat((lease.lease,), 1))
    began = time.perf_counter()
    if not freeze:
        first.transport.abort()
    while True:
        peer, again, when = await leased.get()
        if peer is other and again.start == lease.start:
            break
    beats.cancel()
    client.say(messages.Withdraw(job))
    for each in peers:
        each.transport.abort()
    await asyncio.sleep(0.1)
    return when - began


async def _beat(peer: Peer) -> None:
    while True:
        peer.say(messages.Beat())
        await asyncio.sleep(0.5)


async def restart() -> None:
    """A pool that died with a hundred thousand finished shards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = _write_journal(folder / "pool.journal")
        times: list[float] = []
        done = ""
        for _ in range(3):
            running = PoolProcess(folder)
            client = await connect(running.port, "client")
            status = await _ask_status(client, opened.job)
            times.append(time.perf_counter() - running.began)
            done = f"{status.done:,} nonces done"
            running.process.kill()
            running.process.wait()
        report(
            f"pool with {SHARDS_ON_DISK:,} finished shards, kill -9 to serving",
            f"{statistics.median(times):.2f} s",
            f"≤ 2 s, start of Python included; {done}",
        )
        running = PoolProcess(folder)
        before = _records(running, folder)
        running = PoolProcess(folder)
        client = await connect(running.port, "client")
        client.say(messages.Withdraw(opened.job))
        await asyncio.sleep(0.5)
        report("journal records before and after the job's end", before, _records(running, folder))


def _records(running: PoolProcess, folder: Path) -> str:
    running.stop()
    journal = Journal(folder / "pool.journal", records.encode_record, records.decode_record)
    count = len(journal.read())
    journal.close()
    return f"{count:,}"


def _write_journal(path: Path) -> records.JobOpened:
    journal = Journal(path, records.encode_record, records.decode_record)
    form = messages.PuzzleForm.of(presets.plain(b"bench"))
    opened = records.JobOpened("bench", form, 0, 2**60, None)
    shards = list(range(SHARDS_ON_DISK))
    random.Random(1).shuffle(shards)
    effects = [messages_to_persist(opened)]
    effects += [
        messages_to_persist(records.ShardDone("bench", shard * 1000, 1000 - shard % 2, None))
        for shard in shards
    ]
    journal.commit(effects)
    journal.close()
    return opened


def messages_to_persist(record: records.Record):  # type: ignore[no-untyped-def]
    from nonsuch.node import Persist

    return Persist("job:bench", record)


async def _ask_status(client: Peer, job: str) -> messages.Status:
    heard: asyncio.Queue[object] = asyncio.Queue()
    client.hear = lambda _peer, message: heard.put_nowait(message)
    client.say(messages.Watch(job))
    message = await heard.get()
    assert isinstance(message, messages.Status)
    return message


def _milliseconds(times: list[float]) -> str:
    return f"{statistics.median(times) * 1000:.1f} ms"


PARTS = {
    "crowd": crowd,
    "results": results,
    "beats": beats,
    "rate": rate,
    "relay": relay,
    "requeue": requeue,
    "restart": restart,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all where none is named")
    chosen = parser.parse_args().parts or list(PARTS)
    for name in chosen:
        print(f"{name}: {PARTS[name].__doc__}")
        asyncio.run(PARTS[name]())


if __name__ == "__main__":
    main()
