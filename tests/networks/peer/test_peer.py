"""The core of a peer, by hand: what it says to whom, what it keeps, and whom it lets go."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain.tree import Invalid
from nonsuch.errors import LocalError
from nonsuch.live.journal import Journal
from nonsuch.networks.peer import facts, messages, records
from nonsuch.networks.peer.block import Block, BlockForm, Header, Transaction, target_of_bits
from nonsuch.networks.peer.commands import is_near
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.relay import work_bytes
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.networks.peer.statistics import PeerStatistics
from nonsuch.node import (
    LOCAL,
    Cancel,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.nonce import Raw
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target
from tests.networks.peer.blocks import make_blocks
from tests.networks.peer.own_strategies import MESSAGES

UNIX = 1_700_000_000.0
WORK = 16
TARGET = Target.from_work(WORK)

T = TypeVar("T")


def transaction(number: int) -> Transaction:
    return Transaction("abcd1234", f"number {number}", number)


class Desk:
    """A peer and its clock, with `_check` after every event."""

    def __init__(self, *kept: object, **settings: object) -> None:
        self.peer = Peer(made(**settings), random.Random(0), UNIX)
        self.now = 0.0
        self.started = self.happens(Started(kept))
        self.number = 0

    def happens(self, event: Event) -> list[Effect]:
        effects = self.peer.handle(event, self.now)
        self.peer._check()
        return effects

    def hears(self, peer: int, message: object) -> list[Effect]:
        return self.happens(Received(peer, message))

    def ticks(self) -> list[Effect]:
        deadline = self.peer.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self.happens(Tick())

    def waits(self, seconds: float) -> list[Effect]:
        """All that is done in so many seconds."""
        effects, until = [], self.now + seconds
        while (deadline := self.peer.deadline()) is not None and deadline <= until:
            effects += self.ticks()
        self.now = until
        return effects

    def joined(self, role: str = "peer", address: str = "10.0.0.1:5") -> int:
        """The number of one more connection, that has said hello."""
        self.number += 1
        self.happens(Connected(self.number, address, "nonsuch"))
        genesis, node = self.peer.ledger.genesis.id, bytes([self.number])
        hello = messages.Hello("peer", genesis, node, "p")
        effects = self.hears(self.number, hello if role == "peer" else messages.Hello("client"))
        assert isinstance(sent(effects, self.number)[0], messages.Welcome)
        return self.number

    def submits(self, *numbers: int) -> list[Effect]:
        effects = []
        for number in numbers:
            request = messages.SubmitTransaction("abcd1234", f"number {number}", number)
            effects += self.hears(LOCAL, request)
        return effects

    def statistics(self) -> PeerStatistics:
        return self.peer.statistics(self.now)


def made(**settings: object) -> PeerSettings:
    return msgspec.structs.replace(PeerSettings(target=TARGET, mines=False), **settings)


def sent(effects: Iterable[Effect], peer: int) -> list[object]:
    return [each.message for each in effects if isinstance(each, Send) and each.peer == peer]


def of(kind: type[T], effects: Iterable[Effect]) -> list[T]:
    return [each for each in effects if isinstance(each, kind)]


def told(effects: Iterable[Effect]) -> list[object]:
    return [each.fact for each in effects if isinstance(each, Emit)]


def announced(*blocks: Block) -> list[messages.AnnounceBlock]:
    return [messages.AnnounceBlock(block.form) for block in blocks]


# Who is there.


def test_neighbours_are_called_until_they_answer_and_people_hear_of_it_once() -> None:
    desk = Desk(neighbours=("a", "b"))
    assert of(Dial, desk.started) == [Dial("a"), Dial("b")]
    first = desk.happens(Disconnected(0, "refused", address="a"))
    assert told(first) == [facts.NeighbourLost("a", "refused")]
    attempts = 1
    while attempts < 10:
        effects = desk.ticks()
        if Dial("a") in effects:
            attempts += 1
            assert told(desk.happens(Disconnected(0, "refused", address="a"))) == []
    assert desk.now < 60, "it is tried every five seconds at least"
    effects = desk.happens(Connected(1, "a:1", "nonsuch", "a"))
    assert sent(effects, 1) == [
        messages.Hello("peer", desk.peer.ledger.genesis.id, desk.peer._state.node, "peer")
    ]
    effects = desk.hears(1, messages.Welcome(b"a", "anna"))
    assert facts.NeighbourReached("a", "anna", 10) in told(effects)
    assert isinstance(sent(effects, 1)[0], messages.Heartbeat)
    lost = desk.happens(Disconnected(1, "reset"))
    assert told(lost) == [facts.NeighbourLost("a", "reset")]


def test_who_says_nothing_is_let_go() -> None:
    desk = Desk()
    desk.happens(Connected(1, "10.0.0.1:5", "nonsuch"))
    effects = desk.waits(7)
    assert Close(1, "no hello within 5 s") in effects


def test_a_peer_that_falls_silent_is_let_go_and_one_that_beats_is_not() -> None:
    desk = Desk()
    silent, alive = desk.joined(), desk.joined()
    closed = []
    for _ in range(8):
        effects = desk.waits(5)
        closed += of(Close, effects)
        desk.hears(alive, desk.peer._relay.heartbeat())
    assert closed == [Close(silent, "silent for 30 s")]


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (messages.Hello("peer", bytes(32), b"x"), "another network"),
        (
            messages.Hello("client", version=2),
            "version 1, committed rule, not nonsuch-peer version",
        ),
        (messages.Hello("client", rule="original"), "not nonsuch-peer version 1, original rule"),
    ],
)
def test_who_cannot_take_part_is_told_why(hello: messages.Hello, reason: str) -> None:
    desk = Desk()
    desk.happens(Connected(1, "10.0.0.1:5", "nonsuch"))
    effects = desk.hears(1, hello)
    (refusal,) = sent(effects, 1)
    assert isinstance(refusal, messages.Refused)
    assert reason in refusal.reason
    assert of(Close, effects) == [Close(1, refusal.reason)]
    assert desk.hears(1, messages.Hello("client")) == [], "and is not heard any more"


def test_a_peer_that_was_given_its_own_address_does_not_talk_to_itself() -> None:
    desk = Desk(neighbours=("myself",))
    desk.happens(Connected(1, "127.0.0.1:1", "nonsuch", "myself"))
    desk.happens(Connected(2, "127.0.0.1:2", "nonsuch"))
    ledger = desk.peer.ledger
    hello = messages.Hello("peer", ledger.genesis.id, desk.peer._state.node)
    effects = desk.hears(2, hello)
    assert Close(2, "this peer talks to itself") in effects


def test_there_is_room_for_so_many() -> None:
    desk = Desk(connections_max=2)
    desk.joined()
    desk.joined("client")
    effects = desk.happens(Connected(3, "10.0.0.1:5", "nonsuch"))
    assert of(Close, effects) == [Close(3, "this peer has its 2 connections")]


def test_what_is_out_of_place_ends_the_connection() -> None:
    desk = Desk()
    peer, client = desk.joined(), desk.joined("client")
    assert of(Close, desk.hears(peer, messages.AskStatus())) == [
        Close(peer, "AskStatus from a peer")
    ]
    assert of(Close, desk.hears(client, messages.Headers(()))) == [
        Close(client, "Headers from a client")
    ]
    other = desk.joined()
    assert of(Close, desk.happens(Erred(other, 1000, "garbage"))) == [Close(other, "garbage")]
    assert desk.statistics().dropped == 3


# Transactions.


def test_a_transaction_is_accepted_when_it_is_on_disk_and_relayed_once() -> None:
    desk = Desk()
    one, other, client = desk.joined(), desk.joined(), desk.joined("client")
    effects = desk.hears(client, messages.SubmitTransaction("abcd1234", "hello"))
    (kept,) = of(Persist, effects)
    assert isinstance(kept.record, records.TransactionPooled)
    accepted = kept.record.transaction
    assert (accepted.sender, accepted.content) == ("abcd1234", "hello")
    assert accepted.timestamp == int(UNIX * 10**6)
    verdict = Send(client, messages.Verdict(True))
    assert effects.index(kept) < effects.index(verdict)
    passed_on = messages.Transactions((accepted,))
    assert (sent(effects, one), sent(effects, other)) == ([passed_on], [passed_on])
    assert desk.hears(one, passed_on) == [], "it comes back, and goes no further"
    fresh = messages.Transactions((accepted, transaction(1)))
    effects = desk.hears(one, fresh)
    assert sent(effects, one) == []
    assert sent(effects, other) == [messages.Transactions((transaction(1),))]


def test_the_same_words_twice_are_two_transactions_unless_the_client_says_when() -> None:
    desk = Desk()
    for _ in range(3):
        desk.hears(LOCAL, messages.SubmitTransaction("abcd1234", "hello"))
    assert desk.statistics().waiting == 3
    again = messages.SubmitTransaction("abcd1234", "hello", 77)
    answers = [sent(desk.hears(LOCAL, again), LOCAL) for _ in range(2)]
    assert answers == [
        [messages.Verdict(True)],
        [messages.Verdict(True, "it was accepted before")],
    ]
    assert desk.statistics().waiting == 4


def test_a_transaction_that_nobody_may_make_is_rejected_from_a_client() -> None:
    desk = Desk()
    client = desk.joined("client")
    effects = desk.hears(client, messages.SubmitTransaction("abcd1234", "a|b"))
    (verdict,) = sent(effects, client)
    assert isinstance(verdict, messages.Verdict)
    assert not verdict.accepted
    assert "no bar" in verdict.reason
    assert of(Close, effects) == []


def test_and_costs_a_peer_its_connection() -> None:
    desk = Desk()
    peer = desk.joined()
    message = messages.Transactions((transaction(1), Transaction("nobody", "", 1), transaction(2)))
    effects = desk.hears(peer, message)
    assert len(of(Close, effects)) == 1
    assert [each.record for each in of(Persist, effects)] == [
        records.TransactionPooled(transaction(1))
    ]


def test_a_flood_fills_the_pool_and_no_more() -> None:
    desk = Desk(waiting_max=100)
    flooder, other = desk.joined(), desk.joined()
    passed_on = 0
    for batch in range(100):
        numbers = range(256 * batch, 256 * (batch + 1))
        effects = desk.hears(flooder, messages.Transactions(tuple(map(transaction, numbers))))
        for message in sent(effects, other):
            assert isinstance(message, messages.Transactions)
            passed_on += len(message.transactions)
    assert desk.statistics().waiting == passed_on == 100
    (verdict,) = sent(desk.submits(10**9), LOCAL)
    assert verdict == messages.Verdict(False, "100 transactions wait; there is no room for more")


def test_pools_are_reconciled_by_what_is_missing() -> None:
    desk = Desk()
    peer = desk.joined()
    desk.submits(1, 2, 3)
    tip = desk.peer.ledger.tip
    other = Desk()
    other.submits(2, 3, 4)
    theirs = other.peer._relay.heartbeat()
    assert theirs.tip == tip.block.id
    (question,) = sent(desk.hears(peer, theirs), peer)
    assert isinstance(question, messages.AskTransactions)
    assert len(question.known) == 3 * 8
    asker = other.joined()
    assert sent(other.hears(asker, question), asker) == [messages.Transactions((transaction(4),))]
    desk.hears(peer, messages.Transactions((transaction(4),)))
    other.submits(1)
    assert desk.hears(peer, other.peer._relay.heartbeat()) == [], "now there is nothing to say"


# Blocks.


def test_a_block_goes_round_and_onto_the_disk_and_takes_its_transactions_along() -> None:
    desk = Desk()
    one, other = desk.joined(), desk.joined()
    desk.submits(1, 2, 3, 4, 5, 6)
    five = [transaction(number) for number in range(1, 6)]
    (block,) = make_blocks(desk.peer.ledger.genesis, 1, transactions=five)
    effects = desk.hears(one, messages.AnnounceBlock(block.form))
    assert (sent(effects, one), sent(effects, other)) == ([], announced(block))
    kept = of(Persist, effects)
    assert kept[0].record == records.BlockKept.of(block)
    assert [each.subject for each in kept[1:]] == [
        records.transaction_subject(key) for key in block.keys
    ]
    assert all(each.record is None and each.replaces for each in kept[1:])
    assert desk.statistics().waiting == 1, "the sixth waits"
    assert desk.hears(other, messages.AnnounceBlock(block.form)) == []


@pytest.mark.parametrize("fault", ["work", "root", "double"])
def test_a_block_that_breaks_a_rule_ends_the_connection_and_leaves_no_trace(fault: str) -> None:
    desk = Desk()
    peer, other = desk.joined(), desk.joined()
    first, second = make_blocks(desk.peer.ledger.genesis, 2)
    desk.hears(other, messages.AnnounceBlock(first.form))
    form = second.form
    if fault == "work":
        target = target_of_bits(first.header.bits)
        prefix = form.header[:-8]
        nonces = (bytes(6) + bytes(pair) for pair in zip(range(256), range(256), strict=True))
        lazy = next(
            each
            for nonce in nonces
            if not target.admits((each := type(first.header)(prefix + nonce)).rank)
        )
        form = type(form)(lazy.data, form.transactions)
    elif fault == "root":
        form = type(form)(form.header, form.transactions[::-1])
    else:
        (again,) = make_blocks(first, 1, transactions=first.transactions)
        form = again.form
    effects = desk.hears(peer, messages.AnnounceBlock(form))
    assert len(of(Close, effects)) == 1
    assert of(Persist, effects) == []
    assert desk.peer.ledger.tip.block is not second
    assert desk.statistics().height == 1


def test_a_peer_that_is_behind_is_told_where_we_are() -> None:
    desk = Desk()
    ahead, behind = desk.joined(), desk.joined()
    main = make_blocks(desk.peer.ledger.genesis, 2)
    for block in main:
        desk.hears(ahead, messages.AnnounceBlock(block.form))
    (side,) = make_blocks(desk.peer.ledger.genesis, 1, "side")
    (beat,) = sent(desk.hears(behind, messages.AnnounceBlock(side.form)), behind)
    assert isinstance(beat, messages.Heartbeat)
    assert (beat.height, beat.tip) == (2, main[-1].id)
    assert beat.work == work_bytes(3 * main[0].work), "the genesis counts as one"


# Mining.


def test_five_wait_and_are_searched_for_until_something_changes() -> None:
    desk = Desk(mines=True)
    peer = desk.joined()
    assert of(Search, desk.submits(1, 2, 3, 4)) == []
    (search,) = of(Search, desk.submits(5))
    assert search.puzzle.nonce == Raw(8, "big")
    assert of(Search, desk.submits(6)) == [], "the sixth waits, and does not disturb"
    (block,) = make_blocks(desk.peer.ledger.genesis, 1)
    effects = desk.hears(peer, messages.AnnounceBlock(block.form))
    assert of(Cancel, effects) == [Cancel(search.task)]
    (again,) = of(Search, effects)
    assert again.puzzle.prefix[4:36] == block.id
    assert again.task > search.task
    assert again.nonces != search.nonces, "two miners begin at different nonces"


def proof(puzzle: Puzzle, target: Target, first: int = 0) -> int:
    return next(n for n in range(first, first + 10_000) if target.admits(puzzle.prove(n).rank))


def test_a_search_that_ends_makes_a_block() -> None:
    desk = Desk(mines=True)
    peer = desk.joined()
    (search,) = of(Search, desk.submits(1, 2, 3, 4, 5))
    nonce = proof(search.puzzle, target_of_bits(desk.peer.ledger.bits))
    effects = desk.happens(Searched(search.task, nonce + 1, (nonce,)))
    tip = desk.peer.ledger.tip
    assert tip.height == 1
    assert sent(effects, peer) == announced(tip.block)
    assert facts.BlockMined(tip.block.id.hex(), tip.block.parent.hex(), 1, nonce) in told(effects)
    assert desk.happens(Searched(search.task, nonce + 1, (nonce,))) == []


def test_a_client_mines_too() -> None:
    desk = Desk()
    client = desk.joined("client")
    (nothing,) = sent(desk.hears(client, messages.AskTemplate()), client)
    assert nothing == messages.Template(0, 1, b"", desk.peer.ledger.bits, 0)
    desk.submits(1, 2, 3, 4, 5)
    (template,) = sent(desk.hears(client, messages.AskTemplate()), client)
    assert isinstance(template, messages.Template)
    puzzle = Puzzle(prefix=template.prefix, nonce=Raw(8, "big"))
    target = Target.from_bits(template.bits)
    good = proof(puzzle, target)
    bad = next(n for n in range(100) if not target.admits(puzzle.prove(n).rank))

    def offered(number: int, nonce: int) -> tuple[bool, str]:
        (reward,) = sent(desk.hears(client, messages.OfferProof(number, nonce)), client)
        assert isinstance(reward, messages.Reward)
        return reward.accepted, reward.reason

    assert offered(99, good) == (False, "no such template, or an old one")
    assert not offered(template.number, bad)[0]
    assert offered(template.number, 2**64) == (False, "a nonce has 64 bits")
    assert desk.statistics().height == 0
    assert offered(template.number, good) == (True, "")
    assert offered(template.number, good) == (False, "another block was first")
    assert (desk.statistics().height, desk.statistics().mined) == (1, 1)


# What people ask.


def test_a_client_is_shown_the_chain_and_how_the_peer_stands() -> None:
    desk = Desk()
    peer, client = desk.joined(), desk.joined("client")
    blocks = make_blocks(desk.peer.ledger.genesis, 3)
    for block in blocks:
        desk.hears(peer, messages.AnnounceBlock(block.form))
    forms = [block.form for block in (desk.peer.ledger.genesis, *blocks)]
    asked = [messages.AskChain(0, 100), messages.AskChain(2, 1), messages.AskChain(2**63, 2**63)]
    shown = [sent(desk.hears(client, each), client)[0] for each in asked]
    assert shown == [
        messages.Chain(0, 3, tuple(forms)),
        messages.Chain(2, 3, (forms[2],)),
        messages.Chain(4, 3, ()),
    ]
    (status,) = sent(desk.hears(client, messages.AskStatus()), client)
    assert isinstance(status, messages.Status)
    read = msgspec.json.decode(status.statistics, type=PeerStatistics)
    assert (read.height, read.peers, read.connections) == (3, 1, 2)


def test_only_somebody_on_the_same_machine_may_stop_it() -> None:
    desk = Desk()
    stranger = desk.joined("client", "192.0.2.1:4000")
    effects = desk.hears(stranger, messages.Stop())
    assert of(Finish, effects) == []
    (refusal,) = sent(effects, stranger)
    assert isinstance(refusal, messages.Stopped)
    assert "same machine" in refusal.reason
    neighbour = desk.joined("client", "127.0.0.1:4000")
    assert of(Finish, desk.hears(neighbour, messages.Stop())) == [Finish()]
    assert of(Finish, desk.hears(LOCAL, messages.Stop())) == [Finish()]
    desk.happens(Stopping())
    assert desk.peer.deadline() is None


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:5", True),
        ("127.1.2.3:5", True),
        ("::1:5", True),
        ("[::1]:5", True),
        ("10.0.0.1:5", False),
        ("localhost.evil.example:5", False),
        ("", False),
    ],
)
def test_what_is_the_same_machine(address: str, loopback: bool) -> None:
    assert is_near(address) is loopback


def test_who_asks_without_end_is_not_answered_without_end() -> None:
    desk = Desk()
    client = desk.joined("client")
    answers = 0
    while not of(Close, effects := desk.hears(client, messages.AskStatus())):
        answers += len(sent(effects, client))
        assert answers < 1000
    assert answers <= 200


# Another life.


def test_a_peer_goes_on_from_its_records() -> None:
    desk = Desk()
    peer = desk.joined()
    main, side = (make_blocks(desk.peer.ledger.genesis, count) for count in (3, 2))
    effects = desk.submits(1, 2)
    for block in (*side, *main):
        effects += desk.hears(peer, messages.AnnounceBlock(block.form))
    disk: dict[str, list[object]] = {}
    for each in of(Persist, effects):
        kept = disk.setdefault(each.subject, [])
        if each.replaces:
            kept.clear()
        kept += [] if each.record is None else [each.record]
    coded = [
        records.decode_record(records.encode_record(record))
        for kept in disk.values()
        for record in kept
    ]
    again = Desk(*coded)
    before, after = desk.peer.ledger, again.peer.ledger
    assert after.tip.block.id == before.tip.block.id == main[-1].id
    assert after.digest == before.digest
    assert len(after.tree) == len(before.tree) == 6
    assert len(after.waiting) == 2 + 2 * 5
    assert facts.Restored(6, 3, 12, main[-1].id.hex()) in told(again.started)


def read_back(*kept: records.BlockKept) -> list[object]:
    return [records.decode_record(records.encode_record(each)) for each in kept]


def by_an_earlier_version(block: Block) -> records.BlockKept:
    return records.BlockKept(block.data)


WRITTEN = pytest.mark.parametrize("written", [records.BlockKept.of, by_an_earlier_version])


def test_journals_are_read_as_they_were_written() -> None:
    (block,) = make_blocks(Desk().peer.ledger.genesis, 1)
    old = msgspec.msgpack.encode([0, block.form])
    assert records.encode_record(by_an_earlier_version(block)) == old
    assert records.decode_record(old) == by_an_earlier_version(block)
    sealed = b"\x94\x02" + block.data + b"\xc4\x28"
    sealed += b"".join(key[:8] for key in block.keys) + b"\xc4\x20"
    new = sealed + hashlib.sha256(sealed).digest()
    assert records.encode_record(records.BlockKept.of(block)) == new
    assert records.decode_record(new) == records.BlockKept.of(block)
    plain = msgspec.msgpack.decode(new)
    assert plain[0] == 2
    assert msgspec.convert(plain[1], BlockForm) == block.form


def test_no_bit_of_a_block_on_disk_can_be_spoiled() -> None:
    (block,) = make_blocks(Desk().peer.ledger.genesis, 1)
    good = records.encode_record(records.BlockKept.of(block))
    for at in range(8 * len(good)):
        spoiled = bytearray(good)
        spoiled[at // 8] ^= 1 << at % 8
        with pytest.raises(msgspec.DecodeError):
            records.decode_record(bytes(spoiled))
    for size in range(len(good)):
        with pytest.raises(msgspec.DecodeError):
            records.decode_record(good[:size])
    with pytest.raises(msgspec.DecodeError):
        records.decode_record(good + b"\0")


def test_nor_of_one_that_an_earlier_version_wrote_while_another_follows_it() -> None:
    hard = Target.from_work(2**12)
    first, second = make_blocks(Desk(target=hard).peer.ledger.genesis, 2)
    good = [records.encode_record(by_an_earlier_version(each)) for each in (first, second)]
    for at in range(8 * len(good[0])):
        spoiled = bytearray(good[0])
        spoiled[at // 8] ^= 1 << at % 8
        with pytest.raises((LocalError, msgspec.DecodeError)):
            Desk(*map(records.decode_record, (bytes(spoiled), good[1])), target=hard)
    for size in range(len(good[0])):
        with pytest.raises((LocalError, msgspec.DecodeError)):
            Desk(records.decode_record(good[0][:size]), target=hard)


def test_a_damaged_journal_says_where(tmp_path: Path) -> None:
    blocks = make_blocks(Desk().peer.ledger.genesis, 3)
    path = tmp_path / "peer.journal"
    journal = Journal(path, records.encode_record, records.decode_record)
    for block in blocks:
        journal.commit([Persist(records.CHAIN_SUBJECT, records.BlockKept.of(block))])
    assert Desk(*journal.read()).peer.ledger.tip.block.id == blocks[-1].id
    journal.close()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (row,) = database.execute("SELECT body FROM records WHERE sequence = 3").fetchone()
        spoiled = row[:200] + bytes([row[200] ^ 1]) + row[201:]
        database.execute("UPDATE records SET body = ? WHERE sequence = 3", (spoiled,))
    journal = Journal(path, records.encode_record, records.decode_record)
    with pytest.raises(LocalError, match="damaged after row 2: a block and its digest differ"):
        journal.read()
    journal.close()


def test_a_journal_of_two_versions_is_one_chain() -> None:
    desk = Desk()
    blocks = make_blocks(desk.peer.ledger.genesis, 40)
    lots = random.Random(4)
    versions = [records.BlockKept.of, by_an_earlier_version]
    desk = Desk(*read_back(*(lots.choice(versions)(each) for each in blocks)))
    desk.peer._check()
    ledger = desk.peer.ledger
    assert ledger.tip.block.id == blocks[-1].id
    assert [entry.block.data for entry in ledger.tree][1:] == [block.data for block in blocks]
    assert all(ledger.is_confirmed(key) for block in blocks for key in block.keys)
    for repeated in (blocks[0], blocks[20], blocks[-1]):
        (again,) = make_blocks(blocks[-1], 1, transactions=repeated.transactions)
        with pytest.raises(LocalError, match=r"block 41 .*a transaction of block"):
            Desk(*map(by_an_earlier_version, (*blocks, again)))
        (change,) = ledger.connect(again, 1, UNIX)
        assert isinstance(change, Invalid)


def test_a_body_that_somebody_changed_on_disk_is_neither_used_nor_shown() -> None:
    """Its digest is right, as only somebody with our disk in his hands can make it."""
    first, second = make_blocks(Desk().peer.ledger.genesis, 2)
    keys = records.BlockKept.of(second).keys
    exchanged = Block.of(first.header, second.transactions).data
    for data in (exchanged, first.data[:-1], first.data + b"\0"):
        peer = Peer(made(), random.Random(0), UNIX)
        peer.handle(Started(tuple(read_back(records.BlockKept(data, keys)))), 0.0)
        assert peer.ledger.tip.block.id == first.id, "its header is good"
        peer.handle(Connected(1, "10.0.0.1:5", "nonsuch"), 0.0)
        peer.handle(Received(1, messages.Hello("peer", peer.ledger.genesis.id, b"x")), 0.0)
        damaged = f"journal is damaged: block {first.id.hex()}"
        if data is not exchanged:
            with pytest.raises(LocalError, match=damaged):
                peer.handle(Received(1, messages.AskBlocks((first.id,))), 0.0)
        with pytest.raises(LocalError, match=damaged):
            peer.handle(Received(LOCAL, messages.AskChain(0, 2)), 0.0)
        with pytest.raises(LocalError, match=damaged):
            peer.ledger.is_confirmed(second.keys[0])


def test_a_chain_of_an_earlier_version_that_says_something_twice_is_refused() -> None:
    (first,) = make_blocks(Desk().peer.ledger.genesis, 1)
    (again,) = make_blocks(first, 1, transactions=first.transactions)
    with pytest.raises(LocalError, match=r"block 2 of the journal.*a transaction of block 1"):
        Desk(*map(by_an_earlier_version, (first, again)))
    five = [first.transactions[0]] * 5
    (twice,) = make_blocks(first, 1, transactions=five)
    with pytest.raises(LocalError, match=r"block 2 of the journal.*twice"):
        Desk(*map(by_an_earlier_version, (first, twice)))


@WRITTEN
def test_a_journal_may_have_a_block_twice(written: Callable[[Block], records.BlockKept]) -> None:
    first, second = make_blocks(Desk().peer.ledger.genesis, 2)
    desk = Desk(*map(written, (first, first, second, first)))
    assert desk.peer.ledger.tip.height == 2
    desk.peer._check()


@WRITTEN
def test_a_journal_that_is_not_valid_is_refused(
    written: Callable[[Block], records.BlockKept],
) -> None:
    good, other = Desk(), Desk(network="other")
    (foreign,) = make_blocks(other.peer.ledger.genesis, 1)
    first, second = make_blocks(good.peer.ledger.genesis, 2)
    (elsewhere,) = make_blocks(Desk(target=Target(2**255)).peer.ledger.genesis, 1)
    lazy = (
        Block.of(Header(first.header.data[:-8] + nonce.to_bytes(8, "big")), first.transactions)
        for nonce in range(100)
    )
    bad = next(each for each in lazy if not TARGET.admits(each.header.rank))
    for block, reason in [
        (foreign, "without the one before"),
        (second, "without the one before"),
        (elsewhere, "target bits"),
        (bad, "above the target"),
    ]:
        with pytest.raises(LocalError, match=f"block 1 of the journal.*{reason}"):
            Desk(written(block))


def test_nor_is_one_with_other_transactions_or_other_records() -> None:
    first, second = make_blocks(Desk().peer.ledger.genesis, 2)
    forged = Block.of(first.header, second.transactions)
    with pytest.raises(LocalError, match=r"block 1 of the journal.*root"):
        Desk(by_an_earlier_version(forged))
    with pytest.raises(LocalError, match="no record of a peer"):
        Desk("something else")
    with pytest.raises(LocalError, match="a transaction of the journal is not valid"):
        Desk(records.TransactionPooled(Transaction("nobody", "", 1)))


def test_a_block_that_was_opened_takes_a_kilobyte() -> None:
    lots = random.Random(3)
    parent, written = Desk().peer.ledger.genesis, []
    for height in range(2000):
        texts = ["x" * round(lots.triangular(4, 70, 31)) for _ in range(5)]
        five = [
            Transaction("abcd1234", text, int(UNIX * 1e6) + 5 * height + number)
            for number, text in enumerate(texts)
        ]
        (parent,) = make_blocks(parent, 1, transactions=five)
        written.append(records.encode_record(records.BlockKept.of(parent)))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        desk = Peer(made(), random.Random(0), UNIX)
        desk.handle(Started(tuple(map(records.decode_record, written))), 0.0)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert desk.ledger.tip.height == 2000
    assert held - before <= most - before <= 1024 * 2000


# Whatever they say.


@given(st.lists(st.tuples(st.integers(0, 5), MESSAGES), max_size=30), st.booleans())
def test_no_message_is_the_end_of_a_peer(said: list[tuple[int, object]], mines: bool) -> None:
    desk = Desk(neighbours=("a",), mines=mines)
    for role in ("peer", "peer", "client"):
        desk.joined(role)
    desk.happens(Connected(4, "10.0.0.1:5", "nonsuch"))
    desk.happens(Connected(5, "10.0.0.1:5", "nonsuch", "a"))
    for peer, message in said:
        desk.hears(peer, message)
    desk.waits(20)
    assert desk.statistics().height == 0
