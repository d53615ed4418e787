"""Who has more processors than all others together: python docs/scripts/majority.py

Three honest miners and Mallory, who pulls her cable, mines for ten minutes by herself, and plugs it
in again. The clocks are virtual, the miners are those of `nonsuch gossip`.
"""

from __future__ import annotations

from functools import partial

from nonsuch import Target
from nonsuch.networks.gossip.facts import Reorganised
from nonsuch.networks.gossip.miner import Miner
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.sim.datagrams import Datagrams
from nonsuch.sim.world import World

HONEST = ["alice", "bob", "carol"]
NAMES = [*HONEST, "mallory"]
TARGET = Target.from_work(100)
RATE = 10.0  # hashes a second of all four together: a block in ten seconds

for percent in (10, 30, 45, 55, 70):
    world = World(seed=percent)
    for name in NAMES:
        part = percent / 100 if name == "mallory" else (1 - percent / 100) / len(HONEST)
        settings = GossipSettings(name=name, target=TARGET, genesis=name == "alice")
        peers = Datagrams(tuple(each for each in NAMES if each != name), GossipWire)
        world.add(name, partial(Miner, settings), hash_rate=RATE * part, datagrams=peers)
    world.run(60)
    world.partition({"mallory"}, set(HONEST), seconds=600)
    world.run(720)
    reorgs = [
        (each.node, each.fact)
        for each in world.facts
        if each.seconds > 660 and isinstance(each.fact, Reorganised)
    ]
    name, fact = max(reorgs, key=lambda each: each[1].left)
    print(f"Mallory has {percent} %: {name} gives up {fact.left} blocks for {fact.joined} others")
