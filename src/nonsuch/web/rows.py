"""The rows of a picture, as the page gets them: the names are what the page knows.

Times are seconds, Unix or virtual, and durations are seconds too. A whole number that a browser
would round is written as text (`nonsuch.web.tables.Whole`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from nonsuch.web.tables import Whole

__all__ = [
    "TOTALS",
    "About",
    "Agent",
    "Audit",
    "Best",
    "Block",
    "BlockTotals",
    "Job",
    "JobState",
    "Kind",
    "Lane",
    "LaneState",
    "Network",
    "Node",
    "NodeState",
    "Race",
    "RaceTotals",
    "Rate",
    "Reorg",
    "Role",
    "Round",
    "RoundTotals",
    "Shard",
    "ShardState",
    "Told",
]

TOTALS = "totals"
"""The one row of a table of totals."""

Network = Literal["pool", "gossip", "peer", "race", "coordinator"]
Role = Literal[
    "pool", "miner", "gossip", "peer", "race", "keeper", "coordinator", "agent", "client"
]
NodeState = Literal["starting", "up", "frozen", "dead", "cut"]
Kind = Literal["info", "good", "bad", "fault"]
JobState = Literal["running", "done", "ended"]
ShardState = Literal["leased", "done", "returned", "redone", "audited", "failed"]
LaneState = Literal["waiting", "searching", "won", "lost", "stopped"]


class About(msgspec.Struct):
    """What is watched, and what can be done about it. `begin` and `end` are those of a replay.

    `loss` is the share of all messages that is lost.
    """

    network: Network
    title: str = ""
    virtual: bool = False
    speed: float = 1.0
    control: bool = False
    started: float = 0.0
    replay: bool = False
    begin: float | None = None
    end: float | None = None
    paused: bool = False
    recording: bool = False
    loss: float = 0.0


class Node(msgspec.Struct):
    """One node: of the fleet, or one that others told of.

    Its life and its links are two things: `cut` says whether it is parted from all others, and
    `state` says so too while it runs. `measured` is false of a `rate` that it ought to have. A
    miner searches `slots` shards at once, on its own threads where it has no `workers`.
    """

    name: str
    role: Role
    state: NodeState = "starting"
    address: str = ""
    rate: float | None = None
    measured: bool = False
    slots: int = 1
    workers: int = 0
    cut: bool = False
    lies: bool = False
    tip: str | None = None
    height: int | None = None
    mined: int = 0
    kept: int = 0
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    share_expected: float | None = None
    note: str = ""


class Told(msgspec.Struct):
    """One sentence for people. What goes on was told first at `at`, and last at `until`."""

    at: float
    node: str
    text: str
    kind: Kind
    until: float


# Of a pool.


class Job(msgspec.Struct):
    """A job and, once there is one, its answer."""

    job: str
    message: str = ""
    first: Whole = 0
    last: Whole = -1
    state: JobState = "running"
    done: Whole = 0
    total: Whole = 0
    rate: float = 0.0
    best_nonce: Whole | None = None
    best_hash: str | None = None
    nonce: Whole | None = None
    hash: str | None = None
    verified: bool = False
    submitted: float | None = None
    finished: float | None = None
    seconds_left: float | None = None


class Shard(msgspec.Struct):
    """What became of the nonces in [start, stop)."""

    job: str
    start: Whole
    stop: Whole
    state: ShardState
    node: str
    at: float


class Best(msgspec.Struct):
    """The best so far, when it became that."""

    job: str
    at: float
    nonce: Whole
    hash: str


class Rate(msgspec.Struct):
    """Hashes a second of a node."""

    node: str
    at: float
    rate: float


class Audit(msgspec.Struct):
    """A shard was scanned again."""

    at: float
    node: str
    auditor: str
    passed: bool
    text: str


# Of a chain.


class Block(msgspec.Struct):
    """A block, who found it, and how it spread."""

    id: str
    parent: str
    height: int
    miner: str
    at: float
    best: bool = False
    seen: int = 0
    t50: float | None = None
    t90: float | None = None
    data: str = ""


class BlockTotals(msgspec.Struct):
    """Of all blocks that were told of, those too whose rows have gone."""

    blocks: int = 0
    stale: int = 0


class Reorg(msgspec.Struct):
    """A node went over to another branch."""

    at: float
    node: str
    left: int
    joined: int
    fork_height: int
    height: int


# Of a race.


class Lane(msgspec.Struct):
    """One node's part in a race."""

    received: float | None = None
    started: float | None = None
    completed: float | None = None
    state: LaneState = "waiting"
    seconds: float | None = None


class Race(msgspec.Struct):
    """The k-th race over a text."""

    text: str
    k: int
    at: float
    winner: str | None = None
    nonce: Whole | None = None
    hash: str | None = None
    lanes: dict[str, Lane] = {}


class RaceTotals(msgspec.Struct):
    """Of all races, and of all that was written, also what has no row any more."""

    races: int = 0
    entries: int = 0


# Of a coordinator.


class Round(msgspec.Struct):
    """A height, and who got there first."""

    height: int
    header: str
    at: float
    sent: int = 0
    answers: int = 0
    stale: int = 0
    refused: int = 0
    winner: str | None = None
    solved: float | None = None
    nonce: Whole | None = None
    hash: str | None = None


class Agent(msgspec.Struct):
    """An agent, as the coordinator sees it."""

    address: str
    answers: int = 0
    accepted: int = 0
    stale: int = 0
    errors: int = 0


class RoundTotals(msgspec.Struct):
    """Of all rounds, those too whose rows have gone, and how many agents are there by now."""

    solved: int = 0
    answers: int = 0
    stale: int = 0
    refused: int = 0
    agents: int = 0
