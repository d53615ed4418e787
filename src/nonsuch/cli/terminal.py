"""What people read: consoles, numbers with units, and the progress of a search."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from nonsuch import Progress
from nonsuch.networks.pool.facts import Progressed

__all__ = [
    "errors",
    "format_count",
    "format_duration",
    "format_rate",
    "is_shown_live",
    "job_progress",
    "live_line",
    "output",
    "printable",
    "search_progress",
]

output = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

QUIET_LINE_SECONDS = 10
"""How often a line tells of progress where standard error is not a terminal."""

_WIDTH_MIN = 20
"""The bar leaves room for the ^C that a terminal echoes, lest that begin a line of its own."""

_RATE_UNITS = ((1e9, "GH/s"), (1e6, "MH/s"), (1e3, "kH/s"))


def printable(text: str, keep: str = "") -> str:
    """A stranger's text, in which nothing but what is in `keep` can move the cursor."""
    return "".join(c if c.isprintable() or c in keep else "·" for c in text)


def format_rate(hashes_per_second: float) -> str:
    """A hash rate with its unit: `53.1 MH/s`."""
    for size, unit in _RATE_UNITS:
        if hashes_per_second >= size:
            return f"{hashes_per_second / size:.1f} {unit}"
    return f"{hashes_per_second:.0f} H/s"


def format_count(count: int) -> str:
    """A whole number with thousands apart: `1,000,000`."""
    return f"{count:,}"


def format_duration(seconds: float) -> str:
    """A time for people: `0.3 s`, `4 min 10 s`, `3 h 20 min`, `12 days`, `2,000 years`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    if seconds < 86400 * 730:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / (86400 * 365.25):,.0f} years"


@contextmanager
def search_progress(expected: int | None) -> Iterator[Callable[[Progress], None]]:
    """A callback for a search: a live bar on a terminal, else a line now and then, on stderr.

    `expected` is the work a first-below-target search takes on average; None where the whole range
    will be searched.
    """
    with _display("starting", expected) as show:
        yield lambda now: show(now.hashes, now.total, lambda: _describe(now, expected))


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """A function that shows one line on standard error, in the place of the last; on a terminal."""
    if not is_shown_live():
        yield lambda _text: None
        return
    with errors.status("starting") as status:
        # What strangers call their jobs is shown too: it is neither markup nor moves the cursor.
        yield lambda text: status.update(Text(printable(text)))


def is_shown_live() -> bool:
    """Whether somebody sees what is drawn again and again on standard error.

    A command that a shell runs behind another one should not draw over it.
    """
    if not errors.is_terminal:
        return False
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return True


@contextmanager
def job_progress(expected: int | None) -> Iterator[Callable[[Progressed], None]]:
    """A callback for the progress of a pool's job, in the same form."""
    with _display("connecting", expected) as show:
        yield lambda now: show(now.done, now.total, lambda: _describe_job(now, expected))


_Show = Callable[[int, int, Callable[[], str]], None]
"""Takes what is done, of how much, and a function that describes it."""


@contextmanager
def _display(beginning: str, expected: int | None) -> Iterator[_Show]:
    if not errors.is_terminal:
        yield _QuietLines()
        return
    columns = BarColumn(bar_width=24), TextColumn("{task.description}")
    console = Console(stderr=True, width=max(_WIDTH_MIN, errors.width - len("^C")))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(beginning, total=None)

        def show(done: int, total: int, describe: Callable[[], str]) -> None:
            known = total if expected is None else None
            bar.update(task, completed=done, total=known, description=describe())

        yield show


def _describe_job(progress: Progressed, expected: int | None) -> str:
    if not progress.miners:
        return "the pool has no miners; the job waits for one"
    miners = f"{progress.miners} miner{'' if progress.miners == 1 else 's'}"
    parts = [f"{format_count(progress.done)} hashes", format_rate(progress.rate), miners]
    if progress.nonce is not None:
        parts.append(f"best nonce {progress.nonce}")
    if progress.rate > 0:
        parts.append(_time_left(progress.done, progress.total, progress.rate, expected))
    return " · ".join(parts)


class _QuietLines:
    """Progress for logs: the first line only once the search has taken a while."""

    def __init__(self) -> None:
        self._next = time.monotonic() + QUIET_LINE_SECONDS

    def __call__(self, _done: int, _total: int, describe: Callable[[], str]) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + QUIET_LINE_SECONDS
            errors.print(f"nonsuch: {describe()}")


def _describe(progress: Progress, expected: int | None) -> str:
    parts = [f"{format_count(progress.hashes)} hashes", format_rate(progress.rate)]
    if progress.best is not None:
        parts.append(f"best {progress.best.hexdigest[:20]}… at {progress.best.nonce}")
    if progress.rate > 0:
        parts.append(_time_left(progress.hashes, progress.total, progress.rate, expected))
    return " · ".join(parts)


def _time_left(hashes: int, total: int, rate: float, expected: int | None) -> str:
    if expected is None:
        return f"{format_duration((total - hashes) / rate)} left"
    # Each try is as likely to succeed as the last: the wait does not grow shorter by waiting.
    ahead = min(expected, total - hashes)
    return f"about {format_duration(ahead / rate)} left on average"
