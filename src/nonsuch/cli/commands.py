"""`nonsuch`: the commands put together, and the one place where errors become exit codes.

0    done
1    done, and the answer is no: not found, not valid; or nobody reads the output any more
2    the request made no sense, or the output cannot be written; one line says why
130  stopped by Ctrl-C (143 by a termination signal)
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer

from nonsuch import LocalError, __version__
from nonsuch.cli import (
    bench,
    coordinator,
    gossip,
    info,
    miner,
    peer,
    pool,
    race,
    raceledger,
    replay,
    simulate,
    solve,
    status,
    submit,
    up,
    verify,
)
from nonsuch.cli.options import PRESET_TABLE
from nonsuch.cli.terminal import errors

__all__ = ["app", "run"]

EXIT_UNREAD = 1
EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="nonsuch",
    help="Distributed proof of work: find the nonce such that…",
    add_completion=False,
    rich_markup_mode=None,  # plain help reflows to any width
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("solve", epilog=PRESET_TABLE)(solve.solve)
app.command("verify", epilog=PRESET_TABLE)(verify.verify)
pool_app = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None)
pool_app.callback()(pool.pool)
pool_app.command("status")(status.status)
app.add_typer(pool_app, name="pool")
app.command("miner")(miner.miner)
app.command("submit", epilog=PRESET_TABLE)(submit.submit)
app.command("status")(status.status)
app.command("cancel")(status.cancel)
app.command("gossip")(gossip.gossip)
app.command("peer")(peer.peer)
app.command("ask")(peer.ask)
race_app = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None)
race_app.callback()(race.race)
race_app.command("node")(race.node)
race_app.command("keeper")(race.keeper)
race_app.command("ledger")(raceledger.ledger)
app.add_typer(race_app, name="race")
app.command("coordinator")(coordinator.coordinator)
app.command("agent")(coordinator.agent)
app.command("up")(up.up)
app.command("replay")(replay.replay)
app.command("simulate")(simulate.simulate)
app.command("bench")(bench.bench)
app.command("info")(info.info)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nonsuch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Distributed proof of work: find the nonce such that…"""


class _Notices(logging.Handler):
    """The package's log, one dim line a record on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        errors.print(f"nonsuch: {record.getMessage()}", style="dim", markup=False)


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
        code = app(arguments, prog_name="nonsuch", standalone_mode=False)
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
    print(f"nonsuch: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_BAD_INPUT
