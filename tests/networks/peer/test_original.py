"""The original rule: the proofs that everybody finds, and the hashes that nobody can check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.networks.peer.dialects.messages import NUMBER_MAX, Block
from nonsuch.networks.peer.dialects.pickle import PICKLE
from nonsuch.networks.peer.dialects.text import TEXT
from nonsuch.networks.peer.original import current_hash, follows, genesis, next_proof, proves
from nonsuch.search.solve import first
from nonsuch.work.presets import PRESETS, peer

DATA = Path(__file__).parents[2] / "data"

NOW = "2023-05-01 10:00:00.000000"


class HashRow(TypedDict):
    previous: str
    entries: list[tuple[str, str]]
    proof: int
    hash: str


class HashTable(TypedDict):
    about: str
    hashes: list[HashRow]


class ProofTable(TypedDict):
    about: str
    proofs: list[int]


HASHES: HashTable = json.loads((DATA / "peer.json").read_text(encoding="utf-8"))
PROOFS: ProofTable = json.loads((DATA / "vectors" / "peer.json").read_text(encoding="utf-8"))


def block_after(parent: Block, proof: int) -> Block:
    hash_of_it = current_hash(parent.current_hash, (), proof)
    return Block(parent.index + 1, NOW, (), proof, parent.current_hash, hash_of_it)


def test_the_proofs_run_in_a_circle() -> None:
    proof = 100
    for expected in PROOFS["proofs"]:
        assert proves(proof, expected)
        proof = next_proof(proof)
        assert proof == expected
    assert proof == 100


def test_a_search_of_the_puzzle_finds_the_same() -> None:
    target = PRESETS["peer"].target
    assert target is not None
    found = first(peer(100), target(b""), start=1, stop=1000, threads=1)
    assert found is not None
    assert found.nonce == next_proof(100) == 5


@given(st.integers(0, NUMBER_MAX))
def test_every_proof_has_a_next_one_and_none_is_smaller(previous: int) -> None:
    found = next_proof(previous)
    assert [proof for proof in range(found + 1) if proves(previous, proof)] == [found]


@given(st.integers(0, NUMBER_MAX), st.integers())
def test_any_number_proves_or_does_not(previous: int, proof: int) -> None:
    if proves(previous, proof):
        assert 1 <= proof <= NUMBER_MAX


def test_zero_is_no_proof_although_its_square_is() -> None:
    """The network counts from 1; where 0 would do, it is passed over."""
    previous = next(number for number in range(1000) if _begins_with_zeros(peer(number).digest(0)))
    assert not proves(previous, 0)
    assert next_proof(previous) > 0


def _begins_with_zeros(digest: bytes) -> bool:
    return digest[0] == 0


@pytest.mark.parametrize("row", HASHES["hashes"], ids=lambda row: row["hash"][:8])
def test_a_hash_is_that_of_texts_run_together(row: HashRow) -> None:
    entries = [(text, when) for text, when in row["entries"]]
    assert current_hash(row["previous"], entries, row["proof"]) == row["hash"]


def test_a_hash_does_not_know_where_one_text_ends() -> None:
    assert current_hash("a", ["b", "c"], 12) == current_hash("ab", ["c1"], 2)


def test_a_chain_begins_as_its_dialect_says() -> None:
    pickled, bare = genesis(PICKLE, NOW), genesis(TEXT, NOW)
    for block in (pickled, bare):
        assert (block.index, block.timestamp, block.transactions, block.proof) == (1, NOW, (), 100)
    assert [pickled.current_hash, bare.current_hash] == [row["hash"] for row in HASHES["hashes"]][
        :2
    ]
    assert (pickled.previous_hash[:9], bare.previous_hash) == ("The Times", "genesis")
    with pytest.raises(LocalError, match="dialects are pickle and text; 'objects' is none"):
        genesis("objects", NOW)


def test_a_block_follows_by_index_hash_and_proof() -> None:
    parent = genesis(PICKLE, NOW)
    block = block_after(parent, 5)
    assert follows(parent, block)
    assert follows(block, block_after(block, 33))
    for wrong in (
        msgspec.structs.replace(block, index=3),
        msgspec.structs.replace(block, proof=6),
        msgspec.structs.replace(block, proof=0),
        msgspec.structs.replace(block, previous_hash="0" * 64),
    ):
        assert not follows(parent, wrong)


def test_anyone_can_write_any_history() -> None:
    """Two chains of the same proofs, whatever they say: nothing had to be searched again."""
    ours = theirs = genesis(PICKLE, NOW)
    for proof in PROOFS["proofs"]:
        parents = ours, theirs
        ours = block_after(ours, proof)
        honest = block_after(theirs, proof)
        theirs = msgspec.structs.replace(honest, transactions=("tx|evil0001|mine",) * 5)
        assert follows(parents[0], ours)
        assert follows(parents[1], theirs)
