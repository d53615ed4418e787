"""The stream: observations in, and what has changed of the picture out, to all who watch.

While something changes, all changes of `PATCH_SECONDS` become one message, encoded once for
everybody. While nothing changes nothing runs, but for a heartbeat that keeps connections open. A
message is a patch, whole rows to set and keys to drop, or a reset, which is the whole picture and
the first that anybody gets.

Nobody is waited for. A message is written to each client at once, for a task that wakes to do so
costs more than the writing; only where a connection is full it is queued. A client that does not
read for `CLIENT_MESSAGES_MAX` messages is dropped, comes back if it likes, and begins with a reset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from nonsuch.errors import LocalError
from nonsuch.web.observations import Observation
from nonsuch.web.picture import Picture
from nonsuch.web.rows import About

__all__ = [
    "CLIENTS_MAX",
    "CLIENT_MESSAGES_MAX",
    "HEARTBEAT_SECONDS",
    "PATCH_SECONDS",
    "Client",
    "Feed",
    "Hears",
    "TooManyClients",
    "Writes",
]

PATCH_SECONDS = 0.05
"""Changes of so long are one message: twenty a second, as often as an eye needs."""

HEARTBEAT_SECONDS = 15.0
"""Less than what proxies wait, which is a minute or half of one."""

CLIENTS_MAX = 500
CLIENT_MESSAGES_MAX = 100
"""Five seconds of patches: who is behind by that is better off with the whole picture."""

HEARTBEAT = b": beat\n\n"


class TooManyClients(LocalError):
    """There is no room for one more client."""


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message; see `nonsuch.web.picture` for its rows. The `n`th since the feed began."""

    n: int
    at: float
    reset: bool = False
    set: Mapping[str, Mapping[str, msgspec.Struct]] = {}
    drop: Mapping[str, list[str]] = {}


class Hears(Protocol):
    """Whoever wants every observation too: a recording."""

    def add(self, observation: Observation) -> None:
        """One observation, in its order."""


class Writes(Protocol):
    """A connection that messages can be written to."""

    @property
    def is_ready(self) -> bool:
        """Whether what is written now goes out at once, and nothing waits before it."""

    def write(self, message: bytes) -> None:
        """Write; never waits."""


class Client:
    """One who watches: a queue, and somebody who waits for it.

    `dropped` is called, once, where the client was too slow: whoever is stuck with it lets go.
    """

    __slots__ = ("_dropped", "_queue", "_to", "_waiter", "is_over")

    def __init__(self, dropped: Callable[[], object]) -> None:
        self._queue: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._dropped = dropped
        self._to: Writes | None = None
        self.is_over = False

    def __len__(self) -> int:
        return len(self._queue)

    def write_to(self, connection: Writes) -> None:
        """From now on messages are written there, and queued only where it is not ready."""
        self._to = connection

    async def waits(self) -> bool:
        """Until something is queued; whether it is, or all is over."""
        while not self._queue and not self.is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return bool(self._queue)

    def take(self) -> bytes:
        """All that is queued."""
        data = b"".join(self._queue)
        self._queue.clear()
        return data

    async def messages(self) -> bytes:
        """All that is queued, once there is any; nothing where it is over."""
        await self.waits()
        return self.take()

    def put(self, message: bytes) -> None:
        """One message more; or, where there are too many, no more of any."""
        if self.is_over:
            return
        if self._to is not None and not self._queue and self._to.is_ready:
            self._to.write(message)
            return
        if len(self._queue) >= CLIENT_MESSAGES_MAX:
            self.close()
            self._dropped()
            return
        self._queue.append(message)
        self._wake()

    def reset(self, message: bytes) -> None:
        """Nothing that was queued matters any more."""
        self._queue.clear()
        self.put(message)

    def close(self) -> None:
        """It is over: what is queued is not worth sending."""
        self.is_over = True
        self._queue.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Feed:
    """A picture and all who watch it. Used in one event loop.

    `clock` says what time it is there, for patches; without it, the latest that was told of.
    """

    def __init__(
        self,
        picture: Picture,
        *,
        clients_max: int = CLIENTS_MAX,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.picture = picture
        self.hears: Hears | None = None
        self.dropped = 0
        self._clock = clock
        self._clients: dict[Client, None] = {}
        self._clients_max = clients_max
        self._number = 0
        self._whole: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._heart: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def clients(self) -> int:
        """How many watch."""
        return len(self._clients)

    @property
    def at(self) -> float:
        """What time it is in the picture."""
        return self.picture.at if self._clock is None else self._clock()

    # In.

    def observe(self, observation: Observation) -> None:
        """Take one observation."""
        if self.hears is not None:
            self.hears.add(observation)
        self.picture.fold(observation)
        self._changed()

    def describe(self, about: About) -> None:
        """What is watched is this from now on."""
        self.picture.describe(about)
        self._changed()

    def show(self, picture: Picture) -> None:
        """Show another picture: everybody gets the whole of it."""
        self.picture = picture
        picture.take()
        self._whole = None
        self._number += 1
        message = _event(self.whole())
        for client in list(self._clients):
            client.reset(message)

    # Out.

    def join(self, dropped: Callable[[], object] = lambda: None) -> Client:
        """One more who watches. Raises `TooManyClients`, or `LocalError` where all is over."""
        if self._over:
            raise LocalError("this dashboard is stopping")
        if len(self._clients) >= self._clients_max:
            raise TooManyClients(f"this dashboard has its {self._clients_max} clients; try later")
        client = Client(dropped)
        self._clients[client] = None
        client.put(_event(self.whole()))
        if self._heart is None:
            self._beat_later(asyncio.get_running_loop())
        return client

    def leave(self, client: Client) -> None:
        """Who has left is not written to."""
        client.close()
        self._clients.pop(client, None)

    def close(self) -> None:
        """Every stream ends, and no new one begins."""
        self._over = True
        for timer in (self._timer, self._heart):
            if timer is not None:
                timer.cancel()
        for client in list(self._clients):
            self.leave(client)

    def _changed(self) -> None:
        self._whole = None
        if self._timer is None and not self._over:
            loop = asyncio.get_running_loop()
            when = max(loop.time(), self._flushed_at + PATCH_SECONDS)
            self._timer = loop.call_at(when, self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._flushed_at = loop.time()
        changes = self.picture.take()
        if changes.set or changes.drop:
            self._number += 1
            self._whole = None
            if self._clients:
                message = _Message(self._number, self.at, set=changes.set, drop=changes.drop)
                self._send(_event(msgspec.json.encode(message)))

    def _send(self, message: bytes) -> None:
        for client in list(self._clients):
            client.put(message)
            if client.is_over:
                self.dropped += 1
                self.leave(client)

    def whole(self) -> bytes:
        """The message that everybody gets first, as JSON: encoded once while nothing changes."""
        if self._whole is None:
            message = _Message(self._number, self.at, reset=True, set=self.picture.whole())
            self._whole = msgspec.json.encode(message)
        return self._whole

    def _beat_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._heart = loop.call_later(HEARTBEAT_SECONDS, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say something to those who have heard nothing, as long as anybody is there."""
        self._heart = None
        if self._clients:
            if self._flushed_at <= loop.time() - HEARTBEAT_SECONDS:
                self._send(HEARTBEAT)
            self._beat_later(loop)


def _event(data: bytes) -> bytes:
    """A server-sent event; JSON has no line ends outside of strings, nor raw ones within."""
    return b"data: " + data + b"\n\n"
