"""`nonsuch solve`: find the nonce with the lowest hash, or the first below a target."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Annotated

import msgspec
import typer

from nonsuch import First, Goal, Halt, Outcome, Puzzle
from nonsuch.cli import options
from nonsuch.cli.access import Access, parse_address
from nonsuch.cli.engines import opened_engine
from nonsuch.cli.inputs import check_threads, chosen_target, read_message, read_question
from nonsuch.cli.submit import submit_question
from nonsuch.cli.terminal import (
    errors,
    format_count,
    format_duration,
    format_rate,
    output,
    search_progress,
)
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.opening import THREADS, check_insecure
from nonsuch.search.engines.spread import search_on
from nonsuch.search.searcher import Searcher
from nonsuch.search.solve import Question

__all__ = ["solve"]

EXIT_NOT_FOUND = 1
EXIT_SIGNAL = 128
"""A command ended by a signal exits with this plus the signal's number."""

COVERED_SHOWN_MAX = 8


_POOL_USELESS = dict.fromkeys(
    ("threads", "engine", "insecure"), "a pool has miners of its own; leave it out, or --pool"
)
_ALONE_USELESS = dict.fromkeys(
    ("token_file", "tls", "tls_ca"), "it is about the pool of --pool: name it"
)
"""Options that mean nothing with --pool, or without, and why."""


def solve(
    context: typer.Context,
    message: options.Message = None,
    upto: options.Upto = None,
    start: options.Start = None,
    zeros: options.Zeros = None,
    bits: options.Bits = None,
    target: options.TargetText = None,
    difficulty: options.Difficulty = None,
    preset: options.PresetName = "plain",
    file: options.File = None,
    hexadecimal: options.Hexadecimal = False,
    binary: options.Binary = False,
    threads: options.SlotThreads = None,
    engine: options.Engine = THREADS,
    insecure: options.InsecureEngine = False,
    pool: Annotated[
        str | None,
        typer.Option("--pool", metavar="HOST:PORT", help="Let this pool do it; see `submit`."),
    ] = None,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
    json: options.Json = False,
) -> int:
    """Find the lowest hash of a range, or the first that meets a target.

    With --upto alone, all nonces up to N are searched and the one with the lowest hash is printed.
    With a target, by option or by preset, the first nonce that meets it. Ctrl-C prints the best so
    far and what was searched, and exits with 130. Exit code 1: no nonce of the range meets it.
    """
    options.refuse_useless(context, _ALONE_USELESS if pool is None else _POOL_USELESS)
    check_threads(threads)
    content = read_message(message, file, hexadecimal=hexadecimal, binary=binary)
    wanted = chosen_target(zeros=zeros, bits=bits, target=target, difficulty=difficulty)
    puzzle, nonces, goal = read_question(content, preset, wanted, start, upto)
    if pool is not None:
        place = parse_address(pool, "--pool")
        access = Access.found(token_file, tls=tls, authority=tls_ca)
        return submit_question(Question(puzzle, nonces, goal), place, access, json=json)
    check_insecure(engine, insecure=insecure)
    halt = Halt()
    # Before the search there is nothing to tell: a signal then ends the command.
    with (
        _engine(engine, threads, insecure=insecure) as opened,
        _halted_by_signals(halt) as received,
    ):
        if opened is None:
            outcome, slots = _searched(puzzle, nonces, goal, threads, halt)
        else:
            outcome, slots = _searched_on(opened, puzzle, nonces, goal, halt)
    report = _report(preset, nonces, goal, outcome, slots, engine)
    if json:
        output.print(msgspec.json.encode(report).decode(), markup=False)
    else:
        _print_report(report, puzzle)
    if outcome.stopped:
        return EXIT_SIGNAL + (received[0] if received else signal.SIGINT)
    return 0 if outcome.proof is not None else EXIT_NOT_FOUND


def _engine(
    name: str, threads: int | None, *, insecure: bool
) -> AbstractContextManager[Engine | None]:
    """None for threads of this process: one search has them all, and needs no pieces."""
    if name == THREADS:
        return nullcontext()
    return opened_engine(name, threads, insecure=insecure)


def _searched(
    puzzle: Puzzle, nonces: range, goal: Goal, threads: int | None, halt: Halt
) -> tuple[Outcome, int]:
    """In this process: the outcome, and on how many threads."""
    searcher = Searcher(puzzle, nonces, goal, threads=threads, halt=halt)
    with search_progress(_expected(goal)) as progress:
        return searcher.run(progress), searcher.threads


def _searched_on(
    engine: Engine, puzzle: Puzzle, nonces: range, goal: Goal, halt: Halt
) -> tuple[Outcome, int]:
    """On an engine: the outcome, and on how many slots at the end."""
    with search_progress(_expected(goal)) as progress:
        outcome = search_on(engine, puzzle, nonces, goal, progress=progress, halt=halt)
    return outcome, engine.slots()


def _expected(goal: Goal) -> int | None:
    return goal.target.work if isinstance(goal, First) else None


@contextmanager
def _halted_by_signals(halt: Halt) -> Iterator[list[int]]:
    """SIGINT and SIGTERM halt the search; a second one has its usual effect."""
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        halt.set()
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        restore()


class _Report(msgspec.Struct, omit_defaults=False):
    """What `--json` prints. Ranges are [first, last], both included."""

    nonce: int | None
    hash: str | None
    found: bool
    stopped: bool
    verified: bool
    goal: str
    target: str | None
    preset: str
    preimage: str | None
    range: tuple[int, int]
    covered: list[tuple[int, int]]
    hashes: int
    seconds: float
    hashes_per_second: float
    threads: int
    engine: str


def _report(
    preset: str, nonces: range, goal: Goal, outcome: Outcome, threads: int, engine: str
) -> _Report:
    proof = outcome.proof or outcome.best
    target = goal.target if isinstance(goal, First) else None
    return _Report(
        nonce=None if proof is None else proof.nonce,
        hash=None if proof is None else proof.hexdigest,
        found=outcome.proof is not None and not outcome.stopped,
        stopped=outcome.stopped,
        verified=proof is not None and proof.verify(),
        goal="lowest" if target is None else "first",
        target=None if target is None else str(target),
        preset=preset,
        preimage=None if proof is None else proof.puzzle.preimage(proof.nonce).hex(),
        range=(nonces.start, nonces.stop - 1),
        covered=[(part.start, part.stop - 1) for part in outcome.covered],
        hashes=outcome.hashes,
        seconds=outcome.seconds,
        hashes_per_second=outcome.hashes / outcome.seconds if outcome.seconds else 0.0,
        threads=threads,
        engine=engine,
    )


def _print_report(report: _Report, puzzle: Puzzle) -> None:
    if not report.found:
        errors.print(_why_not_found(report), markup=False)
    if report.nonce is not None:
        best = (
            "" if report.found else "   (the best so far)" if report.stopped else "   (the lowest)"
        )
        output.print(f"nonce    {report.nonce}{best}", markup=False)
        output.print(f"hash     {report.hash}", markup=False)
    if report.target is not None:
        output.print(f"target   {report.target}")
    first, last = report.range
    output.print(f"range    {format_count(first)} to {format_count(last)}")
    if report.stopped:
        output.print(f"covered  {_covered(report)}")
    if report.verified:
        output.print(f"checked  hashlib's {puzzle.hash} gives the same hash")
    output.print(
        f"work     {format_count(report.hashes)} hashes in {format_duration(report.seconds)},"
        f" {format_rate(report.hashes_per_second)}, {_slots(report)}"
    )


def _slots(report: _Report) -> str:
    many = "" if report.threads == 1 else "s"
    if report.engine == THREADS:
        return f"{report.threads} thread{many}"
    return f"{report.threads} slot{many} of {report.engine}"


def _why_not_found(report: _Report) -> str:
    if report.stopped:
        return "nonsuch: stopped before the whole range was searched"
    return "nonsuch: no nonce of this range meets the target"


def _covered(report: _Report) -> str:
    parts = [f"{format_count(a)} to {format_count(b)}" for a, b in report.covered]
    more = len(parts) - COVERED_SHOWN_MAX
    shown = ", ".join(parts[:COVERED_SHOWN_MAX]) or "nothing"
    return f"{shown} and {more} more parts" if more > 0 else shown
