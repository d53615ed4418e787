"""The driver keeps its promises to cores: order, disk before word, one timer, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import msgspec
import pytest

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.live import driver, tcp
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.tcp import Address, Connection, Listener
from nonsuch.node import (
    LOCAL,
    Advanced,
    Cancel,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Erred,
    Event,
    Finish,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.search.searcher import search
from nonsuch.work import presets
from nonsuch.work.goals import First, Lowest, Shares
from nonsuch.work.shares import share_limit
from nonsuch.work.target import Target

HOST = "127.0.0.1"
LINE_BYTES_MAX = 2**16
LONG_SECONDS = 60.0
"""Longer than any test may take."""


class Lines:
    """A wire of lines of text. One that begins with `!` is no message."""

    name = "lines"

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[object]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX or any(line.startswith(b"!") for line in lines):
            raise RemoteProtocolError("that is no line")
        return [line.decode() for line in lines]

    def encode(self, message: object) -> bytes:
        return f"{message}\n".encode() if isinstance(message, str) else b""


Answer = Callable[[Event, float], list[Effect]]


def nothing(_event: Event, _now: float) -> list[Effect]:
    return []


def echo(event: Event, _now: float) -> list[Effect]:
    return [Send(event.peer, event.message)] if isinstance(event, Received) else []


class Scripted:
    """A core that answers by a function, remembers its events and can be waited for."""

    def __init__(self, answer: Answer = nothing) -> None:
        self.answer = answer
        self.events: list[Event] = []
        self.wake_at: float | None = None
        self.ready = asyncio.Event()
        self._news = asyncio.Event()

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.events.append(event)
        self._news.set()
        return self.answer(event, now)

    def deadline(self) -> float | None:
        return self.wake_at

    def _check(self) -> None:
        pass

    async def until(self, come: Callable[[], bool]) -> None:
        """Wait, event by event."""
        while not come():
            self._news.clear()
            await self._news.wait()

    async def heard(self, kind: type[Event], count: int = 1) -> Event:
        """Wait for so many events of a kind; return the last of them."""
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def said(self) -> list[object]:
        return [event.message for event in self.events if isinstance(event, Received)]


def node_of(
    core: Scripted,
    *,
    listen: bool = True,
    dial: Address | Mapping[str, Address] | None = None,
    journal: Journal | None = None,
    observe: Callable[[object], None] | None = None,
    local: Callable[[object], None] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Node:
    return Node(
        core,
        listeners=[Listener(HOST, 0, Lines, tls)] if listen else [],
        dial=dial,
        journal=journal,
        threads=1,
        observe=observe,
        local=local,
        ready=lambda _: core.ready.set(),
        check=True,
    )


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[Node]:
    """The node from when peers can come to when it has stopped, well."""
    assert isinstance(node.core, Scripted)
    async with asyncio.timeout(LONG_SECONDS / 2):
        task = asyncio.create_task(node.run())
        ready = asyncio.create_task(node.core.ready.wait())
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        await asyncio.wait([ready])
        try:
            yield node
        finally:
            node.stop()
            await task


class Peer:
    """A connection to a node, from outside."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, *lines: str) -> None:
        self.send("".join(f"{line}\n" for line in lines).encode())

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def hear(self) -> str:
        """The next line; empty where the node hung up."""
        return (await self._reader.readline()).decode().rstrip("\n")

    def pause(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again, if only to notice the end."""
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        # uvloop's has all methods of asyncio's, and is no subclass of it.
        return cast(asyncio.Transport, self._writer.transport)

    async def hear_exactly(self, count: int) -> bytes:
        """So many bytes: `hear` is for short lines."""
        return await self._reader.readexactly(count)

    async def ask(self, line: str) -> str:
        self.say(line)
        return await self.hear()


@asynccontextmanager
async def peer_of(node: Node, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    host, port = node.addresses[0]
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):  # The node may be faster.
            await writer.wait_closed()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


# Words.


async def test_a_peer_comes_speaks_and_goes() -> None:
    core = Scripted(echo)
    async with running(node_of(core)) as node:
        assert core.events == [Started(())]
        async with peer_of(node) as peer:
            assert await peer.ask("one") == "one"
            peer.say("two", "three")
            assert [await peer.hear(), await peer.hear()] == ["two", "three"]
        gone = await core.heard(Disconnected)
    came = core.events[1]
    assert isinstance(came, Connected)
    assert (came.peer, came.wire) == (1, "lines")
    assert came.address.startswith(f"{HOST}:")
    assert core.events[2:5] == [Received(1, "one"), Received(1, "two"), Received(1, "three")]
    assert gone == Disconnected(1, "it hung up")
    assert core.events[-1] == Stopping()


async def test_numbers_of_peers_are_never_used_twice() -> None:
    core = Scripted(echo)
    async with running(node_of(core)) as node:
        for number in range(1, 6):
            async with peer_of(node) as peer:
                assert await peer.ask("x") == "x"
            assert await core.heard(Disconnected, number) == Disconnected(number, "it hung up")


async def test_words_for_who_is_gone_and_words_that_the_wire_lacks_are_dropped() -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        if not isinstance(event, Received):
            return []
        return [Send(0, "x"), Send(99, "x"), Send(event.peer, 5), Send(event.peer, "heard")]

    async with running(node_of(Scripted(answer))) as node, peer_of(node) as peer:
        assert await peer.ask("x") == "heard"


async def test_a_peer_is_told_why_before_it_is_hung_up_on() -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        if not isinstance(event, Received):
            return []
        said = [Send(event.peer, "word " * 1000), Send(event.peer, "go"), Send(event.peer, "now")]
        return [*said, Close(event.peer, "enough"), Send(event.peer, "too late")]

    core = Scripted(answer)
    async with running(node_of(core)) as node, peer_of(node) as peer:
        peer.say("x")
        assert (await peer.hear()).startswith("word")
        assert [await peer.hear() for _ in range(3)] == ["go", "now", ""]
        assert await core.heard(Disconnected) == Disconnected(1, "enough")


async def test_slow_peers_a_byte_at_a_time_beside_a_fast_one() -> None:
    core = Scripted(echo)
    async with (
        running(node_of(core)) as node,
        peer_of(node) as slow,
        peer_of(node) as slower,
        peer_of(node) as fast,
    ):
        for number, byte in enumerate(b"slow and steady"):
            slow.send(bytes([byte]))
            slower.send(bytes([byte ^ 1]))
            assert await fast.ask(f"{number}") == f"{number}"
        slow.send(b"\n")
        slower.send(b"\n")
        assert await slow.hear() == "slow and steady"
        assert await slower.hear() == bytes(byte ^ 1 for byte in b"slow and steady").decode()


async def test_garbage_is_told_and_its_sender_hung_up_on_and_nobody_else_notices() -> None:
    core = Scripted(echo)
    async with running(node_of(core)) as node, peer_of(node) as good, peer_of(node) as bad:
        assert await good.ask("before") == "before"
        assert await bad.ask("before") == "before"
        bad.say("!garbage", "and more of it")
        assert await bad.hear() == ""
        gone = await core.heard(Disconnected)
        assert isinstance(gone, Disconnected)
        assert await good.ask("after") == "after"
    assert gone.why == "that is no line"
    erred = [event for event in core.events if isinstance(event, Erred)]
    assert erred == [Erred(gone.peer, RemoteProtocolError.cost, "that is no line")]
    assert core.events.index(erred[0]) < core.events.index(gone)
    assert core.said == ["before", "before", "after"]


class Flooding(Scripted):
    """Echoes, and floods one peer with a quarter of what it may leave unread at a time."""

    def __init__(self) -> None:
        super().__init__(self.on_event)
        self.flooded = 0

    def on_event(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Received(peer=peer, message="flood me"):
                self.flooded = peer
            case Received(peer=peer, message=message):
                return [Send(peer, message)]
            case Disconnected(peer=peer) if peer == self.flooded:
                self.flooded = 0
            case _:
                pass
        self.wake_at = now if self.flooded else None
        return [Send(self.flooded, "x" * LINE_BYTES_MAX)] * 4


async def be_deaf(node: Node, core: Flooding, tls: ssl.SSLContext | None = None) -> Event:
    """The system keeps some megabytes for a peer that does not read, and the node one."""
    async with peer_of(node, tls) as deaf:
        assert await deaf.ask("before") == "before"
        deaf.pause()
        deaf.say("flood me")
        count = len(core.of(Disconnected)) + 1
        gone = await core.heard(Disconnected, count)
        deaf.resume()
        return gone


async def test_a_peer_that_does_not_read_is_cut_and_nobody_else_notices() -> None:
    core = Flooding()
    async with running(node_of(core)) as node, peer_of(node) as good:
        assert await good.ask("before") == "before"
        gone = await be_deaf(node, core)
        assert gone == Disconnected(2, "it does not read what it is sent")
        assert await good.ask("after") == "after"


async def test_a_peer_that_does_not_read_is_cut_in_the_middle_of_what_it_would_be_told() -> None:
    """Whatever a core says at once: no more is kept than the peer may leave unread."""
    encoded: list[int] = []

    class Counted(Lines):
        def encode(self, message: object) -> bytes:
            encoded.append(1)
            return super().encode(message)

    def answer(event: Event, _now: float) -> list[Effect]:
        return [Send(event.peer, line)] * 10 if isinstance(event, Received) else []

    core, line = Scripted(answer), "x" * LINE_BYTES_MAX
    node = Node(core, listeners=[Listener(HOST, 0, Counted)], ready=lambda _: core.ready.set())
    async with running(node):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(node.addresses[0])
            deaf.sendall(b"x\n" * 100)
            gone = await core.heard(Disconnected)
    assert gone == Disconnected(1, "it does not read what it is sent")
    # The system keeps some megabytes of its own.
    assert len(encoded) < 300, "of a thousand"


async def test_a_peer_that_reads_is_sent_more_than_it_may_leave_unread() -> None:
    core = Scripted(echo)
    line = "x" * (LINE_BYTES_MAX - 1)
    async with running(node_of(core)) as node, peer_of(node) as peer:
        for _ in range(4 * tcp.WRITE_BYTES_MAX // LINE_BYTES_MAX):
            peer.say(line)
            assert await peer.hear_exactly(LINE_BYTES_MAX) == f"{line}\n".encode()
        assert not core.of(Disconnected)


async def test_who_was_told_to_go_and_does_not_read_why_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "HANG_UP_SECONDS", 0.1)
    kept: list[int] = []

    def answer(event: Event, _now: float) -> list[Effect]:
        if not isinstance(event, Received):
            return []
        kept.append(event.peer)
        # Little enough not to be cut for, and too much for a socket that nobody reads.
        return [*[Send(event.peer, "x" * LINE_BYTES_MAX)] * 15, Close(event.peer, "go")]

    core = Scripted(answer)
    async with running(node_of(core)) as node:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(node.addresses[0])
            deaf.sendall(b"x\n")
            assert await core.heard(Disconnected) == Disconnected(1, "go")
    assert kept == [1]


async def test_several_listeners() -> None:
    core = Scripted(echo)
    listeners = [Listener(HOST, 0, Lines) for _ in range(3)]
    node = Node(core, listeners=listeners, ready=lambda _: core.ready.set())
    async with running(node):
        assert len({port for _, port in node.addresses}) == 3
        for _, port in node.addresses:
            reader, writer = await asyncio.open_connection(HOST, port)
            await close(reader, writer)


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"x\n")
    assert await reader.readline() == b"x\n"
    writer.close()
    await writer.wait_closed()


# Calls.


def calling(event: Event, _now: float) -> list[Effect]:
    """Call at once, and once more when that came to nothing."""
    return [Dial()] if isinstance(event, Started) else []


async def test_nodes_talk() -> None:
    def ask(event: Event, _now: float) -> list[Effect]:
        match event:
            case Started():
                return [Dial()]
            case Connected(peer=peer):
                return [Send(peer, "are you there?")]
            case Received():
                return [Finish()]
            case _:
                return []

    async with running(node_of(Scripted(echo))) as server:
        core = Scripted(ask)
        address = Address(*server.addresses[0], Lines)
        async with asyncio.timeout(10):
            await node_of(core, listen=False, dial=address).run()
        assert core.said == ["are you there?"]
    (there,) = core.of(Connected)
    assert isinstance(there, Connected)
    assert there.dialled == "", "the only address"


async def test_a_call_that_fails_is_told_and_may_be_made_again() -> None:
    core = Scripted(lambda event, _: [Dial()] if len(core.of(Disconnected)) < 3 else [])
    port = free_port()
    async with running(node_of(core, listen=False, dial=Address(HOST, port, Lines))):
        await core.heard(Disconnected, 3)
    for event in core.of(Disconnected):
        assert isinstance(event, Disconnected)
        assert event.peer == 0
        assert event.why.startswith(f"cannot reach {HOST}:{port}: ")


async def test_several_addresses_are_called_by_name() -> None:
    """Two answer, one does not, and one is called twice while it rings."""

    def call(event: Event, _now: float) -> list[Effect]:
        match event:
            case Started():
                return [Dial("left"), Dial("right"), Dial("nobody"), Dial("left")]
            case Connected(peer=peer, dialled=str(dialled)):
                return [Send(peer, f"I called {dialled}")]
            case _:
                return []

    left, right = Scripted(), Scripted()
    async with running(node_of(left)) as one, running(node_of(right)) as another:
        book = {
            "left": Address(*one.addresses[0], Lines),
            "right": Address(*another.addresses[0], Lines),
            "nobody": Address(HOST, free_port(), Lines),
        }
        core = Scripted(call)
        async with running(node_of(core, listen=False, dial=book)):
            gone = await core.heard(Disconnected)
            for server, name in ((left, "left"), (right, "right")):
                assert await server.heard(Received) == Received(1, f"I called {name}")
    assert isinstance(gone, Disconnected)
    assert (gone.peer, gone.address) == (0, "nobody")
    there = [event for event in core.events if isinstance(event, Connected)]
    assert sorted(event.peer for event in there) == [1, 2]
    assert sorted(event.dialled or "" for event in there) == ["left", "right"]
    for server in (left, right):
        (came,) = server.of(Connected)
        assert isinstance(came, Connected)
        assert came.dialled is None, "that end did not call"


async def test_an_address_can_be_called_again_and_at_once_while_others_stand() -> None:
    def call(event: Event, _now: float) -> list[Effect]:
        match event:
            case Started():
                return [Dial("steady"), Dial("moody")]
            case Connected(peer=peer, dialled="moody") if len(core.of(Disconnected)) < 3:
                return [Close(peer, "bored")]
            case Disconnected() if len(core.of(Disconnected)) <= 3:
                return [Dial("moody")]
            case _:
                return []

    async with running(node_of(Scripted())) as server:
        address = Address(*server.addresses[0], Lines)
        core = Scripted(call)
        async with running(node_of(core, listen=False, dial={"steady": address, "moody": address})):
            await core.until(lambda: len(core.of(Connected)) == 5)
            assert len(core.of(Disconnected)) == 3
            names = [event.dialled for event in core.events if isinstance(event, Connected)]
    assert sorted(names, key=str) == ["moody"] * 4 + ["steady"]


async def test_a_call_to_whom_the_driver_does_not_know_is_the_cores_mistake() -> None:
    core = Scripted(lambda event, _: [Dial("whom?")] if isinstance(event, Started) else [])
    with pytest.raises(AssertionError, match=r"whom\?"):
        await node_of(core, listen=False, dial={"you": Address(HOST, 1, Lines)}).run()


@pytest.mark.parametrize(
    ("host", "port"),
    [("a..b", 80), ("x" * 64 + ".invalid", 80), (HOST, 70_000), (HOST, -1)],
    ids=["empty label", "long label", "port too large", "port below 0"],
)
async def test_a_call_to_what_is_no_address_fails_as_any_other(host: str, port: int) -> None:
    core = Scripted(calling)
    async with running(node_of(core, listen=False, dial=Address(host, port, Lines))):
        async with asyncio.timeout(5):
            gone = await core.heard(Disconnected)
        assert isinstance(gone, Disconnected)
        assert gone.peer == 0


async def test_a_node_that_stops_while_it_calls() -> None:
    """Nobody accepts there: the queue of that socket is full."""
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        port = int(full.getsockname()[1])
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex((HOST, port))
        core = Scripted(calling)
        async with running(node_of(core, listen=False, dial=Address(HOST, port, Lines))):
            await core.heard(Started)
        assert [type(event) for event in core.events] == [Started, Stopping]
        for each in waiting:
            each.close()


# The node's own user.


async def test_what_its_user_says_is_heard_and_answered() -> None:
    answers: list[object] = []
    core = Scripted(echo)
    async with running(node_of(core, local=answers.append)) as node, peer_of(node) as peer:
        assert await peer.ask("from afar") == "from afar"
        node.deliver([Received(LOCAL, "a line"), Received(LOCAL, ("any", "value"))])
    assert answers == ["a line", ("any", "value")], "and nobody else's"
    assert core.of(Received)[1:] == [Received(LOCAL, "a line"), Received(LOCAL, ("any", "value"))]


async def test_answers_to_a_user_who_does_not_listen_are_dropped() -> None:
    core = Scripted(echo)
    async with running(node_of(core)) as node:
        node.deliver([Received(LOCAL, "a line")])
    assert core.events == [Started(), Received(LOCAL, "a line"), Stopping()]


async def test_a_user_who_speaks_when_all_is_over_is_not_heard(tmp_path: Path) -> None:
    core = Scripted(keep)
    journal = Watched(tmp_path / "node.db")
    async with running(node_of(core, journal=journal)) as node:
        pass
    node.deliver([Received(LOCAL, "hello?")])
    assert core.said == []


# The disk.


def decode(body: bytes) -> object:
    return msgspec.msgpack.decode(body)


class Watched(Journal):
    """A journal that tells what it has done, and can be held up while it does it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, msgspec.msgpack.encode, decode)
        self.commits = 0
        self.on_disk: list[object] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def commit(self, effects: Iterable[Persist]) -> None:
        records = list(effects)
        self.commits += 1
        self.entered.set()
        assert self.gate.wait(LONG_SECONDS)
        super().commit(records)
        self.on_disk += [effect.record for effect in records]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Watched]:
    journal = Watched(tmp_path / "node.db")
    yield journal
    journal.gate.set()  # No test leaves a thread behind that waits.


def left_in(journal: Journal) -> list[object]:
    """What another life finds."""
    again = Journal(journal.path, msgspec.msgpack.encode, decode)
    records = list(again.read())
    again.close()
    return records


def keep(event: Event, _now: float) -> list[Effect]:
    """Have each word on disk before it is confirmed; words that end in `?` need not be."""
    if not isinstance(event, Received):
        return []
    confirmed = Send(event.peer, f"kept {event.message}")
    if str(event.message).endswith("?"):
        return [confirmed]
    return [Send(event.peer, f"got {event.message}"), Persist("words", event.message), confirmed]


async def entered(journal: Watched) -> None:
    """Wait until a commit is under way."""
    await asyncio.to_thread(journal.entered.wait, LONG_SECONDS)


async def test_nothing_is_said_before_what_it_tells_of_is_on_disk(journal: Watched) -> None:
    core = Scripted(keep)
    async with running(node_of(core, journal=journal)) as node, peer_of(node) as peer:
        for number in range(20):
            peer.say(*(f"{number}.{part}" for part in range(number)))
        for number in range(20):
            for part in range(number):
                word = ""
                while word != f"kept {number}.{part}":
                    word = await peer.hear()
                    if word.startswith("kept "):
                        assert word.removeprefix("kept ") in journal.on_disk
    words = [f"{number}.{part}" for number in range(20) for part in range(number)]
    assert left_in(journal) == words


async def test_a_commit_holds_up_what_comes_after_it_and_nothing_else(journal: Watched) -> None:
    core = Scripted(keep)
    journal.gate.clear()
    async with (
        running(node_of(core, journal=journal)) as node,
        peer_of(node) as peer,
        peer_of(node) as other,
    ):
        assert await peer.ask("first") == "got first"
        await entered(journal)
        other.say("free?")
        await core.until(lambda: "free?" in core.said)
        assert journal.on_disk == []
        journal.gate.set()
        assert await peer.hear() == "kept first"
        assert journal.on_disk == ["first"]
        assert await other.hear() == "kept free?", "it stood behind in the queue"


async def test_nobody_is_heard_while_too_much_waits_for_the_disk(
    journal: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "EFFECTS_WAITING_MAX", 100)
    monkeypatch.setattr(driver, "GO_ON_SECONDS", 0.1)
    core, elsewhere = Scripted(keep), Scripted(echo)
    journal.gate.clear()
    async with (
        running(node_of(core, journal=journal)) as node,
        running(node_of(elsewhere)) as another,
        peer_of(node) as peer,
        peer_of(node) as other,
        peer_of(another) as witness,
    ):
        assert await peer.ask("first") == "got first"
        await entered(journal)
        peer.say(*(str(number) for number in range(40)))
        await core.until(lambda: len(core.said) == 41)
        async with peer_of(node) as newcomer:
            other.say("other")
            newcomer.say("newcomer")
            for _ in range(10):
                assert await witness.ask("and you?") == "and you?"
            assert core.said[41:] == []
            core.wake_at = 0.0
            node.deliver(())
            for _ in range(10):
                assert await witness.ask("and you?") == "and you?"
            assert not core.of(Tick), "it would take them for silent"
            journal.gate.set()
            assert await other.hear() == "got other"
            assert await newcomer.hear() == "got newcomer"
            assert await newcomer.hear() == "kept newcomer"
            await core.heard(Tick)
            core.wake_at = None
    assert sorted(map(str, left_in(journal))) == sorted(map(str, core.said))


async def test_records_that_come_during_a_commit_share_the_next(journal: Watched) -> None:
    core = Scripted(keep)
    journal.gate.clear()
    async with running(node_of(core, journal=journal)) as node, peer_of(node) as peer:
        assert await peer.ask("0") == "got 0"
        await entered(journal)
        words = [str(number) for number in range(1, 200)]
        for word in words:
            peer.say(word)
        await core.until(lambda: len(core.said) == 200)
        journal.gate.set()
        while await peer.hear() != "kept 199":
            pass
        assert journal.commits == 2
        assert journal.on_disk == ["0", *words]
    assert left_in(journal) == ["0", *words]


async def test_records_of_one_event_share_a_commit(journal: Watched) -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        if not isinstance(event, Started):
            return []
        return [*(Persist("words", number) for number in range(500)), Finish()]

    async with asyncio.timeout(20):
        await node_of(Scripted(answer), journal=journal).run()
    assert journal.commits == 1
    assert left_in(journal) == list(range(500))


async def test_peers_come_when_what_is_restored_is_on_disk(journal: Watched) -> None:
    core = Scripted(lambda event, _: [Persist("a", 1)] if isinstance(event, Started) else [])
    journal.gate.clear()
    node = node_of(core, journal=journal)
    running_node = asyncio.create_task(node.run())
    await entered(journal)
    assert node.addresses == []
    journal.gate.set()
    async with asyncio.timeout(10):
        await core.ready.wait()
        assert journal.on_disk == [1]
        node.stop()
        await running_node


async def test_another_life_is_told_of_the_one_before(journal: Watched) -> None:
    async with running(node_of(Scripted(keep), journal=journal)) as node, peer_of(node) as peer:
        peer.say("one", "two")
        while await peer.hear() != "kept two":
            pass
    core = Scripted()
    async with running(node_of(core, journal=Watched(journal.path))):
        pass
    assert core.events[0] == Started(("one", "two"))


async def test_records_of_events_that_come_at_once_share_a_commit(journal: Watched) -> None:
    core, told = Scripted(keep), list[object]()
    async with running(node_of(core, journal=journal, local=told.append)) as node:
        node.deliver([Received(LOCAL, "one"), Received(LOCAL, "two?"), Received(LOCAL, "three")])
        assert told == ["got one"], "all else waits, in its order"
    assert told == ["got one", "kept one", "kept two?", "got three", "kept three"]
    assert journal.commits == 1


async def test_what_waits_for_nothing_is_carried_out_before_the_next_event() -> None:
    """Or else the answers to all that is in one read would pile up."""
    heard: list[object] = []

    def answer(event: Event, now: float) -> list[Effect]:
        if isinstance(event, Received):
            heard.append(f"asked {event.message}")
        return echo(event, now)

    async with running(node_of(Scripted(answer), local=heard.append)) as node:
        node.deliver([Received(LOCAL, "one"), Received(LOCAL, "two")])
    assert heard == ["asked one", "one", "asked two", "two"]


async def test_without_a_journal_nothing_waits() -> None:
    async with running(node_of(Scripted(keep))) as node, peer_of(node) as peer:
        assert await peer.ask("x") == "got x"
        assert await peer.hear() == "kept x"


@pytest.mark.parametrize("attempt", range(5))
async def test_records_of_the_last_moment_are_kept_once(journal: Watched, attempt: int) -> None:
    """Stopped while one record is on its way to the disk and others wait."""

    def answer(event: Event, now: float) -> list[Effect]:
        core.wake_at = now if isinstance(event, Started) else None
        match event:
            case Tick():
                return [Persist("words", "first")]
            case Stopping():
                return [Persist("words", "last")]
            case _:
                return []

    journal.gate.clear()
    core = Scripted(answer)
    node = node_of(core, journal=journal)
    running_node = asyncio.create_task(node.run())
    await core.ready.wait()
    await entered(journal)
    node.stop()
    await core.heard(Stopping)
    # True whenever the disk is done; most likely to go wrong when the node waits for it already.
    await asyncio.sleep(0.05)
    journal.gate.set()
    async with asyncio.timeout(10):
        await running_node
    assert left_in(journal) == ["first", "last"]


async def test_last_words_that_wait_for_the_disk_are_said(journal: Watched) -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        match event:
            case Received(peer=peer):
                return [Send(peer, "heard")]
            case Stopping():
                return [Persist("words", "last"), Send(1, "kept last")]
            case _:
                return []

    core = Scripted(answer)
    node = node_of(core, journal=journal)
    running_node = asyncio.create_task(node.run())
    await core.ready.wait()
    async with peer_of(node) as peer, asyncio.timeout(10):
        assert await peer.ask("x") == "heard"
        journal.gate.clear()
        node.stop()
        await core.heard(Stopping)
        await asyncio.sleep(0.05)
        journal.gate.set()
        assert await peer.hear() == "kept last"
        await running_node
    assert left_in(journal) == ["last"]


class Full(Journal):
    """A journal whose disk has no room for what is too long."""

    def commit(self, effects: Iterable[Persist]) -> None:
        records = list(effects)
        if any(effect.record == "too long" for effect in records):
            raise LocalError("the disk is full")
        super().commit(records)


async def test_a_disk_that_is_full_ends_the_node_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    journal = Full(tmp_path / "node.db", msgspec.msgpack.encode, decode)
    core = Scripted(keep)

    async def story() -> None:
        async with running(node_of(core, journal=journal)) as node, peer_of(node) as peer:
            peer.say("short")
            assert [await peer.hear(), await peer.hear()] == ["got short", "kept short"]
            peer.say("too long")
            assert [await peer.hear(), await peer.hear()] == ["got too long", ""]

    with pytest.raises(LocalError, match="the disk is full"):
        await story()
    assert left_in(journal) == ["short"]


async def test_a_journal_that_cannot_be_read_ends_the_node(tmp_path: Path) -> None:
    def undecodable(body: bytes) -> object:
        raise ValueError("no record")

    path = tmp_path / "node.db"
    journal = Watched(path)
    journal.commit([Persist("a", 1)])
    journal.close()
    core = Scripted()
    with pytest.raises(LocalError, match="damaged"):
        await node_of(core, journal=Journal(path, msgspec.msgpack.encode, undecodable)).run()
    assert core.events == []
    assert left_in(journal) == [1], "and let go of it"


async def test_a_journal_of_another_node_ends_this_one_before_anybody_can_come(
    journal: Watched,
) -> None:
    def refuse(_event: Event, _now: float) -> list[Effect]:
        raise LocalError("this journal is of another node")

    core = Scripted(refuse)
    async with nothing_left(), asyncio.timeout(10):
        node = node_of(core, journal=journal)
        with pytest.raises(LocalError, match="of another node"):
            await node.run()
    assert not core.ready.is_set()
    assert node.addresses == []


async def test_what_is_restored_and_cannot_be_kept_ends_the_node_before_anybody_can_come(
    tmp_path: Path,
) -> None:
    core = Scripted(lambda *_: [Persist("a", "too long")])
    node = node_of(core, journal=Full(tmp_path / "node.db", msgspec.msgpack.encode, decode))
    with pytest.raises(LocalError, match="the disk is full"):
        await node.run()
    assert not core.ready.is_set()


# The clock.


class Alarmed(Scripted):
    """A core that is told when to wake, and asserts that it is never woken early."""

    def __init__(self) -> None:
        super().__init__(self.on_event)
        self.woken: list[float] = []
        self.later: list[float] = []

    def set(self, *seconds: float) -> None:
        """Wake after the first of these; then, each time, after the next."""
        self.later = list(seconds)

    def on_event(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Tick():
                assert self.wake_at is not None
                assert now >= self.wake_at
                self.woken.append(now - self.wake_at)
                self.wake_at = now + self.later.pop(0) if self.later else None
            case Received(message=str(message)):
                self.wake_at = now + float(message) if message != "never" else None
            case _:
                pass
        return [Send(event.peer, "set")] if isinstance(event, Received) else []


async def test_a_deadline_that_comes_nearer_is_kept() -> None:
    core = Alarmed()
    async with running(node_of(core)) as node, peer_of(node) as peer:
        assert await peer.ask(f"{2 * LONG_SECONDS}") == "set"
        assert await peer.ask(f"{LONG_SECONDS}") == "set"
        assert await peer.ask("0.02") == "set"
        await core.heard(Tick)
        assert core.woken[0] < LONG_SECONDS / 4


async def test_a_deadline_that_moves_away_is_not_kept_early() -> None:
    core = Alarmed()
    async with running(node_of(core)) as node, peer_of(node) as peer:
        assert await peer.ask("0.03") == "set"
        assert await peer.ask("0.2") == "set"
        await core.heard(Tick)
        assert len(core.woken) == 1


async def test_a_deadline_that_is_given_up_is_not_kept() -> None:
    core = Alarmed()
    async with running(node_of(core)) as node, peer_of(node) as peer:
        assert await peer.ask("0.15") == "set"
        assert await peer.ask("never") == "set"
        await asyncio.sleep(0.2)
        assert core.of(Tick) == []
        assert await peer.ask("0.02") == "set"
        await core.heard(Tick)


async def test_a_stale_timer_does_not_take_the_live_one_with_it() -> None:
    """Nearer, further, given up, nearer again: the last deadline is kept, and later ones too."""
    core = Alarmed()
    async with running(node_of(core)) as node, peer_of(node) as peer:
        for _ in range(3):
            core.set(0.02, 0.01)
            for seconds in ("0.5", "0.01", "0.3", "never", "0.02", "0.04"):
                assert await peer.ask(seconds) == "set"
            while core.wake_at is not None:
                await core.heard(Tick, len(core.woken) + 1)
        assert len(core.woken) >= 9, "0.01 may pass before 0.3 is said"


async def test_a_deadline_in_the_past_is_kept_at_once_and_only_once() -> None:
    core = Alarmed()
    async with running(node_of(core)) as node, peer_of(node) as peer:
        assert await peer.ask("-5") == "set"
        await core.heard(Tick)
        assert await peer.ask("never") == "set"
        assert len(core.woken) == 1


# Searches.

PUZZLE = presets.plain(b"driven ")
NONCES = range(1_000, 21_000)


async def searched(effect: Search) -> Searched:
    """What a core hears of a search."""

    def answer(event: Event, _now: float) -> list[Effect]:
        if isinstance(event, Started):
            return [effect]
        return [Finish()] if isinstance(event, Searched) else []

    core = Scripted(answer)
    async with asyncio.timeout(30):
        await node_of(core, listen=False).run()
    (event,) = core.of(Searched)
    assert isinstance(event, Searched)
    return event


def ranks() -> dict[int, int]:
    return {nonce: PUZZLE.prove(nonce).rank for nonce in NONCES}


async def test_a_search_for_the_lowest() -> None:
    ranked = ranks()
    lowest = min(NONCES, key=lambda nonce: ranked[nonce])
    event = await searched(Search(1, PUZZLE, NONCES, Lowest()))
    assert event == Searched(1, NONCES.stop, (lowest,))


async def test_a_search_for_the_first() -> None:
    target, ranked = Target.from_work(1_000), ranks()
    first = next(nonce for nonce in NONCES if target.admits(ranked[nonce]))
    event = await searched(Search(2, PUZZLE, NONCES, First(target)))
    assert event == Searched(2, first + 1, (first,))


async def test_a_search_for_what_is_not_there() -> None:
    event = await searched(Search(3, PUZZLE, NONCES, First(Target(1))))
    assert event == Searched(3, NONCES.stop, ())


async def test_a_search_for_shares() -> None:
    limit, ranked = share_limit(len(NONCES)), ranks()
    shares = tuple(nonce for nonce in NONCES if limit.admits(ranked[nonce]))
    event = await searched(Search(4, PUZZLE, NONCES, Shares(limit)))
    assert event == Searched(4, NONCES.stop, shares)


@pytest.mark.parametrize("work", [500, 5_000])
async def test_a_search_for_shares_up_to_a_proof(work: int) -> None:
    """The proof is the last, whether it is easier than a share or harder."""
    limit, until, ranked = Target.from_work(1_000), Target.from_work(work), ranks()
    end = next(nonce for nonce in NONCES if until.admits(ranked[nonce]))
    shares = [nonce for nonce in NONCES if limit.admits(ranked[nonce]) and nonce < end]
    event = await searched(Search(5, PUZZLE, NONCES, Shares(limit, until)))
    assert event == Searched(5, end + 1, (*shares, end))


async def test_an_empty_search_ends_too() -> None:
    event = await searched(Search(6, PUZZLE, range(7, 7), Lowest()))
    assert event == Searched(6, 7, ())


async def test_a_search_that_is_cancelled_is_heard_of_no_more() -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        match event:
            case Started():
                return [Search(1, PUZZLE, range(2**60), Lowest())]
            case Advanced(task=1):
                small = [Search(task, PUZZLE, NONCES, Lowest()) for task in range(2, 12)]
                return [Cancel(1), Cancel(99), *small]
            case Searched() if len(core.of(Searched)) == 10:
                return [Finish()]
            case _:
                return []

    core = Scripted(answer)
    async with asyncio.timeout(30):
        await node_of(core, listen=False).run()
    told = [event for event in core.events if isinstance(event, Advanced) and event.task == 1]
    assert len(told) == 1
    assert told[0].hashes > 0
    lowest = search(PUZZLE, NONCES, Lowest()).proof
    assert lowest is not None
    ended = [event for event in core.events if isinstance(event, Searched)]
    assert sorted(ended, key=lambda event: event.task) == [
        Searched(task, NONCES.stop, (lowest.nonce,)) for task in range(2, 12)
    ]


async def test_a_search_that_cannot_be_ends_the_node() -> None:
    """Cores check what they ask for; one that does not is wrong, and that is told."""
    with pytest.raises(LocalError, match="too large"):
        await searched(Search(1, PUZZLE, range(2**64, 2**64 + 5), Lowest()))


async def test_a_search_that_is_wanted_on_the_way_out_does_no_harm() -> None:
    """A pool whose miners leave it, because it stops, would do their audits itself."""

    def answer(event: Event, _now: float) -> list[Effect]:
        match event:
            case Received(peer=peer):
                return [Send(peer, "heard")]
            case Disconnected():
                return [Search(1, PUZZLE, NONCES, Lowest())]
            case _:
                return []

    core = Scripted(answer)
    async with running(node_of(core)) as node, peer_of(node) as peer:
        assert await peer.ask("x") == "heard"
        node.stop()
        assert await peer.hear() == ""
    assert core.of(Disconnected)


# Half a connection.


class Texts(Lines):
    """A wire on which the last line needs no end, and the end is a message: None."""

    def end(self) -> list[object]:
        if self._rest.startswith(b"!"):
            raise RemoteProtocolError("that is no line")
        return [*([self._rest.decode()] if self._rest else []), None]


class Courteous(Scripted):
    """Answers all that a peer has said once it has said all, and closes at `leave`."""

    def __init__(self, answers: int = 1, *, leaves: bool = True) -> None:
        super().__init__(self.on_event)
        self.answers = answers
        self.leaves = leaves

    def on_event(self, event: Event, _now: float) -> list[Effect]:
        if not isinstance(event, Received) or event.message is not None:
            return []
        return self.leave(event.peer) if self.leaves else []

    def leave(self, peer: int) -> list[Effect]:
        heard = [each for each in self.of(Received) if isinstance(each, Received)]
        words = " ".join(str(each.message) for each in heard if each.peer == peer and each.message)
        return [*[Send(peer, words)] * self.answers, Close(peer, "answered")]


def texts_node(core: Scripted, tls: ssl.SSLContext | None = None) -> Node:
    listener = Listener(HOST, 0, Texts, tls, write_bytes_max=2**24)
    return Node(core, listeners=[listener], ready=lambda _: core.ready.set(), check=True)


@asynccontextmanager
async def half_closed(node: Node, text: bytes) -> AsyncIterator[socket.socket]:
    """A peer that has said this, and all."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setblocking(False)
        await loop.sock_connect(peer, node.addresses[0])
        await loop.sock_sendall(peer, text)
        peer.shutdown(socket.SHUT_WR)
        yield peer


async def all_from(peer: socket.socket) -> bytes:
    """What a peer hears until the node hangs up."""
    loop, data = asyncio.get_running_loop(), b""
    while more := await loop.sock_recv(peer, 2**16):
        data += more
    return data


async def test_who_has_said_all_and_closed_its_half_is_answered() -> None:
    core = Courteous()
    async with (
        nothing_left(),
        running(texts_node(core)) as node,
        half_closed(node, b"one\ntwo") as peer,
    ):
        assert await all_from(peer) == b"one two\n"
        assert await core.heard(Disconnected) == Disconnected(1, "answered")
    assert core.said == ["one", "two", None]


async def test_the_end_of_half_a_connection_is_read_once_though_reading_was_held_up(
    journal: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "EFFECTS_WAITING_MAX", 100)
    journal.gate.clear()
    core = Scripted(keep)
    listener = Listener(HOST, 0, Texts)
    node = Node(
        core, listeners=[listener], journal=journal, ready=lambda _: core.ready.set(), check=True
    )
    async with nothing_left(), running(node), half_closed(node, b"half") as peer:
        await entered(journal)
        async with peer_of(node) as other:
            other.say(*(str(number) for number in range(40)))
            await core.until(lambda: "39" in core.said)
            other.say("later")
            journal.gate.set()
            assert await other.ask("and more") != ""
            await core.until(lambda: "and more" in core.said)
            assert core.said.count(None) == 1
        peer.close()
        await core.heard(Disconnected, 2)


async def test_a_long_answer_to_half_a_connection_arrives_whole() -> None:
    core, line = Courteous(answers=100), b"x" * (LINE_BYTES_MAX - 1)
    async with running(texts_node(core)) as node, half_closed(node, line) as peer:
        assert await all_from(peer) == 100 * (line + b"\n")
        assert await core.heard(Disconnected) == Disconnected(1, "answered")


async def test_an_answer_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "LOOK_SECONDS", 0.001)
    core = Courteous(leaves=False)
    async with running(texts_node(core)) as node, half_closed(node, b"patience") as peer:
        await core.heard(Received, 2)
        async with peer_of(node) as other:
            other.say("meanwhile")
            await core.heard(Received, 3)
        await core.heard(Received, 4)
        assert core.of(Disconnected) == [], "the other one has closed no more than its half either"
        core.leaves = True
        node.deliver((Received(1, None), Received(2, None)))
        assert await all_from(peer) == b"patience\n"
        await core.heard(Disconnected, 2)


async def test_with_a_wire_that_knows_no_halves_half_an_end_is_the_end() -> None:
    core = Courteous()
    async with running(node_of(core)) as node, half_closed(node, b"one\ntwo") as peer:
        assert await all_from(peer) == b""
        assert await core.heard(Disconnected) == Disconnected(1, "it hung up")
    assert core.said == ["one"]


async def test_an_end_that_completes_garbage_is_told_and_its_sender_hung_up_on() -> None:
    core = Courteous()
    async with running(texts_node(core)) as node, half_closed(node, b"one\n!") as peer:
        assert await all_from(peer) == b""
        assert await core.heard(Disconnected) == Disconnected(1, "that is no line")
    assert core.of(Erred) == [Erred(1, RemoteProtocolError.cost, "that is no line")]


async def test_who_was_told_to_go_has_no_end_that_is_heard() -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        return [Close(event.peer, "go")] if isinstance(event, Received) else []

    core = Scripted(answer)
    async with running(texts_node(core)) as node, half_closed(node, b"one\ntwo") as peer:
        assert await all_from(peer) == b""
        assert await core.heard(Disconnected) == Disconnected(1, "go")
    assert core.said == ["one"]


async def test_half_a_connection_that_is_reset_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "LOOK_SECONDS", 0.01)
    core = Courteous(leaves=False)
    async with nothing_left(), running(texts_node(core)) as node:
        async with half_closed(node, b"one") as peer:
            await core.heard(Received, 2)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone = await core.heard(Disconnected)
        assert isinstance(gone, Disconnected)
        assert gone.peer == 1
        assert gone.why in {"broken pipe", "connection reset by peer"}
        node.deliver((Received(1, None),))  # and an answer that is too late does no harm
    assert len(core.of(Disconnected)) == 1


async def test_an_answer_to_who_is_gone_ends_half_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "LOOK_SECONDS", 0.01)

    def answer(event: Event, _now: float) -> list[Effect]:
        return [Send(event.peer, "are you there?")] if isinstance(event, Received) else []

    core = Scripted(answer)
    async with running(texts_node(core)) as node:
        async with half_closed(node, b"one\n"):
            pass
        gone = await core.heard(Disconnected)
    assert isinstance(gone, Disconnected)
    assert gone.peer == 1


async def test_half_a_connection_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "HANG_UP_SECONDS", 0.1)
    core = Courteous(answers=200)
    line = b"x" * (LINE_BYTES_MAX - 1)
    async with nothing_left(), running(texts_node(core)) as node, half_closed(node, line):
        assert await core.heard(Disconnected) == Disconnected(1, "answered")


async def test_a_node_that_stops_ends_half_a_connection_too() -> None:
    core = Courteous(leaves=False)
    async with nothing_left(), running(texts_node(core)) as node, half_closed(node, b"x") as peer:
        await core.heard(Received, 2)
        node.stop()
        assert await all_from(peer) == b""
        assert await core.heard(Disconnected) == Disconnected(1, "stopping")


# The end.


def sockets() -> int:
    """Sockets that this process has open."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("sockets cannot be counted here")
    count = 0
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # One of them was the folder itself.
            count += str(entry.readlink()).startswith("socket:")
    return count


def threads() -> set[threading.Thread]:
    """Threads of ours; one that compiles may take its time."""
    return {
        each
        for each in threading.enumerate()
        if each.name.startswith("nonsuch") and each.name != "nonsuch-compile"
    }


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    tasks, known, before = asyncio.all_tasks(), threads(), sockets()
    yield
    assert asyncio.all_tasks() == tasks
    assert threads() == known
    # Transports close their sockets in the next round of the loop.
    for _ in range(10):
        await asyncio.sleep(0)
    assert sockets() == before


async def test_stop_leaves_nothing_behind(journal: Watched) -> None:
    """Stopped in the middle of everything at once."""

    def answer(event: Event, now: float) -> list[Effect]:
        core.wake_at = now + 0.01
        match event:
            case Started():
                return [Search(1, PUZZLE, range(2**60), Lowest()), Dial()]
            case Received(peer=peer, message=message):
                return [Persist("words", message), Send(peer, message)]
            case Stopping():
                return [Send(peer, "goodbye") for peer in range(5)]
            case _:
                return []

    core, known = Scripted(answer), threads()
    async with nothing_left(), running(node_of(Scripted())) as other:
        address = Address(*other.addresses[0], Lines)
        node = node_of(core, dial=address, journal=journal)
        async with running(node), peer_of(node) as one, peer_of(node) as two:
            assert [await one.ask("x"), await two.ask("y")] == ["x", "y"]
            await core.heard(Tick, 3)
            assert threads() > known
            port = node.addresses[0][1]
            node.stop()
            for peer in (one, two):
                assert [await peer.hear(), await peer.hear()] == ["goodbye", ""]
        assert threads() == known
        last = len(core.events)
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((HOST, port))
        await asyncio.sleep(0.05)
        assert len(core.events) == last, "nothing is heard any more"
    assert left_in(journal) == ["x", "y"]


async def test_a_peer_that_does_not_read_the_last_words_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "STOP_SECONDS", 0.1)

    def answer(event: Event, _now: float) -> list[Effect]:
        many: list[Effect] = [Send(1, "x" * LINE_BYTES_MAX)] * 15
        return many if isinstance(event, Received | Stopping) else []

    core = Scripted(answer)
    async with running(node_of(core)) as node:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(node.addresses[0])
            deaf.sendall(b"x\n")
            await core.heard(Received)
            began = time.monotonic()
            node.stop()
            await core.heard(Disconnected)
            assert time.monotonic() - began < 1.5


async def test_a_core_that_finishes_is_carried_out_to_the_end() -> None:
    def answer(event: Event, _now: float) -> list[Effect]:
        return [Send(event.peer, "done"), Finish()] if isinstance(event, Received) else []

    core = Scripted(answer)
    node = node_of(core)
    task = asyncio.create_task(node.run())
    await core.ready.wait()
    async with peer_of(node) as peer, asyncio.timeout(10):
        assert [await peer.ask("x"), await peer.hear()] == ["done", ""]
        await task


async def test_a_core_may_finish_at_once() -> None:
    core = Scripted(lambda *_: [Finish()])
    async with nothing_left(), asyncio.timeout(10):
        await node_of(core).run()
    assert core.events == [Started(()), Stopping()]


class Mistake(Exception):
    """What a core should never raise."""


@pytest.mark.parametrize("kind", [Started, Connected, Received, Tick, Stopping])
async def test_a_mistake_in_a_core_ends_run_with_that_mistake(kind: type[Event]) -> None:
    def answer(event: Event, now: float) -> list[Effect]:
        if isinstance(event, kind):
            raise Mistake(kind.__name__)
        if isinstance(event, Received):
            core.wake_at = now
        return []

    core = Scripted(answer)
    node = node_of(core)

    async def story() -> None:
        async with running(node):
            if kind is Started:
                return
            async with peer_of(node) as peer:
                peer.say("x")
                if kind is Stopping:
                    await core.heard(Received)
                    node.stop()
                assert await peer.hear() == ""

    async with nothing_left():
        with pytest.raises(Mistake, match=kind.__name__):
            await story()
    assert isinstance(core.events[-1], kind), "after its mistake it is asked nothing more"


async def test_a_core_that_breaks_its_own_rules_is_stopped() -> None:
    class Broken(Scripted):
        def _check(self) -> None:
            assert len(self.events) < 3, "a rule"

    async def story() -> None:
        async with running(node_of(Broken(echo))) as node, peer_of(node) as peer:
            peer.say("x")
            assert await peer.hear() == ""

    with pytest.raises(AssertionError, match="a rule"):
        await story()


async def failing_observer(journal: Journal | None) -> None:
    def observe(fact: object) -> None:
        raise Mistake(str(fact))

    def answer(event: Event, _now: float) -> list[Effect]:
        return [Persist("a", 1), Emit("told")] if isinstance(event, Started) else []

    async with asyncio.timeout(5):
        await node_of(Scripted(answer), journal=journal, observe=observe).run()


async def test_a_mistake_in_an_observer_ends_run() -> None:
    with pytest.raises(Mistake, match="told"):
        await failing_observer(None)


async def test_a_mistake_in_an_observer_ends_run_behind_a_commit_too(journal: Watched) -> None:
    with pytest.raises(Mistake, match="told"):
        await failing_observer(journal)


async def test_facts_are_observed_in_order(journal: Watched) -> None:
    facts: list[object] = []
    effects: list[Effect] = [
        Emit(1),
        Persist("a", 1),
        Emit(2),
        Emit(3),
        Persist("a", 2),
        Emit(4),
        Finish(),
    ]
    core = Scripted(lambda event, _: effects if isinstance(event, Started) else [])
    async with asyncio.timeout(10):
        await node_of(core, journal=journal, observe=facts.append).run()
    assert facts == [1, 2, 3, 4]


async def test_a_port_that_is_taken_ends_run_and_leaves_nothing_behind(journal: Watched) -> None:
    async with nothing_left():
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            taken.listen()
            port = int(taken.getsockname()[1])
            listeners = [Listener(HOST, 0, Lines), Listener(HOST, port, Lines)]
            node = Node(Scripted(), listeners=listeners, journal=journal)
            with pytest.raises(LocalError, match=f"cannot listen on {HOST}:{port}: "):
                await node.run()
    assert left_in(journal) == []


@pytest.mark.parametrize(("host", "port"), [("a..b", 0), (HOST, 70_000), ("host.invalid", 0)])
async def test_what_is_no_address_cannot_be_listened_on(host: str, port: int) -> None:
    node = Node(Scripted(), listeners=[Listener(host, port, Lines)])
    with pytest.raises(LocalError, match=f"cannot listen on {host}:{port}: "):
        await node.run()


async def test_run_that_is_cancelled_leaves_nothing_behind_and_drives_no_more() -> None:
    """Its peers leave while it ends; that must not set the timer again."""

    def answer(event: Event, now: float) -> list[Effect]:
        core.wake_at = now + (0.02 if isinstance(event, Disconnected | Tick) else LONG_SECONDS)
        return echo(event, now)

    core = Scripted(answer)
    async with nothing_left():
        node = node_of(core)
        task = asyncio.create_task(node.run())
        await core.ready.wait()
        async with peer_of(node) as peer:
            assert await peer.ask("x") == "x"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await peer.hear() == ""
        last = len(core.events)
        await asyncio.sleep(0.1)
        assert len(core.events) == last


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this host, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command here")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)]
    command += ["-addext", f"subjectAltName=IP:{HOST},DNS:localhost", "-out", str(certificate)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this openssl makes no such certificate: {made.stderr}")
    return certificate, key


def server_side(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def client_side(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


async def test_nodes_talk_over_tls(certificate: tuple[Path, Path]) -> None:
    def ask(event: Event, _now: float) -> list[Effect]:
        match event:
            case Started():
                return [Dial()]
            case Connected(peer=peer):
                return [Send(peer, "x" * 50_000), Send(peer, "secret")]
            case Received(message="secret"):
                return [Finish()]
            case _:
                return []

    async with nothing_left():
        server = Scripted(echo)
        async with running(node_of(server, tls=server_side(certificate))) as node:
            core = Scripted(ask)
            address = Address(*node.addresses[0], Lines, client_side(certificate))
            async with asyncio.timeout(10):
                await node_of(core, listen=False, dial=address).run()
            assert core.said == ["x" * 50_000, "secret"]
            gone = await server.heard(Disconnected)
            assert isinstance(gone, Disconnected)
            assert gone.peer == 1


async def test_a_certificate_that_nobody_vouches_for_is_a_call_that_failed(
    certificate: tuple[Path, Path],
) -> None:
    server = Scripted(echo)
    async with running(node_of(server, tls=server_side(certificate))) as node:
        core = Scripted(calling)
        address = Address(*node.addresses[0], Lines, ssl.create_default_context())
        async with running(node_of(core, listen=False, dial=address)):
            gone = await core.heard(Disconnected)
        assert isinstance(gone, Disconnected)
        assert gone.peer == 0
        assert "certificate" in gone.why.lower()
    assert server.of(Connected) == []


async def test_over_tls_garbage_and_deaf_peers_end_alone(certificate: tuple[Path, Path]) -> None:
    core, tls = Flooding(), client_side(certificate)
    async with (
        running(node_of(core, tls=server_side(certificate))) as node,
        peer_of(node, tls) as good,
        peer_of(node, tls) as bad,
    ):
        assert await good.ask("before") == "before"
        assert await bad.ask("before") == "before"
        bad.say("!")
        assert await bad.hear() == ""
        assert await core.heard(Disconnected) == Disconnected(2, "that is no line")
        # One that speaks no TLS at all is never a peer.
        reader, writer = await asyncio.open_connection(*node.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"\n" not in await reader.read()
        writer.close()
        await writer.wait_closed()
        gone = await be_deaf(node, core, tls)
        assert gone == Disconnected(3, "it does not read what it is sent")
        assert await good.ask("after") == "after"
    assert len(core.of(Connected)) == 3


async def test_connections_that_have_ended_leave_nothing_to_the_collector(
    certificate: tuple[Path, Path],
) -> None:
    """Each holds a quarter of a megabyte where it is encrypted, and collections are rare."""
    core, tls = Scripted(echo), client_side(certificate)
    async with running(node_of(core, tls=server_side(certificate))) as node:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                async with peer_of(node, tls) as peer:
                    assert await peer.ask("here") == "here"
            await core.heard(Disconnected, 5)
            await asyncio.sleep(0)  # The call that told of the last one returns.
            assert not any(isinstance(each, Connection) for each in gc.get_objects())
        finally:
            gc.enable()


class Silent:
    """Connections to a node of which not a word comes, as many as it lets stand at once."""

    def __init__(self, node: Node, count: int) -> None:
        self._address = node.addresses[0]
        self._count = count
        self.peers: list[socket.socket] = []

    def come(self) -> socket.socket:
        """One more."""
        peer = socket.create_connection(self._address)
        peer.setblocking(False)
        self.peers.append(peer)
        return peer

    def __enter__(self) -> Silent:
        for _ in range(self._count):
            self.come()
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self.peers:
            peer.close()


async def is_closed(peer: socket.socket) -> bool:
    """Wait for the end of a connection, and for nothing else."""
    with suppress(ConnectionResetError):
        return await asyncio.get_running_loop().sock_recv(peer, 1) == b""
    return True


def is_open(peer: socket.socket) -> bool:
    with suppress(BlockingIOError):
        peer.recv(1)
        return False
    return True


async def is_let_in(node: Node, tls: ssl.SSLContext) -> None:
    """Come again until somebody answers: that there is room again is not told."""
    while True:
        with suppress(OSError):
            async with peer_of(node, tls) as peer:
                assert await peer.ask("here") == "here"
                return


SOME = 3
"""Handshakes at once, here."""


@pytest.fixture
def few_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "HANDSHAKES_MAX", SOME)
    monkeypatch.setattr(tcp, "HANDSHAKE_SECONDS", 60.0)


@pytest.mark.usefixtures("few_handshakes")
async def test_who_comes_to_more_handshakes_than_there_may_be_is_closed_at_once(
    certificate: tuple[Path, Path],
) -> None:
    core, tls = Scripted(echo), client_side(certificate)
    async with nothing_left(), running(node_of(core, tls=server_side(certificate))) as node:
        with Silent(node, SOME) as silent:
            for _ in range(5 * SOME):
                assert await is_closed(silent.come())
            with pytest.raises((ConnectionError, ssl.SSLError)):
                async with peer_of(node, tls):
                    pass
            assert all(is_open(peer) for peer in silent.peers[:SOME])
            assert not core.of(Connected)
            silent.peers[0].close()
            await is_let_in(node, tls)
            # One whose handshake is done takes nobody's place.
            async with peer_of(node, tls) as one:
                assert await one.ask("here") == "here"
                await is_let_in(node, tls)
                assert await one.ask("still here") == "still here"
            assert all(is_open(peer) for peer in silent.peers[1:SOME])


@pytest.mark.usefixtures("few_handshakes")
async def test_a_handshake_that_has_had_its_time_makes_room_for_who_comes(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "HANDSHAKE_SECONDS", 0.0)
    core, tls = Scripted(echo), client_side(certificate)
    async with nothing_left(), running(node_of(core, tls=server_side(certificate))) as node:
        with Silent(node, SOME) as silent:
            async with peer_of(node, tls) as one:
                assert await one.ask("here") == "here"
                assert await is_closed(silent.peers[0])
                assert all(is_open(peer) for peer in silent.peers[1:])


@pytest.mark.usefixtures("few_handshakes")
@pytest.mark.parametrize("words", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_those_who_never_finish_a_handshake_make_room_in_time(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    monkeypatch.setattr(tcp, "DIAL_SECONDS", 0.5)
    core, tls = Scripted(echo), client_side(certificate)
    async with nothing_left(), running(node_of(core, tls=server_side(certificate))) as node:
        with Silent(node, SOME) as silent:
            for peer in silent.peers:
                peer.sendall(words)
            await is_let_in(node, tls)
            for peer in silent.peers:
                while not await is_closed(peer):
                    pass  # It was told what is wrong.
    assert len(core.of(Connected)) == 1


@pytest.mark.usefixtures("few_handshakes")
async def test_those_who_reset_their_handshakes_make_room(certificate: tuple[Path, Path]) -> None:
    tls = client_side(certificate)
    async with (
        nothing_left(),
        running(node_of(Scripted(echo), tls=server_side(certificate))) as node,
    ):
        for _ in range(5):
            with Silent(node, SOME) as silent:
                for peer in silent.peers:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await is_let_in(node, tls)


@pytest.mark.parametrize("rounds", range(8))
async def test_a_node_that_stops_ends_handshakes_however_far_they_are(
    certificate: tuple[Path, Path], rounds: int
) -> None:
    core = Scripted(echo)
    began = time.monotonic()
    async with nothing_left(), running(node_of(core, tls=server_side(certificate))) as node:
        with Silent(node, SOME) as silent:
            for _ in range(rounds):
                await asyncio.sleep(0)
            node.stop()
            assert [await is_closed(peer) for peer in silent.peers] == [True] * SOME
            silent.peers[0].close()
    assert time.monotonic() - began < tcp.DIAL_SECONDS / 2
    assert not core.of(Connected)


async def test_what_comes_right_behind_a_handshake_is_heard(certificate: tuple[Path, Path]) -> None:
    """A whole visit at once: with TLS 1.3 the words travel with the handshake's last part."""
    core = Scripted(echo)
    async with running(node_of(core, tls=server_side(certificate))) as node:
        for number in range(1, 11):
            async with peer_of(node, client_side(certificate)) as peer:
                peer.say("in haste")
            await core.heard(Disconnected, number)
    assert core.said == ["in haste"] * 10


async def test_over_tls_what_an_end_completes_is_heard_and_the_connection_ends(
    certificate: tuple[Path, Path],
) -> None:
    core = Courteous()
    async with running(texts_node(core, server_side(certificate))) as node:
        async with peer_of(node, client_side(certificate)) as peer:
            peer.send(b"one\ntwo")
        await core.heard(Disconnected)
    assert core.said == ["one", "two", None]
