"""The dashboard's server: the page, the stream, a typed API, metrics.

Imported only where a dashboard is started, for FastAPI and uvicorn take a second to load. No page
is loaded from anywhere else: FastAPI's own pages of documentation, which would be, are off, and its
description of the API is at /api/openapi.json.

The stream is an answer of our own. A client that does not read blocks only its own connection; when
its queue is full the connection is aborted, since one that is closed would wait for the client to
read what it does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import h11
import msgspec
import pydantic.dataclasses
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.telemetry import TelemetryConfig
from pydantic import AfterValidator, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from nonsuch.addresses import PORT_MAX
from nonsuch.errors import LocalError
from nonsuch.networks.race.ledger import Entry
from nonsuch.web import rows
from nonsuch.web.counts import CONTENT_TYPE_LATEST, metrics_text
from nonsuch.web.feed import Client, Feed, TooManyClients
from nonsuch.web.fleet import Fleet, UnknownNode, Unsupported
from nonsuch.web.guard import Access, Guard
from nonsuch.web.static import PAGE, Page

__all__ = ["DASHBOARD_PORT", "Dashboard", "Serving", "dashboard", "serve"]

DASHBOARD_PORT = 7280
"""Where a dashboard listens unless told otherwise."""

PORTS_TRIED_MAX = 50
"""Ports that are tried after one that is taken."""

CONNECTIONS_MAX = 1_100
"""Twice the clients of a feed, as browsers ask for more than the stream; and some."""

REQUEST_SECONDS = 10.0
"""How long a connection may take to say what it wants."""

HEAD_BYTES_MAX = 32 * 1024
"""The first lines of a request; a browser's are 1 KiB."""

STOP_SECONDS = 0.4
"""How long streams have to end by themselves."""

BACKLOG = 512

NAME_CHARACTERS_MAX = 128
MESSAGE_BYTES_MAX = 65_536
UPTO_MAX = 2**64 - 2
"""The pool's numbers are 64-bit, and a job is one nonce longer than its last."""


# What is asked for.


def _bounded(text: str) -> str:
    """A text that can be sent, of at most so many bytes."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("half a character") from None
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"at most {MESSAGE_BYTES_MAX:,} bytes, not {length:,}")
    return text


Number = Annotated[float, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]
Text = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=MESSAGE_BYTES_MAX),
    AfterValidator(_bounded),
]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX)]


_wish = pydantic.dataclasses.dataclass(
    frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False)
)
"""The body of a request: these fields, of these types, and no others."""


@_wish
class NewNode:
    """One more node."""

    role: rows.Role


@_wish
class Loss:
    """What share of all messages is lost."""

    share: Annotated[float, Field(strict=True, ge=0, le=1)]


@_wish
class NewJob:
    """A job for the pool; `upto` is its last nonce."""

    message: Text
    upto: Annotated[int, Field(strict=True, ge=0, le=UPTO_MAX)]


@_wish
class Transaction:
    """A transaction."""

    text: Text


@_wish
class Switch:
    """On or off."""

    on: Truth


@_wish
class Clock:
    """What to change of a replay's clock."""

    at: Number | None = None
    paused: Truth | None = None
    speed: Number | None = None


@pydantic.dataclasses.dataclass(frozen=True)
class Sentence:
    """What was done; or what was wrong, and what to do."""

    text: str


NodeAction = Literal["kill", "freeze", "thaw", "restart", "lie", "cut", "mend"]


# What is answered.


class _Stream(Response):
    """Server-sent events, from the reset on, until either end has had enough."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, client: Client, connection: _Connection | None) -> None:
        super().__init__()
        self._feed = feed
        self._client = client
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, what there is, and then the end; patches are written by the feed."""
        watching = asyncio.ensure_future(self._watch(receive))
        try:
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"x-accel-buffering", b"no"),  # Proxies must not collect it.
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send_all(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._feed.leave(self._client)
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _send_all(self, send: Send) -> None:
        """What is queued, all of it at once, as fast as the other end reads."""
        client, connection = self._client, self._connection
        if connection is None:
            while data := await client.messages():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            return
        client.write_to(connection)
        while await client.waits():
            await connection.drain()
            if data := client.take():
                connection.write(data)

    async def _watch(self, receive: Receive) -> None:
        """The other end hangs up."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._client.close()


def _told(text: str, status: HTTPStatus) -> JSONResponse:
    return JSONResponse({"text": text}, status)


def _status_of(error: LocalError) -> HTTPStatus:
    match error:
        case UnknownNode():
            return HTTPStatus.NOT_FOUND
        case Unsupported():
            return HTTPStatus.CONFLICT
        case TooManyClients():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.BAD_REQUEST


async def _on_local_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LocalError)
    return _told(str(error), _status_of(error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    """The first thing that is wrong with a request, in one sentence, and what to send."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    match first["type"]:
        case "json_invalid":
            text = f"The body is no JSON from its character {where} on."
        case "missing":
            text = f"{where} is missing." if where else "The body is empty."
        case "unexpected_keyword_argument":
            text = f"{where} means nothing here."
        case "dataclass_type":
            text = "The body is JSON, but no object."
        case _:
            said = first["msg"].removeprefix("Value error, ")
            text = f"{where}: {said.replace('Input should', 'it should')}."
    return _told(f"{text}{_wanted(request)}", HTTPStatus.UNPROCESSABLE_ENTITY)


def _wanted(request: Request) -> str:
    """What to send, where this path takes a wish."""
    endpoint = request.scope.get("endpoint")
    wish = get_type_hints(endpoint).get("wish") if endpoint is not None else None
    if wish is None:
        return ""
    *names, last = (f'"{field.name}"' for field in dataclasses.fields(wish))
    fields = f"{', '.join(names)} and {last}" if names else last
    return f" Send a JSON object with {fields}; /api/openapi.json describes it."


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # What JSON is made of was not there at all.
        text = f"The body is no JSON.{_wanted(request)}"
    response = _told(text, HTTPStatus(error.status_code))
    response.headers.update(error.headers or {})
    return response


# The application.


class Dashboard:
    """A feed, a fleet and those who may see them, as an ASGI application."""

    def __init__(self, feed: Feed, fleet: Fleet, access: Access, page: Page) -> None:
        self.feed = feed
        self.access = access
        self.api = _api(feed, fleet, access, page)
        self._guarded = Guard(self.api, access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._guarded(scope, receive, send)


def dashboard(
    feed: Feed, fleet: Fleet, access: Access | None = None, page: Path = PAGE
) -> Dashboard:
    """The dashboard of a feed and a fleet; without `access` for this machine, and to look at.

    Raises `LocalError` where the page cannot be read.
    """
    return Dashboard(feed, fleet, access or Access(), Page(page))


_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""What is asked here is nobody else's business, whatever the environment says."""


def _api(feed: Feed, fleet: Fleet, access: Access, page: Page) -> FastAPI:
    app = FastAPI(
        title="Nonsuch",
        summary="A network of proofs of work, as it is and as it was.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    app.add_exception_handler(LocalError, _on_local_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    _add_views(app, feed, fleet)
    _add_actions(app, fleet, access)

    @app.get("/{name:path}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        return page.answer(name, request)

    _describe(app)
    return app


def _add_views(app: FastAPI, feed: Feed, fleet: Fleet) -> None:
    """What can be looked at."""

    @app.get("/api/picture", responses=_PICTURE)
    async def picture() -> Response:
        """Every row of every table, as it is now."""
        return Response(feed.whole(), media_type="application/json")

    @app.get("/api/stream", responses=_STREAM)
    async def stream(request: Request) -> Response:
        """The picture, and then what changes of it, as server-sent events."""
        connection: _Connection | None = getattr(request.state, "connection", None)
        client = feed.join(_nothing if connection is None else connection.abort)
        is_chunked = request.scope["http_version"] == "1.1"
        return _Stream(feed, client, connection if is_chunked else None)

    @app.get("/api/recording", responses={404: {"model": Sentence}})
    async def recording() -> Response:
        """The present recording as far as it is written, or the last."""
        path = fleet.recording()
        if path is None:
            return _told("Nothing was recorded yet.", HTTPStatus.NOT_FOUND)
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise LocalError(f"cannot read the recording: {error.strerror}") from None
        name = f'attachment; filename="{path.name}"'.encode("ascii", "replace").decode()
        return Response(data, media_type="application/gzip", headers={"content-disposition": name})

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(metrics_text(feed), headers={"content-type": CONTENT_TYPE_LATEST})


def _nothing() -> None:
    """For servers other than ours, which have no way to abort."""


_ERRORS: dict[int | str, dict[str, object]] = {
    status: {"model": Sentence} for status in (400, 403, 404, 409, 422)
}


def _add_actions(app: FastAPI, fleet: Fleet, access: Access) -> None:
    """What can be done."""

    async def controlled() -> None:
        if not access.control:
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                "This dashboard only shows: start it with --control to change anything.",
            )

    @app.post("/api/replay", responses=_ERRORS)
    async def replay(wish: Clock) -> Sentence:
        """Set the clock of a replay, which changes nothing but what is shown."""
        return Sentence(text=await fleet.replay(wish.at, wish.paused, wish.speed))

    changes = APIRouter(prefix="/api", dependencies=[Depends(controlled)], responses=_ERRORS)
    _add_node_actions(changes, fleet)
    _add_network_actions(changes, fleet)
    app.include_router(changes)


def _add_node_actions(to: APIRouter, fleet: Fleet) -> None:
    actions: Mapping[NodeAction, Callable[[str], Awaitable[str]]] = {
        "kill": fleet.kill,
        "freeze": fleet.freeze,
        "thaw": fleet.thaw,
        "restart": fleet.restart,
        "lie": fleet.lie,
        "cut": fleet.cut,
        "mend": fleet.mend,
    }

    @to.post("/nodes/{name}/{action}")
    async def act(name: Name, action: NodeAction) -> Sentence:
        """Do something to a node."""
        return Sentence(text=await actions[action](name))

    @to.post("/nodes")
    async def add(wish: NewNode) -> Sentence:
        """Add a node."""
        return Sentence(text=await fleet.add(wish.role))


def _add_network_actions(to: APIRouter, fleet: Fleet) -> None:
    @to.post("/loss")
    async def lose(wish: Loss) -> Sentence:
        """Lose a share of all messages."""
        return Sentence(text=await fleet.lose(wish.share))

    @to.post("/heal")
    async def heal() -> Sentence:
        """Mend every cut, and lose nothing."""
        return Sentence(text=await fleet.heal())

    @to.post("/jobs")
    async def submit(wish: NewJob) -> Sentence:
        """Submit a job to the pool."""
        return Sentence(text=await fleet.submit(wish.message, wish.upto))

    @to.post("/transactions")
    async def transact(wish: Transaction) -> Sentence:
        """Send a transaction."""
        return Sentence(text=await fleet.transact(wish.text))

    @to.post("/recording")
    async def record(wish: Switch) -> Sentence:
        """Begin or end a recording."""
        return Sentence(text=await fleet.record(on=wish.on))


# Its description.

_REF = "#/components/schemas/{name}"


class PictureMessage(msgspec.Struct):
    """The first message of a stream; later ones have no `reset`, and may have keys to `drop`."""

    n: int
    at: float
    reset: Literal[True]
    set: Tables


class Tables(msgspec.Struct, omit_defaults=True):
    """Rows by table and key. A network has the tables that it needs."""

    about: dict[str, rows.About] = {}
    nodes: dict[str, rows.Node] = {}
    told: dict[str, rows.Told] = {}
    jobs: dict[str, rows.Job] = {}
    shards: dict[str, rows.Shard] = {}
    best: dict[str, rows.Best] = {}
    rates: dict[str, rows.Rate] = {}
    audits: dict[str, rows.Audit] = {}
    blocks: dict[str, rows.Block] = {}
    reorgs: dict[str, rows.Reorg] = {}
    block_totals: dict[str, rows.BlockTotals] = {}
    races: dict[str, rows.Race] = {}
    race_totals: dict[str, rows.RaceTotals] = {}
    ledger: dict[str, Entry] = {}
    rounds: dict[str, rows.Round] = {}
    round_totals: dict[str, rows.RoundTotals] = {}
    agents: dict[str, rows.Agent] = {}


_PICTURE: dict[int | str, dict[str, object]] = {
    200: {"content": {"application/json": {"schema": {"$ref": _REF.format(name="PictureMessage")}}}}
}
_STREAM: dict[int | str, dict[str, object]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    503: {"model": Sentence},
}


def _describe(app: FastAPI) -> None:
    """The rows are not FastAPI's, so it is told what they look like."""
    described = app.openapi()
    _, schemas = msgspec.json.schema_components([PictureMessage], ref_template=_REF)
    described["components"]["schemas"].update(schemas)


# Listening.


class _Connection:
    """The way past HTTP: an answer in chunks, whose head was sent, goes on with these.

    A message costs less than half of what it costs through all layers, and there are as many of
    each as clients.
    """

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self.abort = transport.abort
        self.drain = flow.drain
        self._transport = transport
        self._flow = flow

    @property
    def is_ready(self) -> bool:
        """Whether what is written now goes out at once, and nothing waits before it."""
        return not (self._flow.write_paused or self._transport.is_closing())

    def write(self, message: bytes) -> None:
        """Write a chunk (RFC 9112, section 7.1)."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(message), message))


class _Protocol(H11Protocol):
    """A connection that must say what it wants in time, and that can be aborted."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": _Connection(transport, self.flow)}
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._expect()

    def data_received(self, data: bytes) -> None:
        if self._silence is None:
            self._expect()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._expect_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_more()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._silence = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _expect_no_more(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


class _Server(uvicorn.Server):
    """One that leaves signals to whoever owns the loop, and says when it is there."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def abort(self) -> None:
        """End every connection now."""
        for connection in list(self.server_state.connections):
            transport: asyncio.Transport | None = connection.transport
            if transport is not None:
                transport.abort()


class Serving:
    """A dashboard that is served, from `serve` to `close`."""

    def __init__(self, app: Dashboard, server: _Server, listener: socket.socket) -> None:
        self._app = app
        self._server = server
        self.port: int = listener.getsockname()[1]
        self._task = asyncio.ensure_future(server.serve([listener]))

    @property
    def url(self) -> str:
        """Where the page is."""
        host = self._app.access.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    async def ready(self) -> None:
        """Until it answers. Raises what kept it from that."""
        ready = asyncio.ensure_future(self._server.ready.wait())
        await asyncio.wait([ready, self._task], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def close(self) -> None:
        """End every stream, answer what was asked, and let go of the port: within a second."""
        self._app.feed.close()
        self._server.should_exit = True
        loop = asyncio.get_running_loop()
        timer = loop.call_later(STOP_SECONDS, self._server.abort)
        try:
            await self._task
        finally:
            timer.cancel()


async def serve(app: Dashboard, host: str = "127.0.0.1", port: int = DASHBOARD_PORT) -> Serving:
    """Serve a dashboard in the running loop, on this port or the next that is free.

    Raises `LocalError` where there is none, or the host is not this machine's.
    """
    listener = _listener(host, port)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
    )
    serving = Serving(app, _Server(config), listener)
    await serving.ready()
    return serving


def _listener(host: str, port: int) -> socket.socket:
    last = min(PORT_MAX, port + PORTS_TRIED_MAX) if port else 0
    for each in range(port, last + 1):
        try:
            return _bound(host, each)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LocalError(f"cannot listen on {host}:{each}: {error.strerror}") from None
    raise LocalError(f"ports {port} to {last} of {host} are all taken: choose another with --port")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
