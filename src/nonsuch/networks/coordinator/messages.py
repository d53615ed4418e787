"""What is said, but for headers: one word of the wire to its core."""

from __future__ import annotations

import msgspec

__all__ = ["Half"]


class Half(msgspec.Struct, frozen=True):
    """A header has begun to come, and has not ended with the bytes that came with it.

    The wire says it once for each such header. It never travels.
    """
