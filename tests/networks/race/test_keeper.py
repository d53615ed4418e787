"""A keeper and its nodes: one ledger for machines that share no file, and nobody is believed."""

from __future__ import annotations

from collections import deque
from hashlib import sha256

import msgspec
import pytest

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.race import facts, messages, races
from nonsuch.networks.race.desk import Overfull
from nonsuch.networks.race.keeper import Keeper
from nonsuch.networks.race.ledger import Entry
from nonsuch.networks.race.link import KEEPER, WELCOME_SECONDS
from nonsuch.networks.race.messages import ACCEPTED, RACES_MAX, TRANSACTION_BYTES_MAX
from nonsuch.networks.race.settings import KeeperSettings
from nonsuch.networks.race.statistics import KeeperStatistics
from nonsuch.networks.race.wire import KeeperWire
from nonsuch.node import (
    LOCAL,
    Connected,
    Disconnected,
    Erred,
    Finish,
    Received,
    Stopping,
)
from tests.networks.race.track import Machine, Track, node

T = "Your transaction data"
TIME = "2025-02-13 19:16:07.045130"
PROOF = Entry("Node1", T, 154, "", 0.5, TIME, TIME)
PROOF = msgspec.structs.replace(
    PROOF, hash="0083bc06dca739aa647a104f910cd307e210fe0c7559d1141be864d3e408d958"
)

LINKS = 1000
"""Numbers of the nodes' connections to the keeper, so that no client has the same."""


class Away:
    """A keeper with a file, and nodes that dial it. `numbers` are the connections that stand."""

    def __init__(self, **settings: object) -> None:
        self.track = Track()
        made = KeeperSettings(**{"difficulty": 1, **settings})  # type: ignore[arg-type]
        self.keeper = self.track.add("keeper", Keeper(made))
        self.number = LINKS
        self.numbers: dict[int, Machine] = {}

    def node(self, name: str, **settings: object) -> Machine:
        """A node that wants to be connected."""
        return self.track.add(name, node(name, has_keeper=True, **settings))

    def connect(self, machine: Machine) -> int:
        """The dial succeeds; all that is then said is said."""
        self.number += 1
        self.numbers[self.number] = machine
        self.keeper.happens(Connected(self.number, "10.0.0.1:9", "nonsuch"))
        machine.happens(Connected(self.number, "10.0.0.2:7", "nonsuch", KEEPER))
        self.settle()
        return self.number

    def cut(self, number: int) -> None:
        """The connection breaks."""
        machine = self.numbers.pop(number)
        self.keeper.happens(Disconnected(number, "connection reset"))
        machine.happens(Disconnected(number, "connection reset"))
        self.settle()

    def settle(self) -> None:
        """Until nothing is on its way."""
        ends = [(machine, number) for number, machine in self.numbers.items()]
        while True:
            self.track.settle()
            out, self.keeper.sent = self.keeper.sent, []
            for number, message in out:
                if number in self.numbers:
                    self.numbers[number].happens(Received(number, _carried(message, True)))
            back = [(number, machine.sent) for machine, number in ends]
            for machine, _ in ends:
                machine.sent = []
            for number, sent in back:
                for _, message in sent:
                    self.keeper.happens(Received(number, _carried(message, False)))
            if not out and not any(sent for _, sent in back):
                return


def _carried(message: object, dialled: bool) -> object:
    """A message as the other end decodes it."""
    sender, receiver = KeeperWire(dialled=not dialled), KeeperWire(dialled=dialled)
    if not dialled and not isinstance(message, messages.Hello):
        receiver.feed(receiver.encode(messages.Hello("n", 1)))
    (heard,) = receiver.feed(sender.encode(message))
    return heard


def three(away: Away) -> list[Machine]:
    machines = [away.node(name) for name in ("Node1", "Node2", "Node3")]
    for machine in machines:
        away.connect(machine)
    return machines


def test_three_nodes_and_a_keeper_have_one_winner() -> None:
    away = Away()
    machines = three(away)
    for machine in machines:
        assert machine.is_fed(T) == ACCEPTED
        away.settle()
    machines[1].finds()
    away.settle()
    assert away.track.winners() == [("Node2", T)]
    assert [machine.searches for machine in machines] == [{}, {}, {}]
    assert machines[1].told(facts.RaceWon) == [facts.RaceWon(T, 1)]
    assert len(machines[0].told(facts.RaceStopped)) == 1
    assert away.keeper.told(facts.EntryWritten) == [facts.EntryWritten("Node2", 1)]
    assert _statistics(away).races == 0
    assert _statistics(away).nodes == 3


def test_while_the_keeper_is_away_races_are_run_and_claims_wait() -> None:
    away = Away()
    first, second, _ = three(away)
    link = next(number for number, machine in away.numbers.items() if machine is first)
    away.cut(link)
    assert first.told(facts.KeeperLost) == [facts.KeeperLost("connection reset")]
    for number in range(races.CLAIMS_MAX + 2):
        assert first.is_fed(f"text {number}") == ACCEPTED
    while first.searches:
        first.finds()
    assert first.statistics.claims == races.CLAIMS_MAX + 2
    second.is_fed("text 0")
    away.settle()
    second.finds()
    away.settle()
    first.waits(5)
    assert first.dials > 1, "it is called again"
    away.connect(first)
    assert first.statistics.claims == 0
    assert (first.statistics.won, first.statistics.lost) == (races.CLAIMS_MAX + 1, 1)
    assert len(first.told(facts.KeeperReached)) == 2
    assert len(first.told(facts.KeeperLost)) == 1


def test_a_claim_that_was_written_when_the_connection_broke_has_won() -> None:
    away = Away()
    first, _, _ = three(away)
    first.is_fed(T)
    away.settle()
    first.finds()
    link = next(number for number, machine in away.numbers.items() if machine is first)
    ((_, claim),) = first.sent
    away.keeper.happens(Received(link, claim))
    away.track.settle()
    assert away.track.winners() == [("Node1", T)]
    first.sent, away.keeper.sent = [], []
    away.cut(link)
    away.connect(first)
    assert first.told(facts.RaceWon) == [facts.RaceWon(T, 1)]
    assert len(away.track.entries) == 1


def test_no_more_claims_are_under_way_than_a_keeper_takes() -> None:
    away = Away()
    first, _, _ = three(away)
    away.track.serves = False
    for number in range(40):
        first.is_fed(f"text {number}")
    while first.searches:
        first.finds()
        for number, message in first.sent:
            away.keeper.happens(Received(number, message))
        first.sent = []
    assert first.statistics.claims == 40
    assert _statistics(away).errors == 0
    assert races.CLAIMS_MAX <= _statistics(away).races <= RACES_MAX
    away.track.serves = True
    away.settle()
    assert len(away.track.entries) == 40


def test_a_keeper_that_does_not_answer_is_called_anew() -> None:
    away = Away()
    first, _, _ = three(away)
    first.is_fed(T)
    away.settle()
    first.finds()
    first.sent = []
    link = next(number for number, machine in away.numbers.items() if machine is first)
    first.waits(races.ANSWER_SECONDS - 0.1)
    assert link not in first.closed
    first.waits(0.2)
    assert first.closed[link] == "no answer"
    away.cut(link)
    away.connect(first)
    assert first.told(facts.RaceWon) == [facts.RaceWon(T, 1)]


@pytest.mark.parametrize(
    ("theirs", "ours", "reason"),
    [
        ({"token": "secret"}, {}, "this keeper wants a token"),
        ({"token": "secret"}, {"token": "guess"}, "the token is wrong"),
        ({"difficulty": 2}, {}, "the difficulty is 2 here, not 1"),
    ],
)
def test_who_does_not_fit_is_refused_for_good(
    theirs: dict[str, object], ours: dict[str, object], reason: str
) -> None:
    away = Away(**theirs)
    machine = away.node("Node1", **ours)
    away.connect(machine)
    assert machine.facts == [facts.KeeperRefused(reason, True)]
    assert any(isinstance(effect, Finish) for effect in machine.effects)
    assert _statistics(away).nodes == 0


def test_the_right_token_lets_in_and_another_version_does_not() -> None:
    away = Away(token="secret")
    away.connect(away.node("Node1", token="secret"))
    assert _statistics(away).nodes == 1
    away.keeper.happens(Connected(1, "10.0.0.3:1", "nonsuch"))
    away.keeper.happens(Received(1, messages.Hello("Node9", 1, "secret", version=2)))
    assert "not nonsuch-race version 2" in away.keeper.closed[1]


# Nodes that lie.


def stranger(away: Away, *said: object) -> Machine:
    """Somebody at connection 1 of the keeper, who says this."""
    away.keeper.happens(Connected(1, "10.0.0.3:1", "nonsuch"))
    for message in said:
        away.keeper.happens(Received(1, message))
        away.track.settle()
    return away.keeper


HELLO = messages.Hello("Node1", 1)


def _claim(number: int = 1, /, **changes: object) -> messages.Claim:
    entry = msgspec.structs.replace(PROOF, **changes)
    return messages.Claim(0, "", 0, number, entry)


def test_a_true_claim_is_written() -> None:
    away = Away()
    stranger(away, HELLO, _claim())
    assert away.track.entries == [PROOF.plain()]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": 155}, "whose hash is not what it says"),
        ({"nonce": -1}, "a nonce that there is not"),
        ({"nonce": 2**64}, "a nonce that there is not"),
        ({"hash": "00" * 32}, "whose hash is not what it says"),
        ({"nonce": 0, "hash": sha256(f"{T}0".encode()).hexdigest()}, "not good enough"),
        ({"node": "Node2"}, "in another node's name"),
        ({"time_taken": -1.0}, "took no time"),
        ({"time_taken": float("nan")}, "took no time"),
        ({"start_time": "yesterday"}, "at a time that there is not"),
        ({"end_time": TIME + "\n"}, "at a time that there is not"),
        ({"transaction_data": T + " "}, "no transaction"),
        ({"transaction_data": ""}, "no transaction"),
        ({"transaction_data": "x" * (TRANSACTION_BYTES_MAX + 1)}, "no transaction"),
    ],
)
def test_a_false_claim_is_not_written_and_costs_the_connection(
    changes: dict[str, object], reason: str
) -> None:
    away = Away()
    stranger(away, HELLO, _claim(**changes))
    assert away.track.entries == []
    assert reason in away.keeper.closed[1]
    assert _statistics(away).dropped == 1


@pytest.mark.parametrize(
    "said",
    [
        [messages.Join(0)],
        [messages.Welcome()],
        [HELLO, HELLO],
        [HELLO, messages.Won(0, "", 1, bytes(32))],
    ],
)
def test_what_makes_no_sense_ends_the_connection(said: list[object]) -> None:
    away = Away()
    stranger(away, *said)
    assert 1 in away.keeper.closed
    away.keeper.happens(Received(1, messages.Join(0)))
    assert not away.keeper.asked, "it is not listened to any more"


def test_who_enters_more_races_than_a_node_can_run_pays_for_it() -> None:
    away = Away()
    entered = [messages.Enter(0, "", 0, 1, f"text {number}") for number in range(RACES_MAX + 1)]
    stranger(away, HELLO, *entered)
    assert _statistics(away).errors == 1
    assert _statistics(away).races == RACES_MAX
    assert away.keeper.desk.watches == RACES_MAX
    for _ in range(10):
        away.keeper.happens(Received(1, entered[-1]))
    assert "more than 16 races" in away.keeper.closed[1]
    away.track.settle()
    assert away.keeper.desk.watches == 0


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (messages.Join(0), "it joins again and again"),
        (messages.Enter(0, "", 0, 1, T), "it asks again for what it will be told"),
        (_claim(), "it asks again for what it will be told"),
    ],
)
def test_who_asks_without_end_is_let_go_and_nobody_waits_for_it(
    question: messages.Question, reason: str
) -> None:
    away = Away()
    away.track.serves = False
    stranger(away, HELLO)
    for _ in range(11):
        away.keeper.happens(Received(1, question))
    assert away.keeper.closed[1] == reason
    assert list(away.keeper.asked) == [
        messages.Asked(1, question),
        messages.Asked(1, messages.Leave()),
    ]


def test_a_node_that_is_fast_does_not_ask_too_much() -> None:
    away = Away()
    first, _, _ = three(away)
    for number in range(300):
        first.is_fed(f"text {number}")
        away.settle()
        first.finds()
        away.settle()
    assert first.statistics.won == 300
    assert _statistics(away).errors == 0


def test_a_node_that_is_stopped_leaves() -> None:
    away = Away()
    first, _, _ = three(away)
    first.is_fed(T)
    away.settle()
    assert away.keeper.desk.watches == 1
    first.happens(Stopping())
    away.settle()
    assert away.keeper.desk.watches == 0
    assert away.keeper.told(facts.NodeLeft) == [facts.NodeLeft("Node1", "it left", 2)]


def test_garbage_costs_the_connection() -> None:
    away = Away()
    stranger(away, HELLO)
    away.keeper.happens(Erred(1, RemoteProtocolError.cost, "no message"))
    assert away.keeper.closed[1] == "no message"
    assert away.keeper.told(facts.NodeLeft) == [facts.NodeLeft("Node1", "no message", 0)]


def test_a_node_whose_questions_cannot_wait_is_sent_away_and_comes_back() -> None:
    away = Away()
    (first, *_) = three(away)
    link = next(number for number, machine in away.numbers.items() if machine is first)
    away.keeper.happens(Received(LOCAL, Overfull(link)))
    away.settle()
    (refused,) = first.told(facts.KeeperRefused)
    assert refused == facts.KeeperRefused(
        "the keeper's ledger cannot be used now: come again later", final=False
    )
    assert away.keeper.closed[link] == refused.reason
    assert away.keeper.asked == deque()
    away.keeper.happens(Received(LOCAL, Overfull(link)))
    away.keeper.happens(Received(LOCAL, Overfull(LINKS - 1)))
    assert _statistics(away).dropped == 1
    away.cut(link)
    first.waits(1)
    away.connect(first)
    assert first.is_fed(T) == ACCEPTED
    away.settle()
    first.finds()
    away.settle()
    assert away.track.winners() == [("Node1", T)]


def test_a_stranger_that_says_nothing_is_dropped() -> None:
    away = Away()
    stranger(away)
    away.keeper.waits(6.5)
    assert away.keeper.closed[1] == "no hello within 5 s"
    away.keeper.happens(Disconnected(1, "no hello"))
    away.keeper.waits(2)
    assert away.keeper.core.deadline() is None


def test_so_many_nodes_and_one_more() -> None:
    away = Away(connections_max=2)
    for number in (1, 2, 3):
        away.keeper.happens(Connected(number, "10.0.0.3:1", "nonsuch"))
    assert away.keeper.closed == {3: "this keeper has its 2 connections"}
    away.keeper.happens(Disconnected(1, "it hung up"))
    away.keeper.happens(Connected(4, "10.0.0.3:1", "nonsuch"))
    assert 4 not in away.keeper.closed


def test_a_node_that_goes_is_forgotten() -> None:
    away = Away()
    stranger(away, HELLO, messages.Enter(0, "", 0, 1, T))
    assert away.keeper.desk.watches == 1
    away.keeper.happens(Disconnected(1, "it hung up"))
    away.track.settle()
    assert away.keeper.desk.watches == 0
    late = messages.Told(1, messages.Lost(0, "", 1, bytes(32), "Node2"))
    assert away.keeper.happens(Received(LOCAL, late)) == []


# Keepers that lie.


def test_who_is_no_keeper_is_left_alone_for_longer_and_longer() -> None:
    track = Track()
    machine = track.add("Node1", node(has_keeper=True))
    for number in range(1, 6):
        machine.happens(Connected(number, "10.0.0.2:7", "nonsuch", KEEPER))
        machine.happens(Received(number, messages.Lost(0, "", 1, bytes(32), "x")))
        assert machine.closed[number] == "Lost before a welcome"
        machine.happens(Received(number, messages.Welcome()))
        assert machine.told(facts.KeeperReached) == []
        machine.happens(Disconnected(number, "hung up"))
        machine.waits(6)
    assert len(machine.told(facts.KeeperLost)) == 1


def test_a_keeper_that_does_not_welcome_is_given_up() -> None:
    machine = Track().add("Node1", node(has_keeper=True))
    machine.happens(Connected(1, "10.0.0.2:7", "nonsuch", KEEPER))
    machine.waits(WELCOME_SECONDS)
    assert machine.closed == {1: "no welcome"}
    machine.happens(Disconnected(1, "no welcome"))
    machine.happens(Disconnected(0, "cannot reach it", KEEPER))
    assert machine.facts == [facts.KeeperLost("no welcome")]


def _statistics(away: Away) -> KeeperStatistics:
    core = away.keeper.core
    assert isinstance(core, Keeper)
    return core.statistics()
