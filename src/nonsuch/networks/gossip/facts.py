"""What a gossip miner tells people: log lines, displays and recordings are made of these."""

from __future__ import annotations

import msgspec

__all__ = [
    "BlockAccepted",
    "BlockMined",
    "Fact",
    "GenesisSeen",
    "PayloadRefused",
    "PeerMisbehaves",
    "Reorganised",
    "Restored",
]


class _Fact(msgspec.Struct, frozen=True):
    """Keyword and value; every field can be shown as it is."""


class Restored(_Fact, frozen=True):
    """The store was read."""

    blocks: int
    height: int
    tip: str


class GenesisSeen(_Fact, frozen=True):
    """A first block: the chain begins."""

    block: str


class BlockMined(_Fact, frozen=True):
    """A block of its own."""

    block: str
    parent: str
    height: int
    data: str


class BlockAccepted(_Fact, frozen=True):
    """Somebody's block joined the tree; `best` where it is the new tip."""

    block: str
    parent: str
    height: int
    data: str
    peer: str
    best: bool


class Reorganised(_Fact, frozen=True):
    """Another branch has more work: so many blocks left the chain, so many joined it."""

    left: int
    joined: int
    fork_height: int
    tip: str
    height: int


class PeerMisbehaves(_Fact, frozen=True):
    """A peer sent what no honest one sends; told now and then, counted always."""

    peer: str
    reason: str
    offences: int


class PayloadRefused(_Fact, frozen=True):
    """Data that cannot be mined."""

    reason: str


Fact = (
    Restored
    | GenesisSeen
    | BlockMined
    | BlockAccepted
    | Reorganised
    | PeerMisbehaves
    | PayloadRefused
)
