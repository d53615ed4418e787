"""The page and the server that it is made for: live with control, and a recording played again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from nonsuch.networks.pool import facts
from nonsuch.web.feed import Feed
from nonsuch.web.fleet import Bystander, Fleet, ProcessKilled, ProcessReady, ProcessStarted
from nonsuch.web.guard import Access
from nonsuch.web.observations import Observation, observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.recording import Recorder, read_recording
from nonsuch.web.replay import Replay
from nonsuch.web.rows import About
from nonsuch.web.server import dashboard, serve
from tests.browser.pictures import STARTED, proof

MESSAGE = "Your transaction data"


def _story() -> list[Observation]:
    """A job that two miners share, a minute long."""

    def told(seconds: float, node: str, fact: object) -> Observation:
        return observed_fact(fact, node, STARTED + seconds)

    names = ("pool", "pool"), ("miner-1", "miner"), ("miner-2", "miner")
    story = [told(0, "", ProcessStarted(name, role)) for name, role in names]  # type: ignore[arg-type]
    story += [told(1, "", ProcessReady(name)) for name, _ in names]
    for number in (1, 2):
        joined = facts.MinerJoined(f"miner-{number}", f"127.0.0.1:{number}", "ours", number)
        story.append(told(2, "pool", joined))
    story.append(told(5, "pool", facts.JobAccepted("j", 0, 999, 2, MESSAGE, "liteminer")))
    for part in range(10):
        node = f"miner-{part % 2 + 1}"
        begin, end = 6 + 5 * part, 10 + 5 * part
        start, stop = 100 * part, 100 * part + 100
        story.append(told(begin, node, facts.ShardTaken("j", start, stop)))
        story.append(told(end, node, facts.Worked("j", start, stop, 4.0)))
    story.append(told(56, "pool", facts.JobFinished("j", 417, 1000, 51.0, proof("it", 10))))
    return story


class _Pool(Bystander):
    """A pool whose processes are words alone; it can be told to kill one."""

    def __init__(self) -> None:
        about = About("pool", title="A pool", control=True, started=STARTED)
        super().__init__(about)
        self.feed = Feed(Picture(about))

    async def kill(self, name: str) -> str:
        self.feed.observe(observed_fact(ProcessKilled(name), "", STARTED + 40))
        return f"{name} was killed."


@contextmanager
def _served(
    make: Callable[[], tuple[Feed, Fleet, Awaitable[None]]],
) -> Iterator[tuple[str, Callable[[Callable[[], object]], None]]]:
    """A dashboard in a thread of its own: its address, and a way to call into its loop."""
    ready = threading.Event()
    address: list[str] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        feed, fleet, beside = make()
        task = asyncio.ensure_future(beside)
        serving = await serve(dashboard(feed, fleet, Access(control=True)), port=0)
        over = asyncio.Event()
        address.append(serving.url)
        loops.append((asyncio.get_running_loop(), over))
        ready.set()
        await over.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await serving.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield address[0], lambda call: _in(loops[0][0], call)
    finally:
        for loop, over in loops:
            loop.call_soon_threadsafe(over.set)
        thread.join()


def _in(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    loop.call_soon_threadsafe(call)


async def _nothing() -> None:
    """Nothing runs beside a live dashboard here."""


@contextmanager
def _visit(chromium: Browser, address: str) -> Iterator[Page]:
    complaints: list[str] = []
    with chromium.new_context() as context:
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
    assert complaints == []


def test_a_pool_is_watched_and_a_miner_killed(chromium: Browser) -> None:
    pool = _Pool()

    def live() -> tuple[Feed, Fleet, Awaitable[None]]:
        for observation in _story()[:-6]:
            pool.feed.observe(observation)
        return pool.feed, pool, _nothing()

    with _served(live) as (address, call), _visit(chromium, address) as page:
        expect(page.get_by_text(f"“{MESSAGE}”")).to_be_visible()
        expect(page.get_by_text("miner-2 has 1 shard")).to_be_visible()
        page.get_by_role("button", name="Actions for miner-2").click()
        page.get_by_role("menuitem", name="Kill").click()
        expect(page.get_by_role("status").get_by_text("miner-2 was killed.")).to_be_visible()
        expect(page.locator(".nodes li", has_text="miner-2")).to_contain_text("dead")
        for observation in _story()[-6:]:
            call(lambda told=observation: pool.feed.observe(told))  # type: ignore[misc]
        expect(page.locator(".result")).to_contain_text("nonce 417")
        expect(page.locator(".result")).to_contain_text(proof("it", 10))


def test_a_recording_is_played_again(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"

    async def record() -> None:
        recorder = Recorder(path, "pool", "A pool of yesterday", STARTED)
        for observation in _story():
            recorder.add(observation)
        await recorder.close()

    thread = threading.Thread(target=asyncio.run, args=(record(),))
    thread.start()
    thread.join()

    def replayed() -> tuple[Feed, Fleet, Awaitable[None]]:
        replay = Replay(read_recording(path), paused=True)
        return replay.feed, replay, replay.run()

    with _served(replayed) as (address, _), _visit(chromium, address) as page:
        expect(page.locator("#mode")).to_have_text("Replay, paused")
        slider = page.get_by_role("slider", name="Time of the recording")
        slider.fill("33")
        expect(page.get_by_text(f"“{MESSAGE}”")).to_be_visible()
        expect(page.locator(".state-of-done b")).to_have_text("500 (50.0 %)")
        slider.fill("56")
        expect(page.locator(".result")).to_contain_text("nonce 417")
        slider.fill("12")
        expect(page.locator(".state-of-done b")).to_have_text("100 (10.0 %)")
        page.get_by_label("Speed").select_option("×100")
        page.get_by_role("button", name="Play").click()
        expect(page.locator(".result")).to_contain_text("nonce 417")
