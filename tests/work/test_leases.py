"""A `LeaseBook` beside plain sets: every nonce is free, leased or done, whatever happens."""

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nonsuch.work.leases import LeaseBook, Shard

UNIVERSE = 30
"""A job so small that shards touch, nest and are cut all the time."""

TOP = 2**64
"""One above the largest nonce."""

numbers = st.integers(0, UNIVERSE)


class BesidePlainSets(RuleBasedStateMachine):
    """Do the same to a `LeaseBook` and to sets of single nonces, and compare.

    The model knows no ranges, no queue and no frontier. It takes from the book which nonces a lease
    got, asserts that they were free, and predicts everything else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = 0
        self.book = LeaseBook(0, 0)
        self.stop = 0
        self.number = 0
        self.done: set[int] = set()
        self.shards: list[tuple[range, set[int]]] = []

    # The model.

    @property
    def job(self) -> set[int]:
        return set(range(self.base, self.stop))

    @property
    def out(self) -> set[int]:
        """The nonces of all shards that are leased, done or not."""
        return {nonce for span, _ in self.shards for nonce in span}

    @property
    def free(self) -> set[int]:
        return self.job - self.done - self.out

    @property
    def leases(self) -> list[int]:
        return sorted(number for _, holders in self.shards for number in holders)

    def shard_of(self, number: int) -> tuple[range, set[int]]:
        return next(shard for shard in self.shards if number in shard[1])

    def drop_lease(self, number: int) -> None:
        """One holder fewer; a shard that nobody holds is no shard any more."""
        shard = self.shard_of(number)
        shard[1].remove(number)
        if not shard[1]:
            self.shards.remove(shard)

    def choose(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(self.leases), label="lease")

    # What happens.

    @initialize(
        base=st.sampled_from([0, 7, TOP - UNIVERSE]),
        count=numbers,
        parts=st.lists(st.tuples(numbers, numbers), max_size=4),
    )
    def begin(self, base: int, count: int, parts: list[tuple[int, int]]) -> None:
        """A job, new or come back from disk with some of it done."""
        self.base, self.stop = base, base + count
        clipped = [(min(pair, default=0), min(count, max(pair))) for pair in parts]
        spans = [range(base + start, base + stop) for start, stop in clipped if start < stop]
        self.done = {nonce for span in spans for nonce in span}
        self.book = LeaseBook(base, self.stop, done=spans)

    @rule(count=st.integers(1, 12))
    def lease(self, count: int) -> None:
        self.number += 1
        free = self.free
        shard = self.book.lease(self.number, count)
        if shard is None:
            assert not free
            return
        span = range(shard.start, shard.stop)
        assert 1 <= shard.count <= count
        assert free.issuperset(span)
        self.shards.append((span, {self.number}))

    @precondition(lambda self: self.shards)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        of = self.choose(data)
        self.number += 1
        shard = self.book.copy(self.number, of)
        span, holders = self.shard_of(of)
        assert range(shard.start, shard.stop) == span
        holders.add(self.number)

    @precondition(lambda self: self.shards)
    @rule(data=st.data(), beyond=st.integers(0, 5))
    def finish(self, data: st.DataObject, beyond: int) -> None:
        """All of the shard, and some miners claim more than they were given."""
        number = self.choose(data)
        span, holders = self.shard_of(number)
        assert set(self.book.finish(number, span.stop + beyond)) == holders - {number}
        self.shards.remove((span, holders))
        self.done |= set(span)

    @precondition(lambda self: self.shards)
    @rule(data=st.data(), searched=st.integers(0, 11))
    def finish_partly(self, data: st.DataObject, searched: int) -> None:
        number = self.choose(data)
        span, _ = self.shard_of(number)
        stop = min(span.stop - 1, span.start + searched)
        assert self.book.finish(number, stop) == []
        self.drop_lease(number)
        self.done |= set(range(span.start, stop))

    @precondition(lambda self: self.shards)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        number = self.choose(data)
        self.book.give_back(number)
        self.drop_lease(number)

    @rule(start=numbers, count=numbers)
    def redo(self, start: int, count: int) -> None:
        start += self.base
        again = self.done & set(range(start, start + count))
        assert self.book.redo(start, start + count) == len(again)
        self.done -= again

    @precondition(lambda self: self.shards)
    @rule(data=st.data())
    def redo_under_a_lease(self, data: st.DataObject) -> None:
        """What one holder searched is not believed any more, while a copy is still out."""
        shard, _ = self.shard_of(self.choose(data))
        self.redo(shard.start - self.base, len(shard))

    @rule(stop=st.integers(-2, UNIVERSE + 2))
    def truncate(self, stop: int) -> None:
        stop += self.base
        void = set(self.book.truncate(stop))
        if stop >= self.stop:
            assert not void
            return
        self.stop = max(self.base, stop)
        behind = [holders for span, holders in self.shards if span.start >= self.stop]
        assert void == {number for holders in behind for number in holders}
        self.shards = [
            (range(span.start, min(span.stop, self.stop)), holders)
            for span, holders in self.shards
            if span.start < self.stop
        ]
        self.done &= self.job

    @rule(number=st.integers(1, 60))
    def come_late(self, number: int) -> None:
        """A lease that is not open earns nothing, and changes nothing."""
        if number in self.leases:
            return
        with pytest.raises(KeyError):
            self.book.finish(number, self.stop)
        with pytest.raises(KeyError):
            self.book.give_back(number)
        with pytest.raises(KeyError):
            self.book.copy(self.number + 1, number)

    @rule()
    def come_back_from_disk(self) -> None:
        """All leases are lost, and what is done is all that is remembered."""
        self.book = LeaseBook(self.base, self.stop, done=list(self.book.done))
        self.shards = []

    # What must hold.

    @invariant()
    def agrees(self) -> None:
        book = self.book
        book._check()
        assert (book.start, book.stop) == (self.base, self.stop)
        assert [nonce for span in book.done for nonce in span] == sorted(self.done)
        assert book.free == len(self.free)
        assert sorted(book.open) == self.leases
        for number, shard in book.open.items():
            span, holders = self.shard_of(number)
            assert range(shard.start, shard.stop) == span
            assert set(shard.leases) == holders
        assert book.finished == (self.done == self.job and not self.shards)

    def teardown(self) -> None:
        """Whatever happened, miners that do their work finish the job in as many leases."""
        book = self.book
        for number, shard in list(book.open.items()):
            if number in book.open:
                book.finish(number, shard.stop)
        for number in range(1000, 1000 + UNIVERSE + 1):
            found = book.lease(number, UNIVERSE)
            if found is None:
                break
            book.finish(number, found.stop)
        book._check()
        assert book.finished


BesidePlainSets.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None
)
TestBesidePlainSets = BesidePlainSets.TestCase


# Stories.


def span(shard: Shard | None) -> range | None:
    return None if shard is None else range(shard.start, shard.stop)


def leased(book: LeaseBook, *counts: int, first: int = 1) -> list[range | None]:
    """The shards of leases numbered from `first` on."""
    return [span(book.lease(number, count)) for number, count in enumerate(counts, start=first)]


def done(book: LeaseBook) -> list[range]:
    book._check()
    return list(book.done)


def finish_all(book: LeaseBook, numbers: Iterable[int]) -> None:
    for number in numbers:
        book.finish(number, book.open[number].stop)


def test_shards_are_cut_from_the_bottom_until_nothing_is_left() -> None:
    book = LeaseBook(100, 125)
    assert leased(book, 10, 10, 10, 10) == [
        range(100, 110),
        range(110, 120),
        range(120, 125),
        None,
    ]
    assert (book.free, book.finished) == (0, False)
    finish_all(book, [2, 3, 1])
    assert done(book) == [range(100, 125)]
    assert book.finished


def test_two_lost_shards_come_back_in_the_order_they_were_lost_before_anything_new() -> None:
    book = LeaseBook(0, 100)
    leased(book, 10, 10, 10)
    book.give_back(3)
    book.give_back(1)
    assert book.returned == 2
    assert leased(book, 10, 10, 10, first=4) == [range(20, 30), range(10), range(30, 40)]
    assert book.returned == 0


def test_a_returned_shard_that_is_too_large_is_split_and_keeps_its_place() -> None:
    book = LeaseBook(0, 100)
    leased(book, 10, 10)
    book.give_back(2)
    book.give_back(1)
    assert leased(book, 4, 4, 4, first=3) == [range(10, 14), range(14, 18), range(18, 20)]
    assert leased(book, 4, 50, 50, first=6) == [range(4), range(4, 10), range(20, 70)]


def test_a_returned_shard_that_is_too_small_is_leased_alone() -> None:
    book = LeaseBook(0, 100)
    leased(book, 3, 3)
    book.give_back(2)
    book.give_back(1)
    assert leased(book, 50, 50, 50, first=3) == [range(3, 6), range(3), range(6, 56)]


def test_what_was_cut_into_crumbs_is_returned_as_one() -> None:
    book = LeaseBook(0, 100)
    for number in range(20):
        assert book.lease(number, 5)
    for number in range(20):
        book.give_back(number)
    assert book.returned == 1
    assert leased(book, 50, 50, first=20) == [range(50), range(50, 100)]


def test_who_comes_first_wins_and_the_copy_is_void() -> None:
    book = LeaseBook(0, 10)
    leased(book, 10)
    book.copy(2, of=1)
    book.copy(3, of=2)
    assert list(book.open) == [1, 2, 3]
    assert book.finish(2, 10) == [1, 3]
    assert book.finished
    for late in (1, 2, 3):
        with pytest.raises(KeyError):
            book.finish(late, 10)
    assert done(book) == [range(10)]


def test_a_copied_shard_never_counts_twice() -> None:
    book = LeaseBook(0, 20)
    leased(book, 10)
    book.copy(2, of=1)
    assert book.free == 10
    assert book.finish(1, 6) == []
    assert done(book) == [range(6)]
    assert book.free == 10, "the copy still holds what is left"
    assert book.finish(2, 10) == []
    assert done(book) == [range(10)]
    assert book.free == 10


def test_a_shard_is_lost_only_when_its_last_holder_is() -> None:
    book = LeaseBook(0, 10)
    leased(book, 10)
    book.copy(2, of=1)
    book.give_back(1)
    assert (book.free, book.returned) == (0, 0)
    book.give_back(2)
    assert (book.free, book.returned) == (10, 1)
    assert leased(book, 10, first=3) == [range(10)]


def test_what_a_holder_searched_is_not_leased_again_when_the_copy_is_lost() -> None:
    book = LeaseBook(0, 10)
    leased(book, 10)
    book.copy(2, of=1)
    book.finish(1, 7)
    book.give_back(2)
    assert leased(book, 10, 10, first=3) == [range(7, 10), None]


def test_a_copy_that_searched_less_takes_nothing_away() -> None:
    book = LeaseBook(0, 10)
    leased(book, 10)
    book.copy(2, of=1)
    book.finish(1, 7)
    book.finish(2, 3)
    assert done(book) == [range(7)]
    assert leased(book, 10, 10, first=3) == [range(7, 10), None]


def test_a_partial_result_counts_and_the_rest_is_free() -> None:
    book = LeaseBook(0, 30)
    leased(book, 10)
    assert book.finish(1, 4) == []
    assert done(book) == [range(4)]
    assert (book.free, book.returned) == (26, 1)
    assert leased(book, 10, 10, first=2) == [range(4, 10), range(10, 20)]


@pytest.mark.parametrize("stop", [0, 5, 10])
def test_a_result_of_nothing_is_a_lost_lease(stop: int) -> None:
    """A result may end at its start, or be said to end before it."""
    book = LeaseBook(0, 20)
    leased(book, 10, 10)
    assert book.finish(2, stop) == []
    assert done(book) == []
    assert leased(book, 10, first=3) == [range(10, 20)]


def test_nobody_is_paid_for_more_than_the_shard() -> None:
    book = LeaseBook(0, 30)
    leased(book, 10)
    book.finish(1, 25)
    assert done(book) == [range(10)]
    assert leased(book, 10, first=2) == [range(10, 20)]


def test_what_is_done_again_goes_behind_what_was_lost() -> None:
    book = LeaseBook(0, 40)
    leased(book, 10, 10, 10)
    finish_all(book, [1, 2])
    book.give_back(3)
    assert book.redo(5, 15) == 10
    assert done(book) == [range(5), range(15, 20)]
    assert leased(book, 10, 10, 10, first=4) == [range(20, 30), range(5, 15), range(30, 40)]


def test_only_what_was_done_is_done_again() -> None:
    book = LeaseBook(0, 40)
    leased(book, 10, 10, 10)
    finish_all(book, [1, 3])
    assert book.redo(0, 100) == 20
    assert book.redo(0, 100) == 0
    assert done(book) == []
    assert (book.free, book.returned) == (30, 2)
    assert leased(book, 50, 50, 50, first=4) == [range(10), range(20, 30), range(30, 40)]


def test_done_again_under_a_copy_that_is_still_out() -> None:
    """A holder of a copied shard left early, and is caught cheating while the copy is out."""
    book = LeaseBook(0, 10)
    leased(book, 10)
    book.copy(2, of=1)
    book.finish(1, 5)
    assert book.redo(0, 5) == 5
    book._check()
    assert book.free == 0, "the copy's holder searches all of it anyway"
    book.finish(2, 10)
    assert done(book) == [range(10)]
    assert book.finished


def test_truncate_voids_leases_behind_and_cuts_the_one_across() -> None:
    book = LeaseBook(0, 100)
    leased(book, 10, 10, 10, 10)
    book.copy(5, of=3)
    book.copy(6, of=2)
    book.give_back(4)
    assert book.truncate(15) == [3, 5]
    assert (book.stop, book.free, book.returned) == (15, 0, 0)
    assert span(book.open[2]) == span(book.open[6]) == range(10, 15)
    assert leased(book, 10, first=7) == [None]
    finish_all(book, [1])
    assert book.finish(2, 20) == [6]
    assert done(book) == [range(15)]
    assert book.finished


def test_truncate_forgets_what_was_done_behind_and_cuts_what_was_lost_across() -> None:
    book = LeaseBook(0, 100)
    leased(book, 10, 10, 10)
    finish_all(book, [3])
    book.give_back(2)
    assert book.truncate(12) == []
    assert done(book) == []
    assert (book.free, book.returned) == (2, 1)
    assert leased(book, 10, first=4) == [range(10, 12)]


def test_truncate_never_moves_the_end_back_out() -> None:
    book = LeaseBook(10, 50)
    assert book.truncate(50) == []
    assert book.truncate(20) == []
    assert book.truncate(30) == []
    assert book.stop == 20
    assert book.truncate(0) == []
    assert (book.start, book.stop, book.free) == (10, 10, 0)
    assert book.finished


def test_restored_with_holes_the_holes_come_first() -> None:
    book = LeaseBook(0, 100, done=[range(10, 20), range(30, 40)])
    book._check()
    assert (book.free, book.returned) == (80, 2)
    assert leased(book, 50, 50, 50) == [range(10), range(20, 30), range(40, 90)]


def test_restored_with_its_end_done_it_has_no_frontier() -> None:
    book = LeaseBook(0, 30, done=[range(20, 30)])
    assert leased(book, 50, 50) == [range(20), None]
    finish_all(book, [1])
    assert book.finished


def test_restored_with_all_done_it_is_finished() -> None:
    assert LeaseBook(5, 30, done=[range(5, 20), range(20, 30)]).finished


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (9, 9), (9, 3), (TOP, TOP)])
def test_an_empty_job_is_finished(start: int, stop: int) -> None:
    book = LeaseBook(start, stop)
    assert book.finished
    assert book.lease(1, 10) is None
    assert book.truncate(start) == []
    assert book.redo(start, start + 10) == 0
    book._check()


def test_all_64_bit_nonces() -> None:
    book = LeaseBook(0, TOP)
    assert book.free == TOP
    assert leased(book, 2**56, 2**63, TOP) == [
        range(2**56),
        range(2**56, 2**56 + 2**63),
        range(2**56 + 2**63, TOP),
    ]
    finish_all(book, [1, 3])
    book.give_back(2)
    book._check()
    assert book.free == 2**63
    assert leased(book, TOP, first=4) == [range(2**56, 2**56 + 2**63)]
    book.finish(4, 2**57)
    assert done(book) == [range(2**57), range(2**56 + 2**63, TOP)]
    assert book.redo(TOP - 1, TOP) == 1
    assert book.truncate(TOP - 1) == []
    assert leased(book, TOP, TOP, first=5) == [range(2**57, 2**56 + 2**63), None]
    finish_all(book, [5])
    assert book.finished
    assert done(book) == [range(TOP - 1)]


def test_a_shard_says_what_it_is() -> None:
    shard = LeaseBook(0, 10).lease(7, 4)
    assert shard is not None
    assert (shard.start, shard.stop, shard.leases, shard.count) == (0, 4, [7], 4)
