"""A set of integers kept as ranges: which nonces of a job are done, which are free to lease.

A job may have 2**64 nonces or more, so nobody holds them one by one. But they are leased, scanned
and returned in runs, and runs that touch grow together: the state of a whole job is a handful of
ranges however long it has been going, about one for every shard that is out.

**Invariants.** Ranges are half-open, `range(start, stop)`, as everywhere in this package. They are
ascending, none is empty, and between two neighbours at least one number is missing: ranges that
overlap or only touch are merged at once. So one set of numbers has exactly one form, and two sets
are equal when their lists are.

**Storage.** Two sorted lists side by side, `_starts[i]` and `_stops[i]`. Because ranges do not
touch, both lists ascend strictly, and `bisect` on the one or the other finds the ranges that a
question concerns; a change then replaces one slice of each list. No tree: the slice assignment
moves the pointers behind it in one `memmove`, at thousands of ranges cheaper than any node.

**Cost**, with n ranges of which k are concerned: a question is O(log n), a change O(log n + k) and
that one move. No cost depends on how many numbers there are. Numbers may be of any size and sign;
therefore nothing here calls `len` on a range, which refuses one above `sys.maxsize`: say
`found.stop - found.start`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["RangeSet"]


class RangeSet:
    """A mutable set of integers, made from ranges and given back as ranges, ascending.

    Every method that takes a range takes `start, stop` and raises `ValueError` where start is above
    stop. An empty range (start equal to stop) adds and removes nothing, has no gaps, is covered.
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        """The union of `ranges`, in any order; they may overlap. Their steps must be 1."""
        self._starts: list[int] = []
        self._stops: list[int] = []
        for each in ranges:
            if each.step != 1:
                raise ValueError(f"a set of ranges takes ranges of step 1, not {each}")
            self.add(each.start, each.stop)

    def add(self, start: int, stop: int) -> None:
        """Put every number of [start, stop) into the set. O(log n + k), k ranges merged."""
        _check(start, stop)
        if start == stop:
            return
        first = bisect_left(self._stops, start)  # the first that ends at start or after it: touches
        last = bisect_right(self._starts, stop)  # past the last that begins at stop or before it
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def remove(self, start: int, stop: int) -> None:
        """Take every number of [start, stop) out, if it is in. O(log n + k), k ranges cut."""
        _check(start, stop)
        if start == stop:
            return
        first = bisect_right(self._stops, start)  # the first with a number at start or after it
        last = bisect_left(self._starts, stop)  # past the last with a number before stop
        if first >= last:
            return
        pieces = ((self._starts[first], start), (stop, self._stops[last - 1]))
        kept = [(low, high) for low, high in pieces if low < high]
        self._starts[first:last] = [low for low, _ in kept]
        self._stops[first:last] = [high for _, high in kept]

    def take(self, count: int) -> range | None:
        """Remove the lowest numbers, at most `count` and only from one range; return them.

        None when the set is empty. This is how a shard is cut from the free nonces. O(log n).
        Raises `ValueError` where `count` is below 1.
        """
        if count < 1:
            raise ValueError(f"take 1 number or more, not {count}")
        if not self._starts:
            return None
        taken = range(self._starts[0], min(self._starts[0] + count, self._stops[0]))
        self.remove(taken.start, taken.stop)
        return taken

    def covers(self, start: int, stop: int) -> bool:
        """Whether every number of [start, stop) is in the set. O(log n)."""
        _check(start, stop)
        if start == stop:
            return True
        found = self._find(start)
        return (
            found < len(self._starts)
            and self._starts[found] <= start
            and stop <= self._stops[found]
        )

    def gaps(self, start: int, stop: int) -> Iterator[range]:
        """The ranges of [start, stop) that are not in the set, ascending. O(log n) each.

        The set may be changed between one gap and the next: each is looked up when it is asked for.
        """
        _check(start, stop)  # now, not when the first gap is asked for
        return self._gaps(start, stop)

    def _gaps(self, start: int, stop: int) -> Iterator[range]:
        while start < stop:
            found = self._find(start)
            begins = self._starts[found] if found < len(self._starts) else stop
            if begins <= start:
                start = self._stops[found]
            else:
                end = min(begins, stop)
                yield range(start, end)
                start = end

    def _find(self, number: int) -> int:
        """The index of the first range that ends above `number`; it may begin above it too."""
        return bisect_right(self._stops, number)

    @property
    def total(self) -> int:
        """How many numbers are in the set. O(n)."""
        return sum(self._stops) - sum(self._starts)

    def __contains__(self, number: int) -> bool:
        """O(log n)."""
        return self.covers(number, number + 1)

    def __iter__(self) -> Iterator[range]:
        """The ranges, ascending. Do not change the set while it is iterated over."""
        return map(range, self._starts, self._stops)

    def __len__(self) -> int:
        """How many ranges there are, not how many numbers; that is `total`."""
        return len(self._starts)

    def __bool__(self) -> bool:
        """Whether there is any number in the set."""
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same numbers. O(n)."""
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"


def _check(start: int, stop: int) -> None:
    if start > stop:
        raise ValueError(f"a range ends at its start or after it; [{start}, {stop}) does not")
