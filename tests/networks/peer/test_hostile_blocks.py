"""Blocks with work, sent in orders and numbers that no honest peer sends."""

from __future__ import annotations

import random

from nonsuch.networks.peer import messages
from nonsuch.networks.peer.block import Block, Template, Transaction, target_of_bits
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.relay import work_bytes
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import Clock, Connected, Effect, Event, Persist, Received, Send, Started
from nonsuch.work.target import Target

UNIX = 1_700_000_000.0
SETTINGS = PeerSettings(target=Target.from_work(16), mines=False)


def transactions(first: int) -> list[Transaction]:
    return [Transaction("abcd1234", str(n), int(UNIX * 1e6) + n) for n in range(first, first + 5)]


def mined(parent: bytes, first: int, seconds: int, bits: int, nonce: int = 0) -> tuple[Block, int]:
    """A block with work, and its nonce; the search begins at `nonce`."""
    template = Template(parent, transactions(first), int(UNIX) + seconds, bits)
    while not target_of_bits(bits).admits(template.header(nonce).rank):
        nonce += 1
    return template.block(nonce), nonce


class Victim:
    """A peer that liars talk to, with `_check` after every event."""

    def __init__(self, *kept: object) -> None:
        self.peer = Peer(SETTINGS, random.Random(1), UNIX)
        self.effects: list[Effect] = []
        self.happens(Started(kept))
        self.genesis = self.peer.ledger.genesis.id
        self.bits = self.peer.ledger.bits

    def happens(self, event: Event) -> list[Effect]:
        effects = self.peer.handle(event, 0.0)
        self.peer._check()
        self.effects += effects
        return effects

    def called(self, number: int) -> None:
        self.happens(Connected(number, f"10.0.0.{number}:5", "nonsuch"))
        self.hears(number, messages.Hello("peer", self.genesis, bytes([number]) * 16, "liar"))

    def hears(self, number: int, message: object) -> list[Effect]:
        return self.happens(Received(number, message))

    def is_sent_out_of_order(self, number: int, first: Block, second: Block) -> None:
        """It is told of two blocks, asks for them, and gets the second alone."""
        work = self.peer.ledger.tip.chainwork + 2 * first.work
        beat = messages.Heartbeat(9, work_bytes(work), second.id, 0, bytes(32))
        self.hears(number, beat)
        self.hears(number, messages.Headers((first.header.data, second.header.data)))
        self.hears(number, messages.Blocks((second.form,)))

    @property
    def kept(self) -> list[object]:
        persists = (each for each in self.effects if isinstance(each, Persist))
        return [each.record for each in persists if each.record is not None]


def test_a_block_that_comes_before_its_parent_cannot_repeat_its_transactions() -> None:
    victim = Victim()
    victim.called(1)
    first, _ = mined(victim.genesis, 0, 0, victim.bits)
    again, _ = mined(first.id, 0, 1, victim.bits)
    victim.is_sent_out_of_order(1, first, again)
    victim.hears(1, messages.AnnounceBlock(first.form))
    victim.hears(1, messages.AnnounceBlock(again.form))
    assert victim.peer.ledger.tip.block.id == first.id
    assert Victim(*victim.kept).peer.ledger.tip.block.id == first.id


def test_seventy_children_before_their_parent_do_no_harm() -> None:
    victim = Victim()
    victim.called(1)
    victim.called(2)
    first, nonce = mined(victim.genesis, 0, 0, victim.bits)
    for number in range(70):
        child, nonce = mined(first.id, 5, 1, victim.bits, nonce + 1)
        victim.is_sent_out_of_order(1 + number % 2, first, child)
    victim.hears(1, messages.AnnounceBlock(first.form))
    assert victim.peer.ledger.tip.block.id == first.id


def test_siblings_that_are_sent_round_and_round_cost_nothing() -> None:
    victim = Victim()
    victim.called(1)
    siblings, nonce = [], -1
    for _ in range(70):
        sibling, nonce = mined(victim.genesis, 0, 1, victim.bits, nonce + 1)
        siblings.append(sibling)
    for number in range(700):
        victim.hears(1, messages.AnnounceBlock(siblings[number % 70].form))
    assert len(victim.kept) == 70
    ledger = victim.peer.ledger
    assert len(ledger.tree) == 1 + 64
    assert len(ledger._index) == 5 * 64


def test_a_peer_is_not_asked_for_its_pool_at_every_heartbeat() -> None:
    victim = Victim()
    victim.called(1)
    beat = messages.Heartbeat(0, b"\1", victim.genesis, 1, bytes(32))
    asked = [each for _ in range(100) for each in victim.hears(1, beat) if isinstance(each, Send)]
    assert len(asked) == 1


def test_whatever_time_it_is_told_it_goes_by_it() -> None:
    victim = Victim()
    victim.called(1)
    late, _ = mined(victim.genesis, 0, 3 * 3600, victim.bits)
    victim.hears(1, messages.AnnounceBlock(late.form))
    assert victim.peer.ledger.tip.height == 0, "three hours from the future"
    victim.hears(0, Clock(UNIX + 3 * 3600))
    victim.hears(1, messages.AnnounceBlock(late.form))
    assert victim.peer.ledger.tip.block.id == late.id
