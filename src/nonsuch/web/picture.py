"""The picture: all that a dashboard shows, folded from the observations, once and in one place.

It is a few tables of plain rows. The browser folds nothing: it takes whole rows and keys that went,
and draws. A live dashboard, a recording that is replayed and a simulated world differ in where the
observations come from and in nothing else.

No observation is believed to make sense, though they come from our own processes: one that cannot
be read is counted and passed over, and every table has its bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import msgspec

from nonsuch.web.observations import LINE, Observation
from nonsuch.web.pictures.board import Board, Handlers, Part
from nonsuch.web.pictures.chain import ChainPart
from nonsuch.web.pictures.coordinator import CoordinatorPart
from nonsuch.web.pictures.pool import PoolPart
from nonsuch.web.pictures.race import RacePart
from nonsuch.web.rows import About, Network
from nonsuch.web.tables import AnyTable

__all__ = ["Changes", "Picture"]

Rows = Mapping[str, Mapping[str, msgspec.Struct]]
"""Rows by table and key."""


class Changes(msgspec.Struct, frozen=True):
    """Rows that changed, and keys that went, by table; tables without either are left out."""

    set: dict[str, Mapping[str, msgspec.Struct]]
    drop: dict[str, list[str]]


class Picture:
    """A fold of observations of one kind of network.

    `at` is the latest time that any of them told of. `facts` counts them by kind, known kinds only;
    `unreadable` counts those of a known kind with other values.
    """

    def __init__(self, about: About) -> None:
        self.at = about.started
        self.observations = 0
        self.unreadable = 0
        self.facts: Counter[str] = Counter()
        self.board = Board(about.network)
        self.part = _part(about.network, self.board)
        self.board.part = self.part
        self.tables: tuple[AnyTable, ...] = (*self.board.tables, *self.part.tables)
        self._handlers: Handlers = {**self.board.handlers, **self.part.handlers}
        self.describe(about)

    @property
    def about(self) -> About:
        """What is watched."""
        return self.board.about.rows["about"]

    def describe(self, about: About) -> None:
        """What is watched, and what can be done about it, is this from now on."""
        self.board.describe(about)

    def fold(self, observation: Observation) -> None:
        """Take one observation."""
        self.observations += 1
        at, node, name = observation.at, observation.node, observation.fact
        if not math.isfinite(at):
            self.unreadable += 1
            return
        if at > self.at:
            self.at = at
        if node:
            self.board.heard(node, at)
        handler = self._handlers.get(name)
        if handler is None:
            self.facts["others" if name != LINE else LINE] += 1
            return
        self.facts[name] += 1
        try:
            handler.take(observation)
        except msgspec.ValidationError:
            self.unreadable += 1

    @property
    def is_changed(self) -> bool:
        """Whether `take` has anything to give."""
        return any(table.is_changed for table in self.tables)

    def take(self) -> Changes:
        """What has changed since the last `take`."""
        changes = Changes({}, {})
        for table in self.tables:
            if table.is_changed:
                changed, dropped = table.take()
                if changed:
                    changes.set[table.name] = changed
                if dropped:
                    changes.drop[table.name] = dropped
        return changes

    def whole(self) -> Rows:
        """Every row of every table."""
        return {table.name: table.whole() for table in self.tables}

    def _check(self) -> None:
        for table in self.tables:
            table._check()
        self.board._check()
        self.part._check()


def _part(network: Network, board: Board) -> Part:
    match network:
        case "pool":
            return PoolPart(board)
        case "gossip" | "peer":
            return ChainPart(board)
        case "race":
            return RacePart(board)
        case "coordinator":
            return CoordinatorPart(board)
