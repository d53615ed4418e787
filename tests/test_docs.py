"""What the documents say is so: their code runs, their commands answer, their lists are complete.

Blocks of the README, by the word behind the three backquotes:

    python     a doctest where it begins with `>>>`, else a program; each in a fresh process
    console    lines after `$ ` are commands, the rest is what they print

A command of `nonsuch` or `python3 dev.py run` is run, and every line that it prints must stand
below it, except `work`, which holds times. A block below the comment `<!-- not run: WHY -->` is not
run: its commands must parse, and its nonces must have the hashes that it shows.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import nonsuch
from nonsuch import PRESETS
from nonsuch.cli.commands import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "nonsuch"

PROGRAMS = ("nonsuch ", "python3 dev.py run ")
DEV_OPTIONS = {"--without-llvmlite", "--fix", "--write"}
"""Options of dev.py and bench/kernel.py, which the documents may name too."""


# Reading the documents.


class Block(NamedTuple):
    """A fenced block: its language, the comment above it if it says not to run it, its text."""

    line: int
    language: str
    reason_not_run: str
    text: str


FENCE = re.compile(r"(?:<!-- not run: (.+) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[Block]:
    found = [
        Block(document.count("\n", 0, each.start(2)) + 1, each[2], each[1] or "", each[3])
        for each in FENCE.finditer(document)
    ]
    return [block for block in found if block.language == language]


class Command(NamedTuple):
    """A command line of a console block and the lines shown below it."""

    arguments: list[str]
    shown: list[str]
    is_run: bool


def commands() -> Iterator[Command]:
    for block in blocks(README, "console"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            program = next((each for each in PROGRAMS if line.startswith(each)), None)
            assert program, f"what is {line!r}?"
            arguments = shlex.split(line.removeprefix(program))
            yield Command(arguments, shown, not block.reason_not_run)


COMMANDS = list(commands())


def section(title: str) -> str:
    """The part of the README below a heading that begins with `title`, up to the next one."""
    found = re.search(rf"^#+ {title}\b.*?$(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no part {title!r}"
    return found[1]


# The README's code.


@pytest.mark.parametrize("block", blocks(README, "python"), ids=lambda b: f"line {b.line}")
def test_python_in_the_readme_runs(block: Block) -> None:
    if block.text.startswith(">>>"):
        example = doctest.DocTestParser().get_doctest(
            block.text, {}, f"README.md, line {block.line}", "README.md", block.line
        )
        assert doctest.DocTestRunner().run(example).failed == 0
        return
    # In a process of its own: a program may start an event loop.
    subprocess.run([sys.executable, "-c", block.text], check=True, timeout=60, cwd=ROOT)


def test_the_readme_has_code_of_every_kind() -> None:
    code = "".join(block.text for block in blocks(README, "python"))
    names = ("solve(", "first(", "Puzzle(", "Raw(", "verify(", "solve_async(", "Halt(", "progress=")
    for name in names:
        assert name in code


def test_the_package_s_own_example_runs() -> None:
    result = doctest.testmod(nonsuch)
    assert result.attempted > 0
    assert result.failed == 0


# The README's commands.


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if each.is_run], ids=lambda c: " ".join(c.arguments)
)
def test_a_command_in_the_readme_prints_what_it_shows(command: Command) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "nonsuch", *command.arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert stable(process.stdout.splitlines()) == stable(command.shown)


def stable(lines: list[str]) -> list[str]:
    """The lines that do not depend on the machine."""
    return [line for line in lines if not line.startswith("work ")]


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if not each.is_run], ids=lambda c: " ".join(c.arguments)
)
def test_a_command_that_is_not_run_parses_and_shows_a_true_hash(command: Command) -> None:
    name, *arguments = command.arguments
    with get_command(app()).commands[name].make_context(name, arguments) as context:  # type: ignore[attr-defined]
        message = context.params["message"]
    facts = dict(line.split(maxsplit=1) for line in command.shown)
    proof = nonsuch.presets.plain(message.encode()).prove(int(facts["nonce"]))
    assert proof.hexdigest == facts["hash"]


def test_there_are_commands_of_both_kinds() -> None:
    assert {command.is_run for command in COMMANDS} == {True, False}


# The README's lists.


SAID_ELSEWHERE = {"pool"}
"""Its one subcommand, `pool status`, is `status`."""


def options_by_command() -> dict[str, set[str]]:
    """Every option of every command, as the program itself has them."""
    top = get_command(app())
    assert isinstance(top, TyperGroup)
    found: dict[str, set[str]] = {}
    groups = [("", top, top.make_context("nonsuch", [], resilient_parsing=True))]
    for prefix, group, above in groups:
        for name, command in group.commands.items():
            # Some options, -h among them, are the group's will: hence its context above.
            context = command.make_context(name, [], parent=above, resilient_parsing=True)
            parameters = command.get_params(context)
            words = {word for each in parameters for word in (*each.opts, *each.secondary_opts)}
            found[prefix + name] = {word for word in words if word[0] == "-"}
            if isinstance(command, TyperGroup) and name not in SAID_ELSEWHERE:
                groups.append((f"{name} ", command, context))
    return found


OPTIONS = options_by_command()


def test_the_program_s_options_are_really_found() -> None:
    alone = {"solve", "verify", "bench", "info", "simulate"}
    pool = {"pool", "miner", "submit", "status", "cancel"}
    race = {"race", "race node", "race keeper", "race ledger"}
    alone |= {"up", "replay"}
    chains = {"gossip", "peer", "ask", "coordinator", "agent"}
    assert set(OPTIONS) == alone | pool | race | chains
    assert {"--upto", "-n", "--json", "--help", "-h"} <= OPTIONS["solve"]


@pytest.mark.parametrize("command", OPTIONS)
def test_the_readme_has_exactly_the_options_of_a_command(command: str) -> None:
    rows = [line for line in section(f"nonsuch {command}").splitlines() if line.startswith("| `-")]
    named = {option for row in rows for option in re.findall(r"`(--?[a-z][a-z-]*)`", row)}
    assert named == OPTIONS[command]


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_no_document_names_an_option_that_does_not_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w<!-])--[a-z][a-z-]*", text))
    assert named <= {"--version", *DEV_OPTIONS}.union(*OPTIONS.values())


def test_the_readme_has_exactly_the_presets_that_there_are() -> None:
    named = re.findall(r"^\| `([a-z]+)` \|", section("nonsuch solve"), re.MULTILINE)
    assert named == list(PRESETS)


@pytest.mark.parametrize("code", ["0", "1", "2", "130"])
def test_the_readme_explains_every_exit_code(code: str) -> None:
    assert re.search(rf"^\| {code}\b", section("The commands"), re.MULTILINE)


def test_the_readme_names_every_environment_variable_that_the_package_reads() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r"NONSUCH_[A-Z_]+", README)) == set(
        re.findall(r"NONSUCH_[A-Z_]+", sources)
    )


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


# The map.


def paths(tree: str) -> list[str]:
    """The paths of a drawn tree: names indented by two spaces a level, words behind them."""
    found: list[str] = []
    above: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        level = (len(line) - len(line.lstrip())) // 2
        above[level:] = [name]
        found.append("".join(above))
    return found


def trees() -> list[list[str]]:
    drawn = [block.text for block in blocks(ARCHITECTURE, "text")]
    return [paths(text) for text in drawn if text.startswith("src/nonsuch/\n")]


def modules() -> set[str]:
    """All there is under src/nonsuch, but for the empty files that make a folder a package."""
    files = {path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    root = {PACKAGE / "__init__.py"}
    return {path.relative_to(ROOT).as_posix() for path in files | root} | {
        f"{path.relative_to(ROOT).as_posix()}/" for path in folders
    }


def test_the_map_shows_exactly_what_exists() -> None:
    (mapped,) = trees()
    assert len(mapped) == len(set(mapped))
    assert set(mapped) == modules()


def test_every_file_that_the_map_s_text_names_exists() -> None:
    known = modules()
    for name in re.findall(r"`((?:cli|search|work|live)/\w+\.py)`", ARCHITECTURE):
        assert f"src/nonsuch/{name}" in known
    for name in re.findall(r"`((?:tests|bench)/[\w./]+)`", ARCHITECTURE):
        assert (ROOT / name).exists(), name


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## .*{re.escape(nonsuch.__version__)}", changelog, re.MULTILINE)
