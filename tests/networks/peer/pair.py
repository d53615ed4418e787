"""Peers that talk to each other over their real wire, and a net that is one queue."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.networks.peer.wire import PeerWire
from nonsuch.node import (
    Close,
    Connected,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Received,
    Send,
    Started,
    Tick,
)

__all__ = ["UNIX", "Net"]

UNIX = 1_700_000_000.0

End = tuple[str, int]


class Net:
    """Peers by name. What they say is encoded, counted, and decoded by who hears it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.peers: dict[str, Peer] = {}
        self.facts: list[tuple[str, object]] = []
        self.bytes = 0
        self.edit: Callable[[str, Send], Iterable[Send]] = lambda _, send: [send]
        self._numbers: dict[str, int] = {}
        self._ends: dict[End, tuple[End, PeerWire]] = {}
        self._queue: deque[tuple[End, bytes]] = deque()

    def add(self, name: str, settings: PeerSettings, *kept: object) -> Peer:
        """A peer, which has started."""
        peer = Peer(settings, random.Random(name), UNIX)
        self.peers[name] = peer
        self._numbers[name] = 0
        self.happens(name, Started(kept))
        return peer

    def connect(self, name: str, other: str) -> None:
        """The first dials the second, who is a neighbour of it by this name."""
        ends = []
        for each in (name, other):
            self._numbers[each] += 1
            ends.append((each, self._numbers[each]))
        dialler, listener = ends
        self._ends[dialler] = listener, PeerWire(dialled=True)
        self._ends[listener] = dialler, PeerWire(dialled=False)
        self.happens(other, Connected(listener[1], f"{name}:1", PeerWire.name))
        self.happens(name, Connected(dialler[1], f"{other}:1", PeerWire.name, other))

    def happens(self, name: str, event: Event) -> list[Effect]:
        """An event at a peer; what it says is on its way."""
        effects = self.peers[name].handle(event, self.now)
        for effect in effects:
            match effect:
                case Send():
                    for send in self.edit(name, effect):
                        self._send((name, send.peer), send.message)
                case Close(peer=number, why=why):
                    self._close((name, number), why)
                case Emit(fact=fact):
                    self.facts.append((name, fact))
                case _:
                    pass
        return effects

    def _send(self, end: End, message: object) -> None:
        if end in self._ends:
            other, wire = self._ends[end]
            data = wire.encode(message)
            self.bytes += len(data)
            self._queue.append((other, data))

    def _close(self, end: End, why: str) -> None:
        if end in self._ends:
            other, _ = self._ends.pop(end)
            self._ends.pop(other, None)
            self.happens(end[0], Disconnected(end[1], why))
            self.happens(other[0], Disconnected(other[1], "it hung up"))

    def settle(self) -> None:
        """Until nothing is on its way."""
        while self._queue:
            end, data = self._queue.popleft()
            if end not in self._ends:
                continue
            try:
                messages = self._ends[end][1].feed(data)
            except RemoteProtocolError as error:
                self.happens(end[0], Erred(end[1], error.cost, str(error)))
                continue
            for message in messages:
                self.happens(end[0], Received(end[1], message))

    def waits(self, seconds: float) -> None:
        """So many seconds, with all that comes to be said in them."""
        until = self.now + seconds
        while True:
            self.settle()
            due = [
                (deadline, name)
                for name, peer in self.peers.items()
                if (deadline := peer.deadline()) is not None and deadline <= until
            ]
            if not due:
                break
            deadline, name = min(due)
            self.now = max(self.now, deadline)
            self.happens(name, Tick())
        self.now = until

    def check(self) -> None:
        """Assert every invariant."""
        for peer in self.peers.values():
            peer._check()
