"""A miner of a pool: it takes leases, has them searched, and says what was found.

With one slot it holds a lease or two at a time: one that is being searched and one that waits, so
that no processor stands still while a result travels. With more, all that it holds is searched at
once, and whoever searches keeps what is too much in a queue of its own: so no slot of a cluster
stands still either. While it holds any it beats; a beat names them, so the pool and the miner agree
on who has what even where a message was lost.

**A frozen worker** is this miner's business and nobody else's. Its miner beats for it, so to the
pool it lives; and whoever runs a cluster's searches waits for a worker that is there as long as it
is there. Only the miner sees one search of many go on for many times as long as the others did and
get nowhere. It cancels the search and no longer names the lease, and the pool has it back.

A pool is not believed either: a lease that is too long for its nonce field, or whose share limit
would make the miner collect more than a result can carry, is refused with an error that ends the
connection, and queues are bounded.
"""

from __future__ import annotations

import random
from itertools import islice

from nonsuch.errors import LocalError, RemoteError, RemoteProtocolError
from nonsuch.networks.pool import facts, messages
from nonsuch.networks.pool.link import Link
from nonsuch.networks.pool.liteminer import LITEMINER
from nonsuch.node import (
    LOCAL,
    Advanced,
    Cancel,
    Capacity,
    Connected,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Received,
    Search,
    Searched,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.goals import Goal, Lowest, Shares
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.shares import SHARES_MAX, expected_shares, limit_of_bits

__all__ = ["Miner"]

IDLE_BEAT_SECONDS = 15.0
"""How often a miner without work says that it is there."""

BEAT_SECONDS = 1.0
"""How often one with work does, until a pool says otherwise. LiteMiner's own number."""

BEAT_SECONDS_MIN = 0.02
"""No pool is obeyed that wants more beats than this."""

PUZZLES_MAX = 1024
"""Puzzles kept at once; a pool has no more jobs than that."""

SHARES_ASKED_MAX = SHARES_MAX / 4
"""Shares that a lease may be expected to give: 24 standard deviations below what fits."""


GIVE_UP_FACTOR = 4.0
"""A search that takes so many times as long as the slowest of late is given up. The pool would wait
about twice as long (`leases.OVERDUE_FACTOR`)."""

GIVE_UP_SECONDS_MIN = 10.0
"""No search is given up before: a worker may be busy with something else for a while."""

PLAIN_CAPACITY = messages.Capacity(1)
"""What a pool takes a miner to have that says nothing."""

PACE_MEMORY = 0.9
"""How much of the slowest pace is still remembered when each slot has come to one more result."""


class Task:
    """A lease that this miner holds.

    `number` is that of its search, 0 while it waits. The search should be over at so many `rounds`
    of its own length from `since` on: those that were begun before it have the slots first.
    `advanced_at` is when it had last tried more nonces than before.
    """

    __slots__ = (
        "advanced_at",
        "began",
        "goal",
        "hashes",
        "lease",
        "nonces",
        "number",
        "puzzle",
        "rounds",
        "since",
    )

    def __init__(self, lease: messages.Lease, puzzle: Puzzle) -> None:
        self.lease = lease
        self.puzzle = puzzle
        self.nonces = range(lease.start, lease.start + lease.count)
        self.goal = _goal(lease)
        self.number = 0
        self.began = 0.0
        self.since = 0.0
        self.advanced_at = 0.0
        self.rounds = 1.0
        self.hashes = 0

    def line_up(self, place: int, slots: int, now: float) -> None:
        """From now on it is the search at this place, counted from 1, in the line for `slots`."""
        self.since = now
        self.rounds = max(1.0, place / max(1, slots))

    def advance(self, hashes: int, now: float) -> None:
        """So many nonces of it are tried by now."""
        if hashes > self.hashes:
            self.advanced_at = now
        self.hashes = hashes


class Pace:
    """How many seconds a slot takes for a nonce: as many as the slowest of late."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds = 0.0

    def add(self, task: Task, nonces: int, slots: int, now: float) -> None:
        """A search has tried so many nonces and is over, one way or the other."""
        if nonces > 0:
            seconds = (now - task.since) / (nonces * task.rounds)
            remembered = self._seconds * PACE_MEMORY ** (1 / max(1, slots))
            self._seconds = max(seconds, remembered)

    def is_lost(self, task: Task, now: float) -> bool:
        """Whether this search takes so long, without a step, that nobody can be at it any more."""
        expected = self._seconds * task.lease.count * task.rounds
        bound = max(GIVE_UP_SECONDS_MIN, GIVE_UP_FACTOR * expected)
        return self._seconds > 0 and now - max(task.since, task.advanced_at) > bound


class Miner:
    """The core of a miner. `lots` spreads its attempts to reconnect.

    How many slots it has it hears as `Received(LOCAL, node.Capacity)`, and has one until then. With
    `searches_all`, even with one slot all its leases are searched at once: whoever cuts them up
    again, as a relay does, wants the next one at hand before the last is done. `lease_seconds` is
    how long it would like its leases to be; 0 for the pool's own length.
    """

    def __init__(
        self,
        hello: messages.Hello,
        lots: random.Random,
        *,
        searches_all: bool = False,
        lease_seconds: float = 0.0,
    ) -> None:
        self._link = Link(hello, lots)
        self._searches_all = searches_all
        self._lease_seconds = min(lease_seconds, messages.LEASE_SECONDS_ASKED_MAX)
        self._capacity = messages.Capacity(1, 0, self._lease_seconds)
        self._leases_max = messages.LEASES_PLAIN_MAX
        self._in_order = False
        self._puzzles: dict[str, Puzzle] = {}
        self._tasks: dict[int, Task] = {}
        self._waiting: dict[int, Task] = {}
        self._searches: dict[int, Task] = {}
        self._pace = Pace()
        self._number = 0
        self._beat_seconds = BEAT_SECONDS
        self._beat_at: float | None = None
        self.failure: str | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received():
                return self._on_received(event, now)
            case Searched():
                return self._on_searched(event, now)
            case Advanced(task=task) if task in self._searches:
                self._searches[task].advance(event.hashes, now)
            case Tick():
                return self._on_tick(now)
            case Started():
                return self._link.dial()
            case Connected():
                self._beat_at = now + IDLE_BEAT_SECONDS
                return self._on_connected(event)
            case Disconnected(peer=peer, why=why) if peer in (0, self._link.peer):
                return [*self._forget_all(), *self._link.disconnected(why, now)]
            case Erred(peer=peer, reason=reason) if peer == self._link.peer:
                return self._link.close(reason)
            case Stopping():
                return [*self._forget_all(), *self._link.stop()]
            case _:
                pass
        return []

    def deadline(self) -> float | None:
        """When to beat, or to dial again."""
        times = [when for when in (self._beat_at, self._link.dial_at) if when is not None]
        return min(times, default=None)

    def _on_received(self, event: Received, now: float) -> list[Effect]:
        message = event.message
        if event.peer == LOCAL:
            return self._on_capacity(message, now) if isinstance(message, Capacity) else []
        return self._on_message(message, now) if event.peer == self._link.peer else []

    def _on_message(self, message: object, now: float) -> list[Effect]:
        try:
            match message:
                case messages.Lease():
                    return self._on_lease(message, now)
                case messages.Revoke(lease=lease):
                    return self._on_revoke(lease, now)
                case messages.Retire(job=job):
                    self._puzzles.pop(job, None)
                    return []
                case messages.Welcome(beat_seconds=seconds):
                    self._beat_seconds = max(BEAT_SECONDS_MIN, min(seconds, IDLE_BEAT_SECONDS))
                    return []
                case messages.Refused(reason=reason, final=final):
                    return self._on_refused(reason, final=final)
                case _:
                    name = type(message).__name__
                    raise RemoteProtocolError(f"{name} from a pool makes no sense to a miner")
        except RemoteError as error:
            return self._link.close(str(error))

    def _on_refused(self, reason: str, *, final: bool) -> list[Effect]:
        effects: list[Effect] = [Emit(facts.PoolRefused(reason, final))]
        if final:
            self.failure = reason
            effects.append(Finish())
        return effects

    def _on_connected(self, event: Connected) -> list[Effect]:
        # Results on the older wire do not say of which lease they are.
        self._in_order = event.wire == LITEMINER
        self._leases_max = messages.leases_max(self._capacity.slots)
        effects = self._link.connected(event)
        if self._capacity != PLAIN_CAPACITY:
            effects += self._link.send(self._capacity)
        return effects

    def _on_capacity(self, told: Capacity, now: float) -> list[Effect]:
        """Leases that are too many now stay: their searches are under way, or soon will be."""
        slots = max(0, min(told.slots, messages.SLOTS_MAX))
        workers = max(0, min(told.workers, messages.WORKERS_MAX))
        capacity = messages.Capacity(slots, workers, self._lease_seconds)
        if capacity == self._capacity:
            return []
        self._capacity = capacity
        self._leases_max = max(self._leases_max, messages.leases_max(slots))
        for place, task in enumerate(self._searches.values(), 1):
            task.line_up(place, slots, now)
        return [*self._search_more(now), *self._link.send(capacity)]

    def _on_lease(self, lease: messages.Lease, now: float) -> list[Effect]:
        if lease.lease in self._tasks:
            return []
        if len(self._tasks) >= self._leases_max:
            raise RemoteProtocolError(f"more than {self._leases_max} leases at once")
        try:
            if lease.puzzle is not None:
                self._learn(lease.job, lease.puzzle.puzzle())
            if lease.job not in self._puzzles:
                return []  # Its puzzle was lost on the way: the next beat does not name it.
            task = Task(lease, self._puzzles[lease.job])
        except LocalError as error:
            raise RemoteProtocolError(f"an impossible lease: {error}") from None
        if task.nonces.stop > task.puzzle.nonce.count:
            raise RemoteProtocolError("a lease of nonces that its puzzle has no room for")
        self._link.settled()
        if not self._tasks:
            self._beat_at = now + self._beat_seconds
        self._tasks[lease.lease] = self._waiting[lease.lease] = task
        return self._search_more(now)

    def _learn(self, job: str, puzzle: Puzzle) -> None:
        self._puzzles[job] = puzzle
        if len(self._puzzles) > PUZZLES_MAX:
            del self._puzzles[next(iter(self._puzzles))]

    @property
    def _searches_at_once(self) -> int:
        """How many searches go on where there are enough leases."""
        several = self._searches_all or self._capacity.slots > 1
        return self._leases_max if several and not self._in_order else 1

    def _search_more(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        most = self._searches_at_once
        while self._waiting and len(self._searches) < most:
            task = self._waiting.pop(next(iter(self._waiting)))
            self._number += 1
            task.number, task.began = self._number, now
            self._searches[task.number] = task
            task.line_up(len(self._searches), self._capacity.slots, now)
            fact = facts.ShardTaken(task.lease.job, task.nonces.start, task.nonces.stop)
            effects += (Search(task.number, task.puzzle, task.nonces, task.goal), Emit(fact))
        return effects

    def _drop(self, task: Task, now: float) -> None:
        """This lease is held no more."""
        del self._tasks[task.lease.lease]
        self._waiting.pop(task.lease.lease, None)
        self._searches.pop(task.number, None)
        if not self._tasks:
            self._beat_at = now + IDLE_BEAT_SECONDS

    def _on_revoke(self, lease: int, now: float) -> list[Effect]:
        task = self._tasks.get(lease)
        if task is None:
            return []
        self._drop(task, now)
        if not task.number:
            return []
        effects: list[Effect] = [Cancel(task.number), *self._search_more(now)]
        if not self._tasks:
            # Perhaps the pool thinks that it is dead.
            effects += self._link.send(messages.Beat())
        return effects

    def _on_searched(self, event: Searched, now: float) -> list[Effect]:
        task = self._searches.get(event.task)
        if task is None:
            return []
        self._drop(task, now)
        lease = task.lease
        self._pace.add(task, event.stop - lease.start, self._capacity.slots, now)
        fact = facts.Worked(lease.job, lease.start, event.stop, now - task.began)
        result = messages.Result(lease.lease, event.stop, event.nonces)
        # The search comes first: a processor costs more than a message.
        return [*self._search_more(now), *self._link.send(result), Emit(fact)]

    def _on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._link.dial_at is not None and now >= self._link.dial_at:
            effects += self._link.dial()
        if self._beat_at is not None and now >= self._beat_at:
            # Who was asleep itself hears first what was done meanwhile.
            if now < self._beat_at + self._beat_seconds:
                effects += self._give_up_lost(now)
            held = tuple(self._tasks)
            hashes = sum(task.hashes for task in self._searches.values())
            self._beat_at = now + (self._beat_seconds if held else IDLE_BEAT_SECONDS)
            effects += self._link.send(messages.Beat(held, hashes))
        return effects

    def _give_up_lost(self, now: float) -> list[Effect]:
        """A search in this process cannot stand still alone; only workers can."""
        effects: list[Effect] = []
        if not self._capacity.workers:
            return effects
        # The others have no slot yet: whoever has it may be slow, and yet get on.
        begun = islice(self._searches.values(), max(1, self._capacity.slots))
        for task in [each for each in begun if self._pace.is_lost(each, now)]:
            self._drop(task, now)
            # Perhaps it is only slow: next time such a search has longer.
            self._pace.add(task, task.lease.count, self._capacity.slots, now)
            fact = facts.SearchGivenUp(
                task.lease.job, task.nonces.start, task.nonces.stop, now - task.began
            )
            effects += (Cancel(task.number), Emit(fact))
        return [*effects, *self._search_more(now)]

    def _forget_all(self) -> list[Effect]:
        """The connection is gone, and every lease with it."""
        effects: list[Effect] = [Cancel(number) for number in self._searches]
        self._tasks.clear()
        self._waiting.clear()
        self._searches.clear()
        self._puzzles.clear()
        self._beat_at = None
        return effects

    def _check(self) -> None:
        assert len(self._tasks) <= self._leases_max
        assert len(self._tasks) == len(self._waiting) + len(self._searches)
        for number, task in self._searches.items():
            assert task.number == number
            assert self._tasks[task.lease.lease] is task
        for lease, task in self._waiting.items():
            assert not task.number
            assert self._tasks[lease] is task
        if self._waiting:
            assert len(self._searches) >= self._searches_at_once, "work, and nothing searched"
        assert self._link.peer or not self._tasks, "leases without a pool"
        assert self._beat_at is None or self._link.peer, "beats for nobody"


def _goal(lease: messages.Lease) -> Goal:
    """What to ask of the search. Raises `RemoteProtocolError` for more than a result can carry."""
    if not lease.share_bits:
        return Lowest()
    limit = limit_of_bits(lease.share_bits)
    if lease.count > SHARES_MAX and expected_shares(lease.count, limit) > SHARES_ASKED_MAX:
        raise RemoteProtocolError("a lease that wants more shares than a result can carry")
    return Shares(limit, None if lease.target is None else messages.target_of(lease.target))
