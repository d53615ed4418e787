"""The tree that blocks grow, and its best chain.

Every valid block whose ancestors lead to the root is kept, for any branch may win. The best chain
is the one that took the most work, not the longest one; of equals the first seen, so that nobody
gains by following late. A block of our own wins a tie: we know of no earlier one that we prefer.

The *root* is an id that no block has: what the first block of a chain, its genesis, names as its
parent. Two genesis blocks are siblings like any others, and the work behind them decides.

**Cost.** A block costs its entry, a few hundred bytes, and a few microseconds. The best chain is a
list, so what asks for a height, or whether a block is on it, is answered at once. What asks about a
side branch walks it down to the best chain. Nothing recurses: a branch may be of any length.

**Bounds.** Each block here has met its target, and so cost somebody work; memory is bought at that
price. A parent has at most `SIBLINGS_MAX` children. One more takes the place of the oldest that
nothing was built upon, else of the one whose branch took the least work, never of one on the best
chain. Of what was evicted the id is remembered, for a while: it may come again where something
waits for it or where it is wanted, and is a duplicate else, so that nobody can send a few blocks
round and round. Blocks without a parent wait in an `OrphanPool`, which has bounds of its own, and
nothing is remembered of invalid ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

import msgspec

from nonsuch.chain.block import Block
from nonsuch.chain.orphans import ORPHAN_LIMITS, OrphanLimits, OrphanPool
from nonsuch.chain.validation import InvalidBlock
from nonsuch.errors import LocalError, shown

__all__ = [
    "EVICTED_MAX",
    "LOCATOR_MAX",
    "SIBLINGS_MAX",
    "BlockTree",
    "Change",
    "Duplicate",
    "Entry",
    "Extended",
    "Invalid",
    "Orphaned",
    "Reorged",
    "SideBranch",
    "branch",
]

B = TypeVar("B", bound=Block)

SIBLINGS_MAX = 64
"""Children of one parent. Honest rivals are two or three; more come from somebody who rewrites."""

EVICTED_MAX = 2**16
"""Ids of evicted blocks that are remembered: some megabytes, and as many proofs of work."""

LOCATOR_MAX = 32
"""Ids in a locator: its steps double, so that these reach past the first of a billion blocks."""


class Entry(Generic[B]):
    """A block's place in the tree. Do not change it.

    `parent` is None for a child of the root, and such a genesis has `height` 0. `chainwork` is the
    work of the block and of all its ancestors, `order` the number of blocks connected before it.
    """

    __slots__ = ("_followers", "block", "chainwork", "height", "order", "parent")

    def __init__(self, block: B, parent: Entry[B] | None, order: int) -> None:
        self.block = block
        self.parent = parent
        height = 0 if parent is None else parent.height + 1
        # While there is one branch these are equal, and then one object.
        self.height: int = order if height == order else height
        self.chainwork: int = block.work if parent is None else parent.chainwork + block.work
        self.order = order
        # One alone, as nearly all have, needs no tuple.
        self._followers: Entry[B] | tuple[Entry[B], ...] = ()

    @property
    def children(self) -> tuple[Entry[B], ...]:
        """Those whose parent it is, the oldest first."""
        followers = self._followers
        return followers if isinstance(followers, tuple) else (followers,)

    @children.setter
    def children(self, entries: tuple[Entry[B], ...]) -> None:
        self._followers = entries[0] if len(entries) == 1 else entries

    def __repr__(self) -> str:
        return f"Entry({self.block.id.hex()[:16]}, height={self.height})"


def branch(entry: Entry[B] | None, limit: int | None = None) -> Iterator[Entry[B]]:
    """The entry and its ancestors, newest first, at most `limit`. Of None there are none."""
    while entry is not None and (limit is None or limit > 0):
        yield entry
        entry = entry.parent
        limit = None if limit is None else limit - 1


# What became of a block.


class Extended(msgspec.Struct, Generic[B], frozen=True):
    """The block follows the tip, and is the tip now."""

    block: B


class Reorged(msgspec.Struct, Generic[B], frozen=True):
    """The block is the tip now, of another branch than before.

    `fork` is the last entry that both have, None where they have no genesis in common. The blocks
    `disconnected` after it come tip first, the blocks `connected` oldest first: the order in which
    to undo and to do.
    """

    block: B
    fork: Entry[B] | None
    disconnected: tuple[B, ...]
    connected: tuple[B, ...]


class SideBranch(msgspec.Struct, Generic[B], frozen=True):
    """The block is valid, and the best chain is another."""

    block: B


class Orphaned(msgspec.Struct, Generic[B], frozen=True):
    """The block's parent is not here: it waits for it, as long as there is room."""

    block: B


class Duplicate(msgspec.Struct, Generic[B], frozen=True):
    """The block is in the tree already, waits for its parent already, or was evicted."""

    block: B


class Invalid(msgspec.Struct, Generic[B], frozen=True):
    """The block breaks a rule, or follows one that does and then has its error; it is forgotten.

    `source` is who sent this block.
    """

    block: B
    error: InvalidBlock
    source: int


Change: TypeAlias = (
    Extended[B] | Reorged[B] | SideBranch[B] | Orphaned[B] | Duplicate[B] | Invalid[B]
)


class BlockTree(Generic[B]):
    """All blocks that lead to `root`, an id that no block has.

    `validate(block, parent)` raises an `InvalidBlock` where the block breaks a rule; `parent` is
    None for a child of the root. It is called once the parent is connected, just before the block
    is. `forget` is told of each entry that is evicted, a parent before its children. Raises
    `LocalError` where `siblings_max` is less than 2.
    """

    __slots__ = (
        "_best",
        "_entries",
        "_forget_entry",
        "_leaves",
        "_order",
        "_siblings_max",
        "_validate",
        "evicted",
        "geneses",
        "orphans",
        "root",
    )

    def __init__(
        self,
        root: bytes,
        validate: Callable[[B, Entry[B] | None], None],
        *,
        orphans: OrphanLimits = ORPHAN_LIMITS,
        siblings_max: int = SIBLINGS_MAX,
        forget: Callable[[Entry[B]], None] | None = None,
    ) -> None:
        if siblings_max < 2:
            raise LocalError(f"a parent needs room for 2 children or more, not {siblings_max}")
        self.root = root
        self.orphans: OrphanPool[B] = OrphanPool(orphans)
        self.geneses: tuple[Entry[B], ...] = ()
        self._validate = validate
        self._forget_entry = forget
        self._siblings_max = siblings_max
        self._entries: dict[bytes, Entry[B]] = {}
        self._leaves: dict[Entry[B], None] = {}
        self._best: list[Entry[B]] = []
        self._order = 0
        self.evicted: dict[bytes, None] = {}

    # What is there.

    @property
    def tip(self) -> Entry[B] | None:
        """The last of the best chain; None where there is no block."""
        return self._best[-1] if self._best else None

    @property
    def height(self) -> int:
        """The tip's height; -1 where there is no block."""
        return len(self._best) - 1

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, block_id: object) -> bool:
        return block_id in self._entries

    def __iter__(self) -> Iterator[Entry[B]]:
        """All entries in the order in which they were connected: parents before children."""
        return iter(self._entries.values())

    def entry(self, block_id: bytes) -> Entry[B] | None:
        """The place of the block with this id; None where it is not in the tree."""
        return self._entries.get(block_id)

    def leaves(self) -> list[Entry[B]]:
        """The entries that nothing follows, the oldest first. One of them is the tip."""
        return list(self._leaves)

    # A block comes.

    def connect(
        self,
        block: B,
        *,
        source: int = 0,
        now: float = 0.0,
        prefer: bool = False,
        wanted: bool = False,
    ) -> list[Change[B]]:
        """Take a block that `source` sent at `now`; say what became of it and of its followers.

        The first change is the block's own. One more follows for each orphan that waited for it,
        or for one of those. With `prefer` the block also wins a tie. One that was evicted is taken
        again where it is `wanted`, or waited for.

        Check the proof of work before: only what has cost its sender work may take room here.
        """
        if block.id in self._entries or block.id in self.orphans:
            return [Duplicate(block)]
        if block.id in self.evicted and not wanted and not self.orphans.wait_for(block.id):
            return [Duplicate(block)]
        if block.parent not in self._entries and block.parent != self.root:
            self.orphans.add(block, source, now)
            return [Orphaned(block)]
        changes = [self._connect(block, source, prefer)]
        if self.orphans:
            changes += self._connect_followers(changes[0])
        return changes

    def restore(self, block: B, parent: Entry[B], *, prefer: bool = False) -> Change[B]:
        """A new block that was in a tree before, behind an entry that is here: `connect` for it.

        No rule is checked again, and nothing waits for it.
        """
        return self._place(block, parent, prefer)

    def append(self, block: B) -> Entry[B]:
        """`restore` for a block that follows the tip; its entry, the tip from now on.

        No other can follow it already: that one would be a better tip.
        """
        tip = self._best[-1]
        entry = Entry(block, tip, self._order)
        self._order += 1
        tip._followers = entry
        self._leaves.pop(tip)
        self._leaves[entry] = None
        self._entries[block.id] = entry
        self._best.append(entry)
        return entry

    def _connect(self, block: B, source: int, prefer: bool) -> Change[B]:
        """A block whose parent is here."""
        parent = self._entries.get(block.parent)
        try:
            self._validate(block, parent)
        except InvalidBlock as error:
            return Invalid(block, error, source)
        return self._place(block, parent, prefer)

    def _place(self, block: B, parent: Entry[B] | None, prefer: bool) -> Change[B]:
        """A valid block behind its parent."""
        if parent is not None and parent is self.tip:
            self.append(block)
            return Extended(block)
        entry = Entry(block, parent, self._order)
        self._order += 1
        self._grow(entry)
        return self._choose(entry, prefer)

    def _connect_followers(self, first: Change[B]) -> Iterator[Change[B]]:
        """What waited for a block, and what waited for that, and so on."""
        # A branch at a time. What is evicted meanwhile is then never a parent of what waits.
        waiting: list[tuple[B, int, InvalidBlock | None]] = []
        change = first
        while True:
            error = change.error if isinstance(change, Invalid) else None
            orphans = self.orphans.take(change.block.id)
            waiting += [(each.block, each.source, error) for each in reversed(orphans)]
            if not waiting:
                return
            block, source, error = waiting.pop()
            change = Invalid(block, error, source) if error else self._connect(block, source, False)
            yield change

    def _grow(self, entry: Entry[B]) -> None:
        """Put an entry where it belongs, and make room for it first."""
        parent = entry.parent
        siblings = self.geneses if parent is None else parent.children
        if len(siblings) >= self._siblings_max:
            victim = self._least_of(siblings)
            siblings = tuple(each for each in siblings if each is not victim)
            self._forget(victim)
        if parent is None:
            self.geneses = (*siblings, entry)
        else:
            parent.children = (*siblings, entry)
            self._leaves.pop(parent, None)
        self._leaves[entry] = None
        self._entries[entry.block.id] = entry

    def _choose(self, entry: Entry[B], prefer: bool) -> Change[B]:
        """Is a new entry the tip?"""
        tip = self.tip
        if tip is None:
            self._best.append(entry)
            return Extended(entry.block)
        if entry.chainwork < tip.chainwork or (entry.chainwork == tip.chainwork and not prefer):
            return SideBranch(entry.block)
        return self._reorganize(entry)

    def _reorganize(self, entry: Entry[B]) -> Reorged[B]:
        """Make an entry of a side branch the tip."""
        fork = self.fork(entry)
        start = 0 if fork is None else fork.height + 1
        connected = list(branch(entry, entry.height + 1 - start))
        connected.reverse()
        disconnected = self._best[start:]
        self._best[start:] = connected
        return Reorged(
            entry.block,
            fork,
            tuple(each.block for each in reversed(disconnected)),
            tuple(each.block for each in connected),
        )

    # What there is no room for.

    def _least_of(self, siblings: tuple[Entry[B], ...]) -> Entry[B]:
        """The one to evict: the oldest leaf, else the one whose branch took the least work."""
        spare = [each for each in siblings if not self.on_best(each)]
        leaf = next((each for each in spare if not each.children), None)
        return leaf or min(spare, key=lambda each: max(e.chainwork for e in _subtree(each)))

    def _forget(self, victim: Entry[B]) -> None:
        """Remove an entry and all that follow it."""
        for entry in list(_subtree(victim)):
            del self._entries[entry.block.id]
            self._leaves.pop(entry, None)
            entry.children = ()
            self.evicted[entry.block.id] = None
            if self._forget_entry is not None:
                self._forget_entry(entry)
        while len(self.evicted) > EVICTED_MAX:
            del self.evicted[next(iter(self.evicted))]

    # The best chain.

    def best(self, height: int) -> Entry[B]:
        """The entry of the best chain at a height. Raises `LocalError` where there is none."""
        if not 0 <= height < len(self._best):
            raise LocalError(
                f"the best chain has {len(self._best)} blocks, none at height {shown(height)}"
            )
        return self._best[height]

    def on_best(self, entry: Entry[B]) -> bool:
        """Whether an entry is on the best chain. O(1)."""
        return entry.height < len(self._best) and self._best[entry.height] is entry

    def fork(self, entry: Entry[B]) -> Entry[B] | None:
        """The last entry of the best chain that leads to this one; None where no genesis does."""
        return next((each for each in branch(entry) if self.on_best(each)), None)

    def ancestor(self, entry: Entry[B], height: int) -> Entry[B]:
        """The entry at `height` on the branch that ends in `entry`, which may be `entry` itself.

        Raises `LocalError` where there is none.
        """
        if not 0 <= height <= entry.height:
            raise LocalError(
                f"a block at height {entry.height} has no ancestor at height {shown(height)}"
            )
        for each in branch(entry):
            if each.height == height:
                return each
            if self.on_best(each):
                break
        return self._best[height]

    def includes(self, entry: Entry[B], ancestor: Entry[B]) -> bool:
        """Whether `ancestor` is on the branch that ends in `entry`, or is `entry` itself."""
        height = ancestor.height
        return height <= entry.height and self.ancestor(entry, height) is ancestor

    # What peers ask each other to find where their chains part.

    def locator(self, limit: int = LOCATOR_MAX) -> list[bytes]:
        """Ids of the best chain from the tip down: the next, the next, then in steps of 2, 4, 8.

        At most `limit` (1 or more), and genesis is always the last. Whoever has any of them knows
        where to go on, with `after`.
        """
        ids: list[bytes] = []
        height, step = self.height, 1
        while height > 0 and len(ids) < limit - 1:
            ids.append(self._best[height].block.id)
            height -= step
            step *= 2 if len(ids) > 1 else 1
        return [*ids, *(each.block.id for each in self._best[:1])]

    def successors(self, block_id: bytes, limit: int) -> list[B]:
        """At most `limit` blocks of the best chain after the last one that leads to this block.

        All from genesis for the root's id and for a branch with another genesis; none for the tip,
        and none for an id that is not here.
        """
        if block_id == self.root:
            return self._blocks_from(0, limit)
        entry = self._entries.get(block_id)
        if entry is None:
            return []
        fork = self.fork(entry)
        return self._blocks_from(0 if fork is None else fork.height + 1, limit)

    def after(self, locator: Sequence[bytes], limit: int) -> list[B]:
        """`successors` of the first id of a locator that is here; from genesis where none is.

        Only the first `LOCATOR_MAX` ids are looked at.
        """
        known = (each for each in locator[:LOCATOR_MAX] if each in self._entries)
        return self.successors(next(known, self.root), limit)

    def _blocks_from(self, start: int, limit: int) -> list[B]:
        return [each.block for each in self._best[start : start + max(0, limit)]]

    def check(self) -> None:
        """Assert every invariant. O(n); for tests and the simulator."""
        placed = [*self.geneses]
        previous = -1
        for entry in self:
            assert self._entries[entry.block.id] is entry
            assert previous < entry.order < self._order
            previous = entry.order
            self._check_entry(entry)
            placed += entry.children
        assert len(placed) == len(set(placed)) == len(self)
        assert list(self._leaves) == [entry for entry in self if not entry.children]
        assert len(self.geneses) <= self._siblings_max
        self._check_best()
        self.orphans.check()

    def _check_entry(self, entry: Entry[B]) -> None:
        parent, block = entry.parent, entry.block
        assert len(entry.children) <= self._siblings_max
        assert all(child.parent is entry for child in entry.children)
        assert block.work > 0
        assert block.id not in self.orphans
        if parent is None:
            assert block.parent == self.root
            assert (entry.height, entry.chainwork) == (0, block.work)
            assert entry in self.geneses
        else:
            assert self._entries[block.parent] is parent
            assert (entry.height, entry.chainwork) == (
                parent.height + 1,
                parent.chainwork + block.work,
            )
            assert entry in parent.children

    def _check_best(self) -> None:
        """The best list is the tip's branch, and nothing took more work."""
        tip = self.tip
        assert self._best == [*branch(tip)][::-1]
        assert all(self._entries[entry.block.id] is entry for entry in self._best)
        if tip is None:
            assert not len(self)
        else:
            assert tip.chainwork == max(entry.chainwork for entry in self)


def _subtree(top: Entry[B]) -> Iterator[Entry[B]]:
    """An entry and all that follow it. An entry's children are read before it is handed out."""
    waiting = [top]
    while waiting:
        entry = waiting.pop()
        waiting += entry.children
        yield entry
