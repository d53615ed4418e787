"""Engines as people name them, and what they are told where that makes none."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import multiprocessing
import os
import select
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from types import ModuleType

import pytest

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import Engine, Piece, perform
from nonsuch.search.engines.executors import ExecutorEngine
from nonsuch.search.engines.local import ProcessEngine, ThreadEngine
from nonsuch.search.engines.opening import open_engine
from nonsuch.search.engines.spread import search_on
from nonsuch.search.searcher import THREADS_MAX, default_threads, search
from nonsuch.work import presets
from nonsuch.work.goals import Lowest

PUZZLE = presets.plain(b"opening ")


class Mute(Executor):
    """One that does not say how much it can do, and does nothing."""


def threads() -> Executor:
    return ThreadPoolExecutor(3)


def processes() -> Executor:
    # Not forked: a fork of a process with threads holds whatever locks they held.
    return ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))


def engine() -> Engine:
    return ThreadEngine(1)


class Held(Executor):
    """One that holds its process until it is shut down."""

    lives = False

    def __init__(self) -> None:
        Held.lives = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        Held.lives = False


class HeldEngine(ThreadEngine):
    def __init__(self) -> None:
        super().__init__(1)
        Held.lives = True

    def close(self) -> None:
        super().close()
        Held.lives = False


class Hollow(HeldEngine):
    """An engine whose author has forgotten the executor."""

    def __init__(self) -> None:
        super().__init__()
        vars(self)["executor"] = None


def leaves() -> Executor:
    sys.exit(0)


def fails() -> Executor:
    raise RuntimeError("out of order")


def number() -> int:
    return 5


class Corner:
    """Names may have several parts."""

    threads = staticmethod(threads)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file, as a module that people have."""
    monkeypatch.setitem(sys.modules, "people", sys.modules[__name__])
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_threads_are_the_default_and_one_a_processor() -> None:
    opened = open_engine()
    assert isinstance(opened, ThreadEngine)
    assert opened.slots() == default_threads()
    opened.close()


def test_processes_are_counted_by_threads() -> None:
    opened = open_engine("processes", 1)
    assert isinstance(opened, ProcessEngine)
    assert (opened.slots(), opened.workers()) == (1, 1)
    opened.close()


@pytest.mark.parametrize(
    ("name", "slots", "workers"),
    [
        ("people:threads", 3, 0),
        ("people:Corner.threads", 3, 0),
        ("people:threads?slots=7", 7, 0),
        ("people:engine", 1, 0),
        ("people:Mute?slots=4", 4, 4),
    ],
)
def test_somebodys_callable_makes_an_engine(name: str, slots: int, workers: int) -> None:
    opened = open_engine(name)
    assert (opened.slots(), opened.workers()) == (slots, workers)
    opened.close()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nope", "there is no engine 'nope'; choose from threads, processes, dask"),
        ("", "there is no engine ''"),
        ("people:threads:more", "is no engine, nor MODULE:CALLABLE"),
        ("people:threads?slots=many", "is no engine, nor MODULE:CALLABLE"),
        ("people:threads?slots=0", "slots lie between 1 and 2048"),
        ("people:threads?slots=2049", "slots lie between 1 and 2048"),
        ("nobody:threads", "nobody:threads: there is no module 'nobody'"),
        ("people:nothing", "people:nothing: people has no 'nothing'"),
        ("people:PUZZLE", "people:PUZZLE: it cannot be called, it is Puzzle"),
        ("people:fails", "people:fails raised RuntimeError: out of order"),
        ("people:leaves", "people:leaves raised SystemExit: 0"),
        ("people:number", "people:number returned int, neither an engine nor an executor"),
        ("people:Mute", r"say so behind the name: people:Mute\?slots=8"),
        ("people:engine?slots=2", r"knows its own slots; leave \?slots=2 out"),
    ],
)
def test_what_makes_no_engine_is_refused_in_words(name: str, told: str) -> None:
    with pytest.raises(LocalError, match=told):
        open_engine(name)


@pytest.mark.parametrize("name", ["dask://127.0.0.1:1", "tls://127.0.0.1:1", "people:threads"])
def test_engines_with_workers_of_their_own_take_no_threads(name: str) -> None:
    with pytest.raises(LocalError, match="leave --threads out"):
        open_engine(name, 2)


@pytest.mark.parametrize("name", ["threads", "processes", "dask", "people:threads"])
def test_insecure_is_for_clusters_elsewhere(name: str) -> None:
    with pytest.raises(LocalError, match="--insecure is for"):
        open_engine(name, insecure=True)


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_so_many_threads_are_a_typing_error(name: str) -> None:
    with pytest.raises(LocalError, match="threads must lie between"):
        open_engine(name, THREADS_MAX + 1)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("people:Held", "say so behind the name"),
        ("people:HeldEngine?slots=2", "knows its own slots"),
        ("people:Hollow", "the engine of people:Hollow has no executor: that is NoneType"),
    ],
)
def test_what_is_refused_is_let_go_of(name: str, told: str) -> None:
    with pytest.raises(LocalError, match=told):
        open_engine(name)
    assert not Held.lives


class Absent(importlib.abc.MetaPathFinder):
    """As if these packages were not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] in ("dask", "distributed"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("dask", "distributed") or name.endswith("engines.dask"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(LocalError, match=r"pip install 'nonsuch\[dask\]'"):
        open_engine("dask")


# Somebody's executor at work.


def test_a_pool_of_processes_that_breaks_is_made_again() -> None:
    opened = open_engine("people:processes")
    assert isinstance(opened, ExecutorEngine)
    nonces = range(2_000_000)
    victim = opened.executor.submit(os.getpid).result(60)
    os.kill(victim, signal.SIGKILL)
    assert (
        search_on(opened, PUZZLE, nonces, Lowest()).proof == search(PUZZLE, nonces, Lowest()).proof
    )
    opened.close()


@pytest.mark.parametrize("name", ["people:threads", "people:processes"])
def test_pieces_of_somebodys_executor_are_halted_by_a_file(name: str) -> None:
    opened = open_engine(name)
    endless = [Piece(f"{name} {number}", PUZZLE, 0, 2**60, Lowest()) for number in range(3)]
    running = [opened.executor.submit(perform, piece) for piece in endless]
    opened.halt(f"{name} 1")
    opened.halt(f"{name} 0")
    assert running[0].result(60).stopped
    assert running[1].result(60).stopped
    assert not running[2].done()
    opened.close()
    assert running[2].cancelled() or running[2].result(60).stopped


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes as Linux has them")
def test_a_pool_with_a_frozen_process_is_closed_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened = open_engine("people:processes")
    frozen = opened.executor.submit(os.getpid).result(60)
    watch = os.pidfd_open(frozen)
    os.kill(frozen, signal.SIGSTOP)
    running = opened.executor.submit(os.getpid)
    opened.close()
    assert select.select([watch], [], [], 60)[0], "it lives"
    os.close(watch)
    assert running.done()
    assert "people:processes did not end when it was told to: killed its" in caplog.text
