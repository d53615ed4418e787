#!/usr/bin/env python3
"""Set Nonsuch up and run it, on a machine that has Python 3.11 or newer and nothing else.

    python3 dev.py run ARGS...     run `nonsuch ARGS...`
    python3 dev.py test ARGS...    run the tests; ARGS go to pytest
    python3 dev.py test --without-llvmlite ARGS...
                                   the same without llvmlite, and without uvloop
    python3 dev.py check [--fix]   ruff and mypy; --fix lets ruff mend what it can
    python3 dev.py bench ARGS...   measure the search kernel on this machine
    python3 dev.py bench pool      measure the pool; likewise chain, gossip and peer
    python3 dev.py docs            make the documentation in docs/_build; warnings are errors
    python3 dev.py setup           only make the environment

Each command first makes the environment it needs, and makes it once. The plan:

1. An environment is a folder beside this file. When it is complete, and only then, it gets a stamp:
   which Python it was made with, and which dependencies it was made for. If the stamp says what is
   wanted now, there is nothing to do; that is the usual case, and costs a twentieth of a second.
2. Otherwise take a lock, so that two commands started together make one environment, and take the
   stamp away, so that a set-up which is cut short is seen to be so.
3. If only a group of dependencies is missing, add it. In every other case (no stamp, another
   Python, other dependencies) begin again from an empty folder: what results never depends on what
   was there before.
4. `uv` makes it where there is one; else `venv` and pip. Where Python came without pip's installer,
   as Debian's does, pip comes from the system's pip, or from virtualenv.
5. Become the command: its exit code and its signals are its own.

The folders are this file's own; anything else installed in them is lost when they are made again.
"""

import sys

# This file must stay readable, as syntax, to the Pythons that it turns away.
if sys.version_info < (3, 11):
    sys.stderr.write(
        f"Nonsuch needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.\n"
        "Run the same command with a newer one, for example: python3.13 dev.py run\n"
    )
    sys.exit(2)

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent

RECIPE = "1"
"""Raise this when environments made by an older version of this file must be made again."""

BENCHMARKS = ("chain", "coordinator", "engines", "gossip", "peer", "pool", "scale", "web")
"""Files in bench/ that `bench` runs when it is given their name, in place of the kernel's."""

TAIL_LINES = 15
"""How much of a failed command's output to show: pip and uv end with what matters."""

LINE_CHARACTERS_MAX = 200
"""How much of a line to show: pip lists every version of a package that it has no fit for."""

TEST_PROCESSES_MAX = 8
"""Starting a test process costs about a second of processor time; more of them hardly pay."""

CANNOT_SET_UP = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

MISLEADING = ("PIP_PREFIX", "PIP_PYTHON", "PIP_TARGET", "PIP_USER", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables that would make pip or uv install somewhere else than where they are told to."""


class SetupError(Exception):
    """The environment cannot be made; the message says why, and what to do."""


class StepFailed(Exception):
    """A command of the set-up failed; the message shows it and the end of what it printed."""


class Environment(NamedTuple):
    """A folder of installed packages: everything the package needs, and these groups."""

    folder: Path
    groups: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """The environment's own Python."""
        return self.program("python")

    @property
    def stamp(self) -> Path:
        """Written last: the file that says the environment is complete."""
        return self.folder / "nonsuch-stamp.json"

    def program(self, name: str) -> Path:
        """Where the environment keeps an installed program."""
        if os.name == "nt":
            return self.folder / "Scripts" / f"{name}.exe"
        return self.folder / "bin" / name


USER = Environment(ROOT / ".venv")
DEVELOPER = Environment(ROOT / ".venv", groups=("dev",))
FALLBACK = Environment(ROOT / ".venv-no-llvmlite", groups=("dev",), left_out=("llvmlite", "uvloop"))


# What is wanted, and what is there.


class Project(NamedTuple):
    """What an environment needs to know from pyproject.toml."""

    dependencies: list[str]
    groups: dict[str, list[str]]
    metadata: str
    """A fingerprint of all the rest that an editable install writes down."""


@functools.cache
def read_project() -> Project:
    """Read pyproject.toml, once: what is installed and what the stamp says must agree."""
    try:
        tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise SetupError(f"pyproject.toml is not valid: {error}") from error
    dependencies = tables["project"].pop("dependencies", [])
    metadata = [tables["project"], tables["build-system"], tables.get("tool", {}).get("hatch")]
    return Project(dependencies, tables.get("dependency-groups", {}), fingerprint(metadata))


def requirements(environment: Environment) -> dict[str, list[str]]:
    """The packages to install, under a name for each list."""
    project = read_project()
    lists = {"dependencies": project.dependencies}
    for group in environment.groups:
        lists[f"{group} group"] = project.groups[group]
    return {
        name: [line for line in lines if package_name(line) not in environment.left_out]
        for name, lines in lists.items()
    }


def package_name(requirement: str) -> str:
    """`"llvmlite>=0.44; python_version < '4'"` is about llvmlite."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def wanted_stamp(environment: Environment) -> dict[str, str]:
    """What the stamp of a complete environment says now."""
    stamp = {
        "recipe": RECIPE,
        "Python": f"{sys.version.split()[0]} in {sys.base_prefix}",
        "checkout's path": str(ROOT),  # scripts and the editable install hold absolute paths
        "project table": read_project().metadata,
    }
    for name, lines in requirements(environment).items():
        stamp[name] = fingerprint(lines)
    return stamp


def fingerprint(value: object) -> str:
    """A short text that is different for different values."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_stamp(environment: Environment) -> dict[str, str]:
    """What the environment was made for, or nothing if it is not known to be complete."""
    try:
        stamp = json.loads(environment.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(stamp) if isinstance(stamp, dict) else {}


def is_ready(environment: Environment) -> bool:
    """True if there is nothing to do."""
    # A link to a Python that was upgraded away is still there; what it points to does not exist.
    programs = (environment.python, environment.program("nonsuch"))
    found = read_stamp(environment)
    return wanted_stamp(environment).items() <= found.items() and all(p.exists() for p in programs)


def why_begin_again(environment: Environment) -> str:
    """Say why what is there cannot be added to; an empty text if it can."""
    found = read_stamp(environment)
    if not found:
        return "its set-up did not finish"
    if not environment.python.exists():
        return "its Python is gone"
    for name, value in wanted_stamp(environment).items():
        if found.get(name, value) != value:
            return f"its {name} changed"
    if not environment.program("nonsuch").exists():
        return "its nonsuch is gone"
    return "" if can_install(environment) else "it has no pip to add packages with"


def can_install(environment: Environment) -> bool:
    """True if packages can be added: by uv, or by the environment's own pip."""
    try:
        run_step([*installer(environment), "--help"])
    except (OSError, StepFailed):
        return False
    return True


# Making it.


def ensure(environment: Environment) -> None:
    """Make the environment complete; silent and fast when it already is."""
    if is_ready(environment):
        return
    with only_one_at_a_time(environment):
        # Whoever held the lock may just have done this very work.
        if not is_ready(environment):
            make(environment)


def make(environment: Environment) -> None:
    """Make, repair or add to the environment, and stamp it."""
    started_at = time.monotonic()
    reason = why_begin_again(environment)
    environment.stamp.unlink(missing_ok=True)
    if reason:
        again = f" again, for {reason}" if environment.folder.exists() else ""
        say(f"making {environment.folder.name}{again}")
        create(environment)
    install(environment)
    # Renaming is atomic, so nobody ever reads half a stamp.
    draft = environment.stamp.with_suffix(".draft")
    draft.write_text(json.dumps(wanted_stamp(environment), indent=2), encoding="utf-8")
    draft.replace(environment.stamp)
    say(f"ready after {time.monotonic() - started_at:.0f} s")


def create(environment: Environment) -> None:
    """Make an environment that packages can be installed into, by the first way that works."""
    failures = []
    for way in ways_to_create(environment):
        remove(environment.folder)
        try:
            for command in way:
                run_step(command)
        except (OSError, StepFailed) as failure:
            failures.append(str(failure))
        else:
            return
    remove(environment.folder)
    raise SetupError(
        f"this Python ({base_python()}) cannot make an environment with pip in it.\n"
        "What was tried:\n\n" + "\n".join(failures) + "\n\n"
        f"What to do: on Debian or Ubuntu, `sudo apt install {debian_package()}`;\n"
        "elsewhere install uv, or virtualenv. Then run the same command again."
    )


def debian_package() -> str:
    """The package that holds what Debian leaves out of this Python."""
    return f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"


def ways_to_create(environment: Environment) -> Iterator[list[list[str]]]:
    """Each way is a list of commands; the best way first."""
    base, folder, python = base_python(), str(environment.folder), str(environment.python)
    uv = shutil.which("uv")
    if uv:
        yield [[uv, "venv", "--python", base, folder]]
    yield [[base, "-m", "venv", folder]]
    # Debian keeps pip's own installer, ensurepip, in a package apart. Another pip can stand in.
    borrowed_pip = [base, "-m", "pip", "--python", python, "install", "pip"]
    yield [[base, "-m", "venv", "--without-pip", folder], borrowed_pip]
    yield [[base, "-m", "virtualenv", "--python", base, folder]]


def base_python() -> str:
    """The Python under any environment that this program may itself have been started from."""
    # venv reads the same attribute for the same purpose; sys.executable may be about to be removed.
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def install(environment: Environment) -> None:
    """Install what pyproject.toml asks for, then the package itself as an editable install."""
    lines = [line for group in requirements(environment).values() for line in group]
    say("installing nonsuch and what it needs; the first time this can take a minute")
    command = installer(environment)
    try:
        if lines:
            run_step(command + lines)
        # Its dependencies are there already, less those that this environment leaves out.
        run_step([*command, "--no-deps", "--editable", str(ROOT)])
    except StepFailed as failure:
        raise SetupError(
            f"could not install what Nonsuch needs.\n\n{failure}\n\n"
            "What to do: if something could not be downloaded, look at the network and at the\n"
            "settings of pip or uv. Then run the same command again."
        ) from failure


def installer(environment: Environment) -> list[str]:
    """The command that installs the packages whose names follow."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", str(environment.python)]
    return [str(environment.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]


def run_step(command: list[str]) -> None:
    """Run one command of the set-up in silence, unless it fails."""
    variables = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    result = subprocess.run(
        command,
        cwd=str(ROOT),
        env=variables,
        stdin=subprocess.DEVNULL,  # a question would wait for ever, for nobody sees it
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        close_fds=False,  # the lock is handed on: see only_one_at_a_time
        check=False,
    )
    if result.returncode:
        lines = result.stdout.splitlines()[-TAIL_LINES:]
        tail = "\n".join(f"    {line[:LINE_CHARACTERS_MAX]}" for line in lines)
        raise StepFailed(f"$ {' '.join(command)}\n{tail}")


def remove(folder: Path) -> None:
    """Remove whatever stands where the environment goes."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def only_one_at_a_time(environment: Environment) -> Iterator[None]:
    """Hold the environment's lock, waiting for it if need be."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    # Beside the folder, not in it: the folder may be removed while the lock is held.
    with environment.folder.with_suffix(".lock").open("w") as lock:
        # The kernel frees the lock when the last process that has it open ends. The installers get
        # it too: if this process is killed, nobody touches the folder until they have stopped.
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another dev.py that is making {environment.folder.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# The commands. Each returns an exit code, unless it becomes another program and never returns.


def run(arguments: list[str]) -> int:
    """Run nonsuch, where the person who asks for it stands."""
    ensure(USER)
    return become([str(USER.program("nonsuch")), *arguments])


def test(arguments: list[str]) -> int:
    """Run the tests, from the top of the checkout."""
    environment = FALLBACK if "--without-llvmlite" in arguments else DEVELOPER
    arguments = [argument for argument in arguments if argument != "--without-llvmlite"]
    ensure(environment)
    os.chdir(str(ROOT))
    return become([str(environment.python), "-m", "pytest", *processes(arguments), *arguments])


def processes(arguments: list[str]) -> list[str]:
    """How many processes run the tests: one for each processor, unless pytest is told otherwise."""
    # A debugger and unbuffered output need the terminal, which only a single process has.
    own_choice = ("-n", "--numprocesses", "--dist", "--pdb", "--trace", "-s", "--capture=no")
    if "no:xdist" in arguments or any(each.startswith(own_choice) for each in arguments):
        return []
    # A file stays in one process, so that what its tests share is made once. Files come in the
    # order of tests/conftest.py: long ones at the end would keep one process busy alone.
    spread = ("--dist", "loadfile", "--no-loadscope-reorder")
    return ["-n", "auto", "--maxprocesses", str(TEST_PROCESSES_MAX), *spread]


def check(arguments: list[str]) -> int:
    """Run all the checks, even if the first one fails: a person wants to see everything."""
    ensure(DEVELOPER)
    fix = arguments == ["--fix"]
    if arguments and not fix:
        say("check takes no arguments except --fix")
        return CANNOT_SET_UP
    commands = [
        ["ruff", "check", *(["--fix"] if fix else [])],
        ["ruff", "format", *([] if fix else ["--check"])],
        ["mypy"],
    ]
    return max([show(command) for command in commands])


def show(command: list[str]) -> int:
    """Run one of the developer's programs at the top of the checkout, for all to see."""
    say(" ".join(command))
    program = str(DEVELOPER.program(command[0]))
    return 0 if subprocess.call([program, *command[1:]], cwd=str(ROOT)) == 0 else 1


def bench(arguments: list[str]) -> int:
    """Run a benchmark: the kernel's, or the one that the first argument names."""
    ensure(DEVELOPER)
    name = arguments.pop(0) if arguments[:1] and arguments[0] in BENCHMARKS else "kernel"
    return become([str(DEVELOPER.python), str(ROOT / "bench" / f"{name}.py"), *arguments])


def docs(arguments: list[str]) -> int:
    """Make the documentation; arguments go to Sphinx."""
    ensure(DEVELOPER)
    built = ROOT / "docs" / "_build"
    command = [str(DEVELOPER.program("sphinx-build")), "--fail-on-warning", "--keep-going"]
    command += ["--quiet", "--jobs", "auto", "--doctree-dir", str(built / "doctrees"), *arguments]
    code = subprocess.call([*command, str(ROOT / "docs"), str(built / "html")], cwd=str(ROOT))
    if code == 0:
        say(f"open {built / 'html' / 'index.html'}")
    return 0 if code == 0 else 1


def setup(arguments: list[str]) -> int:
    """Make the developer's environment, which also serves `run`."""
    if arguments:
        say("setup takes no arguments")
        return CANNOT_SET_UP
    ensure(DEVELOPER)
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "test": test,
    "check": check,
    "bench": bench,
    "docs": docs,
    "setup": setup,
}


def become(command: list[str]) -> int:
    """Turn into the command, so that Ctrl-C and every other signal go straight to it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    return subprocess.call(command)


def say(message: str) -> None:
    """Tell the person; standard output belongs to the command."""
    print("dev.py:", message, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run the command that the arguments name."""
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(__doc__)
        return 0
    if name not in COMMANDS:
        say(f"there is no command {name!r}; there are {', '.join(COMMANDS)}")
        return CANNOT_SET_UP
    try:
        return COMMANDS[name](arguments[1:])
    except SetupError as error:
        say(str(error))
    except OSError as error:
        say(f"the operating system refused: {error}")
    except KeyboardInterrupt:
        say("stopped; run the same command again, and it starts over")
        return INTERRUPTED
    return CANNOT_SET_UP


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
