"""The processors of this machine, as threads of this process or as processes of their own.

Threads are the default and the faster of the two: the kernel lets go of the interpreter, so they do
not stand in each other's way, and share what was compiled. Processes are for those who want a
search that cannot take the program down with it, and for puzzles that no kernel serves: `hashlib`
on short messages is one thread's work in each process.

Each slot of a `ProcessExecutor` is a thread here that owns a process there (`worker.py`), gives it
one call at a time and waits. So a process that is killed costs its own piece alone: the thread
starts another one and sends the same call again; and one that is frozen holds up nobody else. A
standard `ProcessPoolExecutor` breaks as a whole, and cannot even be closed with a frozen process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor
from pathlib import Path

from nonsuch.errors import LocalError
from nonsuch.search.backends import load_kernel
from nonsuch.search.engines.engine import halt_here
from nonsuch.search.engines.reopening import LOSSES_MAX
from nonsuch.search.engines.slots import Call, SlotExecutor
from nonsuch.search.engines.worker import ENDING_SIGNALS, Reply
from nonsuch.search.searcher import notify_once, threads_or_default

__all__ = ["ProcessEngine", "ThreadEngine"]

RETRY_SECONDS = 0.1
"""Before a process is started again that could not be started, or fell at once."""

_PACKAGE = str(Path(__file__).parents[3])
_WORK = "from nonsuch.search.engines.worker import main; main()"

_log = logging.getLogger(__name__)


class ThreadEngine:
    """Threads of this process. `threads` defaults to the processors that it may use.

    The search's own code is loaded in the background, so that the first search need not wait for
    it. Raises `LocalError` for a number of threads that makes no sense.
    """

    name = "threads"

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads_or_default(threads)
        self._pool = SlotExecutor([_ThreadSlot() for _ in range(self.threads)])
        self.executor: Executor = self._pool
        # Not a daemon: an interpreter that exits under a running compiler would crash.
        threading.Thread(target=load_kernel, name="nonsuch-load").start()

    def slots(self) -> int:
        """One a thread."""
        return self.threads

    def workers(self) -> int:
        """None but this process."""
        return 0

    def halt(self, job: str) -> None:
        """Stop all pieces of this job, and let go of those that wait."""
        self._pool.halt(job)

    def close(self) -> None:
        """Stop all pieces. Safe to call twice."""
        self._pool.abort()


class _ThreadSlot:
    """A call in the thread that calls."""

    def open(self) -> None:
        pass

    def carry_out(self, call: Call) -> object:
        return call.work()

    def halt(self, job: str) -> None:
        halt_here(job)

    def close(self) -> None:
        pass


class ProcessEngine:
    """So many processes of one thread each; by default as many as processors.

    Raises `LocalError` for a number that makes no sense.
    """

    name = "processes"

    def __init__(self, processes: int | None = None) -> None:
        self._slots = [_ProcessSlot() for _ in range(threads_or_default(processes))]
        self._pool = SlotExecutor(self._slots)
        self._pool.start()
        self.executor: Executor = self._pool

    @property
    def numbers(self) -> list[int]:
        """The process numbers of those that run now."""
        return [slot.number for slot in self._slots if slot.number]

    def slots(self) -> int:
        """One a process."""
        return len(self._slots)

    def workers(self) -> int:
        """As many."""
        return len(self._slots)

    def halt(self, job: str) -> None:
        """Stop all pieces of this job, and let go of those that wait."""
        self._pool.halt(job)

    def close(self) -> None:
        """End all processes, and wait until they are gone. Safe to call twice."""
        self._pool.abort()


class _Lost(Exception):
    """The process is gone, or speaks no sense."""


class _ProcessSlot:
    """A process, and the next one if it is lost. One thread opens it and has calls carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._hears = False
        self._halted = ""
        self._closed = False

    @property
    def number(self) -> int:
        """The number of the process; 0 where there is none."""
        process = self._process
        return 0 if process is None else process.pid

    def open(self) -> None:
        with contextlib.suppress(_Lost, LocalError):  # The first call tries again.
            self._started()

    def carry_out(self, call: Call) -> object:
        """Have it done by the process, or by those that come after it.

        Raises what the call raises; `LocalError` where the engine is closed meanwhile, or process
        after process falls.
        """
        data = pickle.dumps(call)
        try:
            reply = self._answered(data)
        finally:
            with self._lock:
                self._hears, self._halted = False, ""
        if reply.error is not None:
            raise reply.error
        return reply.result

    def _answered(self, data: bytes) -> Reply:
        losses = 0
        while True:
            try:
                return self._asked(self._started(), data)
            except _Lost as reason:
                losses += 1
                self._tell_of_loss(losses, reason)
            if losses > 1:
                time.sleep(RETRY_SECONDS)

    def _tell_of_loss(self, losses: int, reason: _Lost) -> None:
        if self._closed:
            raise LocalError("the engine was closed")
        if losses > LOSSES_MAX:
            raise LocalError(f"lost {losses} worker processes in a row: {reason}")
        _log.warning("lost a worker process, starting another: %s", reason)

    def _asked(self, process: subprocess.Popen[bytes], data: bytes) -> Reply:
        assert process.stdin is not None
        try:
            process.stdin.write(data)
            process.stdin.flush()
            with self._lock:
                # From here on nothing but this and what `halt` says is in the pipe: both are short.
                self._hears = True
                if self._halted:
                    self._say_halted(process)
            return self._heard(process)
        except (OSError, ValueError) as error:  # ValueError where `close` was quicker
            raise self._lost(process, str(error)) from None

    def _heard(self, process: subprocess.Popen[bytes]) -> Reply:
        assert process.stdout is not None
        try:
            reply = pickle.load(process.stdout)
        except EOFError:
            raise self._lost(process, "it is gone") from None
        except Exception as error:  # noqa: BLE001  # whatever half a pickle raises
            raise self._lost(process, str(error)) from None
        assert isinstance(reply, Reply)
        return reply

    def halt(self, job: str) -> None:
        with self._lock:
            if job == self._halted:
                return
            self._halted = job
            if self._hears and self._process is not None:
                self._say_halted(self._process)

    def _say_halted(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # Who waits for the answer notices.
            pickle.dump(self._halted, process.stdin)
            process.stdin.flush()

    # The process itself.

    def _started(self) -> subprocess.Popen[bytes]:
        """The process that there is, or a new one, when it is ready."""
        with self._lock:
            if self._process is not None:
                return self._process
            if self._closed:
                raise LocalError("the engine was closed")
            try:
                process = self._process = _spawned()
            except OSError as error:
                raise _Lost(f"cannot start a process: {error.strerror}") from None
        missing = self._heard(process).result
        if isinstance(missing, str):
            notify_once(missing)
        return process

    def _lost(self, process: subprocess.Popen[bytes], reason: str) -> _Lost:
        with self._lock:
            self._process, self._hears = None, False
        _end(process)
        return _Lost(reason)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            _end(process)


def _spawned() -> subprocess.Popen[bytes]:
    paths = [_PACKAGE, os.environ.get("PYTHONPATH", "")]
    # It is born with these signals blocked, lest one comes before it could learn to ignore them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _WORK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, if it lives, and let go of it."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with contextlib.suppress(OSError):
            stream.close()
