"""What clients, pools and miners say to each other: one small frozen record a message.

    miner  → pool    Hello · Capacity · Beat · Result
    pool   → miner   Welcome · Lease · Revoke · Retire · Refused
    client → pool    Hello · Submit · Watch · Withdraw · Ask
    pool   → client  Welcome · Status · Answer · Ended · Report · Refused

A connection begins with `Hello`, and nothing is answered before it. A miner then waits for leases;
it sends a `Beat` every `Welcome.beat_seconds`, naming the leases it holds, so that a lease that was
lost on the way is missed by the next beat. The puzzle of a job comes with the first lease of it
that a miner gets, and is kept until `Retire`.

A job's id is the client's choice, at random and long: whoever knows it may watch it, come back for
its answer and withdraw it, and a `Submit` that is sent twice, because a connection broke, is one
job. Numbers are 64-bit unsigned; a range is its first nonce and its last one, both included, or its
start and how many.

`Rules` says how large each part may be. Nothing here is believed because it was decoded.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nonsuch.errors import LocalError
from nonsuch.work.nonce import Decimal, NonceEncoding, Raw, SquareDifference
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.shares import SHARES_MAX
from nonsuch.work.target import Target

__all__ = [
    "LEASES_MAX",
    "LEASES_PLAIN_MAX",
    "LEASE_SECONDS_ASKED_MAX",
    "MESSAGE_BYTES_MAX",
    "PROTOCOL",
    "RATE_MAX",
    "SLOTS_MAX",
    "VERSION",
    "WORKERS_MAX",
    "Answer",
    "Ask",
    "Beat",
    "Capacity",
    "Ended",
    "Hello",
    "Lease",
    "Message",
    "PuzzleForm",
    "Refused",
    "Report",
    "Result",
    "Retire",
    "Revoke",
    "Status",
    "Submit",
    "Watch",
    "Welcome",
    "Withdraw",
    "leases_max",
    "target_bytes",
    "target_of",
]

PROTOCOL = "nonsuch-pool"
VERSION = 1

MESSAGE_BYTES_MAX = 2**16
"""Bytes before, or after, the nonce of a job. A longer message wants its digest mined instead."""

SLOTS_MAX = 2048
"""Leases that a miner may search at once; a larger cluster has several miners."""

LEASES_PLAIN_MAX = 8
"""Leases that a miner of one slot holds: one being searched, one waiting, and room to change."""

LEASES_MAX = 2 * SLOTS_MAX
"""Leases that any miner holds at once: with each that is searched, one that waits."""

WORKERS_MAX = 2**20
"""Workers, or threads, that a miner may say it has. For people."""

LEASE_SECONDS_ASKED_MAX = 60.0
"""No miner may ask for longer leases: what it holds is lost with it."""

RATE_MAX = 1e15
"""Hashes a second that a miner may say it can do; a thousand times what any machine does."""

TARGET_BYTES = 32

_NAME_MAX = 128
_REASON_MAX = 512

Name = Annotated[str, Meta(max_length=_NAME_MAX)]
Reason = Annotated[str, Meta(max_length=_REASON_MAX)]
JobId = Annotated[str, Meta(min_length=1, max_length=_NAME_MAX)]
Number = Annotated[int, Meta(ge=0)]
Part = Annotated[bytes, Meta(max_length=MESSAGE_BYTES_MAX)]
TargetBytes = Annotated[bytes, Meta(min_length=TARGET_BYTES, max_length=TARGET_BYTES)]


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """An array of its fields behind its tag; later versions append fields."""


class PuzzleForm(msgspec.Struct, frozen=True, array_like=True):
    """A puzzle as it travels. `nonce` is `decimal`, `big4`, `little8` … or `square`."""

    prefix: Part
    nonce: Name
    suffix: Part
    hash: Literal["sha256", "sha256d"]
    order: Literal["big", "little"]
    rank_bits: int
    previous: Number = 0

    @classmethod
    def of(cls, puzzle: Puzzle) -> PuzzleForm:
        """The form of a puzzle. Raises `LocalError` where it is too long to travel."""
        longest = max(len(puzzle.prefix), len(puzzle.suffix))
        if longest > MESSAGE_BYTES_MAX:
            raise LocalError(
                f"a pool takes messages of up to {MESSAGE_BYTES_MAX} bytes; this one has {longest}"
                " (mine its digest instead)"
            )
        encoding = puzzle.nonce
        previous = encoding.previous if isinstance(encoding, SquareDifference) else 0
        return cls(
            puzzle.prefix,
            _nonce_name(encoding),
            puzzle.suffix,
            puzzle.hash,
            puzzle.order,
            puzzle.rank_bits,
            previous,
        )

    def puzzle(self) -> Puzzle:
        """The puzzle of this form. Raises `LocalError` where there is none."""
        if self.nonce == "square":
            encoding: NonceEncoding = SquareDifference(self.previous)
        elif self.nonce in _ENCODINGS:
            encoding = _ENCODINGS[self.nonce]
        else:
            raise LocalError(f"no nonce is written {self.nonce[:20]!r}")
        return Puzzle(
            self.prefix, encoding, self.suffix, self.hash, self.order, rank_bits=self.rank_bits
        )


_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
_ENCODINGS: dict[str, NonceEncoding] = {
    "decimal": Decimal(),
    **{f"{order}{size}": Raw(size, order) for order in _ORDERS for size in range(1, 9)},
}
_NONCE_NAMES = {encoding: name for name, encoding in _ENCODINGS.items()}


def _nonce_name(encoding: NonceEncoding) -> str:
    return _NONCE_NAMES.get(encoding, "square")


def leases_max(slots: int) -> int:
    """How many leases a miner holds at most that has said `slots`, or nothing: then it has one."""
    return max(LEASES_PLAIN_MAX, 2 * slots)


def target_of(data: bytes) -> Target:
    """A target from the 32 bytes, big-endian, in which it travels. Raises `LocalError` for zero."""
    return Target(int.from_bytes(data, "big"))


def target_bytes(target: Target) -> bytes:
    """The bytes in which it travels."""
    return target.value.to_bytes(TARGET_BYTES, "big")


# Both kinds of peer → pool.


class Hello(_Message, frozen=True, tag="hello"):
    """The first message of a miner or a client.

    `name` is for people. `rate` is what a miner thinks it can do, in hashes a second, or 0: a hint
    for the size of its first shard and nothing else.
    """

    role: Literal["miner", "client"]
    protocol: Name = PROTOCOL
    version: int = VERSION
    token: Name = ""
    name: Name = ""
    threads: Annotated[int, Meta(ge=0, le=WORKERS_MAX)] = 1
    rate: Annotated[float, Meta(ge=0, le=RATE_MAX)] = 0.0


# Miner → pool.


class Beat(_Message, frozen=True, tag="beat"):
    """I am alive, hold these leases, and have tried so many nonces of those that I search."""

    leases: Annotated[tuple[Number, ...], Meta(max_length=LEASES_MAX)] = ()
    hashes: Number = 0


class Capacity(_Message, frozen=True, tag="capacity"):
    """I search so many leases at once, on so many workers; and want them of so many seconds each.

    A miner that has never said it has one slot. With none it wants no leases for now. `seconds` is
    0 for the pool's own length; a relay, whose leases are shards for others to cut, wants longer
    ones. May be said again whenever it changes.
    """

    slots: Annotated[int, Meta(ge=0, le=SLOTS_MAX)]
    workers: Annotated[int, Meta(ge=0, le=WORKERS_MAX)] = 0
    seconds: Annotated[float, Meta(ge=0, le=LEASE_SECONDS_ASKED_MAX)] = 0.0


class Result(_Message, frozen=True, tag="result"):
    """All of the lease's nonces below `stop` were searched; these are the shares among them.

    Ascending. `stop` is the lease's own unless the job's target was met. On a wire without evidence
    it is the lowest alone, and `claimed` the leading bits that its digest is said to have.
    """

    lease: Number
    stop: Number
    nonces: Annotated[tuple[Number, ...], Meta(max_length=SHARES_MAX)]
    claimed: int | None = None


# Client → pool.


class Submit(_Message, frozen=True, tag="submit"):
    """Find the lowest hash in [first, last], or with a target the first nonce that it admits."""

    job: JobId
    puzzle: PuzzleForm
    first: Number
    last: Number
    target: TargetBytes | None = None


class Watch(_Message, frozen=True, tag="watch"):
    """Send me `Status` and `Answer` of this job."""

    job: JobId


class Withdraw(_Message, frozen=True, tag="withdraw"):
    """Nobody needs this job any more."""

    job: JobId


class Ask(_Message, frozen=True, tag="ask"):
    """Send me a `Report`."""


# Pool → miner.


class Welcome(_Message, frozen=True, tag="welcome"):
    """The pool takes part. Beats are wanted this often while work is held."""

    beat_seconds: float
    name: Name = ""


class Lease(_Message, frozen=True, tag="lease"):
    """Search `count` nonces from `start` and list those whose rank the share limit admits.

    `share_bits` is that limit in Bitcoin's compact form, see `limit_of_bits`; 0 asks for the lowest
    nonce alone.
    `target` ends the search at the first nonce that it admits. `puzzle` is None where the miner has
    it already.
    """

    lease: Number
    job: JobId
    start: Number
    count: Annotated[int, Meta(ge=1)]
    share_bits: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    target: TargetBytes | None = None
    puzzle: PuzzleForm | None = None


class Revoke(_Message, frozen=True, tag="revoke"):
    """Stop: this lease earns nothing any more."""

    lease: Number


class Retire(_Message, frozen=True, tag="retire"):
    """This job is over; its puzzle may be forgotten."""

    job: JobId


# Pool → client, or to either.


class Status(_Message, frozen=True, tag="status"):
    """Where a job stands. `miners` work for the pool, `rate` hashes a second for this job."""

    job: JobId
    done: int
    total: int
    rate: float
    miners: int
    seconds: float
    nonce: int | None = None


class Answer(_Message, frozen=True, tag="answer"):
    """The job's answer: its lowest nonce, or the first that meets its target; None for none."""

    job: JobId
    nonce: int | None
    hashes: int
    seconds: float


class Ended(_Message, frozen=True, tag="ended"):
    """There will be no answer: the job was withdrawn, or is not known, or was refused."""

    job: JobId
    reason: Reason


class Report(_Message, frozen=True, tag="report"):
    """What `Pool.statistics()` says, as JSON."""

    statistics: bytes


class Refused(_Message, frozen=True, tag="refused"):
    """The pool will not have you, and why; the connection ends behind it.

    `final` where trying again with the same hello would end the same way.
    """

    reason: Reason
    final: bool = False


Message = (
    Hello
    | Capacity
    | Beat
    | Result
    | Submit
    | Watch
    | Withdraw
    | Ask
    | Welcome
    | Lease
    | Revoke
    | Retire
    | Status
    | Answer
    | Ended
    | Report
    | Refused
)
