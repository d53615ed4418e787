"""Facts as log lines: for people on standard error, for programs as JSON on standard output.

A fact's class is the event and its fields are the values, so a line is found by the names that the
code uses. What happens all the time (a shard searched, an audit passed) is told if asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping

from rich.text import Text

from nonsuch.cli.terminal import errors, printable
from nonsuch.web.observations import MICROSECONDS, event_name, values_of

__all__ = ["Logger", "fact_logger"]

Logger = Callable[[object], None]

MILLISECONDS = 3
"""Digits behind the point that people get."""


def fact_logger(*, json: bool, quiet: frozenset[type] = frozenset()) -> Logger:
    """A function that logs facts, except those of the `quiet` kinds."""
    import structlog  # It takes a twentieth of a second, which other commands need not spend.

    digits = MICROSECONDS if json else MILLISECONDS
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=json)
    if json:
        log = structlog.wrap_logger(
            structlog.PrintLogger(sys.stdout),
            processors=[timestamp, structlog.processors.JSONRenderer()],
        )
    else:
        short = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        renderer = structlog.dev.ConsoleRenderer(
            colors=errors.is_terminal, sort_keys=False, pad_event_to=0
        )
        log = structlog.wrap_logger(_Lines(), processors=[short, _told_plainly, renderer])

    def tell(fact: object) -> None:
        if type(fact) not in quiet:
            log.info(event_name(type(fact)), **values_of(fact, digits))

    return tell


def _told_plainly(
    _log: object, _method: str, values: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """What strangers say of themselves cannot move the cursor; JSON escapes it anyway."""
    return {
        name: printable(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


class _Lines:
    """Lines on standard error that get along with a line that is shown there all the time."""

    def info(self, text: str) -> None:
        """One line of a log."""
        errors.print(Text.from_ansi(text))
