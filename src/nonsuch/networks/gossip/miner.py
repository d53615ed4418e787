"""A gossip miner: it mines on the best tip, keeps a tree of blocks, and believes nobody.

What comes is filtered in the order of what it costs to look: the wire has seen to size, form and
lengths; here follow the work and the parent. A block that shows its work joins the tree, waits in
the orphan pool for its parent, or is forgotten. The tree is rooted in an id that no block has, the
thirty-two zeros that a genesis block names as its parent. So a genesis is a block like others: one
without work is none, one with a parent cannot be one, and of several the branch with most work is
the chain. A genesis that was pinned is the only one there is.

The best tip changes: the search on the old one is stopped at once. Of equal branches the one seen
first is kept, but a miner's own block wins a tie. Its payloads are a queue; those that a
reorganisation throws out of the chain go back into it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, TypeAlias

from nonsuch.chain.mempool import Mempool, TransactionRefused
from nonsuch.chain.tree import (
    BlockTree,
    Change,
    Duplicate,
    Entry,
    Extended,
    Invalid,
    Orphaned,
    Reorged,
    SideBranch,
)
from nonsuch.chain.validation import InvalidBlock, check_genesis, check_work
from nonsuch.errors import LocalError
from nonsuch.networks.gossip import facts
from nonsuch.networks.gossip.messages import (
    DATA_BYTES_MAX,
    NONCE_SIZE,
    ROOT,
    Announcement,
    Block,
    Payload,
)
from nonsuch.networks.gossip.relay import Peer, Relay
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.statistics import GossipStatistics
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
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.goals import First
from nonsuch.work.presets import gossip

__all__ = ["Miner"]

PEERS_MAX = 1024
"""Configured peers."""

PAYLOADS_MAX = 10_000
PAYLOAD_BYTES_MAX = 2**24
"""Payloads that wait to be mined."""

OWN_BLOCKS_MAX = 10_000
"""Own blocks whose payloads come back when they leave the chain."""

TOLD_SECONDS = 10.0
"""How often people are told about one misbehaving peer."""

CHECKED_BLOCKS, CHECKED_EVERY = 32, 64

ADDRESS_OF_STRANGERS = "strangers"

CHAIN_SUBJECT = "chain"

_Growth: TypeAlias = Extended[Block] | Reorged[Block] | SideBranch[Block]


class Miner:
    """The core of a gossip miner. Peers are numbered by the driver, see `nonsuch.live.udp`."""

    def __init__(self, settings: GossipSettings) -> None:
        self._settings = settings
        self._work = settings.target.work
        self.tree: BlockTree[Block] = BlockTree(ROOT, self._validate)
        self._relay = Relay(self.tree, settings.echo_seconds)
        self._strangers = Peer(STRANGER, ADDRESS_OF_STRANGERS)
        self._payloads: Mempool[int, _Waiting] = Mempool(PAYLOADS_MAX, PAYLOAD_BYTES_MAX)
        self._payload_number = 0
        self._own: OrderedDict[bytes, _Waiting | None] = OrderedDict()
        self._counted = 0
        self._task = 0
        self._template: _Template | None = None
        self._mine_at: float | None = None
        self._mined = 0
        self._reorgs = 0
        self._received = 0
        self._invalid = 0

    # Events.

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received(peer=peer, message=Announcement() as announcement):
                return self._on_announcement(announcement, self._peer(peer), now)
            case Received(peer=peer, message=Payload(data=data)) if peer == LOCAL:
                return self._on_payload(data, now)
            case Searched(task=task, nonces=nonces):
                return self._on_searched(task, nonces, now)
            case Tick():
                return self._on_tick(now)
            case Erred(peer=peer, reason=reason):
                return self._charge(self._peer(peer), reason, now)
            case Connected(peer=peer, address=address):
                return self._on_connected(peer, address, now)
            case Started(records=records):
                return self._on_started(records, now)
            case Stopping():
                return self._stop_search()
            case _:
                return []

    def deadline(self) -> float | None:
        """When to echo, to go on asking, or to mine again."""
        times = (self._relay.deadline(), self._mine_at)
        return min((at for at in times if at is not None), default=None)

    def _peer(self, number: int) -> Peer:
        return self._relay.peers.get(number, self._strangers)

    def _on_started(self, records: tuple[object, ...], now: float) -> list[Effect]:
        """Build the tree again, with every check that strangers' blocks get."""
        for number, record in enumerate(records):
            assert isinstance(record, Announcement)
            block = Block.of(record, self._work)
            try:
                check_work(block.rank, self._settings.target)
                for change in self.tree.connect(block):
                    if isinstance(change, Invalid):
                        raise change.error
            except InvalidBlock as error:
                reason = f"block {number} of the store is not one of this network: {error}"
                raise LocalError(reason) from None
        effects: list[Effect] = []
        tip = self.tree.tip
        if tip is not None:
            effects += [Emit(facts.Restored(len(self.tree), tip.height, tip.block.id.hex()))]
        return effects + self._mine(now)

    def _on_connected(self, number: int, address: str, now: float) -> list[Effect]:
        if len(self._relay.peers) >= PEERS_MAX:
            raise LocalError(f"more than {PEERS_MAX} peers")
        self._relay.join(Peer(number, address), now)
        return []

    def _on_tick(self, now: float) -> list[Effect]:
        self.tree.orphans.expire(now)
        effects = self._relay.tick(now)
        if self._mine_at is not None and now >= self._mine_at:
            self._mine_at = None
            effects += self._mine(now)
        return effects

    # Blocks that come.

    def _on_announcement(self, announcement: Announcement, peer: Peer, now: float) -> list[Effect]:
        self._received += 1
        block = Block.of(announcement, self._work)
        try:
            check_work(block.rank, self._settings.target)
        except InvalidBlock as error:
            return self._charge(peer, str(error), now)
        peer.heard_at = now
        entry = self.tree.entry(block.id)
        if entry is not None:
            return self._relay.answer(peer, entry, now)
        return self._connect(block, peer, now)

    def _connect(self, block: Block, peer: Peer, now: float) -> list[Effect]:
        before = self.tree.tip
        effects: list[Effect] = []
        kept: list[Effect] = []
        for change in self.tree.connect(block, source=peer.number, now=now):
            effects += self._on_change(change, peer, now)
            grew = isinstance(change, Extended | Reorged | SideBranch)
            # One that was evicted is on disk since it came first.
            if grew and change.block.id not in self.tree.evicted:
                kept.append(Persist(CHAIN_SUBJECT, change.block.announcement))
        if self.tree.tip is not before:
            effects += self._mine(now)
        # Whoever waits for the disk waits last.
        return effects + kept

    def _on_change(self, change: Change[Block], peer: Peer, now: float) -> list[Effect]:
        block_id = change.block.id
        match change:
            case Extended() | Reorged() | SideBranch():
                return self._on_growth(change, peer, now)
            case Orphaned():
                return self._relay.ask(peer, now)
            case Duplicate():
                # It may wait for its parent already; asking again may be the way to it.
                waits = block_id in self.tree.orphans
                return self._relay.ask(peer, now) if waits else []
            case Invalid(error=error, source=source):
                return self._charge(self._peer(source), str(error), now)

    def _on_growth(self, change: _Growth, peer: Peer, now: float) -> list[Effect]:
        """The tree has grown by a block."""
        block = change.block
        entry = self.tree.entry(block.id)
        if entry is None:
            return []  # A sibling that came in with it has taken its place again.
        effects = self._relay.relay(block, peer.number, now)
        effects += self._relay.progressed(peer, block, now)
        behind = isinstance(change, SideBranch) and self._lags(entry)
        if behind and not self._relay.is_syncing(peer):
            effects += self._relay.answer(peer, entry, now)
        return effects + self._told(change, entry, peer)

    def _lags(self, entry: Entry[Block]) -> bool:
        assert self.tree.tip is not None
        return entry.chainwork < self.tree.tip.chainwork

    def _told(self, change: _Growth, entry: Entry[Block], peer: Peer) -> list[Effect]:
        """What people hear of it."""
        block = entry.block
        parent, name, text = block.parent.hex(), block.id.hex(), _text(block.data)
        best = not isinstance(change, SideBranch)
        effects: list[Effect] = []
        if not entry.height:
            effects.append(Emit(facts.GenesisSeen(name)))
        if block.id not in self._own:
            fact = facts.BlockAccepted(name, parent, entry.height, text, peer.address, best)
            effects.append(Emit(fact))
        if isinstance(change, Reorged):
            effects.append(self._on_reorg(change, entry))
        return effects

    def _on_reorg(self, change: Reorged[Block], entry: Entry[Block]) -> Effect:
        """Own payloads that left the chain wait again, those that joined it do not."""
        self._reorgs += 1
        # Blocks leave tip first; payloads come back in the order they were given in.
        left = [self._own.get(block.id) for block in reversed(change.disconnected)]
        joined = [self._own.get(block.id) for block in change.connected]
        self._payloads.restore((each.number, each, len(each.data)) for each in left if each)
        self._payloads.confirm(each.number for each in joined if each)
        fork = -1 if change.fork is None else change.fork.height
        return Emit(
            facts.Reorganised(
                len(change.disconnected),
                len(change.connected),
                fork,
                entry.block.id.hex(),
                entry.height,
            )
        )

    def _validate(self, block: Block, parent: Entry[Block] | None) -> None:
        """The one rule that needs a parent: a genesis is the pinned one, where one is."""
        pinned = self._settings.genesis_hash
        if parent is None and pinned is not None:
            check_genesis(block.id, pinned)

    def _charge(self, peer: Peer, reason: str, now: float) -> list[Effect]:
        """An offence: counted, and told now and then. Sources can be forged, so that is all."""
        self._invalid += 1
        peer.offences += 1
        if now < peer.told_at + TOLD_SECONDS:
            return []
        peer.told_at = now
        return [Emit(facts.PeerMisbehaves(peer.address, reason, peer.offences))]

    # Mining.

    def _on_payload(self, data: bytes, now: float) -> list[Effect]:
        try:
            if len(data) > DATA_BYTES_MAX:
                reason = f"{len(data)} bytes, where a block has room for {DATA_BYTES_MAX}"
                return [Emit(facts.PayloadRefused(reason))]
            self._payload_number += 1
            waiting = _Waiting(self._payload_number, data)
            self._payloads.add(waiting.number, waiting, len(data))
        except TransactionRefused as error:
            return [Emit(facts.PayloadRefused(str(error)))]
        template = self._template
        if template is not None and (template.payload is not None or template.is_genesis):
            return []  # It waits its turn.
        return self._mine(now)

    def _mine(self, now: float) -> list[Effect]:
        """Search for the block that belongs on the tip, and nothing else."""
        effects = self._stop_search()
        if not self._settings.mines or self._mine_at is not None:
            return effects
        template = self._next_template()
        if template is None:
            return effects
        self._task += 1
        template.task = self._task
        self._template = template
        puzzle = gossip(template.data, template.parent)
        nonces = range(2 ** (8 * NONCE_SIZE))
        goal = First(self._settings.target)
        return [*effects, Search(self._task, puzzle, nonces, goal)]

    def _next_template(self) -> _Template | None:
        tip = self.tree.tip
        settings = self._settings
        if tip is None:
            return _Template(settings.genesis_data, ROOT) if settings.genesis else None
        for payload in self._payloads.first(1):
            return _Template(payload.data, tip.block.id, payload)
        if not settings.counts:
            return None
        # Digits of one width, so that all of them have one layout.
        data = f"{settings.name} {self._counted + 1:08d}".encode()
        return _Template(data[:DATA_BYTES_MAX], tip.block.id)

    def _stop_search(self) -> list[Effect]:
        if self._template is None:
            return []
        self._template = None
        return [Cancel(self._task)]

    def _on_searched(self, task: int, nonces: tuple[int, ...], now: float) -> list[Effect]:
        template = self._template
        if template is None or template.task != task:
            return []
        self._template = None
        if not nonces:
            return []  # Two to the 64th nonces, in vain: nobody has lived to see it.
        p_o_w = nonces[0].to_bytes(NONCE_SIZE, "big")
        block = Block(template.data, template.parent, p_o_w, self._work)
        check_work(block.rank, self._settings.target)
        if self._settings.block_seconds:
            self._mine_at = now + self._settings.block_seconds
        return self._publish(block, template, now)

    def _publish(self, block: Block, template: _Template, now: float) -> list[Effect]:
        """An own block: into the tree, onto the disk, to all peers, and on to the next."""
        self._remember(block, template)
        self._mined += 1
        changes = self.tree.connect(block, source=LOCAL, now=now, prefer=True)
        entry = self.tree.entry(block.id)
        if entry is None:
            raise LocalError(
                f"the pinned genesis is not the one that is made here: {block.id.hex()}"
            )
        fact = facts.BlockMined(block.id.hex(), block.parent.hex(), entry.height, _text(block.data))
        effects: list[Effect] = [Emit(fact)]
        for change in changes:
            effects += self._on_change(change, _OWN, now)
        kept = [Persist(CHAIN_SUBJECT, each.block.announcement) for each in changes]
        return [*effects, *self._mine(now), *kept]

    def _remember(self, block: Block, template: _Template) -> None:
        self._own[block.id] = template.payload
        if template.payload is not None:
            self._payloads.confirm([template.payload.number])
        else:
            self._counted += 1
        if len(self._own) > OWN_BLOCKS_MAX:
            self._own.popitem(last=False)

    # What others may look at.

    def is_own(self, block: Block) -> bool:
        """Whether this miner made it, in this life."""
        return block.id in self._own

    def statistics(self) -> GossipStatistics:
        """Where it stands; cheap."""
        tip = self.tree.tip
        return GossipStatistics(
            height=-1 if tip is None else tip.height,
            tip="" if tip is None else tip.block.id.hex(),
            blocks=len(self.tree),
            orphans=len(self.tree.orphans),
            mined=self._mined,
            reorgs=self._reorgs,
            received=self._received,
            invalid=self._invalid,
            payloads=len(self._payloads),
            peers=len(self._relay.peers),
        )

    def _check(self) -> None:
        # All of a large tree takes long to look at, and hardly changes in an event.
        if len(self.tree) < CHECKED_BLOCKS or not self._received % CHECKED_EVERY:
            self.tree.check()
        assert len(self._own) <= OWN_BLOCKS_MAX
        template = self._template
        if template is not None:
            tip = self.tree.tip
            assert template.parent == (ROOT if tip is None else tip.block.id), "a stale search"
        assert self._settings.mines or template is None


class _Waiting(NamedTuple):
    """A payload, and the order in which it was given."""

    number: int
    data: bytes


class _Template:
    """What is being mined: data on a parent, and where the data came from."""

    __slots__ = ("data", "is_genesis", "parent", "payload", "task")

    def __init__(self, data: bytes, parent: bytes, payload: _Waiting | None = None) -> None:
        self.data = data
        self.parent = parent
        self.payload = payload
        self.is_genesis = parent == ROOT
        self.task = 0


_OWN = Peer(LOCAL, "itself")


def _text(data: bytes) -> str:
    """Data as people can read it; it may be anything."""
    return data.decode(errors="replace")
