"""Evidence of scanning: how a pool that believes nobody knows that a shard was searched.

A proof of work proves work only when it succeeds. A miner that says "nothing below the best in my
shard" could as well have slept. So every lease names an easier limit, chosen so that about
`SHARES_EXPECTED` nonces of the shard meet it, and the result must list *all* of those *shares*.

Each share is rehashed, so none can be invented; a share from elsewhere lies outside the shard; and
one that is left out cannot be seen. But the hash is random: shares fall like raindrops, their count
follows the Poisson law with a mean that we know. A miner that skips a tenth of its nonces reports a
tenth too few, for ever. `Drift` adds up how much better "it skips" explains the counts than "it is
honest" does (Page's CUSUM test over Wald's likelihood ratio, for two rates of skipping): some
40 shards expose a tenth, five expose a half, and one exposes a miner that sends nothing.

Suspicion is not proof, chance can raise it (about once in `FALSE_ALARM_SHARDS` shards of an honest
miner). It leads to an audit: somebody else scans the same shard, and a share that the first left
out *is* proof. That two name the same is none where both name too few (`shares_least`): two that
sleep agree.

Sources: E. S. Page, "Continuous Inspection Schemes" (1954); A. Wald, "Sequential Analysis" (1947);
shares themselves are how mining pools have paid their miners since 2010.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from operator import lt

from nonsuch.errors import RemoteError
from nonsuch.work.puzzle import DIGEST_BITS, Merit, Puzzle
from nonsuch.work.target import TARGET_MAX, Target

__all__ = [
    "FALSE_ALARM_SHARDS",
    "SHARES_EXPECTED",
    "SHARES_MAX",
    "Drift",
    "Extremes",
    "FalseEvidence",
    "Rehash",
    "check_shares",
    "expected_shares",
    "hashed_extremes",
    "limit_of_bits",
    "share_limit",
    "shares_least",
]

SHARES_EXPECTED = 32
"""Shares that an honest shard has on average: none at all has odds of 1 in 10**14."""

SHARES_MAX = 256
"""No honest shard has more: 40 standard deviations above what is expected."""

FALSE_ALARM_SHARDS = 1000
"""How many shards an honest miner returns, on average, between two needless audits. At least."""

UNSEARCHED_ODDS = 1e-6
"""Odds of an honest shard with so few shares that it does not look searched: some nine of 32."""

_SOME, _MANY = 0.1, 0.5
"""What a miner is compared with: one that skips a tenth of its nonces, and one that skips half."""

_SOME_LOGARITHM, _MANY_LOGARITHM = math.log(1 - _SOME), math.log(1 - _MANY)

_ALARM = math.log(FALSE_ALARM_SHARDS)


Extremes = tuple[Merit, int]
"""The merit of the best of some nonces, and the highest rank among them."""

Rehash = Callable[[Puzzle, Sequence[int]], Extremes | None]
"""The extremes of some nonces, one at least; None unless they ascend. But for `hashed_extremes` it
is a hint which is best, and that all is well: `hashlib` decides before anybody is accused or has
found the answer."""


class FalseEvidence(RemoteError):
    """Shares that cannot be what they are said to be. No correct miner sends them."""

    cost = 1000


def share_limit(count: int) -> Target:
    """The limit that about `SHARES_EXPECTED` of `count` nonces (1 or more) meet.

    Rounded to Bitcoin's compact form, so that four bytes carry it.
    """
    if count <= SHARES_EXPECTED:
        return Target(TARGET_MAX)
    return Target.from_bits(Target(SHARES_EXPECTED * 2**DIGEST_BITS // count).bits)


def limit_of_bits(bits: int) -> Target:
    """The share limit that these bits carry: those of the highest target stand for all nonces.

    The compact form itself would leave out one nonce in 65,536, whose hash begins with ffff.
    """
    return Target(TARGET_MAX) if bits == Target(TARGET_MAX).bits else Target.from_bits(bits)


def expected_shares(count: int, limit: Target) -> float:
    """How many of `count` nonces meet the limit on average."""
    return math.ldexp(count * (limit.value + 1), -DIGEST_BITS)


@functools.lru_cache(maxsize=4096)
def shares_least(expected: float) -> int:
    """With how many shares a shard that should have so many looks searched.

    Fewer have less than `UNSEARCHED_ODDS`. Remembered, because sizes repeat.
    """
    least, odds, term = 0, 0.0, math.exp(-expected)
    while odds + term < UNSEARCHED_ODDS and least < SHARES_MAX:
        least += 1
        odds += term
        term *= expected / least
    return least


def hashed_extremes(puzzle: Puzzle, nonces: Sequence[int]) -> Extremes | None:
    """The extremes, by `hashlib`."""
    if not all(map(lt, nonces, nonces[1:])):
        return None
    digests = puzzle.digests(nonces)
    if puzzle.order == "big" and puzzle.rank_bits == DIGEST_BITS:
        # Then digests compare as their ranks do, and in C.
        lowest, highest = min(digests), max(digests)
    else:
        lowest, highest = min(digests, key=puzzle.rank), max(digests, key=puzzle.rank)
    return (puzzle.rank(lowest), nonces[digests.index(lowest)]), puzzle.rank(highest)


def check_shares(
    puzzle: Puzzle,
    nonces: Sequence[int],
    start: int,
    stop: int,
    limit: Target,
    rehash: Rehash = hashed_extremes,
) -> Merit | None:
    """Rehash what is said to be the shares of [start, stop); return the merit of the best of them.

    None where there are none. Raises `FalseEvidence` unless the nonces ascend, lie in the range
    and meet the limit, every one. Of the best, `rehash` has said no more than a hint.
    """
    if len(nonces) > SHARES_MAX:
        raise FalseEvidence(f"{len(nonces)} shares, where honest shards have {SHARES_EXPECTED}")
    if not nonces:
        return None
    if not start <= nonces[0] <= nonces[-1] < stop:
        raise FalseEvidence(
            f"shares from {nonces[0]} to {nonces[-1]}, which are not of [{start}, {stop})"
        )
    hint = rehash(puzzle, nonces)
    if hint is not None and limit.admits(hint[1]):
        return hint[0]
    extremes = hashed_extremes(puzzle, nonces)  # Nobody is accused on a hint.
    if extremes is None:
        raise FalseEvidence("shares that do not ascend")
    best, highest = extremes
    if not limit.admits(highest):
        worst = max(map(puzzle.prove, nonces), key=lambda proof: proof.rank)
        raise FalseEvidence(f"nonce {worst.nonce} does not meet the share limit")
    return best


class Drift:
    """How far a miner's shares fall behind the law, as evidence against it. Starts at none."""

    __slots__ = ("_many", "_some", "expected", "observed")

    def __init__(self) -> None:
        self._some = self._many = 0.0
        self.expected = 0.0
        self.observed = 0

    def add(self, expected: float, observed: int) -> None:
        """One more shard: how many shares it should have had, on average, and how many it had."""
        self.expected += expected
        self.observed += observed
        some = self._some + observed * _SOME_LOGARITHM + _SOME * expected
        many = self._many + observed * _MANY_LOGARITHM + _MANY * expected
        self._some = some if some > 0 else 0.0
        self._many = many if many > 0 else 0.0

    @property
    def suspicious(self) -> bool:
        """Whether skipping explains the counts so much better that an audit is due."""
        return self._some > _ALARM or self._many > _ALARM

    def clear(self) -> None:
        """An audit found nothing: begin again."""
        self._some = self._many = 0.0
