"""Cores around cores: what a fleet changes about the nodes that it runs."""

from __future__ import annotations

from nonsuch.networks.pool.messages import Refused
from nonsuch.node import (
    Core,
    Dial,
    Effect,
    Event,
    Received,
)

__all__ = ["Chastened"]

CHASTENED_SECONDS = 30.0
"""How long a miner that was caught stays away: people should be able to read what has happened."""


class Chastened:
    """A core that, where a pool has refused it, does not call again for a while."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._held: list[Effect] = []
        self._back_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What the core does, but for its dials."""
        if isinstance(event, Received) and isinstance(event.message, Refused):
            self._back_at = now + CHASTENED_SECONDS
        effects = self._core.handle(event, now)
        if self._back_at is None:
            return effects
        if now >= self._back_at:
            held, self._held, self._back_at = self._held, [], None
            return [*effects, *held]
        self._held += [effect for effect in effects if isinstance(effect, Dial)]
        return [effect for effect in effects if not isinstance(effect, Dial)]

    def deadline(self) -> float | None:
        """The core's, or when it is back."""
        times = (self._core.deadline(), self._back_at)
        return min((at for at in times if at is not None), default=None)

    def _check(self) -> None:
        assert len(self._held) <= 1
        self._core._check()
