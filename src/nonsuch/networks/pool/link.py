"""The way to a pool, and back to it: what miners and clients have in common.

A link dials, says hello, and when the connection ends dials again: after a wait that doubles up to
a ceiling, and with one word to people when the pool is gone and one when it is back, however often
it is tried in between.
"""

from __future__ import annotations

import random

from nonsuch.networks.pool import facts, messages
from nonsuch.node import Backoff, Close, Connected, Dial, Effect, Emit, Send

__all__ = ["Link"]


class Link:
    """One node's connection to its pool. `peer` is its number, 0 while there is none."""

    def __init__(self, hello: messages.Hello, lots: random.Random) -> None:
        self._hello = hello
        self._lots = lots
        self._backoff = Backoff()
        self._told = False
        self._attempts = 0
        self.peer = 0
        self.ever_connected = False
        self.dial_at: float | None = None

    def dial(self) -> list[Effect]:
        """Try to connect, now."""
        self.dial_at = None
        self._attempts += 1
        return [Dial()]

    def connected(self, event: Connected) -> list[Effect]:
        """The connection stands: say hello."""
        self.peer = event.peer
        self.ever_connected = True
        fact = facts.PoolReached(event.address, self._attempts)
        self._told = False
        self._attempts = 0
        return [Send(event.peer, self._hello), Emit(fact)]

    def settled(self) -> None:
        """The pool does what pools do: the next failure is the first again.

        A welcome is not enough: whoever welcomes everybody, and then talks nonsense, must not be
        called ten times a second.
        """
        self._backoff.reset()

    def disconnected(self, why: str, now: float) -> list[Effect]:
        """The connection is gone, or none came to be: try again later."""
        self.peer = 0
        self.dial_at = now + self._backoff.next_seconds(self._lots.random())
        if self._told:
            return []
        self._told = True
        return [Emit(facts.ConnectionLost(why))]

    def send(self, message: messages.Message) -> list[Effect]:
        """Say something, if there is somebody to say it to."""
        return [Send(self.peer, message)] if self.peer else []

    def stop(self) -> list[Effect]:
        """Hang up for good, and without a word."""
        self._told = True
        return self.close("stopped")

    def close(self, why: str) -> list[Effect]:
        """Hang up."""
        return [Close(self.peer, why)] if self.peer else []
