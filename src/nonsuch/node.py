"""Event, Effect, Core: the page that every network, driver and simulator speaks.

A node is a *core*: a plain object. Everything that happens to it is an event, everything that it
wants done is an effect, and time is an argument:

    effects = core.handle(event, now)       decide, at once, without input or output
    wake = core.deadline()                  when to hand it a `Tick` if nothing else happens

A *driver* gives it the events and carries out the effects: with sockets, threads and a disk
(`nonsuch.live`), or with a heap of virtual time (`nonsuch.sim`). The same core runs under both.

**Rules for drivers.** Events are handed over one at a time. The effects of one event are carried
out in order, and before those of a later event, with two exceptions: a `Search` takes its time and
ends in an event of its own, and so does a `Dial`. After a `Persist`, no later effect is carried out
until its record is on disk; events may be handled meanwhile. A `Tick` comes at the deadline or
after it, never twice for one deadline unless the core asks again; a late or spurious one is
harmless. `now` is monotonic seconds and never falls.

**Rules for cores.** No clock, socket, thread or disk, and no surprise: an event that makes no sense
in the present state is ignored. A peer is known by a number that the driver gives; numbers are
never used twice in the life of a core.

**Peers.** Connections are numbered upwards from 1. A node that is given datagram peers hears that
they are `Connected`, numbered from 1 in the order in which it was given them, and connections are
numbered behind them. Datagram peers never disconnect, and `Close` does nothing to them: a datagram
that is no message is `Erred`, and the next one is read. Datagrams may be lost, come twice, or
overtake each other; those of everybody else come from `STRANGER`. `LOCAL` is the node's own user.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from nonsuch.work.goals import Goal
from nonsuch.work.puzzle import Puzzle

__all__ = [
    "DATAGRAM_BYTES_MAX",
    "LOCAL",
    "STRANGER",
    "Advanced",
    "Backoff",
    "Cancel",
    "Capacity",
    "Clock",
    "Close",
    "Connected",
    "Core",
    "Dial",
    "Disconnected",
    "Effect",
    "Emit",
    "Erred",
    "Event",
    "Finish",
    "HalfClosable",
    "Persist",
    "Received",
    "Search",
    "Searched",
    "Send",
    "Started",
    "Stopping",
    "Tick",
    "Wire",
]

LOCAL = 0
"""The peer number of the node's own user.

Whoever owns the driver may hand the core what the user says, as `Received(LOCAL, message)`; what
the core sends there is for the user, and dropped where nobody asked for it.
"""

STRANGER = -1
"""Who sends datagrams and is no configured peer. Nothing is sent there: sources can be forged."""

DATAGRAM_BYTES_MAX = 65_507
"""What fits a packet of IPv4, behind its header and that of UDP (RFC 791, RFC 768)."""


# What happens to a core.


class Started(msgspec.Struct, frozen=True):
    """The first event. `records` are those persisted in an earlier life, in their order."""

    records: tuple[object, ...] = ()


class Connected(msgspec.Struct, frozen=True):
    """A connection stands; `wire` names the protocol spoken on it.

    `dialled` is the address of the `Dial` that it comes of, None where the other end has dialled.
    """

    peer: int
    address: str
    wire: str = ""
    dialled: str | None = None


class Received(msgspec.Struct, frozen=True):
    """A peer's message, decoded by its wire and not yet believed."""

    peer: int
    message: object


class Erred(msgspec.Struct, frozen=True):
    """A peer sent what is no message, or one that its wire refused, at this cost."""

    peer: int
    cost: int
    reason: str


class Disconnected(msgspec.Struct, frozen=True):
    """A connection has ended, or the dial of `address` has failed: then `peer` is 0."""

    peer: int
    why: str
    address: str = ""


class Searched(msgspec.Struct, frozen=True):
    """A search has ended: all from its start up to `stop` was searched, and gave these nonces.

    `First` and `Lowest` give one nonce or none, `Shares` all that its limit admits, ascending, and
    last the one that ended the search. A search that was cancelled ends without an event.
    """

    task: int
    stop: int
    nonces: tuple[int, ...]


class Advanced(msgspec.Struct, frozen=True):
    """A search that goes on has tried so many nonces."""

    task: int
    hashes: int


class Tick(msgspec.Struct, frozen=True):
    """The time of the core's deadline has come."""


class Clock(msgspec.Struct, frozen=True):
    """What time it is, Unix seconds: no event, but what `LOCAL` says to cores that write it down.

    A driver's own clock stands still while its machine sleeps, and does not hear of corrections.
    """

    unix: float


class Capacity(msgspec.Struct, frozen=True):
    """How many searches go on at once, on how many workers: no event, but what `LOCAL` says.

    A core that is never told has one slot. `slots` is 0 while no worker is there; `workers` is 0
    where the searches run in the node's own process.
    """

    slots: int
    workers: int = 0


class Stopping(msgspec.Struct, frozen=True):
    """The node is about to be stopped: its last chance to say goodbye."""


Event = (
    Started | Connected | Received | Erred | Disconnected | Searched | Advanced | Tick | Stopping
)


# What a core wants done.


class Send(msgspec.Struct, frozen=True):
    """Give a peer a message. Dropped, without an error, where the peer is gone.

    A datagram is dropped as well where the system has no room for it.
    """

    peer: int
    message: object


class Close(msgspec.Struct, frozen=True):
    """Hang up, once what was sent is on its way. `Disconnected` still follows."""

    peer: int
    why: str


class Dial(msgspec.Struct, frozen=True):
    """Connect to one that the driver was told of; ends in Connected or Disconnected.

    A driver that was told of one only knows it as "". While an address is dialled, to dial it again
    does nothing.
    """

    address: str = ""


class Search(msgspec.Struct, frozen=True):
    """Search these nonces. `task` is a number that the core has not used before."""

    task: int
    puzzle: Puzzle
    nonces: range
    goal: Goal


class Cancel(msgspec.Struct, frozen=True):
    """Stop a search; nothing more is heard of it."""

    task: int


class Persist(msgspec.Struct, frozen=True):
    """Have a record on disk before any later effect is carried out.

    Records of one `subject` belong together: with `replaces`, this one takes the place of all
    earlier ones of its subject. A record of None only removes them.
    """

    subject: str
    record: object
    replaces: bool = False


class Emit(msgspec.Struct, frozen=True):
    """A typed fact for people: log lines, metrics and displays are all made of these."""

    fact: object


class Finish(msgspec.Struct, frozen=True):
    """The core has done all it was made for; the driver stops."""


Effect = Send | Close | Dial | Search | Cancel | Persist | Emit | Finish


class Core(Protocol):
    """What drivers need of a node, and all they know of it."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event at `now`, monotonic seconds; return what is to be done, in order."""

    def deadline(self) -> float | None:
        """When a `Tick` is due; None where only other events matter. Asked after each event."""

    def _check(self) -> None:
        """Assert every invariant. Tests and the simulator call it after each event."""


class Wire(Protocol):
    """One end of one connection: bytes to messages and back, without any input or output.

    A wire of datagrams remembers nothing: it is fed one datagram at a time.
    """

    @property
    def name(self) -> str:
        """What the core knows this protocol as."""

    def feed(self, data: bytes) -> list[object]:
        """Take bytes as they came; return the messages that are complete.

        Raises `RemoteProtocolError` for what is no message.
        """

    def encode(self, message: object) -> bytes:
        """The bytes of a message; none where this wire has no words for it."""


@runtime_checkable
class HalfClosable(Wire, Protocol):
    """A wire whose other end may say all, close its half, and still read answers: `nc -N`.

    With any other wire, the end of what a peer says is the end of the connection. With this one the
    core closes, so `end` leaves it no connection of which it has heard nothing.
    """

    def end(self) -> list[object]:
        """What the end of input completes; the connection stands until the core closes it.

        Called once, behind all that was fed. Raises `RemoteProtocolError` as `feed` does.
        """


class Backoff:
    """How long to wait before trying again: doubling from a floor to a ceiling.

    `spread` in [0, 1) is what part of the wait is drawn by lot, so that a thousand miners that lost
    one pool do not come back in the same millisecond. The lot is the caller's, a number in [0, 1).
    """

    __slots__ = ("ceiling_seconds", "failures", "floor_seconds", "spread")

    def __init__(
        self, floor_seconds: float = 0.1, ceiling_seconds: float = 5.0, spread: float = 0.5
    ) -> None:
        self.floor_seconds = floor_seconds
        self.ceiling_seconds = ceiling_seconds
        self.spread = spread
        self.failures = 0

    def next_seconds(self, lot: float) -> float:
        """The wait after one more failure."""
        doubled = self.floor_seconds * 2.0 ** min(self.failures, 60)
        self.failures += 1
        return min(self.ceiling_seconds, doubled) * (1 - self.spread * lot)

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self.failures = 0
