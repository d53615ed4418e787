"""The pool's scenario: seeds that end well, the same everywhere, and mistakes it would find."""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from nonsuch.networks.pool import facts, results
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.liteminer import (
    LiteMinerClientWire,
    LiteMinerMinerWire,
    LiteMinerPoolWire,
)
from nonsuch.networks.pool.messages import Hello, PuzzleForm, Result, Submit
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.roster import Miner as KnownMiner
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.node import LOCAL, Capacity, Core, Effect, Event, Received, Search
from nonsuch.scenarios import cheats
from nonsuch.scenarios import pool as scenario
from nonsuch.scenarios.cheats import CHEATS, Cheat
from nonsuch.scenarios.pool import Broken, Story, play
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, Conditions
from nonsuch.sim.world import Ranks, World
from nonsuch.work.presets import liteminer, plain

SEEDS = 300
CHUNK = 25

RANKS = Ranks()
"""The worlds share what they hash."""


@functools.cache
def story(seed: int) -> Story:
    return play(seed, RANKS)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_seed_ends_well(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert story(seed).seconds < 400


def test_the_seeds_are_about_everything() -> None:
    stories = [story(seed) for seed in range(100)]
    assert {each.network for each in stories} == {"perfect", "lan", "hostile", "torture"}
    assert {kind for each in stories for kind in each.cheats} == set(CHEATS)
    assert {name.partition("-")[0] for each in stories for name in each.clusters} > set(CHEATS)
    assert len({each.trace_hash for each in stories}) == 100


def test_a_seed_is_one_history() -> None:
    assert play(7) == play(7, RANKS)


def test_a_seed_is_the_same_history_in_another_process() -> None:
    script = (
        "from nonsuch.scenarios.pool import play\n"
        "for seed in range(40, 52): print(play(seed).trace_hash)"
    )
    hashes = []
    for hash_seed in ("1", "2"):
        child = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(child.stdout.split())
    here = [play(seed, RANKS).trace_hash for seed in range(40, 52)]
    assert hashes == [here, here]


# One liar among honest miners, in a world of its own.


def _lots(world: World) -> random.Random:
    return random.Random(world.lots.getrandbits(64))


def _miner(world: World, name: str) -> Callable[[], Core]:
    return lambda: Miner(Hello("miner", name=name, rate=1000.0), _lots(world))


@pytest.mark.parametrize("conditions", [PERFECT, LAN, HOSTILE], ids=["perfect", "lan", "hostile"])
@pytest.mark.parametrize("kind", CHEATS)
def test_a_cheat_is_caught_and_the_answer_is_exact(kind: str, conditions: Conditions) -> None:
    puzzle = plain(b"a world of its own ")
    ranks = [puzzle.rank(puzzle.digest(nonce)) for nonce in range(20_001)]
    exact = min(range(20_001), key=ranks.__getitem__)
    for seed in range(5):
        world = World(seed, conditions, ranks=RANKS)
        client = _people(world, kind, Submit("job", PuzzleForm.of(puzzle), 0, 20_000))
        assert world.run_until(partial(_is_answered, client), 300)
        assert client.answer is not None
        assert client.answer.nonce == exact
        accused = {told.fact.miner for told in world.facts if isinstance(told.fact, facts.Cheated)}
        assert accused == {kind}


def _people(world: World, kind: str, submit: Submit) -> Client:
    """A pool that scans everything again, two honest miners, a liar and a client."""
    settings = PoolSettings(audit_fraction=1.0)
    world.add("pool", lambda: Pool(settings, _lots(world)), listens=True, hash_rate=500)
    for name in ("honest-1", "honest-2"):
        world.add(name, _miner(world, name), hash_rate=1000, dials="pool")

    def cheat() -> Core:
        return Cheat(_miner(world, kind)(), kind, _lots(world))

    world.add(kind, cheat, hash_rate=1000, dials="pool")
    client = Client(Hello("client"), submit, _lots(world), patient=True)
    world.add("client", lambda: client, dials="pool")
    return client


@pytest.mark.parametrize("conditions", [PERFECT, LAN, HOSTILE], ids=["perfect", "lan", "hostile"])
@pytest.mark.parametrize("victim", ["pool", "honest-1"])
@pytest.mark.parametrize("misfortune", ["crash", "freeze", "silence"])
def test_programs_of_the_older_wire_have_the_answer_though_one_of_them_guesses(
    victim: str, misfortune: str, conditions: Conditions
) -> None:
    puzzle = liteminer(b"a world of theirs")
    ranks = [puzzle.rank(puzzle.digest(nonce)) for nonce in range(20_001)]
    exact = min(range(20_001), key=ranks.__getitem__)
    for seed in range(3):
        world = World(seed, conditions, ranks=RANKS)
        settings = PoolSettings(blind_audit_fraction=1.0, shard_nonces=1000)
        world.add("pool", partial(Pool, settings, _lots(world)), listens=True, hash_rate=500)
        add = partial(world.add, dials="pool", hash_rate=1000)
        miners = (LiteMinerMinerWire, partial(_session, world))
        for name in ("honest-1", "honest-2"):
            add(name, _miner(world, name), wires=miners)
        add("liar", partial(Cheat, _miner(world, "liar")(), "guesses", _lots(world)), wires=miners)
        submit = Submit("job", PuzzleForm.of(puzzle), 0, 20_000)
        client = Client(Hello("client"), submit, _lots(world), patient=True)
        add("client", partial(_same, client), wires=(LiteMinerClientWire, miners[1]))
        world.run(3.0)
        if misfortune == "freeze":
            world.freeze(victim)
            world.at(9.0, partial(world.thaw, victim))
        else:
            world.crash(victim, silent=misfortune == "silence")
            world.at(9.0, partial(world.restart, victim))
        assert world.run_until(partial(_is_answered, client), 300)
        assert client.answer is not None
        assert client.answer.nonce == exact
        told = [each.fact for each in world.facts]
        assert {each.address for each in told if isinstance(each, facts.Cheated)} == {"liar"}
        joined = {each.wire for each in told if isinstance(each, facts.MinerJoined)}
        assert joined == {"liteminer"}


def _session(world: World) -> LiteMinerPoolWire:
    return LiteMinerPoolWire(f"{world.lots.getrandbits(64):x}")


@pytest.mark.parametrize("conditions", [PERFECT, LAN], ids=["perfect", "lan"])
def test_a_worker_that_stands_still_keeps_nobody_from_the_answer(conditions: Conditions) -> None:
    for seed in range(5):
        world = World(seed, conditions, ranks=RANKS)
        submit = Submit("job", PuzzleForm.of(plain(b"one of many ")), 0, 20_000)
        settings = PoolSettings(audit_fraction=0.0)
        world.add("pool", partial(Pool, settings, _lots(world)), listens=True)
        world.add("cluster", _miner(world, "cluster"), dials="pool")
        world.set_workers("cluster", [250.0] * 4)
        client = Client(Hello("client"), submit, _lots(world), patient=True)
        world.at(1.0, partial(world.add, "client", partial(_same, client), dials="pool"))
        world.at(8.0, partial(world.set_workers, "cluster", [0.0, 250.0, 250.0, 250.0]))
        assert world.run_until(partial(_is_answered, client), 120)
        given_up = [told.fact for told in world.facts if isinstance(told.fact, facts.SearchGivenUp)]
        lost = [told.fact for told in world.facts if isinstance(told.fact, facts.LeaseLost)]
        assert len(given_up) == 1, "it has nothing else that it could stand still with"
        # One time in sixty the pool's patience is over in the very second in which the miner's is.
        assert [each.start for each in lost] == [given_up[0].start]
        assert lost[0].cause in ("missed", "overdue")


class Hoarder:
    """It says that it is fast and has many slots, beats, and comes to no end."""

    def __init__(self, lots: random.Random) -> None:
        self._honest = Miner(Hello("miner", name="hoarder", rate=1e15), lots)
        self._honest.handle(Received(LOCAL, Capacity(64)), 0.0)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What the honest one would do, but for the work."""
        effects = self._honest.handle(event, now)
        return [effect for effect in effects if not isinstance(effect, Search)]

    def deadline(self) -> float | None:
        return self._honest.deadline()

    def _check(self) -> None:
        self._honest._check()


@pytest.mark.parametrize("conditions", [PERFECT, LAN], ids=["perfect", "lan"])
def test_hoarders_hold_a_job_up_only_for_a_while(conditions: Conditions) -> None:
    for seed in range(5):
        world = World(seed, conditions, ranks=RANKS)
        submit = Submit("job", PuzzleForm.of(plain(b"mine, all mine ")), 0, 20_000)
        world.add("pool", partial(Pool, PoolSettings(), _lots(world)), listens=True, hash_rate=500)
        for number in range(2):
            world.add(f"hoarder-{number}", partial(Hoarder, _lots(world)), dials="pool")
            world.add(f"honest-{number}", _miner(world, "honest"), hash_rate=500, dials="pool")
        client = Client(Hello("client"), submit, _lots(world), patient=True)
        world.at(1.0, partial(world.add, "client", partial(_same, client), dials="pool"))
        # Twenty seconds' work; twenty-three until hoarders are found out, and thrice for an audit.
        assert world.run_until(partial(_is_answered, client), 20 + 4 * 23 + 8)


def _same(client: Client) -> Core:
    return client


def _is_answered(client: Client) -> bool:
    return client.answer is not None


# The scenario has teeth.


class Forgetful(Pool):
    """A miner that leaves takes its shards with it."""

    def _miner_left(self, miner: KnownMiner, why: str, now: float) -> None:
        for grant in list(miner.grants.values()):
            if grant.audit is None:
                self._leases.close(grant)
                grant.job.book.open.pop(grant.number).leases.remove(grant.number)
        super()._miner_left(miner, why, now)


class ForgetfulAndBlind(Forgetful):
    """The same, and nobody checks: then only its clients could notice."""

    def _check(self) -> None:
        pass


def _first_failure(monkeypatch: pytest.MonkeyPatch, mistaken: type[Pool]) -> Exception:
    monkeypatch.setattr(scenario, "Pool", mistaken)
    for seed in range(500):
        try:
            play(seed, RANKS)
        except (AssertionError, Broken) as error:
            return error
    pytest.fail("no seed among the first five hundred noticed")


def test_a_pool_that_forgets_a_shard_is_found_by_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(_first_failure(monkeypatch, Forgetful), AssertionError)


def test_a_pool_that_forgets_a_shard_is_found_by_its_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = _first_failure(monkeypatch, ForgetfulAndBlind)
    assert isinstance(error, Broken)
    assert str(error).startswith("no answer for client-")
    assert "again with: nonsuch simulate --network pool --first" in str(error)


def _sleep(_cheat: Cheat, result: Result) -> Result:
    """Search nothing, find nothing."""
    return Result(result.lease, result.stop, ())


def test_a_pool_that_audits_nobody_is_found_by_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {"sleeps": _sleep, **{kind: CHEATS[kind] for kind in ("invents", "guesses")}}
    monkeypatch.setattr(scenario, "CHEATS", kinds)
    monkeypatch.setattr(cheats, "CHEATS", kinds)
    for seed in range(100):
        play(seed, RANKS)
    monkeypatch.setattr(results.Results, "_audit_is_due", lambda *_: False)
    monkeypatch.setattr(results, "_is_doubtful", lambda *_: False)
    error = _first_failure(monkeypatch, Pool)
    assert isinstance(error, Broken)
    assert ", and it is " in str(error)
