"""`nonsuch`: the commands put together, and the one place where errors become exit codes.

0    done; or stopped by a signal, where a command runs until it is
1    done, and the answer is no: not found, not valid; or nobody reads the output any more
2    the request made no sense, or the output cannot be written; one line says why
130  stopped by Ctrl-C before it was done (143 by a termination signal)
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import FunctionType, MappingProxyType
from typing import NamedTuple

import typer

from nonsuch import LocalError, __version__
from nonsuch.cli.options import PRESET_TABLE
from nonsuch.cli.terminal import errors, printable

__all__ = ["app", "run"]

EXIT_UNREAD = 1
EXIT_BAD_INPUT = 2


class _Command(NamedTuple):
    """A function, as `module:name` of this folder, and the commands below it, if it has some."""

    place: str
    epilog: str | None = None
    below: Mapping[str, str] = MappingProxyType({})

    def add_to(self, commands: typer.Typer, name: str) -> None:
        """Import it, and let it be called by this name."""
        function = _imported(self.place)
        if not self.below:
            commands.command(name, epilog=self.epilog)(function)
            return
        group = typer.Typer(
            invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None
        )
        group.callback()(function)
        for each, place in self.below.items():
            group.command(each)(_imported(place))
        commands.add_typer(group, name=name)


_COMMANDS = {
    "solve": _Command("solve:solve", PRESET_TABLE),
    "verify": _Command("verify:verify", PRESET_TABLE),
    "pool": _Command("pool:pool", below={"status": "status:status"}),
    "miner": _Command("miner:miner"),
    "submit": _Command("submit:submit", PRESET_TABLE),
    "status": _Command("status:status"),
    "cancel": _Command("status:cancel"),
    "gossip": _Command("gossip:gossip"),
    "peer": _Command("peer:peer"),
    "ask": _Command("peer:ask"),
    "race": _Command(
        "race:race",
        below={"node": "race:node", "keeper": "race:keeper", "ledger": "raceledger:ledger"},
    ),
    "coordinator": _Command("coordinator:coordinator"),
    "agent": _Command("coordinator:agent"),
    "up": _Command("up:up"),
    "replay": _Command("replay:replay"),
    "simulate": _Command("simulate:simulate"),
    "bench": _Command("bench:bench"),
    "info": _Command("info:info"),
}


def app(*names: str) -> typer.Typer:
    """The commands of these names, by default all: each costs its imports."""
    commands = typer.Typer(
        name="nonsuch",
        help="Distributed proof of work: find the nonce such that…",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,  # plain help reflows to any width
    )
    commands.callback()(_options)
    for name in names or _COMMANDS:
        _COMMANDS[name].add_to(commands, name)
    return commands


def _imported(place: str) -> FunctionType:
    module, _, name = place.partition(":")
    function: FunctionType = getattr(import_module(f"nonsuch.cli.{module}"), name)
    return function


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nonsuch {__version__}")
        raise typer.Exit


def _options(
    _version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Distributed proof of work: find the nonce such that…"""


class _Notices(logging.Handler):
    """The package's log, one dim line a record on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(record.getMessage())
        errors.print(f"nonsuch: {text}", style="dim", markup=False)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own, and return its exit code."""
    log = logging.getLogger("nonsuch")
    if not log.handlers:
        log.addHandler(_Notices())
        log.setLevel(logging.INFO)
    given = list(sys.argv[1:] if arguments is None else arguments)
    return _run(given or ["--help"])


def _run(arguments: list[str]) -> int:
    try:
        # Who names a command waits for that one alone; who names none, or a wrong one, sees all.
        commands = app(*arguments[:1]) if arguments[0] in _COMMANDS else app()
        code = commands(arguments, prog_name="nonsuch", standalone_mode=False)
        if sys.stdout is not None:  # it is None where it was closed before we began
            sys.stdout.flush()
    except LocalError as error:
        return _complain(str(error))
    except typer.TyperException as error:
        return _complain(error.format_message())
    except OSError as error:
        # Keep the interpreter from complaining once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return EXIT_UNREAD
        return _complain(f"cannot write the result: {error.strerror or error}")
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    # A part of it may be what a stranger said, such as why a pool will not have us.
    print(f"nonsuch: {printable(' '.join(message.split()))}", file=sys.stderr)
    return EXIT_BAD_INPUT
