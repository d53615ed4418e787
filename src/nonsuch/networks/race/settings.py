"""How a node and a keeper behave: frozen records, from the command line or a test."""

from __future__ import annotations

import math
from datetime import tzinfo

import msgspec

from nonsuch.errors import LocalError, check_text
from nonsuch.networks.race.messages import DIFFICULTY_MAX, NAME_MAX
from nonsuch.work.target import Target

__all__ = ["KeeperSettings", "RaceSettings", "race_target"]

DIGITS_A_DIFFICULTY = 2


def race_target(difficulty: int) -> Target:
    """Two leading zero hex digits for each step of difficulty."""
    return Target.from_zero_digits(DIGITS_A_DIFFICULTY * difficulty)


class RaceSettings(msgspec.Struct, frozen=True):
    """Every number that a node lives by. Times are seconds."""

    name: str = "Node1"
    """What it is called in the ledger."""

    difficulty: int = 2
    """1 to 31. All nodes of a ledger have the same."""

    finishes: bool = False
    """Search on, for the comparison, where another node has won; else stop at once."""

    has_keeper: bool = False
    """The ledger is behind a keeper, who is dialled; else it is here."""

    token: str = ""
    """What the keeper wants to hear."""

    zone: tzinfo | None = None
    """Of the times in the ledger; None is the machine's own."""

    silent_seconds: float = 10.0
    """A client that has not said anything by then is dropped."""

    transaction_seconds: float = 60.0
    """All of a transaction must have come by then."""

    connections_max: int = 1024
    """Clients at once; further ones are refused."""

    open_max: int = 1000
    """Races that wait or are run at once; further transactions are refused."""

    def __post_init__(self) -> None:
        _check(self)
        if not self.name or len(self.name) > NAME_MAX:
            raise LocalError(f"a node has a name, of {NAME_MAX} characters at most")
        check_text(self.name, "a node's name")

    @property
    def target(self) -> Target:
        """What the hash of a proof must not be above."""
        return race_target(self.difficulty)


class KeeperSettings(msgspec.Struct, frozen=True):
    """Every number that a keeper lives by. Times are seconds."""

    name: str = "keeper"
    """What it calls itself."""

    difficulty: int = 2
    """What it asks of the nodes' hashes."""

    token: str = ""
    """What a hello must carry; empty lets everybody in."""

    hello_seconds: float = 5.0
    """A connection must say who it is within this time."""

    connections_max: int = 256
    """Nodes at once; further ones are refused."""

    error_budget: int = 1000
    """What the errors of one node may cost before it is let go; it is back in an hour."""

    def __post_init__(self) -> None:
        _check(self)
        if self.error_budget < 1:
            raise LocalError("error budget must be 1 or more")

    @property
    def target(self) -> Target:
        """What the hash of a claim must not be above."""
        return race_target(self.difficulty)


def _check(settings: RaceSettings | KeeperSettings) -> None:
    if not 1 <= settings.difficulty <= DIFFICULTY_MAX:
        raise LocalError(f"a difficulty lies between 1 and {DIFFICULTY_MAX}")
    if len(settings.token) > NAME_MAX:
        raise LocalError(f"a token has {NAME_MAX} characters at most")
    for field in settings.__struct_fields__:
        value = getattr(settings, field)
        if field.endswith("_seconds") and not 0 < value < math.inf:
            raise LocalError(f"{field.replace('_', ' ')} must be above 0")
        if field.endswith("_max") and value < 1:
            raise LocalError(f"{field.replace('_', ' ')} must be 1 or more")
