"""What a scenario raises, and how much of its world's trace it shows."""

from __future__ import annotations

from nonsuch.errors import NonsuchError

__all__ = ["TRACE_LINES", "Broken"]

TRACE_LINES = 60
"""The last so many events and effects, for people."""


class Broken(NonsuchError):
    """Something that must hold did not; the message says what, and how to see it again."""
