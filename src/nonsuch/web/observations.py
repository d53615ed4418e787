"""What was observed: one node told one fact at one time.

One stream of observations is everything that a dashboard knows: the picture is folded from it, a
recording is it, and a replay folds it again. They come from two places and look the same. A process
writes its facts as JSON lines (`nonsuch.cli.logs`), and in a simulated world the typed facts are at
hand. The naming is here, for both: a fact's class is what happened, in words, and its fields are
the values.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

import msgspec

__all__ = [
    "LINE",
    "Observation",
    "event_name",
    "observed_fact",
    "observed_line",
    "values_of",
]

LINE = "line"
"""The fact of a line that is no fact: its text alone."""

TEXT_CHARACTERS_MAX = 500
"""As much of such a line as anybody reads."""

FACT_CHARACTERS_MAX = 500_000
"""A line that is longer is no fact: a transaction of 64 KiB, each byte written as \\u00ff, fits."""

VALUES_MAX = 64
"""Fields of one fact; ours have a dozen."""

MICROSECONDS = 6
"""Digits behind the point that programs get: Unix times keep their microseconds."""


class Observation(msgspec.Struct, frozen=True):
    """At `at`, Unix seconds or virtual ones, `node` told `fact` with these values.

    The fleet itself tells as the node "".
    """

    at: float
    node: str
    fact: str
    values: dict[str, object] = {}


def event_name(kind: type) -> str:
    """`MinerJoined` as people say it: `miner joined`."""
    return _words(kind.__name__)


@lru_cache(maxsize=1024)
def _words(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def values_of(fact: object, digits: int = MICROSECONDS) -> dict[str, object]:
    """The fields of a fact as plain values, with so many digits behind the point."""
    values: dict[str, object] = msgspec.to_builtins(fact, builtin_types=(bytes,))
    return {
        name: round(value, digits) if isinstance(value, float) else value
        for name, value in values.items()
    }


def observed_fact(fact: object, node: str, at: float) -> Observation:
    """A typed fact that was told at `at`."""
    values: dict[str, object] = msgspec.to_builtins(fact)
    return Observation(round(at, MICROSECONDS), node, event_name(type(fact)), values)


_decoder = msgspec.json.Decoder(dict[str, object])


def observed_line(line: str, node: str, now: float) -> Observation:
    """A line that a process wrote and that was read at `now`: a fact, or just its text."""
    if line.startswith("{") and len(line) <= FACT_CHARACTERS_MAX:
        try:
            return _read(_decoder.decode(line), node)
        except (ValueError, OverflowError, RecursionError):
            pass  # People may write lines that begin with a brace.
    return Observation(now, node, LINE, {"text": line[:TEXT_CHARACTERS_MAX]})


def _read(values: dict[str, object], node: str) -> Observation:
    """Raises `ValueError` for what no log of ours says."""
    event, timestamp = values.pop("event", None), values.pop("timestamp", None)
    if not isinstance(event, str) or not isinstance(timestamp, str) or len(values) > VALUES_MAX:
        raise ValueError("no fact")
    at = datetime.fromisoformat(timestamp).timestamp()
    return Observation(at, node, event[:TEXT_CHARACTERS_MAX], values)
