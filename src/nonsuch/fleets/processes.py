"""A network of real processes on this machine: real sockets, real disks, real signals.

Each node is a child that runs the very command that people run. What it writes is observed line by
line, and whatever it keeps lies in the network's folder, so that a node that was killed goes on
where it was. Nodes call each other by ports; where those are relays', people read names instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from nonsuch.errors import LocalError
from nonsuch.fleets.controlled import Controlled, Seat
from nonsuch.fleets.recipes import RECIPES, Errands, Place
from nonsuch.fleets.site import Site, hash_rate
from nonsuch.live.children import Children
from nonsuch.web.fleet import Unsupported
from nonsuch.web.observations import LINE, Observation, observed_fact, observed_line
from nonsuch.web.rows import About, Network, Role

__all__ = ["NODES_MAX", "ProcessFleet"]

NODES_MAX = 64
"""Each is a process of some fifty megabytes."""

TASKS_MAX = 100
"""Jobs that are waited for at once: as many as a pool takes of one client."""

HUB_SECONDS = 10.0
"""How long the others wait for the one that they will call; then they find out for themselves."""

LISTENING = "listening"
"""What a node tells when others can come; the address there is its own."""

_NAMED = ("address", "peer")
"""Fields that hold the address of another node."""


class ProcessFleet(Controlled):
    """A fleet of processes. `start` it, `run` it, `close` it.

    Recordings that nobody named go into `recordings`. With `traffic` nodes that would have nothing
    to do get something.
    """

    def __init__(
        self,
        network: Network,
        nodes: int,
        site: Site,
        *,
        recordings: Path,
        traffic: bool = True,
        hear: Callable[[Observation], None] | None = None,
    ) -> None:
        about = About(network, control=site.control, started=time.time())
        super().__init__(about, time.time, folder=recordings, hear=hear)
        self._site = site
        self._traffic = traffic
        self._tasks: set[asyncio.Future[None]] = set()
        errands = Errands(lambda: self.running, self._spawn, self._observe_fact)
        self.recipe = RECIPES[network](site, nodes, errands)
        self._describe(title=self.recipe.shape)
        self._places: dict[str, Place] = {}
        self._children = Children(self._hear_line, self._died)
        self._last_words: dict[str, str] = {}
        self._heard: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        """Start every node. Raises `LocalError`."""
        # The first time on a machine this is measured; who wants to stop is heard meanwhile.
        await asyncio.to_thread(hash_rate, double=self.recipe.doubles)
        for place in await self.recipe.places():
            name = place.seat.name
            self._places[name] = place
            heard = self._heard[name] = asyncio.Event()
            await self.begin(place.seat)
            if name == self.recipe.hub:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), HUB_SECONDS)
        self._heard.clear()

    async def run(self) -> None:
        """See that there is something to do, until cancelled."""
        if self._traffic:
            await self.recipe.traffic()
        await asyncio.Event().wait()

    @property
    def remarks(self) -> list[str]:
        """See `Controlled`."""
        taken = [f"port {port} is taken: the next is used" for port in self._site.moved]
        return [*taken, *([self.recipe.does] if self._traffic and self.recipe.does else [])]

    @property
    def processes(self) -> dict[str, int]:
        """Process numbers by name."""
        return self._children.running

    async def close(self) -> None:
        """End every process, and then all else."""
        self._over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._children.close()
        await self._site.close()
        await super().close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        if len(self._tasks) >= TASKS_MAX:
            task.cancel()
            raise LocalError(f"{TASKS_MAX} jobs are waited for: more are too many")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What they say.

    def _hear_line(self, name: str, line: str) -> None:
        observation = observed_line(line, name, time.time())
        if observation.fact == LINE:
            self._last_words[name] = line
        elif observation.fact == LISTENING:
            self._is_there(name)
        else:
            self._name_addresses(observation.values)
        self.observe(observation)

    def _is_there(self, name: str) -> None:
        if name in self._heard:
            self._heard[name].set()

    def _name_addresses(self, values: dict[str, object]) -> None:
        for field in _NAMED:
            address = values.get(field)
            if isinstance(address, str) and address in self._site.names:
                values[field] = self._site.names[address]

    def _observe_fact(self, name: str, fact: object) -> None:
        self.observe(observed_fact(fact, name, time.time()))

    def _died(self, name: str, status: int) -> None:
        self._is_there(name)  # It will not be, and whoever waits for it need not.
        if self._lives[name] != "dead":
            words = self._last_words.pop(name, "")
            self._ended(name, f"{_status_text(status)}{f' ({words[:200]})' if words else ''}")

    # What is done.

    async def _do_begin(self, name: str, *, lies: bool) -> None:
        place = self._places[name]
        if name in self._children.running:
            await self._children.stop(name)
        self._last_words.pop(name, None)
        child = place.lying if lies else place.child
        assert child is not None, "asked before"
        await self._children.start(child)

    async def _do_kill(self, name: str) -> None:
        await self._children.kill(name)

    def _do_freeze(self, name: str) -> None:
        self._children.freeze(name)

    def _do_thaw(self, name: str) -> None:
        self._children.thaw(name)

    def _do_part(self, alone: set[str]) -> None:
        if not self._site.part(alone):
            raise Unsupported("these nodes reach each other directly: start with --control")

    def _do_lose(self, share: float) -> None:
        relays = self._site.relays
        if relays is None or self._about.network != "gossip":
            raise Unsupported(
                f"{self.recipe.title} speaks TCP, which repeats what is lost: only gossip, whose"
                " nodes send datagrams, can lose messages"
            )
        relays.loss = share

    def _how_it_lies(self, name: str) -> str:
        place = self._places[name]
        if place.lying is None:
            raise Unsupported(f"{name} has no way to lie: only miners of a pool or of gossip have")
        return place.how

    async def _new_seat(self, role: Role) -> Seat:
        if role != self.recipe.role:
            raise LocalError(f"{self.recipe.title} has no use for one more {role}")
        if len(self._places) > NODES_MAX:
            raise LocalError(f"there are {NODES_MAX} nodes, and more are too many for one machine")
        place = await self.recipe.another()
        self._places[place.seat.name] = place
        return place.seat

    async def submit(self, message: str, upto: int) -> str:
        """See `Fleet`."""
        return await self.recipe.submit(message, upto)

    async def transact(self, text: str) -> str:
        """See `Fleet`."""
        return await self.recipe.transact(text)


def _status_text(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
