"""Datagrams in virtual time: each for itself, and each lost, late, twice, or not from whom it says.

A datagram is bytes: the wire of the sender's node encodes it and that of the receiver's decodes it,
the very wires that nodes speak live. Nothing else is promised. `Conditions` say how often one is
lost, comes twice, waits longer than others or has a wrong bit, and as each has a delay of its own,
they overtake each other. What a partition separates is lost on either side of the way, and so is
what comes to a machine that is down: nobody is told. A restarted node may be brought what was meant
for its earlier life.

Room is bounded as it is in real networks: on the way between two machines, and in the system of the
receiver, where a frozen node leaves things unread, for each source by itself. What finds no room is
lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.node import DATAGRAM_BYTES_MAX, STRANGER, Connected, Erred, Received, Wire
from nonsuch.sim.network import Network, Surroundings

__all__ = ["RECEIVE_BYTES_MAX", "WAY_BYTES_MAX", "DatagramNetwork", "Datagrams"]

OVERHEAD_BYTES = 768
"""What Linux counts besides the bytes of a small datagram."""

RECEIVE_BYTES_MAX = 2**20
"""Unread datagrams of one source, their overhead included: what `live` asks of its system."""

WAY_BYTES_MAX = 2**22
"""Under way from one machine to another: a good router's memory."""


@dataclass(frozen=True, slots=True)
class Datagrams:
    """The datagram peers of a node, by name: it knows them by the numbers from 1, in this order.

    One that is not of this world, or not yet, is sent to in vain. Raises `LocalError` where one is
    named twice.
    """

    peers: tuple[str, ...]
    wire: Callable[[], Wire]

    def __post_init__(self) -> None:
        if len(set(self.peers)) < len(self.peers):
            raise LocalError(f"a peer is named twice: {', '.join(self.peers)}")


class _Host:
    """A machine that speaks in datagrams, and `listens` once its core knows who its peers are.

    `unread` is how many bytes of each peer wait there.
    """

    __slots__ = ("listens", "numbers", "peers", "unread", "wire")

    def __init__(self, datagrams: Datagrams) -> None:
        self.peers = datagrams.peers
        self.numbers = {name: number for number, name in enumerate(datagrams.peers, 1)}
        self.wire = datagrams.wire()
        self.listens = False
        self.unread: dict[int, int] = {}


class DatagramNetwork:
    """All datagrams of a world. Its conditions, and its partitions, are those of the network."""

    def __init__(self, surroundings: Surroundings, network: Network) -> None:
        self._around = surroundings
        self._network = network
        self._hosts: dict[str, _Host] = {}
        self._under_way: dict[tuple[str, str], int] = {}

    def add(self, name: str, datagrams: Datagrams) -> None:
        """A machine that the network knows."""
        self._hosts[name] = _Host(datagrams)

    def start(self, name: str) -> None:
        """A new life: what was unread in the last is gone."""
        host = self._hosts.get(name)
        if host is not None:
            host.listens = False
            host.unread.clear()

    def greet(self, name: str) -> None:
        """Tell a core that has started of its peers."""
        host = self._hosts.get(name)
        if host is None:
            return
        host.listens = True
        for number, peer in enumerate(host.peers, 1):
            self._around.deliver(name, Connected(number, peer, host.wire.name))

    def send(self, name: str, number: int, message: object) -> bool:
        """A datagram sets out; false where this is the number of no datagram peer."""
        host = self._hosts.get(name)
        if host is None or not 0 < number <= len(host.peers):
            return False
        data = host.wire.encode(message)
        if data:
            self.set_out(name, host.peers[number - 1], data, name)
        return True

    def set_out(self, sender: str, target: str, data: bytes, source: str) -> None:
        """Bytes set out from `sender`, and say that they come from `source`."""
        conditions, lots = self._network.conditions, self._around.lots
        if target not in self._hosts or len(data) > DATAGRAM_BYTES_MAX:
            return
        if self._network.between(sender, target) is not None:
            return
        if conditions.loss and lots.random() < conditions.loss:
            return
        self._travel((sender, target), data, source)
        if conditions.duplication and lots.random() < conditions.duplication:
            self._travel((sender, target), data, source)

    def _travel(self, way: tuple[str, str], data: bytes, source: str) -> None:
        load = self._under_way.get(way, 0) + _room(data)
        if load > WAY_BYTES_MAX:
            return
        self._under_way[way] = load
        delay, reordering = self._network.delay(), self._network.conditions.reordering
        if reordering and self._around.lots.random() < reordering:
            delay += self._network.delay()
        when = self._around.microseconds + delay
        self._around.call_at(when, partial(self._arrive, way, data, source))

    def _arrive(self, way: tuple[str, str], data: bytes, source: str) -> None:
        self._under_way[way] -= _room(data)
        sender, target = way
        host, garbling = self._hosts[target], self._network.conditions.garbling
        if not host.listens or not self._network.is_up(target):
            return
        if self._network.between(sender, target) is not None:
            return
        if garbling and self._around.lots.random() < garbling:
            data = self._garbled(data)
        number = host.numbers.get(source, STRANGER)
        unread = host.unread.get(number, 0) + _room(data)
        if unread <= RECEIVE_BYTES_MAX:
            host.unread[number] = unread
            self._around.when_awake(target, partial(self._read, target, number, data))

    def _garbled(self, data: bytes) -> bytes:
        """With one bit wrong."""
        if not data:
            return data
        lots, garbled = self._around.lots, bytearray(data)
        garbled[lots.randrange(len(garbled))] ^= 1 << lots.randrange(8)
        return bytes(garbled)

    def _read(self, name: str, number: int, data: bytes) -> None:
        host = self._hosts[name]
        host.unread[number] -= _room(data)
        try:
            messages = host.wire.feed(data)
        except RemoteProtocolError as error:
            self._around.deliver(name, Erred(number, error.cost, str(error)))
            return
        for message in messages:
            self._around.deliver(name, Received(number, message))


def _room(data: bytes) -> int:
    return OVERHEAD_BYTES + len(data)
