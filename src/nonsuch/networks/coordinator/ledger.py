"""The chain that a coordinator keeps: it alone decides, so there is one branch and never another.

A block is taken where it follows the tip, has the version and the target that are due, meets that
target, and is not dated before the median of the eleven before it. So is each of those on disk when
they are read again.

**Time.** Bitcoin wants a block to be *after* that median. That is for miners who write what time it
is themselves; here it is the coordinator who does, and at the stock target a chain may well grow by
hundreds of blocks in a second. They would have to be dated further and further into the future.
What is too far ahead of the clock is seen where the clock is, in `template`.
"""

from __future__ import annotations

from collections import deque

from nonsuch.chain.orphans import OrphanLimits
from nonsuch.chain.retarget import Asert, Fixed, Periodic, Retarget
from nonsuch.chain.tree import BlockTree, Entry, Extended, Invalid
from nonsuch.chain.validation import (
    MEDIAN_BLOCKS,
    InvalidBlock,
    TimestampTooOld,
    WrongTarget,
    WrongVersion,
    check_parent,
    check_work,
)
from nonsuch.errors import LocalError
from nonsuch.networks.coordinator.header import ID_BYTES, ROOT, Block, Header
from nonsuch.networks.coordinator.settings import CoordinatorSettings
from nonsuch.work.target import Target

__all__ = ["Ledger"]


class Ledger:
    """A chain, and what its next block must be. Raises `LocalError` for a rule that cannot be."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        # What does not follow the tip is refused, so nothing waits for its parent.
        none = OrphanLimits(count=0, bytes=0, per_source=0)
        self.tree: BlockTree[Block] = BlockTree(ROOT, self._validate, orphans=none)
        self._settings = settings
        self._timestamps: deque[int] = deque(maxlen=MEDIAN_BLOCKS)
        self._rule = _rule(settings, 0)
        self._expect()

    @property
    def tip(self) -> bytes:
        """The id that the next block must name as its parent."""
        tip = self.tree.tip
        return ROOT if tip is None else tip.block.id

    @property
    def height(self) -> int:
        """Of the tip; -1 where there is no block."""
        return self.tree.height

    def append(self, block: Block) -> None:
        """The chain grows by a block. Raises an `InvalidBlock` where it must not."""
        check_parent(block.parent, self.tip)
        check_work(block.rank, self.target)
        change = self.tree.connect(block)[0]
        if isinstance(change, Invalid):
            raise change.error
        assert isinstance(change, Extended), "it follows the tip"
        self._timestamps.append(block.timestamp)
        if not self.height:
            self._rule = _rule(self._settings, block.timestamp)
        self._expect()

    def restore(self, number: int, record: object) -> None:
        """Take a block from the disk. Raises `LocalError` where this chain cannot have it."""
        try:
            if not isinstance(record, Header):
                raise LocalError(f"{type(record).__name__} is no header")
            self.append(Block(record))
        except (InvalidBlock, LocalError) as error:
            raise LocalError(
                f"record {number} of the journal is not valid here: {error}; a chain that was made"
                " with another target or retargeting needs these, or a new one another journal"
            ) from None

    def follower_target(self, block_id: bytes) -> Target | None:
        """What the block after this one must meet, or had to; None where it is not of the chain."""
        if block_id == self.tip:
            return self.target
        if block_id == ROOT:
            return self.tree.best(0).block.target
        entry = self.tree.entry(block_id)
        return None if entry is None else self.tree.best(entry.height + 1).block.target

    def _expect(self) -> None:
        """What must the next block be?"""
        self.target = self._rule.next_target(self.height + 1, self._ancestor)
        self._threshold = self.target.value.to_bytes(ID_BYTES, "big")
        past = sorted(self._timestamps)
        self.earliest = past[len(past) // 2] if past else 0
        """The least that it may say of its time, in Unix seconds."""

    def _ancestor(self, height: int) -> Block:
        return self.tree.best(height).block

    def _validate(self, block: Block, _parent: Entry[Block] | None) -> None:
        header = block.header
        if header.version != self._settings.version:
            raise WrongVersion(
                f"the version is {header.version}, and must be {self._settings.version}"
            )
        if header.threshold != self._threshold:
            raise WrongTarget(f"the target is {header.threshold.hex()}, and must be {self.target}")
        if header.timestamp < self.earliest:
            raise TimestampTooOld(
                f"the timestamp {header.timestamp} is before {self.earliest},"
                f" the median of the {len(self._timestamps)} blocks before"
            )

    def check(self) -> None:
        """Assert that the tree is a chain."""
        assert len(self.tree) == self.height + 1
        assert len(self.tree.leaves()) == min(1, len(self.tree))
        assert self._threshold == self.target.value.to_bytes(ID_BYTES, "big")


def _rule(settings: CoordinatorSettings, genesis_timestamp: int) -> Retarget:
    """How targets change. The first block is aserti's anchor, one spacing behind a parent."""
    target, spacing = settings.target, settings.spacing_seconds
    match settings.retarget:
        case "none":
            return Fixed(target)
        case "bitcoin":
            return Periodic(target, settings.period_blocks, spacing)
        case "aserti":
            return Asert(
                limit=target,
                anchor_target=target,
                anchor_parent_timestamp=genesis_timestamp - spacing,
                spacing_seconds=spacing,
                half_life_seconds=settings.half_life_seconds,
            )
