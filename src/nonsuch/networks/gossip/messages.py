"""What gossip miners say: blocks, and nothing else.

There is no request. A node that sends a block which another one has already says thereby where it
stands; what it does not know yet is the answer (`miner.py`). Source: COM-402, homework 9.
"""

from __future__ import annotations

import functools
import hashlib

import msgspec

from nonsuch.work.presets import PARENT_SIZE

__all__ = [
    "DATA_BYTES_MAX",
    "FORM_BYTES",
    "NONCE_SIZE",
    "ROOT",
    "Announcement",
    "Block",
    "Payload",
    "decode_record",
    "encode_record",
]

DATA_BYTES_MAX = 4096
"""The longest data of a block."""

NONCE_SIZE = 8
"""Bytes of a `p_o_w`; any are legal."""

FORM_BYTES = 121
"""Of a datagram, what is not data."""

KNOWN_MAX = 256
"""Blocks that have come last and need not be hashed again: a megabyte at most.

Every peer says the same, and says it again; and all miners of a world share what they keep.
"""

ROOT = bytes(PARENT_SIZE)
"""What a genesis block names as its parent."""


class Announcement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A block as it comes: of the right sizes, and not hashed yet."""

    data: bytes
    previous: bytes
    p_o_w: bytes


class Payload(msgspec.Struct, frozen=True):
    """Data that the node's own user wants in a block."""

    data: bytes


class Block:
    """A block that was hashed: `id` is SHA-256(data, parent, p_o_w), `work` what it took."""

    __slots__ = ("data", "id", "p_o_w", "parent", "work")

    def __init__(self, data: bytes, parent: bytes, p_o_w: bytes, work: int) -> None:
        self.data = data
        self.parent = parent
        self.p_o_w = p_o_w
        self.work = work
        self.id = hashlib.sha256(data + parent + p_o_w).digest()

    @staticmethod
    def of(announcement: Announcement, work: int) -> Block:
        """The block that was announced; the same one if it has come lately. Do not change it."""
        return _known(announcement, work)

    @property
    def announcement(self) -> Announcement:
        """What is sent of it, and kept of it on disk."""
        return Announcement(self.data, self.parent, self.p_o_w)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.data) + PARENT_SIZE + NONCE_SIZE

    @property
    def datagram_bytes(self) -> int:
        """Bytes of its datagram: data in base64 among names, quotes and hex digits."""
        return (len(self.data) + 2) // 3 * 4 + FORM_BYTES

    @property
    def rank(self) -> int:
        """Its hash as a number, which a target is held against."""
        return int.from_bytes(self.id, "big")

    def __repr__(self) -> str:
        return f"Block({self.id.hex()[:12]} on {self.parent.hex()[:12]})"


@functools.lru_cache(KNOWN_MAX)
def _known(announcement: Announcement, work: int) -> Block:
    return Block(announcement.data, announcement.previous, announcement.p_o_w, work)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Announcement)


def encode_record(record: object) -> bytes:
    """A block's announcement as the store keeps it."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> object:
    """The announcement of these bytes. Raises `msgspec.DecodeError` where there is none."""
    return _decoder.decode(data)
