"""A peer that speaks a dialect: with programs that know the original rule and no other.

It is asked what the table in `dialects/messages.py` says, and answers. It also asks: every five
seconds each neighbour, over a connection that stays, what it has. A better chain is taken once all
of it was checked; what waits with a neighbour waits here too. Nobody announces anything in these
dialects, and a neighbour is asked again once it has answered, never before.

When five transactions wait it searches for the next proof. In the text dialect a heartbeat shows no
pool: there, what was submitted here waits here.

The original rule makes all this cheap to deceive, and nothing here can help: see `original.py`. It
is for lessons, and for programs that exist; between peers of our own there is `peer.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime

from nonsuch.chain.mempool import Mempool, TransactionRefused
from nonsuch.chain.validation import InvalidBlock
from nonsuch.errors import LocalError, RemoteError, RemoteProtocolError
from nonsuch.networks.peer import dialect_records as records
from nonsuch.networks.peer import facts
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS
from nonsuch.networks.peer.commands import is_near
from nonsuch.networks.peer.dialects import messages
from nonsuch.networks.peer.dialects.text import TEXT
from nonsuch.networks.peer.links import DROPPED, Links, Session, is_reached
from nonsuch.networks.peer.original import proves
from nonsuch.networks.peer.original_chain import (
    WAITING_BYTES_MAX,
    OriginalChain,
    is_transaction,
)
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.networks.peer.state import Outbox
from nonsuch.networks.peer.statistics import PeerStatistics
from nonsuch.node import (
    LOCAL,
    Cancel,
    Clock,
    Close,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Finish,
    Persist,
    Received,
    Search,
    Searched,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.goals import First
from nonsuch.work.presets import PEER_TARGET, peer

__all__ = ["DialectPeer"]

CHAIN_COST = 100
"""What an invalid chain costs. It may come of an honest program, which mined something twice."""


class DialectPeer:
    """The core of a peer that speaks `dialect`, "pickle" or "text".

    The other arguments are those of `Peer`; of the settings, those of the network's name and its
    target have no meaning here.
    """

    def __init__(
        self,
        dialect: str,
        settings: PeerSettings,
        lots: random.Random,
        origin_seconds: float = 0.0,
    ) -> None:
        self._settings = settings
        self._dialect = dialect
        self._out = Outbox(settings, lots, origin_seconds)
        self._links = Links(self._out)
        self.chain = OriginalChain(dialect, _written(origin_seconds))
        self.waiting: Mempool[str, messages.Entry] = Mempool(
            min(settings.waiting_max, messages.POOL_MAX), WAITING_BYTES_MAX
        )
        self._asked: dict[int, None] = {}
        self._told: dict[int, str] = {}
        self._beat_at: float | None = None
        self._task = 0
        self._searched: int | None = None
        self._reorgs = 0
        self._began = 0.0
        self._stopping = False

    # Events.

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        if self._stopping:
            return []
        match event:
            case Received(peer=peer, message=message):
                self._on_received(peer, message, now)
            case Searched():
                self._on_searched(event, now)
            case Tick():
                self._on_tick(now)
            case Connected():
                self._on_connected(event, now)
            case Disconnected() | Erred():
                self._on_broken(event, now)
            case Started(records=kept):
                self._on_started(kept, now)
            case Stopping():
                self._stopping = True
                self._stop_search()
            case _:
                pass
        if not self._stopping:
            self._mine()
        return self._out.take_effects()

    def deadline(self) -> float | None:
        """When to dial, or to ask how neighbours stand."""
        if self._stopping:
            return None
        times = (self._links.deadline(), self._beat_at)
        return min((at for at in times if at is not None), default=None)

    def _on_started(self, kept: tuple[object, ...], now: float) -> None:
        self._began = now
        blocks = [each.block for each in kept if isinstance(each, records.ChainBlock)]
        try:
            for block in sorted(blocks, key=lambda block: block.index):
                self.chain.append(block)
        except InvalidBlock as error:
            raise LocalError(f"the journal's chain is not valid here: {error}") from None
        entries = [each.entry for each in kept if isinstance(each, records.WaitingEntry)]
        # What was accepted waits again, however much it is.
        self.waiting.restore(
            (text, (text, when), len(text.encode()) + len(when))
            for text, when in entries
            if text not in self.chain.confirmed
        )
        if kept:
            tip, blocks_count = self.chain.tip, len(self.chain.blocks)
            height, waiting = self.chain.height, len(self.waiting)
            self._out.emit(facts.Restored(blocks_count, height, waiting, tip.current_hash))
        self._beat_at = now + self._settings.heartbeat_seconds
        self._links.start()

    def _on_tick(self, now: float) -> None:
        self._links.tick(now)
        if self._beat_at is not None and now >= self._beat_at:
            self._beat_at = now + self._settings.heartbeat_seconds
            for session in self._links.peers():
                self._ask(session)

    def _ask(self, session: Session) -> None:
        """How does a neighbour stand? Not again before it has answered."""
        if session.number not in self._asked:
            self._asked[session.number] = None
            self._out.send(session.number, messages.Heartbeat())

    def _on_broken(self, event: Disconnected | Erred, now: float) -> None:
        if isinstance(event, Disconnected):
            self._asked.pop(event.peer, None)
            self._told.pop(event.peer, None)
        self._links.broken(event, now)

    def _on_connected(self, event: Connected, now: float) -> None:
        """Nobody says hello here: who was called is a neighbour, who calls is a client."""
        session = self._links.connected(event, now)
        if session.neighbour is not None:
            session.role = "peer"
            session.name = session.address
            self._links.reached(session)
            self._ask(session)
        elif session.role != DROPPED:
            session.role = "client"

    def _on_received(self, number: int, message: object, now: float) -> None:
        if number == LOCAL and isinstance(message, Clock):
            self._out.set_clock(message.unix, now)
        elif number == LOCAL and isinstance(message, messages.Request):
            self._answer(LOCAL, "local", message, now)
        session = self._links.sessions.get(number)
        if session is None or session.role == DROPPED:
            return
        session.heard_at = now
        try:
            if session.role == "peer":
                self._on_answer(session, message, now)
            elif session.questions.spend(now) and session.blocks.spend(now, self._cost(message)):
                self._answer(number, session.address, message, now)
            else:
                self._links.drop(session, "it asks too much")
        except RemoteError as error:
            self._links.charge(session, error.cost, str(error), now)

    # What is asked of it.

    def _cost(self, message: object) -> int:
        """In blocks."""
        shows = isinstance(message, messages.GetChain | messages.Heartbeat)
        return len(self.chain.blocks) if shows else 0

    def _answer(self, number: int, address: str, message: object, now: float) -> None:
        out = self._out
        match message:
            case messages.Transaction():
                accepted = self._submit((message.text, _written(out.unix(now))), address)
                out.send(number, messages.Verdict(accepted))
            case messages.Unacceptable():
                out.counts["refused"] += 1
                out.send(number, messages.Verdict(False))
            case messages.GetProof():
                out.send(number, messages.Proof(self.chain.tip.proof))
            case messages.UpdateProof(proof=proof):
                out.send(number, messages.Reward(self._offer(proof, now)))
            case messages.GetChain():
                out.send(number, messages.Chain(tuple(self.chain.blocks)))
            case messages.Heartbeat():
                out.send(number, self._heartbeat(number))
            case messages.CloseConnection():
                self._close(number, address)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is no request")

    def _heartbeat(self, number: int) -> messages.HeartbeatAnswer:
        """What waits, and the chain where it is another than this connection was told of."""
        tip = self.chain.tip.current_hash
        # The text dialect has no word for "as before".
        tells = self._dialect == TEXT or self._told.get(number) != tip
        self._told[number] = tip
        if number == LOCAL:
            self._told.pop(LOCAL)
        chain = tuple(self.chain.blocks) if tells else None
        return messages.HeartbeatAnswer(tuple(self.waiting), chain, tells)

    def _close(self, number: int, address: str) -> None:
        """`cc` hangs up; from the same machine it also ends the peer."""
        if number != LOCAL:
            self._out.effects.append(Close(number, "it says cc"))
        if number == LOCAL or is_near(address):
            self._out.emit(facts.StopAsked(address))
            self._out.effects.append(Finish())

    def _submit(self, entry: messages.Entry, address: str) -> bool:
        """Whether a transaction waits, or is in the chain."""
        text = entry[0]
        if text in self.chain.confirmed or text in self.waiting:
            return True
        if not self._wait(entry):
            self._out.counts["refused"] += 1
            return False
        self._keep(entry, address)
        return True

    def _wait(self, entry: messages.Entry) -> bool:
        """Whether an entry has come to wait."""
        text, timestamp = entry
        if text in self.chain.confirmed:
            return False
        try:
            self.waiting.add(text, entry, len(text.encode()) + len(timestamp))
        except TransactionRefused:
            return False
        return True

    def _keep(self, entry: messages.Entry, address: str) -> None:
        text = entry[0]
        record = records.WaitingEntry(entry)
        self._out.effects.append(Persist(records.entry_subject(text), record, replaces=True))
        self._out.counts["accepted"] += 1
        _, sender, content = text.split("|")
        waiting = len(self.waiting)
        self._out.emit(facts.TransactionAccepted(sender, content, waiting, address))

    # What neighbours have.

    def _on_answer(self, session: Session, message: object, now: float) -> None:
        if not isinstance(message, messages.HeartbeatAnswer):
            raise RemoteProtocolError(f"{type(message).__name__} where a heartbeat was due")
        self._asked.pop(session.number, None)
        self._links.settled(session, now)
        if message.chain and self.chain.is_better(message.chain):
            self._adopt(session, message.chain, now)
        for entry in message.pool:
            if is_transaction(entry[0]) and self._wait(entry):
                self._keep(entry, session.address)

    def _adopt(self, session: Session, blocks: tuple[messages.Block, ...], now: float) -> None:
        try:
            left, joined = self.chain.adopt(blocks)
        except InvalidBlock as error:
            self._out.emit(facts.ChainRefused(str(error), session.address))
            self._links.charge(session, CHAIN_COST, str(error), now)
            return
        self._keep_blocks(joined)
        self._return(left)
        height, tip = self.chain.height, self.chain.tip.current_hash
        if left:
            self._reorgs += 1
            fork = height - len(joined)
            self._out.emit(facts.Reorganised(len(left), len(joined), fork, tip, height))
        else:
            parent = self.chain.tip.previous_hash
            self._out.emit(facts.BlockAccepted(tip, parent, height, session.address))

    def _return(self, left: Iterable[messages.Block]) -> None:
        """What left the chain waits again, unless it has joined it too."""
        returned = [
            (text, (text, block.timestamp))
            for block in left
            for text in block.transactions
            if text not in self.chain.confirmed
        ]
        sizes = ((text, entry, len(text.encode()) + len(entry[1])) for text, entry in returned)
        self.waiting.restore(sizes)
        for text, entry in returned:
            record = records.WaitingEntry(entry)
            self._out.effects.append(Persist(records.entry_subject(text), record, replaces=True))

    def _keep_blocks(self, blocks: Iterable[messages.Block]) -> None:
        """Blocks that are in the chain now: onto the disk, and their transactions off it."""
        for block in blocks:
            record = records.ChainBlock(block)
            subject = records.block_subject(block.index)
            self._out.effects.append(Persist(subject, record, replaces=True))
            for text in block.transactions:
                if text in self.waiting:
                    subject = records.entry_subject(text)
                    self._out.effects.append(Persist(subject, None, replaces=True))
            self.waiting.confirm(block.transactions)

    # The next block.

    def _mine(self) -> None:
        """Search for the next proof while five transactions wait; for no other."""
        wanted = self.chain.tip.proof if self._settings.mines and self._could_mine() else None
        if wanted == self._searched:
            return
        self._stop_search()
        if wanted is not None:
            self._searched = wanted
            self._task += 1
            puzzle = peer(wanted)
            nonces, goal = range(1, puzzle.nonce.count), First(PEER_TARGET)
            self._out.effects.append(Search(self._task, puzzle, nonces, goal))

    def _could_mine(self) -> bool:
        return len(self.waiting) >= BLOCK_TRANSACTIONS and self.chain.has_room

    def _stop_search(self) -> None:
        if self._searched is not None:
            self._searched = None
            self._out.effects.append(Cancel(self._task))

    def _on_searched(self, event: Searched, now: float) -> None:
        if self._searched is not None and event.task == self._task:
            self._searched = None
            if event.nonces and not self._offer(event.nonces[0], now):
                raise LocalError(f"a search has found {event.nonces[0]}, which is no proof")

    def _offer(self, proof: int, now: float) -> bool:
        """Whether a proof makes the next block."""
        if not self._could_mine() or not proves(self.chain.tip.proof, proof):
            return False
        entries = self.waiting.first(BLOCK_TRANSACTIONS)
        block = self.chain.next_block(entries, proof, _written(self._out.unix(now)))
        self.chain.append(block)
        self._keep_blocks([block])
        self._out.counts["mined"] += 1
        name, parent = block.current_hash, block.previous_hash
        self._out.emit(facts.BlockMined(name, parent, self.chain.height, proof))
        return True

    # What is seen from outside.

    def statistics(self, now: float) -> PeerStatistics:
        """A frozen picture of the peer; its work is the length of its chain."""
        links, counts = self._links, self._out.counts
        return PeerStatistics(
            name=self._settings.name,
            seconds=now - self._began,
            height=self.chain.height,
            tip=self.chain.tip.current_hash,
            work=float(len(self.chain.blocks)),
            blocks=len(self.chain.blocks),
            waiting=len(self.waiting),
            connections=len(links.sessions),
            peers=len(links.peers()),
            neighbours=len(links.neighbours),
            neighbours_reached=sum(map(is_reached, links.neighbours.values())),
            syncing=False,
            mining=self._searched is not None,
            mined=counts["mined"],
            reorgs=self._reorgs,
            accepted=counts["accepted"],
            refused=counts["refused"],
            errors=counts["errors"],
            dropped=counts["dropped"],
        )

    def _check(self) -> None:
        self.chain.check()
        self._links.check()
        assert not any(text in self.chain.confirmed for text, _ in self.waiting)
        assert self._asked.keys() <= self._links.sessions.keys()
        assert self._told.keys() <= self._links.sessions.keys()


def _written(unix: float) -> str:
    """Unix time as these programs write it; they say no zone, and mean their own."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
