"""Gossip miners that do harm, each in one way that the real ones must bear.

A cheat is a core like any other. It hears what honest miners hear, and has their hash rate's worth
of blocks in a second, mined here on the spot: targets in simulations are easy.

    lazy          blocks without work, as fast as it can
    withholder    mines its own branch in secret, and publishes it late, all at once
    equivocator   two blocks on every tip, one for each half of its peers
    flooder       blocks with work and without any parent
    storm         everything that it ever heard, again and again
    spoofer       old blocks and garbage in the names of the others
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable

from nonsuch.networks.gossip.messages import NONCE_SIZE, ROOT, Announcement, Block
from nonsuch.node import Connected, Effect, Event, Received, Send, Started, Tick
from nonsuch.work.presets import gossip
from nonsuch.work.target import Target

__all__ = ["CHEATS", "Cheat", "mine"]

CHEATS = ("lazy", "withholder", "equivocator", "flooder", "storm", "spoofer")

TICK_SECONDS = 0.5
HEARD_MAX = 256
"""What it remembers of what it heard."""

STORM_DATAGRAMS = 40
"""Sent to each peer, each tick."""

WITHHELD_BLOCKS = 12
"""How deep the reorganisations are that a withholder tries to bring about."""


def mine(data: bytes, parent: bytes, target: Target) -> Block:
    """A block with work."""
    puzzle = gossip(data, parent)
    nonce = 0
    while not target.admits(puzzle.prove(nonce).rank):
        nonce += 1
    return Block(data, parent, nonce.to_bytes(NONCE_SIZE, "big"), target.work)


class Cheat:
    """One of `CHEATS`. It mines one block in `block_seconds`; `forge` is for a spoofer."""

    def __init__(
        self,
        kind: str,
        target: Target,
        block_seconds: float,
        lots: random.Random,
        forge: Callable[[], None] | None = None,
    ) -> None:
        self._kind = kind
        self._target = target
        self._block_seconds = block_seconds
        self._lots = lots
        self._forge = forge
        self._peers: list[int] = []
        self._heard: deque[Announcement] = deque(maxlen=HEARD_MAX)
        self._known: dict[bytes, int] = {ROOT: -1}
        self._tip = ROOT
        self._secret: list[Block] = []
        self._number = 0
        self._tick_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received(message=Announcement() as announcement):
                self._hear(announcement)
            case Connected(peer=peer):
                self._peers.append(peer)
            case Started():
                self._tick_at = now + TICK_SECONDS
            case Tick():
                self._tick_at = now + TICK_SECONDS
                return self._act()
            case _:
                pass
        return []

    def deadline(self) -> float | None:
        """It always has something in mind."""
        return self._tick_at

    def _check(self) -> None:
        assert len(self._heard) <= HEARD_MAX

    def _hear(self, announcement: Announcement) -> None:
        """Keep it, and follow the longest chain."""
        self._heard.append(announcement)
        block = Block.of(announcement, 1)
        height = self._known.get(announcement.previous)
        if height is not None and block.id not in self._known:
            self._known[block.id] = height + 1
            if height + 1 > self._known[self._tip]:
                self._tip = block.id

    def _act(self) -> list[Effect]:
        match self._kind:
            case "storm":
                again = self._lots.choices(self._heard, k=STORM_DATAGRAMS) if self._heard else []
                return self._say(again)
            case "lazy":
                self._number += 1
                data = b"lazy %d" % self._number
                return self._say([Announcement(data, self._tip, bytes(NONCE_SIZE))])
            case "flooder":
                parent = self._lots.randbytes(len(ROOT))
                return self._say([self._mined(parent).announcement])
            case "spoofer":
                if self._forge is not None:
                    self._forge()
                return []
            case _:
                pass
        if self._tip == ROOT or self._lots.random() > TICK_SECONDS / self._block_seconds:
            return []
        return self._equivocate() if self._kind == "equivocator" else self._withhold()

    def _equivocate(self) -> list[Effect]:
        one, other = self._mined(self._tip), self._mined(self._tip)
        half = len(self._peers) // 2
        first = [Send(peer, one.announcement) for peer in self._peers[:half]]
        return [*first, *(Send(peer, other.announcement) for peer in self._peers[half:])]

    def _withhold(self) -> list[Effect]:
        parent = self._secret[-1].id if self._secret else self._tip
        self._secret.append(self._mined(parent))
        if len(self._secret) < WITHHELD_BLOCKS:
            return []
        published, self._secret = self._secret, []
        return self._say(block.announcement for block in published)

    def _mined(self, parent: bytes) -> Block:
        self._number += 1
        return mine(b"%b %d" % (self._kind.encode(), self._number), parent, self._target)

    def _say(self, announcements: Iterable[Announcement]) -> list[Effect]:
        return [Send(peer, each) for each in announcements for peer in self._peers]

    @property
    def heard(self) -> list[Announcement]:
        """What it remembers, for a spoofer's forgeries."""
        return list(self._heard)
