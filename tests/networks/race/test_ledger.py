"""The rule: every race has exactly one winner, whoever comes when, and however often he asks."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.networks.race import desk as desks
from nonsuch.networks.race.desk import Desk, Waiting, key_of
from nonsuch.networks.race.ledger import Entry, Ledger, LedgerDamaged, time_text
from nonsuch.networks.race.messages import (
    NAME_MAX,
    RACES_MAX,
    TRANSACTION_BYTES_MAX,
    Answer,
    Asked,
    Claim,
    Enter,
    Join,
    Joined,
    Leave,
    Lost,
    Question,
    Replaced,
    Told,
    Won,
)

T = "Your transaction data"
STARTED, ENDED = "2025-02-13 19:16:07.045130", "2025-02-13 19:16:08.000001"


def entry(node: str = "Node1", text: str = T, ended: str = ENDED) -> Entry:
    return Entry(node, text, 154, "00" * 32, 0.5, STARTED, ended)


def claim(node: str = "Node1", text: str = T, number: int = 1, since: int = 0) -> Claim:
    return Claim(0, "", since, number, entry(node, text))


# One ledger.


def test_a_generation_is_what_the_first_entry_is() -> None:
    empty, one = Ledger(), Ledger([entry().plain()])
    assert empty.generation == ""
    assert len(one.generation) == 64
    assert Ledger([entry().plain(), entry("Node2").plain()]).generation == one.generation
    assert Ledger([entry("Node2").plain()]).generation != one.generation
    assert Ledger([dict(reversed(entry().plain().items()))]).generation == one.generation


def test_what_is_new_is_added_and_what_is_another_ledger_is_read_anew() -> None:
    entries = [entry(text=f"text {number}").plain() for number in range(5)]
    ledger = Ledger(entries[:2])
    ledger.update(entries)
    assert len(ledger) == 5
    assert ledger.count("text 4") == 1
    ledger.update(entries[:3])
    assert (len(ledger), ledger.count("text 4")) == (3, 0)
    ledger.update(entries[3:])
    assert (len(ledger), ledger.count("text 0")) == (2, 0)
    ledger.update([])
    assert (len(ledger), ledger.generation) == (0, "")


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        ({"transaction_data": T}, 'entry 2 of the ledger has no text as its "node"'),
        ({"node": 1, "transaction_data": T}, 'has no text as its "node"'),
        ({"node": "n", "transaction_data": None}, 'has no text as its "transaction_data"'),
        (["node"], "entry 2 of the ledger is no object"),
    ],
)
def test_a_damaged_ledger_is_told_where_and_what_to_do(damaged: object, reason: str) -> None:
    with pytest.raises(LedgerDamaged, match=reason) as raised:
        Ledger([entry().plain(), damaged])  # type: ignore[list-item]  # a file may hold anything
    assert "mend the ledger, or move it away" in str(raised.value)


def test_an_entry_has_its_keys_in_order() -> None:
    assert list(entry().plain()) == [
        "node",
        "transaction_data",
        "nonce",
        "hash",
        "time_taken",
        "start_time",
        "end_time",
    ]


def test_times_are_those_of_the_zone() -> None:
    assert time_text(1_700_000_000.25, UTC) == "2023-11-14 22:13:20.250000"
    assert time_text(0, timezone(timedelta(hours=-5))) == "1969-12-31 19:00:00.000000"
    assert len(time_text(1e9, None)) == len("2001-09-09 01:46:40.000000")


# The rule, told at a desk.


class Office:
    """A ledger and its desk, and what is written."""

    def __init__(self, *entries: dict[str, object]) -> None:
        self.entries = list(entries)
        self.ledger = Ledger(self.entries)
        self.desk = Desk()

    def says(self, request: Join | Enter | Claim | Leave | Asked) -> list[Answer | Told]:
        entries, answers = self.desk.handle(request, self.ledger)
        self.entries += entries
        assert len(self.ledger) == len(self.entries)
        return answers


def test_the_first_wins_and_the_others_lose() -> None:
    office = Office()
    (won,) = office.says(claim("Node1"))
    assert won == Won(0, office.ledger.generation, 1, key_of(T))
    (lost,) = office.says(claim("Node2"))
    assert lost == Lost(0, office.ledger.generation, 1, key_of(T), "Node1")
    assert office.entries == [entry("Node1").plain()]


def test_the_same_claim_sent_twice_has_won_twice_and_is_written_once() -> None:
    office = Office()
    assert office.says(claim()) == office.says(claim())
    assert len(office.entries) == 1


def test_a_text_that_comes_again_is_another_race() -> None:
    office = Office()
    office.says(claim("Node1"))
    (won,) = office.says(Claim(0, "", 0, 2, entry("Node2")))
    assert isinstance(won, Won)
    (late,) = office.says(claim("Node3"))
    assert isinstance(late, Lost)
    assert late.winner == "Node1"
    (later,) = office.says(Claim(0, "", 0, 2, entry("Node3")))
    assert isinstance(later, Lost)
    assert later.winner == "Node2"


def test_who_joins_in_the_middle_counts_from_there() -> None:
    office = Office(entry("old").plain(), entry("old").plain(), entry("old", "other").plain())
    (joined,) = office.says(Join(5))
    assert joined == Joined(5, office.ledger.generation, 3)
    generation = office.ledger.generation
    (won,) = office.says(Claim(0, generation, 3, 1, entry()))
    assert isinstance(won, Won)
    (lost,) = office.says(Claim(0, generation, 3, 1, entry("Node2")))
    assert isinstance(lost, Lost)
    assert lost.winner == "Node1"
    (also,) = office.says(Claim(0, generation, 2, 1, entry("Node3")))
    assert isinstance(also, Lost), "two of this text were among the first two as well"


@pytest.mark.parametrize(
    ("generation", "since", "number"),
    [
        ("f" * 64, 0, 1),  # another ledger
        ("right", 2, 1),  # shorter than when it joined
        ("right", 0, 3),  # one that it knows of is missing
        ("", 1, 1),  # nobody joins an empty ledger behind its first entry
    ],
)
def test_who_knows_another_ledger_is_told_so(generation: str, since: int, number: int) -> None:
    office = Office(entry("old").plain())
    generation = office.ledger.generation if generation == "right" else generation
    replaced = Replaced(7, office.ledger.generation)
    assert office.says(Claim(7, generation, since, number, entry())) == [replaced]
    assert office.says(Enter(7, generation, since, number, T)) == [replaced]
    assert len(office.entries) == 1
    assert office.desk.watches == 0


def test_who_enters_hears_that_he_has_lost_at_once_or_later() -> None:
    office = Office()
    assert office.says(Asked(1, Enter(0, "", 0, 1, T))) == []
    assert office.says(Asked(2, Enter(3, "", 0, 1, T))) == []
    assert office.says(Asked(2, Enter(3, "", 0, 1, "other"))) == []
    assert office.desk.watches == 3
    won, lost = office.says(Asked(1, claim()))
    assert isinstance(won, Told)
    assert isinstance(won.answer, Won)
    generation = office.ledger.generation
    assert lost == Told(2, Lost(3, generation, 1, key_of(T), "Node1"))
    assert office.desk.watches == 1
    (at_once,) = office.says(Enter(0, "", 0, 1, T))
    assert at_once == Lost(0, generation, 1, key_of(T), "Node1")


def test_who_leaves_hears_nothing() -> None:
    office = Office()
    office.says(Enter(0, "", 0, 1, T))
    assert office.says(Leave()) == []
    assert office.desk.watches == 0
    (won,) = office.says(Asked(2, claim()))
    assert isinstance(won, Told)


def test_an_entry_by_somebody_else_s_hand_is_noticed() -> None:
    office = Office()
    office.says(Enter(0, "", 0, 1, T))
    office.says(Enter(0, "", 0, 1, "other"))
    office.ledger.update([entry("\ud800" + "n" * 200).plain()])
    (lost,) = office.desk.look(office.ledger)
    assert isinstance(lost, Lost)
    assert lost.winner == "?" + "n" * (NAME_MAX - 1), "as it can travel"
    assert office.desk.watches == 1


def test_a_ledger_that_is_replaced_is_noticed_once_a_node() -> None:
    office = Office(entry("old").plain())
    generation = office.ledger.generation
    for seat in (1, 2):
        for text in ("a", "b"):
            office.says(Asked(seat, Enter(0, generation, 1, 1, text)))
    office.ledger.update([])
    answers = office.desk.look(office.ledger)
    assert answers == [Told(1, Replaced(0, "")), Told(2, Replaced(0, ""))]
    assert office.desk.watches == 0


# Any three nodes, in any order.


class Runner:
    """A node as the rule sees it: it knows where it joined, and how often each text was decided."""

    def __init__(self, name: str, office: Office) -> None:
        self.name = name
        self.office = office
        (joined,) = office.says(Join(0))
        assert isinstance(joined, Joined)
        self.generation, self.since = joined.generation, joined.entries
        self.decided: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.clock = 0

    def races(self, text: str, *, twice: bool) -> None:
        """Run its next race of this text; `twice`, the answer is lost, and the claim sent again."""
        if not self.left[text]:
            return
        self.clock += 1
        mine = entry(self.name, text, str(self.clock))
        number = self.decided[text] + 1
        asked = Claim(0, self.generation, self.since, number, mine)
        answers = [self.office.says(asked)[0] for _ in range(1 + twice)]
        answer = answers[-1]
        if isinstance(answer, Replaced):
            self.generation, self.since = answer.generation, 0
            self.decided.clear()
            return
        assert isinstance(answer, Won | Lost)
        assert {type(each) for each in answers} == {type(answer)}
        self.generation = answer.generation
        self.decided[text] += 1
        self.left[text] -= 1


STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.booleans()), max_size=40)
ARRIVALS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab")), max_size=12)


@given(ARRIVALS, STEPS, st.integers(0, 3))
def test_any_order_gives_one_winner_a_race(
    arrivals: list[tuple[int, str]], steps: list[tuple[int, str, bool]], old: int
) -> None:
    office = Office(*(entry("old", text).plain() for text in "aba"[:old]))
    nodes = [Runner(f"Node{number}", office) for number in range(3)]
    for who, text in arrivals:
        nodes[who].left[text] += 1
    most = {text: max(node.left[text] for node in nodes) for text in "ab"}
    for who, text, twice in steps:
        nodes[who].races(text, twice=twice)
    for node in nodes:
        for text in "ab" * sum(most.values()):
            node.races(text, twice=False)
    written = Counter(str(each["transaction_data"]) for each in office.entries[old:])
    assert {text: written[text] for text in "ab"} == most
    assert all(not node.left.total() for node in nodes)


@given(ARRIVALS, STEPS, STEPS, st.integers(0, 2))
def test_a_ledger_that_is_replaced_has_no_more_winners_than_races(
    arrivals: list[tuple[int, str]],
    before: list[tuple[int, str, bool]],
    after: list[tuple[int, str, bool]],
    new: int,
) -> None:
    office = Office()
    nodes = [Runner(f"Node{number}", office) for number in range(3)]
    for who, text in arrivals:
        nodes[who].left[text] += 1
    for who, text, twice in before:
        nodes[who].races(text, twice=twice)
    waiting = {text: max(node.left[text] for node in nodes) for text in "ab"}
    most = Counter(text for _, text in arrivals)
    office.entries[:] = [entry("new", text).plain() for text in "ab"[:new]]
    office.ledger.update(office.entries)
    for who, text, twice in after:
        nodes[who].races(text, twice=twice)
    for node in nodes:
        for text in "ab" * (len(arrivals) + 2):
            node.races(text, twice=False)
    assert all(not node.left.total() for node in nodes)
    for text in "ab":
        written = sum(each["transaction_data"] == text for each in office.entries)
        assert written >= waiting[text] or not waiting[text]
        assert written <= max(1, most[text]) + new


def test_a_claim_costs_the_same_however_long_the_ledger_is() -> None:
    # Counted, not timed: the entries that are looked at.
    looked = 0

    class Watched(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            nonlocal looked
            looked += 1
            return super().get(key, default)

    lots = random.Random(1)
    entries = [Watched(entry(text=str(lots.random())).plain()) for _ in range(1000)]
    ledger = Ledger(entries)
    entries.append(Watched(entry(text="new").plain()))
    looked = 0
    ledger.update(entries)
    desk = Desk()
    desk.handle(Claim(0, ledger.generation, 0, 2, entry("Node2", "new")), ledger)
    desk.handle(Claim(0, ledger.generation, 0, 1, entry("Node3", "new")), ledger)
    assert looked < 10


# What waits for the file.


def test_what_waits_is_served_in_its_order_and_again_until_it_is_on_disk() -> None:
    waiting, desk = Waiting(), Desk()
    asked: list[Question | Asked]
    asked = [Join(0), Enter(0, "", 0, 1, T), claim("Node1"), Asked(7, claim("Node2")), Leave()]
    assert all(waiting.add(each, desk) for each in asked)
    assert waiting.first(2) == asked[:2]
    assert waiting.first(3) == asked[:3], "the file could not be written"
    waiting.served()
    assert waiting.first(9) == asked[3:]
    waiting.served()
    assert not waiting


def test_who_leaves_takes_along_all_but_its_claims() -> None:
    waiting, desk = Waiting(), Desk()
    for seat in (1, 2):
        waiting.add(Asked(seat, Join(0)), desk)
        waiting.add(Asked(seat, Enter(0, "", 0, 1, T)), desk)
        waiting.add(Asked(seat, claim(f"Node{seat}")), desk)
    waiting.add(Asked(1, Leave()), desk)
    assert waiting.first(9) == [
        Asked(1, claim("Node1")),
        Asked(2, Join(0)),
        Asked(2, Enter(0, "", 0, 1, T)),
        Asked(2, claim("Node2")),
    ]


def test_the_desk_hears_who_leaves_where_it_may_know_who_that_is() -> None:
    waiting, desk, ledger = Waiting(), Desk(), Ledger()
    leave = Asked(1, Leave())
    waiting.add(Asked(1, Enter(0, "", 0, 1, T)), desk)
    (enter,) = waiting.first(1)
    waiting.add(leave, desk)  # In the middle: it may be too late to take the question back.
    desk.handle(enter, ledger)
    waiting.served()
    assert waiting.first(9) == [leave]
    desk.handle(leave, ledger)
    waiting.served()
    assert desk.watches == 0
    waiting.add(leave, desk)
    assert not waiting


def test_whoever_asks_and_leaves_and_comes_again_fills_no_memory() -> None:
    waiting, desk, long = Waiting(), Desk(), "x" * TRANSACTION_BYTES_MAX
    for seat in range(1, 200):
        for number in range(1, RACES_MAX + 1):
            assert waiting.add(Asked(seat, Enter(0, "", 0, number, long)), desk)
        waiting.add(Asked(seat, Leave()), desk)
    assert not waiting


def test_so_much_of_a_keepers_nodes_waits_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "QUESTIONS_BYTES_MAX", 10 * desks.QUESTION_BYTES)
    waiting, desk = Waiting(), Desk()
    taken = [waiting.add(Asked(seat, Join(0)), desk) for seat in range(1, 20)]
    assert taken == [True] * 10 + [False] * 9
    assert waiting.add(Join(0), desk), "a node's own questions are few"
    waiting.add(Asked(1, Leave()), desk)
    assert waiting.add(Asked(11, Join(0)), desk)
    assert not waiting.add(Asked(12, Join(0)), desk)
    waiting.first(9)
    waiting.served()
    assert not waiting.add(Asked(13, Enter(0, "", 0, 1, "x" * 9 * desks.QUESTION_BYTES)), desk)
    assert waiting.add(Asked(13, Enter(0, "", 0, 1, "x" * 7 * desks.QUESTION_BYTES)), desk)


def test_a_desk_that_was_copied_knows_what_it_knew() -> None:
    desk, ledger = Desk(), Ledger()
    desk.handle(Asked(1, Enter(0, "", 0, 1, T)), ledger)
    kept = desk.copy()
    (_, lost) = desk.handle(claim("Node2"), ledger).answers
    assert isinstance(lost, Told)
    assert not desk.knows(1)
    assert kept.knows(1)
    assert kept.look(ledger) == [lost]
