"""A target: how low a digest must rank to be a proof.

A digest read as a 256-bit number is a proof when it is *not greater* than the target; equal is
enough. `Target.admits` is the one predicate in the whole package that compares a rank with a
threshold, so there is one place where `<=` could be wrong, and its tests stand at `target` and
`target + 1`.

People write the same number in five ways, and all of them meet here:

* the integer itself (gossip's `2**235`, the coordinator's 32 bytes);
* Bitcoin's compact *bits*, a base-256 floating point number of one exponent byte and three mantissa
  bytes, whose top mantissa bit is a sign that no target may have;
* leading zero hex digits, as the race and most school exercises count them;
* *difficulty*, the ratio to Bitcoin's easiest target;
* *work*, the hashes one expects to try, `2**256 // (target + 1)`, which is what chains add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from nonsuch.errors import LocalError, shown

__all__ = ["DIFFICULTY_ONE", "TARGET_MAX", "ZERO_DIGITS_MAX", "Target"]

TARGET_MAX = 2**256 - 1
"""The easiest target: every digest is a proof."""

DIFFICULTY_ONE = 0xFFFF << 208
"""The target of difficulty 1: Bitcoin's proof-of-work limit in compact form, `1d00ffff`."""

ZERO_DIGITS_MAX = 63
"""Sixty-four zero hex digits would be a target of zero, which nothing is known to meet."""

WORK_MAX = 2**255
"""The work of the hardest target, 1."""

_BITS_HINT = "a usable one is 1d00ffff, difficulty 1"

_MANTISSA_BITS = 0x007FFFFF
_SIGN_BIT = 0x00800000


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A threshold for ranks: `value` in [1, 2**256 - 1]; a smaller target is a harder one.

    Raises `LocalError` where the value lies outside that range.
    """

    value: int

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise LocalError(f"a target is a whole number, not {self.value!r}")
        if not 1 <= self.value <= TARGET_MAX:
            raise LocalError(
                f"a target must lie between 1 and 2**256 - 1; {shown(self.value)} does not"
            )

    def admits(self, rank: int) -> bool:
        """Whether a digest of this rank (see `Puzzle.rank`) is a proof: rank <= target."""
        return rank <= self.value

    # Bitcoin Core, arith_uint256::SetCompact and GetCompact.

    @classmethod
    def from_bits(cls, bits: int) -> Target:
        """The target that Bitcoin's compact `bits` (an unsigned 32-bit integer) stand for.

        Raises `LocalError` for negative, zero and overflowing encodings, which
        Bitcoin's `CheckProofOfWork` refuses too.
        """
        if not 0 <= bits <= 0xFFFFFFFF:
            raise LocalError(f"compact bits are 32 bits; {shown(bits)} does not fit")
        size, mantissa = bits >> 24, bits & _MANTISSA_BITS
        value = mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)
        if value == 0:
            raise LocalError(f"compact bits {bits:#010x} encode a target of zero; {_BITS_HINT}")
        if bits & _SIGN_BIT:
            raise LocalError(f"compact bits {bits:#010x} encode a negative target; {_BITS_HINT}")
        if value > TARGET_MAX:
            raise LocalError(
                f"compact bits {bits:#010x} encode a target above 2**256 - 1; {_BITS_HINT}"
            )
        return cls(value)

    @property
    def bits(self) -> int:
        """The compact form: the largest encodable target that is not above this one."""
        size = (self.value.bit_length() + 7) // 8
        mantissa = self.value >> 8 * (size - 3) if size > 3 else self.value << 8 * (3 - size)
        if mantissa & _SIGN_BIT:
            mantissa >>= 8
            size += 1
        return size << 24 | mantissa

    @classmethod
    def from_zero_digits(cls, digits: int) -> Target:
        """The target that a hash meets when its hex form begins with `digits` zeros, 0 to 63."""
        if not 0 <= digits <= ZERO_DIGITS_MAX:
            raise LocalError(
                f"leading zero digits must lie between 0 and {ZERO_DIGITS_MAX};"
                f" {shown(digits)} does not"
            )
        return cls((1 << 256 - 4 * digits) - 1)

    @classmethod
    def from_difficulty(cls, difficulty: float | Fraction) -> Target:
        """The target `DIFFICULTY_ONE / difficulty`, rounded down, for a finite one above 0."""
        try:
            exact = Fraction(difficulty)
        except (ValueError, OverflowError):
            raise LocalError(f"a difficulty is a finite number, not {difficulty}") from None
        if not 0 < exact <= DIFFICULTY_ONE:
            raise LocalError("a difficulty is above 0 and at most 2**224; this one is not")
        return cls(min(TARGET_MAX, int(DIFFICULTY_ONE / exact)))

    @classmethod
    def from_work(cls, hashes: int) -> Target:
        """The target that takes `hashes` tries on average; `hashes` is 1 or more."""
        if not 1 <= hashes <= WORK_MAX:
            raise LocalError(
                f"expected work is 1 to 2**255 hashes; {shown(hashes)} is not: no target is harder"
            )
        return cls(2**256 // hashes - 1)

    @property
    def difficulty(self) -> float:
        """How many times harder than Bitcoin's easiest target this one is."""
        return float(Fraction(DIFFICULTY_ONE, self.value))

    @property
    def work(self) -> int:
        """Hashes tried on average before one is admitted: `2**256 // (value + 1)`, 1 or more."""
        return 2**256 // (self.value + 1)

    def __str__(self) -> str:
        return f"{self.value:064x}"
