"""A recording: every observation, in one compressed file.

The file is gzip, and within it one JSON object a line: first a header that says what this is, then
the observations in the order in which they came. It is written as it goes. Every `WRITE_SECONDS` in
which something happened, what has come is compressed up to a point from which it can be read
without what follows (a sync flush, RFC 1951 section 3.2.4) and given to the system; so a program
that is killed loses at most the last second. The writing is done by a thread: no disk stops the
dashboard.

A file is read with every bound there is, since it may come from somebody else. One that ends in
the middle, or is damaged from somewhere on, is used up to there, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec

from nonsuch.errors import LocalError
from nonsuch.web.observations import FACT_CHARACTERS_MAX, Observation
from nonsuch.web.rows import Network

__all__ = ["Header", "Recorder", "Recording", "read_recording"]

FORMAT = "nonsuch recording"
VERSION = 1

WRITE_SECONDS = 1.0

LINES_WAITING_MAX = 200_000
"""Observations that wait for a disk that does not answer; then the recording ends."""

BYTES_MAX = 512 * 2**20
"""Of the observations before compression: some three million of them, held in memory to replay."""

LINE_BYTES_MAX = 4 * FACT_CHARACTERS_MAX
CHUNK_BYTES = 2**16

COMPRESSION = 6


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    format: str
    version: int
    network: Network
    title: str
    started: float
    virtual: bool = False


# Writing.


class Recorder:
    """A recording that is made. Used in one event loop; nothing is lost that `close` awaits.

    `failed` is called, once, with one sentence where the recording had to end. Raises `LocalError`
    where the file cannot be made, or is there already.
    """

    def __init__(
        self,
        path: Path,
        network: Network,
        title: str,
        started: float,
        *,
        virtual: bool = False,
        failed: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self.path = path
        self.observations = 0
        self._failed = failed
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nonsuch-recording")
        header = Header(FORMAT, VERSION, network, title, started, virtual)
        self._file, self._gzip = _created(path)
        self._put(self._encoder.encode(header))
        try:
            self._write(self._lines)
        except OSError as error:
            self._close()
            raise LocalError(f"cannot record to {path}: {error.strerror}") from None
        self._lines = []

    def add(self, observation: Observation) -> None:
        """Record this too."""
        if self._over:
            return
        self._put(self._encoder.encode(observation))
        self.observations += 1
        if len(self._lines) > LINES_WAITING_MAX:
            self._end(f"the recording {self.path} has ended: its disk does not keep up")
        elif self._bytes > BYTES_MAX:
            self._end(f"the recording {self.path} has ended: it is as long as one may be")
        elif self._timer is None and self._writing is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WRITE_SECONDS, self._begin)

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line) + 1

    def _begin(self) -> None:
        """Have what has come written."""
        self._timer = None
        lines, self._lines = self._lines, []
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._thread, self._write, lines)
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = writing.exception()
        if isinstance(error, OSError):
            self._end(f"the recording {self.path} has ended: {error.strerror}")
        elif self._lines and not self._over:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._begin)

    def _write(self, lines: list[bytes]) -> None:
        self._gzip.write(b"".join(line + b"\n" for line in lines))
        self._gzip.flush()
        self._file.flush()

    def _end(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._lines = []
            self._failed(why)

    async def close(self) -> None:
        """Write what has come, and end the file."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        lines, self._lines, over, self._over = self._lines, [], self._over, True
        loop = asyncio.get_running_loop()
        try:
            if lines and not over:
                await loop.run_in_executor(self._thread, self._write, lines)
        except OSError as error:
            self._failed(f"the end of the recording {self.path} is lost: {error.strerror}")
        finally:
            await loop.run_in_executor(self._thread, self._close)
            self._thread.shutdown()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # Of a full disk, which was told before.
            self._gzip.close()
        with contextlib.suppress(OSError):
            self._file.close()


def _created(path: Path) -> tuple[BinaryIO, gzip.GzipFile]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except OSError as error:
        if path.is_file():
            raise LocalError(f"{path} is there already: record to another file") from None
        raise LocalError(f"cannot record to {path}: {error.strerror}") from None
    return file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=COMPRESSION, filename="")


# Reading.


class Recording:
    """A recording that was read: `len`, and each observation by its number.

    `damage` says, in a sentence, what could not be read; it is empty where all could.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.damage = ""
        self.times = array("d")
        self._lines: list[bytes] = []
        self._decoder = msgspec.json.Decoder(Observation)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: int) -> Observation:
        return self._decoder.decode(self._lines[number])

    @property
    def begin(self) -> float:
        """When it begins."""
        return self.header.started

    @property
    def end(self) -> float:
        """When it ends."""
        return self.times[-1] if self.times else self.begin

    def add(self, line: bytes) -> None:
        """One more. Its time counts from the latest before it: processes differ by a little.

        Raises `ValueError` for what is no observation.
        """
        at = self._decoder.decode(line).at
        if not math.isfinite(at):
            raise ValueError("no time")
        self.times.append(max(self.end, at))
        self._lines.append(line)


def read_recording(path: Path, *, bytes_max: int = BYTES_MAX) -> Recording:
    """What can be read of a recording.

    Raises `LocalError` for a file that cannot be opened, is no recording, or one of a newer kind.
    """
    try:
        with path.open("rb") as file:
            return _read(path, _Lines(file, bytes_max))
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None


def _read(path: Path, source: _Lines) -> Recording:
    lines = iter(source)
    recording = Recording(_header(path, next(lines, b"")))
    unreadable = 0
    for line in lines:
        try:
            recording.add(line)
        except (ValueError, RecursionError):
            unreadable += 1
    damage = [source.damage] if source.damage else []
    if unreadable:
        damage.append(f"{unreadable} of its lines are no observations")
    if damage:
        told = " and ".join(damage)
        recording.damage = f"{path} {told}; the {len(recording):,} observations before are used"
        if unreadable and not source.damage:
            recording.damage = f"{path}: {told}; the other {len(recording):,} are used"
    return recording


def _header(path: Path, line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except (ValueError, RecursionError):
        raise LocalError(f"{path} is no recording of nonsuch") from None
    if header.format != FORMAT or not math.isfinite(header.started):
        raise LocalError(f"{path} is no recording of nonsuch")
    if header.version > VERSION:
        raise LocalError(f"{path} was made by a newer nonsuch: read it with that")
    return header


class _Lines:
    """The lines of a gzip file, as far as they can be read. `damage` says why they ended."""

    def __init__(self, file: BinaryIO, bytes_max: int) -> None:
        self._file = file
        self._left = bytes_max
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.damage = ""

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for data in self._chunks():
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
            if len(rest) > LINE_BYTES_MAX:
                self.damage = "has a line that is too long"
                return

    def _chunks(self) -> Iterator[bytes]:
        """At most so many bytes, whatever they were compressed to."""
        try:
            while not self._inflate.eof:
                packed = self._inflate.unconsumed_tail or self._file.read(CHUNK_BYTES)
                data = self._inflate.decompress(packed, CHUNK_BYTES)
                if not packed and not data:
                    self.damage = "ends in the middle"
                    return
                self._left -= len(data)
                if self._left < 0:
                    self.damage = "is longer than a recording may be"
                    return
                yield data
        except zlib.error:
            self.damage = "is damaged from somewhere on"
