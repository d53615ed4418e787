"""A miner of a pool: it takes leases, has them searched, and says what was found.

It holds a lease or two at a time: one that is being searched and one that waits, so that no
processor stands still while a result travels. While it holds any it beats; a beat names them, so
the pool and the miner agree on who has what even where a message was lost.

A pool is not believed either: a lease that is too long for its nonce field, or whose share limit
would make the miner collect more than a result can carry, is refused with an error that ends the
connection, and queues are bounded.
"""

from __future__ import annotations

import random
from collections import deque

from nonsuch.errors import LocalError, RemoteError, RemoteProtocolError
from nonsuch.networks.pool import facts, messages
from nonsuch.networks.pool.link import Link
from nonsuch.node import (
    Advanced,
    Cancel,
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


class Task:
    """A lease that this miner holds."""

    __slots__ = ("began", "goal", "lease", "nonces", "number", "puzzle")

    def __init__(self, lease: messages.Lease, puzzle: Puzzle) -> None:
        self.lease = lease
        self.puzzle = puzzle
        self.nonces = range(lease.start, lease.start + lease.count)
        self.goal = _goal(lease)
        self.number = 0
        self.began = 0.0


class Miner:
    """The core of a miner. `lots` spreads its attempts to reconnect."""

    def __init__(self, hello: messages.Hello, lots: random.Random) -> None:
        self._link = Link(hello, lots)
        self._puzzles: dict[str, Puzzle] = {}
        self._tasks: deque[Task] = deque()
        self._number = 0
        self._hashes = 0
        self._beat_seconds = BEAT_SECONDS
        self._beat_at: float | None = None
        self.failure: str | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received(peer=peer, message=message) if peer == self._link.peer:
                return self._on_message(message, now)
            case Searched():
                return self._on_searched(event, now)
            case Advanced() if self._tasks and self._tasks[0].number == event.task:
                self._hashes = event.hashes
                return []
            case Tick():
                return self._on_tick(now)
            case Started():
                return self._link.dial()
            case Connected():
                self._beat_at = now + IDLE_BEAT_SECONDS
                return self._link.connected(event)
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

    def _on_lease(self, lease: messages.Lease, now: float) -> list[Effect]:
        if any(task.lease.lease == lease.lease for task in self._tasks):
            return []
        if len(self._tasks) >= messages.LEASES_MAX:
            raise RemoteProtocolError(f"more than {messages.LEASES_MAX} leases at once")
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
        self._tasks.append(task)
        if len(self._tasks) > 1:
            return []
        self._beat_at = now + self._beat_seconds
        return self._search_next(now)

    def _learn(self, job: str, puzzle: Puzzle) -> None:
        self._puzzles[job] = puzzle
        if len(self._puzzles) > PUZZLES_MAX:
            del self._puzzles[next(iter(self._puzzles))]

    def _search_next(self, now: float) -> list[Effect]:
        self._hashes = 0
        if not self._tasks:
            self._beat_at = now + IDLE_BEAT_SECONDS
            return []
        self._number += 1
        task = self._tasks[0]
        task.number, task.began = self._number, now
        fact = facts.ShardTaken(task.lease.job, task.nonces.start, task.nonces.stop)
        return [Search(task.number, task.puzzle, task.nonces, task.goal), Emit(fact)]

    def _on_revoke(self, lease: int, now: float) -> list[Effect]:
        for task in self._tasks:
            if task.lease.lease == lease:
                break
        else:
            return []
        self._tasks.remove(task)
        if not task.number:
            return []
        effects: list[Effect] = [Cancel(task.number), *self._search_next(now)]
        if not self._tasks:
            # Perhaps the pool thinks that it is dead.
            effects += self._link.send(messages.Beat())
        return effects

    def _on_searched(self, event: Searched, now: float) -> list[Effect]:
        if not self._tasks or self._tasks[0].number != event.task:
            return []
        task = self._tasks.popleft()
        lease = task.lease
        fact = facts.Worked(lease.job, lease.start, event.stop, now - task.began)
        result = messages.Result(lease.lease, event.stop, event.nonces)
        # The search comes first: a processor costs more than a message.
        return [*self._search_next(now), *self._link.send(result), Emit(fact)]

    def _on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._link.dial_at is not None and now >= self._link.dial_at:
            effects += self._link.dial()
        if self._beat_at is not None and now >= self._beat_at:
            held = tuple(task.lease.lease for task in self._tasks)
            self._beat_at = now + (self._beat_seconds if held else IDLE_BEAT_SECONDS)
            effects += self._link.send(messages.Beat(held, self._hashes))
        return effects

    def _forget_all(self) -> list[Effect]:
        """The connection is gone, and every lease with it."""
        effects: list[Effect] = [Cancel(task.number) for task in self._tasks if task.number]
        self._tasks.clear()
        self._puzzles.clear()
        self._hashes = 0
        self._beat_at = None
        return effects

    def _check(self) -> None:
        assert len(self._tasks) <= messages.LEASES_MAX
        searching = [task for task in self._tasks if task.number]
        assert searching == list(self._tasks)[: len(searching)]
        assert len(searching) == min(1, len(self._tasks)), "work, and nothing searched"
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
