"""Nodes that share a file, or a keeper, in one process and in as much time as a test likes.

Everything that a driver would do is done here, and nothing by itself: searches end when a test says
so, and `settle` carries questions to the ledger and answers back.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from datetime import UTC

from nonsuch.networks.race.desk import Desk
from nonsuch.networks.race.ledger import Ledger
from nonsuch.networks.race.messages import Asked, Claim, End, Enter, Fragment, Join, Leave, Reply
from nonsuch.networks.race.node import RaceNode
from nonsuch.networks.race.settings import RaceSettings
from nonsuch.networks.race.statistics import RaceStatistics
from nonsuch.node import (
    LOCAL,
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
    Tick,
)
from nonsuch.work.goals import First

__all__ = ["UNIX", "Machine", "Track", "node", "solved"]

UNIX = 1_700_000_000.0


def solved(search: Search) -> int:
    """The first nonce, found apart from everything else here."""
    assert isinstance(search.goal, First)
    nonce = 0
    while True:
        digest = hashlib.sha256(search.puzzle.prefix + b"%d" % nonce).digest()
        if search.goal.target.admits(int.from_bytes(digest, "big")):
            return nonce
        nonce += 1


class Machine:
    """A core and its surroundings. `disk` survives it, as do those of `searches` that it lost."""

    def __init__(self, track: Track, core: Core) -> None:
        self.track = track
        self.core = core
        self.now = 0.0
        self.effects: list[Effect] = []
        self.facts: list[object] = []
        self.replies: dict[int, str] = {}
        self.closed: dict[int, str] = {}
        self.searches: dict[int, Search] = {}
        self.disk: dict[str, object] = {}
        self.asked: deque[object] = deque()
        self.sent: list[tuple[int, object]] = []
        self.dials = 0
        self.peer = 0
        self.desk = Desk()
        self.ledger = Ledger()

    def happens(self, event: Event) -> list[Effect]:
        """An event, and what comes of it."""
        effects = self.core.handle(event, self.now)
        self.core._check()
        self.effects += effects
        for effect in effects:
            self._carry_out(effect)
        return effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(peer=peer, message=message):
                self._send(peer, message)
            case Close(peer=peer, why=why):
                self.closed[peer] = why
            case Emit(fact=fact):
                self.facts.append(fact)
            case Search():
                self.searches[effect.task] = effect
            case Cancel(task=task):
                del self.searches[task]
            case Persist(subject=subject, record=record):
                self.disk.pop(subject, None)
                if record is not None:
                    self.disk[subject] = record
            case Dial():
                self.dials += 1
            case _:
                pass

    def _send(self, peer: int, message: object) -> None:
        if peer == LOCAL:
            self.asked.append(message)
        elif isinstance(message, Reply):
            self.replies[peer] = message.text
        else:
            self.sent.append((peer, message))

    def start(self, *kept: object) -> None:
        """A life begins, and reads the ledger."""
        self.happens(Started(kept))
        self.track.settle()

    def waits(self, seconds: float) -> None:
        """So many seconds go by."""
        until = self.now + seconds
        while (deadline := self.core.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.happens(Tick())
            self.track.settle()
        self.now = until

    def calls(self) -> int:
        """A client connects."""
        self.peer += 1
        self.happens(Connected(self.peer, f"127.0.0.1:{40000 + self.peer}", "text"))
        return self.peer

    def hears(self, peer: int, data: bytes) -> None:
        """A client sends some bytes."""
        self.happens(Received(peer, Fragment(data)))
        self.track.settle()

    def ends(self, peer: int) -> None:
        """A client closes its half."""
        self.happens(Received(peer, End()))
        self.track.settle()

    def is_fed(self, text: str) -> str:
        """A client sends a whole text; its reply."""
        peer = self.calls()
        self.hears(peer, text.encode())
        self.ends(peer)
        self.happens(Disconnected(peer, "it hung up"))
        return self.replies[peer]

    def finds(self, task: int | None = None) -> None:
        """A search, the first unless it is named, has found its nonce."""
        search = self.searches.pop(min(self.searches) if task is None else task)
        nonce = solved(search)
        self.happens(Searched(search.task, nonce + 1, (nonce,)))
        self.track.settle()

    @property
    def statistics(self) -> RaceStatistics:
        """Where its node stands."""
        assert isinstance(self.core, RaceNode)
        return self.core.statistics(self.now)

    def told(self, kind: type) -> list[object]:
        """The facts of this kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


class Track:
    """Machines that share one file."""

    def __init__(self, *entries: dict[str, object]) -> None:
        self.entries = list(entries)
        self.machines: dict[str, Machine] = {}
        self.serves = True

    def add(self, name: str, core: Core, *kept: object) -> Machine:
        """A machine in the place of one of this name, which keeps its disk."""
        machine = Machine(self, core)
        if name in self.machines:
            machine.disk = self.machines[name].disk
            machine.now = self.machines[name].now
        self.machines[name] = machine
        machine.start(*(kept or machine.disk.values()))
        return machine

    def settle(self) -> None:
        """Until nobody asks anything, and all have heard of all that is new."""
        while self.serves and any(machine.asked for machine in self.machines.values()):
            for machine in self.machines.values():
                while machine.asked:
                    self._serve(machine, machine.asked.popleft())

    def _serve(self, machine: Machine, request: object) -> None:
        assert isinstance(request, Join | Enter | Claim | Leave | Asked)
        machine.ledger.update(self.entries)
        entries, answers = machine.desk.handle(request, machine.ledger)
        self.entries += entries
        for answer in answers:
            machine.happens(Received(LOCAL, answer))
        if entries:
            self.look()

    def look(self) -> None:
        """The file has changed."""
        for machine in self.machines.values():
            machine.ledger.update(self.entries)
            for answer in machine.desk.look(machine.ledger):
                machine.happens(Received(LOCAL, answer))

    def winners(self) -> list[tuple[object, object]]:
        """Who has won what, in the order of the ledger."""
        return [(entry["node"], entry["transaction_data"]) for entry in self.entries]


def node(name: str = "Node1", /, **settings: object) -> RaceNode:
    """A node at an easy difficulty."""
    made = RaceSettings(**{"name": name, "difficulty": 1, "zone": UTC, **settings})  # type: ignore[arg-type]
    return RaceNode(made, random.Random(name), UNIX)
