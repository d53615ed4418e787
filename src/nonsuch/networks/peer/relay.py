"""What is new goes round, once: blocks, transactions, and where a peer stands.

A block that becomes the tip is announced to all peers but the one that it came from. A transaction
is passed on when it first comes to wait here. What was lost on the way, or came to be while two
were apart, is noticed by heartbeats: they carry the tip and the work of the chain, and a digest of
all that waits. A pair that agrees spends some two hundred bytes every five seconds, however long
the chain is. Who sees another tip with more work fetches it (`sync.py`); who sees another digest
says what it has, in eight bytes each, and is sent the rest.

People are told before the disk is: only who submits a transaction or a proof waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from nonsuch.chain.mempool import TransactionRefused
from nonsuch.chain.tree import Change, Extended, Invalid, Reorged, SideBranch
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import Block, Transaction
from nonsuch.networks.peer.links import Links, Session
from nonsuch.networks.peer.rules import WrongTransaction
from nonsuch.networks.peer.state import State
from nonsuch.node import LOCAL

__all__ = ["Relay", "work_bytes"]


class Relay:
    """Everything that is said without being asked for."""

    def __init__(self, state: State, links: Links) -> None:
        self._state = state
        self._links = links
        self.beat_at: float | None = None

    # Where it stands.

    def start(self, now: float) -> None:
        """Begin to beat."""
        self.beat_at = now + self._state.settings.heartbeat_seconds

    def tick(self, now: float) -> None:
        """Beat, when it is time."""
        if self.beat_at is not None and now >= self.beat_at:
            self.beat_at = now + self._state.settings.heartbeat_seconds
            self.tell(self._links.peers(), self.heartbeat())

    def heartbeat(self) -> messages.Heartbeat:
        """Where it stands."""
        ledger = self._state.ledger
        tip = ledger.tip
        return messages.Heartbeat(
            tip.height,
            work_bytes(tip.chainwork),
            tip.block.id,
            len(ledger.waiting),
            ledger.digest,
        )

    def tell(self, sessions: Iterable[Session], message: messages.Message) -> None:
        """Say something to several."""
        for session in sessions:
            self._state.send(session.number, message)

    def _others(self, session: Session | None) -> list[Session]:
        return [each for each in self._links.peers() if each is not session]

    # Blocks.

    def take_block(
        self, block: Block, session: Session | None, now: float, *, announces: bool = True
    ) -> list[Change[Block]]:
        """A block that was checked by itself: into the tree, round, and onto the disk.

        `session` is who sent it, None for ourselves.
        """
        state = self._state
        source = LOCAL if session is None else session.number
        before = state.ledger.tip
        # What is announced may be said again and again; what was asked for is wanted.
        wanted = session is None or not announces
        changes = state.ledger.connect(block, source, state.unix(now), wanted=wanted)
        if state.ledger.tip is not before and announces:
            self.tell(self._others(session), messages.AnnounceBlock(state.ledger.tip.block.form))
        for change in changes:
            self._follow(change, now)
        if session is not None and announces and isinstance(changes[0], Extended):
            name, parent, height = block.id.hex(), block.parent.hex(), state.ledger.tip.height
            state.emit(facts.BlockAccepted(name, parent, height, session.address))
        for key in state.ledger.take_confirmed():
            state.forget_transaction(key)
        return changes

    def _follow(self, change: Change[Block], now: float) -> None:
        match change:
            case Invalid(error=error, source=source):
                offender = self._links.sessions.get(source)
                if offender is not None:
                    self._links.charge(offender, error.cost, str(error), now)
            case Extended() | Reorged() | SideBranch():
                self._state.keep_block(change.block)
                if isinstance(change, Reorged):
                    self._tell_reorg(change)
            case _:
                pass

    def _tell_reorg(self, change: Reorged[Block]) -> None:
        assert change.fork is not None, "there is one genesis"
        left, joined, fork = len(change.disconnected), len(change.connected), change.fork.height
        tip = change.block.id.hex()
        self._state.emit(facts.Reorganised(left, joined, fork, tip, fork + joined))

    # Transactions.

    def take_transaction(self, transaction: Transaction, now: float, address: str) -> None:
        """A client's transaction: round, and onto the disk. Raises what `Ledger.submit` raises."""
        key = self._state.ledger.submit(transaction, self._state.unix(now))
        self.tell(self._links.peers(), messages.Transactions((transaction,)))
        self._accepted(key, transaction, address)

    def take_transactions(
        self, session: Session, message: messages.Transactions, now: float
    ) -> None:
        """What a peer passes on, or was asked for. What it may not say here is not looked at."""
        state = self._state
        if not session.transactions.spend(now, len(message.transactions)):
            return
        new: dict[bytes, Transaction] = {}
        for transaction in message.transactions:
            try:
                new[state.ledger.submit(transaction, state.unix(now))] = transaction
            except WrongTransaction as error:
                self._links.charge(session, error.cost, str(error), now)
                break
            except TransactionRefused:
                continue
        if new:
            self.tell(self._others(session), messages.Transactions(tuple(new.values())))
        for key, transaction in new.items():
            self._accepted(key, transaction, session.address)
        if new and len(message.transactions) == messages.TRANSACTIONS_MAX:
            self.ask_transactions(session)  # There may be more where these came from.

    def _accepted(self, key: bytes, transaction: Transaction, address: str) -> None:
        state = self._state
        state.counts["accepted"] += 1
        state.keep_transaction(key, transaction)
        waiting = len(state.ledger.waiting)
        state.emit(
            facts.TransactionAccepted(transaction.sender, transaction.content, waiting, address)
        )

    def ask_transactions(self, session: Session) -> None:
        """Have a peer send what waits there and not here."""
        self._state.send(session.number, messages.AskTransactions(self._state.ledger.known))

    def answer_transactions(
        self, session: Session, message: messages.AskTransactions, now: float
    ) -> None:
        """Send a peer what waits here and not there, a batch of it."""
        if not session.questions.spend(now):
            return
        missing = self._state.ledger.unknown_to(message.known, messages.TRANSACTIONS_MAX)
        if missing:
            self._state.send(session.number, messages.Transactions(missing))


def work_bytes(work: int) -> bytes:
    """A number of hashes as it travels."""
    return work.to_bytes((work.bit_length() + 7) // 8, "big")
