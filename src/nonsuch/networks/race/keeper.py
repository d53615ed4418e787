"""A keeper: the one who has the ledger, for nodes that are elsewhere.

What nodes ask it, it asks its own file, and what that says it passes on. It decides nothing, but
it believes nobody either: a claim is hashed again, so that whoever has the token can be late and
can be wrong, but cannot write what is no proof. That it is the *first* nonce takes a search, and is
not looked at.

    node ──Hello──▶ keeper        node ──Enter, Claim──▶ keeper ──Asked──▶ its file
    node ◀─Welcome─ keeper        node ◀──Won, Lost───── keeper ◀──Told─── its file

What one node has at the file at once is bounded: so many races that are not decided, each entered
once and claimed once, and one `Join`. So nobody can make the others wait for long, and a node that
is fast is not one that asks too much. While the file cannot be used, what all of them ask is
bounded too: who asks more is sent away (`Overfull`), not for good, and comes back after a while.

A node that goes is forgotten, with all that it has entered; its claims are decided all the same,
and it hears of them when it sends them again.
"""

from __future__ import annotations

import hmac
import math
from collections import Counter
from datetime import datetime

from nonsuch.chain.budget import Budget
from nonsuch.errors import RemoteError, RemoteProtocolError
from nonsuch.networks.race import facts, messages
from nonsuch.networks.race.desk import Overfull, key_of
from nonsuch.networks.race.ledger import TIME_FORMAT, Entry
from nonsuch.networks.race.settings import KeeperSettings
from nonsuch.networks.race.statistics import KeeperStatistics
from nonsuch.node import (
    LOCAL,
    Close,
    Connected,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Received,
    Send,
    Tick,
)
from nonsuch.work.presets import race
from nonsuch.work.puzzle import Proof

__all__ = ["Keeper"]

FORGIVEN_SECONDS = 3600.0
"""After so long a spent error budget is whole again."""

LOOK_AGAIN_SECONDS = 1.0
"""How often strangers are looked for who do not say who they are."""

DROPPED = "dropped"
"""The role of a connection that was told to go."""


class TooManyQuestions(RemoteError):
    """More than a node has reason to ask."""

    cost = 100


class FalseClaim(RemoteError):
    """What is claimed is no proof, or no entry."""

    cost = 1000


class _Session:
    """One connection. `role` is empty until it has said who it is.

    `races` are not decided, each with whether it was claimed; `joining` while a `Join` is open.
    """

    __slots__ = ("address", "errors", "joining", "name", "number", "races", "role", "since")

    def __init__(self, number: int, address: str, budget: int, now: float) -> None:
        self.number = number
        self.address = address
        self.role = ""
        self.name = ""
        self.since = now
        self.joining = False
        self.races: dict[tuple[bytes, int], bool] = {}
        self.errors = Budget(budget / FORGIVEN_SECONDS, budget)


class Keeper:
    """The core of a keeper. Its owner serves what it asks `LOCAL`, as `desk.py` says."""

    def __init__(self, settings: KeeperSettings) -> None:
        self._settings = settings
        self._target = settings.target
        self._sessions: dict[int, _Session] = {}
        self._look_at: float | None = None
        self._counts: Counter[str] = Counter()
        self._effects: list[Effect] = []

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received(peer=peer, message=message):
                if peer == LOCAL:
                    self._from_file(message)
                else:
                    self._on_received(peer, message, now)
            case Tick():
                self._look(now)
            case Connected():
                self._on_connected(event, now)
            case Disconnected(peer=peer, why=why):
                self._on_disconnected(peer, why)
            case Erred(peer=peer, cost=cost, reason=reason):
                if (session := self._sessions.get(peer)) is not None:
                    self._charge(session, cost, reason, now)
            case _:
                pass
        effects, self._effects = self._effects, []
        return effects

    def deadline(self) -> float | None:
        """When to look for strangers that are silent."""
        return self._look_at

    def _send(self, peer: int, message: object) -> None:
        self._effects.append(Send(peer, message))

    # Connections.

    def _on_connected(self, event: Connected, now: float) -> None:
        session = _Session(event.peer, event.address, self._settings.error_budget, now)
        self._sessions[event.peer] = session
        if self._look_at is None:
            self._look_at = now + LOOK_AGAIN_SECONDS
        if self._staying > self._settings.connections_max:
            self._drop(session, f"this keeper has its {self._settings.connections_max} connections")

    @property
    def _staying(self) -> int:
        return sum(each.role != DROPPED for each in self._sessions.values())

    def _on_disconnected(self, number: int, why: str) -> None:
        session = self._sessions.pop(number, None)
        if session is not None:
            self._left(session, why)

    def _left(self, session: _Session, why: str) -> None:
        """Whatever this node has entered matters to nobody any more."""
        was_node = session.role == "node"
        session.role = DROPPED
        session.races.clear()
        if was_node:
            self._send(LOCAL, messages.Asked(session.number, messages.Leave()))
            self._effects.append(Emit(facts.NodeLeft(session.name, why, self._nodes)))

    @property
    def _nodes(self) -> int:
        return sum(each.role == "node" for each in self._sessions.values())

    def _look(self, now: float) -> None:
        if self._look_at is None or now < self._look_at:
            return
        self._look_at = now + LOOK_AGAIN_SECONDS if self._sessions else None
        seconds = self._settings.hello_seconds
        for session in self._sessions.values():
            if not session.role and now >= session.since + seconds:
                self._drop(session, f"no hello within {seconds:g} s")

    def _drop(self, session: _Session, reason: str, *, final: bool = False) -> None:
        """Say why, and hang up."""
        if session.role == DROPPED:
            return
        self._counts["dropped"] += 1
        reason = reason[: messages.REASON_MAX]
        self._send(session.number, messages.Refused(reason, final))
        self._effects.append(Close(session.number, reason))
        self._left(session, reason)
        self._effects.append(Emit(facts.PeerDropped(session.address, reason)))

    def _charge(self, session: _Session, cost: int, reason: str, now: float) -> None:
        """An offence; when the budget is spent, it goes."""
        if session.role == DROPPED:
            return
        self._counts["errors"] += 1
        if not session.errors.spend(now, cost) or not session.errors.left(now):
            self._drop(session, reason)

    # What nodes say.

    def _on_received(self, number: int, message: object, now: float) -> None:
        session = self._sessions.get(number)
        if session is None or session.role == DROPPED:
            return
        try:
            if session.role:
                self._from_node(session, message)
            elif isinstance(message, messages.Hello):
                self._hello(session, message)
            else:
                raise RemoteProtocolError(f"{type(message).__name__} before a hello")
        except RemoteError as error:
            self._charge(session, error.cost, str(error), now)

    def _hello(self, session: _Session, hello: messages.Hello) -> None:
        objection = self._objection(hello)
        if objection:
            self._drop(session, objection, final=True)
            return
        session.role, session.name = "node", hello.name
        self._send(session.number, messages.Welcome(self._settings.name))
        self._effects.append(Emit(facts.NodeJoined(hello.name, session.address, self._nodes)))

    def _objection(self, hello: messages.Hello) -> str:
        """Why a node cannot take part."""
        settings = self._settings
        if (hello.protocol, hello.version) != (messages.PROTOCOL, messages.VERSION):
            ours = f"{messages.PROTOCOL} version {messages.VERSION}"
            return f"this keeper speaks {ours}, not {hello.protocol} version {hello.version}"
        if not hmac.compare_digest(hello.token.encode(), settings.token.encode()):
            return "the token is wrong" if hello.token else "this keeper wants a token"
        if hello.difficulty != settings.difficulty:
            return f"the difficulty is {settings.difficulty} here, not {hello.difficulty}"
        return "" if hello.name else "a node has a name"

    def _from_node(self, session: _Session, message: object) -> None:
        if not isinstance(message, messages.Question):
            raise RemoteProtocolError(f"{type(message).__name__} from a node")
        match message:
            case messages.Claim(number=number, entry=entry):
                self._verify(session, entry)
                _open(session, entry.transaction_data, number, claimed=True)
            case messages.Enter(number=number, text=text):
                _open(session, text, number, claimed=False)
            case messages.Join():
                if session.joining:
                    raise TooManyQuestions("it joins again and again")
                session.joining = True
            case _:
                self._effects.append(Close(session.number, "it left"))
                self._left(session, "it left")
                return
        self._send(LOCAL, messages.Asked(session.number, message))

    def _verify(self, session: _Session, entry: Entry) -> None:
        """Whether a claim could be true. Raises `FalseClaim` where it is not."""
        puzzle = race(_bytes(entry.transaction_data))
        if not 0 <= entry.nonce < puzzle.nonce.count:
            raise FalseClaim("a claim of a nonce that there is not")
        proof = puzzle.prove(entry.nonce)
        if proof.hexdigest != entry.hash or not self._admits(proof):
            raise FalseClaim("a claim whose hash is not what it says, or not good enough")
        if entry.node != session.name:
            raise FalseClaim("a claim in another node's name")
        if not 0 <= entry.time_taken < math.inf:
            raise FalseClaim("a claim that took no time that there is")
        for time in (entry.start_time, entry.end_time):
            _check_time(time)

    def _admits(self, proof: Proof) -> bool:
        return self._target.admits(proof.rank)

    # What the file says.

    def _from_file(self, message: object) -> None:
        if isinstance(message, Overfull) and message.seat in self._sessions:
            reason = "the keeper's ledger cannot be used now: come again later"
            self._drop(self._sessions[message.seat], reason)
        if not isinstance(message, messages.Told):
            return
        session = self._sessions.get(message.seat)
        answer = message.answer
        if isinstance(answer, messages.Won):
            self._counts["written"] += 1
        if session is None or session.role == DROPPED:
            return  # It hears of it when it asks again.
        match answer:
            case messages.Won(key=key, number=number):
                session.races.pop((key, number), None)
                self._effects.append(Emit(facts.EntryWritten(session.name, number)))
            case messages.Lost(key=key, number=number):
                session.races.pop((key, number), None)
            case messages.Replaced():
                session.races.clear()
            case messages.Joined():
                session.joining = False
        self._send(session.number, answer)

    # What is seen from outside.

    def statistics(self) -> KeeperStatistics:
        """A frozen picture of the keeper."""
        return KeeperStatistics(
            name=self._settings.name,
            nodes=self._nodes,
            races=sum(len(each.races) for each in self._sessions.values()),
            written=self._counts["written"],
            errors=self._counts["errors"],
            dropped=self._counts["dropped"],
        )

    def _check(self) -> None:
        assert self._staying <= self._settings.connections_max
        for number, session in self._sessions.items():
            assert session.number == number
            assert len(session.races) <= messages.RACES_MAX
            assert session.role == "node" or not session.races
        assert self._look_at is not None or not self._sessions, "nobody looks for strangers"


def _open(session: _Session, text: str, number: int, *, claimed: bool) -> None:
    """One more race that is not decided. Raises `TooManyQuestions`."""
    race_of = key_of(text), number
    before = session.races.get(race_of)
    if before is not None and (before or not claimed):
        raise TooManyQuestions("it asks again for what it will be told")
    if before is None and len(session.races) >= messages.RACES_MAX:
        raise TooManyQuestions(f"more than {messages.RACES_MAX} races at once")
    session.races[race_of] = claimed


def _bytes(text: str) -> bytes:
    """A text's bytes. Raises `FalseClaim` for what no client can have sent."""
    data = text.encode(errors="replace")
    if not text or text != text.strip() or len(data) > messages.TRANSACTION_BYTES_MAX:
        raise FalseClaim("a claim of what is no transaction")
    return data


def _check_time(text: str) -> None:
    """Raises `FalseClaim` unless this is a time as the ledger has it."""
    try:
        datetime.strptime(text, TIME_FORMAT)  # noqa: DTZ007  # of whatever zone the node is in
    except ValueError:
        raise FalseClaim("a claim at a time that there is not") from None
