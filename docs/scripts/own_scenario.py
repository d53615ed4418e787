"""A scenario of your own: python docs/scripts/own_scenario.py

A pool with five miners on a bad network. One of them is frozen for a while, the pool is killed and
loses nothing but time, and two miners are cut off. The answer must be that of a plain search.
"""

from __future__ import annotations

import random
from functools import partial

import nonsuch
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.facts import LeaseLost
from nonsuch.networks.pool.messages import Hello, PuzzleForm, Submit
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.sim.network import HOSTILE
from nonsuch.sim.world import World

LAST = 20_000
MINERS = [f"miner-{number}" for number in range(5)]


def play(seed: int) -> str:
    """One seed: what became of it, in a line. Raises `AssertionError` where the answer is wrong."""
    world = World(seed, HOSTILE)

    def lots() -> random.Random:
        return random.Random(world.lots.getrandbits(64))

    # Who is there. A factory makes the core of each life, so a restart begins with a new one.
    puzzle = nonsuch.presets.plain(b"hello")
    submit = Submit("my-job", PuzzleForm.of(puzzle), 0, LAST)

    def miner(name: str) -> Miner:
        return Miner(Hello("miner", name=name), lots())

    world.add("pool", lambda: Pool(PoolSettings(), lots()), listens=True, hash_rate=500)
    for name in MINERS:
        world.add(name, partial(miner, name), dials="pool", hash_rate=100)
    world.add("client", lambda: Client(Hello("client"), submit, lots(), patient=True), dials="pool")

    # What befalls them, at which second.
    world.at(5, lambda: world.freeze("miner-0"))
    world.at(25, lambda: world.thaw("miner-0"))
    world.at(10, lambda: world.crash("pool"))
    world.at(12, lambda: world.restart("pool"))
    world.at(20, lambda: world.partition({"miner-1", "miner-2"}, {"pool"}, seconds=10))

    # Until the client has its answer, or ten minutes are over.
    def answered() -> bool:
        client = world.core("client")
        return isinstance(client, Client) and client.answer is not None

    assert world.run_until(answered, 600), "no answer in ten minutes"
    client = world.core("client")
    assert isinstance(client, Client)
    assert client.answer
    assert client.answer.nonce == nonsuch.solve("hello", LAST).nonce
    lost = sum(isinstance(told.fact, LeaseLost) for told in world.facts)
    return (
        f"seed {seed}: nonce {client.answer.nonce} after {world.seconds:.1f} virtual seconds,"
        f" {lost} leases lost, {world.events} events, {world.trace_hash[:8]}"
    )


for seed in range(5):
    print(play(seed))
