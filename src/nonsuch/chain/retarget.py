"""What target the next block must meet, so that blocks come at a steady pace.

A rule looks at a branch and says the target of the block at `height`. All that it may ask for is an
ancestor by its height, and it asks a few times at most; so it works on any branch, and costs what a
few look-ups cost. Three rules:

* `Fixed`: one target for ever;
* `Periodic`, Bitcoin's: every 2016 blocks, the target is scaled by how long they took;
* `Asert`, Bitcoin Cash's aserti3-2d: every block, the target is an exponential of how far the chain
  is ahead of its schedule. It has no memory but one anchor, so no timestamp can shake it for long.

Timestamps are Unix seconds that miners wrote, and may be any whole numbers: a rule has an answer
to each. Targets that a chain computes travel as compact bits, and every rule rounds through them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nonsuch.errors import LocalError
from nonsuch.work.target import Target

__all__ = ["Ancestor", "Asert", "Fixed", "Periodic", "Retarget"]

CLAMP = 4
"""Bitcoin: one adjustment changes a target by this factor at most."""

RADIX_BITS = 16
"""aserti3-2d: the exponent has this many binary places."""

SHIFTS_MAX = 512
"""Twice the bits of a target: beyond, there is nothing left, or nothing but the limit."""


class Ancestor(Protocol):
    """What rules know of a block: when its miner says it was found, and the target it met."""

    @property
    def timestamp(self) -> int:
        """Unix seconds."""

    @property
    def target(self) -> Target:
        """What its hash had to meet."""


class Retarget(Protocol):
    """A rule."""

    def next_target(self, height: int, ancestor: Callable[[int], Ancestor]) -> Target:
        """The target of a block at `height` (genesis is 0) on the branch of `ancestor`.

        `ancestor(h)` is asked for heights in [0, height) only, and must have them.
        """


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same target for every block."""

    target: Target

    def next_target(self, height: int, ancestor: Callable[[int], Ancestor]) -> Target:
        """Always `target`."""
        return self.target


@dataclass(frozen=True, slots=True)
class Periodic:
    """Bitcoin's rule: every `period` blocks, by how long they took, at most fourfold.

    `limit` is the easiest target allowed, and that of the first period. Source: Bitcoin Core,
    src/pow.cpp, GetNextWorkRequired and CalculateNextWorkRequired. Where Bitcoin's 256-bit product
    would overflow, or its quotient be zero, ours is exact and 1. Raises `LocalError` for a period
    below 2 or a spacing below 1.
    """

    limit: Target
    period: int = 2016
    spacing_seconds: int = 600

    def __post_init__(self) -> None:
        if self.period < 2:
            raise LocalError("a period has 2 blocks or more: one block has no duration")
        _check_positive("a spacing", self.spacing_seconds)

    def next_target(self, height: int, ancestor: Callable[[int], Ancestor]) -> Target:
        """The parent's target, but at the start of a period."""
        if height == 0:
            return _compact(self.limit.value, self.limit)
        parent = ancestor(height - 1)
        if height % self.period:
            return parent.target
        # Between the first and the last of a period lie period - 1 intervals, not period:
        # Bitcoin's off-by-one, which is consensus.
        elapsed = parent.timestamp - ancestor(height - self.period).timestamp
        span = self.period * self.spacing_seconds
        # In quarters of a second, so that a quarter of any span is a whole number.
        quarters = min(max(CLAMP * elapsed, span), CLAMP * CLAMP * span)
        return _compact(parent.target.value * quarters // (CLAMP * span), self.limit)


@dataclass(frozen=True, slots=True)
class Asert:
    """aserti3-2d: the anchor's target, doubled for every half life that the chain is late.

    The chain is late by what its last block's timestamp is past the schedule: one block each
    `spacing_seconds`, beginning with the anchor's *parent*. A chain that is anchored at its genesis
    says that the parent came one spacing earlier. Up to the anchor, targets are the anchor's.

    Source: the specification "2020-11-15 ASERT Difficulty Adjustment Algorithm (aserti3-2d)" of
    Bitcoin Cash, whose half life is two days. Raises `LocalError` for a spacing or a half life
    below 1, a negative height, and an anchor that is easier than the limit.
    """

    limit: Target
    anchor_target: Target
    anchor_parent_timestamp: int
    anchor_height: int = 0
    spacing_seconds: int = 600
    half_life_seconds: int = 172_800

    def __post_init__(self) -> None:
        _check_positive("a spacing", self.spacing_seconds)
        _check_positive("a half life", self.half_life_seconds)
        if self.anchor_height < 0:
            raise LocalError("an anchor is a block, with a height of 0 or more")
        if self.anchor_target > self.limit:
            raise LocalError("an anchor's target is not above the limit, the easiest allowed")

    def next_target(self, height: int, ancestor: Callable[[int], Ancestor]) -> Target:
        """The target by the schedule; it asks for the parent alone."""
        if height <= self.anchor_height:
            return _compact(self.anchor_target.value, self.limit)
        elapsed = ancestor(height - 1).timestamp - self.anchor_parent_timestamp
        late_seconds = elapsed - self.spacing_seconds * (height - self.anchor_height)
        exponent = _truncated(late_seconds << RADIX_BITS, self.half_life_seconds)
        shifts = min(max(exponent >> RADIX_BITS, -SHIFTS_MAX), SHIFTS_MAX)
        factor = _power_of_two(exponent & (1 << RADIX_BITS) - 1)
        scaled = (self.anchor_target.value * factor << SHIFTS_MAX + shifts) >> SHIFTS_MAX
        return _compact(scaled >> RADIX_BITS, self.limit)


def _power_of_two(fraction: int) -> int:
    """2 ** (fraction / 2**16) * 2**16 for a fraction below 2**16, by the cubic of aserti3-2d.

    It is off by 0.013% at most, and in the same direction on every machine.
    """
    cubic = (
        195_766_423_245_049 * fraction + 971_821_376 * fraction**2 + 5_127 * fraction**3 + (1 << 47)
    )
    return (1 << RADIX_BITS) + (cubic >> 48)


def _truncated(dividend: int, divisor: int) -> int:
    """The quotient towards zero, as C divides; Python's goes down."""
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient


def _compact(value: int, limit: Target) -> Target:
    """The value within [1, limit], rounded as compact bits round it."""
    return Target.from_bits(Target(min(max(value, 1), limit.value)).bits)


def _check_positive(what: str, value: int) -> None:
    if value < 1:
        raise LocalError(f"{what} is 1 second or more, not {value}")
