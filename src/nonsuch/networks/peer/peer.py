"""A peer: it takes transactions, passes them on, mines them five to a block, and believes nobody.

    client ──tx──▶ on disk ──Accepted──▶ client
                     │ relayed once                         what others have and we lack
                     ▼                                                   │
                   waits ──five──▶ search ──▶ block ──▶ tree ◀── checked ┘
                     ▲                                    │
                     └────── what a reorg takes out ──────┘

This file is the core's face: events, connections and the clock. Behind it, `links` are who is
there, `relay` is what goes round, `sync` fetches what is missing, `mining` makes blocks, `commands`
answer people, and `ledger` is the chain itself, without a word of how it is talked about.

**What is on disk when.** A transaction is `Accepted` when it is on disk, and a proof rewarded when
its block is. What comes from peers is kept too, but nobody waits for it.
"""

from __future__ import annotations

import random
from typing import ClassVar

from nonsuch.errors import LocalError, RemoteError, RemoteProtocolError
from nonsuch.networks.peer import facts, messages, records
from nonsuch.networks.peer.block import Transaction
from nonsuch.networks.peer.commands import Commands, is_near
from nonsuch.networks.peer.ledger import Ledger
from nonsuch.networks.peer.links import DROPPED, Links, Session, is_reached
from nonsuch.networks.peer.mining import Mining
from nonsuch.networks.peer.relay import Relay
from nonsuch.networks.peer.rules import WrongTransaction, check_transaction
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.networks.peer.state import State
from nonsuch.networks.peer.statistics import PeerStatistics
from nonsuch.networks.peer.sync import Sync
from nonsuch.node import (
    LOCAL,
    Clock,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Finish,
    Received,
    Searched,
    Started,
    Stopping,
    Tick,
)

__all__ = ["Peer"]


class TooManyQuestions(RemoteError):
    """More than a person, or a program that waits for answers, can ask."""

    cost: ClassVar[int] = 10


class Peer:
    """The core of a peer.

    `lots` spread waits and searches; their seed makes a run repeatable. `origin_seconds` is the
    Unix time at which the driver's clock, which is monotonic, showed 0.
    """

    def __init__(
        self, settings: PeerSettings, lots: random.Random, origin_seconds: float = 0.0
    ) -> None:
        self._settings = settings
        self._state = State(settings, lots, origin_seconds)
        self._links = Links(self._state)
        self._relay = Relay(self._state, self._links)
        self._sync = Sync(self._state, self._links, self._relay)
        self._mining = Mining(self._state, self._relay)
        self._commands = Commands(self._state, self._relay, self._mining)
        self._began = 0.0
        self._stopping = False

    @property
    def ledger(self) -> Ledger:
        """The chain and what waits; to be looked at, not to be changed."""
        return self._state.ledger

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        if self._stopping:
            return []
        self._take(event, now)
        if not self._stopping:
            self._sync.settle(now)
            self._mining.update(now)
        return self._state.take_effects()

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Received(peer=peer, message=message):
                if peer == LOCAL:
                    self._on_local(message, now)
                else:
                    self._on_received(peer, message, now)
            case Searched():
                self._mining.searched(event, now)
            case Tick():
                self._links.tick(now)
                self._relay.tick(now)
                self._sync.tick(now)
            case Connected():
                self._on_connected(event, now)
            case Disconnected() | Erred():
                self._links.broken(event, now)
            case Started(records=kept):
                self._on_started(kept, now)
            case Stopping():
                self._stopping = True
                self._mining.stop()
            case _:
                pass

    def deadline(self) -> float | None:
        """When to dial, to beat, to give up waiting, or to mine."""
        if self._stopping:
            return None
        times = (
            self._links.deadline(),
            self._relay.beat_at,
            self._sync.deadline(),
            self._mining.deadline(),
        )
        return min((at for at in times if at is not None), default=None)

    # A life begins.

    def _on_started(self, kept: tuple[object, ...], now: float) -> None:
        """Build the tree and the pool again; `records` says what is checked."""
        self._began = now
        state, ledger = self._state, self._state.ledger
        pooled = self._restored(kept)
        ledger.take_confirmed()
        for key in ledger.restore(pooled):
            state.forget_transaction(key)  # Its block has reached the disk as well.
        if kept:
            tip = ledger.tip
            waiting = len(ledger.waiting)
            fact = facts.Restored(len(ledger.tree), tip.height, waiting, tip.block.id.hex())
            state.emit(fact)
        self._relay.start(now)
        self._links.start()

    def _restored(self, kept: tuple[object, ...]) -> list[Transaction]:
        """Put the blocks into the tree; the transactions among these records."""
        pooled: list[Transaction] = []
        for record in kept:
            if isinstance(record, records.TransactionPooled):
                pooled.append(_checked(record.transaction))
            elif not isinstance(record, records.BlockKept):
                raise LocalError(f"{type(record).__name__} is no record of a peer")
        blocks = (record for record in kept if isinstance(record, records.BlockKept))
        self._state.ledger.restore_blocks(blocks)
        return pooled

    # Connections.

    def _on_connected(self, event: Connected, now: float) -> None:
        session = self._links.connected(event, now)
        if session.neighbour is not None:
            settings, state = self._settings, self._state
            network = state.ledger.genesis.id
            state.send(session.number, messages.Hello("peer", network, state.node, settings.name))

    def _on_received(self, number: int, message: object, now: float) -> None:
        session = self._links.sessions.get(number)
        if session is None or session.role == DROPPED:
            return
        session.heard_at = now
        try:
            self._hear(session, message, now)
        except RemoteError as error:
            self._links.charge(session, error.cost, str(error), now)

    def _hear(self, session: Session, message: object, now: float) -> None:
        if session.role == "peer":
            self._from_peer(session, message, now)
        elif session.role == "client":
            self._from_client(session, message, now)
        elif isinstance(message, messages.Hello) and session.neighbour is None:
            self._hello(session, message)
        elif isinstance(message, messages.Welcome) and session.neighbour is not None:
            session.name = message.name
            self._joined(session)
        elif isinstance(message, messages.Refused) and session.neighbour is not None:
            self._links.drop(session, f"it says: {message.reason}")
        else:
            raise _out_of_place(message, "before a hello")

    def _hello(self, session: Session, hello: messages.Hello) -> None:
        objection = self._objection(hello)
        if objection:
            self._links.drop(session, objection)
            return
        state = self._state
        session.name = hello.name
        state.send(session.number, messages.Welcome(state.node, self._settings.name))
        if hello.role == "peer":
            self._joined(session)
        else:
            session.role = "client"

    def _objection(self, hello: messages.Hello) -> str:
        """Why somebody cannot take part."""
        ours = (messages.PROTOCOL, messages.VERSION, messages.RULE)
        theirs = (hello.protocol, hello.version, hello.rule)
        if ours != theirs:
            said, spoken = (
                f"{each[0]} version {each[1]}, {each[2]} rule" for each in (theirs, ours)
            )
            return f"this peer speaks {spoken}, not {said}"
        state = self._state
        if hello.role == "peer" and hello.network != state.ledger.genesis.id:
            return "this peer is of another network: its name or its target differ"
        if hello.role == "peer" and hello.node == state.node:
            return "this peer talks to itself"
        return ""

    def _joined(self, session: Session) -> None:
        session.role = "peer"
        self._links.reached(session)
        self._state.send(session.number, self._relay.heartbeat())

    # What is said.

    def _from_peer(self, session: Session, message: object, now: float) -> None:
        match message:
            case messages.Heartbeat():
                self._sync.heartbeat(session, message, now)
            case messages.AnnounceBlock(block=form):
                self._sync.announced(session, form, now)
            case messages.Transactions():
                self._relay.take_transactions(session, message, now)
            case messages.AskTransactions():
                self._relay.answer_transactions(session, message, now)
            case messages.AskHeaders():
                self._sync.answer_headers(session, message, now)
            case messages.Headers():
                self._sync.headers(session, message, now)
            case messages.AskBlocks():
                self._sync.answer_blocks(session, message, now)
            case messages.Blocks():
                self._sync.blocks(session, message, now)
            case messages.Refused(reason=reason):
                self._links.drop(session, f"it says: {reason}")
            case _:
                raise _out_of_place(message, "from a peer")

    def _from_client(self, session: Session, message: object, now: float) -> None:
        if not isinstance(message, messages.Request):
            raise _out_of_place(message, "from a client")
        chain = isinstance(message, messages.AskChain)
        blocks = messages.CHAIN_BLOCKS_MAX if chain else 0
        if not (session.questions.spend(now) and session.blocks.spend(now, blocks)):
            raise TooManyQuestions("it asks too much")
        may_stop = is_near(session.address)
        answer = self._answer(message, session.address, now, may_stop=may_stop)
        self._say(session.number, answer)

    def _on_local(self, message: object, now: float) -> None:
        if isinstance(message, Clock):
            self._state.set_clock(message.unix, now)
        elif isinstance(message, messages.Request):
            self._say(LOCAL, self._answer(message, "local", now, may_stop=True))

    def _answer(
        self, request: messages.Request, address: str, now: float, *, may_stop: bool
    ) -> messages.Message:
        statistics = self.statistics(now)
        return self._commands.take(request, address, statistics, may_stop=may_stop, now=now)

    def _say(self, peer: int, answer: messages.Message) -> None:
        self._state.send(peer, answer)
        if isinstance(answer, messages.Stopped) and not answer.reason:
            self._state.effects.append(Finish())

    # What is seen from outside.

    def statistics(self, now: float) -> PeerStatistics:
        """A frozen picture of the peer."""
        state, ledger, links = self._state, self._state.ledger, self._links
        return PeerStatistics(
            name=self._settings.name,
            seconds=now - self._began,
            height=ledger.tip.height,
            tip=ledger.tip.block.id.hex(),
            work=float(ledger.tip.chainwork),
            blocks=len(ledger.tree),
            waiting=len(ledger.waiting),
            connections=len(links.sessions),
            peers=len(links.peers()),
            neighbours=len(links.neighbours),
            neighbours_reached=sum(map(is_reached, links.neighbours.values())),
            syncing=self._sync.busy,
            mining=self._mining.busy,
            mined=state.counts["mined"],
            reorgs=ledger.reorgs,
            accepted=state.counts["accepted"],
            refused=state.counts["refused"],
            errors=state.counts["errors"],
            dropped=state.counts["dropped"],
        )

    def _check(self) -> None:
        self._state.ledger.check()
        self._links.check()
        self._sync.check()
        self._mining.check()


def _checked(transaction: Transaction) -> Transaction:
    try:
        check_transaction(transaction)
    except WrongTransaction as error:
        raise LocalError(f"a transaction of the journal is not valid here: {error}") from None
    return transaction


def _out_of_place(message: object, where: str) -> RemoteError:
    return RemoteProtocolError(f"{type(message).__name__} {where}")
