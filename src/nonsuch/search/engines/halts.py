"""A file that says which jobs are halted, for pieces that run where only files are shared.

Somebody's executor has no way to speak to a call that is under way. So each piece is told of a
file, and whoever works on it has a thread that looks into that file some fifty times a second. The
file is a ring: a number that counts the halts, and behind it the names of the latest. On another
machine there is no such file, and a piece simply runs to its end.

The end of the file is the end of the engine: whatever still runs for it is halted too.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nonsuch.search.engines.engine import HALTED_MAX, Answer, Piece, halt_here, perform

__all__ = ["HaltFile", "perform_watched"]

LOOK_SECONDS = 0.02
"""How often a worker looks: a tenth of a percent of a processor."""

_NAME_BYTES = 64
"""What the name of a job has room for."""

_COUNT = struct.Struct("<Q")


class HaltFile:
    """The file, and whoever writes to it. `halt` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        descriptor, self.path = tempfile.mkstemp(prefix="nonsuch-halts-")
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._file.write(_COUNT.pack(0))

    def halt(self, job: str) -> None:
        """Say that this job is halted."""
        name = job.encode()
        assert len(name) <= _NAME_BYTES, "a job has a short name"
        with self._lock:
            if self._file.closed:
                return
            self._file.seek(_place(self._count))
            self._file.write(name.ljust(_NAME_BYTES, b"\0"))
            self._count += 1
            self._file.seek(0)
            self._file.write(_COUNT.pack(self._count))

    def close(self) -> None:
        """Halt all. Safe to call twice."""
        with self._lock:
            self._file.close()
            Path(self.path).unlink(missing_ok=True)


def _place(number: int) -> int:
    return _COUNT.size + number % HALTED_MAX * _NAME_BYTES


# In the worker.


class _Watch:
    """One file, looked at as long as pieces run that belong to it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._jobs: Counter[str] = Counter()
        self._is_looking = False
        self._count = 0

    @contextmanager
    def watching(self, job: str) -> Iterator[None]:
        """While a piece of this job runs."""
        self._look()
        with self._lock:
            self._jobs[job] += 1
            if not self._is_looking:
                self._is_looking = True
                threading.Thread(
                    target=self._keep_looking, name="nonsuch-halts", daemon=True
                ).start()
        try:
            yield
        finally:
            with self._lock:
                self._jobs -= Counter([job])

    def _keep_looking(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                jobs = list(self._jobs)
                self._is_looking = bool(jobs)
            if not jobs:
                return
            if not self._look():
                for job in jobs:
                    halt_here(job)

    def _look(self) -> bool:
        """Hear what is new; False where there is no file."""
        try:
            with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123  # fifty times a second
                (count,) = _COUNT.unpack(file.read(_COUNT.size))
                for number in range(max(self._count, count - HALTED_MAX), count):
                    file.seek(_place(number))
                    halt_here(file.read(_NAME_BYTES).rstrip(b"\0").decode())
                self._count = count
        except (OSError, struct.error):
            return False
        return True


_watches: dict[str, _Watch] = {}
_watches_lock = threading.Lock()

WATCHES_MAX = 16
"""Engines that one worker is remembered to have worked for; it has one, or a few in turn."""


def _watch(path: str) -> _Watch:
    with _watches_lock:
        if path not in _watches and len(_watches) >= WATCHES_MAX:
            del _watches[next(iter(_watches))]
        return _watches.setdefault(path, _Watch(path))


def perform_watched(path: str, piece: Piece) -> Answer:
    """`perform`, halted by what stands in the file at `path`, if there is one on this machine."""
    if not os.path.exists(path):  # noqa: PTH110  # it may be nobody's path here
        return perform(piece)
    with _watch(path).watching(piece.job):
        return perform(piece)
