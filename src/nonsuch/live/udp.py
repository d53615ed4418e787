"""Peers over UDP: known beforehand, never connected and never gone, and anybody else a stranger.

Every peer has a socket of its own, all of them on the one port of the node, and each is *connected*
to its peer: so the system sorts what comes by its source, into one buffer a peer. Who floods the
node fills only its own buffer, and loses only its own datagrams. One more socket, connected to
nobody, has what is left. Sockets are read in turns: whoever has something to say is heard before
anybody is heard twice.

Where a system cannot share a port like this, that one socket has everything, and a table of sources
says who it was.

Nothing that a peer or the network does ends any of this. What does not fit a buffer is lost, as
datagrams may be, and what the network reports of earlier ones (*port unreachable*) is not heard: a
peer that is not there may come back. Its name is asked for until somebody knows it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.live.tcp import reason_of
from nonsuch.node import (
    DATAGRAM_BYTES_MAX,
    STRANGER,
    Backoff,
    Connected,
    Erred,
    Event,
    Received,
    Wire,
)

__all__ = ["PEERS_MAX", "DatagramNetwork", "Datagrams"]

PEERS_MAX = 1024
"""Peers of one node."""

OWN_SOCKETS_MAX = 256
"""Peers that have a socket of their own: a quarter of the files that systems let a process open."""

RECEIVE_BYTES = 2**20
"""Asked for, for each socket: some thousand small datagrams, as systems count their size."""

READS_MAX = 16
"""Datagrams of one socket in its turn: a few milliseconds of work, and then it is the others'."""

SENDS_MAX = 2
"""Attempts to send: the first may only be told what became of an earlier datagram."""

RESOLVE_SECONDS_MAX = 5.0
"""How long until a name that nobody knows is asked for again."""

SHARES_PORT = sys.platform == "linux"
"""Whether the system sorts datagrams by source when several sockets have one port."""

SockAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Datagrams:
    """Where datagrams come in, and who the peers are. Port 0 takes any that is free.

    `peers` are hosts and ports; the core knows them by the numbers from 1, in this order. Peers are
    of the address family of the host. The wire remembers nothing: it is fed one whole datagram at a
    time. Raises `LocalError` for too many peers, one that is named twice, and what is no port.
    """

    host: str
    port: int
    peers: tuple[tuple[str, int], ...]
    wire: Callable[[], Wire]

    def __post_init__(self) -> None:
        if len(self.peers) > PEERS_MAX:
            raise LocalError(f"{len(self.peers)} peers, where {PEERS_MAX} are possible")
        for host, port in self.peers:
            if not 0 < port < 2**16:
                raise LocalError(f"the peer {host}:{port} needs a port of 1 to 65,535")
            if self.peers.count((host, port)) > 1:
                raise LocalError(f"the peer {host}:{port} is named twice")
        if not 0 <= self.port < 2**16:
            raise LocalError(f"cannot listen on {self.host}:{self.port}: no such port")


class _Peer:
    """A peer. It has an `address` once its name is known, and perhaps a `socket` of its own."""

    __slots__ = ("address", "host", "name", "number", "port", "socket")

    def __init__(self, number: int, host: str, port: int) -> None:
        self.number = number
        self.host = host
        self.port = port
        self.name = f"{host}:{port}"
        self.address: SockAddress | None = None
        self.socket: socket.socket | None = None


class DatagramNetwork:
    """All datagrams of a node. `deliver` hands events to its core."""

    def __init__(self, deliver: Callable[[Iterable[Event]], None], datagrams: Datagrams) -> None:
        self._deliver = deliver
        self._datagrams = datagrams
        self._wire = datagrams.wire()
        self._peers = [
            _Peer(number, host, port) for number, (host, port) in enumerate(datagrams.peers, 1)
        ]
        self._numbers: dict[tuple[object, object], int] = {}
        self._socket: socket.socket | None = None
        self._watched: list[socket.socket] = []
        self._held = False
        self._tasks: list[asyncio.Task[None]] = []
        # One byte more than a datagram may have, to see that it has more.
        self._buffer = memoryview(bytearray(DATAGRAM_BYTES_MAX + 1))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port, once there is one."""
        return [] if self._socket is None else [self._socket.getsockname()[:2]]

    async def listen(self) -> None:
        """Take the port, and tell the core of its peers.

        Raises `LocalError` where the port cannot be had, or a peer is of another address family.
        """
        if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
            # Windows' has none; uvloop's hears no more of a socket once a peer was not there.
            raise LocalError("this event loop is not for datagrams: use a SelectorEventLoop")
        made = await _bound(self._datagrams.host, self._datagrams.port)
        self._watch(made)
        if SHARES_PORT:
            # Only now. Bound without it, this socket has the port for itself: not even one that
            # asks to share can have it, and a second program is refused. From here on it admits
            # sockets that ask, if they are of the same user: those that follow.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket = made
        for peer in self._peers:
            self._find(peer, made.family)
        name = self._wire.name
        self._deliver([Connected(each.number, each.name, name) for each in self._peers])

    def _watch(self, made: socket.socket) -> None:
        if not self._held:
            asyncio.get_running_loop().add_reader(made, self._read, made)
        self._watched.append(made)

    # Who is where.

    def _find(self, peer: _Peer, family: int) -> None:
        """Numbers are addresses at once, and names sooner or later."""
        try:
            kind = socket.SOCK_DGRAM
            found = socket.getaddrinfo(peer.host, peer.port, type=kind, flags=socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            self._tasks.append(asyncio.create_task(self._resolve(peer, family)))
            return
        if found[0][0] != family:
            here = self._datagrams.host
            raise LocalError(f"from {here} there is no way to {peer.host}: IPv4 or IPv6, not both")
        self._found(peer, found[0][4])

    async def _resolve(self, peer: _Peer, family: int) -> None:
        """Ask for a name until somebody knows it: its machine may not be up yet."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(ceiling_seconds=RESOLVE_SECONDS_MAX)
        while peer.address is None:
            try:
                kind = socket.SOCK_DGRAM
                found = await loop.getaddrinfo(peer.host, peer.port, family=family, type=kind)
            except (OSError, ValueError):
                await asyncio.sleep(backoff.next_seconds(random.random()))
            else:
                self._found(peer, found[0][4])

    def _found(self, peer: _Peer, address: SockAddress) -> None:
        peer.address = address
        self._numbers[address[0], address[1]] = peer.number
        if SHARES_PORT and peer.number <= OWN_SOCKETS_MAX:
            peer.socket = self._connected(address)
        if peer.socket is not None:
            self._watch(peer.socket)

    def _connected(self, address: SockAddress) -> socket.socket | None:
        """A socket for what comes from there; None where the system has none to give."""
        assert self._socket is not None
        try:
            made = socket.socket(self._socket.family, socket.SOCK_DGRAM)
        except OSError:
            return None
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            made.bind(self._socket.getsockname())
            made.connect(address)
        except OSError:
            made.close()
            return None
        return made

    # What comes.

    def _read(self, ready: socket.socket) -> None:
        """One turn of a peer, or of strangers and those peers that have no socket of their own.

        Whose it is, the source says: between `bind` and `connect`, and a little longer on another
        processor, a peer's socket may be given what comes from others.
        """
        events: list[Event] = []
        for _ in range(READS_MAX):
            try:
                count, source = ready.recvfrom_into(self._buffer)
            except BlockingIOError:
                break
            except OSError:
                continue  # An earlier datagram has not arrived.
            events += self._events(self._numbers.get(source[:2], STRANGER), count)
        if events:
            self._deliver(events)

    def _events(self, number: int, count: int) -> Sequence[Event]:
        """What the first so many bytes of the buffer say."""
        if count > DATAGRAM_BYTES_MAX:
            return (Erred(number, RemoteProtocolError.cost, "a datagram that is too long"),)
        try:
            messages = self._wire.feed(bytes(self._buffer[:count]))
        except RemoteProtocolError as error:
            return (Erred(number, error.cost, str(error)),)
        return [Received(number, message) for message in messages]

    # What the core wants.

    def send(self, number: int, message: object) -> None:
        """Send a datagram, at once; nothing where there is no room, or nobody knows where to."""
        peer = self._peers[number - 1]
        if peer.address is None:
            return
        data = self._wire.encode(message)
        if not data:
            return
        for _ in range(SENDS_MAX):
            try:
                self._send(peer, peer.address, data)
            except ConnectionRefusedError:
                continue
            except OSError:
                pass
            return

    def _send(self, peer: _Peer, address: SockAddress, data: bytes) -> None:
        if peer.socket is not None:
            peer.socket.send(data)
        elif self._socket is not None:
            self._socket.sendto(data, address)

    def hold(self) -> None:
        """Read nothing until `go_on`: the system keeps some of it, and drops the rest."""
        self._held = True
        for each in self._watched:
            asyncio.get_running_loop().remove_reader(each)

    def go_on(self) -> None:
        """Read again."""
        self._held = False
        for each in self._watched:
            asyncio.get_running_loop().add_reader(each, self._read, each)

    async def close(self) -> None:
        """End everything; what was sent is on its way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for each in self._watched:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self._socket = None


async def _bound(host: str, port: int) -> socket.socket:
    """A socket that has this port for itself. Raises `LocalError` where it cannot be had."""
    loop = asyncio.get_running_loop()
    kind, flags = socket.SOCK_DGRAM, socket.AI_PASSIVE
    made: socket.socket | None = None
    try:
        found = await loop.getaddrinfo(host or None, port, type=kind, flags=flags)
        # Of a name that is both, IPv4 is taken: more peers have it.
        family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        made = socket.socket(family, kind)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        made.bind(address)
    except (OSError, ValueError) as error:
        if made is not None:
            made.close()
        raise LocalError(f"cannot listen on {host}:{port}: {reason_of(error)}") from None
    return made
