"""The owner of a race's ledger: all that blocks, in a thread, for a node or a keeper.

What a core asks of `LOCAL` is served in order, as many questions under one lock as wait. While
races are watched, a look at the file tells when somebody else has changed it: so a loser hears of
it while it still searches. A ledger that cannot be used at the start ends the node; one that cannot
be used later is tried again, and nobody's question is lost meanwhile: of those that a keeper's
nodes ask so many wait, and who asks more is told to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence

import msgspec

from nonsuch.cli.logs import Logger
from nonsuch.errors import LocalError
from nonsuch.live.driver import Node
from nonsuch.live.ledgers import Entry, open_ledger
from nonsuch.networks.race.desk import Desk, Overfull, Waiting
from nonsuch.networks.race.ledger import Ledger, LedgerDamaged
from nonsuch.networks.race.messages import Answer, Asked, Question, Told
from nonsuch.node import LOCAL, Received

__all__ = ["LedgerOwner", "LedgerUnusable"]

LOOK_SECONDS = 0.02
"""How often to look whether somebody else has won."""

AGAIN_SECONDS = 1.0
"""How often to try a ledger that cannot be used."""

SERVED_MAX = 256
"""Questions under one lock: others want it too."""


class LedgerUnusable(msgspec.Struct, frozen=True):
    """The ledger cannot be read or written; it is tried again, and races wait. Told once."""

    reason: str


class LedgerOwner:
    """Serves one core. Raises `LocalError` where the ledger cannot be used now.

    The desk is the event loop's; the file and the index of what is in it are those of the thread
    that serves, of which there is one at a time.
    """

    def __init__(self, name: str, log: Logger) -> None:
        self._file = open_ledger(name)
        self._name = name.removeprefix("sqlite:")
        self._log = log
        self._desk = Desk()
        self._index = Ledger()
        self._using = threading.Lock()
        self._waiting = Waiting()
        self._asked = asyncio.Event()
        self._told_unusable = False
        self._node: Node | None = None
        try:
            self._serve(self._desk, ())
        except BaseException:
            self.close()
            raise

    def hear(self, message: object) -> None:
        """What the core says to `LOCAL`."""
        assert isinstance(message, Question | Asked)
        if self._waiting.add(message, self._desk):
            self._asked.set()
        elif isinstance(message, Asked):
            asyncio.get_running_loop().call_soon(self._turn_away, message.seat)

    def _turn_away(self, seat: int) -> None:
        if self._node is not None:
            self._node.deliver([Received(LOCAL, Overfull(seat))])

    async def beside(self, node: Node) -> None:
        """Serve as long as the node runs, and then let go of the file."""
        self._node = node
        try:
            while True:
                await self._wait()
                try:
                    await self._turn(node)
                except LocalError as error:
                    await self._bear(error)
        finally:
            self._file.interrupt()
            await asyncio.to_thread(self.close)

    async def _wait(self) -> None:
        """For a question, or until it is time to look."""
        if not self._waiting:
            self._asked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._desk.watches else None):
                    await self._asked.wait()

    async def _turn(self, node: Node) -> None:
        """Serve what waits, or look. What comes of it is only true once it is on disk."""
        requests = self._waiting.first(SERVED_MAX)
        if not requests and not self._file.changed():
            return
        desk = self._desk.copy()
        answers = await asyncio.to_thread(self._serve, desk, requests)
        self._desk = desk
        self._waiting.served()
        self._told_unusable = False
        node.deliver([Received(LOCAL, answer) for answer in answers])

    async def _bear(self, error: LocalError) -> None:
        if not self._told_unusable:
            self._told_unusable = True
            self._log(LedgerUnusable(str(error)))
        await asyncio.sleep(AGAIN_SECONDS)

    def _serve(self, desk: Desk, requests: Sequence[Question | Asked]) -> list[Answer | Told]:
        """In a thread: who has won meanwhile, and what these ask, under one lock."""
        try:
            with self._using, self._file.locked() as entries:
                self._update(entries)
                answers = desk.look(self._index)
                for request in requests:
                    served = desk.handle(request, self._index)
                    answers += served.answers
                    for entry in served.entries:
                        entries.append(entry)
        except LocalError:
            self._index = Ledger()  # It may hold what is not in the file.
            raise
        return answers

    def _update(self, entries: Sequence[Entry]) -> None:
        try:
            self._index.update(entries)
        except LedgerDamaged as error:
            raise LedgerDamaged(f"{self._name}: {error}") from None

    def close(self) -> None:
        """Let go of the file, once nobody uses it."""
        with self._using:
            self._file.close()
