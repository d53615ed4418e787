"""Who is told which block, and when: how a lost datagram costs time and never the chain.

There are no requests on this wire, so blocks themselves are the questions. Whoever sends a block
that we have already shows where it stands, and is sent what follows it. Whoever sends one whose
parent we lack is sent our own tip, and ancestors of it at doubling distances, and answers in the
same manner with what follows the highest that it knows. So blocks that are sent again are a
*locator* (Bitcoin's word for such a list). Programs that know nothing of this just receive them.

* **Relay.** A new block goes to all peers but its sender; in a burst, the last of it does.
* **Echo.** Every second each peer is sent our tip: whatever was lost before is noticed then.
* **Ask.** For an orphan: the locator, to its sender.
* **Answer.** For a known block that is not our tip, and for a branch that has less work than ours:
  the blocks that follow it on our best chain, a batch at a time.

Everything has a budget, a peer's own, and nothing is sent but to configured peers: sources are easy
to forge, so a source earns neither a ban nor a reply. What comes from strangers (some programs send
from a port of the moment) is answered to all peers, from one small budget.
"""

from __future__ import annotations

from collections.abc import Iterable

from nonsuch.chain.budget import Budget
from nonsuch.chain.tree import BlockTree, Entry
from nonsuch.networks.gossip.messages import Block
from nonsuch.node import Effect, Send

__all__ = ["Peer", "Relay"]

BATCH_BLOCKS = 32
BATCH_BYTES = 2**16
"""What one answer has at most: half of the smallest receive buffer in use."""

LOCATOR_BLOCKS = 24
"""Ancestors in one question: enough for four million blocks."""

ASK_SECONDS = 0.1
"""How soon a peer is asked again while the tip stays what it is."""

SYNC_SECONDS = 0.05
"""A peer that is sending what we lacked is told how far we are after this silence."""

SYNC_SECONDS_MAX = 1.0
"""It has no more, or it was lost: after so long without a block that we lacked."""

SILENT_ECHOES = 3
"""A peer that says nothing for so many echoes may have no chain, and is sent the genesis too."""

STEP_SECONDS = 0.25
"""For so long after an answer, blocks that are older than its last are not answered."""

ANSWER_RATE, ANSWER_BURST = 2.0**20, 4 * BATCH_BYTES
"""Bytes a second that one peer is sent because it seems to lack them: some five thousand blocks.

Whoever forges its address can have it sent as much, which no line of today notices.
"""

STRANGER_RATE, STRANGER_BURST = 2.0**16, 2 * BATCH_BYTES
"""The same for each peer, because of what strangers sent."""

RELAY_RATE, RELAY_BURST = 100.0, 32
"""New blocks a second that are relayed each by each; of faster ones, the last."""

RELAY_SECONDS = 0.05
"""When the last block of a burst is relayed."""


class Peer:
    """What is known of one configured peer, or (number below 0) of all strangers together."""

    __slots__ = (
        "address",
        "answered_at",
        "answered_to",
        "answers",
        "asked_at",
        "asked_tip",
        "heard_at",
        "latest",
        "number",
        "offences",
        "progress",
        "sync_at",
        "told_at",
    )

    def __init__(self, number: int, address: str) -> None:
        self.number = number
        self.address = address
        rate, burst = (ANSWER_RATE, ANSWER_BURST)
        if number < 0:
            rate, burst = (STRANGER_RATE, STRANGER_BURST)
        self.answers = Budget(rate, burst)
        self.answered_at = float("-inf")
        self.answered_to = -1
        self.asked_at = float("-inf")
        self.asked_tip = b""
        self.progress = 0
        self.latest: Block | None = None
        self.heard_at = float("-inf")
        self.sync_at = 0.0
        self.offences = 0
        self.told_at = float("-inf")


class Relay:
    """Everything that is sent, of one tree. Each method returns what is to be sent."""

    def __init__(self, tree: BlockTree[Block], echo_seconds: float) -> None:
        self._tree = tree
        self._echo_seconds = echo_seconds
        self._budget = Budget(RELAY_RATE, RELAY_BURST)
        self.peers: dict[int, Peer] = {}
        self._echo_at: float | None = None
        self._relay_at: float | None = None
        self._syncing: dict[int, Peer] = {}

    def join(self, peer: Peer, now: float) -> None:
        """A configured peer, at the start."""
        self.peers[peer.number] = peer
        if self._echo_at is None:
            self._echo_at = now + self._echo_seconds

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        syncing = (peer.sync_at for peer in self._syncing.values())
        times = (*syncing, self._echo_at, self._relay_at)
        return min((at for at in times if at is not None), default=None)

    def tick(self, now: float) -> list[Effect]:
        """Send what has become due."""
        effects: list[Effect] = []
        if self._relay_at is not None and now >= self._relay_at:
            self._relay_at = None
            effects += self._tell(self.peers, self._tip_blocks())
        if self._echo_at is not None and now >= self._echo_at:
            self._echo_at = now + self._echo_seconds
            effects += self._echo(now)
        for peer in list(self._syncing.values()):
            if now >= peer.sync_at:
                effects += self._step(peer, now)
        return effects

    def _echo(self, now: float) -> list[Effect]:
        tip = self._tree.tip
        if tip is None:
            return []
        effects = self._tell(self.peers, [tip.block])
        genesis = self._tree.best(0).block
        # Who has no chain at all has nothing to say: it is given a block to say.
        silent = [
            peer.number
            for peer in self.peers.values()
            if now >= peer.heard_at + SILENT_ECHOES * self._echo_seconds
        ]
        return effects + self._tell(silent, [genesis] if tip.height else [])

    def relay(self, block: Block, sender: int, now: float) -> list[Effect]:
        """A new block: pass it on."""
        effects: list[Effect] = []
        if self._budget.spend(now):
            effects += self._tell((each for each in self.peers if each != sender), [block])
        elif self._relay_at is None:
            self._relay_at = now + RELAY_SECONDS
        return effects

    def progressed(self, peer: Peer, block: Block, now: float) -> list[Effect]:
        """A peer that was asked has sent a block that we lacked: have it go on."""
        if not self.is_syncing(peer):
            return []
        peer.progress += 1
        peer.latest = block
        if peer.progress >= BATCH_BLOCKS:
            return self._step(peer, now)
        peer.sync_at = now + SYNC_SECONDS
        return []

    def ask(self, peer: Peer, now: float) -> list[Effect]:
        """It has blocks that we lack the parents of: say where we stand."""
        tip = self._tree.tip
        tip_id = tip.block.id if tip else b""
        if now < peer.asked_at + ASK_SECONDS and (tip_id == peer.asked_tip or peer.progress):
            return []
        peer.asked_at, peer.asked_tip = now, tip_id
        if peer.number in self.peers:
            self._syncing[peer.number] = peer
            peer.progress, peer.latest, peer.sync_at = 0, None, now + SYNC_SECONDS_MAX
        known = (self._tree.entry(each) for each in self._tree.locator(LOCATOR_BLOCKS))
        blocks = [entry.block for entry in known if entry]
        if not peer.answers.spend(now, _bytes(blocks)):
            return []
        return self._tell(self._receivers(peer), blocks)

    def answer(self, peer: Peer, entry: Entry[Block], now: float) -> list[Effect]:
        """It has sent a block that we had: send what follows it here."""
        tree = self._tree
        if entry is tree.tip:
            return []
        fork = entry if tree.on_best(entry) else tree.fork(entry)
        height = -1 if fork is None else fork.height
        if height < peer.answered_to and now < peer.answered_at + STEP_SECONDS:
            return []  # What follows it is on its way: this is the same question, or an echo.
        blocks = _bounded(tree.successors(entry.block.id, BATCH_BLOCKS))
        if not peer.answers.spend(now, _bytes(blocks)):
            return []
        peer.answered_at, peer.answered_to = now, height + len(blocks)
        return self._tell(self._receivers(peer), blocks)

    def _step(self, peer: Peer, now: float) -> list[Effect]:
        """Tell a peer that sends us blocks how far we are; if it has no more it will be silent."""
        latest, peer.latest = peer.latest, None
        if latest is None:
            del self._syncing[peer.number]
            return []
        peer.progress, peer.sync_at = 0, now + SYNC_SECONDS_MAX
        # Not the tip: its branch may be longer than ours, and not be there yet.
        return self._tell((peer.number,), [latest])

    def is_syncing(self, peer: Peer) -> bool:
        """Whether it was asked for what we lack."""
        return peer.number in self._syncing

    def _receivers(self, peer: Peer) -> Iterable[int]:
        """The peer; or, where a stranger was heard, all of them: it is one of these, or nobody."""
        return (peer.number,) if peer.number in self.peers else self.peers

    def _tip_blocks(self) -> list[Block]:
        return [] if self._tree.tip is None else [self._tree.tip.block]

    @staticmethod
    def _tell(peers: Iterable[int], blocks: list[Block]) -> list[Effect]:
        announcements = [block.announcement for block in blocks]
        return [Send(peer, each) for peer in peers for each in announcements]


def _bytes(blocks: Iterable[Block]) -> int:
    return sum(block.datagram_bytes for block in blocks)


def _bounded(blocks: list[Block]) -> list[Block]:
    """As many of them as one answer may have bytes; at least one."""
    total = 0
    for number, block in enumerate(blocks):
        total += block.datagram_bytes
        if total > BATCH_BYTES and number:
            return blocks[:number]
    return blocks
