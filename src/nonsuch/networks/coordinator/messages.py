"""What is said, but for headers: one word of the wire to its core, and one of a node's own user."""

from __future__ import annotations

import msgspec

__all__ = ["Clock", "Half"]


class Half(msgspec.Struct, frozen=True):
    """A header has begun to come, and has not ended with the bytes that came with it.

    The wire says it once for each such header. It never travels.
    """


class Clock(msgspec.Struct, frozen=True):
    """It is so many Unix seconds: a node's own user says it now and then, `Received(LOCAL, …)`."""

    unix: float
