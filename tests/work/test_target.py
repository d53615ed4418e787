"""Five ways to write one number, and the one predicate that compares with it."""

import json
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import LocalError
from nonsuch.work.target import DIFFICULTY_ONE, TARGET_MAX, Target

TARGETS = st.integers(0, 255).flatmap(lambda size: st.integers(2**size, 2 ** (size + 1) - 1))
"""Values of all sizes alike; uniform ones would nearly always have 256 bits."""


class CompactTarget(TypedDict):
    bits: str
    target: str
    canonical: str


class CompactRefusal(TypedDict):
    bits: str
    because: str


class CompactDifficulty(TypedDict):
    bits: str
    difficulty: float


class CompactTable(TypedDict):
    about: str
    targets: list[CompactTarget]
    refused: list[CompactRefusal]
    difficulties: list[CompactDifficulty]


def compact_table() -> CompactTable:
    path = Path(__file__).parents[1] / "data" / "compact_bits.json"
    table: CompactTable = json.loads(path.read_text())
    return table


COMPACT = compact_table()


@given(TARGETS)
def test_a_rank_equal_to_the_target_is_a_proof_and_the_next_is_not(value: int) -> None:
    target = Target(value)
    assert target.admits(value)
    assert target.admits(value - 1)
    assert target.admits(0)
    assert not target.admits(value + 1)


def test_the_easiest_target_admits_every_digest() -> None:
    assert Target(TARGET_MAX).admits(2**256 - 1)


def test_a_smaller_target_is_a_harder_one() -> None:
    easy, hard = Target.from_zero_digits(1), Target.from_zero_digits(2)
    assert hard < easy
    assert hard.work > easy.work
    assert hard.difficulty > easy.difficulty


@pytest.mark.parametrize("value", [0, -1, 2**256, 2**300])
def test_a_target_outside_its_range_is_refused(value: int) -> None:
    with pytest.raises(LocalError, match=r"must lie between 1 and 2\*\*256 - 1; .* does not"):
        Target(value)


def test_an_absurd_target_is_refused_without_printing_it() -> None:
    with pytest.raises(LocalError, match=r"a number of 50001 bits does not"):
        Target(1 << 50_000)


@pytest.mark.parametrize("value", [True, 1.5, "1", None])
def test_a_target_that_is_no_whole_number_is_refused(value: int) -> None:
    with pytest.raises(LocalError, match=f"a target is a whole number, not {value!r}"):
        Target(value)


def test_a_target_shows_as_64_hex_digits() -> None:
    assert str(Target(255)) == "0" * 62 + "ff"
    assert str(Target(TARGET_MAX)) == "f" * 64


# Compact bits.


@pytest.mark.parametrize("row", COMPACT["targets"], ids=lambda row: row["bits"])
def test_bits_stand_for_the_target_that_bitcoin_core_says(row: CompactTarget) -> None:
    target = Target.from_bits(int(row["bits"], 16))
    assert target.value == int(row["target"], 16)
    assert f"{target.bits:08x}" == row["canonical"]


@pytest.mark.parametrize("row", COMPACT["refused"], ids=lambda row: row["bits"])
def test_bits_that_no_block_may_have_are_refused(row: CompactRefusal) -> None:
    with pytest.raises(LocalError, match=f"bits 0x{row['bits']} encode a .*{row['because']}"):
        Target.from_bits(int(row["bits"], 16))


@pytest.mark.parametrize("bits", [-1, 2**32])
def test_bits_are_32_bits(bits: int) -> None:
    with pytest.raises(LocalError, match=r"compact bits are 32 bits; .* does not fit"):
        Target.from_bits(bits)


@given(st.integers(0, 2**32 - 1))
def test_any_bits_are_refused_or_become_canonical_without_changing_the_target(bits: int) -> None:
    try:
        target = Target.from_bits(bits)
    except LocalError:
        return
    assert Target.from_bits(target.bits) == target


@given(TARGETS)
def test_compact_form_rounds_down_by_less_than_one_part_in_2_to_the_15(value: int) -> None:
    rounded = Target.from_bits(Target(value).bits).value
    assert rounded <= value
    assert value - rounded <= value >> 15


@given(TARGETS)
def test_no_target_encodes_with_the_sign_bit(value: int) -> None:
    assert not Target(value).bits & 0x00800000


def test_compact_form_is_the_largest_that_is_not_above() -> None:
    assert Target(0x80).bits == 0x02008000
    assert Target(1).bits == 0x01010000
    assert Target(TARGET_MAX).bits == 0x2100FFFF
    assert Target(DIFFICULTY_ONE).bits == 0x1D00FFFF
    assert Target(DIFFICULTY_ONE - 1).bits == 0x1D00FFFE


# Zero digits.


@pytest.mark.parametrize("digits", range(64))
def test_zero_digits_admit_exactly_the_hashes_that_begin_with_them(digits: int) -> None:
    target = Target.from_zero_digits(digits)
    highest = "0" * digits + "f" * (64 - digits)
    assert str(target) == highest
    assert target.admits(int(highest, 16))
    assert not target.admits(int(highest, 16) + 1)
    assert target.work == 16**digits


@pytest.mark.parametrize("digits", [-1, 64])
def test_more_zero_digits_than_a_hash_can_have_are_refused(digits: int) -> None:
    with pytest.raises(LocalError, match=f"between 0 and 63; {digits} does not"):
        Target.from_zero_digits(digits)


# Difficulty.


@pytest.mark.parametrize("row", COMPACT["difficulties"], ids=lambda row: row["bits"])
def test_difficulty_is_the_ratio_to_bitcoins_easiest_target(row: CompactDifficulty) -> None:
    target = Target.from_bits(int(row["bits"], 16))
    assert target.difficulty == pytest.approx(row["difficulty"], rel=1e-13)


@given(st.integers(1, 2**208))
def test_a_whole_difficulty_gives_a_target_rounded_down(difficulty: int) -> None:
    value = Target.from_difficulty(Fraction(difficulty)).value
    assert value * difficulty <= DIFFICULTY_ONE < (value + 1) * difficulty


@given(st.floats(1e-9, 1e40))
def test_difficulty_survives_the_way_through_a_target(difficulty: float) -> None:
    assert Target.from_difficulty(difficulty).difficulty == pytest.approx(difficulty, rel=1e-15)


def test_a_difficulty_below_the_easiest_is_the_easiest_target() -> None:
    assert Target.from_difficulty(1e-300) == Target(TARGET_MAX)


@pytest.mark.parametrize("difficulty", [float("nan"), float("inf"), float("-inf")])
def test_a_difficulty_that_is_not_finite_is_refused(difficulty: float) -> None:
    with pytest.raises(LocalError, match=f"a difficulty is a finite number, not {difficulty}"):
        Target.from_difficulty(difficulty)


@pytest.mark.parametrize("difficulty", [0, 0.0, -1.5])
def test_a_difficulty_is_above_zero(difficulty: float) -> None:
    with pytest.raises(LocalError, match=r"a difficulty is above 0 and at most 2\*\*224"):
        Target.from_difficulty(difficulty)


def test_a_difficulty_that_no_digest_could_meet_is_refused() -> None:
    with pytest.raises(LocalError, match=r"above 0 and at most 2\*\*224"):
        Target.from_difficulty(1e300)


# Work.


def test_work_is_the_hashes_one_expects_to_try() -> None:
    assert Target(TARGET_MAX).work == 1
    assert Target(2**255 - 1).work == 2
    assert Target(2**255).work == 1
    assert Target(1).work == 2**255
    assert Target.from_bits(0x1D00FFFF).work == 0x100010001  # chainwork of the genesis block


@given(st.integers(1, 2**255))
def test_a_target_from_work_takes_at_least_that_work_and_the_next_easier_less(hashes: int) -> None:
    target = Target.from_work(hashes)
    assert target.work >= hashes
    if target.value < TARGET_MAX:
        assert (target.value + 2) * hashes > 2**256


@given(st.integers(1, 2**128))
def test_work_of_up_to_128_bits_survives_the_way_through_a_target(hashes: int) -> None:
    assert Target.from_work(hashes).work == hashes


@pytest.mark.parametrize("hashes", [0, -1])
def test_work_below_one_hash_is_refused(hashes: int) -> None:
    with pytest.raises(LocalError, match=f"1 to 2[*][*]255 hashes; {hashes} is not"):
        Target.from_work(hashes)


def test_work_that_no_target_could_ask_is_refused() -> None:
    with pytest.raises(LocalError, match=r"1 to 2\*\*255 hashes"):
        Target.from_work(2**256)


def test_numbers_too_long_to_print_are_refused_by_their_size() -> None:
    for make in (Target, Target.from_zero_digits, Target.from_work, Target.from_bits):
        with pytest.raises(LocalError, match="number of 20001 bits"):
            make(2**20000)
