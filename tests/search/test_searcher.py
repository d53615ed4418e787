"""Searches give the one exact answer: against brute force, at every boundary, with any threads."""

import logging
import sys
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonsuch import (
    Decimal,
    First,
    Halt,
    LocalError,
    Lowest,
    Outcome,
    Progress,
    Proof,
    Puzzle,
    Raw,
    Target,
    first,
    presets,
    search,
    solve,
)
from nonsuch.search.backends import NO_FEATURES
from nonsuch.search.searcher import Searcher
from nonsuch.work.goals import Goal

exact = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

puzzles = st.builds(
    Puzzle,
    prefix=st.binary(max_size=130),
    nonce=st.one_of(
        st.just(Decimal()),
        st.builds(Raw, st.integers(2, 8), st.sampled_from(["big", "little"])),
    ),
    suffix=st.sampled_from([b"", b"", b"; and what follows"]),
    hash=st.sampled_from(["sha256", "sha256d"]),
    order=st.sampled_from(["big", "little"]),
    rank_bits=st.sampled_from([256, 256, 64, 12, 1]),
)


def run(puzzle: Puzzle, nonces: range, goal: Goal, threads: int) -> Outcome:
    """A search that uses a kernel for however few nonces, so that small ranges test it."""
    return Searcher(puzzle, nonces, goal, threads=threads, kernel_worth_nonces=1).run()


def proofs(puzzle: Puzzle, nonces: range) -> list[Proof]:
    return [puzzle.prove(nonce) for nonce in nonces]


@st.composite
def ranges(draw: st.DrawFn, puzzle: Puzzle) -> range:
    """Up to 6,000 nonces anywhere in the field, often across a change of digits."""
    count = puzzle.nonce.count
    anywhere = st.integers(0, count)
    around = st.integers(0, 19).map(lambda digits: max(0, min(count, 10**digits - 1_000)))
    start = draw(st.one_of(anywhere, around))
    return range(start, min(count, start + draw(st.integers(0, 6_000))))


@exact
@given(puzzles, st.integers(1, 3), st.data())
def test_lowest_is_brute_forces_lowest(
    level: str, puzzle: Puzzle, threads: int, data: st.DataObject
) -> None:
    nonces = data.draw(ranges(puzzle))
    outcome = run(puzzle, nonces, Lowest(), threads)
    best = min(proofs(puzzle, nonces), key=lambda proof: proof.merit, default=None)
    assert outcome.proof == best
    assert not outcome.stopped
    assert list(outcome.covered) == ([nonces] if nonces else [])


@exact
@given(puzzles, st.integers(1, 3), st.integers(1, 16), st.data())
def test_first_is_brute_forces_first(
    level: str, puzzle: Puzzle, threads: int, bits: int, data: st.DataObject
) -> None:
    nonces = data.draw(ranges(puzzle))
    target = Target(2 ** (256 - bits) - 1)
    outcome = run(puzzle, nonces, First(target), threads)
    wanted = next((p for p in proofs(puzzle, nonces) if target.admits(p.rank)), None)
    assert outcome.proof == wanted
    assert not outcome.stopped


@pytest.fixture(scope="module")
def two_million() -> tuple[Puzzle, Proof]:
    """A range of several stripes for several threads, and its lowest hash by brute force."""
    puzzle = presets.plain(b"shared by threads ")
    sample = range(1_500_000, 2_300_000)
    return puzzle, min(proofs(puzzle, sample), key=lambda proof: proof.merit)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_agree_on_a_range_of_many_stripes(
    level: str, threads: int, two_million: tuple[Puzzle, Proof]
) -> None:
    puzzle, best = two_million
    nonces = range(1_500_000, 2_300_000)
    assert run(puzzle, nonces, Lowest(), threads).proof == best
    # A target that exactly this hash meets: the first is the only one.
    found = run(puzzle, nonces, First(Target(best.rank)), threads)
    assert found.proof == best


@pytest.mark.parametrize("threads", [1, 4])
def test_equal_to_the_target_is_enough_and_one_more_is_too_much(level: str, threads: int) -> None:
    puzzle, nonces = presets.race(b"boundary"), range(100_000, 160_000)
    lowest = min(proofs(puzzle, nonces), key=lambda proof: proof.merit)
    assert run(puzzle, nonces, First(Target(lowest.rank)), threads).proof == lowest
    missed = run(puzzle, nonces, First(Target(lowest.rank - 1)), threads)
    assert missed.proof is None
    assert missed.best == lowest, "the near miss is told"
    assert missed.covered.total == 60_000
    above = run(puzzle, nonces, First(Target(lowest.rank + 1)), threads).proof
    assert above == lowest


@pytest.mark.parametrize("threads", [1, 4])
def test_of_many_proofs_it_is_the_first(level: str, threads: int) -> None:
    """A proof every 65,536 nonces: threads that begin further on find theirs sooner."""
    puzzle = presets.plain(b"impatient threads")
    target = Target.from_zero_digits(4)
    wanted = next(n for n in range(10**6) if target.admits(puzzle.rank(puzzle.digest(n))))
    for _ in range(5):
        found = run(puzzle, range(2_000_000), First(target), threads).proof
        assert found is not None
        assert found.nonce == wanted


def test_a_tie_goes_to_the_smallest_nonce(level: str) -> None:
    """With eight bits compared, hundreds of nonces share the lowest rank, 0."""
    puzzle = Puzzle(b"tie", rank_bits=8)
    nonces = range(123_456, 223_456)
    wanted = next(n for n in nonces if puzzle.digest(n)[0] == 0)
    for threads in (1, 3):
        outcome = run(puzzle, nonces, Lowest(), threads)
        assert outcome.proof is not None
        assert outcome.proof.nonce == wanted


def test_empty_and_single_ranges(level: str) -> None:
    puzzle = presets.plain(b"small")
    empty = run(puzzle, range(5, 5), Lowest(), 1)
    assert (empty.proof, empty.hashes, empty.stopped) == (None, 0, False)
    assert run(puzzle, range(9, 3), First(Target.from_zero_digits(0)), 1).proof is None
    assert run(puzzle, range(7, 8), Lowest(), 2).proof == puzzle.prove(7)
    assert run(puzzle, range(7, 8), First(Target.from_zero_digits(0)), 2).proof == puzzle.prove(7)


def test_the_top_of_the_field(level: str) -> None:
    """N = 2**64 - 1, the last nonce that LiteMiner's Go programs can name."""
    for puzzle in (presets.liteminer(b"top"), presets.gossip(b"top")):
        nonces = range(2**64 - 5_000, 2**64)
        best = min(proofs(puzzle, nonces), key=lambda proof: proof.merit)
        assert run(puzzle, nonces, Lowest(), 2).proof == best
        easy = First(Target(2**255))
        assert run(puzzle, range(2**64 - 1, 2**64), easy, 1).best == puzzle.prove(2**64 - 1)


def test_bitcoins_own_proofs_are_found_again(level: str) -> None:
    """Genesis and block 125552: the search meets their nonces where Bitcoin's miners did."""
    genesis = bytes.fromhex(
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2"
        "7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
    )
    block_125552 = bytes.fromhex(
        "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d75"
        "0423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695"
    )
    for header, nonce in ((genesis, 2083236893), (block_125552, 2504433986)):
        target = Target.from_bits(int.from_bytes(header[72:76], "little"))
        nonces = range(nonce - 3_000, nonce + 3_000)
        found = run(presets.bitcoin(header), nonces, First(target), 2).proof
        assert found is not None
        assert found.nonce == nonce


def test_solve_and_first_are_the_same_search() -> None:
    proof = solve("hello", 30_000)
    assert proof.nonce == min(range(30_001), key=lambda n: proof.puzzle.digest(n))
    assert proof.verify()
    raced = first(b"Your transaction data", Target.from_zero_digits(4), preset="race")
    assert raced is not None
    assert raced.nonce == 4117
    again = first(b"Your transaction data", Target.from_zero_digits(4), start=4118, stop=4200)
    assert again is None
    assert solve(presets.liteminer(b"bradfitz"), 9_999).nonce == 9_898


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: solve(b"x", -1), "0 or more"),
        (lambda: solve(b"x", 2**64), "too large"),
        (lambda: solve(presets.bitcoin(bytes(80)), 2**32), "too large"),
        (lambda: solve(b"x", 10, preset="lightminer"), "choose from"),
        (lambda: solve(b"x", 10**6, threads=0), "between 1 and"),
        (lambda: solve(b"x", 10**6, threads=10**6), "between 1 and"),
        (lambda: search(presets.plain(b"x"), range(-1, 5), Lowest()), "not negative"),
        (lambda: search(presets.plain(b"x"), range(0, 50, 2), Lowest()), "every nonce"),
    ],
)
def test_impossible_requests_say_what_to_ask_for(call: Callable[[], object], words: str) -> None:
    with pytest.raises(LocalError, match=words):
        call()


class Watch:
    """A progress callback that says when the search is well under way."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.under_way = threading.Event()

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.hashes > 1_000:
            self.under_way.set()


def test_a_halted_search_ends_at_once_and_tells_what_it_covered(level: str) -> None:
    watch, halt = Watch(), Halt()
    outcomes: list[Outcome] = []
    puzzle = presets.plain(b"for ever")

    def search_for_ever() -> None:
        nonces = range(10**8, 2**64)
        outcomes.append(search(puzzle, nonces, Lowest(), threads=2, progress=watch, halt=halt))

    thread = threading.Thread(target=search_for_ever)
    thread.start()
    assert watch.under_way.wait(60)
    halt.set()
    thread.join(30)
    assert not thread.is_alive()

    (outcome,) = outcomes
    assert outcome.stopped
    assert outcome.covered.total == outcome.hashes > 1_000
    assert outcome.best is not None
    assert outcome.best.verify()
    assert outcome.best.nonce in outcome.covered
    assert all(part.start >= 10**8 for part in outcome.covered)


def test_a_first_that_was_halted_before_its_range_was_searched_is_not_called_first() -> None:
    halt = Halt()
    halt.set()
    outcome = search(presets.plain(b"x"), range(10**6), First(Target.from_work(10)), halt=halt)
    assert outcome.stopped
    assert outcome.proof is None


def test_progress_grows_to_the_whole_range() -> None:
    watch = Watch()
    search(presets.plain(b"progress"), range(400_000), Lowest(), progress=watch)
    hashes = [progress.hashes for progress in watch.seen]
    assert hashes == sorted(hashes)
    assert hashes[-1] == watch.seen[-1].total == 400_000
    assert watch.seen[-1].best is not None
    assert watch.seen[-1].rate > 0


class Interrupted(Exception):
    """Stands for Ctrl-C: raised in the calling thread while others search."""


def test_an_error_in_the_calling_thread_stops_the_others() -> None:
    def interrupt(progress: Progress) -> None:
        raise Interrupted

    before = threading.active_count()
    with pytest.raises(Interrupted):
        search(presets.plain(b"x"), range(2**64), Lowest(), progress=interrupt)
    assert threading.active_count() <= before + 1, "a compilation may still be finishing"


@pytest.mark.usefixtures("kernel_level")
def test_an_interpreter_waits_for_the_compiler_before_it_exits() -> None:
    """LLVM clears up when a process ends, and crashes where it is still in the middle of it."""
    waited_for: dict[str, bool] = {}

    def note(_frame: object, _event: str, _argument: object) -> None:
        sys.setprofile(None)  # Once a thread.
        thread = threading.current_thread()
        waited_for[thread.name] = not thread.daemon

    threading.setprofile(note)
    try:
        # Of two widths: while one is searched, the code for the other is compiled.
        search(presets.plain(b"x"), range(9 * 10**6, 11 * 10**6), Lowest(), threads=1)
    finally:
        threading.setprofile(None)
    assert waited_for["nonsuch-compile"]


def test_a_layout_without_a_kernel_is_searched_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    puzzle = Puzzle(b"a", Decimal(), b"z" * 251)
    with caplog.at_level(logging.WARNING, "nonsuch"):
        outcome = search(puzzle, range(10**5, 10**5 + 160_000), First(Target.from_zero_digits(3)))
        search(puzzle, range(10**5, 10**5 + 160_000), First(Target.from_zero_digits(3)))
    assert outcome.proof is not None
    assert outcome.proof.verify(Target.from_zero_digits(3))
    notices = [r.getMessage() for r in caplog.records if "251 bytes after" in r.getMessage()]
    assert len(notices) == 1, "one line, once"


def test_without_features_the_fallback_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NONSUCH_CPU_FEATURES", NO_FEATURES)
    with caplog.at_level(logging.WARNING, "nonsuch"):
        searcher = Searcher(presets.plain(b"x"), range(2**30), Lowest(), threads=4)
    assert searcher.threads == 1, "more would only quarrel about the interpreter lock"


def test_the_clock_of_an_outcome_is_the_wall() -> None:
    began = time.perf_counter()
    outcome = search(presets.plain(b"x"), range(50_000), Lowest())
    assert 0 < outcome.seconds <= time.perf_counter() - began
