"""Peers over TCP, with or without TLS: bytes in, bytes out, and every bound on both.

What comes is decoded and handled at once, a quarter of a megabyte at most, as loops read it, so ten
thousand connections need no buffers: a peer that sends faster than the core can listen is held up
by its own socket. What a peer does not read piles up to a bound, and then the connection is cut.

The core, which bounds its peers, hears of nobody before a TLS handshake is done. So handshakes have
a bound of their own, and loops have none for it: they accept connections as plain ones, and are
given them once more, for TLS, where there is room.

A peer that has closed its half is answered where its wire is `HalfClosable`. Nothing is read from
such a connection any more, so nothing tells us of its end: we look, now and then. One that is gone
without a word is found by the system's own questions. TLS cannot be closed by halves: what its end
completes is heard, and only what is answered at once still goes out.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, cast

from nonsuch.addresses import PORT_MAX
from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.node import Connected, Disconnected, Erred, Event, HalfClosable, Received, Wire

__all__ = ["Address", "Connection", "Listener", "Network", "Wire", "reason_of"]

BACKLOG = 4096
"""Connections that the system keeps until they are accepted: a room full of miners at once."""

WRITE_BYTES_MAX = 2**20
"""Bytes that a peer may leave unread, unless it is told otherwise: some ten thousand leases."""

HANDSHAKES_MAX = 256
"""TLS handshakes at once: 75 MB, of which asyncio's loop holds 295 KB for each. An honest one takes
two round trips; whoever comes while so many are under way is closed at once, and may come again,
unless the oldest of them has had `HANDSHAKE_SECONDS`: that one is closed instead."""

HANDSHAKE_SECONDS = 1.0
"""How long a handshake keeps its place while others want it."""

DIAL_SECONDS = 10.0
"""How long a connection may take to come about, its TLS handshake included."""

HANG_UP_SECONDS = 2.0
"""How long a peer that was told to go may take to read why."""

LOOK_SECONDS = 1.0
"""How often to look whether a peer that has closed its half is still there."""

KEEP_ALIVE_SECONDS = 15
"""After so long without a word the system asks whether the other end is still there."""

KEEP_ALIVE_TRIES = 3


@dataclass(frozen=True, slots=True)
class Address:
    """Whom to call, and in what words."""

    host: str
    port: int
    wire: Callable[[], Wire]
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Where peers come in. Port 0 takes any that is free.

    `write_bytes_max` is what one peer may leave unread; it must exceed the longest message.
    """

    host: str
    port: int
    wire: Callable[[], Wire]
    tls: ssl.SSLContext | None = None
    write_bytes_max: int = WRITE_BYTES_MAX


class Connection(asyncio.Protocol):
    """One peer."""

    __slots__ = (
        "_is_read",
        "_network",
        "address",
        "dialled",
        "number",
        "out",
        "transport",
        "unsent",
        "why",
        "wire",
        "write_bytes_max",
    )

    def __init__(
        self,
        network: Network,
        wire: Wire,
        dialled: str | None = None,
        write_bytes_max: int = WRITE_BYTES_MAX,
    ) -> None:
        self._network = network
        self._is_read = True
        self.write_bytes_max = write_bytes_max
        self.wire = wire
        self.dialled = dialled
        self.number = 0
        self.address = ""
        self.out: list[bytes] = []
        self.unsent = 0
        self.why = ""
        self.transport: asyncio.Transport | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        # uvloop's has all methods of asyncio's, and is no subclass of it.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self.write_bytes_max)
        self.address = _peer_name(self.transport)
        self._network.opened(self)

    def data_received(self, data: bytes) -> None:
        """These bytes have come."""
        self._network.received(self, data)

    def eof_received(self) -> bool:
        """The other end has said all. Returns whether there is still something to say here."""
        self._is_read = False  # Or its end would be read again.
        return self._network.ended(self)

    def pause_writing(self) -> None:
        """The peer does not read: what it left unread has reached the bound."""
        self.cut("it does not read what it is sent")

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, whoever ended it."""
        self._network.closed(self, self.why or (reason_of(error) if error else "it hung up"))
        # With TLS each holds on to the other, and to 256 KB of buffer.
        self.transport = None

    def hold(self) -> None:
        """Read nothing more for now."""
        if self._is_read and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if self._is_read and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def cut(self, why: str) -> None:
        """End it at once, whatever is on its way."""
        self.why = self.why or why
        if self.transport is not None:
            self.transport.abort()


class Newcomer(asyncio.Protocol):
    """One who came to a listener with TLS, until its handshake begins or it is turned away."""

    def __init__(self, network: Network, listener: Listener) -> None:
        self._network = network
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is here, and nothing of it has been read."""
        self._network.shake_hands(transport.get_extra_info("socket"), self._listener)
        # Its handshake, if there is one, has taken the connection over; this closes it else.
        cast(asyncio.Transport, transport).abort()


class _Handshake(NamedTuple):
    """One under way since `began`, in the loop's seconds."""

    own: socket.socket
    began: float

    def end(self) -> None:
        """Cancelled, one that the loop has not begun yet would go on for its ten seconds."""
        with suppress(OSError):  # Its other end may be gone already.
            self.own.shutdown(socket.SHUT_RDWR)


class Network:
    """All connections of a node, numbered upwards behind `number`.

    `deliver` hands events to its core, which may dial the addresses of `book` by their names.
    """

    def __init__(
        self,
        deliver: Callable[[Iterable[Event]], None],
        book: Mapping[str, Address],
        number: int = 0,
    ) -> None:
        self._deliver = deliver
        self._book = book
        self._connections: dict[int, Connection] = {}
        self._number = number
        self._unsent: dict[Connection, None] = {}
        self._servers: list[asyncio.Server] = []
        self._dialling: set[str | None] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], _Handshake] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False
        self._held = False
        self._empty = asyncio.Event()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        names = (each.getsockname() for server in self._servers for each in server.sockets)
        return [(name[0], name[1]) for name in names]

    async def listen(self, listener: Listener) -> None:
        """Let peers in. Raises `LocalError` where the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                functools.partial(Newcomer if listener.tls else _coming, self, listener),
                listener.host,
                _checked(listener.port),
                backlog=BACKLOG,
            )
        except (OSError, OverflowError, UnicodeError) as error:
            where = f"{listener.host}:{listener.port}"
            raise LocalError(f"cannot listen on {where}: {reason_of(error)}") from None
        self._servers.append(server)

    def shake_hands(self, raw: socket.socket, listener: Listener) -> None:
        """Take this connection over and begin its handshake, if there is room for one more."""
        if self._closing:
            return
        with suppress(OSError):  # No file can be opened any more.
            own = socket.fromfd(raw.fileno(), raw.family, raw.type)
            if not self._make_room():
                own.close()
                return
            task = asyncio.create_task(self._shake_hands(own, listener))
            self._handshakes[task] = _Handshake(own, asyncio.get_running_loop().time())
            task.add_done_callback(self._shaken)

    def _make_room(self) -> bool:
        """Whether one more handshake may begin, if need be because the oldest ends."""
        if len(self._handshakes) < HANDSHAKES_MAX:
            return True
        task, oldest = next(iter(self._handshakes.items()))
        if asyncio.get_running_loop().time() < oldest.began + HANDSHAKE_SECONDS:
            return False
        del self._handshakes[task]
        self._ending.add(task)
        oldest.end()
        return True

    def _shaken(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        self._ending.discard(task)

    async def _shake_hands(self, own: socket.socket, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # Whoever fails is gone, and nobody knew of it.
            await loop.connect_accepted_socket(
                functools.partial(_coming, self, listener),
                own,
                ssl=listener.tls,
                ssl_handshake_timeout=DIAL_SECONDS,
            )

    def dial(self, name: str) -> None:
        """Call the address of this name; ends in an event."""
        address = self._book.get(name)
        assert address is not None, f"a core that dials {name!r} is given its address"
        if name not in self._dialling and not self._closing:
            self._dialling.add(name)
            task = asyncio.create_task(self._dial(name, address))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)

    async def _dial(self, name: str, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await loop.create_connection(
                    lambda: Connection(self, address.wire(), name),
                    address.host,
                    _checked(address.port),
                    ssl=address.tls,
                )
        except (OSError, OverflowError, TimeoutError, UnicodeError) as error:
            self._dialling.discard(name)
            why = f"cannot reach {address.host}:{address.port}: {reason_of(error)}"
            self._deliver((Disconnected(0, why, name),))

    # What connections report.

    def opened(self, connection: Connection) -> None:
        """A connection stands."""
        # A core that hangs up at once may dial again before `_dial` goes on.
        self._dialling.discard(connection.dialled)
        self._number += 1
        connection.number = self._number
        if self._closing:
            connection.cut("stopping")
            return
        self._connections[connection.number] = connection
        if self._held:
            # Python 3.11 begins to read behind this call, whether or not it was paused.
            asyncio.get_running_loop().call_soon(self._hold_newcomer, connection)
        _keep_alive(connection.transport)
        event = Connected(
            connection.number, connection.address, connection.wire.name, connection.dialled
        )
        self._deliver((event,))

    def received(self, connection: Connection, data: bytes) -> None:
        """Bytes have come."""
        if not connection.why:  # Who was told to go is not heard any more.
            self._hear(connection, functools.partial(connection.wire.feed, data))

    def ended(self, connection: Connection) -> bool:
        """No more bytes will come. Returns whether the connection stands all the same."""
        wire = connection.wire
        if connection.why or not isinstance(wire, HalfClosable):
            return False
        self._hear(connection, wire.end)
        if _is_tls(connection.transport):
            return False
        self._look(connection)
        return True

    def _look(self, connection: Connection) -> None:
        """See that the end of a connection from which nothing is read is noticed."""
        if connection.number not in self._connections:
            return
        error = _error_of(connection.transport)
        if error:
            connection.cut(os.strerror(error).lower())
        else:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look, connection)

    def _hear(self, connection: Connection, read: Callable[[], list[object]]) -> None:
        number = connection.number
        try:
            messages = read()
        except RemoteProtocolError as error:
            self._deliver((Erred(number, error.cost, str(error)),))
            # After such an error nothing from this peer can be understood.
            self.hang_up(number, str(error))
            return
        if messages:
            self._deliver([Received(number, message) for message in messages])

    def closed(self, connection: Connection, why: str) -> None:
        """A connection has ended."""
        self._unsent.pop(connection, None)
        if self._connections.pop(connection.number, None) is not None:
            self._deliver((Disconnected(connection.number, why),))
        if not self._connections:
            self._empty.set()

    # What the core wants.

    def send(self, peer: int, message: object) -> None:
        """Say something, at the next `flush`; nothing where the peer is gone."""
        connection = self._connections.get(peer)
        if connection is None or connection.why:
            return
        data = connection.wire.encode(message)
        if data:
            connection.out.append(data)
            connection.unsent += len(data)
            self._unsent[connection] = None
            if connection.unsent > connection.write_bytes_max:
                self.flush()  # The system takes it, or it is cut.

    def flush(self) -> None:
        """Hand to the system all that was said."""
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, {}
        for connection in unsent:
            data = connection.out[0] if len(connection.out) == 1 else b"".join(connection.out)
            connection.out.clear()
            connection.unsent = 0
            if connection.transport is not None and not connection.transport.is_closing():
                connection.transport.write(data)

    def hold(self) -> None:
        """Read nothing from anybody until `go_on`, nor from those who come."""
        self._held = True
        for connection in self._connections.values():
            connection.hold()

    def _hold_newcomer(self, connection: Connection) -> None:
        if self._held:
            connection.hold()

    def go_on(self) -> None:
        """Read again."""
        self._held = False
        for connection in self._connections.values():
            connection.go_on()

    def hang_up(self, peer: int, why: str) -> None:
        """End a connection once what was said is on its way, or soon in any case."""
        connection = self._connections.get(peer)
        if connection is None or connection.why:
            return
        self.flush()
        connection.why = why
        if connection.transport is not None:
            connection.transport.close()
            asyncio.get_running_loop().call_later(HANG_UP_SECONDS, connection.cut, why)

    async def close(self, seconds: float) -> None:
        """End everything; what was said has `seconds` to leave."""
        self._closing = True
        for server in self._servers:
            server.close()
        for task in self._dials:
            task.cancel()
        for handshake in self._handshakes.values():
            handshake.end()
        if tasks := [*self._dials, *self._handshakes, *self._ending]:
            await asyncio.wait(tasks)
        self.flush()
        for number in list(self._connections):
            self.hang_up(number, "stopping")
        self._empty.clear()
        if self._connections:
            asyncio.get_running_loop().call_later(seconds, self._cut_all)
            await self._empty.wait()

    def _cut_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.cut("stopping")


def _coming(network: Network, listener: Listener) -> Connection:
    return Connection(network, listener.wire(), write_bytes_max=listener.write_bytes_max)


def _checked(port: int) -> int:
    """Where asyncio raises `OverflowError` too, and uvloop takes what is left of 16 bits."""
    if not 0 <= port <= PORT_MAX:
        raise OverflowError(f"a port is a number from 0 to {PORT_MAX}")
    return port


def _peer_name(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


def _is_tls(transport: asyncio.Transport | None) -> bool:
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def _error_of(transport: asyncio.Transport | None) -> int:
    """What has befallen a connection since it was last asked, in the system's numbers; or 0."""
    raw = None if transport is None else transport.get_extra_info("socket")
    return 0 if raw is None else int(raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _keep_alive(transport: asyncio.Transport | None) -> None:
    """Have the system notice a peer whose machine or cable is gone."""
    raw = None if transport is None else transport.get_extra_info("socket")
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEP_ALIVE_SECONDS),
        ("TCP_KEEPINTVL", KEEP_ALIVE_SECONDS // KEEP_ALIVE_TRIES),
        ("TCP_KEEPCNT", KEEP_ALIVE_TRIES),
        ("TCP_USER_TIMEOUT", 2000 * KEEP_ALIVE_SECONDS),
    ):
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def reason_of(error: BaseException) -> str:
    """What a person reads of a failure of the system."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror):
        # asyncio's own texts repeat the address.
        return os.strerror(error.errno).lower() if error.errno else str(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
