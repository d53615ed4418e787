"""Datagrams: who said it is known, nobody is disconnected, and a flood drowns only its sender."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.live import driver, udp
from nonsuch.live.driver import Node
from nonsuch.live.tcp import Listener
from nonsuch.live.udp import PEERS_MAX, READS_MAX, Datagrams
from nonsuch.node import (
    DATAGRAM_BYTES_MAX,
    LOCAL,
    STRANGER,
    Close,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Received,
    Send,
    Started,
    Stopping,
)
from tests.live.test_driver import (
    HOST,
    LONG_SECONDS,
    Lines,
    Scripted,
    Watched,
    echo,
    entered,
    keep,
    nothing_left,
    peer_of,
    running,
)
from tests.live.test_driver import node_of as streams_of

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux sorts datagrams by source")


class Words:
    """A wire of datagrams that are text. One that begins with `!` is no message."""

    name = "words"

    def feed(self, data: bytes) -> list[object]:
        if data.startswith(b"!"):
            raise RemoteProtocolError("that is no word")
        return [data.decode()]

    def encode(self, message: object) -> bytes:
        return message.encode() if isinstance(message, str) else b""


@pytest.fixture(params=[pytest.param(True, marks=LINUX), False], ids=["sorted", "by table"])
def sharing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the system sorts datagrams, or the node itself."""
    shares: bool = request.param
    monkeypatch.setattr(udp, "SHARES_PORT", shares)
    return shares


def node_of(core: Scripted, *peers: tuple[str, int], port: int = 0, host: str = HOST) -> Node:
    return Node(
        core,
        datagrams=Datagrams(host, port, peers, Words),
        ready=lambda _: core.ready.set(),
        check=True,
    )


@contextmanager
def sender(host: str = HOST, port: int = 0) -> Iterator[socket.socket]:
    """A socket of somebody out there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.bind((host, port))
        yield made


def place(made: socket.socket) -> tuple[str, int]:
    host, port = made.getsockname()[:2]
    return str(host), int(port)


def free_place() -> tuple[str, int]:
    """Where nobody is."""
    with sender() as found:
        return place(found)


async def heard_by(made: socket.socket) -> tuple[str, tuple[str, int]]:
    """The next datagram, and where it comes from."""
    loop = asyncio.get_running_loop()
    data, source = await asyncio.wait_for(loop.sock_recvfrom(made, 2**16), LONG_SECONDS / 4)
    return data.decode(), source


def order(node: Node, *effects: Effect) -> None:
    """Have a core that obeys do this."""
    node.deliver([Received(LOCAL, effects)])


def obey(event: Event, _now: float) -> list[Effect]:
    """Do what the user says."""
    if isinstance(event, Received) and event.peer == LOCAL:
        assert isinstance(event.message, tuple)
        return list(event.message)
    return []


def words_of(core: Scripted, peer: int) -> list[object]:
    received = [event for event in core.events if isinstance(event, Received)]
    return [event.message for event in received if event.peer == peer]


async def heard_from(core: Scripted, peer: int, count: int = 1) -> list[object]:
    """The words of a peer, once there are so many."""
    await core.until(lambda: len(words_of(core, peer)) >= count)
    return words_of(core, peer)


async def test_no_datagram_is_read_while_too_much_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "EFFECTS_WAITING_MAX", 100)
    core, elsewhere, journal = Scripted(keep), Scripted(echo), Watched(tmp_path / "node.db")
    journal.gate.clear()
    with sender() as one:
        node = Node(
            core,
            datagrams=Datagrams(HOST, 0, (place(one),), Words),
            journal=journal,
            ready=lambda _: core.ready.set(),
            check=True,
        )
        async with (
            nothing_left(),
            running(node),
            running(streams_of(elsewhere)) as another,
            peer_of(another) as witness,
        ):
            one.connect(node.addresses[0])
            one.send(b"first")
            await entered(journal)
            for number in range(40):
                one.send(b"%d" % number)
            await heard_from(core, 1, 41)
            one.send(b"later")
            for _ in range(10):
                assert await witness.ask("and you?") == "and you?"
            assert len(words_of(core, 1)) == 41
            journal.gate.set()
            assert (await heard_from(core, 1, 42))[-1] == "later"


# Words.


@pytest.mark.usefixtures("sharing")
async def test_three_nodes_know_each_other_and_talk() -> None:
    places = [free_place() for _ in range(3)]
    cores = [Scripted(obey) for _ in places]
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for core, (_, port) in zip(cores, places, strict=True):
            others = [each for each in places if each[1] != port]
            story = running(node_of(core, *others, port=port))
            nodes.append(await stack.enter_async_context(story))
        for number, node in enumerate(nodes):
            order(node, *(Send(peer, f"{number} to its {peer}") for peer in (1, 2)))
        assert await heard_from(cores[0], 1) == ["1 to its 1"]
        assert await heard_from(cores[0], 2) == ["2 to its 1"]
        assert await heard_from(cores[1], 1) == ["0 to its 1"]
        assert await heard_from(cores[1], 2) == ["2 to its 2"]
        assert await heard_from(cores[2], 1) == ["0 to its 2"]
        assert await heard_from(cores[2], 2) == ["1 to its 2"]
    for core, own in zip(cores, places, strict=True):
        names = [f"{host}:{port}" for host, port in places if (host, port) != own]
        there = [Connected(number, name, "words") for number, name in enumerate(names, 1)]
        assert core.events[:3] == [Started(), *there]
        assert core.of(Disconnected) == []


@pytest.mark.usefixtures("sharing")
async def test_who_said_it_is_known_by_where_it_came_from() -> None:
    core = Scripted(echo)
    with sender() as one, sender() as two, sender() as stranger, sender() as another:
        async with running(node_of(core, place(one), place(two))) as node:
            (here,) = node.addresses
            for number in range(20):
                for each in (one, stranger, two, another):
                    each.sendto(f"{number}".encode(), here)
            numbers = [str(number) for number in range(20)]
            assert await heard_from(core, 1, 20) == numbers
            assert await heard_from(core, 2, 20) == numbers
            assert sorted(await heard_from(core, STRANGER, 40), key=str) == sorted(numbers * 2)
            for each in (one, two):
                answers = [await heard_by(each) for _ in numbers]
                assert answers == [(number, here) for number in numbers], "from the port it listens"
            for each in (stranger, another):
                with pytest.raises(BlockingIOError):
                    each.recv(100)


async def test_a_node_that_is_its_own_peer_hears_itself() -> None:
    own = free_place()
    core = Scripted(obey)
    async with running(node_of(core, own, port=own[1])) as node:
        order(node, Send(1, "echo?"))
        assert await heard_from(core, 1) == ["echo?"]


@pytest.mark.usefixtures("sharing")
async def test_garbage_is_told_and_what_comes_after_it_is_heard() -> None:
    core = Scripted(obey)
    with sender() as peer, sender() as stranger:
        async with running(node_of(core, place(peer))) as node:
            (here,) = node.addresses
            order(node, Close(1, "datagrams have no end"), Close(STRANGER, "nor do these"))
            for each, number in ((peer, 1), (stranger, STRANGER)):
                longest = "x" * DATAGRAM_BYTES_MAX
                for data in ("!garbage", "", "!", longest, "well?"):
                    each.sendto(data.encode(), here)
                assert await heard_from(core, number, 3) == ["", longest, "well?"]
    cost = RemoteProtocolError.cost
    told = [Erred(number, cost, "that is no word") for number in (1, 1, STRANGER, STRANGER)]
    assert core.of(Erred) == told
    assert core.of(Disconnected) == []


@pytest.mark.usefixtures("sharing")
async def test_words_that_cannot_be_sent_are_dropped() -> None:
    """Too long, to strangers, to nobody, or not words at all."""
    core = Scripted(obey)
    with sender() as peer, sender() as stranger:
        async with running(node_of(core, place(peer))) as node:
            stranger.sendto(b"hello", node.addresses[0])
            await heard_from(core, STRANGER)
            too_long = Send(1, "x" * (DATAGRAM_BYTES_MAX + 1))
            nowhere = [Send(number, "x") for number in (STRANGER, STRANGER - 1, 2, 99)]
            order(node, too_long, *nowhere, Send(1, 5), Send(1, "short"))
            assert (await heard_by(peer))[0] == "short"
            with pytest.raises(BlockingIOError):
                stranger.recv(100)


@pytest.mark.usefixtures("sharing")
async def test_what_there_is_no_room_for_is_dropped_and_the_node_goes_on() -> None:
    core = Scripted(obey)
    with sender() as deaf:
        async with running(node_of(core, place(deaf))) as node:
            order(node, *[Send(1, "x" * 60_000)] * 500)
            while (await heard_by(deaf))[0] != "now?":
                order(node, Send(1, "now?"))


@pytest.mark.usefixtures("sharing")
async def test_a_peer_that_is_not_there_may_come_and_go_and_come_back() -> None:
    core, gone = Scripted(obey), free_place()
    with sender() as other:
        async with running(node_of(core, gone, place(other))) as node:
            (here,) = node.addresses
            for life in range(3):
                for _ in range(5):
                    order(node, Send(1, "are you there?"), Send(2, "and you?"))
                    assert (await heard_by(other))[0] == "and you?"
                order(node, Send(1, "to nobody"))
                with sender(*gone) as back:
                    # The system has yet to tell of the last that was lost, and tells instead of
                    # sending.
                    order(node, Send(1, f"life {life}"))
                    assert (await heard_by(back))[0] == f"life {life}"
                    back.sendto(f"yes {life}".encode(), here)
                    await heard_from(core, 1, life + 1)
    assert words_of(core, 1) == ["yes 0", "yes 1", "yes 2"]
    assert {type(event) for event in core.events} == {Started, Connected, Received, Stopping}


async def test_connections_are_numbered_behind_datagram_peers() -> None:
    core = Scripted(echo)
    with sender() as one, sender() as two:
        node = Node(
            core,
            listeners=[Listener(HOST, 0, Lines)],
            datagrams=Datagrams(HOST, 0, (place(one), place(two)), Words),
            ready=lambda _: core.ready.set(),
        )
        async with running(node), peer_of(node) as peer:
            assert await peer.ask("by stream") == "by stream"
            two.sendto(b"by datagram", node.addresses[1])
            assert await heard_by(two) == ("by datagram", node.addresses[1])
    assert core.of(Received) == [Received(3, "by stream"), Received(2, "by datagram")]


# Ports and addresses.


@pytest.mark.usefixtures("sharing")
async def test_a_port_that_another_node_has_is_not_shared_with_it() -> None:
    async with nothing_left():
        with sender() as peer:
            async with running(node_of(Scripted(), place(peer), free_place())) as node:
                (_, port) = node.addresses[0]
                taken = f"cannot listen on {HOST}:{port}: address already in use"
                for host in (HOST, "0.0.0.0"):
                    with pytest.raises(LocalError, match=taken.replace(HOST, host)):
                        await node_of(Scripted(), place(peer), port=port, host=host).run()
            async with running(node_of(Scripted(), place(peer), port=port)) as again:
                assert again.addresses == [(HOST, port)]


async def test_a_port_that_somebody_would_share_is_not_had_either() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as generous:
        generous.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        generous.bind((HOST, 0))
        port = place(generous)[1]
        with pytest.raises(LocalError, match=f"{HOST}:{port}: address already in use"):
            await node_of(Scripted(), port=port).run()


async def test_a_node_on_all_addresses_of_its_machine() -> None:
    core = Scripted(echo)
    with sender() as peer:
        async with running(node_of(core, place(peer), host="0.0.0.0")) as node:
            (host, port) = node.addresses[0]
            assert host == "0.0.0.0"
            peer.sendto(b"hello", (HOST, port))
            assert await heard_by(peer) == ("hello", (HOST, port))


@pytest.mark.parametrize(
    ("host", "port", "peers"),
    [
        (HOST, 70_000, ()),
        (HOST, -1, ()),
        (HOST, 0, ((HOST, 0),)),
        (HOST, 0, ((HOST, 70_000),)),
        (HOST, 0, ((HOST, 5), (HOST, 6), (HOST, 5))),
        (HOST, 0, tuple((HOST, port) for port in range(1, PEERS_MAX + 2))),
    ],
    ids=["port too large", "port below 0", "peer without port", "no port", "twice", "too many"],
)
def test_what_cannot_be_is_refused(
    host: str, port: int, peers: tuple[tuple[str, int], ...]
) -> None:
    with pytest.raises(LocalError):
        Datagrams(host, port, peers, Words)


@pytest.mark.parametrize("host", ["a..b", "host.invalid", "203.0.113.77", "nul\0"])
async def test_what_is_no_address_of_this_machine_cannot_be_listened_on(host: str) -> None:
    async with nothing_left():
        with pytest.raises(LocalError, match="cannot listen on "):
            await node_of(Scripted(), host=host).run()


def test_an_event_loop_that_is_not_for_datagrams_is_told_of() -> None:
    uvloop = pytest.importorskip("uvloop")
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(LocalError, match="SelectorEventLoop"),
    ):
        runner.run(node_of(Scripted(), free_place()).run())


# IPv6.


def has_ipv6() -> bool:
    try:
        with sender("::1"):
            return True
    except OSError:
        return False


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


@IPV6
@pytest.mark.usefixtures("sharing")
async def test_datagrams_over_ipv6_and_one_that_is_longer_than_ipv4_has_them() -> None:
    core = Scripted(echo)
    with sender("::1") as peer, sender("::1") as stranger:
        async with running(node_of(core, place(peer), host="::1")) as node:
            (here,) = node.addresses
            for each in (peer, stranger):
                each.sendto(b"x" * (DATAGRAM_BYTES_MAX + 1), here)
                each.sendto(b"hello", here)
            await heard_from(core, STRANGER)
            word, source = await heard_by(peer)
            assert (word, source[:2]) == ("hello", here)
    cost = RemoteProtocolError.cost
    told = [Erred(number, cost, "a datagram that is too long") for number in (STRANGER, 1)]
    assert sorted(core.of(Erred), key=str) == sorted(told, key=str)


@IPV6
@pytest.mark.parametrize(("host", "peer"), [(HOST, "::1"), ("::1", HOST)])
async def test_a_peer_of_the_other_family_is_refused(host: str, peer: str) -> None:
    async with nothing_left():
        with pytest.raises(LocalError, match=f"from {host} there is no way to {peer}"):
            await node_of(Scripted(), (host, 5), (peer, 5), host=host).run()


# Names.


@pytest.mark.usefixtures("sharing")
async def test_a_peer_with_a_name_is_found_and_known_by_it() -> None:
    core = Scripted(obey)
    with sender() as peer:
        async with running(node_of(core, ("localhost", place(peer)[1]), host="localhost")) as node:
            assert core.events[1] == Connected(1, f"localhost:{place(peer)[1]}", "words")
            while not words_of(core, 1):  # Until it is found, it is a stranger.
                peer.sendto(b"it is me", node.addresses[0])
                await asyncio.sleep(0.01)
            order(node, Send(1, "I know"))
            assert (await heard_by(peer))[0] == "I know"


@pytest.mark.usefixtures("sharing")
async def test_a_name_that_nobody_knows_yet_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, asked = asyncio.get_running_loop(), list[object]()
    resolve = loop.getaddrinfo

    async def growing(host: object, *rest: object, **more: object) -> object:
        """A name service that learns a name at the third question."""
        if host != "late.invalid":
            return await resolve(host, *rest, **more)  # type: ignore[arg-type]
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await resolve(HOST, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", growing)
    core = Scripted(obey)
    with sender() as late, sender() as other:
        peers = ("late.invalid", place(late)[1]), place(other)
        async with running(node_of(core, *peers)) as node:
            order(node, Send(1, "lost"), Send(2, "and you?"))
            assert (await heard_by(other))[0] == "and you?", "nobody waits for the name"
            while not words_of(core, 1):
                late.sendto(b"here I am", node.addresses[0])
                await asyncio.sleep(0.01)
            order(node, Send(1, "there you are"))
            assert (await heard_by(late))[0] == "there you are"
    assert len(asked) == 3


async def test_a_node_that_stops_while_it_asks_for_a_name_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def silent(host: object, *rest: object, **more: object) -> object:
        """A name service that does not answer."""
        if host == "nobody.invalid":
            await asyncio.Event().wait()
        return await resolve(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", silent)
    async with nothing_left():
        core = Scripted(obey)
        names = ("nobody.invalid", 1), ("a..b", 1), ("nul\0", 1), ("x" * 64 + ".invalid", 1)
        async with running(node_of(core, *names, free_place())) as node:
            order(node, *(Send(number, "hello?") for number in range(1, 6)))
            await asyncio.sleep(0.05)
    assert [type(event) for event in core.events[1:6]] == [Connected] * 5
    node.deliver([Received(LOCAL, (Send(5, "x"),))])
    assert node.addresses == []


# Crowds.

FLOOD = """
import itertools, socket, sys
port, source = int(sys.argv[1]), int(sys.argv[2])
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind(("127.0.0.1", source))
made.connect(("127.0.0.1", port))
for count in itertools.count():
    try:
        made.send(b"flood %d" % count)
    except OSError:
        pass
"""


@asynccontextmanager
async def flood(port: int, source: int = 0) -> AsyncIterator[None]:
    """A process that sends as fast as it can."""
    flooding = subprocess.Popen([sys.executable, "-c", FLOOD, str(port), str(source)])  # noqa: ASYNC220
    try:
        yield
    finally:
        flooding.kill()
        await asyncio.to_thread(flooding.wait)


class Drowning(Scripted):
    """Works a little for each word, so that a flood comes faster than it can be heard."""

    def __init__(self) -> None:
        super().__init__(self.on_event)
        self.flood = 0
        self.lost = False
        self.quiet: list[object] = []

    def on_event(self, event: Event, _now: float) -> list[Effect]:
        if isinstance(event, Received):
            hashlib.sha256(bytes(50_000)).digest()
            if str(event.message).startswith("flood"):
                self.flood += 1
                self.lost = int(str(event.message).split()[1]) >= self.flood
            else:
                self.quiet.append((event.peer, event.message))
        return []


@LINUX
@pytest.mark.parametrize("by_stranger", [False, True], ids=["peer", "stranger"])
async def test_a_flood_drowns_nobody_elses_words(*, by_stranger: bool) -> None:
    core, flooder = Drowning(), free_place()
    with sender() as quiet:
        async with running(node_of(core, flooder, place(quiet))) as node:
            (here,) = node.addresses
            async with flood(here[1], 0 if by_stranger else flooder[1]):
                await core.until(lambda: core.lost)
                for number in range(50):
                    quiet.sendto(f"{number}".encode(), here)
                    await asyncio.sleep(0.001)
                await core.until(lambda: len(core.quiet) == 50)
    assert core.quiet == [(2, str(number)) for number in range(50)]
    received = (event for event in core.events if isinstance(event, Received))
    assert {event.peer for event in received} == {2, STRANGER if by_stranger else 1}


@LINUX
async def test_a_stranger_in_a_flood_is_never_taken_for_a_peer() -> None:
    """Sockets of peers are made in the middle of it."""
    own = free_place()
    peers = [(HOST, port) for port in range(1, 201)]
    async with flood(own[1]):
        for _ in range(3):
            core = Scripted()
            async with running(node_of(core, *peers, port=own[1])):
                await heard_from(core, STRANGER, 200)
            received = [event for event in core.events if isinstance(event, Received)]
            assert {event.peer for event in received} == {STRANGER}


@LINUX
async def test_peers_are_heard_in_turns() -> None:
    """Both have said much before the node listens; neither has to wait for all of the other's."""
    core, count = Scripted(), 4 * READS_MAX
    with sender() as one, sender() as two:
        async with running(node_of(core, place(one), place(two))) as node:
            for each in (one, two):
                for number in range(count):
                    each.sendto(f"{number}".encode(), node.addresses[0])
            await heard_from(core, 1, count)
            await heard_from(core, 2, count)
    speakers = [event.peer for event in core.events if isinstance(event, Received)]
    turns = [speakers[at : at + READS_MAX] for at in range(0, 2 * count, READS_MAX)]
    for turn, other in zip(turns[::2], turns[1::2], strict=True):
        assert {frozenset(turn), frozenset(other)} == {frozenset({1}), frozenset({2})}


@pytest.mark.parametrize("own_sockets", [0, 3])
async def test_more_peers_than_sockets(monkeypatch: pytest.MonkeyPatch, own_sockets: int) -> None:
    monkeypatch.setattr(udp, "OWN_SOCKETS_MAX", own_sockets)
    core = Scripted(echo)
    async with nothing_left():
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(sender()) for _ in range(10)]
            async with running(node_of(core, *map(place, peers))) as node:
                for number, peer in enumerate(peers, 1):
                    peer.sendto(f"I am {number}".encode(), node.addresses[0])
                    assert await heard_by(peer) == (f"I am {number}", node.addresses[0])
                    assert words_of(core, number) == [f"I am {number}"]
