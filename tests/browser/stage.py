"""A stage for the page: it serves the page's files as the dashboard does, and a stream by hand.

A test says what the page is told, message by message, and reads what the page asked for. So a story
of a minute takes as long as the browser needs to draw it.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nonsuch.web

__all__ = ["PAGE", "Rows", "Stage", "on_stage"]

PAGE = Path(next(iter(nonsuch.web.__path__))) / "page"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}

Row = Mapping[str, object]
Rows = Mapping[str, Mapping[str, Row]]


class Stage:
    """The tables as the page must have them, and all that it asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.tables: dict[str, dict[str, Row]] = {}
        self.asked: queue.Queue[tuple[str, dict[str, object]]] = queue.Queue()
        self.answer = (HTTPStatus.OK, {"text": "It was done."})
        self.paths: list[str] = []
        self.is_away = False
        self._number = 0
        self._at = 0.0
        self._watchers: list[queue.SimpleQueue[bytes | None]] = []
        self._lock = threading.Lock()

    def tell(self, at: float, rows: Rows, gone: Mapping[str, list[str]] | None = None) -> None:
        """One message of the stream."""
        with self._lock:
            for name, changed in rows.items():
                self.tables.setdefault(name, {}).update(changed)
            for name, keys in (gone or {}).items():
                for key in keys:
                    self.tables[name].pop(key)
            self._number, self._at = self._number + 1, at
            self._send({"n": self._number, "at": at, "set": rows, "drop": gone or {}})

    def seek(self, at: float, rows: Rows) -> None:
        """The whole picture anew, as after a seek in a replay."""
        with self._lock:
            self.tables = {name: dict(changed) for name, changed in rows.items()}
            self._number, self._at = self._number + 1, at
            self._send(self._reset())

    def skip(self) -> None:
        """A message that no page gets."""
        with self._lock:
            self._number += 1

    def hang_up(self) -> None:
        """Break every stream, and each that begins before the stage comes back."""
        with self._lock:
            self.is_away = True
            for watcher in self._watchers:
                watcher.put(None)
            self._watchers.clear()

    def come_back(self) -> None:
        """Streams go on again."""
        with self._lock:
            self.is_away = False

    def watch(self) -> queue.SimpleQueue[bytes | None]:
        """A stream, which begins with all there is."""
        watcher: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._lock:
            if self.is_away:
                watcher.put(None)
                return watcher
            watcher.put(_event(self._reset()))
            self._watchers.append(watcher)
        return watcher

    def _reset(self) -> Row:
        return {"n": self._number, "at": self._at, "reset": True, "set": self.tables}

    def _send(self, message: Row) -> None:
        event = _event(message)
        for watcher in self._watchers:
            watcher.put(event)


def _event(message: Row) -> bytes:
    return f"data: {json.dumps(message)}\n\n".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stage: Stage

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.stage.paths.append(path)
        if path == "/api/stream":
            self._stream()
        else:
            self._file(PAGE / (path.lstrip("/") or "index.html"))

    def do_HEAD(self) -> None:
        self._reply(HTTPStatus.OK, b"", "application/json")

    def do_POST(self) -> None:
        assert self.headers["X-Nonsuch"] == "1"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.stage.asked.put((self.path, body))
        status, answer = self.stage.answer
        self._reply(status, json.dumps(answer).encode(), "application/json")

    def _file(self, path: Path) -> None:
        if path.resolve().is_relative_to(PAGE.resolve()) and path.is_file():
            self._reply(HTTPStatus.OK, path.read_bytes(), TYPES[path.suffix])
        else:
            self._reply(HTTPStatus.NOT_FOUND, b"no such page", "text/plain")

    def _stream(self) -> None:
        watcher = self.stage.watch()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            while (event := watcher.get()) is not None:
                self.wfile.write(event)
        except OSError:
            return  # the page has gone

    def _reply(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is theirs
        pass


@contextmanager
def on_stage(port: int = 0) -> Iterator[Stage]:
    """A stage with its curtain up."""
    stage = Stage()
    handler = type("Handler", (_Handler,), {"stage": stage})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    stage.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stage
    finally:
        stage.hang_up()
        server.shutdown()
        thread.join()
        server.server_close()
