"""`nonsuch`: the commands put together, and the one place where errors become exit codes.

0    done                       1    done, and the answer is no (not found, not valid)
2    the request made no sense  130  stopped by Ctrl-C (143 by a termination signal)
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer

from nonsuch import LocalError, __version__
from nonsuch.cli import bench, info, solve, verify
from nonsuch.cli.terminal import errors

__all__ = ["app", "main"]

EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="nonsuch",
    help="Distributed proof of work: find the nonce such that…",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("solve")(solve.solve)
app.command("verify")(verify.verify)
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
        errors.print(f"[dim]nonsuch: {record.getMessage()}[/dim]", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with the command's exit code."""
    log = logging.getLogger("nonsuch")
    if not log.handlers:
        log.addHandler(_Notices())
        log.setLevel(logging.INFO)
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = app(None if arguments is None else list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except LocalError as error:
        return _complain(str(error))
    except typer.TyperException as error:
        return _complain(error.format_message() or "nothing to do; try nonsuch --help")
    except BrokenPipeError:
        # The reader has gone; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    print(f"nonsuch: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_BAD_INPUT
