"""A coordinator, moved by hand: whom it serves, what it takes, and what it shrugs off."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
import pytest

from nonsuch.errors import LocalError
from nonsuch.networks.coordinator import facts
from nonsuch.networks.coordinator.coordinator import AGENTS_DESCRIBED_MAX
from nonsuch.networks.coordinator.header import (
    HEADER_BYTES,
    ROOT,
    STOCK_TARGET,
    VERSION,
    Block,
    Header,
)
from nonsuch.networks.coordinator.messages import Half
from nonsuch.networks.coordinator.settings import (
    RETARGETS,
    AgentSettings,
    CoordinatorSettings,
    RetargetName,
)
from nonsuch.networks.coordinator.wire import HeaderWire
from nonsuch.node import LOCAL, Clock, Close, Disconnected, Emit, Persist, Received, Send, Tick
from nonsuch.scenarios.coordinator import check_chain
from nonsuch.scenarios.coordinator_cheats import solved
from nonsuch.work.target import Target
from tests.networks.coordinator.bench import EASY, UNIX, Bench, closed, sent, stock_answer, told

WORTHLESS = Header(b"\xff" * HEADER_BYTES)


def of(kind: type, effects: list[object]) -> list[object]:
    return [each for each in effects if isinstance(each, kind)]


# Headers go out.


def test_an_agent_is_sent_a_header_at_once() -> None:
    bench = Bench(agents=0)
    header = sent(bench.join(1))[1]
    assert (header.version, header.parent, header.timestamp) == (VERSION, ROOT, UNIX)
    assert header.target == EASY


def test_everybody_begins_somewhere_else() -> None:
    bench = Bench(agents=500)
    assert len({header.nonce for header in bench.headers.values()}) == 500


def test_time_goes_on_in_headers_though_no_block_is_found() -> None:
    bench = Bench(agents=3)
    before = dict(bench.headers)
    assert not bench.pass_time(14.9)
    effects = bench.pass_time(0.2)
    assert sent(effects).keys() == {1, 2, 3}
    for number, header in sent(effects).items():
        assert header == before[number].with_timestamp(int(UNIX) + 15)
    assert len(sent(bench.pass_time(14.0))) == 0


def test_one_who_leaves_makes_room_for_another_in_the_same_place() -> None:
    bench = Bench(agents=3)
    left = bench.headers[2]
    assert told(bench.give(Disconnected(2, "it hung up"))) == [
        facts.AgentLeft("agent-2:1", "it hung up", 2)
    ]
    bench.now = 5.0
    assert sent(bench.join(4))[4] == left.with_timestamp(int(UNIX) + 5), "later, so not the same"


def test_where_there_is_no_room_one_is_told_to_go_and_people_are_told_once() -> None:
    bench = Bench(agents=2, settings=CoordinatorSettings(target=EASY, agents_max=2))
    effects = bench.join(3)
    assert closed(effects) == {3: "this coordinator has its 2 agents"}
    assert told(effects) == [facts.AgentDropped("agent-3:1", "this coordinator has its 2 agents")]
    assert closed(bench.join(4)).keys() == {4}
    assert not told(bench.join(5))
    assert not bench.answer(3, solved(bench.headers[1]))
    bench.give(Disconnected(1, "it hung up"))
    assert sent(bench.join(6)).keys() == {6}


# Answers come in.


def test_the_first_good_answer_is_on_disk_before_anybody_hears_of_it() -> None:
    bench = Bench(agents=3)
    bench.now = 2.0
    answer = solved(bench.headers[2])
    effects = bench.answer(2, answer)
    kinds = [type(effect) for effect in effects]
    assert kinds == [Persist, Send, Send, Send, Emit]
    assert effects[0] == Persist("chain", answer)
    block = Block(answer)
    for header in sent(effects).values():
        assert header.parent == block.id
        assert header.timestamp == UNIX + 2
    name, nonce = block.id.hex(), answer.nonce
    assert told(effects) == [facts.BlockAccepted(name, 0, nonce, "agent-2:1", 2.0)]
    # And the next broadcast is a whole time later.
    assert not sent(bench.pass_time(14.9))
    assert sent(bench.pass_time(0.2))


def test_the_second_good_answer_is_stale_and_that_is_no_fault() -> None:
    bench = Bench(agents=2)
    late = solved(bench.headers[2])
    bench.solve(1)
    assert bench.answer(2, late) == [Emit(facts.AnswerStale("agent-2:1", 0))]
    for _ in range(3):
        late = solved(bench.headers[2])
        bench.solve(1)
        assert told(bench.answer(2, late)) == [
            facts.AnswerStale("agent-2:1", bench.core.ledger.height)
        ]
    assert bench.core.ledger.height == 3
    one, other = bench.core.statistics(10.0).agents_described
    assert (one.accepted, one.stale, one.errors) == (4, 0, 0)
    assert (other.accepted, other.stale, other.errors) == (0, 4, 0)
    assert one.rate_estimate == other.rate_estimate == 4 * EASY.work / 10.0


def test_an_answer_to_an_earlier_header_on_the_same_tip_is_as_good() -> None:
    bench = Bench()
    early = solved(bench.headers[1])
    bench.pass_time(100.0)
    assert of(Persist, list(bench.answer(1, early)))


def test_an_agent_may_date_its_header_anew() -> None:
    bench = Bench()
    answer = solved(bench.headers[1].with_timestamp(int(UNIX) + 60))
    assert of(Persist, list(bench.answer(1, answer)))
    assert bench.headers[1].timestamp == UNIX + 60, "the median of one block"


def test_stock_agents_are_served() -> None:
    bench = Bench(agents=2, settings=CoordinatorSettings())
    wire, agents_wire = HeaderWire(), HeaderWire()
    for _ in range(3):
        data = stock_answer(agents_wire.encode(bench.headers[1]))
        (answer,) = wire.feed(data)
        assert of(Persist, list(bench.give(Received(1, answer))))
    assert bench.core.ledger.target == STOCK_TARGET
    check_chain([each.data for each in bench.kept if isinstance(each, Header)], STOCK_TARGET)


def test_many_blocks_may_be_found_in_one_second() -> None:
    bench = Bench(agents=1)
    for _ in range(100):
        assert of(Persist, list(bench.solve(1)))
    assert bench.headers[1].timestamp == UNIX
    check_chain([each.data for each in bench.kept if isinstance(each, Header)], EASY)


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    bench = Bench(agents=1)
    for _ in range(20):
        bench.solve(1)
    bench.give(Received(LOCAL, Clock(UNIX - 100_000)))
    for _ in range(20):
        assert of(Persist, list(bench.solve(1)))
    bench.give(Received(LOCAL, Clock(UNIX + 100_000)))
    for _ in range(20):
        assert of(Persist, list(bench.solve(1)))
    assert bench.headers[1].timestamp == UNIX + 100_000
    bench.give(Received(1, Clock(0.0)))
    assert sent(bench.pass_time(15.0))[1].timestamp >= UNIX + 100_000, "only its own user is heard"


# What no honest agent sends.


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("parent", {"parent": b"\x11" * 32}),
        ("version", {"version": 5}),
        ("version", {"version": -4}),
        ("target", {"target": Target.from_work(7)}),
        ("root", {"root": b"\x22" * 32}),
        ("old", {"timestamp": int(UNIX) - 1}),
        ("new", {"timestamp": int(UNIX) + 121}),
    ],
)
def test_low_hashes_alone_are_worth_nothing(rule: str, fields: dict[str, object]) -> None:
    bench = Bench()
    forged = bench.forge(1, **fields)
    while not EASY.admits(Block(forged).rank):  # An easier target: low enough all the same.
        forged = solved(forged, forged.nonce + 1)
    effects = bench.answer(1, forged)
    refused = told(effects)[0]
    assert isinstance(refused, facts.AnswerRefused)
    assert (refused.agent, refused.rule) == ("agent-1:1", rule)
    assert bench.core.ledger.height == -1
    assert not bench.kept
    # All but a date too late end the connection.
    assert bool(closed(effects)) == (rule != "new")
    # The other agent is served as ever.
    assert of(Persist, list(bench.solve(2)))


@pytest.mark.parametrize("garbage", [WORTHLESS, Header(bytes(HEADER_BYTES))])
def test_garbage_costs_one_hash_and_ends_the_connection(garbage: Header) -> None:
    bench = Bench()
    effects = bench.answer(1, garbage)
    (why,) = closed(effects).values()
    assert "is above the target" in why
    assert not bench.answer(1, solved(bench.headers[1])), "it was told to go"
    assert not bench.give(Disconnected(1, "hung up"))


def test_a_target_of_zero_in_a_low_hash_is_refused_like_any_wrong_one() -> None:
    bench = Bench(agents=1, settings=CoordinatorSettings(target=Target(2**256 - 1)))
    data = bench.headers[1].data
    zero = Header(data[:72] + bytes(32) + data[104:])
    assert isinstance(told(bench.answer(1, zero))[0], facts.AnswerRefused)
    assert bench.core.ledger.height == -1


def test_one_who_dates_headers_ahead_is_let_go_in_the_end() -> None:
    bench = Bench(agents=2, settings=CoordinatorSettings(target=EASY, error_budget=300))
    ends = list[bool]()
    for _ in range(3):
        ends.append(bool(closed(bench.answer(1, bench.forge(1, timestamp=int(UNIX) + 9999)))))
        bench.solve(2)
    assert ends == [False, False, True]


def test_a_replay_of_the_last_block_is_stale_and_then_too_much() -> None:
    bench = Bench(agents=2)
    for _ in range(3):
        bench.solve(2)
    answer = solved(bench.headers[1])
    bench.answer(1, answer)
    # It was sent five headers, and has answered one.
    for _ in range(4):
        assert told(bench.answer(1, answer)) == [facts.AnswerStale("agent-1:1", 3)]
    rules = [told(bench.answer(1, answer))[0] for _ in range(10)]
    assert {fact.rule for fact in rules if isinstance(fact, facts.AnswerRefused)} == {"unasked"}
    assert not bench.answer(1, answer), "it was let go"
    assert bench.core.ledger.height == 3
    assert bench.core.statistics(1.0).agents_described[0].agent == "agent-2:1"


def test_a_flood_of_stale_answers_that_took_work_is_a_flood_all_the_same() -> None:
    bench = Bench(agents=2)
    first = bench.headers[1]
    bench.solve(2)
    nonce, answers, ended = 0, 0, False
    while not ended:
        answer = solved(first, nonce)
        nonce = answer.nonce + 1
        answers += 1
        ended = bool(closed(bench.answer(1, answer)))
    assert answers == 2 + 10
    assert bench.core.ledger.height == 0


def test_a_stale_answer_must_have_its_work_too() -> None:
    bench = Bench()
    header = bench.headers[1]
    bench.solve(2)
    lazy = next(h for h in map(header.with_nonce, range(99)) if not EASY.admits(Block(h).rank))
    (refused, _) = told(bench.answer(1, lazy))
    assert isinstance(refused, facts.AnswerRefused)
    assert refused.rule == "work"


def test_errors_are_forgiven_within_an_hour() -> None:
    bench = Bench(settings=CoordinatorSettings(target=EASY, error_budget=1500))
    for _ in range(5):
        assert not closed(bench.answer(1, WORTHLESS))
        bench.pass_time(3600.0)
    bench.answer(1, WORTHLESS)
    assert closed(bench.answer(1, WORTHLESS))


def test_a_header_that_begins_and_does_not_end_costs_its_sender() -> None:
    bench = Bench(agents=3)
    bench.give(Received(1, Half()))
    bench.pass_time(5.0)
    bench.give(Received(2, Half()))
    bench.give(Received(3, Half()))
    bench.give(Received(9, Half()))
    bench.solve(3)
    bench.give(Disconnected(2, "it hung up"))
    effects = bench.pass_time(4.9)
    assert not closed(effects)
    effects = bench.pass_time(0.2)
    assert closed(effects) == {1: "half a header, and no more for 10 s"}
    assert not closed(bench.pass_time(100.0))


def test_what_comes_from_nobody_is_not_heard() -> None:
    bench = Bench()
    assert not bench.answer(7, solved(bench.headers[1]))
    assert not bench.give(Disconnected(7, "who?"))
    assert not bench.give(Received(1, "what?"))
    assert not bench.give(Tick())


# A life ends, and another begins.


@pytest.mark.parametrize("retarget", RETARGETS)
def test_after_a_restart_the_chain_goes_on_where_it_was(retarget: RetargetName) -> None:
    settings = CoordinatorSettings(
        target=EASY, retarget=retarget, period_blocks=5, spacing_seconds=2, half_life_seconds=20
    )
    bench = Bench(settings=settings)
    lots = random.Random(5)
    for _ in range(40):
        bench.pass_time(lots.expovariate(1.0))
        assert of(Persist, list(bench.solve(lots.choice([1, 2]))))
    ledger = bench.core.ledger
    again = Bench(agents=0, records=bench.kept, settings=settings, seed=1)
    assert (again.core.ledger.tip, again.core.ledger.target) == (ledger.tip, ledger.target)
    assert again.core.ledger.height == 39
    again.now = bench.now
    header = sent(again.join(1))[1]
    assert header.parent == ledger.tip
    assert header.root not in {each.root for each in bench.headers.values()}, "nothing twice"
    assert of(Persist, list(again.solve(1)))
    blocks = [each.data for each in [*bench.kept, *again.kept] if isinstance(each, Header)]
    assert len(check_chain(blocks, EASY)) == 41
    targets = {Header(data).threshold for data in blocks}
    assert (len(targets) > 1) == (retarget != "none")


def test_what_is_on_disk_is_checked_like_what_strangers_send() -> None:
    bench = Bench()
    for _ in range(5):
        bench.solve(1)
    good = list(bench.kept)
    assert told(Bench(agents=0).give(Tick())) == []
    missing = [*good[:2], *good[3:]]
    with pytest.raises(LocalError, match="record 2 of the journal is not valid here: the block f"):
        Bench(records=missing)
    last = good[-1]
    assert isinstance(last, Header)
    with pytest.raises(LocalError, match=r"record 4 .*is above the target"):
        Bench(records=[*good[:-1], last.with_timestamp(1)])
    with pytest.raises(LocalError, match=r"record 0 .*the target is"):
        Bench(records=good, settings=CoordinatorSettings(target=Target.from_work(1)))
    with pytest.raises(LocalError, match=r"record 0 .*the version is 4, and must be 5"):
        Bench(records=good, settings=CoordinatorSettings(target=EASY, version=5))
    with pytest.raises(LocalError, match=r"record 0 .*str is no header"):
        Bench(records=["header"])


# Targets change.


def test_aserti_makes_blocks_harder_when_they_come_too_fast() -> None:
    settings = CoordinatorSettings(
        target=EASY, retarget="aserti", spacing_seconds=10, half_life_seconds=100
    )
    bench = Bench(settings=settings)
    works = list[int]()
    for _ in range(60):
        bench.now += 2.0
        bench.solve(1)
        works.append(bench.core.ledger.target.work)
    assert all(before <= after for before, after in pairwise(works))
    assert works[-1] > 16 * works[0]
    # Then nobody is there for a while.
    bench.now += 2000.0
    bench.pass_time(16.0)
    bench.solve(1)
    assert bench.core.ledger.target.work == EASY.work, "the easiest that there may be"


def test_bitcoins_rule_looks_back_once_a_period() -> None:
    settings = CoordinatorSettings(
        target=EASY, retarget="bitcoin", spacing_seconds=10, period_blocks=4
    )
    bench = Bench(settings=settings)
    works = [bench.core.ledger.target.work]
    for _ in range(9):
        bench.now += 5.0
        bench.solve(1)
        works.append(bench.core.ledger.target.work)
    assert works[0] == works[3] < works[4] == works[7] < works[8]


# What is seen, and what cannot be.


def rounds_seconds(bench: Bench, number: int) -> float:
    """How long the round took that this agent ends."""
    (fact,) = (each for each in told(bench.solve(number)) if isinstance(each, facts.BlockAccepted))
    return fact.seconds


def test_the_first_round_begins_when_an_agent_gets_its_header() -> None:
    bench = Bench(agents=0)
    bench.pass_time(70.0)
    bench.join(1)
    bench.pass_time(2.0)
    bench.join(2)
    bench.pass_time(1.0)
    assert rounds_seconds(bench, 2) == 3.0
    bench.pass_time(4.0)
    assert rounds_seconds(bench, 1) == 4.0


def test_so_does_the_first_round_of_one_that_was_started_again() -> None:
    before = Bench()
    before.solve(1)
    bench = Bench(agents=0, records=before.kept)
    bench.pass_time(70.0)
    bench.join(1)
    bench.pass_time(2.0)
    assert rounds_seconds(bench, 1) == 2.0


def test_statistics_describe_the_first_hundred_agents() -> None:
    bench = Bench(agents=150)
    bench.now = 4.0
    bench.solve(1)
    statistics = bench.core.statistics(4.0)
    assert (statistics.agents, statistics.height, statistics.accepted) == (150, 0, 1)
    assert statistics.headers == 300
    assert statistics.block_work == statistics.work == EASY.work
    assert len(statistics.agents_described) == AGENTS_DESCRIBED_MAX
    first = statistics.agents_described[0]
    assert (first.agent, first.seconds, first.answers) == ("agent-1:1", 4.0, 1)
    assert msgspec.json.decode(msgspec.json.encode(statistics))["tip"] == statistics.tip


@pytest.mark.parametrize(
    "fields",
    [
        {"block_seconds": 0.0},
        {"half_seconds": float("inf")},
        {"agents_max": 0},
        {"error_budget": 0},
        {"ahead_seconds_max": 59},
        {"retarget": "often"},
        {"version": 2**31},
        {"name": "é" * 33},
    ],
)
def test_settings_that_cannot_be_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        CoordinatorSettings(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [{"roll_seconds_max": 61}, {"retry_seconds_min": 0.0}, {"retry_seconds_max": 0.01}],
)
def test_agents_settings_that_cannot_be_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(LocalError):
        AgentSettings(**fields)  # type: ignore[arg-type]


def test_a_rule_that_cannot_be_is_refused() -> None:
    with pytest.raises(LocalError, match="a half life is 1 second or more"):
        Bench(settings=CoordinatorSettings(retarget="aserti", half_life_seconds=0))


def test_nobody_is_told_anything_when_somebody_is_let_go() -> None:
    bench = Bench()
    effects = bench.answer(1, WORTHLESS)
    assert [type(each) for each in effects] == [Emit, Close, Emit]
