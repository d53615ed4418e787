"""A kernel's candidates are hashlib's candidates, on every level that this machine can run."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nonsuch.errors import KernelUnavailable
from nonsuch.search.backends import available_backends, compiled
from nonsuch.search.halt import Halt
from nonsuch.search.layout import Field
from nonsuch.search.scanners import NO_LIMIT, HashlibScanner, KernelScanner, Scanner
from nonsuch.work import presets
from nonsuch.work.nonce import Decimal, Raw
from nonsuch.work.puzzle import Puzzle

slow = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def leading_word(puzzle: Puzzle, nonce: int) -> int:
    return puzzle.rank(puzzle.digest(nonce)) >> 224


def found(scanner: Scanner, puzzle: Puzzle, start: int, stop: int, limit: int) -> list[int]:
    """The candidates proper: a kernel names batches, of which some nonce is one."""
    batches = list(scanner.candidates(start, stop, lambda: limit))
    assert all(batches), "no batch is empty"
    nonces = [nonce for batch in batches for nonce in batch]
    assert nonces == sorted(set(nonces)), "ascending, none twice"
    assert all(start <= nonce < stop for nonce in nonces)
    return [nonce for nonce in nonces if leading_word(puzzle, nonce) <= limit]


def expected(puzzle: Puzzle, start: int, stop: int, limit: int) -> list[int]:
    return [nonce for nonce in range(start, stop) if leading_word(puzzle, nonce) <= limit]


@st.composite
def puzzles(draw: st.DrawFn) -> tuple[Puzzle, int]:
    nonce = draw(
        st.one_of(
            st.just(Decimal()),
            st.builds(Raw, st.integers(3, 8), st.sampled_from(["big", "little"])),
        )
    )
    puzzle = Puzzle(
        prefix=draw(st.integers(0, 130).map(lambda size: bytes(range(size)))),
        nonce=nonce,
        suffix=draw(st.sampled_from([b"", b"", b"!", b" and more", bytes(70)])),
        hash=draw(st.sampled_from(["sha256", "sha256d"])),
        order=draw(st.sampled_from(["big", "little"])),
    )
    width = draw(st.integers(5, 20)) if isinstance(nonce, Decimal) else nonce.size
    return puzzle, width


@slow
@given(puzzles(), st.data())
def test_candidates_are_hashlibs(
    kernel_level: str, drawn: tuple[Puzzle, int], data: st.DataObject
) -> None:
    puzzle, width = drawn
    try:
        field = Field(puzzle, width)
    except KernelUnavailable:
        assume(False)
    start = data.draw(st.integers(field.start, field.stop - 1))
    stop = min(field.stop, start + data.draw(st.integers(0, 4_500)))
    limit = data.draw(st.sampled_from([0, 2**20, 2**24, 2**28, 2**30]))
    scanner = KernelScanner(field, Halt())

    assert found(scanner, puzzle, start, stop, limit) == expected(puzzle, start, stop, limit)
    assert scanner.position == stop


def test_every_back_end_on_every_tail(kernel_level: str) -> None:
    """One and two blocks, digits across a block's end, single and double, both word orders."""
    cases = [
        (presets.plain(bytes(length)), 9, 999_998_500) for length in (0, 20, 45, 46, 47, 52, 58)
    ]
    cases += [
        (presets.bitcoin(bytes(76)), 4, 2**32 - 2_500),
        (presets.coordinator(bytes(104)), 4, 2**24 - 1_000),
        (presets.gossip(b"genesis"), 8, 2**64 - 2_500),
    ]
    for puzzle, width, start in cases:
        field = Field(puzzle, width)
        stop = min(start + 2_500, field.stop)
        wanted = expected(puzzle, start, stop, 2**25)
        for backend in available_backends():
            scanner = KernelScanner(field, Halt(), backend)
            got = found(scanner, puzzle, start, stop, 2**25)
            assert got == wanted, (backend, field.layout)


def test_a_chunk_boundary_is_crossed_without_loss(kernel_level: str) -> None:
    puzzle = presets.plain(b"across the top digits")
    field = Field(puzzle, 9)
    start, stop = 120_000_000 - 3_000, 120_000_000 + 3_000
    got = found(KernelScanner(field, Halt()), puzzle, start, stop, 2**24)
    assert got == expected(puzzle, start, stop, 2**24)


@given(
    st.sampled_from(
        [
            presets.plain(b"fallback"),
            presets.liteminer(b"fallback"),
            presets.bitcoin(bytes(80)),
            presets.peer(100),
            Puzzle(b"a", Raw(2, "little"), b"z" * 300),
        ]
    ),
    st.integers(0, 60_000),
    st.integers(0, 700),
    st.sampled_from([0, 2**24, 2**28, NO_LIMIT]),
)
def test_the_fallback_gives_exactly_the_candidates(
    puzzle: Puzzle, start: int, count: int, limit: int
) -> None:
    scanner = HashlibScanner(puzzle, Halt())
    batches = list(scanner.candidates(start, start + count, lambda: limit))
    assert [batch.start for batch in batches] == expected(puzzle, start, start + count, limit)
    assert all(len(batch) == 1 for batch in batches)


def falling_limit(limits: list[int]) -> Iterator[int]:
    yield from limits
    while True:
        yield -1


def test_a_limit_below_zero_ends_the_scan(level: str) -> None:
    """After the second candidate nothing more can matter: the rest counts as searched."""
    puzzle = presets.plain(b"enough")
    field_start, stop = 10**8, 10**8 + 10**7
    scanner: Scanner = HashlibScanner(puzzle, Halt())
    if level != "none":
        scanner = KernelScanner(Field(puzzle, 9), Halt())
    limits = falling_limit([2**26, 2**26])
    batches = list(scanner.candidates(field_start, stop, lambda: next(limits)))
    assert len(batches) <= 2
    assert scanner.position == stop


def test_a_halted_scan_knows_how_far_it_came(level: str) -> None:
    puzzle = presets.plain(b"enough")
    halt = Halt()
    scanner: Scanner = HashlibScanner(puzzle, halt)
    if level != "none":
        scanner = KernelScanner(Field(puzzle, 9), halt)
    candidates = scanner.candidates(10**8, 10**9, lambda: 2**22)
    hit = next(candidates)
    halt.set()
    assert list(candidates) == []
    assert hit.stop <= scanner.position < 10**9


def test_compiled_code_is_made_once_and_outlives_what_made_it(kernel_level: str) -> None:
    field = Field(presets.plain(b"twice"), 9)
    backend = available_backends()[0]
    assert compiled(field.layout, backend) is compiled(field.layout, backend)


def test_flags_form_a_tree() -> None:
    root = Halt()
    child, other = Halt(root), Halt(root)
    grandchild = Halt(child)
    child.set()
    assert child
    assert grandchild
    assert not other
    assert not root
    root.set()
    assert other
    assert Halt(root), "a flag made from a set one is set"


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_scan_of_few_nonces_hits_only_those(kernel_level: str, count: int) -> None:
    puzzle = presets.race(b"few")
    scanner = KernelScanner(Field(puzzle, 9), Halt())
    start = 10**8 + 1_999
    assert found(scanner, puzzle, start, start + count, NO_LIMIT) == list(
        range(start, start + count)
    )
