"""Agents that do harm, each in one way that a coordinator must bear.

A cheat is a core like any other: it is sent headers as honest agents are. It has all the work it
wants done on the spot, for targets in simulations are easy.

    orphan      a solved header behind a block that nobody has
    version     a solved header of another version
    target      a solved header with a target that is easier than the one due
    future      a solved header that is dated hours ahead
    past        a solved header that is dated hours ago
    root        a solved header with a root of its own
    lazy        the header with a nonce that solves nothing
    garbage     any bytes
    half        the beginning of a header
    replay      one good answer, again and again
    stale       good answers to the first header that it was sent, without end
"""

from __future__ import annotations

import random

from nonsuch.networks.coordinator.header import HEADER_BYTES, ID_BYTES, NONCE_COUNT, Block, Header
from nonsuch.networks.coordinator.messages import Half
from nonsuch.node import (
    Connected,
    Dial,
    Disconnected,
    Effect,
    Event,
    Received,
    Send,
    Started,
    Tick,
)
from nonsuch.work.target import TARGET_MAX, Target

__all__ = ["CHEATS", "HONEST_WORK", "Cheat", "solved"]

CHEATS = (
    *("orphan", "version", "target", "future", "past", "root"),
    *("lazy", "garbage", "half", "replay", "stale"),
)

HONEST_WORK = frozenset({"replay", "stale"})
"""Those whose first answer may well be the next block."""

TICK_SECONDS = 0.5
REDIAL_SECONDS = 2.0
FLOOD_ANSWERS = 10
"""Answers in one tick of one who floods."""

HOURS_SECONDS = 3 * 60 * 60


def solved(header: Header, start: int | None = None) -> Header:
    """The first solution from the header's own nonce, or from `start`, on."""
    target = header.target
    nonces = range(header.nonce if start is None else start, NONCE_COUNT)
    answers = (header.with_nonce(nonce) for nonce in nonces)
    return next(each for each in answers if target.admits(Block(each).rank))


class Cheat:
    """One of `CHEATS`. Whenever it is let go, it comes again."""

    def __init__(self, kind: str, lots: random.Random) -> None:
        self._kind = kind
        self._lots = lots
        self._peer = 0
        self._header: Header | None = None
        self._first: Header | None = None
        self._answer: Header | None = None
        self._tick_at: float | None = None
        self._dial_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received(message=Header() as header):
                self._header = header
                self._first = self._first or header
            case Connected(peer=peer):
                self._peer = peer
                self._tick_at = now + TICK_SECONDS
            case Disconnected():
                self._peer = 0
                self._header = self._first = self._answer = self._tick_at = None
                self._dial_at = now + REDIAL_SECONDS
            case Started():
                return [Dial()]
            case Tick():
                return self._on_tick(now)
            case _:
                pass
        return []

    def deadline(self) -> float | None:
        """When to do harm, or to come again."""
        return min((at for at in (self._tick_at, self._dial_at) if at is not None), default=None)

    def _check(self) -> None:
        assert self._peer or self._tick_at is None

    def _on_tick(self, now: float) -> list[Effect]:
        if self._dial_at is not None and now >= self._dial_at:
            self._dial_at = None
            return [Dial()]
        if self._tick_at is None or now < self._tick_at:
            return []
        self._tick_at = now + TICK_SECONDS
        if self._header is None or self._first is None:
            return []
        return [Send(self._peer, message) for message in self._harm(self._header, self._first)]

    def _harm(self, header: Header, first: Header) -> list[object]:
        match self._kind:
            case "half":
                return [Half()]
            case "garbage":
                return [Header(self._lots.randbytes(HEADER_BYTES))]
            case "lazy":
                return [self._unsolved(header)]
            case "replay":
                self._answer = self._answer or solved(header)
                return [self._answer] * FLOOD_ANSWERS
            case "stale":
                starts = [self._lots.randrange(NONCE_COUNT // 2) for _ in range(FLOOD_ANSWERS)]
                return [solved(first, start) for start in starts]
            case _:
                return [solved(self._forged(header))]

    def _unsolved(self, header: Header) -> Header:
        while True:
            answer = header.with_nonce(self._lots.randrange(NONCE_COUNT))
            if not header.target.admits(Block(answer).rank):
                return answer

    def _forged(self, header: Header) -> Header:
        version, parent, root = header.version, header.parent, header.root
        timestamp, target = header.timestamp, header.target
        match self._kind:
            case "orphan":
                parent = self._lots.randbytes(ID_BYTES)
            case "version":
                version += 1
            case "target":
                target = Target(min(2 * target.value, TARGET_MAX))
            case "future":
                timestamp += HOURS_SECONDS
            case "past":
                timestamp -= HOURS_SECONDS
            case _:
                root = self._lots.randbytes(ID_BYTES)
        return Header.of(version, parent, root, timestamp, target, header.nonce)
