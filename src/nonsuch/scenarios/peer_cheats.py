"""Peers that lie, each in one way: an honest core, and somebody who edits what it says.

They are what a peer must live among. Each meets another of its defences: a block without work is
not even read, a body that is not its header's is not kept, a claim without headers and headers
without bodies lapse, a flood fills a pool and no more. Who withholds a longer branch, or tells two
stories of equal work, breaks no rule: then the chain must give way, and no transaction be lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from nonsuch.networks.peer import messages
from nonsuch.networks.peer.block import (
    HEADER_BYTES,
    ID_BYTES,
    BlockForm,
    Header,
    Template,
    Transaction,
    target_of_bits,
)
from nonsuch.networks.peer.peer import Peer
from nonsuch.node import Connected, Effect, Event, Received, Send, Tick

__all__ = ["CHEATS", "Cheat"]

FLOOD_SECONDS = 1.0
"""How often the flooder floods."""

FLOOD_TRANSACTIONS = 30

VARIANTS_MAX = 100_000
"""Nonces tried for a second block of the same height."""

Edit = Callable[["Cheat", Send], list[Effect]]


class Cheat:
    """A peer's core whose messages are edited on their way out.

    `release_seconds` after its start, who withholds does so no more.
    """

    def __init__(
        self, honest: Peer, kind: str, lots: random.Random, release_seconds: float = 30.0
    ) -> None:
        self.honest = honest
        self.lots = lots
        self.released = False
        self.variants: dict[bytes, BlockForm | None] = {}
        self._edit = CHEATS[kind]
        self._floods = kind == "floods"
        self._release_seconds = release_seconds
        self._release_at: float | None = None
        self._flood_at: float | None = None
        self._peers: dict[int, None] = {}
        self._count = 0

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What the honest one would do, but for what it says."""
        if self._release_at is None:
            self._release_at = now + self._release_seconds
            self._flood_at = now if self._floods else None
        self.released = now >= self._release_at
        match event:
            case Received(peer=peer, message=messages.Hello() | messages.Welcome()):
                self._peers[peer] = None
            case Connected(peer=peer):
                self._peers.pop(peer, None)
            case _:
                pass
        effects: list[Effect] = []
        for effect in self.honest.handle(event, now):
            effects += self._edit(self, effect) if isinstance(effect, Send) else [effect]
        if isinstance(event, Tick) and self._flood_at is not None and now >= self._flood_at:
            self._flood_at = now + FLOOD_SECONDS
            effects += self._flood(now)
        return effects

    def deadline(self) -> float | None:
        """The honest one's, or when to flood."""
        times = (self.honest.deadline(), self._flood_at)
        return min((at for at in times if at is not None), default=None)

    def _flood(self, now: float) -> list[Effect]:
        batch = []
        for _ in range(FLOOD_TRANSACTIONS):
            self._count += 1
            content = f"flood {self._count} {self.lots.getrandbits(32)}"
            batch.append(Transaction("evil0000", content, self._count))
        message = messages.Transactions(tuple(batch))
        return [Send(peer, message) for peer in self._peers]

    def _check(self) -> None:
        self.honest._check()


def _header(form: BlockForm) -> Header:
    return Header(form.header)


def _edited_blocks(send: Send, edit: Callable[[BlockForm], BlockForm]) -> list[Effect]:
    match send.message:
        case messages.AnnounceBlock(block=form):
            return [Send(send.peer, messages.AnnounceBlock(edit(form)))]
        case messages.Blocks(blocks=forms):
            return [Send(send.peer, messages.Blocks(tuple(map(edit, forms))))]
        case _:
            return [send]


def _pretend(cheat: Cheat, send: Send) -> list[Effect]:
    """Announce blocks that took no work."""

    def edit(form: BlockForm) -> BlockForm:
        nonce = cheat.lots.randbytes(8)
        return BlockForm(form.header[: HEADER_BYTES - 8] + nonce, form.transactions)

    return _edited_blocks(send, edit)


def _forge(_cheat: Cheat, send: Send) -> list[Effect]:
    """Put other transactions under a good header."""

    def edit(form: BlockForm) -> BlockForm:
        return BlockForm(form.header, form.transactions[::-1])

    return _edited_blocks(send, edit)


def _withhold(cheat: Cheat, send: Send) -> list[Effect]:
    """Say nothing of one's own branch until it is long."""
    says = messages.AnnounceBlock | messages.Heartbeat | messages.Headers | messages.Blocks
    return [] if isinstance(send.message, says) and not cheat.released else [send]


def _equivocate(cheat: Cheat, send: Send) -> list[Effect]:
    """Tell half of the peers of another block, of the same work."""
    if not isinstance(send.message, messages.AnnounceBlock) or send.peer % 2:
        return [send]
    form = send.message.block
    key = _header(form).id
    if key not in cheat.variants:
        cheat.variants[key] = _variant(form)
    variant = cheat.variants[key]
    return [send] if variant is None else [Send(send.peer, messages.AnnounceBlock(variant))]


def _variant(form: BlockForm) -> BlockForm | None:
    """The same block, a second later."""
    header = _header(form)
    template = Template(header.parent, form.transactions, header.timestamp + 1, header.bits)
    target = target_of_bits(header.bits)
    ranks = (template.header(nonce) for nonce in range(VARIANTS_MAX))
    found = next((each for each in ranks if target.admits(each.rank)), None)
    return None if found is None else BlockForm(found.data, form.transactions)


def _boast(cheat: Cheat, send: Send) -> list[Effect]:
    """Claim the most work of all, and show nothing."""
    match send.message:
        case messages.Heartbeat() as beat:
            tip = cheat.lots.randbytes(ID_BYTES)
            more = messages.Heartbeat(beat.height, b"\xff" * 16, tip, beat.waiting, beat.digest)
            return [Send(send.peer, more)]
        case messages.Headers():
            return []
        case _:
            return [send]


def _starve(_cheat: Cheat, send: Send) -> list[Effect]:
    """Show headers, and never send a block."""
    return [] if isinstance(send.message, messages.Blocks) else [send]


def _flood(_cheat: Cheat, send: Send) -> list[Effect]:
    """Send transactions without end, and be honest otherwise."""
    return [send]


CHEATS: Mapping[str, Edit] = MappingProxyType(
    {
        "pretends": _pretend,
        "forges": _forge,
        "withholds": _withhold,
        "equivocates": _equivocate,
        "boasts": _boast,
        "starves": _starve,
        "floods": _flood,
    }
)
"""Each kind, and how it edits what is sent."""
