"""What people see of each network, told as stories."""

from __future__ import annotations

import random
from typing import TypeVar

import msgspec
import pytest

from nonsuch.networks.coordinator import facts as coordinator
from nonsuch.networks.gossip import facts as gossip
from nonsuch.networks.peer import facts as peer
from nonsuch.networks.pool import facts as pool
from nonsuch.networks.pool.messages import Hello, Lease, PuzzleForm, Refused, Result, Submit
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.race import facts as race
from nonsuch.networks.race.ledger import Entry
from nonsuch.node import Connected, Effect, Emit, Event, Received, Send, Started
from nonsuch.web import fleet, rows
from nonsuch.web.observations import Observation, observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.pictures import chain
from nonsuch.web.pictures.board import wilson
from nonsuch.web.rows import About, Network
from nonsuch.work.presets import liteminer, plain

R = TypeVar("R", bound=msgspec.Struct)


class Story:
    """A picture and a clock; `_check` after every fact."""

    def __init__(self, network: Network) -> None:
        self.picture = Picture(About(network))
        self.now = 100.0

    def tells(self, node: str, fact: object, after: float = 1.0) -> None:
        self.now += after
        self.picture.fold(observed_fact(fact, node, self.now))
        self.picture._check()
        assert not self.picture.unreadable

    def begins(self, *names: str, role: rows.Role) -> None:
        for name in names:
            self.tells("", fleet.ProcessStarted(name, role))
            self.tells("", fleet.ProcessReady(name))

    def table(self, name: str, kind: type[R]) -> dict[str, R]:
        """Its rows, which are all of this kind."""
        found = self.picture.whole()[name]
        return {key: row for key, row in found.items() if isinstance(row, kind)}

    @property
    def nodes(self) -> dict[str, rows.Node]:
        return self.table("nodes", rows.Node)

    @property
    def told(self) -> list[str]:
        return [row.text for row in self.table("told", rows.Told).values()]


# The fleet.


def test_a_node_lives_and_dies() -> None:
    story = Story("gossip")
    states = []
    for fact in (
        fleet.ProcessStarted("a", "gossip", "127.0.0.1:5000", 1e6),
        fleet.ProcessReady("a"),
        fleet.ProcessFrozen("a"),
        fleet.ProcessThawed("a"),
        fleet.NodeCut("a"),
        fleet.NodeMended("a"),
        fleet.ProcessKilled("a"),
        fleet.ProcessStarted("a", "gossip", again=True),
        fleet.ProcessEnded("a", "exit code 2"),
    ):
        story.tells("", fact)
        states.append(story.nodes["a"].state)
    expected = ["starting", "up", "frozen", "up", "cut", "up", "dead", "starting", "dead"]
    assert states == expected
    assert (story.nodes["a"].address, story.nodes["a"].rate) == ("127.0.0.1:5000", 1e6)
    assert story.nodes["a"].note == story.told[-1] == "a ended by itself: exit code 2"


def test_whatever_a_node_tells_says_that_it_runs() -> None:
    story = Story("race")
    story.tells("", fleet.ProcessStarted("a", "race"))
    story.picture.fold(Observation(200.0, "a", "line", {"text": "Node1 started on port 5000"}))
    assert story.nodes["a"].state == "up"


def test_a_fact_that_comes_late_does_not_raise_the_dead() -> None:
    story = Story("gossip")
    story.begins("a", role="gossip")
    story.tells("", fleet.ProcessKilled("a"))
    story.tells("a", gossip.BlockMined("01", "", 0, ""))
    assert story.nodes["a"].state == "dead"


def test_a_nodes_life_and_its_links_are_two_things() -> None:
    story = Story("peer")
    story.begins("a", "b", "c", role="peer")
    for name in "abc":
        story.tells("", fleet.NodeCut(name))
    assert story.nodes["a"].state == "cut"
    story.tells("", fleet.ProcessKilled("a"))
    story.tells("", fleet.ProcessFrozen("b"))
    # What is mended is reached again where it lives, and nowhere else.
    story.tells("", fleet.NodeMended("a"))
    story.tells("", fleet.Healed())
    states = {name: (row.state, row.cut) for name, row in story.nodes.items()}
    assert states == {"a": ("dead", False), "b": ("frozen", False), "c": ("up", False)}


def test_who_begins_anew_or_goes_on_is_cut_off_still() -> None:
    story = Story("gossip")
    story.begins("a", role="gossip")
    story.tells("", fleet.NodeCut("a"))
    story.tells("", fleet.ProcessFrozen("a"))
    assert (story.nodes["a"].state, story.nodes["a"].cut) == ("frozen", True)
    story.tells("", fleet.ProcessThawed("a"))
    assert story.nodes["a"].state == "cut"
    story.tells("", fleet.ProcessKilled("a"))
    story.tells("", fleet.ProcessStarted("a", "gossip", again=True))
    before = story.told
    story.tells("", fleet.NodeCut("a"))
    assert (story.nodes["a"].state, story.told) == ("cut", before)


def test_what_is_lost_stands_in_what_is_watched() -> None:
    story = Story("gossip")
    story.tells("", fleet.LossSet(0.25))
    assert story.picture.about.loss == 0.25
    story.picture.describe(About("gossip", title="another"))
    assert (story.picture.about.title, story.picture.about.loss) == ("another", 0.25)
    story.tells("", fleet.Healed())
    assert story.picture.about.loss == 0.0


def test_a_rate_is_measured_or_it_is_only_what_a_node_ought_to_have() -> None:
    story = Story("pool")
    story.tells("", fleet.ProcessStarted("miner-1", "miner", rate=1e6))
    assert (story.nodes["miner-1"].rate, story.nodes["miner-1"].measured) == (1e6, False)
    story.tells("miner-1", pool.Worked("j", 0, 500, 0.5))
    assert (story.nodes["miner-1"].rate, story.nodes["miner-1"].measured) == (1000.0, True)
    simulated = Picture(About("gossip", virtual=True))
    simulated.fold(observed_fact(fleet.ProcessStarted("a", "gossip", rate=5.0), "", 1.0))
    assert simulated.board.nodes.rows["a"].measured


def test_a_miner_of_many_slots_is_as_fast_as_all_of_them_together() -> None:
    story = Story("pool")
    story.tells("pool", pool.MinerJoined("m", "127.0.0.1:1", "nonsuch", 1))
    assert (story.nodes["m"].slots, story.nodes["m"].workers) == (1, 0)
    story.tells("pool", pool.MinerChanged("m", 4, 2, 4))
    assert (story.nodes["m"].slots, story.nodes["m"].workers) == (4, 2)
    assert story.told[-1] == "m has 4 slots on 2 workers now."
    for burst in range(4):
        for shard in range(4):
            start = 4000 * burst + 1000 * shard
            after = 1.997 if shard == 0 else 0.001
            story.tells("m", pool.Worked("j", start, start + 1000, 4.0), after=after)
            if burst:
                assert 1000 <= (story.nodes["m"].rate or 0) <= 3500, "never that of a burst alone"
    assert story.nodes["m"].rate == pytest.approx(2000, rel=0.8)
    story.tells("m", pool.SearchGivenUp("j", 0, 1000, 12.3))
    assert story.told[-1] == "m gave up a worker that stood still for 12 s."
    story.tells("pool", pool.MinerChanged("m", 0, 0, 0))
    assert story.told[-1] == "m has no workers."
    story.tells("pool", pool.MinerJoined("m", "127.0.0.1:2", "nonsuch", 1))
    assert story.nodes["m"].slots == 1


def test_a_picture_has_a_thousand_nodes_and_the_dead_make_room() -> None:
    picture = Picture(About("pool"))
    for number in range(1_500):
        picture.fold(observed_fact(fleet.ProcessStarted(f"m{number}", "miner"), "", 1.0))
        if number % 2:
            picture.fold(observed_fact(fleet.ProcessKilled(f"m{number}"), "", 1.0))
    picture._check()
    assert len(picture.whole()["nodes"]) == 1_000
    assert {f"m{number}" for number in range(0, 1_500, 2)} <= picture.whole()["nodes"].keys()


# A pool.

JOB = "j"
MESSAGE = "Your transaction data"


def pool_story() -> Story:
    story = Story("pool")
    story.begins("pool", role="pool")
    story.begins("miner-1", "miner-2", role="miner")
    for count, name in enumerate(("miner-1", "miner-2"), 1):
        story.tells("pool", pool.MinerJoined(name, f"127.0.0.1:{count}", "nonsuch", count))
    return story


def shards(story: Story) -> list[tuple[int | str, int | str, str, str]]:
    table = story.table("shards", rows.Shard).values()
    return sorted((row.start, row.stop, row.state, row.node) for row in table)


def test_a_job_is_shared_searched_and_answered() -> None:
    story = pool_story()
    # The first lease leaves before the job is on disk and told of.
    story.tells("miner-1", pool.ShardTaken(JOB, 0, 500))
    story.tells("pool", pool.JobAccepted(JOB, 0, 999, 2, MESSAGE, "liteminer"))
    story.tells("miner-2", pool.ShardTaken(JOB, 500, 999))
    assert shards(story) == [(0, 500, "leased", "miner-1"), (500, 999, "leased", "miner-2")]
    story.tells("miner-1", pool.Worked(JOB, 0, 500, 0.5))
    proof = min(map(liteminer(MESSAGE.encode()).prove, range(500)), key=lambda each: each.merit)
    story.tells("pool", pool.BestImproved(JOB, proof.nonce, proof.hexdigest))
    job = story.table("jobs", rows.Job)[JOB]
    assert (job.message, job.total, job.done, job.state) == (MESSAGE, 1000, 500, "running")
    assert (job.best_nonce, job.best_hash) == (proof.nonce, proof.hexdigest)
    assert story.nodes["miner-1"].rate == 1000.0
    assert {row.rate for row in story.table("rates", rows.Rate).values()} == {1000.0}
    story.tells("miner-2", pool.Worked(JOB, 500, 999, 0.5))
    story.tells("pool", pool.JobFinished(JOB, proof.nonce, 1000, 3.0, proof.hexdigest))
    assert (job.state, job.done, job.nonce, job.verified) == ("done", 1000, proof.nonce, True)
    assert story.told[-1] == (
        f"Job '{MESSAGE}' has its answer after 1,000 nonces in 3.0 s: nonce {proof.nonce}."
    )


def test_an_answer_with_another_hash_is_not_verified() -> None:
    story = pool_story()
    story.tells("pool", pool.JobAccepted(JOB, 0, 999, 2, MESSAGE, "liteminer"))
    story.tells("pool", pool.JobFinished(JOB, 7, 1000, 3.0, "00" * 32))
    assert not story.table("jobs", rows.Job)[JOB].verified


def test_a_miner_is_killed_and_its_leases_go_back() -> None:
    story = pool_story()
    story.tells("pool", pool.JobAccepted(JOB, 0, 999, 2, MESSAGE, "liteminer"))
    story.tells("miner-2", pool.ShardTaken(JOB, 0, 500))
    story.tells("", fleet.ProcessKilled("miner-2"))
    assert story.told[-1] == "miner-2 was killed."
    story.tells("pool", pool.LeaseLost("miner-2", "left", JOB, 0, 500))
    story.tells("pool", pool.LeaseLost("miner-2", "left", JOB, 500, 999))
    story.tells("pool", pool.MinerLeft("miner-2", "connection lost", 2, 1))
    sentence = "miner-2 was killed: its 2 leases went back into the queue."
    assert story.told[-1] == story.nodes["miner-2"].note == sentence
    assert {state for _, _, state, _ in shards(story)} == {"returned"}
    # A stranger's miner that leaves is told of by the pool alone.
    story.tells("pool", pool.MinerJoined("elsewhere", "10.0.0.1:1", "LiteMiner", 2))
    story.tells("pool", pool.MinerLeft("elsewhere", "bye", 1, 1))
    assert story.told[-1] == "elsewhere left the pool (bye), and leases went back into the queue."
    assert story.nodes["elsewhere"].state == "dead"


def test_a_cheat_is_caught_and_its_work_done_again() -> None:
    story = pool_story()
    story.tells("pool", pool.JobAccepted(JOB, 0, 999, 2, MESSAGE, "liteminer"))
    story.tells("miner-2", pool.Worked(JOB, 0, 500, 0.1))
    story.tells("miner-1", pool.Worked(JOB, 500, 999, 0.1))
    story.tells("pool", pool.AuditPassed("miner-1", "miner-2", JOB, 500, 999))
    story.tells("pool", pool.AuditFailed("miner-2", "miner-1", JOB, 0, 500, 17))
    story.tells("pool", pool.ShardVoided("miner-2", JOB, 0, 500))
    story.tells("pool", pool.Cheated("miner-2", "x", "left out 17 shares", 0, 17.0, 1, 500))
    assert shards(story) == [(0, 500, "redone", "miner-2"), (500, 999, "audited", "miner-1")]
    assert story.table("jobs", rows.Job)[JOB].done == 499
    assert [audit.passed for audit in story.table("audits", rows.Audit).values()] == [True, False]
    assert story.told[-2:] == [
        "miner-1 scanned nonces 0–499 again: miner-2 had left out 17 shares.",
        "miner-2 was caught cheating: left out 17 shares; 500 nonces of its are searched again.",
    ]


class Deceived:
    """A pool's core, and a miner that lies: told of in the order in which they tell it."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.core = Pool(PoolSettings(audit_fraction=0), random.Random(0))
        self.connections = 1
        self.lease: Lease | None = None
        self.happens(Started())
        self.happens(Connected(1, "client:1", "nonsuch"))
        self.happens(Received(1, Hello("client")))
        job = Submit(JOB, PuzzleForm.of(plain(b"a job ")), 0, 10**6, None)
        self.happens(Received(1, job))

    def happens(self, event: Event) -> None:
        for effect in self.core.handle(event, self.story.now):
            self.comes_of_it(effect)

    def comes_of_it(self, effect: Effect) -> None:
        match effect:
            case Emit(fact=fact):
                self.story.tells("pool", fact)
            case Send(message=Lease() as lease):
                self.lease = lease
            case Send(message=Refused(reason=reason, final=final)):
                self.story.tells("miner-2", pool.PoolRefused(reason, final))
            case _:
                pass

    def is_lied_to(self) -> None:
        """The miner comes, and its first result has a nonce that is not of its lease."""
        self.connections += 1
        self.happens(Connected(self.connections, f"liar:{self.connections}", "nonsuch"))
        self.happens(Received(self.connections, Hello("miner", name="miner-2")))
        assert self.lease is not None
        stop = self.lease.start + self.lease.count
        self.happens(Received(self.connections, Result(self.lease.lease, stop, (stop + 7,))))


def test_what_comes_of_a_cheat_is_told_once() -> None:
    story = Story("pool")
    deceived = Deceived(story)
    deceived.is_lied_to()
    joined, caught = story.told[-2:]
    assert joined == "miner-2 joined the pool, which has 1 miner now."
    assert caught.startswith("miner-2 was caught cheating: ")
    facts = story.picture.facts
    assert (facts["peer dropped"], facts["pool refused"], facts["cheated"]) == (1, 1, 1)
    story.tells("pool", pool.PeerDropped("y", "silent for 5 s"))
    assert story.told[-1] == "pool ended a connection: silent for 5 s."


def test_a_liar_that_comes_back_is_counted_and_fills_no_page() -> None:
    story = Story("pool")
    deceived = Deceived(story)
    before = len(story.told)
    for _ in range(5):
        deceived.is_lied_to()
        story.tells("miner-2", pool.ConnectionLost("the pool hung up"), after=0.1)
    joined, caught, lost = story.told[before:]
    assert joined == "miner-2 joined the pool 5 times."
    assert caught.startswith("miner-2 was caught cheating 5 times; the last: ")
    assert lost == "miner-2 lost the pool 5 times: the pool hung up."
    assert story.nodes["miner-2"].note == "miner-2 lost the pool: the pool hung up."


def test_how_many_there_are_is_said_of_one_who_joins_and_not_of_several() -> None:
    story = Story("pool")
    for count in range(1, 5):
        story.tells("pool", pool.MinerJoined(f"m{count}", f"x:{count}", "nonsuch", count), after=1)
        if count == 1:
            assert story.told == ["m1 joined the pool, which has 1 miner now."]
    assert story.told == ["4 miners joined the pool."]


def test_what_goes_on_ends_with_the_pool() -> None:
    story = pool_story()
    story.tells("", fleet.ProcessKilled("pool"))
    for name in ("miner-1", "miner-2"):
        story.tells(name, pool.ConnectionLost("connection reset"))
    story.tells("", fleet.ProcessStarted("pool", "pool", again=True))
    story.tells("pool", pool.MinerJoined("miner-1", "127.0.0.1:1", "nonsuch", 1))
    assert story.told[-5:] == [
        "miner-1 and miner-2 joined the pool.",
        "pool was killed.",
        "miner-1 and miner-2 lost the pool: connection reset.",
        "pool was started again.",
        "miner-1 joined the pool, which has 1 miner now.",
    ]


def test_a_lease_that_is_told_of_late_does_not_undo_what_is_done() -> None:
    story = pool_story()
    story.tells("miner-1", pool.Worked(JOB, 0, 500, 0.5))
    story.tells("miner-2", pool.ShardTaken(JOB, 0, 500))
    story.tells("pool", pool.LeaseLost("miner-2", "frozen", JOB, 0, 500))
    assert shards(story) == [(0, 500, "done", "miner-1")]


def test_a_number_that_a_browser_would_round_is_a_text() -> None:
    story = pool_story()
    last = 2**64 - 2
    story.tells("pool", pool.JobAccepted(JOB, 0, last, 2, MESSAGE, "liteminer"))
    assert story.table("jobs", rows.Job)[JOB].last == str(last)


def test_the_shards_of_the_latest_jobs_are_shown() -> None:
    story = pool_story()
    for number in range(300):
        name = f"job-{number}"
        story.tells("pool", pool.JobAccepted(name, 0, 999, 2, MESSAGE, "liteminer"))
        story.tells("miner-1", pool.Worked(name, 0, 999, 0.5))
        story.tells("pool", pool.JobFinished(name, 7, 1000, 3.0, ""))
    assert len(story.table("jobs", rows.Job)) == 200
    assert {row.job for row in story.table("shards", rows.Shard).values()} == {
        f"job-{number}" for number in range(292, 300)
    }
    # What is told of one that has gone does not bring it back.
    story.tells("miner-1", pool.Worked("job-0", 0, 999, 0.5))
    assert "job-0" not in story.table("jobs", rows.Job)


# A chain.


def mined(story: Story, node: str, name: str, parent: str, height: int, others: str = "") -> None:
    """A node finds a block; others take it as their tip."""
    story.tells(node, gossip.BlockMined(name, parent, height, f"data {name}"))
    for other in others.split():
        fact = gossip.BlockAccepted(name, parent, height, f"data {name}", node, True)
        story.tells(other, fact, after=0.1)


def best(story: Story, *names: str) -> list[bool]:
    blocks = story.table("blocks", rows.Block)
    return [blocks[name].best for name in names]


def test_a_block_spreads_and_a_branch_wins() -> None:
    story = Story("gossip")
    story.begins("a", "b", "c", role="gossip")
    mined(story, "a", "00", "", 0, "b c")
    mined(story, "a", "a1", "00", 1, "b")
    row = story.table("blocks", rows.Block)["a1"]
    assert (row.miner, row.parent, row.seen, row.best, row.data) == ("a", "00", 2, True, "data a1")
    assert row.t50 == pytest.approx(0.1)
    assert row.t90 is None
    # c had found another one, and goes on from there; the others go over.
    mined(story, "c", "c1", "00", 1)
    mined(story, "c", "c2", "c1", 2)
    assert best(story, "a1", "c1", "c2") == [True, False, False]
    story.tells("a", gossip.BlockAccepted("c1", "00", 1, "", "c", False))
    story.tells("a", gossip.BlockAccepted("c2", "c1", 2, "", "c", True))
    story.tells("a", gossip.Reorganised(1, 2, 0, "c2", 2))
    assert best(story, "00", "a1", "c1", "c2") == [True, False, True, True]
    assert story.nodes["a"].tip == "c2"
    assert [(node.mined, node.kept) for node in story.nodes.values()] == [(1, 0), (0, 0), (2, 2)]
    assert story.nodes["c"].share == 1.0
    low, high = wilson(2, 2)
    assert (story.nodes["c"].share_low, story.nodes["c"].share_high) == (low, high)
    (reorg,) = story.table("reorgs", rows.Reorg).values()
    assert (reorg.node, reorg.left, reorg.joined, reorg.fork_height) == ("a", 1, 2, 0)
    assert story.told[-1] == (
        "a went over to another branch at height 0: 1 block given up, 2 taken in their place."
    )


def test_who_is_dead_does_not_say_which_chain_is_best() -> None:
    story = Story("gossip")
    story.begins("a", "b", "c", role="gossip")
    mined(story, "a", "00", "", 0, "b c")
    mined(story, "a", "a1", "00", 1, "b")
    mined(story, "c", "c1", "00", 1)
    for name in ("a", "b"):
        story.tells("", fleet.ProcessKilled(name))
    assert best(story, "00", "a1", "c1") == [True, False, True]


def test_a_block_whose_parent_is_not_told_stands_on_the_tip() -> None:
    # Peers of other programs tell no parents.
    story = Story("peer")
    story.begins("a", "b", role="peer")
    for node in ("a", "b"):
        story.picture.fold(Observation(1.0, node, "block accepted", {"block": "01", "height": 1}))
    values: dict[str, object] = {"block": "02", "height": 2, "nonce": 7}
    story.picture.fold(Observation(2.0, "a", "block mined", values))
    blocks = story.table("blocks", rows.Block)
    assert (blocks["02"].parent, blocks["02"].miner) == ("01", "a")
    assert best(story, "01", "02") == [True, False]
    story.picture._check()


def test_a_block_that_was_best_before_its_finder_was_known_counts() -> None:
    story = Story("peer")
    story.begins("a", "b", role="peer")
    for node in "ab":
        story.tells(node, peer.BlockAccepted("01", "00", 1, "x"))
    story.tells("a", peer.BlockMined("01", "00", 1, 7))
    row = story.nodes["a"]
    assert (row.mined, row.kept, row.share) == (1, 1, 1.0)


def test_stale_blocks_are_counted_though_their_rows_have_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain, "BLOCKS_MAX", 10)
    story = Story("gossip")
    story.begins("a", "b", "c", role="gossip")
    mined(story, "a", "best 0", "", 0, "b c")
    for height in range(1, 41):
        mined(story, "a", f"best {height}", f"best {height - 1}", height, "b c")
        if not height % 4:
            side = gossip.BlockAccepted(f"x {height}", f"best {height - 1}", height, "", "d", False)
            story.tells("b", side)
    totals = story.table("block_totals", rows.BlockTotals)["totals"]
    assert (totals.blocks, totals.stale) == (51, 10)
    assert len(story.table("blocks", rows.Block)) == 10


def test_a_wilson_interval_is_that_of_the_textbook() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


# A race.


def test_a_race_has_a_lane_for_each_node_and_one_winner() -> None:
    story = Story("race")
    story.begins("Node1", "Node2", "Node3", role="race")
    for node in ("Node1", "Node2", "Node3"):
        story.tells(node, race.TransactionReceived("pay", "127.0.0.1:1", 1))
    story.tells("Node1", race.PowStarted("pay", 1, 105.5))
    story.tells("Node2", race.PowStarted("pay", 1, 105.6))
    story.tells("Node1", race.PowCompleted("pay", 1, 4711, "0000ab", 0.25, 105.75))
    story.tells("Node1", race.RaceWon("pay", 1))
    entry = Entry("Node1", "pay", 4711, "0000ab", 0.25, "then", "now")
    story.tells("Node1", race.LedgerUpdated(entry))
    story.tells("Node2", race.RaceStopped("pay", 1, "Node1", 0.2, 105.8))
    row = story.table("races", rows.Race)["pay#1"]
    assert (row.winner, row.nonce, row.hash) == ("Node1", 4711, "0000ab")
    states = {name: lane.state for name, lane in row.lanes.items()}
    assert states == {"Node1": "won", "Node2": "stopped", "Node3": "waiting"}
    assert row.lanes["Node1"].completed == 105.75
    assert list(story.table("ledger", Entry).values()) == [entry]
    assert story.told[-1] == "Node1 won the race for 'pay' with nonce 4,711."


def wins(story: Story, node: str, text: str, number: int) -> None:
    story.tells(node, race.PowStarted(text, number, story.now))
    story.tells(node, race.RaceWon(text, number))
    entry = Entry(node, text, number, "0000ab", 0.25, "then", "now")
    story.tells(node, race.LedgerUpdated(entry))


def test_wins_only_grow_though_old_races_have_no_row() -> None:
    story = Story("race")
    for number in range(1, 251):
        wins(story, "Node1" if number % 5 else "Node2", "pay", number)
    totals = story.table("race_totals", rows.RaceTotals)["totals"]
    assert (totals.races, totals.entries) == (250, 250)
    assert {name: row.kept for name, row in story.nodes.items()} == {"Node1": 200, "Node2": 50}
    assert (len(story.table("races", rows.Race)), len(story.table("ledger", Entry))) == (100, 200)


def test_wins_are_one_sentence_until_something_else_is_told() -> None:
    story = Story("race")
    wins(story, "Node1", "pay", 1)
    wins(story, "Node2", "pay", 2)
    assert story.told == ["2 races were won; the last: Node2 won the race for 'pay'."]
    story.tells("", fleet.ProcessKilled("Node2"))
    for number in range(3, 400):
        wins(story, "Node1", "pay", number)
    assert story.told == [
        "2 races were won; the last: Node2 won the race for 'pay'.",
        "Node2 was killed.",
        "397 races were won; the last: Node1 won the race for 'pay'.",
    ]
    assert story.nodes["Node1"].note == "Node1 won the race for 'pay'."


def test_who_tells_of_nodes_that_join_is_the_keeper() -> None:
    story = Story("race")
    story.begins("keeper", "Node1", role="race")
    story.tells("keeper", race.NodeJoined("Node1", "127.0.0.1:1", 1))
    assert (story.nodes["keeper"].role, story.nodes["Node1"].role) == ("keeper", "race")
    story.tells("", fleet.ProcessKilled("keeper"))
    story.tells("", fleet.ProcessStarted("keeper", "race", again=True))
    assert story.nodes["keeper"].role == "keeper"


def test_a_node_that_counts_from_another_number_gets_its_lane_there() -> None:
    story = Story("race")
    story.tells("Node1", race.TransactionReceived("pay", "127.0.0.1:1", 1))
    received = story.now
    story.tells("Node1", race.PowStarted("pay", 5, 110.0))
    (row,) = story.table("races", rows.Race).values()
    assert (row.k, row.lanes["Node1"].received) == (5, received)
    story.tells("Node1", race.TransactionReceived("pay", "127.0.0.1:1", 1))
    assert "pay#6" in story.table("races", rows.Race)


def test_long_texts_are_cut_and_still_told_apart() -> None:
    story = Story("race")
    for end in ("a", "b"):
        story.tells("Node1", race.TransactionReceived("x" * 60_000 + end, "127.0.0.1:1", 1))
    keys = list(story.table("races", rows.Race))
    assert len(set(keys)) == 2
    assert max(map(len, keys)) < 300


# A coordinator.


def test_rounds_are_won_and_an_address_gets_a_name() -> None:
    story = Story("coordinator")
    story.begins("hub", role="coordinator")
    story.begins("agent-1", "agent-2", role="agent")
    for count, port in enumerate((1, 2), 1):
        story.tells("hub", coordinator.AgentJoined(f"127.0.0.1:{port}", count))
    story.tells("agent-1", coordinator.Solved("b0", 7, 0.5))
    story.tells("hub", coordinator.BlockAccepted("b0", 0, 7, "127.0.0.1:1", 1.5))
    # This time the coordinator is read first.
    story.tells("hub", coordinator.BlockAccepted("b1", 1, 8, "127.0.0.1:2", 1.5))
    table = story.table("rounds", rows.Round)
    assert table["1"].winner == "127.0.0.1:2"
    story.tells("agent-2", coordinator.Solved("b1", 8, 0.5))
    story.tells("hub", coordinator.AnswerStale("127.0.0.1:1", 1))
    story.tells("hub", coordinator.AnswerRefused("127.0.0.1:1", "version", "version 9, not 4"))
    assert [(row.winner, row.hash, row.header) for row in table.values()] == [
        ("agent-1", "b0", ""),
        ("agent-2", "b1", "b0"),
        (None, None, "b1"),
    ]
    assert (table["1"].answers, table["1"].stale, table["2"].refused) == (2, 1, 1)
    agents = story.table("agents", rows.Agent)
    assert sorted(agents) == ["agent-1", "agent-2"]
    assert (agents["agent-1"].accepted, agents["agent-1"].stale) == (1, 1)
    # It comes back on another connection, and what it did there is its own.
    story.tells("hub", coordinator.AgentLeft("127.0.0.1:1", "lost", 1))
    story.tells("hub", coordinator.AgentJoined("127.0.0.1:3", 2))
    story.tells("hub", coordinator.BlockAccepted("b2", 2, 9, "127.0.0.1:3", 1.5))
    story.tells("agent-1", coordinator.Solved("b2", 9, 0.5))
    agents = story.table("agents", rows.Agent)
    assert sorted(agents) == ["agent-1", "agent-2"]
    assert (agents["agent-1"].accepted, agents["agent-1"].address) == (2, "127.0.0.1:3")
    assert story.nodes["agent-1"].share == pytest.approx(2 / 3)
    assert (story.nodes["hub"].tip, story.nodes["hub"].height) == ("b2", 2)


def test_the_table_and_the_sentence_have_the_same_time() -> None:
    story = Story("coordinator")
    story.begins("hub", role="coordinator")
    story.tells("hub", coordinator.AgentJoined("127.0.0.1:1", 1), after=5.0)
    story.tells("hub", coordinator.BlockAccepted("b0", 0, 7, "127.0.0.1:1", 9.5), after=2.0)
    row = story.table("rounds", rows.Round)["0"]
    assert row.solved is not None
    assert row.solved - row.at == 9.5
    assert story.told[-1] == "127.0.0.1:1 solved block 0, after 9.5 s."


def test_rounds_are_counted_though_their_rows_have_gone_and_faults_stay_on_the_page() -> None:
    story = Story("coordinator")
    for count in (1, 2):
        story.tells("hub", coordinator.AgentJoined(f"127.0.0.1:{count}", count))
    assert story.told == ["127.0.0.1:1 and 127.0.0.1:2 joined."]
    for height in range(400):
        fact = coordinator.BlockAccepted(f"b{height}", height, 7, "127.0.0.1:1", 0.5)
        story.tells("hub", fact)
        story.tells("hub", coordinator.AnswerStale("127.0.0.1:2", height))
        if not height % 100:
            reason = f"version {height}, not 4"
            story.tells("hub", coordinator.AnswerRefused("127.0.0.1:2", "version", reason))
    totals = story.table("round_totals", rows.RoundTotals)["totals"]
    assert (totals.solved, totals.stale, totals.refused) == (400, 400, 4)
    assert (totals.answers, totals.agents) == (804, 2)
    assert len(story.table("rounds", rows.Round)) == 200
    refused = [text for text in story.told if "was refused an answer" in text]
    assert len(refused) == 4
    assert len(story.told) == 10
    assert story.told[-1] == (
        "99 blocks were solved; the last: 127.0.0.1:1 solved block 399, after 0.5 s."
    )
