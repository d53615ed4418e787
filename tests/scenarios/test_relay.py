"""The relay's scenario: seeds that end well, the same everywhere, and mistakes it would find."""

from __future__ import annotations

import functools
import random

import pytest

from nonsuch.networks.pool import facts
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.gather import Gather
from nonsuch.networks.pool.messages import Hello, PuzzleForm, Submit
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.relay import Relay
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.node import Core, Disconnected, Effect, Event, Searched
from nonsuch.scenarios import relay as scenario
from nonsuch.scenarios.cheats import CHEATS, Cheat
from nonsuch.scenarios.pool import Broken, Story
from nonsuch.scenarios.relay import play
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, Conditions
from nonsuch.sim.world import Ranks, World
from nonsuch.work.presets import plain

SEEDS = 300
CHUNK = 50

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
    assert len({each.trace_hash for each in stories}) == 100


def test_a_seed_is_one_history() -> None:
    assert play(7) == play(7, RANKS)


# Two levels, and one liar or one misfortune.

LAST = 20_000
PUZZLE = plain(b"two levels ")


@functools.cache
def exact() -> int:
    """By plain hashing, and none of what is on trial."""
    return min(range(LAST + 1), key=lambda nonce: PUZZLE.rank(PUZZLE.digest(nonce)))


class Levels:
    """A pool above two relays with two miners each, and a client.

    `lies` is what the right one does to its results; everything is scanned again at both levels
    where `thorough`.
    """

    def __init__(
        self, seed: int, conditions: Conditions = LAN, *, thorough: bool = False, lies: str = ""
    ) -> None:
        self.world = World(seed, conditions, ranks=RANKS)
        self.settings = PoolSettings(audit_fraction=1.0 if thorough else 0.02)
        self.world.add("pool", self._pool, listens=True, hash_rate=500)
        for name, kind in (("left", ""), ("right", lies)):
            self._add_relay(name, kind)
            for number in range(2):
                self.add_miner(f"{name}-{number}", name)
        submit = Submit("job", PuzzleForm.of(PUZZLE), 0, LAST)
        self.client = Client(Hello("client"), submit, self._lots(), patient=True)
        self.world.add("client", lambda: self.client, dials="pool")

    def _lots(self) -> random.Random:
        return random.Random(self.world.lots.getrandbits(64))

    def _pool(self) -> Core:
        return Pool(self.settings, self._lots())

    def _add_relay(self, name: str, kind: str) -> None:
        def made() -> Core:
            hello = Hello("miner", name=name, rate=2000.0)
            relay = Relay(self.settings, hello, self._lots())
            return Cheat(relay, kind, self._lots()) if kind else relay

        self.world.add(name, made, listens=True, dials="pool", hash_rate=500)

    def add_miner(self, name: str, above: str, kind: str = "") -> None:
        """One that does 1,000 hashes a second; a liar where there is a `kind`."""

        def made() -> Core:
            miner = Miner(Hello("miner", name=name, rate=1000.0), self._lots())
            return Cheat(miner, kind, self._lots()) if kind else miner

        self.world.add(name, made, dials=above, hash_rate=1000)

    def ends(self) -> None:
        """The answer comes, and it is the exact one."""
        assert self.world.run_until(lambda: self.client.answer is not None, 300)
        assert self.client.answer is not None
        assert self.client.answer.nonce == exact()

    @property
    def accused(self) -> set[tuple[str, str]]:
        """Who accused whom."""
        told = [(each.node, each.fact) for each in self.world.facts]
        return {(who, fact.miner) for who, fact in told if isinstance(fact, facts.Cheated)}

    def shards(self, name: str) -> int:
        """How many leases a node has finished."""
        return sum(
            told.node == name and isinstance(told.fact, facts.Worked) for told in self.world.facts
        )


def test_every_level_works() -> None:
    levels = Levels(0)
    levels.ends()
    for name in ("left", "right", "left-0", "left-1", "right-0", "right-1"):
        assert levels.shards(name) > 1
    assert levels.accused == set()


@pytest.mark.parametrize("conditions", [PERFECT, LAN, HOSTILE], ids=["perfect", "lan", "hostile"])
@pytest.mark.parametrize("kind", CHEATS)
def test_a_liar_below_is_caught_below(kind: str, conditions: Conditions) -> None:
    for seed in range(3):
        levels = Levels(seed, conditions, thorough=True)
        levels.add_miner("liar", "left", kind)
        levels.ends()
        assert levels.accused == {("left", "liar")}


@pytest.mark.parametrize("kind", CHEATS)
def test_a_relay_that_lies_is_caught_above(kind: str) -> None:
    for seed in range(3):
        levels = Levels(seed, thorough=True, lies=kind)
        levels.ends()
        assert levels.accused == {("pool", "right")}


@pytest.mark.parametrize("victim", ["pool", "left", "left-0"])
@pytest.mark.parametrize("misfortune", ["crash", "freeze", "silence"])
def test_whoever_is_lost_for_a_while_costs_time_alone(victim: str, misfortune: str) -> None:
    for seed in range(3):
        levels = Levels(seed)
        world = levels.world
        world.run(2.0)
        if misfortune == "freeze":
            world.freeze(victim)
            world.at(8.0, functools.partial(world.thaw, victim))
        else:
            world.crash(victim, silent=misfortune == "silence")
            world.at(8.0, functools.partial(world.restart, victim))
        levels.ends()
        assert levels.accused == set()


def test_a_relay_that_dies_for_good_is_done_without() -> None:
    levels = Levels(1)
    levels.world.run(2.0)
    levels.world.crash("left")
    levels.ends()


# The scenario has teeth.


def first_failure() -> Exception:
    for seed in range(100):
        try:
            play(seed, RANKS)
        except (AssertionError, Broken) as error:
            return error
    pytest.fail("no seed among the first hundred noticed")


class Hasty(Relay):
    """Of what its pool has gathered, it drops what came last."""

    def _handed_over(self, core: Miner | Pool, effect: Effect) -> Event | None:
        event = super()._handed_over(core, effect)
        if isinstance(event, Searched):
            return Searched(event.task, event.stop, event.nonces[:-1])
        return event


class Deaf(Relay):
    """It does not notice that the pool above is gone, and keeps its searches."""

    def _whose(self, event: Event) -> Miner | Pool:
        whose = super()._whose(event)
        return self._pool if isinstance(event, Disconnected) else whose


@pytest.mark.parametrize("mistaken", [Hasty, Deaf])
def test_a_relay_with_a_mistake_is_found(
    monkeypatch: pytest.MonkeyPatch, mistaken: type[Relay]
) -> None:
    monkeypatch.setattr(scenario, "Relay", mistaken)
    error = first_failure()
    if isinstance(error, Broken):
        assert "again with: nonsuch simulate --network relay --first" in str(error)


def test_shares_that_are_not_gathered_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gather, "take", lambda *_: None)
    assert isinstance(first_failure(), Broken)
