"""A `BlockTree` beside brute force: whatever comes in whatever order, most work wins."""

import tracemalloc
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nonsuch.chain.orphans import OrphanLimits
from nonsuch.chain.tree import (
    LOCATOR_MAX,
    SIBLINGS_MAX,
    BlockTree,
    Change,
    Duplicate,
    Entry,
    Extended,
    Invalid,
    Orphaned,
    Reorged,
    SideBranch,
    branch,
)
from nonsuch.chain.validation import InvalidBlock
from nonsuch.errors import LocalError

ROOT = bytes(32)

ROOMY = OrphanLimits(count=10**6, bytes=10**9, per_source=10**6)
"""For stories that are not about the bounds of the orphan pool."""


class Toy(NamedTuple):
    """A block that is nothing but what a chain asks of one, and perhaps invalid."""

    id: bytes
    parent: bytes
    work: int = 1
    size: int = 1
    valid: bool = True


Tree = BlockTree[Toy]


def validate(block: Toy, parent: Entry[Toy] | None) -> None:
    """What every tree here calls: a toy's only rule, and that the tree names the right parent."""
    assert block.parent == (ROOT if parent is None else parent.block.id)
    if not block.valid:
        raise InvalidBlock(f"{block.id!r} is not valid")


def tree_of(*blocks: Toy, siblings_max: int = SIBLINGS_MAX) -> Tree:
    tree = BlockTree(ROOT, validate, orphans=ROOMY, siblings_max=siblings_max)
    for block in blocks:
        (change,) = tree.connect(block)
        assert isinstance(change, Extended | SideBranch | Reorged)
    tree.check()
    return tree


def chain(name: str, length: int, after: Toy | None = None, work: int = 1) -> list[Toy]:
    """Blocks called name1, name2 and so on, each after the last."""
    blocks: list[Toy] = []
    parent = ROOT if after is None else after.id
    for number in range(1, length + 1):
        blocks.append(Toy(f"{name}{number}".encode(), parent, work))
        parent = blocks[-1].id
    return blocks


def names(blocks: Iterable[Toy]) -> str:
    return " ".join(block.id.decode() for block in blocks)


def best_of(tree: Tree) -> list[Toy]:
    """The best chain, genesis first."""
    return [entry.block for entry in branch(tree.tip)][::-1]


def replay(ledger: list[Toy], changes: Iterable[Change[Toy]]) -> None:
    """What a ledger does with changes: undo and do, each time on top of what it has."""
    for change in changes:
        undone: tuple[Toy, ...] = ()
        done: tuple[Toy, ...] = ()
        if isinstance(change, Extended):
            done = (change.block,)
        elif isinstance(change, Reorged):
            undone, done = change.disconnected, change.connected
            assert done[-1] is change.block
            assert undone
        for block in undone:
            assert ledger.pop() is block
        for block in done:
            assert block.parent == (ledger[-1].id if ledger else ROOT)
            ledger.append(block)
        if isinstance(change, Reorged):
            before = ledger[: -len(done)]
            fork = change.fork
            assert (None if fork is None else fork.block) == (before[-1] if before else None)


# Beside brute force.


class BesideBruteForce(RuleBasedStateMachine):
    """Blocks are made in any shape, and come in any order, some of them twice or not at all.

    The model keeps what arrived and recomputes everything else. It takes from the changes in which
    order blocks were connected, and predicts the rest: which they are, and where the tip is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tree = tree_of()
        self.made: list[Toy] = []
        self.connected: dict[bytes, Toy] = {}
        self.waiting: dict[bytes, Toy] = {}
        self.senders: dict[bytes, int] = {}
        self.preferred: list[bytes] = []
        self.ledger: list[Toy] = []

    # The model.

    def path(self, block_id: bytes) -> list[Toy]:
        """A connected block and its ancestors, newest first."""
        found: list[Toy] = []
        while block_id != ROOT:
            found.append(self.connected[block_id])
            block_id = found[-1].parent
        return found

    def chainwork(self, block_id: bytes) -> int:
        return sum(block.work for block in self.path(block_id))

    @property
    def tip(self) -> bytes | None:
        """Most work; of equals the last that was preferred, else the first that was connected."""
        most = max(map(self.chainwork, self.connected), default=0)
        equals = [each for each in self.connected if self.chainwork(each) == most]
        liked = [each for each in self.preferred if each in equals]
        return liked[-1] if liked else next(iter(equals), None)

    @property
    def best(self) -> list[bytes]:
        return [] if self.tip is None else [block.id for block in self.path(self.tip)][::-1]

    def settle(self, block: Toy) -> tuple[set[bytes], set[bytes]]:
        """What is to be connected, and what turns out invalid, when this one has its parent."""
        good: set[bytes] = {block.id} if block.valid else set()
        bad: set[bytes] = set() if block.valid else {block.id}
        for _ in self.waiting:
            for each in self.waiting.values():
                if each.parent in bad or (each.parent in good and not each.valid):
                    bad.add(each.id)
                elif each.parent in good:
                    good.add(each.id)
        return good, bad

    # What happens.

    @rule(data=st.data(), work=st.integers(1, 3), valid=st.sampled_from([True] * 7 + [False]))
    def make(self, data: st.DataObject, work: int, valid: bool) -> None:
        """Mostly on one of the latest: branches are then long enough to compete."""
        parents = [ROOT, *(block.id for block in self.made)]
        parent = data.draw(st.sampled_from(parents) | st.sampled_from(parents[-3:]))
        self.made.append(Toy(b"%d" % len(self.made), parent, work, 1, valid))

    @precondition(lambda self: self.made)
    @rule(data=st.data(), prefer=st.sampled_from([False, False, True]), source=st.integers(0, 9))
    def arrive(self, data: st.DataObject, prefer: bool, source: int) -> None:
        block = data.draw(st.sampled_from(self.made) | st.sampled_from(self.made[-3:]))
        known = block.id in self.connected or block.id in self.waiting
        changes = self.tree.connect(block, source=source, prefer=prefer)
        assert changes[0].block is block
        if known:
            assert changes == [Duplicate(block)]
            return
        self.senders[block.id] = source
        if block.parent != ROOT and block.parent not in self.connected:
            assert changes == [Orphaned(block)]
            self.waiting[block.id] = block
            return
        self.settled(block, changes, prefer)
        replay(self.ledger, changes)

    def settled(self, block: Toy, changes: list[Change[Toy]], prefer: bool) -> None:
        good, bad = self.settle(block)
        invalid = [change for change in changes if isinstance(change, Invalid)]
        assert len(changes) == len(good) + len(bad)
        assert {change.block.id for change in invalid} == bad
        assert all(change.source == self.senders[change.block.id] for change in invalid)
        for change in changes:
            self.waiting.pop(change.block.id, None)
            if change.block.id in good:
                self.connected[change.block.id] = change.block
        if prefer and block.valid:
            self.preferred.append(block.id)

    # What must hold.

    @invariant()
    def agree(self) -> None:
        tree = self.tree
        tree.check()
        assert [entry.block for entry in tree] == list(self.connected.values())
        assert (None if tree.tip is None else tree.tip.block.id) == self.tip
        assert [block.id for block in self.ledger] == self.best
        assert len(tree.orphans) == len(self.waiting)
        parents = {block.parent for block in self.waiting.values()}
        assert set(tree.orphans.missing(99)) == parents - set(self.waiting)

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), limit=st.integers(-1, 5))
    def ask(self, data: st.DataObject, limit: int) -> None:
        """Every question about two blocks."""
        tree, best = self.tree, self.best
        one, other = (data.draw(st.sampled_from([*tree])) for _ in range(2))
        path = [block.id for block in self.path(one.block.id)]
        common = [each for each in path if each in best]
        fork = tree.fork(one)
        assert (None if fork is None else fork.block.id) == (common[0] if common else None)
        assert tree.on_best(one) is (one.block.id in best)
        assert tree.includes(one, other) is (other.block.id in path)
        assert [tree.ancestor(one, height).block.id for height in range(one.height + 1)][
            ::-1
        ] == path
        follow = best[len(common) :][: max(0, limit)]
        assert [block.id for block in tree.successors(one.block.id, limit)] == follow
        locator = [b"unknown", one.block.id, other.block.id]
        assert [block.id for block in tree.after(locator, limit)] == follow

    @rule()
    def a_newcomer_catches_up_from_any_locator(self) -> None:
        tree = self.tree
        for height in range(tree.height + 1):
            behind = tree_of(*(tree.best(each).block for each in range(height + 1)))
            changes = [behind.connect(each) for each in tree.after(behind.locator(4), 99)]
            assert behind.height == tree.height
            assert all(isinstance(change, Duplicate | Extended) for (change,) in changes)


BesideBruteForce.TestCase.settings = settings(stateful_step_count=60)
TestBesideBruteForce = BesideBruteForce.TestCase


# Stories of two branches.


def test_of_two_equals_the_first_seen_is_the_tip_until_more_work_comes() -> None:
    tree = tree_of(*chain("a", 3))
    ledger = best_of(tree)
    rivals = chain("b", 3, after=ledger[0])
    assert tree.connect(rivals[0]) == [SideBranch(rivals[0])]
    assert tree.connect(rivals[1]) == [SideBranch(rivals[1])], "as much work, and later"
    (change,) = tree.connect(rivals[2])
    assert isinstance(change, Reorged)
    assert change.fork is tree.best(0)
    assert names(change.disconnected) == "a3 a2"
    assert names(change.connected) == "b1 b2 b3"
    assert [entry.block.id for entry in tree.leaves()] == [b"a3", b"b3"]
    replay(ledger, [change])
    assert ledger == best_of(tree)


def test_less_blocks_with_more_work_win() -> None:
    tree = tree_of(*chain("easy", 9))
    (hard,) = chain("hard", 1, work=10)
    (change,) = tree.connect(hard)
    assert isinstance(change, Reorged)
    assert (tree.height, change.fork) == (0, None)


def test_our_own_block_wins_a_tie_but_not_against_more_work() -> None:
    tree = tree_of(*chain("a", 3))
    (even,) = chain("even", 1, after=tree.best(1).block)
    (short,) = chain("short", 1, after=tree.best(0).block)
    assert tree.connect(short, prefer=True) == [SideBranch(short)]
    (change,) = tree.connect(even, prefer=True)
    assert isinstance(change, Reorged)
    assert names(best_of(tree)) == "a1 a2 even1"


def test_followers_of_our_own_block_are_not_our_own() -> None:
    # They were on the way when their parent came: first come, first served among them.
    (ours,) = chain("ours", 1)
    tree = tree_of()
    for name in ("first", "second"):
        tree.connect(*chain(name, 1, after=ours))
    tree.connect(ours, prefer=True)
    assert names(best_of(tree)) == "ours1 first1"


def test_a_block_comes_before_its_parents() -> None:
    tree = tree_of()
    blocks = chain("a", 3)
    assert tree.connect(blocks[2]) == [Orphaned(blocks[2])]
    assert tree.connect(blocks[2]) == [Duplicate(blocks[2])]
    assert tree.orphans.missing() == [b"a2"]
    assert tree.connect(blocks[1]) == [Orphaned(blocks[1])]
    assert tree.connect(blocks[0]) == [Extended(block) for block in blocks]
    assert tree.connect(blocks[0]) == [Duplicate(blocks[0])]
    assert not len(tree.orphans)


def test_what_follows_an_invalid_block_goes_with_it_and_so_do_those_who_sent_it() -> None:
    good, *rest = chain("a", 4)
    bad = rest[0]._replace(valid=False)
    tree = tree_of(good)
    tree.connect(rest[1], source=7)
    tree.connect(rest[2], source=8)
    changes = tree.connect(bad, source=9)
    assert all(isinstance(change, Invalid) for change in changes)
    invalid = [change for change in changes if isinstance(change, Invalid)]
    assert [change.block for change in invalid] == [bad, *rest[1:]]
    assert [change.source for change in invalid] == [9, 7, 8]
    assert {str(change.error) for change in invalid} == {"b'a2' is not valid"}
    tree.check()
    assert (len(tree), len(tree.orphans)) == (1, 0)
    assert tree.connect(rest[1]) == [Orphaned(rest[1])], "nothing is remembered of invalid blocks"


def test_ten_thousand_orphans_arrive_backwards_and_are_connected_at_once() -> None:
    tree = tree_of()
    blocks = chain("a", 10_000)
    for block in reversed(blocks[1:]):
        assert tree.connect(block) == [Orphaned(block)]
    assert tree.orphans.missing() == [b"a1"]
    assert tree.connect(blocks[0]) == [Extended(block) for block in blocks]
    tree.check()


def test_ten_thousand_orphans_of_an_invalid_block_are_dropped_at_once() -> None:
    tree = tree_of()
    first, *blocks = chain("a", 10_000)
    for block in reversed(blocks):
        tree.connect(block)
    changes = tree.connect(first._replace(valid=False))
    assert {type(change) for change in changes} == {Invalid}
    assert (len(changes), len(tree), len(tree.orphans)) == (10_000, 0, 0)


def test_a_flood_of_orphans_does_not_push_out_the_one_that_matters() -> None:
    tree: Tree = BlockTree(ROOT, validate)
    first, second = chain("a", 2)
    tree.connect(second, source=1)
    for number in range(1000):
        (change,) = tree.connect(Toy(b"x%d" % number, b"y%d" % number), source=2 + number % 5)
        assert isinstance(change, Orphaned)
    tree.check()
    assert tree.connect(first, source=1) == [Extended(first), Extended(second)]


# Floods of siblings.


class Flooded:
    """A tree whose parents have room for a few children, and a ledger that follows it."""

    def __init__(self, siblings_max: int) -> None:
        self.tree = tree_of(siblings_max=siblings_max)
        self.ledger: list[Toy] = []
        self.most = 0

    def connect(self, block: Toy, *, prefer: bool = False) -> list[Change[Toy]]:
        parent = self.tree.entry(block.parent)
        changes = self.tree.connect(block, prefer=prefer)
        replay(self.ledger, changes)
        if block.parent == ROOT or parent is not None:
            before = 0 if parent is None else parent.chainwork
            self.most = max(self.most, before + block.work)
        self.check()
        return changes

    def check(self) -> None:
        tip = self.tree.tip
        self.tree.check()
        assert self.ledger == best_of(self.tree)
        assert (0 if tip is None else tip.chainwork) == self.most, "most work is never lost"


@given(
    siblings_max=st.integers(2, 3),
    shape=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3), st.booleans()), max_size=50),
)
def test_a_flood_of_siblings_never_takes_the_best_chain(
    siblings_max: int, shape: list[tuple[int, int, bool]]
) -> None:
    flooded = Flooded(siblings_max)
    made: list[Toy] = []
    for number, (on, work, prefer) in enumerate(shape):
        parents = [ROOT, *(block.id for block in made[-6:])]
        made.append(Toy(b"%d" % number, parents[on % len(parents)], work))
        flooded.connect(made[-1], prefer=prefer)
        parent = flooded.tree.entry(made[-1].parent)
        if made[-1].parent == ROOT or parent is not None:
            assert made[-1].id in flooded.tree, "the newcomer always has a place"


@given(
    order=st.permutations(range(12)), shape=st.lists(st.integers(0, 99), min_size=12, max_size=12)
)
def test_siblings_are_evicted_while_orphans_are_connected(
    order: list[int], shape: list[int]
) -> None:
    tree = tree_of(siblings_max=2)
    made: list[Toy] = []
    for number, on in enumerate(shape):
        parents = [ROOT, *(block.id for block in made)]
        made.append(Toy(b"%d" % number, parents[on % len(parents)]))
    ledger: list[Toy] = []
    for number in order:
        replay(ledger, tree.connect(made[number]))
        tree.check()
        assert ledger == best_of(tree)


def test_the_oldest_leaf_makes_room_and_may_come_again() -> None:
    tree = tree_of(*chain("best", 2), siblings_max=3)
    trunk = tree.best(0).block
    rivals = [Toy(b"rival%d" % number, trunk.id) for number in range(4)]
    for rival in rivals:
        assert tree.connect(rival) == [SideBranch(rival)]
    assert [rival.id in tree for rival in rivals] == [False, False, True, True]
    assert b"best2" in tree
    assert list(tree.evicted) == [b"rival0", b"rival1"]
    # Sent again it is a duplicate: a few blocks must not go round and round.
    assert tree.connect(rivals[0]) == [Duplicate(rivals[0])]
    assert tree.connect(rivals[0], wanted=True) == [SideBranch(rivals[0])]
    # Something follows it: then it is needed.
    follower = Toy(b"follower", rivals[1].id)
    assert tree.connect(follower) == [Orphaned(follower)]
    returned, joined = tree.connect(rivals[1])
    assert returned == SideBranch(rivals[1])
    assert isinstance(joined, Reorged)
    tree.check()


def test_a_leaf_that_is_the_tip_is_never_the_one() -> None:
    tree = tree_of(*chain("best", 1, work=9), siblings_max=2)
    for number in range(5):
        tree.connect(Toy(b"rival%d" % number, ROOT))
    tree.check()
    assert [entry.block.id for entry in tree] == [b"best1", b"rival4"]


def test_where_all_have_descendants_the_branch_with_the_least_work_goes() -> None:
    tree = tree_of(*chain("best", 9), *chain("a", 3), *chain("b", 2), *chain("c", 4))
    small = tree_of(*(entry.block for entry in tree), siblings_max=4)
    (newcomer,) = chain("new", 1)
    assert small.connect(newcomer) == [SideBranch(newcomer)]
    small.check()
    assert names(entry.block for entry in small.leaves()) == "best9 a3 c4 new1"
    assert b"b1" not in small
    lost = Toy(b"b3", b"b2")
    assert small.connect(lost) == [Orphaned(lost)], "what it follows is forgotten"


def test_a_leaf_goes_before_any_branch_so_that_none_has_to_be_walked() -> None:
    tree = tree_of(*chain("best", 9), *chain("thin", 2), *chain("thick", 1, work=3), siblings_max=3)
    tree.connect(*chain("new", 1))
    assert names(entry.block for entry in tree.leaves()) == "best9 thin2 new1"


def test_a_branch_of_ten_thousand_is_evicted_at_once() -> None:
    tree = tree_of(*chain("best", 10_001), *chain("long", 10_000), siblings_max=2)
    tree.connect(*chain("new", 1))
    tree.check()
    assert names(entry.block for entry in tree.leaves()) == "best10001 new1"
    assert len(tree) == 10_002


def test_whoever_wants_to_know_is_told_what_was_evicted() -> None:
    told: list[Entry[Toy]] = []
    tree: Tree = BlockTree(ROOT, validate, siblings_max=2, forget=told.append)
    rivals = [*chain("best", 4), *chain("side", 3)]
    for block in [*rivals, *chain("new", 1)]:
        tree.connect(block)
    assert names(entry.block for entry in told) == "side1 side2 side3"
    assert not any(entry.block.id in tree for entry in told)


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_what_is_restored_in_the_same_order_is_the_same_tree(lots: Random, count: int) -> None:
    tree = tree_of(*chain("genesis", 1), siblings_max=2)
    kept: list[tuple[Toy, bool]] = []
    for number in range(count):
        after = lots.choice([entry.block.id for entry in tree])
        block = Toy(f"{number}".encode(), after, lots.randint(1, 2))
        kept.append((block, lots.random() < 0.5))
        tree.connect(block, prefer=kept[-1][1])
    again = tree_of(*chain("genesis", 1), siblings_max=2)
    for block, prefer in kept:
        parent = again.entry(block.parent)
        assert parent is not None
        again.restore(block, parent, prefer=prefer)
    again.check()
    assert best_of(again) == best_of(tree)
    assert [entry.block for entry in again] == [entry.block for entry in tree]


def test_a_parent_has_room_for_the_best_and_a_newcomer() -> None:
    with pytest.raises(LocalError, match="2 children"):
        tree_of(siblings_max=1)


# What peers ask.


def heights(tree: Tree, limit: int = LOCATOR_MAX) -> list[int]:
    entries = [tree.entry(each) for each in tree.locator(limit)]
    return [entry.height for entry in entries if entry is not None]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, []),
        (1, [0]),
        (2, [1, 0]),
        (3, [2, 1, 0]),
        (4, [3, 2, 1, 0]),
        (5, [4, 3, 2, 0]),
        (20, [19, 18, 17, 15, 11, 3, 0]),
    ],
)
def test_a_locator_steps_back_faster_and_faster(length: int, expected: list[int]) -> None:
    assert heights(tree_of(*chain("a", length))) == expected


def test_a_locator_always_ends_at_genesis() -> None:
    tree = tree_of(*chain("a", 100))
    assert heights(tree, 4) == [99, 98, 97, 0]
    assert heights(tree, 1) == [0]
    assert tree_of().locator() == []


def test_a_peer_on_another_branch_is_led_on_from_the_fork() -> None:
    tree = tree_of(*chain("a", 10))
    peer = tree_of(*chain("a", 6), *chain("b", 3, after=tree.best(5).block))
    assert names(tree.after(peer.locator(), 99)) == "a6 a7 a8 a9 a10", "their steps skip a6"
    tree.connect(Toy(b"b1", b"a6"))
    assert names(tree.successors(b"b1", 2)) == "a7 a8"


def test_a_peer_that_shares_nothing_is_led_from_genesis() -> None:
    tree = tree_of(*chain("a", 3), *chain("b", 1))
    assert names(tree.after([b"unknown"], 9)) == names(tree.after([], 9)) == "a1 a2 a3"
    assert names(tree.successors(ROOT, 2)) == names(tree.successors(b"b1", 2)) == "a1 a2"
    assert tree.successors(b"unknown", 9) == tree.successors(b"a3", 9) == []
    assert tree.successors(b"a1", -1) == []


def test_only_the_beginning_of_a_long_locator_is_read() -> None:
    tree = tree_of(*chain("a", 3))
    assert names(tree.after([b"unknown"] * LOCATOR_MAX + [b"a2"], 9)) == "a1 a2 a3"
    assert names(tree.after([b"unknown"] * (LOCATOR_MAX - 1) + [b"a2"], 9)) == "a3"


def test_asking_for_a_height_that_is_not_there() -> None:
    tree = tree_of(*chain("a", 3), *chain("b", 1))
    rival = tree.entry(b"b1")
    assert rival is not None
    for height in (-1, 3, 10**5000):
        with pytest.raises(LocalError, match="none at height"):
            tree.best(height)
    for height in (-1, 1):
        with pytest.raises(LocalError, match="no ancestor at height"):
            tree.ancestor(rival, height)
    with pytest.raises(LocalError):
        tree_of().best(0)


def test_a_branch_ends_at_its_limit_or_at_genesis() -> None:
    tip = tree_of(*chain("a", 3)).tip
    lengths = {limit: len([*branch(tip, limit)]) for limit in (-1, 0, 1, 3, 9, None)}
    assert lengths == {-1: 0, 0: 0, 1: 1, 3: 3, 9: 3, None: 3}
    assert [*branch(None)] == []


def test_an_empty_tree_has_no_tip() -> None:
    tree = tree_of()
    assert (tree.tip, tree.height, len(tree), tree.leaves()) == (None, -1, 0, [])


def test_an_entry_says_what_it_is() -> None:
    tree = tree_of(*chain("a", 2))
    assert repr(tree.tip) == "Entry(6132, height=1)"


def test_a_block_costs_less_than_half_a_kibibyte_beside_itself() -> None:
    count = 20_000
    blocks = chain("a", count)
    tracemalloc.start()
    try:
        tree = BlockTree(ROOT, validate)
        for block in blocks:
            tree.connect(block)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tree.height == count - 1
    assert held < 500 * count
