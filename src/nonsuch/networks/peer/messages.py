"""What peers and their clients say to each other: one small frozen record a message.

    dialler → listener   Hello
    listener → dialler   Welcome · Refused
    peer ↔ peer          Heartbeat · AskHeaders · Headers · AskBlocks · Blocks · AnnounceBlock
                         AskTransactions · Transactions
    client → peer        SubmitTransaction · AskTemplate · OfferProof · AskChain · AskStatus · Stop
    peer → client        Verdict · Template · Reward · Chain · Status · Stopped

A connection begins with `Hello`, and nothing is answered before it. Between peers nobody is the
server: each says in a heartbeat where it stands, and who hears that it lacks something asks. A
client's questions are answered in their order.

Ids, headers and numbers of work are bytes, big-endian; a block is its header's bytes and its
transactions. How large each part may be stands here; nothing is believed because it was decoded.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nonsuch.networks.peer.block import (
    HEADER_BYTES,
    ID_BYTES,
    BlockForm,
    Transaction,
)

__all__ = [
    "BLOCKS_MAX",
    "CHAIN_BLOCKS_MAX",
    "HEADERS_MAX",
    "KNOWN_MAX",
    "LOCATOR_MAX",
    "NODE_BYTES",
    "PROTOCOL",
    "REASON_MAX",
    "RULE",
    "SHORT_KEY_BYTES",
    "TRANSACTIONS_MAX",
    "VERSION",
    "AnnounceBlock",
    "AskBlocks",
    "AskChain",
    "AskHeaders",
    "AskStatus",
    "AskTemplate",
    "AskTransactions",
    "Blocks",
    "Chain",
    "Headers",
    "Heartbeat",
    "Hello",
    "Message",
    "OfferProof",
    "Refused",
    "Request",
    "Reward",
    "Status",
    "Stop",
    "Stopped",
    "SubmitTransaction",
    "Template",
    "Transactions",
    "Verdict",
    "Welcome",
]

PROTOCOL = "nonsuch-peer"
VERSION = 1

RULE = "committed"
"""The rule of proof that this wire is for."""

HEADERS_MAX = 2000
"""Headers in one message: 180 KB. Bitcoin's number."""

BLOCKS_MAX = 64
"""Blocks in one message: 110 KB where all contents are of the longest."""

LOCATOR_MAX = 33
"""Ids in one locator: the tree's, and the last block of an answer that is to go on."""

TRANSACTIONS_MAX = 256
"""Transactions in one message: 80 KB where all are of the longest."""

KNOWN_MAX = 20_000
"""Waiting transactions that one question can name: twice what a pool holds."""

SHORT_KEY_BYTES = 8
"""Of a key, to name it among the transactions that wait."""

CHAIN_BLOCKS_MAX = BLOCKS_MAX

NODE_BYTES = 16
"""Of what a peer calls itself to notice that it talks to itself."""

REASON_MAX = 512

_TEXT_MAX = 128
_WORK_BYTES = 32
_REPORT_MAX = 4096

Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Name = Annotated[str, Meta(max_length=_TEXT_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Text = Annotated[str, Meta(max_length=_TEXT_MAX)]
Number = Annotated[int, Meta(ge=0)]
HeaderBytes = Annotated[bytes, Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """An array of its fields behind its tag; later versions append fields."""


# How a connection begins.


class Hello(_Message, frozen=True, tag="hello"):
    """The first message of whoever dialled.

    A peer says which `network` it is of, by the id of its genesis block, and a `node` that it drew
    when it started. A client has neither.
    """

    role: Literal["peer", "client"]
    network: Annotated[bytes, Meta(max_length=ID_BYTES)] = b""
    node: Annotated[bytes, Meta(max_length=NODE_BYTES)] = b""
    name: Name = ""
    rule: Name = RULE
    protocol: Name = PROTOCOL
    version: int = VERSION


class Welcome(_Message, frozen=True, tag="welcome"):
    """The listener takes part."""

    node: Annotated[bytes, Meta(max_length=NODE_BYTES)]
    name: Name = ""


class Refused(_Message, frozen=True, tag="refused"):
    """The connection ends, for this reason."""

    reason: Reason


# Peer ↔ peer.


class Heartbeat(_Message, frozen=True, tag="beat"):
    """Here I stand: my best chain, and a digest of the keys of the transactions that wait."""

    height: Number
    work: Annotated[bytes, Meta(max_length=_WORK_BYTES)]
    tip: Id
    waiting: Number
    digest: Id


class AskHeaders(_Message, frozen=True, tag="headers?"):
    """Send me what follows the first of these blocks that you have."""

    locator: Annotated[tuple[Id, ...], Meta(max_length=LOCATOR_MAX)]


class Headers(_Message, frozen=True, tag="headers"):
    """Headers of my best chain, one behind the other. Fewer than the most: there are no more."""

    headers: Annotated[tuple[HeaderBytes, ...], Meta(max_length=HEADERS_MAX)]


class AskBlocks(_Message, frozen=True, tag="blocks?"):
    """Send me these blocks."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=BLOCKS_MAX)]


class Blocks(_Message, frozen=True, tag="blocks"):
    """Those of the blocks asked for that I have, in the order asked."""

    blocks: Annotated[tuple[BlockForm, ...], Meta(max_length=BLOCKS_MAX)]


class AnnounceBlock(_Message, frozen=True, tag="block"):
    """A new block."""

    block: BlockForm


class AskTransactions(_Message, frozen=True, tag="transactions?"):
    """Send me what waits with you and is none of these: the beginnings of keys, joined."""

    known: Annotated[bytes, Meta(max_length=KNOWN_MAX * SHORT_KEY_BYTES)]


class Transactions(_Message, frozen=True, tag="transactions"):
    """Transactions that wait."""

    transactions: Annotated[tuple[Transaction, ...], Meta(max_length=TRANSACTIONS_MAX)]


# Client → peer.


class SubmitTransaction(_Message, frozen=True, tag="tx"):
    """Put this into a block.

    `timestamp` (Unix microseconds) is the client's choice where it may have to ask twice: the same
    transaction is accepted again and again, and enters the chain once. With 0, the peer says when.
    """

    sender: Text
    content: Text
    timestamp: Number = 0


class AskTemplate(_Message, frozen=True, tag="gp"):
    """What is to be mined, and what was the last proof?"""


class OfferProof(_Message, frozen=True, tag="up"):
    """This nonce solves the template of that number."""

    template: Number
    nonce: Number


class AskChain(_Message, frozen=True, tag="pb"):
    """Send me blocks of the best chain, from this height on, genesis being 0."""

    start: Number
    count: Number


class AskStatus(_Message, frozen=True, tag="hb"):
    """How do you stand?"""


class Stop(_Message, frozen=True, tag="cc"):
    """End, cleanly. Only a client on the peer's own machine may say so."""


# Peer → client.


class Verdict(_Message, frozen=True, tag="verdict"):
    """Whether a transaction is accepted: it is on disk, and will be in the chain, once."""

    accepted: bool
    reason: Reason = ""


class Template(_Message, frozen=True, tag="template"):
    """A block but for the eight bytes of its nonce, which follow `prefix`, big-endian.

    It will have `height`, must meet the target that `bits` stand for, and is offered under its
    number. Number 0: too few transactions wait, and there is nothing to mine. `proof` is the nonce
    of the last block.
    """

    number: Number
    height: Number
    prefix: Annotated[bytes, Meta(max_length=HEADER_BYTES)]
    bits: Number
    proof: Number


class Reward(_Message, frozen=True, tag="reward"):
    """Whether an offered proof made a block."""

    accepted: bool
    reason: Reason = ""


class Chain(_Message, frozen=True, tag="chain"):
    """Blocks of the best chain, the first of them at `start`; the tip is at `height`."""

    start: Number
    height: Number
    blocks: Annotated[tuple[BlockForm, ...], Meta(max_length=CHAIN_BLOCKS_MAX)]


class Status(_Message, frozen=True, tag="status"):
    """`PeerStatistics` in JSON."""

    statistics: Annotated[bytes, Meta(max_length=_REPORT_MAX)]


class Stopped(_Message, frozen=True, tag="stopped"):
    """It ends; or, with a reason, it does not."""

    reason: Reason = ""


Request = SubmitTransaction | AskTemplate | OfferProof | AskChain | AskStatus | Stop
"""What clients ask."""

Message = (
    Hello
    | Welcome
    | Refused
    | Heartbeat
    | AskHeaders
    | Headers
    | AskBlocks
    | Blocks
    | AnnounceBlock
    | AskTransactions
    | Transactions
    | SubmitTransaction
    | AskTemplate
    | OfferProof
    | AskChain
    | AskStatus
    | Stop
    | Verdict
    | Template
    | Reward
    | Chain
    | Status
    | Stopped
)
