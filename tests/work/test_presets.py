"""The presets against what other programs computed: `tests/data/vectors` and real block headers."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.work.presets import (
    PRESETS,
    bitcoin,
    coordinator,
    gossip,
    liteminer,
    peer,
    plain,
    race,
)
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

DATA = Path(__file__).parents[1] / "data"


class PoolVector(TypedDict):
    message: str
    upper: int
    nonce: int
    value: int


class PoolTable(TypedDict):
    about: str
    vectors: list[PoolVector]


class RaceVector(TypedDict):
    transaction: str
    difficulty: int
    nonce: int
    hash: str


class RaceTable(TypedDict):
    about: str
    vectors: list[RaceVector]


class GossipVector(TypedDict):
    data: str
    previous: str
    target_log2: int
    p_o_w: str
    hash: str


class GossipTable(TypedDict):
    about: str
    without_p_o_w: str
    vectors: list[GossipVector]


class CoordinatorVector(TypedDict):
    header: str
    unsolved_hash: str
    nonce: int
    hash: str


class CoordinatorTable(TypedDict):
    about: str
    vectors: list[CoordinatorVector]


class PeerTable(TypedDict):
    about: str
    proofs: list[int]


class BitcoinBlock(TypedDict):
    height: int
    version: int
    previous: str
    merkle_root: str
    time: int
    bits: str
    nonce: int
    hash: str


class BitcoinTable(TypedDict):
    about: str
    blocks: list[BitcoinBlock]


def read(name: str) -> str:
    return (DATA / name).read_text()


POOL: PoolTable = json.loads(read("vectors/pool.json"))
RACE: RaceTable = json.loads(read("vectors/race.json"))
GOSSIP: GossipTable = json.loads(read("vectors/gossip.json"))
COORDINATOR: CoordinatorTable = json.loads(read("vectors/coordinator.json"))
PEER: PeerTable = json.loads(read("vectors/peer.json"))
BITCOIN: BitcoinTable = json.loads(read("bitcoin_headers.json"))


def first(puzzle: Puzzle, target: Target, start: int = 0) -> int:
    """The first nonce from `start` that the target admits, by trying one after the other."""
    nonce = start
    while not target.admits(puzzle.rank(puzzle.digest(nonce))):
        nonce += 1
    return nonce


def header_of(block: BitcoinBlock) -> bytes:
    """Bitcoin's "Block Headers": integers little-endian, hashes in the order SHA-256 emits them."""
    return b"".join(
        [
            block["version"].to_bytes(4, "little"),
            bytes.fromhex(block["previous"])[::-1],
            bytes.fromhex(block["merkle_root"])[::-1],
            block["time"].to_bytes(4, "little"),
            bytes.fromhex(block["bits"])[::-1],
            block["nonce"].to_bytes(4, "little"),
        ]
    )


# Pool.


@pytest.mark.parametrize("vector", POOL["vectors"], ids=lambda v: f"{v['message']}-{v['upper']}")
def test_liteminer_finds_the_lowest_value_of_the_inclusive_range(vector: PoolVector) -> None:
    puzzle = liteminer(vector["message"].encode())
    best = min(map(puzzle.prove, range(vector["upper"] + 1)), key=lambda proof: proof.merit)
    assert best.nonce == vector["nonce"]
    assert puzzle.compared(best.digest) == vector["value"]
    assert best.verify()


def test_liteminer_compares_the_first_eight_bytes_of_the_hash_of_message_space_nonce() -> None:
    digest = hashlib.sha256(b"a b 297").digest()
    puzzle = liteminer(b"a b")
    assert puzzle.digest(297) == digest
    assert puzzle.compared(digest) == int.from_bytes(digest[:8], "big")


def test_plain_has_no_separator_and_compares_everything() -> None:
    assert plain(b"a b").preimage(297) == b"a b297"
    assert plain(b"a b").rank_bits == 256


# Race.


@pytest.mark.parametrize(
    "vector", RACE["vectors"], ids=lambda v: f"{v['transaction']}-{v['difficulty']}"
)
def test_a_race_is_won_by_the_first_nonce_with_the_zero_digits(vector: RaceVector) -> None:
    puzzle = race(vector["transaction"].encode())
    target = Target.from_zero_digits(2 * vector["difficulty"])
    nonce = first(puzzle, target)
    assert nonce == vector["nonce"]
    assert puzzle.prove(nonce).hexdigest == vector["hash"]


def test_the_race_asks_for_four_zero_digits_whatever_the_transaction() -> None:
    target = PRESETS["race"].target
    assert target is not None
    assert target(b"any transaction") == Target.from_zero_digits(4)


# Gossip.


@pytest.mark.parametrize("vector", GOSSIP["vectors"], ids=lambda v: f"2**{v['target_log2']}")
def test_a_gossip_proof_of_work_is_admitted(vector: GossipVector) -> None:
    puzzle = gossip(vector["data"].encode(), bytes.fromhex(vector["previous"]))
    proof = puzzle.prove(int(vector["p_o_w"], 16))
    assert proof.hexdigest == vector["hash"]
    assert proof.verify(Target(2 ** vector["target_log2"]))


@pytest.mark.parametrize("vector", GOSSIP["vectors"][:2], ids=lambda v: f"2**{v['target_log2']}")
def test_a_gossip_proof_of_work_is_the_first(vector: GossipVector) -> None:
    puzzle = gossip(vector["data"].encode(), bytes.fromhex(vector["previous"]))
    assert first(puzzle, Target(2 ** vector["target_log2"])) == int(vector["p_o_w"], 16)


def test_a_gossip_block_before_proof_of_work_is_data_and_parent() -> None:
    prefix = gossip(b"genesis").prefix
    assert hashlib.sha256(prefix).hexdigest() == GOSSIP["without_p_o_w"]


def test_the_gossip_preset_takes_data_and_parent_as_one_message() -> None:
    preset = PRESETS["gossip"]
    assert preset.build(b"genesis" + bytes(32)) == gossip(b"genesis")
    assert preset.target is not None
    assert preset.target(b"genesis" + bytes(32)) == Target(2**235)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_gossip_parent_has_32_bytes(size: int) -> None:
    with pytest.raises(LocalError, match=f"a parent hash has 32 bytes, not {size}"):
        gossip(b"data", bytes(size))


# Coordinator.


@pytest.mark.parametrize("vector", COORDINATOR["vectors"], ids=lambda v: str(v["nonce"]))
def test_an_agent_solves_a_coordinators_header(vector: CoordinatorVector) -> None:
    header = bytes.fromhex(vector["header"])
    preset = PRESETS["coordinator"]
    puzzle = preset.build(header)
    assert preset.target is not None
    target = preset.target(header)
    assert str(target) == "0001" + "ff" * 30
    assert puzzle.prove(0).hexdigest == vector["unsolved_hash"]
    nonce = first(puzzle, target)
    assert nonce == vector["nonce"]
    assert puzzle.prove(nonce).hexdigest == vector["hash"]


def test_a_coordinator_may_choose_another_target() -> None:
    header = bytes(72) + (2**200).to_bytes(32, "big")
    target = PRESETS["coordinator"].target
    assert target is not None
    assert target(header) == Target(2**200)


def test_a_coordinators_target_of_zero_is_refused() -> None:
    target = PRESETS["coordinator"].target
    assert target is not None
    with pytest.raises(LocalError, match=r"a target must lie between 1 and 2\*\*256 - 1"):
        target(bytes(108))


# Peer.


def test_peer_proofs_run_in_a_circle_whatever_the_blocks_hold() -> None:
    preset = PRESETS["peer"]
    target = Target.from_zero_digits(2)
    assert preset.target is not None
    assert preset.target(b"100") == target
    circle = [100, *PEER["proofs"]]
    assert circle[-1] == circle[0]
    assert len(PEER["proofs"]) == 15
    for previous, proof in pairwise(circle):
        puzzle = preset.build(str(previous).encode())
        assert puzzle == peer(previous)
        assert first(puzzle, target, preset.first_nonce) == proof


@pytest.mark.parametrize("message", [b"", b"abc", b"1.5", b"-1", b"\xff", b"9" * 30, b"9" * 5000])
def test_a_peer_message_that_is_no_proof_is_refused(message: bytes) -> None:
    with pytest.raises(LocalError, match="the previous proof, a whole number such as 100"):
        PRESETS["peer"].build(message)


# Bitcoin.


@pytest.mark.parametrize("block", BITCOIN["blocks"], ids=lambda block: str(block["height"]))
def test_a_bitcoin_header_proves_its_own_bits(block: BitcoinBlock) -> None:
    header = header_of(block)
    preset = PRESETS["bitcoin"]
    proof = preset.build(header).prove(block["nonce"])
    assert proof.puzzle.preimage(block["nonce"]) == header
    assert proof.hexdigest == block["hash"]
    assert preset.target is not None
    target = preset.target(header)
    assert target == Target.from_bits(int(block["bits"], 16))
    assert proof.verify(target)
    assert not proof.puzzle.prove(block["nonce"] - 1).verify(target)


# Headers, and the table.


@given(st.binary(min_size=108, max_size=108))
def test_a_header_may_come_with_or_without_its_nonce(header: bytes) -> None:
    assert coordinator(header) == coordinator(header[:104])
    assert bitcoin(header[:80]) == bitcoin(header[:76])


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("coordinator", 0, "108 bytes, or 104 without its nonce"),
        ("coordinator", 80, "108 bytes, or 104 without its nonce"),
        ("coordinator", 216, "108 bytes, or 104 without its nonce"),
        ("bitcoin", 75, "80 bytes, or 76 without its nonce"),
        ("bitcoin", 81, "80 bytes, or 76 without its nonce"),
        ("bitcoin", 160, "80 bytes, or 76 without its nonce"),
    ],
)
def test_a_header_of_another_length_is_refused_with_a_way_out(
    name: str, size: int, expected: str
) -> None:
    preset = PRESETS[name]
    assert preset.target is not None
    for use in (preset.build, preset.target):
        with pytest.raises(LocalError, match=f"{expected}; this one has {size} .*--hex"):
            use(bytes(size))


@pytest.mark.parametrize("name", ["plain", "liteminer"])
def test_a_network_that_wants_the_lowest_hash_has_no_target(name: str) -> None:
    assert PRESETS[name].target is None


def test_every_preset_is_listed_under_its_name_and_the_table_is_read_only() -> None:
    assert set(PRESETS) == {
        *("plain", "liteminer", "race", "gossip", "coordinator", "bitcoin", "peer")
    }
    assert all(name == preset.name and preset.summary for name, preset in PRESETS.items())
    with pytest.raises(TypeError):
        del PRESETS["plain"]  # type: ignore[attr-defined]
