"""A client's core, by hand: one question, one answer, in our own wire and in the dialects."""

from __future__ import annotations

import random

import pytest

from nonsuch.errors import LocalError
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.client import Answer, Client, Request
from nonsuch.networks.peer.dialects import messages as dialect
from nonsuch.node import (
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

SUBMIT = messages.SubmitTransaction("abcd1234", "hello", 1)
DONE: list[Effect] = [Close(1, "done"), Finish()]


class Desk:
    """A client and its clock, with `_check` after every event."""

    def __init__(self, request: Request = SUBMIT, *, patient: bool = False) -> None:
        self.client = Client(request, random.Random(0), name="c", patient=patient)
        self.now = 0.0

    def happens(self, event: Event) -> list[Effect]:
        effects = self.client.handle(event, self.now)
        self.client._check()
        return effects

    def ticks(self) -> list[Effect]:
        deadline = self.client.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self.happens(Tick())


def test_a_question_is_asked_after_hello_and_answered_once() -> None:
    desk = Desk()
    assert desk.happens(Started()) == [Dial()]
    hello = messages.Hello("client", name="c")
    assert desk.happens(Connected(1, "peer:1")) == [Send(1, hello)]
    assert desk.happens(Received(1, messages.Welcome(b"n", "peer"))) == [Send(1, SUBMIT)]
    verdict = messages.Verdict(True)
    assert desk.happens(Received(1, verdict)) == [Emit(facts.Answered("Verdict")), *DONE]
    assert desk.client.answer == verdict
    assert desk.happens(Received(1, verdict)) == []
    assert desk.client.deadline() is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (dialect.Transaction("abcd1234", "hello"), dialect.Verdict(True)),
        (dialect.GetProof(), dialect.Proof(100)),
        (dialect.UpdateProof(5), dialect.Reward(True)),
        (dialect.GetChain(), dialect.Chain(())),
        (dialect.Heartbeat(), dialect.HeartbeatAnswer((), None, False)),
    ],
)
def test_in_a_dialect_nobody_says_hello(question: dialect.Request, answer: Answer) -> None:
    desk = Desk(question)
    desk.happens(Started())
    assert desk.happens(Connected(1, "peer:1")) == [Send(1, question)]
    assert desk.happens(Received(1, answer))[-2:] == DONE
    assert desk.client.answer == answer


def test_goodbye_has_no_answer_but_the_end() -> None:
    desk = Desk(dialect.CloseConnection())
    desk.happens(Started())
    desk.happens(Connected(1, "peer:1"))
    assert desk.happens(Disconnected(1, "it hung up")) == [Finish()]
    assert desk.client.failure is None


def test_a_peer_that_is_not_there_is_a_failure() -> None:
    desk = Desk()
    desk.happens(Started())
    assert Finish() in desk.happens(Disconnected(0, "refused"))
    assert desk.client.failure == "refused"


def test_unless_the_client_is_patient() -> None:
    desk = Desk(patient=True)
    desk.happens(Started())
    for _ in range(5):
        assert desk.happens(Disconnected(0, "refused")) == []
        assert desk.ticks() == [Dial()]


def test_a_question_is_asked_again_where_the_connection_breaks_and_where_nobody_answers() -> None:
    desk = Desk()
    desk.happens(Started())
    desk.happens(Connected(1, "peer:1"))
    desk.happens(Received(1, messages.Welcome(b"n")))
    assert desk.ticks() == [Send(1, SUBMIT)]
    assert desk.happens(Disconnected(1, "reset")) == []
    assert desk.ticks() == [Dial()]
    desk.happens(Connected(2, "peer:1"))
    assert desk.happens(Received(2, messages.Welcome(b"n"))) == [Send(2, SUBMIT)]


def test_what_is_no_answer_ends_the_connection() -> None:
    desk = Desk()
    desk.happens(Started())
    desk.happens(Connected(1, "peer:1"))
    for message in (messages.Reward(True), messages.AskStatus(), "nonsense"):
        (close,) = desk.happens(Received(1, message))
        assert isinstance(close, Close)
    assert desk.happens(Erred(1, 1000, "garbage")) == [Close(1, "garbage")]


def test_a_refusal_is_a_failure_with_its_reason() -> None:
    desk = Desk()
    desk.happens(Started())
    desk.happens(Connected(1, "peer:1"))
    assert Finish() in desk.happens(Received(1, messages.Refused("full")))
    assert desk.client.failure == "full"


def test_a_client_that_is_stopped_hangs_up() -> None:
    desk = Desk()
    desk.happens(Started())
    desk.happens(Connected(1, "peer:1"))
    assert desk.happens(Stopping()) == DONE


def test_a_transaction_says_when_it_was_made() -> None:
    with pytest.raises(LocalError, match="when it was made"):
        Desk(messages.SubmitTransaction("abcd1234", "hello"))
