"""`nonsuch bench`: this machine's hash rate, beside the loop that one would write with hashlib."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.inputs import check_threads
from nonsuch.cli.terminal import errors, format_rate, output
from nonsuch.search.measure import CASES, Comparison, compare

__all__ = ["bench"]

SECONDS_MAX = 3600.0
ROUNDS_MAX = 1000


def bench(
    preset: Annotated[
        str | None,
        typer.Option("--preset", "-p", metavar="NAME", help="Measure this preset only."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long each single run takes.")
    ] = 0.3,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", help="How many runs the medians are taken of.")
    ] = 3,
    threads: Annotated[
        int,
        typer.Option(
            "--threads", "-t", metavar="N", help="Threads of the search; the loops have one."
        ),
    ] = 1,
    json: options.Json = False,
) -> int:
    """Measure the search against a loop with hashlib.

    Each preset in turn; what is printed are the medians of all runs. The loop with a copied
    midstate hashes the message once and copies that state for each nonce.
    """
    check_threads(threads)
    if preset is not None and preset not in CASES:
        raise LocalError(
            f"there is nothing to measure for {preset!r}; choose from {', '.join(CASES)}"
        )
    if not 0 < seconds <= SECONDS_MAX:
        raise LocalError(f"--seconds must be above 0 and at most {SECONDS_MAX:.0f}, not {seconds}")
    if not 1 <= rounds <= ROUNDS_MAX:
        raise LocalError(f"--rounds must lie between 1 and {ROUNDS_MAX}; {rounds} does not")
    measured: dict[str, Comparison] = {}
    with errors.status("measuring") as status:
        for name in [preset] if preset else CASES:
            status.update(f"measuring {name}")
            measured[name] = compare(CASES[name], seconds=seconds, rounds=rounds, threads=threads)
    if json:
        output.print(msgspec.json.encode(measured).decode(), markup=False)
    else:
        output.print(_table(measured))
    return 0


def _table(measured: dict[str, Comparison]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("preset")
    for heading in ("search", "hashlib", "ratio", "copied midstate", "ratio "):
        table.add_column(heading, justify="right")
    for name, result in measured.items():
        table.add_row(
            name,
            format_rate(result.search),
            format_rate(result.hashlib),
            f"{result.ratio:.1f}×",
            format_rate(result.midstate),
            f"{result.ratio_to_midstate:.1f}×",
        )
    return table
