"""A chain's picture: the tree of blocks, who has which, who found what, and how branches ended.

Each node tells of the blocks that it found, of those that it took from others, and of its tip. They
are told by many processes and come in any order: a block may be told of before its parent, or a tip
before the block itself, and who found a block may be learned last.

**The best chain** is that of most nodes that run. Each block counts the nodes whose tip lies above
it, or is it; when a tip moves from one branch to another, only the blocks between the two tips and
their fork change their counts. A block is best where more than half of all nodes stand above it.

Heights keep this sound: only a block that is exactly one higher than its parent is its child, so
that whatever is told, no walk to the root goes round. Blocks that are dropped, because there are
too many, end the walk there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nonsuch.networks.gossip import facts as gossip
from nonsuch.networks.peer import facts as peer
from nonsuch.web.observations import Observation
from nonsuch.web.pictures.board import Board, Handlers, handlers, on, wilson
from nonsuch.web.pictures.sentences import general, plural
from nonsuch.web.rows import TOTALS, Block, BlockTotals, Node, NodeState, Reorg
from nonsuch.web.tables import AnyTable, Table

__all__ = ["ChainPart"]

BLOCKS_MAX = 2_000
"""Blocks kept: a screen shows some dozens, and a day of one a minute is 1,440."""

REORGS_MAX = 200

DATA_CHARACTERS_MAX = 80
"""As much of a block's data as a label shows."""

HEIGHT_MAX = 2**53
"""No chain is higher."""


class BlockMined(msgspec.Struct, frozen=True):
    """What both networks tell of a block of their own. Without `parent` it stands on the tip."""

    block: str
    height: int
    parent: str = ""
    data: str = ""


class BlockAccepted(msgspec.Struct, frozen=True):
    """What both tell of somebody else's. A peer only tells of its new tip."""

    block: str
    height: int
    parent: str = ""
    data: str = ""
    best: bool = True


class Restored(msgspec.Struct, frozen=True):
    """What both tell when they have read their journal."""

    blocks: int
    height: int
    tip: str


class _Entry:
    """What is known of a block beside its row."""

    __slots__ = ("children", "count", "holders", "parent", "row")

    def __init__(self, row: Block, holders: Iterable[str] = (), count: int = 0) -> None:
        self.row = row
        self.parent: _Entry | None = None
        self.children: list[_Entry] = []
        self.count = count
        self.holders = set(holders)

    def __reduce__(self) -> tuple[type[_Entry], tuple[Block, set[str], int]]:
        """Without its neighbours: a chain is longer than a pickle is deep."""
        return _Entry, (self.row, self.holders, self.count)


class ChainPart:
    """The tables of a chain, be it told by gossip or by peers."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._entries: dict[str, _Entry] = {}
        self._waiting: dict[str, set[str]] = {}
        self._tips: dict[str, str] = {}
        self._runs: set[str] = set()
        self._best_count = 0
        self._reorgs_count = 0
        self._flipped: dict[str, None] = {}
        self.blocks: Table[Block] = Table("blocks", BLOCKS_MAX)
        self.reorgs: Table[Reorg] = Table("reorgs", REORGS_MAX)
        self.totals: Table[BlockTotals] = Table("block_totals", 1)
        self._total = BlockTotals()
        self.totals.put(TOTALS, self._total)
        self.tables: tuple[AnyTable, ...] = (self.blocks, self.reorgs, self.totals)
        self.handlers: Handlers = handlers(
            (
                on(BlockMined, self._mined),
                on(BlockAccepted, self._accepted),
                on(Restored, self._restored),
                on(gossip.GenesisSeen, self._genesis),
                on(gossip.Reorganised, self._reorganised),
                on(gossip.PeerMisbehaves, self._misbehaves),
                on(gossip.PayloadRefused, self._payload_refused),
                on(peer.NeighbourReached, self._neighbour_reached),
                on(peer.NeighbourLost, self._neighbour_lost),
                on(peer.PeerJoined, self._peer_joined),
                on(peer.PeerDropped, self._peer_dropped),
                on(peer.ChainRefused, self._chain_refused),
                on(peer.Synchronised, self._synchronised),
            )
        )

    # What nodes tell.

    def _mined(self, now: Observation, fact: BlockMined) -> None:
        node = self._board.node(now.node)
        node.mined += fact.height > 0
        self._board.touch(node)
        entry = self._block(now, fact.block, fact.height, fact.parent, fact.data)
        if entry is not None:
            if not entry.row.miner:
                entry.row.miner = now.node
                if entry.row.best and entry.row.height > 0:
                    node.kept += 1
                    self._flipped[entry.row.id] = None  # So that shares are counted anew.
            self._has(now, entry)
        self._move(now, fact.block, fact.height)

    def _accepted(self, now: Observation, fact: BlockAccepted) -> None:
        entry = self._block(now, fact.block, fact.height, fact.parent, fact.data)
        if entry is not None:
            self._has(now, entry)
        if fact.best:
            self._move(now, fact.block, fact.height)

    def _genesis(self, now: Observation, fact: gossip.GenesisSeen) -> None:
        entry = self._block(now, fact.block, 0, "", "")
        if entry is not None:
            self._has(now, entry)
        self._move(now, fact.block, 0)

    def _restored(self, now: Observation, fact: Restored) -> None:
        if fact.blocks <= 0 or not fact.tip:
            return
        entry = self._block(now, fact.tip, fact.height, "", "")
        if entry is not None:
            self._has(now, entry)
        self._move(now, fact.tip, fact.height)
        blocks = plural(fact.blocks, "block")
        self._board.tell_of(now, f" read {blocks} from disk, up to height {fact.height:,}.")

    def _reorganised(self, now: Observation, fact: gossip.Reorganised) -> None:
        entry = self._block(now, fact.tip, fact.height, "", "")
        if entry is not None:
            self._has(now, entry)
        self._move(now, fact.tip, fact.height)
        self._reorgs_count += 1
        reorg = Reorg(now.at, now.node, fact.left, fact.joined, fact.fork_height, fact.height)
        self.reorgs.put(str(self._reorgs_count), reorg)
        blocks = f"{plural(fact.left, 'block')} given up, {fact.joined:,} taken in their place"
        after = f" went over to another branch at height {fact.fork_height:,}: {blocks}."
        self._board.tell_of(now, after, "bad")

    def _misbehaves(self, now: Observation, fact: gossip.PeerMisbehaves) -> None:
        sender = self._board.named(fact.peer) or fact.peer
        after = f" was sent nonsense by {sender}: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=f"{sender}: {general(fact.reason)}")

    def _payload_refused(self, now: Observation, fact: gossip.PayloadRefused) -> None:
        self._board.tell_of(now, f" cannot mine what it was given: {fact.reason}.", "bad")

    def _neighbour_reached(self, now: Observation, fact: peer.NeighbourReached) -> None:
        if fact.attempts > 1:
            self._board.tell_of(now, " reached a neighbour, after some attempts.")

    def _neighbour_lost(self, now: Observation, fact: peer.NeighbourLost) -> None:
        # Each has its own way to a neighbour, which may have many addresses.
        neighbour = self._board.named(fact.address) or "a neighbour"
        self._board.tell_of(now, f" lost {neighbour}: {fact.why}.", "bad")

    def _peer_joined(self, now: Observation, fact: peer.PeerJoined) -> None:
        name = fact.name or f"A peer at {fact.address}"
        self._board.tell_of(now, " found a neighbour.", of=name)

    def _peer_dropped(self, now: Observation, fact: peer.PeerDropped) -> None:
        whose = self._board.named(fact.address) or "a neighbour"
        after = f" ended the connection of {whose}: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=f"{whose}: {general(fact.reason)}")

    def _chain_refused(self, now: Observation, fact: peer.ChainRefused) -> None:
        whose = self._board.named(fact.peer) or fact.peer
        after = f" refused the chain of {whose}: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=f"{whose}: {general(fact.reason)}")

    def _synchronised(self, now: Observation, fact: peer.Synchronised) -> None:
        self._board.tell_of(now, " caught up with the others.")

    # Blocks.

    def _block(
        self, now: Observation, name: str, height: int, parent: str, data: str
    ) -> _Entry | None:
        """The block of this name, new where it is; None for one that belongs to history."""
        if not name or not 0 <= height < HEIGHT_MAX:
            return None
        parent = parent or self._tip_below(now.node, height)
        entry = self._entries.get(name)
        if entry is None:
            if self._is_history(height):
                return None
            entry = _Entry(Block(name, parent, height, "", now.at))
            self._make_room()
            self._entries[name] = entry
            self.blocks.put(name, entry.row)
            self._total.blocks += 1
            self._count_stale(1)
            self._adopt(entry)
        elif parent and not entry.row.parent:
            entry.row.parent = parent
        self._join(entry)
        if data and not entry.row.data:
            entry.row.data = data[:DATA_CHARACTERS_MAX]
        self.blocks.touch(name)
        return entry

    def _tip_below(self, node: str, height: int) -> str:
        """The tip of a node, where it is the parent of a block that is told without one."""
        row = self._board.nodes.get(node)
        stands = row is not None and row.tip is not None and row.height == height - 1
        return row.tip or "" if row is not None and stands else ""

    def _is_history(self, height: int) -> bool:
        """Whether it is below all that is kept, while somebody still stands there.

        A node that begins anew tells of every block from the first; they must not push out the
        present ones. Where all nodes begin anew, that is the present.
        """
        if len(self._entries) < BLOCKS_MAX:
            return False
        oldest = next(iter(self._entries.values())).row.height
        heights = (row.height for row in self._board.nodes.rows.values() if row.state != "dead")
        return height < oldest and any(each is not None and each >= oldest for each in heights)

    def _make_room(self) -> None:
        if len(self._entries) < BLOCKS_MAX:
            return
        name, entry = next(iter(self._entries.items()))
        del self._entries[name]
        self.blocks.drop(name)
        self._flipped.pop(name, None)
        if entry.parent is not None:
            entry.parent.children.remove(entry)
            self._count(entry.parent, -entry.count)
        else:
            self._waits_no_more(entry)
        for child in entry.children:
            child.parent = None
            self._waiting.setdefault(name, set()).add(child.row.id)

    def _adopt(self, entry: _Entry) -> None:
        """A new block: its children may be here already, and nodes that stand on it."""
        entry.count = sum(self._tips.get(name) == entry.row.id for name in self._runs)
        for name in sorted(self._waiting.get(entry.row.id, ())):
            child = self._entries[name]
            if child.row.height == entry.row.height + 1:
                self._waits_no_more(child)
                _link(entry, child)
                entry.count += child.count
        self._judge(entry)

    def _join(self, entry: _Entry) -> None:
        """Its parent, where that is here."""
        name = entry.row.parent
        if entry.parent is not None or not name:
            return
        parent = self._entries.get(name)
        if parent is not None and parent.row.height == entry.row.height - 1:
            self._waits_no_more(entry)
            _link(parent, entry)
            self._count(parent, entry.count)
        else:
            self._waiting.setdefault(name, set()).add(entry.row.id)

    def _waits_no_more(self, entry: _Entry) -> None:
        waiting = self._waiting.get(entry.row.parent)
        if waiting is not None:
            waiting.discard(entry.row.id)
            if not waiting:
                del self._waiting[entry.row.parent]

    def _has(self, now: Observation, entry: _Entry) -> None:
        """A node has this block: how far has it spread?"""
        if now.node in entry.holders:
            return
        row = entry.row
        entry.holders.add(now.node)
        row.seen = len(entry.holders)
        everybody = self._board.nodes.rows.values()
        nodes = sum(each.role != "client" and each.state != "dead" for each in everybody)
        seconds = max(0.0, now.at - row.at)
        if row.t50 is None and 2 * row.seen >= nodes:
            row.t50 = seconds
        if row.t90 is None and 10 * row.seen >= 9 * nodes:
            row.t90 = seconds

    # Tips, and what they make best.

    def _move(self, now: Observation, tip: str, height: int) -> None:
        """A node stands here now."""
        name = now.node
        row = self._board.node(name)
        row.tip, row.height = tip, height
        self._board.touch(row)
        if row.state == "dead" or name not in self._board.nodes.rows:
            return
        before = self._entries.get(self._tips.get(name, ""))
        voters = len(self._runs)
        self._runs.add(name)
        self._tips[name] = tip
        self._shift(before, self._entries.get(tip))
        if len(self._runs) != voters:
            self._judge_all()
        self._settle()

    def _shift(self, before: _Entry | None, after: _Entry | None) -> None:
        """A node's tip has moved: counts change from either end down to the fork."""
        while before is not after:
            if after is None or (before is not None and before.row.height >= after.row.height):
                assert before is not None
                before.count -= 1
                self._judge(before)
                before = before.parent
            else:
                after.count += 1
                self._judge(after)
                after = after.parent

    def _count(self, entry: _Entry | None, count: int) -> None:
        """So many nodes more stand above this block."""
        while entry is not None and count:
            entry.count += count
            self._judge(entry)
            entry = entry.parent

    def _judge(self, entry: _Entry) -> None:
        """Is it on the best chain?"""
        best = 2 * entry.count > len(self._runs)
        row = entry.row
        if best == row.best:
            return
        row.best = best
        if row.id in self._entries:
            self.blocks.touch(row.id)
        self._count_stale(-1 if best else 1)
        if row.height == 0:
            return  # Nobody competed for the first block.
        change = 1 if best else -1
        self._best_count += change
        miner = self._board.nodes.get(row.miner)
        if miner is not None:
            miner.kept += change
        self._flipped[row.id] = None

    def _count_stale(self, change: int) -> None:
        self._total.stale += change
        self.totals.touch(TOTALS)

    def _judge_all(self) -> None:
        for entry in self._entries.values():
            self._judge(entry)

    def _settle(self) -> None:
        """Shares, where blocks came to the best chain or left it."""
        if not self._flipped:
            return
        self._flipped.clear()
        rows = [row for row in self._board.nodes.rows.values() if row.role != "client"]
        rates = [row.rate for row in rows if row.state != "dead"]
        total = sum(rate for rate in rates if rate is not None)
        for row in rows:
            self._share(row, total if None not in rates else 0.0)

    def _share(self, row: Node, rate_total: float) -> None:
        blocks, kept = self._best_count, row.kept
        if blocks > 0 and 0 <= kept <= blocks:
            low, high = wilson(kept, blocks)
            row.share, row.share_low, row.share_high = kept / blocks, low, high
        if rate_total and row.rate is not None and row.state != "dead":
            row.share_expected = row.rate / rate_total
        self._board.touch(row)

    def state_changed(self, name: str, state: NodeState, at: float) -> None:
        """Who is dead stands nowhere."""
        if state == "dead" and name in self._runs:
            self._runs.discard(name)
            self._shift(self._entries.get(self._tips.pop(name)), None)
            self._judge_all()
            self._settle()

    def __setstate__(self, state: dict[str, object]) -> None:
        """Entries find their neighbours again."""
        self.__dict__.update(state)
        for entry in self._entries.values():
            parent = self._entries.get(entry.row.parent)
            if parent is not None and parent.row.height == entry.row.height - 1:
                _link(parent, entry)

    def _check(self) -> None:
        assert self._entries.keys() == self.blocks.rows.keys()
        assert self._runs == self._tips.keys()
        assert len(self._waiting) <= BLOCKS_MAX
        above = dict.fromkeys(self._entries, 0)
        for tip in self._tips.values():
            entry = self._entries.get(tip)
            while entry is not None:
                above[entry.row.id] += 1
                entry = entry.parent
        for name, entry in self._entries.items():
            assert entry.count == above[name], f"{name}: {entry.count} is {above[name]}"
            assert entry.row.best == (2 * entry.count > len(self._runs))
            parent = entry.parent
            assert parent is None or self._entries[parent.row.id] is parent
            assert parent is None or entry in parent.children
            waits = name in self._waiting.get(entry.row.parent, ())
            assert waits == bool(parent is None and entry.row.parent)


def _link(parent: _Entry, child: _Entry) -> None:
    child.parent = parent
    parent.children.append(child)
