"""The command line: one thin file a command."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

__all__ = ["main"]

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with the command's exit code.

    The commands are imported here, so that Ctrl-C in the first tenths of a second is quiet too.
    """
    try:
        from nonsuch.cli.commands import run

        code = run(arguments)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    # At its end the interpreter looks through all objects for cycles, again and again: on a busy
    # machine that takes a second, for which whoever has pressed Ctrl-C would wait.
    gc.freeze()
    sys.exit(code)
