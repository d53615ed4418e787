"""A node of the race: it takes transactions, searches, and claims what it has found.

    client ──text──▶ on disk ──"Transaction received…"──▶ client
                        │
                        ▼
                     search ──nonce──▶ the ledger: first, or too late

Three nodes are fed the same text and search for the same nonce; the ledger decides who was first
(`ledger.py`). This file is the core's face: events and the clock. Behind it, `clients` know where a
transaction ends, `races` what is searched and claimed, and `link` the way to the ledger.

**LOCAL.** Who owns the driver tells the time (`Clock`), and where the ledger is a file of this
machine serves all that is asked of it (`desk.py`).
"""

from __future__ import annotations

import random

from nonsuch.networks.race.clients import Clients
from nonsuch.networks.race.link import KEEPER, Link
from nonsuch.networks.race.messages import (
    End,
    Fragment,
    Joined,
    Lost,
    Refused,
    Replaced,
    Welcome,
    Won,
)
from nonsuch.networks.race.races import Races
from nonsuch.networks.race.settings import RaceSettings
from nonsuch.networks.race.state import State
from nonsuch.networks.race.statistics import RaceStatistics
from nonsuch.node import (
    LOCAL,
    Clock,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Received,
    Searched,
    Started,
    Stopping,
    Tick,
)

__all__ = ["RaceNode"]


class RaceNode:
    """The core of a node. In the end it may have a `failure`, where its keeper refused it.

    `lots` spread its attempts to reconnect. `origin_seconds` is the Unix time at which the driver's
    clock, which is monotonic, showed 0.
    """

    def __init__(
        self, settings: RaceSettings, lots: random.Random, origin_seconds: float = 0.0
    ) -> None:
        self._settings = settings
        self._state = State(settings, lots, origin_seconds)
        self._link = Link(self._state)
        self.races = Races(self._state, self._link)
        self._clients = Clients(self._state, self.races)
        self._began = 0.0
        self._stopping = False

    @property
    def failure(self) -> str | None:
        """Why the keeper will never have this node."""
        return self._link.failure

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        if self._stopping:
            return []
        self._take(event, now)
        if not self._stopping:
            self.races.settle(now)
        return self._state.take_effects()

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Received(peer=peer, message=message):
                self._on_received(peer, message, now)
            case Searched():
                self.races.searched(event, now)
            case Tick():
                self._clients.tick(now)
                self.races.tick(now)
                self._link.tick(now)
            case Connected():
                self._on_connected(event, now)
            case Disconnected():
                self._on_disconnected(event, now)
            case Erred(peer=peer, reason=reason) if self._link.is_keeper(peer):
                self._link.give_up(reason)
            case Started(records=records):
                self._on_started(records, now)
            case Stopping():
                self._stopping = True
                self.races.stop()
            case _:
                pass

    def deadline(self) -> float | None:
        """When a client has paused, a keeper should have answered, or to call him again."""
        if self._stopping:
            return None
        times = (self._clients.deadline(), self.races.deadline(), self._link.deadline())
        return min((at for at in times if at is not None), default=None)

    def _on_started(self, records: tuple[object, ...], now: float) -> None:
        self._began = now
        self.races.restore(records)
        self._link.start()
        if self._link.peer is not None:
            self.races.reached(now)

    def _on_connected(self, event: Connected, now: float) -> None:
        if event.dialled == KEEPER:
            self._link.connected(event, now)
        else:
            self._clients.connected(event.peer, event.address, now)

    def _on_disconnected(self, event: Disconnected, now: float) -> None:
        if not event.peer or self._link.is_keeper(event.peer):
            self._link.disconnected(event.why, now)
        else:
            self._clients.disconnected(event.peer)

    def _on_received(self, peer: int, message: object, now: float) -> None:
        if peer == LOCAL and isinstance(message, Clock):
            self._state.set_clock(message.unix, now)
        elif peer == self._link.peer:
            self._from_ledger(message, now)
        elif self._link.is_keeper(peer):
            self._from_stranger(message, now)
        elif isinstance(message, Fragment):
            self._clients.fragment(peer, message.data, now)
        elif isinstance(message, End):
            self._clients.end(peer, now)

    def _from_ledger(self, message: object, now: float) -> None:
        if isinstance(message, Joined | Won | Lost | Replaced):
            self._link.answered()
            self.races.answered(message, now)
            if self.races.ledger_read:
                self._clients.ledger_read()
        elif isinstance(message, Refused):
            self._link.refused(message)

    def _from_stranger(self, message: object, now: float) -> None:
        """The keeper has not said yet that he is one."""
        if isinstance(message, Welcome):
            if self._link.welcomed():
                self.races.reached(now)
        elif isinstance(message, Refused):
            self._link.refused(message)
        else:
            self._link.give_up(f"{type(message).__name__} before a welcome")

    # What is seen from outside.

    def statistics(self, now: float) -> RaceStatistics:
        """A frozen picture of the node."""
        races, counts = self.races, self._state.counts
        return RaceStatistics(
            name=self._settings.name,
            seconds=now - self._began,
            waiting=races.waiting,
            searching=races.searching,
            claims=races.claims,
            accepted=counts["accepted"],
            refused=counts["refused"],
            won=counts["won"],
            lost=counts["lost"],
            stopped=counts["stopped"],
            replaced=counts["replaced"],
            connections=len(self._clients),
            texts=races.texts,
            hashes=races.hashes,
            rate=races.rate,
            reached=self._link.peer is not None,
        )

    def _check(self) -> None:
        if not self._stopping:
            self._link.check()
            self.races.check()
            self._clients.check()
