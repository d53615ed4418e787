"""A block, as far as a chain cares: who it is, whom it follows, and what it cost.

Each ledger has blocks of its own, with its own bytes, data and proof. What a tree of them needs to
know is said here, and nothing else: there is no class to derive from.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Block"]


class Block(Protocol):
    """What a chain asks of a block. It must not change, and is asked often: answer at once."""

    @property
    def id(self) -> bytes:
        """Its hash: two blocks of one id are one block."""

    @property
    def parent(self) -> bytes:
        """The id of the block that it follows. Its own id commits to this one."""

    @property
    def work(self) -> int:
        """Hashes that one expects to try for such a proof, 1 or more (see `Target.work`)."""

    @property
    def size(self) -> int:
        """Bytes that it takes, 1 or more: what a bounded store counts."""
