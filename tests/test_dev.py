"""dev.py on a fresh machine, told with real processes on a very small project.

The project has no dependencies, and its build backend is one file beside it, so that everything
is really made, installed and run, and nothing is downloaded.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEV = Path(__file__).parents[1] / "dev.py"

SECONDS_MAX = 60
"""An environment takes about four seconds; a machine fifteen times slower still passes."""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "nonsuch"
version = "0"

[dependency-groups]
dev = []
"""

BACKEND = '''
import zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """The smallest wheel there can be: a script's entry point and a path to the source."""
    info = "nonsuch-0.dist-info/"
    files = {
        "nonsuch.pth": __file__.rpartition("/")[0],
        info + "METADATA": "Metadata-Version: 2.1\\nName: nonsuch\\nVersion: 0\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt": "[console_scripts]\\nnonsuch = program:main\\n",
    }
    files[info + "RECORD"] = "".join(f"{name},,\\n" for name in [*files, info + "RECORD"])
    with zipfile.ZipFile(f"{wheel_directory}/nonsuch-0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "nonsuch-0-py3-none-any.whl"
'''

PROGRAM = """
import signal
import sys

def main():
    # Held back until it is waited for, a Ctrl-C cannot come too early.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print("nonsuch", *sys.argv[1:], flush=True)
    if sys.argv[1:] == ["wait"]:
        signal.sigwait({signal.SIGINT})
        return 130
    return 7
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="told with POSIX signals")


class Checkout:
    """A copy of dev.py beside a very small project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(DEV, folder)
        for name, text in (
            ("pyproject.toml", PYPROJECT),
            ("backend.py", BACKEND),
            ("program.py", PROGRAM),
        ):
            (folder / name).write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start dev.py as a shell with nothing on its path would: there is no uv."""
        return subprocess.Popen(
            [sys.executable, "dev.py", *arguments],
            cwd=self.folder,
            env={"PATH": str(self.folder), "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C for this command alone
        )

    def dev(self, *arguments: str) -> tuple[int, str, str]:
        """Run dev.py to its end: exit code, standard output, standard error."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=SECONDS_MAX)
        return process.returncode, output, errors

    @property
    def stamp(self) -> Path:
        return self.folder / ".venv" / "nonsuch-stamp.json"


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose environment two commands have made, started at the same time."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    processes = [checkout.start("run", name) for name in ("one", "two")]
    outputs = [process.communicate(timeout=SECONDS_MAX) for process in processes]
    assert [process.returncode for process in processes] == [7, 7], outputs
    assert [output for output, _ in outputs] == ["nonsuch one\n", "nonsuch two\n"]
    makers = [errors for _, errors in outputs if "dev.py: making .venv\n" in errors]
    assert len(makers) == 1, outputs
    return checkout


def test_when_all_is_ready_only_the_command_speaks(checkout: Checkout) -> None:
    assert checkout.dev("run", "a", "b c", "--help") == (7, "nonsuch a b c --help\n", "")


def test_ctrl_c_reaches_the_command_and_its_exit_code_comes_back(checkout: Checkout) -> None:
    process = checkout.start("run", "wait")
    assert process.stdout
    assert process.stdout.readline() == "nonsuch wait\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, errors) == (130, "")


def test_a_signal_ends_the_command_itself(checkout: Checkout) -> None:
    process = checkout.start("run", "wait")
    assert process.stdout
    assert process.stdout.readline() == "nonsuch wait\n"
    process.terminate()
    process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == -signal.SIGTERM


def test_a_failed_install_shows_its_last_words_and_leaves_no_stamp(checkout: Checkout) -> None:
    wheel = f"nowhere @ file://{checkout.folder}/nowhere-1-py3-none-any.whl"
    project = checkout.folder / "pyproject.toml"
    project.write_text(PYPROJECT.replace("dev = []", f'dev = ["{wheel}"]'), encoding="utf-8")
    code, output, errors = checkout.dev("setup")
    project.write_text(PYPROJECT, encoding="utf-8")
    assert (code, output) == (2, "")
    assert "could not install what Nonsuch needs" in errors
    assert "No such file or directory" in errors
    assert "What to do:" in errors
    assert not checkout.stamp.exists()


def test_an_unfinished_environment_whose_python_is_gone_is_made_again(checkout: Checkout) -> None:
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/gone/with/the/upgrade/python")
    checkout.stamp.write_text("{ half a sta", encoding="utf-8")
    code, output, errors = checkout.dev("run")
    assert (code, output) == (7, "nonsuch\n")
    assert "making .venv again, for its set-up did not finish" in errors
    assert checkout.dev("run") == (7, "nonsuch\n", "")


def test_a_missing_group_is_added_to_what_is_there(checkout: Checkout) -> None:
    checkout.dev("run")
    keepsake = checkout.folder / ".venv" / "keepsake"
    keepsake.touch()
    code, output, errors = checkout.dev("setup")
    assert (code, output) == (0, "")
    assert "installing" in errors
    assert "making" not in errors
    assert keepsake.exists()
    assert "dev group" in json.loads(checkout.stamp.read_text())
    assert checkout.dev("setup") == (0, "", "")
    assert checkout.dev("run") == (7, "nonsuch\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_names_every_command(fresh: Checkout, arguments: tuple[str, ...]) -> None:
    code, output, errors = fresh.dev(*arguments)
    assert (code, errors) == (0, "")
    assert all(
        f"dev.py {command}" in output for command in ("run", "test", "check", "bench", "docs")
    )


def test_an_unknown_command_is_answered_with_the_known_ones(fresh: Checkout) -> None:
    code, output, errors = fresh.dev("frobnicate")
    assert (code, output) == (2, "")
    assert errors == (
        "dev.py: there is no command 'frobnicate'; there are run, test, check, bench, docs, setup\n"
    )
    assert not (fresh.folder / ".venv").exists()


def test_a_broken_project_file_is_one_line_and_no_traceback(fresh: Checkout) -> None:
    (fresh.folder / "pyproject.toml").write_text("[[", encoding="utf-8")
    code, output, errors = fresh.dev("run")
    assert (code, output) == (2, "")
    assert errors.startswith("dev.py: pyproject.toml is not valid:")
    assert errors.count("\n") == 1


def test_an_old_python_can_read_the_file_that_turns_it_away() -> None:
    ast.parse(DEV.read_text(encoding="utf-8"), feature_version=(3, 6))
