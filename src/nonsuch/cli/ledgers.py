"""The owner of a race's ledger: all that blocks, in a thread, for a node or a keeper.

What a core asks of `LOCAL` is served in order, as many questions under one lock as wait. While
races are watched, a look at the file tells when somebody else has changed it: so a loser hears of
it while it still searches. A ledger that cannot be used at the start ends the node; one that cannot
be used later is tried again, and nobody's question is lost meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import msgspec

from nonsuch.cli.logs import Logger
from nonsuch.errors import LocalError
from nonsuch.live.driver import Node
from nonsuch.live.ledgers import open_ledger
from nonsuch.networks.race.desk import Desk
from nonsuch.networks.race.ledger import Ledger
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
    """Serves one core. Raises `LocalError` where the ledger cannot be used now."""

    def __init__(self, name: str, log: Logger) -> None:
        self._file = open_ledger(name)
        self._log = log
        self._desk = Desk()
        self._index = Ledger()
        self._questions: deque[Question | Asked] = deque()
        self._asked = asyncio.Event()
        self._told_unusable = False
        self._index.update(self._file.read())

    def hear(self, message: object) -> None:
        """What the core says to `LOCAL`."""
        assert isinstance(message, Question | Asked)
        self._questions.append(message)
        self._asked.set()

    async def beside(self, node: Node) -> None:
        """Serve as long as the node runs."""
        while True:
            await self._wait()
            try:
                if self._questions:
                    answers = await asyncio.to_thread(self._serve)
                elif self._file.changed():
                    answers = await asyncio.to_thread(self._look)
                else:
                    continue
            except LocalError as error:
                await self._bear(error)
                continue
            self._told_unusable = False
            node.deliver([Received(LOCAL, answer) for answer in answers])

    async def _wait(self) -> None:
        """For a question, or until it is time to look."""
        if not self._questions:
            self._asked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._desk.watches else None):
                    await self._asked.wait()

    async def _bear(self, error: LocalError) -> None:
        if not self._told_unusable:
            self._told_unusable = True
            self._log(LedgerUnusable(str(error)))
        await asyncio.sleep(AGAIN_SECONDS)

    def _serve(self) -> list[Answer | Told]:
        """In a thread: what waits, under one lock."""
        count = min(len(self._questions), SERVED_MAX)
        try:
            with self._file.locked() as entries:
                self._index.update(entries)
                answers = self._desk.look(self._index)
                for number in range(count):
                    served = self._desk.handle(self._questions[number], self._index)
                    answers += served.answers
                    for entry in served.entries:
                        entries.append(entry)
        except LocalError:
            self._index = Ledger()  # It may hold what is not in the file.
            raise
        for _ in range(count):
            self._questions.popleft()
        return answers

    def _look(self) -> list[Answer | Told]:
        """In a thread: who has won meanwhile."""
        with self._file.locked() as entries:
            self._index.update(entries)
        return self._desk.look(self._index)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
