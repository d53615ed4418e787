"""Links between nodes of one machine that can be cut and mended, and lose what goes through them.

A node is told the address of a relay in the place of its neighbour's, and the relay passes on what
comes. So a partition needs no rights on the machine, and the nodes are the ones that people run.

A link that is cut behaves like a pulled cable: connections stand and nothing arrives; what TCP has
under way arrives once the link is mended, and datagrams are lost. A share of loss is for datagrams
alone, since TCP repeats what is lost.

    node a ── where a finds b ── [link] ── where b finds a ── node b
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable

from nonsuch.errors import LocalError
from nonsuch.live.tcp import reason_of

__all__ = ["Relays"]

HOST = "127.0.0.1"
"""Relays are for one machine."""

READ_BYTES = 2**16
"""What a relay holds of one direction of one connection while its link is cut."""

CONNECTIONS_MAX = 1024
"""Connections of one link at once; more are refused."""


class _Link:
    """What two nodes have between them."""

    def __init__(self) -> None:
        self.mended = asyncio.Event()
        self.mended.set()
        self.connections: set[asyncio.Task[None]] = set()


class Relays:
    """All links of a network. Made in the event loop; `close` ends every one of them."""

    def __init__(self, lots: random.Random) -> None:
        self.loss = 0.0
        self._lots = lots
        self._links: dict[frozenset[str], _Link] = {}
        self._servers: list[asyncio.Server] = []
        self._transports: list[asyncio.DatagramTransport] = []

    # What nodes are given.

    async def connect(self, one: str, another: str, port: int) -> int:
        """The port at which `one` finds `another`, who listens on a port of TCP.

        Raises `LocalError` where there is no port left.
        """
        link = self._link(one, another)

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A task of our own: asyncio complains of those that it made itself and we cancel.
            task = asyncio.ensure_future(self._relay(link, port, reader, writer))
            link.connections.add(task)
            task.add_done_callback(link.connections.discard)

        try:
            server = await asyncio.start_server(accepted, HOST, 0, limit=READ_BYTES)
        except OSError as error:
            raise LocalError(f"cannot make a link: {reason_of(error)}") from None
        self._servers.append(server)
        number: int = server.sockets[0].getsockname()[1]
        return number

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
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()
        tasks = [task for link in self._links.values() for task in link.connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _link(self, one: str, another: str) -> _Link:
        return self._links.setdefault(frozenset((one, another)), _Link())

    async def _relay(
        self,
        link: _Link,
        port: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """One connection, from its beginning to its end."""
        if len(link.connections) > CONNECTIONS_MAX:
            writer.transport.abort()
            return
        try:
            await link.mended.wait()
            far_reader, far_writer = await asyncio.open_connection(HOST, port, limit=READ_BYTES)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass_on(link, reader, far_writer))
                    both.create_task(_pass_on(link, far_reader, writer))
            finally:
                far_writer.transport.abort()
        except* OSError:
            pass  # Whoever is gone: the other one is told by the end of its connection.
        finally:
            writer.transport.abort()


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
