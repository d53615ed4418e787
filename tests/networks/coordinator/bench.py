"""A coordinator or an agent on a bench, moved by hand, and agents as other people wrote them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from hashlib import sha256

from nonsuch.networks.coordinator.agent import Agent
from nonsuch.networks.coordinator.coordinator import Coordinator
from nonsuch.networks.coordinator.header import Header
from nonsuch.networks.coordinator.settings import AgentSettings, CoordinatorSettings
from nonsuch.node import (
    Close,
    Connected,
    Effect,
    Emit,
    Event,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Tick,
)
from nonsuch.scenarios.coordinator_cheats import solved
from nonsuch.work.target import Target

__all__ = ["EASY", "UNIX", "AgentBench", "Bench", "closed", "sent", "stock_answer", "told"]

UNIX = 1_700_000_000.0
EASY = Target.from_work(8)


def sent(effects: Iterable[Effect]) -> dict[int, Header]:
    """The header that each peer is sent."""
    return {
        each.peer: each.message
        for each in effects
        if isinstance(each, Send) and isinstance(each.message, Header)
    }


def told(effects: Iterable[Effect]) -> list[object]:
    """The facts."""
    return [each.fact for each in effects if isinstance(each, Emit)]


def closed(effects: Iterable[Effect]) -> dict[int, str]:
    """Who is let go, and why."""
    return {each.peer: each.why for each in effects if isinstance(each, Close)}


def stock_answer(data: bytes) -> bytes:
    """What a stock agent does: hash upward from the nonce, then write its constants, and answer."""
    head, (nonce,) = data[:104], struct.unpack("<I", data[104:])
    threshold = bytes.fromhex("0001" + "ff" * 30)
    while True:
        digest = sha256(sha256(head + struct.pack("<I", nonce)).digest()).digest()
        if digest <= threshold:
            break
        nonce += 1
    return struct.pack("<i", 4) + head[4:72] + threshold + struct.pack("<I", nonce)


class Bench:
    """A coordinator and its agents 1, 2, 3 …, each with the last header that it was sent."""

    def __init__(
        self,
        agents: int = 2,
        records: Iterable[object] = (),
        settings: CoordinatorSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = settings or CoordinatorSettings(target=EASY)
        self.core = Coordinator(self.settings, random.Random(seed), UNIX)
        self.now = 0.0
        self.headers: dict[int, Header] = {}
        self.kept: list[object] = []
        self.give(Started(tuple(records)))
        for number in range(1, agents + 1):
            self.join(number)

    def give(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now)
        self.core._check()
        self.headers |= sent(effects)
        self.kept += [each.record for each in effects if isinstance(each, Persist)]
        return effects

    def join(self, number: int) -> list[Effect]:
        return self.give(Connected(number, f"agent-{number}:1", "coordinator"))

    def answer(self, number: int, header: Header) -> list[Effect]:
        """An agent says this."""
        return self.give(Received(number, header))

    def solve(self, number: int) -> list[Effect]:
        """An agent solves the last header that it was sent."""
        return self.answer(number, solved(self.headers[number]))

    def forge(self, number: int = 1, **fields: object) -> Header:
        """A solved header: the last one that the agent was sent, but for these fields."""
        header = self.headers[number]
        names = ("version", "parent", "root", "timestamp", "target", "nonce")
        values = {name: getattr(header, name) for name in names}
        return solved(Header.of(**{**values, **fields}))

    def pass_time(self, seconds: float) -> list[Effect]:
        """Let it tick whenever it wants to."""
        end, effects = self.now + seconds, list[Effect]()
        while (at := self.core.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            effects += self.give(Tick())
        self.now = end
        return effects


class AgentBench:
    """An agent that is connected to peer 1, unless told otherwise."""

    def __init__(self, *, connected: bool = True, settings: AgentSettings | None = None) -> None:
        self.core = Agent(settings or AgentSettings(), random.Random(0))
        self.now = 100.0
        if connected:
            self.give(Started())
            self.give(Connected(1, "coordinator:3000", "coordinator", ""))

    def give(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now)
        self.core._check()
        return effects

    def hear(self, header: Header) -> list[Effect]:
        return self.give(Received(1, header))

    def find(self, search: Search) -> list[Effect]:
        """The search succeeds."""
        header = Header(search.puzzle.preimage(search.nonces.start))
        nonce = solved(header).nonce
        return self.give(Searched(search.task, nonce + 1, (nonce,)))

    def exhaust(self, search: Search) -> list[Effect]:
        """It does not."""
        return self.give(Searched(search.task, search.nonces.stop, ()))
