"""What the command line itself tells of a node, in the log of its facts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nonsuch.cli.access import Place
from nonsuch.live.driver import Node

__all__ = ["ConnectionsLimited", "Listening", "MetricsServed", "Stopped", "tell_addresses"]


class ConnectionsLimited(msgspec.Struct, frozen=True):
    """The system lets this process open too few files for the connections that it was to have."""

    connections: int
    wanted: int
    why: str


class Listening(msgspec.Struct, frozen=True):
    """Peers can come."""

    address: str


class MetricsServed(msgspec.Struct, frozen=True):
    """Where metrics can be read."""

    url: str


class Stopped(msgspec.Struct, frozen=True):
    """Nothing is left running."""


def tell_addresses(node: Node, log: Callable[[object], None]) -> None:
    """Log where a node listens, once it does."""
    for host, port in node.addresses:
        log(Listening(str(Place(host, port))))
