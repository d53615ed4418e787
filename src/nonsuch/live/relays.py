"""Links between nodes of one machine that can be cut and mended, and lose what goes through them.

A node is told the address of a relay in the place of its neighbour's, and the relay passes on what
comes. So a partition needs no rights on the machine, and the nodes are the ones that people run.

A link that is cut behaves like a pulled cable: connections stand and nothing arrives; what TCP has
under way arrives once the link is mended, and datagrams are lost. A share of loss is for datagrams
alone, since TCP repeats what is lost.

Nobody is to believe that he reaches who is not there. So a way of TCP refuses connections, as the
neighbour's own port would, until somebody says that the neighbour is there (`open`), and again when
he is gone (`shut`). A neighbour that does not answer all the same is dialled before anything is
passed on, and whoever called is cut off at once.

    node a ── where a finds b ── [link] ── where b finds a ── node b
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Iterable

from nonsuch.errors import LocalError
from nonsuch.live.tcp import reason_of

__all__ = ["Relays"]

HOST = "127.0.0.1"
"""Relays are for one machine."""

READ_BYTES = 2**16
"""What a relay holds of one direction of one connection while its link is cut."""

CONNECTIONS_MAX = 1024
"""Connections of one link at once; more are refused."""

BACKLOG = 128
"""Connections of one way that wait to be accepted."""

REST_SECONDS = 1.0
"""When to try again where the system has no descriptor left."""

RESET = struct.pack("ii", 1, 0)
"""Linger for no time: a connection that is closed is reset (`struct linger`, socket(7))."""


class _Link:
    """What two nodes have between them."""

    def __init__(self) -> None:
        self.mended = asyncio.Event()
        self.mended.set()
        self.connections: set[asyncio.Task[None]] = set()


class _Way:
    """A port at which somebody finds a neighbour who listens at `port`, over a link.

    The port is held by a socket that does not listen, so that it is the same in every life of the
    neighbour and nobody else's meanwhile: the system refuses who calls there. Raises `OSError`.
    """

    def __init__(
        self, link: _Link, caller: str, port: int, accepted: Callable[[_Way, socket.socket], None]
    ) -> None:
        self.link = link
        self.caller = caller
        self.port = port
        self._accepted = accepted
        self._held = _bound(0)
        self.number: int = self._held.getsockname()[1]
        self._listening: socket.socket | None = None
        self._wanted = False

    def open(self) -> None:
        """Take connections."""
        self._wanted = True
        self._listen()

    def _listen(self) -> None:
        if not self._wanted or self._listening is not None:
            return
        try:
            listening = _bound(self.number)
        except OSError:
            self._rest()
            return
        listening.listen(BACKLOG)
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept)

    def _rest(self) -> None:
        """What cannot be now is tried again."""
        asyncio.get_running_loop().call_later(REST_SECONDS, self._listen)

    def _accept(self) -> None:
        assert self._listening is not None, "who does not listen is not called"
        try:
            near, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # It has thought better of it.
        except OSError:
            self._stop()
            self._rest()
            return
        near.setblocking(False)
        self._accepted(self, near)

    def shut(self) -> None:
        """Refuse connections."""
        self._wanted = False
        self._stop()

    def _stop(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def close(self) -> None:
        """Let go of the port."""
        self.shut()
        self._held.close()


class Relays:
    """All links of a network. Made in the event loop; `close` ends every one of them.

    `calls` hears from what address somebody is about to call a neighbour through a link: the name,
    and the address as the neighbour will see it.
    """

    def __init__(
        self, lots: random.Random, calls: Callable[[str, str], None] = lambda _name, _address: None
    ) -> None:
        self.loss = 0.0
        self._lots = lots
        self._calls = calls
        self._links: dict[frozenset[str], _Link] = {}
        self._ways: dict[str, list[_Way]] = {}
        self._there: set[str] = set()
        self._transports: list[asyncio.DatagramTransport] = []

    # What nodes are given.

    async def connect(self, one: str, another: str, port: int) -> int:
        """The port at which `one` finds `another`, who listens on a port of TCP.

        Raises `LocalError` where there is no port left.
        """
        try:
            way = _Way(self._link(one, another), one, port, self._accepted)
        except OSError as error:
            raise LocalError(f"cannot make a link: {reason_of(error)}") from None
        self._ways.setdefault(another, []).append(way)
        if another in self._there:
            way.open()
        return way.number

    def open(self, name: str) -> None:
        """This one is there: it takes connections."""
        self._there.add(name)
        for way in self._ways.get(name, ()):
            way.open()

    def shut(self, name: str) -> None:
        """This one is gone: connections to it are refused."""
        self._there.discard(name)
        for way in self._ways.get(name, ()):
            way.shut()

    async def join(self, one: str, one_port: int, another: str, another_port: int) -> list[int]:
        """The ports at which `one` finds `another`, and `another` finds `one`, for datagrams.

        Raises `LocalError` where there is no port left.
        """
        link = self._link(one, another)
        ends = [_End(self, link, port) for port in (one_port, another_port)]
        ends[0].other, ends[1].other = ends[1], ends[0]
        return [await self._open(end) for end in ends]

    async def _open(self, end: _End) -> int:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: end, (HOST, 0))
        except OSError as error:
            raise LocalError(f"cannot make a link: {reason_of(error)}") from None
        self._transports.append(transport)
        port: int = transport.get_extra_info("sockname")[1]
        return port

    # What befalls them.

    def cut(self, one: str, another: str) -> None:
        """Nothing passes between these two any more."""
        self._link(one, another).mended.clear()

    def mend(self, one: str, another: str) -> None:
        """All passes again."""
        self._link(one, another).mended.set()

    def isolate(self, names: Iterable[str]) -> None:
        """Cut every link between one of these and one of the others; mend all else."""
        group = frozenset(names)
        for pair, link in self._links.items():
            if len(pair & group) == 1:
                link.mended.clear()
            else:
                link.mended.set()

    def drops(self) -> bool:
        """Whether a datagram is lost, by lot."""
        return self.loss > 0 and self._lots.random() < self.loss

    async def close(self) -> None:
        """End all."""
        for ways in self._ways.values():
            for way in ways:
                way.close()
        for transport in self._transports:
            transport.close()
        tasks = [task for link in self._links.values() for task in link.connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _link(self, one: str, another: str) -> _Link:
        return self._links.setdefault(frozenset((one, another)), _Link())

    def _accepted(self, way: _Way, near: socket.socket) -> None:
        connections = way.link.connections
        if len(connections) >= CONNECTIONS_MAX:
            _reset(near)
            return
        task = asyncio.ensure_future(self._relay(way, near))
        connections.add(task)
        task.add_done_callback(connections.discard)

    async def _relay(self, way: _Way, near: socket.socket) -> None:
        """One connection, from its beginning to its end."""
        with near, socket.socket() as far:
            await way.link.mended.wait()
            try:
                await self._dial(way, far)
            except OSError:
                _reset(near)
                return
            await _pass_both_on(way.link, near, far)

    async def _dial(self, way: _Way, far: socket.socket) -> None:
        far.setblocking(False)
        far.bind((HOST, 0))
        host, number = far.getsockname()
        self._calls(way.caller, f"{host}:{number}")  # First, for the neighbour tells of it at once.
        await asyncio.get_running_loop().sock_connect(far, (HOST, way.port))


def _bound(port: int) -> socket.socket:
    """A socket at a port that another one of ours may hold. Raises `OSError`."""
    bound = socket.socket()
    try:
        for option in ("SO_REUSEADDR", "SO_REUSEPORT"):  # BSD wants the latter for this
            if hasattr(socket, option):
                bound.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        bound.setblocking(False)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _reset(near: socket.socket) -> None:
    """End a connection so that whoever called knows that nobody was there."""
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    near.close()


async def _pass_both_on(link: _Link, near: socket.socket, far: socket.socket) -> None:
    """Both directions, until both have ended or one of the two is gone."""
    near_reader, near_writer = await asyncio.open_connection(sock=near, limit=READ_BYTES)
    far_reader, far_writer = await asyncio.open_connection(sock=far, limit=READ_BYTES)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pass_on(link, near_reader, far_writer))
            both.create_task(_pass_on(link, far_reader, near_writer))
    except* OSError:
        pass  # The other one is told by the end of its connection.
    finally:
        near_writer.transport.abort()
        far_writer.transport.abort()


async def _pass_on(link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction; its end is passed on too."""
    while data := await reader.read(READ_BYTES):
        await link.mended.wait()
        writer.write(data)
        await writer.drain()
    await link.mended.wait()
    with contextlib.suppress(OSError):
        writer.write_eof()


class _End(asyncio.DatagramProtocol):
    """What one of two nodes takes for the other one."""

    def __init__(self, relays: Relays, link: _Link, port: int) -> None:
        self._relays = relays
        self._link = link
        self._node = (HOST, port)
        self._transport: asyncio.DatagramTransport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """It stands."""
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """The node has sent something to the other one; a stranger's datagram is not passed on."""
        if address == self._node and self._link.mended.is_set() and not self._relays.drops():
            assert self.other is not None, "links have two ends before anybody knows of them"
            self.other.hand_over(data)

    def hand_over(self, data: bytes) -> None:
        """To this end's node."""
        if self._transport is not None:
            self._transport.sendto(data, self._node)

    def error_received(self, error: Exception) -> None:
        """A node that is not there: the datagram is lost, as datagrams are."""
