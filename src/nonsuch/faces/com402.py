"""COM-402, homework 9: `Block`, `BlockChain` and `Miner` as the handout names them.

    genesis = Block(b"genesis").mine()
    chain = BlockChain(genesis)
    chain.append(Block(b"one coffee", genesis.hash()).mine())

    Miner("0.0.0.0", 5000, ["bob", "carol:5001"], genesis=True).run()

Behind the names stand the block tree, the wire and the miner of `nonsuch gossip`, so the weaknesses
that the homework's programs are known for are not here: see `nonsuch.networks.gossip`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nonsuch.chain.orphans import OrphanLimits
from nonsuch.chain.tree import BlockTree, Entry, Invalid, Orphaned, branch
from nonsuch.chain.validation import InvalidBlock, check_genesis, check_work
from nonsuch.cli.access import parse_address
from nonsuch.cli.gossip import GOSSIP_PORT
from nonsuch.errors import LocalError
from nonsuch.live.driver import Node
from nonsuch.live.run import run
from nonsuch.live.udp import Datagrams
from nonsuch.networks.gossip import messages
from nonsuch.networks.gossip.messages import NONCE_SIZE, ROOT, Announcement
from nonsuch.networks.gossip.miner import Miner as Core
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.node import LOCAL, Received
from nonsuch.search.searcher import search
from nonsuch.work.goals import First
from nonsuch.work.presets import GOSSIP_TARGET, gossip
from nonsuch.work.target import Target

__all__ = ["TARGET", "Block", "BlockChain", "Miner"]

TARGET = GOSSIP_TARGET.value
"""The hash of a block, read as a number, is not above this."""


BLOCKS_MAX = 100_000
ORPHANS = OrphanLimits(BLOCKS_MAX, 2**30, BLOCKS_MAX, math.inf)
SIBLINGS_MAX = BLOCKS_MAX
"""A chain is what its owner appends: nobody else's flood."""


@dataclass(frozen=True, slots=True)
class Block:
    """Data, the hash of the block before (zeros for a genesis), and the proof of work.

    `p_o_w` is empty before the homework's step that introduces it, and eight bytes after. Raises
    `LocalError` for other sizes.
    """

    data: bytes
    previous_hash: bytes = ROOT
    p_o_w: bytes = b""

    def __post_init__(self) -> None:
        if len(self.previous_hash) != len(ROOT):
            raise LocalError(f"a hash has {len(ROOT)} bytes, not {len(self.previous_hash)}")
        if len(self.p_o_w) not in (0, NONCE_SIZE):
            raise LocalError(f"a p_o_w has {NONCE_SIZE} bytes, not {len(self.p_o_w)}")
        if len(self.data) > messages.DATA_BYTES_MAX:
            raise LocalError(f"data has up to {messages.DATA_BYTES_MAX} bytes")

    def hash(self) -> bytes:
        """SHA-256 of data, previous hash and p_o_w: 32 bytes."""
        return hashlib.sha256(self.data + self.previous_hash + self.p_o_w).digest()

    def mine(self, target: int = TARGET) -> Block:
        """This block with the first p_o_w, counted from 0, that gives it a hash of the target."""
        puzzle = gossip(self.data, self.previous_hash)
        proof = search(puzzle, range(2 ** (8 * NONCE_SIZE)), First(Target(target))).proof
        assert proof is not None, "two to the 64th nonces were searched in vain"
        return replace(self, p_o_w=proof.nonce.to_bytes(NONCE_SIZE, "big"))

    def encode(self) -> bytes:
        """The datagram. Raises `LocalError` where there is no proof of work to send."""
        if not self.p_o_w:
            raise LocalError("a block without p_o_w cannot be sent: mine() it")
        return GossipWire().encode(self._announcement)

    @staticmethod
    def decode(datagram: bytes) -> Block:
        """The block of a datagram. Raises `RemoteProtocolError` for what is none."""
        (announcement,) = GossipWire().feed(datagram)
        assert isinstance(announcement, Announcement)
        return Block(announcement.data, announcement.previous, announcement.p_o_w)

    @property
    def _announcement(self) -> Announcement:
        return Announcement(self.data, self.previous_hash, self.p_o_w)


@dataclass(frozen=True, slots=True)
class _Linked:
    """A block as the tree wants it."""

    block: Block
    id: bytes
    parent: bytes
    work: int

    @property
    def size(self) -> int:
        return len(self.block.data) + len(ROOT) + NONCE_SIZE


class BlockChain:
    """A tree of blocks on one genesis block; the longest branch is the chain, the first of equals.

    Where the genesis block has a proof of work, every block must have one for `target`.
    """

    def __init__(self, genesis_block: Block, target: int = TARGET) -> None:
        self.root = genesis_block
        self._target = Target(target) if genesis_block.p_o_w else None
        self._tree: BlockTree[_Linked] = BlockTree(
            ROOT, self._validate, orphans=ORPHANS, siblings_max=SIBLINGS_MAX
        )
        if self.append(genesis_block) is None:
            raise LocalError("a genesis block has no parent, and shows its work")

    def append(self, block: Block) -> Block | None:
        """Keep a block; None where its path does not lead to the root, or it has no work.

        A block that comes before its parent is kept as soon as that one is.
        """
        target = self._target
        linked = _Linked(
            block, block.hash(), block.previous_hash, 1 if target is None else target.work
        )
        try:
            if target is not None:
                check_work(int.from_bytes(linked.id, "big"), target)
        except InvalidBlock:
            return None
        first, *_ = self._tree.connect(linked)
        waits = linked.id not in self._tree
        return None if waits or isinstance(first, Orphaned | Invalid) else block

    def _validate(self, block: _Linked, parent: Entry[_Linked] | None) -> None:
        if parent is None:
            check_genesis(block.id, self.root.hash())

    @property
    def tip(self) -> Block:
        """The last block of the longest branch: what to mine on."""
        assert self._tree.tip is not None
        return self._tree.tip.block.block

    def __len__(self) -> int:
        """Blocks of the longest branch."""
        return self._tree.height + 1

    def blocks(self) -> list[Block]:
        """The longest branch, genesis first."""
        return [entry.block.block for entry in branch(self._tree.tip)][::-1]


class Miner:
    """A miner at host and port; `miners` are the others, as "host" or "host:port".

    With `genesis` it makes the first block, else it waits for it.
    """

    def __init__(
        self,
        host: str,
        port: int = GOSSIP_PORT,
        miners: Sequence[str] = (),
        genesis: bool = False,
        *,
        target: int = TARGET,
        mines: bool = True,
    ) -> None:
        self._peers = tuple(parse_address(each, "a miner", GOSSIP_PORT) for each in miners)
        settings = GossipSettings(
            name=f"{host}:{port}", target=Target(target), genesis=genesis, mines=mines
        )
        self._core = Core(settings)
        self._datagrams = Datagrams(host, port, self._peers, GossipWire)
        self._node: Node | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def chain(self) -> list[Block]:
        """The chain as this miner knows it now, genesis first."""
        return [
            Block(entry.block.data, entry.block.parent, entry.block.p_o_w)
            for entry in branch(self._core.tree.tip)
        ][::-1]

    def broadcast(self, block: Block) -> None:
        """Send a block to all miners; while this one runs, it also goes into its own tree.

        May be called from any thread.
        """
        datagram = block.encode()
        if self._loop is not None and self._node is not None:
            event = Received(LOCAL, GossipWire().feed(datagram)[0])
            self._loop.call_soon_threadsafe(self._node.deliver, (event,))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for peer in self._peers:
                sender.sendto(datagram, peer)

    def run(self) -> None:
        """Mine and gossip, until a signal or `stop`."""

        def make() -> Node:
            self._loop = asyncio.get_running_loop()
            self._node = Node(self._core, datagrams=self._datagrams)
            return self._node

        try:
            run(make)
        finally:
            self._loop = self._node = None

    def stop(self) -> None:
        """End `run`, from any thread."""
        if self._loop is not None and self._node is not None:
            self._loop.call_soon_threadsafe(self._node.stop)
