"""108 bytes: vectors, fields, hashes, and what a block of them takes."""

from __future__ import annotations

import json
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nonsuch
from nonsuch.errors import LocalError
from nonsuch.networks.coordinator.header import (
    HEADER_BYTES,
    NONCE_COUNT,
    ROOT,
    STOCK_TARGET,
    TIMESTAMP_MAX,
    VERSION,
    Block,
    Header,
)
from nonsuch.networks.coordinator.records import decode_record, encode_record
from nonsuch.work.target import TARGET_MAX, Target
from tests.networks.coordinator.bench import stock_answer

DATA = Path(__file__).parents[2] / "data" / "vectors" / "coordinator.json"
VECTORS: list[dict[str, str]] = json.loads(DATA.read_text())["vectors"]

ids = st.binary(min_size=32, max_size=32)
headers = st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES).map(Header)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["nonce"])
def test_headers_of_other_programs_are_solved_as_they_are_there(vector: dict[str, str]) -> None:
    header = Header(bytes.fromhex(vector["header"]))
    assert (header.version, header.target, header.nonce) == (VERSION, STOCK_TARGET, 0)
    assert Block(header).id.hex() == vector["unsolved_hash"]
    proof = nonsuch.first(header.puzzle, header.target, start=header.nonce, threads=1)
    assert proof is not None
    answer = header.with_nonce(proof.nonce)
    block = Block(answer)
    assert answer.nonce == int(vector["nonce"])
    assert block.id.hex() == vector["hash"] == proof.hexdigest
    assert header.target.admits(block.rank)
    assert answer.data == stock_answer(header.data)


def test_a_chain_begins_at_thirty_two_zero_bytes_as_the_second_vector_does() -> None:
    assert Header(bytes.fromhex(VECTORS[1]["header"])).parent == ROOT == bytes(32)


@given(
    st.integers(-(2**31), 2**31 - 1),
    ids,
    ids,
    st.integers(0, TIMESTAMP_MAX),
    st.integers(1, TARGET_MAX).map(Target),
    st.integers(0, NONCE_COUNT - 1),
)
def test_every_field_comes_back_as_it_was_written(
    version: int, parent: bytes, root: bytes, timestamp: int, target: Target, nonce: int
) -> None:
    header = Header.of(version, parent, root, timestamp, target, nonce)
    assert header.version == version
    assert header.parent == parent
    assert header.root == root
    assert header.timestamp == timestamp
    assert header.target == target
    assert header.nonce == nonce
    block = Block(header)
    assert (block.parent, block.timestamp, block.target) == (parent, timestamp, target)
    assert (block.work, block.size) == (target.work, HEADER_BYTES)


@given(headers)
def test_the_hash_is_sha256_twice_however_it_is_come_by(header: Header) -> None:
    digest = sha256(sha256(header.data).digest()).digest()
    block = Block(header)
    assert block.id == digest == header.puzzle.digest(header.nonce)
    assert block.rank == header.puzzle.rank(digest) == int.from_bytes(digest, "big")


@given(headers, st.integers(0, NONCE_COUNT - 1), st.integers(0, TIMESTAMP_MAX))
def test_only_what_is_set_changes(header: Header, nonce: int, timestamp: int) -> None:
    assert header.with_nonce(nonce).with_nonce(header.nonce) == header
    assert header.with_timestamp(timestamp).with_timestamp(header.timestamp) == header
    assert header.with_nonce(nonce).nonce == nonce
    assert header.with_timestamp(timestamp).timestamp == timestamp
    assert header.with_nonce(nonce).data[:104] == header.data[:104]


@given(headers)
def test_a_record_comes_back_as_it_was_kept(header: Header) -> None:
    assert decode_record(encode_record(header)) == header


@pytest.mark.parametrize("size", [0, 107, 109])
def test_a_header_has_108_bytes_on_disk_too(size: int) -> None:
    with pytest.raises(LocalError, match=f"a header has 108 bytes, not {size}"):
        decode_record(bytes(size))


@pytest.mark.parametrize(
    "fields",
    [
        (2**31, ROOT, ROOT, 0, STOCK_TARGET, 0),
        (4, ROOT[1:], ROOT, 0, STOCK_TARGET, 0),
        (4, ROOT, ROOT + b"0", 0, STOCK_TARGET, 0),
        (4, ROOT, ROOT, TIMESTAMP_MAX + 1, STOCK_TARGET, 0),
        (4, ROOT, ROOT, -1, STOCK_TARGET, 0),
        (4, ROOT, ROOT, 0, STOCK_TARGET, NONCE_COUNT),
    ],
)
def test_what_does_not_fit_a_header_is_refused(
    fields: tuple[int, bytes, bytes, int, Target, int],
) -> None:
    with pytest.raises(LocalError):
        Header.of(*fields)


def test_a_target_of_zero_is_none() -> None:
    header = Header(bytes(HEADER_BYTES))
    assert header.threshold == bytes(32)
    with pytest.raises(LocalError, match="a target must lie between"):
        _ = header.target


def test_a_block_takes_a_third_of_a_kilobyte() -> None:
    tracemalloc.start()
    try:
        blocks = [Block(Header(number.to_bytes(HEADER_BYTES, "big"))) for number in range(1000)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 342 * len(blocks)
