"""`nonsuch pool`: give clients' jobs to miners that come, go, crash and lie."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Annotated

import typer

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.access import (
    POOL_PORT,
    PORT_MAX,
    check_exposure,
    read_token,
    server_tls,
)
from nonsuch.cli.beside import Beside
from nonsuch.cli.facts import Stopped, tell_addresses
from nonsuch.cli.journals import journal_path
from nonsuch.cli.logs import fact_logger
from nonsuch.cli.metrics import serve_metrics
from nonsuch.cli.terminal import format_rate, live_line
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.tcp import Listener, is_loopback
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.liteminer import LiteMinerPoolWire
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.records import decode_record, encode_record
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.web.descriptions import POOL

__all__ = ["pool"]

LINE_SECONDS = 1.0
AUDIT_THREADS = 1
"""What a pool has no miner to audit, it scans itself; the machine's miners need the rest."""

SESSION_BYTES = 8
_DEFAULTS = PoolSettings()
_QUIET: frozenset[type] = frozenset({facts.AuditPassed, facts.BestImproved, facts.ShardVoided})


def pool(
    context: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=PORT_MAX, help="The port for miners and clients."
        ),
    ] = POOL_PORT,
    liteminer: Annotated[
        int | None,
        typer.Option(
            "--liteminer",
            metavar="PORT",
            min=0,
            max=PORT_MAX,
            help="A port for LiteMiner programs too.",
        ),
    ] = None,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal",
            metavar="PATH",
            help="Where jobs are kept; 'off' for nowhere. Default: a file a port in the user's"
            " state folder.",
        ),
    ] = None,
    token_file: options.OwnTokenFile = None,
    tls_cert: options.TlsCertificate = None,
    tls_key: options.TlsKey = None,
    insecure: options.Insecure = False,
    shard_seconds: Annotated[
        float,
        typer.Option("--shard-seconds", metavar="S", help="How long a miner has one shard."),
    ] = _DEFAULTS.shard_seconds,
    shard_nonces: Annotated[
        int | None,
        typer.Option("--shard-nonces", metavar="N", help="Cut shards of this size instead."),
    ] = None,
    lease_seconds: Annotated[
        float,
        typer.Option("--lease-seconds", metavar="S", help="Silence that costs a miner its work."),
    ] = _DEFAULTS.lease_seconds,
    audit: Annotated[
        float,
        typer.Option("--audit", metavar="PART", help="What part of all shards is scanned again."),
    ] = _DEFAULTS.audit_fraction,
    audit_liteminer: Annotated[
        float,
        typer.Option("--audit-liteminer", metavar="PART", help="The same for LiteMiner miners."),
    ] = _DEFAULTS.blind_audit_fraction,
    connections: Annotated[
        int, typer.Option("--connections", metavar="N", min=1, help="Connections at once.")
    ] = _DEFAULTS.connections_max,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="Jobs that run or wait at once.")
    ] = _DEFAULTS.jobs_max,
    metrics: options.Metrics = None,
    verbose: options.Verbose = False,
    json: options.JsonLines = False,
) -> int:
    """Run a pool.

    Clients submit jobs, miners come and go, and every job gets its exact answer. What was accepted
    is kept in the journal, and goes on after any kind of end. Ctrl-C stops it.
    """
    if context.invoked_subcommand is not None:
        options.refuse_stray(context)
        return 0
    token = read_token(token_file)
    check_exposure(host, token, insecure=insecure)
    _check_liteminer(host, liteminer, insecure=insecure)
    settings = PoolSettings(
        token=token,
        shard_seconds=shard_seconds,
        shard_nonces=shard_nonces,
        lease_seconds=lease_seconds,
        audit_fraction=audit,
        blind_audit_fraction=audit_liteminer,
        connections_max=connections,
        jobs_max=jobs,
    )
    tls = server_tls(tls_cert, tls_key)
    listeners = [Listener(host, port, lambda: PoolWire(accepts_puzzles=False), tls)]
    if liteminer is not None:
        listeners.append(Listener(host, liteminer, _liteminer_wire, tls))
    log = fact_logger(json=json, quiet=frozenset() if verbose else _QUIET)
    core = Pool(settings, random.Random(secrets.randbits(64)))
    path = journal_path(journal, "pool", port)
    kept = None if path is None else Journal(path, encode_record, decode_record)
    log(facts.PoolStarting(str(path or "off")))
    beside = Beside(
        lambda node: tell_addresses(node, log),
        serve_metrics(host, metrics, POOL, lambda _node, now: core.statistics(now), log),
        lambda _node: _show(core),
    )
    run(
        lambda: Node(
            core,
            listeners=listeners,
            journal=kept,
            threads=AUDIT_THREADS,
            observe=log,
            ready=beside.ready,
        ),
        beside.run,
    )
    log(Stopped())
    return 0


def _check_liteminer(host: str, liteminer: int | None, *, insecure: bool) -> None:
    if liteminer is not None and not insecure and not is_loopback(host):
        raise LocalError(
            f"LiteMiner programs know no tokens, and on {host} anybody could come in: leave"
            " --liteminer out, or say --insecure"
        )


def _liteminer_wire() -> LiteMinerPoolWire:
    return LiteMinerPoolWire(secrets.token_hex(SESSION_BYTES))


async def _show(core: Pool) -> None:
    """A line of numbers on a terminal."""
    clock = asyncio.get_running_loop().time
    with live_line() as show:
        while True:
            show(_line(core.statistics(clock())))
            await asyncio.sleep(LINE_SECONDS)


def _line(now: PoolStatistics) -> str:
    parts = [f"{now.miners} miner{'' if now.miners == 1 else 's'}"]
    parts.append(f"{now.jobs} job{'' if now.jobs == 1 else 's'}")
    if now.leases:
        parts.append(f"{now.leases} leases · {format_rate(now.rate)}")
    parts += [f"{job.job} {job.done / job.total:.1%}" for job in now.jobs_described[:1]]
    return " · ".join(parts)
