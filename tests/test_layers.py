"""The arrows of the architecture: who may import whom.

The package is a stack of areas, `nonsuch/<area>`, and an import is an arrow from one to another.
Every module is read, not run, so an import inside a function or under `if TYPE_CHECKING` counts: an
arrow is an arrow. A new area needs a line in `MAY_IMPORT`: that is the moment to think about it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "nonsuch"

FACADE = "the public names"
"""`nonsuch/__init__.py` as an area of its own, and what `from nonsuch import Target` reads."""

MAY_IMPORT = {
    "errors": set[str](),
    "addresses": set[str](),
    "work": {"errors"},
    "node": {"work", "errors"},
    "frames": {"errors"},
    "search": {"addresses", "work", "errors"},
    "chain": {"work", "errors"},
    "networks": {"addresses", "node", "frames", "chain", "work", "errors"},
    "sim": {"node", "frames", "work", "errors"},
    "scenarios": {"sim", "networks", "node", "work", "errors"},
    "live": {"addresses", "node", "frames", "search", "work", "errors"},
    FACADE: {"live", "search", "work", "errors"},  # live for the awaited forms, and lazily
}
BELOW = set(MAY_IMPORT)
MAY_IMPORT |= {"web": BELOW, "fleets": BELOW | {"web"}}
MAY_IMPORT |= {"cli": BELOW | {"web", "fleets"}, "faces": BELOW | {"cli"}, "__main__": {"cli"}}

CORES = {"node", "frames", "networks", "chain", "work"}
OUTSIDE_WORLD = {
    *("asyncio", "concurrent", "multiprocessing", "selectors", "signal", "socket", "socketserver"),
    *("sqlite3", "ssl", "subprocess", "threading", "time"),
}
"""What a core leaves to its driver: clocks, sockets, threads, processes, disks."""


def imported_names(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Every imported name, absolute and in full: `from a.b import c` imports a.b.c."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = here[: len(here) - node.level + 1] if node.level else []
            origin += node.module.split(".") if node.module else []
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def area_of(name: str) -> str:
    """The area that a name of ours is in: its second part, or the facade."""
    # `from nonsuch import Target` names no area; neither does `import nonsuch`.
    area = name.split(".")[1] if "." in name else FACADE
    is_object = name.count(".") == 1 and area not in MAY_IMPORT
    return FACADE if is_object else area


def network_of(name: str) -> str:
    """The network that a module is in; an empty text for nonsuch/networks/__init__.py."""
    return ".".join(name.split(".")[2:3])


def is_ours(name: str) -> bool:
    return name.split(".")[0] == "nonsuch"


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with a module's imports, a line for each."""
    home = area_of(module)
    if home not in MAY_IMPORT:
        return [f"{module}: no rule for the area {home!r}; add it to MAY_IMPORT"]
    names = imported_names(module, source, is_package=is_package)
    reasons = ((name, forbidden(module, home, name)) for name in names)
    return [f"{module} imports {name}: {reason}" for name, reason in reasons if reason]


def forbidden(module: str, home: str, name: str) -> str:
    """Why a module in the area `home` must not import a name; an empty text if it may."""
    return forbidden_ours(module, home, name) if is_ours(name) else forbidden_foreign(home, name)


def forbidden_ours(module: str, home: str, name: str) -> str:
    area = area_of(name)
    if module == "nonsuch.work.ranges":
        return "work/ranges.py imports nothing of ours"
    if area == home == "networks" and network_of(name) != network_of(module):
        return "networks never import each other; what they share moves down"
    if area != home and area not in MAY_IMPORT[home]:
        return f"{home} may not import {area}"
    return ""


def forbidden_foreign(home: str, name: str) -> str:
    root = name.split(".")[0]
    if home in CORES and root in OUTSIDE_WORLD:
        return "a core leaves clocks, sockets, threads and disks to its driver"
    if home != "search" and root == "llvmlite":
        return "only nonsuch.search generates code"
    return ""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_arrow_of_the_package_points_down(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    found = violations(module_name(path), source, is_package=path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_the_modules_are_really_found() -> None:
    assert {"nonsuch", "nonsuch.errors"} <= {module_name(path) for path in MODULES}


def test_importing_the_public_names_does_not_import_asyncio() -> None:
    # Only the awaited forms need it, and it would double the time that a short command takes.
    story = "import sys, nonsuch; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", story], check=False).returncode == 0


# The checker is code too: it must find what it is there to find, however the import is spelt.


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("nonsuch.work.target", "import nonsuch.search.kernel", "work may not import search"),
        ("nonsuch.work.target", "from nonsuch.search import kernel", "work may not import search"),
        ("nonsuch.work.target", "from nonsuch import search", "work may not import search"),
        ("nonsuch.work.target", "from ..search import kernel", "work may not import search"),
        ("nonsuch.work.target", "from .. import search", "work may not import search"),
        ("nonsuch.chain.tree", "from nonsuch import Target", "chain may not import the public"),
        ("nonsuch.chain.tree", "import nonsuch", "chain may not import the public names"),
        ("nonsuch.errors", "from nonsuch.work import Target", "errors may not import work"),
        ("nonsuch.node", "from nonsuch.search.halt import Halt", "node may not import search"),
        ("nonsuch.sim.world", "import nonsuch.live.tcp", "sim may not import live"),
        ("nonsuch.live.tcp", "import nonsuch.networks.pool.wire", "live may not import networks"),
        ("nonsuch.web.app", "import nonsuch.cli", "web may not import cli"),
        ("nonsuch.networks.race.node", "from ..pool import wire", "networks never import each"),
        ("nonsuch.networks.race.node", "import nonsuch.networks.pool", "networks never import"),
        ("nonsuch.networks.race.node", "from nonsuch.networks import pool", "networks never"),
        ("nonsuch.work.ranges", "from nonsuch.errors import LocalError", "nothing of ours"),
        ("nonsuch.work.ranges", "from .target import Target", "nothing of ours"),
        ("nonsuch.frames", "from nonsuch.node import Event", "frames may not import node"),
        ("nonsuch.node", "import asyncio.streams", "a core leaves"),
        ("nonsuch.chain.block", "from time import monotonic", "a core leaves"),
        ("nonsuch.networks.pool.pool", "import socket", "a core leaves"),
        ("nonsuch.cli.bench", "from llvmlite import ir", "only nonsuch.search"),
        ("nonsuch.cli", "import nonsuch.nowhere.thing", "may not import nowhere"),
        ("nonsuch.nowhere.thing", "", "no rule for the area 'nowhere'"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str, reason: str) -> None:
    (found,) = violations(module, source)
    assert reason in found


@pytest.mark.parametrize(
    "source",
    [
        "def later():\n    import threading",
        "if TYPE_CHECKING:\n    import threading",
        "try:\n    import threading\nexcept ImportError:\n    pass",
        "import math, threading as workers",
    ],
)
def test_an_import_cannot_hide(source: str) -> None:
    (found,) = violations("nonsuch.work.leases", source)
    assert "nonsuch.work.leases imports threading" in found


def test_a_relative_import_in_a_package_starts_at_the_package() -> None:
    story = "from . import messages\nfrom ..race import node"
    (found,) = violations("nonsuch.networks.pool", story, is_package=True)
    assert "imports nonsuch.networks.race.node" in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nonsuch", "from nonsuch.search import search\nfrom nonsuch.work import Target"),
        ("nonsuch.cli.run", "from nonsuch import Target\nimport asyncio, nonsuch.web.app"),
        ("nonsuch.search.codegen", "from llvmlite import ir\nimport threading, time"),
        ("nonsuch.networks.pool.pool", "from . import wire\nimport nonsuch.networks.pool.wire"),
        ("nonsuch.networks.pool.dialects.go", "from nonsuch.networks.pool.messages import Join"),
        ("nonsuch.live.tcp", "import asyncio, socket\nfrom nonsuch.node import Event"),
        ("nonsuch.work.ranges", "from collections.abc import Iterator"),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str) -> None:
    assert violations(module, source, is_package=module.count(".") == 0) == []
