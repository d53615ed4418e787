"""A miner that lies: python docs/scripts/liar.py [SEED]

It searches as any miner of the pool at 127.0.0.1:7270 does, and then keeps half of what it found to
itself, as one that has searched only half of its shard would have to.
"""

from __future__ import annotations

import random
import sys

from nonsuch.live.driver import Node
from nonsuch.live.run import run
from nonsuch.live.tcp import Address
from nonsuch.networks.pool.messages import Hello, Result
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.node import Effect, Event, Send

lots = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else None)


class Liar(Miner):
    """The honest core, and somebody who edits what it sends."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What the honest one would do, but for the results."""
        return [edited(effect) for effect in super().handle(event, now)]


def edited(effect: Effect) -> Effect:
    """The same, with half of the nonces of a result left out."""
    match effect:
        case Send(peer, Result(lease, stop, nonces)):
            kept = tuple(nonce for nonce in nonces if lots.random() < 0.5)
            return Send(peer, Result(lease, stop, kept))
        case _:
            return effect


pool = Address("127.0.0.1", 7270, lambda: PoolWire(accepts_puzzles=True))
miner = Liar(Hello("miner", name="liar", rate=20e6), lots)
run(lambda: Node(miner, dial=pool, threads=1, observe=print))
