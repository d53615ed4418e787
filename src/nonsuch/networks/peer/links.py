"""Connections: who is there, who is to be called, and who has gone too far.

**Neighbours** are configured. Each is called until it answers, and again when it is lost, after a
wait of its own that doubles up to a ceiling. People hear once that it is away and once that it is
back. So peers can be started in any order: the first waits for the others.

**Two that dial each other** have two connections, and keep both. To close either would mean to
believe a stranger who says that he is that neighbour.

**Errors** cost, out of a budget that fills again within the hour: an honest peer that is unlucky
now and then stays, one that is wrong all the time goes.
"""

from __future__ import annotations

from typing import NamedTuple

from nonsuch.chain.budget import Budget
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.networks.peer.state import Outbox
from nonsuch.node import Backoff, Close, Connected, Dial, Disconnected, Erred

__all__ = ["DROPPED", "Claim", "Links", "Neighbour", "Session", "is_reached"]

DROPPED = "dropped"
"""The role of a connection that was told to go."""

FORGIVEN_SECONDS = 3600.0
"""After so long a spent error budget is whole again."""

BLOCKS_RATE, BLOCKS_BURST = 20_000.0, 40_000.0
"""Headers and blocks a second that one peer is sent: more than any can verify."""

TRANSACTIONS_RATE, TRANSACTIONS_BURST = 2000.0, 10_000.0
"""Transactions a second that are taken from one connection; more are not looked at."""

QUESTIONS_RATE, QUESTIONS_BURST = 20.0, 200.0
"""Questions a second about what waits, or about anything from a client, that are answered."""

LOOK_AGAIN_SECONDS = 1.0
"""How often silence is looked for, while there are connections."""


class Claim(NamedTuple):
    """What a peer says of its best chain."""

    work: int
    tip: bytes


class Session:
    """One connection. `role` is empty until it has said who it is; `stalls` counts its lapses."""

    __slots__ = (
        "address",
        "asks_at",
        "blocks",
        "claim",
        "errors",
        "heard_at",
        "name",
        "neighbour",
        "number",
        "questions",
        "role",
        "since",
        "stalls",
        "transactions",
    )

    def __init__(
        self,
        number: int,
        address: str,
        neighbour: Neighbour | None,
        settings: PeerSettings,
        now: float,
    ) -> None:
        self.number = number
        self.address = address
        self.neighbour = neighbour
        self.role = ""
        self.name = ""
        self.since = self.heard_at = now
        self.claim: Claim | None = None
        self.stalls = 0
        self.asks_at = float("-inf")
        budget = settings.error_budget
        self.errors = Budget(budget / FORGIVEN_SECONDS, budget)
        self.blocks = Budget(BLOCKS_RATE, BLOCKS_BURST)
        self.transactions = Budget(TRANSACTIONS_RATE, TRANSACTIONS_BURST)
        self.questions = Budget(QUESTIONS_RATE, QUESTIONS_BURST)


class Neighbour:
    """A configured address, and the way to it."""

    __slots__ = ("address", "attempts", "backoff", "dial_at", "session", "told")

    def __init__(self, address: str) -> None:
        self.address = address
        self.backoff = Backoff()
        self.dial_at: float | None = None
        self.session: Session | None = None
        self.attempts = 0
        self.told = False


class Links:
    """All connections of a peer."""

    def __init__(self, state: Outbox) -> None:
        self._state = state
        self._settings = state.settings
        self.neighbours = {each: Neighbour(each) for each in state.settings.neighbours}
        self.sessions: dict[int, Session] = {}
        self._look_at: float | None = None

    def deadline(self) -> float | None:
        """When to dial, or to look for silence."""
        dials = (each.dial_at for each in self.neighbours.values())
        return min((at for at in (*dials, self._look_at) if at is not None), default=None)

    def peers(self) -> list[Session]:
        """The connections to peers that have said who they are."""
        return [each for each in self.sessions.values() if each.role == "peer"]

    # Calling.

    def start(self) -> None:
        """Call all neighbours."""
        for neighbour in self.neighbours.values():
            self._dial(neighbour)

    def tick(self, now: float) -> None:
        """Call again, and end what is silent."""
        for neighbour in self.neighbours.values():
            if neighbour.dial_at is not None and now >= neighbour.dial_at:
                self._dial(neighbour)
        if self._look_at is not None and now >= self._look_at:
            self._look(now)

    def _dial(self, neighbour: Neighbour) -> None:
        neighbour.dial_at = None
        neighbour.attempts += 1
        self._state.effects.append(Dial(neighbour.address))

    def broken(self, event: Disconnected | Erred, now: float) -> None:
        """A connection has ended or did not come to be, or its wire refused what came."""
        match event:
            case Disconnected(peer=0, why=why, address=address):
                self._dial_failed(address, why, now)
            case Disconnected(peer=number, why=why):
                self._disconnected(number, why, now)
            case Erred(peer=number, cost=cost, reason=reason):
                if (session := self.sessions.get(number)) is not None:
                    self.charge(session, cost, reason, now)

    def _dial_failed(self, address: str, why: str, now: float) -> None:
        """Nobody answered; try again later."""
        neighbour = self.neighbours.get(address)
        if neighbour is not None and neighbour.session is None:
            self._away(neighbour, why, now)

    def _away(self, neighbour: Neighbour, why: str, now: float) -> None:
        neighbour.session = None
        lot = self._state.lots.random()
        neighbour.dial_at = now + neighbour.backoff.next_seconds(lot)
        if not neighbour.told:
            neighbour.told = True
            self._state.emit(facts.NeighbourLost(neighbour.address, why))

    # Connections come and go.

    def connected(self, event: Connected, now: float) -> Session:
        """A connection stands: say hello, or wait for one."""
        neighbour = None if event.dialled is None else self.neighbours.get(event.dialled)
        session = Session(event.peer, event.address, neighbour, self._settings, now)
        self.sessions[event.peer] = session
        if self._look_at is None:
            self._look_at = now + LOOK_AGAIN_SECONDS
        if neighbour is not None:
            neighbour.session = session
            neighbour.dial_at = None
        elif len(self.sessions) > self._settings.connections_max:
            self.drop(session, f"this peer has its {self._settings.connections_max} connections")
        return session

    def _disconnected(self, number: int, why: str, now: float) -> None:
        """A connection is gone."""
        session = self.sessions.pop(number, None)
        if session is None:
            return
        session.role = DROPPED
        if session.neighbour is not None and session.neighbour.session is session:
            self._away(session.neighbour, why, now)

    def reached(self, session: Session) -> None:
        """A peer has said who it is."""
        neighbour = session.neighbour
        if neighbour is None:
            self._state.emit(facts.PeerJoined(session.name, session.address))
            return
        self._state.emit(
            facts.NeighbourReached(neighbour.address, session.name, neighbour.attempts)
        )
        neighbour.told = False
        neighbour.attempts = 0

    def settled(self, session: Session, now: float) -> None:
        """It does what peers do, so that the next failure is the first again.

        It has done so for a while: whoever says one right word, and then talks nonsense, must not
        be called ten times a second.
        """
        stays = now >= session.since + self._settings.heartbeat_seconds / 2
        if session.neighbour is not None and stays:
            session.neighbour.backoff.reset()

    def _look(self, now: float) -> None:
        """Who has been silent for too long?"""
        self._look_at = now + LOOK_AGAIN_SECONDS if self.sessions else None
        settings = self._settings
        for session in list(self.sessions.values()):
            if not session.role and now >= session.since + settings.hello_seconds:
                self.drop(session, f"no hello within {settings.hello_seconds:g} s")
            elif session.role == "peer" and now >= session.heard_at + settings.silent_seconds:
                self.drop(session, f"silent for {settings.silent_seconds:g} s")
            elif session.role == "client" and now >= session.heard_at + settings.client_seconds:
                self.drop(session, f"silent for {settings.client_seconds:g} s")

    # Errors.

    def charge(self, session: Session, cost: int, reason: str, now: float) -> None:
        """An offence; when the budget is spent, it goes."""
        if not cost or session.role == DROPPED:
            return
        self._state.counts["errors"] += 1
        if not session.errors.spend(now, cost) or not session.errors.left(now):
            self.drop(session, reason)

    def drop(self, session: Session, reason: str) -> None:
        """Say why, and hang up."""
        if session.role == DROPPED:
            return
        session.role = DROPPED
        session.claim = None
        self._state.counts["dropped"] += 1
        self._state.send(session.number, messages.Refused(reason[: messages.REASON_MAX]))
        self._state.effects.append(Close(session.number, reason))
        # A neighbour that people know to be away is tried again and again, and silently.
        if session.neighbour is None or not session.neighbour.told:
            self._state.emit(facts.PeerDropped(session.address, reason))

    def check(self) -> None:
        """Assert every invariant."""
        for neighbour in self.neighbours.values():
            session = neighbour.session
            assert session is None or self.sessions[session.number] is session
            assert session is None or neighbour.dial_at is None
        staying = [each for each in self.sessions.values() if each.role != DROPPED]
        assert len(staying) <= self._settings.connections_max + len(self.neighbours)


def is_reached(neighbour: Neighbour) -> bool:
    """Whether a neighbour is there, and has said who it is."""
    return neighbour.session is not None and neighbour.session.role == "peer"
