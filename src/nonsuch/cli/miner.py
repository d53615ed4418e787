"""`nonsuch miner`: search for a pool."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections import deque
from collections.abc import Callable
from typing import Annotated

import typer

from nonsuch import KernelUnavailable, LocalError
from nonsuch.cli import options
from nonsuch.cli.access import POOL_PORT, Access, parse_address
from nonsuch.cli.facts import Stopped
from nonsuch.cli.inputs import check_threads
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.terminal import format_count, format_rate, live_line
from nonsuch.errors import check_text
from nonsuch.live.driver import Node
from nonsuch.live.run import run
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.liteminer import LiteMinerMinerWire
from nonsuch.networks.pool.messages import Hello
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.search.backends import calibration
from nonsuch.search.searcher import default_threads

__all__ = ["miner"]

RATE_SHARDS = 8
"""How many shards the rate shown is taken of."""

NAME_CHARACTERS_MAX = 64

_QUIET: frozenset[type] = frozenset({facts.ShardTaken, facts.Worked})


def miner(
    pool: options.PoolAddress = f"127.0.0.1:{POOL_PORT}",
    threads: options.Threads = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What the pool's log calls this miner."),
    ] = None,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
    liteminer: options.LiteMiner = False,
    verbose: options.Verbose = False,
    json: options.JsonLines = False,
) -> int:
    """Search for the pool at POOL, until Ctrl-C.

    A pool that is not there, or goes away, is waited for. Exit code 2 where the pool refuses this
    miner for good: its token is wrong, or it speaks another version.
    """
    check_threads(threads)
    place = parse_address(pool, "POOL")
    access = Access.found(token_file, tls=tls, authority=tls_ca)
    with live_line() as show:
        show("measuring this machine")
        rate = _rate(threads or default_threads())
    hello = Hello(
        "miner",
        token=access.token,
        name=_name(name),
        threads=threads or default_threads(),
        rate=rate,
    )
    log = fact_logger(json=json, quiet=frozenset() if verbose else _QUIET)
    core = Miner(hello, random.Random(secrets.randbits(64)))
    wire = LiteMinerMinerWire if liteminer else lambda: PoolWire(accepts_puzzles=True)
    address = access.address(place, wire)
    with live_line() as show:
        show(f"connecting to {place}")
        display = _Display(log, show)
        run(lambda: Node(core, dial=address, threads=threads, observe=display))
    log(Stopped())
    if core.failure is not None:
        raise LocalError(f"the pool at {place} refused this miner: {core.failure}")
    return 0


def _rate(threads: int) -> float:
    """What this machine may do, in hashes a second; 0 where nobody knows."""
    try:
        measured = calibration(False)
    except KernelUnavailable:
        return 0.0
    return measured.rates[measured.best] * threads


def _name(given: str | None) -> str:
    name = given or f"{socket.gethostname()}-{os.getpid()}"
    check_text(name, "--name")
    return name[:NAME_CHARACTERS_MAX]


class _Display:
    """Hears the facts; shows a line of what was done."""

    def __init__(self, log: Logger, show: Callable[[str], None]) -> None:
        self._log = log
        self._show = show
        self._shards = 0
        self._latest: deque[facts.Worked] = deque(maxlen=RATE_SHARDS)

    def __call__(self, fact: object) -> None:
        self._log(fact)
        if isinstance(fact, facts.Worked):
            self._shards += 1
            self._latest.append(fact)
            nonces = sum(each.stop - each.start for each in self._latest)
            seconds = sum(each.seconds for each in self._latest)
            rate = format_rate(nonces / seconds) if seconds > 0 else "…"
            self._show(f"{format_count(self._shards)} shards searched · {rate}")
        elif isinstance(fact, facts.PoolReached):
            self._show(f"waiting for work of {fact.address}")
        elif isinstance(fact, facts.ConnectionLost):
            self._show("waiting for the pool")
