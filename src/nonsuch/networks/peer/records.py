"""What a peer keeps on disk: every block of its tree, and every transaction that waits.

Blocks are kept for ever, side branches too, in the order in which they joined the tree; so to read
them back is to live through it again, with every check that a stranger's block gets. A transaction
has a subject of its own, and its record goes when a block of the best chain has it. Should that
block leave the chain, the transaction waits again: its block is still on disk, so it is not lost.
"""

from __future__ import annotations

import msgspec

from nonsuch.networks.peer.block import BlockForm, Transaction

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


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """An array of its fields behind its tag."""


class BlockKept(_Record, frozen=True, tag=0):
    """A block that joined the tree."""

    block: BlockForm


class TransactionPooled(_Record, frozen=True, tag=1):
    """A transaction that was accepted, and waits."""

    transaction: Transaction


Record = BlockKept | TransactionPooled


def transaction_subject(key: bytes) -> str:
    """The subject of the transaction with this key."""
    return f"tx:{key.hex()}"


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `msgspec.DecodeError` where there is none."""
    return _decoder.decode(data)
