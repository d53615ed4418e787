"""The dialect of pickles: other programs' bytes, any segmentation, and pickles that are weapons."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzz.peer import fuzz_one, inputs
from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.live.tcp import Wire
from nonsuch.networks.peer.dialects.messages import (
    ANSWER_BYTES_MAX,
    BLOCKS_MAX,
    NUMBER_MAX,
    POOL_MAX,
    REQUEST_BYTES_MAX,
    Answer,
    Block,
    Chain,
    CloseConnection,
    GetChain,
    GetProof,
    Heartbeat,
    HeartbeatAnswer,
    Proof,
    Request,
    Reward,
    Transaction,
    Unacceptable,
    UpdateProof,
    Verdict,
)
from nonsuch.networks.peer.dialects.pickle import (
    PickleClientWire,
    PickleReader,
    PickleServerWire,
)
from nonsuch.networks.peer.dialects.records import NESTING_MAX, VALUES_MAX, plain
from nonsuch.networks.peer.dialects.wires import ASKED_MAX
from tests.networks.peer.strategies import answers, numbers, requests, segments, texts

ROOT = Path(__file__).parents[3]


class Vectors(TypedDict):
    about: str
    requests: dict[str, str]
    answers: dict[str, str]


VECTORS: Vectors = json.loads((ROOT / "tests/data/peer.json").read_text(encoding="utf-8"))

REQUESTS: dict[str, Request] = {
    "hb": Heartbeat(),
    "gp": GetProof(),
    "pb": GetChain(),
    "cc": CloseConnection(),
    "up|5": UpdateProof(5),
    "tx|abcd1234|abc": Transaction("abcd1234", "abc"),
}
ENTRY = ("tx|abcd1234|abc", "2023-05-01 10:00:00.000000")
ANSWERS: dict[str, tuple[Request, Answer]] = {
    "accepted": (Transaction("abcd1234", "abc"), Verdict(True)),
    "proof 100": (GetProof(), Proof(100)),
    "heartbeat": (Heartbeat(), HeartbeatAnswer((ENTRY,), None, False)),
}
BLOCK = Block(2, "2023-05-01 10:00:05.000000", (ENTRY[0],) * 5, 5, "00" * 32, "11" * 32)
CHAIN_OF_TWO = Chain((BLOCK, BLOCK))


def pickled(value: object, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol=protocol)


def asking(*asked: Request) -> PickleClientWire:
    wire = PickleClientWire()
    for request in asked:
        wire.encode(request)
    return wire


def said(*messages: Answer) -> bytes:
    return b"".join(map(PickleServerWire().encode, messages))


def feed_all(wire: Wire, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        wire.feed(piece)


def refusal(data: bytes, asked: Request | None = None) -> str:
    """Why a stream is refused at one end or the other, however it is cut; and that it stays so."""
    reasons = set()
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        wire: Wire = asking(asked) if asked else PickleServerWire()
        with pytest.raises(RemoteProtocolError) as first:
            feed_all(wire, pieces)
        with pytest.raises(RemoteProtocolError) as second:
            wire.feed(pickled("hb"))
        assert str(second.value) == str(first.value)
        reasons.add(str(first.value))
    (reason,) = reasons
    return reason


# What other programs send.


@pytest.mark.parametrize("text", REQUESTS)
def test_requests_are_what_other_programs_send(text: str) -> None:
    data = bytes.fromhex(VECTORS["requests"][text])
    assert PickleServerWire().feed(data) == [REQUESTS[text]]
    assert PickleClientWire().encode(REQUESTS[text]) == data


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_what_other_programs_send(name: str) -> None:
    data = bytes.fromhex(VECTORS["answers"][name])
    request, answer = ANSWERS[name]
    assert asking(request).feed(data) == [answer]
    assert PickleServerWire().encode(answer) == data


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (Verdict(False), "Rejected"),
        (Reward(True), "Reward"),
        (Reward(False), "No Reward"),
        (Chain(()), "[]"),
        (CHAIN_OF_TWO, str([plain(BLOCK), plain(BLOCK)])),
        (HeartbeatAnswer((ENTRY,), (BLOCK,), True), ([ENTRY], [plain(BLOCK)], True)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_other_programs_unpickle_our_answers(answer: Answer, value: object) -> None:
    assert pickle.loads(PickleServerWire().encode(answer)) == value


def test_a_block_has_the_keys_that_other_programs_look_for() -> None:
    keys = ["index", "timestamp", "transaction", "proof", "previousHash", "currentHash"]
    assert list(plain(BLOCK)) == keys


def test_python_3_14_pickles_with_another_protocol_if_it_is_not_told() -> None:
    assert PickleServerWire().feed(pickled("hb", protocol=5)) == [Heartbeat()]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_older_protocols_are_not_spoken(protocol: int) -> None:
    assert "pickle" in refusal(pickled("hb", protocol))


def test_a_refusal_in_other_letters_is_understood() -> None:
    assert asking(UpdateProof(5)).feed(pickled("No reward")) == [Reward(False)]


# Nothing frames them.


def test_requests_that_come_joined_are_told_apart() -> None:
    stream = b"".join(map(pickled, ["hb", "tx|abcd1234|abc", "up|5", "gp"]))
    assert PickleServerWire().feed(stream) == [
        Heartbeat(),
        Transaction("abcd1234", "abc"),
        UpdateProof(5),
        GetProof(),
    ]


@given(st.lists(requests, max_size=5), st.data())
def test_requests_arrive_in_any_segmentation(asked: list[Request], data: st.DataObject) -> None:
    stream = b"".join(map(PickleClientWire().encode, asked))
    server = PickleServerWire()
    pieces = data.draw(segments(stream))
    assert [message for piece in pieces for message in server.feed(piece)] == asked
    assert server.pending == 0


@given(st.lists(requests, max_size=5), st.data())
def test_answers_arrive_in_any_segmentation(asked: list[Request], data: st.DataObject) -> None:
    answerable = [request for request in asked if not isinstance(request, CloseConnection)]
    given_answers = [data.draw(answers(request)) for request in answerable]
    client = asking(*answerable)
    pieces = data.draw(segments(said(*given_answers)))
    assert [message for piece in pieces for message in client.feed(piece)] == given_answers


@given(requests)
def test_a_message_comes_with_its_last_byte(request: Request) -> None:
    server, data = PickleServerWire(), PickleClientWire().encode(request)
    found = [server.feed(data[at : at + 1]) for at in range(len(data))]
    assert found == [[]] * (len(data) - 1) + [[request]]


def test_a_long_answer_comes_in_many_segments() -> None:
    chain = Chain((BLOCK,) * BLOCKS_MAX)
    data = said(chain)
    client = asking(GetChain())
    found = [client.feed(data[at : at + 1448]) for at in range(0, len(data), 1448)]
    assert [message for messages in found for message in messages] == [chain]


# What is asked, and what is answered.


@pytest.mark.parametrize(
    "text",
    [
        "tx|",
        "tx|abcd1234",
        "tx|abcd123|x",
        "tx|abcd12345|x",
        "tx|1234abcd|x",
        "tx|abcd١234|x",
        "tx|abcd1234|a|b",
        "tx|abcd1234|" + "x" * 71,
    ],
)
def test_a_transaction_that_is_written_wrongly_is_to_be_rejected(text: str) -> None:
    assert PickleServerWire().feed(pickled(text)) == [Unacceptable(text)]


def test_the_longest_transaction_fits() -> None:
    transaction = Transaction("abcd1234", "🜚" * 70)
    assert PickleServerWire().feed(PickleClientWire().encode(transaction)) == [transaction]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "no request: ''"),
        ("xx", "no request: 'xx'"),
        ("hb ", "no request"),
        ("up|", "no request"),
        ("up|-5", "no request"),
        ("up|٥", "no request"),
        (f"up|{NUMBER_MAX + 1}", "no request"),
        ("up|" + "9" * 400, "no request"),
        (5, "a text was due, not int"),
        (["hb"], "a text was due, not list"),
        (None, "a text was due, not NoneType"),
        ("tx|abcd1234|" + "x" * REQUEST_BYTES_MAX, "more bytes than are allowed"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_request(value: object, reason: str) -> None:
    assert reason in refusal(pickled(value))


@pytest.mark.parametrize(
    ("request_", "value", "reason"),
    [
        (GetProof(), True, "a proof is a whole number"),
        (GetProof(), -1, "a proof is a whole number"),
        (GetProof(), "100", "a proof is a whole number"),
        (GetProof(), 2**64, "more than 64 bits"),
        (GetProof(), 2**2000, "more than 64 bits"),
        (GetProof(), 1.5, "opcode 0x47"),
        (UpdateProof(5), "Accepted", "Reward or No Reward or No reward was due, not 'Accepted'"),
        (UpdateProof(5), True, "a text was due, not bool"),
        (Transaction("abcd1234", "x"), "accepted", "Accepted or Rejected was due"),
        (Transaction("abcd1234", "x"), "Accepted" * 99, "more bytes than are allowed"),
        (GetChain(), [], "a text was due, not list"),
        (GetChain(), "[1]", "no chain: Expected `object`, got `int`"),
        (GetChain(), "{}", "no chain: Expected `array`"),
        (GetChain(), str([plain(BLOCK)] * (BLOCKS_MAX + 1)), "no chain: .*length <= 4096"),
        (Heartbeat(), [], "no heartbeat: Expected `array` of length 3"),
        (Heartbeat(), ([], None), "no heartbeat: Expected `array` of length 3"),
        (Heartbeat(), ([], None, 1), "no heartbeat: Expected `bool`"),
        (Heartbeat(), ({}, None, True), "no heartbeat: Expected `array`"),
        (Heartbeat(), ([("x",)], None, True), "no heartbeat: Expected `array` of length 2"),
        (Heartbeat(), ([("x", "y" * 513)], None, True), "length <= 512"),
        (Heartbeat(), ([ENTRY] * (POOL_MAX + 1), None, True), "length <= 1024"),
        (Heartbeat(), ([], [plain(BLOCK)] * (BLOCKS_MAX + 1), True), "length <= 4096"),
        (Heartbeat(), ([], [plain(BLOCK) | {"proof": -1}], True), "Expected `int` >= 0"),
        (Heartbeat(), ([], [plain(BLOCK) | {"index": "1"}], True), "Expected `int`, got `str`"),
        (Heartbeat(), ([], [plain(BLOCK) | {"transaction": "tx"}], True), "Expected `array`"),
        (Heartbeat(), ([], [plain(BLOCK) | {"transaction": ["x"] * 65}], True), "length <= 64"),
        (Heartbeat(), ([], [{"index": 1}], True), "missing required field `timestamp`"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_answer(request_: Request, value: object, reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        asking(request_).feed(pickled(value))


def test_fields_that_we_do_not_know_are_skipped() -> None:
    value: object = ([], [plain(BLOCK) | {"nonce": 7, "miner": ["x", {"y": None}]}], True)
    assert asking(Heartbeat()).feed(pickled(value)) == [HeartbeatAnswer((), (BLOCK,), True)]


def test_answers_are_told_apart_by_what_was_asked() -> None:
    client = asking(UpdateProof(5), GetProof(), GetProof(), Transaction("abcd1234", "x"))
    assert client.feed(said(Reward(True), Proof(5))) == [Reward(True), Proof(5)]
    assert client.feed(said(Proof(33))) == [Proof(33)]
    assert client.feed(said(Verdict(False))) == [Verdict(False)]


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    client = asking(GetProof())
    assert client.feed(said(Proof(5))) == [Proof(5)]
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        client.feed(said(Proof(5)))


def test_after_goodbye_the_other_end_may_say_what_it_likes() -> None:
    client = asking(GetProof(), CloseConnection())
    assert client.feed(said(Proof(5)) + b"goodbye") == [Proof(5)]
    assert client.feed(b"and good luck") == []
    assert client.pending == 0


def test_only_so_many_requests_may_wait() -> None:
    client = asking(*[GetProof()] * ASKED_MAX)
    with pytest.raises(LocalError, match="16 requests wait"):
        client.encode(GetProof())
    assert client.feed(said(Proof(5))) == [Proof(5)]
    assert client.encode(GetProof())


@pytest.mark.parametrize(
    "request_",
    [
        Transaction("abcd1234", "a|b"),
        Transaction("abcd1234", "x" * 71),
        Transaction("abcd", "x"),
        UpdateProof(-1),
        UpdateProof(NUMBER_MAX + 1),
        Unacceptable("hb"),
        Unacceptable("tx|abcd1234|x"),
    ],
    ids=str,
)
def test_a_request_that_would_be_misunderstood_is_not_sent(request_: Request) -> None:
    client = PickleClientWire()
    with pytest.raises(LocalError):
        client.encode(request_)
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        client.feed(said(Verdict(True)))


def test_other_messages_have_no_words_here() -> None:
    assert PickleServerWire().encode(GetProof()) == b""
    assert PickleClientWire().encode(Proof(5)) == b""


# The reader, held against Python's own.

values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | texts | numbers | st.integers(-(2**63), -1),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(texts, inner, max_size=5),
    ),
    max_leaves=20,
)


@given(values, st.sampled_from([4, 5]), st.booleans())
def test_the_reader_reads_what_python_reads(value: object, protocol: int, again: bool) -> None:
    whole = [value, value] if again else value
    data = bytearray(pickled(whole, protocol))
    names = [opcode.name for opcode, _, _ in pickletools.genops(bytes(data))]
    assume(names.count("MARK") <= NESTING_MAX)
    taken = PickleReader().take(data, ANSWER_BYTES_MAX)
    assert taken == (whole,)
    assert [type(each) for each in taken] == [type(whole)]
    assert not data


def test_a_value_that_is_remembered_is_the_same() -> None:
    entry = ["x"]
    taken = PickleReader().take(bytearray(pickled([entry] * 300)), ANSWER_BYTES_MAX)
    assert taken == ([entry] * 300,)


# Weapons.


class Weapon:
    """What a stranger's pickle does to a program that loads it: this one makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("asked", [None, Heartbeat(), GetChain()], ids=str)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_calls_a_function_is_refused(
    protocol: int, asked: Request | None, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    data = pickled(Weapon(str(made)), protocol)
    refusal(data, asked)
    assert not made.exists()
    pickle.loads(data)
    assert made.exists(), "and it was a weapon"


@pytest.mark.parametrize(
    "value",
    [print, os.system, Weapon, {1, 2}, frozenset(), b"bytes", bytearray(b"x"), 1.5, 1j, range(3)],
    ids=repr,
)
def test_what_is_no_plain_value_is_refused(value: object) -> None:
    assert "which no plain value needs" in refusal(pickled([value]), Heartbeat())


PROTO, STOP = b"\x80\x04", b"."


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b"hb", "begins with its protocol"),
        (b"h\0", "begins with its protocol"),
        (STOP, "begins with its protocol"),
        (PROTO + PROTO, "begins with its protocol"),
        (b"\x80\x03", "protocol 3"),
        (b"\x80\xff", "protocol 255"),
        (PROTO + STOP, "more values than it has"),
        (PROTO + b"NN" + STOP, "more than one value"),
        (PROTO + b"(N" + STOP, "more than one value"),
        (PROTO + b"N(" + STOP, "more values than it has"),
        (PROTO + b"a", "more values than it has"),
        (PROTO + b"Na", "appends to what is no list"),
        (PROTO + b"NNa", "appends to what is no list"),
        (PROTO + b"}Na", "appends to what is no list"),
        (PROTO + b"e", "a mark it has not made"),
        (PROTO + b"t", "a mark it has not made"),
        (PROTO + b"]N0", "opcode 0x30"),
        (PROTO + b"](NeN", "more than one value"),
        (PROTO + b"]NNs", "no dict"),
        (PROTO + b"}NNs", "a key that is no text"),
        (PROTO + b"}]Ns", "a key that is no text"),
        (PROTO + b"}(Nu", "no dict"),
        (PROTO + b"\x87", "more values than it has"),
        (PROTO + b"N\x86", "more values than it has"),
        (PROTO + b"\x94", "more values than it has"),
        (PROTO + b"h\x00", "what it was not told"),
        (PROTO + b"N\x94h\x01", "what it was not told"),
        (PROTO + b"j\xff\xff\xff\xff", "what it was not told"),
        (PROTO + b"r\xff\xff\xff\x7f", "opcode 0x72"),
        (PROTO + b"\x8c\x01\xff", "not UTF-8"),
        (PROTO + b"\x8c\x03\xed\xa0\x80", "not UTF-8"),
        (PROTO + b"\x8c\x02\xc3", "not UTF-8"),
        (PROTO + b"\x8a\xff" + bytes(255), "more than 64 bits"),
        (PROTO + b"\x8b\xff\xff\xff\x7f", "opcode 0x8b"),
        (PROTO + b"cos\nsystem\n", "opcode 0x63"),
        (PROTO + b"\x82\x01", "opcode 0x82"),
        (PROTO + b"(" * 9, "8 deep"),
    ],
    ids=lambda each: each.hex() if isinstance(each, bytes) else "",
)
def test_programs_that_make_no_sense_are_refused(program: bytes, reason: str) -> None:
    assert reason in refusal(program + STOP)


@pytest.mark.parametrize(
    "program",
    [
        PROTO + b"\x8d" + b"\xff" * 8,
        PROTO + b"\x8d" + (2**40).to_bytes(8, "little"),
        PROTO + b"X" + b"\xff" * 4,
        PROTO + b"X" + (ANSWER_BYTES_MAX).to_bytes(4, "little"),
    ],
    ids=bytes.hex,
)
def test_a_length_beyond_the_bound_is_refused_before_it_is_waited_for(program: bytes) -> None:
    for asked in (None, Heartbeat()):
        assert "more bytes than are allowed" in refusal(program, asked)


def test_a_text_that_just_fits_is_waited_for() -> None:
    header = len(PROTO) + 5
    fits = (ANSWER_BYTES_MAX - header).to_bytes(4, "little")
    client = asking(GetChain())
    assert client.feed(PROTO + b"X" + fits) == []
    for _ in range(ANSWER_BYTES_MAX // 2**16 - 1):
        assert client.feed(b"[" * 2**16) == []
        assert client.pending < ANSWER_BYTES_MAX
    with pytest.raises(RemoteProtocolError):
        client.feed(b"[" * 2**16)


def test_a_pickle_without_an_end_comes_to_one() -> None:
    """Opcodes that do nothing, or undo each other, for as long as one listens."""
    for asked, bytes_max in ((None, REQUEST_BYTES_MAX), (Heartbeat(), ANSWER_BYTES_MAX)):
        wire: Wire = asking(asked) if asked else PickleServerWire()
        frames = (b"\x95" + bytes(8)) * 1000
        enough = bytes_max // len(frames) + 1
        with pytest.raises(RemoteProtocolError, match="more bytes than are allowed"):
            feed_all(wire, [PROTO, *[frames] * enough])


@pytest.mark.parametrize(
    ("repeated", "reason"),
    [
        (b"]", "more than 131072 values"),
        (b"N", "more than 131072 values"),
        (b")", "more than 131072 values"),
        (b"h\0", "more than 131072 values"),
        (b"\x94", "remembers more than 131072"),
        (b"]h\0a", "more than 131072 values"),
    ],
    ids=lambda each: each.hex() if isinstance(each, bytes) else "",
)
def test_a_pickle_of_too_many_values_is_refused(repeated: bytes, reason: str) -> None:
    program = PROTO + b"]\x94" + repeated * (VALUES_MAX + 1)
    with pytest.raises(RemoteProtocolError, match=reason):
        asking(Heartbeat()).feed(program)


def test_lists_that_hold_themselves_or_each_other_a_million_times_are_no_answer() -> None:
    endless: list[object] = []
    endless.append(endless)
    billions: list[object] = ["ha"]
    for _ in range(40):
        billions = [billions] * 10
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    for value in (endless, billions, deep):
        data = pickled((value, value, True))
        with pytest.raises(RemoteProtocolError):
            asking(Heartbeat()).feed(data)


def test_deep_nests_without_marks_are_taken_apart_again() -> None:
    """A hundred thousand lists, each in the next: no reader of ours goes down there, nor Python."""
    program = PROTO + b"]" * 100_000 + b"a" * 99_999 + STOP
    with pytest.raises(RemoteProtocolError, match="no heartbeat"):
        asking(Heartbeat()).feed(program)


def test_one_block_four_thousand_times_is_as_large_as_it_says() -> None:
    block = plain(BLOCK) | {"transaction": ["x"] * 64}
    (answer,) = asking(Heartbeat()).feed(pickled(([], [block] * BLOCKS_MAX, True)))
    assert isinstance(answer, HeartbeatAnswer)
    assert answer.chain is not None
    assert len(answer.chain) == BLOCKS_MAX


# Anything at all.


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    fuzz_one(data)


@given(st.binary(max_size=60))
def test_any_program(data: bytes) -> None:
    fuzz_one(b"\0" + PROTO + data)


@given(values, st.integers(0, 6))
def test_any_value(value: object, choice: int) -> None:
    fuzz_one(bytes((choice,)) + pickled(value))


def test_mutated_streams() -> None:
    for data in islice(inputs(seed=20), 1500):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.peer", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")
