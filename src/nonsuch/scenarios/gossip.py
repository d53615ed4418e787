"""Gossip miners among malicious ones, through a minute of everything that can go wrong.

A seed draws the network (with datagrams that get lost, doubled, late and garbled), the miners and
their clocks, some cheats and a plan of misfortunes: crashes with and without disk, frozen
processes, partitions, a node that sees nobody but a cheat. Then all is mended, only one goes on
mining, and what must hold is checked:

* all honest miners have one tip;
* its branch has the most work that any of them knew when the trouble ended;
* every core's own `_check` held after every event (the world sees to that).

`stale_share` and `forks` are the same miners without any of that but lost datagrams, for numbers.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nonsuch.networks.gossip.messages import Block
from nonsuch.networks.gossip.miner import Miner
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.node import Core
from nonsuch.scenarios.broken import TRACE_LINES, Broken
from nonsuch.scenarios.gossip_cheats import CHEATS, Cheat
from nonsuch.sim.datagrams import Datagrams
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, TORTURE, Conditions
from nonsuch.sim.world import World
from nonsuch.work.target import Target

__all__ = ["Broken", "Story", "forks", "play", "stale_share"]

TROUBLE_SECONDS = 60.0
"""How long things go wrong."""

MENDED_SECONDS = 60.0
"""How long mended miners may take to agree when only one of them mines on."""

TARGET = Target.from_work(400)
HASH_RATE = 60.0
"""Of one honest miner: three of them find a block in some two seconds."""

CHEAT_BLOCK_SECONDS = 5.0

NETWORKS: dict[str, Conditions] = {
    "perfect": PERFECT,
    "lan": LAN,
    "hostile": HOSTILE,
    "torture": TORTURE,
    "half": Conditions(loss=0.5, duplication=0.2, reordering=0.5, delay_seconds_mean=0.05),
}

MEASURED_SECONDS = 600.0
MEASURED_RATE = 400 / 15
"""Hashes a second at which three miners find a block every five seconds, as the homework's do."""

FORK_SECONDS = 30.0
"""How long miners at a given loss mine, before they have `MENDED_SECONDS` to agree."""


class Story(NamedTuple):
    """A seed that ended well."""

    seed: int
    network: str
    cheats: tuple[str, ...]
    height: int
    reorgs: int
    events: int
    seconds: float
    trace_hash: str


def play(seed: int) -> Story:
    """One seed from beginning to end. Raises `Broken`, or what a core's check raises."""
    return _Play(seed).run()


def stale_share(loss: float, seeds: Iterable[int]) -> tuple[float, int]:
    """What part of all blocks ends beside the chain, among three miners, and how many there were.

    `loss` in [0, 1) is how often a datagram is lost. Ten minutes a seed.
    """
    beside = total = 0
    for seed in seeds:
        group = _Group(seed, Conditions(loss=loss), ["a", "b", "c"], MEASURED_RATE)
        group.world.run(MEASURED_SECONDS)
        group.settle()
        blocks = {entry.block.id for name in group.names for entry in group.miner(name).tree}
        total += len(blocks)
        beside += len(blocks) - group.miner("a").tree.height - 1
    return beside / total, total


def forks(loss: float, seeds: Iterable[int]) -> list[int]:
    """The seeds in which three miners do not find to one tip again, once only one of them mines."""
    forked = []
    for seed in seeds:
        group = _Group(seed, Conditions(loss=loss), ["a", "b", "c"], HASH_RATE)
        group.world.run(FORK_SECONDS)
        group.settle()
        if not group.world.run_until(group.agree, MENDED_SECONDS):
            forked.append(seed)
    return forked


class _Group:
    """Honest miners in a world, each a peer of all the rest of them and of `others`."""

    def __init__(
        self,
        seed: int,
        conditions: Conditions,
        names: Sequence[str],
        hash_rate: float,
        others: Sequence[str] = (),
    ) -> None:
        self.world = World(seed, conditions, trace_lines=TRACE_LINES)
        self.names = list(names)
        self._others = list(others)
        lots = self.world.lots
        for number, name in enumerate(names):
            settings = GossipSettings(name=name, target=TARGET, genesis=number == 0)
            self.add(
                name,
                functools.partial(Miner, settings),
                hash_rate * lots.uniform(0.7, 1.3),
            )

    def add(self, name: str, factory: Callable[[], Core], hash_rate: float) -> None:
        """A machine whose clock is off, and a little fast or slow, and that knows all others."""
        lots = self.world.lots
        peers = [each for each in (*self.names, *self._others) if each != name]
        self.world.add(
            name,
            factory,
            hash_rate=hash_rate,
            datagrams=Datagrams(tuple(peers), GossipWire),
            clock_rate=lots.uniform(0.98, 1.02),
            clock_offset_seconds=lots.uniform(-1000, 1000),
        )

    def miner(self, name: str) -> Miner:
        core = self.world.core(name)
        assert isinstance(core, Miner)
        return core

    def tip(self, name: str) -> Block | None:
        tip = self.miner(name).tree.tip
        return None if tip is None else tip.block

    def agree(self) -> bool:
        """Whether all have one tip."""
        tips = {None if (tip := self.tip(name)) is None else tip.id for name in self.names}
        return len(tips) == 1 and None not in tips

    def settle(self) -> None:
        """Only one goes on mining: what is tied remains so until there is another block."""
        for name in self.names[1:]:
            self.world.set_hash_rate(name, 0)
        self.world.set_hash_rate(self.names[0], HASH_RATE)


class _Play:
    """One run of the scenario."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        plan = self._plan = random.Random(f"gossip {seed}")
        self._network = plan.choice(list(NETWORKS))
        self._cheats = tuple(plan.sample(CHEATS, plan.choice([0, 0, 1, 1, 2, 3])))
        names = [f"miner-{number}" for number in range(plan.randint(2, 5))]
        conditions = NETWORKS[self._network]
        self._group = _Group(seed, conditions, names, HASH_RATE, self._cheats)
        self._world = self._group.world
        for kind in self._cheats:
            self._group.add(kind, functools.partial(self._cheat, kind), 0.0)

    def run(self) -> Story:
        """Trouble, then peace, then the reckoning."""
        world, plan, group = self._world, self._plan, self._group
        for _ in range(plan.randint(0, 10)):
            world.at(plan.uniform(0.5, TROUBLE_SECONDS), self._misfortune())
        world.run(TROUBLE_SECONDS)
        self._mend()
        most = max(self._work(name) for name in group.names)
        if not world.run_until(group.agree, MENDED_SECONDS):
            raise self._broken(f"they do not agree: {self._stands()}")
        if min(self._work(name) for name in group.names) < most:
            raise self._broken(f"a branch of more work, {most}, was lost: {self._stands()}")
        reorgs = max(group.miner(name).statistics().reorgs for name in group.names)
        return Story(
            self._seed,
            self._network,
            self._cheats,
            group.miner(group.names[0]).tree.height,
            reorgs,
            world.events,
            world.seconds,
            world.trace_hash,
        )

    def _cheat(self, kind: str) -> Core:
        lots = random.Random(self._world.lots.getrandbits(64))
        return Cheat(kind, TARGET, CHEAT_BLOCK_SECONDS, lots, self._forge)

    def _forge(self) -> None:
        """A spoofer says old things, and garbage, in the name of an honest miner."""
        core = self._world.core("spoofer")
        assert isinstance(core, Cheat)
        lots = self._world.lots
        target, source = lots.choice(self._group.names), lots.choice(self._group.names)
        data = lots.randbytes(40)
        if core.heard and lots.random() < 0.8:
            data = GossipWire().encode(lots.choice(core.heard))
        self._world.send_datagram("spoofer", target, data, source=source)

    # What befalls them.

    def _misfortune(self) -> Callable[[], object]:
        world, plan = self._world, self._plan
        victim = plan.choice(self._group.names)
        others = {name for name in self._group.names if name != victim}
        seconds = plan.uniform(0.1, 15)
        keep_disk = plan.random() < 0.7

        def crash() -> None:
            world.crash(victim)
            world.at(world.seconds + seconds, lambda: self._restart(victim, keep_disk=keep_disk))

        def freeze() -> None:
            world.freeze(victim)
            world.at(world.seconds + seconds, lambda: world.thaw(victim))

        def part() -> None:
            world.partition({victim}, others | set(self._cheats), seconds=seconds)

        def eclipse() -> None:
            world.partition({victim}, others, seconds=seconds)

        def fast() -> None:
            world.set_hash_rate(victim, 5 * HASH_RATE)

        return plan.choice([crash, freeze, part, eclipse, fast])

    def _restart(self, name: str, *, keep_disk: bool) -> None:
        if not self._world.is_up(name):
            self._world.restart(name, keep_disk=keep_disk)

    def _mend(self) -> None:
        world = self._world
        world.heal()
        for kind in self._cheats:
            world.crash(kind)
        for name in self._group.names:
            self._restart(name, keep_disk=True)
            world.thaw(name)
        self._group.settle()

    def _work(self, name: str) -> int:
        tip = self._group.miner(name).tree.tip
        return 0 if tip is None else tip.chainwork

    def _stands(self) -> dict[str, str]:
        return {name: repr(self._group.miner(name).tree.tip) for name in self._group.names}

    def _broken(self, what: str) -> Broken:
        story = "\n".join(self._world.trace())
        return Broken(
            f"{what}\n(network {self._network}, cheats {self._cheats})\n{story}\n"
            f"again with: nonsuch simulate --network gossip --first {self._seed} --seeds 1"
        )
