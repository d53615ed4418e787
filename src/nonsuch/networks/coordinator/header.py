"""Headers of 108 bytes, and the blocks of a chain that consists of nothing else.

    version 4 · previous 32 · root 32 · timestamp 4 · target 32 · nonce 4

Numbers are little-endian, and the version has a sign; the target alone is big-endian. The id of a
block is SHA-256 of SHA-256 of its header, and is compared as it is written, most significant byte
first (Bitcoin reverses it). A header may say anything: it is kept as its bytes, and read when
somebody asks. So a chain of a hundred thousand blocks takes some sixty megabytes.

The first block of a chain names as its previous one the id that no block has: 32 zero bytes. There
is no genesis that all must know; it is mined like any other.
"""

from __future__ import annotations

import functools
import hashlib
import struct

import msgspec

from nonsuch.errors import LocalError
from nonsuch.work.presets import COORDINATOR_HEADER_SIZE, coordinator
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

__all__ = [
    "HEADER_BYTES",
    "ID_BYTES",
    "NONCE_BYTES",
    "NONCE_COUNT",
    "ROOT",
    "STOCK_TARGET",
    "TIMESTAMP_MAX",
    "VERSION",
    "Block",
    "Header",
    "sha256d",
]

VERSION = 4
"""What stock agents write into their answers, whatever they were sent."""

STOCK_TARGET = Target(2**241 - 1)
"""The same of the target: `0001` and thirty times `ff`, some 32,768 hashes."""

ID_BYTES = 32
NONCE_BYTES = 4
NONCE_COUNT = 1 << 8 * NONCE_BYTES
TIMESTAMP_MAX = 2**32 - 1
"""The year 2106."""

ROOT = bytes(ID_BYTES)
"""What the first block of a chain names as the one before it."""

_LAYOUT = struct.Struct("<i32s32sI32sI")
HEADER_BYTES = _LAYOUT.size
assert HEADER_BYTES == COORDINATOR_HEADER_SIZE

_PARENT, _MERKLE, _TIMESTAMP, _TARGET, _NONCE = 4, 36, 68, 72, 104


class Header(msgspec.Struct, frozen=True, gc=False):
    """A header as it travels and as it is kept: nothing of it was hashed yet.

    Raises `LocalError` unless `data` has `HEADER_BYTES`.
    """

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != HEADER_BYTES:
            raise LocalError(f"a header has {HEADER_BYTES} bytes, not {len(self.data)}")

    @classmethod
    def of(
        cls, version: int, parent: bytes, root: bytes, timestamp: int, target: Target, nonce: int
    ) -> Header:
        """The header of these fields. Raises `LocalError` where one does not fit."""
        if len(parent) != ID_BYTES or len(root) != ID_BYTES:
            raise LocalError(f"a parent and a root have {ID_BYTES} bytes each")
        threshold = target.value.to_bytes(ID_BYTES, "big")
        try:
            return cls(_LAYOUT.pack(version, parent, root, timestamp, threshold, nonce))
        except struct.error as error:
            raise LocalError(f"a number does not fit its field of a header: {error}") from None

    @property
    def version(self) -> int:
        """Of the rules that the block keeps; it may be negative."""
        return int.from_bytes(self.data[:_PARENT], "little", signed=True)

    @property
    def parent(self) -> bytes:
        """The id of the block before."""
        return self.data[_PARENT:_MERKLE]

    @property
    def root(self) -> bytes:
        """What the field of the Merkle root says; see `template`."""
        return self.data[_MERKLE:_TIMESTAMP]

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return int.from_bytes(self.data[_TIMESTAMP:_TARGET], "little")

    @property
    def threshold(self) -> bytes:
        """The field of the target as it is: of zeros, no target."""
        return self.data[_TARGET:_NONCE]

    @property
    def target(self) -> Target:
        """What the hash must not be above. Raises `LocalError` for zero, which is no target."""
        return _target_of(self.threshold)

    @property
    def nonce(self) -> int:
        """Where the search begins; in an answer, what was found."""
        return int.from_bytes(self.data[_NONCE:], "little")

    @property
    def puzzle(self) -> Puzzle:
        """What is to be searched: the header but for its nonce."""
        return coordinator(self.data)

    def with_nonce(self, nonce: int) -> Header:
        """The same with another nonce, in [0, `NONCE_COUNT`)."""
        return Header(self.data[:_NONCE] + nonce.to_bytes(NONCE_BYTES, "little"))

    def with_timestamp(self, timestamp: int) -> Header:
        """The same with another timestamp, in [0, `TIMESTAMP_MAX`]."""
        data = self.data
        return Header(data[:_TIMESTAMP] + timestamp.to_bytes(4, "little") + data[_TARGET:])


class Block:
    """A header that was hashed, good or not."""

    __slots__ = ("header", "id")

    size = HEADER_BYTES

    def __init__(self, header: Header) -> None:
        self.header = header
        self.id = sha256d(header.data)

    @property
    def parent(self) -> bytes:
        """The id of the block before."""
        return self.header.parent

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return self.header.timestamp

    @property
    def target(self) -> Target:
        """What the hash had to meet."""
        return self.header.target

    @property
    def work(self) -> int:
        """Hashes that one expects to try for it."""
        return self.header.target.work

    @property
    def rank(self) -> int:
        """Its hash as a number."""
        return int.from_bytes(self.id, "big")

    def __repr__(self) -> str:
        return f"Block({self.id.hex()[:12]} on {self.parent.hex()[:12]})"


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@functools.lru_cache(maxsize=64)
def _target_of(threshold: bytes) -> Target:
    """Remembered: without retargeting all blocks of a chain have the same."""
    return Target(int.from_bytes(threshold, "big"))
