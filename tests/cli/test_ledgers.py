"""The owner of a ledger serves while it can, tells while it cannot, and lets go in the end."""

from __future__ import annotations

import asyncio
import fcntl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nonsuch.cli.ledgers import LedgerOwner, LedgerUnusable
from nonsuch.errors import LocalError
from nonsuch.live import ledgers
from nonsuch.live.driver import Node
from nonsuch.live.ledgers import open_ledger
from nonsuch.networks.race import desk
from nonsuch.networks.race.desk import Overfull
from nonsuch.networks.race.ledger import Entry, LedgerDamaged
from nonsuch.networks.race.messages import Asked, Claim, Enter, Join, Joined, Leave, Lost, Told, Won
from nonsuch.node import Effect, Event, Received
from tests.live.test_ledgers import powerless

T = "Your transaction data"


def claim(node: str, text: str = T) -> Claim:
    return Claim(0, "", 0, 1, Entry(node, text, 0, "00", 0.1, f"{node} began", "then"))


class Heard:
    """A core that hears what the owner of its ledger says."""

    def __init__(self) -> None:
        self.messages: list[object] = []
        self._news = asyncio.Event()

    def handle(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Received):
            self.messages.append(event.message)
            self._news.set()
        return []

    def deadline(self) -> float | None:
        return None

    def _check(self) -> None:
        pass

    async def until(self, come: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not come():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def served(owner: LedgerOwner) -> AsyncIterator[Heard]:
    """A node beside which the owner serves."""
    core, ready = Heard(), asyncio.Event()
    node = Node(core, local=owner.hear, ready=lambda _: ready.set())
    running = asyncio.create_task(node.run())
    await ready.wait()
    serving = asyncio.create_task(owner.beside(node))
    try:
        yield core
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        node.stop()
        await running


class Log:
    """Facts, and whoever waits for one."""

    def __init__(self) -> None:
        self.facts: list[object] = []
        self.news = asyncio.Event()

    def __call__(self, fact: object) -> None:
        self.facts.append(fact)
        self.news.set()


@pytest.fixture(params=["", "sqlite:"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{tmp_path / 'ledger'}"


async def test_who_watches_hears_that_it_has_lost_though_the_file_could_not_be_written_at_first(
    tmp_path: Path,
) -> None:
    log = Log()
    owner = LedgerOwner(str(tmp_path / "ledger.json"), log)
    async with served(owner) as core:
        owner.hear(Asked(1, Enter(0, "", 0, 1, T)))
        owner.hear(Asked(1, Join(0)))
        await core.until(lambda: len(core.messages) == 1)
        obstacle = tmp_path / ".ledger.json.new"
        obstacle.mkdir()
        owner.hear(Asked(2, claim("Node2")))
        async with asyncio.timeout(60):
            await log.news.wait()
        assert isinstance(log.facts[0], LedgerUnusable)
        obstacle.rmdir()
        await core.until(lambda: len(core.messages) == 3)
    joined, won, lost = core.messages
    assert isinstance(joined, Told)
    assert isinstance(joined.answer, Joined)
    assert isinstance(won, Told)
    assert isinstance(won.answer, Won)
    assert isinstance(lost, Told)
    assert isinstance(lost.answer, Lost)
    assert (won.seat, lost.seat, lost.answer.winner) == (2, 1, "Node2")
    assert len(open_ledger(str(tmp_path / "ledger.json")).read()) == 1


def test_an_owner_that_waits_for_a_lock_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "LOCK_SECONDS", 10_000.0)
    owner = LedgerOwner(str(tmp_path / "ledger.json"), Log())
    lock = (tmp_path / ".ledger.json.lock").open("r+")
    fcntl.flock(lock, fcntl.LOCK_EX)

    async def story() -> None:
        async with served(owner):
            owner.hear(Join(0))
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(story()), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    lock.close()


def open_files() -> list[str]:
    """What this process has open."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files cannot be seen here")
    return [str(each.readlink()) for each in folder.iterdir() if each.is_symlink()]


async def test_in_the_end_nothing_is_open(name: str, tmp_path: Path) -> None:
    owner = LedgerOwner(name, Log())
    async with served(owner) as core:
        owner.hear(claim("Node1"))
        await core.until(lambda: bool(core.messages))
    assert not [each for each in open_files() if each.startswith(str(tmp_path))]


def test_a_ledger_whose_folder_cannot_be_written_is_told_at_once() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        with powerless():
            for name in (f"{folder}/ledger.json", f"sqlite:{folder}/ledger.db"):
                with pytest.raises(LocalError, match=f"cannot use the ledger {folder}"):
                    LedgerOwner(name, Log())
        Path(folder).chmod(0o755)


def test_an_entry_that_is_none_is_told_with_its_file(name: str, tmp_path: Path) -> None:
    ledger = open_ledger(name)
    with ledger.locked() as entries:
        entries.append({"node": "Node1"})
    ledger.close()
    place = str(tmp_path / "ledger")
    with pytest.raises(LedgerDamaged, match=f"^{place}: entry 1 of the ledger has no text"):
        LedgerOwner(name, Log())


async def test_nodes_that_ask_more_than_can_wait_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "QUESTIONS_BYTES_MAX", 3 * desk.QUESTION_BYTES)
    monkeypatch.setattr(ledgers, "LOCK_SECONDS", 0.01)
    log = Log()
    owner = LedgerOwner(str(tmp_path / "ledger.json"), log)
    with (tmp_path / ".ledger.json.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with served(owner) as core:
            await asyncio.sleep(0)
            for seat in range(1, 6):
                owner.hear(Asked(seat, Join(0)))
            await core.until(lambda: len(core.messages) == 2)
            assert core.messages == [Overfull(4), Overfull(5)]
            async with asyncio.timeout(60):
                await log.news.wait()
            owner.hear(Asked(2, Leave()))
            fcntl.flock(lock, fcntl.LOCK_UN)
            await core.until(lambda: len(core.messages) >= 4)
    seats = [each.seat for each in core.messages[2:] if isinstance(each, Told)]
    assert seats == [1, 3]
