"""Miners that lie, each in one way: an honest core, and somebody who edits its results.

They are what a pool must not believe. Each is caught by another of its defences: a nonce that is
out of place by looking, one that is no share by hashing, and shares that were left out by counting
and by scanning again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from nonsuch.networks.pool.messages import Result
from nonsuch.node import Core, Effect, Event, Send

__all__ = ["CHEATS", "Cheat"]

SKIPPED_PART = 0.5
"""How much of each shard the lazy one does not search."""

Edit = Callable[["Cheat", Result], Result]


class Cheat:
    """A miner's core whose results are edited on their way out."""

    def __init__(self, honest: Core, kind: str, lots: random.Random) -> None:
        self._honest = honest
        self._edit = CHEATS[kind]
        self.lots = lots
        self.previous: tuple[int, ...] = ()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What the honest one would do, but for the results."""
        return [self._edited(effect) for effect in self._honest.handle(event, now)]

    def _edited(self, effect: Effect) -> Effect:
        if isinstance(effect, Send) and isinstance(effect.message, Result):
            return Send(effect.peer, self._edit(self, effect.message))
        return effect

    def deadline(self) -> float | None:
        """The honest one's."""
        return self._honest.deadline()

    def _check(self) -> None:
        self._honest._check()


def _with(result: Result, nonces: tuple[int, ...]) -> Result:
    return Result(result.lease, result.stop, nonces)


def _skip(cheat: Cheat, result: Result) -> Result:
    """Search a part, and say that it was all: shares of the rest are missing."""
    kept = [nonce for nonce in result.nonces if cheat.lots.random() > SKIPPED_PART]
    return _with(result, tuple(kept))


def _sleep(_cheat: Cheat, result: Result) -> Result:
    """Search nothing, and say that there was nothing."""
    return _with(result, ())


def _withhold(_cheat: Cheat, result: Result) -> Result:
    """Keep a share back: perhaps the best, to be sold elsewhere."""
    return _with(result, result.nonces[1:])


def _replay(cheat: Cheat, result: Result) -> Result:
    """Sleep, and send what was good for the shard before."""
    previous, cheat.previous = cheat.previous, cheat.previous or result.nonces
    return _with(result, previous or result.nonces)


def _borrow(_cheat: Cheat, result: Result) -> Result:
    """Send nonces that others found: here, those of the neighbouring shard."""
    distance = max(result.nonces, default=0) - min(result.nonces, default=0) + 1
    return _with(result, tuple(nonce + distance for nonce in result.nonces))


def _invent(cheat: Cheat, result: Result) -> Result:
    """Fill up with nonces that are no shares."""
    if not result.nonces:
        return result
    low, high = result.nonces[0], result.nonces[-1]
    invented = {*result.nonces, *(cheat.lots.randint(low, high) for _ in range(8))}
    return _with(result, tuple(sorted(invented)))


def _guess(_cheat: Cheat, result: Result) -> Result:
    """Search nothing, and name any nonce: all that a wire without evidence asks for."""
    return _with(result, (result.stop - 1,))


CHEATS: Mapping[str, Edit] = MappingProxyType(
    {
        "skips": _skip,
        "sleeps": _sleep,
        "withholds": _withhold,
        "replays": _replay,
        "borrows": _borrow,
        "invents": _invent,
        "guesses": _guess,
    }
)
"""By name, what each does to a result."""
