"""Where a peer stands."""

from __future__ import annotations

import msgspec

__all__ = ["PeerStatistics"]


class PeerStatistics(msgspec.Struct, frozen=True):
    """A snapshot. Counts are since the start."""

    name: str
    seconds: float
    """Since the start."""

    height: int
    """Of the tip; the genesis has 0."""

    tip: str
    """Its id in hex."""

    work: float
    """Hashes that one expects to try for the best chain."""

    blocks: int
    """In the tree, side branches included."""

    waiting: int
    """Transactions that wait for a block."""

    connections: int
    peers: int
    """Of the connections, those of peers that have said hello."""

    neighbours: int
    """That are configured."""

    neighbours_reached: int
    syncing: bool
    """Whether blocks are being fetched."""

    mining: bool
    mined: int
    """Blocks found here."""

    reorgs: int
    """How often another branch took over."""

    accepted: int
    """Transactions that came to wait here."""

    refused: int
    """Transactions of clients that were refused."""

    errors: int
    """Offences of peers."""

    dropped: int
    """Connections ended from here."""
