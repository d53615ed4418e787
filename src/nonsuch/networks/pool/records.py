"""What a pool keeps on disk, and how it is written: enough to go on after a kill -9.

A job is the records of one subject, its id. `JobOpened` comes first; each finished shard adds a
`ShardDone` of some forty bytes, and one that must be done again a `ShardVoided`. So that a long job
does not grow a long tail, a `JobSnapshot` takes the place of all records before it from time to
time, and `JobClosed` does when the job is done. `Life` counts how often the pool has begun: lease
numbers of an earlier life are lower than all of this one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nonsuch.networks.pool.messages import PuzzleForm
from nonsuch.work.ranges import RangeSet

__all__ = [
    "JobClosed",
    "JobOpened",
    "JobSnapshot",
    "Life",
    "OpenJob",
    "Record",
    "Replay",
    "ShardDone",
    "ShardVoided",
    "decode_record",
    "encode_record",
]


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """An array of its fields behind its tag."""


class Life(_Record, frozen=True, tag=0):
    """The pool has begun for the `number`th time."""

    number: int


class JobOpened(_Record, frozen=True, tag=1):
    """A job was accepted: search [first, last]. Unless it `stays`, it ends with its client."""

    job: str
    puzzle: PuzzleForm
    first: int
    last: int
    target: bytes | None
    stays: bool = True


class ShardDone(_Record, frozen=True, tag=2):
    """[start, start + count) was searched; `nonce` is the job's best so far where it lies there."""

    job: str
    start: int
    count: int
    nonce: int | None


class ShardVoided(_Record, frozen=True, tag=3):
    """[start, start + count) must be searched again."""

    job: str
    start: int
    count: int


class JobSnapshot(_Record, frozen=True, tag=4):
    """The job and all that was done of it, as starts and counts."""

    opened: JobOpened
    done: tuple[tuple[int, int], ...]
    nonce: int | None


class JobClosed(_Record, frozen=True, tag=5):
    """The answer, kept for clients that come back."""

    opened: JobOpened
    nonce: int | None
    hashes: int
    seconds: float


Record = Life | JobOpened | ShardDone | ShardVoided | JobSnapshot | JobClosed


class OpenJob:
    """What the records of a job that is not closed add up to."""

    __slots__ = ("done", "nonces", "opened", "records", "shards")

    def __init__(self, opened: JobOpened, done: RangeSet, nonce: int | None) -> None:
        self.opened = opened
        self.done = done
        self.nonces = [] if nonce is None else [nonce]
        self.records = 0
        self.shards: list[tuple[int, int]] = []

    def settle(self) -> None:
        """Enter the shards that were read, in ascending order: that is much the cheapest."""
        for start, stop in sorted(self.shards):
            self.done.add(start, stop)
        self.shards.clear()


class Replay:
    """The records of earlier lives, read in their order."""

    def __init__(self, records: Iterable[object]) -> None:
        self.life = 0
        self.count = 0
        self.open: dict[str, OpenJob] = {}
        self.closed: dict[str, JobClosed] = {}
        for record in records:
            self.count += 1
            self._read(record)
        for left in self.open.values():
            left.settle()

    def _read(self, record: object) -> None:
        match record:
            case ShardDone(job, start, count, nonce) if job in self.open:
                state = self.open[job]
                state.shards.append((start, start + count))
                state.nonces += [] if nonce is None else [nonce]
                state.records += 1
            case ShardVoided(job, start, count) if job in self.open:
                self.open[job].settle()
                self.open[job].done.remove(start, start + count)
                self.open[job].records += 1
            case JobOpened():
                self.open[record.job] = OpenJob(record, RangeSet(), None)
            case JobSnapshot(opened, done, nonce):
                ranges = RangeSet(range(start, start + count) for start, count in done)
                self.open[opened.job] = OpenJob(opened, ranges, nonce)
            case JobClosed():
                self.open.pop(record.opened.job, None)
                self.closed[record.opened.job] = record
            case Life(number):
                self.life = number
            case _:
                pass


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `msgspec.DecodeError` where there is none."""
    return _decoder.decode(data)
