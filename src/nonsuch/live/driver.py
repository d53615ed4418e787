"""One core, driven in real time: its timer, its peers, its searches and its disk.

Everything happens in one event loop and, for the core, one event at a time. Effects go into a queue
and are carried out in order. A `Persist` at its head stops the queue; a thread commits every record
that is in the queue by then, and when it is back, all that waited for them goes on. While it is
away events are handled as ever: their effects line up behind, and share the next commit. Where a
disk takes so long that they become too many, nobody is heard until it is back.

Time is the system's: loops count from it too, but uvloop in milliseconds. There is one timer. It is
set for the core's deadline, and set again only when the deadline comes nearer: one that fires and
finds nothing to do any more is set anew.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nonsuch.live.journal import Journal
from nonsuch.live.searching import searching_on
from nonsuch.live.tcp import Address, Listener, Network
from nonsuch.live.udp import DatagramNetwork, Datagrams
from nonsuch.node import (
    LOCAL,
    Cancel,
    Close,
    Core,
    Dial,
    Effect,
    Emit,
    Event,
    Finish,
    Persist,
    Search,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.search.engines.engine import Engine

__all__ = ["Node"]

T = TypeVar("T")

ROUNDED_SECONDS = 0.0005
"""How much earlier than it was asked uvloop may call: it counts in milliseconds."""

EFFECTS_WAITING_MAX = 2**18
"""Effects that wait for the disk before no peer is read any more: some ten seconds of a pool that
does as much as it can, and a hundred megabytes. What one read brings comes on top of that."""

GO_ON_SECONDS = 1.0
"""How long those who were not read have, until anybody may think that they were silent."""

STOP_SECONDS = 2.0
"""How long last words may take to leave."""


class Node:
    """A core and all that it needs of this machine. `run` it once.

    `listeners` are where peers come in, `dial` is whom a `Dial` calls, one address or several by
    name, and `datagrams` are the peers that need no call. It searches on an `engine` that somebody
    else opens and closes, or without one on `threads` of its own. `observe` hears every fact,
    `local` all that is said to `LOCAL`, and `ready` is called once peers can come.
    """

    def __init__(
        self,
        core: Core,
        *,
        listeners: Iterable[Listener] = (),
        dial: Address | Mapping[str, Address] | None = None,
        datagrams: Datagrams | None = None,
        journal: Journal | None = None,
        threads: int | None = None,
        engine: Engine | None = None,
        observe: Callable[[object], None] | None = None,
        local: Callable[[object], None] | None = None,
        ready: Callable[[Node], None] | None = None,
        check: bool = False,
    ) -> None:
        self.core = core
        self._listeners = tuple(listeners)
        self._journal = journal
        self._observe = observe
        self._local = local
        self._ready = ready
        self._check = check
        self._queue: deque[Effect] = deque()
        self._commit: asyncio.Future[None] | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="nonsuch-journal")
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._quiet_until = -math.inf
        self._over = asyncio.Event()
        self._closed = False
        self._held = False
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop  # from `run` on
        book = {"": dial} if isinstance(dial, Address) else dial
        self._datagram_peers = 0 if datagrams is None else len(datagrams.peers)
        self._datagrams = None if datagrams is None else DatagramNetwork(self.deliver, datagrams)
        self._network = Network(self.deliver, {} if book is None else book, self._datagram_peers)
        self._searches = searching_on(
            engine, threads, lambda event: self.deliver((event,)), self._fail
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listener, and then of datagrams, once the node is ready."""
        datagrams = [] if self._datagrams is None else self._datagrams.addresses
        return self._network.addresses + datagrams

    def stop(self) -> None:
        """End `run`, after the core's last words."""
        self._over.set()

    async def run(self) -> None:
        """Drive the core until it finishes or `stop` is called.

        Raises what a listener, the journal or the core raises; nothing is left running. A core that
        cannot go on from its records is one that nobody could ever reach.
        """
        self._loop = asyncio.get_running_loop()
        try:
            # Nothing here keeps the records: a core keeps what it needs of them.
            self.deliver((Started(await self._records()),))
            await self._settled()  # What is restored comes before who asks for it.
            if self._error is None:
                await self._serve()
        finally:
            self._over.set()
            await self._close()
        if self._error is not None:
            raise self._error

    async def _serve(self) -> None:
        """Let peers in, until all is over."""
        for listener in self._listeners:
            await self._network.listen(listener)
        if self._datagrams is not None:
            await self._datagrams.listen()
        if self._ready is not None:
            self._ready(self)
        await self._over.wait()
        self.deliver((Stopping(),))
        await self._settled()

    async def _records(self) -> tuple[object, ...]:
        return () if self._journal is None else await self._on_disk(self._journal.read)

    async def _settled(self) -> None:
        """Until no effect waits for the disk."""
        while self._commit is not None:
            await asyncio.wait([self._commit])

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._searches.close()
        if self._datagrams is not None:
            await self._datagrams.close()
        await self._network.close(STOP_SECONDS)
        await self._settled()
        self._closed = True
        if self._journal is not None:
            await self._on_disk(self._journal.close)
        self._disk.shutdown()

    async def _on_disk(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._disk, call)

    # Events in.

    def deliver(self, events: Iterable[Event]) -> None:
        """Hand events to the core, and carry out what it wants.

        The node's owner may call it too, in the event loop, from `ready` on; behind the end of
        `run` nothing is heard any more.
        """
        if self._error is not None or self._closed:
            return
        now = time.monotonic()
        try:
            for event in events:
                self._queue += self.core.handle(event, now)
                if self._check:
                    self.core._check()
                if self._commit is None:  # Or else all of it waits for the disk.
                    self._advance()
            self._hand_over()
            if len(self._queue) > EFFECTS_WAITING_MAX and not self._held:
                self._hold()
            self._arm()
        except BaseException as error:  # noqa: BLE001  # raised again by `run`
            self._fail(error)

    def _hold(self) -> None:
        """What could be said meanwhile has no bound: let the peers' own systems keep it.

        The core's time stands still too, or it would take them for silent.
        """
        self._held = True
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = math.inf
        self._network.hold()
        if self._datagrams is not None:
            self._datagrams.hold()

    def _go_on(self) -> None:
        self._held = False
        self._quiet_until = time.monotonic() + GO_ON_SECONDS
        self._arm()
        self._network.go_on()
        if self._datagrams is not None:
            self._datagrams.go_on()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._over.set()

    def _arm(self) -> None:
        """See that the timer fires at the deadline, or earlier."""
        deadline = self.core.deadline()
        if deadline is None or self._over.is_set() or self._held:
            return
        deadline = max(deadline, self._quiet_until)
        if deadline >= self._fires_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = deadline
        self._timer = self._loop.call_at(deadline + ROUNDED_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer, self._fires_at = None, math.inf
        deadline = self.core.deadline()
        if deadline is not None and deadline <= time.monotonic():
            self.deliver((Tick(),))
        else:
            self._arm()

    # Effects out.

    def _advance(self) -> None:
        """Carry out what can be; a record that is not on disk yet stops the queue."""
        queue, kept = self._queue, self._journal is not None
        while queue and not (kept and isinstance(queue[0], Persist)):
            self._carry_out(queue.popleft())

    def _hand_over(self) -> None:
        """Have the disk write what stops the queue, and the system send what was said."""
        if self._queue and self._commit is None and self._journal is not None:
            self._start_commit(self._journal)
        self._network.flush()

    def _start_commit(self, journal: Journal) -> None:
        records = [effect for effect in self._queue if isinstance(effect, Persist)]
        commit = functools.partial(journal.commit, records)
        self._commit = self._loop.run_in_executor(self._disk, commit)
        self._commit.add_done_callback(functools.partial(self._committed, len(self._queue)))

    def _committed(self, count: int, future: asyncio.Future[None]) -> None:
        """The first `count` effects wait for nothing any more."""
        self._commit = None
        try:
            future.result()
            for _ in range(count):
                effect = self._queue.popleft()
                if not isinstance(effect, Persist):
                    self._carry_out(effect)
            self._advance()
            self._hand_over()
            if self._held and len(self._queue) <= EFFECTS_WAITING_MAX:
                self._go_on()
        except BaseException as error:  # noqa: BLE001  # raised again by `run`
            self._fail(error)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect.peer, effect.message)
            case Emit(fact=fact):
                if self._observe is not None:
                    self._observe(fact)
            case Search():
                self._searches.start(effect)
            case Cancel(task=task):
                self._searches.cancel(task)
            case Close(peer=peer, why=why):
                self._network.hang_up(peer, why)
            case Dial(address=address):
                self._network.dial(address)
            case Finish():
                self._over.set()
            case Persist():
                pass  # There is no journal.

    def _send(self, peer: int, message: object) -> None:
        if peer > self._datagram_peers:
            self._network.send(peer, message)
        elif peer > LOCAL and self._datagrams is not None:
            self._datagrams.send(peer, message)
        elif peer == LOCAL and self._local is not None:
            self._local(message)
