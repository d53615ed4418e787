"""`nonsuch race ledger`: who has won what, and how fast, as a table, as JSON or as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from json import dumps as json_dumps
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.terminal import format_count, output, printable
from nonsuch.live.ledgers import Entry, open_ledger
from nonsuch.networks.race.ledger import Ledger

__all__ = ["ledger"]

TEXT_CHARACTERS_SHOWN = 40
HASH_DIGITS_SHOWN = 12

SECONDS_MAX = 1e12
"""A longer time is a mistake, and sums of those would be too large for a float."""

PLOT_INCHES = (8.0, 4.5)
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


class NodeTimes(msgspec.Struct, frozen=True):
    """What a node has won, and how long that took it, in seconds; None where no entry says so."""

    node: str
    wins: int
    seconds_mean: float | None
    seconds_median: float | None
    seconds_least: float | None
    seconds_most: float | None


def ledger(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The ledger, FILE or sqlite:FILE.")
    ] = "ledger.json",
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            help="Draw the times of each node into this file, .png, .svg or .pdf.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Show a ledger: its entries, and the wins of each node. It is read, and never changed."""
    entries = _read(file)
    times = _times(entries)
    if plot is not None:
        _draw(entries, times, plot)
    if json:
        nodes = [msgspec.structs.asdict(each) for each in times]
        # Other programs may have written what is no Unicode: that is kept, as \\ud800 and the like.
        output.print(json_dumps({"entries": entries, "nodes": nodes}), markup=False)
        return 0
    output.print(_entry_table(entries))
    output.print(_node_table(times))
    if plot is not None:
        output.print(f"plot     {plot}", markup=False)
    return 0


def _read(name: str) -> list[Entry]:
    path = Path(name.removeprefix("sqlite:"))
    if not path.exists():
        raise LocalError(f"there is no ledger {path}; a race makes one with its first winner")
    opened = open_ledger(name)
    try:
        entries = opened.read()
    finally:
        opened.close()
    Ledger(entries)  # Says which entry is none.
    return entries


def _times(entries: Sequence[Entry]) -> list[NodeTimes]:
    """By node, whoever has won most first."""
    nodes: dict[str, list[float]] = {}
    wins: dict[str, int] = {}
    for entry in entries:
        node = str(entry["node"])
        wins[node] = wins.get(node, 0) + 1
        taken = _seconds(entry)
        nodes.setdefault(node, []).extend([] if taken is None else [taken])
    ordered = sorted(wins, key=lambda node: (-wins[node], node))
    return [_times_of(node, wins[node], nodes[node]) for node in ordered]


def _times_of(node: str, wins: int, seconds: Sequence[float]) -> NodeTimes:
    if not seconds:
        return NodeTimes(node, wins, None, None, None, None)
    mean, median = statistics.fmean(seconds), statistics.median(seconds)
    return NodeTimes(node, wins, mean, median, min(seconds), max(seconds))


def _seconds(entry: Entry) -> float | None:
    """The time that an entry says it took; other programs may write anything."""
    taken = entry.get("time_taken")
    if not isinstance(taken, int | float):
        return None
    try:
        seconds = float(taken)
    except OverflowError:
        return None
    return seconds if 0 <= seconds <= SECONDS_MAX else None


def _entry_table(entries: Sequence[Entry]) -> Table:
    table = Table(box=None, title=f"{format_count(len(entries))} races", title_justify="left")
    for column in ("#", "node", "transaction", "nonce", "hash", "seconds", "finished"):
        table.add_column(column, justify="right" if column in "# nonce seconds" else "left")
    for number, entry in enumerate(entries, 1):
        taken = _seconds(entry)
        table.add_row(
            str(number),
            _shown(entry, "node", TEXT_CHARACTERS_SHOWN),
            _shown(entry, "transaction_data", TEXT_CHARACTERS_SHOWN),
            _shown(entry, "nonce", TEXT_CHARACTERS_SHOWN),
            _shown(entry, "hash", HASH_DIGITS_SHOWN),
            "" if taken is None else f"{taken:.6f}",
            _shown(entry, "end_time", TEXT_CHARACTERS_SHOWN),
        )
    return table


def _shown(entry: Entry, key: str, limit: int) -> str:
    text = printable(str(entry.get(key, "")))
    # Square brackets would be taken for markup.
    return (text if len(text) <= limit else text[: limit - 1] + "…").replace("[", r"\[")


def _node_table(times: Sequence[NodeTimes]) -> Table:
    table = Table(box=None)
    table.add_column("node")
    for column in ("wins", "mean s", "median s", "least s", "most s"):
        table.add_column(column, justify="right")
    for each in times:
        seconds = each.seconds_mean, each.seconds_median, each.seconds_least, each.seconds_most
        texts = ("" if value is None else f"{value:.6f}" for value in seconds)
        table.add_row(printable(each.node).replace("[", r"\["), str(each.wins), *texts)
    return table


def _draw(entries: Sequence[Entry], times: Sequence[NodeTimes], path: Path) -> None:
    """A row a node: a dot for each race that it has won, by the time that it took."""
    if path.suffix not in PLOT_SUFFIXES:
        raise LocalError(f"--plot draws {', '.join(PLOT_SUFFIXES)} files, not {str(path)!r}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise LocalError("--plot needs matplotlib: pip install 'nonsuch[plots]'") from None
    figure = Figure(figsize=PLOT_INCHES, layout="constrained")
    axes = figure.add_subplot()
    rows = {each.node: row for row, each in enumerate(times)}
    taken = [(entry, _seconds(entry)) for entry in entries]
    points = [
        (seconds, rows[str(entry["node"])]) for entry, seconds in taken if seconds is not None
    ]
    axes.scatter([x for x, _ in points], [y for _, y in points], alpha=0.5)
    medians = [(each.seconds_median, rows[each.node]) for each in times]
    known = [(seconds, row) for seconds, row in medians if seconds is not None]
    axes.scatter([x for x, _ in known], [y for _, y in known], marker="|", s=400, label="median")
    axes.set_yticks(list(rows.values()), [f"{each.node}: {each.wins} won" for each in times])
    axes.set_xlabel("seconds from the start of the search to the nonce")
    axes.set_title(f"{len(entries)} races")
    if known:
        axes.legend()
    try:
        figure.savefig(path)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}") from None
