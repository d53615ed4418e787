"""An agent, moved by hand: what it searches, what it says, and what it does when none is left."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from nonsuch.chain.validation import InsufficientWork
from nonsuch.networks.coordinator import facts
from nonsuch.networks.coordinator.header import (
    NONCE_COUNT,
    ROOT,
    STOCK_TARGET,
    TIMESTAMP_MAX,
    VERSION,
    Block,
    Header,
)
from nonsuch.networks.coordinator.messages import Half
from nonsuch.networks.coordinator.settings import AgentSettings
from nonsuch.node import (
    Advanced,
    Cancel,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.scenarios.coordinator_cheats import solved
from nonsuch.work.goals import First
from nonsuch.work.target import Target
from tests.networks.coordinator.bench import EASY, UNIX, AgentBench, Bench, sent, told


def header(nonce: int = 0, seconds: int = 0, target: Target = EASY) -> Header:
    root = random.Random(seconds).randbytes(32)
    return Header.of(VERSION, ROOT, root, int(UNIX) + seconds, target, nonce)


def search_of(effects: list[Effect]) -> Search:
    (search,) = [each for each in effects if isinstance(each, Search)]
    return search


# Headers, and answers.


def test_it_searches_from_the_headers_nonce_to_the_last() -> None:
    bench = AgentBench()
    one = header(nonce=5000)
    assert bench.hear(one) == [Search(1, one.puzzle, range(5000, NONCE_COUNT), First(EASY))]


def test_what_it_finds_it_sends_and_then_waits() -> None:
    bench = AgentBench()
    one = header(nonce=5000)
    search = search_of(bench.hear(one))
    bench.now += 2.0
    answer = solved(one)
    name = Block(answer).id.hex()
    assert bench.find(search) == [Send(1, answer), Emit(facts.Solved(name, answer.nonce, 2.0))]
    assert not bench.core.statistics().searching
    assert bench.core.deadline() is None


def test_a_new_header_ends_the_search_on_the_one_before() -> None:
    bench = AgentBench()
    old = search_of(bench.hear(header()))
    effects = bench.hear(header(seconds=1))
    assert effects[0] == Cancel(old.task)
    new = search_of(effects)
    assert new.task > old.task
    assert not bench.find(old), "it comes too late"
    assert isinstance(bench.find(new)[0], Send)


def test_of_ten_headers_that_waited_the_last_is_searched() -> None:
    bench = AgentBench()
    headers = [header(seconds=number) for number in range(10)]
    effects = [effect for each in headers for effect in bench.hear(each)]
    cancelled = {each.task for each in effects if isinstance(each, Cancel)}
    (left,) = [each for each in effects if isinstance(each, Search) and each.task not in cancelled]
    assert left.puzzle == headers[-1].puzzle


def test_a_search_that_found_nothing_of_the_kind_is_an_error_of_ours() -> None:
    bench = AgentBench()
    one = header()
    search = search_of(bench.hear(one))
    wrong = next(n for n in range(99) if not EASY.admits(Block(one.with_nonce(n)).rank))
    with pytest.raises(InsufficientWork):
        bench.give(Searched(search.task, wrong + 1, (wrong,)))


def test_a_target_of_zero_is_never_searched_and_told_once() -> None:
    bench = AgentBench()
    search = search_of(bench.hear(header()))
    zero = Header(header().data[:72] + bytes(32) + bytes(4))
    effects = bench.hear(zero)
    assert effects[0] == Cancel(search.task)
    assert [type(fact) for fact in told(effects)] == [facts.HeaderRefused]
    assert not bench.hear(zero)
    search_of(bench.hear(header(seconds=1)))
    assert len(told(bench.hear(zero))) == 1


# Nothing is left to search.


def test_when_all_nonces_were_tried_the_header_is_dated_a_second_later() -> None:
    bench = AgentBench(settings=AgentSettings(roll_seconds_max=2))
    one = header(nonce=7)
    effects = bench.hear(one)
    for seconds in (1, 2):
        effects = bench.exhaust(search_of(effects))
        assert told(effects) == [facts.Exhausted(rolled=True)]
        search = search_of(effects)
        assert search.puzzle == one.with_timestamp(int(UNIX) + seconds).puzzle
        assert search.nonces == range(7, NONCE_COUNT)
    # Further than that it does not go, until the coordinator's clock has moved on.
    bench.now += 1.5
    effects = bench.exhaust(search_of(effects))
    assert told(effects) == [facts.Exhausted(rolled=True)]
    effects = bench.exhaust(search_of(effects))
    assert effects == [Emit(facts.Exhausted(rolled=False))]
    assert bench.core.statistics().exhausted == 4
    search_of(bench.hear(header(seconds=15)))


def test_what_it_finds_after_that_has_the_later_date() -> None:
    bench = AgentBench()
    one = header()
    effects = bench.exhaust(search_of(bench.hear(one)))
    (answer,) = sent(bench.find(search_of(effects))).values()
    assert answer == solved(one.with_timestamp(one.timestamp + 1))


def test_the_end_of_time_is_waited_for() -> None:
    bench = AgentBench()
    effects = bench.exhaust(search_of(bench.hear(header().with_timestamp(TIMESTAMP_MAX))))
    assert effects == [Emit(facts.Exhausted(rolled=False))]


# The way there, and back.


def test_it_dials_until_somebody_answers_and_people_hear_of_it_once() -> None:
    bench = AgentBench(connected=False)
    assert bench.give(Started()) == [Dial()]
    waits, heard = list[float](), list[object]()
    for _ in range(12):
        heard += told(bench.give(Disconnected(0, "connection refused", "")))
        at = bench.core.deadline()
        assert at is not None
        waits.append(at - bench.now)
        assert not bench.give(Tick()), "not yet"
        bench.now = at
        assert bench.give(Tick()) == [Dial()]
    assert heard == [facts.CoordinatorLost("connection refused")]
    assert max(waits) <= 5.0
    assert waits[0] <= 0.1
    assert all(after > before for before, after in pairwise(waits[:5]))
    assert told(bench.give(Connected(1, "coordinator:3000"))) == [
        facts.CoordinatorReached("coordinator:3000", 13)
    ]


def test_without_a_coordinator_nothing_is_searched() -> None:
    bench = AgentBench()
    search = search_of(bench.hear(header()))
    effects = bench.give(Disconnected(1, "it hung up"))
    assert effects == [Cancel(search.task), Emit(facts.CoordinatorLost("it hung up"))]
    assert not bench.find(search)
    assert not bench.hear(header()), "the connection is gone"
    at = bench.core.deadline()
    assert at is not None
    bench.now = at
    bench.give(Tick())
    bench.give(Connected(2, "coordinator:3000"))
    search_of(bench.give(Received(2, header())))


def test_it_stops_for_good() -> None:
    bench = AgentBench()
    search = search_of(bench.hear(header()))
    assert bench.give(Stopping()) == [Cancel(search.task), Close(1, "stopped")]
    assert not bench.give(Disconnected(1, "stopped"))
    assert bench.core.deadline() is None


def test_what_makes_no_sense_is_ignored() -> None:
    bench = AgentBench()
    assert not bench.give(Received(1, Half()))
    assert not bench.give(Received(9, header()))
    assert not bench.give(Searched(5, 5, (4,)))
    assert not bench.give(Advanced(5, 5))
    assert not bench.give(Disconnected(9, "who?"))
    assert not bench.give(Tick())


# What is seen of it.


def test_it_knows_its_hash_rate_whatever_becomes_of_its_searches() -> None:
    bench = AgentBench()
    search = search_of(bench.hear(header()))
    bench.now += 0.5
    bench.give(Advanced(search.task, 5000))
    assert bench.core.statistics().rate == 10_000
    bench.now += 0.3
    search = search_of(bench.hear(header(seconds=1)))
    bench.now += 0.2
    bench.give(Searched(search.task, 2000, (solved(header(seconds=1)).nonce,)))
    bench.now += 60.0
    statistics = bench.core.statistics()
    assert statistics.hashes == 7000
    assert statistics.rate == pytest.approx(10_000)
    assert (statistics.headers, statistics.answers) == (2, 1)
    assert (statistics.coordinator, statistics.searching) == ("coordinator:3000", False)


# The two together, and with other people's.


def test_it_is_what_a_coordinator_serves() -> None:
    coordinator, agent = Bench(agents=1), AgentBench()
    for height in range(20):
        effects = agent.find(search_of(agent.hear(coordinator.headers[1])))
        (answer,) = sent(effects).values()
        coordinator.answer(1, answer)
        assert coordinator.core.ledger.height == height


def test_a_stock_coordinators_headers_are_solved_as_they_are() -> None:
    agent = AgentBench()
    for number in range(3):
        one = header(seconds=15 * number, target=STOCK_TARGET)
        (answer,) = sent(agent.find(search_of(agent.hear(one)))).values()
        # All that a stock coordinator looks at: a low hash, and what it goes by.
        assert answer.with_nonce(0) == one
        assert STOCK_TARGET.admits(Block(answer).rank)
