"""A dashboard on a real socket, and a plain client for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from nonsuch.web.feed import Feed
from nonsuch.web.fleet import Bystander, Fleet, UnknownNode
from nonsuch.web.guard import Access
from nonsuch.web.picture import Picture
from nonsuch.web.rows import About, Role
from nonsuch.web.server import Dashboard, Serving, dashboard, serve

ABOUT = About("pool", title="a pool", started=1.0)
CONTROL = Access(control=True)
PAGE = {
    "index.html": "<!doctype html><title>Nonsuch</title>",
    "draw/chart.js": "export {};",
    "style.css": "body {}",
    "icon.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "notes.secret": "not for pages",
}


class Actor(Bystander):
    """A fleet that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(ABOUT)
        self.done: list[object] = []

    async def kill(self, name: str) -> str:
        if name != "miner-1":
            raise UnknownNode(f"there is no {name}")
        self.done.append(("kill", name))
        return f"{name} was killed."

    async def add(self, role: Role) -> str:
        self.done.append(("add", role))
        return f"A {role} was added."

    async def lose(self, share: float) -> str:
        self.done.append(("lose", share))
        return "So be it."

    async def submit(self, message: str, upto: int) -> str:
        self.done.append(("submit", message, upto))
        return "It is accepted."

    async def replay(self, at: float | None, paused: bool | None, speed: float | None) -> str:
        self.done.append(("replay", at, paused, speed))
        return "It is set."


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Its sentence."""
        found: dict[str, str] = json.loads(self.body)
        assert list(found) == ["text"]
        return found["text"]


class Stage:
    """A dashboard that is served, whom it serves, and what it can be asked."""

    def __init__(self, app: Dashboard, serving: Serving, fleet: Actor) -> None:
        self.app = app
        self.feed = app.feed
        self.serving = serving
        self.fleet = fleet
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        """Hang up, and end."""
        await self.serving.close()
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def host(self) -> str:
        """What a browser would call it."""
        return f"127.0.0.1:{self.serving.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.serving.port)
        self._writers.append(writer)
        return reader, writer

    async def ask(
        self, method: str, path: str, body: bytes = b"", /, **headers: str | None
    ) -> Answer:
        """One request on a connection of its own. Underscores in headers' names are hyphens."""
        reader, writer = await self.connect()
        try:
            writer.write(self.request(method, path, body, **headers))
            return await answer_of(reader)
        finally:
            writer.close()

    async def post(self, path: str, wish: object = None, **headers: str | None) -> Answer:
        """As the page does it."""
        body = wish if isinstance(wish, bytes) else msgspec.json.encode(wish or {})
        given = {"content_type": "application/json", "x_nonsuch": "1", **headers}
        return await self.ask("POST", path, body, **given)

    def request(self, method: str, path: str, body: bytes = b"", /, **headers: str | None) -> bytes:
        """Its bytes; a header of None is left out."""
        given: dict[str, str | None] = {"host": self.host, "connection": "close"}
        if body:
            given["content_length"] = str(len(body))
        given.update(headers)
        lines = [f"{method} {path} HTTP/1.1"]
        for name, value in given.items():
            if value is not None:
                lines.append(f"{name.replace('_', '-')}: {value}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def stream(self, **headers: str | None) -> Stream:
        """A stream that has begun."""
        reader, writer = await self.connect()
        writer.write(self.request("GET", "/api/stream", **headers))
        status, found = await head_of(reader)
        assert (status, found["content-type"]) == (200, "text/event-stream; charset=utf-8")
        return Stream(reader, writer)


class Message(msgspec.Struct):
    """A message of the stream."""

    n: int
    at: float
    reset: bool = False
    set: dict[str, dict[str, dict[str, object]]] = {}
    drop: dict[str, list[str]] = {}


class Stream:
    """The browser's end of a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._events: list[bytes] = []
        self._rest = b""

    async def message(self) -> Message:
        """The next message."""
        while not self._events:
            chunk = await chunk_of(self.reader)
            assert chunk, "the stream has ended"
            *self._events, self._rest = (self._rest + chunk).split(b"\n\n")
        event = self._events.pop(0)
        return msgspec.json.decode(event.removeprefix(b"data: "), type=Message)

    async def end(self) -> bool:
        """Read to the end; whether that was an orderly one."""
        try:
            while await chunk_of(self.reader):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            return False
        finally:
            self.writer.close()
        return True


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers, in small letters."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines[1:] if line)
    return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}


async def chunk_of(reader: asyncio.StreamReader) -> bytes:
    """A chunk of a body that comes in chunks (RFC 9112, section 7.1)."""
    size = int(await reader.readline() or b"0", 16)
    data = await reader.readexactly(size)
    await reader.readexactly(2)
    return data


async def answer_of(reader: asyncio.StreamReader) -> Answer:
    """A whole answer."""
    status, headers = await head_of(reader)
    if "content-length" in headers and status != 304:
        body = await reader.read(int(headers["content-length"]))
        while len(body) < int(headers["content-length"]):
            more = await reader.read(2**16)
            if not more:
                break
            body += more
    else:
        body = await reader.read()
    return Answer(status, headers, body)


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    access: Access | None = None,
    *,
    fleet: Fleet | None = None,
    feed: Feed | None = None,
    port: int = 0,
) -> AsyncIterator[Stage]:
    """A dashboard from here to there, with a page in this folder."""
    for name, text in PAGE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    actor = Actor()
    app = dashboard(feed or Feed(Picture(ABOUT)), fleet or actor, access, folder)
    serving = await serve(app, "127.0.0.1", port)
    stage = Stage(app, serving, actor)
    try:
        yield stage
    finally:
        await stage.close()
