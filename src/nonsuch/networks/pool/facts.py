"""What a pool, a miner and a client tell people: log lines and displays are made of these.

The name of the class is the event, its fields are the numbers. Counters live in
`Pool.statistics()`; a fact is something that somebody may want to read.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "Answered",
    "AuditFailed",
    "AuditPassed",
    "BestImproved",
    "Cheated",
    "ConnectionLost",
    "Fact",
    "JobAccepted",
    "JobEnded",
    "JobFinished",
    "LeaseLost",
    "MinerChanged",
    "MinerJoined",
    "MinerLeft",
    "PeerDropped",
    "PoolReached",
    "PoolRefused",
    "PoolStarting",
    "Progressed",
    "RelayStarting",
    "Reported",
    "Restored",
    "SearchGivenUp",
    "ShardTaken",
    "ShardVoided",
    "SubmitRefused",
    "Worked",
]


class _Fact(msgspec.Struct, frozen=True):
    """Keyword and value; every field can be shown as it is."""


# Of a pool.


class PoolStarting(_Fact, frozen=True):
    """Where the pool keeps its jobs."""

    journal: str


class RelayStarting(_Fact, frozen=True):
    """This pool has its miners work for the one at this address."""

    upstream: str


class Restored(_Fact, frozen=True):
    """A pool has read its journal."""

    jobs: int
    finished: int
    records: int


class MinerJoined(_Fact, frozen=True):
    """A miner has said hello."""

    miner: str
    address: str
    wire: str
    miners: int


class MinerChanged(_Fact, frozen=True):
    """A miner searches so many shards at once, on so many workers; all miners together `in_all`."""

    miner: str
    slots: int
    workers: int
    in_all: int


class MinerLeft(_Fact, frozen=True):
    """A miner's connection has ended; so many leases went back."""

    miner: str
    why: str
    leases: int
    miners: int


class LeaseLost(_Fact, frozen=True):
    """A lease went back into the queue; `cause` says why.

    frozen: its miner was silent. missed: a beat did not name it. overdue: it took far too long.
    left: the connection ended. dropped: its miner was let go for errors. cheated: it was caught.
    """

    miner: str
    cause: str
    job: str
    start: int
    stop: int


class JobAccepted(_Fact, frozen=True):
    """A job is on disk and will be done.

    `message` is what people would know it by, cut where it is long; where its puzzle is that
    message under a preset, and nothing was cut, `preset` names it.
    """

    job: str
    first: int
    last: int
    miners: int
    message: str = ""
    preset: str = ""


class BestImproved(_Fact, frozen=True):
    """A nonce is better than all that were known of its job."""

    job: str
    nonce: int
    hash: str


class JobFinished(_Fact, frozen=True):
    """A job has its answer."""

    job: str
    nonce: int | None
    hashes: int
    seconds: float
    hash: str = ""


class JobEnded(_Fact, frozen=True):
    """A job was withdrawn."""

    job: str
    reason: str


class AuditPassed(_Fact, frozen=True):
    """A shard was scanned again and nothing was missing."""

    miner: str
    auditor: str
    job: str
    start: int
    stop: int


class AuditFailed(_Fact, frozen=True):
    """A shard was scanned again, and the miner had left out so many shares."""

    miner: str
    auditor: str
    job: str
    start: int
    stop: int
    missed: int


class ShardVoided(_Fact, frozen=True):
    """A shard of a miner that cheated is searched again: nobody had vouched for it."""

    miner: str
    job: str
    start: int
    stop: int


class Cheated(_Fact, frozen=True):
    """A miner was caught: how, and its shares against the law since it joined."""

    miner: str
    address: str
    reason: str
    shares: int
    expected: float
    results: int
    redone: int


class PeerDropped(_Fact, frozen=True):
    """A connection was ended for what its peer did, or did not do."""

    address: str
    reason: str


# Of a miner.


class PoolReached(_Fact, frozen=True):
    """The connection to the pool stands, after so many attempts."""

    address: str
    attempts: int


class ConnectionLost(_Fact, frozen=True):
    """There is no connection to the pool; it will be tried again. Told once a loss."""

    why: str


class PoolRefused(_Fact, frozen=True):
    """The pool will not have this node; `final` where it will never."""

    reason: str
    final: bool


class ShardTaken(_Fact, frozen=True):
    """A shard is searched from now on."""

    job: str
    start: int
    stop: int


class Worked(_Fact, frozen=True):
    """A shard was searched."""

    job: str
    start: int
    stop: int
    seconds: float


class SearchGivenUp(_Fact, frozen=True):
    """A worker that should have searched a shard long ago is given up; the pool has it back."""

    job: str
    start: int
    stop: int
    seconds: float


# Of a client.


class Progressed(_Fact, frozen=True):
    """Where the client's job stands, as the pool says; `nonce` is the best so far."""

    job: str
    done: int
    total: int
    rate: float
    miners: int
    nonce: int | None


class Answered(_Fact, frozen=True):
    """The answer, hashed again here; None where no nonce meets the target."""

    job: str
    nonce: int | None
    hashes: int
    seconds: float


class SubmitRefused(_Fact, frozen=True):
    """There will be no answer, and why."""

    job: str
    reason: str


class Reported(_Fact, frozen=True):
    """The pool's statistics, as JSON."""

    statistics: bytes


Fact = (
    PoolStarting
    | RelayStarting
    | Restored
    | MinerJoined
    | MinerChanged
    | MinerLeft
    | LeaseLost
    | JobAccepted
    | BestImproved
    | JobFinished
    | JobEnded
    | AuditPassed
    | AuditFailed
    | ShardVoided
    | Cheated
    | PeerDropped
    | PoolReached
    | ConnectionLost
    | PoolRefused
    | ShardTaken
    | Worked
    | SearchGivenUp
    | Progressed
    | Answered
    | SubmitRefused
    | Reported
)
