"""What is watched and, where that is allowed, controlled: processes, or a simulated world.

A fleet tells what it does as facts of the node "", so that they are recorded and replayed with all
others. What it does for people is here as a protocol; the page's buttons call nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from nonsuch.errors import LocalError
from nonsuch.web.rows import About, Role

__all__ = [
    "Asked",
    "Bystander",
    "Fleet",
    "Healed",
    "LiesTold",
    "LossSet",
    "NodeCut",
    "NodeMended",
    "ProcessEnded",
    "ProcessFrozen",
    "ProcessKilled",
    "ProcessReady",
    "ProcessStarted",
    "ProcessStopped",
    "ProcessThawed",
    "UnknownNode",
    "Unsupported",
]


class Unsupported(LocalError):
    """This fleet has no way to do that; the message says which has."""


class UnknownNode(LocalError):
    """There is no node of that name."""


class _Fact(msgspec.Struct, frozen=True):
    """Keyword and value; every field can be shown as it is."""


class ProcessStarted(_Fact, frozen=True):
    """A node begins; `again` where it was there before. `rate` where it is known beforehand."""

    name: str
    role: Role
    address: str = ""
    rate: float | None = None
    lies: bool = False
    again: bool = False


class ProcessReady(_Fact, frozen=True):
    """It runs. Any fact that a node tells says so too."""

    name: str


class ProcessEnded(_Fact, frozen=True):
    """A node has ended, and nobody had asked it to."""

    name: str
    why: str


class ProcessStopped(_Fact, frozen=True):
    """A node was asked to end, and has."""

    name: str


class ProcessKilled(_Fact, frozen=True):
    """Kill -9."""

    name: str


class ProcessFrozen(_Fact, frozen=True):
    """SIGSTOP."""

    name: str


class ProcessThawed(_Fact, frozen=True):
    """SIGCONT."""

    name: str


class NodeCut(_Fact, frozen=True):
    """No message reaches this node, and none of its reaches another."""

    name: str


class NodeMended(_Fact, frozen=True):
    """Messages reach it again."""

    name: str


class LiesTold(_Fact, frozen=True):
    """From now on this node lies; `how` in a few words."""

    name: str
    how: str = ""


class LossSet(_Fact, frozen=True):
    """From now on this share of all messages is lost."""

    share: float


class Healed(_Fact, frozen=True):
    """Every cut is mended and nothing is lost any more."""


class Asked(_Fact, frozen=True):
    """Somebody had something else done; one sentence."""

    text: str


class Fleet(Protocol):
    """Each action returns one sentence of what was done.

    Raises `Unsupported` for what the fleet has no way to do, `UnknownNode`, or another `LocalError`
    whose message says what was wrong and what to do.
    """

    def about(self) -> About:
        """What is watched."""

    async def kill(self, name: str) -> str:
        """Kill -9."""

    async def freeze(self, name: str) -> str:
        """SIGSTOP."""

    async def thaw(self, name: str) -> str:
        """SIGCONT."""

    async def restart(self, name: str) -> str:
        """A new life, from what is on disk."""

    async def lie(self, name: str) -> str:
        """Have this node lie from now on."""

    async def cut(self, name: str) -> str:
        """Part this node from all others."""

    async def mend(self, name: str) -> str:
        """Undo `cut`."""

    async def add(self, role: Role) -> str:
        """One more node."""

    async def lose(self, share: float) -> str:
        """Lose this share of all messages, in [0, 1]."""

    async def heal(self) -> str:
        """Mend every cut, lose nothing."""

    async def submit(self, message: str, upto: int) -> str:
        """A job for the pool: the lowest hash of nonces 0 to `upto`, both included."""

    async def transact(self, text: str) -> str:
        """A transaction, for every node of a race or for a peer."""

    async def record(self, *, on: bool) -> str:
        """Begin or end a recording."""

    def recording(self) -> Path | None:
        """The file of the present recording, or of the last."""

    async def replay(self, at: float | None, paused: bool | None, speed: float | None) -> str:
        """Move the clock of a replay."""


class Bystander:
    """A fleet that can only be looked at: every action is `Unsupported`. To be derived from."""

    def __init__(self, about: About) -> None:
        self._about = about

    def about(self) -> About:
        """What is watched."""
        return self._about

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"{what} is not possible here: {self._about.title or 'this'} has no way")

    async def kill(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to kill {name}")

    async def freeze(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to freeze {name}")

    async def thaw(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to thaw {name}")

    async def restart(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to restart {name}")

    async def lie(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to have {name} lie")

    async def cut(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to cut {name} off")

    async def mend(self, name: str) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to mend {name}")

    async def add(self, role: Role) -> str:
        """See `Fleet`."""
        raise self._unsupported(f"to add a {role}")

    async def lose(self, share: float) -> str:
        """See `Fleet`."""
        raise self._unsupported("to lose messages")

    async def heal(self) -> str:
        """See `Fleet`."""
        raise self._unsupported("to heal anything")

    async def submit(self, message: str, upto: int) -> str:
        """See `Fleet`."""
        raise self._unsupported("to submit a job")

    async def transact(self, text: str) -> str:
        """See `Fleet`."""
        raise self._unsupported("to send a transaction")

    async def record(self, *, on: bool) -> str:
        """See `Fleet`."""
        raise self._unsupported("to record")

    def recording(self) -> Path | None:
        """See `Fleet`."""
        return None

    async def replay(self, at: float | None, paused: bool | None, speed: float | None) -> str:
        """See `Fleet`."""
        raise self._unsupported("to move the clock")
