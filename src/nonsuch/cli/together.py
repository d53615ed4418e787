"""Several processes of this program, run together as one command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from nonsuch.cli.terminal import output, printable
from nonsuch.live.children import Child, Children
from nonsuch.live.run import run_until_signal
from nonsuch.web.observations import LINE, observed_line

__all__ = ["run_together"]

EXIT_BAD_INPUT = 2


def run_together(children: Sequence[Child], *, json: bool) -> int:
    """Start processes, print all that they say, and end when a signal comes or none is left.

    Where one is told that its input makes no sense, a port that is taken for one, all end.
    Returns the exit code of the command.
    """
    together = _Together(json=json)
    run_until_signal(lambda: together.run(children))
    return together.code


class _Together:
    """What they say, and who is left."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._left = 0
        self._over = asyncio.Event()
        self.code = 0

    async def run(self, children: Sequence[Child]) -> None:
        """Until it is cancelled, or none is left."""
        processes = Children(self._hear, self._died)
        self._left = len(children)
        try:
            for child in children:
                await processes.start(child)
            await self._over.wait()
        finally:
            await processes.close()

    def _hear(self, name: str, line: str) -> None:
        if self._json:
            line = _named(line, name)
        output.print(printable(line), markup=False)

    def _died(self, name: str, status: int) -> None:
        self._hear(name, f"{name} has ended, with status {status}")
        self._left -= 1
        if status == EXIT_BAD_INPUT:
            self.code = EXIT_BAD_INPUT
        if not self._left or status == EXIT_BAD_INPUT:
            self._over.set()


def _named(line: str, name: str) -> str:
    """A line of a log in JSON, with the name of whose log it is."""
    observed = observed_line(line, name, 0.0)
    if observed.fact == LINE:
        return msgspec.json.encode({"event": LINE, "process": name, "text": line}).decode()
    return f'{line.rstrip()[:-1]}, "process": {msgspec.json.encode(name).decode()}}}'
