"""Where no memory can be made executable, there is no kernel, and nobody crashes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nonsuch

BOUND = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h, since Linux 6.3
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "nonsuch", *sys.argv[1:]])
"""
CANNOT = 77


@pytest.mark.skipif(sys.platform != "linux", reason="a rule of Linux")
def test_a_process_that_may_not_write_code_searches_with_hashlib() -> None:
    solved = bound("solve", "no kernel", "--upto", "400000", "--json")
    assert "may not make memory executable (MemoryDenyWriteExecute?)" in solved.stderr
    assert f'"nonce":{nonsuch.solve("no kernel", 400_000).nonce},' in solved.stdout
    assert "none, hashlib instead: this process may not" in bound("info").stdout


def bound(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose process may not make memory executable."""
    command = [sys.executable, "-c", BOUND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode == CANNOT:
        pytest.skip("this Linux has no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr
    return done
