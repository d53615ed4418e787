"""How a nonce is written into the bytes that are hashed.

An encoding is a small frozen value with two members: `count`, how many nonces it can write (they
are 0 up to, not including, `count`), and `encode(nonce) -> bytes`. Encodings do not know where in
the preimage they stand; `Puzzle` does.

`Decimal` and `Raw` are *positional*: adding to a nonce adds to some digits of its encoding. That is
what lets the generated kernel walk them from tables. `SquareDifference` is not, and is searched
with `hashlib`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nonsuch.errors import LocalError, shown

__all__ = ["NONCE_COUNT_MAX", "RAW_SIZE_MAX", "Decimal", "NonceEncoding", "Raw", "SquareDifference"]

NONCE_COUNT_MAX = 2**64
"""No network here has a nonce of more than 64 bits (LiteMiner's is a Go uint64)."""

RAW_SIZE_MAX = 8
"""Bytes of the widest binary nonce: gossip's proof of work field."""


@dataclass(frozen=True, slots=True)
class Decimal:
    """ASCII decimal digits without leading zeros: nonce 7 is `b"7"`, nonce 0 is `b"0"`."""

    @property
    def count(self) -> int:
        """How many nonces there are: 2**64."""
        return NONCE_COUNT_MAX

    def encode(self, nonce: int) -> bytes:
        """1 to 20 ASCII digits. Raises `LocalError` unless 0 <= nonce < 2**64."""
        _check_nonce(nonce, self.count)
        return b"%d" % nonce

    def encode_all(self, nonces: Sequence[int]) -> list[bytes]:
        """`encode` of each, which must ascend, in a third of the time."""
        _check_nonces(nonces, self.count)
        return [b"%d" % nonce for nonce in nonces]


@dataclass(frozen=True, slots=True)
class Raw:
    """An unsigned integer of `size` bytes (1 to 8), `order` "big" or "little" endian."""

    size: int
    order: Literal["big", "little"]

    def __post_init__(self) -> None:
        if not 1 <= self.size <= RAW_SIZE_MAX:
            raise LocalError(f"a raw nonce has 1 to {RAW_SIZE_MAX} bytes, not {self.size}")
        if self.order not in ("big", "little"):
            raise LocalError(f'byte order is "big" or "little", not {self.order!r}')

    @property
    def count(self) -> int:
        """How many nonces there are: 256**size."""
        return 1 << 8 * self.size

    def encode(self, nonce: int) -> bytes:
        """Exactly `size` bytes. Raises `LocalError` unless 0 <= nonce < 256**size."""
        _check_nonce(nonce, self.count)
        return nonce.to_bytes(self.size, self.order)

    def encode_all(self, nonces: Sequence[int]) -> list[bytes]:
        """`encode` of each, which must ascend, in a third of the time."""
        _check_nonces(nonces, self.count)
        size, order = self.size, self.order
        return [nonce.to_bytes(size, order) for nonce in nonces]


@dataclass(frozen=True, slots=True)
class SquareDifference:
    """ASCII decimal of nonce**2 - previous**2, with a minus sign where it is negative.

    The rule of COMP3221's peer network. It commits to nothing but the previous proof, so the proofs
    run in a short cycle whatever the blocks hold (5, 33, 155 … and back to 100): a chain under this
    rule can be rewritten free of charge. It is here to interoperate, and to show why.
    """

    previous: int

    def __post_init__(self) -> None:
        _check_nonce(self.previous, NONCE_COUNT_MAX)

    @property
    def count(self) -> int:
        """How many nonces there are: 2**64. The network itself counts from 1."""
        return NONCE_COUNT_MAX

    def encode(self, nonce: int) -> bytes:
        """Up to 40 ASCII bytes. Raises `LocalError` unless 0 <= nonce < 2**64."""
        _check_nonce(nonce, self.count)
        return b"%d" % (nonce * nonce - self.previous * self.previous)

    def encode_all(self, nonces: Sequence[int]) -> list[bytes]:
        """`encode` of each, which must ascend, in a third of the time."""
        _check_nonces(nonces, self.count)
        square = self.previous * self.previous
        return [b"%d" % (nonce * nonce - square) for nonce in nonces]


NonceEncoding = Decimal | Raw | SquareDifference


def _check_nonces(nonces: Sequence[int], count: int) -> None:
    """Of nonces that ascend the first and the last say it for all."""
    if nonces:
        _check_nonce(nonces[0], count)
        _check_nonce(nonces[-1], count)


def _check_nonce(nonce: int, count: int) -> None:
    if not 0 <= nonce < count:
        raise LocalError(
            f"nonce {shown(nonce)} is outside [0, {count - 1}], all that its field can hold"
        )
