"""A coordinator: it hands out headers, keeps what comes back solved, and believes nobody.

    tip ──template──▶ a header for each agent ──solved──▶ checked ──▶ on disk ──▶ the next header

The first good answer is the next block; what comes for the same place after it is *stale*: told,
counted, and no fault of anybody. Whatever no honest agent sends costs it, and when its budget is
spent it is let go. What is cheapest is looked at first: the hash, then whether the block is one
that we have asked for.

The chain is on disk before anybody hears of it. Everybody then gets the next header at once, and
another one whenever `block_seconds` have passed without a block, so that its time stays true.

The wire has no words for refusals. Why a connection was ended is told to our own people.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from nonsuch.chain.validation import InvalidBlock, check_work
from nonsuch.errors import RemoteError
from nonsuch.networks.coordinator import facts
from nonsuch.networks.coordinator.header import Block, Header
from nonsuch.networks.coordinator.ledger import Ledger
from nonsuch.networks.coordinator.messages import Half
from nonsuch.networks.coordinator.records import CHAIN_SUBJECT
from nonsuch.networks.coordinator.roster import Roster, Session
from nonsuch.networks.coordinator.settings import CoordinatorSettings
from nonsuch.networks.coordinator.statistics import CoordinatorStatistics
from nonsuch.networks.coordinator.template import EXTRANONCE_BYTES, Template
from nonsuch.node import (
    LOCAL,
    Clock,
    Close,
    Connected,
    Disconnected,
    Effect,
    Emit,
    Event,
    Persist,
    Received,
    Send,
    Started,
    Tick,
)
from nonsuch.work.target import Target

__all__ = ["Coordinator"]

AGENTS_DESCRIBED_MAX = 100
"""Agents that statistics describe one by one: those that came first."""

HALF_COST = 1000
"""A header that does not end: as much as what is no message at all."""

TOLD_SECONDS = 10.0
"""How often people are told that there is no room."""

CHECKED_EVERY = 64


class Unasked(RemoteError):
    """An answer of somebody who has answered every header already."""


class Coordinator:
    """The core of a coordinator.

    `lots` draw where extranonces begin. `origin_seconds` is the Unix time at which the driver's
    clock, which is monotonic, showed 0.
    """

    def __init__(
        self, settings: CoordinatorSettings, lots: random.Random, origin_seconds: float = 0.0
    ) -> None:
        self._settings = settings
        self._origin_seconds = origin_seconds
        # Its upper half is drawn; what the lower half has room for are more roots than places.
        half_bits = 4 * EXTRANONCE_BYTES
        self._first_extranonce = lots.getrandbits(half_bits) << half_bits
        self.ledger = Ledger(settings)
        self._template = Template(settings, self.ledger, self._first_extranonce)
        self._roster = Roster(settings)
        self._counts: Counter[str] = Counter()
        self._began = self._tip_at = 0.0
        self._broadcast_at: float | None = None
        self._told_full_at = float("-inf")

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Received(peer=peer, message=Header() as header):
                return self._on_header(peer, header, now)
            case Received(peer=peer, message=Half()):
                return self._on_half(peer, now)
            case Received(peer=peer, message=Clock(unix=unix)) if peer == LOCAL:
                self._origin_seconds = unix - now
            case Tick():
                return self._on_tick(now)
            case Connected(peer=peer, address=address):
                return self._on_connected(peer, address, now)
            case Disconnected(peer=peer, why=why):
                return self._on_disconnected(peer, why)
            case Started(records=records):
                return self._on_started(records, now)
            case _:
                pass
        return []

    def deadline(self) -> float | None:
        """When everybody gets a new header, or a header must have come."""
        times = (self._broadcast_at, self._roster.deadline)
        return min((at for at in times if at is not None), default=None)

    def _unix(self, now: float) -> float:
        return self._origin_seconds + now

    def _on_started(self, records: tuple[object, ...], now: float) -> list[Effect]:
        """Build the chain again, with every check that an agent's answer gets."""
        self._began = now
        self._broadcast_at = now + self._settings.block_seconds
        for number, record in enumerate(records):
            self.ledger.restore(number, record)
        self._template = Template(self._settings, self.ledger, self._first_extranonce)
        if not records:
            return []
        ledger = self.ledger
        return [Emit(facts.Restored(len(records), ledger.height, ledger.tip.hex()))]

    # Headers go out.

    def _on_connected(self, number: int, address: str, now: float) -> list[Effect]:
        session = self._roster.join(number, address, now)
        if session is None:
            return self._turn_away(number, address, now)
        fact = facts.AgentJoined(address, len(self._roster.sessions))
        return [*self._issue([session], now), Emit(fact)]

    def _turn_away(self, number: int, address: str, now: float) -> list[Effect]:
        self._counts["dropped"] += 1
        why = f"this coordinator has its {self._settings.agents_max} agents"
        effects: list[Effect] = [Close(number, why)]
        if now >= self._told_full_at + TOLD_SECONDS:
            self._told_full_at = now
            effects.append(Emit(facts.AgentDropped(address, why)))
        return effects

    def _on_disconnected(self, number: int, why: str) -> list[Effect]:
        session = self._roster.leave(number)
        if session is None:
            return []
        return [Emit(facts.AgentLeft(session.address, why, len(self._roster.sessions)))]

    def _on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for session in self._roster.overdue(now):
            self._roster.half_ended(session)
            reason = f"half a header, and no more for {self._settings.half_seconds:g} s"
            effects += self._charge(session, HALF_COST, "half", reason, now)
        if self._broadcast_at is not None and now >= self._broadcast_at:
            effects += self._broadcast(now)
        return effects

    def _broadcast(self, now: float) -> list[Effect]:
        """Everybody gets a header of now."""
        self._broadcast_at = now + self._settings.block_seconds
        return self._issue(self._roster.sessions.values(), now)

    def _issue(self, sessions: Iterable[Session], now: float) -> list[Effect]:
        sessions = list(sessions)
        if sessions and not self._counts["headers"]:
            self._tip_at = now  # Until then nobody could have searched.
        headers = self._template.issue((each.place for each in sessions), self._unix(now))
        effects: list[Effect] = []
        for session, header in zip(sessions, headers, strict=True):
            session.headers += 1
            effects.append(Send(session.number, header))
        self._counts["headers"] += len(sessions)
        return effects

    # Answers come in.

    def _on_header(self, number: int, header: Header, now: float) -> list[Effect]:
        session = self._roster.sessions.get(number)
        if session is None:
            return []  # It was told to go.
        self._roster.half_ended(session)
        self._counts["answers"] += 1
        session.answers += 1
        try:
            return self._on_answer(session, header, now)
        except RemoteError as error:
            rule = error.rule if isinstance(error, InvalidBlock) else "unasked"
            return self._charge(session, error.cost, rule, str(error), now)

    def _on_answer(self, session: Session, header: Header, now: float) -> list[Effect]:
        """An answer is the next block, or stale. Raises a `RemoteError` for any other."""
        ledger, block = self.ledger, Block(header)
        due = ledger.follower_target(header.parent)
        check_work(block.rank, due or ledger.target)
        if due is not None and header.parent != ledger.tip:
            return self._on_stale(block, due, session)
        self._template.check(header, self._unix(now))
        ledger.append(block)
        return self._on_block(block, session, now)

    def _on_block(self, block: Block, session: Session, now: float) -> list[Effect]:
        """The chain has grown: onto the disk, and on to the next."""
        height, seconds = self.ledger.height, now - self._tip_at
        self._tip_at = now
        self._counts["accepted"] += 1
        session.accepted += 1
        session.work += self._template.target.work
        self._template = Template(self._settings, self.ledger, self._first_extranonce)
        name, nonce = block.id.hex(), block.header.nonce
        fact = facts.BlockAccepted(name, height, nonce, session.address, seconds)
        return [Persist(CHAIN_SUBJECT, block.header), *self._broadcast(now), Emit(fact)]

    def _on_stale(self, block: Block, due: Target, session: Session) -> list[Effect]:
        """Somebody was faster, or this is the very block that we have.

        Raises `Unasked` where it has answered every header already: a block is welcome all the
        same, and cannot be had for nothing, but old ones can be sent again and again.
        """
        ledger = self.ledger
        if session.answers > session.headers:
            raise Unasked(f"answer {session.answers} to {session.headers} headers")
        self._counts["stale"] += 1
        session.stale += 1
        if block.id not in ledger.tree:
            session.work += due.work
        parent = ledger.tree.entry(block.parent)
        height = 0 if parent is None else parent.height + 1
        return [Emit(facts.AnswerStale(session.address, height))]

    # Errors.

    def _on_half(self, number: int, now: float) -> list[Effect]:
        session = self._roster.sessions.get(number)
        if session is not None:
            self._roster.half_began(session, now)
        return []

    def _charge(
        self, session: Session, cost: int, rule: str, reason: str, now: float
    ) -> list[Effect]:
        """An offence; when the budget is spent, it goes."""
        self._counts["errors"] += 1
        session.errors += 1
        effects: list[Effect] = [Emit(facts.AnswerRefused(session.address, rule, reason))]
        if not session.budget.spend(now, cost) or not session.budget.left(now):
            effects += self._drop(session, reason)
        return effects

    def _drop(self, session: Session, reason: str) -> list[Effect]:
        self._counts["dropped"] += 1
        self._roster.leave(session.number)
        return [Close(session.number, reason), Emit(facts.AgentDropped(session.address, reason))]

    # What is seen from outside.

    def statistics(self, now: float) -> CoordinatorStatistics:
        """A frozen picture of the coordinator."""
        ledger, counts, sessions = self.ledger, self._counts, self._roster.sessions
        tip = ledger.tree.tip
        described = islice(sessions.values(), AGENTS_DESCRIBED_MAX)
        return CoordinatorStatistics(
            name=self._settings.name,
            seconds=now - self._began,
            height=ledger.height,
            tip="" if tip is None else tip.block.id.hex(),
            work=0.0 if tip is None else float(tip.chainwork),
            block_work=float(ledger.target.work),
            agents=len(sessions),
            headers=counts["headers"],
            answers=counts["answers"],
            accepted=counts["accepted"],
            stale=counts["stale"],
            errors=counts["errors"],
            dropped=counts["dropped"],
            agents_described=tuple(session.statistics(now) for session in described),
        )

    def _check(self) -> None:
        self.ledger.check()
        # All of a large chain takes long to look at, and hardly changes in an event.
        if not self._counts["answers"] % CHECKED_EVERY:
            self.ledger.tree.check()
        self._roster.check()
        self._template.check_invariants()
        assert self._template.parent == self.ledger.tip, "headers for a tip that is none"
