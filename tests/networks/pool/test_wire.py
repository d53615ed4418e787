"""The pool's own wire: what goes in comes out, whatever comes in is bounded, and so on disk."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.wire import fuzz_one, inputs
from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.networks.pool.job import Job
from nonsuch.networks.pool.messages import (
    LEASE_SECONDS_ASKED_MAX,
    LEASES_MAX,
    LEASES_PLAIN_MAX,
    MESSAGE_BYTES_MAX,
    SLOTS_MAX,
    WORKERS_MAX,
    Answer,
    Ask,
    Beat,
    Capacity,
    Ended,
    Hello,
    Lease,
    Message,
    PuzzleForm,
    Refused,
    Report,
    Result,
    Retire,
    Revoke,
    Status,
    Submit,
    Watch,
    Welcome,
    Withdraw,
)
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.records import (
    JobClosed,
    JobOpened,
    JobSnapshot,
    Life,
    Record,
    Replay,
    ShardDone,
    ShardVoided,
    decode_record,
    encode_record,
)
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.statistics import JobStatistics, MinerStatistics
from nonsuch.networks.pool.wire import (
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    LENGTH_BYTES,
    MINER_BYTES_MAX,
    PoolWire,
)
from nonsuch.work.nonce import Decimal, NonceEncoding, Raw, SquareDifference
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.shares import SHARES_MAX

ROOT = Path(__file__).parents[3]

NUMBER_MAX = 2**64 - 1

# Whatever may be said.

numbers = st.integers(0, NUMBER_MAX)
signed = st.integers(-(2**63), NUMBER_MAX)
floats = st.floats(allow_nan=False)
characters = st.characters(exclude_categories=["Cs"])
names = st.text(characters, max_size=128)
job_ids = st.text(characters, min_size=1, max_size=128)
reasons = st.text(characters, max_size=512)
targets = st.none() | st.binary(min_size=32, max_size=32)

ENCODINGS: list[NonceEncoding] = [
    Decimal(),
    SquareDifference(0),
    SquareDifference(33),
    SquareDifference(NUMBER_MAX),
    *(Raw(size, "big") for size in range(1, 9)),
    *(Raw(size, "little") for size in range(1, 9)),
]

puzzles = st.builds(
    Puzzle,
    prefix=st.binary(max_size=200),
    nonce=st.sampled_from(ENCODINGS),
    suffix=st.binary(max_size=200),
    hash=st.sampled_from(["sha256", "sha256d"]),
    order=st.sampled_from(["big", "little"]),
    rank_bits=st.integers(1, 256),
)
forms = puzzles.map(PuzzleForm.of)

MESSAGES: dict[str, st.SearchStrategy[Message]] = {
    "hello": st.builds(
        Hello,
        role=st.sampled_from(["miner", "client"]),
        protocol=names,
        version=signed,
        token=names,
        name=names,
        threads=st.integers(0, 2**20),
        rate=st.floats(0, 1e12),
    ),
    "capacity": st.builds(
        Capacity,
        slots=st.integers(0, SLOTS_MAX),
        workers=st.integers(0, WORKERS_MAX),
        seconds=st.floats(0, LEASE_SECONDS_ASKED_MAX),
    ),
    "beat": st.builds(Beat, leases=st.lists(numbers, max_size=50).map(tuple), hashes=numbers),
    "result": st.builds(
        Result,
        lease=numbers,
        stop=numbers,
        nonces=st.lists(numbers, max_size=SHARES_MAX).map(tuple),
    ),
    "submit": st.builds(
        Submit, job=job_ids, puzzle=forms, first=numbers, last=numbers, target=targets
    ),
    "watch": st.builds(Watch, job=job_ids),
    "withdraw": st.builds(Withdraw, job=job_ids),
    "ask": st.builds(Ask),
    "welcome": st.builds(Welcome, beat_seconds=floats, name=names),
    "lease": st.builds(
        Lease,
        lease=numbers,
        job=job_ids,
        start=numbers,
        count=st.integers(1, NUMBER_MAX),
        share_bits=st.integers(0, 2**32 - 1),
        target=targets,
        puzzle=st.none() | forms,
    ),
    "revoke": st.builds(Revoke, lease=numbers),
    "retire": st.builds(Retire, job=job_ids),
    "status": st.builds(
        Status,
        job=job_ids,
        done=signed,
        total=signed,
        rate=floats,
        miners=signed,
        seconds=floats,
        nonce=st.none() | signed,
    ),
    "answer": st.builds(
        Answer, job=job_ids, nonce=st.none() | signed, hashes=signed, seconds=floats
    ),
    "ended": st.builds(Ended, job=job_ids, reason=reasons),
    "report": st.builds(Report, statistics=st.binary(max_size=3000)),
    "refused": st.builds(Refused, reason=reasons, final=st.booleans()),
}

messages = st.one_of(*MESSAGES.values())


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def encoded(*said: object) -> bytes:
    wire = PoolWire(accepts_puzzles=True)
    return b"".join(wire.encode(message) for message in said)


def decoded(stream: bytes, *, accepts_puzzles: bool = True) -> list[object]:
    """All of a stream; it must end where a message does."""
    wire = PoolWire(accepts_puzzles=accepts_puzzles)
    found = wire.feed(stream)
    assert wire._buffer == b""
    return found


def refusal(stream: bytes, *, accepts_puzzles: bool = True) -> str:
    """Why a stream is refused, and that it stays so."""
    wire = PoolWire(accepts_puzzles=accepts_puzzles)
    with pytest.raises(RemoteProtocolError) as first:
        wire.feed(stream)
    with pytest.raises(RemoteProtocolError) as second:
        wire.feed(encoded(Ask()))
    assert str(second.value) == str(first.value)
    return str(first.value)


# What goes in comes out.


def test_every_message_has_a_strategy() -> None:
    assert len(MESSAGES) == len(Message.__args__)


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=40)
@given(data=st.data())
def test_round_trip(kind: str, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    body = encoded(message)
    assert decoded(body) == [message]
    assert body[LENGTH_BYTES + 1 :].startswith(msgspec.msgpack.encode(kind)), "tags are for ever"


@given(st.lists(messages, min_size=1, max_size=4), st.data())
def test_segmentation_does_not_matter(said: list[Message], data: st.DataObject) -> None:
    stream = encoded(*said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    wire = PoolWire(accepts_puzzles=True)
    assert [message for piece in pieces for message in wire.feed(piece)] == said


@given(st.lists(messages, min_size=1, max_size=4))
def test_byte_at_a_time_each_message_comes_with_its_last_byte(said: list[Message]) -> None:
    stream, ends = b"", {}
    for message in said:
        stream += encoded(message)
        ends[len(stream)] = message
    wire = PoolWire(accepts_puzzles=True)
    for end in range(1, len(stream) + 1):
        expected = [ends[end]] if end in ends else []
        assert wire.feed(stream[end - 1 : end]) == expected


def test_nothing_is_a_wait() -> None:
    assert PoolWire(accepts_puzzles=False).feed(b"") == []
    assert PoolWire(accepts_puzzles=False).feed(b"\0\0\0") == []


def test_fields_of_a_later_version_are_skipped() -> None:
    body = msgspec.msgpack.encode(["revoke", 7, "new", {"and": [1, 2, None]}])
    assert decoded(framed(body)) == [Revoke(7)]


def test_fields_with_defaults_may_be_left_out() -> None:
    assert decoded(framed(msgspec.msgpack.encode(["hello", "miner"]))) == [Hello("miner")]
    assert decoded(framed(msgspec.msgpack.encode(["beat"]))) == [Beat()]


# Puzzles.


@given(puzzles)
def test_a_puzzle_travels(puzzle: Puzzle) -> None:
    assert PuzzleForm.of(puzzle).puzzle() == puzzle


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_way_to_write_a_nonce_travels(encoding: NonceEncoding) -> None:
    puzzle = Puzzle(b"prefix", encoding, b"suffix")
    form = PuzzleForm.of(puzzle)
    assert form.puzzle() == puzzle
    (submit,) = decoded(encoded(Submit("job", form, 0, 1)))
    assert isinstance(submit, Submit)
    assert submit.puzzle.puzzle() == puzzle


def test_ways_to_write_a_nonce_have_names_of_their_own() -> None:
    written = [PuzzleForm.of(Puzzle(b"", encoding)).nonce for encoding in ENCODINGS]
    assert len(set(written)) == len(written) - 2, "three of them are squares"


wild_forms = st.builds(
    PuzzleForm,
    prefix=st.binary(max_size=20),
    nonce=st.sampled_from(["decimal", "square", "big4"])
    | names
    | st.builds("{}{}".format, st.sampled_from(["big", "little", "Big", ""]), st.integers(-1, 99)),
    suffix=st.binary(max_size=20),
    hash=st.sampled_from(["sha256", "sha256d"]),
    order=st.sampled_from(["big", "little"]),
    rank_bits=st.sampled_from([0, 1, 64, 256, 257, -1]) | signed,
    previous=numbers,
)


@given(wild_forms)
def test_a_form_with_nonsense_is_refused_as_such(form: PuzzleForm) -> None:
    """It may be a puzzle or a `LocalError`, and nothing else."""
    (submit,) = decoded(encoded(Submit("job", form, 0, 1)))
    assert isinstance(submit, Submit)
    try:
        puzzle = submit.puzzle.puzzle()
    except LocalError:
        return
    assert PuzzleForm.of(puzzle).puzzle() == puzzle


@pytest.mark.parametrize(
    ("nonce", "rank_bits", "previous", "reason"),
    [
        ("big9", 256, 0, "no nonce is written 'big9'"),
        ("big0", 256, 0, "no nonce is written"),
        ("", 256, 0, "no nonce is written"),
        ("x" * 128, 256, 0, "no nonce is written 'xxxxxxxxxxxxxxxxxxxx'$"),
        ("decimal", 0, 0, "1 to 256 bits"),
        ("decimal", 257, 0, "1 to 256 bits"),
        ("square", 256, 2**64, "outside"),
        ("square", 256, -1, "outside"),
    ],
)
def test_what_is_wrong_with_a_form_is_said(
    nonce: str, rank_bits: int, previous: int, reason: str
) -> None:
    with pytest.raises(LocalError, match=reason):
        PuzzleForm(b"", nonce, b"", "sha256", "big", rank_bits, previous).puzzle()


def test_a_puzzle_that_is_too_long_does_not_travel() -> None:
    longest = b"x" * MESSAGE_BYTES_MAX
    assert PuzzleForm.of(Puzzle(longest, Decimal(), longest)).prefix == longest
    for puzzle in (Puzzle(longest + b"x"), Puzzle(b"", Decimal(), longest + b"x")):
        with pytest.raises(LocalError, match="65537"):
            PuzzleForm.of(puzzle)


# What is bounded, and how.


def test_before_its_hello_a_stranger_may_say_little() -> None:
    allowed = framed(b"\x91" + bytes(HELLO_BYTES_MAX - 1))
    wire = PoolWire(accepts_puzzles=False)
    assert wire.feed(allowed[:-1]) == []
    reason = f"a frame of {HELLO_BYTES_MAX + 1} bytes, where {HELLO_BYTES_MAX} are allowed"
    assert refusal((HELLO_BYTES_MAX + 1).to_bytes(4, "big"), accepts_puzzles=False) == reason
    assert "4294967295 bytes" in refusal(b"\xff\xff\xff\xff", accepts_puzzles=False)


@pytest.mark.parametrize(
    ("role", "allowed"), [("miner", MINER_BYTES_MAX), ("client", FRAME_BYTES_MAX)]
)
def test_after_its_hello_a_peer_may_say_what_its_role_needs(role: str, allowed: int) -> None:
    hello = encoded(Hello("miner" if role == "miner" else "client"))
    for segments in ([hello, allowed.to_bytes(4, "big")], [hello + allowed.to_bytes(4, "big")]):
        wire = PoolWire(accepts_puzzles=False)
        assert len([message for each in segments for message in wire.feed(each)]) == 1
        assert wire.feed(b"\x91") == []
    too_long = (allowed + 1).to_bytes(4, "big")
    assert f"{allowed} are allowed" in refusal(hello + too_long, accepts_puzzles=False)


def test_a_pool_may_send_puzzles_from_the_first() -> None:
    assert PoolWire(accepts_puzzles=True).feed(FRAME_BYTES_MAX.to_bytes(4, "big")) == []
    assert "are allowed" in refusal((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


WIDE = "\U0001f9ee"
"""Four bytes of UTF-8."""

LONGEST_FORM = PuzzleForm(
    bytes(MESSAGE_BYTES_MAX),
    "little8",
    bytes(MESSAGE_BYTES_MAX),
    "sha256d",
    "little",
    256,
    2**64 - 1,
)
LONGEST_HELLO = Hello("client", WIDE * 128, 2**63, WIDE * 128, WIDE * 128, 2**20, 1e12)


def test_the_longest_hello_fits_before_the_hello() -> None:
    assert decoded(encoded(LONGEST_HELLO), accepts_puzzles=False) == [LONGEST_HELLO]


def test_the_longest_messages_of_a_miner_fit() -> None:
    said = [
        Hello("miner"),
        Result(NUMBER_MAX, NUMBER_MAX, (NUMBER_MAX,) * SHARES_MAX),
        Beat((NUMBER_MAX,) * LEASES_PLAIN_MAX, NUMBER_MAX),
        Capacity(SLOTS_MAX),
        Beat((NUMBER_MAX,) * LEASES_MAX, NUMBER_MAX),
        Capacity(1),
        Beat((NUMBER_MAX,) * LEASES_MAX, NUMBER_MAX),
    ]
    assert decoded(encoded(*said), accepts_puzzles=False) == said


def test_a_miner_earns_what_its_slots_need_and_a_stranger_nothing() -> None:
    full = Beat((NUMBER_MAX,) * LEASES_MAX, NUMBER_MAX)
    many = Capacity(SLOTS_MAX)
    assert decoded(encoded(Hello("miner"), many, full), accepts_puzzles=False)[2] == full
    refused = f"where {MINER_BYTES_MAX} are allowed"
    assert refused in refusal(encoded(Hello("miner"), full), accepts_puzzles=False)
    few = Capacity(SLOTS_MAX // 8)
    assert refused in refusal(encoded(Hello("miner"), few, full), accepts_puzzles=False)
    refused = f"where {HELLO_BYTES_MAX} are allowed"
    assert refused in refusal(encoded(many, full), accepts_puzzles=False)


def test_the_longest_messages_of_a_client_fit() -> None:
    said = [
        Hello("client"),
        Submit(WIDE * 128, LONGEST_FORM, NUMBER_MAX, NUMBER_MAX, bytes(32)),
        Withdraw(WIDE * 128),
    ]
    assert decoded(encoded(*said), accepts_puzzles=False) == said


def test_the_longest_lease_fits() -> None:
    lease = Lease(
        NUMBER_MAX, WIDE * 128, NUMBER_MAX, NUMBER_MAX, 2**32 - 1, bytes(32), LONGEST_FORM
    )
    assert decoded(encoded(lease)) == [lease]


def test_the_longest_report_fits() -> None:
    """A pool describes a hundred jobs and miners, with names of their own choosing."""
    name = "\0" * 128  # JSON writes six characters for each
    job = JobStatistics(
        job=name,
        first=0,
        last=NUMBER_MAX,
        done=1,
        total=NUMBER_MAX,
        leases=1,
        returned=1,
        audits=1,
        rate=1e100,
        watchers=1,
        nonce=NUMBER_MAX,
        seconds=1e100,
    )
    miner = MinerStatistics(
        name=name,
        address="[ffff::ffff]:65535",
        wire="nonsuch",
        rate=1e100,
        leases=1,
        results=10**9,
        shares=10**9,
        expected=1e100,
        unaudited=1,
    )
    pool = Pool(PoolSettings(), random.Random(1)).statistics(1.0)
    statistics = msgspec.structs.replace(
        pool, name=name, jobs_described=(job,) * 100, miners_described=(miner,) * 100
    )
    report = Report(msgspec.json.encode(statistics))
    assert decoded(encoded(report)) == [report]


def test_the_status_of_the_largest_job_can_be_said() -> None:
    """LiteMiner's greatest job: all nonces from 0 to 2**64 - 1."""
    form = PuzzleForm.of(Puzzle(b"all "))
    job = Job(JobOpened("all", form, 0, NUMBER_MAX, None), order=1, now=0.0)
    (status,) = decoded(encoded(job.status(5, 1, 1.0)))
    assert isinstance(status, Status)
    assert status.done == 5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x91\xa5hullo",
        b"\x91\x07",
        b"\x91\xa1\xff",
        b"\x81\xa4type\xa3ask",
        b"\xa3ask",
        b"\x92\xa6revoke",
        b"\x91\xa6revoke",
        b"\x92\xa6revoke\xff",
        b"\x92\xa6revoke\xcb" + bytes(8),
        b"\x92\xa6revoke\xa1\xff",
        b"\x92\xa6retire\xa1\xff",
        b"\x92\xa6retire\xa0",
        b"\x92\xa6retire\xd9\x81" + b"x" * 129,
        b"\x92\xa5hello\xa5minor",
        b"\x92\xa4beat\xdc\x10\x01" + bytes(LEASES_MAX + 1),
        b"\x92\xa8capacity\xcd\x08\x01",
        b"\x92\xa8capacity\xff",
        b"\x94\xa8capacity\x01\x00\xcb" + struct.pack(">d", 60.1),
        b"\x94\xa8capacity\x01\x00\xcb" + struct.pack(">d", float("nan")),
        b"\x92\xa4beat\xdd\xff\xff\xff\xff",
        b"\x93\xa6revoke\x01" + b"\x91" * 3000,
        b"\x92\xa6revoke\x01\x01",
        b"\x94\xa6result\x01\x01\xdc\x01\x01" + bytes(257),
        msgspec.msgpack.encode(["hello", "miner", "p", 1, "", "", 1, -1.0]),
        msgspec.msgpack.encode(["hello", "miner", "p", 1, "", "", 1, float("nan")]),
        msgspec.msgpack.encode(["hello", "miner", "p", 1, "", "", 1, float("inf")]),
        msgspec.msgpack.encode(["hello", "miner", "p", 1, "", "", 2**20 + 1]),
        msgspec.msgpack.encode(["lease", 1, "job", 0, 0, 0]),
        msgspec.msgpack.encode(["submit", "job", ["", "decimal", b"", "sha256", "big", 1], 0, 1]),
        msgspec.msgpack.encode(["submit", "job", [b"", "decimal", b"", "md5", "big", 1], 0, 1]),
        msgspec.msgpack.encode(
            ["submit", "job", [b"", "decimal", b"", "sha256", "big", 1], 0, 1, bytes(31)]
        ),
        msgspec.msgpack.encode(
            ["submit", "job", [bytes(65537), "decimal", b"", "sha256", "big", 1], 0, 1]
        ),
    ],
    ids=lambda body: body[:24].hex() or "nothing",
)
def test_no_message(body: bytes) -> None:
    assert refusal(framed(body)).startswith("no message: ")


def test_messages_before_a_fault_come_if_they_came_before_it() -> None:
    wire = PoolWire(accepts_puzzles=True)
    assert wire.feed(encoded(Ask(), Revoke(1))) == [Ask(), Revoke(1)]
    with pytest.raises(RemoteProtocolError):
        wire.feed(framed(b"\xc1"))


# Anything at all.


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    fuzz_one(data)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_body(data: bytes) -> None:
    fuzz_one(framed(data))


@settings(max_examples=200)
@given(st.sampled_from(list(MESSAGES)), st.integers(0, 9), st.binary(max_size=80))
def test_any_fields(kind: str, count: int, data: bytes) -> None:
    fuzz_one(framed(bytes((0x91 + count,)) + msgspec.msgpack.encode(kind) + data))


def test_mutated_streams() -> None:
    for data in islice(inputs(seed=20), 1500):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.wire", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")


# On disk.

UNIVERSE = 40

jobs = st.sampled_from(["a", "b"])
nonces = st.none() | st.integers(0, UNIVERSE)
starts = st.integers(0, UNIVERSE)
counts = st.integers(0, 12)
openings = st.builds(
    JobOpened,
    job=jobs,
    puzzle=st.just(PuzzleForm.of(Puzzle(b"on disk"))),
    first=st.just(0),
    last=st.integers(0, UNIVERSE),
    target=targets,
)
small_records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Life, number=st.integers(1, 9)),
    openings,
    st.builds(ShardDone, job=jobs, start=starts, count=counts, nonce=nonces),
    st.builds(ShardDone, job=jobs, start=starts, count=counts, nonce=nonces),
    st.builds(ShardVoided, job=jobs, start=starts, count=counts),
    st.builds(
        JobSnapshot,
        opened=openings,
        done=st.lists(st.tuples(starts, counts), max_size=3).map(tuple),
        nonce=nonces,
    ),
    st.builds(JobClosed, opened=openings, nonce=nonces, hashes=numbers, seconds=floats),
)
large_openings = st.builds(
    JobOpened, job=job_ids, puzzle=forms, first=numbers, last=numbers, target=targets
)
large_records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Life, number=numbers),
    large_openings,
    st.builds(ShardDone, job=job_ids, start=numbers, count=numbers, nonce=st.none() | numbers),
    st.builds(ShardVoided, job=job_ids, start=numbers, count=numbers),
    st.builds(
        JobSnapshot,
        opened=large_openings,
        done=st.lists(st.tuples(numbers, numbers), max_size=9).map(tuple),
        nonce=st.none() | numbers,
    ),
    st.builds(
        JobClosed,
        opened=large_openings,
        nonce=st.none() | numbers,
        hashes=numbers,
        seconds=floats,
    ),
)


@given(small_records | large_records)
def test_records_come_back_from_disk(record: Record) -> None:
    again = decode_record(encode_record(record))
    assert again == record
    assert type(again) is type(record)


def test_a_finished_shard_takes_some_forty_bytes() -> None:
    job = "0123456789abcdef"
    assert len(encode_record(ShardDone(job, 2**60, 2**40, 2**60 + 7))) <= 48


@given(st.binary(max_size=60))
def test_any_bytes_on_disk_are_a_record_or_an_error(data: bytes) -> None:
    """`Journal.read` tells people of these errors, which are all `ValueError`s."""
    try:
        record = decode_record(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert decode_record(encode_record(record)) == record


class NaiveJob:
    """A job as a set of nonces."""

    def __init__(self, opened: JobOpened) -> None:
        self.opened = opened
        self.done: set[int] = set()
        self.nonces: list[int] = []
        self.records = 0

    def scanned(self, start: int, count: int, nonce: int | None) -> None:
        self.done |= set(range(start, start + count))
        if nonce is not None:
            self.nonces.append(nonce)


def read_naively(
    records: Iterable[Record],
) -> tuple[int, dict[str, NaiveJob], dict[str, JobClosed]]:
    life = 0
    running: dict[str, NaiveJob] = {}
    closed: dict[str, JobClosed] = {}
    for record in records:
        match record:
            case Life():
                life = record.number
            case JobOpened():
                running[record.job] = NaiveJob(record)
            case JobSnapshot():
                job = running[record.opened.job] = NaiveJob(record.opened)
                for start, count in record.done:
                    job.scanned(start, count, record.nonce)
                job.nonces = [] if record.nonce is None else [record.nonce]
            case JobClosed():
                running.pop(record.opened.job, None)
                closed[record.opened.job] = record
            case ShardDone() if record.job in running:
                running[record.job].scanned(record.start, record.count, record.nonce)
                running[record.job].records += 1
            case ShardVoided() if record.job in running:
                running[record.job].done -= set(range(record.start, record.start + record.count))
                running[record.job].records += 1
            case _:
                pass
    return life, running, closed


@settings(max_examples=300)
@given(st.lists(small_records, max_size=25))
def test_records_add_up_to_what_a_naive_reading_gives(records: list[Record]) -> None:
    replay = Replay([decode_record(encode_record(record)) for record in records])
    life, running, closed = read_naively(records)
    assert (replay.life, replay.count) == (life, len(records))
    assert replay.closed == closed
    assert list(replay.open) == list(running)
    for name, job in replay.open.items():
        naive = running[name]
        assert (job.opened, job.records) == (naive.opened, naive.records)
        assert job.nonces == naive.nonces
        assert [nonce for part in job.done for nonce in part] == sorted(naive.done)


def test_what_is_no_record_is_passed_over() -> None:
    replay = Replay([None, "a record of the future", Life(3), ShardDone("unknown", 0, 5, None)])
    assert (replay.life, replay.count) == (3, 4)
    assert not replay.open
