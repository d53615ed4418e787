"""What is said in a race: by clients to nodes, and between nodes and the ledger.

    client → node     Fragment … End            bare text, in any pieces
    node   → client   Reply                     bare text, and the connection ends
    node   → ledger   Join · Enter · Claim · Leave
    ledger → node     Joined · Won · Lost · Replaced

The ledger is either a file on the node's machine, and then it is spoken to as `LOCAL`, or behind a
keeper, who is dialled. The same is said in both cases; with a keeper the connection begins with
`Hello`, and `Welcome` or `Refused`. What the keeper asks its own file carries the `seat` of the
node that wants to know, and so does the answer.

A node knows a ledger by its `generation` and by the number of entries it had when the node joined
(`since`); both are in all that it asks. `epoch` counts how often the node had to begin anew, and
comes back in each answer: what was asked before that is about races that have other numbers now.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from nonsuch.networks.race.ledger import Entry

__all__ = [
    "ACCEPTED",
    "DIFFICULTY_MAX",
    "GENERATION_MAX",
    "KEY_BYTES",
    "NAME_MAX",
    "PROTOCOL",
    "RACES_MAX",
    "REASON_MAX",
    "TRANSACTION_BYTES_MAX",
    "VERSION",
    "Answer",
    "Asked",
    "Claim",
    "End",
    "Enter",
    "Fragment",
    "Hello",
    "Join",
    "Joined",
    "Leave",
    "Lost",
    "Message",
    "Question",
    "Refused",
    "Replaced",
    "Reply",
    "Told",
    "Welcome",
    "Won",
]

PROTOCOL = "nonsuch-race"
VERSION = 1

ACCEPTED = "Transaction received. Processing POW..."
"""What a client is told whose transaction will be raced for: these 39 bytes, and no newline."""

TRANSACTION_BYTES_MAX = 65_536
"""All that a client may send, the white space around its transaction included."""

RACES_MAX = 16
"""Races that one node may have entered or claimed at a keeper, and that are not decided."""

NAME_MAX = 128
REASON_MAX = 512
KEY_BYTES = 32
GENERATION_MAX = 64
DIFFICULTY_MAX = 31

Name = Annotated[str, Meta(max_length=NAME_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Text = Annotated[str, Meta(max_length=TRANSACTION_BYTES_MAX)]
Key = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Generation = Annotated[str, Meta(max_length=GENERATION_MAX)]
Number = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Difficulty = Annotated[int, Meta(ge=1, le=DIFFICULTY_MAX)]


# Client ↔ node: bare text, so these are on the wire only as what they hold.


class Fragment(msgspec.Struct, frozen=True):
    """Some bytes of a transaction, as they came."""

    data: bytes


class End(msgspec.Struct, frozen=True):
    """The client has said all that it had to say."""


class Reply(msgspec.Struct, frozen=True):
    """All that a client is told."""

    text: str


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """An array of its fields behind its tag; later versions append fields."""


# How a connection to a keeper begins.


class Hello(_Message, frozen=True, tag="hello"):
    """The first message of a node. All nodes of a ledger have the same difficulty."""

    name: Name
    difficulty: Difficulty
    token: Name = ""
    protocol: Name = PROTOCOL
    version: int = VERSION


class Welcome(_Message, frozen=True, tag="welcome"):
    """The keeper takes part."""

    name: Name = ""


class Refused(_Message, frozen=True, tag="refused"):
    """The keeper will not have you, and why; the connection ends behind it.

    `final` where trying again with the same hello would end the same way.
    """

    reason: Reason
    final: bool = False


# Node → ledger.


class Join(_Message, frozen=True, tag="join"):
    """I am new here: which ledger is this, and how long is it? Answered with `Joined`."""

    epoch: Count


class Enter(_Message, frozen=True, tag="enter"):
    """I search for (text, number): tell me when somebody else has won it.

    Answered with `Lost` or `Replaced`, at once or later, or never: the node's own claim ends it.
    """

    epoch: Count
    generation: Generation
    since: Count
    number: Number
    text: Text


class Claim(_Message, frozen=True, tag="claim"):
    """I have found the nonce of (the entry's text, number). Answered with `Won` or not.

    It may be sent twice: the entry's times say that it is the same.
    """

    epoch: Count
    generation: Generation
    since: Count
    number: Number
    entry: Entry


class Leave(_Message, frozen=True, tag="leave"):
    """I do not want to hear any more about what I have entered: my last word."""


# Ledger → node. `key` is the SHA-256 of the text, which may be long.


class Joined(_Message, frozen=True, tag="joined"):
    """You count from here; the generation is empty where the ledger is."""

    epoch: Count
    generation: Generation
    entries: Count


class Won(_Message, frozen=True, tag="won"):
    """Your entry is in the ledger."""

    epoch: Count
    generation: Generation
    number: Number
    key: Key


class Lost(_Message, frozen=True, tag="lost"):
    """The race was won by somebody else."""

    epoch: Count
    generation: Generation
    number: Number
    key: Key
    winner: Name


class Replaced(_Message, frozen=True, tag="replaced"):
    """This is not the ledger that you know: begin anew, with all that is not decided."""

    epoch: Count
    generation: Generation


Question = Join | Enter | Claim | Leave
Answer = Joined | Won | Lost | Replaced
Message = Hello | Welcome | Refused | Join | Enter | Claim | Leave | Joined | Won | Lost | Replaced


# Keeper ↔ its own file.


class Asked(msgspec.Struct, frozen=True):
    """What the node in this seat asks of the keeper's file."""

    seat: int
    question: Question


class Told(msgspec.Struct, frozen=True):
    """What the file tells the node in this seat."""

    seat: int
    answer: Answer
