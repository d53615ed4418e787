"""What one peer may have done for it: a rate, and some in advance.

Where a source address can be forged a peer is never banned, and where a request costs less than its
answer it must not be answered without end. A budget fills at `rate` a second up to `burst`; what is
asked of an empty one is not done.
"""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """A token bucket, full at first. Times are those of a core."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._since = float("-inf")

    def left(self, now: float) -> int:
        """How much may be spent now."""
        if now > self._since:
            self._left = min(self._burst, self._left + (now - self._since) * self._rate)
            self._since = now
        return int(self._left)

    def spend(self, now: float, amount: int = 1) -> bool:
        """Take so much, if it is there; whether it was."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True
