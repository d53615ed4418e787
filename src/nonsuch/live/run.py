"""One way to run a node, and one way to stop it.

A signal asks the node to stop, once; it says its last words, its connections close, its searches
end, and `run` returns which signal it was. A second signal has its usual effect. A node that was
started as somebody's child is stopped when that one is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator

from nonsuch.live.children import end_with_parent
from nonsuch.live.driver import Node

__all__ = ["open_files_max", "run", "run_until_signal"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

COLLECTED_AFTER = (50_000, 20, 20)
"""How many more objects there must be before Python looks for circles among the youngest, the
middle and the old. Nodes leave hardly any behind; looking through what one with thousands of peers
keeps stops it for tens of milliseconds."""

OPEN_FILES_MODEST = 10_240
"""What macOS grants where it refuses more, whatever it says the limit is."""

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

_log = logging.getLogger("nonsuch")


def open_files_max(wanted: int) -> int | None:
    """Have the system let this process open `wanted` files, or as many as it will.

    Returns how many it may open then; None where there is no limit that could be known. Many
    systems begin with 1,024, for programs that are older than `poll`, and grant more when asked.
    """
    try:
        import resource
    except ImportError:
        return None
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for count in (wanted, OPEN_FILES_MODEST):
        asked = count if most == resource.RLIM_INFINITY else min(count, most)
        if now == resource.RLIM_INFINITY or now >= asked:
            break
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (asked, most))
            break
    now, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if now == resource.RLIM_INFINITY else now


def run(
    make: Callable[[], Node],
    beside: Callable[[], Awaitable[None]] | None = None,
    *,
    crowd: bool = False,
) -> int:
    """Make a node in an event loop and run it to its end, and `beside` as long as it runs.

    To one that expects a `crowd` thousands may come by TCP: it runs on the loop of the extra
    `[fast]` where that is installed. It has no datagrams, and nothing beside it starts processes.

    Returns the signal that stopped it, or 0. Raises what the node or `beside` raises.
    """
    end_with_parent()
    with asyncio.Runner(loop_factory=_event_loop if crowd else None) as runner:
        return runner.run(_run(make, beside))


def run_until_signal(work: Callable[[], Awaitable[None]]) -> int:
    """Run something that is no node, until it ends, or a signal cancels it.

    Returns the signal, or 0. Raises what `work` raises.
    """
    end_with_parent()
    return asyncio.run(_run_until_signal(work))


async def _run_until_signal(work: Callable[[], Awaitable[None]]) -> int:
    task = asyncio.ensure_future(work())
    with _stopped_by_signals(task.cancel) as received, contextlib.suppress(asyncio.CancelledError):
        await task
    return received[0] if received else 0


def _event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, and else Python's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _run(make: Callable[[], Node], beside: Callable[[], Awaitable[None]] | None) -> int:
    node = make()
    with (
        _stopped_by_signals(node.stop) as received,
        _collected_seldom(),
        _told_once_of_full_files(),
    ):
        main = asyncio.ensure_future(node.run())
        tasks = [main] if beside is None else [main, asyncio.ensure_future(beside())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            node.stop()
            await main
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return received[0] if received else 0


@contextlib.contextmanager
def _told_once_of_full_files() -> Iterator[None]:
    """Where no more files can be opened, whoever wants to come in waits until somebody leaves.

    asyncio alone would write thousands of tracebacks a second. Saying it may take a file.
    """
    spare = [os.open(os.devnull, os.O_RDONLY)]

    def hear(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _OUT_OF_FILES:
            loop.default_exception_handler(context)
        elif spare:
            os.close(spare.pop())
            _log.warning(f"{os.strerror(error.errno)}: who wants to come in waits for a place")

    asyncio.get_running_loop().set_exception_handler(hear)
    try:
        yield
    finally:
        for each in spare:
            os.close(each)


@contextlib.contextmanager
def _collected_seldom() -> Iterator[None]:
    """What is there now stays; what comes is looked through less often."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], object]) -> Iterator[list[int]]:
    """The signals that came."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def restore() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def hear(number: int) -> None:
        received.append(number)
        restore()
        stop()

    for number in SIGNALS:
        loop.add_signal_handler(number, hear, number)
    try:
        yield received
    finally:
        restore()
