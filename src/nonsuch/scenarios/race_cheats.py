"""Nodes that have the keeper's token, and lie to it, each in one way.

That a nonce is the first one is the one thing that a keeper does not look at: it would take a
search. So nobody here claims a later one; whoever has the token could.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence

import msgspec

from nonsuch.networks.race.ledger import Entry
from nonsuch.networks.race.messages import RACES_MAX, Claim, Enter, Hello, Join, Leave, Won
from nonsuch.node import (
    Backoff,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Event,
    Send,
    Started,
    Tick,
)

__all__ = ["CHEATS", "Cheat", "solved"]

CHEATS = ("forges", "impersonates", "skips ahead", "enters", "floods", "babbles")

CHEAT_SECONDS = 1.0
"""Between two lies."""

TIME = "2023-11-14 22:13:20.250000"


class Cheat:
    """A liar of one kind, among nodes that race for these texts."""

    def __init__(
        self, kind: str, texts: Sequence[str], difficulty: int, lots: random.Random
    ) -> None:
        self._kind = kind
        self._texts = texts
        self._hello = Hello(kind, difficulty)
        self._prefix = "00" * difficulty
        self._lots = lots
        self._backoff = Backoff(floor_seconds=1.0)
        self._peer = 0
        self._wake_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Started():
                return [Dial()]
            case Connected(peer=peer):
                self._peer = peer
                self._wake_at = now + CHEAT_SECONDS
                return [Send(peer, self._hello)]
            case Disconnected():
                self._peer = 0
                self._wake_at = now + self._backoff.next_seconds(self._lots.random())
            case Tick() if self._wake_at is not None and now >= self._wake_at:
                self._wake_at = now + CHEAT_SECONDS if self._peer else None
                if not self._peer:
                    return [Dial()]
                return [Send(self._peer, lie) for lie in self._lies()]
            case _:
                pass
        return []

    def _lies(self) -> list[object]:
        text = self._lots.choice(self._texts)
        proof = solved(text, self._prefix)
        entry = Entry(self._kind, text, *proof, 0.001, TIME, TIME)
        match self._kind:
            case "forges":
                if self._lots.random() < 0.5:
                    return [_claim(msgspec.structs.replace(entry, nonce=entry.nonce + 1))]
                return [_claim(msgspec.structs.replace(entry, hash="0" * 64))]
            case "impersonates":
                return [_claim(msgspec.structs.replace(entry, node="Node1"))]
            case "skips ahead":
                return [Claim(0, "", 0, 1000, entry), Claim(0, "0" * 64, 9, 1, entry)]
            case "enters":
                number = 1 + self._lots.randrange(1000)
                return [Enter(0, "", 0, number, f"{text} {n}") for n in range(2 * RACES_MAX)]
            case "floods":
                return [Join(0)] * 300
            case _:
                return [Won(0, "", 1, bytes(32)), Leave(), self._hello]

    def deadline(self) -> float | None:
        """When to lie, or to come back."""
        return self._wake_at

    def _check(self) -> None:
        pass


def _claim(entry: Entry) -> Claim:
    return Claim(0, "", 0, 1, entry)


@functools.cache
def solved(text: str, prefix: str) -> tuple[int, str]:
    """The first nonce whose hash begins so, and that hash, found apart from everything else."""
    nonce = 0
    while True:
        digest = hashlib.sha256(f"{text}{nonce}".encode()).hexdigest()
        if digest.startswith(prefix):
            return nonce, digest
        nonce += 1
