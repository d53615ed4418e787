"""How coordinators and agents behave: frozen, from the command line, a test or a simulation."""

from __future__ import annotations

import math
from typing import Literal, get_args

import msgspec

from nonsuch.errors import LocalError
from nonsuch.networks.coordinator.header import STOCK_TARGET, VERSION
from nonsuch.work.target import Target

__all__ = ["RETARGETS", "ROLL_SECONDS_MAX", "AgentSettings", "CoordinatorSettings", "RetargetName"]

RetargetName = Literal["none", "bitcoin", "aserti"]

RETARGETS: tuple[str, ...] = get_args(RetargetName)
"""One target for ever, Bitcoin's rule, Bitcoin Cash's; see `nonsuch.chain.retarget`."""

NAME_BYTES_MAX = 64

ROLL_SECONDS_MAX = 60
"""How far ahead of the coordinator's clock an agent may date a header whose nonces it has tried.

Each second is 2**32 more nonces: at ten billion hashes a second, more than enough until the next.
"""

_INT32 = range(-(2**31), 2**31)


class CoordinatorSettings(msgspec.Struct, frozen=True):
    """Every number that a coordinator lives by. Times are seconds.

    Stock agents write version 4 and the stock target into what they have solved: another version or
    target, and any retargeting but "none", leaves them with answers that are none.
    """

    name: str = "coordinator"
    """What the roots of its headers commit to."""

    target: Target = STOCK_TARGET
    """What the hash of a block must not be above; where that changes, the easiest it may become."""

    version: int = VERSION
    """Of the headers."""

    block_seconds: float = 15.0
    """How often everybody is sent a new header, if no block is found meanwhile."""

    retarget: RetargetName = "none"
    """By which rule targets change."""

    spacing_seconds: int = 15
    """How far apart blocks are to be, where targets change."""

    period_blocks: int = 2016
    """How often Bitcoin's rule changes it, in blocks: its own number."""

    half_life_seconds: int = 288 * 15
    """How late a chain must be for aserti to halve the work: 288 blocks, as its authors have it."""

    ahead_seconds_max: int = 2 * ROLL_SECONDS_MAX
    """How far ahead of our clock an answer may be dated."""

    agents_max: int = 10_000
    """Agents at once; further ones are refused."""

    half_seconds: float = 10.0
    """Within this time a header that has begun to come must have come."""

    error_budget: int = 1000
    """What the errors of one agent may cost before it is let go; it is back in an hour."""

    def __post_init__(self) -> None:
        for field in ("block_seconds", "half_seconds"):
            if not 0 < getattr(self, field) < math.inf:
                raise LocalError(f"{field.replace('_', ' ')} must be above 0")
        for field in ("agents_max", "error_budget"):
            if getattr(self, field) < 1:
                raise LocalError(f"{field.replace('_', ' ')} must be 1 or more")
        if self.ahead_seconds_max < ROLL_SECONDS_MAX:
            raise LocalError(f"agents may date headers {ROLL_SECONDS_MAX} seconds ahead, or more")
        if self.retarget not in RETARGETS:
            raise LocalError(
                f"there is no retargeting {self.retarget!r}; choose from {', '.join(RETARGETS)}"
            )
        if self.version not in _INT32:
            raise LocalError("a version fits 32 bits and a sign")
        if len(self.name.encode(errors="replace")) > NAME_BYTES_MAX:
            raise LocalError(f"a name has at most {NAME_BYTES_MAX} bytes")


class AgentSettings(msgspec.Struct, frozen=True):
    """Every number that an agent lives by."""

    roll_seconds_max: int = ROLL_SECONDS_MAX
    """How far ahead of the coordinator's clock it may date a header, once its nonces are tried."""

    retry_seconds_min: float = 0.1
    retry_seconds_max: float = 5.0
    """How long it waits before it dials again: doubling from the one to the other."""

    def __post_init__(self) -> None:
        if not 0 <= self.roll_seconds_max <= ROLL_SECONDS_MAX:
            raise LocalError(f"a header may be dated 0 to {ROLL_SECONDS_MAX} seconds ahead")
        if not 0 < self.retry_seconds_min <= self.retry_seconds_max < math.inf:
            raise LocalError("retry seconds are above 0, and the least is not above the most")
