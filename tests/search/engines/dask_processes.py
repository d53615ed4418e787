"""Schedulers and workers of Dask as people start them: each a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.processes.conftest import free_port

if TYPE_CHECKING:
    from concurrent.futures import Future

    from nonsuch.search.engines.engine import Engine

PATIENCE_SECONDS = 100.0
"""How long anything may take before a test fails."""

HOST = "127.0.0.1"


def wait_until(true: Callable[[], bool], what: str) -> None:
    """For what nobody tells of."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.02)


class Daemon:
    """A process that writes to its log when it is ready.

    A file, because what it has started may outlive it, and hold a pipe open.
    """

    def __init__(self, log: Path, ready: str, command: list[str], **variables: str) -> None:
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, env={**os.environ, **variables}
            )
        wait_until(
            lambda: ready in log.read_text() or self.process.poll() is not None, f"{ready} in {log}"
        )
        assert self.process.poll() is None, log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, also where it is frozen."""
        self.process.kill()
        self.wait()

    def wait(self) -> None:
        self.process.wait(PATIENCE_SECONDS)


class DaskProcesses:
    """One scheduler, always at the same port, and its workers."""

    def __init__(self, folder: Path, *options: str, scheme: str = "tcp") -> None:
        self.folder = folder
        self.port = free_port()
        self.options = options
        self.scheme = scheme
        self._running: list[Daemon] = []

    @property
    def address(self) -> str:
        """What `--engine` is told."""
        scheme = {"tcp": "dask"}.get(self.scheme, self.scheme)
        return f"{scheme}://{HOST}:{self.port}"

    def scheduler(self, **variables: str) -> Daemon:
        """The scheduler, once it lets peers in."""
        return self._start(
            "Scheduler at:",
            ["scheduler", "--port", str(self.port), "--dashboard-address", f"{HOST}:0"],
            variables,
        )

    def worker(self, **variables: str) -> Daemon:
        """A worker of one thread, once the scheduler knows it. Nobody starts it again."""
        where = f"{self.scheme}://{HOST}:{self.port}"
        options = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
        options += ["--local-directory", str(self.folder)]
        return self._start("Registered to:", ["worker", where, *options], variables)

    def _start(self, ready: str, command: list[str], variables: dict[str, str]) -> Daemon:
        module = f"distributed.cli.dask_{command[0]}"
        line = [sys.executable, "-m", module, *command[1:], "--host", HOST, "--no-dashboard"]
        log = self.folder / f"dask-{len(self._running)}.log"
        daemon = Daemon(log, ready, [*line, *self.options], **variables)
        self._running.append(daemon)
        return daemon

    def close(self) -> None:
        for daemon in self._running:
            daemon.kill()


@contextlib.contextmanager
def dask_processes(folder: Path, *options: str, scheme: str = "tcp") -> Iterator[DaskProcesses]:
    """A place for a scheduler and its workers; none of them outlives the test."""
    made = DaskProcesses(folder, *options, scheme=scheme)
    try:
        yield made
    finally:
        made.close()


class Gate:
    """A call that says which process it runs in, and ends when it is let.

    It needs nothing in the worker but a shell.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._log = folder / "gate.log"
        self._log.touch()
        self._open = folder / "gate.open"
        script = 'echo $PPID >> "$0"; until [ -e "$1" ]; do sleep 0.02; done'
        command = ["sh", "-c", script, str(self._log), str(self._open)]
        self.future: Future[int] = engine.executor.submit(subprocess.call, command)

    def runs(self, times: int = 1) -> list[int]:
        """The processes that it has run in, once there are so many."""
        wait_until(lambda: len(self._processes()) >= times, f"run {times} of the call")
        return self._processes()

    def _processes(self) -> list[int]:
        return [int(line) for line in self._log.read_text().splitlines()]

    def let(self) -> None:
        """Let it end."""
        self._open.touch()

    def open(self) -> int:
        """Let it end; what came of it."""
        self.let()
        return self.future.result(PATIENCE_SECONDS)


def ended(process: int) -> bool:
    """Whether there is no such process any more."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{process}/stat")
    with contextlib.suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def freeze(process: int) -> None:
    os.kill(process, signal.SIGSTOP)


def thaw(process: int) -> None:
    os.kill(process, signal.SIGCONT)
