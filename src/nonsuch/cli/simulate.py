"""`nonsuch simulate`: seed after seed of a whole network in virtual time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.terminal import errors, format_count, output
from nonsuch.scenarios.pool import Story, play
from nonsuch.search.searcher import default_threads
from nonsuch.sim.world import Ranks

__all__ = ["simulate"]

EXIT_BROKEN = 1
SEEDS_MAX = 10**9
CHUNK_SEEDS = 20
"""Seeds that a process plays before it reports: they share what they hash."""


def simulate(
    seeds: Annotated[
        int, typer.Option("--seeds", "-n", metavar="N", help="How many seeds to play.")
    ] = 100,
    first: Annotated[int, typer.Option("--first", metavar="SEED", help="Begin at this seed.")] = 0,
    processes: Annotated[
        int | None,
        typer.Option("--processes", metavar="N", help="Default: one a processor."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Play pools in virtual time: each seed is a minute of crashes, cut cables and liars.

    The cores are the ones that `pool`, `miner` and `submit` run. Every answer is held against a
    plain search. Exit code 1 where a seed breaks something; it is printed, and breaks again.
    """
    if not 1 <= seeds <= SEEDS_MAX or not 0 <= first <= SEEDS_MAX:
        raise LocalError(f"--seeds and --first lie between 0 and {SEEDS_MAX}, and one is played")
    workers = processes or default_threads()
    if not 1 <= workers <= max(1, 4 * (os.cpu_count() or 1)):
        raise LocalError(f"--processes must be 1 or more, and not {workers} on this machine")
    broken: dict[int, str] = {}
    events, virtual = 0, 0.0
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("seeds", total=seeds)
        for seed, result in _played(range(first, first + seeds), workers):
            progress.advance(bar)
            if isinstance(result, str):
                broken[seed] = result
                errors.print(f"nonsuch: seed {seed}: {result}", markup=False)
            else:
                events += result.events
                virtual += result.seconds
    if json:
        report = {"seeds": seeds, "broken": sorted(broken), "events": events, "seconds": virtual}
        output.print(msgspec.json.encode(report).decode(), markup=False)
    else:
        output.print(f"seeds    {format_count(seeds)} played, {len(broken)} broken")
        output.print(f"events   {format_count(events)} in {virtual / 3600:.1f} virtual hours")
        if broken:
            output.print(f"broken   {', '.join(map(str, sorted(broken)))}")
    return EXIT_BROKEN if broken else 0


def _played(seeds: range, workers: int) -> Iterator[tuple[int, Story | str]]:
    if workers == 1 or len(seeds) <= CHUNK_SEEDS:
        yield from _play_chunk(seeds)
        return
    chunks = [seeds[start : start + CHUNK_SEEDS] for start in range(0, len(seeds), CHUNK_SEEDS)]
    with ProcessPoolExecutor(workers) as pool:
        try:
            for results in pool.map(_play_chunk, chunks):
                yield from results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _play_chunk(seeds: range) -> list[tuple[int, Story | str]]:
    ranks = Ranks()
    return [(seed, _play(seed, ranks)) for seed in seeds]


def _play(seed: int, ranks: Ranks) -> Story | str:
    """The story, or what broke. Whatever breaks is a finding, so everything is caught."""
    try:
        return play(seed, ranks)
    except Exception as error:  # noqa: BLE001
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"{type(error).__name__}: {error}\n{notes}"
