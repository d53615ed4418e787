"""What a peer of a dialect keeps on disk: its chain by index, and the transactions that wait.

A block that takes another's place in the chain takes its place on disk too. A chain never gets
shorter, so nothing is left behind.
"""

from __future__ import annotations

import hashlib

import msgspec

from nonsuch.networks.peer.dialects.messages import Block, Entry

__all__ = [
    "ChainBlock",
    "WaitingEntry",
    "block_subject",
    "decode_record",
    "encode_record",
    "entry_subject",
]


class ChainBlock(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The block of this index."""

    block: Block


class WaitingEntry(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A transaction that was accepted, and waits."""

    entry: Entry


def block_subject(index: int) -> str:
    """The subject of the block of this index."""
    return f"block:{index}"


def entry_subject(text: str) -> str:
    """The subject of a transaction."""
    return f"tx:{hashlib.sha256(text.encode()).hexdigest()}"


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ChainBlock | WaitingEntry] = msgspec.msgpack.Decoder(
    ChainBlock | WaitingEntry
)


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `msgspec.DecodeError` where there is none."""
    return _decoder.decode(data)
