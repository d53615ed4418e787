"""What a pool looks like from outside: frozen, and taken all at once.

Metrics, `nonsuch status` and tests read this and nothing else of a pool. The pool that reports may
be an older one than whoever reads it: a field that is new has a default.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["JobStatistics", "MinerStatistics", "PoolStatistics"]


class JobStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs or waits. `done` of `total` nonces; `returned` shards wait in its queue."""

    job: str
    first: int
    last: int
    done: int
    total: Annotated[int, Meta(ge=1)]
    leases: int
    returned: int
    audits: int
    rate: float
    watchers: int
    nonce: int | None
    seconds: float


class MinerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A miner: its rate in hashes a second, and its shares against what the law expects.

    `workers` is 0 where its slots are threads of its own.
    """

    name: str
    address: str
    wire: str
    slots: int = 1
    workers: int = 0
    rate: float
    leases: int
    results: int
    shares: int
    expected: float
    unaudited: int


class PoolStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A pool. Counts are since it began; `jobs_described` and `miners_described` are bounded.

    A relay's pool above may be reached or not.
    """

    name: str
    seconds: float
    connections: int
    miners: int
    miners_idle: int
    slots: int = 0
    workers: int = 0
    rate: float
    leases: int
    jobs: int
    jobs_accepted: int
    jobs_finished: int
    answers_kept: int
    queue: int
    results: int
    late_results: int
    copies: int
    requeues: dict[str, int]
    audits_passed: int
    audits_failed: int
    audits_waiting: int
    cheats: int
    errors: int
    dropped: int
    jobs_described: tuple[JobStatistics, ...]
    miners_described: tuple[MinerStatistics, ...]
    is_relay: bool = False
    upstream_reached: bool = False
