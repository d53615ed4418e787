"""The LiteMiner wire at its three ends: against Go's bytes, against each other, and with the cores.

`liteminer.json` holds bytes that Go wrote of single messages, `liteminer_session.json` whole
conversations of Go programs, and `vectors/pool.json` answers that were computed apart.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from nonsuch.errors import RemoteProtocolError
from nonsuch.live.tcp import Wire
from nonsuch.networks.pool import facts, gob
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.gob import DATA_BYTES_MAX
from nonsuch.networks.pool.liteminer import (
    OUTSTANDING_MAX,
    LiteMinerClientWire,
    LiteMinerMinerWire,
    LiteMinerPoolWire,
)
from nonsuch.networks.pool.messages import (
    Answer,
    Ask,
    Beat,
    Ended,
    Hello,
    Lease,
    PuzzleForm,
    Refused,
    Result,
    Retire,
    Revoke,
    Status,
    Submit,
    Watch,
    Welcome,
)
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.node import (
    Cancel,
    Close,
    Connected,
    Core,
    Dial,
    Disconnected,
    Emit,
    Erred,
    Event,
    Finish,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Tick,
)
from nonsuch.work.goals import Lowest, Shares
from nonsuch.work.presets import liteminer

DATA = Path(__file__).parents[2] / "data"

NONCE_MAX = 2**64 - 1


class Spoken(msgspec.Struct, frozen=True):
    """One message as Go wrote it."""

    name: str
    bytes: str


class Bytes(msgspec.Struct, frozen=True):
    descriptor: str
    messages: list[Spoken]


class Conversation(msgspec.Struct, frozen=True):
    """What went each way over one connection, piece by piece, in hexadecimal."""

    who: str
    to_pool: list[str]
    from_pool: list[str]


class Session(msgspec.Struct, frozen=True):
    connections: list[Conversation]


class Vector(msgspec.Struct, frozen=True):
    message: str
    upper: int
    nonce: int
    value: int


class Vectors(msgspec.Struct, frozen=True):
    vectors: list[Vector]


GO = msgspec.json.decode((DATA / "liteminer.json").read_bytes(), type=Bytes)
SESSION = msgspec.json.decode((DATA / "liteminer_session.json").read_bytes(), type=Session)
VECTORS = msgspec.json.decode((DATA / "vectors" / "pool.json").read_bytes(), type=Vectors).vectors

DESCRIPTOR = bytes.fromhex(GO.descriptor)
SPOKEN = {spoken.name: bytes.fromhex(spoken.bytes) for spoken in GO.messages}
CONVERSATIONS = {each.who: each for each in SESSION.connections}

BRADFITZ = PuzzleForm.of(liteminer(b"bradfitz"))
TRUSTING = PoolSettings(audit_fraction=0, blind_audit_fraction=0)


def go(name: str) -> bytes:
    """As Go begins a stream with this message."""
    return DESCRIPTOR + SPOKEN[name]


def pieces(parts: list[str]) -> list[bytes]:
    return [bytes.fromhex(part) for part in parts]


def said(kind: gob.Kind, **fields: int | str) -> bytes:
    """A stream of this one message."""
    message = msgspec.convert({"type": int(kind), **fields}, gob.Message)
    return gob.Encoder().encode(message)


def heard(data: bytes) -> list[gob.Message]:
    return gob.Decoder().feed(data)


# Byte for byte.


def test_our_miner_speaks_as_go_does() -> None:
    wire = LiteMinerMinerWire()
    assert wire.encode(Hello("miner", name="m")) == go("MinerHello")
    form = PuzzleForm.of(liteminer(b"bradfitz"))
    request = Lease(1, _job_of(b"bradfitz"), 1000, 1000, 0, puzzle=form)
    assert wire.feed(go("MineRequest")) == [request]
    assert wire.encode(Beat((1,), 123456)) == SPOKEN["StatusUpdate"]
    assert wire.encode(Result(1, 2000, (9898,))) == SPOKEN["ProofOfWork"]


def _job_of(data: bytes) -> str:
    first = LiteMinerMinerWire().feed(said(gob.Kind.MINE_REQUEST, data=data.decode(), upper=1))[0]
    assert isinstance(first, Lease)
    return first.job


def test_our_client_speaks_as_go_does() -> None:
    wire = LiteMinerClientWire()
    submit = Submit("job", BRADFITZ, 0, 9999)
    assert wire.encode(Hello("client")) == go("ClientHello")
    assert wire.encode(submit) == SPOKEN["Transaction"]
    assert wire.feed(go("ProofOfWork")) == [Answer("job", 9898, 10_000, 0.0)]


def test_our_pool_speaks_to_miners_as_go_does() -> None:
    wire = LiteMinerPoolWire("s")
    assert wire.feed(go("MinerHello")) == [Hello("miner")]
    lease = Lease(70, "job", 1000, 1000, 0, puzzle=BRADFITZ)
    assert wire.encode(Welcome(1.0)) == b""
    assert wire.encode(lease) == go("MineRequest")
    assert wire.feed(SPOKEN["StatusUpdate"]) == [Beat((70,))]
    assert wire.feed(SPOKEN["ProofOfWork"]) == [Result(70, 2000, (9898,), 1419516646206828)]


def test_our_pool_speaks_to_clients_as_go_does() -> None:
    wire = LiteMinerPoolWire("s")
    assert wire.feed(go("ClientHello") + SPOKEN["Transaction"]) == [
        Hello("client"),
        Submit("s-1", BRADFITZ, 0, 9999),
    ]
    assert wire.encode(Status("s-1", 5, 10_000, 0.0, 0, 0.0)) == b""
    assert wire.encode(Answer("s-1", 9898, 10_000, 2.0)) == go("ProofOfWork")


@pytest.mark.parametrize(
    "message", [Refused("No miners connected"), Ended("job", "No miners connected")]
)
def test_a_pool_that_says_no(message: object) -> None:
    assert LiteMinerPoolWire("s").encode(message) == go("Error")


def test_a_busy_pool_and_one_that_says_no_may_be_asked_again() -> None:
    assert LiteMinerClientWire().feed(go("BusyPool")) == [
        Refused("the pool is busy with another client")
    ]
    assert LiteMinerClientWire().feed(go("Error")) == [Refused("No miners connected")]
    assert LiteMinerMinerWire().feed(go("Error")) == [Refused("No miners connected")]


def test_what_the_wire_has_no_words_for_is_not_said() -> None:
    unsaid: list[tuple[Wire, object]] = [
        (LiteMinerPoolWire("s"), Welcome(1.0)),
        (LiteMinerPoolWire("s"), Revoke(1)),
        (LiteMinerPoolWire("s"), Retire("job")),
        (LiteMinerPoolWire("s"), Answer("unknown", 1, 1, 0.0)),
        (LiteMinerMinerWire(), Beat()),
        (LiteMinerMinerWire(), Result(9, 1, (1,))),
        (LiteMinerMinerWire(), Ask()),
        (LiteMinerClientWire(), Watch("job")),
        (LiteMinerClientWire(), Ask()),
    ]
    assert [wire.encode(message) for wire, message in unsaid] == [b""] * len(unsaid)


def test_a_client_says_its_transaction_once_a_connection() -> None:
    wire = LiteMinerClientWire()
    submit = Submit("job", BRADFITZ, 0, 9999)
    assert wire.encode(submit) == go("Transaction")
    assert wire.encode(submit) == b""


def test_a_puzzle_comes_once_and_is_said_each_time() -> None:
    wire = LiteMinerPoolWire("s")
    first = heard(wire.encode(Lease(1, "job", 0, 10, 0, puzzle=BRADFITZ)))
    assert first == [gob.Message(5, "bradfitz", 0, 10)]
    assert wire.encode(Lease(2, "job", 10, 10, 0)).endswith(bytes.fromhex("010a011400"))


def test_only_who_has_reason_to_may_send_long_messages() -> None:
    text, goes = "x" * 50_000, gob.Encoder()
    hello = goes.encode(gob.Message(gob.Kind.CLIENT_HELLO))
    transaction = goes.encode(gob.Message(gob.Kind.TRANSACTION, text, upper=9))
    client = LiteMinerPoolWire("s")
    heard_there = client.feed(hello + transaction)
    assert [type(message) for message in heard_there] == [Hello, Submit]
    with pytest.raises(RemoteProtocolError, match="1 to 4096 are accepted"):
        LiteMinerPoolWire("s").feed(transaction[:200] + hello[:5])

    miner, goes = LiteMinerPoolWire("s"), gob.Encoder()
    assert miner.feed(goes.encode(gob.Message(gob.Kind.MINER_HELLO))) == [Hello("miner")]
    puzzle = liteminer(text.encode())
    miner.encode(Lease(1, "job", 0, 10, 0, puzzle=PuzzleForm.of(puzzle)))
    value = puzzle.compared(puzzle.digest(3))
    proof = goes.encode(gob.Message(gob.Kind.PROOF_OF_WORK, text, nonce=3, hash=value))
    assert miner.feed(proof) == [Result(1, 10, (3,), value)]


# What no honest peer says.

WRONG = {
    "a miner that is told to be a miner": (LiteMinerMinerWire, said(gob.Kind.MINER_HELLO)),
    "a miner that is given a proof": (LiteMinerMinerWire, said(gob.Kind.PROOF_OF_WORK)),
    "a miner that hears of an unknown type": (
        LiteMinerMinerWire,
        gob.Encoder().encode(gob.Message(99)),
    ),
    "a miner that is to go backwards": (
        LiteMinerMinerWire,
        said(gob.Kind.MINE_REQUEST, data="x", lower=5, upper=4),
    ),
    "a miner with a text that is too long": (
        LiteMinerMinerWire,
        said(gob.Kind.MINE_REQUEST, data="x" * DATA_BYTES_MAX, upper=9),
    ),
    "a client that is given work": (LiteMinerClientWire, said(gob.Kind.MINE_REQUEST)),
    "a client with an answer to nothing": (LiteMinerClientWire, said(gob.Kind.PROOF_OF_WORK)),
    "a pool that is busy": (partial(LiteMinerPoolWire, "s"), said(gob.Kind.BUSY_POOL)),
    "a pool that is told an error": (partial(LiteMinerPoolWire, "s"), said(gob.Kind.ERROR)),
    "a pool that is given work": (partial(LiteMinerPoolWire, "s"), said(gob.Kind.MINE_REQUEST)),
    "a pool with a text that is too long": (
        partial(LiteMinerPoolWire, "s"),
        said(gob.Kind.TRANSACTION, data="x" * DATA_BYTES_MAX, upper=9),
    ),
}


@pytest.mark.parametrize(("end", "data"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_an_error_of_the_peers(end: Callable[[], Wire], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        end().feed(data)


def test_a_pool_that_sends_request_after_request() -> None:
    wire = LiteMinerMinerWire()
    encoder = gob.Encoder()
    request = gob.Message(5, "x", 0, 10)
    for _ in range(OUTSTANDING_MAX):
        assert len(wire.feed(encoder.encode(request))) == 1
    with pytest.raises(RemoteProtocolError, match="more than 16 requests"):
        wire.feed(encoder.encode(request))


def test_an_answer_with_a_hash_that_it_has_not() -> None:
    wire = LiteMinerClientWire()
    wire.encode(Submit("job", BRADFITZ, 0, 9999))
    answer = said(gob.Kind.PROOF_OF_WORK, data="bradfitz", nonce=9898, hash=1)
    assert wire.feed(answer) == [
        Ended("job", "the pool says that nonce 9898 has hash 1, and it has not")
    ]


@pytest.mark.parametrize("lower", [0, 77, NONCE_MAX])
def test_an_empty_range_is_answered_with_a_true_hash(lower: int) -> None:
    wire = LiteMinerMinerWire()
    request = said(gob.Kind.MINE_REQUEST, data="x", lower=lower, upper=lower)
    lease = wire.feed(request)[0]
    assert isinstance(lease, Lease)
    assert (lease.start, lease.count) == (lower, 1)
    core = Miner(Hello("miner"), random.Random(0))
    core.handle(Started(), 0.0)
    core.handle(Connected(1, "pool:1"), 0.0)
    assert [type(effect) for effect in core.handle(Received(1, lease), 0.0)] == [Search, Emit]
    puzzle = liteminer(b"x")
    value = puzzle.compared(puzzle.digest(lower))
    assert heard(wire.encode(Result(lease.lease, lower + 1, (lower,)))) == [
        gob.Message(3, "x", nonce=lower, hash=value)
    ]


# What Go programs said to each other.


def test_a_recorded_miner_and_our_pools_end() -> None:
    recorded = CONVERSATIONS["miner"]
    requests = [each for part in _messages(recorded.from_pool) for each in part]
    wire = LiteMinerPoolWire("s")
    outward: list[bytes] = []
    meanings: list[object] = []
    for number, part in enumerate(pieces(recorded.to_pool)):
        meanings += wire.feed(part)
        if number in (0, 4, 8):  # It has said hello, or has nothing to do.
            request = requests[len(outward)]
            form = PuzzleForm.of(liteminer(request.data.encode()))
            count = request.upper - request.lower
            lease = Lease(50 + len(outward), request.data, request.lower, count, 0, puzzle=form)
            outward.append(wire.encode(lease))
    assert outward == pieces(recorded.from_pool)
    assert meanings[0] == Hello("miner")
    beats = [each for each in meanings if isinstance(each, Beat)]
    assert {beat.leases for beat in beats} == {(50,), (51,)}
    results = [each for each in meanings if isinstance(each, Result)]
    assert [result.lease for result in results] == [50, 51, 52]
    for result, request in zip(results, requests, strict=True):
        puzzle = liteminer(request.data.encode())
        assert result.claimed == puzzle.compared(puzzle.digest(result.nonces[0]))
        assert result.stop == request.upper


def _messages(parts: list[str]) -> list[list[gob.Message]]:
    decoder = gob.Decoder()
    return [decoder.feed(part) for part in pieces(parts)]


def test_a_recorded_pool_and_our_miners_end() -> None:
    recorded = CONVERSATIONS["miner"]
    wire = LiteMinerMinerWire()
    leases = [lease for part in pieces(recorded.from_pool) for lease in wire.feed(part)]
    answers = iter(_messages(recorded.to_pool))
    outward = [wire.encode(Hello("miner"))]
    next(answers)
    for lease in leases:
        assert isinstance(lease, Lease)
        for part in answers:
            message = part[0]
            if message.type == gob.Kind.PROOF_OF_WORK:
                stop = lease.start + lease.count
                outward.append(wire.encode(Result(lease.lease, stop, (message.nonce,))))
                break
            outward.append(wire.encode(Beat((lease.lease,), message.processed)))
    assert outward == pieces(recorded.to_pool)


@pytest.mark.parametrize("who", ["client", "second client"])
def test_a_recorded_client_and_our_pools_end(who: str) -> None:
    recorded = CONVERSATIONS[who]
    wire = LiteMinerPoolWire("s")
    meanings = [each for part in pieces(recorded.to_pool) for each in wire.feed(part)]
    assert meanings[0] == Hello("client")
    assert isinstance(meanings[1], Submit)
    answer = heard(b"".join(pieces(recorded.from_pool)))[0]
    assert wire.encode(Answer("s-1", answer.nonce, 1, 0.0)) == pieces(recorded.from_pool)[0]


@pytest.mark.parametrize("who", ["client", "second client", "client turned away"])
def test_a_recorded_pool_and_our_clients_end(who: str) -> None:
    recorded = CONVERSATIONS[who]
    transaction = heard(b"".join(pieces(recorded.to_pool)))[1]
    wire = LiteMinerClientWire()
    form = PuzzleForm.of(liteminer(transaction.data.encode()))
    submit = Submit("job", form, 0, transaction.upper)
    outward = wire.encode(Hello("client")) + wire.encode(submit)
    assert outward == b"".join(pieces(recorded.to_pool))
    answers = [each for part in pieces(recorded.from_pool) for each in wire.feed(part)]
    kinds: list[type[object]] = [Refused] if who == "client turned away" else [Answer]
    assert [type(each) for each in answers] == kinds


# Cores at both ends, joined by bytes.


class Line:
    """One connection to the room's pool. `theirs` is a core, or None: then tests say the words."""

    def __init__(self, number: int, near: Wire, far: Wire | None, theirs: Core | None) -> None:
        self.number = number
        self.near = near
        self.far = far
        self.theirs = theirs
        self.received = b""
        self.searches: dict[int, Search] = {}
        self.finished = False
        self.up = True


class Room:
    """A pool core and LiteMiner programs; what one says is fed to the other as bytes."""

    def __init__(self, chosen: PoolSettings = TRUSTING) -> None:
        self.pool = Pool(chosen, random.Random(0))
        self.now = 0.0
        self.lines: dict[int, Line] = {}
        self.facts: list[object] = []
        self.searches: dict[int, Search] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._tell_pool(Started())

    # Who comes.

    def program(self, *parts: bytes) -> Line:
        """Somebody else's program, which says these bytes."""
        line = self._line(None, None)
        self.says(line, *parts)
        return line

    def says(self, line: Line, *parts: bytes) -> None:
        for part in parts:
            self._to_pool(line, part)
        self._go()

    def miner(self) -> Line:
        return self._line(LiteMinerMinerWire(), Miner(Hello("miner"), random.Random(1)))

    def client(self, data: str, upper: int) -> tuple[Line, Client]:
        submit = Submit("job", PuzzleForm.of(liteminer(data.encode())), 0, upper)
        core = Client(Hello("client"), submit, random.Random(2))
        return self._line(LiteMinerClientWire(), core), core

    def _line(self, far: Wire | None, theirs: Core | None) -> Line:
        number = len(self.lines) + 1
        line = Line(number, LiteMinerPoolWire(f"session-{number}"), far, theirs)
        self.lines[number] = line
        self._tell_pool(Connected(number, f"program:{number}", "liteminer"))
        self._tell_program(line, Started())
        self._tell_program(line, Connected(1, "pool:1"))
        self._go()
        return line

    def hangs_up(self, line: Line) -> None:
        line.up = False
        self._tell_pool(Disconnected(line.number, "it hung up"))
        self._go()

    # What happens.

    def passes(self, until: float) -> None:
        while (deadline := self.pool.deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self._tell_pool(Tick())
            self._go()
        self.now = until

    def work(self, line: Line) -> None:
        """What this miner is searching, it has searched."""
        task, search = line.searches.popitem()
        self._tell_program(line, _searched(task, search))
        self._go()

    def finish(self) -> None:
        """All work there is."""
        for _ in range(1000):
            busy = [line for line in self.lines.values() if line.searches and line.up]
            for line in busy:
                self.work(line)
            for task, search in list(self.searches.items()):
                del self.searches[task]
                self._tell_pool(_searched(task, search))
                self._go()
            self.passes(self.now + 0.01)
            if not busy and not self.searches:
                return

    def hears(self, event: Event) -> None:
        self._tell_pool(event)
        self._go()

    def _go(self) -> None:
        while self._queue:
            self._queue.popleft()()

    def _tell_pool(self, event: Event) -> None:
        for effect in self.pool.handle(event, self.now):
            match effect:
                case Send(peer=peer, message=message):
                    data = self.lines[peer].near.encode(message)
                    self._queue.append(partial(self._to_program, self.lines[peer], data))
                case Close(peer=peer):
                    self._queue.append(partial(self._hung_up, self.lines[peer]))
                case Emit(fact=fact):
                    self.facts.append(fact)
                case Search():
                    self.searches[effect.task] = effect
                case Cancel(task=task):
                    self.searches.pop(task, None)
                case _:
                    pass
        self.pool._check()

    def _hung_up(self, line: Line) -> None:
        if line.up:
            line.up = False
            self._tell_pool(Disconnected(line.number, "hung up"))
            self._tell_program(line, Disconnected(1, "it hung up"))

    def _to_pool(self, line: Line, data: bytes) -> None:
        try:
            meanings = line.near.feed(data)
        except RemoteProtocolError as error:
            self._tell_pool(Erred(line.number, error.cost, str(error)))
            return
        for message in meanings:
            self._tell_pool(Received(line.number, message))

    def _to_program(self, line: Line, data: bytes) -> None:
        line.received += data
        if line.far is not None and line.up:
            for message in line.far.feed(data):
                self._tell_program(line, Received(1, message))

    def _tell_program(self, line: Line, event: Event) -> None:
        if line.theirs is None:
            return
        for effect in line.theirs.handle(event, self.now):
            match effect:
                case Send(message=message):
                    assert line.far is not None
                    data = line.far.encode(message)
                    self._queue.append(partial(self._to_pool, line, data))
                case Search():
                    line.searches[effect.task] = effect
                case Cancel(task=task):
                    line.searches.pop(task)
                case Finish():
                    line.finished = True
                case _:
                    pass
        line.theirs._check()

    @property
    def cheats(self) -> list[facts.Cheated]:
        return [fact for fact in self.facts if isinstance(fact, facts.Cheated)]


def _searched(task: int, search: Search) -> Searched:
    ranks = {nonce: search.puzzle.prove(nonce).rank for nonce in search.nonces}
    match search.goal:
        case Lowest():
            found = [min(ranks, key=ranks.__getitem__)]
        case Shares(limit=limit):
            found = [nonce for nonce, rank in ranks.items() if limit.admits(rank)]
        case _:
            raise AssertionError(search)
    return Searched(task, search.nonces.stop, tuple(found))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: f"{each.message}-{each.upper}")
def test_two_miners_answer_a_client(vector: Vector) -> None:
    room = Room(PoolSettings(shard_nonces=max(3, vector.upper // 7), blind_audit_fraction=0.2))
    room.miner()
    room.miner()
    line, client = room.client(vector.message, vector.upper)
    room.finish()
    assert client.answer is not None
    assert client.answer.nonce == vector.nonce
    assert line.finished
    assert heard(line.received) == [
        gob.Message(3, vector.message, nonce=vector.nonce, hash=vector.value)
    ]
    assert room.cheats == []


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("audit", [0.0, 1.0])
def test_a_foreign_miner_searches_ranges_with_or_without_their_ends(
    inclusive: bool, audit: float
) -> None:
    room = Room(PoolSettings(blind_audit_fraction=audit, shard_nonces=250))
    client = room.program(go("ClientHello"), SPOKEN["Transaction"])
    puzzle = liteminer(b"bradfitz")
    miner = room.program(go("MinerHello"))
    encoder, seen = gob.Encoder(), 0
    encoder.encode(gob.Message(1))  # It has said hello.
    while True:
        requests = heard(miner.received)
        if len(requests) == seen:
            break
        request = requests[seen]
        seen += 1
        assert request.upper <= 9999
        nonces = range(request.lower, request.upper + inclusive)
        value, nonce = min((puzzle.compared(puzzle.digest(n)), n) for n in nonces)
        proof = gob.Message(3, "bradfitz", nonce=nonce, hash=value)
        room.says(miner, encoder.encode(proof))
        room.finish()
    assert seen == 40
    assert client.received == go("ProofOfWork")
    assert room.cheats == []


def test_the_recorded_go_session_with_our_pool_in_the_middle() -> None:
    room = Room(PoolSettings(blind_audit_fraction=0, shard_nonces=6_000_000))
    talk = pieces(CONVERSATIONS["miner"].to_pool)
    miner = room.program(talk[0])
    client = room.program(*pieces(CONVERSATIONS["client"].to_pool))
    room.says(miner, *talk[1:9])
    assert client.received == b"".join(pieces(CONVERSATIONS["client"].from_pool))
    room.hangs_up(client)
    second = room.program(*pieces(CONVERSATIONS["second client"].to_pool))
    room.says(miner, talk[9])
    assert second.received == b"".join(pieces(CONVERSATIONS["second client"].from_pool))
    assert room.cheats == []


def test_no_miners_is_no_reason_to_turn_a_client_away() -> None:
    room = Room()
    client = room.program(*pieces(CONVERSATIONS["client without miners"].to_pool))
    assert client.received == b""
    room.miner()
    room.finish()
    assert client.received == go("ProofOfWork")


def test_a_client_may_ask_for_all_there_is() -> None:
    room = Room(PoolSettings(blind_audit_fraction=0, shard_nonces=2**62))
    client = room.program(
        go("ClientHello"), said(gob.Kind.TRANSACTION, data="x", upper=NONCE_MAX)[len(DESCRIPTOR) :]
    )
    miner = room.program(go("MinerHello"))
    assert heard(miner.received) == [gob.Message(5, "x", 0, 2**62)]
    puzzle = liteminer(b"x")
    encoder = gob.Encoder()
    encoder.encode(gob.Message(1))
    for number in range(4):
        nonce = number << 62
        value = puzzle.compared(puzzle.digest(nonce))
        room.says(miner, encoder.encode(gob.Message(3, "x", nonce=nonce, hash=value)))
        # So high a hash is hardly the lowest of so many, and the pool has a look at them itself.
        task, search = room.searches.popitem()
        assert search.nonces == range(nonce, min(nonce + 2**62, NONCE_MAX))
        room.hears(Searched(task, search.nonces.stop, ()))
    last = heard(miner.received)[-1]
    assert (last.lower, last.upper) == (3 << 62, NONCE_MAX)
    answer = heard(client.received)[0]
    named = [0, 1 << 62, 2 << 62, 3 << 62, NONCE_MAX]
    assert answer.nonce == min(named, key=lambda nonce: puzzle.prove(nonce).rank)


def test_a_client_leaves_and_takes_its_job_along() -> None:
    room = Room()
    miner = room.miner()
    line, _ = room.client("bradfitz", 9999)
    other, client = room.client("msg", 2)
    room.hangs_up(line)
    ended = [fact for fact in room.facts if isinstance(fact, facts.JobEnded)]
    assert [fact.job for fact in ended] == ["session-2-1"]
    # The wire has no word for "stop": what is begun is searched to its end, for nothing.
    assert [search.puzzle for search in miner.searches.values()] == [liteminer(b"bradfitz")]
    room.work(miner)
    assert [search.puzzle for search in miner.searches.values()] == [liteminer(b"msg")]
    room.finish()
    assert client.answer is not None
    assert (client.answer.nonce, other.finished) == (1, True)


def test_a_miner_whose_lease_is_revoked_twice_has_one_at_a_time() -> None:
    room = Room(PoolSettings(blind_audit_fraction=0, shard_nonces=100))
    miner = room.miner()
    lines = [room.client(f"message {number}", 50)[0] for number in range(3)]
    room.hangs_up(lines[0])
    room.hangs_up(lines[1])
    assert len(heard(miner.received)) == 1
    room.work(miner)
    assert [request.data for request in heard(miner.received)] == ["message 0", "message 2"]
    room.finish()
    assert lines[2].finished
    assert room.cheats == []


def test_a_frozen_miner_is_dropped_and_told_why() -> None:
    room = Room()
    miner = room.miner()
    room.client("bradfitz", 9999)
    room.passes(3.0)
    assert not miner.up
    reason = "silent for 3 s with work in hand"
    assert heard(miner.received)[-1] == gob.Message(2, reason)
    room.miner()
    room.finish()
    assert len([fact for fact in room.facts if isinstance(fact, facts.JobFinished)]) == 1


def test_a_foreign_miner_that_updates_its_status_keeps_its_work() -> None:
    room = Room()
    miner = room.program(go("MinerHello"))
    room.client("bradfitz", 9999)
    for seconds in range(1, 11):
        room.passes(float(seconds))
        room.says(miner, SPOKEN["StatusUpdate"])
    assert miner.up
    room.says(miner, SPOKEN["ProofOfWork"])
    assert [fact for fact in room.facts if isinstance(fact, facts.JobFinished)]


def test_a_miner_that_answers_what_nobody_asked() -> None:
    room = Room()
    miner = room.program(go("MinerHello"), SPOKEN["ProofOfWork"])
    assert miner.up
    assert room.pool.statistics(room.now).late_results == 1


@pytest.mark.parametrize(("nonce", "value"), [(9898, 1), (9897, 1419516646206828)])
def test_a_miner_that_lies_about_a_hash(nonce: int, value: int) -> None:
    room = Room()
    miner = room.program(go("MinerHello"))
    room.client("bradfitz", 9999)
    lie = said(gob.Kind.PROOF_OF_WORK, data="bradfitz", nonce=nonce, hash=value)
    room.says(miner, lie[len(DESCRIPTOR) :])
    assert not miner.up
    assert len(room.cheats) == 1


def test_garbage_costs_the_connection() -> None:
    room = Room()
    stranger = room.program(b"GET / HTTP/1.1\r\n\r\n" * 8)
    assert not stranger.up
    room.miner()
    _, client = room.client("bradfitz", 9999)
    room.finish()
    assert client.answer is not None


# Our client at a pool that says no.


def test_our_client_asks_a_busy_pool_again() -> None:
    submit = Submit("job", BRADFITZ, 0, 9999)
    core = Client(Hello("client"), submit, random.Random(0))
    core.handle(Started(), 0.0)
    now = 0.0
    waits: list[float] = []
    for peer in range(1, 6):
        wire = LiteMinerClientWire()
        effects = core.handle(Connected(peer, "pool:1"), now)
        out = b"".join(wire.encode(each.message) for each in effects if isinstance(each, Send))
        assert out == go("ClientHello") + SPOKEN["Transaction"]
        (refusal,) = wire.feed(go("BusyPool"))
        effects = core.handle(Received(peer, refusal), now)
        assert Close(peer, "the pool is busy with another client") in effects
        core.handle(Disconnected(peer, "hung up"), now)
        deadline = core.deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
        assert core.handle(Tick(), now) == [Dial()]
    assert waits == sorted(waits)
    wire = LiteMinerClientWire()
    for effect in core.handle(Connected(6, "pool:1"), now):
        if isinstance(effect, Send):
            wire.encode(effect.message)
    (answer,) = wire.feed(go("ProofOfWork"))
    core.handle(Received(6, answer), now)
    assert core.answer == Answer("job", 9898, 10_000, 0.0)


@pytest.mark.parametrize("nonce", [10_000, NONCE_MAX])
def test_our_client_does_not_believe_a_nonce_from_outside(nonce: int) -> None:
    puzzle = liteminer(b"bradfitz")
    core = Client(Hello("client"), Submit("job", BRADFITZ, 0, 9999), random.Random(0))
    core.handle(Started(), 0.0)
    wire = LiteMinerClientWire()
    for effect in core.handle(Connected(1, "pool:1"), 0.0):
        if isinstance(effect, Send):
            wire.encode(effect.message)
    value = puzzle.compared(puzzle.digest(nonce))
    for message in wire.feed(said(gob.Kind.PROOF_OF_WORK, nonce=nonce, hash=value)):
        core.handle(Received(1, message), 0.0)
    assert core.failure is not None
