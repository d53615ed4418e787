"""A chain by the original rule: a list of blocks, replaced by any longer one that is valid.

Whole chains are what the dialects send, so there is no tree: a chain that comes is compared with
ours block by block, and what is behind the last common block is checked. Of two chains as long as
each other the one whose last hash is smaller is kept, so that peers of ours agree; programs that do
not know this keep their own until one is longer.

All that can be checked is, and it is little. The proofs go round in a circle whatever the blocks
say, so a longer chain costs nothing but the telling (`original.py`). A block does not say when its
transactions were made, so the same words of the same sender are the same transaction here.
"""

from __future__ import annotations

from collections.abc import Sequence

from nonsuch.chain.validation import DoubleTransaction, InvalidBlock, WrongGenesis
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS
from nonsuch.networks.peer.dialects.messages import (
    ANSWER_BYTES_MAX,
    BLOCKS_MAX,
    Block,
    Entry,
    Transaction,
    parse_request,
)
from nonsuch.networks.peer.dialects.records import chain_text
from nonsuch.networks.peer.original import current_hash, follows, genesis

__all__ = ["OriginalChain", "WrongLink", "is_transaction"]

WAITING_BYTES_MAX = 2**19
"""What an answer needs beside the chain: a pool of a thousand."""

CHAIN_BYTES_MAX = ANSWER_BYTES_MAX - WAITING_BYTES_MAX
"""A longer chain could not be told in one answer, and is not made."""

BLOCK_BYTES_MAX = 5000
"""The longest block of ours: 70 characters that Python prints in ten bytes each, five times."""


class WrongLink(InvalidBlock):
    """A block that cannot come after the one before."""

    rule = "link"


def is_transaction(text: str) -> bool:
    """Whether a text is a transaction as a block has it."""
    try:
        return isinstance(parse_request(text), Transaction)
    except RemoteProtocolError:
        return False


class OriginalChain:
    """The blocks, and in which of them each transaction is."""

    def __init__(self, dialect: str, timestamp: str) -> None:
        self.blocks = [genesis(dialect, timestamp)]
        self.confirmed: dict[str, int] = {}
        self._bytes = _size(self.blocks[0])

    @property
    def tip(self) -> Block:
        """The last block."""
        return self.blocks[-1]

    @property
    def height(self) -> int:
        """Blocks behind the genesis."""
        return len(self.blocks) - 1

    @property
    def has_room(self) -> bool:
        """Whether a chain with one more block can still be told to others."""
        fits = self._bytes + BLOCK_BYTES_MAX <= CHAIN_BYTES_MAX
        return fits and len(self.blocks) < BLOCKS_MAX

    def next_block(self, entries: Sequence[Entry], proof: int, timestamp: str) -> Block:
        """The block that these entries of a pool make."""
        tip = self.tip
        texts = tuple(text for text, _ in entries)
        digest = current_hash(tip.current_hash, entries, proof)
        return Block(tip.index + 1, timestamp, texts, proof, tip.current_hash, digest)

    def append(self, block: Block) -> None:
        """One more. Raises `InvalidBlock`."""
        _check(self.tip, block)
        for text in block.transactions:
            if text in self.confirmed:
                raise DoubleTransaction("a transaction is there twice")
        self._place(block)

    def is_better(self, blocks: Sequence[Block]) -> bool:
        """Whether a chain, if it is valid, takes the place of ours."""
        if len(blocks) != len(self.blocks):
            return len(blocks) > len(self.blocks)
        return blocks[-1].current_hash < self.tip.current_hash

    def adopt(self, blocks: Sequence[Block]) -> tuple[list[Block], list[Block]]:
        """Take a better chain; what left ours, and what joined it.

        Raises `InvalidBlock`, and then nothing has changed.
        """
        fork = self._fork(blocks)
        self._check_all(blocks, fork)
        left, joined = self.blocks[fork:], list(blocks[fork:])
        for block in left:
            self._bytes -= _size(block)
            for text in block.transactions:
                del self.confirmed[text]
        del self.blocks[fork:]
        for block in joined:
            self._place(block)
        return left, joined

    def _fork(self, blocks: Sequence[Block]) -> int:
        """How many blocks both have. Geneses may differ in when they were made."""
        ours, theirs = self.blocks[0], blocks[0]
        if (ours.index, ours.transactions, ours.proof, ours.previous_hash, ours.current_hash) != (
            theirs.index,
            theirs.transactions,
            theirs.proof,
            theirs.previous_hash,
            theirs.current_hash,
        ):
            raise WrongGenesis("another chain: its first block is not ours")
        pairs = zip(self.blocks[1:], blocks[1:], strict=False)
        return 1 + next(
            (at for at, (one, other) in enumerate(pairs) if one != other),
            min(len(self.blocks), len(blocks)) - 1,
        )

    def _check_all(self, blocks: Sequence[Block], fork: int) -> None:
        seen: dict[str, None] = {}
        for parent, block in zip(blocks[fork - 1 :], blocks[fork:], strict=False):
            _check(parent, block)
            for text in block.transactions:
                if text in seen or self.confirmed.get(text, fork) < fork:
                    raise DoubleTransaction("a transaction is there twice")
                seen[text] = None

    def _place(self, block: Block) -> None:
        for text in block.transactions:
            self.confirmed[text] = len(self.blocks)
        self.blocks.append(block)
        self._bytes += _size(block)

    def check(self) -> None:
        """Assert every invariant."""
        for parent, block in zip(self.blocks, self.blocks[1:], strict=False):
            assert (block.index, block.previous_hash) == (parent.index + 1, parent.current_hash)
        texts = [text for block in self.blocks for text in block.transactions]
        assert len(texts) == len(set(texts)) == len(self.confirmed)
        assert self._bytes == sum(map(_size, self.blocks))


def _check(parent: Block, block: Block) -> None:
    """The rules for one block behind another, but for what the chain before them says."""
    if not follows(parent, block):
        raise WrongLink(f"block {block.index} does not follow block {parent.index}")
    if len(block.transactions) != BLOCK_TRANSACTIONS:
        raise WrongLink(f"a block has {BLOCK_TRANSACTIONS} transactions")
    if not all(map(is_transaction, block.transactions)):
        raise WrongLink("what is no transaction is in a block")


def _size(block: Block) -> int:
    """Bytes that it takes in an answer."""
    return len(chain_text((block,)).encode())
