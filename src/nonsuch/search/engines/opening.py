"""Engines by name, as people type them."""

from __future__ import annotations

from nonsuch.errors import LocalError
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.executors import open_custom
from nonsuch.search.engines.local import ProcessEngine, ThreadEngine

__all__ = ["DASK", "PROCESSES", "THREADS", "check_insecure", "open_engine"]

THREADS = "threads"
PROCESSES = "processes"
DASK = "dask"

_ADDRESSES = ("dask://", "tls://")


def open_engine(
    name: str = THREADS, threads: int | None = None, *, insecure: bool = False
) -> Engine:
    """The engine of this name: whoever opens it closes it.

    `threads` is how many threads, or processes, search on this machine, None for one a processor;
    engines elsewhere have what they have. `insecure` lets a cluster elsewhere be reached without
    encryption. Raises `LocalError` for a name that is none, options that make no sense with it, and
    what cannot be reached.
    """
    check_insecure(name, insecure=insecure)
    is_address = name.startswith(_ADDRESSES)
    if name == THREADS:
        return ThreadEngine(threads)
    if name == PROCESSES:
        return ProcessEngine(threads)
    if name == DASK or is_address:
        if is_address:
            _check_no_threads(name, threads)
        return _open_dask(name if is_address else None, threads, insecure=insecure)
    if ":" not in name:
        raise LocalError(
            f"there is no engine {name[:80]!r}; choose from {THREADS}, {PROCESSES}, {DASK},"
            " dask://HOST:PORT, tls://HOST:PORT, MODULE:CALLABLE"
        )
    _check_no_threads(name, threads)
    return open_custom(name)


def check_insecure(name: str, *, insecure: bool) -> None:
    """Raise `LocalError` where there is nothing to be insecure about."""
    if insecure and not name.startswith(_ADDRESSES):
        raise LocalError("--insecure is for --engine dask://HOST:PORT alone")


def _check_no_threads(name: str, threads: int | None) -> None:
    if threads is not None:
        raise LocalError(f"--engine {name} has workers of its own: leave --threads out")


def _open_dask(address: str | None, workers: int | None, *, insecure: bool) -> Engine:
    try:
        from nonsuch.search.engines.dask import open_dask
    except ModuleNotFoundError as error:
        raise LocalError(
            f"--engine dask needs a package that is not installed ({error.name}): pip install"
            " 'nonsuch[dask]'"
        ) from None
    return open_dask(address, workers=workers, insecure=insecure)
