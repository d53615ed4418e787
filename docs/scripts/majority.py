"""Who has more processors than all others together: python docs/scripts/majority.py [TIMES]

Three honest miners and Mallory, who pulls her cable, mines for ten minutes by herself, and plugs it
in again. The clocks are virtual, the miners are those of `nonsuch gossip`.
"""

from __future__ import annotations

import sys
from functools import partial

from nonsuch import Target
from nonsuch.networks.gossip.facts import GenesisSeen, Reorganised
from nonsuch.networks.gossip.miner import Miner
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.sim.datagrams import Datagrams
from nonsuch.sim.world import World

HONEST = ["alice", "bob", "carol"]
NAMES = [*HONEST, "mallory"]
TARGET = Target.from_work(100)
RATE = 10.0  # hashes a second of all four together: a block in ten seconds
TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def lost(percent: int, seed: int) -> int:
    """How many blocks leave alice's chain when Mallory, with this part of all, comes back."""
    world = World(seed)
    for name in NAMES:
        part = percent if name == "mallory" else (100 - percent) / len(HONEST)
        settings = GossipSettings(
            name=name,
            target=TARGET,
            genesis=name == "alice",
            genesis_data=b"%d %d" % (percent, seed),  # other blocks, other luck
            echo_seconds=5.0,
        )
        peers = Datagrams(tuple(each for each in NAMES if each != name), GossipWire)
        rate = RATE * part / 100
        world.add(name, partial(Miner, settings), hash_rate=rate, datagrams=peers)

    def all_know_the_genesis() -> bool:
        return sum(isinstance(each.fact, GenesisSeen) for each in world.facts) == len(NAMES)

    world.run_until(all_know_the_genesis, 10_000)
    world.partition({"mallory"}, set(HONEST), seconds=600)
    back = world.seconds + 600
    world.run(back + 60)
    told = [each.fact for each in world.facts if each.node == "alice" and each.seconds >= back]
    return max((fact.left for fact in told if isinstance(fact, Reorganised)), default=0)


for percent in (10, 30, 45, 50, 55, 70):
    depths = [lost(percent, seed) for seed in range(TIMES)]
    won = [depth for depth in depths if depth > 2]  # two is what bad luck does anyway
    print(
        f"Mallory has {percent} %: {len(won)} times of {TIMES} history is hers,"
        f" {max(depths)} blocks deep"
    )
