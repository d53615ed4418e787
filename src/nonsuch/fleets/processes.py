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
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Literal

from nonsuch.errors import LocalError
from nonsuch.fleets.controlled import Controlled, Seat, counted
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

LISTENING_SECONDS = 10.0
"""How long one waits for those whom it will call; then it finds out for itself."""

END_SECONDS = 1.2
"""How long nodes may take to end: whoever has pressed Ctrl-C waits for all of them.

A node that is killed then loses nothing, as none does by `kill -9`.
"""

LISTENING = "listening"
"""What a node tells when others can come; the address there is its own."""

COMPLAINT = "nonsuch: "
"""What the line begins with in which a command says why it cannot."""

WORDS_MAX = 200
"""Characters of what a node has said last."""

_NAMED = ("address", "agent", "peer", "why")
"""Fields that hold the address of another node, or words with one among them."""


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
        errands = Errands(lambda: self.running, self._wait_for, self._spawn, self._observe_fact)
        self.recipe = RECIPES[network](site, nodes, errands)
        self._describe(title=self._title(nodes))
        self._places: dict[str, Place] = {}
        self._children = Children(self._hear_line, self._died, end_seconds=END_SECONDS)
        self._last_words: dict[str, str] = {}
        self._listening: dict[str, asyncio.Event] = {}
        self._begun: set[str] = set()
        self._stillborn: dict[str, str] = {}
        self._failed = asyncio.Event()

    def _title(self, nodes: int) -> str:
        return f"{counted(self.recipe.title, nodes, self.recipe.noun)} on this machine"

    async def _start(self) -> None:
        """Raises `LocalError` also where one that all others need cannot."""
        # The first time on a machine this is measured; who wants to stop is heard meanwhile.
        await asyncio.to_thread(hash_rate, double=self.recipe.doubles)
        places = await self.recipe.places()
        self._places = {place.seat.name: place for place in places}
        self._listening = {name: asyncio.Event() for name in self._places}
        for place in places:
            await self._wait_for(place.calls)
            if self._failed.is_set():
                raise self._failure()
            await self.begin(place.seat)

    async def _wait_for(self, names: Iterable[str]) -> None:
        """Until these listen, or have ended, or a while has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTENING_SECONDS):
                for name in self._listening.keys() & set(names):
                    await self._listening[name].wait()

    async def run(self) -> None:
        """See that there is something to do, until cancelled.

        Raises `LocalError` where nodes have ended before they had begun, so that there is nothing.
        """
        tasks = [asyncio.ensure_future(each) for each in (self._work(), self._failed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.is_set():
                raise self._failure()
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()

    async def _work(self) -> Literal[True]:
        if self._traffic:
            await self.recipe.traffic()
        return await asyncio.Event().wait()

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
        else:
            self._has_told(name, observation)
        self.observe(observation)
        self.recipe.hear(observation)

    def _has_told(self, name: str, observation: Observation) -> None:
        listens = observation.fact == LISTENING
        if listens:
            self._site.open(name)
            self._waited_for(name)
        else:
            self._name_addresses(observation.values)
        if listens or name != self.recipe.hub:
            self._begun.add(name)

    def _waited_for(self, name: str) -> None:
        """It listens, or never will: whoever waits for it need not any more."""
        if name in self._listening:
            self._listening[name].set()

    def _name_addresses(self, values: dict[str, object]) -> None:
        for field in _NAMED:
            text = values.get(field)
            if isinstance(text, str):
                values[field] = self._site.with_names(text)

    def _observe_fact(self, name: str, fact: object) -> None:
        self.observe(observed_fact(fact, name, time.time()))

    def _died(self, name: str, status: int) -> None:
        self._site.shut(name)
        self._waited_for(name)
        if self._lives[name] == "dead":
            return
        words, text = self._last_words.pop(name, ""), _status_text(status)
        self._ended(name, f"{text} ({words[:WORDS_MAX]})" if words else text)
        if name not in self._begun:
            self._stillborn[name] = words[:WORDS_MAX].removeprefix(COMPLAINT) or text
            if self._is_hopeless():
                self._failed.set()

    def _is_hopeless(self) -> bool:
        """Whether nothing can come of this network: its hub has never begun, or nobody else has."""
        hub = self.recipe.hub
        return hub in self._stillborn or self._stillborn.keys() >= self._places.keys() - {hub}

    def _failure(self) -> LocalError:
        hub = self.recipe.hub
        if hub in self._stillborn:
            return LocalError(f"{hub} cannot start: {self._stillborn[hub]}")
        name, why = next(iter(self._stillborn.items()))
        return LocalError(f"no {self.recipe.noun} can start; {name}: {why}")

    # What is done.

    async def _do_begin(self, name: str, *, lies: bool) -> None:
        place = self._places[name]
        self._site.shut(name)
        if name in self._children.running:
            await self._children.stop(name)
        self._last_words.pop(name, None)
        self._stillborn.pop(name, None)
        child = place.lying if lies else place.child
        assert child is not None, "asked before"
        await self._children.start(child)

    async def _do_kill(self, name: str) -> None:
        await self._children.kill(name)
        self._site.shut(name)

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
