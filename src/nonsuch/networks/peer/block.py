"""Transactions, headers and blocks of the committed rule.

    version 4 · previous 32 · root 32 · timestamp 8 · bits 4 · nonce 8        a header, big-endian

The id of a block is SHA-256 of its 88 bytes, and must not be above the target that `bits` stand
for. So a proof commits to all that the block says: to the block before, to its transactions by
their root, to when, and to how hard it was. To change any of it is to search again, for this block
and for every later one. (The network's original rule, in `original.py`, commits to nothing.)

Before the nonce stand 80 bytes that a search does not change, 64 of them a whole block of SHA-256:
the generated kernel runs over what is left. A genesis block is not found but made from a network's
name and target; its id is what tells one network from another.

**In memory** a block is its bytes, as they travel and as they are kept: a ledger has hundreds of
thousands, and is asked for few of them. What the bytes say is read when somebody asks; of the last
ones that were made or read it is remembered, for a new block is asked again and again. A block that
came from our own disk is held against its root when it is read.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from nonsuch.chain.validation import InvalidBlock, check_root, merkle_root
from nonsuch.errors import LocalError
from nonsuch.work.nonce import Raw
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

__all__ = [
    "BLOCK_TRANSACTIONS",
    "BODIES_MAX",
    "CONTENT_CHARACTERS_MAX",
    "HEADER_BYTES",
    "ID_BYTES",
    "MICROSECONDS",
    "NONCE_COUNT",
    "ROOT",
    "SENDER_CHARACTERS",
    "TIMESTAMP_MAX",
    "VERSION",
    "Block",
    "BlockForm",
    "Header",
    "KeptBlock",
    "Template",
    "Transaction",
    "genesis_block",
    "keys_of",
    "read_body",
    "read_header",
    "target_of_bits",
    "work_of_bits",
]

VERSION = 1
"""Of the rules that a block keeps."""

BLOCK_TRANSACTIONS = 5
"""Transactions of every block but a genesis."""

SENDER_CHARACTERS = 8
CONTENT_CHARACTERS_MAX = 70

TIMESTAMP_MAX = 253_402_300_799_999_999
"""Microseconds to the end of the year 9999: what people write with four digits."""

ID_BYTES = 32
NONCE_BYTES = 8
NONCE_COUNT = 2 ** (8 * NONCE_BYTES)

MICROSECONDS = 1_000_000
"""A second has so many."""

ROOT = bytes(ID_BYTES)
"""What a genesis block names as its parent."""

_LAYOUT = struct.Struct(">I32s32sQIQ")
HEADER_BYTES = _LAYOUT.size

_FORM_BEGINS = b"\x92\xc4" + bytes([HEADER_BYTES])
"""MessagePack: an array of two, the first of them so many bytes."""

_BEGINS_BYTES = len(_FORM_BEGINS)
_HEADER = slice(_BEGINS_BYTES, _BEGINS_BYTES + HEADER_BYTES)
_PARENT = slice(_BEGINS_BYTES + 4, _BEGINS_BYTES + 36)
_ROOT = slice(_BEGINS_BYTES + 36, _BEGINS_BYTES + 68)
_TIMESTAMP = struct.Struct(">Q")
_TIMESTAMP_AT = _ROOT.stop

BODIES_MAX = 256
"""Blocks whose transactions and keys are remembered: half a megabyte. And as many of those that
came from our own disk."""

_NUMBERS_BYTES = 16
"""What a transaction's timestamp and the lengths of its texts take at most."""

HeaderBytes = Annotated[bytes, Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]


class Transaction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Somebody says something, at `timestamp`, Unix microseconds."""

    sender: Annotated[str, Meta(max_length=SENDER_CHARACTERS)]
    content: Annotated[str, Meta(max_length=CONTENT_CHARACTERS_MAX)]
    timestamp: Annotated[int, Meta(ge=0, le=TIMESTAMP_MAX)]

    @property
    def key(self) -> bytes:
        """SHA-256 of the three. No part can contain the bar between them."""
        return keys_of((self,))[0]

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return _NUMBERS_BYTES + SENDER_CHARACTERS + len(self.content.encode())


def keys_of(transactions: Iterable[Transaction]) -> tuple[bytes, ...]:
    """The keys of several transactions."""
    sha256 = hashlib.sha256
    return tuple(
        [
            sha256(f"{each.sender}|{each.content}|{each.timestamp}".encode()).digest()
            for each in transactions
        ]
    )


class BlockForm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A block as it travels and as it is kept: nothing of it was hashed yet."""

    header: HeaderBytes
    transactions: Annotated[tuple[Transaction, ...], Meta(max_length=BLOCK_TRANSACTIONS)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BlockForm)


class Header:
    """A header that was hashed; `data` are its bytes."""

    __slots__ = ("bits", "data", "id", "nonce", "parent", "root", "timestamp", "version")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.id = hashlib.sha256(data).digest()
        self.version: int
        self.parent: bytes
        self.root: bytes
        self.timestamp: int
        self.bits: int
        self.nonce: int
        (
            self.version,
            self.parent,
            self.root,
            self.timestamp,
            self.bits,
            self.nonce,
        ) = _LAYOUT.unpack(data)

    @property
    def rank(self) -> int:
        """Its hash as a number."""
        return int.from_bytes(self.id, "big")


class Block(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A block that was hashed: `data` is its form, encoded, `work` what it took to find."""

    data: bytes
    id: bytes
    work: int

    @classmethod
    def of(cls, header: Header, transactions: tuple[Transaction, ...]) -> Block:
        """The block of a header and its transactions, whose keys are computed here."""
        data = _encoder.encode(BlockForm(header.data, transactions))
        _bodies.remember(data, (transactions, keys_of(transactions)))
        return cls(data, header.id, work_of_bits(header.bits))

    @property
    def header(self) -> Header:
        """Its header, hashed again."""
        return Header(self.header_data)

    @property
    def header_data(self) -> bytes:
        """The bytes of its header."""
        return self.data[_HEADER]

    @property
    def parent(self) -> bytes:
        """The id of the block that it follows."""
        return self.data[_PARENT]

    @property
    def root(self) -> bytes:
        """That of its transactions."""
        return self.data[_ROOT]

    @property
    def timestamp(self) -> int:
        """When it was found, it says: Unix seconds. Asked for with each of the next blocks."""
        timestamp: int
        (timestamp,) = _TIMESTAMP.unpack_from(self.data, _TIMESTAMP_AT)
        return timestamp

    @property
    def form(self) -> BlockForm:
        """What is said of it."""
        return _decoder.decode(self.data)

    @property
    def unchecked_form(self) -> BlockForm:
        """What is said of it to peers, who check it themselves."""
        return self.form

    @property
    def body(self) -> Body:
        """Its transactions and their keys."""
        return _bodies.of(self.data)

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """What it says."""
        return self.body[0]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Those of its transactions."""
        return self.body[1]

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.data)

    def __repr__(self) -> str:
        return f"Block({self.id.hex()[:12]} on {self.parent.hex()[:12]})"


class KeptBlock(Block, frozen=True, eq=False, gc=False):
    """A block from our own disk, of which only the header was hashed.

    What reads its transactions raises `LocalError` where its header does not name them; but for
    `unchecked_form`, which does so only where there are none.
    """

    @property
    def form(self) -> BlockForm:
        """What is said of it."""
        return BlockForm(self.header_data, self.transactions)

    @property
    def unchecked_form(self) -> BlockForm:
        """What is said of it to peers, who check it themselves."""
        try:
            return _decoder.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.form  # This one says what is wrong.

    @property
    def body(self) -> Body:
        """Its transactions and their keys."""
        return _kept_body(self.data)


class Template:
    """A block but for its nonce."""

    __slots__ = ("bits", "parent", "prefix", "timestamp", "transactions")

    def __init__(
        self, parent: bytes, transactions: Sequence[Transaction], timestamp: int, bits: int
    ) -> None:
        self.parent = parent
        self.transactions = tuple(transactions)
        self.timestamp = timestamp
        self.bits = bits
        root = merkle_root(keys_of(self.transactions))
        data = _LAYOUT.pack(VERSION, parent, root, timestamp, bits, 0)
        self.prefix = data[:-NONCE_BYTES]

    @property
    def puzzle(self) -> Puzzle:
        """What is to be searched."""
        return Puzzle(prefix=self.prefix, nonce=Raw(NONCE_BYTES, "big"))

    def header(self, nonce: int) -> Header:
        """The header with this nonce, good or not."""
        return Header(self.prefix + nonce.to_bytes(NONCE_BYTES, "big"))

    def block(self, nonce: int) -> Block:
        """The block with this nonce, good or not."""
        return Block.of(self.header(nonce), self.transactions)


def genesis_block(network: str, target: Target) -> Block:
    """The first block of the network of this name and target. Raises `LocalError` for no name."""
    if not network:
        raise LocalError("a network has a name")
    root = merkle_root([network.encode()])
    return Block.of(Header(_LAYOUT.pack(VERSION, ROOT, root, 0, target.bits, 0)), ())


@functools.lru_cache(maxsize=64)
def target_of_bits(bits: int) -> Target:
    """`Target.from_bits`, remembered: all blocks of a network have the same."""
    return Target.from_bits(bits)


@functools.lru_cache(maxsize=64)
def work_of_bits(bits: int) -> int:
    """The work of their target: one number for all blocks that have it."""
    return target_of_bits(bits).work


Body = tuple[tuple[Transaction, ...], tuple[bytes, ...]]
"""Transactions and their keys."""


def read_header(data: bytes) -> Header:
    """The header of a block's bytes. Raises `msgspec.DecodeError` where they cannot be one."""
    if not data.startswith(_FORM_BEGINS) or len(data) <= _HEADER.stop:
        raise msgspec.DecodeError("these bytes are no block")
    return Header(data[_HEADER])


def read_body(data: bytes) -> Body:
    """The transactions of a block's bytes. Raises `msgspec.DecodeError` where there are none."""
    try:
        transactions = _decoder.decode(data).transactions
    except UnicodeDecodeError:  # The one error of a decoder that has a class of its own.
        raise msgspec.DecodeError("a text of a block is not UTF-8") from None
    return transactions, keys_of(transactions)


class _Bodies:
    """What the last blocks say, by their bytes: in two generations, of which the older one goes."""

    def __init__(self) -> None:
        self._young: dict[bytes, Body] = {}
        self._old: dict[bytes, Body] = {}

    def of(self, data: bytes) -> Body:
        """`read_body`, remembered."""
        body = self._young.get(data)
        if body is None:
            body = self._old.get(data) or read_body(data)
            self.remember(data, body)
        return body

    def remember(self, data: bytes, body: Body) -> None:
        """These bytes are known to say this."""
        if len(self._young) >= BODIES_MAX // 2:
            self._old, self._young = self._young, {}
        self._young[data] = body


_bodies = _Bodies()


@functools.lru_cache(maxsize=BODIES_MAX)
def _kept_body(data: bytes) -> Body:
    """`read_body` for what comes from our own disk, held against its root."""
    try:
        body = read_body(data)
        check_root(data[_ROOT], body[1])
    except (InvalidBlock, msgspec.DecodeError) as error:
        block_id = Header(data[_HEADER]).id.hex()
        raise LocalError(
            f"the journal is damaged: block {block_id} of it is not the one that was found"
            f" ({error}); move the journal away to begin anew"
        ) from None
    return body
