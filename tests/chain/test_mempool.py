"""A `Mempool` beside a plain list: first come, first served, within its bounds."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nonsuch.chain.mempool import (
    Mempool,
    MempoolFull,
    TransactionKnown,
    TransactionRefused,
)

COUNT_MAX, BYTES_MAX = 4, 20

keys = st.integers(0, 11)
sizes = st.integers(1, 9)


class BesideAList(RuleBasedStateMachine):
    """The model is a list of (key, size); the transaction of key 3 is "3"."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Mempool[int, str] = Mempool(COUNT_MAX, BYTES_MAX)
        self.waiting: list[tuple[int, int]] = []

    @property
    def waiting_keys(self) -> list[int]:
        return [key for key, _ in self.waiting]

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.waiting)

    @rule(key=keys, size=sizes)
    def add(self, key: int, size: int) -> None:
        known = key in self.waiting_keys
        full = len(self.waiting) >= COUNT_MAX or self.bytes + size > BYTES_MAX
        try:
            self.pool.add(key, str(key), size)
        except TransactionKnown:
            assert known
        except MempoolFull:
            assert full
            assert not known
        else:
            assert not full
            assert not known
            self.waiting.append((key, size))

    @rule(chosen=st.lists(keys, max_size=6))
    def confirm(self, chosen: list[int]) -> None:
        self.pool.confirm(chosen)
        self.waiting = [each for each in self.waiting if each[0] not in chosen]

    @rule(items=st.lists(st.tuples(keys, sizes), max_size=6))
    def restore(self, items: list[tuple[int, int]]) -> None:
        front: list[tuple[int, int]] = []
        for key, size in items:
            if key in self.waiting_keys or key in [held for held, _ in front]:
                continue
            front.append((key, size))
        assert self.pool.restore([(key, str(key), size) for key, size in items]) == len(front)
        self.waiting = front + self.waiting

    @invariant()
    def agree(self) -> None:
        transactions = [str(key) for key in self.waiting_keys]
        assert list(self.pool) == transactions
        assert self.pool.first(2) == transactions[:2]
        assert len(self.pool) == len(self.waiting)
        assert self.pool.bytes == self.bytes
        for key in range(12):
            assert (key in self.pool) is (key in self.waiting_keys)
            assert self.pool.get(key) == (str(key) if key in self.waiting_keys else None)


TestBesideAList = BesideAList.TestCase


def full_pool() -> Mempool[str, str]:
    pool: Mempool[str, str] = Mempool(3, 100)
    for key in "abc":
        pool.add(key, key.upper(), 1)
    return pool


def test_a_block_takes_the_first_and_a_reorganization_brings_them_back_to_the_front() -> None:
    pool = full_pool()
    assert pool.first(2) == ["A", "B"]
    pool.confirm(["a", "b", "never seen"])
    pool.add("d", "D", 1)
    assert pool.restore([("a", "A", 1), ("b", "B", 1)]) == 2
    assert list(pool) == ["A", "B", "C", "D"]
    with pytest.raises(MempoolFull):
        pool.add("e", "E", 1)


def test_what_a_reorganization_brings_back_is_never_lost() -> None:
    pool = full_pool()
    assert pool.restore((str(number), str(number), 1) for number in range(1000)) == 1000
    assert list(pool) == [*map(str, range(1000)), "A", "B", "C"]
    with pytest.raises(MempoolFull):
        pool.add("x", "X", 1)


def test_a_transaction_larger_than_the_pool_is_refused() -> None:
    pool: Mempool[str, str] = Mempool(3, 100)
    pool.add("a", "A", 100)
    with pytest.raises(MempoolFull, match="100 of 100 bytes"):
        pool.add("b", "B", 10**5000)


def test_asking_for_more_or_for_less_than_nothing() -> None:
    assert full_pool().first(9) == ["A", "B", "C"]
    assert full_pool().first(0) == full_pool().first(-1) == []


def test_gossip_brings_what_is_known_and_nobody_pays_for_it() -> None:
    pool = full_pool()
    with pytest.raises(TransactionRefused) as raised:
        pool.add("a", "A", 1)
    assert raised.value.cost == 0
