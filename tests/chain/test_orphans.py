"""An `OrphanPool` under floods: bounded, indexed, and fair to those who take little."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nonsuch.chain.orphans import OrphanLimits, OrphanPool


class Toy(NamedTuple):
    """A block that is nothing but what a chain asks of one."""

    id: bytes
    parent: bytes
    size: int = 1
    work: int = 1


def name(number: int) -> bytes:
    return b"%d" % number


class WithinItsBounds(RuleBasedStateMachine):
    """Anything may come from anybody; a dictionary of what came and did not leave is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = OrphanLimits(count=6, bytes=40, per_source=4, seconds=10)
        self.pool: OrphanPool[Toy] = OrphanPool(self.limits)
        self.came: dict[bytes, tuple[Toy, int, float]] = {}
        self.now = 0.0

    @rule(
        number=st.integers(1, 30),
        back=st.integers(1, 3),
        size=st.integers(1, 45),
        source=st.integers(0, 3),
        seconds=st.sampled_from([0, 0, 1, 4]),
    )
    def add(self, number: int, back: int, size: int, source: int, seconds: int) -> None:
        self.now += seconds
        if name(number) in self.pool:
            return
        block = Toy(name(number), name(number - back), size)
        self.pool.add(block, source, self.now)
        self.came.pop(block.id, None)
        self.came[block.id] = (block, source, self.now)
        fits = self.pool.bytes + size <= self.limits.bytes and len(self.pool) < self.limits.count
        assert block.id in self.pool or not fits

    @rule(number=st.integers(0, 30))
    def take(self, number: int) -> None:
        waited = [block for block in self.here if block.parent == name(number)]
        taken = self.pool.take(name(number))
        assert [each.block for each in taken] == waited
        for each in taken:
            assert self.came[each.block.id] == (each.block, each.source, each.since)
        assert self.pool.take(name(number)) == []

    @rule(seconds=st.sampled_from([1, 9, 10]))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        waited = self.here
        self.pool.expire(self.now)
        late = [block for block in waited if self.came[block.id][2] + 10 <= self.now]
        assert self.here == [block for block in waited if block not in late]

    @property
    def here(self) -> list[Toy]:
        """What waits, in the order it came."""
        return [block for block, _, _ in self.came.values() if block.id in self.pool]

    @invariant()
    def agree(self) -> None:
        self.pool.check()
        here = self.here
        assert len(self.pool) == len(here)
        ids = {block.id for block in here}
        assert set(self.pool.missing()) == {block.parent for block in here} - ids


TestWithinItsBounds = WithinItsBounds.TestCase

HONEST, SHARE_COUNT, SHARE_BYTES = 0, 4, 40


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just(HONEST), st.integers(1, SHARE_BYTES // SHARE_COUNT)),
            st.tuples(st.integers(1, 2), st.integers(1, 130)),
        ),
        max_size=60,
    )
)
def test_who_takes_no_more_than_a_share_loses_nothing_to_floods(
    arrivals: list[tuple[int, int]],
) -> None:
    pool: OrphanPool[Toy] = OrphanPool(
        OrphanLimits(count=3 * SHARE_COUNT, bytes=3 * SHARE_BYTES, per_source=99)
    )
    honest: list[bytes] = []
    for number, (source, size) in enumerate(arrivals):
        if source == HONEST:
            if len(honest) == SHARE_COUNT:
                continue
            honest.append(name(number))
        pool.add(Toy(name(number), b"unknown", size), source, 0.0)
        pool.check()
        assert all(each in pool for each in honest)


def test_a_flood_pushes_out_its_own_oldest() -> None:
    pool: OrphanPool[Toy] = OrphanPool(OrphanLimits(per_source=3))
    pool.add(Toy(b"honest", b"gap"), 1, 0.0)
    for number in range(100):
        pool.add(Toy(name(number), b"gap"), 2, 0.0)
    assert [each.block.id for each in pool.take(b"gap")] == [b"honest", b"97", b"98", b"99"]


def test_a_crowd_of_sources_fills_the_pool_and_the_greediest_makes_room() -> None:
    pool: OrphanPool[Toy] = OrphanPool(OrphanLimits(count=4))
    for number, source in enumerate([1, 2, 2, 3, 4]):
        pool.add(Toy(name(number), b"gap"), source, 0.0)
    assert [each.block.id for each in pool.take(b"gap")] == [b"0", b"2", b"3", b"4"]


def test_large_blocks_do_not_push_out_many_small_ones() -> None:
    pool: OrphanPool[Toy] = OrphanPool(OrphanLimits(bytes=1000))
    for number in range(20):
        pool.add(Toy(name(number), b"small", 10), 1, 0.0)
    for number in range(20, 40):
        pool.add(Toy(name(number), b"large", 350), 2, 0.0)
    assert len(pool.take(b"small")) == 20
    assert [each.block.id for each in pool.take(b"large")] == [b"38", b"39"]


def test_a_block_larger_than_the_pool_is_not_kept_and_costs_nobody_a_place() -> None:
    pool: OrphanPool[Toy] = OrphanPool(OrphanLimits(bytes=100))
    pool.add(Toy(b"small", b"gap", 100), 1, 0.0)
    pool.add(Toy(b"large", b"gap", 101), 2, 0.0)
    assert b"small" in pool
    assert b"large" not in pool


def test_missing_are_the_parents_that_nobody_sent_the_latest_first() -> None:
    pool: OrphanPool[Toy] = OrphanPool()
    for child, parent in [(b"3", b"2"), (b"4", b"3"), (b"9", b"8"), (b"7", b"6"), (b"2", b"1")]:
        pool.add(Toy(child, parent), 1, 0.0)
    assert pool.missing() == [b"1", b"6", b"8"]
    assert pool.missing(2) == [b"1", b"6"]
    assert pool.missing(0) == pool.missing(-1) == []


def test_what_nobody_found_a_parent_for_is_forgotten_when_another_comes() -> None:
    pool: OrphanPool[Toy] = OrphanPool()
    pool.add(Toy(b"old", b"gap"), 1, 100.0)
    pool.add(Toy(b"young", b"gap"), 1, 159.0)
    assert len(pool) == 2
    pool.add(Toy(b"new", b"gap"), 1, 160.0)
    assert [each.block.id for each in pool.take(b"gap")] == [b"young", b"new"]
    assert pool.bytes == 0
