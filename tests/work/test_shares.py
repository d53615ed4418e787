"""Shares as evidence: honest miners are believed, lies are refused, who skips stands out."""

import math
import statistics
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import RemoteError
from nonsuch.work import presets
from nonsuch.work.nonce import Decimal, Raw
from nonsuch.work.puzzle import Merit, Puzzle
from nonsuch.work.shares import (
    FALSE_ALARM_SHARDS,
    SHARES_EXPECTED,
    SHARES_MAX,
    Drift,
    FalseEvidence,
    check_shares,
    expected_shares,
    limit_of_bits,
    share_limit,
)
from nonsuch.work.target import TARGET_MAX, Target

# How many shares a shard has.


@given(st.integers(1, 2**60) | st.integers(0, 60).map(lambda bits: 2**bits))
def test_about_32_are_expected_of_any_shard(count: int) -> None:
    expected = expected_shares(count, share_limit(count))
    if count <= SHARES_EXPECTED:
        assert expected == count, "of a tiny shard every nonce is a share"
    else:
        # Compact bits keep 15 bits or more, and round down.
        assert SHARES_EXPECTED * (1 - 2**-14) <= expected <= SHARES_EXPECTED


@given(st.integers(1, 2**60))
def test_four_bytes_carry_the_limit(count: int) -> None:
    limit = share_limit(count)
    assert limit_of_bits(limit.bits) == limit


@given(st.integers(1, 2**60), st.integers(1, 2**60))
def test_larger_shards_have_harder_limits(one: int, other: int) -> None:
    smaller, larger = sorted((one, other))
    assert share_limit(larger) <= share_limit(smaller)


def test_expected_shares_of_simple_limits() -> None:
    assert expected_shares(1000, Target(TARGET_MAX)) == 1000
    assert expected_shares(1000, Target(2**255 - 1)) == 500
    assert expected_shares(2**60, Target(2**196 - 1)) == 1
    assert expected_shares(0, Target(TARGET_MAX)) == 0


# What a pool believes.

HEADER = bytes(range(80))

PUZZLES = {
    "plain": presets.plain(b"evidence "),
    "suffixed": Puzzle(b"", Decimal(), b" and what follows"),
    "bitcoin": presets.bitcoin(HEADER),
    "sha256d": Puzzle(b"\0" * 63, Raw(4, "little"), b"x", "sha256d", "little"),
    "gossip": presets.gossip(b"block"),
    "liteminer": presets.liteminer(b"liteminer"),
    "little, 64 bits": Puzzle(b"short", Raw(3, "big"), order="little", rank_bits=64),
    "7 bits": Puzzle(b"shorter", rank_bits=7),
    "1 bit": Puzzle(b"shortest", rank_bits=1),
}

SHARD = range(99_700, 100_700)
"""Decimal nonces change their width here."""


@pytest.fixture(params=PUZZLES, scope="module")
def puzzle(request: pytest.FixtureRequest) -> Puzzle:
    return PUZZLES[request.param]


def limit_for(puzzle: Puzzle) -> Target:
    """A limit that some thirty nonces of the shard meet, as nearly as its ranks can say it."""
    if puzzle.rank_bits == 1:
        return Target(1)
    return share_limit(len(SHARD))


def true_shares(puzzle: Puzzle, shard: range, limit: Target) -> list[int]:
    return [nonce for nonce in shard if limit.admits(puzzle.prove(nonce).rank)]


def shard_of_shares(puzzle: Puzzle) -> tuple[range, list[int], Target]:
    """A shard small enough for the coarsest ranks, its shares and their limit."""
    shard = SHARD if puzzle.rank_bits > 1 else SHARD[:100]
    limit = limit_for(puzzle)
    return shard, true_shares(puzzle, shard, limit), limit


def check(puzzle: Puzzle, nonces: list[int], shard: range, limit: Target) -> Merit | None:
    return check_shares(puzzle, nonces, shard.start, shard.stop, limit)


def test_all_shares_of_a_shard_are_believed_and_the_best_is_found(puzzle: Puzzle) -> None:
    shard, shares, limit = shard_of_shares(puzzle)
    assert 10 < len(shares) < 100
    best = check(puzzle, shares, shard, limit)
    assert best == min(puzzle.prove(nonce).merit for nonce in shares)
    assert best == min(puzzle.prove(nonce).merit for nonce in shard)
    assert limit.admits(best[0])


def test_any_part_of_them_is_believed_too(puzzle: Puzzle) -> None:
    """One that is left out cannot be seen: that is what `Drift` and audits are for."""
    shard, shares, limit = shard_of_shares(puzzle)
    for part in (shares[::2], shares[1:], shares[:1], shares[-1:]):
        best = check(puzzle, part, shard, limit)
        assert best == min(puzzle.prove(nonce).merit for nonce in part)
    assert check(puzzle, [], shard, limit) is None


def test_a_nonce_above_the_limit_is_refused_wherever_it_stands(puzzle: Puzzle) -> None:
    shard, shares, limit = shard_of_shares(puzzle)
    missing = sorted(set(shard) - set(shares))
    for extra in (missing[0], missing[len(missing) // 2], missing[-1]):
        with pytest.raises(FalseEvidence, match=f"nonce {extra} does not meet the share limit"):
            check(puzzle, sorted([*shares, extra]), shard, limit)
        with pytest.raises(FalseEvidence, match=f"nonce {extra} "):
            check(puzzle, [extra], shard, limit)


def test_equal_to_the_limit_is_enough(puzzle: Puzzle) -> None:
    shard, shares, _ = shard_of_shares(puzzle)
    worst = max(puzzle.prove(nonce).rank for nonce in shares)
    if worst < 2:
        return
    assert check(puzzle, shares, shard, Target(worst)) is not None
    with pytest.raises(FalseEvidence):
        check(puzzle, shares, shard, Target(worst - 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda nonces: [nonces[0], *nonces],
        lambda nonces: [*nonces, nonces[-1]],
        lambda nonces: [*nonces[:5], nonces[4], *nonces[5:]],
        lambda nonces: nonces[::-1],
        lambda nonces: [nonces[1], nonces[0], *nonces[2:]],
    ],
    ids=["first twice", "last twice", "one twice", "descending", "two exchanged"],
)
def test_nonces_that_do_not_ascend_are_refused(
    change: Callable[[list[int]], list[int]], puzzle: Puzzle
) -> None:
    shard, shares, limit = shard_of_shares(puzzle)
    with pytest.raises(FalseEvidence, match=r"do not ascend|are not of"):
        check(puzzle, change(shares), shard, limit)


def test_true_shares_of_other_shards_are_refused(puzzle: Puzzle) -> None:
    shard, shares, limit = shard_of_shares(puzzle)
    for shorter in (range(shares[0] + 1, shard.stop), range(shard.start, shares[-1])):
        with pytest.raises(FalseEvidence, match=r"are not of \["):
            check(puzzle, shares, shorter, limit)
    tight = range(shares[0], shares[-1] + 1)
    assert check(puzzle, shares, tight, limit) is not None


@pytest.mark.parametrize("nonce", [-1, 2**64, 2**400])
def test_a_nonce_that_no_field_holds_is_refused(nonce: int, puzzle: Puzzle) -> None:
    with pytest.raises(FalseEvidence):
        check(puzzle, [nonce], SHARD, Target(TARGET_MAX))


def test_too_many_shares_are_refused_before_they_are_hashed() -> None:
    puzzle, everything = PUZZLES["plain"], Target(TARGET_MAX)
    assert check(puzzle, list(range(SHARES_MAX)), range(1000), everything) is not None
    with pytest.raises(FalseEvidence, match="257 shares"):
        check(puzzle, list(range(SHARES_MAX + 1)), range(1000), everything)


def test_false_evidence_ends_a_connection() -> None:
    assert issubclass(FalseEvidence, RemoteError)
    assert FalseEvidence.cost == 1000


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_of_equal_ranks_the_smallest_nonce_is_the_best(bits: int, order: str) -> None:
    puzzle = Puzzle(b"ties", order="big" if order == "big" else "little", rank_bits=bits)
    shard = range(5_000, 5_200)
    ranks = {nonce: puzzle.prove(nonce).rank for nonce in shard}
    lowest = min(ranks.values())
    wanted = next(nonce for nonce in shard if ranks[nonce] == lowest)
    best = check_shares(puzzle, list(shard), shard.start, shard.stop, Target(TARGET_MAX))
    assert best == puzzle.prove(wanted).merit


# How a miner that skips stands out. The draws are those of a seed, so nothing here is flaky.

EXPECTED = float(SHARES_EXPECTED)


def poisson(random: Random, mean: float) -> int:
    """How many raindrops fall: the arrivals of one unit of time (Knuth's method)."""
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


def shards_until_suspected(seed: int, searched: float, at_most: int) -> int:
    """How many shards a miner returns that searches this part of each; `at_most` + 1 for more."""
    random, drift = Random(seed), Drift()
    for count in range(1, at_most + 1):
        drift.add(EXPECTED, poisson(random, EXPECTED * searched))
        if drift.suspicious:
            return count
    return at_most + 1


def test_an_honest_miner_is_rarely_suspected() -> None:
    random, drift, alarms = Random(1), Drift(), 0
    shards = 20_000
    for _ in range(shards):
        drift.add(EXPECTED, poisson(random, EXPECTED))
        if drift.suspicious:
            alarms += 1
            drift.clear()
    assert alarms / shards < 1 / 300
    assert alarms / shards < 1 / FALSE_ALARM_SHARDS


def test_honest_shards_of_any_size_are_rarely_suspected() -> None:
    """Counts of real shards: each of n nonces is a share or not, and some shards are tiny."""
    random, drift, alarms = Random(2), Drift(), 0
    shards = 5_000
    for _ in range(shards):
        count = random.choice((1, 20, 33, 100, 400))
        expected = expected_shares(count, share_limit(count))
        odds = expected / count
        drift.add(expected, sum(random.random() < odds for _ in range(count)))
        if drift.suspicious:
            alarms += 1
            drift.clear()
    assert alarms / shards < 1 / 300


def test_real_hashes_are_not_suspected() -> None:
    puzzle, drift = presets.plain(b"an honest miner "), Drift()
    count = 1000
    limit = share_limit(count)
    for start in range(0, 40 * count, count):
        shares = true_shares(puzzle, range(start, start + count), limit)
        drift.add(expected_shares(count, limit), len(shares))
        assert not drift.suspicious
    assert drift.expected == pytest.approx(40 * EXPECTED, rel=1e-3)
    assert abs(drift.observed - drift.expected) < 4 * drift.expected**0.5


def test_who_skips_a_tenth_is_suspected_within_a_few_dozen_shards() -> None:
    taken = [shards_until_suspected(seed, 0.9, at_most=120) for seed in range(200)]
    assert sum(count <= 120 for count in taken) >= 190
    assert 20 <= statistics.median(taken) <= 60


def test_who_skips_half_is_suspected_within_ten_shards() -> None:
    taken = [shards_until_suspected(seed, 0.5, at_most=10) for seed in range(200)]
    assert max(taken) <= 10
    assert statistics.median(taken) <= 5


def test_who_sends_nothing_is_suspected_at_once() -> None:
    assert shards_until_suspected(0, 0.0, at_most=2) <= 2


def test_a_miner_that_begins_to_skip_is_caught_whatever_it_did_before() -> None:
    """Ten thousand honest shards are no credit to spend."""
    random, drift = Random(3), Drift()
    for _ in range(10_000):
        drift.add(EXPECTED, poisson(random, EXPECTED))
        if drift.suspicious:
            drift.clear()
    shards = 0
    while shards < 10 and not drift.suspicious:
        drift.add(EXPECTED, poisson(random, EXPECTED / 2))
        shards += 1
    assert drift.suspicious


def test_too_many_shares_are_no_credit_either() -> None:
    drift = Drift()
    drift.add(EXPECTED, 10_000)
    drift.add(EXPECTED, 0)
    drift.add(EXPECTED, 0)
    assert drift.suspicious


def test_an_audit_that_finds_nothing_begins_again_but_the_counts_stay() -> None:
    drift = Drift()
    drift.add(EXPECTED, 0)
    drift.add(EXPECTED, 0)
    suspected = drift.suspicious
    drift.clear()
    assert (suspected, drift.suspicious) == (True, False)
    assert (drift.expected, drift.observed) == (2 * EXPECTED, 0)


def test_nothing_says_nothing() -> None:
    drift = Drift()
    for _ in range(1000):
        drift.add(0.0, 0)
    assert not drift.suspicious
