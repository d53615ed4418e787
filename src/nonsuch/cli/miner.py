"""`nonsuch miner`: search for a pool."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections import deque
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer

from nonsuch import KernelUnavailable, LocalError
from nonsuch.cli import options
from nonsuch.cli.access import POOL_PORT, Access, parse_address
from nonsuch.cli.beside import Beside
from nonsuch.cli.engines import Searching, opened_engine, tell_capacity
from nonsuch.cli.facts import Stopped
from nonsuch.cli.journals import NAME_CHARACTERS_MAX
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.terminal import format_count, format_rate, live_line
from nonsuch.errors import check_text
from nonsuch.live.driver import Node
from nonsuch.live.run import run
from nonsuch.live.tcp import Address
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.liteminer import LiteMinerMinerWire
from nonsuch.networks.pool.messages import WORKERS_MAX, Hello
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.search.backends import calibration
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.opening import THREADS

__all__ = ["miner"]

RATE_SHARDS = 8
"""How many shards the rate shown is taken of."""

_QUIET: frozenset[type] = frozenset({facts.ShardTaken, facts.Worked})


def miner(
    pool: options.PoolAddress = f"127.0.0.1:{POOL_PORT}",
    threads: options.SlotThreads = None,
    engine: options.Engine = THREADS,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What the pool's log calls this miner."),
    ] = None,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
    liteminer: options.LiteMiner = False,
    insecure: options.InsecureEngine = False,
    verbose: options.Verbose = False,
    json: options.JsonLines = False,
) -> int:
    """Search for the pool at POOL, until Ctrl-C.

    A pool that is not there, or goes away, is waited for. Exit code 2 where the pool refuses this
    miner for good: its token is wrong, or it speaks another version.
    """
    place = parse_address(pool, "POOL")
    access = Access.found(token_file, tls=tls, authority=tls_ca)
    hello = Hello("miner", token=access.token, name=_name(name))
    log = fact_logger(json=json, quiet=frozenset() if verbose else _QUIET)
    wire = LiteMinerMinerWire if liteminer else lambda: PoolWire(accepts_puzzles=True)
    address = access.address(place, wire)
    with live_line() as show:
        show(f"opening {engine}")
        with opened_engine(engine, threads, insecure=insecure) as opened:
            show("measuring this machine")
            core = Miner(_with_rate(hello, opened.slots()), random.Random(secrets.randbits(64)))
            show(f"connecting to {place}")
            _run(core, address, opened, _Display(log, show))
    log(Stopped())
    if core.failure is not None:
        raise LocalError(f"the pool at {place} refused this miner: {core.failure}")
    return 0


def _run(core: Miner, address: Address, engine: Engine, display: _Display) -> None:
    async def tell(node: Node) -> None:
        await tell_capacity(node, engine, display)

    beside = Beside(lambda _node: None, tell)
    run(
        lambda: Node(core, dial=address, engine=engine, observe=display, ready=beside.ready),
        beside.run,
    )


def _with_rate(hello: Hello, slots: int) -> Hello:
    """With what is known of this machine; elsewhere it is a guess until the first results."""
    return msgspec.structs.replace(hello, threads=min(slots, WORKERS_MAX), rate=_rate(slots))


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


def _slots(fact: Searching) -> str:
    """How it begins its line: nothing for threads, which are one slot together."""
    if not fact.workers:
        return "" if fact.slots else "no workers · "
    return f"{format_count(fact.slots)} slots on {format_count(fact.workers)} workers · "


class _Display:
    """Hears the facts; shows a line of what was done."""

    def __init__(self, log: Logger, show: Callable[[str], None]) -> None:
        self._log = log
        self._show = show
        self._shards = 0
        self._slots = ""
        self._latest: deque[facts.Worked] = deque(maxlen=RATE_SHARDS)

    def __call__(self, fact: object) -> None:
        self._log(fact)
        if isinstance(fact, facts.Worked):
            self._shards += 1
            self._latest.append(fact)
            nonces = sum(each.stop - each.start for each in self._latest)
            seconds = sum(each.seconds for each in self._latest)
            rate = format_rate(nonces / seconds) if seconds > 0 else "…"
            self._show(f"{self._slots}{format_count(self._shards)} shards searched · {rate}")
        elif isinstance(fact, Searching):
            self._slots = _slots(fact)
        elif isinstance(fact, facts.PoolReached):
            self._show(f"waiting for work of {fact.address}")
        elif isinstance(fact, facts.ConnectionLost):
            self._show("waiting for the pool")
