"""Measure the pool's core with a hundred thousand miners: the shipped cores, in virtual time.

    python3 dev.py bench scale                          1,000 and 10,000 miners, some minutes
    python3 dev.py bench scale --miners 100000          one size; this one takes half an hour
    python3 dev.py bench scale --shard-seconds 10 --lease-seconds 30
    python3 dev.py bench scale --table                  arithmetic alone, at once

Every miner is the shipped core as well, on a machine of its own whose hash rate is drawn log-normal
over two decades, and a way of its own to the pool. Every second some of them leave, crash, or lose
their power without a word, as many come, and a few lie, in all the ways that `scenarios/cheats`
knows. Searches take virtual time. Their answers are exact: each nonce is hashed once, before, and
as many jobs as are needed have the same message and the same nonces.

What is measured is the processor time of `Pool.handle` and `Pool.deadline` alone. Sockets, frames
and the disk are not there; `bench pool` measures a whole process with few miners, and docs/scale.md
puts the two together. The garbage collector is off, so that the miners' garbage is not the pool's;
what one collection of the pool takes is measured at the end.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import math
import random
import sys
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from nonsuch.live.journal import LENGTH_BYTES
from nonsuch.networks.pool import facts, messages
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import BEATS_A_LEASE, Pool
from nonsuch.networks.pool.records import ShardDone, encode_record
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.node import (
    Cancel,
    Close,
    Connected,
    Core,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Event,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.scenarios.cheats import CHEATS, Cheat
from nonsuch.search.rehash import best_rehash
from nonsuch.work.goals import Shares
from nonsuch.work.presets import plain
from nonsuch.work.shares import SHARES_EXPECTED, share_limit
from nonsuch.work.target import Target

MINERS = (1_000, 10_000)
SECONDS = 60.0
CHURN = 0.001
"""What part of all miners is lost each second; as many come."""

LIARS = 0.001
"""What part of them lies."""

SHARD_NONCES = 100
"""Nonces of the median miner's shards, which have as many shares as any longer ones."""

RATE_DEVIATION = math.log(10) / 2
"""Of the rate's logarithm: 95 % of the miners lie within a decade above or below the median."""

POOL_RATE = 1e5
"""Hashes a second of the pool itself, which audits where no miner can."""

NOISE = 0.2
"""How much longer or shorter a search may take than its machine's rate says."""

CONNECT_SECONDS = 10.0
"""All miners come within this time."""

SETTLE_SHARDS = 4.0
"""How many shards' time goes by before anything is measured: rates are known by then."""

DELAY_SECONDS_MIN = 0.001
DELAY_SECONDS_MEAN = 0.02
"""A message's time under way, one for each miner: across a continent."""

SPARE_SHARDS = 5.0
"""Rounds of shards that every job still has at the end: with fewer, shards would be cut shorter."""

JOBS_MAX = 100
"""Jobs that a client has, and that statistics describe."""

HASHED_AT_ONCE = 100_000
SAMPLED = 64
"""Each so many'th message and record is encoded, to know how long they are."""

RANK_BITS = 32
CLIENT = 1
"""The pool's number for the client; miners come behind it."""

MESSAGE = b"scale "

RESULT_MICROSECONDS = 72
"""Of a pool's processor for a result, its record and the next lease: `bench pool results`."""

BEAT_MICROSECONDS = 34
"""Of a pool's processor for a beat, and for looking for silent miners: `bench pool beats`."""

MINER_BYTES = 11 * 1024
"""3.6 KiB of a connected miner (`bench pool crowd`), and what of its shards is not vouched for."""

PACES = ((2.0, 3.0), (10.0, 3.0), (60.0, 3.0), (10.0, 30.0), (60.0, 30.0))
"""Seconds of shards and of leases."""

SIZES = tuple(10**power for power in range(7))

LINE = "  {:58}{:>16}   {}"


def report(what: str, measured: str, note: str = "") -> None:
    print(LINE.format(what, measured, note), flush=True)


# What is searched.


class Ranks:
    """The leading bits of every nonce's rank, hashed once."""

    def __init__(self, count: int) -> None:
        self.puzzle = plain(MESSAGE)
        self._leading = array("I")
        for start in range(0, count, HASHED_AT_ONCE):
            digests = self.puzzle.digests(range(start, min(count, start + HASHED_AT_ONCE)))
            self._leading.frombytes(b"".join(digest[: RANK_BITS // 8] for digest in digests))
        if sys.byteorder == "little":
            self._leading.byteswap()

    def __len__(self) -> int:
        return len(self._leading)

    def shares(self, nonces: range, limit: Target) -> tuple[int, ...]:
        """All of these nonces that the limit admits."""
        highest = limit.value >> 256 - RANK_BITS
        pairs = zip(nonces, self._leading[nonces.start : nonces.stop], strict=True)
        return tuple(
            nonce
            for nonce, leading in pairs
            if leading < highest or (leading == highest and self._admits(nonce, limit))
        )

    def _admits(self, nonce: int, limit: Target) -> bool:
        return limit.admits(self.puzzle.rank(self.puzzle.digest(nonce)))


# Who searches.


class _Task(NamedTuple):
    """A search under way, from one virtual time to another."""

    effect: Search
    began: float
    ends: float


class _Member:
    """A miner's machine: its core, its speed, its way to the pool and its one timer."""

    __slots__ = ("alive", "core", "delay_seconds", "liar", "peer", "rate", "task", "tick_at")

    def __init__(self, core: Core, rate: float, delay_seconds: float, *, liar: bool) -> None:
        self.core = core
        self.rate = rate
        self.delay_seconds = delay_seconds
        self.liar = liar
        self.alive = True
        self.peer = 0
        self.task: _Task | None = None
        self.tick_at = math.inf

    def hashes(self, now: float) -> float:
        """Nonces that it has tried of what it searches now."""
        if self.task is None:
            return 0.0
        nonces, began, ends = self.task.effect.nonces, self.task.began, self.task.ends
        return (nonces.stop - nonces.start) * (now - began) / (ends - began)


class _Lengths:
    """How many of something there were, and how long they are: some of them are encoded."""

    def __init__(self) -> None:
        self.count = 0
        self._sampled = 0
        self._bytes = 0

    def add(self, encode: Callable[[object], bytes], what: object) -> None:
        self.count += 1
        if self.count % SAMPLED == 1:
            self._sampled += 1
            self._bytes += len(encode(what))

    @property
    def mean_bytes(self) -> float:
        return self._bytes / max(1, self._sampled)


class _Meter:
    """What the pool was told, said and spent in the time that is measured."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.sent: dict[str, _Lengths] = {}
        self.heard: dict[str, _Lengths] = {}
        self.records = _Lengths()
        self.facts: Counter[str] = Counter()
        self.slowest = (0.0, "")
        self._clock_seconds = _clock_seconds()
        self._encode = PoolWire(accepts_puzzles=True).encode

    def add(self, kind: str, seconds: float) -> None:
        self.events[kind] += 1
        self.spent[kind] += seconds - self._clock_seconds
        self.slowest = max(self.slowest, (seconds, kind))

    def say(self, lengths: dict[str, _Lengths], message: object) -> None:
        lengths.setdefault(type(message).__name__, _Lengths()).add(self._encode, message)

    def persist(self, effect: Persist) -> None:
        if effect.record is not None:
            self.records.add(encode_record, effect.record)


def _clock_seconds() -> float:
    """What asking for the processor time takes of it."""
    times = [time.process_time() for _ in range(10_000)]
    return (times[-1] - times[0]) / len(times)


class Crowd:
    """A pool and its miners in virtual time: one heap, one seed, and a meter on the pool."""

    def __init__(self, miners: int, settings: PoolSettings, ranks: Ranks, lots: random.Random):
        self.now = 0.0
        self.pool = Pool(settings, lots, best_rehash())
        self.members: dict[int, _Member] = {}
        self.meter = _Meter()
        self.lost = 0
        self._wanted = miners
        self._rate = SHARD_NONCES / settings.shard_seconds
        self._ranks = ranks
        self._lots = lots
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = itertools.count()
        self._numbers = itertools.count(CLIENT + 1)
        self._pool_tick_at = math.inf
        self._pool_task = 0
        self._cheats = itertools.cycle(CHEATS)

    # The plot.

    def begin(self, jobs: int) -> None:
        """A client submits all there is to do, and the miners come."""
        self._tell_pool(Started())
        self._tell_pool(Connected(CLIENT, "client", PoolWire.name))
        self._tell_pool(Received(CLIENT, messages.Hello("client")))
        form, last = messages.PuzzleForm.of(self._ranks.puzzle), len(self._ranks) - 1
        for number in range(jobs):
            submit = messages.Submit(f"job {number}", form, 0, last)
            self._tell_pool(Received(CLIENT, submit))
        for _ in range(self._wanted):
            self._at(self._lots.uniform(0, CONNECT_SECONDS), self._join)

    def run(self, until: float) -> None:
        """All that happens up to then."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action = heapq.heappop(heap)
            action()
        self.now = until

    def churn(self) -> None:
        """What happens to miners in one second; and again after it."""
        count = self._wanted * CHURN
        changes = int(count) + (self._lots.random() < count % 1)
        for peer in self._lots.sample(list(self.members), min(changes, len(self.members))):
            self._lose(self.members[peer])
            self._at(self.now + self._lots.random(), self._join)
        self._at(self.now + 1, self.churn)

    def _at(self, when: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (when, next(self._sequence), action))

    def _join(self) -> None:
        lots = self._lots
        rate = self._rate * math.exp(lots.gauss(0, RATE_DEVIATION))
        delay = DELAY_SECONDS_MIN + lots.expovariate(1 / (DELAY_SECONDS_MEAN - DELAY_SECONDS_MIN))
        core: Core = Miner(messages.Hello("miner", name="m", rate=rate), lots)
        liar = lots.random() < LIARS
        if liar:
            core = Cheat(core, next(self._cheats), lots)
        self._tell(_Member(core, rate, delay, liar=liar), Started())

    def _lose(self, member: _Member) -> None:
        """It leaves, or crashes, or its power fails: then nobody is told."""
        kind = self._lots.choice(("leaves", "crashes", "vanishes"))
        self.lost += 1
        if kind == "leaves":
            self._tell(member, Stopping())
        elif kind == "crashes":
            self._at(self.now + member.delay_seconds, partial(self._gone, member.peer, kind))
        self.members.pop(member.peer, None)
        member.alive = False

    def _gone(self, peer: int, why: str) -> None:
        self._tell_pool(Disconnected(peer, why))

    # The pool's machine.

    def _tell_pool(self, event: Event) -> None:
        kind = type(event.message if isinstance(event, Received) else event).__name__
        if isinstance(event, Received):
            self.meter.say(self.meter.heard, event.message)
        began = time.process_time()
        effects = self.pool.handle(event, self.now)
        deadline = self.pool.deadline()
        self.meter.add(kind, time.process_time() - began)
        for effect in effects:
            self._carry_out_pool(effect)
        if deadline is not None and deadline < self._pool_tick_at:
            self._pool_tick_at = deadline
            self._at(max(deadline, self.now), partial(self._tick_pool, deadline))

    def _tick_pool(self, deadline: float) -> None:
        if deadline != self._pool_tick_at:
            return
        self._pool_tick_at = math.inf
        self._tell_pool(Tick())

    def _carry_out_pool(self, effect: Effect) -> None:
        match effect:
            case Send(peer=peer, message=message):
                self.meter.say(self.meter.sent, message)
                member = self.members.get(peer)
                if member is not None:
                    self._at(self.now + member.delay_seconds, partial(self._deliver, peer, message))
            case Persist():
                self.meter.persist(effect)
            case Emit(fact=fact):
                self._count(fact)
            case Close(peer=peer, why=why):
                self._hang_up(peer, why)
            case Search():
                self._pool_task = effect.task
                count = effect.nonces.stop - effect.nonces.start
                self._at(self.now + count / POOL_RATE, partial(self._pool_searched, effect))
            case Cancel():
                self._pool_task = 0
            case _:
                raise AssertionError(f"no pool wants {effect}")

    def _count(self, fact: object) -> None:
        cause = f" {fact.cause}" if isinstance(fact, facts.LeaseLost) else ""
        self.meter.facts[type(fact).__name__ + cause] += 1

    def _hang_up(self, peer: int, why: str) -> None:
        member = self.members.pop(peer, None)
        delay = 0.0 if member is None else member.delay_seconds
        self._at(self.now + delay, partial(self._gone, peer, why))
        if member is not None:
            self._at(self.now + delay, partial(self._tell, member, Disconnected(1, why)))

    def _pool_searched(self, effect: Search) -> None:
        if effect.task == self._pool_task:
            self._pool_task = 0
            self._tell_pool(self._searched(effect))

    # A miner's machine.

    def _tell(self, member: _Member, event: Event) -> None:
        if not member.alive:
            return
        for effect in member.core.handle(event, self.now):
            self._carry_out(member, effect)
        deadline = member.core.deadline()
        if deadline is not None and deadline < member.tick_at:
            member.tick_at = deadline
            self._at(max(deadline, self.now), partial(self._tick, member, deadline))

    def _tick(self, member: _Member, deadline: float) -> None:
        if deadline != member.tick_at:
            return
        member.tick_at = math.inf
        due = member.core.deadline()
        if due is not None and due <= self.now:
            self._tell(member, Tick())
        elif due is not None:
            member.tick_at = due
            self._at(due, partial(self._tick, member, due))

    def _carry_out(self, member: _Member, effect: Effect) -> None:
        arrives = self.now + member.delay_seconds
        match effect:
            case Send(message=message):
                self._at(arrives, partial(self._hear, member.peer, message))
            case Search():
                self._search(member, effect)
            case Cancel():
                member.task = None
            case Dial():
                self._at(arrives, partial(self._connect, member))
            case Close(why=why):
                self.members.pop(member.peer, None)
                self._at(arrives, partial(self._gone, member.peer, why))
                self._at(arrives, partial(self._tell, member, Disconnected(1, why)))
            case _:
                pass

    def _connect(self, member: _Member) -> None:
        if member.alive:
            member.peer = next(self._numbers)
            member.task = None
            self.members[member.peer] = member
            self._tell_pool(Connected(member.peer, "10.0.0.1:1", PoolWire.name))
            self._tell(member, Connected(1, "pool", PoolWire.name))

    def _hear(self, peer: int, message: object) -> None:
        self._tell_pool(Received(peer, message))

    def _deliver(self, peer: int, message: object) -> None:
        member = self.members.get(peer)
        if member is not None:
            self._tell(member, Received(1, message))

    def _search(self, member: _Member, effect: Search) -> None:
        seconds = (effect.nonces.stop - effect.nonces.start) / member.rate
        seconds *= self._lots.uniform(1 - NOISE, 1 + NOISE)
        member.task = _Task(effect, self.now, self.now + seconds)
        self._at(self.now + seconds, partial(self._end, member, member.task))

    def _end(self, member: _Member, task: _Task) -> None:
        if member.task is task and member.alive:
            member.task = None
            self._tell(member, self._searched(task.effect))

    def _searched(self, effect: Search) -> Searched:
        assert isinstance(effect.goal, Shares)
        shares = self._ranks.shares(effect.nonces, effect.goal.limit)
        return Searched(effect.task, effect.nonces.stop, shares)


# What it comes to.


class Position(NamedTuple):
    """Where all stands at one moment."""

    results: int
    hashes: float
    """Nonces that are done, or under way at an honest miner."""

    rate: float
    """Hashes a second of the honest miners."""

    lost: int


def position(crowd: Crowd) -> Position:
    now = crowd.pool.statistics(crowd.now)
    honest = [member for member in crowd.members.values() if not member.liar]
    done = sum(job.done for job in now.jobs_described)
    hashes = done + sum(member.hashes(crowd.now) for member in honest)
    return Position(now.results, hashes, sum(member.rate for member in honest), crowd.lost)


def reachable_bytes(*roots: object) -> int:
    """Bytes of all that can be reached from here, code left out."""
    code = (type, type(sys), type(report), type(len), random.Random)
    seen: set[int] = set()
    total, stack = 0, list(roots)
    while stack:
        found = stack.pop()
        if id(found) in seen or isinstance(found, code):
            continue
        seen.add(id(found))
        total += sys.getsizeof(found)
        stack += gc.get_referents(found)
    return total


def measure(miners: int, seconds: float, shard_seconds: float, lease_seconds: float) -> None:
    settings = PoolSettings(
        shard_seconds=shard_seconds, lease_seconds=lease_seconds, connections_max=2 * miners
    )
    warm_seconds = CONNECT_SECONDS + SETTLE_SHARDS * shard_seconds
    rounds = (warm_seconds + seconds) / shard_seconds
    jobs = min(JOBS_MAX, math.ceil(rounds))
    round_nonces = miners * SHARD_NONCES * math.exp(RATE_DEVIATION**2 / 2)
    began = time.process_time()
    ranks = Ranks(int(round_nonces * (SPARE_SHARDS + rounds / jobs)))
    crowd = Crowd(miners, settings, ranks, random.Random(miners))
    crowd.begin(jobs)
    crowd.run(warm_seconds)
    crowd.churn()
    memory = [reachable_bytes(crowd.pool)]
    crowd.meter = _Meter()
    before, areas = position(crowd), 0.0
    for second in range(1, int(seconds) + 1):
        crowd.run(warm_seconds + second)
        areas += position(crowd).rate
    memory.append(reachable_bytes(crowd.pool))
    after = position(crowd)
    print(
        f"{miners:,} miners, {jobs} jobs, shards of {shard_seconds:g} s, leases of"
        f" {lease_seconds:g} s: {seconds:g} s after {warm_seconds:g} s;"
        f" all of it took {time.process_time() - began:.0f} s of this processor"
    )
    _report_work(crowd, before, after, areas, seconds)
    _report_time(crowd.meter, seconds)
    _report_lengths(crowd.meter, seconds)
    report("memory of the core a miner, at the beginning", f"{memory[0] / miners / 1024:.1f} KiB")
    report("… and at the end", f"{memory[1] / miners / 1024:.1f} KiB", "shards not vouched for")
    report("one full collection of the pool's garbage", f"{_collection_seconds(crowd):.2f} s")


def _report_work(
    crowd: Crowd, before: Position, after: Position, areas: float, seconds: float
) -> None:
    meter, now = crowd.meter, crowd.pool.statistics(crowd.now)
    results = after.results - before.results
    report("results a second", f"{results / seconds:,.0f}")
    efficiency = (after.hashes - before.hashes) / areas
    report("efficiency: useful hashes of all that honest miners could do", f"{efficiency:.2%}")
    lost = after.lost - before.lost
    report("miners lost a second", f"{lost / seconds:,.1f}", "a third leaves, crashes, vanishes")
    for fact in sorted(each for each in meter.facts if each.startswith("LeaseLost")):
        report(f"leases lost a second:{fact[9:]}", f"{meter.facts[fact] / seconds:,.1f}")
    audits = f"{meter.facts['AuditPassed'] / seconds:,.1f}"
    report("audits passed a second", audits, f"{now.audits_waiting:,} wait at the end")
    cheats, failed = meter.facts["Cheated"], meter.facts["AuditFailed"]
    report("liars caught a second", f"{cheats / seconds:.1f}", f"{failed / seconds:.1f} by audit")


def _report_time(meter: _Meter, seconds: float) -> None:
    spent = sum(meter.spent.values())
    report("processor seconds of the core a second", f"{spent / seconds:.3f}")
    events = sum(meter.events.values())
    each = f"{spent / events * 1e6:.1f} µs each"
    report("events a second", f"{events / seconds:,.0f}", each)
    for kind, part in sorted(meter.spent.items(), key=lambda pair: -pair[1]):
        count = meter.events[kind]
        each = f"{part / count * 1e6:,.1f} µs each, {part / spent:.1%} of the time"
        report(f"… {kind}", f"{count / seconds:,.1f}", each)
    slowest, kind = meter.slowest
    report("the slowest event", f"{slowest * 1000:.1f} ms", kind)


def _report_lengths(meter: _Meter, seconds: float) -> None:
    for way, lengths in (("heard", meter.heard), ("sent", meter.sent)):
        total = sum(each.count * each.mean_bytes for each in lengths.values())
        parts = (f"{kind} {each.mean_bytes:.0f} B" for kind, each in sorted(lengths.items()))
        report(f"bytes a second {way}", f"{total / seconds:,.0f}", ", ".join(parts))
    records = meter.records
    each = f"{records.mean_bytes:.0f} B each"
    report("journal records a second", f"{records.count / seconds:,.0f}", each)


def _collection_seconds(crowd: Crowd) -> float:
    """What the collector needs for a pool alone, when the miners are gone."""
    pool = crowd.pool
    crowd.__dict__.clear()
    gc.collect()
    began = time.process_time()
    gc.collect()
    spent = time.process_time() - began
    assert pool.deadline() is not None, "it is there still"
    return spent


# Arithmetic.


def lengths() -> tuple[int, int, int, int]:
    """Bytes of a result, a lease and a beat on the wire, and of a shard in the journal.

    Of a miner that searches forty million nonces a second, far into a long job.
    """
    job, number, start, count = "0" * 32, 2**40 + 10**7, 10**15, 80_000_000
    shares = tuple(sorted(random.Random(1).sample(range(start, start + count), SHARES_EXPECTED)))
    bits = share_limit(count).bits
    encode = PoolWire(accepts_puzzles=True).encode
    return (
        len(encode(messages.Result(number, start + count, shares))),
        len(encode(messages.Lease(number, job, start, count, bits))),
        len(encode(messages.Beat((number, number + 1), count))),
        LENGTH_BYTES + len(encode_record(ShardDone(job, start, count, None))),
    )


def table() -> None:
    """What so many miners ask of one pool, and of how many processors at which paces."""
    result, lease, beat, done = lengths()
    print(f"a result {result} B, a lease {lease} B, a beat {beat} B, a shard on disk {done} B\n")
    print("| Miners | results/s | beats/s | in | out | journal | memory |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    shard_seconds, lease_seconds = PACES[0]
    for miners in SIZES:
        results = miners / shard_seconds
        beats = miners * BEATS_A_LEASE / lease_seconds
        rates = (results * result + beats * beat, results * lease, results * done)
        cells = [f"{miners:,}", f"{results:,.10g}", f"{beats:,.10g}"]
        cells += [*(f"{_bytes(rate)}/s" for rate in rates), _bytes(miners * MINER_BYTES)]
        print(f"| {' | '.join(cells)} |")
    print("\n| Miners |", " | ".join(f"{a:g} s, {b:g} s" for a, b in PACES), "|")
    print("|---:|" + "---:|" * len(PACES))
    for miners in SIZES:
        cells = [f"{miners:,}", *(f"{_processors(miners, *pace):,.2g}" for pace in PACES)]
        print(f"| {' | '.join(cells)} |")


def _processors(miners: int, shard_seconds: float, lease_seconds: float) -> float:
    microseconds = RESULT_MICROSECONDS / shard_seconds
    microseconds += BEAT_MICROSECONDS * BEATS_A_LEASE / lease_seconds
    return miners * microseconds / 1e6


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.3g} {unit}"
        count /= 1024
    return f"{count:,.3g} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--miners", type=int, nargs="*", default=MINERS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to measure")
    parser.add_argument("--shard-seconds", type=float, default=PoolSettings().shard_seconds)
    parser.add_argument("--lease-seconds", type=float, default=PoolSettings().lease_seconds)
    parser.add_argument("--table", action="store_true", help="arithmetic alone")
    arguments = parser.parse_args()
    if arguments.table:
        table()
        return
    gc.disable()
    for miners in arguments.miners:
        measure(miners, arguments.seconds, arguments.shard_seconds, arguments.lease_seconds)


if __name__ == "__main__":
    main()
