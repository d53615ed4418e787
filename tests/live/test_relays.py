"""Links that are cut and mended, between real sockets."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator

import pytest

from nonsuch.live.relays import Relays

SECONDS = 20.0
"""For what happens at once."""


@pytest.fixture
async def relays() -> AsyncIterator[Relays]:
    made = Relays(random.Random(1))
    yield made
    await made.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Datagrams(asyncio.DatagramProtocol):
    """A node that keeps what it is sent."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, _address: tuple[str, int]) -> None:
        self.received.put_nowait(data)

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.received.get(), SECONDS)


async def datagram_node() -> tuple[asyncio.DatagramTransport, Datagrams, int]:
    loop = asyncio.get_running_loop()
    transport, node = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    return transport, node, transport.get_extra_info("sockname")[1]


async def test_a_connection_through_a_link_carries_both_directions_and_their_ends(
    relays: Relays, echo_port: int
) -> None:
    relays.open("b")
    port = await relays.connect("a", "b", echo_port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), SECONDS) == b"hello"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), SECONDS) == b""
    writer.close()


async def test_a_cut_link_holds_what_is_sent_until_it_is_mended(
    relays: Relays, echo_port: int
) -> None:
    port = await relays.connect("a", "b", echo_port)
    free = await relays.connect("a", "c", echo_port)
    for name in ("b", "c"):
        relays.open(name)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"1")
    assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"1"
    relays.cut("b", "a")
    writer.write(b"2")
    late_reader, late_writer = await asyncio.open_connection("127.0.0.1", port)
    late_writer.write(b"3")
    # What goes another way arrives meanwhile.
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", free)
    for _ in range(20):
        other_writer.write(b"x")
        assert await asyncio.wait_for(other_reader.readexactly(1), SECONDS) == b"x"
    # Both are empty: nothing has come by way of the link that is cut.
    for each in (reader, late_reader):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(each.read(1), 0.01)
    relays.mend("a", "b")
    assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"2"
    assert await asyncio.wait_for(late_reader.readexactly(1), SECONDS) == b"3"
    for each_writer in (writer, late_writer, other_writer):
        each_writer.close()


async def test_who_is_not_there_is_refused_and_the_way_to_him_stays(
    relays: Relays, echo_port: int
) -> None:
    ports = [await relays.connect(name, "b", echo_port) for name in "acde"]
    assert len(set(ports)) == 4
    for _ in range(3):
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            with socket.socket() as thief, pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", port))
        relays.open("b")
        for port in ports:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"x"
            writer.close()
        relays.shut("b")


async def test_a_neighbour_that_does_not_answer_all_the_same_resets_the_connection(
    relays: Relays,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = await relays.connect("a", "b", nobody.getsockname()[1])
        relays.open("b")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()


async def test_who_is_shut_keeps_the_connections_that_stand(relays: Relays, echo_port: int) -> None:
    relays.open("b")
    port = await relays.connect("a", "b", echo_port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for shuts in (False, True):
        if shuts:
            relays.shut("b")
        writer.write(b"x")
        assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"x"
    writer.close()


async def test_it_is_known_who_calls_from_where_before_anybody_can_tell() -> None:
    calls: list[tuple[str, str]] = []
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def look(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, number = writer.get_extra_info("peername")
        seen.put_nowait(f"{host}:{number}")
        writer.close()

    server = await asyncio.start_server(look, "127.0.0.1", 0)
    relays = Relays(random.Random(1), lambda name, address: calls.append((name, address)))
    relays.open("b")
    for name in ("a", "c"):
        port = await relays.connect(name, "b", server.sockets[0].getsockname()[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        address = await asyncio.wait_for(seen.get(), SECONDS)
        assert calls[-1] == (name, address)
        writer.close()
    await relays.close()
    server.close()


async def test_datagrams_go_both_ways_from_whom_each_knows(relays: Relays) -> None:
    one_transport, one, one_port = await datagram_node()
    another_transport, another, another_port = await datagram_node()
    to_another, to_one = await relays.join("one", one_port, "another", another_port)
    one_transport.sendto(b"ping", ("127.0.0.1", to_another))
    assert await another.next() == b"ping"
    another_transport.sendto(b"pong", ("127.0.0.1", to_one))
    assert await one.next() == b"pong"
    for transport in (one_transport, another_transport):
        transport.close()


async def test_cut_lost_and_forged_datagrams_do_not_arrive(relays: Relays) -> None:
    one_transport, _, one_port = await datagram_node()
    another_transport, another, another_port = await datagram_node()
    stranger, _, _ = await datagram_node()
    to_another, _ = await relays.join("one", one_port, "another", another_port)
    relays.isolate(["one"])
    one_transport.sendto(b"cut", ("127.0.0.1", to_another))
    stranger.sendto(b"forged", ("127.0.0.1", to_another))
    await asyncio.sleep(0.05)  # Nothing tells that a datagram was not passed on.
    relays.isolate([])
    relays.loss = 1.0
    one_transport.sendto(b"lost", ("127.0.0.1", to_another))
    await asyncio.sleep(0.05)
    relays.loss = 0.0
    one_transport.sendto(b"arrives", ("127.0.0.1", to_another))
    assert await another.next() == b"arrives"
    for transport in (one_transport, another_transport, stranger):
        transport.close()


async def test_a_share_of_loss_is_about_that_share(relays: Relays) -> None:
    relays.loss = 0.25
    lost = sum(relays.drops() for _ in range(4000))
    assert 900 < lost < 1100
