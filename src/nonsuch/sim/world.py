"""A world in virtual time: machines with cores, clocks, disks and processors, and a network.

Time is a whole number of microseconds. What is to happen lies in one heap, ordered by time and then
by who was first to ask, and every draw comes from one `random.Random(seed)`. No wall clock, no
thread, no order of a hash table: one seed is one history, on every machine, and `trace_hash` proves
it. A seed that fails is the whole bug report.

This is a driver as `nonsuch.node` describes it, so what a core may rely on here it may rely on
live, and the other way round:

* **One tick.** A core has one live timer. It is set anew only when the deadline comes nearer; a
  timer that fires early finds nothing to do and is set for the deadline of now. One that is stale,
  because a nearer one took its place or the node crashed, knows so by its number and touches
  nothing.
* **The barrier.** A `Persist` at the head of a core's effects stops them. All records that are
  waiting by then go to disk in one commit, which takes a drawn time. They are written at some
  moment in that time and acknowledged at its end: a crash before the first loses the records, one
  between the two keeps them, and both lose every effect that waited.
* **Searches** are exact and take their time. The answer is found by hashing, chunk by chunk and not
  before the virtual time is near, and each chunk once however often it is asked for; the time is
  what the machine's hash rate says, times a drawn factor. Two searches share the machine; those of
  a machine that has workers are done by one of them each, and the others wait in their order.
* **Freezing** a node is SIGSTOP: its system keeps its connections, its clock runs, and all that
  comes meets the core when it thaws, in order. **Crashing** is kill -9: what is on disk remains.

Each machine has a clock of its own, which is off by some seconds and runs a little fast or slow;
cores see no other. After each event the core's own `_check` is called, unless nobody wants it.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from nonsuch.errors import LocalError, NonsuchError
from nonsuch.node import (
    LOCAL,
    Advanced,
    Cancel,
    Capacity,
    Close,
    Core,
    Dial,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.sim.datagrams import DatagramNetwork, Datagrams
from nonsuch.sim.network import LAN, SECOND, Conditions, Network, Partition, Wires
from nonsuch.work.goals import First, Goal, Lowest, Shares
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

__all__ = ["EVENTS_MAX", "Ranks", "Runaway", "Told", "World"]

EVENTS_MAX = 1_000_000
"""What may happen in one `run`: hundreds of times what a healthy small world needs."""

ADVANCED_SECONDS = 0.5
"""How often a core hears how far a search is, as live."""

NOISE = 1.25
"""A search is up to so much slower or faster than its machine's hash rate says."""

DEADLINE_SECONDS_MAX = 1e9
"""A deadline further off than thirty years is none."""

CHUNK_NONCES = 512
"""Nonces that are hashed together."""

CHUNKS_MAX = 2048
"""Chunks kept: a million nonces, some hundred megabytes."""


class Runaway(NonsuchError):
    """More happened than can be right: something goes round and round."""


class Told(NamedTuple):
    """A fact that a core emitted."""

    seconds: float
    node: str
    fact: object


class World:
    """The world of one seed. Add nodes, say what befalls them and when, and run.

    `conditions` is the network. A commit to disk takes `sync_seconds_mean`, and a timer is late by
    up to `tick_seconds_late_max`. `observe` hears every fact when it is told, and `facts` keeps
    them. With `trace_lines`, `trace()` gives the last so many events and effects, and so does the
    traceback of whatever fails. `ranks` may be shared by worlds that search the same puzzles.
    A large world that is watched and not tested is faster without `checks` of its cores, and where
    they hear how far a search is less often, every `advanced_seconds`.

    Draw the lots of cores from the world's too, one by one, and their lives differ:

        world.add("m", lambda: Miner(hello, random.Random(world.lots.getrandbits(64))), …)
    """

    def __init__(
        self,
        seed: int,
        conditions: Conditions = LAN,
        *,
        sync_seconds_mean: float = 0.004,
        tick_seconds_late_max: float = 0.0,
        observe: Callable[[Told], object] | None = None,
        events_max: int = EVENTS_MAX,
        trace_lines: int = 0,
        ranks: Ranks | None = None,
        checks: bool = True,
        advanced_seconds: float = ADVANCED_SECONDS,
    ) -> None:
        self.seed = seed
        self.lots = random.Random(seed)
        self.microseconds = 0
        self.events = 0
        self.facts: list[Told] = []
        self.sync_seconds_mean = sync_seconds_mean
        self.tick_seconds_late_max = tick_seconds_late_max
        self.events_max = events_max
        self.checks = checks
        self.advanced_seconds = advanced_seconds
        self.ranks = Ranks() if ranks is None else ranks
        self.network = Network(self, conditions)
        self.datagrams = DatagramNetwork(self, self.network)
        self._observe = observe
        self._nodes: dict[str, _Node] = {}
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = 0
        self._hash = blake2b(digest_size=16)
        self._encoder = msgspec.json.Encoder(enc_hook=repr, order="deterministic")
        self._last: deque[tuple[int, str, object]] = deque(maxlen=trace_lines)

    # What there is.

    def add(
        self,
        name: str,
        factory: Callable[[], Core],
        *,
        hash_rate: float = 0.0,
        listens: bool = False,
        dials: str | Mapping[str, str] | None = None,
        wires: Wires | None = None,
        datagrams: Datagrams | None = None,
        clock_rate: float = 1.0,
        clock_offset_seconds: float = 0.0,
        storage: bool = True,
        local: Callable[[object], object] | None = None,
    ) -> None:
        """A machine and its core, which starts now, behind all that is to be done now already.

        `factory` makes the core of each life. `dials` names the node that a `Dial` calls, or the
        nodes by the addresses that the core dials them by, and `wires` make what is spoken there.
        `datagrams` are the peers that need no dialling. Without `storage` nothing is kept and no
        effect waits. `local` hears all that is said to `LOCAL`.
        """
        if name in self._nodes:
            raise LocalError(f"there is a {name} already")
        if not (0 < clock_rate < math.inf and math.isfinite(clock_offset_seconds)):
            raise LocalError("a clock runs forward, and is off by a finite time")
        node = _Node(self, name, factory, _Disk() if storage else None)
        node.clock_rate = clock_rate
        node.clock_offset_seconds = clock_offset_seconds
        node.processor.set_rate(hash_rate)
        node.local = local
        self._nodes[name] = node
        book = {"": dials} if isinstance(dials, str) else dials
        self.network.add(
            name,
            listens=listens,
            dials={} if book is None else book,
            wires=wires,
            first=0 if datagrams is None else len(datagrams.peers),
        )
        if datagrams is not None:
            self.datagrams.add(name, datagrams)
        node.start()

    def core(self, name: str) -> Core:
        """The core of the present life, or of the last."""
        return self._node(name).core

    def is_up(self, name: str) -> bool:
        """Whether the node runs; one that is frozen does."""
        return self._node(name).up

    def records(self, name: str) -> tuple[object, ...]:
        """What is on its disk."""
        disk = self._node(name).disk
        return () if disk is None else disk.read()

    def _node(self, name: str) -> _Node:
        try:
            return self._nodes[name]
        except KeyError:
            raise LocalError(f"{name} is not of this world") from None

    # What befalls it.

    def crash(self, name: str, *, silent: bool = False) -> None:
        """Kill -9: the system hangs up for it. `silent`: the power fails, and nobody is told."""
        self._node(name).crash(silent=silent)

    def restart(self, name: str, *, keep_disk: bool = True) -> None:
        """A new life, from what is on disk; a node that is up is killed first."""
        node = self._node(name)
        node.crash(silent=False)
        if not keep_disk and node.disk is not None:
            node.disk = _Disk()
        node.start()

    def stop(self, name: str) -> None:
        """Ask the node to end, as a signal would: its core hears `Stopping`."""
        self._node(name).stop_soon()

    def freeze(self, name: str) -> None:
        """SIGSTOP: nothing reaches the core, and its searches stand still."""
        self._node(name).freeze()

    def thaw(self, name: str) -> None:
        """SIGCONT: what has come meanwhile reaches the core now, in its order."""
        self._node(name).thaw()

    def set_hash_rate(self, name: str, rate: float) -> None:
        """From now on the machine does so many hashes a second; 0 stands still."""
        self.note(name, ("hash rate", rate))
        self._node(name).processor.set_rate(rate)

    def set_workers(self, name: str, rates: Sequence[float]) -> None:
        """From now on workers search for the machine, each with so many hashes a second.

        Its core is told of them, in this life and in each later one. A worker with a rate of 0
        stands still, and nobody knows: what it has is done when it goes on, and cancelling that
        does not free it for another search.
        """
        self.note(name, ("workers", rates))
        node = self._node(name)
        node.processor.set_workers(rates)
        if node.up:
            node.tell_capacity()

    def partition(
        self,
        *sides: Set[str],
        seconds: float | None = None,
        silent: bool = True,
        one_way: bool = False,
    ) -> None:
        """Part these sides, for a while or until `heal`; see `nonsuch.sim.network`."""
        parted = Partition(tuple(map(frozenset, sides)), silent, one_way)
        self.note("", ("partition", [sorted(side) for side in sides], silent, one_way))
        self.network.partition(parted)
        if seconds is not None:
            when = self.microseconds + round(seconds * SECOND)
            self.call_at(when, partial(self._heal, parted))

    def heal(self) -> None:
        """End every partition."""
        self._heal(None)

    def _heal(self, partition: Partition | None) -> None:
        self.note("", "heal")
        self.network.heal(partition)

    def cut(self, one: str, another: str) -> None:
        """Reset every connection between two nodes."""
        self.note("", ("cut", one, another))
        self.network.cut(one, another)

    def send_datagram(
        self, sender: str, target: str, data: bytes, *, source: str | None = None
    ) -> None:
        """Have a node send any bytes to another, though its core would not.

        They set out from `sender`, and say that they come from `source`: anybody can forge that.
        """
        node, source = self._node(sender), sender if source is None else source
        self.note(sender, ("datagram", self._node(target).name, data, source))
        if node.up:
            self.datagrams.set_out(sender, target, data, source)

    # Time.

    @property
    def seconds(self) -> float:
        """The virtual time. No core knows it."""
        return self.microseconds / SECOND

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Do this at that time, behind all that was to be done then already."""
        when = round(seconds * SECOND)
        if when < self.microseconds:
            raise LocalError(f"{seconds} s is over: it is {self.seconds} s")
        self.call_at(when, action)

    def call_at(self, microseconds: int, action: Callable[[], object]) -> None:
        """As `at`, in microseconds, and unchecked: for the parts of a world."""
        self._sequence += 1
        heapq.heappush(self._heap, (microseconds, self._sequence, action))

    def run(self, until: float) -> None:
        """Let happen all that happens up to then, that moment included."""
        self._run(round(until * SECOND), None)

    def run_until(self, condition: Callable[[], bool], limit_seconds: float) -> bool:
        """Run until the condition holds, and say whether it does; so many seconds from now at most.

        It is asked now, and then after everything that happens.
        """
        if condition():
            return True
        return self._run(self.microseconds + round(limit_seconds * SECOND), condition)

    def _run(self, until: int, condition: Callable[[], bool] | None) -> bool:
        heap, left = self._heap, self.events_max
        try:
            while heap and heap[0][0] <= until:
                self.microseconds, _, action = heapq.heappop(heap)
                action()
                if condition is not None and condition():
                    return True
                left -= 1
                if left < 0:
                    raise Runaway(f"seed {self.seed}: more than {self.events_max} events in a run")
        except Exception as error:
            error.add_note(f"seed {self.seed}, at {self.seconds:.6f} s of virtual time")
            for line in self.trace():
                error.add_note(line)
            raise
        self.microseconds = max(self.microseconds, until)
        return False

    # What is known of it.

    def deliver(self, name: str, event: Event) -> None:
        """Hand an event to a core, or to a frozen node's queue: for the network."""
        self._nodes[name].receive(event)

    def when_awake(self, name: str, action: Callable[[], object]) -> None:
        """Do this now, or in its turn when the node thaws: for the network."""
        self._nodes[name].when_awake(action)

    def tell(self, name: str, fact: object) -> None:
        """A core has emitted a fact."""
        told = Told(self.seconds, name, fact)
        self.facts.append(told)
        if self._observe is not None:
            self._observe(told)

    def note(self, name: str, what: object) -> None:
        """One more line of the trace."""
        try:
            line = self._encoder.encode(what)
        except (TypeError, ValueError):
            line = _plain(what).encode(errors="backslashreplace")
        self._hash.update(b"%d %b %b " % (self.microseconds, name.encode(), _kind(what)) + line)
        self._last.append((self.microseconds, name, what))

    @property
    def trace_hash(self) -> str:
        """Of all that has happened so far, in hexadecimal: equal histories have equal ones."""
        return self._hash.hexdigest()

    def trace(self) -> list[str]:
        """The last events and effects, for people."""
        return [f"{when / SECOND:.6f} {name} {what!r}" for when, name, what in self._last]


def _kind(what: object) -> bytes:
    return type(what).__name__.encode()


def _plain(what: object) -> str:
    """For what JSON has no words for: equal values, equal texts, whatever sets are in them."""
    match what:
        case set() | frozenset():
            parts = sorted(map(_plain, what))
        case dict():
            parts = [f"{_plain(key)}: {_plain(value)}" for key, value in what.items()]
        case list() | tuple():
            parts = [_plain(item) for item in what]
        case msgspec.Struct():
            parts = [_plain(getattr(what, name)) for name in what.__struct_fields__]
        case _ if is_dataclass(what):
            parts = [_plain(getattr(what, field.name)) for field in fields(what)]
        case _:
            return repr(what)
    return f"{type(what).__name__}({', '.join(parts)})"


class _Commit:
    """Records on their way to disk, and how many effects wait for them or are they."""

    __slots__ = ("count", "records", "written_at")

    def __init__(self, queue: Collection[Effect], written_at: int) -> None:
        self.records = [effect for effect in queue if isinstance(effect, Persist)]
        self.count = len(queue)
        self.written_at = written_at


class _Disk:
    """Records by subject, in the order in which they were persisted. It survives its machine."""

    def __init__(self) -> None:
        self._subjects: dict[str, dict[int, object]] = {}
        self._sequence = 0

    def commit(self, effects: list[Persist]) -> None:
        """Put these on disk."""
        for effect in effects:
            records = self._subjects.setdefault(effect.subject, {})
            if effect.replaces:
                records.clear()
            if effect.record is not None:
                self._sequence += 1
                records[self._sequence] = effect.record

    def read(self) -> tuple[object, ...]:
        """All records, in their order."""
        numbered = [pair for records in self._subjects.values() for pair in records.items()]
        return tuple(record for _, record in sorted(numbered, key=lambda pair: pair[0]))


class _Node:
    """A machine and the core that lives on it, for one life after the other.

    `backlog` is what has come while the node was frozen. `tick_number` is that of the one live
    timer, which will fire at `tick_at`; None where there is none.
    """

    __slots__ = (
        "backlog",
        "clock_offset_seconds",
        "clock_rate",
        "commit",
        "core",
        "disk",
        "factory",
        "frozen",
        "life",
        "local",
        "name",
        "processor",
        "queue",
        "tick_at",
        "tick_number",
        "up",
        "world",
    )

    core: Core

    def __init__(
        self, world: World, name: str, factory: Callable[[], Core], disk: _Disk | None
    ) -> None:
        self.world = world
        self.name = name
        self.factory = factory
        self.disk = disk
        self.clock_rate = 1.0
        self.clock_offset_seconds = 0.0
        self.life = 0
        self.up = False
        self.frozen = False
        self.backlog: deque[Callable[[], object]] = deque()
        self.queue: deque[Effect] = deque()
        self.commit: _Commit | None = None
        self.tick_at: int | None = None
        self.tick_number = 0
        self.processor = _Processor(world, self)
        self.local: Callable[[object], object] | None = None

    def now(self) -> float:
        """What this machine's clock says: it never falls, and no crash stops it."""
        return self.clock_offset_seconds + self.clock_rate * (self.world.microseconds / SECOND)

    # Life and death.

    def start(self) -> None:
        """Begin a life."""
        self.life += 1
        self.up = True
        self.core = self.factory()
        self.world.note(self.name, "start")
        self.world.network.start(self.name)
        self.world.datagrams.start(self.name)
        self.world.call_at(self.world.microseconds, partial(self._begin, self.life))

    def _begin(self, life: int) -> None:
        if self.life == life and self.up:
            self.receive(Started(() if self.disk is None else self.disk.read()))
            self.tell_capacity()
            self.world.datagrams.greet(self.name)

    def tell_capacity(self) -> None:
        """The core hears of its workers, where it has some."""
        workers = self.processor.workers
        if workers is not None:
            self.receive(Received(LOCAL, Capacity(len(workers), len(workers))))

    def crash(self, *, silent: bool) -> None:
        """End this life at once, and all that was only in memory with it."""
        if not self.up:
            return
        self.world.note(self.name, "power cut" if silent else "crash")
        commit = self.commit
        if commit is not None and self.world.microseconds >= commit.written_at:
            self._write(commit)
        self._end()
        self.world.network.crash(self.name, silent=silent)

    def stop_soon(self) -> None:
        """End this life behind all that is to be done now, and in good order."""
        stop = partial(self.when_awake, partial(self._stop, self.life))
        self.world.call_at(self.world.microseconds, stop)

    def _stop(self, life: int) -> None:
        if not self.up or self.life != life:
            return
        self.handle(Stopping())
        # What was decided is kept, though those who wait to hear of it are not told any more.
        if self.commit is not None:
            self._write(self.commit)
            self._write(_Commit(list(self.queue)[self.commit.count :], 0))
        self._end()
        self.world.network.leave(self.name)

    def _end(self) -> None:
        self.up = self.frozen = False
        self.backlog.clear()
        self.queue.clear()
        self.commit = None
        self.tick_at = None
        self.tick_number += 1
        self.processor.clear()

    def freeze(self) -> None:
        """Stand still."""
        if self.up and not self.frozen:
            self.world.note(self.name, "freeze")
            self.frozen = True
            self.processor.replan()

    def thaw(self) -> None:
        """Go on with what has come meanwhile."""
        if not self.frozen:
            return
        self.world.note(self.name, "thaw")
        self.frozen = False
        self.processor.replan()
        while self.backlog and not self.frozen:
            self.backlog.popleft()()

    def when_awake(self, action: Callable[[], object]) -> None:
        """Do this now, or in its turn when the node thaws."""
        if self.frozen:
            self.backlog.append(action)
        else:
            action()

    # Events in.

    def receive(self, event: Event) -> None:
        """An event for the core, now or when it thaws."""
        if self.frozen:
            self.backlog.append(partial(self._receive_late, event))
        elif self.up:
            self.handle(event)

    def _receive_late(self, event: Event) -> None:
        network = self.world.network
        if isinstance(event, Received) and network.has_hung_up(self.name, event.peer):
            return  # The core has hung up while this waited: it is not read any more.
        self.handle(event)

    def handle(self, event: Event) -> None:
        """Hand an event to the core, and see to what it wants."""
        world = self.world
        world.events += 1
        world.note(self.name, event)
        effects = self.core.handle(event, self.now())
        if world.checks:
            self.core._check()
        if effects:
            for effect in effects:
                world.note(self.name, effect)
            self.queue.extend(effects)
            if self.commit is None:
                self._pump()
        if isinstance(event, Erred):
            # After such an error nothing from this peer can be understood.
            world.network.hang_up(self.name, event.peer, event.reason)
        self._arm()

    # The one timer.

    def _arm(self) -> None:
        """See that the timer fires at the deadline, or earlier."""
        if not self.up or (deadline := self.core.deadline()) is None:
            return
        ahead = deadline - self.now()
        assert not math.isnan(ahead), "a deadline is a time"
        if ahead > DEADLINE_SECONDS_MAX:
            return
        world = self.world
        # Never at once: the next turn of a loop is later, and time must pass for one who asks so.
        when = world.microseconds + max(1, math.ceil(ahead / self.clock_rate * SECOND))
        if self.tick_at is not None and self.tick_at <= when:
            return
        if world.tick_seconds_late_max:
            when += round(world.lots.random() * world.tick_seconds_late_max * SECOND)
        self.tick_at = when
        self.tick_number += 1
        world.call_at(when, partial(self._timer, self.tick_number))

    def _timer(self, number: int) -> None:
        """A timer fires. One that is stale leaves the live one alone."""
        if number == self.tick_number:
            self.when_awake(self._fire)

    def _fire(self) -> None:
        self.tick_at = None
        deadline = self.core.deadline()
        if deadline is not None and deadline <= self.now():
            self.handle(Tick())
        else:
            self._arm()

    # Effects out.

    def _pump(self) -> None:
        """Carry out what can be; a record that is not on disk yet stops the queue."""
        queue = self.queue
        while queue:
            if self.disk is not None and isinstance(queue[0], Persist):
                self._start_commit()
                return
            self._carry_out(queue.popleft())

    def _start_commit(self) -> None:
        world = self.world
        seconds = world.sync_seconds_mean * (0.5 + world.lots.expovariate(2.0))
        done_at = world.microseconds + max(1, round(seconds * SECOND))
        written_at = world.lots.randint(world.microseconds + 1, done_at)
        self.commit = _Commit(self.queue, written_at)
        world.call_at(done_at, partial(self._synced, self.commit))

    def _write(self, commit: _Commit) -> None:
        assert self.disk is not None
        self.disk.commit(commit.records)
        commit.records = []

    def _synced(self, commit: _Commit) -> None:
        if commit is self.commit:
            self._write(commit)
            self.when_awake(partial(self._acknowledged, commit))

    def _acknowledged(self, commit: _Commit) -> None:
        """What was in the queue when this commit began waits for nothing any more."""
        self.commit = None
        for _ in range(commit.count):
            if not self.queue:
                return  # An observer of facts has crashed the node.
            effect = self.queue.popleft()
            if not isinstance(effect, Persist):
                self._carry_out(effect)
        self._pump()

    def _carry_out(self, effect: Effect) -> None:
        network, name = self.world.network, self.name
        match effect:
            case Send(peer=peer, message=message):
                self._send(peer, message)
            case Emit(fact=fact):
                self.world.tell(name, fact)
            case Search():
                self.processor.begin(effect)
            case Cancel(task=task):
                self.processor.cancel(task)
            case Close(peer=peer, why=why):
                network.hang_up(name, peer, why)
            case Dial(address=address):
                network.dial(name, address)
            case Finish():
                self.stop_soon()
            case Persist():
                pass  # There is no disk.

    def _send(self, peer: int, message: object) -> None:
        if peer == LOCAL:
            if self.local is not None:
                self.local(message)
        elif not self.world.datagrams.send(self.name, peer, message):
            self.world.network.send(self.name, peer, message)


class Ranks:
    """The ranks of nonces, each hashed once: a chunk is kept in the order of its ranks.

    Smaller chunks are for worlds whose searches mostly end after a few nonces.
    """

    def __init__(self, chunk_nonces: int = CHUNK_NONCES) -> None:
        self.chunk_nonces = chunk_nonces
        self._chunks: dict[tuple[Puzzle, int], tuple[list[int], list[int]]] = {}

    def admitted(self, puzzle: Puzzle, start: int, stop: int, limit: Target) -> list[int]:
        """The nonces of [start, stop), a part of one chunk, that the limit admits; ascending."""
        ranks, nonces = self._chunk(puzzle, start // self.chunk_nonces)
        count = bisect_left(ranks, True, key=lambda rank: not limit.admits(rank))
        return sorted(nonce for nonce in nonces[:count] if start <= nonce < stop)

    def lowest(self, puzzle: Puzzle, start: int, stop: int) -> tuple[int, int]:
        """The smallest rank in [start, stop), a part of one chunk, and the smallest such nonce."""
        ranks, nonces = self._chunk(puzzle, start // self.chunk_nonces)
        pairs = zip(ranks, nonces, strict=True)
        return next((rank, nonce) for rank, nonce in pairs if start <= nonce < stop)

    def _chunk(self, puzzle: Puzzle, number: int) -> tuple[list[int], list[int]]:
        key = puzzle, number
        chunk = self._chunks.get(key)
        if chunk is None:
            if len(self._chunks) >= CHUNKS_MAX:
                del self._chunks[next(iter(self._chunks))]
            chunk = self._chunks[key] = _hashed(puzzle, number, self.chunk_nonces)
        return chunk


def _hashed(puzzle: Puzzle, number: int, size: int) -> tuple[list[int], list[int]]:
    start = number * size
    nonces = range(start, min(start + size, puzzle.nonce.count))
    ranks = map(puzzle.rank, puzzle.digests(nonces))
    ordered = sorted(zip(ranks, nonces, strict=True))
    return [rank for rank, _ in ordered], [nonce for _, nonce in ordered]


def _pieces(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut [start, stop) where chunks of this size meet."""
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        yield start, end
        start = end


class _Scan:
    """What has been found so far in a range, as far as `looked`; `ended` behind the last proof."""

    def __init__(self, ranks: Ranks, puzzle: Puzzle, nonces: range, goal: Goal) -> None:
        assert nonces.step == 1, "nonces are searched one by one"
        self._ranks = ranks
        self._puzzle = puzzle
        self._goal = goal
        self._best: tuple[int, int] | None = None
        self._found: list[int] = []
        self.looked = nonces.start
        self.stop = max(nonces.start, nonces.stop)
        self.ended = False

    @property
    def nonces(self) -> tuple[int, ...]:
        """What the goal asks for."""
        return tuple(self._found) if self._best is None else (self._best[1],)

    def look(self, upto: int) -> None:
        """Look as far as `upto`, or to the end; `stop` falls when a proof ends the search."""
        for start, stop in _pieces(self.looked, min(upto, self.stop), self._ranks.chunk_nonces):
            match self._goal:
                case First(target=target):
                    self._look_for_shares(start, stop, target, target)
                case Shares(limit=limit, until=until):
                    self._look_for_shares(start, stop, limit, until)
                case Lowest():
                    lowest = self._ranks.lowest(self._puzzle, start, stop)
                    self._best = lowest if self._best is None else min(self._best, lowest)
            self.looked = min(stop, self.stop)
            if self.ended:
                return

    def _look_for_shares(self, start: int, stop: int, limit: Target, until: Target | None) -> None:
        proofs = [] if until is None else self._admitted(start, stop, until)
        if not proofs:
            self._found += self._admitted(start, stop, limit)
            return
        self.ended = True
        self.stop = proofs[0] + 1
        self._found += [*self._admitted(start, proofs[0], limit), proofs[0]]

    def _admitted(self, start: int, stop: int, limit: Target) -> list[int]:
        return self._ranks.admitted(self._puzzle, start, stop, limit) if start < stop else []


class _Task:
    """A search under way.

    `tried` nonces of it were tried by `since`, and more at `rate` a second from then on; `untold`
    is the part of a turn that has gone by then. `plan` numbers what was last planned for it.
    """

    __slots__ = ("noise", "number", "plan", "rate", "scan", "since", "start", "tried", "untold")

    def __init__(self, effect: Search, scan: _Scan, noise: float, since: int) -> None:
        self.number = effect.task
        self.scan = scan
        self.start = effect.nonces.start
        self.noise = noise
        self.since = since
        self.rate = 0.0
        self.tried = 0.0
        self.untold = 0.0
        self.plan = 0

    def settle(self, now: int) -> None:
        """Add up what was tried up to now."""
        if self.rate:
            seconds = (now - self.since) / SECOND
            self.tried = min(self.tried + seconds * self.rate, self.scan.stop - self.start)
            self.untold += seconds
        self.since = now


class _Processor:
    """The searches of a node, which share its hash rate, or are each done by one of its workers.

    Time is planned in turns: what a turn covers is looked at when it begins, and it ends in an
    `Advanced`, or where the search ends. Whatever changes the rate begins a new turn.
    """

    __slots__ = ("_desks", "_node", "_rate", "_tasks", "_used", "_world", "workers")

    def __init__(self, world: World, node: _Node) -> None:
        self._world = world
        self._node = node
        self._rate = 0.0
        self.workers: tuple[float, ...] | None = None
        self._desks: list[int | None] = []
        self._tasks: dict[int, _Task] = {}
        self._used: dict[int, None] = {}

    def set_rate(self, rate: float) -> None:
        """So many hashes a second, from now on."""
        if not 0 <= rate < math.inf:
            raise LocalError(f"a hash rate is 0 or more, not {rate}")
        self._rate = rate
        self.replan()

    def set_workers(self, rates: Sequence[float]) -> None:
        """One worker for each of these hash rates. What those had that are gone waits again."""
        if not all(0 <= rate < math.inf for rate in rates):
            raise LocalError(f"hash rates are 0 or more, not {rates}")
        self.workers = tuple(rates)
        kept = [task if task in self._tasks else None for task in self._desks]
        self._desks = (kept + [None] * len(rates))[: len(rates)]
        self.replan()

    def begin(self, effect: Search) -> None:
        """Start a search; it ends in a `Searched`, unless it is cancelled."""
        assert effect.task not in self._used, f"task {effect.task} was used before"
        self._used[effect.task] = None
        world = self._world
        scan = _Scan(world.ranks, effect.puzzle, effect.nonces, effect.goal)
        noise = NOISE ** world.lots.uniform(-1, 1)
        self._tasks[effect.task] = _Task(effect, scan, noise, world.microseconds)
        self.replan()

    def cancel(self, task: int) -> None:
        """Nothing more is heard of it."""
        if self._tasks.pop(task, None) is not None:
            self._leave_desk(task)
            self.replan()

    def _leave_desk(self, task: int) -> None:
        if self.workers is not None and task in self._desks:
            desk = self._desks.index(task)
            if self.workers[desk]:  # A worker that stands still does not hear of it.
                self._desks[desk] = None

    def clear(self) -> None:
        """The node's life is over."""
        self._desks = [None] * len(self._desks)
        self._tasks.clear()
        self._used.clear()

    def replan(self) -> None:
        """The rate of every search may have changed: begin a turn of each."""
        rates = {} if self._node.frozen else self._rates()
        for task in self._tasks.values():
            rate = rates.get(task.number, 0.0) * task.noise
            if self.workers is None or rate != task.rate:
                task.settle(self._world.microseconds)
                task.rate = rate
                self._plan(task)

    def _rates(self) -> dict[int, float]:
        """How fast each search is that somebody is at."""
        if self.workers is None:
            return dict.fromkeys(self._tasks, self._rate / max(1, len(self._tasks)))
        waiting = (number for number in self._tasks if number not in self._desks)
        self._desks = [next(waiting, None) if each is None else each for each in self._desks]
        pairs = zip(self._desks, self.workers, strict=True)
        return {number: rate for number, rate in pairs if number is not None}

    def _plan(self, task: _Task) -> None:
        task.plan += 1
        if not task.rate:
            return
        turn = max(0.0, self._world.advanced_seconds - task.untold)
        scan = task.scan
        scan.look(task.start + math.ceil(task.tried + turn * task.rate))
        left = (scan.stop - task.start - task.tried) / task.rate
        action = self._ended if left <= turn else self._advanced
        when = self._world.microseconds + max(1, math.ceil(min(left, turn) * SECOND))
        self._world.call_at(when, partial(action, task, task.plan))

    def _advanced(self, task: _Task, plan: int) -> None:
        if task.plan != plan or self._tasks.get(task.number) is not task:
            return
        task.settle(self._world.microseconds)
        task.untold = 0.0
        self._plan(task)
        self._node.receive(Advanced(task.number, int(task.tried)))

    def _ended(self, task: _Task, plan: int) -> None:
        if task.plan != plan or self._tasks.get(task.number) is not task:
            return
        scan = task.scan
        assert scan.looked == scan.stop, "all that was searched was looked at"
        del self._tasks[task.number]
        self._leave_desk(task.number)
        self.replan()
        self._node.receive(Searched(task.number, scan.stop, scan.nonces))
