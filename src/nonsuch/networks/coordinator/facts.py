"""What coordinators and agents tell people: log lines, displays, recordings are made of these."""

from __future__ import annotations

import msgspec

__all__ = [
    "AgentDropped",
    "AgentJoined",
    "AgentLeft",
    "AnswerRefused",
    "AnswerStale",
    "BlockAccepted",
    "CoordinatorLost",
    "CoordinatorReached",
    "Exhausted",
    "Fact",
    "HeaderRefused",
    "Restored",
    "Solved",
]


class _Fact(msgspec.Struct, frozen=True):
    """Keyword and value; every field can be shown as it is."""


# Of a coordinator.


class Restored(_Fact, frozen=True):
    """The journal was read."""

    blocks: int
    height: int
    tip: str


class AgentJoined(_Fact, frozen=True):
    """An agent has come; with it there are so many."""

    agent: str
    agents: int


class AgentLeft(_Fact, frozen=True):
    """An agent has gone; without it there are so many."""

    agent: str
    why: str
    agents: int


class AgentDropped(_Fact, frozen=True):
    """A connection was ended from here."""

    agent: str
    reason: str


class BlockAccepted(_Fact, frozen=True):
    """The chain has grown; so many seconds after the tip before was there."""

    block: str
    height: int
    nonce: int
    agent: str
    seconds: float


class AnswerStale(_Fact, frozen=True):
    """A good answer that somebody else was faster with, for the block at this height."""

    agent: str
    height: int


class AnswerRefused(_Fact, frozen=True):
    """An answer that no honest agent gives; `rule` is what it breaks."""

    agent: str
    rule: str
    reason: str


# Of an agent.


class CoordinatorReached(_Fact, frozen=True):
    """The coordinator is there, after so many attempts."""

    address: str
    attempts: int


class CoordinatorLost(_Fact, frozen=True):
    """It is not there, or not any more. Told once; it is tried again."""

    why: str


class HeaderRefused(_Fact, frozen=True):
    """A header that cannot be searched. Told once until a good one comes."""

    reason: str


class Solved(_Fact, frozen=True):
    """An answer was found, and sent."""

    block: str
    nonce: int
    seconds: float


class Exhausted(_Fact, frozen=True):
    """All nonces of a header were tried, in vain; `rolled` where it was dated anew and goes on."""

    rolled: bool


Fact = (
    Restored
    | AgentJoined
    | AgentLeft
    | AgentDropped
    | BlockAccepted
    | AnswerStale
    | AnswerRefused
    | CoordinatorReached
    | CoordinatorLost
    | HeaderRefused
    | Solved
    | Exhausted
)
