"""Who may talk to a dashboard, and as whom.

It stands before everything else of the server, and lets through what passes each of these:

* **The name.** A request says which host it is for. Only names that this server goes by are
  answered, or a page of a stranger could have its own name lead here (DNS rebinding) and read what
  the browser's user may read. A server for this machine goes by the machine's own names alone; one
  that listens everywhere goes by any address, since addresses cannot be led anywhere.
* **The token**, where there is one: as a bearer's, or once in the address (`?token=…`), which is
  answered with a cookie and an address without it. Other machines are not let in without.
* **The sender**, for whatever changes something: a page of another origin can send a browser's
  cookies along, but not the header `X-Nonsuch` nor JSON without asking first, and is not answered
  when it asks. The origin, where the browser tells one, must be this very server.
* **The size and the time** of what is sent.

What goes out carries the headers that keep a browser from being used against its user: nothing is
loaded from, framed by or told to another host, and no script runs that is not a file of ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import socket
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nonsuch.addresses import is_loopback
from nonsuch.errors import LocalError

__all__ = ["ANY_ADDRESS", "BODY_BYTES_MAX", "Access", "Guard"]

BODY_BYTES_MAX = 512 * 1024
"""A message of 64 KiB, each byte written as \\u00ff."""

BODY_SECONDS = 10.0
"""How long it may take to say it."""

QUERY_FIELDS_MAX = 16

COOKIE_SECONDS = 30 * 86_400

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
"""Hosts that stand for all addresses of a machine, and are nobody's name."""

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)

_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class Access(msgspec.Struct, frozen=True):
    """Where a dashboard listens, what else it is called, who is let in and what they may do.

    Raises `LocalError` where other machines could come in without a token.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    token: str = ""
    control: bool = False

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise LocalError(
                f"on {self.host} anybody could come in: a dashboard that other machines reach"
                " needs a token"
            )

    def goes_by(self, name: str) -> bool:
        """Whether this server is called that."""
        if name in {self.host.lower(), *(each.lower() for each in self.names)}:
            return True
        if self.host in ANY_ADDRESS:
            ours = LOOPBACK_NAMES | {socket.gethostname().lower()}
            return name in ours or _address(name) is not None
        return is_loopback(self.host) and name in LOOPBACK_NAMES

    def is_token(self, text: str) -> bool:
        """Whether this is the token; it takes as long whatever differs."""
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    @property
    def cookie(self) -> str:
        """What a browser keeps in place of the token."""
        return hashlib.sha256(b"nonsuch dashboard\0" + self.token.encode()).hexdigest()


class _Refusal(Exception):
    """This request is not answered as it would like."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class _Request:
    """What the guard reads of a request."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        server = scope.get("server")
        self.port: int = server[1] if server else 0
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]

    def header(self, name: str) -> str:
        """The header of this name, empty where there is none, or more than one."""
        wanted = name.encode()
        values = [value for key, value in self._headers if key == wanted]
        return values[0].decode("latin-1").strip() if len(values) == 1 else ""

    def has(self, name: str) -> bool:
        """Whether the header is there at all."""
        wanted = name.encode()
        return any(key == wanted for key, _ in self._headers)

    def cookie(self, name: str) -> str:
        """The cookie of this name."""
        pairs = (part.strip().partition("=") for part in self.header("cookie").split(";"))
        return next((value for key, _, value in pairs if key == name), "")

    @property
    def cookie_name(self) -> str:
        """Cookies are not told apart by port, but two dashboards may be on one machine."""
        return f"nonsuch-{self.port}"


class Guard:
    """An application behind all that is said above."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let through."""
        if scope["type"] != "http":
            return
        is_head = scope["method"] == "HEAD"
        answer = _with_headers(send, is_head=is_head)
        request = _Request(scope)
        try:
            self._check(request)
            if request.method == "POST":
                receive = _said(await _body(request, receive), receive)
        except _Refusal as refusal:
            await _refuse(answer, refusal)
            return
        if is_head:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, answer)

    def _check(self, request: _Request) -> None:
        """Raises `_Refusal`."""
        self._check_name(request)
        if request.method not in ("GET", "HEAD", "POST"):
            text = f"{request.method} means nothing here"
            raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, text, allow="GET, HEAD, POST")
        if self._access.token:
            self._check_token(request)
        if request.method == "POST":
            _check_sender(request)
        elif request.method == "HEAD" and request.path == "/api/stream":
            text = "a stream has no end, and so no head alone"
            raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, text, allow="GET")

    def _check_name(self, request: _Request) -> None:
        name = _host_name(request.header("host"))
        if not name or not self._access.goes_by(name):
            raise _Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this dashboard does not go by the name {name[:80]!r}: use the address that it"
                " printed when it began",
            )

    def _check_token(self, request: _Request) -> None:
        access = self._access
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme.lower() == "bearer" and access.is_token(token.strip()):
            return
        kept = request.cookie(request.cookie_name)
        if hmac.compare_digest(kept.encode(errors="replace"), access.cookie.encode()):
            return
        if request.method == "GET":
            self._take_token(request)
        raise _Refusal(
            HTTPStatus.UNAUTHORIZED,
            "this dashboard asks for a token: open it with ?token=… once, or send it as"
            " Authorization: Bearer …",
            **{"www-authenticate": 'Bearer realm="nonsuch"'},
        )

    def _take_token(self, request: _Request) -> None:
        """A right token in the address becomes a cookie, and leaves the address."""
        try:
            fields = parse_qsl(request.query.decode("latin-1"), max_num_fields=QUERY_FIELDS_MAX)
        except ValueError:
            return
        if not any(key == "token" and self._access.is_token(value) for key, value in fields):
            return
        left = urlencode([(key, value) for key, value in fields if key != "token"])
        where = "/" + quote(request.path.lstrip("/")) + (f"?{left}" if left else "")
        cookie = (
            f"{request.cookie_name}={self._access.cookie}; Path=/; Max-Age={COOKIE_SECONDS};"
            " HttpOnly; SameSite=Strict"
        )
        headers = {"location": where, "set-cookie": cookie}
        raise _Refusal(HTTPStatus.SEE_OTHER, "this way", **headers)


def _check_sender(request: _Request) -> None:
    """A page of ours, or somebody who is no browser. Raises `_Refusal`."""
    host = request.header("host").lower()
    origin = request.header("origin").lower()
    if request.has("origin") and origin not in (f"http://{host}", f"https://{host}"):
        raise _Refusal(HTTPStatus.FORBIDDEN, "pages of another origin change nothing here")
    if request.header("x-nonsuch") != "1":
        text = "whatever changes something is sent with the header X-Nonsuch: 1"
        raise _Refusal(HTTPStatus.FORBIDDEN, text)
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        text = "what is sent here is JSON, and says so: Content-Type: application/json"
        raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)


async def _body(request: _Request, receive: Receive) -> bytes:
    """All that is sent. Raises `_Refusal` where that is too much, or takes too long."""
    too_long = _Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"no more than {BODY_BYTES_MAX:,} bytes, please"
    )
    length = request.header("content-length")
    if length and (not length.isascii() or not length.isdigit() or len(length) > 12):
        raise _Refusal(HTTPStatus.BAD_REQUEST, "that is no length")
    if length and int(length) > BODY_BYTES_MAX:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > BODY_BYTES_MAX:
                    raise too_long
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, "that took too long") from None


def _said(body: bytes, receive: Receive) -> Receive:
    """What was received, once more; and then what comes after it."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _with_headers(send: Send, *, is_head: bool) -> Send:
    """The same, with our headers; and without its body where only the head was asked for."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            given = {key.lower() for key, _ in headers}
            headers += [each for each in _HEADERS.items() if each[0] not in given]
            if b"cache-control" not in given:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        elif is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return answer


async def _refuse(send: Send, refusal: _Refusal) -> None:
    body = msgspec.json.encode({"text": f"{refusal.text[:1].upper()}{refusal.text[1:]}."})
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",  # What was not read of it is not read any more.
        **refusal.headers,
    }
    encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _host_name(header: str) -> str:
    """`127.0.0.1:7280` and `[::1]:7280` without their ports."""
    if header.startswith("["):
        name, closed, rest = header[1:].partition("]")
        return name.lower() if closed and rest[:1] in ("", ":") else ""
    return header.partition(":")[0].lower().removesuffix(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
