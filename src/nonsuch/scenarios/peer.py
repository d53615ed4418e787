"""Peers, their clients and some liars through a minute of everything that can go wrong.

A seed draws the network, who dials whom, the machines and their clocks, transactions and a plan of
misfortunes: crashes, frozen processes, pulled cables, partitions. Then all is mended, and what must
hold is checked:

* all honest peers have one tip, and the same transactions wait with each;
* what a client was told is `Accepted` is in the chain or waits, once;
* no honest peer was taken for a liar;
* every core's own `_check` held after every event (the world sees to that).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import NamedTuple

from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import MICROSECONDS, Transaction
from nonsuch.networks.peer.client import Client
from nonsuch.networks.peer.ledger import Ledger
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import Core
from nonsuch.scenarios.broken import TRACE_LINES, Broken
from nonsuch.scenarios.peer_cheats import CHEATS, Cheat
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, Conditions
from nonsuch.sim.world import World
from nonsuch.work.target import Target

__all__ = ["Broken", "Story", "play"]

TROUBLE_SECONDS = 60.0
"""How long things go wrong."""

HEARTBEATS_SECONDS = 11.0
"""Then what is on its way has arrived, and everybody has said where he stands, twice."""

MENDED_SECONDS = 300.0
"""How long mended peers may take to agree; a block takes some seconds."""

ORIGIN_SECONDS = 1_700_000_000.0
"""The Unix time at which a world begins."""

TARGET = Target.from_work(2500)
HASH_RATE = 400.0
LIAR_HASH_RATE = 1000.0
"""As much as most of the honest ones together: what a liar has to say must matter."""

WAITING_MAX = 200

NETWORKS: dict[str, Conditions] = {"perfect": PERFECT, "lan": LAN, "hostile": HOSTILE}

DIGITS = "0123456789"

BLAMELESS = ("silent for", "no hello", "it says", "stopped")
"""Why an honest peer may be let go: it was frozen, or the network was."""


class Story(NamedTuple):
    """A seed that ended well."""

    seed: int
    network: str
    cheats: tuple[str, ...]
    accepted: int
    height: int
    reorgs: int
    events: int
    seconds: float
    trace_hash: str


def play(seed: int) -> Story:
    """One seed from beginning to end. Raises `Broken`, or what a core's check raises."""
    return _Play(seed).run()


class _Play:
    """One run of the scenario."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        plan = self._plan = random.Random(f"peer {seed}")
        self._network = plan.choice(list(NETWORKS))
        self._world = World(seed, NETWORKS[self._network], trace_lines=TRACE_LINES)
        self._cheats = tuple(plan.sample(list(CHEATS), plan.choice([0, 0, 1, 1, 2])))
        self._honest = [f"peer-{number}" for number in range(plan.randint(2, 5))]
        self._clients: dict[str, Transaction] = {}
        self._people()

    def run(self) -> Story:
        """Trouble, then peace, then the reckoning."""
        world, plan = self._world, self._plan
        for _ in range(plan.randint(0, 12)):
            world.at(plan.uniform(0.5, TROUBLE_SECONDS), self._misfortune())
        world.run(TROUBLE_SECONDS)
        self._mend()
        world.run(world.seconds + HEARTBEATS_SECONDS)
        if not world.run_until(self._agree, MENDED_SECONDS):
            raise self._broken(f"they do not agree: {self._stands()}")
        accepted = self._judge()
        reorgs = max(self._ledger(name).reorgs for name in self._honest)
        return Story(
            self._seed,
            self._network,
            self._cheats,
            accepted,
            self._ledger(self._honest[0]).tip.height,
            reorgs,
            world.events,
            world.seconds,
            world.trace_hash,
        )

    # The people.

    def _people(self) -> None:
        plan, world = self._plan, self._world
        everybody = [*self._honest, *self._cheats]
        for number, name in enumerate(self._honest):
            # A chain of them at least, so that all are connected; and some more.
            sure = set(self._honest[:number][-1:])
            extra = {each for each in everybody if each != name and plan.random() < 0.4}
            self._add(name, sorted(sure | extra), self._peer)
            if plan.random() < 0.3:
                world.at(0, functools.partial(world.crash, name))
                world.at(plan.uniform(0, 10), functools.partial(self._restart, name))
        for kind in self._cheats:
            self._add(kind, self._honest, self._cheat)
        for number in range(plan.randint(0, 60)):
            begins = plan.uniform(0, TROUBLE_SECONDS)
            world.at(begins, functools.partial(self._client, f"client-{number}"))

    def _add(
        self, name: str, neighbours: list[str], factory: Callable[[PeerSettings], Core]
    ) -> None:
        lots = self._world.lots
        settings = PeerSettings(
            name=name, neighbours=tuple(neighbours), target=TARGET, waiting_max=WAITING_MAX
        )
        self._world.add(
            name,
            functools.partial(factory, settings),
            hash_rate=LIAR_HASH_RATE if name in self._cheats else HASH_RATE,
            listens=True,
            dials={each: each for each in neighbours},
            clock_rate=lots.uniform(0.98, 1.02),
            clock_offset_seconds=lots.uniform(-1000, 1000),
        )

    def _lots(self) -> random.Random:
        return random.Random(self._world.lots.getrandbits(64))

    def _peer(self, settings: PeerSettings) -> Peer:
        return Peer(settings, self._lots(), ORIGIN_SECONDS)

    def _cheat(self, settings: PeerSettings) -> Core:
        release = self._plan.uniform(5, TROUBLE_SECONDS)
        return Cheat(self._peer(settings), settings.name, self._lots(), release)

    def _client(self, name: str) -> None:
        """Somebody says something to one of the honest peers, and wants to know."""
        plan = self._plan
        sender = "".join(plan.choices("abcXYZ", k=4)) + "".join(plan.choices(DIGITS, k=4))
        timestamp = int((ORIGIN_SECONDS + self._world.seconds) * MICROSECONDS)
        request = messages.SubmitTransaction(sender, f"{name} says hello", timestamp)
        self._clients[name] = Transaction(sender, request.content, timestamp)
        whom = plan.choice(self._honest)
        self._world.add(name, lambda: Client(request, self._lots(), patient=True), dials=whom)

    # What befalls them.

    def _misfortune(self) -> Callable[[], object]:
        world, plan = self._world, self._plan
        victim = plan.choice(self._honest)
        seconds = plan.uniform(0.1, 20)
        others = {name for name in (*self._honest, *self._cheats) if plan.random() < 0.5}

        def crash() -> None:
            world.crash(victim, silent=seconds > 15)
            world.at(world.seconds + seconds, lambda: self._restart(victim))

        def freeze() -> None:
            world.freeze(victim)
            world.at(world.seconds + seconds, lambda: world.thaw(victim))

        def partition() -> None:
            everybody = {*self._honest, *self._cheats, *self._clients}
            side = others | {victim}
            world.partition(side, everybody - side, seconds=seconds, silent=seconds > 5)

        action = plan.choice([crash, freeze, partition])
        return action

    def _restart(self, name: str) -> None:
        if not self._world.is_up(name):
            self._world.restart(name)

    def _mend(self) -> None:
        self._world.heal()
        for name in (*self._honest, *self._cheats):
            self._restart(name)
            self._world.thaw(name)
        if "floods" in self._cheats:
            self._world.crash("floods")

    # What must hold.

    def _ledger(self, name: str) -> Ledger:
        core = self._world.core(name)
        assert isinstance(core, Peer)
        return core.ledger

    def _verdict(self, name: str) -> messages.Verdict | None:
        core = self._world.core(name)
        assert isinstance(core, Client)
        assert core.failure is None, core.failure
        assert core.answer is None or isinstance(core.answer, messages.Verdict)
        return core.answer

    def _agree(self) -> bool:
        ledgers = [self._ledger(name) for name in self._honest]
        first = ledgers[0]
        return (
            all(each.tip.block.id == first.tip.block.id for each in ledgers)
            and all(each.digest == first.digest for each in ledgers)
            and not first.could_mine
            and all(self._verdict(name) is not None for name in self._clients)
        )

    def _stands(self) -> str:
        ledgers = [self._ledger(name) for name in self._honest]
        stands = [(e.tip.height, e.tip.block.id.hex()[:8], len(e.waiting)) for e in ledgers]
        answers = [name for name in self._clients if self._verdict(name) is None]
        return f"{stands}, unanswered: {answers}"

    def _judge(self) -> int:
        ledger = self._ledger(self._honest[0])
        accepted = 0
        for name, transaction in self._clients.items():
            verdict = self._verdict(name)
            assert verdict is not None
            accepted += verdict.accepted
            key = transaction.key
            # That it is in one of them only, and once, is what `Ledger.check` says.
            if verdict.accepted and not (key in ledger.waiting or ledger.is_confirmed(key)):
                raise self._broken(f"{name}'s transaction was accepted, and is lost")
        for told in self._world.facts:
            fact = told.fact
            if (
                isinstance(fact, facts.PeerDropped)
                and told.node in self._honest
                and fact.address in self._honest
                and not fact.reason.startswith(BLAMELESS)
            ):
                raise self._broken(f"{fact.address} is honest, and was dropped: {fact.reason}")
        return accepted

    def _broken(self, what: str) -> Broken:
        story = "\n".join(self._world.trace())
        return Broken(
            f"seed {self._seed}: {what}\n(network {self._network}, cheats {self._cheats})\n{story}"
        )
