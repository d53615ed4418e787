"""The pool's core, by hand: who says what to it when, and what it says to whom."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonsuch.live.tcp import WRITE_BYTES_MAX
from nonsuch.networks.pool import dispatch, facts, leases
from nonsuch.networks.pool.audits import UNAUDITED_MAX, Scan
from nonsuch.networks.pool.messages import (
    MESSAGE_BYTES_MAX,
    PROTOCOL,
    Answer,
    Ask,
    Beat,
    Capacity,
    Ended,
    Hello,
    Lease,
    PuzzleForm,
    Refused,
    Report,
    Result,
    Retire,
    Revoke,
    Status,
    Submit,
    Watch,
    Welcome,
    Withdraw,
    target_of,
)
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import ASK_WORDS, Pool
from nonsuch.networks.pool.records import JobClosed, JobOpened, JobSnapshot, Life, ShardDone
from nonsuch.networks.pool.roster import PUZZLE_BYTES_UNREAD_MAX, WORDS_MAX
from nonsuch.networks.pool.roster import Miner as KnownMiner
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.state import SNAPSHOT_RECORDS
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.node import (
    Advanced,
    Cancel,
    Close,
    Connected,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.scenarios.cheats import CHEATS, Cheat
from nonsuch.work.goals import Shares
from nonsuch.work.nonce import SquareDifference
from nonsuch.work.presets import liteminer, plain
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.ranges import RangeSet
from nonsuch.work.shares import (
    SHARES_EXPECTED,
    Rehash,
    expected_shares,
    hashed_extremes,
    limit_of_bits,
    share_limit,
)
from nonsuch.work.target import Target

PUZZLE = plain(b"a pool by hand ")
FORM = PuzzleForm.of(PUZZLE)
KNOWN_AS = ("a pool by hand ", "plain")

TRUSTING = PoolSettings(audit_fraction=0, blind_audit_fraction=0)
"""Nothing is scanned again: for stories that are about something else."""

THOROUGH = PoolSettings(audit_fraction=1, blind_audit_fraction=1, shard_nonces=500)
HARDLY = PoolSettings(audit_fraction=1e-12, blind_audit_fraction=1e-12, shard_nonces=500)
"""The lots choose no audit; suspicion may."""

LIFE = 1 << 40
"""The lease numbers of a first life begin behind this one."""


# By plain hashing, and none of what is on trial.


@functools.cache
def rank(puzzle: Puzzle, nonce: int) -> int:
    return puzzle.rank(puzzle.digest(nonce))


def lowest(puzzle: Puzzle, first: int, last: int) -> int:
    return min(range(first, last + 1), key=lambda nonce: rank(puzzle, nonce))


def best_so_far(nonce: int) -> facts.BestImproved:
    return facts.BestImproved("job", nonce, PUZZLE.prove(nonce).hexdigest)


def hits(puzzle: Puzzle, target: Target, first: int, last: int) -> list[int]:
    return [nonce for nonce in range(first, last + 1) if rank(puzzle, nonce) <= target.value]


def scanned(puzzle: Puzzle, lease: Lease) -> Result:
    """What an honest miner says of a lease."""
    stop = lease.start + lease.count
    if not lease.share_bits:
        return Result(lease.lease, stop, (lowest(puzzle, lease.start, stop - 1),))
    target = None if lease.target is None else target_of(lease.target)
    found = [] if target is None else hits(puzzle, target, lease.start, stop - 1)[:1]
    stop = found[0] + 1 if found else stop
    limit = limit_of_bits(lease.share_bits)
    shares = {*hits(puzzle, limit, lease.start, stop - 1), *found}
    return Result(lease.lease, stop, tuple(sorted(shares)))


def searched(search: Search) -> Searched:
    """What comes of an audit that the pool does itself."""
    goal, nonces = search.goal, search.nonces
    assert isinstance(goal, Shares)
    found = hits(search.puzzle, goal.limit, nonces.start, nonces.stop - 1)
    return Searched(search.task, nonces.stop, tuple(found))


def submit(
    last: int,
    *,
    first: int = 0,
    target: Target | None = None,
    job: str = "job",
    puzzle: Puzzle = PUZZLE,
) -> Submit:
    data = None if target is None else target.value.to_bytes(32, "big")
    return Submit(job, PuzzleForm.of(puzzle), first, last, data)


# A pool, and who sits around it.


class Disk:
    """What was persisted, by subject and in order."""

    def __init__(self) -> None:
        self.records: list[tuple[str, object]] = []

    def commit(self, effect: Persist) -> None:
        if effect.replaces:
            self.records = [each for each in self.records if each[0] != effect.subject]
        if effect.record is not None:
            self.records.append((effect.subject, effect.record))

    def read(self) -> tuple[object, ...]:
        return tuple(record for _, record in self.records)


class Table:
    """A pool with a clock that moves when it is told to, and `_check` after every event."""

    def __init__(
        self,
        chosen: PoolSettings = TRUSTING,
        *,
        records: Sequence[object] = (),
        begin: float = 0.0,
        seed: int = 0,
        rehash: Rehash = hashed_extremes,
    ) -> None:
        self.pool = Pool(chosen, random.Random(seed), rehash)
        self.now = begin
        self.seats: dict[int, Seat] = {}
        self.persisted: list[Persist] = []
        self.facts: list[object] = []
        self.puzzles: dict[str, Puzzle] = {}
        self.searches: dict[int, Search] = {}
        self.happens(Started(tuple(records)))

    def happens(self, event: Event) -> list[Effect]:
        effects = self.pool.handle(event, self.now)
        self.pool._check()
        for effect in effects:
            match effect:
                case Send(peer=peer, message=message):
                    self.seats[peer].hears(message)
                case Close(peer=peer, why=why):
                    self.seats[peer].closed = why
                case Persist():
                    self.persisted.append(effect)
                case Emit(fact=fact):
                    self.facts.append(fact)
                case Search(task=task):
                    self.searches[task] = effect
                case Cancel(task=task):
                    del self.searches[task]
                case _:
                    pass
        return effects

    def searches_itself(self) -> None:
        """The pool comes to the end of what it has begun to search."""
        for task, search in list(self.searches.items()):
            del self.searches[task]
            self.happens(searched(search))

    def passes(self, until: float) -> list[Effect]:
        """Time goes by, tick by tick."""
        effects: list[Effect] = []
        ticks = 0
        while (deadline := self.pool.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            effects += self.happens(Tick())
            for seat in self.seats.values():
                if seat.closed is not None:
                    effects += seat.leaves(seat.closed)
            ticks += 1
            assert ticks < 1000, "the clock stands still"
        self.now = until
        return effects

    def connects(self, wire: str = "nonsuch") -> Seat:
        number = len(self.seats) + 1
        seat = self.seats[number] = Seat(self, number, wire)
        self.happens(Connected(number, f"host-{number}:1", wire))
        return seat

    def miner(self, name: str = "", *, rate: float = 0.0, wire: str = "nonsuch") -> Seat:
        seat = self.connects(wire)
        seat.says(Hello("miner", name=name or f"miner-{seat.number}", rate=rate))
        return seat

    def client(self, wire: str = "nonsuch") -> Seat:
        seat = self.connects(wire)
        seat.says(Hello("client"))
        return seat

    def told(self, kind: type[object]) -> list[object]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def statistics(self) -> PoolStatistics:
        return self.pool.statistics(self.now)

    def finish(self, *miners: Seat, seconds: float = 600.0) -> None:
        """These miners and the pool do all that they are given, until there is nothing more."""
        until = self.now + seconds
        while self.statistics.jobs and self.now < until:
            busy = [miner for miner in miners if miner.leases]
            for miner in busy:
                if miner.leases:
                    miner.works()
            self.passes(self.now + 0.25)
            self.searches_itself()


class Seat:
    """A connection of the pool's, from its far end."""

    def __init__(self, table: Table, number: int, wire: str) -> None:
        self.table = table
        self.number = number
        self.wire = wire
        self.leases: dict[int, Lease] = {}
        self.heard: list[object] = []
        self.closed: str | None = None
        self.gone = False
        self.lies: Callable[[Result], Result] | None = None

    def hears(self, message: object) -> None:
        self.heard.append(message)
        if isinstance(message, Lease):
            if message.puzzle is not None:
                self.table.puzzles[message.job] = message.puzzle.puzzle()
            self.leases[message.lease] = message
        elif isinstance(message, Revoke):
            self.leases.pop(message.lease)

    def says(self, message: object) -> list[Effect]:
        return self.table.happens(Received(self.number, message))

    @property
    def lease(self) -> Lease:
        """The one that is being searched."""
        return next(iter(self.leases.values()))

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What it holds."""
        return [(each.start, each.start + each.count) for each in self.leases.values()]

    def result(self, lease: Lease | None = None) -> Result:
        lease = lease or self.lease
        result = scanned(self.table.puzzles[lease.job], lease)
        return result if self.lies is None else self.lies(result)

    def works(self, lease: Lease | None = None) -> list[Effect]:
        """It searches a lease, or its oldest, and says what it found."""
        lease = lease or self.lease
        result = self.result(lease)
        self.leases.pop(lease.lease, None)
        return self.says(result)

    def beats(self) -> list[Effect]:
        return self.says(Beat(tuple(self.leases)))

    def leaves(self, why: str = "it hung up") -> list[Effect]:
        """Its connection ends, once."""
        if self.gone:
            return []
        self.gone = True
        self.leases.clear()
        return self.table.happens(Disconnected(self.number, why))

    def of(self, kind: type[object]) -> list[object]:
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def answers(self) -> list[int | None]:
        return [message.nonce for message in self.heard if isinstance(message, Answer)]


def lies_as(kind: str) -> Callable[[Result], Result]:
    lots = random.Random(kind)
    cheat = Cheat(Miner(Hello("miner"), lots), kind, lots)
    return lambda result: CHEATS[kind](cheat, result)


def cheats(table: Table) -> list[str]:
    return [fact.miner for fact in table.facts if isinstance(fact, facts.Cheated)]


def lost(table: Table) -> list[tuple[str, str, int, int]]:
    told = [fact for fact in table.facts if isinstance(fact, facts.LeaseLost)]
    return [(fact.miner, fact.cause, fact.start, fact.stop) for fact in told]


def sends(effects: list[Effect], kind: type[object]) -> list[tuple[int, object]]:
    sent = [effect for effect in effects if isinstance(effect, Send)]
    return [(each.peer, each.message) for each in sent if isinstance(each.message, kind)]


# Who may come in.


def test_a_stranger_speaks_another_version() -> None:
    pool = Pool(PoolSettings(), random.Random(0))
    pool.handle(Started(), 0.0)
    reason = "this pool speaks nonsuch-pool version 1, not nonsuch-pool version 7"
    assert pool.handle(Connected(1, "stranger:1"), 0.0) == []
    assert pool.handle(Received(1, Hello("miner", version=7)), 0.0) == [
        Send(1, Refused(reason, final=True)),
        Close(1, reason),
        Emit(facts.PeerDropped("stranger:1", reason)),
    ]
    assert pool.handle(Received(1, Hello("miner")), 0.0) == []  # It was told to go.
    assert pool.handle(Disconnected(1, "it hung up"), 0.0) == []


def test_a_stranger_speaks_another_protocol() -> None:
    seat = Table().connects()
    seat.says(Hello("client", protocol="stratum"))
    assert seat.of(Refused) == [
        Refused("this pool speaks nonsuch-pool version 1, not stratum version 1", final=True)
    ]


@pytest.mark.parametrize(
    ("token", "reason"), [("guess", "the token is wrong"), ("", "this pool wants a token")]
)
def test_a_stranger_without_the_token(token: str, reason: str) -> None:
    seat = Table(PoolSettings(token="sesame")).connects()
    seat.says(Hello("miner", token=token))
    assert seat.heard == [Refused(reason, final=True)]
    assert seat.closed == reason


@pytest.mark.parametrize("token", ["sesame", "öffne dich"])
def test_whoever_has_the_token_is_welcome(token: str) -> None:
    seat = Table(PoolSettings(token=token, name="cave")).connects()
    seat.says(Hello("miner", token=token))
    assert seat.heard == [Welcome(1.0, "cave")]


def test_a_liteminer_program_knows_no_token() -> None:
    seat = Table(PoolSettings(token="sesame")).miner(wire="liteminer")
    assert seat.heard == [Welcome(1.0, "pool")]


def test_a_stranger_that_says_nothing() -> None:
    table = Table()
    seat = table.connects()
    table.passes(4.999)
    assert seat.closed is None
    table.passes(5.0)
    assert seat.closed == "no hello within 5 s"


@pytest.mark.parametrize("message", [Beat(), Watch("job"), submit(10), Ask(), Welcome(1.0)])
def test_a_message_before_the_hello(message: object) -> None:
    seat = Table().connects()
    seat.says(message)
    reason = f"{type(message).__name__} before a hello makes no sense"
    assert seat.heard == [Refused(reason)]


@pytest.mark.parametrize("message", [submit(10), Hello("miner"), Lease(1, "job", 0, 1, 0)])
def test_a_miner_that_talks_like_somebody_else(message: object) -> None:
    seat = Table().miner()
    seat.says(message)
    assert seat.closed == f"{type(message).__name__} from a miner makes no sense"


@pytest.mark.parametrize("message", [Beat(), Hello("client"), Result(1, 1, ())])
def test_a_client_that_talks_like_somebody_else(message: object) -> None:
    seat = Table().client()
    seat.says(message)
    assert seat.closed == f"{type(message).__name__} from a client makes no sense"


def test_one_connection_too_many() -> None:
    table = Table(PoolSettings(connections_max=2))
    table.miner()
    second, third = table.client(), table.connects()
    assert second.of(Welcome)
    assert third.heard == [Refused("this pool has its 2 connections")]
    third.says(Hello("miner"))
    assert len(third.heard) == 1
    third.leaves()
    second.leaves()
    assert table.miner().of(Welcome)


def test_an_idle_miner_beats_and_stays_and_one_that_does_not_goes() -> None:
    table = Table()
    alive, silent = table.miner(), table.miner()
    for _ in range(8):
        table.passes(table.now + 15)
        alive.beats()
    assert (alive.closed, silent.closed) == (None, "silent for 60 s")


def test_errors_cost_and_a_spent_budget_ends_it() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    client.says(submit(1000))
    held = miner.ranges
    for _ in range(2):
        assert table.happens(Erred(miner.number, 400, "nonsense")) == []
    assert table.happens(Erred(miner.number, 400, "nonsense"))[:2] == [
        Send(miner.number, Refused("nonsense")),
        Close(miner.number, "nonsense"),
    ]
    assert table.statistics.errors == 3
    assert lost(table) == [("miner-2", "dropped", *held[0])]
    assert table.miner().ranges == held


def test_events_that_make_no_sense_are_ignored() -> None:
    table = Table()
    nonsense: list[Event] = [
        Received(9, Beat()),
        Erred(9, 1000, "who?"),
        Disconnected(9, "who?"),
        Searched(1, 10, (3,)),
        Advanced(1, 10),
        Stopping(),
        Tick(),
    ]
    assert [table.happens(event) for event in nonsense] == [[]] * len(nonsense)


# One client, one miner.


def test_a_job_from_beginning_to_end() -> None:
    pool = Pool(PoolSettings(audit_fraction=0, shard_nonces=600), random.Random(0))
    assert pool.handle(Started(), 0.0) == [Persist("pool", Life(1), replaces=True)]
    pool.handle(Connected(1, "client:1"), 0.0)
    assert pool.handle(Received(1, Hello("client")), 0.0) == [Send(1, Welcome(1.0, "pool"))]
    opened = JobOpened("job", FORM, 0, 1000, None)
    # The job is on disk before anybody hears of it. Its last nonce is hashed already.
    assert pool.handle(Received(1, submit(1000)), 1.0) == [
        Persist("job:job", opened),
        Emit(facts.JobAccepted("job", 0, 1000, 0, *KNOWN_AS)),
        Emit(best_so_far(1000)),
        Send(1, Status("job", 1, 1001, 0.0, 0, 0.0, nonce=1000)),
    ]
    pool.handle(Connected(2, "miner:1", "nonsuch"), 2.0)
    bits = [share_limit(count).bits for count in (600, 400)]
    first = Lease(LIFE + 1, "job", 0, 600, bits[0], puzzle=FORM)
    assert pool.handle(Received(2, Hello("miner", name="m")), 2.0) == [
        Send(2, Welcome(1.0, "pool")),
        Emit(facts.MinerJoined("m", "miner:1", "nonsuch", 1)),
        Send(2, first),
    ]
    # The rest is one nonce short of 1001: the last is done. The puzzle does not come again.
    second = Lease(LIFE + 2, "job", 600, 400, bits[1])
    best = [lowest(PUZZLE, 0, 599), lowest(PUZZLE, 0, 1000)]
    assert pool.handle(Received(2, scanned(PUZZLE, first)), 3.0) == [
        Emit(best_so_far(best[0])),
        Persist("job:job", ShardDone("job", 0, 600, best[0])),
        Send(2, second),
    ]
    closed = JobClosed(opened, best[1], 1001, 3.0)
    # The answer is on disk before it is told.
    assert pool.handle(Received(2, scanned(PUZZLE, second)), 4.0) == [
        Emit(best_so_far(best[1])),
        Persist("job:job", ShardDone("job", 600, 400, best[1] if best[1] >= 600 else None)),
        Persist("job:job", closed, replaces=True),
        Send(1, Status("job", 1001, 1001, 0.0, 0, 3.0, nonce=best[1])),
        Send(1, Answer("job", best[1], 1001, 3.0)),
        Emit(facts.JobFinished("job", best[1], 1001, 3.0, best_so_far(best[1]).hash)),
        Send(2, Retire("job")),
    ]
    pool._check()


@pytest.mark.parametrize(("first", "last"), [(0, 0), (7, 7), (2**64 - 1, 2**64 - 1)])
def test_a_job_of_one_nonce_needs_no_miner(first: int, last: int) -> None:
    client = Table().client()
    client.says(submit(last, first=first))
    assert client.answers == [first]


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 31), (0, 32), (5, 37), (100, 3000)])
def test_jobs_of_all_sizes_have_exact_answers(first: int, last: int) -> None:
    table = Table(PoolSettings(shard_nonces=700))
    client, miners = table.client(), [table.miner(), table.miner()]
    client.says(submit(last, first=first))
    table.finish(*miners)
    assert client.answers == [lowest(PUZZLE, first, last)]
    assert cheats(table) == []


def test_a_job_waits_for_a_miner() -> None:
    table = Table()
    client = table.client()
    client.says(submit(500))
    table.passes(10.0)
    statuses = [message for message in client.heard if isinstance(message, Status)]
    assert len(statuses) == 1 + 20  # At once, and then twice a second.
    assert {status.miners for status in statuses} == {0}
    table.finish(table.miner())
    assert client.answers == [lowest(PUZZLE, 0, 500)]


@pytest.mark.parametrize(
    "wrong",
    [
        submit(5, first=6),
        submit(2**64),
        Submit("job", FORM, 0, 10, bytes(32)),
        Submit("job", msgspec.structs.replace(FORM, nonce="roman"), 0, 10),
        Submit("job", msgspec.structs.replace(FORM, rank_bits=0), 0, 10),
        Submit("job", msgspec.structs.replace(FORM, nonce="big1"), 0, 256),
    ],
    ids=["backwards", "beyond 64 bits", "target 0", "no such nonce", "no rank", "no such field"],
)
def test_an_impossible_job_is_refused_and_costs_a_little(wrong: Submit) -> None:
    table = Table()
    client = table.client()
    closed = []
    for _ in range(20):
        assert sends(client.says(wrong), Ended)
        closed.append(client.closed is not None)
    assert closed == [False] * 19 + [True]
    assert table.statistics.jobs == 0
    assert table.persisted[1:] == []


# Many jobs.


def test_a_huge_job_does_not_starve_a_small_one() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1000))
    client, miner = table.client(), table.miner()
    client.says(submit(2**60, job="huge"))
    for _ in range(3):
        miner.works()
    client.says(submit(8000, job="small", puzzle=plain(b"small ")))
    for lease in miner.leases.values():
        assert lease.job == "huge"
    given_before = len(miner.of(Lease))
    while not client.answers:
        miner.works()
    leased: Counter[str] = Counter()
    for message in miner.heard[:]:
        if isinstance(message, Lease):
            leased[message.job] += message.count
    since = leased["huge"] - 1000 * given_before
    assert leased["small"] == 8000
    assert 6000 <= since <= 10_000
    assert client.answers == [lowest(plain(b"small "), 0, 8000)]


def test_three_jobs_are_served_in_equal_parts() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miners = table.client(), [table.miner(), table.miner()]
    for job in "abc":
        client.says(submit(2**40, job=job))
    for _ in range(30):
        for miner in miners:
            miner.works()
    leased: Counter[str] = Counter()
    for miner in miners:
        leased.update(each.job for each in miner.heard if isinstance(each, Lease))
    assert max(leased.values()) - min(leased.values()) <= 4  # Those that came before b and c.
    assert sum(leased.values()) == 64


def test_what_was_lost_is_leased_first_and_in_its_order() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1000))
    client, loser = table.client(), table.miner()
    client.says(submit(10**6))
    loser.works()
    assert loser.ranges == [(1000, 2000), (2000, 3000)]
    loser.leaves()
    another = table.miner()
    assert another.ranges == [(1000, 2000)]
    another.works()
    assert another.ranges == [(2000, 3000), (3000, 4000)]
    assert table.statistics.requeues == {"left": 2}


# Miners go, freeze, thaw and lose messages.


def test_a_miner_hangs_up_and_an_idle_one_has_its_shard_at_once() -> None:
    table = Table()
    client, busy, idle = table.client(), table.miner(), table.miner()
    client.says(submit(1000))
    held = busy.lease
    assert idle.leases == {}
    limit = share_limit(1000).bits
    assert busy.leaves("connection reset") == [
        Emit(facts.MinerLeft("miner-2", "connection reset", 1, 1)),
        Emit(facts.LeaseLost("miner-2", "left", "job", 0, 1000)),
        Send(idle.number, Lease(held.lease + 1, "job", 0, 1000, limit, puzzle=FORM)),
    ]


def test_a_frozen_miner_loses_its_shard_when_its_lease_is_over_and_not_before() -> None:
    table = Table()
    client, frozen, idle = table.client(), table.miner(), table.miner()
    client.says(submit(1000))
    held = frozen.lease
    for seconds in (1.0, 2.0, 2.5):
        table.passes(seconds)
        frozen.beats()
    table.passes(2.5 + 3.0 - 1e-6)
    assert (frozen.ranges, idle.ranges) == ([(0, 1000)], [])
    effects = table.passes(2.5 + 3.0)
    assert frozen.heard[-1] == Revoke(held.lease)
    assert sends(effects, Lease) == [(idle.number, idle.lease)]
    assert idle.ranges == [(0, 1000)]
    assert lost(table) == [("miner-2", "frozen", 0, 1000)]
    assert frozen.closed is None


def test_silence_is_counted_from_the_lease_on() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    table.passes(50.0)
    client.says(submit(1000))
    table.passes(52.9)
    assert miner.leases
    table.passes(53.0)
    assert not miner.leases


def test_a_thawed_miner_comes_too_late_and_gets_other_work() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    client, frozen = table.client(), table.miner()
    client.says(submit(1000))
    late = frozen.lease
    result = frozen.result()
    table.passes(3.0)
    other = table.miner()
    assert other.ranges == [(0, 500)]
    done = table.statistics.jobs_described[0].done
    assert [peer for peer, _ in sends(frozen.says(result), Lease)] == [frozen.number]
    assert frozen.ranges == [(500, 1000)]
    assert table.statistics.jobs_described[0].done == done == 1
    assert table.statistics.late_results == 1
    assert late.lease not in frozen.leases
    table.finish(frozen, other)
    assert client.answers == [lowest(PUZZLE, 0, 1000)]
    assert table.statistics.results == 2


def test_a_thawed_miner_gets_work_for_its_beat() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    client.says(submit(1000))
    table.passes(4.0)
    assert miner.leases == {}
    miner.beats()
    assert miner.ranges == [(0, 1000)]


def test_a_lease_that_was_lost_on_the_way_is_missed_by_a_beat() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    client.says(submit(100_000))
    miner.works()
    held, gone = miner.leases.values()
    for seconds in (1.0, 2.0, 3.0):
        table.passes(seconds)
        miner.says(Beat((held.lease,)))
        assert lost(table) == []  # It may have been on its way when the beat set out.
    table.passes(3.5)
    miner.says(Beat((held.lease,)))
    assert lost(table) == [("miner-2", "missed", gone.start, gone.start + 100)]
    del miner.leases[gone.lease]
    miner.works(held)
    again = next(lease for lease in miner.leases.values() if lease.start == gone.start)
    assert again.puzzle == FORM  # Perhaps it was lost with the lease.


def test_a_miner_that_beats_for_ever_and_never_ends() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1000))
    client, stuck = table.client(), table.miner(rate=1000.0)
    client.says(submit(1000))
    idle = table.miner()
    for seconds in range(1, 40):
        table.passes(float(seconds))
        stuck.beats()
        idle.beats()
    # The other had a copy, since nobody had shown that he searches, and did no better.
    assert table.statistics.requeues == {"overdue": 2}
    table.finish(idle)
    assert client.answers == [lowest(PUZZLE, 0, 1000)]


def test_a_result_of_a_lease_that_never_was() -> None:
    table = Table()
    miner = table.miner()
    miner.says(Result(LIFE + 99, 10, ()))
    assert miner.closed == f"lease {LIFE + 99} has never been given"


def test_a_result_of_somebody_elses_lease_earns_nothing() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    client, one, two = table.client(), table.miner(), table.miner()
    client.says(submit(1000))
    two.says(one.result())
    assert table.statistics.results == 0
    assert table.statistics.late_results == 1
    table.finish(one, two)
    assert client.answers == [lowest(PUZZLE, 0, 1000)]


def test_a_result_of_a_part_without_a_proof_is_a_lie() -> None:
    table = Table()
    client, liar = table.client(), table.miner()
    client.says(submit(1000))
    limit = limit_of_bits(liar.lease.share_bits)
    liar.says(Result(liar.lease.lease, 400, tuple(hits(PUZZLE, limit, 0, 399))))
    assert cheats(table) == ["miner-2"]
    table.finish(table.miner())
    assert client.answers == [lowest(PUZZLE, 0, 1000)]


def test_in_a_small_shard_every_nonce_is_a_share_and_must_be_named() -> None:
    table = Table()
    client, liar = table.client(), table.miner()
    client.says(submit(30))
    liar.lies = lies_as("withholds")
    liar.works()
    assert cheats(table) == ["miner-2"]
    table.finish(table.miner())
    assert client.answers == [lowest(PUZZLE, 0, 30)]


def test_a_client_may_wait_in_silence() -> None:
    table = Table()
    client, program = table.client(), table.client("liteminer")
    client.says(submit(2**40))
    program.says(submit(2**40, job="other", puzzle=liteminer(b"x")))
    table.passes(300.0)
    assert (client.closed, program.closed) == (None, None)


def test_a_liteminer_miner_may_wait_in_silence() -> None:
    table = Table()
    miner = table.miner(wire="liteminer")
    table.passes(600.0)
    assert miner.closed is None


def test_a_miner_that_was_told_to_go_and_does_not() -> None:
    table = Table()
    pool = table.pool
    table.miner()
    ticks = 0
    while (deadline := pool.deadline()) is not None and deadline < 65.0:
        pool.handle(Tick(), deadline)
        ticks += 1
    assert ticks < 100


# Miners with many slots.


def counts(seat: Seat) -> list[int]:
    return [lease.count for lease in seat.leases.values()]


def test_a_miner_with_many_slots_has_a_lease_for_each_and_then_one_ahead() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner("cluster")
    client.says(submit(20_000))
    assert len(miner.leases) == 1
    miner.says(Capacity(8, 4))
    assert table.told(facts.MinerChanged) == [facts.MinerChanged("cluster", 8, 4, 8)]
    held: list[int] = []
    while not client.answers:
        held.append(len(miner.leases))
        table.passes(table.now + 0.25 / 8)
        newest = list(miner.leases.values())[-1]
        miner.works(newest)  # In any order.
    assert held[:8] == [8] * 8, "it has shown nothing yet"
    assert set(held[8:100]) == {16}
    assert held[-1] == 1
    assert client.answers == [lowest(PUZZLE, 0, 20_000)]
    assert table.statistics.results == 200
    assert (table.statistics.slots, table.statistics.workers) == (8, 4)
    (described,) = table.statistics.miners_described
    assert (described.slots, described.workers) == (8, 4)
    assert described.rate == pytest.approx(8 * 100 / 0.25, rel=0.1)


def test_results_that_come_in_bursts_do_not_make_the_rate_jump() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(8))
    client.says(submit(10**6))
    rates: list[float] = []
    for burst in range(8):
        table.passes(2.0 * (burst + 1))
        for lease in list(miner.leases.values())[:8]:
            table.passes(table.now + 0.0001)
            miner.works(lease)
            rates.append(table.statistics.rate)
    assert rates[:7] == [0.0] * 7
    assert all(rate == pytest.approx(400, rel=0.01) for rate in rates[7:])


def test_two_bursts_at_once_are_one_measurement() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(8))
    client.says(submit(10**6))
    for seconds in (2.0, 4.0, 8.0, 10.0, 12.0):
        table.passes(seconds)
        for lease in list(miner.leases.values()):
            miner.works(lease)
    # At 4 s and later all sixteen came; a rate of millions was never seen.
    assert 200 <= table.statistics.rate <= 1000


def test_a_shard_takes_a_slot_as_long_as_it_should() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_seconds=2.0))
    client = table.client()
    client.says(submit(2**50))
    for slots, seconds, expected in [(8, 0.0, 2.0), (8, 20.0, 20.0), (1500, 0.0, 5.0)]:
        miner = table.miner(rate=1000.0 * slots)
        miner.says(Capacity(slots, 0, seconds))
        miner.leases.clear()
        table.pool._state.roster.miners[miner.number].measured = True
        table.pool._state.roster.shown_slots += slots
        miner.beats()
        job = table.pool._state.jobs["job"]
        held = table.pool._state.roster.miners[miner.number]
        count = table.pool._state.dispatcher.shard_nonces(job, held)
        assert count == pytest.approx(1000 * expected, rel=0.05)


def test_a_miner_loses_slots_and_keeps_what_it_holds() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(4))
    client.says(submit(5000))
    for _ in range(8):
        table.passes(table.now + 0.1)
        miner.works()
    assert len(miner.leases) == 8
    rate = table.statistics.rate
    miner.says(Capacity(2))
    assert len(miner.leases) == 8
    assert table.statistics.rate == pytest.approx(rate / 2)
    for left in (7, 6, 5, 4, 4, 4):
        table.passes(table.now + 0.1)
        miner.works()
        assert len(miner.leases) == left
    miner.says(Capacity(0))
    assert table.statistics.rate == 0
    while miner.leases:
        table.passes(table.now + 0.1)
        miner.works()
    assert not client.answers
    miner.says(Capacity(4))
    table.finish(miner)
    assert client.answers == [lowest(PUZZLE, 0, 5000)]
    assert table.statistics.requeues == {}


def test_a_new_job_reaches_the_slots_that_stand_still() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(8))
    client.says(submit(299))
    assert len(miner.leases) == 3
    assert table.statistics.miners_idle == 0
    client.says(submit(1000, job="other"))
    assert [lease.job for lease in miner.leases.values()] == ["job"] * 3 + ["other"] * 5
    table.finish(miner)
    assert len(client.answers) == 2


def test_a_lease_that_a_miner_gave_up_is_leased_again_at_once() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(4, 4))
    client.says(submit(399))
    stuck = miner.lease
    for lease in list(miner.leases.values())[1:]:
        miner.works(lease)
    miner.beats()
    table.passes(2.9)
    miner.beats()
    table.passes(5.0)
    del miner.leases[stuck.lease]
    miner.beats()
    assert lost(table) == [("miner-2", "missed", 0, 100)]
    assert miner.ranges == [(0, 100)]
    table.finish(miner)
    assert client.answers == [lowest(PUZZLE, 0, 399)]


def test_one_slot_of_a_miner_never_comes_to_an_end() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100, shard_seconds=1.0))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(4))
    client.says(submit(10**6))
    stuck = miner.lease
    while not lost(table):
        table.passes(table.now + 0.25)
        miner.beats()
        miner.works(list(miner.leases.values())[1])
        assert table.now < 20
    # Ten times its length and the grace, by its own age, though results came all the time.
    assert 13 <= table.now <= 17
    assert lost(table) == [("miner-2", "overdue", 0, 100)]
    assert stuck.lease not in miner.leases
    assert len(miner.leases) == 8
    assert miner.closed is None


def test_all_slots_stand_still_and_all_is_somebody_elses() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, stuck = table.client(), table.miner(rate=1000.0)
    stuck.says(Capacity(4))
    client.says(submit(799))
    idle = table.miner(rate=1000.0)
    idle.says(Capacity(4))
    while idle.leases:
        idle.works()
    for seconds in range(1, 40):
        table.passes(float(seconds))
        stuck.beats()
        idle.beats()
    assert table.statistics.requeues["overdue"] >= 4
    table.finish(idle)
    assert client.answers == [lowest(PUZZLE, 0, 799)]


def test_the_slots_that_stand_still_race_a_slow_miner() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    client, slow = table.client(), table.miner(rate=50.0)
    client.says(submit(1499))
    fast = table.miner(rate=40_000.0)
    fast.says(Capacity(8))
    assert slow.ranges == [(0, 500)]
    assert fast.ranges == [(500, 1000), (1000, 1499), (0, 500)]
    assert table.statistics.copies == 1
    table.finish(fast)
    assert client.answers == [lowest(PUZZLE, 0, 1499)]


def test_those_who_come_late_have_their_part_of_the_leases_that_can_be_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "LEASES_OPEN_MAX", 24)
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, greedy, modest, late = (table.client(), *(table.miner() for _ in range(3)))
    greedy.says(Capacity(2000))
    modest.says(Capacity(2))
    client.says(submit(10**6))
    assert [len(each.leases) for each in (greedy, modest, late)] == [12, 2, 1]
    late.says(Capacity(2000))
    assert len(late.leases) == 4, "a third of a half"
    another = table.miner()
    another.says(Capacity(2000))
    assert len(another.leases) == 3
    assert table.statistics.leases == 21


def test_who_has_very_many_slots_does_not_wait_for_the_second_half_of_them() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(1200))
    client.says(submit(10**6))
    assert len(miner.leases) == 500
    table.passes(0.001)
    assert len(miner.leases) == 1200


def test_a_miner_with_many_slots_is_not_given_more_puzzles_than_it_can_read() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(60))
    for number in range(60):
        puzzle = plain(b"%4d" % number + bytes(MESSAGE_BYTES_MAX - 4))
        client.says(submit(2, job=f"job {number}", puzzle=puzzle))

    def heard_bytes() -> int:
        told = [message.puzzle for message in miner.heard if isinstance(message, Lease)]
        return sum(len(puzzle.prefix) for puzzle in told if puzzle is not None)

    few = heard_bytes()
    assert PUZZLE_BYTES_UNREAD_MAX <= few < WRITE_BYTES_MAX / 2 + MESSAGE_BYTES_MAX
    first, *others = miner.leases.values()
    miner.works(first)
    assert heard_bytes() == few + len(first.puzzle.prefix if first.puzzle else b"")
    miner.works(others[-1])
    most = heard_bytes()
    assert most >= 2 * few, "it came behind all the others"
    table.passes(1.0)
    miner.beats()
    assert heard_bytes() >= most + few
    for number in range(60):
        client.says(Withdraw(f"job {number}"))
    client.says(submit(2, job="one more"))
    assert not miner.leases, "nobody knows how far it is"
    table.passes(2.0)
    miner.beats()
    assert miner.leases
    table.finish(miner)
    assert client.answers == [lowest(PUZZLE, 0, 2)]


def test_idle_miners_have_their_work_though_puzzles_were_withdrawn_before_they_beat() -> None:
    table = Table(TRUSTING)
    client, miner = table.client(), table.miner(rate=1000.0)
    for number in range(10):
        puzzle = plain(b"%4d" % number + bytes(MESSAGE_BYTES_MAX - 4))
        client.says(submit(10**6, job=f"job {number}", puzzle=puzzle))
        client.says(Withdraw(f"job {number}"))
        miner.beats()
    client.says(submit(1000))
    assert miner.leases


class Diligent:
    """An honest miner of 1,000 hashes a second: its leases come back when they should."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.seat = table.miner("honest", rate=1000.0)
        self.busy_since = table.now

    def passes(self, seconds: float) -> None:
        """A while, with its beats."""
        table, seat = self.table, self.seat
        for _ in range(round(4 * seconds)):
            table.passes(table.now + 0.25)
            while seat.leases and seat.lease.count <= 1000 * (table.now - self.busy_since) + 1:
                self.busy_since += seat.lease.count / 1000
                seat.works()
            if not seat.leases:
                self.busy_since = table.now
            seat.beats()


def beside_a_huge_job() -> tuple[Table, Seat, Diligent]:
    """A job of 20,000 nonces, and a miner that has shown what it does and is never idle."""
    table = Table(TRUSTING)
    client, honest = table.client(), Diligent(table)
    client.says(submit(3000, job="first"))
    honest.passes(10.0)
    client.says(submit(10**9, job="huge"))
    client.says(submit(20_000, job="victim"))
    return table, client, honest


@pytest.mark.parametrize("rate", [1e-6, 1.0, 1e6])
def test_no_job_waits_for_who_says_how_slow_it_is_and_beats(rate: float) -> None:
    """Nobody is idle, for another job is huge; and no lease of a stranger's is ever overdue."""
    table, client, honest = beside_a_huge_job()
    strangers = [table.miner(f"stranger-{number}", rate=rate) for number in range(2)]
    while len(client.answers) < 2:
        honest.passes(1.0)
        for stranger in strangers:
            stranger.beats()
        assert table.now < 100, "some forty seconds of half an honest miner's time"
    assert client.answers[1] == lowest(PUZZLE, 0, 20_000)


def test_no_job_waits_for_a_shard_that_goes_from_one_stranger_to_the_next() -> None:
    """Each lease is young when its holder leaves, and the next is there at once."""
    table, client, honest = beside_a_huge_job()
    stranger = table.miner("stranger", rate=1.0)
    while len(client.answers) < 2:
        for _ in range(6):
            honest.passes(1.0)
            stranger.beats()
        stranger.leaves()
        stranger = table.miner("stranger", rate=1.0)
        assert table.now < 120
    assert client.answers[1] == lowest(PUZZLE, 0, 20_000)


def test_a_miner_cannot_make_one_job_dearer_than_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It never returns what is of one kind, until nobody could be slower at that."""
    monkeypatch.setattr(dispatch, "FIRST_NONCES", 500)
    table = Table(TRUSTING)
    client, honest = table.client(), Diligent(table)
    client.says(submit(10**9, job="A"))
    client.says(submit(10**9, job="B", puzzle=Puzzle(prefix=b"b ", hash="sha256d")))
    mean = table.miner("mean", rate=1000.0)
    mean.says(Capacity(2))
    for _ in range(240):
        honest.passes(1.0)
        for lease in list(mean.leases.values()):
            if lease.lease in mean.leases and lease.job == "A":
                mean.works(lease)
        mean.beats()
    done = Counter[str]()
    for message in honest.seat.of(Lease):
        assert isinstance(message, Lease)
        done[message.job] += message.count
    assert done["B"] > 0.3 * done.total()


@pytest.mark.parametrize("fast", ["single", "cluster", "older"])
def test_the_fastest_idle_miner_need_not_be_the_one_that_races(fast: str) -> None:
    """It may hold the shard itself, or have no words for it."""
    table = Table(PoolSettings(audit_fraction=0, blind_audit_fraction=0, shard_nonces=500))
    client, slow, other = table.client(), table.miner("slow"), table.miner("other")
    wire = "liteminer" if fast == "older" else "nonsuch"
    quick = slow if fast == "single" else table.miner(fast, wire=wire)
    if fast == "cluster":
        quick.says(Capacity(4))
    client.says(submit(8000, job="first", puzzle=liteminer(b"first")))
    while table.statistics.jobs:
        table.passes(table.now + 0.1)
        for seat, leases_a_round in {quick: 5, other: 2, slow: 1}.items():
            for _ in range(leases_a_round):
                if seat.leases:
                    seat.works()
    client.says(submit(500, job="last"))
    holder = next(seat for seat in (slow, quick, other) if seat.leases)
    until = table.now + 12.0
    while table.now < until and table.statistics.copies < 1:
        table.passes(table.now + 0.5)
        holder.beats()
    assert table.statistics.copies >= 1


def test_idle_miners_of_the_older_wire_are_not_asked_for_each_result_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(PoolSettings(audit_fraction=0, blind_audit_fraction=0, shard_nonces=500))
    client, miner = table.client(), table.miner(rate=1000.0)
    idle = [table.miner(wire="liteminer") for _ in range(200)]
    client.says(submit(10**6))
    refilled: list[str] = []
    refill = leases.Leases.refill

    def watched(giver: leases.Leases, miner: KnownMiner, now: float) -> int:
        refilled.append(miner.wire)
        return refill(giver, miner, now)

    monkeypatch.setattr(leases.Leases, "refill", watched)
    for _ in range(10):
        table.passes(table.now + 0.1)
        miner.works()
    assert set(refilled) == {"nonsuch"}
    client.says(submit(3000, job="theirs", puzzle=liteminer(b"x")))
    assert sum(bool(seat.leases) for seat in idle) >= 1


def test_all_that_a_stranger_can_take_is_half_of_a_job() -> None:
    for slots in (1, 8, 64):
        table = Table(TRUSTING)
        client, boaster = table.client(), table.miner(rate=1e15)
        boaster.says(Capacity(slots))
        client.says(submit(10**9))
        assert len(boaster.leases) == slots
        assert sum(counts(boaster)) <= 10**9 / 2


def test_who_came_to_no_end_is_served_last_and_has_one_lease_until_it_does() -> None:
    table = Table(TRUSTING)
    client, stuck, slow = table.client(), table.miner(rate=1e15), table.miner(rate=10.0)
    stuck.says(Capacity(8))
    client.says(submit(10_000))
    taken = sum(counts(stuck))
    while not lost(table):
        table.passes(table.now + 1.0)
        stuck.beats()
        slow.works()
        assert table.now < 40
    assert len(stuck.leases) == 1
    assert sum(counts(stuck)) < taken / 100
    stuck.says(Capacity(4))
    assert len(stuck.leases) == 1, "and its word is as good as before"
    table.passes(table.now + 0.1)
    stuck.works()
    assert len(stuck.leases) == 4
    table.finish(slow, stuck)
    assert client.answers == [lowest(PUZZLE, 0, 10_000)]


def test_beats_that_come_too_often_are_not_looked_at_and_then_cost() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(2000))
    client.says(submit(10**6))
    table.passes(2.0)
    miner.beats()
    table.passes(3.4)
    miner.beats()
    told = table.statistics
    table.passes(3.6)
    for _ in range(WORDS_MAX - 1):
        miner.says(Beat())
    assert table.statistics.errors == 0
    assert (table.statistics.leases, table.statistics.requeues) == (told.leases, {})
    for _ in range(100):
        assert miner.closed is None
        miner.says(Beat())
    assert miner.closed == f"more than {WORDS_MAX} messages that are no work in 1 s"


def test_results_that_nobody_waits_for_cost() -> None:
    table = Table(THOROUGH)
    client, miner = table.client(), table.miner()
    client.says(submit(10**6))
    late = Result(miner.lease.lease, 500, ())
    client.says(Withdraw("job"))
    miner.says(late)  # This one was on its way.
    said = 0
    while miner.closed is None:
        miner.says(late)
        said += 1
        assert said < 2 * WORDS_MAX
    assert miner.closed == f"more than {WORDS_MAX} messages that are no work in 1 s"


def test_the_results_of_all_leases_that_were_revoked_may_still_come() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=10))
    client, miner = table.client(), table.miner()
    miner.says(Capacity(2 * WORDS_MAX))
    client.says(submit(10**6))
    table.passes(1.0)
    held = list(miner.leases.values())
    assert len(held) == 2 * WORDS_MAX
    client.says(Withdraw("job"))
    for lease in held:
        miner.says(Result(lease.lease, lease.start + lease.count, ()))
    assert table.statistics.errors == 0
    assert miner.closed is None


def test_a_client_that_asks_and_asks_is_told_so_often_and_no_more() -> None:
    table = Table()
    client = table.client()
    while client.closed is None:
        client.says(Ask())
    assert len(client.of(Report)) == WORDS_MAX // ASK_WORDS
    patient = table.client()
    for _ in range(100):
        patient.says(Ask())
        table.passes(table.now + 0.25)
    assert len(patient.of(Report)) == 100


def test_a_newcomer_gets_no_more_than_if_it_were_as_fast_as_others() -> None:
    table = Table()
    client, known = table.client(), table.miner("known", rate=1000.0)
    client.says(submit(10**9))
    for _ in range(20):
        table.passes(table.now + known.lease.count / 1000.0)
        known.works()
    boaster = table.miner("boaster", rate=1e12)
    assert boaster.lease.count == pytest.approx(1000 * 0.25, rel=0.05)


def test_a_miner_whose_slots_change_all_the_time_is_told_of_once_a_second() -> None:
    table = Table()
    miner = table.miner("cluster")
    for slots in range(2, 102):
        table.passes(slots / 100)
        miner.says(Capacity(slots))
    assert table.told(facts.MinerChanged) == [facts.MinerChanged("cluster", 2, 0, 2)]
    table.passes(1.1)
    miner.beats()
    assert table.told(facts.MinerChanged)[1:] == [facts.MinerChanged("cluster", 101, 0, 101)]
    for _ in range(WORDS_MAX + 100):
        miner.says(Capacity(3))
    assert miner.closed is not None


def test_a_miner_with_many_slots_is_not_audited_more_because_audits_take_their_time() -> None:
    table = Table(PoolSettings(audit_fraction=1e-12, shard_nonces=40))
    client, miner, other = table.client(), table.miner(), table.miner()
    miner.says(Capacity(64))
    client.says(submit(10**6))
    asleep = other.lease
    for _ in range(4 * UNAUDITED_MAX):
        table.passes(table.now + 0.001)
        miner.works()
    # The other one never comes to them.
    assert other.lease is asleep
    assert table.statistics.audits_waiting <= 4 + 2, "four, and what suspicion chose"


# Who gets how much.


def test_shards_follow_the_measured_rate_and_shrink_at_the_end() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_seconds=2.0))
    client, miner = table.client(), table.miner(rate=500.0)
    client.says(submit(60_000))
    sizes: list[int] = []
    while not client.answers:
        sizes.append(miner.lease.count)
        table.passes(table.now + miner.lease.count / 4000)
        miner.works()
    assert sizes[0] == 124  # A quarter of a second at the rate it claims, to six bits.
    assert sum(sizes) == 60_000
    top = sizes.index(max(sizes))
    assert 0.9 * 8000 < sizes[top] <= 8000
    tail = sizes[top:]
    assert all(later <= size for size, later in pairwise(tail))
    assert 400 * 0.9 <= min(tail[:-1]) <= 440  # A tenth of a second.
    assert client.answers == [lowest(PUZZLE, 0, 60_000)]


SLOW = Puzzle(b"", SquareDifference(5))
"""Takes fifty times as long a nonce, in the stories below, as the usual puzzle."""


def paces(miner: Seat, per_second: dict[str, float], seconds: float) -> Counter[str]:
    """It searches its leases in their order, each at its own pace. How long it was at each job."""
    table, until = miner.table, miner.table.now + seconds
    spent: Counter[str] = Counter()
    while table.now < until:
        lease = miner.lease
        needed = lease.count / per_second[lease.job]
        while needed > 0:
            table.passes(table.now + min(0.5, needed))
            needed -= 0.5
            miner.beats()
        assert lease.lease in miner.leases, "it was taken away"
        spent[lease.job] += round(1000 * lease.count / per_second[lease.job])
        del miner.leases[lease.lease]
        limit = limit_of_bits(lease.share_bits)
        expected = round(expected_shares(lease.count, limit))
        shares = tuple(range(lease.start, lease.start + expected))
        miner.says(Result(lease.lease, lease.start + lease.count, shares))
    return spent


def test_shards_of_a_slow_puzzle_take_no_longer_and_both_jobs_get_on() -> None:
    table = Table(TRUSTING, rehash=lambda _puzzle, nonces: ((2**255, nonces[0]), 0))
    client, miner = table.client(), table.miner("miner", rate=5_000_000.0)
    client.says(submit(10**12, job="fast"))
    paces(miner, {"fast": 5_000_000.0}, 5.0)
    client.says(submit(10**12, job="slow", puzzle=SLOW))
    spent = paces(miner, {"slow": 100_000.0, "fast": 5_000_000.0}, 300.0)
    assert table.statistics.requeues == {}
    assert 0.8 < spent["slow"] / spent["fast"] < 1.25


def test_a_miner_that_says_nothing_of_its_rate_gets_a_small_shard_first() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    client.says(submit(2**40))
    assert [lease.count for lease in miner.leases.values()] == [2**18]


def test_a_second_lease_is_given_only_while_there_is_plenty() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    client.says(submit(1000))
    held: list[int] = []
    while not client.answers:
        held.append(len(miner.leases))
        miner.works()
    # It has shown nothing yet; then there is plenty; then the end is near.
    assert held == [1, 2, 2, 2, 2, 2, 1, 1, 1, 1]
    assert [lease for _, lease in zip(held, miner.of(Lease), strict=True)]


def test_a_miner_that_claims_to_be_infinitely_fast() -> None:
    table = Table(rehash=lambda _puzzle, nonces: ((2**255, nonces[0]), 0))
    client, miner = table.client(), table.miner(rate=float("inf"))
    client.says(submit(2**60))
    for _ in range(3):
        table.passes(table.now + 1.0)
        lease = miner.lease
        del miner.leases[lease.lease]
        shares = range(lease.start, lease.start + SHARES_EXPECTED)
        miner.says(Result(lease.lease, lease.start + lease.count, tuple(shares)))
    assert table.statistics.rate < 1e18


def test_the_first_result_takes_no_time_at_all() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=100))
    client, miner = table.client(), table.miner()
    client.says(submit(10_000))
    miner.works()
    for _ in range(5):
        table.passes(table.now + 0.1)
        miner.works()
    assert table.statistics.rate == pytest.approx(1000, rel=0.1)


def test_an_idle_fast_miner_races_a_slow_one_and_wins() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    client, slow = table.client(), table.miner(rate=50.0)
    client.says(submit(1000))
    fast = table.miner(rate=5000.0)
    assert (slow.ranges, fast.ranges) == ([(0, 500)], [(500, 1000)])
    original = slow.lease
    late = slow.result()
    table.passes(0.1)
    fast.works()  # Nothing is left to lease, and ten seconds of work are with the slow one.
    assert fast.ranges == [(0, 500)]
    assert table.statistics.copies == 1
    table.passes(0.2)
    effects = fast.works()
    assert sends(effects, Revoke) == [(slow.number, Revoke(original.lease))]
    assert client.answers == [lowest(PUZZLE, 0, 1000)]
    assert slow.says(late) == []
    assert table.statistics.late_results == 1
    assert table.statistics.results == 2


def test_a_slow_miner_is_raced_and_comes_first_all_the_same() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    client, slow = table.client(), table.miner(rate=50.0)
    client.says(submit(1000))
    fast = table.miner(rate=5000.0)
    table.passes(0.1)
    fast.works()
    copy = fast.lease
    effects = slow.works()
    assert sends(effects, Revoke) == [(fast.number, Revoke(copy.lease))]
    assert client.answers == [lowest(PUZZLE, 0, 1000)]
    assert table.statistics.miners_idle == 2


def test_the_racer_leaves_and_the_slow_one_keeps_its_shard() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    client, slow = table.client(), table.miner(rate=50.0)
    client.says(submit(1000))
    fast = table.miner(rate=5000.0)
    table.passes(0.1)
    fast.works()
    fast.leaves()
    assert table.statistics.queue == 0
    slow.works()
    assert client.answers == [lowest(PUZZLE, 0, 1000)]


# Jobs with a target.

TARGET = Target.from_work(400)


def test_the_first_proof_wins_though_a_later_one_came_first() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1000))
    found = hits(PUZZLE, TARGET, 0, 9999)
    assert found[0] < 1000 < next(nonce for nonce in found if nonce >= 1000) < 2000
    client, early, late, beyond = table.client(), table.miner(), table.miner(), table.miner()
    client.says(submit(2999, target=TARGET))
    assert (early.ranges, late.ranges) == ([(0, 1000)], [(1000, 2000)])
    held = beyond.lease
    effects = late.works()
    # Nothing behind it matters any more; what is before it does.
    assert sends(effects, Revoke) == [(beyond.number, Revoke(held.lease))]
    assert client.answers == []
    early.works()
    assert client.answers == [found[0]]


def test_a_target_that_is_never_met() -> None:
    table = Table(PoolSettings(shard_nonces=1000))
    client, miners = table.client(), [table.miner(), table.miner()]
    client.says(submit(3000, target=Target(1)))
    table.finish(*miners)
    assert client.answers == [None]


@pytest.mark.parametrize("work", [1, 3, 40, 300, 5000])
@pytest.mark.parametrize("audit", [0.0, 1.0])
def test_targets_of_all_difficulties(work: int, audit: float) -> None:
    table = Table(PoolSettings(audit_fraction=audit, shard_nonces=900))
    client, miners = table.client(), [table.miner(), table.miner(), table.miner()]
    target = Target.from_work(work)
    client.says(submit(8000, first=17, target=target))
    table.finish(*miners)
    assert client.answers == [next(iter(hits(PUZZLE, target, 17, 8000)), None)]
    assert cheats(table) == []


def test_the_last_nonce_meets_the_target_and_an_earlier_one_does_too() -> None:
    found = hits(PUZZLE, TARGET, 0, 9999)
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1000))
    client, miner = table.client(), table.miner()
    client.says(submit(found[1], target=TARGET))
    assert client.answers == []
    table.finish(miner)
    assert client.answers == [found[0]]


def test_a_proof_from_before_the_job_is_no_answer() -> None:
    target, easier = Target.from_work(4), Target.from_work(100)
    before = next(
        nonce for nonce in hits(PUZZLE, target, 0, 999) if rank(PUZZLE, nonce) > easier.value
    )
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=4000))
    client, liar = table.client(), table.miner()
    client.says(submit(before + 5000, first=before + 1, target=target))
    liar.says(Result(liar.lease.lease, before + 1, (before,)))
    assert client.answers == []
    assert cheats(table) == ["miner-2"]


def test_a_cheat_keeps_the_proof_of_an_easy_target_back() -> None:
    target = Target.from_work(100)
    table = Table(msgspec.structs.replace(THOROUGH, shard_nonces=20_000))
    client, cheat, honest = table.client(), table.miner("cheat"), table.miner("honest")
    found = hits(PUZZLE, target, 0, 2000)
    assert rank(PUZZLE, found[0]) > share_limit(20_000).value
    client.says(submit(50_000, target=target))
    cheat.lies = lambda result: Result(result.lease, result.stop, ())
    cheat.works()
    table.finish(honest, table.miner("another"))
    assert client.answers == [found[0]]
    assert cheats(table) == ["cheat"]


def test_a_cheat_keeps_several_proofs_back() -> None:
    puzzle = plain(b"a few ")
    target = Target.from_work(1000)
    found = hits(puzzle, target, 0, 9999)
    assert lowest(puzzle, 0, 9999) != found[0]
    table = Table(msgspec.structs.replace(THOROUGH, shard_nonces=10_000))
    client, cheat, honest = table.client(), table.miner("cheat"), table.miner("honest")
    client.says(submit(50_000, target=target, puzzle=puzzle))
    lease = cheat.lease
    cheat.leases.clear()
    cheat.says(Result(lease.lease, lease.start + lease.count, ()))
    table.finish(honest, table.miner("another"))
    assert client.answers == [found[0]]
    assert cheats(table) == ["cheat"]


# Clients come back, say things twice, and change their minds.


def test_a_client_leaves_and_comes_back_for_its_answer() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    client.says(submit(1000))
    client.leaves()
    assert miner.leases  # Its job goes on.
    early = table.client()
    early.says(Watch("job"))
    table.finish(miner)
    late = table.client()
    late.says(Watch("job"))
    answer = lowest(PUZZLE, 0, 1000)
    assert (client.answers, early.answers, late.answers) == ([], [answer], [answer])
    assert isinstance(late.heard[-2], Status)


def test_the_first_leases_of_a_job_do_not_wait_for_the_disk_and_its_client_does() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    effects = client.says(submit(1000))
    kinds = [type(each.message if isinstance(each, Send) else each) for each in effects]
    assert kinds == [Lease, Persist, Emit, Emit, Status]
    # The pool dies before the record is on disk: what the miner has done of the job is nobody's.
    lease, result = miner.lease, miner.result()
    table = Table(records=[Life(1)])
    client, miner = table.client(), table.miner()
    miner.says(result)
    assert (table.statistics.late_results, table.statistics.results) == (1, 0)
    client.says(submit(1000))
    assert miner.lease.lease > lease.lease
    table.finish(miner)
    assert client.answers == [lowest(PUZZLE, 0, 1000)]


def test_a_job_that_is_submitted_twice_is_one_job() -> None:
    table = Table()
    client, again, miner = table.client(), table.client(), table.miner()
    for seat in (client, client, again):
        seat.says(submit(1000))
    assert table.statistics.jobs_accepted == 1
    table.finish(miner)
    again.says(submit(1000))
    answer = lowest(PUZZLE, 0, 1000)
    assert (client.answers, again.answers) == ([answer], [answer, answer])
    assert table.statistics.jobs_accepted == 1


def test_another_job_of_the_same_id_is_refused() -> None:
    table = Table()
    client, other, miner = table.client(), table.client(), table.miner()
    client.says(submit(1000))
    other.says(submit(1001))
    refusal = Ended("job", "another job has this id already")
    assert other.heard[-1] == refusal
    table.finish(miner)
    other.says(submit(1000, first=1))
    assert other.heard[-1] == refusal
    assert client.answers == [lowest(PUZZLE, 0, 1000)]


def test_a_job_is_withdrawn_and_its_miner_gets_another() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=1000))
    client, watcher, miner = table.client(), table.client(), table.miner()
    client.says(submit(1000, job="unwanted"))
    client.says(submit(500, job="wanted"))
    watcher.says(Watch("unwanted"))
    held = miner.lease
    assert client.says(Withdraw("unwanted")) == [
        Persist("job:unwanted", None, replaces=True),
        Send(client.number, Ended("unwanted", "withdrawn")),
        Send(watcher.number, Ended("unwanted", "withdrawn")),
        Emit(facts.JobEnded("unwanted", "withdrawn")),
        Send(miner.number, Revoke(held.lease)),
        Send(miner.number, Retire("unwanted")),
        Send(miner.number, miner.lease),
    ]
    assert miner.lease.job == "wanted"
    client.says(Watch("unwanted"))
    assert client.heard[-1] == Ended("unwanted", "this pool has no job of this id")
    table.finish(miner)
    client.says(Withdraw("wanted"))
    assert client.heard[-1] == Ended("wanted", "this job is done already")


def test_a_job_is_withdrawn_while_its_shards_are_audited() -> None:
    table = Table(THOROUGH)
    client, one = table.client(), table.miner()
    client.says(submit(10_000))
    one.works()
    two = table.miner()
    one.works()
    assert table.statistics.jobs_described[0].audits == 2
    client.says(Withdraw("job"))
    assert (one.leases, two.leases) == ({}, {})
    assert table.statistics.audits_waiting == 0
    client.says(submit(700, job="next"))
    table.finish(one, two)
    assert client.answers == [lowest(PUZZLE, 0, 700)]


def test_answers_are_kept_up_to_a_number() -> None:
    table = Table(PoolSettings(finished_max=2))
    client = table.client()
    for job in "abc":
        client.says(submit(0, job=job))
    assert [message.job for message in client.heard if isinstance(message, Answer)] == [*"abc"]
    assert table.persisted[-1] == Persist("job:a", None, replaces=True)
    client.says(Watch("a"))
    assert client.heard[-1] == Ended("a", "this pool has no job of this id")
    client.says(Watch("b"))
    assert client.answers == [0] * 4


def test_an_answer_that_nobody_has_heard_outlives_those_that_were_told() -> None:
    table = Table(PoolSettings(finished_max=3, audit_fraction=0))
    owner, busy, miner = table.client(), table.client(), table.miner()
    owner.says(submit(10, job="left"))
    owner.leaves()
    table.finish(miner)
    for number in range(10):
        busy.says(submit(0, job=f"busy {number}"))
    again = table.client()
    again.says(Watch("left"))
    assert again.answers == [lowest(PUZZLE, 0, 10)]
    for number in range(8, 10):
        again.says(Watch(f"busy {number}"))
    assert again.answers[1:] == [0, 0]
    for number in range(10, 13):
        busy.says(submit(0, job=f"busy {number}"))
    again.says(Watch("left"))
    assert again.heard[-1] == Ended("left", "this pool has no job of this id")
    assert table.statistics.answers_kept == 3


@pytest.mark.parametrize("kept", [0, 1])
def test_a_pool_that_keeps_hardly_an_answer(kept: int) -> None:
    table = Table(PoolSettings(finished_max=kept))
    client = table.client()
    for job in "abc":
        client.says(submit(0, job=job))
    assert client.answers == [0, 0, 0]
    assert table.statistics.answers_kept == kept


def test_a_pool_that_is_full() -> None:
    table = Table(PoolSettings(jobs_max=2))
    client = table.client()
    for job in "abc":
        client.says(submit(1000, job=job))
    assert client.heard[-1] == Ended("c", "this pool has its 2 jobs")
    client.says(Withdraw("a"))
    client.says(submit(1000, job="c"))
    assert isinstance(client.heard[-1], Status)


def test_a_client_that_wants_too_much() -> None:
    table = Table(PoolSettings(jobs_per_client_max=2, audit_fraction=0))
    client, other, miner = table.client(), table.client(), table.miner()
    for job in "abc":
        client.says(submit(100, job=job))
    assert client.heard[-1] == Ended("c", "a client may have 2 jobs at once")
    other.says(submit(100, job="c"))
    assert isinstance(other.heard[-1], Status)
    table.finish(miner)
    client.says(submit(200, job="d"))
    assert isinstance(client.heard[-1], Status)


# Audits.


def test_two_honest_miners_vouch_for_each_other() -> None:
    table = Table(THOROUGH)
    client, one, two = table.client(), table.miner(), table.miner()
    client.says(submit(5000))
    table.finish(one, two)
    assert client.answers == [lowest(PUZZLE, 0, 5000)]
    assert table.statistics.audits_passed == 10
    assert cheats(table) == []
    auditors = {
        (told.miner, told.auditor) for told in table.facts if isinstance(told, facts.AuditPassed)
    }
    assert ("miner-2", "miner-2") not in auditors
    assert ("miner-3", "miner-3") not in auditors


def test_a_shard_is_on_disk_when_its_audit_has_passed() -> None:
    table = Table(THOROUGH)
    client, one = table.client(), table.miner()
    client.says(submit(5000))
    two = table.miner()
    one.works()
    assert not any(isinstance(each.record, ShardDone) for each in table.persisted)
    while not table.statistics.audits_passed:
        two.works()
    assert ShardDone("job", 0, 500, None) in [
        msgspec.structs.replace(each.record, nonce=None)
        for each in table.persisted
        if isinstance(each.record, ShardDone)
    ]


def test_a_snapshot_takes_the_place_of_many_records_but_for_what_is_audited() -> None:
    opened = JobOpened("job", PuzzleForm.of(PUZZLE), 0, 20_000, None)
    before = [ShardDone("job", nonce, 1, None) for nonce in range(SNAPSHOT_RECORDS - 100)]
    often = PoolSettings(shard_nonces=1, audit_fraction=0.1)
    table = Table(often, records=[opened, *before])
    one, _ = table.miner(), table.miner("one that could audit, and never comes to an end")
    while not isinstance(table.persisted[-1].record, JobSnapshot):
        one.works()
    last = table.persisted.pop()
    assert last.replaces
    assert isinstance(last.record, JobSnapshot)
    kept = RangeSet(range(start, start + count) for start, count in last.record.done)
    new = [each.record for each in table.persisted if isinstance(each.record, ShardDone)]
    shards = RangeSet(range(each.start, each.start + each.count) for each in [*before, *new])
    assert all(kept.covers(part.start, part.stop) for part in shards)
    assert kept.total == shards.total + 1, "the last one came with the snapshot itself"
    assert table.statistics.audits_waiting, "at no time was everything audited"


@pytest.mark.parametrize("kind", CHEATS)
@pytest.mark.parametrize("target", [None, Target.from_work(3000)], ids=["lowest", "first"])
def test_a_cheat_is_caught_and_its_work_is_done_again(kind: str, target: Target | None) -> None:
    table = Table(THOROUGH)
    client, cheat = table.client(), table.miner("cheat")
    honest = [table.miner("honest-1"), table.miner("honest-2")]
    cheat.lies = lies_as(kind)
    client.says(submit(8000, target=target))
    table.finish(cheat, *honest)
    exact = lowest(PUZZLE, 0, 8000) if target is None else hits(PUZZLE, target, 0, 8000)[0]
    assert client.answers == [exact]
    assert cheats(table) == ["cheat"]
    assert cheat.closed is not None
    assert cheat.closed.startswith("cheating: ")
    assert table.statistics.cheats == 1


def test_all_that_nobody_vouched_for_is_done_again() -> None:
    table = Table(HARDLY)
    client, cheat = table.client(), table.miner("cheat")
    client.says(submit(50_000))
    for _ in range(5):
        cheat.works()
    honest = table.miner("honest")
    cheat.lies = lies_as("invents")
    cheat.works()
    told = next(fact for fact in table.facts if isinstance(fact, facts.Cheated))
    assert (told.miner, told.results, told.redone) == ("cheat", 5, 2500)
    for _ in range(9):
        honest.works()
    leased = [lease for lease in honest.heard if isinstance(lease, Lease)]
    redone = {(lease.start, lease.start + lease.count) for lease in leased}
    assert {(start, start + 500) for start in range(0, 3500, 500)} < redone


def test_what_was_vouched_for_is_not_done_again() -> None:
    table = Table(THOROUGH)
    client, cheat, honest = table.client(), table.miner("cheat"), table.miner("honest")
    client.says(submit(50_000))
    cheat.works()
    while table.statistics.audits_passed < 1:
        honest.works()
    before = table.statistics.jobs_described[0].done
    cheat.lies = lies_as("invents")
    while not cheats(table):
        cheat.works()
    told = next(fact for fact in table.facts if isinstance(fact, facts.Cheated))
    assert table.statistics.jobs_described[0].done >= before - told.redone >= 501


def test_an_honest_miner_is_audited_by_a_cheat() -> None:
    table = Table(THOROUGH)
    client, honest = table.client(), table.miner("honest")
    client.says(submit(499))
    honest.works()
    cheat = table.miner("cheat")
    cheat.lies = lies_as("withholds")
    table.passes(1.0)
    assert cheat.ranges == [(0, 499)]
    cheat.works()
    assert cheats(table) == ["cheat"]
    assert honest.closed is None


def test_a_cheat_is_audited_by_another() -> None:
    best = lowest(PUZZLE, 0, 499)
    table = Table(THOROUGH)
    client, cheat = table.client(), table.miner("cheat")
    client.says(submit(500))
    kept = tuple(nonce for nonce in cheat.result().nonces if nonce != best)
    cheat.lies = lambda result: Result(result.lease, result.stop, kept)
    cheat.works()
    worse = table.miner("worse")
    worse.lies = lambda result: Result(result.lease, result.stop, kept[1:])
    table.passes(1.0)
    worse.works()
    assert cheats(table) == ["worse"]
    table.finish(table.miner("honest"), table.miner("another"))
    assert cheats(table) == ["worse", "cheat"]
    assert client.answers == [best]


def test_two_cheats_keep_the_same_share_back_and_one_of_them_more() -> None:
    best = lowest(PUZZLE, 0, 499)
    table = Table(THOROUGH)
    client, cheat = table.client(), table.miner("cheat")
    client.says(submit(500))
    kept = tuple(nonce for nonce in cheat.result().nonces if nonce != best)
    cheat.lies = lambda result: Result(result.lease, result.stop, kept[1:])
    cheat.works()
    better = table.miner("better")
    better.lies = lambda result: Result(result.lease, result.stop, kept)
    table.passes(1.0)
    better.works()
    assert cheats(table) == ["cheat"]
    assert client.answers == []  # Who is audited by a liar is not the only one to be doubted.
    table.finish(table.miner("honest"), table.miner("another"))
    assert client.answers == [best]


def test_an_audit_of_very_many_nonces_is_begun_at_once() -> None:
    """Of a range, Python asks each number whether it equals what is no number."""
    scan = Scan(2**62, (5,), None)
    assert scan.within(range(2**62)) == scan


def test_two_that_sleep_agree_and_neither_is_believed() -> None:
    table = Table(THOROUGH)
    client, suspect = table.client(), table.miner("suspect")
    client.says(submit(500))
    shares = suspect.result().nonces
    suspect.lies = lies_as("sleeps")
    suspect.works()
    auditor = table.miner("auditor")
    auditor.lies = lies_as("sleeps")
    table.passes(1.0)
    effects = auditor.works()
    assert cheats(table) == []
    assert client.answers == []
    assert [each.nonces for each in effects if isinstance(each, Search)] == [range(500)]
    table.happens(Searched(2, 500, shares))
    assert cheats(table) == ["suspect", "auditor"]
    assert client.answers == [lowest(PUZZLE, 0, 500)]


def test_a_shard_that_has_no_share_is_scanned_by_the_pool_too_and_its_miner_stays() -> None:
    table = Table(msgspec.structs.replace(THOROUGH, audit_fraction=0.0))
    client, unlucky = table.client(), table.miner("unlucky")
    client.says(submit(500))
    table.miner("another")
    for seat in (unlucky, table.seats[3]):
        table.passes(table.now + 1.0)
        lease = seat.lease
        assert seat.ranges == [(0, 500)]
        seat.leases.clear()
        seat.says(Result(lease.lease, 500, ()))
    assert client.answers == []
    table.happens(Searched(1, 500, ()))  # There is such a shard in a thousand million million.
    assert cheats(table) == []
    assert client.answers == [500]


def test_a_job_among_sleepers_waits_for_one_who_is_awake() -> None:
    """No audit, and so many that sleep that auditors do: what they say is not the answer."""
    table = Table(msgspec.structs.replace(HARDLY, audit_fraction=0.0, shard_nonces=None))
    client = table.client()
    client.says(submit(200_000))
    sleepers = [table.miner(f"sleeper-{number}", rate=1e12) for number in range(4)]
    for sleeper in sleepers:
        sleeper.lies = lies_as("sleeps")
    for _ in range(20):
        for sleeper in sleepers:
            if sleeper.leases:
                sleeper.works()
        table.passes(table.now + 0.25)
    assert client.answers == []
    assert table.statistics.rate == 0, "who sleeps is not fast"
    honest = table.miner("honest")
    table.finish(honest, *sleepers)
    assert client.answers == [lowest(PUZZLE, 0, 200_000)]
    assert set(cheats(table)) <= {f"sleeper-{number}" for number in range(4)}


def test_those_who_sleep_and_come_back_leave_the_others_their_work() -> None:
    table = Table(PoolSettings())
    client, honest = table.client(), table.miner("honest", rate=1000.0)
    client.says(submit(50_000))
    sleepers: list[Seat] = []
    leases = 0
    while table.statistics.jobs:
        for sleeper in sleepers:
            if sleeper.leases:
                sleeper.works()
        sleepers = [each for each in sleepers if each.closed is None]
        while len(sleepers) < 4:
            sleepers.append(table.miner("sleeper", rate=1e12))
            sleepers[-1].lies = lies_as("sleeps")
        seconds = honest.lease.count / 1000.0 if honest.leases else 0.25
        table.passes(table.now + seconds)
        table.searches_itself()
        if honest.leases:
            honest.works()
            leases += 1
    assert client.answers == [lowest(PUZZLE, 0, 50_000)]
    assert table.now < 2 * 50, "what it finds in an audit counts as its own"
    assert table.statistics.cheats > leases / 4


def test_a_pool_with_one_miner_scans_again_itself() -> None:
    table = Table(THOROUGH)
    client, miner = table.client(), table.miner("only")
    client.says(submit(500))
    shares = miner.result().nonces
    effects = miner.works()
    assert effects == [
        Emit(best_so_far(lowest(PUZZLE, 0, 500))),
        Search(1, PUZZLE, range(500), Shares(share_limit(500))),
    ]
    assert client.answers == []
    effects = table.happens(Searched(1, 500, shares))
    assert Emit(facts.AuditPassed("only", "the pool", "job", 0, 500)) in effects
    assert client.answers == [lowest(PUZZLE, 0, 500)]


def test_a_pool_with_one_miner_catches_it_itself() -> None:
    table = Table(THOROUGH)
    client, miner = table.client(), table.miner("only")
    client.says(submit(500))
    shares = miner.result().nonces
    miner.lies = lies_as("withholds")
    miner.works()
    table.happens(Searched(1, 500, shares))
    assert cheats(table) == ["only"]
    # What the pool has scanned itself need not be done again.
    assert client.answers == [lowest(PUZZLE, 0, 500)]


def test_the_pools_own_audit_goes_to_an_idle_miner() -> None:
    table = Table(THOROUGH)
    client, suspect = table.client(), table.miner("suspect")
    client.says(submit(500))
    suspect.works()
    helper = table.miner("helper")
    effects = table.passes(1.0)
    taken = [each for each in effects if isinstance(each, Cancel) or sends([each], Lease)]
    assert taken == [Cancel(1), Send(helper.number, helper.lease)]
    assert helper.ranges == [(0, 500)]
    helper.works()
    assert client.answers == [lowest(PUZZLE, 0, 500)]
    assert table.happens(Searched(1, 500, ())) == []  # It was cancelled.


def test_an_auditor_is_lost_again_and_again() -> None:
    table = Table(THOROUGH)
    client, suspect = table.client(), table.miner("suspect")
    client.says(submit(500))
    shares = suspect.result().nonces
    suspect.works()
    for _ in range(3):
        auditor = table.miner()
        table.passes(table.now + 0.5)
        assert auditor.ranges == [(0, 500)]
        auditor.leaves()
    # Now it is done here, whoever comes.
    table.miner()
    table.passes(table.now + 0.5)
    table.happens(Searched(4, 500, shares))
    assert client.answers == [lowest(PUZZLE, 0, 500)]


def test_suspicion_leads_to_an_audit_though_the_lots_choose_none() -> None:
    table = Table(HARDLY)
    client, lazy = table.client(), table.miner("lazy")
    honest = [table.miner("honest-1"), table.miner("honest-2")]
    lazy.lies = lies_as("skips")
    client.says(submit(30_000))
    table.finish(lazy, *honest)
    assert cheats(table) == ["lazy"]
    told = next(fact for fact in table.facts if isinstance(fact, facts.Cheated))
    assert told.shares < 0.75 * told.expected
    assert told.redone > 0
    assert client.answers == [lowest(PUZZLE, 0, 30_000)]


def test_one_shard_without_a_share_is_suspicious() -> None:
    table = Table(HARDLY)
    client, sleeper, honest = table.client(), table.miner("sleeper"), table.miner("honest")
    client.says(submit(30_000))
    sleeper.lies = lambda result: Result(result.lease, result.stop, ())
    sleeper.works()
    assert table.statistics.audits_waiting == 1
    honest.works()
    honest.works()
    honest.works()
    assert cheats(table) == ["sleeper"]


def test_no_miner_goes_unaudited_for_ever() -> None:
    table = Table(msgspec.structs.replace(HARDLY, shard_nonces=1))
    client, miner = table.client(), table.miner("miner")
    client.says(submit(10_000))
    for _ in range(127):
        miner.works()
    assert table.statistics.audits_waiting == 0
    miner.works()
    assert table.statistics.audits_waiting == 1


# Miners without evidence, and what they can lie about.


def blind_table(chosen: PoolSettings) -> tuple[Table, Seat, Seat, Puzzle]:
    """A job whose first shard is with a LiteMiner miner."""
    puzzle = liteminer(b"blind")
    table = Table(chosen)
    client, blind = table.client(), table.miner("blind", wire="liteminer")
    client.says(submit(3000, puzzle=puzzle))
    return table, client, blind, puzzle


def test_a_blind_miner_has_one_lease_and_no_limit() -> None:
    table, client, blind, puzzle = blind_table(
        PoolSettings(audit_fraction=0, blind_audit_fraction=0, shard_nonces=500)
    )
    assert blind.ranges == [(0, 500)]
    assert blind.lease.share_bits == 0
    table.finish(blind)
    assert client.answers == [lowest(puzzle, 0, 3000)]
    assert max(stop for lease in blind.of(Lease) for stop in [_stop(lease)]) == 3000


def _stop(lease: object) -> int:
    assert isinstance(lease, Lease)
    return lease.start + lease.count


@pytest.mark.parametrize("job", ["plain", "target"])
def test_a_blind_miner_is_not_asked_what_its_wire_has_no_words_for(job: str) -> None:
    table = Table()
    client, blind = table.client(), table.miner(wire="liteminer")
    if job == "plain":
        client.says(submit(1000))
    else:
        client.says(submit(1000, puzzle=liteminer(b"x"), target=TARGET))
    assert blind.leases == {}
    assert table.miner().leases


def test_a_blind_miner_with_a_wrong_minimum_is_caught_by_scanning_again() -> None:
    table, client, blind, puzzle = blind_table(THOROUGH)
    best = lowest(puzzle, 0, 499)
    wrong = next(nonce for nonce in range(500) if nonce != best)
    blind.lies = lambda result: Result(result.lease, result.stop, (wrong,))
    blind.works()
    assert cheats(table) == []
    honest = [table.miner("honest-1"), table.miner("honest-2")]
    table.finish(*honest)
    assert cheats(table) == ["blind"]
    assert client.answers == [lowest(puzzle, 0, 3000)]


@pytest.mark.parametrize("suspect", ["honest", "guesses"])
def test_an_auditor_that_sleeps_is_not_believed_of_a_blind_miner_and_is_caught(
    suspect: str,
) -> None:
    table, client, blind, puzzle = blind_table(THOROUGH)
    auditor = table.miner("auditor")
    if suspect == "guesses":
        # Low enough not to be doubted by itself.
        ranks = sorted((puzzle.rank(puzzle.digest(nonce)), nonce) for nonce in range(500))
        blind.lies = lambda result: Result(result.lease, result.stop, (ranks[1][1],))
    blind.works()
    auditor.works()
    assert auditor.ranges == [(0, 500)]
    auditor.lies = lies_as("sleeps")
    auditor.works()
    assert cheats(table) == []
    table.searches_itself()
    table.searches_itself()
    assert cheats(table) == (["auditor"] if suspect == "honest" else ["blind", "auditor"])
    table.finish(table.miner("honest"))
    assert client.answers == [lowest(puzzle, 0, 3000)]


def test_a_blind_auditor_that_guesses_is_caught_where_the_pool_looks_itself() -> None:
    table, client, blind, puzzle = blind_table(THOROUGH)
    auditor = table.miner("auditor", wire="liteminer")
    ranks = sorted((puzzle.rank(puzzle.digest(nonce)), nonce) for nonce in range(500))
    blind.lies = lambda result: Result(result.lease, result.stop, (ranks[-1][1],))
    blind.works()
    auditor.works()
    assert auditor.ranges == [(0, 500)]
    auditor.lies = blind.lies
    auditor.works()
    assert cheats(table) == [], "they agree"
    table.searches_itself()
    assert cheats(table) == ["blind", "auditor"]
    table.finish(table.miner("honest"))
    assert client.answers == [lowest(puzzle, 0, 3000)]


def test_who_searches_the_end_as_well_accuses_nobody_who_does_not() -> None:
    """The end of the lease is lower than all of it, and only the auditor looks there."""
    puzzle = liteminer(b"inclusive")
    ranks = [puzzle.rank(puzzle.digest(nonce)) for nonce in range(500)]
    end = next(n for n in range(100, 400) if min(ranks[: n + 1]) == ranks[n])
    table = Table(msgspec.structs.replace(THOROUGH, shard_nonces=end))
    client, honest = table.client(), table.miner("honest", wire="liteminer")
    inclusive = table.miner("inclusive", wire="liteminer")
    client.says(submit(499, puzzle=puzzle))
    assert honest.ranges == [(0, end)]
    honest.works()
    inclusive.works()
    assert inclusive.ranges == [(0, end)]
    inclusive.lies = lambda result: Result(result.lease, result.stop, (end,))
    inclusive.works()
    assert cheats(table) == []
    assert table.statistics.audits_passed == 1


def test_a_blind_miner_is_audited_by_the_pool_and_passes() -> None:
    table, client, blind, puzzle = blind_table(THOROUGH)
    while blind.leases:
        for search in blind.works():
            if isinstance(search, Search):
                table.happens(searched(search))
    assert client.answers == [lowest(puzzle, 0, 3000)]
    assert table.statistics.audits_passed == 6


def test_a_blind_miner_lies_about_its_hash() -> None:
    table, _, blind, puzzle = blind_table(HARDLY)
    nonce = lowest(puzzle, 0, 499)
    value = puzzle.compared(puzzle.digest(nonce))
    blind.says(Result(blind.lease.lease, 500, (nonce,), value - 1))
    assert cheats(table) == ["blind"]
    assert blind.closed == f"cheating: nonce {nonce} does not hash to {value - 1}"


@pytest.mark.parametrize("nonce", [500, 0])
def test_a_blind_miner_may_search_the_end_of_its_range_too(nonce: int) -> None:
    table, _, blind, puzzle = blind_table(HARDLY)
    value = puzzle.compared(puzzle.digest(nonce))
    blind.says(Result(blind.lease.lease, 500, (nonce,), value))
    assert cheats(table) == []
    assert table.statistics.results == 1


@pytest.mark.parametrize("nonce", [501, 2**64 - 1])
def test_a_blind_miner_may_not_name_what_lies_behind_it(nonce: int) -> None:
    table, _, blind, _ = blind_table(HARDLY)
    blind.says(Result(blind.lease.lease, 500, (nonce,)))
    assert cheats(table) == ["blind"]


def test_an_inclusive_miner_reports_the_end_of_each_range_where_that_is_lowest() -> None:
    puzzle = liteminer(b"inclusive")
    end = next(n for n in range(300, 3000) if lowest(puzzle, 0, n) == n)
    table = Table(PoolSettings(blind_audit_fraction=0, shard_nonces=end))
    client, blind = table.client(), table.miner(wire="liteminer")
    client.says(submit(5000, puzzle=puzzle))
    assert blind.ranges == [(0, end)]
    blind.leases.clear()
    blind.says(Result(LIFE + 1, end, (end,), puzzle.compared(puzzle.digest(end))))
    table.finish(blind)
    assert client.answers == [lowest(puzzle, 0, 5000)]
    assert cheats(table) == []


def test_a_frozen_blind_miner_is_let_go() -> None:
    table, _, blind, _ = blind_table(HARDLY)
    table.passes(3.0)
    assert blind.closed == "silent for 3 s with work in hand"
    assert table.miner().ranges[0] == (0, 500)


def test_a_blind_miner_comes_to_the_end_of_a_revoked_lease_first() -> None:
    puzzle = liteminer(b"blind")
    table, client, blind, _ = blind_table(PoolSettings(blind_audit_fraction=0, shard_nonces=500))
    held = blind.lease
    late = blind.result()
    client.says(submit(400, puzzle=puzzle, job="next"))
    client.says(Withdraw("job"))
    assert blind.leases == {}  # "next" waits: there is no word for "stop" on its wire.
    assert blind.says(late) == [Send(blind.number, blind.lease)]
    assert blind.lease.job == "next"
    assert blind.lease.lease > held.lease
    table.finish(blind)
    assert client.answers == [lowest(puzzle, 0, 400)]


def test_a_liteminer_client_takes_its_job_along() -> None:
    table = Table()
    client, watcher, miner = table.client("liteminer"), table.client(), table.miner()
    client.says(submit(1000, puzzle=liteminer(b"x")))
    watcher.says(Watch("job"))
    client.leaves()
    reason = "its client left, and has no way to come back for it"
    assert watcher.heard[-1] == Ended("job", reason)
    assert miner.leases == {}
    assert table.statistics.jobs == 0


# One life after the other.


def test_a_pool_begins_again_where_it_stopped() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500))
    disk = Disk()
    client, miner = table.client(), table.miner()
    client.says(submit(2000))
    miner.works()
    miner.works()
    number = miner.lease.lease
    for effect in table.persisted:
        disk.commit(effect)
    life = Table(PoolSettings(audit_fraction=0, shard_nonces=500), records=disk.read(), begin=9.0)
    assert life.facts == [facts.Restored(1, 0, 4)]
    again, other = life.client(), life.miner()
    again.says(Watch("job"))
    assert other.ranges[0] == (1000, 1500)
    assert other.lease.lease > number + LIFE / 2
    # A result of the life before is late, not impossible.
    other.says(Result(number, 1500, ()))
    assert other.closed is None
    assert life.statistics.late_results == 1
    life.finish(other)
    assert again.answers == [lowest(PUZZLE, 0, 2000)]


def test_an_answer_outlives_the_pool() -> None:
    table = Table()
    client, miner = table.client(), table.miner()
    client.says(submit(300))
    table.finish(miner)
    disk = Disk()
    for effect in table.persisted:
        disk.commit(effect)
    again = Table(records=disk.read()).client()
    again.says(submit(300))
    assert again.answers == [lowest(PUZZLE, 0, 300)]


def test_a_pool_begins_again_with_less_room_for_answers() -> None:
    table = Table()
    client = table.client()
    for number in range(10):
        client.says(submit(0, job=str(number)))
    disk = Disk()
    for effect in table.persisted:
        disk.commit(effect)
    assert Table(PoolSettings(finished_max=3), records=disk.read()).statistics.answers_kept == 3


def test_a_liteminer_clients_job_ends_with_the_pool() -> None:
    table = Table()
    table.client("liteminer").says(submit(10**9, puzzle=liteminer(b"x")))
    disk = Disk()
    for effect in table.persisted:
        disk.commit(effect)
    assert Table(records=disk.read()).statistics.jobs == 0


JOBS = [
    submit(1500, job="lowest"),
    submit(1700, job="first", target=Target.from_work(900), puzzle=plain(b"first ")),
    submit(900, job="never", target=Target(1), puzzle=plain(b"never ")),
    submit(1100, first=250, job="liteminer", puzzle=liteminer(b"a message")),
]
ANSWERS = {
    "lowest": lowest(PUZZLE, 0, 1500),
    "first": hits(plain(b"first "), Target.from_work(900), 0, 1700)[0],
    "never": None,
    "liteminer": lowest(liteminer(b"a message"), 250, 1100),
}

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit", "work", "work", "work", "join", "leave", "wait", "late", "crash", "search"]
        ),
        st.integers(0, 3),
    ),
    max_size=60,
)


class Lives:
    """A pool that is killed at any moment, and those who come back to it."""

    def __init__(self, chosen: PoolSettings) -> None:
        self.chosen = chosen
        self.disk = Disk()
        self.table = Table(chosen)
        self.searches: dict[int, Search] = {}
        self.begin()

    def begin(self) -> None:
        self.client = self.table.client()
        self.miners = [self.table.miner(), self.table.miner(wire="liteminer")]

    def step(self, what: str, number: int) -> None:
        miner = self.miners[number % len(self.miners)] if self.miners else None
        match what:
            case "submit":
                self.client.says(JOBS[number])
            case "work" if miner is not None and miner.leases:
                self.note(miner.works())
            case "join" if len(self.miners) < 5:
                self.miners.append(self.table.miner(wire="liteminer" if number == 3 else "nonsuch"))
            case "leave" if miner is not None:
                self.miners.remove(miner)
                self.note(miner.leaves())
            case "wait":
                self.note(self.table.passes(self.table.now + 1.1 * number))
                self.miners = [each for each in self.miners if each.closed is None]
            case "late" if miner is not None and miner.leases:
                miner.says(Result(miner.lease.lease - LIFE, 0, ()))
            case "search":
                self.search()
            case "crash":
                self.crash(lost=number)
            case _:
                pass

    def note(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Search):
                self.searches[effect.task] = effect
            elif isinstance(effect, Cancel):
                self.searches.pop(effect.task, None)

    def search(self) -> None:
        """The pool's own audits."""
        for task, search in list(self.searches.items()):
            del self.searches[task]
            self.note(self.table.happens(searched(search)))

    def crash(self, lost: int) -> None:
        """Kill -9; the last records did not come to the disk, nor what waited for them."""
        kept = self.table.persisted[: max(1, len(self.table.persisted) - lost)]
        for effect in kept:
            self.disk.commit(effect)
        self.searches.clear()
        self.table = Table(self.chosen, records=self.disk.read(), begin=self.table.now)
        self.begin()

    def end(self) -> dict[str, int | None]:
        """Everybody does what there is to do; all clients ask again."""
        for job in JOBS:
            self.client.says(job)
        helpers = [self.table.miner(), self.table.miner()]
        for _ in range(300):
            if not self.table.statistics.jobs:
                break
            for miner in (*self.miners, *helpers):
                if miner.leases:
                    self.note(miner.works())
            self.search()
            self.note(self.table.passes(self.table.now + 0.3))
        heard = [each for each in self.client.heard if isinstance(each, Answer)]
        return {answer.job: answer.nonce for answer in heard}


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([100, 400, 3000]))
def test_a_pool_that_is_killed_at_any_moment_still_finds_every_answer(
    story: list[tuple[str, int]], audit: float, shard_nonces: int
) -> None:
    lives = Lives(
        PoolSettings(audit_fraction=audit, blind_audit_fraction=audit, shard_nonces=shard_nonces)
    )
    for what, number in story:
        lives.step(what, number)
    assert lives.end() == ANSWERS
    assert cheats(lives.table) == []


# What is seen from outside.


def test_statistics_are_frozen_and_right() -> None:
    table = Table(PoolSettings(audit_fraction=0, shard_nonces=500, name="quarry"))
    client, busy, idle = table.client(), table.miner("busy", rate=500.0), table.miner("idle")
    client.says(submit(1000))
    idle.works()
    table.passes(2.0)
    busy.says(Beat(tuple(busy.leases), 250))
    before = table.statistics
    assert (before.name, before.seconds, before.connections) == ("quarry", 2.0, 3)
    assert (before.miners, before.miners_idle, before.leases) == (2, 1, 1)
    assert (before.jobs, before.jobs_accepted, before.jobs_finished) == (1, 1, 0)
    job = before.jobs_described[0]
    assert (job.job, job.first, job.last, job.total) == ("job", 0, 1000, 1001)
    assert (job.done, job.leases, job.watchers) == (500 + 1 + 250, 1, 1)
    assert job.nonce == min(1000, lowest(PUZZLE, 500, 999), key=lambda nonce: rank(PUZZLE, nonce))
    described = {miner.name: miner for miner in before.miners_described}
    assert described["busy"].leases == 1
    assert described["idle"].results == 1
    assert described["idle"].expected == pytest.approx(SHARES_EXPECTED, rel=0.01)
    client.says(Ask())
    report = client.heard[-1]
    assert isinstance(report, Report)
    assert msgspec.json.decode(report.statistics, type=PoolStatistics) == before
    table.finish(busy, idle)
    assert (before.jobs, table.statistics.jobs) == (1, 0)
    assert table.statistics.answers_kept == 1
    with pytest.raises(AttributeError, match="immutable"):
        before.jobs = 0  # type: ignore[misc]


def test_statistics_tell_of_the_longest_job_there_is() -> None:
    table = Table()
    client = table.client()
    client.says(submit(2**64 - 1))
    status = client.heard[-1]
    assert isinstance(status, Status)
    assert (status.done, status.total) == (1, 2**64 - 1)
    client.says(Ask())
    report = client.heard[-1]
    assert isinstance(report, Report)
    described = msgspec.json.decode(report.statistics, type=PoolStatistics).jobs_described
    assert described[0].total == 2**64


def test_a_pool_never_finishes_of_itself() -> None:
    table = Table(THOROUGH)
    client, miners = table.client(), [table.miner(), table.miner()]
    effects = client.says(submit(2000))
    table.finish(*miners)
    effects += table.passes(table.now + 100)
    assert not any(isinstance(effect, Finish) for effect in effects)
    assert PROTOCOL == "nonsuch-pool"
