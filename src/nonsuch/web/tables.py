"""Tables of rows, and what has changed in them since somebody last asked.

A picture is a few tables; a row is found by its key, and whoever watches is told of whole rows that
changed and of keys that went. So a table remembers which keys those are, and nothing of what they
were before. Every table has a bound, and beyond it the oldest row goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

__all__ = ["EXACT_MAX", "AnyTable", "Table", "Whole", "whole"]

EXACT_MAX = 2**53
"""Above this a browser rounds whole numbers (ECMA-262, Number.MAX_SAFE_INTEGER)."""

Whole = int | str
"""A whole number as a row has it: as decimal text where a browser would round it."""


def whole(number: int) -> Whole:
    """The number, or its digits."""
    return number if -EXACT_MAX < number < EXACT_MAX else str(number)


R = TypeVar("R", bound=msgspec.Struct)


class AnyTable(Protocol):
    """A table, whatever its rows are."""

    @property
    def name(self) -> str:
        """What the page calls it."""

    def whole(self) -> Mapping[str, msgspec.Struct]:
        """All rows by key."""

    def take(self) -> tuple[Mapping[str, msgspec.Struct], list[str]]:
        """The rows that changed since the last `take`, and the keys that went."""

    @property
    def is_changed(self) -> bool:
        """Whether `take` has anything to give."""

    def _check(self) -> None:
        """Assert every invariant."""


class Table(Generic[R]):
    """Rows by key, oldest first. Who changes a row says so with `touch`."""

    __slots__ = ("_changed", "_dropped", "name", "rows", "rows_max")

    def __init__(self, name: str, rows_max: int) -> None:
        self.name = name
        self.rows_max = rows_max
        self.rows: dict[str, R] = {}
        self._changed: dict[str, None] = {}
        self._dropped: dict[str, None] = {}

    def get(self, key: str) -> R | None:
        """The row of this key."""
        return self.rows.get(key)

    def put(self, key: str, row: R) -> None:
        """A new row, or another one for this key. The oldest makes room for a new one."""
        if key not in self.rows and len(self.rows) >= self.rows_max:
            self.drop(next(iter(self.rows)))
        self.rows[key] = row
        self._changed[key] = None
        self._dropped.pop(key, None)

    def touch(self, key: str) -> None:
        """This row has changed."""
        self._changed[key] = None

    def renew(self, key: str) -> None:
        """This row has changed, and is the newest."""
        self.rows[key] = self.rows.pop(key)
        self.touch(key)

    def drop(self, key: str) -> None:
        """This row goes."""
        if self.rows.pop(key, None) is not None:
            self._changed.pop(key, None)
            self._dropped[key] = None

    @property
    def is_changed(self) -> bool:
        """Whether `take` has anything to give."""
        return bool(self._changed or self._dropped)

    def take(self) -> tuple[Mapping[str, R], list[str]]:
        """The rows that changed since the last `take`, and the keys that went."""
        changed = {key: self.rows[key] for key in self._changed}
        dropped = list(self._dropped)
        self._changed.clear()
        self._dropped.clear()
        return changed, dropped

    def whole(self) -> Mapping[str, R]:
        """All rows by key."""
        return self.rows

    def _check(self) -> None:
        assert len(self.rows) <= self.rows_max, f"{self.name} has {len(self.rows)} rows"
        assert self._changed.keys() <= self.rows.keys(), f"{self.name}: changed, and not there"
        assert not self._dropped.keys() & self.rows.keys(), f"{self.name}: gone, and there"
