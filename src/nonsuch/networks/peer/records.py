"""What a peer keeps on disk: every block of its tree, and every transaction that waits.

Blocks are kept for ever, side branches too, in the order in which they joined the tree; so to read
them back is to live through it again. A transaction has a subject of its own, and its record goes
when a block of the best chain has it. Should that block leave the chain, the transaction waits
again: its block is still on disk, so it is not lost.

    a block    tag · header and transactions · keys, the beginnings of five · SHA-256 of all that

**What is checked when they are read.** Every bit of a block's record, by its digest; and as of a
stranger's block, that the header shows its work, for our target, and follows a block that is here.
What was judged when the block came is not judged again, for it cannot have changed: what the texts
may say, the time, that the root is that of the transactions, that these keys are theirs, and that
none of them is on the branch already.

**What is not.** A digest is no signature. Somebody who can write to the disk, and computes the
digest anew, can change a body behind a header whose work still holds. So no body is believed until
its keys have been computed and held against the root (`KeptBlock`): that happens when it is used,
announced, or shown to people, and a wrong one ends the peer. To peers that fetch a chain it goes as
it is, for they check all of it, and to check it here too would take three times as long as to send
it; who sends them a wrong one is disconnected. Changed keys could let this peer, and no other, take
a transaction twice.

Records of earlier versions have neither keys nor digest. They are read as well, and take longer:
root and repetition are checked at once.
"""

from __future__ import annotations

import hashlib
import struct

import msgspec

from nonsuch.chain.index import KEY_BYTES
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS, Block, Transaction

__all__ = [
    "CHAIN_SUBJECT",
    "BlockKept",
    "Record",
    "TransactionPooled",
    "decode_record",
    "encode_record",
    "keys_kept",
    "transaction_subject",
]

CHAIN_SUBJECT = "chain"


class BlockKept(msgspec.Struct, frozen=True, gc=False):
    """A block that joined the tree: `Block.data`, and the beginnings of its keys, joined.

    Without keys it is from an earlier version, and nothing of it is known to be as it was.
    """

    data: bytes
    keys: bytes = b""

    @classmethod
    def of(cls, block: Block) -> BlockKept:
        """What is kept of a block that was judged."""
        return cls(block.data, b"".join([key[:KEY_BYTES] for key in block.keys]))


class TransactionPooled(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A transaction that was accepted, and waits."""

    transaction: Transaction


Record = BlockKept | TransactionPooled


def transaction_subject(key: bytes) -> str:
    """The subject of the transaction with this key."""
    return f"tx:{key.hex()}"


# MessagePack: arrays, and the tags that they begin with. In between are bytes as they are.

_OLD_BEGINS = b"\x92\x00"
"""An array of two, the first of them 0. Behind it are a block's bytes."""

_BEGINS = b"\x94\x02"
"""An array of four, the first of them 2. Behind it are a block's bytes, its keys, and a digest."""

_keys = struct.Struct(f"{KEY_BYTES}s" * BLOCK_TRANSACTIONS)
_KEYS_BYTES = _keys.size
_KEYS_BEGIN = bytes([0xC4, _KEYS_BYTES])

_DIGEST_BYTES = hashlib.sha256().digest_size
_DIGEST_BEGINS = bytes([0xC4, _DIGEST_BYTES])

_KEYS = slice(-_DIGEST_BYTES - 2 - _KEYS_BYTES, -_DIGEST_BYTES - 2)
_DATA = slice(len(_BEGINS), _KEYS.start - 2)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TransactionPooled)


def keys_kept(keys: bytes) -> tuple[bytes, ...]:
    """The keys, or their beginnings, that a `BlockKept` has joined."""
    return _keys.unpack(keys)


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal: an array of its tag and of what it has."""
    if not isinstance(record, BlockKept):
        return _encoder.encode(record)
    if not record.keys:
        return _OLD_BEGINS + record.data
    sealed = b"".join((_BEGINS, record.data, _KEYS_BEGIN, record.keys, _DIGEST_BEGINS))
    return sealed + hashlib.sha256(sealed).digest()


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `msgspec.DecodeError` where there is none."""
    if data.startswith(_BEGINS):
        if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
            raise msgspec.DecodeError("a block and its digest differ")
        return BlockKept(data[_DATA], data[_KEYS])
    if data.startswith(_OLD_BEGINS):
        return BlockKept(data[len(_OLD_BEGINS) :])
    return _decoder.decode(data)
