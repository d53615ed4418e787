"""The chain and the transactions that wait: what peers agree on, and nothing of how they talk.

**One place for a transaction.** On any branch a transaction is in one block at most; an index says
which blocks of the tree may have it, and a block that repeats one of its own branch is not valid.
What waits in the pool is never in the best chain: what a block brings leaves the pool, and what a
reorganisation takes out of the chain goes back to the front of it.

**One tip.** The branch with most work is the best chain; of two with as much, the one whose last
block has the smaller id. Which was seen first plays no part. So peers that know the same blocks
have the same tip, and need no next block to agree: where five transactions make a block, that one
may be long in coming.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

import msgspec

from nonsuch.chain.index import CandidateIndex, Candidates
from nonsuch.chain.mempool import Mempool, TransactionRefused
from nonsuch.chain.orphans import OrphanLimits
from nonsuch.chain.tree import (
    BlockTree,
    Change,
    Entry,
    Extended,
    Reorged,
    SideBranch,
    branch,
)
from nonsuch.chain.validation import (
    AHEAD_SECONDS_MAX,
    MEDIAN_BLOCKS,
    DoubleTransaction,
    InvalidBlock,
    check_genesis,
    check_timestamp,
)
from nonsuch.errors import LocalError
from nonsuch.networks.peer.block import (
    BLOCK_TRANSACTIONS,
    MICROSECONDS,
    ROOT,
    Block,
    Header,
    KeptBlock,
    Template,
    Transaction,
    genesis_block,
    read_body,
    read_header,
)
from nonsuch.networks.peer.messages import KNOWN_MAX, SHORT_KEY_BYTES
from nonsuch.networks.peer.records import BlockKept, keys_kept
from nonsuch.networks.peer.rules import check_header, check_keys, check_transaction
from nonsuch.networks.peer.settings import PeerSettings

__all__ = ["WAITING_BYTES_MAX", "Ledger", "TransactionConfirmed", "TransactionTooNew"]

WAITING_BYTES_MAX = 2**22
"""Transactions that wait, in bytes: five thousand of the longest take two of the four megabytes."""


class TransactionConfirmed(TransactionRefused):
    """It is in the best chain already."""


class TransactionTooNew(TransactionRefused):
    """It comes from the future, or our clock is wrong."""


class Ledger:
    """A tree of blocks, and the transactions that wait. `unix` is always Unix time in seconds."""

    def __init__(self, settings: PeerSettings) -> None:
        self.genesis = genesis_block(settings.network, settings.target)
        self.bits = self.genesis.header.bits
        self._work = self.genesis.work
        # A follower is checked against what the index knows, so none may wait in the tree; what is
        # missing is asked for in order.
        none = OrphanLimits(count=0, bytes=0, per_source=0)
        self.tree: BlockTree[Block] = BlockTree(
            ROOT, self._validate, orphans=none, forget=self._forget
        )
        self.waiting: Mempool[bytes, Transaction] = Mempool(settings.waiting_max, WAITING_BYTES_MAX)
        self.reorgs = 0
        self._confirmed: list[bytes] = []
        # By their order, None where the tree has forgotten one: what the index's numbers mean.
        self._entries: list[Entry[Block] | None] = []
        self._index = CandidateIndex()
        self._unix = 0.0
        self._digest: bytes | None = None
        self._is_checked = False
        self._keys: list[bytes] | None = None
        self.tree.connect(self.genesis)
        self._enter(self.tip)

    @property
    def tip(self) -> Entry[Block]:
        """The last block of the best chain; there is always one."""
        tip = self.tree.tip
        assert tip is not None, "a ledger begins with its genesis"
        return tip

    def is_better(self, work: int, tip: bytes) -> bool:
        """Whether a chain of so much work that ends in this block would take ours' place."""
        ours = self.tip
        return work > ours.chainwork or (work == ours.chainwork and tip < ours.block.id)

    def is_confirmed(self, key: bytes) -> bool:
        """Whether the transaction with this key is in the best chain."""
        return any(map(self.tree.on_best, self._holders(self._index.candidates((key,)))))

    # Blocks.

    def connect(
        self, block: Block, source: int, unix: float, *, wanted: bool = True
    ) -> list[Change[Block]]:
        """Take a block that was checked by itself; see `rules`, and `BlockTree.connect`."""
        self._unix = unix
        prefer = block.id < self.tip.block.id
        changes = self.tree.connect(block, source=source, now=unix, prefer=prefer, wanted=wanted)
        for change in changes:
            self._follow(change)
        return changes

    def restore_blocks(self, kept: Iterable[BlockKept]) -> None:
        """Blocks from our own disk join the tree; `records` says what of them is checked again.

        Nothing waits yet. Raises `LocalError`, and the ledger is of no use then.
        """
        tree, entries, bits = self.tree, self._entries, self.bits
        tip, number = self.tip, 0
        left: list[tuple[Block, ...]] = []
        try:
            for record in kept:
                number += 1
                header = read_header(record.data)
                check_header(header, bits)
                if header.parent == tip.block.id:
                    tip = tree.append(self._restored(record, header, tip))
                    entries.append(tip)
                elif header.id not in tree:
                    change = self._restore_beside(record, header)
                    if isinstance(change, Reorged):
                        left.append(change.disconnected)
                    tip = self.tip
        except (InvalidBlock, LocalError, msgspec.DecodeError) as error:
            raise LocalError(f"block {number} of the journal is not valid here: {error}") from None
        self.reorgs += len(left)
        self._wait_again(left)

    def _restored(self, record: BlockKept, header: Header, parent: Entry[Block]) -> Block:
        """A block as it was, that the index knows from now on."""
        order = len(self._entries)
        if record.keys:
            self._index.add(keys_kept(record.keys), order)
            return KeptBlock(record.data, header.id, self._work)
        _, keys = read_body(record.data)
        check_keys(keys, header.root)
        self._check_new(self._index.candidates(keys), parent)
        self._index.add(keys, order)
        return Block(record.data, header.id, self._work)

    def _restore_beside(self, record: BlockKept, header: Header) -> Change[Block]:
        """A block that does not follow the tip joins the tree."""
        tree = self.tree
        parent = tree.entry(header.parent)
        if parent is None:
            raise LocalError("a block without the one before it")
        block = self._restored(record, header, parent)
        change = tree.restore(block, parent, prefer=header.id < self.tip.block.id)
        self._entries.append(tree.entry(header.id))
        return change

    def _wait_again(self, left: list[tuple[Block, ...]]) -> None:
        """What was in the chain before one of these reorganisations, and is not there now."""
        # As where one comes after the other: what left last is first.
        blocks = dict.fromkeys(block for each in reversed(left) for block in reversed(each))
        self.waiting.restore(each for each in _said_in(blocks) if not self.is_confirmed(each[0]))
        self._changed()

    def _follow(self, change: Change[Block]) -> None:
        """Keep the index and the pool in step with the tree."""
        if isinstance(change, Extended | Reorged | SideBranch):
            entry = self.tree.entry(change.block.id)
            assert entry is not None, "it has joined the tree"
            self._enter(entry)
            if isinstance(change, Extended):
                self._confirm(change.block.keys)
            elif isinstance(change, Reorged):
                self.reorgs += 1
                self._reorganize(change)
            self._changed()

    def _enter(self, entry: Entry[Block]) -> None:
        """An entry is found by its transactions, from now on."""
        assert entry.order == len(self._entries), "entries come in their order"
        self._entries.append(entry)
        self._index.add(entry.block.keys, entry.order)

    def _forget(self, entry: Entry[Block]) -> None:
        """The tree has no room for it any more."""
        self._entries[entry.order] = None
        self._index.remove(entry.block.keys, entry.order)

    def _holders(self, candidates: Candidates) -> Iterator[Entry[Block]]:
        """Those of the blocks that may have a transaction, each named with its key, that do."""
        for key, order in candidates:
            entry = self._entries[order]
            assert entry is not None, "what is forgotten is in no index"
            if key in entry.block.keys:
                yield entry

    def _reorganize(self, change: Reorged[Block]) -> None:
        """What left the chain waits again, unless it has joined it too."""
        joined = dict.fromkeys(key for block in change.connected for key in block.keys)
        left = [each for each in _said_in(reversed(change.disconnected)) if each[0] not in joined]
        self._confirm(joined)
        self.waiting.restore(left)

    def _confirm(self, keys: Collection[bytes]) -> None:
        if not self.waiting:
            return
        self._confirmed += [key for key in keys if key in self.waiting]
        self.waiting.confirm(keys)

    def take_confirmed(self) -> list[bytes]:
        """The keys of what waited, and is in the best chain now; each is told once."""
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def _validate(self, block: Block, parent: Entry[Block] | None) -> None:
        """The rules that need a branch."""
        if parent is None:
            check_genesis(block.id, self.genesis.id)
            return
        check_timestamp(block.timestamp, _times(parent), self._unix)
        self._check_new(self._index.candidates(block.keys), parent)

    def _check_new(self, candidates: Candidates, parent: Entry[Block]) -> None:
        """Raise `DoubleTransaction` where one of these is on the branch that ends in `parent`."""
        for holder in self._holders(candidates):
            if self.tree.includes(parent, holder):
                height = holder.height
                raise DoubleTransaction(f"a transaction of block {height} is there again")

    # Transactions.

    def submit(self, transaction: Transaction, unix: float) -> bytes:
        """Have a transaction wait for a block; its key.

        Raises `WrongTransaction`, `TransactionTooNew`, `TransactionConfirmed`, `TransactionKnown`
        or `MempoolFull`.
        """
        check_transaction(transaction)
        if transaction.timestamp > (unix + AHEAD_SECONDS_MAX) * MICROSECONDS:
            raise TransactionTooNew("the transaction comes from the future")
        key = transaction.key
        if self.is_confirmed(key):
            raise TransactionConfirmed("the transaction is in the chain already")
        self.waiting.add(key, transaction, transaction.size)
        self._changed()
        return key

    def restore(self, transactions: Iterable[Transaction]) -> list[bytes]:
        """Those that were accepted in an earlier life wait again, in this order, however many.

        Returns the keys of those that are in the best chain already.
        """
        keyed = [(each.key, each, each.size) for each in transactions]
        confirmed = [key for key, _, _ in keyed if self.is_confirmed(key)]
        gone = set(confirmed)
        self.waiting.restore(each for each in keyed if each[0] not in gone)
        self._changed()
        return confirmed

    @property
    def digest(self) -> bytes:
        """Of all that waits, whatever the order: equal pools have equal ones."""
        if self._digest is None:
            self._digest = hashlib.sha256(b"".join(sorted(self._waiting_keys()))).digest()
        return self._digest

    @property
    def known(self) -> bytes:
        """The beginnings of the keys of all that waits, joined: what `AskTransactions` says."""
        return b"".join(key[:SHORT_KEY_BYTES] for key in self._waiting_keys()[:KNOWN_MAX])

    def unknown_to(self, known: bytes, limit: int) -> tuple[Transaction, ...]:
        """At most `limit` of what waits here and whose short key is none of these."""
        size = SHORT_KEY_BYTES
        short = {known[at : at + size] for at in range(0, len(known), size)}
        pairs = zip(self._waiting_keys(), self.waiting, strict=True)
        missing = (transaction for key, transaction in pairs if key[:size] not in short)
        return tuple(islice(missing, limit))

    def _waiting_keys(self) -> list[bytes]:
        """The keys of all that waits, in its order."""
        if self._keys is None:
            self._keys = [transaction.key for transaction in self.waiting]
        return self._keys

    def _changed(self) -> None:
        self._digest = self._keys = None
        self._is_checked = False

    # The next block.

    def template(self, unix: float) -> Template | None:
        """The block to be found on the tip; None where fewer than five transactions wait.

        None also where blocks came so fast that it would have to come from the future: a timestamp
        must be past the median of those before.
        """
        transactions = self.waiting.first(BLOCK_TRANSACTIONS)
        timestamp = max(int(unix), self._median() + 1)
        if len(transactions) < BLOCK_TRANSACTIONS or timestamp > unix + AHEAD_SECONDS_MAX / 2:
            return None
        return Template(self.tip.block.id, transactions, timestamp, self.bits)

    @property
    def could_mine(self) -> bool:
        """Whether enough transactions wait for a block."""
        return len(self.waiting) >= BLOCK_TRANSACTIONS

    def is_next(self, template: Template) -> bool:
        """Whether a template is still the block to be found: on the tip, of those who are first."""
        first = self.waiting.first(BLOCK_TRANSACTIONS)
        return template.parent == self.tip.block.id and template.transactions == tuple(first)

    def _median(self) -> int:
        times = sorted(_times(self.tip))
        return times[len(times) // 2]

    def check(self) -> None:
        """Assert every invariant, unless nothing has changed since it was done."""
        if self._is_checked:
            return
        self._is_checked = True
        tree = self.tree
        tree.check()
        tip = self.tip
        assert not any(self.is_better(entry.chainwork, entry.block.id) for entry in tree), (
            "a better tip"
        )
        confirmed = [key for entry in branch(tip) for key in entry.block.keys]
        assert len(confirmed) == len(set(confirmed)), "a transaction is in the chain twice"
        assert not any(key in self.waiting for key in confirmed), "what waits is in the chain"
        self._check_index()

    def _check_index(self) -> None:
        tree = self.tree
        here = [entry for entry in self._entries if entry is not None]
        assert here == list(tree), "the entries are those of the tree"
        assert all(self._entries[entry.order] is entry for entry in tree)
        assert len(self._index) == sum(len(entry.block.keys) for entry in tree)
        for entry in tree:
            keys = entry.block.keys
            assert {(key, entry.order) for key in keys} <= set(self._index.candidates(keys))


def _said_in(blocks: Iterable[Block]) -> Iterator[tuple[bytes, Transaction, int]]:
    """The transactions of some blocks, as a `Mempool` takes them."""
    for block in blocks:
        for transaction, key in zip(*block.body, strict=True):
            yield key, transaction, transaction.size


def _times(entry: Entry[Block]) -> Iterator[int]:
    """The timestamps whose median the next block must be past."""
    return (each.block.timestamp for each in branch(entry, MEDIAN_BLOCKS))
