"""Budgets: so much at once, so much a second, and never more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain.budget import Budget


def test_a_budget_is_full_at_first_and_fills_again() -> None:
    budget = Budget(rate=10.0, burst=5.0)
    assert [budget.spend(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not budget.spend(100.05)
    assert budget.spend(100.15)
    assert budget.left(200.0) == 5


def test_a_clock_may_begin_anywhere() -> None:
    budget = Budget(rate=1.0, burst=1.0)
    assert budget.spend(-500.0)
    assert not budget.spend(-499.5)
    assert budget.spend(-498.5)


def test_what_is_too_much_at_once_takes_nothing() -> None:
    budget = Budget(rate=1.0, burst=5.0)
    assert not budget.spend(0.0, 6)
    assert budget.spend(0.0, 5)


@given(
    st.floats(-1e6, 1e6),
    st.floats(0.1, 1000),
    st.floats(1, 100),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20))),
)
def test_no_pattern_of_asking_gets_more_than_the_rate_and_the_burst(
    began: float, rate: float, burst: float, asked: list[tuple[float, int]]
) -> None:
    budget, now, spent = Budget(rate, burst), began, 0
    for seconds, amount in asked:
        now += seconds
        spent += amount * budget.spend(now, amount)
        assert 0 <= budget.left(now) <= burst
    assert spent <= rate * (now - began) + burst + 1e-3
