"""A network in a simulated world: the same picture and the same actions, in virtual time.

The world runs in slices of a few hundredths of a second, between which everybody who watches is
served. Its time is to go `speed` times as fast as ours. Where this machine cannot do so, it goes as
fast as it can, and the picture says how fast that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nonsuch.errors import LocalError
from nonsuch.fleets.controlled import Controlled, Seat, counted
from nonsuch.fleets.worlds import RATE_MAX, SETTINGS, Setting, slowly
from nonsuch.sim.world import Ranks, Told, World
from nonsuch.web.fleet import ProcessReady, Unsupported
from nonsuch.web.observations import Observation, observed_fact
from nonsuch.web.rows import About, Network, Role

__all__ = ["NODES_MAX", "SPEED_MAX", "SPEED_MIN", "SimulatedFleet"]

NODES_MAX = 1_000
SPEED_MIN = 0.01
SPEED_MAX = 10_000.0

HASHES = 50_000.0
"""What all machines of a world hash in one of our seconds: it is hashed for real, by one thread."""

SLICE_SECONDS = 0.02
"""Of our time: whoever watches waits no longer."""

REST_SECONDS = 0.002
"""Between two slices where the world is behind."""

STEP_SECONDS_MIN = 0.001
"""Of virtual time: the smallest slice."""

BEHIND_SECONDS = 0.5
"""Of our time: a world that is further behind than that does not try to catch up."""

MEASURED_SECONDS = 3.0
"""Of our time: how often to say how fast it goes."""

TRUE_SHARE = 0.9
"""With so much of the speed that was asked for, it goes as fast as it should."""

ADVANCED_SECONDS = 0.5
"""Of virtual time: how often a node hears how far its search is, where there are few of them."""

CHUNK_NONCES = 64
"""Hashed together: in a large world a machine tries some dozens before the next block comes."""

LOSS_MAX = 0.999
"""What the network knows as a probability below 1."""


class _World(World):
    """A world that keeps no trace: nobody asks this one for its hash, and it would take time."""

    def note(self, name: str, what: object) -> None:
        """See `World`."""


class SimulatedFleet(Controlled):
    """A fleet in a world of this seed. `start` it, `run` it, `close` it.

    Raises `LocalError` for more nodes, or another speed, than there can be.
    """

    def __init__(
        self,
        network: Network,
        nodes: int,
        *,
        seed: int,
        speed: float,
        recordings: Path,
        control: bool = False,
        traffic: bool = True,
        hear: Callable[[Observation], None] | None = None,
    ) -> None:
        kind = SETTINGS[network]
        if not SPEED_MIN <= speed <= SPEED_MAX:
            raise LocalError(f"--speed lies between {SPEED_MIN:g} and {SPEED_MAX:g}")
        if not 1 <= nodes <= NODES_MAX:
            raise LocalError(f"a simulation has 1 to {NODES_MAX:,} nodes, not {nodes}")
        about = About(network, virtual=True, speed=speed, control=control)
        self.world = _World(
            seed,
            kind.conditions,
            observe=self._told,
            ranks=Ranks(CHUNK_NONCES),
            checks=False,
            advanced_seconds=slowly(ADVANCED_SECONDS, nodes),
        )
        super().__init__(about, lambda: self.world.seconds, folder=recordings, hear=hear)
        self._seed = seed
        self._speed = speed
        self._traffic = traffic
        hashes = min(nodes * RATE_MAX, HASHES / speed)
        self.setting: Setting = kind(self.world, nodes, hashes)
        self._describe(title=self._title(nodes))
        self._known: set[str] = set()
        self._step = min(1.0, speed * SLICE_SECONDS)

    def _title(self, nodes: int) -> str:
        return f"{counted(self.setting.title, nodes, self.setting.noun)}, seed {self._seed}"

    async def _start(self) -> None:
        for seat in self.setting.seats():
            await self.begin(seat)
        if self._traffic:
            self.setting.traffic()

    async def run(self) -> None:
        """Have time pass, until cancelled."""
        measuring = asyncio.ensure_future(self._measure())
        clock = asyncio.get_running_loop().time
        origin, began = self.world.seconds, clock()
        try:
            while True:
                due = origin + (clock() - began) * self._speed
                if due - self.world.seconds > BEHIND_SECONDS * self._speed:
                    origin, began = self.world.seconds, clock()
                if self.world.seconds < due:
                    self._run_slice(due, clock)
                    await asyncio.sleep(REST_SECONDS)
                else:
                    await asyncio.sleep(SLICE_SECONDS)
        finally:
            measuring.cancel()

    def _run_slice(self, due: float, clock: Callable[[], float]) -> None:
        """Let happen what fits a slice, as the last ones have shown."""
        begin = clock()
        until = min(due, self.world.seconds + self._step)
        self.advance(until)
        took = max(clock() - begin, 1e-6)
        change = min(2.0, max(0.5, SLICE_SECONDS / took))
        self._step = max(STEP_SECONDS_MIN, min(self._step * change, self._speed))

    def advance(self, until: float) -> None:
        """Let happen all that happens up to this virtual time."""
        self.world.run(until)
        self.world.facts.clear()

    async def _measure(self) -> None:
        """Say how fast it really goes, where that is less than it should."""
        clock = asyncio.get_running_loop().time
        while True:
            virtual, real = self.world.seconds, clock()
            await asyncio.sleep(MEASURED_SECONDS)
            speed = (self.world.seconds - virtual) / (clock() - real)
            speed = self._speed if speed > TRUE_SHARE * self._speed else float(f"{speed:.2g}")
            if speed != self._about.speed:
                self._describe(speed=speed)

    def _told(self, told: Told) -> None:
        self.setting.hear(told)
        self.observe(observed_fact(told.fact, self.setting.name_of(told.node), told.seconds))

    # What is done.

    async def _do_begin(self, name: str, *, lies: bool) -> None:
        seat, cheats = self._seats[name], self.setting.cheats
        (cheats.add if lies else cheats.discard)(name)
        if name in self._known:
            self.world.restart(name)
        else:
            self._known.add(name)
            self.setting.add(seat)
        if lies:
            self.tell(ProcessReady(name))  # Liars tell nothing of themselves.

    async def _do_kill(self, name: str) -> None:
        self.world.crash(name)

    def _do_freeze(self, name: str) -> None:
        self.world.freeze(name)

    def _do_thaw(self, name: str) -> None:
        self.world.thaw(name)

    def _do_part(self, alone: set[str]) -> None:
        self.world.heal()
        for name in sorted(alone):
            others = self._seats.keys() - {name}
            self.world.partition({name}, others)

    def _do_lose(self, share: float) -> None:
        if self._about.network != "gossip":
            raise Unsupported(
                f"{self.setting.title} speaks TCP, which repeats what is lost: only gossip, whose"
                " nodes send datagrams, can lose messages"
            )
        network = self.world.network
        network.conditions = replace(network.conditions, loss=min(share, LOSS_MAX))

    def _how_it_lies(self, name: str) -> str:
        if not self.setting.how:
            raise Unsupported(f"nobody in {self.setting.title} has a way to lie")
        if self._seats[name].role != self.setting.role:
            raise Unsupported(f"{name} has no way to lie: a {self.setting.role} has")
        return self.setting.how

    async def _new_seat(self, role: Role) -> Seat:
        if role != self.setting.role:
            raise LocalError(f"{self.setting.title} has no use for one more {role}")
        if len(self._seats) > NODES_MAX:
            raise LocalError(f"there are {NODES_MAX:,} nodes, and more are too many")
        return self.setting.another()

    async def submit(self, message: str, upto: int) -> str:
        """See `Fleet`."""
        return self.setting.submit(message, upto)

    async def transact(self, text: str) -> str:
        """See `Fleet`."""
        return self.setting.transact(text)
