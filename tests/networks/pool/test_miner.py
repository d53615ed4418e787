"""The miner's core, by hand: pools that work, pools that go away, and pools that mean harm."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch import node
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.liteminer import LITEMINER
from nonsuch.networks.pool.messages import (
    LEASES_PLAIN_MAX,
    SLOTS_MAX,
    WORKERS_MAX,
    Answer,
    Beat,
    Capacity,
    Hello,
    Lease,
    PuzzleForm,
    Refused,
    Result,
    Retire,
    Revoke,
    Status,
    Welcome,
)
from nonsuch.networks.pool.miner import PUZZLES_MAX, Miner
from nonsuch.node import (
    LOCAL,
    Advanced,
    Cancel,
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
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.goals import Lowest, Shares
from nonsuch.work.nonce import Raw
from nonsuch.work.presets import plain
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.shares import share_limit
from nonsuch.work.target import Target

HELLO = Hello("miner", name="m")
PUZZLE = plain(b"message ")
FORM = PuzzleForm.of(PUZZLE)
LIMIT = share_limit(1000)
TARGET = Target.from_work(5000)


class Bench:
    """A miner and its clock, with `_check` after every event."""

    def __init__(self, *, connected: bool = True, seed: int = 0) -> None:
        self.miner = Miner(HELLO, random.Random(seed))
        self.now = 0.0
        if connected:
            self.happens(Started())
            self.happens(Connected(1, "pool:1"))
            self.hears(Welcome(1.0))

    def happens(self, event: Event) -> list[Effect]:
        effects = self.miner.handle(event, self.now)
        self.miner._check()
        return effects

    def hears(self, message: object) -> list[Effect]:
        return self.happens(Received(1, message))

    def ticks(self) -> list[Effect]:
        """Its deadline comes."""
        deadline = self.miner.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self.happens(Tick())


def lease(number: int, start: int = 0, *, count: int = 1000, told: bool = True) -> Lease:
    return Lease(number, "job", start, count, LIMIT.bits, puzzle=FORM if told else None)


def search(task: int, start: int = 0) -> Search:
    return Search(task, PUZZLE, range(start, start + 1000), Shares(LIMIT))


def begins(task: int, start: int = 0) -> list[Effect]:
    return [search(task, start), Emit(facts.ShardTaken("job", start, start + 1000))]


# A day at work.


def test_a_lease_is_searched_and_answered() -> None:
    bench = Bench(connected=False)
    assert bench.happens(Started()) == [Dial()]
    assert bench.happens(Connected(1, "pool:1")) == [
        Send(1, HELLO),
        Emit(facts.PoolReached("pool:1", 1)),
    ]
    assert bench.hears(Welcome(1.0)) == []
    assert bench.hears(lease(7)) == begins(1)
    bench.now = 2.0
    assert bench.happens(Searched(1, 1000, (3, 500))) == [
        Send(1, Result(7, 1000, (3, 500))),
        Emit(facts.Worked("job", 0, 1000, 2.0)),
    ]


def test_the_next_search_begins_before_the_result_leaves() -> None:
    bench = Bench()
    assert bench.hears(lease(7)) == begins(1)
    assert bench.hears(lease(8, 1000, told=False)) == []
    assert bench.happens(Searched(1, 1000, ())) == [
        *begins(2, 1000),
        Send(1, Result(7, 1000, ())),
        Emit(facts.Worked("job", 0, 1000, 0.0)),
    ]


def test_the_goal_is_what_the_lease_asks_for() -> None:
    value = TARGET.value.to_bytes(32, "big")
    bench = Bench()
    assert bench.hears(Lease(1, "job", 0, 1000, LIMIT.bits, value, FORM)) == [
        Search(1, PUZZLE, range(1000), Shares(LIMIT, TARGET)),
        Emit(facts.ShardTaken("job", 0, 1000)),
    ]
    bench = Bench()
    assert bench.hears(Lease(1, "job", 0, 1000, 0, None, FORM)) == [
        Search(1, PUZZLE, range(1000), Lowest()),
        Emit(facts.ShardTaken("job", 0, 1000)),
    ]


def test_a_miner_with_work_beats_as_often_as_it_is_told() -> None:
    bench = Bench()
    bench.hears(Welcome(0.5))
    bench.hears(lease(7))
    bench.hears(lease(8, 1000))
    bench.happens(Advanced(1, 300))
    assert bench.ticks() == [Send(1, Beat((7, 8), 300))]
    assert bench.now == 0.5
    assert bench.ticks() == [Send(1, Beat((7, 8), 300))]
    assert bench.now == 1.0


def test_a_miner_without_work_beats_rarely() -> None:
    bench = Bench()
    assert bench.ticks() == [Send(1, Beat())]
    assert bench.ticks() == [Send(1, Beat())]
    assert bench.now == 30.0


def test_progress_is_that_of_the_present_search() -> None:
    bench = Bench()
    bench.hears(lease(7))
    bench.hears(lease(8, 1000))
    bench.happens(Advanced(1, 900))
    bench.happens(Searched(1, 1000, ()))
    bench.happens(Advanced(1, 999))  # Late: that search is over.
    assert bench.ticks() == [Send(1, Beat((8,), 0))]


# Leases that are taken back.


def test_the_present_lease_is_revoked_and_the_next_begins() -> None:
    bench = Bench()
    bench.hears(lease(7))
    bench.hears(lease(8, 1000))
    assert bench.hears(Revoke(7)) == [Cancel(1), *begins(2, 1000)]
    assert bench.happens(Searched(1, 1000, (3,))) == []


def test_a_waiting_lease_is_revoked_and_the_search_goes_on() -> None:
    bench = Bench()
    bench.hears(lease(7))
    bench.hears(lease(8, 1000))
    assert bench.hears(Revoke(8)) == []
    assert bench.ticks() == [Send(1, Beat((7,), 0))]


def test_the_last_lease_is_revoked() -> None:
    bench = Bench()
    bench.hears(lease(7))
    assert bench.hears(Revoke(7)) == [Cancel(1), Send(1, Beat())]
    assert bench.hears(Revoke(7)) == []
    assert bench.hears(lease(8)) == begins(2)


def test_a_thawed_miner_whose_lease_is_gone_tells_the_pool_that_it_lives() -> None:
    bench = Bench()
    bench.hears(lease(7))
    bench.now = 20.0  # SIGSTOP, SIGCONT: what the pool said meanwhile comes first.
    assert Send(1, Beat()) in bench.hears(Revoke(7))


def test_a_job_is_retired_and_its_puzzle_forgotten() -> None:
    bench = Bench()
    bench.hears(lease(7))
    assert bench.hears(Retire("job")) == []
    # What it holds of it goes on; more of it would need the puzzle again.
    bench.hears(lease(8, 1000, told=False))
    assert bench.ticks() == [Send(1, Beat((7,), 0))]
    assert bench.hears(lease(9, 2000)) == []
    assert bench.ticks() == [Send(1, Beat((7, 9), 0))]


def test_a_lease_whose_puzzle_was_lost_is_not_named_in_the_next_beat() -> None:
    bench = Bench()
    assert bench.hears(lease(7, told=False)) == []
    assert bench.ticks() == [Send(1, Beat())]


def test_a_lease_that_comes_twice_is_one() -> None:
    bench = Bench()
    assert bench.hears(lease(7)) == begins(1)
    assert bench.hears(lease(7)) == []
    assert bench.ticks() == [Send(1, Beat((7,), 0))]


# The pool goes away.


def test_a_miner_whose_pool_is_gone_forgets_its_work_and_dials_again() -> None:
    bench = Bench()
    bench.hears(lease(7))
    bench.hears(lease(8, 1000))
    assert bench.happens(Disconnected(1, "connection reset")) == [
        Cancel(1),
        Emit(facts.ConnectionLost("connection reset")),
    ]
    assert bench.happens(Searched(1, 1000, ())) == []
    assert bench.ticks() == [Dial()]
    assert bench.now <= 0.1
    assert bench.happens(Connected(2, "pool:1")) == [
        Send(2, HELLO),
        Emit(facts.PoolReached("pool:1", 1)),
    ]
    bench.happens(Received(1, lease(9)))  # From a connection that is gone.
    assert bench.happens(Received(2, lease(9))) == begins(2)


def test_a_miner_waits_longer_each_time_and_says_so_once() -> None:
    bench = Bench(connected=False)
    assert bench.happens(Started()) == [Dial()]
    told: list[Effect] = []
    waits: list[float] = []
    for _ in range(12):
        told += bench.happens(Disconnected(0, "no answer"))
        before = bench.now
        assert bench.ticks() == [Dial()]
        waits.append(bench.now - before)
    assert told == [Emit(facts.ConnectionLost("no answer"))]
    for number, wait in enumerate(waits):
        ceiling = min(5.0, 0.1 * 2**number)
        assert ceiling / 2 <= wait <= ceiling
    assert bench.happens(Connected(1, "pool:1"))[1] == Emit(facts.PoolReached("pool:1", 13))
    bench.hears(lease(7))
    lost = Emit(facts.ConnectionLost("reset"))
    assert bench.happens(Disconnected(1, "reset")) == [Cancel(1), lost]
    before = bench.now
    bench.ticks()
    assert bench.now - before <= 0.1


def test_two_miners_do_not_come_back_in_the_same_millisecond() -> None:
    times = set()
    for seed in range(100):
        bench = Bench(seed=seed)
        bench.happens(Disconnected(1, "reset"))
        times.add(bench.miner.deadline())
    assert len(times) == 100


def test_a_pool_that_takes_nobody_and_may_later() -> None:
    bench = Bench()
    reason = "this pool has its 2 connections"
    assert bench.hears(Refused(reason)) == [Emit(facts.PoolRefused(reason, False))]
    bench.happens(Disconnected(1, "it hung up"))
    assert bench.ticks() == [Dial()]
    assert bench.miner.failure is None


def test_a_pool_that_will_never_take_this_miner() -> None:
    bench = Bench()
    reason = "the token is wrong"
    assert bench.hears(Refused(reason, final=True)) == [
        Emit(facts.PoolRefused(reason, True)),
        Finish(),
    ]
    assert bench.miner.failure == reason


def test_a_miner_is_stopped() -> None:
    bench = Bench()
    bench.hears(lease(7))
    assert bench.happens(Stopping()) == [Cancel(1), Close(1, "stopped")]


# Many slots.


def leased(bench: Bench, *numbers: int) -> list[int]:
    """Leases come; returns the tasks of the searches that begin."""
    effects = [each for n in numbers for each in bench.hears(lease(n, 1000 * n))]
    return [effect.task for effect in effects if isinstance(effect, Search)]


def sent(effects: list[Effect], kind: type[object]) -> list[object]:
    messages = [effect.message for effect in effects if isinstance(effect, Send)]
    return [message for message in messages if isinstance(message, kind)]


def clustered(slots: int, workers: int = 4) -> Bench:
    bench = Bench()
    bench.happens(Received(LOCAL, node.Capacity(slots, workers)))
    return bench


def test_a_miner_of_one_slot_says_nothing_of_it() -> None:
    bench = Bench(connected=False)
    bench.happens(Started())
    assert bench.happens(Received(LOCAL, node.Capacity(1))) == []
    assert sent(bench.happens(Connected(1, "pool:1")), Capacity) == []


def test_what_a_miner_has_is_said_behind_each_hello_and_when_it_changes() -> None:
    bench = Bench(connected=False)
    bench.happens(Started())
    assert bench.happens(Received(LOCAL, node.Capacity(8, 4))) == []
    said = [effect for effect in bench.happens(Connected(1, "pool:1")) if isinstance(effect, Send)]
    assert said == [Send(1, HELLO), Send(1, Capacity(8, 4))]
    assert bench.happens(Received(LOCAL, node.Capacity(8, 4))) == []
    assert bench.happens(Received(LOCAL, node.Capacity(0))) == [Send(1, Capacity(0))]
    assert bench.happens(Received(LOCAL, node.Capacity(1))) == [Send(1, Capacity(1))]
    bench.happens(Disconnected(1, "reset"))
    assert sent(bench.happens(Connected(2, "pool:1")), Capacity) == []


def test_nobody_has_more_slots_than_can_be_said() -> None:
    bench = Bench()
    effects = bench.happens(Received(LOCAL, node.Capacity(10**9, 10**9)))
    assert effects == [Send(1, Capacity(SLOTS_MAX, WORKERS_MAX))]


def test_all_leases_are_searched_at_once_and_end_in_any_order() -> None:
    bench = clustered(2)
    assert leased(bench, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert sent(bench.happens(Searched(3, 4000, (3001,))), Result) == [Result(3, 4000, (3001,))]
    assert sent(bench.happens(Searched(1, 2000, ())), Result) == [Result(1, 2000, ())]
    assert bench.happens(Searched(1, 2000, ())) == []
    bench.happens(Advanced(2, 300))
    bench.happens(Advanced(4, 50))
    bench.happens(Advanced(4, 70))
    bench.happens(Advanced(1, 999))
    assert bench.ticks() == [Send(1, Beat((2, 4), 370))]
    assert bench.hears(Revoke(4)) == [Cancel(4)]
    assert bench.ticks() == [Send(1, Beat((2,), 300))]


def test_more_slots_begin_what_waits_and_fewer_stop_nothing() -> None:
    bench = Bench()
    assert leased(bench, 1, 2, 3) == [1]
    effects = bench.happens(Received(LOCAL, node.Capacity(2)))
    assert [effect.task for effect in effects if isinstance(effect, Search)] == [2, 3]
    bench.happens(Received(LOCAL, node.Capacity(1)))
    assert leased(bench, 4, 5) == []
    for task in (1, 2):
        assert not any(isinstance(each, Search) for each in bench.happens(Searched(task, 4000, ())))
    effects = bench.happens(Searched(3, 4000, ()))
    assert [effect.task for effect in effects if isinstance(effect, Search)] == [4]


def test_a_miner_of_one_slot_may_have_all_its_leases_searched() -> None:
    miner = Miner(HELLO, random.Random(1), searches_all=True, lease_seconds=20.0)
    miner.handle(Started(), 0.0)
    effects = miner.handle(Connected(1, "pool:1"), 0.0)
    assert sent(effects, Capacity) == [Capacity(1, 0, 20.0)]
    effects = miner.handle(Received(1, lease(7)), 0.0) + miner.handle(Received(1, lease(8)), 0.0)
    assert [effect.task for effect in effects if isinstance(effect, Search)] == [1, 2]


def test_on_the_older_wire_results_come_in_the_order_of_the_requests() -> None:
    bench = Bench(connected=False)
    bench.happens(Received(LOCAL, node.Capacity(8)))
    bench.happens(Connected(1, "pool:1", LITEMINER))
    assert leased(bench, 1, 2, 3) == [1]


def test_a_pool_gives_as_many_leases_as_were_asked_for_and_no_more() -> None:
    bench = clustered(8)
    assert len(leased(bench, *range(16))) == 16
    assert bench.hears(lease(99)) == [Close(1, "more than 16 leases at once")]
    bench = clustered(8)
    bench.happens(Received(LOCAL, node.Capacity(2)))
    leased(bench, *range(16))  # They may have been on their way.
    assert bench.hears(lease(99)) == [Close(1, "more than 16 leases at once")]


def beaten(bench: Bench, until: float) -> list[Effect]:
    """Time goes by, with all its beats."""
    effects: list[Effect] = []
    while (deadline := bench.miner.deadline()) is not None and deadline <= until:
        effects += bench.ticks()
    return effects


def slow_worker(workers: int) -> tuple[Bench, list[Effect]]:
    """Four slots of 2 s a lease; then the search of lease 5 goes on and on, and others end."""
    bench = clustered(4, workers)
    leased(bench, 1, 2, 3, 4)
    bench.now = 2.0
    for task in (1, 2, 3, 4):
        bench.happens(Searched(task, 10_000, ()))
    leased(bench, 5, 6, 7, 8)
    effects: list[Effect] = []
    for number in range(6, 16):
        effects += beaten(bench, bench.now + 2.0)
        bench.happens(Searched(number, 100_000, ()))
        leased(bench, number + 3)
    return bench, effects


def test_a_worker_that_stands_still_is_given_up_and_the_others_are_not() -> None:
    bench, effects = slow_worker(workers=4)
    told = [each.fact for each in effects if isinstance(each, Emit)]
    given_up = [fact for fact in told if isinstance(fact, facts.SearchGivenUp)]
    assert [(fact.start, fact.stop) for fact in given_up] == [(5000, 6000)]
    assert 10 < given_up[0].seconds <= 12
    assert [effect.task for effect in effects if isinstance(effect, Cancel)] == [5]
    beats = [beat.leases for beat in sent(effects, Beat) if isinstance(beat, Beat)]
    assert 5 in beats[0]
    assert 5 not in beats[-1]
    assert bench.happens(Searched(5, 6000, ())) == []


def test_a_search_that_gets_on_is_not_given_up_however_slow() -> None:
    bench = clustered(1)
    leased(bench, 1)
    bench.now = 2.0
    bench.happens(Searched(1, 2000, ()))
    leased(bench, 2, 3)
    effects: list[Effect] = []
    for hashes in range(1, 20):
        bench.happens(Advanced(2, hashes))
        effects += beaten(bench, bench.now + 5.0)
    assert not [each for each in effects if isinstance(each, Cancel)]
    # And who waits for its slot is not lost either, but whoever has it is when it stands still.
    for _ in range(3):
        bench.happens(Advanced(2, 19))
        effects += beaten(bench, bench.now + 5.0)
    assert next(effect.task for effect in effects if isinstance(effect, Cancel)) == 2


def test_what_is_searched_in_this_process_is_never_given_up() -> None:
    _, effects = slow_worker(workers=0)
    assert not [each for each in effects if isinstance(each, Cancel)]


def test_a_miner_that_was_asleep_hears_first_what_was_done_meanwhile() -> None:
    bench = clustered(4)
    leased(bench, 1, 2)
    bench.now = 1.0
    bench.happens(Searched(1, 2000, ()))
    bench.now = 100.0
    assert bench.happens(Tick()) == [Send(1, Beat((2,), 0))]
    assert sent(bench.happens(Searched(2, 3000, ())), Result) == [Result(2, 3000, ())]


def test_a_worker_that_is_only_slow_has_longer_the_next_time() -> None:
    bench = clustered(1)
    leased(bench, 1)
    bench.now = 2.0
    bench.happens(Searched(1, 2000, ()))
    waits: list[float] = []
    for number in (2, 3):
        leased(bench, number)
        began = bench.now
        while Cancel(number) not in bench.ticks():
            pass
        waits.append(bench.now - began)
    assert 10 < waits[0] <= 12
    assert waits[1] > 3 * waits[0]


STEPS = st.one_of(
    st.tuples(st.just("lease"), st.integers(1, 30)),
    st.tuples(st.just("revoke"), st.integers(1, 30)),
    st.tuples(st.just("searched"), st.integers(0, 30)),
    st.tuples(st.just("slots"), st.integers(0, 5)),
    st.tuples(st.just("passes"), st.integers(0, 30)),
    st.tuples(st.just("reconnects"), st.just(0)),
)


class Walk:
    """A miner to which anything happens; `searching` is which lease each of its tasks is of."""

    def __init__(self, *, searches_all: bool) -> None:
        self.bench = Bench(connected=False)
        self.bench.miner = Miner(HELLO, random.Random(0), searches_all=searches_all)
        self.peer = 1
        self.searching: dict[int, int] = {}
        self.due: list[int] = []
        self.happens(Started())
        self.happens(Connected(1, "pool:1"))

    def happens(self, event: Event) -> None:
        for effect in self.bench.happens(event):
            match effect:
                case Search(task=task, nonces=nonces):
                    assert task not in self.searching
                    self.searching[task] = nonces.start // 1000
                case Cancel(task=task):
                    del self.searching[task]
                case Send(message=Result(lease=number)):
                    self.due.remove(number)
                case Send(message=Beat(leases=leases)):
                    assert set(self.searching.values()) <= set(leases)
                case _:
                    pass

    def takes(self, kind: str, number: int) -> None:
        match kind:
            case "lease":
                self.happens(Received(self.peer, lease(number, 1000 * number)))
            case "revoke":
                self.happens(Received(self.peer, Revoke(number)))
            case "searched" if self.searching:
                task = sorted(self.searching)[number % len(self.searching)]
                self.due.append(self.searching.pop(task))
                self.happens(Searched(task, 1000 * self.due[-1] + 1000, ()))
            case "slots":
                self.happens(Received(LOCAL, node.Capacity(number, number)))
            case "passes":
                self.bench.now += number
                self.happens(Tick())
            case "reconnects":
                self.happens(Disconnected(self.peer, "cut"))
                assert not self.searching
                self.peer += 1
                self.happens(Connected(self.peer, "pool:1"))
            case _:
                pass


@given(st.lists(STEPS, max_size=80), st.booleans())
def test_whatever_happens_each_search_has_one_end_and_all_that_is_searched_is_named(
    steps: list[tuple[str, int]], searches_all: bool
) -> None:
    walk = Walk(searches_all=searches_all)
    for kind, number in steps:
        walk.takes(kind, number)
        assert walk.due == []


# Pools that mean harm.

ANYTHING = Target(2**256 - 1)
IMPOSSIBLE = {
    "no such nonce": Lease(1, "job", 0, 10, 0, None, msgspec.structs.replace(FORM, nonce="roman")),
    "no rank": Lease(1, "job", 0, 10, 0, None, msgspec.structs.replace(FORM, rank_bits=0)),
    "beyond 64 bits": Lease(1, "job", 2**64 - 5, 6, 0, None, FORM),
    "beyond one byte": Lease(1, "job", 250, 7, 0, None, PuzzleForm.of(Puzzle(nonce=Raw(1, "big")))),
    "a negative limit": Lease(1, "job", 0, 10, 0x01FEDCBA, None, FORM),
    "an overflowing limit": Lease(1, "job", 0, 10, 0xFF123456, None, FORM),
    "a limit of zero": Lease(1, "job", 0, 10, 0x01003456, None, FORM),
    "a target of zero": Lease(1, "job", 0, 10, LIMIT.bits, bytes(32), FORM),
    "a flood of shares": Lease(1, "job", 0, 10**6, LIMIT.bits, None, FORM),
    "a flood of everything": Lease(1, "job", 0, 2**64, 0x207FFFFF, None, FORM),
}


@pytest.mark.parametrize("impossible", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_lease_ends_the_connection(impossible: Lease) -> None:
    bench = Bench()
    effects = bench.hears(impossible)
    assert [type(effect) for effect in effects] == [Close]
    bench.happens(Disconnected(1, "hung up"))
    assert bench.ticks() == [Dial()]


@pytest.mark.parametrize(
    "possible",
    [
        Lease(1, "job", 2**64 - 6, 6, 0, None, FORM),
        Lease(1, "job", 249, 7, 0, None, PuzzleForm.of(Puzzle(nonce=Raw(1, "big")))),
        Lease(1, "job", 0, 256, 0x207FFFFF, None, FORM),
        Lease(1, "job", 0, 2**64, share_limit(2**64).bits, None, FORM),
    ],
)
def test_a_lease_that_is_just_possible_is_searched(possible: Lease) -> None:
    assert [type(effect) for effect in Bench().hears(possible)] == [Search, Emit]


def test_a_pool_that_sends_lease_after_lease() -> None:
    bench = Bench()
    for number in range(LEASES_PLAIN_MAX):
        bench.hears(lease(number, 1000 * number))
    assert bench.hears(lease(99)) == [Close(1, "more than 8 leases at once")]


def test_a_pool_with_more_puzzles_than_anybody_needs() -> None:
    bench = Bench()
    for number in range(PUZZLES_MAX + 1):
        bench.hears(Lease(number, f"job {number}", 0, 10, 0, None, FORM))
        bench.hears(Revoke(number))
    assert bench.hears(Lease(9999, "job 0", 0, 10, 0)) == []
    assert bench.hears(Lease(9999, "job 1", 0, 10, 0)) != []


@pytest.mark.parametrize(
    "message",
    [Hello("miner"), Beat(), Status("job", 0, 1, 0.0, 0, 0.0), Answer("job", 1, 1, 0.0), "lease"],
)
def test_a_message_that_makes_no_sense_ends_the_connection(message: object) -> None:
    reason = f"{type(message).__name__} from a pool makes no sense to a miner"
    assert Bench().hears(message) == [Close(1, reason)]


def test_garbage_ends_the_connection() -> None:
    assert Bench().happens(Erred(1, 1000, "no message")) == [Close(1, "no message")]
    assert Bench().happens(Erred(9, 1000, "no message")) == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("-inf"), float("nan"), 1e-9])
def test_a_pool_that_wants_to_hear_beats_all_the_time(seconds: float) -> None:
    bench = Bench()
    bench.hears(Welcome(seconds))
    bench.hears(lease(7))
    for _ in range(10):
        bench.ticks()
    assert bench.now > 0.19


@pytest.mark.parametrize("seconds", [1e300, float("inf")])
def test_a_pool_that_never_wants_to_hear_a_beat(seconds: float) -> None:
    bench = Bench()
    bench.hears(Welcome(seconds))
    bench.hears(lease(7))
    assert bench.ticks() == [Send(1, Beat((7,), 0))]
    assert bench.now == 15.0


def test_events_that_make_no_sense_are_ignored() -> None:
    bench = Bench()
    nonsense: list[Event] = [
        Received(9, lease(1)),
        Searched(5, 10, ()),
        Advanced(5, 10),
        Disconnected(9, "who?"),
        Tick(),
    ]
    assert [bench.happens(event) for event in nonsense] == [[]] * len(nonsense)
