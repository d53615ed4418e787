"""What a peer keeps on disk: every block of its tree, and every transaction that waits.

Blocks are kept for ever, side branches too, in the order in which they joined the tree; so to read
them back is to live through it again. What a disk can spoil is checked again: the work of each
block, whom it follows, that its header names the root of its transactions, and that none of them is
twice on a branch. What a text may say, and when a block may come, is not: the hash that was checked
commits to bytes that were judged when they came, and no clock has to be asked twice. A transaction
has a subject of its own, and its record goes when a block of the best chain has it. Should that
block leave the chain, the transaction waits again: its block is still on disk, so it is not lost.
"""

from __future__ import annotations

import msgspec

from nonsuch.networks.peer.block import Transaction

__all__ = [
    "CHAIN_SUBJECT",
    "BlockKept",
    "Record",
    "TransactionPooled",
    "decode_record",
    "encode_record",
    "transaction_subject",
]

CHAIN_SUBJECT = "chain"


class BlockKept(msgspec.Struct, frozen=True, gc=False):
    """A block that joined the tree: `Block.data`."""

    data: bytes


class TransactionPooled(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A transaction that was accepted, and waits."""

    transaction: Transaction


Record = BlockKept | TransactionPooled


def transaction_subject(key: bytes) -> str:
    """The subject of the transaction with this key."""
    return f"tx:{key.hex()}"


_BLOCK_BEGINS = b"\x92\x00"
"""MessagePack: an array of two, the first of them 0. Behind it are a block's bytes."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TransactionPooled)


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal: an array of its tag and of what it has."""
    if isinstance(record, BlockKept):
        return _BLOCK_BEGINS + record.data
    return _encoder.encode(record)


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `msgspec.DecodeError` where there is none."""
    if data.startswith(_BLOCK_BEGINS):
        return BlockKept(data[len(_BLOCK_BEGINS) :])
    return _decoder.decode(data)
