"""The two questions people ask, in one call each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nonsuch.errors import LocalError, shown
from nonsuch.search.searcher import Progress, search
from nonsuch.work.goals import First, Goal, Lowest
from nonsuch.work.presets import PRESETS
from nonsuch.work.puzzle import Proof, Puzzle
from nonsuch.work.target import Target

__all__ = ["Question", "first", "first_question", "lowest_question", "solve"]


def _as_puzzle(subject: Puzzle | bytes | str, preset: str = "plain") -> Puzzle:
    """The puzzle itself, or the preset's puzzle of a message (text is taken as UTF-8).

    Raises `LocalError` for an unknown preset or a message that it cannot take.
    """
    if isinstance(subject, Puzzle):
        return subject
    if preset not in PRESETS:
        raise LocalError(f"there is no preset {preset!r}; choose from {', '.join(PRESETS)}")
    message = subject.encode() if isinstance(subject, str) else subject
    return PRESETS[preset].build(message)


class Question(NamedTuple):
    """What to ask of `search`: its first three arguments."""

    puzzle: Puzzle
    nonces: range
    goal: Goal


def lowest_question(subject: Puzzle | bytes | str, upto: int, preset: str) -> Question:
    """Which nonce in [0, upto] has the lowest hash? Raises `LocalError` as `solve` does."""
    if upto < 0:
        raise LocalError(f"the upper end of the range is a nonce, 0 or more; {shown(upto)} is not")
    return Question(_as_puzzle(subject, preset), range(upto + 1), Lowest())


def first_question(
    subject: Puzzle | bytes | str, target: Target, start: int, stop: int | None, preset: str
) -> Question:
    """Which is the first nonce in [start, stop) that the target admits?"""
    puzzle = _as_puzzle(subject, preset)
    nonces = range(start, puzzle.nonce.count if stop is None else stop)
    return Question(puzzle, nonces, First(target))


def solve(
    subject: Puzzle | bytes | str,
    upto: int,
    *,
    preset: str = "plain",
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Proof:
    """The nonce in [0, upto], inclusive, whose hash is the lowest; on a tie the smallest nonce.

    `subject` is a message, or a `Puzzle` for anything that no preset describes. `threads` defaults
    to the processors this process may use; `progress` is called some ten times a second.

    Raises `LocalError` where `upto` is negative or does not fit the puzzle's nonce field.
    """
    question = lowest_question(subject, upto, preset)
    outcome = search(*question, threads=threads, progress=progress)
    assert outcome.proof is not None, "a range that is not empty has a lowest hash"
    return outcome.proof


def first(
    subject: Puzzle | bytes | str,
    target: Target,
    *,
    start: int = 0,
    stop: int | None = None,
    preset: str = "plain",
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Proof | None:
    """The first nonce in [start, stop) whose hash the target admits, or None where there is none.

    It is the first however many threads search. `stop` defaults to the end of the nonce field.
    Raises `LocalError` for a range that does not fit it.
    """
    question = first_question(subject, target, start, stop, preset)
    return search(*question, threads=threads, progress=progress).proof
