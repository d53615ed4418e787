"""Measuring the search against the loop that people would write instead.

Both run in the same process, in turn, a fraction of a second each, several times over; what counts
is the median of the *ratios* of neighbouring runs, which survives a machine whose speed drifts.
What is measured is `search` itself, with candidates, stripes and threads, as `solve` calls it.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nonsuch.search.searcher import KERNEL_WORTH_NONCES, search
from nonsuch.work import presets
from nonsuch.work.goals import Lowest
from nonsuch.work.nonce import Raw
from nonsuch.work.puzzle import Puzzle

__all__ = ["CASES", "Case", "Comparison", "compare", "hashlib_rate", "midstate_rate", "search_rate"]

_SLICE_NONCES = 5_000
_NONCES_MIN = 2 * KERNEL_WORTH_NONCES
"""Fewer might be searched with hashlib, kernel or not."""


@dataclass(frozen=True, slots=True)
class Case:
    """A puzzle to measure, and where its searches begin: at nine decimal digits, say."""

    puzzle: Puzzle
    start: int


_MESSAGE = b"Your transaction data"

CASES: Mapping[str, Case] = MappingProxyType(
    {
        "plain": Case(presets.plain(_MESSAGE), 10**8),
        "liteminer": Case(presets.liteminer(_MESSAGE), 10**8),
        "race": Case(presets.race(_MESSAGE), 10**8),
        "gossip": Case(presets.gossip(b"genesis"), 2**40),
        "coordinator": Case(presets.coordinator(bytes(range(104))), 2**24),
        "bitcoin": Case(presets.bitcoin(bytes(range(76))), 2**24),
    }
)
"""One case a preset. (The peer preset is searched with hashlib, so there is nothing to compare.)"""


def search_rate(case: Case, seconds: float, threads: int = 1) -> float:
    """Nonces a second of wall time that `search` gets through, in a run of about `seconds`."""
    nonces = _NONCES_MIN
    while True:
        nonces = min(nonces, case.puzzle.nonce.count - case.start)
        scope = range(case.start, case.start + nonces)
        outcome = search(case.puzzle, scope, Lowest(), threads=threads)
        rate = outcome.hashes / outcome.seconds
        if outcome.seconds > seconds / 2:
            return rate
        nonces = max(_NONCES_MIN, int(rate * seconds))


# The loops are written out, one a kind of nonce: one more call for each nonce would slow them by a
# tenth, and flatter us. For the same reason none reverses a digest where the puzzle would.

_Loop = Callable[[range, bytes], bytes]
"""Hashes the nonces and returns the lowest digest, its second argument if none is lower."""


def _decimal_loop(prefix: bytes) -> _Loop:
    sha256 = hashlib.sha256

    def loop(nonces: range, best: bytes) -> bytes:
        for nonce in nonces:
            digest = sha256(prefix + str(nonce).encode()).digest()
            if digest < best:
                best = digest
        return best

    return loop


def _raw_loop(prefix: bytes, encoding: Raw) -> _Loop:
    sha256, size, order = hashlib.sha256, encoding.size, encoding.order

    def loop(nonces: range, best: bytes) -> bytes:
        for nonce in nonces:
            digest = sha256(prefix + nonce.to_bytes(size, order)).digest()
            if digest < best:
                best = digest
        return best

    return loop


def _raw_twice_loop(prefix: bytes, encoding: Raw) -> _Loop:
    sha256, size, order = hashlib.sha256, encoding.size, encoding.order

    def loop(nonces: range, best: bytes) -> bytes:
        for nonce in nonces:
            digest = sha256(sha256(prefix + nonce.to_bytes(size, order)).digest()).digest()
            if digest < best:
                best = digest
        return best

    return loop


def hashlib_rate(case: Case, seconds: float) -> float:
    """Nonces a second of the plain loop: build the message, hash it, keep the lowest digest."""
    prefix, encoding = case.puzzle.prefix, case.puzzle.nonce
    if not isinstance(encoding, Raw):
        return _rate(_decimal_loop(prefix), case.start, seconds)
    make = _raw_twice_loop if case.puzzle.hash == "sha256d" else _raw_loop
    return _rate(make(prefix, encoding), case.start, seconds)


def midstate_rate(case: Case, seconds: float) -> float:
    """Nonces a second of the loop that hashes the prefix once and copies its state."""
    encode, sha256 = case.puzzle.nonce.encode, hashlib.sha256
    midstate = sha256(case.puzzle.prefix)

    def once(nonces: range, best: bytes) -> bytes:
        for nonce in nonces:
            state = midstate.copy()
            state.update(encode(nonce))
            if (digest := state.digest()) < best:
                best = digest
        return best

    def twice(nonces: range, best: bytes) -> bytes:
        for nonce in nonces:
            state = midstate.copy()
            state.update(encode(nonce))
            if (digest := sha256(state.digest()).digest()) < best:
                best = digest
        return best

    return _rate(twice if case.puzzle.hash == "sha256d" else once, case.start, seconds)


def _rate(loop: _Loop, start: int, seconds: float) -> float:
    """Run the loop for about `seconds`, in slices of some milliseconds."""
    hashed, best, began = 0, b"\xff" * 32, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        best = loop(range(start + hashed, start + hashed + _SLICE_NONCES), best)
        hashed += _SLICE_NONCES
    return hashed / spent


@dataclass(frozen=True, slots=True)
class Comparison:
    """Median rates in hashes a second, and medians of the ratios of neighbouring runs."""

    search: float
    hashlib: float
    midstate: float
    ratio: float
    ratio_to_midstate: float


def compare(case: Case, *, seconds: float, rounds: int, threads: int = 1) -> Comparison:
    """`rounds` times in turn: the search and both loops, `seconds` each."""
    search_rate(case, seconds / 10)  # Calibrates and compiles, if that was not done yet.
    runs = [
        (
            search_rate(case, seconds, threads),
            hashlib_rate(case, seconds),
            midstate_rate(case, seconds),
        )
        for _ in range(rounds)
    ]
    found, plain, midstate = (statistics.median(column) for column in zip(*runs, strict=True))
    return Comparison(
        search=found,
        hashlib=plain,
        midstate=midstate,
        ratio=statistics.median(run[0] / run[1] for run in runs),
        ratio_to_midstate=statistics.median(run[0] / run[2] for run in runs),
    )
