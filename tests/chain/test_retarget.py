"""The next target: by the sources' own vectors, and never a surprise, whatever the timestamps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain.retarget import Asert, Fixed, Periodic, Retarget, _power_of_two
from nonsuch.errors import LocalError
from nonsuch.work.target import DIFFICULTY_ONE, TARGET_MAX, Target


class BitcoinRow(TypedDict):
    about: str
    first: int
    height: int
    last: int
    bits: str
    next: str


class AsertRun(TypedDict):
    about: str
    height: int
    parent: int
    bits: str
    rows: list[tuple[int, int, str]]


class Table(TypedDict):
    about: str
    bitcoin: list[BitcoinRow]
    asert: list[AsertRun]


def table() -> Table:
    path = Path(__file__).parents[1] / "data" / "retarget.json"
    found: Table = json.loads(path.read_text())
    return found


VECTORS = table()
MAINNET = Target(2**224 - 1)
HARD, EASY = Target(2**190), Target(2**200)


@dataclass(frozen=True)
class Block:
    timestamp: int
    target: Target


def branch(*blocks: Block) -> Callable[[int], Block]:
    """Of a chain whose last blocks these are, whatever their heights: index from its end."""
    return lambda height: blocks[height]


def one(timestamp: int, target: Target = EASY) -> Callable[[int], Block]:
    """A branch all of whose blocks are alike."""
    return lambda _: Block(timestamp, target)


def anchored(anchor_target: Target = HARD, anchor_height: int = 0, **seconds: int) -> Asert:
    return Asert(MAINNET, anchor_target, 0, anchor_height, **seconds)


# The sources' own vectors.


@pytest.mark.parametrize("row", VECTORS["bitcoin"], ids=lambda row: row["about"])
def test_bitcoin_retargets_as_its_own_tests_say(row: BitcoinRow) -> None:
    asked: list[int] = []

    def ancestor(height: int) -> Block:
        asked.append(height)
        timestamp = row["last"] if height == row["height"] else row["first"]
        return Block(timestamp, Target.from_bits(int(row["bits"], 16)))

    target = Periodic(MAINNET).next_target(row["height"] + 1, ancestor)
    assert f"{target.bits:08x}" == row["next"]
    assert asked == [row["height"], row["height"] - 2015], "a period has 2015 intervals"


@pytest.mark.parametrize("run", VECTORS["asert"], ids=lambda run: run["about"])
def test_asert_retargets_as_its_specification_says(run: AsertRun) -> None:
    anchor = Target.from_bits(int(run["bits"], 16))
    rule = Asert(MAINNET, anchor, run["parent"], run["height"])
    for height, timestamp, expected in run["rows"]:
        target = rule.next_target(height + 1, one(timestamp))
        assert f"{target.bits:08x}" == expected


# What each rule promises.


def test_a_fixed_target_asks_for_no_ancestor() -> None:
    assert Fixed(HARD).next_target(7, branch()) == HARD


def test_within_a_period_targets_are_the_parents() -> None:
    rule = Periodic(EASY, period=4, spacing_seconds=10)
    blocks = branch(Block(0, HARD), Block(1, HARD), Block(10**9, HARD))
    assert rule.next_target(0, branch()) == EASY
    assert [rule.next_target(height, blocks) for height in (1, 2, 3)] == [HARD] * 3


def test_a_period_at_the_right_pace_is_made_a_little_harder_by_the_off_by_one() -> None:
    rule = Periodic(EASY, period=4, spacing_seconds=10)
    blocks = branch(*(Block(10 * height, HARD) for height in range(4)))
    assert rule.next_target(4, blocks) == Target(HARD.value * 3 // 4)


@pytest.mark.parametrize("rule", [Fixed(HARD), Periodic(HARD), anchored(HARD)], ids=repr)
def test_a_chain_can_begin(rule: Retarget) -> None:
    assert rule.next_target(0, branch()) == HARD


def test_asert_doubles_with_every_half_life_late_and_halves_with_every_one_early() -> None:
    rule = anchored(spacing_seconds=10, half_life_seconds=100)
    on_time = 70
    for half_lives in range(-20, 21):
        target = rule.next_target(7, one(on_time + 100 * half_lives))
        assert Fraction(target.value, HARD.value) == Fraction(2) ** half_lives


def test_asert_truncates_towards_zero() -> None:
    # Late by 1 s of 10**9: 65536 / 10**9 is below one step of the exponent, on either side.
    rule = anchored(spacing_seconds=1, half_life_seconds=10**9)
    assert rule.next_target(5, one(4)) == rule.next_target(5, one(6)) == HARD


def test_the_cubic_rises_and_is_close_and_never_reaches_the_next_power() -> None:
    powers = [_power_of_two(fraction) for fraction in range(1 << 16)]
    assert powers == sorted(powers)
    assert powers[0] == 1 << 16
    assert powers[-1] <= 1 << 17
    worst = max(abs(p / 2 ** (16 + f / 2**16) - 1) for f, p in enumerate(powers))
    assert worst < 0.00013, "the specification's claim"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Periodic(EASY, period=1), "2 blocks or more"),
        (lambda: Periodic(EASY, spacing_seconds=0), "a spacing is 1 second or more, not 0"),
        (lambda: anchored(spacing_seconds=0), "a spacing is 1 second"),
        (lambda: anchored(half_life_seconds=-5), "a half life is 1 second or more, not -5"),
        (lambda: anchored(anchor_height=-1), "height of 0 or more"),
        (lambda: Asert(HARD, EASY, 0), "not above the limit"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(LocalError, match=reason):
        make()


# Whatever the timestamps.

TARGETS = st.integers(0, 255).flatmap(lambda size: st.integers(2**size, 2 ** (size + 1) - 1))
SECONDS = st.integers(-(2**40), 2**40) | st.integers()
HEIGHTS = st.integers(0, 2**70)
RULES = (
    st.builds(Fixed, TARGETS.map(Target))
    | st.builds(Periodic, TARGETS.map(Target), st.integers(2, 5000), st.integers(1, 10**6))
    | TARGETS.flatmap(
        lambda limit: st.builds(
            Asert,
            st.just(Target(limit)),
            st.integers(1, limit).map(Target),
            SECONDS,
            HEIGHTS,
            st.integers(1, 10**6),
            st.integers(1, 10**9),
        )
    )
)


@given(RULES, st.integers(1, 2**70), SECONDS, SECONDS, TARGETS)
def test_every_branch_has_a_next_target_within_the_limit(
    rule: Fixed | Periodic | Asert, height: int, parent: int, elder: int, value: int
) -> None:
    limit = rule.target if isinstance(rule, Fixed) else rule.limit
    before = Target(min(value, limit.value))

    def ancestor(asked: int) -> Block:
        assert 0 <= asked < height
        return Block(parent if asked == height - 1 else elder, before)

    found = rule.next_target(height, ancestor)
    assert 1 <= found.value <= limit.value
    if isinstance(rule, Periodic):
        quarter = Target(max(1, before.value // 4))
        assert found >= Target.from_bits(quarter.bits)
        assert found.value <= before.value * 4


@given(RULES, st.integers(1, 2**40), SECONDS, SECONDS, st.integers(0, 2**40))
def test_a_later_block_never_makes_the_next_harder(
    rule: Retarget, height: int, elder: int, parent: int, later: int
) -> None:
    def after(timestamp: int) -> Target:
        return rule.next_target(
            height, lambda asked: Block(timestamp if asked == height - 1 else elder, EASY)
        )

    assert after(parent) <= after(parent + later)


@given(TARGETS, st.integers(1, 2**30), st.integers(-(2**28), 2**28), st.integers(1, 2**20))
def test_asert_is_the_exponential_it_approximates(
    value: int, height: int, late_seconds: int, half_life_seconds: int
) -> None:
    """Held against exact powers: off by the cubic, the last place and the rounding of bits."""
    limit = Target(TARGET_MAX)
    rule = Asert(limit, Target(value), 0, 0, 1, half_life_seconds)
    found = rule.next_target(height, one(height + late_seconds)).value
    if 2**16 < found < 2**255:
        exact = 2.0 ** (late_seconds / half_life_seconds % 1)
        whole = Fraction(2) ** (late_seconds // half_life_seconds)
        assert float(Fraction(found, value) / whole) == pytest.approx(exact, rel=0.0002 + 2**-7)


def test_the_limit_is_what_its_bits_can_say() -> None:
    assert anchored(MAINNET).next_target(0, branch()) == Target(DIFFICULTY_ONE)
