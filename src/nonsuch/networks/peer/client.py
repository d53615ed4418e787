"""A client: one question to one peer, asked until it is answered.

Where the connection breaks, or nothing is heard for a while, the question is asked again. That does
no harm: a transaction carries the time at which its client made it, and so is the same one. In a
dialect it is not asked again on the same connection, for nobody could tell the two answers apart.
"""

from __future__ import annotations

import random

from nonsuch.errors import LocalError
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.dialects import messages as dialect
from nonsuch.node import (
    Backoff,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Received,
    Send,
    Started,
    Stopping,
    Tick,
)

__all__ = ["Answer", "Client", "Request"]

ASK_AGAIN_SECONDS = 5.0
"""After so long without an answer the question is asked again."""

Request = messages.Request | dialect.Request

Answer = (
    messages.Verdict
    | messages.Template
    | messages.Reward
    | messages.Chain
    | messages.Status
    | messages.Stopped
    | dialect.Answer
)

_ANSWERS: dict[type[Request], type[Answer]] = {
    messages.SubmitTransaction: messages.Verdict,
    messages.AskTemplate: messages.Template,
    messages.OfferProof: messages.Reward,
    messages.AskChain: messages.Chain,
    messages.AskStatus: messages.Status,
    messages.Stop: messages.Stopped,
    dialect.Transaction: dialect.Verdict,
    dialect.Unacceptable: dialect.Verdict,
    dialect.GetProof: dialect.Proof,
    dialect.UpdateProof: dialect.Reward,
    dialect.GetChain: dialect.Chain,
    dialect.Heartbeat: dialect.HeartbeatAnswer,
}


class Client:
    """The core of a client. In the end it has an `answer`, or a `failure` that says why not.

    Unless `patient`, a peer that cannot be reached at all is a failure; one that was reached and is
    gone is waited for. Raises `LocalError` for a transaction that does not say when it was made.
    """

    def __init__(
        self,
        request: Request,
        lots: random.Random,
        *,
        name: str = "",
        patient: bool = False,
    ) -> None:
        if isinstance(request, messages.SubmitTransaction) and not request.timestamp:
            raise LocalError("a transaction that may be sent twice says when it was made")
        self._request = request
        self._lots = lots
        # Who speaks a dialect does not greet.
        greets = isinstance(request, messages.Request)
        self._hello = messages.Hello("client", name=name) if greets else None
        self._patient = patient
        self._backoff = Backoff()
        self._peer = 0
        self._reached = False
        self._done = False
        self._wake_at: float | None = None
        self.answer: Answer | None = None
        self.failure: str | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        if self._done:
            return []
        match event:
            case Received(peer=peer, message=message) if peer == self._peer:
                return self._on_message(message, now)
            case Tick():
                return self._on_tick(now)
            case Started():
                return [Dial()]
            case Connected(peer=peer):
                self._peer = peer
                self._wake_at = now + ASK_AGAIN_SECONDS
                return self._ask(now) if self._hello is None else [Send(peer, self._hello)]
            case Disconnected(peer=peer, why=why) if peer in (0, self._peer):
                return self._on_disconnected(why, now)
            case Erred(peer=peer, reason=reason) if peer == self._peer:
                return [Close(peer, reason)]
            case Stopping():
                return self._finish()
            case _:
                return []

    def deadline(self) -> float | None:
        """When to dial, or to ask, again."""
        return None if self._done else self._wake_at

    def _on_tick(self, now: float) -> list[Effect]:
        if self._wake_at is None or now < self._wake_at:
            return []
        if not self._peer:
            self._wake_at = None
            return [Dial()]
        if self._hello is None:
            return [Close(self._peer, "no answer")]
        return self._ask(now)

    def _ask(self, now: float) -> list[Effect]:
        self._reached = True
        self._wake_at = now + ASK_AGAIN_SECONDS
        return [Send(self._peer, self._request)]

    def _on_disconnected(self, why: str, now: float) -> list[Effect]:
        self._peer = 0
        if self._reached and isinstance(self._request, dialect.CloseConnection):
            return self._finish()  # To this there is no other answer.
        if not self._patient and not self._reached:
            return self._fail(why)
        self._wake_at = now + self._backoff.next_seconds(self._lots.random())
        return []

    def _on_message(self, message: object, now: float) -> list[Effect]:
        if isinstance(message, messages.Welcome):
            return self._ask(now)
        if isinstance(message, messages.Refused):
            reason = message.reason
            return [Close(self._peer, reason)] if self._patient else self._fail(reason)
        if isinstance(message, Answer) and type(message) is _ANSWERS.get(type(self._request)):
            self.answer = message
            return [Emit(facts.Answered(type(message).__name__)), *self._finish()]
        return [Close(self._peer, f"{type(message).__name__} is no answer")]

    def _fail(self, why: str) -> list[Effect]:
        self.failure = why
        return [Emit(facts.RequestFailed(why)), *self._finish()]

    def _finish(self) -> list[Effect]:
        self._done = True
        hang_up: list[Effect] = [Close(self._peer, "done")] if self._peer else []
        return [*hang_up, Finish()]

    def _check(self) -> None:
        assert self.answer is None or self.failure is None
        assert self._done or not self._peer or self._wake_at is not None, "it waits for ever"
