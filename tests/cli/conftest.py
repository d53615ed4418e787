"""Running the program as people do: a real process, its output, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple, Protocol

import pytest

FALLBACK_NOTICE = "nonsuch: searching with hashlib, which is slower: "
"""The one line that stands on standard error where there is no kernel. It is no complaint."""


class Answer(NamedTuple):
    """What a process left behind."""

    code: int
    output: str
    errors: str
    """Standard error, less the notice that the search is done with hashlib."""

    @property
    def facts(self) -> dict[str, str]:
        """The lines of the answer by their first word: `nonce`, `hash`, `range` …"""
        return dict(line.split(maxsplit=1) for line in self.output.splitlines())


class Run(Protocol):
    """`nonsuch ARGUMENTS…` with these bytes on standard input and these variables on top."""

    def __call__(self, *arguments: str, stdin: bytes = b"", **variables: str) -> Answer: ...


def _run(*arguments: str, stdin: bytes = b"", **variables: str) -> Answer:
    done = subprocess.run(
        [sys.executable, "-m", "nonsuch", *arguments],
        input=stdin,
        env={**os.environ, **variables},
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = done.stderr.decode().splitlines(keepends=True)
    complaints = [line for line in lines if not line.startswith(FALLBACK_NOTICE)]
    return Answer(done.returncode, done.stdout.decode(), "".join(complaints))


@pytest.fixture(scope="session")
def run() -> Run:
    """The program, as a function."""
    return _run
