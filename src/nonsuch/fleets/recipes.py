"""How each kind of network is put together of processes: names, ports, and command lines.

Every node is the command that people run, with --json; what it keeps is in the site's folder, so
that it is there again when the node is started again. Targets are chosen by what this machine does,
so that a block comes every few seconds on a laptop as on a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

from nonsuch.errors import LocalError
from nonsuch.fleets import clients, liar
from nonsuch.fleets.controlled import Seat
from nonsuch.fleets.payments import payment
from nonsuch.fleets.site import HOST, Site
from nonsuch.fleets.topology import NEIGHBOURS, neighbours
from nonsuch.live.children import Child
from nonsuch.networks.race import facts as race_facts
from nonsuch.networks.race.messages import ACCEPTED
from nonsuch.web.fleet import Unsupported
from nonsuch.web.observations import Observation, event_name
from nonsuch.web.rows import Network, Role

__all__ = ["RECIPES", "Errands", "Place", "Recipe"]

PYTHON = (sys.executable, "-m")
LIAR = (*PYTHON, "nonsuch.fleets.liar")

BLOCK_SECONDS = 3.0
"""How often miners of gossip find a block, all together."""

PEER_BLOCK_SECONDS = 1.5
"""The same for peers, once five transactions wait."""

ROUND_SECONDS = 2.0
"""The same for agents."""

SHARD_SECONDS = 1.0
"""A pool's shards are shorter than by default: so more is to be seen of them."""

AUDIT_FRACTION = 0.05
"""The same for audits."""

JOB_SECONDS = 20.0
"""How long the first job takes."""

TRANSACTION_SECONDS = 1.0
"""How often peers get one: a block has five."""

RACE_SECONDS = 6.0
"""How soon after a transaction nodes get the next one, unless they still race for it."""

RACE_SECONDS_MAX = 120.0
"""A race that nobody has won by then, for all are dead or cut off, is not waited for."""

WON = event_name(race_facts.RaceWon)

RACE_DIFFICULTY = 3
"""Six zero digits: some seconds of search. The default is over in ten milliseconds."""

RACE_DIFFICULTY_SLOW = 2
RACE_RATE_MIN = 1e6
"""Hashes a second of a node below which six digits are too many."""

SPARE_SEATS = 4
"""Miners of gossip know all others from the beginning; so they know so many who may come later."""

SENDER = "user0001"
"""Who has sent what people type."""


class Place(NamedTuple):
    """A seat and the process that takes it. `lying` is the one that takes it if it is to lie.

    It `calls` these when it begins, so that they should listen by then.
    """

    seat: Seat
    child: Child
    calls: tuple[str, ...] = ()
    lying: Child | None = None
    how: str = ""


class Errands(NamedTuple):
    """What a recipe may use of the fleet: who runs, a task of its own, and somebody who listens.

    `listening` is there when all of these nodes listen, or have ended, or a while has passed.
    """

    running: Callable[[], Collection[str]]
    listening: Callable[[Collection[str]], Awaitable[None]]
    spawn: Callable[[Awaitable[None]], None]
    observe: Callable[[str, object], None]


class Recipe(ABC):
    """A kind of network. `places` are taken in their order, and none before those that it calls.

    Without its `hub` the network is none. `noun` is what people call those that there may be any
    number of, and `doubles` says whether they search for double SHA-256.
    """

    network: Network
    role: Role
    title: str
    noun: str
    hub = ""
    doubles = False

    def __init__(self, site: Site, nodes: int, errands: Errands) -> None:
        self.site = site
        self.nodes = nodes
        self.errands = errands
        self._count = 0

    @abstractmethod
    async def places(self) -> list[Place]:
        """The network as it begins. Raises `LocalError`."""

    async def another(self) -> Place:
        """One more node. Raises `LocalError`."""
        return await self._next()

    @abstractmethod
    async def _next(self) -> Place:
        """The next of those that there may be any number of."""

    async def submit(self, message: str, upto: int) -> str:
        """A job."""
        raise Unsupported(f"{self.title} takes no jobs: a pool does")

    async def transact(self, text: str) -> str:
        """A transaction."""
        raise Unsupported(f"{self.title} takes no transactions: peers do, and the nodes of a race")

    async def traffic(self) -> None:
        """Something to do, where nobody has any."""
        return

    def hear(self, observation: Observation) -> None:
        """A node has told something."""
        return

    @property
    def does(self) -> str:
        """What `traffic` does, in a sentence; nothing where the network needs none."""
        return ""

    def _number(self) -> int:
        self._count += 1
        return self._count

    @property
    def _threads(self) -> tuple[str, ...]:
        return ("--threads", str(self.site.threads))


class PoolRecipe(Recipe):
    """A pool and its miners."""

    network: Network = "pool"
    role: Role = "miner"
    title = "a pool"
    noun = "miner"
    hub = "pool"

    async def places(self) -> list[Place]:
        """The pool is the first."""
        self._port = self.site.port("pool")
        self._total, self._rate = self.site.hash_rates(self.nodes)
        seat = Seat("pool", "pool", f"{HOST}:{self._port}")
        settings = ("--shard-seconds", str(SHARD_SECONDS), "--audit", str(AUDIT_FRACTION))
        journal = ("--journal", str(self.site.file("pool.journal")))
        where = ("pool", "--host", HOST, "--port", str(self._port))
        child = Child("pool", (*where, *journal, *settings, "--verbose", "--json"))
        return [Place(seat, child), *[await self._next() for _ in range(self.nodes)]]

    async def _next(self) -> Place:
        name = f"miner-{self._number()}"
        way = await self.site.way(name, "pool", self._port)
        arguments = ("miner", f"{HOST}:{way}", "--name", name, *self._threads)
        lie = liar.PoolLie(name, HOST, way, self.site.threads, self._rate)
        return Place(
            Seat(name, self.role, rate=self._rate),
            Child(name, (*arguments, "--verbose", "--json")),
            (self.hub,),
            Child(name, liar.arguments(lie), LIAR),
            "it says that it has searched, and has found nothing",
        )

    async def submit(self, message: str, upto: int) -> str:
        """See `Fleet`."""
        if "pool" not in self.errands.running():
            raise LocalError("the pool does not run: restart it, and submit the job then")
        job = clients.job_for(message, upto)
        observe = self.errands.observe
        wait = clients.wait_for_answer(job, HOST, self._port, lambda fact: observe("client", fact))
        self.errands.spawn(wait)
        return f"Job {job.job} was submitted: nonces 0 to {upto:,}."

    async def traffic(self) -> None:
        """One job, where nobody can submit another."""
        if not self.site.control:
            await self._first_job()

    async def _first_job(self) -> None:
        await self.submit("the first job of this pool", int(self._total * JOB_SECONDS))

    @property
    def does(self) -> str:
        """The first job."""
        if self.site.control:
            return ""
        return f"a first job of some {JOB_SECONDS:.0f} s was submitted, so that there is work"


class GossipRecipe(Recipe):
    """Miners that tell each other of blocks. Each knows its peers from the beginning."""

    network: Network = "gossip"
    role: Role = "gossip"
    title = "a gossip network"
    noun = "miner"

    async def places(self) -> list[Place]:
        """Who makes the first block is the first."""
        total, self._rate = self.site.hash_rates(self.nodes)
        self._target = self.site.target(self.network, int(total * BLOCK_SECONDS))
        spare = SPARE_SEATS if self.site.control else 0
        lots = self.site.lots
        links = neighbours(self.nodes, lots)
        for _ in range(spare):
            known = set(lots.sample(range(self.nodes), min(self.nodes, NEIGHBOURS)))
            for each in known:
                links[each].add(len(links))
            links.append(known)
        self._names = [f"node-{number}" for number in range(1, len(links) + 1)]
        self._ports = [self.site.port(name) for name in self._names]
        self._peers: list[list[int]] = [[] for _ in links]
        for one, others in enumerate(links):
            for another in sorted(each for each in others if each > one):
                await self._join(one, another)
        return [await self._next() for _ in range(self.nodes)]

    async def _join(self, one: int, another: int) -> None:
        names, ports = self._names, self._ports
        ways = await self.site.ways(names[one], ports[one], names[another], ports[another])
        self._peers[one].append(ways[0])
        self._peers[another].append(ways[1])

    async def _next(self) -> Place:
        number = self._number() - 1
        if number >= len(self._names):
            self._count -= 1
            raise Unsupported(
                f"all {len(self._names)} seats are taken: miners of gossip know beforehand who may"
                " come. Start with more --nodes"
            )
        name, port, peers = self._names[number], self._ports[number], self._peers[number]
        address = f"{HOST}:{port}"
        first = ("genesis",) if number == 0 else ()
        where = ("gossip", address, ",".join(f"{HOST}:{peer}" for peer in peers), *first)
        target = ("--target", str(self._target.value))
        store = ("--store", str(self.site.file(f"{name}.store")))
        lie = liar.GossipLie(
            name, HOST, port, [(HOST, peer) for peer in peers], str(self._target.value)
        )
        return Place(
            Seat(name, self.role, address, self._rate),
            Child(name, (*where, "--name", name, *target, *store, *self._threads, "--json")),
            lying=Child(name, liar.arguments(lie), LIAR),
            how="it announces blocks that nobody has worked for",
        )


class PeerRecipe(Recipe):
    """Peers, each of which dials some of those before it."""

    network: Network = "peer"
    role: Role = "peer"
    title = "a ledger among peers"
    noun = "peer"

    async def places(self) -> list[Place]:
        """Nobody is special."""
        total, self._rate = self.site.hash_rates(self.nodes)
        self._target = self.site.target(self.network, int(total * PEER_BLOCK_SECONDS))
        self._ports: dict[str, int] = {}
        self._links = neighbours(self.nodes, self.site.lots)
        return [await self._next() for _ in range(self.nodes)]

    async def _next(self) -> Place:
        number = self._number() - 1
        name, port = f"peer-{number + 1}", self.site.port(f"peer-{number + 1}")
        before = list(self._ports.items())
        if number < len(self._links):
            before = [before[each] for each in sorted(self._links[number]) if each < number]
        else:
            before = self.site.lots.sample(before, min(len(before), NEIGHBOURS))
        self._ports[name] = port
        ways = [(other, await self.site.way(name, other, at)) for other, at in before]
        config = self.site.file(f"{name}.conf")
        lines = [str(len(ways)), *(f"{other} {HOST}:{way}" for other, way in ways)]
        await asyncio.to_thread(config.write_text, "\n".join(lines) + "\n", encoding="utf-8")
        settings = ("--target", str(self._target.value), "--network", "dashboard")
        journal = ("--journal", str(self.site.file(f"{name}.journal")))
        where = ("peer", name, str(port), str(config), "--host", HOST)
        return Place(
            Seat(name, self.role, f"{HOST}:{port}", self._rate),
            Child(name, (*where, *settings, *journal, *self._threads, "--json")),
            tuple(other for other, _ in before),
        )

    async def transact(self, text: str) -> str:
        """See `Fleet`."""
        return await self._transact(SENDER, text)

    async def _transact(self, sender: str, text: str) -> str:
        running = sorted(self.errands.running())
        if not running:
            raise LocalError("no peer is running: restart one")
        name = self.site.lots.choice(running)
        try:
            await clients.submit_transaction(sender, text, HOST, self._ports[name])
        except LocalError as error:
            raise LocalError(f"{name} did not take the transaction: {error}") from None
        return f"{name} took the transaction."

    async def traffic(self) -> None:
        """A payment now and then."""
        while True:
            await asyncio.sleep(TRANSACTION_SECONDS)
            sender, text = payment(self.site.lots)
            await _attempt(self._transact(sender, text))

    @property
    def does(self) -> str:
        """Payments."""
        return f"a transaction is sent every {TRANSACTION_SECONDS:.0f} s, so that there is work"


class RaceRecipe(Recipe):
    """Nodes that race for one ledger: a file that they share, or, to be cut off, a keeper's."""

    network: Network = "race"
    role: Role = "race"
    title = "a race"
    noun = "node"

    def __init__(self, site: Site, nodes: int, errands: Errands) -> None:
        super().__init__(site, nodes, errands)
        self._ports: dict[str, int] = {}
        self._won = asyncio.Event()
        self._won.set()  # Nothing is raced for yet.

    async def places(self) -> list[Place]:
        """The keeper, if there is one, is the first."""
        names = [f"Node{number}" for number in range(1, self.nodes + 1)]
        self._ports = {name: self.site.port(name) for name in names}
        self._ledger = ("--ledger", str(self.site.file("ledger.json")))
        _, self._rate = self.site.hash_rates(self.nodes)
        slow = self._rate < RACE_RATE_MIN
        digits = RACE_DIFFICULTY_SLOW if slow else RACE_DIFFICULTY
        self._difficulty = ("--difficulty", str(digits))
        self.hub = "keeper" if self.site.control else ""
        places = [self._keeper()] if self.site.control else []
        return [*places, *[await self._next() for _ in range(self.nodes)]]

    def _keeper(self) -> Place:
        self._keeper_port = self.site.port("keeper")
        where = ("race", "keeper", "--host", HOST, "--port", str(self._keeper_port))
        seat = Seat("keeper", "keeper", f"{HOST}:{self._keeper_port}")
        return Place(seat, Child("keeper", (*where, *self._ledger, *self._difficulty, "--json")))

    async def _next(self) -> Place:
        name = f"Node{self._number()}"
        if name not in self._ports:
            self._ports[name] = self.site.port(name)
        port, ledger = self._ports[name], self._ledger
        if self.site.control:
            way = await self.site.way(name, "keeper", self._keeper_port)
            ledger = ("--keeper", f"{HOST}:{way}")
        journal = ("--journal", str(self.site.file(f"{name}.journal")))
        where = ("race", "node", name, str(port), "--host", HOST)
        return Place(
            Seat(name, self.role, f"{HOST}:{port}", self._rate),
            Child(name, (*where, *ledger, *self._difficulty, *journal, *self._threads, "--json")),
            (self.hub,) if self.hub else (),
        )

    async def transact(self, text: str) -> str:
        """See `Fleet`."""
        running = sorted(self.errands.running() & self._ports.keys())
        if not running:
            raise LocalError("no node is running: restart one")
        self.site.lots.shuffle(running)
        sent = [clients.send_text(text, HOST, self._ports[name]) for name in running]
        replies = await asyncio.gather(*sent, return_exceptions=True)
        took = [name for name, reply in zip(running, replies, strict=True) if _is_accepted(reply)]
        if not took:
            raise LocalError(f"no node took the transaction: {replies[0]}")
        return f"{', '.join(sorted(took))} took the transaction."

    async def traffic(self) -> None:
        """A payment now and then, and none while one is raced for."""
        await self.errands.listening(self._ports)  # Or the first race would have one runner.
        while True:
            await asyncio.gather(asyncio.sleep(RACE_SECONDS), self._race_over())
            self._won.clear()
            if not await _attempt(self.transact(payment(self.site.lots).text)):
                self._won.set()

    async def _race_over(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._won.wait(), RACE_SECONDS_MAX)

    def hear(self, observation: Observation) -> None:
        """See `Recipe`."""
        if observation.fact == WON:
            self._won.set()

    @property
    def does(self) -> str:
        """Payments."""
        return (
            f"a transaction is sent every {RACE_SECONDS:.0f} s, and none while one is raced for,"
            " so that there is work"
        )


class CoordinatorRecipe(Recipe):
    """A coordinator and its agents."""

    network: Network = "coordinator"
    role: Role = "agent"
    title = "a coordinator"
    noun = "agent"
    hub = "coordinator"
    doubles = True

    async def places(self) -> list[Place]:
        """The coordinator is the first."""
        self._port = self.site.port("coordinator")
        total, self._rate = self.site.hash_rates(self.nodes, double=True)
        target = self.site.target(self.network, int(total * ROUND_SECONDS))
        where = ("coordinator", "--host", HOST, "--port", str(self._port))
        journal = ("--journal", str(self.site.file("coordinator.journal")))
        settings = ("--target", str(target.value), *journal)
        seat = Seat("coordinator", "coordinator", f"{HOST}:{self._port}")
        first = Place(seat, Child("coordinator", (*where, *settings, "--json")))
        return [first, *[await self._next() for _ in range(self.nodes)]]

    async def _next(self) -> Place:
        name = f"agent-{self._number()}"
        way = await self.site.way(name, "coordinator", self._port)
        child = Child(name, ("agent", f"{HOST}:{way}", *self._threads, "--json"))
        return Place(Seat(name, self.role, rate=self._rate), child, (self.hub,))


def _is_accepted(reply: str | BaseException) -> bool:
    return reply == ACCEPTED


async def _attempt(action: Awaitable[str]) -> bool:
    """Who does not run, or is cut off, takes nothing: that is no reason to stop."""
    with contextlib.suppress(LocalError):
        await action
        return True
    return False


RECIPES: dict[Network, type[Recipe]] = {
    "pool": PoolRecipe,
    "gossip": GossipRecipe,
    "peer": PeerRecipe,
    "race": RaceRecipe,
    "coordinator": CoordinatorRecipe,
}
