"""What the command line itself tells of a node, in the log of its facts."""

from __future__ import annotations

import msgspec

__all__ = ["Listening", "MetricsServed", "Stopped"]


class Listening(msgspec.Struct, frozen=True):
    """Peers can come."""

    address: str


class MetricsServed(msgspec.Struct, frozen=True):
    """Where metrics can be read."""

    url: str


class Stopped(msgspec.Struct, frozen=True):
    """Nothing is left running."""
