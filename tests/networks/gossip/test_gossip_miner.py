"""Gossip miners, moved by hand: what they keep, whom they tell, and what they shrug off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from nonsuch.errors import LocalError
from nonsuch.networks.gossip import facts
from nonsuch.networks.gossip.messages import ROOT, Announcement, Block, Payload
from nonsuch.networks.gossip.miner import Miner
from nonsuch.networks.gossip.relay import (
    ANSWER_BURST,
    ANSWER_RATE,
    STRANGER_BURST,
    STRANGER_RATE,
)
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.node import (
    LOCAL,
    STRANGER,
    Cancel,
    Connected,
    Effect,
    Emit,
    Erred,
    Event,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.presets import gossip
from nonsuch.work.target import Target

EASY = Target(2**253)
"""Eight hashes a block."""


def mined(data: bytes, parent: bytes = ROOT, first: int = 0) -> Block:
    """A block with work, the first p_o_w from some number on."""
    puzzle = gossip(data, parent)
    nonce = next(n for n in range(first, 2**32) if EASY.admits(puzzle.prove(n).rank))
    return Block(data, parent, nonce.to_bytes(8, "big"), EASY.work)


def lazy(data: bytes, parent: bytes = ROOT) -> Block:
    """A block without."""
    puzzle = gossip(data, parent)
    nonce = next(n for n in range(2**32) if not EASY.admits(puzzle.prove(n).rank))
    return Block(data, parent, nonce.to_bytes(8, "big"), EASY.work)


def chain(count: int, parent: bytes = ROOT, name: bytes = b"block") -> list[Block]:
    blocks: list[Block] = []
    for number in range(count):
        blocks.append(mined(b"%b %d" % (name, number), blocks[-1].id if blocks else parent))
    return blocks


class Hand:
    """A miner and its driver: a hand that moves it, and sees what it wants done."""

    def __init__(self, peers: int = 2, records: Iterable[object] = (), **settings: object) -> None:
        chosen: dict[str, object] = {"target": EASY, "mines": False, **settings}
        self.core = Miner(GossipSettings(**chosen))  # type: ignore[arg-type]
        self.now = 0.0
        self.effects: list[Effect] = []
        self.done: set[int] = set()
        self.give(Started(tuple(records)))
        for number in range(1, peers + 1):
            self.give(Connected(number, f"host-{number}:5000", "gossip"))

    def give(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now)
        self.core._check()
        self.effects += effects
        return effects

    def hear(self, block: Block, peer: int = 1) -> list[Effect]:
        return self.give(Received(peer, block.announcement))

    def pass_time(self, seconds: float) -> list[Effect]:
        """Let it tick whenever it wants to."""
        end, effects = self.now + seconds, []
        while (at := self.core.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            effects += self.give(Tick())
        self.now = end
        return effects

    def mine(self) -> list[Effect]:
        """Let its present search succeed."""
        search = self.search
        assert search is not None
        nonce = next(n for n in search.nonces if EASY.admits(search.puzzle.prove(n).rank))
        self.done.add(search.task)
        return self.give(Searched(search.task, nonce + 1, (nonce,)))

    @property
    def search(self) -> Search | None:
        """What it searches now."""
        over = {each.task for each in self.effects if isinstance(each, Cancel)} | self.done
        searches = [each for each in self.effects if isinstance(each, Search)]
        return searches[-1] if searches and searches[-1].task not in over else None

    def is_idle(self) -> bool:
        return self.search is None

    @property
    def tip(self) -> Block | None:
        return None if self.core.tree.tip is None else self.core.tree.tip.block

    def stands_on(self, block: Block) -> bool:
        return self.tip is not None and self.tip.id == block.id

    def tip_data(self) -> bytes:
        return b"" if self.tip is None else self.tip.data


def sent(effects: Iterable[Effect]) -> list[tuple[int, Announcement]]:
    found = []
    for effect in effects:
        if isinstance(effect, Send):
            assert isinstance(effect.message, Announcement)
            found.append((effect.peer, effect.message))
    return found


def kept(effects: Iterable[Effect]) -> list[object]:
    return [effect.record for effect in effects if isinstance(effect, Persist)]


def told(effects: Iterable[Effect], kind: type) -> list[object]:
    return [e.fact for e in effects if isinstance(e, Emit) and isinstance(e.fact, kind)]


def converse(*hands: Hand, rounds: int = 200) -> None:
    """Deliver all that `hands` say to each other, where peer numbers are places in this list."""
    unread = [sent(hand.effects) for hand in hands]
    for hand in hands:
        hand.effects.clear()
    for _ in range(rounds):
        for place in range(len(hands)):
            mail, unread[place] = unread[place], []
            for to, announcement in mail:
                effects = hands[to - 1].give(Received(place + 1, announcement))
                unread[to - 1] += sent(effects)
        if not any(unread):
            for hand in hands:
                unread[hands.index(hand)] += sent(hand.pass_time(0.3))


# Blocks that come.


def test_a_new_block_is_kept_and_passed_on_to_everybody_else_once() -> None:
    hand = Hand(peers=3)
    genesis, first = chain(2)
    hand.hear(genesis, peer=2)
    effects = hand.hear(first, peer=2)
    assert sent(effects) == [(1, first.announcement), (3, first.announcement)]
    assert kept(effects) == [first.announcement]
    assert hand.stands_on(first)
    again = hand.hear(first, peer=3)
    assert not sent(again)
    assert not kept(again), "it is the tip: there is nothing to add"


def test_blocks_in_any_order_make_the_chain() -> None:
    hand = Hand()
    blocks = chain(20)
    for block in reversed(blocks):
        hand.hear(block)
    assert hand.stands_on(blocks[-1])
    assert len(kept(hand.effects)) == 20
    assert len(hand.core.tree.orphans) == 0


def test_most_work_wins_and_the_first_seen_of_equals() -> None:
    hand = Hand()
    (genesis,) = chain(1)
    one, other = chain(2, genesis.id, b"one"), chain(2, genesis.id, b"other")
    for block in (genesis, one[0], other[0]):
        hand.hear(block)
    assert hand.stands_on(one[0])
    effects = hand.hear(other[1])
    assert hand.stands_on(other[1])
    (fact,) = told(effects, facts.Reorganised)
    assert fact == facts.Reorganised(1, 2, 0, other[1].id.hex(), 2)
    hand.hear(one[1])
    assert hand.stands_on(other[1])


def test_a_block_without_work_is_not_even_an_orphan() -> None:
    hand = Hand()
    effects = hand.hear(lazy(b"no work", bytes(range(32))))
    assert len(hand.core.tree.orphans) == 0
    assert not sent(effects)
    (fact,) = told(effects, facts.PeerMisbehaves)
    assert isinstance(fact, facts.PeerMisbehaves)
    assert "target" in fact.reason
    # Told once in a while, counted always.
    for _ in range(100):
        assert not hand.hear(lazy(b"no work", bytes(range(32))))
    assert hand.core.statistics().invalid == 101


def test_garbage_is_counted_and_told_now_and_then() -> None:
    hand = Hand()
    assert told(hand.give(Erred(1, 1000, "no block")), facts.PeerMisbehaves)
    assert not hand.give(Erred(1, 1000, "no block"))
    assert told(hand.give(Erred(STRANGER, 1000, "no block")), facts.PeerMisbehaves)
    hand.pass_time(11)
    (fact,) = told(hand.give(Erred(1, 1000, "no block")), facts.PeerMisbehaves)
    assert isinstance(fact, facts.PeerMisbehaves)
    assert fact.offences == 3


# Genesis.


def test_a_genesis_has_work_and_no_parent_and_nothing_else_can_be_one() -> None:
    hand = Hand()
    hand.hear(lazy(b"genesis"))
    assert not len(hand.core.tree)
    genesis, first = chain(2)
    hand.hear(first)
    assert not len(hand.core.tree), "a block with a parent is no genesis"
    hand.hear(genesis)
    assert hand.stands_on(first)


def test_of_two_geneses_the_one_with_more_work_upon_it_is_the_chain() -> None:
    hand = Hand()
    one, other = chain(2, name=b"one"), chain(3, name=b"other")
    for block in (*one, other[0]):
        hand.hear(block)
    assert hand.stands_on(one[-1])
    for block in other[1:]:
        hand.hear(block)
    assert hand.stands_on(other[-1])


def test_a_pinned_genesis_is_the_only_one() -> None:
    good, bad = chain(1, name=b"good"), chain(5, name=b"bad")
    hand = Hand(genesis_hash=good[0].id)
    for block in bad:
        hand.hear(block)
    assert not len(hand.core.tree)
    hand.hear(good[0])
    for block in bad:
        hand.hear(block)
    assert hand.stands_on(good[0])


def test_one_makes_the_genesis_and_the_others_wait() -> None:
    maker, other = Hand(mines=True, genesis=True), Hand(mines=True)
    assert maker.search is not None
    assert other.search is None
    assert maker.search.puzzle == gossip(b"genesis")
    effects = maker.mine()
    assert [peer for peer, _ in sent(effects)] == [1, 2]
    other.hear(Block.of(sent(effects)[0][1], EASY.work))
    assert other.search is not None


def test_a_pin_that_the_own_genesis_does_not_meet_is_an_error() -> None:
    hand = Hand(mines=True, genesis=True, genesis_hash=bytes(32))
    with pytest.raises(LocalError, match="pinned genesis"):
        hand.mine()


# What was lost comes again.


def test_who_sends_an_orphan_is_shown_where_we_stand_and_answers_with_what_follows() -> None:
    blocks = chain(100)
    ahead, behind = Hand(peers=2), Hand(peers=2)
    for block in blocks:
        ahead.hear(block, peer=2)
    for block in blocks[:40]:
        behind.hear(block, peer=1)
    ahead.effects.clear()
    behind.effects.clear()
    behind.hear(blocks[-1], peer=1)
    converse(ahead, behind)
    assert behind.stands_on(blocks[-1])


def test_two_forks_that_know_nothing_of_each_other_find_the_point_where_they_parted() -> None:
    common = chain(30)
    longer = chain(50, common[-1].id, b"longer")
    shorter = chain(45, common[-1].id, b"shorter")
    one, two = Hand(peers=2), Hand(peers=2)
    for block in (*common, *longer):
        one.hear(block, peer=2)
    for block in (*common, *shorter):
        two.hear(block, peer=1)
    one.effects.clear()
    two.effects.clear()
    one.pass_time(1.1)  # It echoes its tip.
    converse(one, two)
    assert two.stands_on(longer[-1])
    assert one.stands_on(longer[-1])


def test_who_has_nothing_at_all_is_given_a_genesis_to_start_from() -> None:
    blocks = chain(200)
    full, empty = Hand(peers=2), Hand(peers=2)
    for block in blocks:
        full.hear(block, peer=2)
    full.effects.clear()
    full.pass_time(5)
    converse(full, empty)
    assert empty.stands_on(blocks[-1])


def test_a_program_that_only_sends_its_own_blocks_is_sent_what_it_missed() -> None:
    hand = Hand(peers=2)
    blocks = chain(5)
    for block in blocks:
        hand.hear(block, peer=2)
    hand.pass_time(1)
    stale = mined(b"mined on an old tip", blocks[2].id)
    effects = hand.hear(stale, peer=1)
    assert [each for peer, each in sent(effects) if peer == 1] == [
        blocks[3].announcement,
        blocks[4].announcement,
    ]
    # It sends from a port of the moment: all configured peers are told, and nobody else.
    hand.pass_time(1)
    stale = mined(b"and another one", blocks[2].id)
    effects = hand.hear(stale, peer=STRANGER)
    counts = Counter(peer for peer, each in sent(effects) if each != stale.announcement)
    assert counts == {1: 2, 2: 2}


# Nobody makes us shout.


def bytes_of(effects: Iterable[Effect], peer: int) -> int:
    wire = GossipWire()
    return sum(len(wire.encode(each)) for to, each in sent(effects) if to == peer)


def test_a_storm_of_old_blocks_is_answered_within_a_budget() -> None:
    hand = Hand(peers=2)
    blocks = chain(300)
    for block in blocks:
        hand.hear(block, peer=2)
    hand.pass_time(60)
    for source, rate, burst in (
        (1, ANSWER_RATE, ANSWER_BURST),
        (STRANGER, STRANGER_RATE, STRANGER_BURST),
    ):
        hand.effects.clear()
        for number in range(20_000):
            hand.now += 0.0001  # Ten thousand a second.
            hand.hear(blocks[number % 300], peer=source)
        assert 0 < bytes_of(hand.effects, 1) <= 2.0 * rate + burst


def test_an_orphan_flood_leaves_room_for_others_and_is_asked_about_slowly() -> None:
    hand = Hand(peers=2)
    hand.hear(chain(1)[0], peer=2)
    hand.effects.clear()
    for number in range(3000):
        hand.now += 0.001
        hand.hear(mined(b"orphan", number.to_bytes(32, "big")), peer=1)
    assert len(hand.core.tree.orphans) <= 64
    assert len(sent(hand.effects)) < 3 * (10 + 2) + 10
    honest = chain(3)
    for block in reversed(honest):
        hand.hear(block, peer=2)
    assert hand.stands_on(honest[-1])


def test_a_burst_of_new_blocks_is_not_relayed_each_by_each() -> None:
    hand = Hand(peers=2)
    blocks = chain(500)
    for block in blocks:
        hand.hear(block, peer=1)
    hand.pass_time(0.06)
    passed_on = [each for peer, each in sent(hand.effects) if peer == 2]
    assert len(passed_on) < 50
    assert passed_on[-1] == blocks[-1].announcement


# Mining.


def test_it_mines_on_the_tip_and_drops_what_is_stale() -> None:
    hand = Hand(mines=True, name="alice")
    genesis, first = chain(2)
    hand.hear(genesis)
    before = hand.search
    assert before is not None
    assert before.puzzle == gossip(b"alice 00000001", genesis.id)
    effects = hand.hear(first)
    assert Cancel(before.task) in effects
    assert hand.search is not None
    assert hand.search.puzzle == gossip(b"alice 00000001", first.id), "it was not mined yet"
    # What it found on the old one, on its way while it was cancelled, is not heard.
    assert not hand.give(Searched(before.task, 9, (8,)))


def test_its_own_block_wins_a_tie() -> None:
    hand = Hand(mines=True)
    (genesis,) = chain(1)
    hand.hear(genesis)
    search = hand.search
    assert search is not None
    nonce = next(n for n in search.nonces if EASY.admits(search.puzzle.prove(n).rank))
    own = Block(search.puzzle.prefix[:-32], genesis.id, nonce.to_bytes(8, "big"), EASY.work)
    hand.mine()
    assert hand.stands_on(own)
    hand.hear(mined(b"a rival", genesis.id))
    assert hand.stands_on(own)


def test_payloads_are_mined_in_their_order_and_come_back_from_a_lost_branch() -> None:
    hand = Hand(mines=True, counts=False)
    (genesis,) = chain(1)
    hand.hear(genesis)
    assert hand.is_idle(), "nothing to mine yet"
    for data in (b"one", b"two", b"three", b"three"):
        hand.give(Received(LOCAL, Payload(data)))
    for _ in range(3):
        hand.mine()
    assert hand.tip_data() == b"three"
    # A longer branch leaves all of them out: they wait again, before the fourth.
    for block in chain(4, genesis.id, b"rival"):
        hand.hear(block)
    mined_again: list[bytes] = []
    while not hand.is_idle():
        hand.mine()
        mined_again.append(hand.tip_data())
    assert mined_again == [b"one", b"two", b"three", b"three"]


def test_payloads_come_from_its_own_user_and_fit() -> None:
    hand = Hand(mines=True, counts=False)
    hand.hear(chain(1)[0])
    hand.give(Received(1, Payload(b"from a peer, if a wire had such a word")))
    assert hand.search is None
    effects = hand.give(Received(LOCAL, Payload(bytes(4097))))
    assert told(effects, facts.PayloadRefused)
    assert hand.search is None


def test_a_payload_goes_before_counting() -> None:
    hand = Hand(mines=True, name="bob")
    (genesis,) = chain(1)
    hand.hear(genesis)
    hand.give(Received(LOCAL, Payload(b"urgent")))
    assert hand.search is not None
    assert hand.search.puzzle == gossip(b"urgent", genesis.id)


def test_it_can_mine_at_a_given_pace() -> None:
    hand = Hand(mines=True, block_seconds=5.0)
    hand.hear(chain(1)[0])
    hand.mine()
    assert hand.search is None
    hand.pass_time(4.9)
    assert hand.search is None
    hand.pass_time(0.2)
    assert hand.search is not None


def test_it_stops_its_search_when_it_is_stopped() -> None:
    hand = Hand(mines=True)
    hand.hear(chain(1)[0])
    assert hand.search is not None
    assert hand.give(Stopping()) == [Cancel(1)]
    assert hand.search is None


# Its store.


def test_from_its_store_it_goes_on_where_it_was() -> None:
    hand = Hand()
    common = chain(10)
    side = chain(3, common[5].id, b"side")
    for block in (*common, *side):
        hand.hear(block)
    again = Hand(records=kept(hand.effects), mines=True)
    assert again.stands_on(common[-1])
    assert len(again.core.tree) == 13
    (fact,) = told(again.effects, facts.Restored)
    assert fact == facts.Restored(13, 9, common[-1].id.hex())
    assert again.search is not None
    assert again.search.puzzle.prefix.endswith(common[-1].id)


def test_a_store_is_checked_like_a_stranger() -> None:
    with pytest.raises(LocalError, match="block 1 of the store"):
        Hand(records=[chain(1)[0].announcement, lazy(b"no work").announcement])
    with pytest.raises(LocalError, match="block 0 of the store"):
        Hand(records=[chain(1)[0].announcement], genesis_hash=bytes(32))


def test_siblings_that_are_sent_round_and_round_are_kept_and_told_once() -> None:
    hand = Hand(peers=2)
    (genesis,) = chain(1)
    hand.hear(genesis)
    siblings = [mined(b"sibling %d" % number, genesis.id) for number in range(70)]
    for number in range(1400):
        hand.now += 0.01
        hand.hear(siblings[number % 70], peer=STRANGER)
    assert len(kept(hand.effects)) == 71
    relayed = [each for peer, each in sent(hand.effects) if peer == 1]
    assert len(relayed) < 300
