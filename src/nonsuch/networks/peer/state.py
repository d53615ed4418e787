"""What the parts of a peer share: the ledger, what is to be said, and what is to be kept.

The parts are `links` (connections), `relay` (what is new goes round), `sync` (what is missing is
fetched), `mining` (blocks are made), `commands` (clients are answered), and `peer` (events). Each
is given the one `State`; of it, `links` needs the `Outbox` alone, and so serves the dialects too.
"""

from __future__ import annotations

import random
from collections import Counter

from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import Block, Transaction
from nonsuch.networks.peer.ledger import Ledger
from nonsuch.networks.peer.records import (
    CHAIN_SUBJECT,
    BlockKept,
    TransactionPooled,
    transaction_subject,
)
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import Effect, Emit, Persist, Send

__all__ = ["Outbox", "State"]


class Outbox:
    """What is wanted because of the event at hand, and what every part needs to say it."""

    def __init__(self, settings: PeerSettings, lots: random.Random, origin_seconds: float) -> None:
        self.settings = settings
        self.lots = lots
        self.origin_seconds = origin_seconds
        self.counts: Counter[str] = Counter()
        self.effects: list[Effect] = []

    def unix(self, now: float) -> float:
        """Unix time, in seconds."""
        return self.origin_seconds + now

    def set_clock(self, unix: float, now: float) -> None:
        """It is so many Unix seconds at `now`."""
        self.origin_seconds = unix - now

    def send(self, peer: int, message: object) -> None:
        """Say something to a peer."""
        self.effects.append(Send(peer, message))

    def emit(self, fact: facts.Fact) -> None:
        """Say something to people."""
        self.effects.append(Emit(fact))

    def take_effects(self) -> list[Effect]:
        """What the event at hand has brought about, once."""
        effects, self.effects = self.effects, []
        return effects


class State(Outbox):
    """All that a peer of our own wire knows."""

    def __init__(self, settings: PeerSettings, lots: random.Random, origin_seconds: float) -> None:
        super().__init__(settings, lots, origin_seconds)
        self.node = lots.randbytes(messages.NODE_BYTES)
        self.ledger = Ledger(settings)

    def keep_block(self, block: Block) -> None:
        """Have a block on disk."""
        self.effects.append(Persist(CHAIN_SUBJECT, BlockKept.of(block)))

    def keep_transaction(self, key: bytes, transaction: Transaction) -> None:
        """Have a transaction on disk, until `forget_transaction`."""
        record = TransactionPooled(transaction)
        self.effects.append(Persist(transaction_subject(key), record, replaces=True))

    def forget_transaction(self, key: bytes) -> None:
        """It is in a block, and that is on disk."""
        self.effects.append(Persist(transaction_subject(key), None, replaces=True))
