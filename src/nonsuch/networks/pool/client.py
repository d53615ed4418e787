"""A client of a pool: one wish, said until it is heard, and an answer that is checked.

The wish is a message: submit a job, watch one, withdraw one, or ask how the pool stands. Where the
connection breaks, or nothing is heard for a while, it is said again; saying it twice does no harm,
because a job has its id from here. The answer is rehashed before anybody hears of it.
"""

from __future__ import annotations

import random

from nonsuch.networks.pool import facts, messages
from nonsuch.networks.pool.link import Link
from nonsuch.node import (
    Connected,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Received,
    Started,
    Stopping,
    Tick,
)

__all__ = ["Client", "Wish"]

RESEND_SECONDS = 5.0
"""After so long without a word the wish is said again. A pool tells of a job twice a second."""

Wish = messages.Submit | messages.Watch | messages.Withdraw | messages.Ask


class Client:
    """The core of a client.

    With `stays` it waits for the answer, else for the first word of its job. Unless `patient`, a
    pool that cannot be reached at all is a failure; one that was reached and is gone is waited for.
    """

    def __init__(
        self,
        hello: messages.Hello,
        wish: Wish,
        lots: random.Random,
        *,
        stays: bool = True,
        patient: bool = False,
    ) -> None:
        self._link = Link(hello, lots)
        self._wish = wish
        self._stays = stays
        self._patient = patient
        self._resend_at: float | None = None
        self._done = False
        self.failure: str | None = None
        self.answer: messages.Answer | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        if self._done:
            return []
        match event:
            case Received(peer=peer, message=message) if peer == self._link.peer:
                self._resend_at = now + RESEND_SECONDS
                return self._on_message(message)
            case Tick():
                return self._on_tick(now)
            case Started():
                return self._link.dial()
            case Connected():
                self._resend_at = now + RESEND_SECONDS
                return [*self._link.connected(event), *self._link.send(self._wish)]
            case Disconnected(peer=peer, why=why) if peer in (0, self._link.peer):
                return self._on_disconnected(why, now)
            case Erred(peer=peer, reason=reason) if peer == self._link.peer:
                return self._link.close(reason)
            case Stopping():
                return self._link.stop()
            case _:
                return []

    def deadline(self) -> float | None:
        """When to dial, or to say the wish, again."""
        if self._done:
            return None
        times = [when for when in (self._resend_at, self._link.dial_at) if when is not None]
        return min(times, default=None)

    def _on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._link.dial_at is not None and now >= self._link.dial_at:
            effects += self._link.dial()
        if self._resend_at is not None and now >= self._resend_at:
            self._resend_at = now + RESEND_SECONDS
            effects += self._link.send(self._wish)
        return effects

    def _on_disconnected(self, why: str, now: float) -> list[Effect]:
        self._resend_at = None
        if not self._patient and not self._link.ever_connected:
            return self._fail(why)
        return self._link.disconnected(why, now)

    def _on_message(self, message: object) -> list[Effect]:
        match message:
            case messages.Status():
                return self._on_status(message)
            case messages.Answer():
                return self._on_answer(message)
            case messages.Ended(reason=reason):
                if isinstance(self._wish, messages.Withdraw) and reason == "withdrawn":
                    return self._finish()
                return self._fail(reason)
            case messages.Report(statistics=statistics):
                return [Emit(facts.Reported(statistics)), *self._finish()]
            case messages.Refused(reason=reason, final=final):
                if final:
                    return self._fail(reason)
                return [Emit(facts.PoolRefused(reason, final)), *self._link.close(reason)]
            case messages.Welcome():
                return []
            case _:
                name = type(message).__name__
                return self._link.close(f"{name} from a pool makes no sense to a client")

    def _on_status(self, status: messages.Status) -> list[Effect]:
        self._link.settled()
        fact = facts.Progressed(
            status.job, status.done, status.total, status.rate, status.miners, status.nonce
        )
        effects: list[Effect] = [Emit(fact)]
        if self._stays or isinstance(self._wish, messages.Withdraw):
            return effects
        return [*effects, *self._finish()]

    def _on_answer(self, answer: messages.Answer) -> list[Effect]:
        wrong = self._objection(answer)
        if wrong:
            return self._fail(f"the pool's answer is wrong: {wrong}")
        self.answer = answer
        fact = facts.Answered(answer.job, answer.nonce, answer.hashes, answer.seconds)
        return [Emit(fact), *self._finish()]

    def _objection(self, answer: messages.Answer) -> str:
        """What is wrong with an answer, as far as one client can tell."""
        wish = self._wish
        if isinstance(wish, messages.Ask) or answer.job != wish.job:
            return "it is that of another job"
        if not isinstance(wish, messages.Submit):
            return ""
        if answer.nonce is None:
            return "" if wish.target is not None else "some nonce is the lowest"
        if not wish.first <= answer.nonce <= wish.last:
            return f"nonce {answer.nonce} is not of this job"
        if wish.target is None:
            return ""
        proof = wish.puzzle.puzzle().prove(answer.nonce)
        return (
            ""
            if messages.target_of(wish.target).admits(proof.rank)
            else "it does not meet the target"
        )

    def _finish(self) -> list[Effect]:
        self._done = True
        return [*self._link.close("done"), Finish()]

    def _fail(self, reason: str) -> list[Effect]:
        self.failure = reason
        job = "" if isinstance(self._wish, messages.Ask) else self._wish.job
        return [Emit(facts.SubmitRefused(job, reason)), *self._finish()]

    def _check(self) -> None:
        assert self.answer is None or self.failure is None
        assert self._done or self._link.peer or self._resend_at is None
