"""What is hashed, how a digest is ranked, and when a proof may be believed."""

import hashlib
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.work.nonce import NONCE_COUNT_MAX, Decimal, NonceEncoding, Raw, SquareDifference
from nonsuch.work.puzzle import Proof, Puzzle
from nonsuch.work.target import TARGET_MAX, Target

Order = Literal["big", "little"]

ORDERS: st.SearchStrategy[Order] = st.sampled_from(["big", "little"])
DIGESTS = st.binary(min_size=32, max_size=32)
NONCES = st.integers(0, NONCE_COUNT_MAX - 1)
RAWS = st.builds(Raw, st.integers(1, 8), ORDERS)


# Nonces.


@given(NONCES)
def test_a_decimal_nonce_reads_back(nonce: int) -> None:
    text = Decimal().encode(nonce)
    assert int(text) == nonce
    assert text.isdigit()
    assert text == b"0" or not text.startswith(b"0")


@given(RAWS, st.data())
def test_a_raw_nonce_fills_its_field_and_reads_back(raw: Raw, data: st.DataObject) -> None:
    nonce = data.draw(st.integers(0, raw.count - 1))
    field = raw.encode(nonce)
    assert len(field) == raw.size
    assert int.from_bytes(field, raw.order) == nonce


def test_the_byte_order_of_a_raw_nonce() -> None:
    assert Raw(4, "big").encode(258) == b"\0\0\1\2"
    assert Raw(4, "little").encode(258) == b"\2\1\0\0"


@given(NONCES, NONCES)
def test_a_square_difference_is_written_with_its_sign(nonce: int, previous: int) -> None:
    text = SquareDifference(previous).encode(nonce)
    assert int(text) == nonce**2 - previous**2
    assert len(text) <= 40
    assert text.startswith(b"-") == (nonce < previous)


@pytest.mark.parametrize(
    ("encoding", "last"),
    [
        (Decimal(), 2**64 - 1),
        (Raw(1, "big"), 255),
        (Raw(4, "little"), 2**32 - 1),
        (Raw(8, "big"), 2**64 - 1),
        (SquareDifference(100), 2**64 - 1),
    ],
)
def test_every_nonce_up_to_the_last_fits_and_no_other(encoding: NonceEncoding, last: int) -> None:
    assert encoding.count == last + 1
    assert encoding.encode(0)
    assert encoding.encode(last)
    for nonce in (-1, last + 1):
        with pytest.raises(LocalError, match=rf"nonce {nonce} is outside \[0, {last}\]"):
            encoding.encode(nonce)


@pytest.mark.parametrize("size", [-1, 0, 9])
def test_a_raw_nonce_has_one_to_eight_bytes(size: int) -> None:
    with pytest.raises(LocalError, match=f"1 to 8 bytes, not {size}"):
        Raw(size, "big")


def test_a_raw_nonce_has_a_byte_order_by_name() -> None:
    with pytest.raises(LocalError, match='"big" or "little", not \'middle\''):
        Raw(4, "middle")  # type: ignore[arg-type]


@pytest.mark.parametrize("previous", [-1, 2**64])
def test_a_previous_proof_is_a_nonce_too(previous: int) -> None:
    with pytest.raises(LocalError, match=rf"{previous} is outside \[0, {2**64 - 1}\]"):
        SquareDifference(previous)


# Puzzles.


@given(st.binary(), st.binary(), RAWS, st.integers(0, 255))
def test_a_preimage_is_prefix_nonce_suffix(
    prefix: bytes, suffix: bytes, raw: Raw, nonce: int
) -> None:
    puzzle = Puzzle(prefix, raw, suffix)
    assert puzzle.preimage(nonce) == prefix + raw.encode(nonce) + suffix


def test_a_digest_is_sha256_of_the_preimage_once_or_twice() -> None:
    once = hashlib.sha256(b"ab7c").digest()
    twice = hashlib.sha256(once).digest()
    puzzle = Puzzle(b"ab", Decimal(), b"c")
    assert puzzle.digest(7) == once
    assert replace(puzzle, hash="sha256d").digest(7) == twice


@given(DIGESTS, ORDERS)
def test_a_rank_is_the_digest_read_in_the_puzzles_byte_order(digest: bytes, order: Order) -> None:
    puzzle = Puzzle(order=order)
    assert puzzle.rank(digest) == int.from_bytes(digest, order)
    assert puzzle.compared(digest) == puzzle.rank(digest)


@given(DIGESTS, ORDERS, st.integers(1, 256))
def test_only_the_leading_bits_count_and_stay_on_the_256_bit_scale(
    digest: bytes, order: Order, rank_bits: int
) -> None:
    puzzle = Puzzle(order=order, rank_bits=rank_bits)
    whole, rank = int.from_bytes(digest, order), puzzle.rank(digest)
    assert rank <= whole <= rank + 2 ** (256 - rank_bits) - 1
    assert rank == puzzle.compared(digest) << (256 - rank_bits)
    assert puzzle.compared(digest).bit_length() <= rank_bits


def test_digests_that_differ_only_in_bits_that_do_not_count_tie() -> None:
    puzzle = Puzzle(rank_bits=64)
    assert puzzle.rank(bytes(8) + b"\xff" * 24) == puzzle.rank(bytes(32)) == 0


def test_equal_puzzles_are_one_key() -> None:
    assert len({Puzzle(b"a"), Puzzle(b"a", Decimal()), Puzzle(b"b")}) == 2


@pytest.mark.parametrize("rank_bits", [0, 257])
def test_a_rank_has_one_to_256_bits(rank_bits: int) -> None:
    with pytest.raises(LocalError, match=f"1 to 256 bits, not {rank_bits}"):
        Puzzle(rank_bits=rank_bits)


def test_a_hash_that_no_network_uses_is_refused() -> None:
    with pytest.raises(LocalError, match='"sha256" or "sha256d", not \'md5\''):
        Puzzle(hash="md5")  # type: ignore[arg-type]


def test_a_puzzle_has_a_byte_order_by_name() -> None:
    with pytest.raises(LocalError, match='"big" or "little", not \'middle\''):
        Puzzle(order="middle")  # type: ignore[arg-type]


def test_a_nonce_too_large_for_its_field_has_no_preimage() -> None:
    with pytest.raises(LocalError, match=r"nonce 256 is outside \[0, 255\], all that its field"):
        Puzzle(nonce=Raw(1, "big")).preimage(256)


# Proofs.


@given(st.binary(), NONCES)
def test_an_honest_proof_verifies_against_its_own_rank_and_nothing_harder(
    prefix: bytes, nonce: int
) -> None:
    proof = Puzzle(prefix).prove(nonce)
    assert proof.verify()
    assert proof.verify(Target(TARGET_MAX))
    assert proof.verify(Target(proof.rank))
    assert not proof.verify(Target(proof.rank - 1))


@given(NONCES, st.integers(0, 255))
def test_one_flipped_bit_of_the_digest_is_noticed(nonce: int, bit: int) -> None:
    honest = Puzzle(b"message").prove(nonce)
    flipped = int.from_bytes(honest.digest, "big") ^ 1 << bit
    assert not replace(honest, digest=flipped.to_bytes(32, "big")).verify()


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(32), bytes(33)])
def test_a_digest_made_up_to_rank_low_is_not_believed(digest: bytes) -> None:
    assert not Proof(Puzzle(b"message"), 0, digest).verify(Target(TARGET_MAX))


def test_a_proof_for_another_puzzle_is_not_believed() -> None:
    proof = Puzzle(b"theirs").prove(7)
    assert not replace(proof, puzzle=Puzzle(b"ours")).verify()


@pytest.mark.parametrize(
    "nonce", [-1, 256, 2**64, 1 << 50_000], ids=["-1", "256", "2**64", "2**50000"]
)
def test_a_nonce_that_the_puzzle_has_no_room_for_is_false_not_an_error(nonce: int) -> None:
    honest = Puzzle(nonce=Raw(1, "big")).prove(0)
    assert not replace(honest, nonce=nonce).verify()


def test_the_lowest_proof_has_the_most_merit_and_of_equal_ranks_the_smallest_nonce() -> None:
    puzzle = Puzzle(rank_bits=64)
    low, high = bytes(32), b"\1" + bytes(31)
    tie = bytes(8) + b"\xff" * 24
    proofs = [Proof(puzzle, 1, high), Proof(puzzle, 9, low), Proof(puzzle, 4, tie)]
    ordered = sorted(proofs, key=lambda proof: proof.merit)
    assert [proof.nonce for proof in ordered] == [4, 9, 1]


def test_a_hexdigest_shows_the_most_significant_byte_first() -> None:
    digest = bytes(range(32))
    assert Proof(Puzzle(), 0, digest).hexdigest == digest.hex()
    assert Proof(Puzzle(order="little"), 0, digest).hexdigest == digest[::-1].hex()


@given(DIGESTS, ORDERS)
def test_a_hexdigest_is_the_whole_rank_in_hex(digest: bytes, order: Order) -> None:
    proof = Proof(Puzzle(order=order), 0, digest)
    assert int(proof.hexdigest, 16) == proof.rank
