"""How a pool behaves: one frozen record, from the command line, a test or a simulation."""

from __future__ import annotations

import msgspec

from nonsuch.errors import LocalError

__all__ = ["PoolSettings"]


class PoolSettings(msgspec.Struct, frozen=True):
    """Every number that a pool lives by. Times are seconds."""

    name: str = "pool"
    """What the pool calls itself to its peers."""

    token: str = ""
    """What a hello must carry; empty lets everybody in."""

    shard_seconds: float = 2.0
    """How long a miner should search one shard: long against a message, short against a loss."""

    shard_nonces: int | None = None
    """A fixed size of shards, for lessons and measurements; None follows each miner's rate."""

    lease_seconds: float = 3.0
    """A miner that holds work and is silent for so long has lost it. LiteMiner's own number."""

    hello_seconds: float = 5.0
    """A connection must say who it is within this time."""

    idle_seconds: float = 60.0
    """A connection without any message for so long is closed: four missed beats of an idle one."""

    audit_fraction: float = 0.01
    """What part of all shards is scanned again."""

    blind_audit_fraction: float = 0.05
    """The same for miners whose wire has no room for evidence."""

    connections_max: int = 20_000
    """Connections at once; further ones are refused."""

    jobs_max: int = 1000
    """Jobs that run or wait at once; further ones are refused."""

    jobs_per_client_max: int = 100
    """Of these, how many one connection may submit."""

    finished_max: int = 1000
    """Answers kept for clients that come back for them; those that were sent to one go first."""

    error_budget: int = 1000
    """What the errors of one peer may cost before it is let go."""

    refuses_jobs: str = ""
    """Why clients cannot have jobs done here; empty where they can."""

    def __post_init__(self) -> None:
        positive = ("shard_seconds", "lease_seconds", "hello_seconds", "idle_seconds")
        for field in positive:
            if not 0 < getattr(self, field) < float("inf"):
                raise LocalError(f"{field.replace('_', ' ')} must be above 0")
        for field in ("audit_fraction", "blind_audit_fraction"):
            if not 0 <= getattr(self, field) <= 1:
                raise LocalError(f"{field.replace('_', ' ')} must lie between 0 and 1")
        if self.shard_nonces is not None and self.shard_nonces < 1:
            raise LocalError("a shard has 1 nonce or more")
