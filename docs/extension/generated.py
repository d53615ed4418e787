"""Parts of pages that are made from the program itself, so that nothing is copied by hand.

    {commands}                       the command line: every command, its arguments and options
    {bounds} AREA …                  the named constants of these packages or modules
    {settings} MODULE.CLASS          the fields of a frozen record, their defaults and meanings
    {messages} MODULE                what travels on a wire of ours: tags and fields
    {picture} NAME                   the picture of that name, as the page is light or dark; its
                                     content says in words what is to be seen

Constants and fields have their docstrings below them, as a literal, where only the source has them;
so the source is read. Everything is written as Markdown and then parsed as the page around it is.
A docstring's indented examples become literal blocks, so that what reads well in the source reads
well here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from typer.core import TyperGroup
from typer.main import get_command

from nonsuch.cli.commands import app

__all__ = ["setup"]


# What is written below an assignment.


class Named(NamedTuple):
    """Constants or fields that share a docstring: their names, what they are set to, the text."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    text: str


def named(source: str, body: Iterable[ast.stmt]) -> Iterator[Named]:
    """The assignments of a body of statements, with the docstring that follows them.

    Those on neighbouring lines share one.
    """
    pending: list[tuple[str, str]] = []
    end = 0
    for node in body:
        if node.lineno != end + 1:
            pending = []
        end = node.end_lineno or 0
        match node:
            case ast.Expr(value=ast.Constant(value=str() as text)) if pending:
                names, values = zip(*pending, strict=True)
                yield Named(names, values, inspect.cleandoc(text))
            case _:
                pending += assigned(source, node)


def assigned(source: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Names and what they are set to, as the source has it."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
            pairs = zip(names, values, strict=True)
        case ast.Assign(targets=[name], value=value):
            pairs = zip([name], [value], strict=True)
        case ast.AnnAssign(target=name, value=ast.expr() as value):
            pairs = zip([name], [value], strict=True)
        case _:
            return
    for name, value in pairs:
        yield ast.unparse(name), ast.get_source_segment(source, value) or ""


def modules(area: str) -> Iterator[str]:
    """The modules of a package, or the one module that is named."""
    module = importlib.import_module(area)
    if not hasattr(module, "__path__"):
        yield area
        return
    for each in pkgutil.walk_packages(module.__path__, f"{area}."):
        if not each.ispkg:
            yield each.name


def read(module: str) -> tuple[str, list[ast.stmt]]:
    """The source of a module, and its statements."""
    source = inspect.getsource(importlib.import_module(module))
    return source, ast.parse(source).body


# Markdown.


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; each cell is one line."""
    lines = [list(header)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell(each) for each in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def code(texts: Iterable[str]) -> str:
    """Each of these in a code span."""
    return ", ".join(f"`{text}`" for text in texts)


def bounds(areas: Iterable[str]) -> str:
    """The named constants of these packages: numbers with a docstring."""
    rows = [
        (code(each.names), code(map(number, each.values)), each.text)
        for area in areas
        for module in modules(f"nonsuch.{area}")
        for each in named(*read(module))
        if all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in each.names)
        and all(is_arithmetic(value) for value in each.values)
    ]
    return table(("Constant", "Value", "What it is for"), rows)


def number(value: str) -> str:
    """A number as the source has it, with its digits in groups."""
    return f"{int(value):_}" if value.isdecimal() and len(value) > 4 else value


def is_arithmetic(value: str) -> bool:
    """Whether an expression is a number, or a calculation of numbers and other constants."""
    return (
        re.fullmatch(r"[-\d_.e+*/() ]+|[A-Z0-9_.+*/() ae-z-]*[A-Z0-9_]+[A-Z0-9_+*/() -]*", value)
        is not None
    )


def settings(path: str) -> str:
    """The fields of a frozen record."""
    module, _, name = path.rpartition(".")
    source, body = read(module)
    classes = [each for each in body if isinstance(each, ast.ClassDef)]
    (found,) = (each for each in classes if each.name == name)
    rows = [(code(each.names), code(each.values), each.text) for each in named(source, found.body)]
    return table(("Setting", "Default", "Meaning"), rows)


def messages(module: str) -> str:
    """The messages of a wire, in the order of the source."""
    names = [each.name for each in read(module)[1] if isinstance(each, ast.ClassDef)]
    classes = [getattr(importlib.import_module(module), name) for name in names]
    rows = [
        (
            f"`{each.__name__}`",
            f"`{each.__struct_config__.tag}`",
            code(each.__struct_fields__),
            inspect.cleandoc(each.__doc__ or ""),
        )
        for each in classes
        if issubclass(each, msgspec.Struct) and each.__struct_config__.tag is not None
    ]
    return table(("Message", "Tag", "Fields, in order", "Meaning"), rows)


def commands() -> str:
    """The whole command line."""
    top = get_command(app())
    assert isinstance(top, TyperGroup)
    return "\n\n".join(
        _group("nonsuch", top, top.make_context("nonsuch", [], resilient_parsing=True))
    )


def _group(path: str, group: TyperGroup, above: object) -> Iterator[str]:
    for name, command in group.commands.items():
        context = command.make_context(name, [], parent=above, resilient_parsing=True)  # type: ignore[arg-type]
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"## {path} {name}"
        yield f"```text\n{path} {name} {usage}\n```"
        yield re.sub(r"'(--?[a-z-]+)'", r"`\1`", inspect.cleandoc(command.help or ""))
        yield from _parameters(command.get_params(context), context)
        if command.epilog:
            epilog = inspect.cleandoc(command.epilog.replace("\b", ""))
            yield f"```text\n{epilog}\n```"
        if isinstance(command, TyperGroup):
            yield from _group(f"{path} {name}", command, context)


def _parameters(parameters: Iterable[object], context: object) -> Iterator[str]:
    rows: dict[str, list[tuple[str, str]]] = {"Argument": [], "Option": []}
    for each in parameters:
        record = each.get_help_record(context)  # type: ignore[attr-defined]
        if record:
            kind = "Option" if record[0].lstrip().startswith("-") else "Argument"
            rows[kind].append((f"`{record[0].strip()}`", record[1].replace("*", "\\*")))
    for kind, found in rows.items():
        if found:
            yield table((kind, "Meaning"), found)


# Directives.


class Generated(SphinxDirective):
    """A directive whose content is written by a function of its arguments."""

    optional_arguments = 64

    def run(self) -> list[nodes.Node]:
        """The nodes of what was written."""
        self.env.note_reread()  # what it shows may change while the page does not
        return self.parse_text_to_nodes(self.write(), allow_section_headings=True)

    def write(self) -> str:
        """The Markdown."""
        raise NotImplementedError


class Commands(Generated):
    """`{commands}`."""

    def write(self) -> str:
        """Every command."""
        return commands()


class Bounds(Generated):
    """`{bounds} AREA …`."""

    def write(self) -> str:
        """Every named constant of these areas."""
        return bounds(self.arguments)


class Settings(Generated):
    """`{settings} MODULE.CLASS`."""

    def write(self) -> str:
        """Every field of the class."""
        return settings(self.arguments[0])


class Messages(Generated):
    """`{messages} MODULE`."""

    def write(self) -> str:
        """Every message of the module."""
        return messages(self.arguments[0])


class Picture(Generated):
    """`{picture} NAME`."""

    has_content = True

    def write(self) -> str:
        """Both of the pair; the style shows one."""
        words = " ".join(self.content)
        return "\n\n".join(
            f"```{{image}} /pictures/{self.arguments[0]}-{scheme}.png\n"
            f":alt: {words}\n:class: only-{scheme}\n```"
            for scheme in ("light", "dark")
        )


# Docstrings.


def mark_examples(
    _app: Sphinx, _what: str, _name: str, _found: object, _options: object, lines: list[str]
) -> None:
    """Make a literal block of each table, and of each indented paragraph that is in no list."""
    written: list[str] = []
    is_example = False
    for given in lines:
        # A table, in Markdown's way, is an example of itself.
        line = f"    {given}" if given.startswith("|") else given
        blank_before = not written or not written[-1].strip()
        if line.strip() and not line.startswith(" "):
            is_example = False
        elif line.strip() and not is_example and blank_before and not _is_in_list(written):
            is_example = True
            written += ["::", ""]
        written.append(line)
    lines[:] = written


def _is_in_list(written: list[str]) -> bool:
    """Whether the paragraph before belongs to an item of a list."""
    outer = [line for line in written if line.strip() and not line.startswith(" ")]
    return bool(outer) and re.match(r"([*-]|\d+\.) ", outer[-1]) is not None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directives."""
    app.add_directive("commands", Commands)
    app.add_directive("bounds", Bounds)
    app.add_directive("settings", Settings)
    app.add_directive("messages", Messages)
    app.add_directive("picture", Picture)
    app.connect("autodoc-process-docstring", mark_examples)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
