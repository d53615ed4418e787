"""Nonsuch: distributed proof of work. *Find the nonce such that…*

>>> import nonsuch
>>> proof = nonsuch.solve(b"hello", upto=100_000)
>>> proof.verify()
True

A `Puzzle` says what is hashed, a `Target` how low the hash must be, and a `Proof` is a nonce that
somebody found. `solve` finds the lowest hash of a range, `first` the first below a target, and
`search` is both with everything to choose; each has a form to be awaited (`solve_async` …).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nonsuch.errors import KernelUnavailable, LocalError, NonsuchError, RemoteError
from nonsuch.search.halt import Halt
from nonsuch.search.searcher import Outcome, Progress, search
from nonsuch.search.solve import first, solve
from nonsuch.work import presets
from nonsuch.work.goals import First, Goal, Lowest, Shares
from nonsuch.work.nonce import Decimal, NonceEncoding, Raw, SquareDifference
from nonsuch.work.presets import PRESETS
from nonsuch.work.puzzle import Proof, Puzzle
from nonsuch.work.ranges import RangeSet
from nonsuch.work.target import Target

if TYPE_CHECKING:
    from nonsuch.live.solving import first_async, search_async, solve_async

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Decimal",
    "First",
    "Goal",
    "Halt",
    "KernelUnavailable",
    "LocalError",
    "Lowest",
    "NonceEncoding",
    "NonsuchError",
    "Outcome",
    "Progress",
    "Proof",
    "Puzzle",
    "RangeSet",
    "Raw",
    "RemoteError",
    "Shares",
    "SquareDifference",
    "Target",
    "first",
    "first_async",
    "presets",
    "search",
    "search_async",
    "solve",
    "solve_async",
]

_AWAITED = ("first_async", "search_async", "solve_async")


def __getattr__(name: str) -> object:
    """The awaited forms, imported when first asked for: asyncio is half of the import time."""
    if name not in _AWAITED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nonsuch.live import solving

    return getattr(solving, name)
