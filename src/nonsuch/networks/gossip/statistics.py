"""Where a gossip miner stands."""

from __future__ import annotations

import msgspec

__all__ = ["GossipStatistics"]


class GossipStatistics(msgspec.Struct, frozen=True):
    """A snapshot. Counts are since the start."""

    height: int
    """Of the tip; the genesis has 0, and -1 is no chain yet."""

    tip: str
    """Its id in hex."""

    blocks: int
    """In the tree, side branches included."""

    orphans: int
    """That wait for a parent."""

    mined: int
    """Own blocks."""

    reorgs: int
    """How often another branch took over."""

    received: int
    """Announcements of the right form."""

    invalid: int
    """Datagrams and blocks that no honest peer sends."""

    payloads: int
    """That wait to be mined."""

    peers: int
    """That are configured."""
