"""The shards of one job as a map: what became of which nonces, in rows that do not overlap.

Whatever is told of a range is painted over what was known of it. Rows that are cut keep what lies
outside. Telling the same of the same range again is the usual case and changes one row.

The number of rows is bounded: beyond `SPANS_MAX` neighbours of one state and node become one row;
where that is not enough those of one state; and in the end the oldest of all, which are the lowest,
go.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection

from nonsuch.web.rows import Shard, ShardState
from nonsuch.web.tables import Table, whole

__all__ = ["SPANS_MAX", "Spans"]

SPANS_MAX = 4_000
"""Rows of one job: more than a screen has columns."""

SPANS_LEFT = 3_000
"""So many at most are left when they are merged, so that it is not done for every new one."""


class _Span:
    """One row, with its bounds as numbers."""

    __slots__ = ("at", "node", "start", "state", "stop")

    def __init__(self, start: int, stop: int, state: ShardState, node: str, at: float) -> None:
        self.start = start
        self.stop = stop
        self.state: ShardState = state
        self.node = node
        self.at = at


class Spans:
    """The rows of one job in the table of all shards."""

    def __init__(self, job: str, table: Table[Shard]) -> None:
        self._job = job
        self._table = table
        self._starts: list[int] = []
        self._spans: dict[int, _Span] = {}

    def paint(
        self,
        start: int,
        stop: int,
        state: ShardState,
        node: str,
        at: float,
        over: Collection[ShardState],
    ) -> None:
        """This became of [start, stop): where nothing is known, and over rows of these states.

        Rows that tell of a later time stay.
        """
        same = self._spans.get(start)
        if same is not None and same.stop == stop:
            if same.state in over and same.at <= at:
                same.state, same.node, same.at = state, node, at
                self._show(same)
            return
        for low, high in self._free(start, stop, at, over):
            self._clear(low, high)
            self._insert(_Span(low, high, state, node, at))
        if len(self._starts) > SPANS_MAX:
            self._shrink()

    def drop(self, state: ShardState) -> None:
        """The rows of this state go."""
        for span in [span for span in self._spans.values() if span.state == state]:
            self._remove(span)

    def forget(self) -> None:
        """All rows go."""
        for start in self._starts:
            self._table.drop(self._key(start))
        self._starts.clear()
        self._spans.clear()

    def _touching(self, start: int, stop: int) -> list[_Span]:
        """The rows with a nonce in [start, stop), ascending."""
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._spans[self._starts[first]].stop <= start:
            first += 1
        last = bisect_left(self._starts, stop)
        return [self._spans[each] for each in self._starts[first:last]]

    def _free(
        self, start: int, stop: int, at: float, over: Collection[ShardState]
    ) -> list[tuple[int, int]]:
        """The parts of [start, stop) that may be painted."""
        parts, begin = [], start
        for span in self._touching(start, stop):
            if span.state not in over or span.at > at:
                parts.append((begin, span.start))
                begin = span.stop
        parts.append((begin, stop))
        return [(low, high) for low, high in parts if low < high]

    def _clear(self, start: int, stop: int) -> None:
        for span in self._touching(start, stop):
            self._remove(span)
            if span.start < start:
                self._insert(_Span(span.start, start, span.state, span.node, span.at))
            if span.stop > stop:
                self._insert(_Span(stop, span.stop, span.state, span.node, span.at))

    def _insert(self, span: _Span) -> None:
        if not self._starts or span.start > self._starts[-1]:
            self._starts.append(span.start)
        else:
            self._starts.insert(bisect_left(self._starts, span.start), span.start)
        self._spans[span.start] = span
        self._show(span)

    def _remove(self, span: _Span) -> None:
        del self._starts[bisect_left(self._starts, span.start)]
        del self._spans[span.start]
        self._table.drop(self._key(span.start))

    def _show(self, span: _Span) -> None:
        row = Shard(self._job, whole(span.start), whole(span.stop), span.state, span.node, span.at)
        self._table.put(self._key(span.start), row)

    def _key(self, start: int) -> str:
        return f"{self._job}:{start}"

    # Fewer rows.

    def _shrink(self) -> None:
        self._merge(lambda one, other: one.state == other.state and one.node == other.node)
        if len(self._starts) > SPANS_LEFT:
            self._merge(lambda one, other: one.state == other.state)
        for start in self._starts[: max(0, len(self._starts) - SPANS_LEFT)]:
            self._remove(self._spans[start])

    def _merge(self, alike: Callable[[_Span, _Span], bool]) -> None:
        """Make one of all neighbours that are alike and touch."""
        kept: list[_Span] = []
        grown: dict[int, _Span] = {}
        for start in self._starts:
            span = self._spans[start]
            if kept and kept[-1].stop == span.start and alike(kept[-1], span):
                last = kept[-1]
                last.stop, last.at = span.stop, max(last.at, span.at)
                last.node = last.node if last.node == span.node else ""
                grown[last.start] = last
                self._table.drop(self._key(start))
            else:
                kept.append(span)
        self._starts = [span.start for span in kept]
        self._spans = {span.start: span for span in kept}
        for span in grown.values():
            self._show(span)

    def _check(self) -> int:
        """Assert every invariant; return how many rows there are."""
        assert len(self._starts) <= SPANS_MAX
        assert self._starts == sorted(self._spans)
        before = None
        for start in self._starts:
            span = self._spans[start]
            assert span.start == start < span.stop
            assert before is None or before <= start, "rows that overlap"
            assert self._key(start) in self._table.rows
            before = span.stop
        return len(self._starts)
