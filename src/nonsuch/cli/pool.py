"""`nonsuch pool`: give clients' jobs to miners that come, go, crash and lie.

With `--upstream` it is a relay: it gives its miners the work of another pool.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from nonsuch import LocalError
from nonsuch.addresses import PORT_MAX, is_loopback
from nonsuch.cli import options
from nonsuch.cli.access import (
    POOL_PORT,
    UPSTREAM_TOKEN_VARIABLE,
    Access,
    Place,
    check_exposure,
    parse_address,
    read_token,
    server_tls,
)
from nonsuch.cli.beside import Beside
from nonsuch.cli.crowd import connections_possible
from nonsuch.cli.facts import Stopped, tell_addresses
from nonsuch.cli.journals import NAME_CHARACTERS_MAX, journal_path
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.metrics import serve_metrics
from nonsuch.cli.terminal import format_rate, live_line
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.tcp import Address, Listener
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.liteminer import LiteMinerPoolWire
from nonsuch.networks.pool.messages import Hello
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.records import decode_record, encode_record
from nonsuch.networks.pool.relay import Relay
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.search.rehash import best_rehash
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
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream", metavar="POOL", help="Be a relay: have the work of this pool done here."
        ),
    ] = None,
    upstream_token_file: Annotated[
        Path | None,
        typer.Option(
            "--upstream-token-file",
            metavar="PATH",
            help="Read that pool's token from it, not NONSUCH_UPSTREAM_TOKEN.",
        ),
    ] = None,
    upstream_tls: Annotated[
        bool, typer.Option("--upstream-tls", help="Speak TLS with that pool.")
    ] = False,
    upstream_tls_ca: Annotated[
        Path | None,
        typer.Option(
            "--upstream-tls-ca",
            metavar="PATH",
            help="Speak TLS with that pool, and trust this certificate.",
        ),
    ] = None,
    metrics: options.Metrics = None,
    verbose: options.Verbose = False,
    json: options.JsonLines = False,
) -> int:
    """Run a pool.

    Clients submit jobs, miners come and go, and every job gets its exact answer. What was accepted
    is kept in the journal, and goes on after any kind of end. Ctrl-C stops it.

    With --upstream it takes no jobs itself: it is one large miner of the pool above, and shares
    its work out among its own miners. It keeps no journal.
    """
    if context.invoked_subcommand is not None:
        options.refuse_stray(context)
        return 0
    token = read_token(token_file)
    check_exposure(host, token, insecure=insecure)
    _check_liteminer(host, liteminer, insecure=insecure)
    log = fact_logger(json=json, quiet=frozenset() if verbose else _QUIET)
    settings = PoolSettings(
        token=token,
        shard_seconds=shard_seconds,
        shard_nonces=shard_nonces,
        lease_seconds=lease_seconds,
        audit_fraction=audit,
        blind_audit_fraction=audit_liteminer,
        connections_max=connections_possible(connections, log),
        jobs_max=jobs,
    )
    tls = server_tls(tls_cert, tls_key)
    listeners = [Listener(host, port, lambda: PoolWire(accepts_puzzles=False), tls)]
    if liteminer is not None:
        listeners.append(Listener(host, liteminer, _liteminer_wire))  # LiteMiner knows no TLS.
    above = _Upstream.found(
        upstream, upstream_token_file, tls=upstream_tls, authority=upstream_tls_ca
    )
    lots, rehash = random.Random(secrets.randbits(64)), best_rehash()
    core: Pool | Relay
    if above is None:
        core, kept = Pool(settings, lots, rehash), _journal(journal, port, log)
    else:
        _check_relay(journal, liteminer)
        core, kept = Relay(settings, above.hello(port), lots, rehash), None
        log(facts.RelayStarting(str(above.place)))
    beside = Beside(
        lambda node: tell_addresses(node, log),
        serve_metrics(metrics, POOL, lambda _node, now: core.statistics(now), log),
        lambda _node: _show(core),
    )
    run(
        lambda: Node(
            core,
            listeners=listeners,
            dial=None if above is None else above.address,
            journal=kept,
            threads=AUDIT_THREADS,
            observe=log,
            ready=beside.ready,
        ),
        beside.run,
        crowd=True,
    )
    log(Stopped())
    if above is not None and isinstance(core, Relay) and core.failure is not None:
        raise LocalError(f"the pool at {above.place} refused this relay: {core.failure}")
    return 0


class _Upstream(NamedTuple):
    """The pool above, and how to be let in there."""

    place: Place
    access: Access

    @classmethod
    def found(
        cls, text: str | None, token_file: Path | None, *, tls: bool, authority: Path | None
    ) -> _Upstream | None:
        """From options and the environment; None for none."""
        if text is None:
            if token_file is not None or tls or authority is not None:
                raise LocalError("--upstream-… options are about the pool of --upstream: name it")
            return None
        access = Access.found(
            token_file, tls=tls, authority=authority, variable=UPSTREAM_TOKEN_VARIABLE
        )
        return cls(parse_address(text, "--upstream"), access)

    @property
    def address(self) -> Address:
        """Whom to call."""
        return self.access.address(self.place, lambda: PoolWire(accepts_puzzles=True))

    def hello(self, port: int) -> Hello:
        """What the relay on this port says there."""
        name = f"relay {socket.gethostname()}:{port}"
        return Hello("miner", token=self.access.token, name=name[:NAME_CHARACTERS_MAX])


def _check_relay(journal: str | None, liteminer: int | None) -> None:
    if journal not in (None, "off"):
        raise LocalError("a relay keeps nothing: leave --journal out, or --upstream")
    if liteminer is not None:
        raise LocalError(
            "a relay answers for its miners, and LiteMiner ones cannot show what they searched:"
            " leave --liteminer out"
        )


def _journal(given: str | None, port: int, log: Logger) -> Journal | None:
    path = journal_path(given, "pool", port)
    log(facts.PoolStarting(str(path or "off")))
    return None if path is None else Journal(path, encode_record, decode_record)


def _check_liteminer(host: str, liteminer: int | None, *, insecure: bool) -> None:
    if liteminer is not None and not insecure and not is_loopback(host):
        raise LocalError(
            f"LiteMiner programs know no tokens, and on {host} anybody could come in: leave"
            " --liteminer out, or say --insecure"
        )


def _liteminer_wire() -> LiteMinerPoolWire:
    return LiteMinerPoolWire(secrets.token_hex(SESSION_BYTES))


async def _show(core: Pool | Relay) -> None:
    """A line of numbers on a terminal."""
    clock = asyncio.get_running_loop().time
    with live_line() as show:
        while True:
            show(_line(core.statistics(clock())))
            await asyncio.sleep(LINE_SECONDS)


def _line(now: PoolStatistics) -> str:
    parts = ["waiting for the pool above"] if now.is_relay and not now.upstream_reached else []
    parts.append(f"{now.miners} miner{'' if now.miners == 1 else 's'}")
    parts.append(f"{now.jobs} job{'' if now.jobs == 1 else 's'}")
    if now.leases:
        parts.append(f"{now.leases} leases · {format_rate(now.rate)}")
    parts += [f"{job.job} {job.done / job.total:.1%}" for job in now.jobs_described[:1]]
    return " · ".join(parts)
