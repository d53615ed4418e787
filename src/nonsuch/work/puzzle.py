"""A puzzle: what is hashed, where the nonce goes in it, and how a digest is ranked.

    preimage(nonce) = prefix + encode(nonce) + suffix
    digest(nonce)   = SHA-256 of it, or SHA-256 of SHA-256 of it
    rank(digest)    = the digest as a 256-bit number, read big- or little-endian

Lower ranks are better; a rank not above a `Target` is a proof. LiteMiner compares only the first 64
bits of a digest: such a puzzle has `rank_bits=64`, and its ranks have their other 192 bits cleared.
Every rank therefore lives on the same 256-bit scale, and targets, work and difficulty mean the same
for all puzzles. `compared` gives the short number that such a network puts on its wire.

Everything here goes through `hashlib`. The generated kernel is only ever a *hint* where to look:
what it finds is rehashed by these methods before anyone hears of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nonsuch.errors import LocalError
from nonsuch.work.nonce import Decimal, NonceEncoding
from nonsuch.work.target import Target

__all__ = ["BLOCK_SIZE", "Merit", "Proof", "Puzzle"]

BLOCK_SIZE = 64
"""What SHA-256 takes at once (FIPS 180-4)."""

DIGEST_SIZE = 32
DIGEST_BITS = 8 * DIGEST_SIZE

Merit = tuple[int, int]
"""What "lowest" means when proofs of one puzzle compete: smallest rank, then nonce."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """What is to be solved. Frozen and hashable; two equal puzzles have the same proofs.

    `prefix` and `suffix` are the bytes before and after the nonce, of any length. `hash` is
    "sha256" or "sha256d" (twice), `order` the byte order in which a digest is read as a number, and
    `rank_bits` (1 to 256) how many of that number's leading bits count.
    """

    prefix: bytes = b""
    nonce: NonceEncoding = Decimal()
    suffix: bytes = b""
    hash: Literal["sha256", "sha256d"] = "sha256"
    order: Literal["big", "little"] = "big"
    rank_bits: int = DIGEST_BITS

    def __post_init__(self) -> None:
        if self.hash not in ("sha256", "sha256d"):
            raise LocalError(f'a puzzle\'s hash is "sha256" or "sha256d", not {self.hash!r}')
        if self.order not in ("big", "little"):
            raise LocalError(f'byte order is "big" or "little", not {self.order!r}')
        if not 1 <= self.rank_bits <= DIGEST_BITS:
            raise LocalError(f"a rank has 1 to {DIGEST_BITS} bits, not {self.rank_bits}")

    @property
    def kind(self) -> str:
        """What puzzles have in common whose nonces take about as long to hash: for rates."""
        blocks = (len(self.prefix) % BLOCK_SIZE + len(self.suffix)) // BLOCK_SIZE
        return f"{self.hash} {type(self.nonce).__name__} {blocks.bit_length()}"

    def preimage(self, nonce: int) -> bytes:
        """The bytes that are hashed. Raises `LocalError` where the nonce does not fit its field."""
        return self.prefix + self.nonce.encode(nonce) + self.suffix

    def digest(self, nonce: int) -> bytes:
        """The 32 bytes of the hash, by `hashlib`, in the order the algorithm emits them."""
        digest = hashlib.sha256(self.preimage(nonce)).digest()
        return hashlib.sha256(digest).digest() if self.hash == "sha256d" else digest

    def digests(self, nonces: Sequence[int]) -> list[bytes]:
        """`digest` of each, which must ascend, with the prefix hashed once: for a pool's shares."""
        beginning, suffix, digests = hashlib.sha256(self.prefix), self.suffix, []
        for encoded in self.nonce.encode_all(nonces):
            state = beginning.copy()
            state.update(encoded + suffix if suffix else encoded)
            digests.append(state.digest())
        if self.hash == "sha256d":
            return [hashlib.sha256(digest).digest() for digest in digests]
        return digests

    def rank(self, digest: bytes) -> int:
        """The digest as a number on the 256-bit scale, bits that do not count cleared.

        Raises `LocalError` unless the digest has 32 bytes.
        """
        if len(digest) != DIGEST_SIZE:
            raise LocalError(f"a digest has {DIGEST_SIZE} bytes, not {len(digest)}")
        dropped = DIGEST_BITS - self.rank_bits
        return int.from_bytes(digest, self.order) >> dropped << dropped

    def compared(self, digest: bytes) -> int:
        """The leading `rank_bits` bits alone: LiteMiner's `Hash` field."""
        return self.rank(digest) >> DIGEST_BITS - self.rank_bits

    def prove(self, nonce: int) -> Proof:
        """Hash this nonce and call the result a proof; targets say whether it is good enough."""
        return Proof(self, nonce, self.digest(nonce))


@dataclass(frozen=True, slots=True)
class Proof:
    """A nonce and the digest somebody says it has. Believe it after `verify`, not before."""

    puzzle: Puzzle
    nonce: int
    digest: bytes

    @property
    def rank(self) -> int:
        """The digest's rank under this puzzle: lower is better."""
        return self.puzzle.rank(self.digest)

    @property
    def hexdigest(self) -> str:
        """64 hex digits as the network shows them: most significant first (Bitcoin reverses)."""
        return (self.digest[::-1] if self.puzzle.order == "little" else self.digest).hex()

    @property
    def merit(self) -> Merit:
        """Its rank and its nonce."""
        return self.rank, self.nonce

    def verify(self, target: Target | None = None) -> bool:
        """Whether hashing again gives this digest and, if asked, the target admits it.

        False, not an error, for a nonce that the puzzle has no room for: a peer may say anything.
        """
        if not 0 <= self.nonce < self.puzzle.nonce.count:
            return False
        if self.puzzle.digest(self.nonce) != self.digest:
            return False
        return target is None or target.admits(self.rank)
