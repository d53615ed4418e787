"""Shares are all of them and nothing else, by kernel and by hashlib, with any threads."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonsuch.search.halt import Halt
from nonsuch.search.searcher import KERNEL_WORTH_NONCES, Outcome, Progress, Searcher, search
from nonsuch.work import presets
from nonsuch.work.goals import Shares
from nonsuch.work.nonce import Decimal, Raw, SquareDifference
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.shares import SHARES_EXPECTED, check_shares, share_limit
from nonsuch.work.target import TARGET_MAX, Target

exact = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PUZZLES = [
    presets.plain(b"shares of a plain puzzle "),
    presets.liteminer(b"shares"),
    presets.bitcoin(bytes(range(80))),
    presets.gossip(b"shares"),
    presets.peer(33),
    Puzzle(b"", Raw(3, "big"), b"; and what follows", order="little", rank_bits=64),
    Puzzle(b"tiny ranks", Decimal(), rank_bits=6),
    Puzzle(bytes(61), Raw(2, "little"), hash="sha256d", order="little", rank_bits=1),
]

EVERYTHING = Target(TARGET_MAX)
NEVER = KERNEL_WORTH_NONCES * 10**9
ALWAYS = 1

limits = st.one_of(
    st.integers(0, 12).map(lambda bits: Target(2 ** (256 - bits) - 1)),
    st.integers(244, 256).map(lambda bits: Target(max(1, 2**bits - 2))),
)
"""From every nonce to one of some thousands, and a little beside round numbers."""


@st.composite
def ranges(draw: st.DrawFn, puzzle: Puzzle) -> range:
    """Up to 2,500 nonces anywhere in the field, often across a change of digits."""
    count = puzzle.nonce.count
    around = st.integers(0, 19).map(lambda digits: max(0, min(count, 10**digits - 1_000)))
    start = draw(st.one_of(st.integers(0, count), around))
    return range(start, min(count, start + draw(st.integers(0, 2_500))))


def brute_force(puzzle: Puzzle, nonces: range, goal: Shares) -> tuple[list[int], int | None]:
    """The shares, and the nonce that ends the search."""
    shares = []
    for nonce in nonces:
        rank = puzzle.prove(nonce).rank
        if goal.limit.admits(rank):
            shares.append(nonce)
        if goal.until is not None and goal.until.admits(rank):
            return shares, nonce
    return shares, None


def assert_equal(puzzle: Puzzle, nonces: range, goal: Shares, outcome: Outcome) -> None:
    shares, end = brute_force(puzzle, nonces, goal)
    assert list(outcome.shares) == shares
    assert outcome.proof == (None if end is None else puzzle.prove(end))
    assert outcome.ended_early == (end is not None)
    assert not outcome.stopped
    assert outcome.covered.covers(nonces.start, nonces.stop if end is None else end + 1)


@exact
@given(
    st.sampled_from(PUZZLES),
    limits,
    st.none() | limits,
    st.integers(1, 3),
    st.sampled_from([ALWAYS, ALWAYS, NEVER]),
    st.data(),
)
def test_shares_are_brute_forces_shares(
    level: str,
    puzzle: Puzzle,
    limit: Target,
    until: Target | None,
    threads: int,
    kernel_worth_nonces: int,
    data: st.DataObject,
) -> None:
    """`until` may be easier than the limit, harder, or as hard."""
    nonces = data.draw(ranges(puzzle))
    goal = Shares(limit, until)
    searcher = Searcher(
        puzzle, nonces, goal, threads=threads, kernel_worth_nonces=kernel_worth_nonces
    )
    assert_equal(puzzle, nonces, goal, searcher.run())


MANY_STRIPES = range(1_500_000, 1_800_000)
"""More than several threads take at once."""


@pytest.fixture(scope="module")
def ranks() -> dict[int, int]:
    return {nonce: PUZZLES[0].prove(nonce).rank for nonce in MANY_STRIPES}


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_agree_on_the_shares_of_many_stripes(
    level: str, threads: int, ranks: dict[int, int]
) -> None:
    puzzle, limit = PUZZLES[0], share_limit(len(MANY_STRIPES))
    shares = [nonce for nonce, rank in ranks.items() if limit.admits(rank)]
    assert 10 < len(shares) < 80
    outcome = search(puzzle, MANY_STRIPES, Shares(limit), threads=threads)
    assert list(outcome.shares) == shares
    assert outcome.proof is None
    assert list(outcome.covered) == [MANY_STRIPES]
    best = check_shares(puzzle, shares, MANY_STRIPES.start, MANY_STRIPES.stop, limit)
    assert outcome.best is not None
    assert outcome.best.merit == best


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("which", [0, 7])
def test_shares_end_with_the_first_that_until_admits(
    kernel_level: str, threads: int, which: int, ranks: dict[int, int]
) -> None:
    """Exactly one nonce meets `until`, or it is as easy as the limit."""
    puzzle, limit = PUZZLES[0], share_limit(len(MANY_STRIPES))
    shares = [nonce for nonce, rank in ranks.items() if limit.admits(rank)]
    last = shares[which]
    until = Target(ranks[last])
    expected = next(nonce for nonce in shares if until.admits(ranks[nonce]))
    outcome = search(puzzle, MANY_STRIPES, Shares(limit, until), threads=threads)
    assert outcome.proof == puzzle.prove(expected)
    assert list(outcome.shares) == [nonce for nonce in shares if nonce <= expected]
    assert outcome.ended_early
    assert not outcome.stopped


def test_an_easier_until_is_found_though_it_is_no_share() -> None:
    puzzle, nonces = PUZZLES[0], range(5_000)
    goal = Shares(Target.from_work(4_000), Target.from_work(100))
    shares, end = brute_force(puzzle, nonces, goal)
    assert end is not None
    assert end not in shares
    for worth in (ALWAYS, NEVER):
        outcome = Searcher(puzzle, nonces, goal, kernel_worth_nonces=worth).run()
        assert_equal(puzzle, nonces, goal, outcome)


def test_of_a_tiny_shard_every_nonce_is_a_share() -> None:
    for puzzle in PUZZLES:
        outcome = search(puzzle, range(90, 110), Shares(EVERYTHING))
        assert outcome.shares == tuple(range(90, 110))


def test_an_empty_shard_has_no_shares() -> None:
    outcome = search(PUZZLES[0], range(5, 5), Shares(EVERYTHING, EVERYTHING))
    assert (outcome.shares, outcome.proof, outcome.stopped) == ((), None, False)


def test_a_puzzle_without_a_kernel_has_the_same_shares() -> None:
    puzzle = Puzzle(b"", SquareDifference(155))
    goal = Shares(share_limit(3_000))
    assert_equal(puzzle, range(3_000), goal, search(puzzle, range(3_000), goal))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("worth", [ALWAYS, NEVER], ids=["kernel", "hashlib"])
def test_a_stopped_search_gives_the_shares_of_what_it_covered(worth: int, threads: int) -> None:
    puzzle, halt = PUZZLES[0], Halt()
    nonces = range(10**8, 10**12)
    limit = Target.from_work(200_000 if worth == ALWAYS else 2_000)

    def stop_once_under_way(progress: Progress) -> None:
        if progress.hashes > 10_000:
            halt.set()

    outcome = Searcher(
        puzzle, nonces, Shares(limit), threads=threads, halt=halt, kernel_worth_nonces=worth
    ).run(stop_once_under_way)
    assert outcome.stopped
    assert not outcome.ended_early
    assert all(nonce in outcome.covered for nonce in outcome.shares)
    assert all(limit.admits(puzzle.prove(nonce).rank) for nonce in outcome.shares)
    assert list(outcome.shares) == sorted(set(outcome.shares))
    # And they are all: the same parts, searched again one by one, give the same.
    again = [
        nonce
        for part in outcome.covered
        for nonce in search(puzzle, part, Shares(limit), threads=1).shares
    ]
    assert list(outcome.shares) == again


def test_a_search_that_was_stopped_before_it_began_has_no_shares() -> None:
    halt = Halt()
    halt.set()
    outcome = search(PUZZLES[0], range(10**6), Shares(EVERYTHING), halt=halt)
    assert (outcome.stopped, outcome.shares, outcome.hashes) == (True, (), 0)


def test_a_shard_of_the_size_that_pools_give_out_has_shares_enough() -> None:
    puzzle, shard = presets.liteminer(b"a shard"), range(10**9, 10**9 + 2**22)
    limit = share_limit(len(shard))
    outcome = search(puzzle, shard, Shares(limit))
    assert abs(len(outcome.shares) - SHARES_EXPECTED) < 30
    assert check_shares(puzzle, outcome.shares, shard.start, shard.stop, limit) is not None
