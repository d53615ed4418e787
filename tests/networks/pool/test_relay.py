"""A pool that gathers for its own node, and a relay that does so for the pool above it."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.networks.pool import state
from nonsuch.networks.pool.audits import Audit, AuditDesk, Scan
from nonsuch.networks.pool.dispatch import quota_for
from nonsuch.networks.pool.facts import AuditPassed, Cheated
from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.messages import (
    Ask,
    Beat,
    Capacity,
    Ended,
    Hello,
    Lease,
    Refused,
    Report,
    Result,
    Retire,
    Revoke,
    Watch,
    Welcome,
    Withdraw,
)
from nonsuch.networks.pool.records import JobOpened, JobSnapshot, ShardDone
from nonsuch.networks.pool.relay import Relay
from nonsuch.networks.pool.roster import Grant, Miner, Peer, Roster, Unaudited
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.statistics import PoolStatistics
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
from nonsuch.work.goals import First, Goal, Lowest, Shares
from nonsuch.work.leases import Shard
from nonsuch.work.nonce import Decimal
from nonsuch.work.presets import liteminer, plain
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.ranges import RangeSet
from nonsuch.work.shares import share_limit
from nonsuch.work.target import TARGET_MAX, Target
from tests.networks.pool.test_pool import (
    FORM,
    PUZZLE,
    THOROUGH,
    TRUSTING,
    Seat,
    Table,
    cheats,
    hits,
    lies_as,
    lowest,
    scanned,
    searched,
    submit,
)

SMALL = PoolSettings(audit_fraction=0, shard_nonces=300)
"""Shards of a size that stories can count on, and no audits."""


def own(table: Table) -> Seat:
    """The node's own user, who sits at the pool's table as well."""
    seat = table.seats[LOCAL] = Seat(table, LOCAL, "")
    return seat


def asked(nonces: range, goal: Goal, *, task: int = 1, puzzle: Puzzle = PUZZLE) -> Search:
    return Search(task, puzzle, nonces, goal)


def exact(search: Search) -> Searched:
    """By plain hashing, and none of what is on trial."""
    goal, puzzle = search.goal, search.puzzle
    first, stop = search.nonces.start, search.nonces.stop
    if isinstance(goal, Lowest):
        return Searched(search.task, stop, (lowest(puzzle, first, stop - 1),))
    until = goal.target if isinstance(goal, First) else goal.until
    found = [] if until is None else hits(puzzle, until, first, stop - 1)[:1]
    stop = found[0] + 1 if found else stop
    shares = hits(puzzle, goal.limit, first, stop - 1) if isinstance(goal, Shares) else []
    return Searched(search.task, stop, tuple(sorted({*shares, *found})))


# What a pool gathers for its own node.


GOALS = st.one_of(
    st.just(Lowest()),
    st.integers(1, 2000).map(lambda work: First(Target.from_work(work))),
    st.builds(
        Shares,
        st.integers(1, 500).map(Target.from_work) | st.just(Target(TARGET_MAX)),
        st.none() | st.integers(1, 3000).map(Target.from_work),
    ),
)


@given(
    first=st.integers(0, 50),
    count=st.integers(1, 250),
    goal=GOALS,
    miners=st.integers(1, 3),
    shard=st.integers(1, 250),
    seed=st.integers(0, 2**32),
)
def test_what_is_gathered_is_what_a_plain_search_finds(
    first: int, count: int, goal: Goal, miners: int, shard: int, seed: int
) -> None:
    lots = random.Random(seed)
    settings = PoolSettings(audit_fraction=lots.choice([0, 0.5, 1]), shard_nonces=shard)
    table = Table(settings, seed=seed)
    owner = own(table)
    seats = [table.miner() for _ in range(miners)]
    search = asked(range(first, first + count), goal)
    effects = owner.says(search)
    while table.statistics.jobs:
        for effect in effects:
            if isinstance(effect, Search):
                table.happens(searched(effect))  # An audit of the pool's own.
        busy = [seat for seat in seats if seat.leases]
        effects = lots.choice(busy).works() if busy else []
    assert owner.heard == [exact(search)]


def test_shares_of_a_liar_are_searched_again_and_true_ones_are_kept() -> None:
    table = Table(THOROUGH)
    owner = own(table)
    search = asked(range(4000), Shares(share_limit(4000)))
    honest, another, liar = table.miner(), table.miner(), table.miner("liar")
    liar.lies = lies_as("withholds")
    owner.says(search)
    table.finish(liar, honest, another)
    assert cheats(table) == ["liar"]
    assert owner.heard[-1] == exact(search)


def test_nothing_that_is_gathered_is_on_disk_and_no_fact_tells_of_it() -> None:
    table = Table(SMALL)
    owner, miner = own(table), table.miner()
    before = list(table.persisted), list(table.facts)
    owner.says(asked(range(1000), Shares(share_limit(1000))))
    table.finish(miner)
    assert owner.of(Searched)
    assert (table.persisted, table.facts) == before


def test_searches_are_served_in_their_order_and_the_next_fills_the_end_of_the_last() -> None:
    table = Table(SMALL)
    owner, one, another = own(table), table.miner(), table.miner()
    searches = [
        asked(range(start, start + 1001), Shares(share_limit(1001)), task=task)
        for task, start in ((1, 0), (2, 5000))
    ]
    for search in searches:
        owner.says(search)
    assert [one.ranges, another.ranges] == [[(0, 300)], [(300, 600)]]
    one.works()
    assert one.ranges == [(600, 900)]
    another.works()
    assert another.ranges == [(900, 1000)]
    another.works()
    assert another.ranges == [(5000, 5300)]
    table.finish(one, another)
    assert owner.of(Searched) == [exact(search) for search in searches]


def test_its_own_node_hears_how_far_it_is() -> None:
    table = Table(SMALL)
    owner, miner = own(table), table.miner()
    owner.says(asked(range(1000), Shares(share_limit(1000)), task=7))
    miner.works()
    miner.says(Beat(tuple(miner.leases), 50))
    table.passes(0.5)
    assert owner.of(Advanced) == [Advanced(7, 351)]
    table.passes(1.0)
    assert owner.of(Advanced) == [Advanced(7, 351)] * 2


def test_a_search_that_is_cancelled_takes_its_leases_along() -> None:
    table = Table(SMALL)
    owner, miner = own(table), table.miner()
    owner.says(asked(range(1000), Lowest(), task=7))
    lease = miner.lease
    owner.says(Cancel(7))
    assert miner.heard[-2:] == [Revoke(lease.lease), Retire(lease.job)]
    assert (table.statistics.jobs, table.statistics.leases, owner.heard) == (0, 0, [])
    owner.says(Cancel(7))
    table.passes(10.0)
    assert owner.heard == []


def test_miners_without_evidence_have_no_part_in_shares() -> None:
    table = Table(SMALL)
    owner, blind = own(table), table.miner(wire="liteminer")
    puzzle = liteminer(b"no evidence")
    owner.says(asked(range(1000), Shares(share_limit(1000)), puzzle=puzzle))
    assert not blind.leases
    owner.says(asked(range(1000), Lowest(), task=2, puzzle=puzzle))
    table.finish(blind, seconds=2)
    assert owner.of(Searched) == [exact(asked(range(1000), Lowest(), task=2, puzzle=puzzle))]


def test_clients_do_not_see_what_is_gathered() -> None:
    table = Table(SMALL)
    owner, client = own(table), table.client()
    owner.says(asked(range(1000), Lowest()))
    (job,) = table.statistics.jobs_described
    client.says(Watch(job.job))
    client.says(Withdraw(job.job))
    assert client.of(Ended) == [Ended(job.job, "this pool has no job of this id")] * 2
    assert table.statistics.jobs == 1


@pytest.mark.parametrize(
    "search",
    [
        asked(range(5, 5), Lowest()),
        asked(range(10), Lowest(), puzzle=Puzzle(b"a", Decimal(), rank_bits=8)),
        asked(range(10), Lowest(), puzzle=plain(b"x" * 70_000)),
    ],
    ids=["no nonces", "few bits", "too long to travel"],
)
def test_a_search_that_no_pool_can_do(search: Search) -> None:
    table = Table()
    owner = own(table)
    with pytest.raises(LocalError):
        owner.says(search)
    assert table.statistics.jobs == 0


# A relay: the pool above is played by hand, and so are the miners below.


ABOVE = 1
"""The connection to the pool above."""


class Level:
    """A relay with a clock, what it says above, and its miners below."""

    def __init__(self, settings: PoolSettings = SMALL) -> None:
        self.relay = Relay(settings, Hello("miner", name="relay"), random.Random(1))
        self.now = 0.0
        self.said: list[object] = []
        self.below: dict[int, list[object]] = {}
        self.effects: list[Effect] = []
        self.done: set[int] = set()
        self.happens(Started())

    def happens(self, event: Event) -> list[Effect]:
        effects = self.relay.handle(event, self.now)
        self.relay._check()
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.peer != LOCAL
                heard = self.said if effect.peer == ABOVE else self.below[effect.peer]
                heard.append(effect.message)
        self.effects += effects
        return effects

    def passes(self, until: float) -> list[Effect]:
        effects: list[Effect] = []
        while (deadline := self.relay.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            before = self.relay.deadline()
            effects += self.happens(Tick())
            assert self.relay.deadline() != before, "the clock stands still"
        self.now = until
        return effects

    def reaches(self) -> list[Effect]:
        effects = self.happens(Connected(ABOVE, "above:7270", "nonsuch", ""))
        self.happens(Received(ABOVE, Welcome(1.0)))
        return effects

    def leased(self, number: int, first: int, count: int, target: Target | None = None) -> Lease:
        data = None if target is None else target.value.to_bytes(32, "big")
        lease = Lease(number, "job", first, count, share_limit(count).bits, data, FORM)
        self.happens(Received(ABOVE, lease))
        return lease

    def miner(self, number: int) -> int:
        self.below[number] = []
        self.happens(Connected(number, f"below:{number}", "nonsuch"))
        self.happens(Received(number, Hello("miner", name=f"miner-{number}")))
        return number

    def leases(self, number: int) -> list[Lease]:
        """What the miner holds."""
        held: dict[int, Lease] = {}
        for message in self.below[number]:
            if isinstance(message, Lease):
                held[message.lease] = message
            elif isinstance(message, Revoke):
                held.pop(message.lease)
        return [lease for number, lease in held.items() if number not in self.done]

    def works(self, *numbers: int) -> None:
        """These miners do all that they are given."""
        while busy := [number for number in numbers if self.leases(number)]:
            for number in busy:
                for lease in self.leases(number)[:1]:
                    self.done.add(lease.lease)
                    self.happens(Received(number, scanned(PUZZLE, lease)))

    @property
    def results(self) -> list[object]:
        return [message for message in self.said if isinstance(message, Result)]


@pytest.fixture
def level() -> Level:
    """A relay that has reached the pool above, and has one miner."""
    made = Level()
    made.reaches()
    made.miner(2)
    return made


def test_a_relay_says_hello_and_wants_nothing_until_a_miner_comes() -> None:
    level = Level()
    assert Dial() in level.effects
    level.reaches()
    assert level.said == [Hello("miner", name="relay"), Capacity(0, 0, 20.0)]
    level.miner(2)
    assert level.said[-1] == Capacity(1, 1, 20.0)


def test_what_is_leased_above_is_done_below_and_goes_up_with_all_its_shares(level: Level) -> None:
    leases = [level.leased(1, 0, 2000), level.leased(2, 2000, 999)]
    level.miner(3)
    level.works(2, 3)
    assert level.results == [scanned(PUZZLE, lease) for lease in leases]


def test_a_target_ends_it_at_the_first_nonce_that_meets_it(level: Level) -> None:
    target = Target.from_work(400)
    lease = level.leased(1, 0, 3000, target)
    level.miner(3)
    level.works(3, 2)
    (first, *_) = hits(PUZZLE, target, 0, 2999)
    assert level.results == [scanned(PUZZLE, lease)]
    assert scanned(PUZZLE, lease).stop == first + 1


def test_two_leases_are_handed_down_at_once_and_nobody_waits_at_the_seam(level: Level) -> None:
    level.leased(1, 0, 501)
    level.leased(2, 10_000, 501)
    level.miner(3)
    ranges = [[(each.start, each.count) for each in level.leases(number)] for number in (2, 3)]
    assert ranges == [[(0, 300)], [(300, 200)]]
    lease = level.leases(3)[0]
    level.done = {lease.lease}
    level.happens(Received(3, scanned(PUZZLE, lease)))
    assert [(each.start, each.count) for each in level.leases(3)] == [(10_000, 300)]
    assert not level.results


def test_a_lease_of_one_nonce_needs_no_miner(level: Level) -> None:
    lease = level.leased(1, 77, 1)
    assert level.results == [scanned(PUZZLE, lease)]


def test_a_lease_that_is_revoked_above_is_revoked_below(level: Level) -> None:
    level.leased(1, 0, 1000)
    (lease,) = level.leases(2)
    level.happens(Received(ABOVE, Revoke(1)))
    assert Revoke(lease.lease) in level.below[2]
    assert level.relay.statistics(level.now).jobs == 0


def test_a_lost_pool_is_called_again_and_the_miners_wait(level: Level) -> None:
    level.leased(1, 0, 1000)
    (lease,) = level.leases(2)
    level.effects.clear()
    level.happens(Disconnected(ABOVE, "the pool ended the connection"))
    assert Revoke(lease.lease) in level.below[2]
    assert not level.relay.statistics(level.now).upstream_reached
    level.happens(Received(2, Beat()))
    assert Dial() in level.passes(level.now + 1.0)
    level.happens(Disconnected(0, "cannot reach it"))
    assert Dial() in level.passes(level.now + 1.0)
    level.said.clear()
    level.reaches()
    assert level.relay.statistics(level.now).upstream_reached
    assert level.said == [Hello("miner", name="relay"), Capacity(1, 1, 20.0)]
    assert sum(isinstance(effect, Emit) for effect in level.effects) == 2  # Lost, and reached.


def test_leases_are_given_back_when_no_miner_is_left_for_as_long_as_one_may_be_silent(
    level: Level,
) -> None:
    level.leased(1, 0, 1000)
    level.happens(Disconnected(2, "it hung up"))
    assert level.said[-1] == Capacity(0, 0, 20.0)
    level.passes(2.9)
    assert Close(ABOVE, "no miner is left here") not in level.effects
    level.passes(3.1)
    assert Close(ABOVE, "no miner is left here") in level.effects
    level.happens(Disconnected(ABOVE, "no miner is left here"))
    assert level.relay.statistics(level.now).jobs == 0


def test_a_miner_that_comes_back_in_time_goes_on(level: Level) -> None:
    lease = level.leased(1, 0, 1000)
    level.happens(Disconnected(2, "it hung up"))
    level.passes(2.0)
    level.miner(3)
    level.happens(Received(3, Beat(tuple(each.lease for each in level.leases(3)))))
    level.passes(4.0)
    level.works(3)
    assert level.results == [scanned(PUZZLE, lease)]
    assert not any(isinstance(effect, Close) for effect in level.effects)


def test_the_pool_above_hears_once_a_second_of_miners_that_come(level: Level) -> None:
    for number in range(3, 103):
        level.miner(number)
    assert level.said[-1] == Capacity(1, 1, 20.0)
    level.passes(1.0)
    assert level.said[-1] == Capacity(1, 101, 20.0)
    assert sum(isinstance(message, Capacity) for message in level.said) == 3


def test_a_lease_that_no_miner_could_be_given_ends_the_connection(level: Level) -> None:
    form = msgspec.structs.replace(FORM, rank_bits=8)
    lease = Lease(1, "job", 0, 1000, share_limit(1000).bits, None, form)
    effects = level.happens(Received(ABOVE, lease))
    (close,) = [effect for effect in effects if isinstance(effect, Close)]
    assert close.peer == ABOVE
    assert close.why.startswith("a lease that no miner could be given: a pool's puzzles")
    level.happens(Disconnected(ABOVE, close.why))


def test_who_errs_below_is_not_taken_for_the_pool_above(level: Level) -> None:
    level.happens(Erred(2, 1000, "no message"))
    assert Close(2, "no message") in level.effects
    level.happens(Erred(ABOVE, 1000, "no message"))
    assert Close(ABOVE, "no message") in level.effects


def test_clients_are_sent_to_the_pool_above_but_may_look(level: Level) -> None:
    level.below[3] = []
    level.happens(Connected(3, "below:3", "nonsuch"))
    level.happens(Received(3, Hello("client")))
    level.happens(Received(3, submit(1000)))
    assert level.below[3][-1] == Ended(
        "job", "this pool is a relay, and its jobs come from the pool above it: submit them there"
    )
    level.happens(Received(3, Ask()))
    report = level.below[3][-1]
    assert isinstance(report, Report)
    now = msgspec.json.decode(report.statistics, type=PoolStatistics)
    assert (now.is_relay, now.upstream_reached, now.miners) == (True, True, 1)


def test_a_pool_without_one_above_is_no_relay() -> None:
    assert not Table(TRUSTING).statistics.is_relay


def test_its_own_audits_are_searched_by_its_driver_and_nothing_goes_up_before() -> None:
    level = Level(THOROUGH)
    level.reaches()
    level.miner(2)
    lease = level.leased(1, 0, 400)
    (shard,) = level.leases(2)
    effects = level.happens(Received(2, scanned(PUZZLE, shard)))
    (audit,) = [effect for effect in effects if isinstance(effect, Search)]
    assert not level.results
    level.happens(searched(audit))
    assert level.results == [scanned(PUZZLE, lease)]


def test_a_relay_that_is_refused_for_good_ends(level: Level) -> None:
    effects = level.happens(Received(ABOVE, Refused("the token is wrong", final=True)))
    assert Finish() in effects
    assert level.relay.failure == "the token is wrong"


def test_a_relay_that_is_stopped_hangs_up_above(level: Level) -> None:
    level.leased(1, 0, 1000)
    assert Close(ABOVE, "stopped") in level.happens(Stopping())


# Long leases are scanned again in pieces.


PIECES = PoolSettings(audit_fraction=0.1, shard_seconds=1.0)
"""Of ten shards one is scanned again: of a lease ten times as long, a piece."""


def long_leases(table: Table, last: int) -> tuple[list[range], list[range]]:
    """A miner that asked for leases of ten shards does a job alone.

    Returns its leases, and what the pool scanned again.
    """
    client, miner = table.client(), table.miner("long", rate=1000.0)
    miner.says(Capacity(1, 1, 10.0))
    client.says(submit(last))
    leases: list[range] = []
    audits: list[range] = []
    while miner.leases:
        lease = miner.lease
        leases.append(range(lease.start, lease.start + lease.count))
        until = table.now + lease.count / 1000
        while table.now < until:
            table.passes(min(until, table.now + 1.0))
            miner.beats()
        effects = miner.works()
        while search := next((each for each in effects if isinstance(each, Search)), None):
            audits.append(search.nonces)
            effects = table.happens(searched(search))
    assert client.answers == [lowest(PUZZLE, 0, last)]
    return leases, audits


def test_of_a_long_lease_a_piece_is_scanned_again() -> None:
    table = Table(PIECES)
    leases, audits = long_leases(table, 60_000)
    longest = max(leases, key=len)
    assert len(longest) > 5000
    (piece,) = [each for each in audits if each.start in longest]
    assert 500 < len(piece) < 2000
    assert piece[-1] in longest
    assert table.statistics.audits_failed == 0
    # What is vouched for is the lease, and on disk as one.
    done = [each.record for each in table.persisted if isinstance(each.record, ShardDone)]
    assert any((each.start, each.count) == (longest.start, len(longest)) for each in done)


def until_a_piece_is_audited(table: Table, miner: Seat) -> tuple[Lease, Search]:
    """The miner does leases; returns the first of which a piece is scanned again, and that audit.

    Audits before are answered.
    """
    while miner.leases:
        lease = miner.lease
        table.passes(table.now + lease.count / 1000)
        effects = miner.works()
        while search := next((each for each in effects if isinstance(each, Search)), None):
            if len(search.nonces) < lease.count:
                return lease, search
            effects = table.happens(searched(search))
    raise AssertionError("no piece was chosen")


def long_miner(table: Table, last: int) -> Seat:
    client, miner = table.client(), table.miner("long", rate=1000.0)
    miner.says(Capacity(1, 1, 10.0))
    client.says(submit(last))
    return miner


def test_a_snapshot_leaves_out_all_of_a_lease_of_which_a_piece_is_audited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(msgspec.structs.replace(PIECES, lease_seconds=100.0))
    miner = long_miner(table, 200_000)
    lease, _ = until_a_piece_is_audited(table, miner)
    monkeypatch.setattr(state, "SNAPSHOT_RECORDS", 1)
    monkeypatch.setattr(state, "SNAPSHOT_FACTOR", 0)
    while not isinstance(table.persisted[-1].record, JobSnapshot):
        miner.works()
    done = RangeSet(range(start, start + count) for start, count in table.persisted[-1].record.done)
    (gap,) = done.gaps(lease.start, lease.start + lease.count)
    assert gap == range(lease.start, lease.start + lease.count)


def test_a_piece_that_passes_does_not_vouch_for_the_leases_before_it() -> None:
    table = Table(msgspec.structs.replace(PIECES, lease_seconds=100.0))
    miner = long_miner(table, 200_000)
    lease, search = until_a_piece_is_audited(table, miner)
    table.happens(searched(search))
    assert isinstance(table.facts[-1], AuditPassed)
    miner.lies = lies_as("invents")
    miner.works()
    (told,) = [fact for fact in table.facts if isinstance(fact, Cheated)]
    assert told.redone >= lease.count


def seated(roster: Roster, number: int, rate: float) -> Miner:
    """A miner that has shown how fast it is."""
    peer = Peer(number, f"host-{number}:1", "nonsuch", 0.0)
    roster.add(peer)
    miner = Miner(peer, f"miner-{number}", 0.0)
    roster.add_miner(peer, miner)
    job = Job(JobOpened("job", FORM, 0, 10**6, None), 0, 0.0)
    shard = Shard(0, int(rate), [1])
    grant = Grant(1, job, shard, miner, None, 0.0, 0, shard.stop, 1.0)
    roster.returned(grant, shard.count, 1.0)
    return miner


def audit_of(suspect: Miner, count: int) -> Audit:
    job = Job(JobOpened("job", FORM, 0, 10**6, None), 0, 0.0)
    scan = Scan(count, (), None)
    entry = Unaudited(job, 0, count)
    return Audit(job, entry, suspect, scan, quota_for(count), range(count), 0.0)


def test_an_audit_waits_a_while_for_an_auditor_who_is_not_slow() -> None:
    roster = Roster()
    desk = AuditDesk(PIECES, roster)
    suspect, slow, fast = (seated(roster, *each) for each in ((1, 1000), (2, 10), (3, 1000)))
    for now, asks, gets in ((0.0, slow, False), (0.0, fast, True), (3.0, slow, True)):
        audit = audit_of(suspect, 1000)
        desk.add(audit)
        assert (desk.take_for(asks, now) is audit) == gets
        desk.drop(suspect=suspect)
    short = audit_of(suspect, 20)
    desk.add(short)
    assert desk.take_for(slow, 0.0) is short


def test_suspect_and_auditor_are_caught_by_one_audit_while_others_are_idle() -> None:
    table = Table(THOROUGH)
    client, suspect, auditor, idle = table.client(), *map(table.miner, ("one", "two", "idle"))
    client.says(submit(1499))
    table.now = 1.0
    first, *others = suspect.result().nonces
    suspect.lies = lambda result: Result(result.lease, result.stop, tuple(others))
    suspect.works()
    auditor.works()
    assert auditor.ranges == [(0, 500)]
    idle.works()
    assert not idle.leases
    auditor.lies = lambda result: Result(result.lease, result.stop, (first, *others[:-1]))
    table.now = 100.0
    auditor.works()
    assert cheats(table) == ["two", "one"]
    table.finish(idle, table.miner("another"))
    assert client.answers == [lowest(PUZZLE, 0, 1499)]


def test_what_two_liars_have_both_kept_back_is_found_when_both_are_caught() -> None:
    table = Table(THOROUGH)
    client, suspect, auditor = table.client(), table.miner("one"), table.miner("two")
    client.says(submit(500))
    best = lowest(PUZZLE, 0, 500)
    said = [nonce for nonce in suspect.result().nonces if nonce != best]
    suspect.lies = lambda result: Result(result.lease, result.stop, tuple(said[1:]))
    suspect.works()
    table.passes(1.0)
    auditor.lies = lambda result: Result(result.lease, result.stop, tuple(said[:-1]))
    auditor.works()
    assert cheats(table) == ["two", "one"]
    table.finish(table.miner("three"), table.miner("four"))
    assert client.answers == [best]


def test_an_idle_miner_takes_over_an_audit_that_another_is_slow_to_do() -> None:
    table = Table(THOROUGH)
    client, suspect, slow, fast = table.client(), *map(table.miner, ("suspect", "slow", "fast"))
    client.says(submit(1499))
    table.now = 1.0
    suspect.works()
    slow.works()
    assert slow.ranges == [(0, 500)]
    fast.works()
    assert not fast.leases
    table.now = 20.0
    suspect.works()
    assert fast.ranges == [(0, 500)]
    assert (0, 500) not in slow.ranges
    table.finish(fast, suspect, slow)
    assert client.answers == [lowest(PUZZLE, 0, 1499)]


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.floats(1e-9, 1))
def test_pieces_are_cut_for_those_who_audit(count: int, rate: int, fraction: float) -> None:
    roster = Roster()
    desk = AuditDesk(PIECES, roster)
    suspect = seated(roster, 1, 1000)
    seated(roster, 2, rate)
    pieces = desk.pieces(suspect, count, fraction)
    assert 1 <= pieces <= count
    if fraction == 1 or count < 2 * rate:
        assert pieces == 1
    else:
        chance = min(1.0, fraction * pieces)
        assert chance * count / pieces <= 2 * fraction * count, "no more than was asked for"
        assert chance < 1 or count / pieces < 2 * max(3 * rate, fraction * count)


def test_who_leaves_something_out_of_a_long_lease_is_caught_by_a_piece() -> None:
    table = Table(PIECES)
    client, liar = table.client(), table.miner("liar", rate=1000.0)
    liar.says(Capacity(1, 1, 10.0))
    liar.lies = lies_as("skips")
    client.says(submit(40_000))
    while liar.closed is None:
        table.passes(table.now + 1.0)
        liar.beats()
        effects = liar.works()
        while search := next((each for each in effects if isinstance(each, Search)), None):
            effects = table.happens(searched(search))
    assert cheats(table) == ["liar"]
    liar.leaves()
    table.finish(table.miner(rate=1000.0))
    assert client.answers == [lowest(PUZZLE, 0, 40_000)]
