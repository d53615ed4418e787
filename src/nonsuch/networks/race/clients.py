"""Clients: where a transaction begins and ends, and what they are told.

A client sends text, in any pieces, and the wire has no word for its end. A transaction ends

* at the end of input: the client has closed its half;
* at a pause, for clients that keep it open: a short one behind a newline, else a longer one, since
  in the middle of a line there is more to come;
* and a client that hangs up in the middle of one has sent none.

A node that has just begun reads the ledger first: what is said to it meanwhile is held, and nobody
is told yet that it was taken.

So whatever came in two segments is one text, and nothing is cut. What cannot be a transaction is
refused, with the reason as the reply; every reply is the last word on its connection.
"""

from __future__ import annotations

import heapq
from collections import deque

from nonsuch.networks.race import facts
from nonsuch.networks.race.messages import ACCEPTED, TRANSACTION_BYTES_MAX, Reply
from nonsuch.networks.race.races import Races
from nonsuch.networks.race.state import State

__all__ = ["HELD_SECONDS", "PAUSE_SECONDS", "UNFINISHED_PAUSE_SECONDS", "Clients"]

PAUSE_SECONDS = 0.2
"""Behind a newline: people and `echo` end a text with one."""

UNFINISHED_PAUSE_SECONDS = 1.0
"""Behind anything else. A segment that was lost comes again within a second, as a rule."""

HELD_SECONDS = 5.0
"""How long a text is held for a ledger that has not been read. A file takes milliseconds."""

HELD_MAX = 100
"""Texts that are held at once."""

LATE_SECONDS = 0.1
"""Who looks so much too late was away himself, and may not have read what came meanwhile."""


class _Client:
    """A connection; `done` once it was told its last word. `look_at` is in the heap.

    `spared` once it was given more time because this node was late.
    """

    __slots__ = ("address", "data", "done", "due_at", "look_at", "number", "spared", "until")

    def __init__(self, number: int, address: str, due_at: float, until: float) -> None:
        self.number = number
        self.address = address
        self.data = bytearray()
        self.done = False
        self.due_at = due_at
        self.look_at = float("inf")
        self.spared = False
        self.until = until


class Clients:
    """All connections to clients."""

    def __init__(self, state: State, races: Races) -> None:
        self._state = state
        self._races = races
        self._clients: dict[int, _Client] = {}
        self._looks: list[tuple[float, int]] = []
        self._held: deque[tuple[float, _Client, str]] = deque()

    def __len__(self) -> int:
        return len(self._clients)

    def deadline(self) -> float | None:
        """When to look at a client; early, perhaps, but never late."""
        times = [entries[0][0] for entries in (self._looks, self._held) if entries]
        return min(times, default=None)

    def connected(self, number: int, address: str, now: float) -> None:
        """Somebody is there."""
        settings = self._state.settings
        due_at, until = now + settings.silent_seconds, now + settings.transaction_seconds
        client = _Client(number, address, due_at, until)
        if len(self._clients) >= settings.connections_max:
            self._refuse(client, f"This node has its {settings.connections_max} clients.")
            return
        self._clients[number] = client
        self._state.emit(facts.ClientConnected(address))
        self._look_later(client)

    def disconnected(self, number: int) -> None:
        """Somebody is gone."""
        client = self._clients.pop(number, None)
        if client is not None and client.data and not client.done:
            self._state.counts["refused"] += 1
            reason = "It hung up in the middle."
            self._state.emit(facts.TransactionRefused(reason, client.address))

    def fragment(self, number: int, data: bytes, now: float) -> None:
        """More of a transaction."""
        client = self._clients.get(number)
        if client is None or client.done:
            return
        if len(client.data) + len(data) > TRANSACTION_BYTES_MAX:
            self._refuse(client, f"A transaction has at most {TRANSACTION_BYTES_MAX} bytes.")
            return
        client.data += data
        ends = client.data.endswith(b"\n")
        client.due_at = now + (PAUSE_SECONDS if ends else UNFINISHED_PAUSE_SECONDS)
        self._look_later(client)

    def end(self, number: int, now: float) -> None:
        """It has said all."""
        client = self._clients.get(number)
        if client is not None and not client.done:
            self._complete(client, now)

    def tick(self, now: float) -> None:
        """Who has paused for long enough, and who takes too long?"""
        while self._looks and self._looks[0][0] <= now:
            when, number = heapq.heappop(self._looks)
            client = self._clients.get(number)
            if client is None or client.done or client.look_at != when:
                continue
            client.look_at = float("inf")
            self._look(client, now)
        while self._held and self._held[0][0] <= now:
            _, client, text = self._held.popleft()
            self._take(client, text)

    def ledger_read(self) -> None:
        """What was held is a transaction now."""
        while self._held:
            _, client, text = self._held.popleft()
            self._take(client, text)

    def _look_later(self, client: _Client) -> None:
        """Look at it when it is due. What was to be sooner finds out that it is later by now."""
        when = min(client.due_at, client.until)
        if when < client.look_at:
            client.look_at = when
            heapq.heappush(self._looks, (when, client.number))

    def _look(self, client: _Client, now: float) -> None:
        settings = self._state.settings
        if not client.spared and now >= min(client.due_at, client.until) + LATE_SECONDS:
            client.spared = True
            client.due_at = now + UNFINISHED_PAUSE_SECONDS
            client.until = max(client.until, client.due_at)
            self._look_later(client)
        elif now >= client.until:
            limit = settings.transaction_seconds
            self._refuse(client, f"All of a transaction must come within {limit:g} s.")
        elif now < client.due_at:
            self._look_later(client)
        elif client.data:
            self._complete(client, now)
        else:
            self._refuse(client, f"Nothing came within {settings.silent_seconds:g} s.")

    # The end of it.

    def _complete(self, client: _Client, now: float) -> None:
        try:
            text = client.data.decode().strip()
        except UnicodeDecodeError as error:
            self._refuse(client, f"A transaction is text in UTF-8; byte {error.start} is not.")
            return
        if not text:
            self._refuse(client, "A transaction is not empty.")
        elif self._races.ledger_read or len(self._held) >= HELD_MAX:
            self._take(client, text)
        else:
            client.done = True
            self._held.append((now + HELD_SECONDS, client, text))

    def _take(self, client: _Client, text: str) -> None:
        if objection := self._races.objection():
            self._refuse(client, objection)
            return
        # It is on disk before anybody hears that it was taken.
        self._races.arrived(text)
        self._say(client, ACCEPTED, "taken")
        self._state.counts["accepted"] += 1
        waiting = self._races.waiting
        self._state.emit(facts.TransactionReceived(text, client.address, waiting))

    def _refuse(self, client: _Client, reason: str) -> None:
        self._say(client, reason, reason)
        self._state.counts["refused"] += 1
        self._state.emit(facts.TransactionRefused(reason, client.address))

    def _say(self, client: _Client, text: str, why: str) -> None:
        client.done = True
        client.data.clear()
        self._state.send(client.number, Reply(text))
        self._state.close(client.number, why)

    def check(self) -> None:
        """Assert every invariant."""
        assert len(self._clients) <= self._state.settings.connections_max
        assert len(self._held) <= HELD_MAX
        assert not self._held or not self._races.ledger_read, "held for what has been read"
        waiting = set(self._looks)
        for number, client in self._clients.items():
            assert client.done or (client.look_at, number) in waiting, "nobody looks at it"
            assert client.done or client.look_at <= min(client.due_at, client.until)
            assert len(client.data) <= TRANSACTION_BYTES_MAX
