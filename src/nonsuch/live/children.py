"""Other processes of this program: started, listened to, stopped, frozen and killed.

A child stays in the session of its parent and gets a process group of its own. So Ctrl-C in the
terminal reaches the parent alone, which then ends its children in order; and where a child starts
processes itself, a signal reaches them all.

**No child outlives its parent**, even one killed with -9. Each child inherits the reading end of a
pipe (the variable NONSUCH_PARENT says which descriptor that is) of which the parent alone has the
writing end, and nobody writes: its end is the end of the parent. `nonsuch.live.run` has a thread
that waits for it (`end_with_parent`), sends its own process a SIGTERM, and ends it the hard way if
that did not help. Standard input has no part in this. Frozen children cannot wait for anything, but
for them the system has a rule: when the parent is gone their group is orphaned, and an orphaned
group with somebody stopped in it is sent SIGHUP and SIGCONT (POSIX, `_exit`).

Standard output and standard error are one pipe, so that lines come in the order in which they were
written. Where there are no process groups, there are no children.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from nonsuch.errors import LocalError
from nonsuch.live.tcp import reason_of

__all__ = ["CHILDREN_MAX", "END_SECONDS", "LINE_BYTES_MAX", "Child", "Children", "end_with_parent"]

END_SECONDS = 2.0
"""How long a child that was told to end may take, unless its parent says otherwise."""

OUTPUT_SECONDS = 1.0
"""How long processes that a child has left behind may still hold its output open."""

LINE_BYTES_MAX = 6 * 2**16 + 2**12
"""A longer line is cut into pieces, none longer than this.

The longest fact is of a text of 65,536 bytes, each of which JSON may have to write as six.
"""

CHILDREN_MAX = 256
"""Names that one parent may give: each costs two descriptors and a process."""

PARENT = "NONSUCH_PARENT"


@dataclass(frozen=True, slots=True)
class Child:
    """A process to be: `python -m nonsuch ARGUMENTS…`, known by its name."""

    name: str
    arguments: tuple[str, ...]
    program: tuple[str, ...] = (sys.executable, "-m", "nonsuch")


class Children:
    """The processes that this one has started; `close` ends them.

    `hear` gets each line that a child says, without its end, and `died` the name and the exit
    status (or minus the signal) of each that ends though nobody here has asked it to, behind its
    last line. Both are called in the event loop. A name can be used again when its child has ended;
    what is done to one that has ended is done to nobody. Who is told to end and has not within
    `end_seconds` is killed.
    """

    def __init__(
        self,
        hear: Callable[[str, str], None],
        died: Callable[[str, int], None],
        *,
        end_seconds: float = END_SECONDS,
    ) -> None:
        if not hasattr(os, "killpg"):
            raise LocalError("this system has no process groups: start each process by hand")
        self._hear = hear
        self._died = died
        self._end_seconds = end_seconds
        self._processes: dict[str, _Process] = {}
        self._closed = False
        self._reading, self._writing = os.pipe()

    @property
    def running(self) -> dict[str, int]:
        """The process number of each child that has not ended, by name."""
        processes = self._processes.items()
        return {name: each.number for name, each in processes if not each.ended.is_set()}

    async def start(self, child: Child) -> None:
        """Start a process. Raises `LocalError` where that cannot be."""
        self._check_room(child.name)
        process = self._processes[child.name] = _Process(child.name, self._hear, self._died)
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: process,
                *child.program,
                *child.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,
                pass_fds=(self._reading,),
                env={**os.environ, PARENT: str(self._reading), "PYTHONUNBUFFERED": "1"},
            )
        except BaseException as error:
            process.ended.set()
            if not isinstance(error, OSError | ValueError):
                raise
            raise LocalError(f"cannot start {child.name}: {reason_of(error)}") from None
        if self._closed:
            await _kill([process])
            raise LocalError(f"cannot start {child.name}: all is about to end")
        process.stand()

    def _check_room(self, name: str) -> None:
        if self._closed:
            raise LocalError(f"cannot start {name}: all is about to end")
        if name in self.running:
            raise LocalError(f"cannot start {name}: it is running")
        if name not in self._processes and len(self._processes) >= CHILDREN_MAX:
            raise LocalError(f"cannot start {name}: there are {CHILDREN_MAX} others")

    async def stop(self, name: str) -> None:
        """Ask one to end, see that it does, and wait until it has."""
        await _end([self._named(name)], self._end_seconds)

    async def kill(self, name: str) -> None:
        """Kill one, as `kill -9` does, and wait until it has ended."""
        await _kill([self._named(name)])

    def freeze(self, name: str) -> None:
        """Stop one in the middle of whatever it does."""
        self._named(name).signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let one that was frozen go on."""
        self._named(name).signal(signal.SIGCONT)

    def _named(self, name: str) -> _Process:
        if name not in self._processes:
            raise LocalError(f"there is no child {name!r}")
        return self._processes[name]

    async def close(self) -> None:
        """End them all, within some seconds."""
        if not self._closed:
            self._closed = True
            try:
                await _end(self._processes.values(), self._end_seconds)
            finally:
                os.close(self._reading)
                os.close(self._writing)


class _Process(asyncio.SubprocessProtocol):
    """One child. `ended` is set when it has, and all that it said was heard."""

    def __init__(
        self, name: str, hear: Callable[[str, str], None], died: Callable[[str, int], None]
    ) -> None:
        self._name = name
        self._hear = hear
        self._died = died
        self._rest = b""
        self._transport: asyncio.SubprocessTransport | None = None
        self.number = 0
        self._stands = False
        self._status = 0
        self.was_told = False
        self.ended = asyncio.Event()

    def stand(self) -> None:
        """It was started: from now on, and if it has died meanwhile, its death is news."""
        self._stands = True
        if self.ended.is_set():
            self._tell_of_death()

    def _tell_of_death(self) -> None:
        if self._stands and not self.was_told:
            self._died(self._name, self._status)

    def signal(self, number: int) -> None:
        """Send it, and what it has started, a signal."""
        # Not by the transport's own way: that might take the exit status from who waits for it.
        if self._transport is not None and self._transport.get_returncode() is None:
            self._signal(number)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS
            os.killpg(self.number, number)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.number = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._say(line)
        if len(self._rest) >= LINE_BYTES_MAX:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        for at in range(0, max(1, len(line)), LINE_BYTES_MAX):
            self._hear(self._name, line[at : at + LINE_BYTES_MAX].decode(errors="replace"))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def process_exited(self) -> None:
        asyncio.get_running_loop().call_later(OUTPUT_SECONDS, self._cut)

    def _cut(self) -> None:
        """Whoever still holds its output was started by it."""
        if self._transport is not None and not self.ended.is_set():
            self._signal(signal.SIGKILL)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._status = self._transport.get_returncode() or 0
        self._transport.close()
        self.ended.set()
        self._tell_of_death()


async def _end(processes: Iterable[_Process], seconds: float) -> None:
    processes = list(processes)
    for process in processes:
        process.was_told = True
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)  # One that is frozen wakes up to it.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for process in processes:
                await process.ended.wait()
    await _kill(processes)


async def _kill(processes: Iterable[_Process]) -> None:
    for process in processes:
        process.was_told = True
        process.signal(signal.SIGKILL)
    for process in processes:
        await process.ended.wait()


# In the child.


def end_with_parent() -> None:
    """Have this process end soon after the one that has started it as its child, if one has.

    It gets a SIGTERM, and is ended where it lives on for `END_SECONDS`.
    """
    try:
        pipe = int(os.environ.pop(PARENT, ""))
        is_pipe = stat.S_ISFIFO(os.fstat(pipe).st_mode)
    except (ValueError, OverflowError, OSError):
        return
    if is_pipe:
        os.set_inheritable(pipe, False)
        watch = threading.Thread(target=_watch, args=(pipe,), name="nonsuch-parent", daemon=True)
        watch.start()


def _watch(pipe: int) -> None:
    with contextlib.suppress(OSError):
        os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(128 + signal.SIGTERM)
