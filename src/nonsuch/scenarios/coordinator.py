"""A coordinator, its agents and some that do harm, through everything that can go wrong.

A seed draws the network, how many agents there are, their machines and clocks, some cheats and a
plan of misfortunes: the coordinator crashes, often with an answer in its hands, and comes back with
its disk; agents crash, processes freeze, machines are slow, cables are pulled. Then all is mended,
and what must hold is checked:

* everybody finds back, and the chain grows;
* it is a chain: by `hashlib` and the bytes on the disk alone, from its first block to the last;
* every block that people were ever told of is in it, where it was;
* no honest agent was ever charged with anything;
* every cheat was charged and let go, and of them only those that do honest work too have blocks;
* every core's own `_check` held after every event (the world sees to that).
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from typing import NamedTuple

from nonsuch.networks.coordinator import facts
from nonsuch.networks.coordinator.agent import Agent
from nonsuch.networks.coordinator.coordinator import Coordinator
from nonsuch.networks.coordinator.header import HEADER_BYTES, ROOT, VERSION, Header
from nonsuch.networks.coordinator.settings import (
    AgentSettings,
    CoordinatorSettings,
    RetargetName,
)
from nonsuch.scenarios.broken import TRACE_LINES, Broken
from nonsuch.scenarios.coordinator_cheats import CHEATS, HONEST_WORK, Cheat
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, Conditions
from nonsuch.sim.world import Told, World
from nonsuch.work.target import Target

__all__ = ["Broken", "Story", "check_chain", "play"]

TROUBLE_SECONDS = 30.0
"""How long things go wrong."""

MENDED_SECONDS = 120.0
"""How long mended agents may take to find back, and the chain to grow."""

MENDED_BLOCKS = 3
"""By how much it must."""

ORIGIN_SECONDS = 1_700_000_000.0
"""The Unix time at which the coordinator's clock shows 0."""

TARGET = Target.from_work(160)
HASH_RATE = 20.0
"""Of one agent: alone, it needs eight seconds for a block."""

BLOCK_SECONDS = 9.0
HALF_SECONDS = 3.0
SPACING_SECONDS = 2
HALF_LIFE_SECONDS = 60
PERIOD_BLOCKS = 10

COORDINATOR = "coordinator"

AGENTS = (2, 2, 3, 3, 4, 5, 6)
"""How many there are: mostly few, for each takes its time to simulate."""

NETWORKS: dict[str, Conditions] = {"perfect": PERFECT, "lan": LAN, "hostile": HOSTILE}

SYNC_SECONDS = (0.004, 1.0)
"""What a commit takes: on a slow disk, many a crash comes between a decision and its record."""

AMBUSH_SECONDS_MAX = 1.0
"""How long behind an answer the coordinator crashes: before, while or after it is written."""

RETARGETS: tuple[RetargetName, ...] = ("none", "none", "bitcoin", "aserti")

MEDIAN_BLOCKS = 11
"""Written once more: the judge does not ask the judged."""


class Story(NamedTuple):
    """A seed that ended well."""

    seed: int
    network: str
    cheats: tuple[str, ...]
    height: int
    stale: int
    dropped: int
    events: int
    seconds: float
    trace_hash: str


def play(seed: int) -> Story:
    """One seed from beginning to end. Raises `Broken`, or what a core's check raises."""
    return _Play(seed).run()


def check_chain(headers: list[bytes], limit: Target) -> list[str]:
    """The ids of a chain's blocks, in hexadecimal. Raises `Broken` where it is no chain.

    The 108 bytes of each header are looked at, and nothing that coordinators are made of is used.
    No target may be easier than `limit`.
    """
    parent, ids, past = ROOT, list[str](), list[int]()
    for height, data in enumerate(headers):
        digest = hashlib.sha256(hashlib.sha256(data).digest()).digest()
        timestamp = int.from_bytes(data[68:72], "little")
        middle = sorted(past[-MEDIAN_BLOCKS:])
        holds = {
            "size": len(data) == HEADER_BYTES,
            "version": int.from_bytes(data[:4], "little", signed=True) == VERSION,
            "parent": data[4:36] == parent,
            "work": digest <= data[72:104],
            "target": data[72:104] <= limit.value.to_bytes(32, "big"),
            "time": not middle or timestamp >= middle[len(middle) // 2],
        }
        for rule, kept in holds.items():
            if not kept:
                raise Broken(f"the block at height {height} breaks a rule: {rule}")
        parent = digest
        ids.append(digest.hex())
        past.append(timestamp)
    return ids


class _Play:
    """One run of the scenario."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        plan = self._plan = random.Random(f"coordinator {seed}")
        self._network = plan.choice(list(NETWORKS))
        self._world = World(
            seed,
            NETWORKS[self._network],
            sync_seconds_mean=plan.choice(SYNC_SECONDS),
            observe=self._hear,
            trace_lines=TRACE_LINES,
        )
        self._cheats = tuple(plan.sample(CHEATS, plan.choice([0, 0, 1, 1, 2, 3])))
        self._agents = [f"agent-{number}" for number in range(plan.choice(AGENTS))]
        self._settings = CoordinatorSettings(
            target=TARGET,
            block_seconds=BLOCK_SECONDS,
            half_seconds=HALF_SECONDS,
            retarget=plan.choice(RETARGETS),
            spacing_seconds=SPACING_SECONDS,
            period_blocks=PERIOD_BLOCKS,
            half_life_seconds=HALF_LIFE_SECONDS,
        )
        self._ambush: Callable[[], object] | None = None
        self._people()

    def _people(self) -> None:
        lots = self._world.lots
        self._world.add(
            COORDINATOR,
            lambda: Coordinator(self._settings, self._lots(), ORIGIN_SECONDS),
            listens=True,
            clock_rate=lots.uniform(0.98, 1.02),
        )
        for name in self._agents:
            self._world.add(
                name,
                lambda: Agent(AgentSettings(), self._lots()),
                hash_rate=HASH_RATE * lots.uniform(0.5, 1.5),
                dials=COORDINATOR,
                clock_rate=lots.uniform(0.98, 1.02),
                clock_offset_seconds=lots.uniform(-1000, 1000),
            )
        for kind in self._cheats:
            factory = functools.partial(self._cheat, kind)
            self._world.add(kind, factory, dials=COORDINATOR)

    def _lots(self) -> random.Random:
        return random.Random(self._world.lots.getrandbits(64))

    def _cheat(self, kind: str) -> Cheat:
        return Cheat(kind, self._lots())

    def run(self) -> Story:
        """Trouble, then peace, then the reckoning."""
        world, plan = self._world, self._plan
        for _ in range(plan.randint(0, 10)):
            world.at(plan.uniform(0.5, TROUBLE_SECONDS), self._misfortune())
        world.run(TROUBLE_SECONDS)
        self._mend()
        enough = self._coordinator.ledger.height + MENDED_BLOCKS
        if not world.run_until(lambda: self._thrives(enough), MENDED_SECONDS):
            raise self._broken(f"it does not go on: {self._stands()}")
        self._settle()
        self._judge_chain()
        self._judge_agents()
        return Story(
            self._seed,
            self._network,
            self._cheats,
            self._coordinator.ledger.height,
            sum(isinstance(told.fact, facts.AnswerStale) for told in world.facts),
            sum(isinstance(told.fact, facts.AgentDropped) for told in world.facts),
            world.events,
            world.seconds,
            world.trace_hash,
        )

    # What befalls them.

    def _misfortune(self) -> Callable[[], object]:
        world, plan = self._world, self._plan
        victim = plan.choice([COORDINATOR, *self._agents])
        seconds = plan.uniform(0.1, 10)
        silent = plan.random() < 0.5

        def crash() -> None:
            world.crash(victim, silent=silent)
            world.at(world.seconds + seconds, lambda: self._restart(victim))

        def freeze() -> None:
            world.freeze(victim)
            world.at(world.seconds + seconds, lambda: world.thaw(victim))

        def part() -> None:
            others = {name for name in (COORDINATOR, *self._agents) if name != victim}
            world.partition({victim}, others, seconds=seconds, silent=silent)

        def slow() -> None:
            if victim != COORDINATOR:
                world.set_hash_rate(victim, HASH_RATE / 20)

        def ambush() -> None:
            self._ambush = functools.partial(self._fall, seconds)

        return plan.choice([crash, freeze, part, slow, ambush])

    def _hear(self, told: Told) -> None:
        """An answer is on its way: the moment for an ambush."""
        if isinstance(told.fact, facts.Solved) and self._ambush is not None:
            delay = self._world.lots.uniform(0, AMBUSH_SECONDS_MAX)
            self._world.at(self._world.seconds + delay, self._ambush)
            self._ambush = None

    def _fall(self, seconds: float) -> None:
        """The coordinator crashes, and is back after a while."""
        world = self._world
        if world.seconds > TROUBLE_SECONDS:
            return
        world.crash(COORDINATOR)
        world.at(world.seconds + seconds, lambda: self._restart(COORDINATOR))

    def _restart(self, name: str) -> None:
        if not self._world.is_up(name):
            self._world.restart(name)

    def _mend(self) -> None:
        world = self._world
        self._ambush = None
        world.heal()
        for kind in self._cheats:
            world.crash(kind)
        for name in (COORDINATOR, *self._agents):
            self._restart(name)
            world.thaw(name)
        for name in self._agents:
            world.set_hash_rate(name, HASH_RATE)

    def _settle(self) -> None:
        """Nothing new is found, and what was found reaches the disk."""
        for name in self._agents:
            self._world.set_hash_rate(name, 0)
        self._world.run(self._world.seconds + BLOCK_SECONDS)

    # What must hold.

    @property
    def _coordinator(self) -> Coordinator:
        core = self._world.core(COORDINATOR)
        assert isinstance(core, Coordinator)
        return core

    def _agent(self, name: str) -> Agent:
        core = self._world.core(name)
        assert isinstance(core, Agent)
        return core

    def _thrives(self, height: int) -> bool:
        """Whether the chain is so high, and everybody there."""
        here = [self._agent(name).statistics().coordinator for name in self._agents]
        return self._coordinator.ledger.height >= height and all(here)

    def _stands(self) -> str:
        away = [name for name in self._agents if not self._agent(name).statistics().coordinator]
        return f"height {self._coordinator.ledger.height}, away: {away}"

    def _judge_chain(self) -> None:
        """What is on the disk is a chain, it is the core's, and nothing was taken back."""
        records = self._world.records(COORDINATOR)
        headers = [each.data for each in records if isinstance(each, Header)]
        ids = check_chain(headers, TARGET)
        if len(ids) != len(records) or ids != [
            entry.block.id.hex() for entry in self._coordinator.ledger.tree
        ]:
            raise self._broken("the chain on the disk is not the one in memory")
        for told in self._world.facts:
            fact = told.fact
            if not isinstance(fact, facts.BlockAccepted):
                continue
            if fact.height >= len(ids) or ids[fact.height] != fact.block:
                raise self._broken(f"the block at height {fact.height} was accepted, and is lost")
            if fact.agent in self._cheats and fact.agent not in HONEST_WORK:
                raise self._broken(f"a block of {fact.agent} was accepted")

    def _judge_agents(self) -> None:
        """The right ones were charged, and let go."""
        charged, dropped = set[str](), set[str]()
        for told in self._world.facts:
            match told.fact:
                case facts.AnswerRefused(agent=agent) as fact:
                    charged.add(agent)
                    if agent in self._agents:
                        raise self._broken(f"{agent} is honest, and was charged: {fact}")
                case facts.AgentDropped(agent=agent) as fact:
                    dropped.add(agent)
                    if agent in self._agents:
                        raise self._broken(f"{agent} is honest, and was let go: {fact}")
                case _:
                    pass
        # To date headers ahead costs little at a time, and cut connections begin anew.
        stayed = set(self._cheats) - dropped - ({"future"} & charged)
        if stayed:
            raise self._broken(f"these were never let go: {sorted(stayed)}")

    def _broken(self, what: str) -> Broken:
        story = "\n".join(self._world.trace())
        return Broken(
            f"seed {self._seed}: {what}\n(network {self._network}, cheats {self._cheats})\n{story}"
        )
