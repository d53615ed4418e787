"""One way to run a node, and one way to stop it.

A signal asks the node to stop, once; it says its last words, its connections close, its searches
end, and `run` returns which signal it was. A second signal has its usual effect. A node that was
started as somebody's child is stopped when that one is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Iterator

from nonsuch.live.children import end_with_parent
from nonsuch.live.driver import Node

__all__ = ["run", "run_until_signal"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

COLLECTED_AFTER = (50_000, 20, 20)
"""How many more objects there must be before Python looks for circles among the youngest, the
middle and the old. Nodes leave hardly any behind; looking through what one with thousands of peers
keeps stops it for tens of milliseconds."""


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
    with _stopped_by_signals(node.stop) as received, _collected_seldom():
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
