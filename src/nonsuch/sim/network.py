"""What a network can do to you, and the connections to which it does it.

**The catalogue.** `Conditions` say how long a message is under way (a floor and an exponential
tail), how often the way is clogged, and how often a connection is cut. That is all that can happen
to a *stream*, as TCP makes it: what arrives is what was sent, in order and without a gap, up to
some point; then the connection ends, and either end may learn of it first. A core that is to live
through more can have more: with `loss`, `duplication` and `reordering` single messages inside a
connection vanish, come twice, or are overtaken, and with `garbling` they arrive as nonsense. To
datagrams all of that happens, see `datagrams.py`.

**Partitions.** A *loud* one resets every connection that it separates, and refuses new ones. A
*silent* one is a pulled cable: what was sent vanishes, nobody is told, dialling takes long and
fails. When it heals, a stream that has lost something cannot go on: it has a *hole*, nothing
behind the hole is delivered, and both ends see the connection reset. One that lost nothing goes on
as if nothing had been. A machine that loses its power is as silent, until it is back.

**Who is told what.** A connection has two ends, and each end lives and dies for itself: the one may
be sending while the other is long gone. What is done to a connection reaches each end behind all
that was on its way to it, and never twice.

**Words or bytes.** What travels are the cores' messages as they are. Where a dialler has `Wires`,
its connections carry the bytes of these, as live ones do. A gap in them would be no stream's doing,
so there `loss`, `duplication`, `reordering` and `garbling` have nothing to act upon.

An end that hangs up hears no more messages, and a `Disconnected` soon. The other end hears what was
sent before, and then that it was hung up on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Protocol

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.node import Connected, Disconnected, Erred, Event, Received, Wire

__all__ = ["HOSTILE", "LAN", "PERFECT", "TORTURE", "Conditions", "Network", "Partition", "Wires"]

SECOND = 1_000_000
"""Virtual time is counted in microseconds."""

GARBAGE_COST = 1000
"""What is no message costs as much as `RemoteProtocolError` says."""

Wires = tuple[Callable[[], Wire], Callable[[], Wire]]
"""What makes the wires of the two ends of a connection, the dialler's first."""

_PROBABILITIES = ("clogging", "cut", "loss", "duplication", "reordering", "garbling")


@dataclass(frozen=True, slots=True)
class Conditions:
    """How bad a network is. Probabilities are those of each single message, in [0, 1)."""

    delay_seconds_min: float = 0.001
    """No message is faster than this, one way."""

    delay_seconds_mean: float = 0.001
    """How long messages take on average; what is above the minimum is exponential."""

    clogging: float = 0.0
    """The way is blocked for a while, and all of a stream that is behind this message waits too."""

    clogging_seconds_mean: float = 1.0
    """For how long, on average; exponential."""

    cut: float = 0.0
    """The connection is found dead: this message and all later ones are lost, both ends told."""

    loss: float = 0.0
    """This message alone vanishes. Datagrams do this and the following, and no stream does."""

    duplication: float = 0.0
    """This message comes twice."""

    reordering: float = 0.0
    """This message is late, and those behind it do not wait."""

    garbling: float = 0.0
    """This message arrives as what its wire refuses; who hears that of a stream, hangs up."""

    dial_seconds_max: float = 10.0
    """When dialling somebody who does not answer is given up."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: float = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise LocalError(f"{field.name} must be 0 or more, not {value}")
            if field.name in _PROBABILITIES and value >= 1:
                raise LocalError(f"{field.name} is a probability below 1, not {value}")
        if self.delay_seconds_mean < self.delay_seconds_min:
            raise LocalError("the mean delay cannot be below the smallest")


PERFECT = Conditions()
"""Every message takes a millisecond: for stories that are about something else."""

LAN = Conditions(delay_seconds_min=0.0001, delay_seconds_mean=0.0005)
"""One room, one switch."""

HOSTILE = Conditions(
    delay_seconds_min=0.005,
    delay_seconds_mean=0.05,
    clogging=0.005,
    clogging_seconds_mean=2.0,
    cut=0.005,
)
"""The worst that streams can be: slow, clogged, and cut every 200 messages."""

TORTURE = Conditions(
    delay_seconds_min=0.001,
    delay_seconds_mean=0.03,
    clogging=0.002,
    clogging_seconds_mean=1.0,
    cut=0.002,
    loss=0.02,
    duplication=0.02,
    reordering=0.05,
    garbling=0.0005,
)
"""Worse than any stream: messages vanish, come twice and overtake each other."""


class Surroundings(Protocol):
    """What a network needs of the world around it."""

    @property
    def microseconds(self) -> int:
        """The virtual time."""

    @property
    def lots(self) -> random.Random:
        """Where every draw comes from."""

    def call_at(self, microseconds: int, action: Callable[[], object]) -> None:
        """Do this then, behind all that was to be done at that time already."""

    def deliver(self, name: str, event: Event) -> None:
        """Hand an event to the core of this node."""

    def when_awake(self, name: str, action: Callable[[], object]) -> None:
        """Do this now, or when this node is not frozen any more."""


class _Host:
    """A machine as the network sees it.

    `dials` are names of nodes by the addresses that its core knows them by, `dialling` addresses,
    and `dark` connections that its power failure froze. Peers are numbered upwards behind `first`.
    """

    __slots__ = (
        "dark",
        "dialling",
        "dials",
        "ends",
        "first",
        "life",
        "listens",
        "name",
        "number",
        "state",
    )

    def __init__(self, name: str, *, listens: bool, dials: Mapping[str, str], first: int) -> None:
        self.name = name
        self.listens = listens
        self.dials = dials
        self.first = first
        self.state = "down"
        self.life = 0
        self.number = first
        self.dialling: set[str] = set()
        self.ends: dict[int, _End] = {}
        self.dark: list[_Connection] = []


class _End:
    """One end of a connection.

    `arrives_at` is when the last of what is on its way to this end arrives. `hole` is set once
    something on its way was lost. `why` is set when its own core hangs up, `gone` when nothing more
    can happen here. `number` is 0 until the core knows of it. Without a `wire`, messages travel as
    they are.
    """

    __slots__ = (
        "arrives_at",
        "connection",
        "gone",
        "hole",
        "host",
        "number",
        "other",
        "why",
        "wire",
    )

    connection: _Connection
    other: _End

    def __init__(self, host: _Host, wire: Wire | None) -> None:
        self.host = host
        self.wire = wire
        self.number = 0
        self.arrives_at = 0
        self.hole = False
        self.gone = False
        self.why = ""


class _Connection:
    """Two ends, the dialler's first, who knows the other by the address `dialled`.

    `broken` once it was reset: word of it is behind all that is on its way to them.
    """

    __slots__ = ("broken", "dialled", "ends", "number", "wire")

    def __init__(
        self, number: int, dialler: _Host, listener: _Host, dialled: str, wires: Wires | None
    ) -> None:
        self.number = number
        self.dialled = dialled
        self.broken = False
        ours, theirs = (None, None) if wires is None else (make() for make in wires)
        self.wire = "" if ours is None else ours.name
        first, second = _End(dialler, ours), _End(listener, theirs)
        first.connection = second.connection = self
        first.other, second.other = second, first
        self.ends = first, second


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Sides that do not reach each other; who is on no side reaches all.

    With `one_way`, only what goes from an earlier side to a later one is stopped.
    """

    sides: tuple[frozenset[str], ...]
    silent: bool = True
    one_way: bool = False

    def stops(self, sender: str, receiver: str) -> bool:
        """Whether nothing comes through from the one to the other."""
        here, there = self._side(sender), self._side(receiver)
        if here is None or there is None or here == there:
            return False
        return here < there or not self.one_way

    def _side(self, name: str) -> int | None:
        return next((at for at, side in enumerate(self.sides) if name in side), None)


class Network:
    """All connections of a world, and what happens to them.

    `conditions` may be changed at any time; what is on its way already is not concerned.
    """

    def __init__(self, surroundings: Surroundings, conditions: Conditions) -> None:
        self.conditions = conditions
        self._around = surroundings
        self._hosts: dict[str, _Host] = {}
        self._wires: dict[str, Wires | None] = {}
        self._connections: dict[int, _Connection] = {}
        self._partitions: list[Partition] = []
        self._count = 0

    @property
    def connections(self) -> int:
        """How many connections there are, with those that only one end still believes in."""
        return len(self._connections)

    # Machines come and go.

    def add(
        self,
        name: str,
        *,
        listens: bool,
        dials: Mapping[str, str],
        wires: Wires | None,
        first: int,
    ) -> None:
        """A machine, still down. `wires` are those of the connections that it dials.

        Connections are numbered upwards behind `first`.
        """
        self._hosts[name] = _Host(name, listens=listens, dials=dials, first=first)
        self._wires[name] = wires

    def start(self, name: str) -> None:
        """A new life: peers are numbered anew, and those of a dark time learn of it."""
        host = self._hosts[name]
        host.state = "up"
        host.life += 1
        host.number = host.first
        dark, host.dark = host.dark, []
        for connection in dark:
            for end in connection.ends:
                self._end_from_afar_later(end, "connection reset")

    def crash(self, name: str, *, silent: bool) -> None:
        """The process is killed and its system hangs up for it; or `silent`, the power fails."""
        host = self._hosts[name]
        host.state = "dark" if silent else "down"
        host.life += 1
        host.dialling.clear()
        for end in list(host.ends.values()):
            self._lose(end)
            self._gone(end)

    def _lose(self, end: _End) -> None:
        """This end's machine has crashed: who tells the other end, and when?"""
        if end.host.state == "dark":
            end.host.dark.append(end.connection)
        else:
            self._end_from_afar_later(end.other, "connection reset")

    def leave(self, name: str) -> None:
        """The node ends in good order: what it said is on its way."""
        host = self._hosts[name]
        host.state = "down"
        host.life += 1
        host.dialling.clear()
        for end in list(host.ends.values()):
            if not end.why:
                self._end_from_afar_later(end.other, "it hung up")
            self._gone(end)

    def is_up(self, name: str) -> bool:
        """Whether somebody is there to whom something can be brought."""
        return self._hosts[name].state == "up"

    # What cores want.

    def send(self, name: str, peer: int, message: object) -> None:
        """A message sets out, unless the connection is known to be gone."""
        end = self._hosts[name].ends.get(peer)
        if end is None or end.why:
            return
        if end.wire is not None:
            message = end.wire.encode(message)
            if not message:
                return
        receiver, conditions, lots = end.other, self.conditions, self._around.lots
        if self._partitions and self._is_silenced(end, receiver):
            receiver.hole = True
        elif conditions.cut and lots.random() < conditions.cut:
            self._reset(end.connection, "connection reset")
        elif receiver.wire is not None:
            self._around.call_at(self._behind(receiver), partial(self._arrive, receiver, message))
        elif not (conditions.loss and lots.random() < conditions.loss):
            self._set_out(receiver, message)
            if conditions.duplication and lots.random() < conditions.duplication:
                self._set_out(receiver, message)

    def hang_up(self, name: str, peer: int, why: str) -> None:
        """End a connection behind what was sent."""
        end = self._hosts[name].ends.get(peer)
        if end is None or end.why:
            return
        end.why = why or "hung up"
        self._end_from_afar_later(end.other, "it hung up")
        self._around.call_at(self._soon(), partial(self._end, end, end.why))

    def has_hung_up(self, name: str, peer: int) -> bool:
        """Whether a connection was hung up by its own core, which hears no more messages."""
        end = self._hosts[name].ends.get(peer)
        return end is not None and bool(end.why)

    def dial(self, name: str, address: str) -> None:
        """Try to connect; nothing where that is under way already."""
        host = self._hosts[name]
        whom = host.dials.get(address)
        if whom is None:
            raise LocalError(f"{name} dials {address!r}, but was not told who that is")
        if address in host.dialling:
            return
        host.dialling.add(address)
        target = self._hosts.get(whom)
        if target is None:
            raise LocalError(f"{name} dials {whom}, who is not of this world")
        knock = partial(self._knock, host, host.life, address, target)
        self._around.call_at(self._soon(), knock)

    # How a connection comes about.

    def _knock(self, host: _Host, life: int, address: str, target: _Host) -> None:
        """The request to connect has arrived, if it has."""
        if host.life != life:
            return
        partition = self.between(host.name, target.name)
        if target.state == "dark" or (partition is not None and partition.silent):
            self._give_up_later(host, address)
        elif partition is not None:
            self._fail_later(host, address, self._soon(), "no route")
        elif target.state == "down" or not target.listens:
            self._fail_later(host, address, self._soon(), "connection refused")
        else:
            self._accept(host, address, target)

    def _accept(self, host: _Host, address: str, target: _Host) -> None:
        self._count += 1
        connection = _Connection(self._count, host, target, address, self._wires[host.name])
        self._connections[connection.number] = connection
        ours, theirs = connection.ends
        # The answer is the first that comes this way; messages can only be behind it.
        ours.arrives_at = self._soon()
        self._around.call_at(ours.arrives_at, partial(self._answered, ours, host.life))
        self._open(theirs)

    def _answered(self, end: _End, life: int) -> None:
        if end.host.life != life:
            self._lose(end)
            self._gone(end)
        elif self._partitions and self._is_silenced(end.other, end):
            # The other end believes in a connection that never was, until the network heals.
            end.other.hole = True
            self._gone(end)
            self._give_up_later(end.host, end.connection.dialled)
        else:
            end.host.dialling.discard(end.connection.dialled)
            self._open(end)

    def _open(self, end: _End) -> None:
        host = end.host
        host.number += 1
        end.number = host.number
        host.ends[end.number] = end
        connection = end.connection
        dialled = connection.dialled if end is connection.ends[0] else None
        event = Connected(end.number, end.other.host.name, connection.wire, dialled)
        self._around.deliver(host.name, event)

    def _give_up_later(self, host: _Host, address: str) -> None:
        when = self._around.microseconds + round(self.conditions.dial_seconds_max * SECOND)
        self._fail_later(host, address, when, "no answer")

    def _fail_later(self, host: _Host, address: str, when: int, why: str) -> None:
        self._around.call_at(when, partial(self._fail, host, host.life, address, why))

    def _fail(self, host: _Host, life: int, address: str, why: str) -> None:
        if host.life == life:
            host.dialling.discard(address)
            why = f"cannot reach {host.dials[address]}: {why}"
            self._around.deliver(host.name, Disconnected(0, why, address))

    # How messages travel.

    def delay(self) -> int:
        """How long something is under way, drawn, in microseconds."""
        conditions, lots = self.conditions, self._around.lots
        seconds = conditions.delay_seconds_min
        tail = conditions.delay_seconds_mean - seconds
        if tail > 0:
            seconds += lots.expovariate(1 / tail)
        if conditions.clogging and lots.random() < conditions.clogging:
            seconds += lots.expovariate(1.0) * conditions.clogging_seconds_mean
        return round(seconds * SECOND)

    def _soon(self) -> int:
        return self._around.microseconds + self.delay()

    def _behind(self, end: _End) -> int:
        """When something that sets out now reaches this end, behind all that already has."""
        end.arrives_at = max(end.arrives_at, self._soon())
        return end.arrives_at

    def _set_out(self, receiver: _End, message: object) -> None:
        reordering = self.conditions.reordering
        if reordering and self._around.lots.random() < reordering:
            when = max(receiver.arrives_at, self._soon()) + self.delay()  # and nobody waits for it
        else:
            when = self._behind(receiver)
        self._around.call_at(when, partial(self._arrive, receiver, message))

    def _arrive(self, end: _End, message: object) -> None:
        if end.gone or end.hole or end.why:
            return
        if self._partitions and self._is_silenced(end.other, end):
            end.hole = True
            return
        garbling, name = self.conditions.garbling, end.host.name
        if end.wire is not None:
            assert isinstance(message, bytes)
            self._read(end, end.wire, message)
        elif garbling and self._around.lots.random() < garbling:
            self._around.deliver(name, Erred(end.number, GARBAGE_COST, "garbage"))
        else:
            self._around.deliver(name, Received(end.number, message))

    def _read(self, end: _End, wire: Wire, data: bytes) -> None:
        """Bytes are what its wire makes of them; behind nonsense nothing can be understood."""
        name = end.host.name
        try:
            messages = wire.feed(data)
        except RemoteProtocolError as error:
            self._around.deliver(name, Erred(end.number, error.cost, str(error)))
            self.hang_up(name, end.number, str(error))
            return
        for message in messages:
            self._around.deliver(name, Received(end.number, message))

    # How a connection ends.

    def cut(self, one: str, another: str) -> None:
        """Reset every connection between these two."""
        for connection in list(self._connections.values()):
            if {end.host.name for end in connection.ends} == {one, another}:
                self._reset(connection, "connection reset")

    def _reset(self, connection: _Connection, why: str) -> None:
        """Both ends are told, each in its time, however the network is by then."""
        connection.broken = True
        for end in connection.ends:
            if not end.gone:
                self._around.call_at(self._behind(end), partial(self._end, end, why))

    def _end_from_afar_later(self, end: _End, why: str) -> None:
        """Word that the other end is gone sets out to this one."""
        if not end.gone:
            self._around.call_at(self._behind(end), partial(self._end_from_afar, end, why))

    def _end_from_afar(self, end: _End, why: str) -> None:
        if self._partitions and self._is_silenced(end.other, end):
            end.hole = True
        if not end.hole:
            self._end(end, why)

    def _end(self, end: _End, why: str) -> None:
        if not end.gone:
            self._gone(end)
            self._around.deliver(end.host.name, Disconnected(end.number, end.why or why))

    def _gone(self, end: _End) -> None:
        end.gone = True
        end.host.ends.pop(end.number, None)
        self._forget_if_over(end.connection)

    def _forget_if_over(self, connection: _Connection) -> None:
        if all(end.gone for end in connection.ends):
            self._connections.pop(connection.number, None)

    # Partitions.

    def partition(self, partition: Partition) -> None:
        """From now on these sides do not reach each other."""
        for name in sorted(frozenset().union(*partition.sides)):
            if name not in self._hosts:
                raise LocalError(f"{name} is not of this world")
        self._partitions.append(partition)
        if not partition.silent:
            for connection in list(self._connections.values()):
                if self._separates(partition, connection):
                    self._reset(connection, "no route")

    def heal(self, partition: Partition | None = None) -> None:
        """End one partition, or all; streams with a hole, with nothing between their ends, end."""
        keep = self._partitions if partition is not None else []
        self._partitions = [each for each in keep if each is not partition]
        for connection in list(self._connections.values()):
            has_hole = any(end.hole for end in connection.ends)
            parted = any(self._separates(each, connection) for each in self._partitions)
            if has_hole and not parted and not connection.broken:
                self._reset(connection, "connection reset")

    @staticmethod
    def _separates(partition: Partition, connection: _Connection) -> bool:
        one, another = (end.host.name for end in connection.ends)
        return partition.stops(one, another) or partition.stops(another, one)

    def _is_silenced(self, sender: _End, receiver: _End) -> bool:
        one, another = sender.host.name, receiver.host.name
        return any(each.silent and each.stops(one, another) for each in self._partitions)

    def between(self, one: str, another: str) -> Partition | None:
        """What stops something on its way from one to another; its answer is another matter."""
        stops = (each for each in self._partitions if each.stops(one, another))
        return next(stops, None)
