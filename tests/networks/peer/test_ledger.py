"""The chain and what waits: one place for a transaction, one tip for all."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonsuch.chain.mempool import MempoolFull, TransactionKnown
from nonsuch.chain.tree import Extended, Invalid, Reorged, SideBranch
from nonsuch.chain.validation import (
    DoubleTransaction,
    TimestampTooNew,
    TimestampTooOld,
    WrongGenesis,
)
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS, Block, Transaction, genesis_block
from nonsuch.networks.peer.ledger import Ledger, TransactionConfirmed, TransactionTooNew
from nonsuch.networks.peer.records import BlockKept
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.work.target import Target
from tests.networks.peer.blocks import make_blocks

SETTINGS = PeerSettings(target=Target.from_work(4), waiting_max=12)
UNIX = 1_700_000_000.0


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(SETTINGS)


def said(number: int) -> Transaction:
    return Transaction("abcd1234", f"number {number}", number)


def put(ledger: Ledger, *blocks: Block) -> list[object]:
    changes = [ledger.connect(block, 1, UNIX)[0] for block in blocks]
    ledger.check()
    return list(changes)


def test_a_chain_grows(ledger: Ledger) -> None:
    blocks = make_blocks(ledger.genesis, 3)
    assert put(ledger, *blocks) == [Extended(block) for block in blocks]
    assert ledger.tip.block is blocks[-1]
    assert all(ledger.is_confirmed(key) for block in blocks for key in block.keys)


def test_another_genesis_is_another_network(ledger: Ledger) -> None:
    (change,) = put(ledger, genesis_block("another", SETTINGS.target))
    assert isinstance(change, Invalid)
    assert isinstance(change.error, WrongGenesis)


def test_a_transaction_is_once_on_a_branch(ledger: Ledger) -> None:
    first, second = make_blocks(ledger.genesis, 2)
    put(ledger, first, second)
    (again,) = make_blocks(second, 1, transactions=first.transactions)
    (change,) = put(ledger, again)
    assert isinstance(change, Invalid)
    assert isinstance(change.error, DoubleTransaction)


def test_a_transaction_may_be_on_two_branches(ledger: Ledger) -> None:
    (one,) = make_blocks(ledger.genesis, 1)
    (other,) = make_blocks(ledger.genesis, 1, transactions=one.transactions, timestamp=1)
    (behind,) = make_blocks(other, 1)
    put(ledger, one)
    changes = put(ledger, other, behind)
    assert not any(isinstance(change, Invalid) for change in changes)
    (again,) = make_blocks(behind, 1, transactions=one.transactions)
    (change,) = put(ledger, again)
    assert isinstance(change, Invalid), "but on this branch it is there already"


def test_of_two_tips_with_as_much_work_the_smaller_id_is_the_tip() -> None:
    genesis = Ledger(SETTINGS).genesis
    rivals = [make_blocks(genesis, 1, f"rival {number}")[0] for number in range(6)]
    wanted = min(block.id for block in rivals)
    for seed in range(20):
        ledger = Ledger(SETTINGS)
        put(ledger, *random.Random(seed).sample(rivals, len(rivals)))
        assert ledger.tip.block.id == wanted


def test_a_block_is_from_after_the_past_and_not_from_the_future(ledger: Ledger) -> None:
    blocks = make_blocks(ledger.genesis, 12)
    put(ledger, *blocks)
    median = blocks[-6].header.timestamp
    errors = []
    for timestamp in (median, int(UNIX) + 7201, median + 1):
        (block,) = make_blocks(blocks[-1], 1, timestamp=timestamp)
        (change,) = put(ledger, block)
        errors.append(type(change.error) if isinstance(change, Invalid) else None)
    assert errors == [TimestampTooOld, TimestampTooNew, None]


# What waits.


def test_what_is_accepted_waits_once(ledger: Ledger) -> None:
    ledger.submit(said(1), UNIX)
    with pytest.raises(TransactionKnown):
        ledger.submit(said(1), UNIX)
    with pytest.raises(TransactionTooNew):
        ledger.submit(Transaction("abcd1234", "from afar", int(UNIX + 7201) * 10**6), UNIX)
    assert list(ledger.waiting) == [said(1)]


def test_a_full_pool_refuses(ledger: Ledger) -> None:
    for number in range(SETTINGS.waiting_max):
        ledger.submit(said(number), UNIX)
    with pytest.raises(MempoolFull):
        ledger.submit(said(100), UNIX)


def test_a_block_takes_the_first_five_and_the_sixth_waits(ledger: Ledger) -> None:
    for number in range(BLOCK_TRANSACTIONS - 1):
        ledger.submit(said(number), UNIX)
        assert ledger.template(UNIX) is None
    ledger.submit(said(4), UNIX)
    ledger.submit(said(5), UNIX)
    template = ledger.template(UNIX)
    assert template is not None
    assert list(template.transactions) == [said(number) for number in range(5)]
    assert ledger.is_next(template)
    (block,) = make_blocks(ledger.genesis, 1, transactions=template.transactions)
    put(ledger, block)
    assert list(ledger.waiting) == [said(5)]
    assert ledger.take_confirmed() == list(block.keys)
    assert ledger.take_confirmed() == []
    assert not ledger.is_next(template)
    with pytest.raises(TransactionConfirmed):
        ledger.submit(said(0), UNIX)


def test_a_reorganisation_returns_what_it_takes_out(ledger: Ledger) -> None:
    (short,) = make_blocks(ledger.genesis, 1, "short")
    put(ledger, short)
    ledger.submit(said(1), UNIX)
    shared = (*short.transactions[:2], *(said(number) for number in range(50, 53)))
    (first,) = make_blocks(ledger.genesis, 1, transactions=shared, timestamp=1)
    (second,) = make_blocks(first, 1)
    changes = put(ledger, first, second)
    assert any(isinstance(change, Reorged) for change in changes)
    assert list(ledger.waiting) == [*short.transactions[2:], said(1)]
    # And back again, behind yet another block.
    put(ledger, *make_blocks(short, 2))
    assert list(ledger.waiting) == [*shared[2:], *second.transactions, said(1)]
    assert ledger.reorgs >= 2


def test_no_template_is_from_the_future(ledger: Ledger) -> None:
    for number in range(5):
        ledger.submit(said(number), UNIX)
    put(ledger, *(make_blocks(ledger.genesis, 1, timestamp=int(UNIX) + 7000)))
    assert ledger.could_mine
    assert ledger.template(UNIX) is None
    template = ledger.template(UNIX + 7000)
    assert template is not None
    assert template.timestamp == int(UNIX) + 7001


@given(st.sets(st.integers(0, 40), max_size=12), st.sets(st.integers(0, 40), max_size=12))
def test_equal_pools_have_equal_digests_and_others_tell_what_is_missing(
    one: set[int], other: set[int]
) -> None:
    ours, theirs = Ledger(SETTINGS), Ledger(SETTINGS)
    for ledger, numbers in ((ours, sorted(one)), (theirs, sorted(other, reverse=True))):
        for number in numbers:
            ledger.submit(said(number), UNIX)
    assert (ours.digest == theirs.digest) == (one == other)
    missing = ours.unknown_to(theirs.known, 100)
    assert {transaction.timestamp for transaction in missing} == one - other
    assert len(ours.unknown_to(theirs.known, 3)) == min(3, len(one - other))


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_who_lives_through_it_again_is_where_it_was(lots: random.Random, count: int) -> None:
    """Branches that share transactions, and reorganisations back and forth; read from disk."""
    ledger = Ledger(SETTINGS)
    grown, kept = [ledger.genesis], []
    for _ in range(count):
        five = None
        if lots.random() < 0.5:
            five = [said(number) for number in lots.sample(range(40), BLOCK_TRANSACTIONS)]
        (block,) = make_blocks(lots.choice(grown[-4:]), 1, transactions=five)
        (change,) = put(ledger, block)
        if not isinstance(change, Invalid):
            grown.append(block)
            kept.append(BlockKept.of(block) if lots.random() < 0.8 else BlockKept(block.data))
    again = Ledger(SETTINGS)
    again.restore_blocks(kept)
    again.check()
    assert [entry.block.id for entry in again.tree] == [entry.block.id for entry in ledger.tree]
    assert again.tip.block.id == ledger.tip.block.id
    assert list(again.waiting) == list(ledger.waiting)
    assert again.reorgs == ledger.reorgs
    # And it goes on as the other does.
    for block in make_blocks(grown[-1], 3):
        assert [type(change) for change in put(again, block)] == [
            type(change) for change in put(ledger, block)
        ]
    assert list(again.waiting) == list(ledger.waiting)


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_who_knows_the_same_blocks_has_the_same_chain(lots: random.Random, count: int) -> None:
    ledger = Ledger(SETTINGS)
    grown = [ledger.genesis]
    for _ in range(count):
        grown += make_blocks(lots.choice(grown[-4:]), 1)
    tips, pools = set(), set()
    for _ in range(3):
        ledger = Ledger(SETTINGS)
        waiting = lots.sample(grown[1:], len(grown) - 1)
        while waiting:
            ready = next(block for block in waiting if block.parent in ledger.tree)
            waiting.remove(ready)
            (change,) = put(ledger, ready)
            assert isinstance(change, Extended | Reorged | SideBranch)
        tips.add(ledger.tip.block.id)
        pools.add(ledger.tip.chainwork)
    assert len(tips) == len(pools) == 1
