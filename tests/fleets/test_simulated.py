"""Simulated fleets: minutes of virtual time, and everything that the page can do to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from nonsuch import solve
from nonsuch.errors import LocalError
from nonsuch.fleets.simulated import SimulatedFleet
from nonsuch.networks.gossip.miner import Miner
from nonsuch.web import rows
from nonsuch.web.fleet import UnknownNode, Unsupported
from nonsuch.web.observations import Observation
from nonsuch.web.recording import read_recording
from nonsuch.web.rows import Network
from nonsuch.work.presets import plain

COMMIT_SECONDS = 0.1
"""A disk of a world takes some milliseconds."""


class Watched:
    """A simulated fleet, and what is seen of it."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self.fleet = fleet

    def pass_time(self, seconds: float) -> None:
        """So much virtual time."""
        for _ in range(max(1, int(seconds))):
            self.fleet.advance(self.fleet.world.seconds + seconds / max(1, int(seconds)))
        self.fleet.feed.picture._check()
        assert self.fleet.feed.picture.unreadable == 0

    def pass_until(self, what: str, seconds: float = 600.0) -> rows.Told:
        """Until a sentence has these words in it."""
        end = self.fleet.world.seconds + seconds
        while self.fleet.world.seconds < end:
            self.pass_time(1)
            for told in self.told:
                if what in told.text:
                    return told
        raise AssertionError(f"nobody said {what!r}: {[told.text for told in self.told][-20:]}")

    def table(self, name: str) -> Mapping[str, object]:
        return self.fleet.feed.picture.whole()[name]

    @property
    def told(self) -> list[rows.Told]:
        return list(self.fleet.feed.picture.board.told.rows.values())

    def node(self, name: str) -> rows.Node:
        return self.fleet.feed.picture.board.nodes.rows[name]

    def jobs(self) -> list[rows.Job]:
        return [job for job in self.table("jobs").values() if isinstance(job, rows.Job)]


async def watched(network: Network, nodes: int, folder: Path, *, traffic: bool = True) -> Watched:
    fleet = SimulatedFleet(
        network, nodes, seed=1, speed=50, recordings=folder, control=True, traffic=traffic
    )
    await fleet.start()
    return Watched(fleet)


async def test_a_simulated_pool_finds_what_a_plain_search_finds(tmp_path: Path) -> None:
    pool = await watched("pool", 4, tmp_path, traffic=False)
    said = await pool.fleet.submit("a message", 20_000)
    assert "nonces 0 to 20,000" in said
    pool.pass_until("has its answer")
    (job,) = pool.jobs()
    best = solve(plain(b"a message"), upto=20_000)
    assert (job.nonce, job.hash) == (best.nonce, best.hexdigest)
    assert (job.state, job.verified, int(str(job.done))) == ("done", True, 20_001)
    assert {pool.node(f"miner-{number}").role for number in range(1, 5)} == {"miner"}


async def test_a_killed_miner_s_shards_go_back_and_are_done_by_others(tmp_path: Path) -> None:
    pool = await watched("pool", 3, tmp_path)
    pool.pass_time(10)
    assert await pool.fleet.kill("miner-1") == "miner-1 was killed."
    pool.pass_time(1)
    assert pool.node("miner-1").state == "dead"
    assert any("miner-1 was killed: its" in told.text for told in pool.told)
    pool.pass_until("has its answer")
    with pytest.raises(LocalError, match="restart it first"):
        await pool.fleet.kill("miner-1")
    await pool.fleet.restart("miner-1")
    pool.pass_until("miner-1 joined the pool, which has 3 miners")


async def test_a_lying_miner_is_caught_and_stays_away_for_a_while(tmp_path: Path) -> None:
    pool = await watched("pool", 3, tmp_path)
    pool.pass_time(5)
    await pool.fleet.lie("miner-2")
    assert pool.node("miner-2").lies
    caught = pool.pass_until("miner-2 was caught cheating")
    pool.pass_time(20)
    again = [told for told in pool.told if "miner-2 was caught" in told.text]
    assert again == [caught]
    with pytest.raises(LocalError, match="lies already"):
        await pool.fleet.lie("miner-2")
    with pytest.raises(Unsupported, match="pool has no way to lie"):
        await pool.fleet.lie("pool")
    await pool.fleet.restart("miner-2")
    assert not pool.node("miner-2").lies


async def test_a_frozen_pool_goes_on_when_it_thaws(tmp_path: Path) -> None:
    pool = await watched("pool", 2, tmp_path)
    pool.pass_time(5)
    await pool.fleet.freeze("pool")
    with pytest.raises(LocalError, match="frozen already"):
        await pool.fleet.freeze("pool")
    pool.pass_time(20)
    assert pool.node("pool").state == "frozen"
    await pool.fleet.thaw("pool")
    with pytest.raises(LocalError, match="not frozen"):
        await pool.fleet.thaw("pool")
    pool.pass_until("has its answer")


async def test_jobs_have_one_client_however_many_there_are(tmp_path: Path) -> None:
    pool = await watched("pool", 2, tmp_path, traffic=False)
    for number in range(16):
        await pool.fleet.submit(f"job {number}", 100)
    with pytest.raises(LocalError, match="16 jobs are waited for"):
        await pool.fleet.submit("one too many", 100)
    pool.pass_time(60)
    await pool.fleet.submit("now there is room", 100)
    pool.pass_time(10)
    assert {job.state for job in pool.jobs()} == {"done"}
    assert len(pool.jobs()) == 17
    assert [name for name in pool.table("nodes") if "client" in name] == ["client"]


async def test_gossip_splits_and_finds_together_again(tmp_path: Path) -> None:
    gossip = await watched("gossip", 8, tmp_path)
    gossip.pass_time(120)
    assert await gossip.fleet.cut("node-3") == "node-3 was cut off from all others."
    with pytest.raises(LocalError, match="cut off already"):
        await gossip.fleet.cut("node-3")
    gossip.pass_time(300)
    others = {gossip.node(f"node-{n}").tip for n in range(1, 9) if n != 3}
    assert gossip.node("node-3").state == "cut"
    assert gossip.node("node-3").tip not in others
    await gossip.fleet.restart("node-3")
    gossip.pass_time(5)
    assert gossip.node("node-3").state == "cut"
    await gossip.fleet.mend("node-3")
    with pytest.raises(LocalError, match="not cut off"):
        await gossip.fleet.mend("node-3")
    gossip.pass_time(60)
    heights = [gossip.node(f"node-{n}").height or 0 for n in range(1, 9)]
    assert min(heights) > 5
    assert max(heights) - min(heights) <= 2
    assert gossip.node("node-3").state == "up"


async def test_gossip_bears_loss_liars_and_newcomers(tmp_path: Path) -> None:
    gossip = await watched("gossip", 5, tmp_path)
    gossip.pass_time(60)
    await gossip.fleet.lose(0.5)
    assert gossip.fleet.world.network.conditions.loss == 0.5
    await gossip.fleet.lie("node-5")
    assert await gossip.fleet.add("gossip") == "node-6 was started."
    with pytest.raises(Unsupported, match="all 6 seats are taken"):
        await gossip.fleet.add("gossip")
    with pytest.raises(LocalError, match="no use for one more miner"):
        await gossip.fleet.add("miner")
    gossip.pass_until("nonsense by node-5")
    gossip.pass_time(200)
    await gossip.fleet.heal()
    assert gossip.fleet.world.network.conditions.loss == 0
    gossip.pass_time(100)
    honest = [gossip.node(f"node-{n}").height or 0 for n in (1, 2, 3, 4, 6)]
    assert min(honest) > 5
    assert max(honest) - min(honest) <= 2


async def test_all_miners_of_a_world_keep_the_same_blocks(tmp_path: Path) -> None:
    gossip = await watched("gossip", 5, tmp_path)
    gossip.pass_time(300)
    blocks: dict[bytes, set[int]] = {}
    for number in range(1, 6):
        core = gossip.fleet.world.core(f"node-{number}")
        assert isinstance(core, Miner)
        for entry in core.tree:
            blocks.setdefault(entry.block.id, set()).add(id(entry.block))
    assert len(blocks) > 5
    # Who has found a block made it, and all the others took what came.
    assert max(map(len, blocks.values())) <= 2


async def test_the_first_block_does_not_keep_its_miner_fast(tmp_path: Path) -> None:
    gossip = await watched("gossip", 8, tmp_path)
    gossip.pass_time(600)
    mined = gossip.node("node-1").mined
    assert sum(gossip.node(f"node-{n}").mined for n in range(1, 9)) > 2 * mined


async def test_peers_agree_on_transactions(tmp_path: Path) -> None:
    peers = await watched("peer", 5, tmp_path)
    said = await peers.fleet.transact("from the page")
    assert said.endswith("was given the transaction.")
    await peers.fleet.add("peer")
    peers.pass_time(200)
    await peers.fleet.lie("peer-2")
    peers.pass_time(60)
    heights = [peers.node(f"peer-{n}").height or 0 for n in (1, 3, 4, 5, 6)]
    assert min(heights) > 3
    assert max(heights) - min(heights) <= 2
    with pytest.raises(Unsupported, match="takes no jobs"):
        await peers.fleet.submit("a message", 5)


async def test_a_coordinator_survives_its_liars_and_its_death(tmp_path: Path) -> None:
    rounds = await watched("coordinator", 4, tmp_path)
    rounds.pass_time(60)
    await rounds.fleet.lie("agent-2")
    rounds.pass_until("agent-2 was refused an answer")
    await rounds.fleet.kill("coordinator")
    rounds.pass_time(5)
    await rounds.fleet.restart("coordinator")
    before = rounds.node("coordinator").height or 0
    rounds.pass_time(120)
    assert (rounds.node("coordinator").height or 0) > before
    with pytest.raises(Unsupported, match="only gossip"):
        await rounds.fleet.lose(0.1)


async def test_a_race_has_one_winner_each_time_and_a_ledger_that_survives(tmp_path: Path) -> None:
    race = await watched("race", 3, tmp_path)
    race.pass_time(60)
    ledger = len(race.table("ledger"))
    assert ledger > 4
    winners = {row.winner for row in race.table("races").values() if isinstance(row, rows.Race)}
    assert len(winners) > 1
    assert await race.fleet.transact("from the page") == "3 nodes were given the text."
    race.pass_until("'from the page'")
    await race.fleet.kill("keeper")
    race.pass_time(30)
    assert len(race.table("ledger")) <= ledger + 2
    await race.fleet.restart("keeper")
    await race.fleet.kill("Node2")
    assert await race.fleet.add("race") == "Node4 was started."
    race.pass_time(120)
    assert len(race.table("ledger")) > ledger + 4
    with pytest.raises(Unsupported, match="nobody in a simulated race has a way to lie"):
        await race.fleet.lie("Node1")
    for name in ("Node1", "Node3", "Node4"):
        await race.fleet.kill(name)
    with pytest.raises(LocalError, match="no node is running"):
        await race.fleet.transact("to nobody")


async def test_the_lanes_of_a_race_are_in_the_time_of_its_picture(tmp_path: Path) -> None:
    race = await watched("race", 4, tmp_path)
    race.pass_time(60)
    begin = race.fleet.about().started
    rows_seen = [row for row in race.table("races").values() if isinstance(row, rows.Race)]
    lanes = [lane for row in rows_seen for lane in row.lanes.values()]
    assert len([lane for lane in lanes if lane.completed is not None]) > 4
    for lane in lanes:
        assert lane.received is not None
        started = begin if lane.started is None else lane.started
        completed = lane.started if lane.completed is None else lane.completed
        assert begin <= lane.received <= race.fleet.feed.picture.at
        assert completed is None or started <= completed <= race.fleet.feed.picture.at
        # A text is told of when it is on disk; the search has just begun then.
        assert lane.started is None or lane.received - COMMIT_SECONDS < started


async def test_a_title_counts_those_who_came_later(tmp_path: Path) -> None:
    race = await watched("race", 1, tmp_path)
    assert race.fleet.about().title == "A simulated race: 1 node, seed 1"
    await race.fleet.add("race")
    assert race.fleet.about().title == "A simulated race: 2 nodes, seed 1"
    pool = await watched("pool", 2, tmp_path)
    await pool.fleet.add("miner")
    assert pool.fleet.about().title == "A simulated pool: 3 miners, seed 1"


async def test_what_is_dead_or_frozen_is_neither_cut_nor_mended(tmp_path: Path) -> None:
    gossip = await watched("gossip", 6, tmp_path)
    gossip.pass_time(30)
    for number in range(1, 4):
        await gossip.fleet.cut(f"node-{number}")
    await gossip.fleet.kill("node-1")
    await gossip.fleet.freeze("node-2")
    await gossip.fleet.kill("node-4")
    await gossip.fleet.freeze("node-5")
    told = gossip.fleet.feed.picture.board.told_count
    with pytest.raises(LocalError, match="node-1 is not running: restart it first"):
        await gossip.fleet.mend("node-1")
    with pytest.raises(LocalError, match="node-4 is not running: restart it first"):
        await gossip.fleet.cut("node-4")
    with pytest.raises(LocalError, match="node-2 is frozen: thaw it first"):
        await gossip.fleet.mend("node-2")
    with pytest.raises(LocalError, match="node-5 is frozen: thaw it first"):
        await gossip.fleet.cut("node-5")
    assert gossip.fleet.feed.picture.board.told_count == told
    await gossip.fleet.heal()
    states = [gossip.node(f"node-{number}").state for number in range(1, 7)]
    assert states == ["dead", "frozen", "up", "dead", "frozen", "up"]
    await gossip.fleet.thaw("node-2")
    await gossip.fleet.restart("node-1")
    gossip.pass_time(10)
    assert {gossip.node(f"node-{number}").state for number in (1, 2)} == {"up"}


async def test_a_recording_knows_who_is_cut_off_and_frozen_or_dead(tmp_path: Path) -> None:
    gossip = await watched("gossip", 3, tmp_path)
    gossip.pass_time(5)
    for name in ("node-1", "node-2"):
        await gossip.fleet.cut(name)
    await gossip.fleet.freeze("node-1")
    await gossip.fleet.kill("node-2")
    await gossip.fleet.record(on=True)
    await gossip.fleet.close()
    path = gossip.fleet.recording()
    assert path is not None
    recording = read_recording(path)
    begin = [(recording[n].fact, recording[n].values.get("name")) for n in range(7)]
    assert begin == [
        ("process started", "node-1"),
        ("node cut", "node-1"),
        ("process frozen", "node-1"),
        ("process started", "node-2"),
        ("node cut", "node-2"),
        ("process stopped", "node-2"),
        ("process started", "node-3"),
    ]


async def test_one_seed_is_one_history(tmp_path: Path) -> None:
    heard: list[list[Observation]] = [[], []]
    for each in heard:
        fleet = SimulatedFleet("gossip", 6, seed=7, speed=50, recordings=tmp_path, hear=each.append)
        await fleet.start()
        for until in range(200):
            fleet.advance(until)
    assert heard[0] == heard[1]
    assert len(heard[0]) > 20


async def test_a_recording_that_begins_late_knows_who_is_there(tmp_path: Path) -> None:
    pool = await watched("pool", 3, tmp_path)
    pool.pass_time(20)
    await pool.fleet.kill("miner-1")
    await pool.fleet.cut("miner-2")
    await pool.fleet.lie("miner-3")
    said = await pool.fleet.record(on=True)
    path = pool.fleet.recording()
    assert path is not None
    assert str(path) in said
    assert pool.fleet.about().recording
    with pytest.raises(LocalError, match="recorded already"):
        await pool.fleet.record(on=True)
    pool.pass_time(30)
    assert "were recorded to" in await pool.fleet.record(on=False)
    with pytest.raises(LocalError, match="nothing is recorded"):
        await pool.fleet.record(on=False)
    recording = read_recording(path)
    assert recording.header.virtual
    begin = [(recording[n].fact, recording[n].values.get("name")) for n in range(6)]
    assert begin == [
        ("process started", "pool"),
        ("process started", "miner-1"),
        ("process stopped", "miner-1"),
        ("process started", "miner-2"),
        ("node cut", "miner-2"),
        ("process started", "miner-3"),
    ]
    assert recording[5].values["lies"] is True
    assert not recording.damage
    await pool.fleet.close()


async def test_what_there_is_not_is_said(tmp_path: Path) -> None:
    pool = await watched("pool", 30, tmp_path)
    with pytest.raises(
        UnknownNode, match=r"there is no node 'nobody': there are pool.*and 19 more"
    ):
        await pool.fleet.kill("nobody")
    with pytest.raises(LocalError, match="between 0 and 1"):
        await pool.fleet.lose(2)
    with pytest.raises(LocalError, match="1 to 1,000 nodes"):
        SimulatedFleet("pool", 2000, seed=1, speed=1, recordings=tmp_path)
    with pytest.raises(LocalError, match="--speed"):
        SimulatedFleet("pool", 2, seed=1, speed=0, recordings=tmp_path)
