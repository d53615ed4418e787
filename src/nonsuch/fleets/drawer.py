"""What a keeper in a world has its ledger in: a list in the place of a file.

What the keeper's core asks is served at its desk at once, and answered a moment later. Entries
outlive the keeper's process; who waited at the desk does not.
"""

from __future__ import annotations

from functools import partial

from nonsuch.networks.race.desk import Desk
from nonsuch.networks.race.ledger import Ledger
from nonsuch.networks.race.messages import Asked
from nonsuch.node import LOCAL, Core, Event, Received
from nonsuch.sim.world import World

__all__ = ["Drawer"]

FILE_SECONDS = 0.01
"""How long a question takes: a disk is written."""


class Drawer:
    """The ledger of the keeper of this name. Called with what its core says to `LOCAL`."""

    def __init__(self, world: World, name: str) -> None:
        self.entries: list[dict[str, object]] = []
        self._world = world
        self._name = name
        self._core: Core | None = None
        self._desk, self._ledger = Desk(), Ledger()

    def __call__(self, message: object) -> None:
        """The core has a question."""
        assert isinstance(message, Asked), "a keeper asks nothing for itself"
        core = self._world.core(self._name)
        if core is not self._core:
            self._core, self._desk, self._ledger = core, Desk(), Ledger()
            self._ledger.update(self.entries)
        entries, answers = self._desk.handle(message, self._ledger)
        self.entries += entries
        for answer in answers:
            tell = partial(self._tell, core, Received(LOCAL, answer))
            when_awake = partial(self._world.when_awake, self._name, tell)
            self._world.at(self._world.seconds + FILE_SECONDS, when_awake)

    def _tell(self, core: Core, answer: Event) -> None:
        """Only to the process that has asked."""
        if self._world.is_up(self._name) and self._world.core(self._name) is core:
            self._world.deliver(self._name, answer)
