"""How each kind of network is put together in a simulated world: the shipped cores, easy targets.

A world hashes for real, so what its machines do together is bounded by what this one does: their
hash rates are small, and targets are chosen so that things happen as often as they should. Rates
differ from machine to machine, as they do.
"""

from __future__ import annotations

import contextlib
import datetime
import random
from abc import ABC, abstractmethod
from functools import partial

from nonsuch.errors import LocalError
from nonsuch.fleets.clients import job_for
from nonsuch.fleets.controlled import Seat
from nonsuch.fleets.cores import Chastened
from nonsuch.fleets.drawer import Drawer
from nonsuch.fleets.payments import payment
from nonsuch.fleets.topology import NEIGHBOURS, neighbours
from nonsuch.networks.coordinator.agent import Agent
from nonsuch.networks.coordinator.coordinator import Coordinator
from nonsuch.networks.coordinator.settings import AgentSettings, CoordinatorSettings
from nonsuch.networks.gossip import facts
from nonsuch.networks.gossip.miner import Miner as GossipMiner
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.networks.peer.block import MICROSECONDS
from nonsuch.networks.peer.messages import SubmitTransaction
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.messages import Hello, Submit
from nonsuch.networks.pool.miner import Miner as PoolMiner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.race import facts as race_facts
from nonsuch.networks.race.keeper import Keeper
from nonsuch.networks.race.link import KEEPER
from nonsuch.networks.race.messages import End, Fragment
from nonsuch.networks.race.node import RaceNode
from nonsuch.networks.race.settings import KeeperSettings, RaceSettings, race_target
from nonsuch.node import LOCAL, Core, Received
from nonsuch.scenarios import cheats, coordinator_cheats, gossip_cheats, peer_cheats
from nonsuch.scenarios.race import Client as RaceClient
from nonsuch.sim.datagrams import Datagrams
from nonsuch.sim.network import LAN, Conditions
from nonsuch.sim.world import Told, World
from nonsuch.web.fleet import Unsupported
from nonsuch.web.pictures.sentences import plural
from nonsuch.web.rows import Network, Role
from nonsuch.work.target import Target

__all__ = ["RATE_MAX", "SETTINGS", "WAN", "Setting", "slowly"]

WAN = Conditions(delay_seconds_min=0.05, delay_seconds_mean=0.5)
"""Computers of many countries, and slow ones: a block needs seconds to be everywhere.

So one in twenty meets another of its height, and branches are to be seen.
"""

RATE_SPREAD = 0.8
"""Of the logarithm of hash rates: the fastest of a hundred is some forty times the slowest."""

RATE_MAX = 1000.0
"""Hashes a second of a machine of middle speed, in a small and slow world."""

ORIGIN_SECONDS = 1_700_000_000.0
"""The Unix time at which a world begins, for chains whose blocks have dates."""

JOB_SECONDS = 60.0
"""How long a pool's job takes at most, if all goes well."""

JOB_EVERY_SECONDS = 90.0
AUDIT_FRACTION = 0.05
"""What part of all shards is scanned again: more than by default, so that it is seen."""

BLOCK_SECONDS = 30.0
GENESIS_HASTE = 10.0
"""One machine alone would need an hour for the first block: it is so many times all of them."""

PEER_BLOCK_SECONDS = 5.0
TRANSACTION_SECONDS = 2.0
ROUND_SECONDS = 10.0

RACE_DIFFICULTY = 1
RACE_SECONDS = 4.0
"""How long a node searches, in the mean: 256 hashes."""

RACE_EVERY_SECONDS = 6.0
RACE_SECONDS_MAX = 120.0
"""A race that nobody has won by then, for all are dead or cut off, is not waited for."""

RACE_RATE_SPREAD = 0.05
KEEPER_CONNECTIONS_MAX = 2_000
"""Twice as many as there may be nodes: some have lost one and are back with another."""

BUSY_NODES = 20
"""With more nodes, what they say only to show that they are there is said less often."""

CLIENTS_MAX = 16
"""Jobs that are waited for at once."""

CLIENT = "client"


def slowly(seconds: float, nodes: int) -> float:
    """How often to do, in a world of so many nodes, what a few do every so many seconds.

    For what only says that somebody is there.
    """
    return seconds * max(1.0, nodes / BUSY_NODES)


class Setting(ABC):
    """One kind of network in a world. `hashes` a second is what all machines do together.

    `cheats` are those who lie.
    """

    network: Network
    role: Role
    title: str
    noun: str
    conditions = LAN
    how = ""

    def __init__(self, world: World, nodes: int, hashes: float) -> None:
        self.world = world
        self.nodes = nodes
        self.hashes = hashes
        self.cheats: set[str] = set()
        self._scale = 1.0
        self._count = 0

    @abstractmethod
    def seats(self) -> list[Seat]:
        """The network as it begins."""

    @abstractmethod
    def add(self, seat: Seat) -> None:
        """The first life of a node."""

    def another(self) -> Seat:
        """One more node. Raises `LocalError`."""
        return self._seat(self.draw_rate() * self._scale)

    def submit(self, message: str, upto: int) -> str:
        """A job."""
        raise Unsupported(f"{self.title} takes no jobs: a pool does")

    def transact(self, text: str) -> str:
        """A transaction."""
        raise Unsupported(f"{self.title} takes no transactions: peers do")

    def traffic(self) -> None:
        """Plan in the world what there is to do where nobody asks."""
        return

    def name_of(self, node: str) -> str:
        """What people call a node of the world."""
        return node

    def hear(self, told: Told) -> None:
        """A node has told something."""
        return

    def draw_rate(self) -> float:
        """A machine's hash rate."""
        return self.world.lots.lognormvariate(0.0, RATE_SPREAD)

    def _seat(self, rate: float) -> Seat:
        self._count += 1
        return Seat(f"{self._prefix}-{self._count}", self.role, rate=rate)

    @property
    def _prefix(self) -> str:
        return self.role

    def _members(self) -> list[Seat]:
        """The nodes that there are many of, which do `hashes` together."""
        drawn = [self.draw_rate() for _ in range(self.nodes)]
        self._scale = self.hashes / sum(drawn)
        return [self._seat(rate * self._scale) for rate in drawn]

    def _lots(self) -> random.Random:
        return random.Random(self.world.lots.getrandbits(64))


class PoolSetting(Setting):
    """A pool, miners, and a job now and then."""

    network: Network = "pool"
    role: Role = "miner"
    title = "a simulated pool"
    noun = "miner"
    how = "it says that it has searched, and has found nothing"

    def seats(self) -> list[Seat]:
        """The pool is the first."""
        self._clients: list[Submit] = []
        return [Seat("pool", "pool"), *self._members()]

    def add(self, seat: Seat) -> None:
        """See `Setting`."""
        if seat.role == "pool":
            settings = PoolSettings(
                shard_seconds=slowly(2.0, self.nodes),
                lease_seconds=slowly(3.0, self.nodes),
                idle_seconds=slowly(60.0, self.nodes),
                audit_fraction=AUDIT_FRACTION,
            )
            self.world.add("pool", lambda: Pool(settings, self._lots()), listens=True)
            return
        factory = partial(self._miner, seat.name, seat.rate or 0.0)
        self.world.add(seat.name, factory, hash_rate=seat.rate or 0.0, dials="pool")

    def _miner(self, name: str, rate: float) -> Core:
        honest = PoolMiner(Hello("miner", name=name, rate=rate), self._lots())
        if name not in self.cheats:
            return honest
        return Chastened(cheats.Cheat(honest, "sleeps", self._lots()))

    def submit(self, message: str, upto: int) -> str:
        """See `Setting`. A client's machine is used again when its job is over."""
        job = job_for(message, upto)
        for number in range(len(self._clients)):
            name = f"{CLIENT}-{number}"
            if not self.world.is_up(name):
                self._clients[number] = job
                self.world.restart(name, keep_disk=False)
                break
        else:
            if len(self._clients) >= CLIENTS_MAX:
                raise LocalError(f"{CLIENTS_MAX} jobs are waited for: more are too many")
            self._clients.append(job)
            factory = partial(self._client, len(self._clients) - 1)
            self.world.add(f"{CLIENT}-{len(self._clients) - 1}", factory, dials="pool")
        return f"Job {job.job} was submitted: nonces 0 to {upto:,}."

    def _client(self, number: int) -> Core:
        return Client(Hello("client"), self._clients[number], self._lots(), patient=True)

    def traffic(self) -> None:
        """A job, and then another."""
        world = self.world
        text = f"a job of minute {world.seconds / 60:.0f}"
        with contextlib.suppress(LocalError):  # Many wait already.
            self.submit(text, int(self.hashes * JOB_SECONDS * world.lots.uniform(0.5, 1.0)))
        world.at(world.seconds + JOB_EVERY_SECONDS, self.traffic)

    def name_of(self, node: str) -> str:
        """All clients are one."""
        return CLIENT if node.startswith(f"{CLIENT}-") else node


class GossipSetting(Setting):
    """Miners over an ocean, each with a few peers, so that forks happen."""

    network: Network = "gossip"
    role: Role = "gossip"
    title = "a simulated gossip network"
    noun = "miner"
    conditions = WAN
    how = "it announces blocks that nobody has worked for"

    @property
    def _prefix(self) -> str:
        return "node"

    def seats(self) -> list[Seat]:
        """Who makes the first block is the first."""
        self._target = Target.from_work(max(2, int(self.hashes * BLOCK_SECONDS)))
        lots, spare = self.world.lots, max(1, self.nodes // 10)
        links = neighbours(self.nodes, lots)
        for _ in range(spare):
            known = set(lots.sample(range(self.nodes), min(self.nodes, NEIGHBOURS)))
            for each in known:
                links[each].add(len(links))
            links.append(known)
        self._links = [[f"node-{each + 1}" for each in sorted(known)] for known in links]
        return self._members()

    def another(self) -> Seat:
        """See `Setting`."""
        if self._count >= len(self._links):
            raise Unsupported(
                f"all {len(self._links)} seats are taken: miners of gossip know beforehand who may"
                " come. Start with more --nodes"
            )
        return super().another()

    def add(self, seat: Seat) -> None:
        """See `Setting`."""
        number = int(seat.name.removeprefix("node-")) - 1
        settings = GossipSettings(
            name=seat.name,
            target=self._target,
            genesis=number == 0,
            echo_seconds=slowly(1.0, self.nodes),
        )
        peers = Datagrams(tuple(self._links[number]), GossipWire)
        rate = seat.rate or 0.0
        if settings.genesis:
            self._first, rate = seat, GENESIS_HASTE * self.hashes
        self.world.add(seat.name, partial(self._miner, settings), hash_rate=rate, datagrams=peers)

    def hear(self, told: Told) -> None:
        """The first block is there: who has made it is no faster than it was to be any more."""
        if isinstance(told.fact, facts.GenesisSeen) and told.node == self._first.name:
            self.world.set_hash_rate(told.node, self._first.rate or 0.0)

    def _miner(self, settings: GossipSettings) -> Core:
        if settings.name in self.cheats:
            return gossip_cheats.Cheat("lazy", self._target, BLOCK_SECONDS, self._lots())
        return GossipMiner(settings)


class PeerSetting(Setting):
    """Peers, and transactions."""

    network: Network = "peer"
    role: Role = "peer"
    title = "a simulated ledger among peers"
    noun = "peer"
    conditions = WAN
    how = "it offers blocks whose proofs are wrong"

    def seats(self) -> list[Seat]:
        """Nobody is special."""
        self._target = Target.from_work(max(2, int(self.hashes * PEER_BLOCK_SECONDS)))
        self._links = neighbours(self.nodes, self.world.lots)
        return self._members()

    def another(self) -> Seat:
        """See `Setting`."""
        lots = self.world.lots
        self._links.append(set(lots.sample(range(self._count), min(self._count, NEIGHBOURS))))
        return super().another()

    def add(self, seat: Seat) -> None:
        """See `Setting`."""
        number = int(seat.name.removeprefix("peer-")) - 1
        before = [f"peer-{each + 1}" for each in sorted(self._links[number]) if each < number]
        settings = PeerSettings(
            name=seat.name,
            neighbours=tuple(before),
            target=self._target,
            heartbeat_seconds=slowly(5.0, self.nodes),
            silent_seconds=slowly(30.0, self.nodes),
        )
        self.world.add(
            seat.name,
            partial(self._peer, settings),
            hash_rate=seat.rate or 0.0,
            listens=True,
            dials={each: each for each in before},
        )

    def _peer(self, settings: PeerSettings) -> Core:
        honest = Peer(settings, self._lots(), ORIGIN_SECONDS)
        if settings.name not in self.cheats:
            return honest
        return peer_cheats.Cheat(honest, "forges", self._lots(), 0.0)

    def transact(self, text: str) -> str:
        """See `Setting`."""
        return self._transact("user0001", text)

    def _transact(self, sender: str, text: str) -> str:
        world = self.world
        names = (f"peer-{number + 1}" for number in range(self._count))
        up = [name for name in names if world.is_up(name)]
        if not up:
            raise LocalError("no peer is running: restart one")
        name = world.lots.choice(up)
        timestamp = int((ORIGIN_SECONDS + world.seconds) * MICROSECONDS)
        world.deliver(name, Received(LOCAL, SubmitTransaction(sender, text, timestamp)))
        return f"{name} was given the transaction."

    def traffic(self) -> None:
        """A payment now and then."""
        sender, text = payment(self.world.lots)
        with contextlib.suppress(LocalError):
            self._transact(sender, text)
        self.world.at(self.world.seconds + TRANSACTION_SECONDS, self.traffic)


class CoordinatorSetting(Setting):
    """A coordinator and its agents."""

    network: Network = "coordinator"
    role: Role = "agent"
    title = "a simulated coordinator"
    noun = "agent"
    how = "it sends headers back that it has not solved"

    def seats(self) -> list[Seat]:
        """The coordinator is the first."""
        return [Seat("coordinator", "coordinator"), *self._members()]

    def add(self, seat: Seat) -> None:
        """See `Setting`."""
        if seat.role == "coordinator":
            target = Target.from_work(max(2, int(self.hashes * ROUND_SECONDS)))
            settings = CoordinatorSettings(target=target, block_seconds=3 * ROUND_SECONDS)
            factory = partial(self._coordinator, settings)
            self.world.add(seat.name, factory, listens=True)
            return
        agent = partial(self._agent, seat.name)
        self.world.add(seat.name, agent, hash_rate=seat.rate or 0.0, dials="coordinator")

    def _coordinator(self, settings: CoordinatorSettings) -> Core:
        return Coordinator(settings, self._lots(), ORIGIN_SECONDS)

    def _agent(self, name: str) -> Core:
        if name in self.cheats:
            return coordinator_cheats.Cheat("lazy", self._lots())
        return Agent(AgentSettings(), self._lots())


class RaceSetting(Setting):
    """A keeper of a ledger, and nodes that race for it."""

    network: Network = "race"
    role: Role = "race"
    title = "a simulated race"
    noun = "node"

    def __init__(self, world: World, nodes: int, hashes: float) -> None:
        # They all search for one nonce, which is hashed once: so what they may do is not shared.
        each = race_target(RACE_DIFFICULTY).work / RACE_SECONDS
        super().__init__(world, nodes, each * nodes)
        self._texts: dict[str, str] = {}
        self._racing_since: float | None = None

    def seats(self) -> list[Seat]:
        """The keeper is the first."""
        return [Seat(KEEPER, "keeper"), *self._members()]

    def draw_rate(self) -> float:
        """Machines that are nearly alike: else the fastest wins every race."""
        return self.world.lots.lognormvariate(0.0, RACE_RATE_SPREAD)

    def _seat(self, rate: float) -> Seat:
        self._count += 1
        return Seat(f"Node{self._count}", self.role, rate=rate)

    def add(self, seat: Seat) -> None:
        """See `Setting`."""
        if seat.role == "keeper":
            settings = KeeperSettings(
                difficulty=RACE_DIFFICULTY, connections_max=KEEPER_CONNECTIONS_MAX
            )
            drawer = Drawer(self.world, KEEPER)
            self.world.add(KEEPER, lambda: Keeper(settings), listens=True, local=drawer)
            return
        node = RaceSettings(
            name=seat.name, difficulty=RACE_DIFFICULTY, has_keeper=True, zone=datetime.UTC
        )
        self.world.add(
            seat.name,
            lambda: RaceNode(node, self._lots()),  # Its times are the world's, as a picture's.
            hash_rate=seat.rate or 0.0,
            listens=True,
            dials={KEEPER: KEEPER},
        )

    def transact(self, text: str) -> str:
        """See `Setting`. A customer of each node brings it the text."""
        names = [f"Node{number + 1}" for number in range(self._count)]
        up = [name for name in names if self.world.is_up(name)]
        if not up:
            raise LocalError("no node is running: restart one")
        for name in up:
            self._bring(name, text)
        self._racing_since = self.world.seconds
        return f"{plural(len(up), 'node')} {'was' if len(up) == 1 else 'were'} given the text."

    def _bring(self, name: str, text: str) -> None:
        customer, known = f"{CLIENT}-{name}", name in self._texts
        self._texts[name] = text
        if known:
            self.world.restart(customer)
        else:
            factory = partial(self._customer, name)
            self.world.add(customer, factory, dials=name, storage=False)

    def _customer(self, name: str) -> Core:
        text = Fragment(self._texts[name].encode())
        return RaceClient([(0.0, text), (0.0, End())])

    def hear(self, told: Told) -> None:
        """Somebody has won: the next race may begin."""
        if isinstance(told.fact, race_facts.RaceWon):
            self._racing_since = None

    def traffic(self) -> None:
        """A payment now and then, and none while one is raced for."""
        world, since = self.world, self._racing_since
        if since is None or world.seconds > since + RACE_SECONDS_MAX:
            with contextlib.suppress(LocalError):
                self.transact(payment(world.lots).text)
        world.at(world.seconds + RACE_EVERY_SECONDS, self.traffic)

    def name_of(self, node: str) -> str:
        """All customers are one."""
        return CLIENT if node.startswith(f"{CLIENT}-") else node


SETTINGS: dict[Network, type[Setting]] = {
    "pool": PoolSetting,
    "gossip": GossipSetting,
    "peer": PeerSetting,
    "race": RaceSetting,
    "coordinator": CoordinatorSetting,
}
