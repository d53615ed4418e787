"""Each rule at its edge, and roots beside those of RFC 6962."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain import validation
from nonsuch.chain.validation import (
    InvalidBlock,
    check_genesis,
    check_parent,
    check_root,
    check_size,
    check_target,
    check_timestamp,
    check_unique,
    check_work,
    merkle_root,
)
from nonsuch.work.target import Target

RFC6962 = json.loads((Path(__file__).parents[1] / "data" / "rfc6962.json").read_text())
LEAVES = [bytes.fromhex(leaf) for leaf in RFC6962["leaves"]]

TARGET = Target(2**235)
NOW = 1_700_000_000


@pytest.mark.parametrize("count", range(len(RFC6962["roots"])))
def test_the_roots_are_those_of_rfc_6962(count: int) -> None:
    root = merkle_root(LEAVES[:count])
    assert root.hex() == RFC6962["roots"][count]
    check_root(root, LEAVES[:count])


def root_as_defined(leaves: Sequence[bytes]) -> bytes:
    """Section 2.1, word for word: split at the largest power of two below the number of leaves."""
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\x00" + leaf for leaf in leaves)).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = root_as_defined(leaves[:split]), root_as_defined(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@given(st.lists(st.binary(max_size=70), max_size=40))
def test_a_root_in_pairs_is_the_root_from_the_top(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == root_as_defined(leaves)


@given(st.lists(st.binary(max_size=3), max_size=9), st.lists(st.binary(max_size=3), max_size=9))
def test_two_lists_have_two_roots(one: list[bytes], other: list[bytes]) -> None:
    assert (merkle_root(one) == merkle_root(other)) is (one == other)


def test_a_repeated_end_changes_the_root() -> None:
    # In Bitcoin it does not: CVE-2012-2459.
    assert merkle_root([b"a", b"b", b"c"]) != merkle_root([b"a", b"b", b"c", b"c"])


def test_a_node_cannot_be_shown_as_a_leaf() -> None:
    halves = [merkle_root([b"a", b"b"]), merkle_root([b"c", b"d"])]
    root = merkle_root([b"a", b"b", b"c", b"d"])
    assert root not in (merkle_root(halves), merkle_root([b"".join(halves)]))


def test_blocks_that_just_keep_the_rules() -> None:
    check_work(TARGET.value, TARGET)
    check_target(Target(2**235), TARGET)
    check_genesis(b"genesis", b"genesis")
    check_parent(b"tip", b"tip")
    check_size(100, 100)
    check_unique([b"a", b"b"])
    check_timestamp(NOW + 7200, [], NOW)
    check_timestamp(NOW + 61, [NOW + 60], NOW, ahead_seconds_max=61)


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ("work", lambda: check_work(TARGET.value + 1, TARGET)),
        ("target", lambda: check_target(Target(2**235 + 1), TARGET)),
        ("genesis", lambda: check_genesis(b"another", b"genesis")),
        ("parent", lambda: check_parent(b"stale", b"tip")),
        ("root", lambda: check_root(merkle_root([b"a"]), [b"b"])),
        ("root", lambda: check_root(b"", [])),
        ("double", lambda: check_unique([b"a", b"b", b"a"])),
        ("size", lambda: check_size(101, 100)),
        ("old", lambda: check_timestamp(NOW, [NOW], NOW)),
        ("new", lambda: check_timestamp(NOW + 7201, [], NOW)),
        ("new", lambda: check_timestamp(10**5000, [], NOW)),
        ("old", lambda: check_timestamp(-(10**5000), [NOW], NOW)),
    ],
)
def test_a_block_that_just_breaks_a_rule(rule: str, check: Callable[[], None]) -> None:
    with pytest.raises(InvalidBlock) as raised:
        check()
    assert raised.value.rule == rule
    assert len(str(raised.value)) < 250


def test_every_rule_has_a_name_of_its_own() -> None:
    # Ledgers have rules of their own, and may have been imported.
    here = validation.__name__
    rules = [each for each in InvalidBlock.__subclasses__() if each.__module__ == here]
    assert len(rules) > 5
    assert {rule.__name__ for rule in rules} < set(validation.__all__)
    assert len({rule.rule for rule in rules} | {InvalidBlock.rule}) == len(rules) + 1


@pytest.mark.parametrize(
    ("past", "median"),
    [
        ([5], 5),
        ([9, 5], 9),
        ([1, 9, 5], 5),
        ([5] * 5 + [9] * 6, 9),
        ([5] * 6 + [9] * 5, 5),
        ([5] * 6 + [9] * 5 + [99] * 50, 5),
    ],
)
def test_a_block_is_later_than_the_median_of_the_last_eleven(past: list[int], median: int) -> None:
    check_timestamp(median + 1, past, NOW)
    with pytest.raises(validation.TimestampTooOld):
        check_timestamp(median, past, NOW)


def test_a_clock_that_is_wrong_costs_nobody_a_connection() -> None:
    with pytest.raises(validation.TimestampTooNew) as raised:
        check_timestamp(NOW, [], now_timestamp=0)
    assert raised.value.cost == 0
    assert validation.InsufficientWork.cost == 1000
