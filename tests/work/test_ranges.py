"""A `RangeSet` must be indistinguishable from a set of integers, except in what it costs."""

from collections.abc import Callable
from itertools import pairwise, takewhile
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nonsuch.work.ranges import RangeSet

UNIVERSE = 48
"""Small enough that random ranges collide, touch and swallow each other all the time."""

TOP = 2**64
"""One above the largest nonce."""


def a_range(limit: int = UNIVERSE) -> st.SearchStrategy[range]:
    ends = st.tuples(st.integers(0, limit), st.integers(0, limit))
    return ends.map(lambda pair: range(min(pair), max(pair)))


class BesideAPlainSet(RuleBasedStateMachine):
    """Do the same to a `RangeSet` and to a `set`, anywhere on the number line, and compare."""

    def __init__(self) -> None:
        super().__init__()
        self.base = 0
        self.ranges = RangeSet()
        self.numbers: set[int] = set()

    def shift(self, span: range) -> range:
        return range(self.base + span.start, self.base + span.stop)

    @initialize(base=st.sampled_from([0, -20, TOP - 20, 2**256]))
    def stand_somewhere(self, base: int) -> None:
        self.base = base

    @rule(span=a_range())
    def add(self, span: range) -> None:
        span = self.shift(span)
        self.ranges.add(span.start, span.stop)
        self.numbers |= set(span)

    @rule(span=a_range())
    def remove(self, span: range) -> None:
        span = self.shift(span)
        self.ranges.remove(span.start, span.stop)
        self.numbers -= set(span)

    @rule(count=st.integers(1, UNIVERSE))
    def take(self, count: int) -> None:
        taken = self.ranges.take(count)
        if taken is None:
            assert not self.numbers
            return
        lowest = min(self.numbers)
        run = takewhile(self.numbers.__contains__, range(lowest, lowest + count))
        assert list(taken) == list(run)
        self.numbers -= set(taken)

    @rule(span=a_range())
    def ask(self, span: range) -> None:
        span = self.shift(span)
        missing = [n for gap in self.ranges.gaps(span.start, span.stop) for n in gap]
        assert missing == [n for n in span if n not in self.numbers]
        assert self.ranges.covers(span.start, span.stop) == self.numbers.issuperset(span)

    @invariant()
    def holds_the_same_numbers(self) -> None:
        everywhere = self.shift(range(-1, UNIVERSE + 1))
        assert [n for n in everywhere if n in self.ranges] == sorted(self.numbers)
        assert [n for span in self.ranges for n in span] == sorted(self.numbers)
        assert self.ranges.total == len(self.numbers)
        assert bool(self.ranges) == bool(self.numbers)

    @invariant()
    def has_one_form(self) -> None:
        spans = list(self.ranges)
        assert len(self.ranges) == len(spans)
        assert all(span.start < span.stop for span in spans)
        assert all(left.stop < right.start for left, right in pairwise(spans))
        assert self.ranges == RangeSet(range(n, n + 1) for n in self.numbers)


BesideAPlainSet.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBesideAPlainSet = BesideAPlainSet.TestCase


@given(st.lists(a_range()), st.randoms(use_true_random=False))
def test_the_order_in_which_shards_come_back_does_not_matter(
    shards: list[range], chance: Random
) -> None:
    shuffled = list(shards)
    chance.shuffle(shuffled)
    assert RangeSet(shuffled) == RangeSet(shards)


@given(st.lists(a_range()), a_range())
def test_gaps_fill_a_range_exactly(done: list[range], job: range) -> None:
    nonces = RangeSet(done)
    for gap in list(nonces.gaps(job.start, job.stop)):
        assert gap
        nonces.add(gap.start, gap.stop)
    assert nonces.covers(job.start, job.stop)
    assert nonces == RangeSet([*done, job])


def test_a_job_of_all_64_bit_nonces_is_one_range() -> None:
    free = RangeSet([range(TOP)])
    assert (len(free), free.total) == (1, TOP)
    assert TOP - 1 in free
    assert TOP not in free
    assert -1 not in free
    assert free.covers(0, TOP)
    assert not free.covers(0, TOP + 1)


def test_the_last_nonce_of_64_bits_can_be_done_alone() -> None:
    done = RangeSet()
    done.add(TOP - 1, TOP)
    assert list(done) == [range(TOP - 1, TOP)]
    assert list(done.gaps(0, TOP)) == [range(TOP - 1)]
    done.add(0, TOP - 1)
    assert list(done) == [range(TOP)]


def test_a_hole_in_the_middle_splits_a_range_beyond_64_bits() -> None:
    free = RangeSet([range(2**200)])
    free.remove(TOP - 1, TOP + 1)
    assert list(free) == [range(TOP - 1), range(TOP + 1, 2**200)]
    assert free.total == 2**200 - 2
    assert list(free.gaps(0, 2**201)) == [range(TOP - 1, TOP + 1), range(2**200, 2**201)]


def test_leasing_cuts_shards_from_the_bottom_and_stops_at_a_hole() -> None:
    free = RangeSet([range(10), range(TOP - 2, TOP)])
    assert free.take(4) == range(4)
    assert free.take(100) == range(4, 10)
    assert free.take(2**70) == range(TOP - 2, TOP)
    assert free.take(1) is None
    assert not free


def test_a_lost_shard_goes_back_and_is_leased_first() -> None:
    free = RangeSet([range(100)])
    lost = free.take(10)
    assert lost == range(10)
    assert free.take(10) == range(10, 20)
    free.add(lost.start, lost.stop)
    assert free.take(50) == range(10)


def test_ranges_that_touch_become_one() -> None:
    done = RangeSet([range(10), range(20, 30)])
    done.add(10, 20)
    assert list(done) == [range(30)]


def test_ranges_that_miss_one_number_stay_two() -> None:
    assert list(RangeSet([range(10), range(11, 20)])) == [range(10), range(11, 20)]


def test_gaps_may_be_leased_while_they_are_listed() -> None:
    leased = RangeSet([range(3, 5)])
    found = []
    for gap in leased.gaps(0, 10):
        leased.add(gap.start, gap.stop)
        found.append(gap)
    assert found == [range(3), range(5, 10)]
    assert list(leased) == [range(10)]


def test_gaps_may_be_given_back_while_they_are_listed() -> None:
    leased = RangeSet([range(3, 5), range(7, 9)])
    gaps = leased.gaps(0, 10)
    assert next(gaps) == range(3)
    leased.remove(0, 10)
    assert list(gaps) == [range(3, 10)]


def test_an_empty_range_changes_nothing_and_is_covered() -> None:
    nonces = RangeSet([range(10)])
    nonces.add(20, 20)
    nonces.remove(5, 5)
    assert list(nonces) == [range(10)]
    assert nonces.covers(20, 20)
    assert list(nonces.gaps(20, 20)) == []


@pytest.mark.parametrize(
    "ask",
    [RangeSet().add, RangeSet().remove, RangeSet().covers, RangeSet().gaps],
    ids=["add", "remove", "covers", "gaps"],
)
def test_a_range_that_ends_before_it_starts_is_refused(ask: Callable[[int, int], object]) -> None:
    with pytest.raises(ValueError, match=r"ends at its start or after it; \[7, 3\) does not"):
        ask(7, 3)


def test_a_range_with_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ranges of step 1, not range\(0, 10, 2\)"):
        RangeSet([range(0, 10, 2)])


@pytest.mark.parametrize("count", [0, -1])
def test_taking_less_than_one_number_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 number or more, not {count}"):
        RangeSet([range(10)]).take(count)


def test_equality_is_about_the_numbers_only() -> None:
    assert RangeSet([range(5), range(5, 9)]) == RangeSet([range(9)])
    assert RangeSet([range(5)]) != RangeSet([range(6)])
    assert RangeSet([range(5)]) != {0, 1, 2, 3, 4}
    assert RangeSet() == RangeSet([range(3, 3)])


def test_a_set_that_can_change_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(RangeSet())


def test_the_repr_can_be_pasted_back() -> None:
    nonces = RangeSet([range(3), range(TOP - 1, TOP)])
    assert (
        repr(nonces) == "RangeSet([range(0, 3), range(18446744073709551615, 18446744073709551616)])"
    )
    assert repr(RangeSet()) == "RangeSet([])"
