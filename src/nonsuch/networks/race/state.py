"""What the parts of a node share: its settings, its clock, and what is to be said and kept.

The parts are `clients` (connections, and where a transaction ends), `races` (who searches what, and
which claims are open), `link` (the way to the ledger), and `node` (events).
"""

from __future__ import annotations

import random
from collections import Counter

from nonsuch.networks.race import facts
from nonsuch.networks.race.records import Record
from nonsuch.networks.race.settings import RaceSettings
from nonsuch.node import Close, Effect, Emit, Persist, Send

__all__ = ["State"]


class State:
    """What every part needs, and the effects of the event at hand."""

    def __init__(self, settings: RaceSettings, lots: random.Random, origin_seconds: float) -> None:
        self.settings = settings
        self.lots = lots
        self.origin_seconds = origin_seconds
        self.counts: Counter[str] = Counter()
        self.effects: list[Effect] = []

    def unix(self, now: float) -> float:
        """Unix time, in seconds."""
        return self.origin_seconds + now

    def set_clock(self, unix: float, now: float) -> None:
        """It is so many Unix seconds at `now`."""
        self.origin_seconds = unix - now

    def send(self, peer: int, message: object) -> None:
        """Say something to a peer."""
        self.effects.append(Send(peer, message))

    def close(self, peer: int, why: str) -> None:
        """Hang up."""
        self.effects.append(Close(peer, why))

    def emit(self, fact: facts.Fact) -> None:
        """Say something to people."""
        self.effects.append(Emit(fact))

    def keep(self, subject: str, record: Record | None) -> None:
        """Have this on disk in the place of what was there; None for nothing."""
        self.effects.append(Persist(subject, record, replaces=True))

    def take_effects(self) -> list[Effect]:
        """What the event at hand has brought about, once."""
        effects, self.effects = self.effects, []
        return effects
