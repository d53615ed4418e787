"""How a peer behaves: one frozen record, from the command line, a test or a simulation."""

from __future__ import annotations

import math

import msgspec

from nonsuch.errors import LocalError
from nonsuch.work.target import Target

__all__ = ["NEIGHBOURS_MAX", "PeerSettings"]

NEIGHBOURS_MAX = 64
"""Configured neighbours."""

WORK_MAX = 2**63
"""Hashes for a block: so that the work of any chain fits the wire's 32 bytes."""


class PeerSettings(msgspec.Struct, frozen=True):
    """Every number that a peer lives by. Times are seconds."""

    name: str = "peer"
    """What it calls itself to others."""

    neighbours: tuple[str, ...] = ()
    """Addresses to dial, as its driver knows them."""

    network: str = "nonsuch"
    """Peers of one network have the same name of it, and the same target."""

    target: Target = Target.from_work(2**22)
    """What the hash of a block must not be above; rounded to what compact bits can say."""

    mines: bool = True
    """Whether it searches by itself when five transactions wait."""

    heartbeat_seconds: float = 5.0
    """How often it says where it stands."""

    hello_seconds: float = 5.0
    """A connection must say who it is within this time."""

    silent_seconds: float = 30.0
    """A peer that is not heard for so long is gone: six heartbeats."""

    client_seconds: float = 600.0
    """The same for a client, which need not speak."""

    sync_seconds: float = 10.0
    """A peer that was asked for headers or blocks must have sent them by then."""

    connections_max: int = 512
    """Connections at once; further ones are refused."""

    waiting_max: int = 5000
    """Transactions that wait at once; further ones are refused."""

    error_budget: int = 1000
    """What the errors of one connection may cost before it is ended; it is back in an hour."""

    def __post_init__(self) -> None:
        for field in (
            "heartbeat_seconds",
            "hello_seconds",
            "silent_seconds",
            "client_seconds",
            "sync_seconds",
        ):
            if not 0 < getattr(self, field) < math.inf:
                raise LocalError(f"{field.replace('_', ' ')} must be above 0")
        for field in ("connections_max", "waiting_max", "error_budget"):
            if getattr(self, field) < 1:
                raise LocalError(f"{field.replace('_', ' ')} must be 1 or more")
        if len(self.neighbours) > NEIGHBOURS_MAX:
            raise LocalError(f"a peer has at most {NEIGHBOURS_MAX} neighbours")
        if len(set(self.neighbours)) != len(self.neighbours):
            raise LocalError("a neighbour is named twice")
        if self.target.work > WORK_MAX:
            raise LocalError("a target asks for 2**63 hashes at most")
