"""Blocks are made: by this peer's own search, or by a client that asks what to search.

When five transactions wait, the first five are a block but for its nonce. The search for it is
given up as soon as it is not the next block any more: another tip, or another five. Two peers that
mine the same five begin at nonces drawn by lot, so that they do not do each other's work again.
"""

from __future__ import annotations

from nonsuch.chain.tree import Extended
from nonsuch.chain.validation import InvalidBlock
from nonsuch.errors import LocalError
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import NONCE_COUNT, Template, target_of_bits
from nonsuch.networks.peer.relay import Relay
from nonsuch.networks.peer.rules import check_header
from nonsuch.networks.peer.state import State
from nonsuch.node import Cancel, Search, Searched
from nonsuch.work.goals import First

__all__ = ["Mining"]

TEMPLATES_MAX = 64
"""Templates that clients may still offer a proof for: the last so many."""

RETRY_SECONDS = 1.0
"""When blocks come so fast that the next would be from the future, it waits so long."""


class Mining:
    """The making of blocks."""

    def __init__(self, state: State, relay: Relay) -> None:
        self._state = state
        self._ledger = state.ledger
        self._relay = relay
        self._goal = First(target_of_bits(state.ledger.bits))
        self._task = 0
        self._template: Template | None = None
        self._templates: dict[int, Template] = {}
        self._number = 0
        self._retry_at: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a search is on."""
        return self._template is not None

    def deadline(self) -> float | None:
        """When to look again."""
        return self._retry_at

    def update(self, now: float) -> None:
        """Behind every event: search for the next block, and for no other."""
        if not self._state.settings.mines:
            return
        ledger, template = self._ledger, self._template
        if template is not None:
            if ledger.is_next(template):
                return
            self.stop()
        template = ledger.template(self._state.unix(now))
        self._retry_at = None
        if template is not None:
            self._search(template)
        elif ledger.could_mine:
            self._retry_at = now + RETRY_SECONDS

    def _search(self, template: Template) -> None:
        self._template = template
        self._task += 1
        first = self._state.lots.randrange(NONCE_COUNT // 2)
        nonces = range(first, NONCE_COUNT)
        self._state.effects.append(Search(self._task, template.puzzle, nonces, self._goal))

    def stop(self) -> None:
        """Give the search up."""
        if self._template is not None:
            self._template = None
            self._state.effects.append(Cancel(self._task))

    def searched(self, event: Searched, now: float) -> None:
        """A search has ended: with a block, all but certainly."""
        template = self._template
        if template is None or event.task != self._task:
            return
        self._template = None
        if event.nonces:
            try:
                self._make(template, event.nonces[0], now)
            except InvalidBlock as error:
                raise LocalError(f"a search has found what is no block: {error}") from None

    def _make(self, template: Template, nonce: int, now: float) -> bool:
        """Whether a nonce makes the next block. Raises `InvalidBlock` where it is no proof."""
        check_header(template.header(nonce), self._ledger.bits)
        block = template.block(nonce)
        change = self._relay.take_block(block, None, now)[0]
        if not isinstance(change, Extended):
            return False
        self._state.counts["mined"] += 1
        name, parent, height = block.id.hex(), block.parent.hex(), self._ledger.tip.height
        self._state.emit(facts.BlockMined(name, parent, height, nonce))
        return True

    # For clients that mine.

    def template(self, now: float) -> messages.Template:
        """What is to be mined."""
        ledger = self._ledger
        height, proof = ledger.tip.height + 1, ledger.tip.block.header.nonce
        template = ledger.template(self._state.unix(now))
        if template is None:
            return messages.Template(0, height, b"", ledger.bits, proof)
        self._number += 1
        self._templates[self._number] = template
        if len(self._templates) > TEMPLATES_MAX:
            del self._templates[next(iter(self._templates))]
        return messages.Template(self._number, height, template.prefix, ledger.bits, proof)

    def offer(self, message: messages.OfferProof, now: float) -> messages.Reward:
        """A client has searched."""
        template = self._templates.get(message.template)
        if template is None:
            return messages.Reward(False, "no such template, or an old one")
        if not self._ledger.is_next(template):
            return messages.Reward(False, "another block was first")
        if message.nonce >= NONCE_COUNT:
            return messages.Reward(False, "a nonce has 64 bits")
        try:
            made = self._make(template, message.nonce, now)
        except InvalidBlock as error:
            return messages.Reward(False, str(error))
        return messages.Reward(made, "" if made else "another block was first")

    def check(self) -> None:
        """Assert every invariant."""
        assert len(self._templates) <= TEMPLATES_MAX
        assert self._template is None or self._ledger.is_next(self._template), "a stale search"
