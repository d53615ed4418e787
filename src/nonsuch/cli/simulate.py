"""`nonsuch simulate`: seed after seed of a whole network in virtual time."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.terminal import errors, format_count, output
from nonsuch.scenarios import coordinator, gossip, peer, pool, race, relay
from nonsuch.search.searcher import default_threads
from nonsuch.sim.world import Ranks

__all__ = ["simulate"]

EXIT_BROKEN = 1
SEEDS_MAX = 10**9
CHUNK_SEEDS = 20
"""Seeds that a process plays before it reports: they share what they hash."""


Story = pool.Story | race.Story | peer.Story | gossip.Story | coordinator.Story

NETWORKS: dict[str, Callable[[int, Ranks], Story]] = {
    "pool": pool.play,
    "relay": relay.play,
    "race": lambda seed, _ranks: race.play(seed),
    "peer": lambda seed, _ranks: peer.play(seed),
    "gossip": lambda seed, _ranks: gossip.play(seed),
    "coordinator": lambda seed, _ranks: coordinator.play(seed),
}


def simulate(
    network: Annotated[
        str,
        typer.Option("--network", metavar="NAME", help=f"Which: {', '.join(NETWORKS)}."),
    ] = "pool",
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
    """Play a network in virtual time: each seed is a minute of crashes, cut cables and liars.

    The cores are the ones that the commands run. A pool's answers are held against a plain search,
    a race must have one winner, and the others a chain that all agree on. Exit code 1 where a seed
    breaks something; it is printed, and breaks again.
    """
    if network not in NETWORKS:
        raise LocalError(
            f"there is no network {network!r} to play; choose from {', '.join(NETWORKS)}"
        )
    if not 1 <= seeds <= SEEDS_MAX or not 0 <= first <= SEEDS_MAX:
        raise LocalError(f"--seeds and --first lie between 0 and {SEEDS_MAX}, and one is played")
    workers = processes or default_threads()
    if not 1 <= workers <= max(1, 4 * (os.cpu_count() or 1)):
        raise LocalError(f"--processes must be 1 or more, and not {workers} on this machine")
    broken: dict[int, str] = {}
    events, virtual = 0, 0.0
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("seeds", total=seeds)
        for seed, result in _played(network, range(first, first + seeds), workers):
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


def _played(network: str, seeds: range, workers: int) -> Iterator[tuple[int, Story | str]]:
    if workers == 1 or len(seeds) <= CHUNK_SEEDS:
        yield from _play_chunk(network, seeds)
        return
    chunks = [seeds[start : start + CHUNK_SEEDS] for start in range(0, len(seeds), CHUNK_SEEDS)]
    play_chunk = functools.partial(_play_chunk, network)
    with ProcessPoolExecutor(workers) as executor:
        try:
            for results in executor.map(play_chunk, chunks):
                yield from results
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _play_chunk(network: str, seeds: range) -> list[tuple[int, Story | str]]:
    ranks = Ranks()
    return [(seed, _play(network, seed, ranks)) for seed in seeds]


def _play(network: str, seed: int, ranks: Ranks) -> Story | str:
    """The story, or what broke. Whatever breaks is a finding, so everything is caught."""
    try:
        return NETWORKS[network](seed, ranks)
    except Exception as error:  # noqa: BLE001
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"{type(error).__name__}: {error}\n{notes}"
