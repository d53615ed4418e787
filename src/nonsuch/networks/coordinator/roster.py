"""Who is there, in what place, and what each has done.

A place is the least number that nobody has; an agent has it until it leaves. `template` makes of it
where the agent's search begins.

An agent answers each header once at most. So whoever has answered more often than it was sent
headers is not honest, however good its answers are; that is all it takes to bound a flood of them.
"""

from __future__ import annotations

import heapq

from nonsuch.chain.budget import Budget
from nonsuch.networks.coordinator.settings import CoordinatorSettings
from nonsuch.networks.coordinator.statistics import SessionStatistics

__all__ = ["Roster", "Session"]

FORGIVEN_SECONDS = 3600.0
"""After so long a spent error budget is whole again."""

RATE_SECONDS_MIN = 1.0
"""Over less time than this no rate is estimated."""


class Session:
    """An agent. `work` is what its good answers are expected to have taken, in hashes."""

    __slots__ = (
        "accepted",
        "address",
        "answers",
        "budget",
        "errors",
        "headers",
        "number",
        "place",
        "since",
        "stale",
        "work",
    )

    def __init__(
        self, number: int, address: str, place: int, error_budget: int, now: float
    ) -> None:
        self.number = number
        self.address = address
        self.place = place
        self.since = now
        self.headers = 0
        self.answers = 0
        self.accepted = 0
        self.stale = 0
        self.errors = 0
        self.work = 0
        self.budget = Budget(error_budget / FORGIVEN_SECONDS, error_budget)

    def statistics(self, now: float) -> SessionStatistics:
        """What it has done so far."""
        seconds = now - self.since
        return SessionStatistics(
            agent=self.address,
            seconds=seconds,
            answers=self.answers,
            accepted=self.accepted,
            stale=self.stale,
            errors=self.errors,
            rate_estimate=self.work / max(seconds, RATE_SECONDS_MIN),
        )


class Roster:
    """All agents."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._settings = settings
        self._free: list[int] = []
        self._places = 0
        self._halves: dict[int, float] = {}
        self.sessions: dict[int, Session] = {}

    def join(self, number: int, address: str, now: float) -> Session | None:
        """An agent comes; None where there is no room for it."""
        settings = self._settings
        if len(self.sessions) >= settings.agents_max:
            return None
        if self._free:
            place = heapq.heappop(self._free)
        else:
            place = self._places
            self._places += 1
        session = Session(number, address, place, settings.error_budget, now)
        self.sessions[number] = session
        return session

    def leave(self, number: int) -> Session | None:
        """An agent goes, or was told to; None where there is none of this number."""
        session = self.sessions.pop(number, None)
        if session is not None:
            heapq.heappush(self._free, session.place)
            self._halves.pop(number, None)
        return session

    # Headers that have begun to come.

    def half_began(self, session: Session, now: float) -> None:
        """Of this one's next header a part has come."""
        self._halves.setdefault(session.number, now + self._settings.half_seconds)

    def half_ended(self, session: Session) -> None:
        """The header has come."""
        self._halves.pop(session.number, None)

    @property
    def deadline(self) -> float | None:
        """When the first of those headers must have come."""
        # They all have as long, so they are in the order of their ends.
        return next(iter(self._halves.values()), None)

    def overdue(self, now: float) -> list[Session]:
        """Whose headers have not."""
        return [self.sessions[number] for number, at in self._halves.items() if at <= now]

    def check(self) -> None:
        """Assert every invariant."""
        assert len(self.sessions) <= self._settings.agents_max
        places = [session.place for session in self.sessions.values()]
        assert sorted([*places, *self._free]) == list(range(self._places))
        assert self._halves.keys() <= self.sessions.keys()
        assert list(self._halves.values()) == sorted(self._halves.values())
