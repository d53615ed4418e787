"""Where a coordinator or an agent stands: frozen, and taken all at once."""

from __future__ import annotations

import msgspec

__all__ = ["AgentStatistics", "CoordinatorStatistics", "SessionStatistics"]


class SessionStatistics(msgspec.Struct, frozen=True):
    """An agent as its coordinator sees it."""

    agent: str
    """Its address."""

    seconds: float
    """Since it came."""

    answers: int
    accepted: int
    stale: int
    errors: int
    rate_estimate: float
    """Hashes a second: what its good answers should have taken, over the time it has been here.

    An estimate. Of few answers it is a poor one: with n of them it is off by one part in √n.
    """


class CoordinatorStatistics(msgspec.Struct, frozen=True):
    """A coordinator. Counts are since it began; `agents_described` is bounded."""

    name: str
    seconds: float
    height: int
    """Of the tip; the first block has 0, and -1 is no block yet."""

    tip: str
    """Its id in hex."""

    work: float
    """Hashes that one expects to try for the whole chain."""

    block_work: float
    """The same for the next block."""

    agents: int
    headers: int
    """That were sent."""

    answers: int
    accepted: int
    stale: int
    errors: int
    dropped: int
    """Connections ended from here."""

    agents_described: tuple[SessionStatistics, ...]


class AgentStatistics(msgspec.Struct, frozen=True):
    """An agent. Counts are since it began."""

    coordinator: str
    """Its address; empty while there is none."""

    searching: bool
    headers: int
    """That came."""

    answers: int
    """That were sent."""

    exhausted: int
    """Searches through all nonces of a header, in vain."""

    hashes: int
    rate: float
    """Hashes a second, while it searched."""
