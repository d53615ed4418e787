"""What all fleets share: who runs, who is cut off, what is told of it, and recordings.

An action is checked against what is known, done by the fleet's own means (the methods that begin
with `_do`), and told. Actions come one at a time, in the order in which they were asked for.

Whatever is observed, of nodes and of the fleet itself, goes through `observe`: to the feed and its
picture, to whoever else hears, and into a recording where one is made. A recording that begins
late begins with who is there, so that its replay knows them too.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from nonsuch.errors import LocalError
from nonsuch.web import fleet
from nonsuch.web.feed import Feed
from nonsuch.web.fleet import Bystander, UnknownNode
from nonsuch.web.observations import Observation, observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.pictures.sentences import plural
from nonsuch.web.recording import Recorder
from nonsuch.web.rows import About, Role

__all__ = ["Controlled", "Seat", "counted"]

NAMES_SHOWN = 12

Life = Literal["up", "frozen", "dead"]


class Seat(NamedTuple):
    """A node that there is or may be: `address` for people, `rate` in hashes a second if known."""

    name: str
    role: Role
    address: str = ""
    rate: float | None = None


def counted(title: str, nodes: int, noun: str) -> str:
    """What a network is, and how large: `A race: 3 nodes`."""
    return f"{title[0].upper()}{title[1:]}: {plural(nodes, noun)}"


class Controlled(Bystander, ABC):
    """A fleet that does what it is asked to. Used in one event loop.

    `clock` says what time it is for observations. Recordings that nobody named go into `folder`.
    """

    def __init__(
        self,
        about: About,
        clock: Callable[[], float],
        *,
        folder: Path,
        hear: Callable[[Observation], None] | None = None,
    ) -> None:
        super().__init__(about)
        self.feed = Feed(Picture(about), clock=clock)
        self.recordings: list[Path] = []
        self._clock = clock
        self._folder = folder
        self._hear = hear
        self._recorder: Recorder | None = None
        self._acting = asyncio.Lock()
        self._seats: dict[str, Seat] = {}
        self._lives: dict[str, Life] = {}
        self._liars: set[str] = set()
        self._cut: set[str] = set()
        self._loss = 0.0
        self._over = False

    # What there is.

    @property
    def seats(self) -> list[Seat]:
        """All nodes, dead ones too."""
        return list(self._seats.values())

    @property
    def running(self) -> set[str]:
        """Who is up, and not frozen."""
        return {name for name, life in self._lives.items() if life == "up"}

    def observe(self, observation: Observation) -> None:
        """Something was told."""
        if self._over:
            return  # That all ends is nothing that happens in the network.
        self.feed.observe(observation)
        if self._hear is not None:
            self._hear(observation)

    def tell(self, fact: object) -> None:
        """The fleet itself has something to tell."""
        self.observe(observed_fact(fact, "", self._clock()))

    @property
    def remarks(self) -> list[str]:
        """What people should know of what was started, a line each."""
        return []

    # What fleets do each in its own way.

    @abstractmethod
    async def _start(self) -> None:
        """Begin with all nodes that there are to be. Raises `LocalError`."""

    @abstractmethod
    def _title(self, nodes: int) -> str:
        """What there is, for people, if there are so many of those that one can add to."""

    @abstractmethod
    async def run(self) -> None:
        """Whatever goes on, until cancelled."""

    @abstractmethod
    async def _do_begin(self, name: str, *, lies: bool) -> None:
        """A life, the first or another one; an earlier one ends first."""

    @abstractmethod
    async def _do_kill(self, name: str) -> None:
        """End a life at once."""

    @abstractmethod
    def _do_freeze(self, name: str) -> None:
        """Have it stand still."""

    @abstractmethod
    def _do_thaw(self, name: str) -> None:
        """Have it go on."""

    @abstractmethod
    def _do_part(self, alone: set[str]) -> None:
        """Each of these, and no other node, is parted from all the rest."""

    @abstractmethod
    def _do_lose(self, share: float) -> None:
        """Lose this share of messages from now on."""

    @abstractmethod
    async def _new_seat(self, role: Role) -> Seat:
        """Room for one more, which does not live yet."""

    @abstractmethod
    def _how_it_lies(self, name: str) -> str:
        """In a few words; raises `Unsupported`."""

    async def start(self) -> None:
        """Begin with all nodes that there are to be. Raises `LocalError`.

        Whatever is asked of them meanwhile is done afterwards.
        """
        async with self._acting:
            await self._start()

    # Actions.

    async def begin(self, seat: Seat) -> None:
        """A node that was not there before. Raises `LocalError`."""
        self._seats[seat.name] = seat
        await self._begin(seat.name, lies=False, again=False)

    async def _begin(self, name: str, *, lies: bool, again: bool) -> None:
        seat = self._seats[name]
        self.tell(
            fleet.ProcessStarted(
                name, seat.role, seat.address, rate=seat.rate, lies=lies, again=again
            )
        )
        self._lives[name] = "up"
        (self._liars.add if lies else self._liars.discard)(name)
        try:
            await self._do_begin(name, lies=lies)
        except LocalError as error:
            self._ended(name, str(error))
            raise
        self._still_cut(name)

    def _ended(self, name: str, why: str) -> None:
        """A life has ended by itself."""
        self._lives[name] = "dead"
        self.tell(fleet.ProcessEnded(name, why))

    def _still_cut(self, name: str) -> None:
        """Whoever begins or goes on while it is cut off is cut off still."""
        if name in self._cut:
            self.tell(fleet.NodeCut(name))

    async def kill(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            self._living(name)
            self._lives[name] = "dead"
            # First, for the others notice at once.
            self.tell(fleet.ProcessKilled(name))
            await self._do_kill(name)
        return f"{name} was killed."

    async def freeze(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            if self._living(name) == "frozen":
                raise LocalError(f"{name} is frozen already")
            self._do_freeze(name)
            self._lives[name] = "frozen"
            self.tell(fleet.ProcessFrozen(name))
        return f"{name} was frozen."

    async def thaw(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            if self._living(name) != "frozen":
                raise LocalError(f"{name} is not frozen")
            self._do_thaw(name)
            self._lives[name] = "up"
            self.tell(fleet.ProcessThawed(name))
            self._still_cut(name)
        return f"{name} goes on."

    async def restart(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            self._life(name)
            await self._begin(name, lies=False, again=True)
        return f"{name} was started again."

    async def lie(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            self._life(name)
            if name in self._liars:
                raise LocalError(f"{name} lies already; restart it, and it is honest again")
            how = self._how_it_lies(name)
            await self._begin(name, lies=True, again=True)
            self.tell(fleet.LiesTold(name, how))
        return f"{name} was started again, and lies: {how}."

    async def cut(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            self._awake(name)
            if name in self._cut:
                raise LocalError(f"{name} is cut off already")
            self._do_part(self._cut | {name})
            self._cut.add(name)
            self.tell(fleet.NodeCut(name))
        return f"{name} was cut off from all others."

    async def mend(self, name: str) -> str:
        """See `Fleet`."""
        async with self._acting:
            self._life(name)
            if name not in self._cut:
                raise LocalError(f"{name} is not cut off")
            self._awake(name)
            self._do_part(self._cut - {name})
            self._cut.discard(name)
            self.tell(fleet.NodeMended(name))
        return f"{name} can reach the others again."

    async def add(self, role: Role) -> str:
        """See `Fleet`."""
        async with self._acting:
            seat = await self._new_seat(role)
            before = sum(each.role == role for each in self._seats.values())
            self._describe(title=self._title(before + 1))
            await self.begin(seat)
            if self._cut:
                self._do_part(self._cut)
        return f"{seat.name} was started."

    async def lose(self, share: float) -> str:
        """See `Fleet`."""
        if not 0 <= share <= 1:
            raise LocalError("a share lies between 0 and 1")
        async with self._acting:
            self._do_lose(share)
            self._loss = share
            self.tell(fleet.LossSet(share))
        if not share:
            return "No message is lost from now on."
        return f"{share:.0%} of all messages are lost from now on."

    async def heal(self) -> str:
        """See `Fleet`."""
        async with self._acting:
            if self._cut:
                self._do_part(set())
            if self._loss:
                self._do_lose(0.0)
            self._cut, self._loss = set(), 0.0
            self.tell(fleet.Healed())
        return "Every cut was mended, and no message is lost any more."

    def _life(self, name: str) -> Life:
        if name not in self._seats:
            names = list(self._seats)
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            known = ", ".join(names[:NAMES_SHOWN])
            raise UnknownNode(f"there is no node {name[:80]!r}: there are {known}{more}")
        return self._lives[name]

    def _living(self, name: str) -> Life:
        life = self._life(name)
        if life == "dead":
            raise LocalError(f"{name} is not running: restart it first")
        return life

    def _awake(self, name: str) -> None:
        """Whoever is dead or frozen reaches nobody, whatever is done to its links."""
        if self._living(name) == "frozen":
            raise LocalError(f"{name} is frozen: thaw it first")

    # Recordings.

    async def record(self, *, on: bool) -> str:
        """See `Fleet`."""
        if on:
            now = time.strftime("%Y-%m-%d-%H%M%S")
            self.record_to(self._folder / f"nonsuch-{self._about.network}-{now}.recording")
            return f"Everything is recorded from now on, to {self.recordings[-1]}."
        if self._recorder is None:
            raise LocalError("nothing is recorded at the moment")
        return await self._end_recording()

    def record_to(self, path: Path) -> None:
        """Record to this file from now on. Raises `LocalError`."""
        if self._recorder is not None:
            raise LocalError(f"everything is recorded already, to {self._recorder.path}")
        about = self._about
        recorder = Recorder(
            path.absolute(),
            about.network,
            about.title,
            self._clock(),
            virtual=about.virtual,
            failed=self._recording_failed,
        )
        for fact in self._present():
            recorder.add(observed_fact(fact, "", self._clock()))
        self._recorder = self.feed.hears = recorder
        self.recordings.append(recorder.path)
        self._describe(recording=True)

    def _recording_failed(self, text: str) -> None:
        """It cannot go on: so nobody should believe that it does."""
        self._recorder = self.feed.hears = None
        self.tell(fleet.Asked(f"{text[:1].upper()}{text[1:]}. What was written of it can be read."))
        self._describe(recording=False)

    def _present(self) -> Iterator[object]:
        """Facts that say who is there, and how."""
        for seat in self._seats.values():
            lies, life = seat.name in self._liars, self._lives[seat.name]
            yield fleet.ProcessStarted(
                seat.name, seat.role, seat.address, rate=seat.rate, lies=lies
            )
            if seat.name in self._cut:
                yield fleet.NodeCut(seat.name)
            if life == "dead":
                yield fleet.ProcessStopped(seat.name)
            elif life == "frozen":
                yield fleet.ProcessFrozen(seat.name)
        if self._loss:
            yield fleet.LossSet(self._loss)

    async def _end_recording(self) -> str:
        recorder, self._recorder, self.feed.hears = self._recorder, None, None
        assert recorder is not None
        await recorder.close()
        self._describe(recording=False)
        return f"{recorder.observations:,} observations were recorded to {recorder.path}."

    def recording(self) -> Path | None:
        """See `Fleet`."""
        return self.recordings[-1] if self.recordings else None

    def _describe(
        self, *, title: str = "", recording: bool | None = None, speed: float | None = None
    ) -> None:
        about = msgspec.structs.replace(self._about)
        about.title = title or about.title
        about.recording = about.recording if recording is None else recording
        about.speed = about.speed if speed is None else speed
        self._about = about
        self.feed.describe(about)

    async def close(self) -> None:
        """Nothing is left running, and what was recorded is on disk."""
        self._over = True
        if self._recorder is not None:
            await self._end_recording()
