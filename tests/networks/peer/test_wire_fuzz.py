"""The peers' own wire under bytes that are almost valid."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzz.peers import fuzz_one, inputs

ROOT = Path(__file__).parents[3]


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    fuzz_one(data)


def test_mutated_streams() -> None:
    for data in islice(inputs(seed=20), 700):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.peers", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")
