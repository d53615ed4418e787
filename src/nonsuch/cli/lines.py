"""Lines that a program is given while it runs: from a terminal, a pipe or a file.

A thread reads, and is not waited for: a `read` that a terminal has not answered cannot be taken
back, and Ctrl-C must not wait for one. It reads with `os.read` alone, which holds no lock that the
interpreter would need at its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable

__all__ = ["LINE_BYTES_MAX", "read_lines"]

LINE_BYTES_MAX = 2**16
"""A longer line is cut into pieces of this size."""

READ_BYTES = 2**16
LINES_AHEAD = 64
"""Lines that are read before somebody wants them."""


async def read_lines(descriptor: int) -> AsyncIterator[bytes]:
    """The lines of a file descriptor, without their ends, until it has no more.

    To be called in the main thread.
    """
    if hasattr(signal, "SIGTTIN"):
        # A background job that reads from its terminal would be stopped: so it gets an error.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = threading.Semaphore(LINES_AHEAD)

    def put(line: bytes | None) -> None:
        room.acquire()
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        try:
            _split(descriptor, put)
            put(None)
        except RuntimeError:
            pass  # The loop is closed: nobody wants the rest.

    threading.Thread(target=read, name="nonsuch-lines", daemon=True).start()
    while (line := await lines.get()) is not None:
        room.release()
        yield line


def _split(descriptor: int, put: Callable[[bytes], None]) -> None:
    rest = b""
    while True:
        try:
            data = os.read(descriptor, READ_BYTES)
        except OSError:
            data = b""  # A terminal that is gone has no more lines.
        if not data:
            break
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            put(line.removesuffix(b"\r"))
        while len(rest) >= LINE_BYTES_MAX:
            put(rest[:LINE_BYTES_MAX])
            rest = rest[LINE_BYTES_MAX:]
    if rest:
        put(rest)
