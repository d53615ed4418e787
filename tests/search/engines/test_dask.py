"""Dask on this machine: real processes that search, are killed, frozen and halted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from typing import TYPE_CHECKING

import pytest

from nonsuch import LocalError, Lowest, Puzzle, Raw, presets, solve
from nonsuch.search.engines.engine import Answer, Engine, Piece, perform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from nonsuch.search.engines.dask import DaskEngine

pytest.importorskip("distributed", reason="Dask is an extra: nonsuch[dask]")

import psutil

from nonsuch.search.engines.dask import open_dask
from tests.search.engines.dask_processes import (
    PATIENCE_SECONDS,
    Gate,
    ended,
    freeze,
    thaw,
    wait_until,
)

ENDLESS = 2**60
"""A piece that nobody lives to see the end of."""


def pieces(job: str, puzzle: Puzzle, upto: int, count: int) -> list[Piece]:
    """The numbers 0 to `upto`, in so many pieces."""
    size = -(-(upto + 1) // count)
    starts = range(0, upto + 1, size)
    return [Piece(job, puzzle, at, min(at + size, upto + 1), Lowest()) for at in starts]


def lowest(puzzle: Puzzle, futures: list[Future[Answer]]) -> int:
    """The nonce of the lowest of all answers."""
    bests = [future.result(PATIENCE_SECONDS).best for future in futures]
    return min((puzzle.rank(puzzle.digest(nonce)), nonce) for nonce in bests if nonce is not None)[
        1
    ]


@pytest.fixture(scope="module")
def shared() -> Iterator[DaskEngine]:
    """A cluster of two workers, for tests that leave it as it was."""
    engine = open_dask(None, workers=2, insecure=False)
    yield engine
    engine.close()


def test_a_cluster_of_this_machine_finds_the_lowest_hash(shared: DaskEngine) -> None:
    assert isinstance(shared, Engine)
    assert (shared.slots(), shared.workers()) == (2, 2)
    puzzle = presets.plain(b"on a laptop")
    futures = [
        shared.executor.submit(perform, piece) for piece in pieces("lowest", puzzle, 400_000, 7)
    ]
    assert lowest(puzzle, futures) == solve("on a laptop", 400_000).nonce
    assert sum(future.result().hashes for future in futures) == 400_001


def test_what_a_worker_raises_is_raised_here(shared: DaskEngine) -> None:
    narrow = Piece("narrow", Puzzle(b"", Raw(4, "big")), 0, 2**33, Lowest())
    with pytest.raises(LocalError, match="nonce"):
        shared.executor.submit(perform, narrow).result(PATIENCE_SECONDS)


def test_a_halt_reaches_pieces_that_run_and_those_that_wait(shared: DaskEngine) -> None:
    puzzle = presets.plain(b"endless")
    halted = [
        shared.executor.submit(perform, Piece("halted", puzzle, at, at + ENDLESS, Lowest()))
        for at in range(4)
    ]
    others = shared.executor.submit(perform, Piece("other", puzzle, 0, 1000, Lowest()))
    shared.halt("halted")
    assert all(future.result(PATIENCE_SECONDS).stopped for future in halted)
    assert sum(future.result().hashes for future in halted) < ENDLESS
    assert others.result(PATIENCE_SECONDS).hashes == 1000
    # What is sent of it later does not begin.
    late = shared.executor.submit(perform, Piece("halted", puzzle, 0, ENDLESS, Lowest()))
    with pytest.raises(CancelledError):
        late.result(PATIENCE_SECONDS)


def test_a_worker_that_is_killed_has_its_piece_done_again(
    shared: DaskEngine, tmp_path: Path
) -> None:
    gate = Gate(tmp_path, shared)
    first = gate.runs()[0]
    os.kill(first, signal.SIGKILL)
    again = gate.runs(2)[1]
    assert again != first
    assert gate.open() == 0
    # And it is replaced.
    wait_until(lambda: shared.slots() == 2, "two workers again")


def test_what_a_killed_worker_had_is_the_first_that_the_next_one_does(
    shared: DaskEngine, tmp_path: Path
) -> None:
    # As a miner does that has been at it for a while: a scheduler learns from a stream.
    futures = [shared.executor.submit(time.sleep, 0.1) for _ in range(5)]
    gates = [Gate(folder, shared) for folder in _folders(tmp_path, 4)]
    wait(futures, PATIENCE_SECONDS)
    lost = gates[0]
    os.kill(lost.runs()[0], signal.SIGKILL)
    again = lost.runs(2)[1]
    assert again not in gates[1].runs()
    for gate in gates:
        gate.let()
    assert [gate.open() for gate in gates] == [0, 0, 0, 0]


def test_what_came_back_of_a_worker_is_not_done_again_when_it_is_lost(
    shared: DaskEngine, tmp_path: Path
) -> None:
    first, *others = _folders(tmp_path, 3)
    before = Gate(first, shared)
    worker = before.runs()[0]
    assert before.open() == 0
    # The scheduler hears in order: behind this it knows that nobody needs that any more.
    assert shared.executor.submit(abs, -1).result(PATIENCE_SECONDS) == 1
    after, beside = (Gate(folder, shared) for folder in others)
    os.kill(worker, signal.SIGKILL)
    # What the scheduler does again comes before these, which fill both workers in the end.
    after.runs()
    beside.runs()
    assert (after.open(), beside.open()) == (0, 0)
    assert before.runs() == [worker]
    assert before.future.done()  # It is held until here.


def test_pieces_elsewhere_go_on_while_a_worker_is_frozen(
    shared: DaskEngine, tmp_path: Path
) -> None:
    gate = Gate(tmp_path, shared)
    frozen = gate.runs()[0]
    freeze(frozen)
    puzzle = presets.plain(b"frozen")
    work = pieces("frozen", puzzle, 200_000, 6)
    futures = [shared.executor.submit(perform, piece) for piece in work]
    assert wait(futures, PATIENCE_SECONDS, FIRST_COMPLETED).done
    thaw(frozen)
    assert lowest(puzzle, futures) == solve("frozen", 200_000).nonce
    assert gate.open() == 0


def test_what_a_frozen_worker_does_not_give_back_is_withdrawn(
    shared: DaskEngine, tmp_path: Path
) -> None:
    gate = Gate(tmp_path, shared)
    frozen = gate.runs()[0]
    freeze(frozen)
    # Two workers and three pieces: at least one is for the frozen one.
    puzzle = presets.plain(b"withdrawn")
    futures = [
        shared.executor.submit(perform, Piece("withdrawn", puzzle, at, at + ENDLESS, Lowest()))
        for at in range(6)
    ]
    shared.halt("withdrawn")
    assert not wait(futures, PATIENCE_SECONDS).not_done
    assert all(future.cancelled() or future.result().stopped for future in futures)
    thaw(frozen)
    assert gate.open() == 0


def test_ctrl_c_is_not_for_the_workers(shared: DaskEngine, tmp_path: Path) -> None:
    gate = Gate(tmp_path, shared)
    worker = gate.runs()[0]
    os.kill(worker, signal.SIGINT)
    assert gate.open() == 0
    assert gate.runs() == [worker]


def test_it_can_be_cancelled_by_whoever_waits(shared: DaskEngine, tmp_path: Path) -> None:
    gates = [Gate(folder, shared) for folder in _folders(tmp_path, 2)]
    for gate in gates:
        gate.runs()
    waiting = shared.executor.submit(perform, Piece("x", presets.plain(b""), 0, 10, Lowest()))
    assert waiting.cancel()
    for gate in gates:
        assert gate.open() == 0


def _folders(folder: Path, count: int) -> list[Path]:
    folders = [folder / str(number) for number in range(count)]
    for each in folders:
        each.mkdir()
    return folders


def test_what_is_closed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    threads, children = set(threading.enumerate()), set(multiprocessing.active_children())
    engine = open_dask(None, workers=1, insecure=False)
    worker = engine.executor.submit(os.getpid).result(PATIENCE_SECONDS)
    endless = Piece("endless", presets.plain(b"closed"), 0, ENDLESS, Lowest())
    flying = [engine.executor.submit(perform, endless) for _ in range(3)]
    engine.close()
    engine.close()
    assert all(future.cancelled() or future.result().stopped for future in flying)
    assert ended(worker)
    assert set(multiprocessing.active_children()) <= children
    for thread in set(threading.enumerate()) - threads:
        if not thread.name.startswith("Dask-Offload"):  # That one stays for ever.
            thread.join(PATIENCE_SECONDS)  # Those that watch a process may see it end after us.
            assert not thread.is_alive(), thread.name
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []
    assert (engine.slots(), engine.workers()) == (0, 0)
    with pytest.raises(RuntimeError):
        engine.executor.submit(perform, endless)
    assert caplog.records == []


def test_a_machine_has_a_sensible_number_of_workers() -> None:
    for workers in (0, -1, 10**9):
        with pytest.raises(LocalError, match="workers"):
            open_dask(None, workers=workers, insecure=False)


def test_other_people_of_this_machine_cannot_come_in(shared: DaskEngine) -> None:
    assert shared.slots() > 0
    for port in _listening():
        with pytest.raises(LocalError, match="cannot reach"):
            open_dask(f"dask://127.0.0.1:{port}", workers=None, insecure=True)


def _listening() -> list[int]:
    """Where this process, with its scheduler, listens."""
    connections = psutil.Process().net_connections("tcp")
    assert all(each.laddr.ip == "127.0.0.1" for each in connections)
    return [each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN]
