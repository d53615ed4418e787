"""The way to the ledger: next door, or behind a keeper who is called until he answers.

A ledger on this machine is spoken to as `LOCAL`, and always there. A keeper is dialled, and dialled
again when he is lost, after a wait that doubles up to a ceiling; people hear once that he is away
and once that he is back. What was asked and not answered by then is the business of who asked.
"""

from __future__ import annotations

from nonsuch.networks.race import facts, messages
from nonsuch.networks.race.state import State
from nonsuch.node import LOCAL, Backoff, Connected, Dial, Finish

__all__ = ["KEEPER", "Link"]

KEEPER = "keeper"
"""The address that is dialled, as the driver knows it."""

WELCOME_SECONDS = 10.0
"""A keeper that says nothing for so long after a hello is none."""


class Link:
    """`peer` is the number of whom to ask; None while nobody can be asked."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._backoff = Backoff()
        self._connection = 0
        self._address = ""
        self._attempts = 0
        self._told = False
        self._dial_at: float | None = None
        self._welcome_until: float | None = None
        self.peer: int | None = None
        self.failure: str | None = None

    def deadline(self) -> float | None:
        """When to dial, or to give up waiting for a welcome."""
        return self._welcome_until if self._dial_at is None else self._dial_at

    def is_keeper(self, number: int) -> bool:
        """Whether this connection is the one that was dialled."""
        return number == self._connection != LOCAL

    def start(self) -> None:
        """Go there."""
        if self._state.settings.has_keeper:
            self._dial()
        else:
            self.peer = LOCAL

    def _dial(self) -> None:
        self._dial_at = None
        self._attempts += 1
        self._state.effects.append(Dial(KEEPER))

    def ask(self, question: messages.Question) -> None:
        """Ask the ledger, if it is there."""
        if self.peer is not None:
            self._state.send(self.peer, question)

    def tick(self, now: float) -> None:
        """Call again, or give up."""
        if self._dial_at is not None and now >= self._dial_at:
            self._dial()
        if self._welcome_until is not None and now >= self._welcome_until:
            self.give_up("no welcome")

    def connected(self, event: Connected, now: float) -> None:
        """Somebody answers."""
        settings = self._state.settings
        self._connection, self._address = event.peer, event.address
        self._dial_at = None
        self._welcome_until = now + WELCOME_SECONDS
        hello = messages.Hello(settings.name, settings.difficulty, settings.token)
        self._state.send(event.peer, hello)

    def welcomed(self) -> bool:
        """The keeper takes part; whether that was waited for."""
        if self._welcome_until is None:
            return False
        self.peer = self._connection
        self._state.emit(facts.KeeperReached(self._address, self._attempts))
        self._told = False
        self._attempts = 0
        self._welcome_until = None
        return True

    def answered(self) -> None:
        """The keeper does what keepers do: the next failure is the first again."""
        self._backoff.reset()

    def refused(self, refused: messages.Refused) -> None:
        """The keeper will not have us; he hangs up."""
        if refused.final or not self._told:
            self._state.emit(facts.KeeperRefused(refused.reason, refused.final))
        if refused.final:
            self.failure = refused.reason
            self._state.effects.append(Finish())

    def give_up(self, why: str) -> None:
        """This connection leads nowhere."""
        self.peer = None
        self._welcome_until = None
        self._state.close(self._connection, why)

    def disconnected(self, why: str, now: float) -> None:
        """The connection is gone, or none came to be: try again later."""
        self.peer = None
        self._connection = LOCAL
        self._welcome_until = None
        self._dial_at = now + self._backoff.next_seconds(self._state.lots.random())
        if not self._told:
            self._told = True
            self._state.emit(facts.KeeperLost(why))

    def check(self) -> None:
        """Assert every invariant."""
        assert self.peer in (None, LOCAL, self._connection)
        assert self._dial_at is None or not self._connection, "dials whom it talks to"
