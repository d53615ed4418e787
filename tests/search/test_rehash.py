"""Generated code that rehashes shares says what hashlib says, of every puzzle, at every level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonsuch.errors import KernelUnavailable
from nonsuch.search import backends
from nonsuch.search.rehash import (
    PLANS_KEPT_MAX,
    PREFIX_BYTES_MAX,
    PREPARED_AFTER,
    GeneratedRehash,
    best_rehash,
)
from nonsuch.work import presets
from nonsuch.work.nonce import Decimal, NonceEncoding, Raw, SquareDifference
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.shares import (
    Extremes,
    FalseEvidence,
    Rehash,
    check_shares,
    hashed_extremes,
    share_limit,
)

SHARD = range(10_000, 60_000)

encodings = st.one_of(
    st.just(Decimal()),
    st.builds(Raw, st.integers(1, 8), st.sampled_from(["big", "little"])),
    st.builds(SquareDifference, st.integers(0, 2**64 - 1)),
)
# Where the nonce stands in its block, how many blocks there are, and where no code is prepared.
prefixes = st.one_of(
    st.binary(max_size=140),
    st.integers(0, 64).map(lambda more: bytes(PREFIX_BYTES_MAX - 32 + more)),
)
suffixes = st.one_of(st.just(b""), st.binary(max_size=70), st.binary(min_size=380, max_size=600))
puzzles = st.builds(
    Puzzle,
    prefixes,
    encodings,
    suffixes,
    st.sampled_from(["sha256", "sha256d"]),
    st.sampled_from(["big", "little"]),
    st.sampled_from([1, 3, 8, 63, 64, 65, 255, 256]),
)


@st.composite
def nonces_of(draw: st.DrawFn, encoding: NonceEncoding) -> list[int]:
    """Some that ascend: of one width or of many, a lot of them or one."""
    top = min(encoding.count, 10 ** draw(st.integers(1, 20)))
    least = draw(st.sampled_from([0, top // 10, top - 1]))
    count = draw(st.sampled_from([1, 7, 8, 9, 32, 256]))
    drawn = draw(st.lists(st.integers(least, top - 1), min_size=1, max_size=count))
    return sorted(set(drawn))


def generated(rehash: Rehash, puzzle: Puzzle, nonces: Sequence[int]) -> Extremes | None:
    """What it says once it has prepared itself."""
    for _ in range(PREPARED_AFTER):
        rehash(puzzle, nonces[:1])
    return rehash(puzzle, nonces)


@pytest.fixture(scope="module")
def rehash() -> Rehash:
    try:
        return GeneratedRehash()
    except KernelUnavailable as reason:
        pytest.skip(str(reason))


@given(data=st.data(), puzzle=puzzles)
@settings(max_examples=300, deadline=None)
def test_the_extremes_are_those_of_hashlib(
    rehash: Rehash, data: st.DataObject, puzzle: Puzzle
) -> None:
    nonces = data.draw(nonces_of(puzzle.nonce))
    assert generated(rehash, puzzle, nonces) == hashed_extremes(puzzle, nonces)
    proof = puzzle.prove(nonces[0])
    assert rehash(puzzle, nonces[:1]) == (proof.merit, proof.rank)


@given(
    puzzle=st.sampled_from([Puzzle(b"x"), Puzzle(b"x", Raw(8, "big"), b"", "sha256d", "little")]),
    nonces=st.lists(st.integers(10**8, 10**9 - 1) | st.integers(0, 2**64 + 9), min_size=1),
)
@settings(max_examples=300, deadline=None)
def test_nonces_that_nobody_honest_names_have_no_extremes(
    rehash: Rehash, puzzle: Puzzle, nonces: list[int]
) -> None:
    """Whatever stands between the first and the last, which the pool has looked at."""
    nonces = [10**8, *nonces, 10**9]
    for first, last in ((10**8, 10**9 - 1), (10**8, 2**64 - 1), (0, 10**9)):
        named = [first, *nonces[1:-1], last]
        ascend = all(a < b for a, b in pairwise(named))
        expected = hashed_extremes(puzzle, named) if ascend else None
        assert generated(rehash, puzzle, named) == expected


def test_every_level_agrees(kernel_level: str) -> None:
    rehash = GeneratedRehash()
    for puzzle in (
        presets.plain(b"level"),
        presets.liteminer(b"level"),
        Puzzle(nonce=Raw(4, "big")),
    ):
        for first in (0, 7, 9_990, 10**9 - 16):
            nonces = range(first, first + 32)
            expected = hashed_extremes(puzzle, nonces)
            assert generated(rehash, puzzle, nonces) == expected, kernel_level


def test_puzzles_may_come_in_any_order_and_number(rehash: Rehash) -> None:
    puzzles = [presets.plain(b"job %d" % job) for job in range(PLANS_KEPT_MAX + 10)]
    for puzzle in (*puzzles, *puzzles[:3], puzzles[0], puzzles[0]):
        for nonces in (range(90, 99), range(95, 105), range(100, 110)):
            assert rehash(puzzle, nonces) == hashed_extremes(puzzle, nonces)


def test_shares_are_believed_and_lies_are_not(rehash: Rehash) -> None:
    puzzle, limit = presets.plain(b"shares"), share_limit(len(SHARD))
    generated(rehash, puzzle, SHARD[:10])
    shares = [nonce for nonce in SHARD if limit.admits(puzzle.prove(nonce).rank)]
    best = check_shares(puzzle, shares, SHARD.start, SHARD.stop, limit, rehash)
    assert best == min(puzzle.prove(nonce).merit for nonce in SHARD)
    invented = next(nonce for nonce in SHARD if nonce not in shares)
    with pytest.raises(FalseEvidence, match="does not meet the share limit"):
        check_shares(puzzle, sorted([*shares, invented]), SHARD.start, SHARD.stop, limit, rehash)


def test_without_a_kernel_hashlib_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.FEATURES_VARIABLE, backends.NO_FEATURES)
    best_rehash.cache_clear()
    try:
        assert best_rehash() is hashed_extremes
    finally:
        best_rehash.cache_clear()


def test_nobody_is_accused_nor_thanked_on_a_hint() -> None:
    """A processor out of order must not cost an honest miner its place."""
    puzzle, limit = presets.plain(b"shares"), share_limit(len(SHARD))
    shares = [nonce for nonce in SHARD if limit.admits(puzzle.prove(nonce).rank)]
    wrong: tuple[Rehash, ...] = (lambda *_: None, lambda *_: ((0, shares[0]), 2**256 - 1))
    for rehash in wrong:
        best = check_shares(puzzle, shares, SHARD.start, SHARD.stop, limit, rehash)
        assert best == min(puzzle.prove(nonce).merit for nonce in SHARD)
