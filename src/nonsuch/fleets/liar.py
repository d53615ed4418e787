"""A miner that lies, as a process: `python -m nonsuch.fleets.liar ORDER`.

The same cores that the simulator's scenarios have, on real sockets: an honest miner of a pool whose
results are edited, or a miner of gossip that announces blocks without work. What it tells is what
the honest one would: JSON, one fact a line.
"""

from __future__ import annotations

import datetime
import random
import secrets
import sys

import msgspec

from nonsuch.fleets.cores import Chastened
from nonsuch.live.driver import Node
from nonsuch.live.run import run
from nonsuch.live.tcp import Address
from nonsuch.live.udp import Datagrams
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.networks.pool.messages import Hello
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.scenarios import cheats, gossip_cheats
from nonsuch.web.fleet import ProcessReady
from nonsuch.web.observations import event_name, values_of
from nonsuch.work.target import Target

__all__ = ["GossipLie", "Order", "PoolLie", "arguments", "main"]

POOL_KIND = "sleeps"
"""Searches nothing and says that there was nothing: the law of shares finds it out."""

GOSSIP_KIND = "lazy"
"""Blocks without work, as fast as it can."""


class PoolLie(msgspec.Struct, frozen=True, tag="pool"):
    """A miner of the pool at this address, of so many threads and hashes a second."""

    name: str
    host: str
    port: int
    threads: int
    rate: float


class GossipLie(msgspec.Struct, frozen=True, tag="gossip"):
    """A miner of gossip on this port, with peers and the network's target."""

    name: str
    host: str
    port: int
    peers: list[tuple[str, int]]
    target: str


Order = PoolLie | GossipLie


def arguments(order: Order) -> tuple[str, ...]:
    """What the process is given."""
    return (msgspec.json.encode(order).decode(),)


def main(order: Order) -> None:
    """Lie, until a signal comes."""
    run(lambda: _node(order))


def _node(order: Order) -> Node:
    lots = random.Random(secrets.randbits(64))
    if isinstance(order, GossipLie):
        target = Target(int(order.target))
        # The time between blocks is for other kinds: a lazy one does not mine.
        core = gossip_cheats.Cheat(GOSSIP_KIND, target, 1.0, lots)
        peers = Datagrams(order.host, order.port, tuple(order.peers), GossipWire)
        name = order.name
        return Node(core, datagrams=peers, ready=lambda _node: _tell(ProcessReady(name)))
    hello = Hello("miner", name=order.name, threads=order.threads, rate=order.rate)
    dial = Address(order.host, order.port, lambda: PoolWire(accepts_puzzles=True))
    honest = Miner(hello, lots)
    lying = Chastened(cheats.Cheat(honest, POOL_KIND, lots))
    return Node(lying, dial=dial, threads=order.threads, observe=_tell)


def _tell(fact: object) -> None:
    """As `--json` does."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    line = {"event": event_name(type(fact)), "timestamp": now, **values_of(fact)}
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
