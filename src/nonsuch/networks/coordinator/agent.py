"""An agent: it takes the newest header, searches it, and says what it has found.

A new header ends the search on the one before at once, whatever stage that is in: whoever is sent
ten of them while it was away searches the last. The search begins at the header's own nonce and
goes up; so agents that are given different ones do not do each other's work.

When all nonces were tried the header is dated one second later, and there are as many again. The
clock that says how far that may go is the coordinator's: the time that its header said, and what
has passed since. So an agent whose own clock is wrong does no harm. Beyond, it waits for the next
header; it never gives up.

It asks nothing of a coordinator but headers, so those that send every agent the same nonce, and any
root, are served as well.
"""

from __future__ import annotations

import random

from nonsuch.chain.validation import check_work
from nonsuch.errors import LocalError
from nonsuch.networks.coordinator import facts
from nonsuch.networks.coordinator.header import NONCE_COUNT, TIMESTAMP_MAX, Block, Header
from nonsuch.networks.coordinator.settings import AgentSettings
from nonsuch.networks.coordinator.statistics import AgentStatistics
from nonsuch.node import (
    Advanced,
    Backoff,
    Cancel,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Event,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.goals import First
from nonsuch.work.target import Target

__all__ = ["Agent"]


class _Task:
    """A search: `hashes` of it were done by `advanced_at`, as far as is known."""

    __slots__ = ("advanced_at", "began", "hashes", "header", "number", "target")

    def __init__(self, number: int, header: Header, target: Target, now: float) -> None:
        self.number = number
        self.header = header
        self.target = target
        self.began = self.advanced_at = now
        self.hashes = 0


class Agent:
    """The core of an agent. `lots` spread its attempts to reconnect."""

    def __init__(self, settings: AgentSettings, lots: random.Random) -> None:
        self._settings = settings
        self._lots = lots
        self._backoff = Backoff(settings.retry_seconds_min, settings.retry_seconds_max)
        self._peer = 0
        self._address = ""
        self._attempts = 0
        self._dial_at: float | None = None
        self._told_lost = False
        self._told_refused = False
        self._stopping = False
        self._task: _Task | None = None
        self._task_number = 0
        self._clock_origin = 0.0
        self._headers = 0
        self._answers = 0
        self._exhausted = 0
        self._hashes = 0
        self._searched_seconds = 0.0

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        if self._stopping:
            return []
        match event:
            case Received(peer=peer, message=Header() as header) if peer == self._peer:
                return self._on_header(header, now)
            case Searched():
                return self._on_searched(event, now)
            case Advanced():
                return self._on_advanced(event, now)
            case Tick():
                return self._on_tick(now)
            case Started():
                return self._dial()
            case Connected():
                return self._on_connected(event)
            case Disconnected(peer=peer, why=why) if peer in (0, self._peer):
                return self._on_disconnected(why, now)
            case Stopping():
                return self._on_stopping()
            case _:
                return []

    def deadline(self) -> float | None:
        """When to dial again."""
        return None if self._stopping else self._dial_at

    # The way to a coordinator, and back to it.

    def _dial(self) -> list[Effect]:
        self._dial_at = None
        self._attempts += 1
        return [Dial()]

    def _on_tick(self, now: float) -> list[Effect]:
        return self._dial() if self._dial_at is not None and now >= self._dial_at else []

    def _on_connected(self, event: Connected) -> list[Effect]:
        self._peer, self._address = event.peer, event.address
        self._dial_at = None
        fact = facts.CoordinatorReached(event.address, self._attempts)
        self._attempts = 0
        self._told_lost = False
        return [Emit(fact)]

    def _on_disconnected(self, why: str, now: float) -> list[Effect]:
        """It is gone, or was not there: what it asked for is of no use to anybody."""
        effects = self._cancel()
        self._peer, self._address = 0, ""
        self._dial_at = now + self._backoff.next_seconds(self._lots.random())
        if not self._told_lost:
            self._told_lost = True
            effects.append(Emit(facts.CoordinatorLost(why)))
        return effects

    def _on_stopping(self) -> list[Effect]:
        effects = self._cancel()
        self._stopping = True
        return [*effects, Close(self._peer, "stopped")] if self._peer else effects

    # Headers come in.

    def _on_header(self, header: Header, now: float) -> list[Effect]:
        self._headers += 1
        effects = self._cancel()
        try:
            target = header.target
        except LocalError as error:
            if not self._told_refused:
                self._told_refused = True
                effects.append(Emit(facts.HeaderRefused(str(error))))
            return effects
        # Whoever takes every connection, and then says nothing, is not called ten times a second.
        self._backoff.reset()
        self._told_refused = False
        self._clock_origin = header.timestamp - now
        return [*effects, self._search(header, target, now)]

    def _search(self, header: Header, target: Target, now: float) -> Effect:
        self._task_number += 1
        self._task = _Task(self._task_number, header, target, now)
        nonces = range(header.nonce, NONCE_COUNT)
        return Search(self._task_number, header.puzzle, nonces, First(target))

    def _cancel(self) -> list[Effect]:
        task = self._task
        if task is None:
            return []
        self._count(task.hashes, task.advanced_at - task.began)
        self._task = None
        return [Cancel(task.number)]

    # Answers go out.

    def _on_searched(self, event: Searched, now: float) -> list[Effect]:
        task = self._task
        if task is None or task.number != event.task:
            return []
        header = task.header
        self._count(event.stop - header.nonce, now - task.began)
        self._task = None
        if not event.nonces:
            return self._roll(header, task.target, now)
        nonce = event.nonces[0]
        solved = header.with_nonce(nonce)
        block = Block(solved)
        check_work(block.rank, task.target)
        self._answers += 1
        fact = facts.Solved(block.id.hex(), nonce, now - task.began)
        return [Send(self._peer, solved), Emit(fact)]

    def _roll(self, header: Header, target: Target, now: float) -> list[Effect]:
        """All nonces were tried: date the header anew, as far as that may go."""
        self._exhausted += 1
        timestamp = header.timestamp + 1
        latest = self._clock_origin + now + self._settings.roll_seconds_max
        if timestamp > min(latest, TIMESTAMP_MAX):
            return [Emit(facts.Exhausted(rolled=False))]
        search = self._search(header.with_timestamp(timestamp), target, now)
        return [search, Emit(facts.Exhausted(rolled=True))]

    def _on_advanced(self, event: Advanced, now: float) -> list[Effect]:
        task = self._task
        if task is not None and task.number == event.task:
            task.hashes, task.advanced_at = event.hashes, now
        return []

    def _count(self, hashes: int, seconds: float) -> None:
        self._hashes += hashes
        self._searched_seconds += seconds

    # What is seen from outside.

    def statistics(self) -> AgentStatistics:
        """A frozen picture of the agent."""
        task = self._task
        hashes, seconds = self._hashes, self._searched_seconds
        if task is not None:
            hashes, seconds = hashes + task.hashes, seconds + task.advanced_at - task.began
        return AgentStatistics(
            coordinator=self._address,
            searching=task is not None,
            headers=self._headers,
            answers=self._answers,
            exhausted=self._exhausted,
            hashes=hashes,
            rate=hashes / seconds if seconds > 0 else 0.0,
        )

    def _check(self) -> None:
        assert self._peer or self._task is None, "a search for nobody"
        assert not (self._peer and self._dial_at is not None), "dialling one who is there"
        assert self._answers <= self._headers, "two answers to one header"
        assert not self._stopping or self._task is None
