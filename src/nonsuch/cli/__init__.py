"""The command line: one thin file a command."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with the command's exit code.

    Both signals that end a command raise from its first moment on, so that whatever it has opened
    is closed; a node and a search hear them in a way of their own as long as they run. The commands
    are imported here, so that Ctrl-C in the first tenths of a second is quiet too.
    """
    terminated = False

    def terminate(_number: int, _frame: object) -> None:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        from nonsuch.cli.commands import run

        code = run(arguments)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    signal.signal(signal.SIGTERM, previous)
    if terminated:
        code = EXIT_TERMINATED
    # At its end the interpreter looks through all objects for cycles, again and again: on a busy
    # machine that takes a second, for which whoever has pressed Ctrl-C would wait.
    gc.freeze()
    sys.exit(code)
