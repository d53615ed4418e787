"""The example of MPI, run as its text says."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import nonsuch

EXAMPLES = Path(__file__).parents[2] / "examples" / "engines"

UPTO = 300_000

# Beside this Python where it came as a package, or on the machine.
MPIEXEC = shutil.which(
    "mpiexec", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
)


class Solved(msgspec.Struct):
    """What `solve --json` prints, as far as it matters here."""

    nonce: int
    engine: str


@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="there is no mpi4py here")
@pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec here")
def test_ranks_of_mpi_search() -> None:
    command = [str(MPIEXEC), "-n", "3", sys.executable, "-m", "mpi4py.futures", "-m", "nonsuch"]
    command += ["solve", "by ranks", "--upto", str(UPTO), "--engine", "mpi:engine", "--json"]
    done = subprocess.run(
        command, cwd=EXAMPLES, env=os.environ, capture_output=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    solved = msgspec.json.decode(done.stdout, type=Solved)
    assert solved.nonce == nonsuch.solve("by ranks", UPTO).nonce
    assert solved.engine == "mpi:engine"
