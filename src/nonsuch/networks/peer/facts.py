"""What a peer tells people: log lines, displays and recordings are made of these."""

from __future__ import annotations

import msgspec

__all__ = [
    "Answered",
    "BlockAccepted",
    "BlockMined",
    "ChainRefused",
    "Fact",
    "NeighbourLost",
    "NeighbourReached",
    "PeerDropped",
    "PeerJoined",
    "Reorganised",
    "RequestFailed",
    "Restored",
    "StopAsked",
    "Synchronised",
    "TransactionAccepted",
]


class _Fact(msgspec.Struct, frozen=True):
    """Keyword and value; every field can be shown as it is."""


class Restored(_Fact, frozen=True):
    """The journal was read."""

    blocks: int
    height: int
    waiting: int
    tip: str


class NeighbourReached(_Fact, frozen=True):
    """A configured neighbour is there, after so many attempts."""

    address: str
    name: str
    attempts: int


class NeighbourLost(_Fact, frozen=True):
    """A configured neighbour is not there, or not any more. Told once; it is tried again."""

    address: str
    why: str


class PeerJoined(_Fact, frozen=True):
    """A peer has dialled us."""

    name: str
    address: str


class PeerDropped(_Fact, frozen=True):
    """A connection was ended from here."""

    address: str
    reason: str


class TransactionAccepted(_Fact, frozen=True):
    """A transaction waits for a block: one of a client's, or of so many that peers passed on."""

    sender: str
    content: str
    waiting: int
    peer: str


class BlockMined(_Fact, frozen=True):
    """A block was found here, by a search or by a client."""

    block: str
    parent: str
    height: int
    nonce: int


class BlockAccepted(_Fact, frozen=True):
    """Another peer's block is the tip now."""

    block: str
    parent: str
    height: int
    peer: str


class Reorganised(_Fact, frozen=True):
    """Another branch is better: so many blocks left the chain, so many joined it."""

    left: int
    joined: int
    fork_height: int
    tip: str
    height: int


class ChainRefused(_Fact, frozen=True):
    """A peer of a dialect showed a longer chain that breaks a rule."""

    reason: str
    peer: str


class Synchronised(_Fact, frozen=True):
    """What a peer had and we had not is here now."""

    blocks: int
    height: int
    seconds: float
    peer: str


class StopAsked(_Fact, frozen=True):
    """Somebody on this machine has asked it to end."""

    peer: str


# Of a client.


class Answered(_Fact, frozen=True):
    """A peer has answered, with a message of this name."""

    answer: str


class RequestFailed(_Fact, frozen=True):
    """There is no answer."""

    why: str


Fact = (
    Restored
    | NeighbourReached
    | NeighbourLost
    | PeerJoined
    | PeerDropped
    | TransactionAccepted
    | BlockMined
    | BlockAccepted
    | Reorganised
    | ChainRefused
    | Synchronised
    | StopAsked
    | Answered
    | RequestFailed
)
