"""What a race tells people: log lines, displays and recordings are made of these.

Times `at` are Unix seconds.
"""

from __future__ import annotations

import msgspec

from nonsuch.networks.race.ledger import Entry

__all__ = [
    "ClientConnected",
    "EntryWritten",
    "Fact",
    "KeeperLost",
    "KeeperReached",
    "KeeperRefused",
    "LedgerJoined",
    "LedgerReplaced",
    "LedgerUpdated",
    "NodeJoined",
    "NodeLeft",
    "PeerDropped",
    "PowCompleted",
    "PowStarted",
    "RaceLost",
    "RaceStopped",
    "RaceWon",
    "Restored",
    "TransactionReceived",
    "TransactionRefused",
]


class _Fact(msgspec.Struct, frozen=True):
    """Keyword and value; every field can be shown as it is."""


# Of a node.


class Restored(_Fact, frozen=True):
    """The journal was read: so many races go on, of all that were run so many texts are known."""

    waiting: int
    texts: int


class LedgerJoined(_Fact, frozen=True):
    """A node that is new here counts from behind so many entries. Now it takes transactions."""

    entries: int


class LedgerReplaced(_Fact, frozen=True):
    """The ledger was deleted, or is another one: so many open races begin anew there."""

    waiting: int


class ClientConnected(_Fact, frozen=True):
    """Somebody is there."""

    address: str


class TransactionReceived(_Fact, frozen=True):
    """A transaction will be raced for; so many now wait, this one included."""

    text: str
    address: str
    waiting: int


class TransactionRefused(_Fact, frozen=True):
    """What a client has sent is not raced for."""

    reason: str
    address: str


class PowStarted(_Fact, frozen=True):
    """The node searches: it is its `number`th race of this text."""

    text: str
    number: int
    at: float


class PowCompleted(_Fact, frozen=True):
    """The nonce is found."""

    text: str
    number: int
    nonce: int
    hash: str
    seconds: float
    at: float


class RaceWon(_Fact, frozen=True):
    """The node was the first, and that is in the ledger."""

    text: str
    number: int


class LedgerUpdated(_Fact, frozen=True):
    """This node's own entry."""

    entry: Entry


class RaceLost(_Fact, frozen=True):
    """The nonce is found, but another node already won."""

    text: str
    number: int
    winner: str


class RaceStopped(_Fact, frozen=True):
    """Another node has won, and the search was stopped after so long."""

    text: str
    number: int
    winner: str
    seconds: float
    at: float


class KeeperReached(_Fact, frozen=True):
    """The keeper of the ledger is there, after so many attempts."""

    address: str
    attempts: int


class KeeperLost(_Fact, frozen=True):
    """The keeper is not there, or not any more. Told once; it is tried again."""

    why: str


class KeeperRefused(_Fact, frozen=True):
    """The keeper will not have this node; `final` where there is no use in trying again."""

    reason: str
    final: bool


# Of a keeper.


class NodeJoined(_Fact, frozen=True):
    """A node has said hello."""

    name: str
    address: str
    nodes: int


class NodeLeft(_Fact, frozen=True):
    """A node's connection has ended."""

    name: str
    why: str
    nodes: int


class EntryWritten(_Fact, frozen=True):
    """A node has won."""

    name: str
    number: int


class PeerDropped(_Fact, frozen=True):
    """A connection was ended from here."""

    address: str
    reason: str


Fact = (
    Restored
    | LedgerJoined
    | LedgerReplaced
    | ClientConnected
    | TransactionReceived
    | TransactionRefused
    | PowStarted
    | PowCompleted
    | RaceWon
    | LedgerUpdated
    | RaceLost
    | RaceStopped
    | KeeperReached
    | KeeperLost
    | KeeperRefused
    | NodeJoined
    | NodeLeft
    | EntryWritten
    | PeerDropped
)
