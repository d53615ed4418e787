"""The pool's wire against Go's own bytes, against its caps, and against anything at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.gob import fuzz_one, inputs
from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.networks.pool.gob import (
    DATA_BYTES_MAX,
    DESCRIPTORS_MAX,
    FIELDS_MAX,
    MESSAGE_BYTES_MAX,
    Decoder,
    Encoder,
    Kind,
    Message,
)

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"


# What the data files hold.


class MessageVector(msgspec.Struct):
    name: str
    fields: Message
    bytes: str


class Vectors(msgspec.Struct):
    descriptor: str
    messages: list[MessageVector]


class Connection(msgspec.Struct):
    who: str
    to_pool: list[str]
    from_pool: list[str]


class OtherStruct(msgspec.Struct):
    struct: str
    stream: str


class Session(msgspec.Struct):
    connections: list[Connection]
    other_structs: dict[str, OtherStruct]


VECTORS = msgspec.json.decode((DATA / "liteminer.json").read_bytes(), type=Vectors)
SESSION = msgspec.json.decode((DATA / "liteminer_session.json").read_bytes(), type=Session)
DESCRIPTOR = bytes.fromhex(VECTORS.descriptor)
DIRECTIONS = [
    pytest.param([bytes.fromhex(piece) for piece in pieces], id=f"{each.who}, {direction}")
    for each in SESSION.connections
    for direction, pieces in (("to pool", each.to_pool), ("from pool", each.from_pool))
]

BOOL, INT, UINT, FLOAT, OCTETS, STRING, COMPLEX, INTERFACE = range(1, 9)


# Gob by hand, to write what our encoder never does.


def unsigned(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    size = (value.bit_length() + 7) // 8
    return bytes([256 - size]) + value.to_bytes(size, "big")


def signed(value: int) -> bytes:
    return unsigned(value * 2 if value >= 0 else -value * 2 - 1)


def text(value: str) -> bytes:
    return unsigned(len(value.encode())) + value.encode()


def framed(content: bytes) -> bytes:
    return unsigned(len(content)) + content


def described(*fields: tuple[str, int], type_id: int = 65) -> bytes:
    named = b"".join(b"\1" + text(name) + b"\1" + signed(kind) + b"\0" for name, kind in fields)
    common = b"\1" + b"\1" + text("Message") + b"\1" + signed(type_id) + b"\0"
    struct = common + (b"\1" + unsigned(len(fields)) + named if fields else b"") + b"\0"
    return framed(signed(-type_id) + b"\3" + struct + b"\0")


def value(content: bytes, type_id: int = 65) -> bytes:
    return framed(signed(type_id) + content)


def decoded(stream: bytes) -> list[Message]:
    """All of a stream; it must end where a message does."""
    decoder = Decoder()
    messages = decoder.feed(stream)
    assert decoder.pending == 0
    return messages


def refusal(stream: bytes) -> str:
    """Why a stream is refused, and that it stays so."""
    decoder = Decoder()
    with pytest.raises(RemoteProtocolError) as first:
        decoder.feed(stream)
    assert decoder.pending == 0
    with pytest.raises(RemoteProtocolError) as second:
        decoder.feed(DESCRIPTOR)
    assert str(second.value) == str(first.value)
    return str(first.value)


def encoded(*messages: Message) -> bytes:
    encoder = Encoder()
    return b"".join(encoder.encode(message) for message in messages)


# Go's bytes.


@pytest.mark.parametrize("vector", VECTORS.messages, ids=lambda vector: vector.name)
def test_vector(vector: MessageVector) -> None:
    expected = bytes.fromhex(vector.bytes)
    encoder = Encoder()
    assert encoder.encode(vector.fields) == DESCRIPTOR + expected
    assert encoder.encode(vector.fields) == expected
    decoder = Decoder()
    assert decoder.feed(DESCRIPTOR) == []
    assert decoder.feed(expected) == [vector.fields]
    assert Kind(vector.fields.type).name.replace("_", "") == vector.name.upper()


def test_the_descriptor_is_what_its_parts_say() -> None:
    fields = [("Type", INT), ("Data", STRING)]
    fields += [(name, UINT) for name in ("Lower", "Upper", "NumProcessed", "Hash", "Nonce")]
    assert described(*fields) == DESCRIPTOR


def test_every_kind_has_a_vector() -> None:
    assert {vector.fields.type for vector in VECTORS.messages} == set(Kind)


@pytest.mark.parametrize("pieces", DIRECTIONS)
def test_recorded_direction(pieces: list[bytes]) -> None:
    decoder = Decoder()
    messages = [message for piece in pieces for message in decoder.feed(piece)]
    assert decoder.pending == 0
    assert messages
    assert encoded(*messages) == b"".join(pieces)


def test_recorded_session_tells_its_story() -> None:
    def kinds(pieces: list[str]) -> list[Kind]:
        return [Kind(message.type) for message in decoded(bytes.fromhex("".join(pieces)))]

    by_name = {each.who: each for each in SESSION.connections}
    asked = [Kind.CLIENT_HELLO, Kind.TRANSACTION]
    assert kinds(by_name["client"].to_pool) == asked
    assert kinds(by_name["client"].from_pool) == [Kind.PROOF_OF_WORK]
    assert kinds(by_name["client without miners"].from_pool) == [Kind.ERROR]
    assert kinds(by_name["client turned away"].from_pool) == [Kind.BUSY_POOL]
    mined = kinds(by_name["miner"].to_pool)
    assert mined[0] == Kind.MINER_HELLO
    assert set(mined[1:]) == {Kind.STATUS_UPDATE, Kind.PROOF_OF_WORK}
    assert mined.count(Kind.PROOF_OF_WORK) == len(by_name["miner"].from_pool) == 3


def test_recorded_proofs_are_true() -> None:
    everything = [piece for each in SESSION.connections for piece in (each.to_pool, each.from_pool)]
    messages = [m for pieces in everything for m in decoded(bytes.fromhex("".join(pieces)))]
    proofs = [message for message in messages if message.type == Kind.PROOF_OF_WORK]
    assert len(proofs) == 5
    for proof in proofs:
        digest = hashlib.sha256(f"{proof.data} {proof.nonce}".encode()).digest()
        assert proof.hash == int.from_bytes(digest[:8], "big")


def other(name: str) -> bytes:
    return bytes.fromhex(SESSION.other_structs[name].stream)


def test_go_struct_with_other_order_and_more_fields() -> None:
    assert decoded(other("extended")) == [
        Message(),
        Message(type=6, data="bradfitz", upper=9999, nonce=7),
        Message(type=-3, data="é", upper=2**64 - 1),
    ]


def test_go_struct_with_fewer_fields() -> None:
    assert decoded(other("short")) == [Message(type=2, data="No miners connected"), Message()]


def test_two_go_structs_in_one_stream() -> None:
    assert decoded(other("two")) == [
        Message(type=2, data="one"),
        Message(type=6, data="two", upper=3),
        Message(type=2, data="three"),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nested", "a field of gob type 68, which is not one of the simple six"),
        ("listed", "a field of gob type 70, which is not one of the simple six"),
        ("wrong", "field Type has gob type 3, not 2"),
        ("alien", "a struct that has no field of LiteMiner's Message"),
        ("number", "a value of type 2, which was not described"),
        ("text", "a value of type 6, which was not described"),
    ],
)
def test_go_stream_of_something_else(name: str, reason: str) -> None:
    assert refusal(other(name)) == reason


# What goes in comes out, however it is cut.

messages = st.builds(
    Message,
    type=st.integers(-(2**63), 2**63 - 1),
    data=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    lower=st.integers(0, 2**64 - 1),
    upper=st.integers(0, 2**64 - 1),
    processed=st.integers(0, 2**64 - 1),
    hash=st.integers(0, 2**64 - 1),
    nonce=st.integers(0, 2**64 - 1),
)


@given(st.lists(messages, max_size=5))
def test_round_trip(sent: list[Message]) -> None:
    assert decoded(encoded(*sent)) == sent


@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_segmentation_does_not_matter(sent: list[Message], data: st.DataObject) -> None:
    stream = encoded(*sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    decoder = Decoder()
    assert [message for piece in pieces for message in decoder.feed(piece)] == sent


def test_byte_at_a_time_each_message_comes_with_its_last_byte() -> None:
    stream = DESCRIPTOR
    ends = {}
    for vector in VECTORS.messages:
        stream += bytes.fromhex(vector.bytes)
        ends[len(stream)] = vector.fields
    decoder = Decoder()
    for end in range(1, len(stream) + 1):
        expected = [ends[end]] if end in ends else []
        assert decoder.feed(stream[end - 1 : end]) == expected
    assert decoder.pending == 0


def test_nothing_is_a_wait() -> None:
    assert Decoder().feed(b"") == []


def test_pending_counts_what_is_unfinished() -> None:
    decoder = Decoder()
    decoder.feed(DESCRIPTOR + bytes.fromhex("05ff8201"))
    assert decoder.pending == 4
    assert decoder.feed(bytes.fromhex("0200")) == [Message(type=1)]
    assert decoder.pending == 0


# The encoder's limits.


@pytest.mark.parametrize("field", ["lower", "upper", "processed", "hash", "nonce"])
@pytest.mark.parametrize("number", [-1, 2**64])
def test_unsigned_field_that_does_not_fit(field: str, number: int) -> None:
    with pytest.raises(LocalError, match=field):
        Encoder().encode(msgspec.structs.replace(Message(), **{field: number}))


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**63, 2**1000])
def test_type_that_does_not_fit(number: int) -> None:
    with pytest.raises(LocalError, match="type"):
        Encoder().encode(Message(type=number))


def test_data_that_does_not_fit() -> None:
    longest = "é" * (DATA_BYTES_MAX // 2)
    assert decoded(encoded(Message(data=longest))) == [Message(data=longest)]
    with pytest.raises(LocalError, match="65537 bytes"):
        Encoder().encode(Message(data=longest + "x"))


def test_data_that_utf8_cannot_write() -> None:
    with pytest.raises(LocalError, match="surrogate"):
        Encoder().encode(Message(data="\ud800"))


def test_a_refused_message_leaves_the_stream_as_it_was() -> None:
    encoder = Encoder()
    with pytest.raises(LocalError):
        encoder.encode(Message(upper=2**64))
    assert encoder.encode(Message()) == DESCRIPTOR + bytes.fromhex("03ff8200")


# By the peer's own descriptor.


def test_another_type_id() -> None:
    stream = described(("Type", INT), type_id=2**40) + value(b"\1\2\0", type_id=2**40)
    assert decoded(stream) == [Message(type=1)]


def test_explicit_zeros_and_numbers_with_leading_zeros() -> None:
    stream = described(("Type", INT), ("Upper", UINT))
    stream += value(b"\1\0\1\0\0") + value(b"\1\xff\x0c\1\xf8" + (9).to_bytes(8, "big") + b"\0")
    assert decoded(stream) == [Message(), Message(type=6, upper=9)]


def test_all_simple_kinds_are_skipped() -> None:
    extras = [("Urgent", BOOL), ("Delta", INT), ("Size", UINT), ("Weight", FLOAT)]
    extras += [("Key", OCTETS), ("Note", STRING)]
    skipped = b"\1\1" + b"\1\3" + b"\1\5" + b"\1\xfe\xf0\x3f" + b"\1\2\xff\xfe" + b"\1\1x"
    stream = described(*extras, ("Nonce", UINT)) + value(skipped + b"\1\7\0")
    assert decoded(stream) == [Message(nonce=7)]


def test_a_struct_without_fields_is_all_zero() -> None:
    # Go, too, refuses only a struct that has fields of which none is known.
    assert decoded(described() + value(b"\0")) == [Message()]


@pytest.mark.parametrize("number", [-(2**63), -1, 8, 2**63 - 1])
def test_any_type_is_decoded_as_it_is(number: int) -> None:
    assert decoded(encoded(Message(type=number))) == [Message(type=number)]


# What is refused, and why.

TYPE = described(("Type", INT))
DATA_ONLY = described(("Data", STRING))
WITH_NOTE = described(("Type", INT), ("Note", STRING))


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\0", "a gob message of 0 bytes"),
        (unsigned(MESSAGE_BYTES_MAX + 1), f"a gob message of {MESSAGE_BYTES_MAX + 1} bytes"),
        (b"\xf8" + b"\xff" * 8, "a gob message of 18446744073709551615 bytes"),
        (b"\xf7", "a number of 9 bytes"),
        (b"\x80", "a number of 128 bytes"),
        (framed(b"\xf7"), "a number of 9 bytes"),
        (framed(b"\xfe\x01"), "ends where a number should be"),
        (value(b"\0"), "a value of type 65, which was not described"),
        (TYPE + value(b"\0", type_id=66), "a value of type 66, which was not described"),
        (TYPE + value(b"\0", type_id=0), "a value of type 0, which was not described"),
        (described(("Type", INT), type_id=63), "type 63 is gob's own"),
        (TYPE + TYPE, "type 65 was described before"),
        (described(("Type", UINT)), "field Type has gob type 3, not 2"),
        (described(("Data", OCTETS)), "field Data has gob type 5, not 6"),
        (described(("Upper", INT)), "field Upper has gob type 2, not 3"),
        (described(("Type", INT), ("Z", COMPLEX)), "a field of gob type 7"),
        (described(("Type", INT), ("Any", INTERFACE)), "a field of gob type 8"),
        (described(("Type", INT), ("No", 0)), "a field of gob type 0"),
        (described(("Type", INT), ("Map", 70)), "a field of gob type 70"),
        (described(("Type", INT), ("Type", INT)), "two fields of one name"),
        (described(("type", INT)), "no field of LiteMiner's Message"),
        (framed(signed(-65) + b"\0"), "a descriptor that describes nothing"),
        (framed(signed(-65) + b"\2\0\0"), "something other than a struct"),
        (framed(signed(-65) + b"\4\0\0"), "something other than a struct"),
        (framed(signed(-65) + b"\3\0\1\0\0"), "something other than a struct"),
        (framed(signed(-65) + b"\x08\0"), "field 7 of a struct that has 7"),
        (framed(signed(-65) + b"\3\3\0\0"), "field 2 of a struct that has 2"),
        (framed(signed(-65) + b"\3\1\1\1\xff\0\0\0"), "a text that is not UTF-8"),
        (framed(TYPE[1:] + b"\0"), "1 bytes are left over"),
        (TYPE + value(b"\0\0"), "1 bytes are left over"),
        (TYPE + value(b""), "ends where a number should be"),
        (TYPE + value(b"\1"), "ends where a number should be"),
        (TYPE + value(b"\1\2"), "ends where a number should be"),
        (TYPE + value(b"\2\2\0"), "field 1 of a struct that has 1"),
        (TYPE + value(unsigned(2**64 - 1) + b"\0"), "of a struct that has 1"),
        (TYPE + value(b"\1\2\1\2\0"), "field 1 of a struct that has 1"),
        (DATA_ONLY + value(b"\1\2\xc3\x28\0"), "a text that is not UTF-8"),
        (DATA_ONLY + value(b"\1\3\xed\xa0\x80\0"), "a text that is not UTF-8"),
        (DATA_ONLY + value(b"\1\5ab\0"), "longer than the gob message"),
        (WITH_NOTE + value(b"\2\5ab\0"), "longer than the gob message"),
    ],
)
def test_refused(stream: bytes, reason: str) -> None:
    assert reason in refusal(stream)


def test_fields_of_a_descriptor_are_capped() -> None:
    names = [("Type", INT), *((f"Extra{number}", INT) for number in range(FIELDS_MAX))]
    assert decoded(described(*names[:FIELDS_MAX]) + value(b"\0")) == [Message()]
    assert f"a struct of {FIELDS_MAX + 1} fields" in refusal(described(*names))


def test_a_count_of_fields_is_judged_before_any_is_read() -> None:
    stream = framed(signed(-65) + b"\3\2" + unsigned(2**64 - 1))
    assert f"a struct of {2**64 - 1} fields" in refusal(stream)


def test_descriptors_are_capped() -> None:
    stream = b"".join(described(("Type", INT), type_id=65 + n) for n in range(DESCRIPTORS_MAX))
    assert decoded(stream) == []
    one_more = described(("Type", INT), type_id=65 + DESCRIPTORS_MAX)
    assert f"more than {DESCRIPTORS_MAX} types" in refusal(stream + one_more)


def test_data_is_capped() -> None:
    content = b"\1" + text("x" * DATA_BYTES_MAX) + b"\0"
    assert decoded(DATA_ONLY + value(content)) == [Message(data="x" * DATA_BYTES_MAX)]
    content = b"\1" + text("x" * (DATA_BYTES_MAX + 1)) + b"\0"
    assert f"a text of {DATA_BYTES_MAX + 1} bytes" in refusal(DATA_ONLY + value(content))


def test_a_message_is_capped_and_so_is_what_is_held() -> None:
    overhead = len(signed(65) + b"\2" + unsigned(MESSAGE_BYTES_MAX) + b"\0")
    longest = value(b"\2" + text("x" * (MESSAGE_BYTES_MAX - overhead)) + b"\0")
    assert longest[:4] == unsigned(MESSAGE_BYTES_MAX)
    decoder = Decoder()
    assert decoder.feed(WITH_NOTE + longest[:-1]) == []
    assert decoder.pending == len(longest) - 1
    assert decoder.feed(longest[-1:] + longest) == [Message(), Message()]
    assert decoder.pending == 0
    too_long = value(b"\2" + text("x" * (MESSAGE_BYTES_MAX - overhead + 1)) + b"\0")
    assert f"a gob message of {MESSAGE_BYTES_MAX + 1} bytes" in refusal(WITH_NOTE + too_long[:4])


def test_messages_before_a_fault_come_if_they_came_before_it() -> None:
    decoder = Decoder()
    assert decoder.feed(encoded(Message(type=1))) == [Message(type=1)]
    with pytest.raises(RemoteProtocolError):
        decoder.feed(b"\0")


# Anything at all.


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    fuzz_one(data)


@given(st.binary(max_size=60))
def test_any_bytes_after_the_descriptor(data: bytes) -> None:
    fuzz_one(DESCRIPTOR + data)


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=60))
def test_any_content_of_a_value(data: bytes) -> None:
    fuzz_one(DESCRIPTOR + value(data))


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=60))
def test_any_content_of_a_descriptor(data: bytes) -> None:
    fuzz_one(framed(signed(-65) + b"\3" + data))


def test_mutated_streams() -> None:
    for data in islice(inputs(seed=20), 3000):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.gob", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")
