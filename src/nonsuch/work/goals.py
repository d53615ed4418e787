"""What a search is asked for. Three questions, each a small frozen value.

They are values because they travel: from a command line into threads, or from the core of a node,
which never hashes, to the driver that does.
"""

from __future__ import annotations

from dataclasses import dataclass

from nonsuch.work.target import Target

__all__ = ["First", "Goal", "Lowest", "Shares"]


@dataclass(frozen=True, slots=True)
class First:
    """Find the first nonce, from the start of the range, whose rank the target admits."""

    target: Target


@dataclass(frozen=True, slots=True)
class Lowest:
    """Find the nonce with the smallest rank in the range; the smallest such nonce on a tie."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Find every nonce whose rank `limit` admits; end behind the first that `until` admits.

    Whoever asks chooses a limit that few nonces meet: all of them are kept. With `until` None the
    whole range is searched. The first nonce that `until` admits is found whether or not it meets
    `limit` too.
    """

    limit: Target
    until: Target | None = None


Goal = First | Lowest | Shares
