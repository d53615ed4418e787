"""Where a node and a keeper stand."""

from __future__ import annotations

import msgspec

__all__ = ["KeeperStatistics", "RaceStatistics"]


class RaceStatistics(msgspec.Struct, frozen=True):
    """A snapshot. Counts are since the start."""

    name: str
    seconds: float
    """Since the start."""

    waiting: int
    """Races that wait or are run."""

    searching: int
    """Of these, how many are searched now."""

    claims: int
    """Of these, how many wait for the ledger's word."""

    accepted: int
    """Transactions that were taken."""

    refused: int
    """Transactions, or what might have become some, that were not."""

    won: int
    lost: int
    """Found, but another node was faster."""

    stopped: int
    """Not found, because another node was faster."""

    replaced: int
    """How often the ledger was another one."""

    connections: int
    texts: int
    """Whose races are counted."""

    hashes: int
    """In searches that have found their nonce."""

    rate: float
    """Hashes a second of one search of those; 0 before the first."""

    reached: bool
    """Whether the ledger can be asked."""


class KeeperStatistics(msgspec.Struct, frozen=True):
    """A snapshot. Counts are since the start."""

    name: str
    nodes: int
    races: int
    """That nodes have entered or claimed, and that are not decided."""

    written: int
    """Claims that were won."""

    errors: int
    dropped: int
