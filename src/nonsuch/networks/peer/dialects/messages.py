"""What independent programs of the peer network say to each other, whatever the dialect.

    tx|sender|content   Transaction        Verdict            is it in the pool now?
    gp                  GetProof           Proof              of the last block
    up|proof            UpdateProof        Reward             is it the next one?
    pb                  GetChain           Chain
    hb                  Heartbeat          HeartbeatAnswer    pool and chain
    cc                  CloseConnection    (none)

A request is a text. It has no number and neither has its answer: one end answers in the order in
which it was asked, the other remembers what it asked. In the programs that exist, two requests that
arrive together lose the second; so whoever asks waits for the answer before asking again.

A transaction that is written wrongly is not a broken protocol: people type them, and are told
`Rejected`. It arrives as `Unacceptable`. What is decoded has the right types and sizes, and still
may be a lie. Source: COMP3221's second assignment, and programs that were written for it.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.networks.peer.block import CONTENT_CHARACTERS_MAX

__all__ = [
    "ANSWER_BYTES_MAX",
    "BLOCKS_MAX",
    "NUMBER_MAX",
    "POOL_MAX",
    "REQUEST_BYTES_MAX",
    "TEXT_CHARACTERS_MAX",
    "Answer",
    "Block",
    "Chain",
    "CloseConnection",
    "Entry",
    "GetChain",
    "GetProof",
    "Heartbeat",
    "HeartbeatAnswer",
    "Proof",
    "Request",
    "Reward",
    "Transaction",
    "Unacceptable",
    "UpdateProof",
    "Verdict",
    "parse_request",
    "request_text",
]

REQUEST_BYTES_MAX = 512
"""The longest transaction has 292 bytes in UTF-8, and a pickle adds some 20."""

ANSWER_BYTES_MAX = 4 * 2**20
"""A kibibyte for each of `BLOCKS_MAX` blocks; one with five long transactions in ASCII has 800."""

BLOCKS_MAX = 4096
"""Blocks of a chain that is taken from a peer: some 20,000 transactions."""

POOL_MAX = 1024
"""Transactions of a pool that is taken from a peer, of which five make a block."""

BLOCK_TRANSACTIONS_MAX = 64
"""Transactions of a block as it is read. A good one has five; that is for others to say."""

TEXT_CHARACTERS_MAX = 512
"""Of a hash, a timestamp or a transaction: as long as the request that brought it."""

NUMBER_MAX = 2**64 - 1
"""The greatest proof that a puzzle can hold, and more blocks than there will be."""

_PROOF_DIGITS_MAX = len(str(NUMBER_MAX))

Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
Number = Annotated[int, Meta(ge=0)]  # The readers see to `NUMBER_MAX`.


# Requests.


class Transaction(msgspec.Struct, frozen=True):
    """Put this into a block. Four letters and four digits; 70 characters at most, without a bar."""

    sender: str
    content: str

    @property
    def text(self) -> str:
        """As it is sent, and as it stands in blocks."""
        return f"tx|{self.sender}|{self.content}"


class Unacceptable(msgspec.Struct, frozen=True):
    """A text that begins as a transaction and is none: the answer is a `Verdict` of False."""

    text: str


class GetProof(msgspec.Struct, frozen=True):
    """What is the proof of your last block?"""


class UpdateProof(msgspec.Struct, frozen=True):
    """This is the next proof."""

    proof: int


class GetChain(msgspec.Struct, frozen=True):
    """Show me your chain."""


class Heartbeat(msgspec.Struct, frozen=True):
    """Are you there, and what do you have?"""


class CloseConnection(msgspec.Struct, frozen=True):
    """Goodbye. No answer."""


Request = (
    Transaction | Unacceptable | GetProof | UpdateProof | GetChain | Heartbeat | CloseConnection
)


# Answers.


class Block(
    msgspec.Struct,
    frozen=True,
    rename={
        "transactions": "transaction",
        "previous_hash": "previousHash",
        "current_hash": "currentHash",
    },
):
    """A block. `index` is 1 for genesis, `timestamp` is its maker's, `YYYY-MM-DD HH:MM:SS.ffffff`.

    `transactions` are `tx|sender|content`. Their timestamps went into `current_hash` and are not in
    the block, so nobody but its maker can compute that hash.
    """

    index: Number
    timestamp: Text
    transactions: Annotated[tuple[Text, ...], Meta(max_length=BLOCK_TRANSACTIONS_MAX)]
    proof: Number
    previous_hash: Text
    current_hash: Text


Entry = tuple[Text, Text]
"""A transaction in a pool, `tx|sender|content`, and its timestamp."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether the transaction was taken."""

    accepted: bool


class Proof(msgspec.Struct, frozen=True):
    """The proof of the last block."""

    proof: int


class Reward(msgspec.Struct, frozen=True):
    """Whether the proof was the next one."""

    granted: bool


class Chain(msgspec.Struct, frozen=True):
    """All blocks, the oldest first."""

    blocks: tuple[Block, ...]


class HeartbeatAnswer(msgspec.Struct, frozen=True):
    """A pool, and a chain or None. `flag` is sent along; ours says whether there is a chain."""

    pool: tuple[Entry, ...]
    chain: tuple[Block, ...] | None
    flag: bool


Answer = Verdict | Proof | Reward | Chain | HeartbeatAnswer


# Requests as text.

_FIXED: dict[str, Request] = {
    "gp": GetProof(),
    "pb": GetChain(),
    "hb": Heartbeat(),
    "cc": CloseConnection(),
}
_TRANSACTION = re.compile(rf"tx\|([a-zA-Z]{{4}}[0-9]{{4}})\|([^|]{{0,{CONTENT_CHARACTERS_MAX}}})")
_UPDATE = re.compile(rf"up\|([0-9]{{1,{_PROOF_DIGITS_MAX}}})")


def parse_request(text: str) -> Request:
    """The request that a text is. Raises `RemoteProtocolError` where it is none."""
    if text in _FIXED:
        return _FIXED[text]
    if match := _TRANSACTION.fullmatch(text):
        return Transaction(match[1], match[2])
    if text.startswith("tx|"):
        return Unacceptable(text)
    if (match := _UPDATE.fullmatch(text)) and int(match[1]) <= NUMBER_MAX:
        return UpdateProof(int(match[1]))
    raise RemoteProtocolError(f"no request: {text[:40]!r}")


def request_text(request: Request) -> str:
    """The text of a request. Raises `LocalError` where it would be understood otherwise."""
    match request:
        case Transaction():
            text = request.text
        case UpdateProof(proof=proof):
            text = f"up|{proof}"
        case Unacceptable(text=text):
            pass
        case _:
            text = next(text for text, fixed in _FIXED.items() if fixed == request)
    try:
        understood = parse_request(text)
    except RemoteProtocolError as error:
        raise LocalError(str(error)) from None
    if understood != request:
        raise LocalError(f"this would not be understood as it is meant: {text[:40]!r}")
    return text
