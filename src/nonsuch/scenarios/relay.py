"""A pool whose miners sit behind relays, through a minute of everything that can go wrong.

It is the pool's scenario with one more level, and sometimes two: relays crash, freeze and are cut
off as miners are, there are liars among their miners, and some relays lie themselves. What must
hold is the same, with one difference. An honest relay answers for its miners, so where it does not
have everything scanned again, and has a liar, it may be accused above of what it was told.
"""

from __future__ import annotations

from collections.abc import Callable

from nonsuch.networks.pool.messages import Hello
from nonsuch.networks.pool.relay import Relay
from nonsuch.node import Core
from nonsuch.scenarios.cheats import Cheat
from nonsuch.scenarios.pool import Play, Story
from nonsuch.sim.world import Ranks

__all__ = ["play"]

HASH_RATE = 500.0
"""Of a relay's own machine, which searches where no miner of its can audit another."""


def play(seed: int, ranks: Ranks | None = None) -> Story:
    """One seed from beginning to end. Raises `Broken`, or what a core's check raises."""
    return _Play(seed, Ranks() if ranks is None else ranks).run()


class _Play(Play):
    """One run of the scenario. `_relays` are the honest ones, with whom each has above it."""

    network = "relay"

    def _miners(self) -> None:
        plan = self._plan
        self._relays = ["relay-0", "relay-1"]
        self._honest += self._relays
        for name in self._relays:
            above = plan.choice(["pool", "pool", "relay-0"]) if name == "relay-1" else "pool"
            self._add(name, self._relay(name), HASH_RATE, above=above, listens=True)
        for name in self._relays:
            for number in range(plan.randint(1, 3)):
                self._add_miner(f"{name}-miner-{number}", name)
        if plan.random() < 0.3:
            self._add_miner("miner", "pool")
        for name, kind in self._liars.items():
            self._liar(name, kind)

    def _add_miner(self, name: str, above: str) -> None:
        rate = 10 ** self._plan.uniform(2, 3.5)
        self._honest.append(name)
        self._add(name, self._miner(name, rate), rate, above=above)

    def _liar(self, name: str, kind: str) -> None:
        """A miner of a relay's, or a relay with an honest miner of its own."""
        if self._plan.random() < 0.5:
            self._add(name, self._cheat(kind), 1000.0, above=self._plan.choice(self._relays))
            return
        self._add(name, self._lying_relay(kind), HASH_RATE, listens=True)
        self._add_miner(f"{name}-miner", name)

    def _relay(self, name: str) -> Callable[[], Core]:
        hello = Hello("miner", name=name, rate=self._plan.choice([0.0, 1000.0, 10_000.0]))
        return lambda: Relay(self._settings, hello, self._lots())

    def _lying_relay(self, kind: str) -> Callable[[], Core]:
        honest = self._relay(kind)
        return lambda: Cheat(honest(), kind, self._lots())

    def _is_honest(self, name: str) -> bool:
        trusting = bool(self._cheats) and not self._thorough
        return super()._is_honest(name) and not (trusting and name in self._relays)
