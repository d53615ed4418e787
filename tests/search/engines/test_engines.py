"""One story on every engine: the right answer, whatever becomes of those who work on it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from nonsuch.errors import KernelUnavailable, LocalError
from nonsuch.search.backends import calibration
from nonsuch.search.engines.engine import Engine, Piece, perform
from nonsuch.search.engines.local import ProcessEngine
from nonsuch.search.engines.opening import open_engine
from nonsuch.search.engines.spread import search_on
from nonsuch.search.halt import Halt
from nonsuch.search.searcher import Progress, search
from nonsuch.work import presets
from nonsuch.work.goals import First, Lowest, Shares
from nonsuch.work.target import Target

PUZZLE = presets.plain(b"engines ")
ENDLESS = range(2**60)


def nonces_of_seconds(seconds: float) -> int:
    """How many one slot searches in so long, roughly."""
    try:
        measured = calibration(False)
    except KernelUnavailable:
        return int(500_000 * seconds)
    return int(measured.rates[measured.best] * seconds)


def await_end(number: int) -> None:
    """Until this process is no more."""
    with contextlib.suppress(ProcessLookupError):
        watch = os.pidfd_open(number)
        try:
            assert select.select([watch], [], [], 30)[0], f"process {number} lives"
        finally:
            os.close(watch)


NAMES = ["threads", "processes", "dask"]


def engine_of(name: str) -> Engine:
    if name == "dask" and importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    return open_engine(name, 2)


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One for all stories, as for all searches of a miner: none may leave it in disorder."""
    opened = engine_of(request.param)
    yield opened
    opened.close()


def test_it_has_the_slots_that_were_asked_for(engine: Engine) -> None:
    assert engine.slots() == 2
    assert engine.workers() == (0 if engine.name == "threads" else 2)


def test_the_lowest_hash(engine: Engine) -> None:
    nonces = range(nonces_of_seconds(0.8))
    outcome, expected = (
        search_on(engine, PUZZLE, nonces, Lowest()),
        search(PUZZLE, nonces, Lowest()),
    )
    assert outcome.proof == expected.proof
    assert outcome.covered == expected.covered
    assert not outcome.stopped


def test_the_first_nonce_that_meets_a_target(engine: Engine) -> None:
    goal = First(Target(2**256 // nonces_of_seconds(0.15)))
    outcome, expected = (
        search_on(engine, PUZZLE, ENDLESS, goal),
        search(PUZZLE, ENDLESS, goal),
    )
    assert outcome.proof == expected.proof
    assert outcome.ended_early


def test_all_shares_up_to_the_first_that_ends_the_search(engine: Engine) -> None:
    limit = Target(2**256 // nonces_of_seconds(0.01))
    goal = Shares(limit, Target(2**256 // nonces_of_seconds(0.15)))
    outcome, expected = (
        search_on(engine, PUZZLE, ENDLESS, goal),
        search(PUZZLE, ENDLESS, goal),
    )
    assert outcome.proof == expected.proof
    assert outcome.shares == expected.shares


def test_a_search_that_is_halted_says_what_it_has_covered(engine: Engine) -> None:
    halt = Halt()

    def look(progress: Progress) -> None:
        if progress.hashes:
            halt.set()

    outcome = search_on(engine, PUZZLE, ENDLESS, Lowest(), progress=look, halt=halt)
    assert outcome.stopped
    assert outcome.proof is not None
    assert outcome.hashes == outcome.covered.total > 0
    assert any(outcome.proof.nonce in part for part in outcome.covered)


def test_a_piece_is_halted_wherever_it_runs_and_wherever_it_waits(engine: Engine) -> None:
    pieces = [
        engine.executor.submit(perform, Piece("endless", PUZZLE, 0, ENDLESS.stop, Lowest()))
        for _ in range(4)
    ]
    engine.halt("endless")
    for each in pieces:
        # Two are under way and end early, by nearly all of 2**60 hashes; two have not begun.
        with contextlib.suppress(CancelledError):
            answer = each.result(60)
            assert answer.stopped
            assert answer.hashes < 2**50
    short = Piece("other", PUZZLE, 0, 1000, Lowest())
    assert engine.executor.submit(perform, short).result(60).hashes == 1000


def test_a_worker_that_is_killed_costs_nothing_but_time(engine: Engine) -> None:
    if engine.name == "threads":
        pytest.skip("there is no worker but this process")
    killed: list[int] = []

    def look(progress: Progress) -> None:
        if progress.hashes and not killed:
            killed.append(victim)
            os.kill(victim, signal.SIGKILL)

    victim = engine.executor.submit(os.getpid).result(60)
    nonces = range(nonces_of_seconds(1.5))
    outcome = search_on(engine, PUZZLE, nonces, Lowest(), progress=look)
    assert killed
    assert outcome.proof == search(PUZZLE, nonces, Lowest()).proof


def test_a_range_that_cannot_be_is_refused(engine: Engine) -> None:
    with pytest.raises(LocalError, match="not negative"):
        search_on(engine, PUZZLE, range(-1, 5), Lowest())


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes as Linux has them")
@pytest.mark.parametrize("name", NAMES)
def test_a_closed_engine_leaves_no_process(name: str) -> None:
    engine = engine_of(name)
    endless = Piece("open", PUZZLE, 0, ENDLESS.stop, Lowest())
    worker = engine.executor.submit(os.getpid).result(60)
    future = engine.executor.submit(perform, endless)
    engine.close()
    engine.close()
    assert future.done() or future.cancelled()
    if worker != os.getpid():
        await_end(worker)


# What only processes of our own have.


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes as Linux has them")
def test_a_frozen_process_holds_up_nobody_and_can_be_closed() -> None:
    engine = ProcessEngine(2)
    frozen = engine.executor.submit(os.getpid).result(60)
    os.kill(frozen, signal.SIGSTOP)
    stuck = [engine.executor.submit(os.getpid) for _ in range(4)]
    done = threading.Event()
    for each in stuck:
        each.add_done_callback(lambda _: done.set())
    assert done.wait(60), "the other one works"
    engine.close()
    await_end(frozen)


PARENT = """
import sys, time
from nonsuch.search.engines.local import ProcessEngine
engine = ProcessEngine(2)
[engine.executor.submit(time.sleep, 0.1) for _ in range(2)][-1].result()
print(*engine.numbers, flush=True)
time.sleep(100)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes as Linux has them")
def test_no_worker_outlives_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        workers = [int(number) for number in parent.stdout.readline().split()]
        assert len(workers) == 2
        for number in workers:
            # Ctrl-C and the end of a service reach all of a group: they are the parent's business.
            os.kill(number, signal.SIGINT)
            os.kill(number, signal.SIGTERM)
        parent.kill()
    for number in workers:
        await_end(number)


def test_errors_come_back_in_one_piece_or_in_words() -> None:
    engine = ProcessEngine(1)
    with pytest.raises(ZeroDivisionError):
        engine.executor.submit(divmod, 1, 0).result(60)
    with pytest.raises(LocalError, match="cannot pickle"):
        engine.executor.submit(threading.Lock).result(60)
    engine.close()
    with pytest.raises(RuntimeError):
        engine.executor.submit(os.getpid)


def test_a_process_that_always_falls_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    engine = ProcessEngine(1)
    with pytest.raises(LocalError, match="lost 11 worker processes in a row: it is gone"):
        engine.executor.submit(os._exit, 3).result(100)
    assert "starting another" in caplog.text
    assert engine.executor.submit(divmod, 7, 2).result(60) == (3, 1)
    engine.close()
