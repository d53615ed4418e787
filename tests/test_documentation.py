"""What the documentation says is so: it builds, its commands parse, its scripts run.

Its fenced blocks are read as those of the README are (`test_docs.py`). Of a `console` block that is
not marked as `not run`, every line that the command prints must stand below it, but for `work`. A
`sh` block may hold other programs too; what it asks of nonsuch must parse. A `python` block that
begins with `>>>` is a doctest.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from nonsuch.cli.commands import app
from tests.test_docs import ROOT, Command, blocks, stable

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
PICTURE_BYTES_MAX = 200_000

SCRIPTS = {
    "majority.py": (["1"], "Mallory has 70 %: 1 times of 1"),
    "own_scenario.py": ([], "seed 4: nonce 13072 after"),
    "rewrite_history.py": ([], "committed rule: 0 of 10"),
}
"""Scripts that end by themselves: their arguments in a test, and what they print."""


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


# Commands.


def console() -> Iterator[tuple[Path, Command]]:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "console"):
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                line, *shown = part.splitlines()
                yield page, Command(shlex.split(line), shown, not block.reason_not_run)


def shell() -> Iterator[tuple[Path, list[str]]]:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "sh"):
            for line in block.text.splitlines():
                yield page, shlex.split(line.partition(" | ")[0])


ASKED = [
    (name_of(page), arguments[1:])
    for page, arguments in [*shell(), *((page, command.arguments) for page, command in console())]
    if arguments[0] == "nonsuch"
]


def test_the_documentation_has_commands_of_many_kinds() -> None:
    assert {"solve", "pool", "gossip", "peer", "ask", "up"} <= {each[0] for _, each in ASKED}


@pytest.mark.parametrize(("page", "arguments"), ASKED, ids=lambda each: str(each))
def test_a_command_parses(page: str, arguments: list[str]) -> None:
    group = get_command(app())
    context = group.make_context("nonsuch", [], resilient_parsing=True)
    name, *rest = arguments
    assert isinstance(group, TyperGroup)
    found = group.get_command(context, name)
    assert found, f"{page}: there is no command {name}"
    with found.make_context(name, rest, parent=context):
        pass


RUN = [
    (page, command)
    for page, command in console()
    if command.is_run and command.arguments[0] == "nonsuch"
]


@pytest.mark.parametrize(("page", "command"), RUN, ids=lambda each: "")
def test_a_command_prints_what_the_page_shows(page: Path, command: Command) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "nonsuch", *command.arguments[1:]],
        capture_output=True,
        env={name: value for name, value in os.environ.items() if name != "NONSUCH_TOKEN"},
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    # What went wrong is said on standard error; else there may be a notice that there is no kernel.
    printed = process.stdout or process.stderr
    assert stable(printed.splitlines()) == stable(command.shown), page


# Python.


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_give_what_they_show(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        place = f"{page.name}, line {block.line}"
        example = doctest.DocTestParser().get_doctest(block.text, {}, place, page.name, block.line)
        assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs(script: str) -> None:
    arguments, shown = SCRIPTS[script]
    process = subprocess.run(
        [sys.executable, str(DOCS / "scripts" / script), *arguments],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=100,
        check=True,
    )
    assert shown in process.stdout


def test_every_script_is_shown_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for script in (DOCS / "scripts").glob("*.py"):
        assert f"scripts/{script.name}" in text


# Pages.


class Loads(HTMLParser):
    """What a page has a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found.append(values.get("src") or "")
        elif tag == "link":
            self.found.append(values.get("href") or "")


def test_the_documentation_builds_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    built = tmp_path / "html"
    process = subprocess.run(
        [*command, str(DOCS), str(built)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    pages = list(built.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.found
        assert not [each for each in loads.found if re.match(r"(\w+:)?//", each)], page
    for style in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text()), style


def test_pictures_are_small() -> None:
    pictures = list((DOCS / "pictures").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size <= PICTURE_BYTES_MAX, picture.name
