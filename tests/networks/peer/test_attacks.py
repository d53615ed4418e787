"""The two classic attacks: free of charge by the original rule, and hopeless by the committed one.

Under the original rule a proof says nothing of its block. The proofs go round in a circle of
fifteen, so an attacker looks them up: he makes a chain as long as he likes without a search, or
takes the chain there is and changes what it says. These tests hold that this works against the
dialects, which have to speak that rule, and that it is not our implementation's to refuse.
"""

from __future__ import annotations

import itertools
import random

import pytest

from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS, Block, BlockForm, Template, Transaction
from nonsuch.networks.peer.dialect import DialectPeer
from nonsuch.networks.peer.dialects import messages as dialect
from nonsuch.networks.peer.original_chain import OriginalChain
from nonsuch.networks.peer.records import BlockKept
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import Connected, Event, Received, Started
from nonsuch.work.target import Target
from tests.networks.peer.blocks import make_blocks
from tests.networks.peer.pair import UNIX, Net

CYCLE = (5, 33, 155, 389, 227, 81, 196, 375, 301, 82, 363, 24, 387, 183, 100)
"""Every proof that there is, in order. Nothing else of this file's first half is a search."""

WHEN = "2020-01-01 00:00:00.000000"


class Victim:
    """A peer of a dialect with an honest chain of ten blocks, and one neighbour: the attacker."""

    def __init__(self, name: str) -> None:
        settings = PeerSettings(mines=False, neighbours=("attacker",))
        self.peer = DialectPeer(name, settings, random.Random(0), UNIX)
        self._happens(Started())
        self._happens(Connected(1, "attacker:1", name, "attacker"))
        self._happens(Received(0, dialect.GetProof()))
        for number in range(10 * BLOCK_TRANSACTIONS):
            self._happens(Received(0, dialect.Transaction("abcd1234", f"pay Bob {number}")))
        for proof in CYCLE[:10]:
            self._happens(Received(0, dialect.UpdateProof(proof)))
        assert self.peer.chain.height == 10

    def _happens(self, event: Event) -> None:
        self.peer.handle(event, 0.0)
        self.peer._check()

    def is_shown(self, blocks: list[dialect.Block]) -> None:
        self._happens(Received(1, dialect.HeartbeatAnswer((), tuple(blocks), True)))


def said(blocks: list[dialect.Block]) -> set[str]:
    return {text for block in blocks for text in block.transactions}


@pytest.mark.parametrize("name", ["pickle", "text"])
def test_original_rule_a_chain_from_the_table_replaces_what_others_have_worked_for(
    name: str,
) -> None:
    victim = Victim(name)
    forged = OriginalChain(name, WHEN)
    for number, proof in zip(range(100), itertools.cycle(CYCLE), strict=False):
        texts = [f"tx|evil6666|pay Eve {number} {each}" for each in range(BLOCK_TRANSACTIONS)]
        forged.append(forged.next_block([(text, WHEN) for text in texts], proof, WHEN))
    victim.is_shown(forged.blocks)
    assert victim.peer.chain.height == 100
    assert said(victim.peer.chain.blocks) == said(forged.blocks)


@pytest.mark.parametrize("name", ["pickle", "text"])
def test_original_rule_history_is_rewritten_with_the_proofs_that_are_there(name: str) -> None:
    victim = Victim(name)
    honest = list(victim.peer.chain.blocks)
    rewritten = OriginalChain(name, WHEN)
    for block in honest[1:]:
        texts = [text.replace("pay Bob", "pay Eve") for text in block.transactions]
        entries = [(text, WHEN) for text in texts]
        rewritten.append(rewritten.next_block(entries, block.proof, block.timestamp))
    one_more = [(f"tx|evil6666|one more {each}", WHEN) for each in range(BLOCK_TRANSACTIONS)]
    rewritten.append(rewritten.next_block(one_more, CYCLE[10], WHEN))
    victim.is_shown(rewritten.blocks)
    assert not said(honest) & said(victim.peer.chain.blocks)
    assert victim.peer.chain.blocks[1:] == rewritten.blocks[1:]


# By the committed rule. 2**16 hashes a block are little, and already more than is free.

SETTINGS = PeerSettings(target=Target.from_work(2**8), mines=False, neighbours=("attacker",))


class Stage:
    """A peer of the committed rule with an honest chain of ten blocks, and the attacker."""

    def __init__(self) -> None:
        self.net = Net()
        genesis = Net().add("any", SETTINGS).ledger.genesis
        self.honest = make_blocks(genesis, 10, "pay Bob")
        kept = (BlockKept.of(block) for block in self.honest)
        self.victim = self.net.add("victim", SETTINGS, *kept)
        attacker = PeerSettings(target=SETTINGS.target, mines=False)
        self.net.add("attacker", attacker)
        self.net.connect("victim", "attacker")
        self.net.settle()

    def is_shown(self, forms: list[BlockForm]) -> None:
        """The attacker announces each block, and also has it ready as a header and a body."""
        for form in forms:
            self.net._send(("attacker", 1), messages.AnnounceBlock(form))
        self.net.settle()
        self.net.check()

    @property
    def is_harmed(self) -> bool:
        return self.victim.ledger.tip.block.id != self.honest[-1].id

    @property
    def attacker_is_gone(self) -> bool:
        kinds = [type(fact) for where, fact in self.net.facts if where == "victim"]
        return facts.PeerDropped in kinds


def five(number: int) -> tuple[Transaction, ...]:
    each = range(BLOCK_TRANSACTIONS)
    return tuple(Transaction("evil6666", f"pay Eve {number} {at}", at + 1) for at in each)


def test_committed_rule_there_is_no_table_to_look_proofs_up_in() -> None:
    stage = Stage()
    parent, bits = stage.victim.ledger.genesis.id, stage.victim.ledger.bits
    forged = []
    for number, nonce in zip(range(100), itertools.cycle(CYCLE), strict=False):
        block = Template(parent, five(number), 1_600_000_001 + number, bits).block(nonce)
        forged.append(block.form)
        parent = block.id
    stage.is_shown(forged)
    assert not stage.is_harmed
    assert stage.attacker_is_gone


def test_committed_rule_history_cannot_be_rewritten_with_the_proofs_that_are_there() -> None:
    stage = Stage()
    parent, bits = stage.victim.ledger.genesis.id, stage.victim.ledger.bits
    rewritten = []
    for number, block in enumerate(stage.honest):
        header = block.header
        changed = Template(parent, five(number), header.timestamp, bits).block(header.nonce)
        rewritten.append(changed.form)
        parent = changed.id
    stage.is_shown(rewritten)
    assert not stage.is_harmed
    assert stage.attacker_is_gone


def test_committed_rule_other_words_do_not_fit_under_an_honest_header() -> None:
    stage = Stage()
    (honest,) = make_blocks(stage.honest[-1], 1, "pay Bob")
    stage.is_shown([BlockForm(honest.header.data, five(1))])
    assert not stage.is_harmed
    assert stage.attacker_is_gone
    fresh = Stage()
    (more,) = make_blocks(fresh.honest[-1], 1, "pay Bob")
    fresh.is_shown([more.form])
    assert _tip(fresh) == more.id, "while the honest block is taken"


def _tip(stage: Stage) -> bytes:
    tip: Block = stage.victim.ledger.tip.block
    return tip.id
