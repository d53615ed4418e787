"""The client's core, by hand: a wish is said until it is heard, and an answer is not believed."""

from __future__ import annotations

import random

import pytest

from nonsuch.networks.pool import facts
from nonsuch.networks.pool.client import Client, Wish
from nonsuch.networks.pool.messages import (
    Answer,
    Ask,
    Ended,
    Hello,
    Lease,
    PuzzleForm,
    Refused,
    Report,
    Status,
    Submit,
    Watch,
    Welcome,
    Withdraw,
)
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
from nonsuch.work.presets import plain
from nonsuch.work.target import Target

HELLO = Hello("client", name="c")
PUZZLE = plain(b"message ")
FORM = PuzzleForm.of(PUZZLE)
TARGET = Target.from_work(100)
FIRST = next(nonce for nonce in range(10_000) if TARGET.admits(PUZZLE.prove(nonce).rank))

LOWEST_WISH = Submit("job", FORM, 10, 999)
FIRST_WISH = Submit("job", FORM, 0, 9999, TARGET.value.to_bytes(32, "big"))

STATUS = Status("job", 5, 990, 10.0, 1, 0.5, nonce=12)
PROGRESS = Emit(facts.Progressed("job", 5, 990, 10.0, 1, 12))
DONE: list[Effect] = [Close(1, "done"), Finish()]


class Desk:
    """A client and its clock, with `_check` after every event."""

    def __init__(
        self, wish: Wish = LOWEST_WISH, *, stays: bool = True, patient: bool = False
    ) -> None:
        self.client = Client(HELLO, wish, random.Random(0), stays=stays, patient=patient)
        self.now = 0.0

    def happens(self, event: Event) -> list[Effect]:
        effects = self.client.handle(event, self.now)
        self.client._check()
        return effects

    def hears(self, message: object, peer: int = 1) -> list[Effect]:
        return self.happens(Received(peer, message))

    def connects(self, peer: int = 1) -> list[Effect]:
        effects = self.happens(Connected(peer, "pool:1"))
        self.hears(Welcome(1.0), peer)
        return effects

    def ticks(self) -> list[Effect]:
        deadline = self.client.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self.happens(Tick())


def connected(wish: Wish = LOWEST_WISH, *, stays: bool = True) -> Desk:
    desk = Desk(wish, stays=stays)
    desk.happens(Started())
    desk.connects()
    return desk


def test_a_job_is_submitted_watched_and_answered() -> None:
    desk = Desk()
    assert desk.happens(Started()) == [Dial()]
    assert desk.connects() == [
        Send(1, HELLO),
        Emit(facts.PoolReached("pool:1", 1)),
        Send(1, LOWEST_WISH),
    ]
    assert desk.hears(STATUS) == [PROGRESS]
    assert desk.hears(Answer("job", 17, 990, 2.0)) == [
        Emit(facts.Answered("job", 17, 990, 2.0)),
        *DONE,
    ]
    assert desk.client.answer == Answer("job", 17, 990, 2.0)
    assert desk.client.deadline() is None
    assert desk.happens(Disconnected(1, "it hung up")) == []


def test_a_wish_that_nobody_answers_is_said_again() -> None:
    desk = connected()
    assert desk.ticks() == [Send(1, LOWEST_WISH)]
    assert desk.ticks() == [Send(1, LOWEST_WISH)]
    assert desk.now == 10.0
    desk.hears(STATUS)
    assert desk.client.deadline() == 15.0


def test_the_pool_is_gone_and_comes_back() -> None:
    desk = connected()
    assert desk.happens(Disconnected(1, "reset")) == [Emit(facts.ConnectionLost("reset"))]
    for _ in range(5):
        assert desk.ticks() == [Dial()]
        assert desk.happens(Disconnected(0, "no answer")) == []
    assert desk.ticks() == [Dial()]
    assert desk.connects(2) == [
        Send(2, HELLO),
        Emit(facts.PoolReached("pool:1", 6)),
        Send(2, LOWEST_WISH),
    ]
    assert desk.hears(Answer("job", 17, 990, 2.0)) == []  # From a connection that is gone.
    assert desk.hears(Answer("job", 18, 990, 2.0), 2)[0] == Emit(
        facts.Answered("job", 18, 990, 2.0)
    )


def test_an_impatient_client_gives_up_where_there_is_no_pool() -> None:
    desk = Desk()
    desk.happens(Started())
    assert desk.happens(Disconnected(0, "connection refused")) == [
        Emit(facts.SubmitRefused("job", "connection refused")),
        Finish(),
    ]
    assert desk.client.failure == "connection refused"


def test_a_patient_client_waits_for_a_pool() -> None:
    desk = Desk(patient=True)
    desk.happens(Started())
    assert desk.happens(Disconnected(0, "refused")) == [Emit(facts.ConnectionLost("refused"))]
    assert desk.ticks() == [Dial()]
    assert desk.client.failure is None


def test_a_client_that_does_not_stay_goes_with_the_first_word_of_its_job() -> None:
    desk = connected(stays=False)
    assert desk.hears(STATUS) == [PROGRESS, *DONE]
    assert desk.client.answer is None
    assert desk.client.failure is None


# Answers that are wrong.


@pytest.mark.parametrize("nonce", [0, 9, 1000, 2**64 - 1])
def test_an_answer_from_outside_the_job(nonce: int) -> None:
    desk = connected()
    reason = f"the pool's answer is wrong: nonce {nonce} is not of this job"
    assert desk.hears(Answer("job", nonce, 990, 2.0)) == [
        Emit(facts.SubmitRefused("job", reason)),
        *DONE,
    ]
    assert desk.client.answer is None


@pytest.mark.parametrize("nonce", [10, 999])
def test_an_answer_from_the_edge_of_the_job(nonce: int) -> None:
    desk = connected()
    desk.hears(Answer("job", nonce, 990, 2.0))
    assert desk.client.answer is not None


def test_an_answer_that_does_not_meet_the_target() -> None:
    desk = connected(FIRST_WISH)
    desk.hears(Answer("job", FIRST - 1, 990, 2.0))
    assert desk.client.failure == "the pool's answer is wrong: it does not meet the target"


@pytest.mark.parametrize("nonce", [FIRST, None])
def test_an_answer_that_meets_the_target_or_says_that_none_does(nonce: int | None) -> None:
    desk = connected(FIRST_WISH)
    desk.hears(Answer("job", nonce, 990, 2.0))
    assert desk.client.answer == Answer("job", nonce, 990, 2.0)


def test_a_pool_says_that_nothing_is_the_lowest() -> None:
    desk = connected()
    desk.hears(Answer("job", None, 990, 2.0))
    assert desk.client.failure is not None


def test_the_answer_to_somebody_elses_question() -> None:
    desk = connected()
    desk.hears(Answer("another job", 17, 990, 2.0))
    assert desk.client.answer is None


# Wishes that are not to be.


def test_a_pool_that_does_not_want_the_job() -> None:
    desk = connected()
    assert desk.hears(Ended("job", "this pool has its 2 jobs")) == [
        Emit(facts.SubmitRefused("job", "this pool has its 2 jobs")),
        *DONE,
    ]
    assert desk.client.failure == "this pool has its 2 jobs"


def test_a_pool_that_will_never_have_this_client() -> None:
    desk = connected()
    desk.hears(Refused("the token is wrong", final=True))
    assert desk.client.failure == "the token is wrong"


def test_a_pool_that_may_have_this_client_later() -> None:
    desk = connected()
    assert desk.hears(Refused("this pool has its 2 connections")) == [
        Emit(facts.PoolRefused("this pool has its 2 connections", False)),
        Close(1, "this pool has its 2 connections"),
    ]
    desk.happens(Disconnected(1, "hung up"))
    assert desk.ticks() == [Dial()]
    assert desk.client.failure is None


@pytest.mark.parametrize("message", [Hello("client"), Ask(), Lease(1, "job", 0, 1, 0), 17])
def test_a_message_that_makes_no_sense_ends_the_connection(message: object) -> None:
    reason = f"{type(message).__name__} from a pool makes no sense to a client"
    assert connected().hears(message) == [Close(1, reason)]


def test_garbage_ends_the_connection_and_not_the_client() -> None:
    desk = connected()
    assert desk.happens(Erred(1, 1000, "no message")) == [Close(1, "no message")]
    desk.happens(Disconnected(1, "no message"))
    assert desk.ticks() == [Dial()]


def test_a_client_is_stopped() -> None:
    assert connected().happens(Stopping()) == [Close(1, "stopped")]


# Other wishes.


def test_a_job_is_watched_whose_answer_cannot_be_checked() -> None:
    desk = connected(Watch("job"))
    desk.hears(STATUS)
    desk.hears(Answer("job", 2**64 - 1, 990, 2.0))
    assert desk.client.answer is not None


def test_a_job_that_nobody_knows_is_watched() -> None:
    desk = connected(Watch("job"))
    desk.hears(Ended("job", "this pool has no job of this id"))
    assert desk.client.failure == "this pool has no job of this id"


def test_a_job_is_withdrawn() -> None:
    desk = connected(Withdraw("job"))
    assert desk.hears(STATUS) == [PROGRESS]
    assert desk.hears(Ended("job", "withdrawn")) == DONE
    assert desk.client.failure is None


def test_a_job_is_withdrawn_too_late() -> None:
    desk = connected(Withdraw("job"))
    desk.hears(Ended("job", "this job is done already"))
    assert desk.client.failure == "this job is done already"


def test_a_pool_is_asked_how_it_stands() -> None:
    desk = connected(Ask())
    assert desk.hears(Report(b"{}")) == [Emit(facts.Reported(b"{}")), *DONE]


def test_events_that_make_no_sense_are_ignored() -> None:
    desk = connected()
    nonsense: list[Event] = [
        Received(9, Answer("job", 17, 1, 0.0)),
        Disconnected(9, "who?"),
        Erred(9, 1000, "who?"),
        Tick(),
    ]
    assert [desk.happens(event) for event in nonsense] == [[]] * len(nonsense)
