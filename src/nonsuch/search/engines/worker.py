"""A process that works for the one that has started it: `main` is all it does.

It reads calls from standard input and writes what came of them to standard output, one at a time,
each a pickle: both ends are one program of one user. Between the calls come the names of jobs to
halt; a thread reads, so those are heard while a call goes on.

**No worker outlives its parent**: when the parent is gone, however it went, standard input ends,
and the reading thread ends the process there and then. Signals by which people and systems end a
program are the parent's business.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import sys
import threading
from typing import BinaryIO, NamedTuple

from nonsuch.errors import LocalError
from nonsuch.search.backends import load_kernel
from nonsuch.search.engines.engine import halt_here
from nonsuch.search.engines.slots import Call

__all__ = ["ENDING_SIGNALS", "Reply", "main"]

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What Ctrl-C sends to all of a group, and a service manager to all of a service."""


class Reply(NamedTuple):
    """What came of a call: one of the two. The first one is no call's: why there is no kernel."""

    result: object
    error: BaseException | None


def main() -> None:
    """Work until the parent is gone."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Whoever prints in here does not print into a pickle.
    calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(sys.stdin.buffer, calls), daemon=True)
    reader.start()
    logging.disable()  # What there is to tell, the parent tells once.
    reply = Reply(load_kernel(), None)
    while True:
        replies.write(_pickled(reply))
        replies.flush()
        reply = _carry_out(calls.get())


def _read(stream: BinaryIO, calls: queue.SimpleQueue[Call]) -> None:
    try:
        while True:
            message: Call | str = pickle.load(stream)
            if isinstance(message, str):
                halt_here(message)
            else:
                calls.put(message)
    finally:
        os._exit(0)


def _carry_out(call: Call) -> Reply:
    try:
        return Reply(call.work(), None)
    except BaseException as error:  # noqa: BLE001  # raised again where the call came from
        return Reply(None, error)


def _pickled(reply: Reply) -> bytes:
    """As bytes that can be read again: not every error can, and not every result be written."""
    try:
        data = pickle.dumps(reply)
        if reply.error is not None:
            pickle.loads(data)
    except Exception as reason:  # noqa: BLE001  # whatever a stranger's class raises
        error = reply.error or reason
        return pickle.dumps(Reply(None, LocalError(f"{type(error).__name__}: {error}")))
    return data
