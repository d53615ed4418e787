"""`nonsuch race`: nodes that take a transaction over `nc` and race for its nonce; one of them wins.

Without a further word it starts three nodes, each a process of its own. They print the lines of the
exercise that the network comes from; with --json, one fact a line.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import secrets
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from nonsuch import LocalError
from nonsuch.addresses import PORT_MAX
from nonsuch.cli import options
from nonsuch.cli.access import (
    Access,
    Place,
    check_exposure,
    check_strangers,
    parse_address,
    read_token,
    server_tls,
)
from nonsuch.cli.beside import Beside, Job
from nonsuch.cli.clock import origin_seconds, tell_time
from nonsuch.cli.engines import opened_engine
from nonsuch.cli.facts import Stopped, tell_addresses
from nonsuch.cli.inputs import check_threads
from nonsuch.cli.journals import journal_path
from nonsuch.cli.ledgers import LedgerOwner, LedgerUnusable
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.metrics import serve_metrics
from nonsuch.cli.terminal import output, printable
from nonsuch.cli.together import run_together
from nonsuch.live.children import Child
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.tcp import Address, Listener
from nonsuch.networks.race import facts
from nonsuch.networks.race.keeper import Keeper
from nonsuch.networks.race.ledger import time_text
from nonsuch.networks.race.link import KEEPER
from nonsuch.networks.race.node import RaceNode
from nonsuch.networks.race.records import decode_record, encode_record
from nonsuch.networks.race.settings import KeeperSettings, RaceSettings
from nonsuch.networks.race.wire import KeeperWire, TextWire
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.opening import THREADS
from nonsuch.web.descriptions import KEEPER as KEEPER_METRICS
from nonsuch.web.descriptions import RACE

__all__ = ["KEEPER_PORT", "RACE_PORT", "keeper", "node", "race"]

RACE_PORT = 5000
"""Where the first node listens: the exercise's own number. The others follow."""

KEEPER_PORT = 5010

WRITE_BYTES_MAX = 2**21
"""What one client or node may leave unread: more than all answers that may be under way."""

NODES_MAX = 16
"""Each is a process."""

DIGEST_DIGITS = 12

_NODE, _KEEPER = RaceSettings(), KeeperSettings()

LedgerName = Annotated[
    str,
    typer.Option(
        "--ledger", metavar="FILE", help="The ledger that all share, FILE or sqlite:FILE."
    ),
]
Difficulty = Annotated[
    int,
    typer.Option(
        "--difficulty", metavar="N", help="Twice as many leading zero hex digits are looked for."
    ),
]
Finish = Annotated[
    bool,
    typer.Option("--finish", help="Losers search to the end, for the comparison."),
]
Threads = Annotated[
    int, typer.Option("--threads", "-t", metavar="N", help="Threads that each node searches with.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Let clients of other machines in.")]
Host = Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen on.")]


def race(
    context: typer.Context,
    ledger: LedgerName = "ledger.json",
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", min=1, max=NODES_MAX, help="How many race.")
    ] = 3,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="PORT",
            min=1,
            max=PORT_MAX - NODES_MAX,
            help="The first node's port; the others follow.",
        ),
    ] = RACE_PORT,
    difficulty: Difficulty = _NODE.difficulty,
    finish: Finish = False,
    threads: Threads = 1,
    host: Host = "127.0.0.1",
    insecure: Insecure = False,
    json: options.JsonLines = False,
) -> int:
    """Start the nodes of a race, each a process of its own: Node1, Node2, Node3.

    Send a transaction to all of them, and one writes it into the ledger. Ctrl-C stops them.
    """
    if context.invoked_subcommand is not None:
        options.refuse_stray(context)
        return 0
    check_threads(threads)
    RaceSettings(difficulty=difficulty)
    shared = ["--ledger", ledger, "--difficulty", str(difficulty), "--threads", str(threads)]
    shared += ["--host", host, *(["--finish"] if finish else []), *(["--json"] if json else [])]
    shared += ["--insecure"] if insecure else []
    children = [
        Child(f"Node{number}", ("race", "node", f"Node{number}", str(port + number - 1), *shared))
        for number in range(1, nodes + 1)
    ]
    return run_together(children, json=json)


def node(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the ledger calls this node.")],
    port: Annotated[
        int, typer.Argument(metavar="PORT", min=0, max=PORT_MAX, help="Where clients find it.")
    ],
    ledger: LedgerName = "ledger.json",
    keeper: Annotated[
        str | None,
        typer.Option(
            "--keeper",
            metavar="HOST:PORT",
            help="The ledger is elsewhere: claim races from its keeper.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="[HOST:]PORT",
            help="Be the keeper of the ledger too, there, for nodes of other machines.",
        ),
    ] = None,
    difficulty: Difficulty = _NODE.difficulty,
    finish: Finish = False,
    threads: Threads = 1,
    host: Host = "127.0.0.1",
    insecure: Insecure = False,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal",
            metavar="PATH",
            help="Where transactions wait; 'off' for nowhere. Default: a file a node and ledger in"
            " the user's state folder.",
        ),
    ] = None,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
    tls_cert: options.TlsCertificate = None,
    tls_key: options.TlsKey = None,
    metrics: options.Metrics = None,
    json: options.JsonLines = False,
) -> int:
    """Run one node of the race.

    What was accepted is raced for, whatever happens to the process. Ctrl-C stops it.
    """
    check_threads(threads)
    check_strangers(host, "clients", insecure=insecure)
    if keeper is not None and keep is not None:
        raise LocalError("a ledger that is elsewhere is kept there: give --keeper or --keep")
    if keeper is None and (tls or tls_ca is not None):
        raise LocalError("--tls and --tls-ca are for the way to a --keeper")
    if keep is None and (tls_cert is not None or tls_key is not None):
        raise LocalError(
            "--tls-cert and --tls-key are for those who come to a ledger that you --keep"
        )
    access = Access.found(token_file, tls=tls, authority=tls_ca)
    settings = RaceSettings(
        name=name,
        difficulty=difficulty,
        finishes=finish,
        has_keeper=keeper is not None,
        token=access.token,
    )
    where = _identity(ledger)
    dial: dict[str, Address] = {}
    if keeper is not None:
        place = parse_address(keeper, "--keeper", KEEPER_PORT)
        where = str(place)
        dial[KEEPER] = access.address(place, lambda: KeeperWire(dialled=True))
    digest = hashlib.sha256(os.fsencode(f"{name}\n{where}")).hexdigest()[:DIGEST_DIGITS]
    path = journal_path(journal, "race", name, digest)
    kept = None if path is None else Journal(path, encode_record, decode_record)
    log = fact_logger(json=True) if json else _Lines(name)
    owner = None if keeper is not None else LedgerOwner(ledger, log)
    jobs: list[Job] = [
        tell_time,
        serve_metrics(metrics, RACE, _statistics, log),
    ]
    if owner is not None:
        jobs.append(owner.beside)
    if keep is not None:
        keeping = KeeperSettings(name=name, difficulty=difficulty, token=access.token)
        listener = _keeper_listener(_keeper_place(keep), keeping, tls_cert, tls_key, insecure)
        jobs.append(_Kept(keeping, ledger, listener, log).beside)
    beside = Beside(lambda node: _tell_started(node, name, log), *jobs)
    cores: list[RaceNode] = []

    def make(engine: Engine) -> Node:
        cores.append(RaceNode(settings, random.Random(secrets.randbits(64)), origin_seconds()))
        return Node(
            cores[0],
            listeners=[Listener(host, port, TextWire)],
            dial=dial,
            journal=kept,
            engine=engine,
            observe=log,
            local=None if owner is None else owner.hear,
            ready=beside.ready,
        )

    with opened_engine(THREADS, threads) as engine:
        run(lambda: make(engine), beside.run)
    log(Stopped())
    if cores[0].failure is not None:
        raise LocalError(f"the keeper at {keeper} refused this node: {cores[0].failure}")
    return 0


def keeper(
    ledger: LedgerName = "ledger.json",
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=PORT_MAX, help="The port for nodes.")
    ] = KEEPER_PORT,
    difficulty: Difficulty = _KEEPER.difficulty,
    token_file: options.OwnTokenFile = None,
    tls_cert: options.TlsCertificate = None,
    tls_key: options.TlsKey = None,
    insecure: options.Insecure = False,
    metrics: options.Metrics = None,
    json: options.JsonLines = False,
) -> int:
    """Keep a ledger for nodes of other machines: `nonsuch race node --keeper HOST:PORT`."""
    settings = KeeperSettings(difficulty=difficulty, token=read_token(token_file))
    log = fact_logger(json=json)
    listener = _keeper_listener(Place(host, port), settings, tls_cert, tls_key, insecure)
    serve = serve_metrics(metrics, KEEPER_METRICS, _statistics, log)
    kept = _Kept(settings, ledger, listener, log, serve)
    run(kept.make, kept.serve)
    log(Stopped())
    return 0


def _statistics(node: Node, now: float) -> object:
    core = node.core
    if isinstance(core, RaceNode):
        return core.statistics(now)
    assert isinstance(core, Keeper)
    return core.statistics()


def _identity(ledger: str) -> str:
    """One name for one ledger, from wherever it is named."""
    file = ledger.removeprefix("sqlite:")
    return ledger.removesuffix(file) + str(Path(file).resolve())


def _keeper_place(text: str) -> Place:
    """`port`, or an address."""
    return parse_address(text if ":" in text else f"127.0.0.1:{text}", "--keep", KEEPER_PORT)


def _keeper_listener(
    place: Place, settings: KeeperSettings, certificate: Path | None, key: Path | None, open_: bool
) -> Listener:
    """Where nodes come in. `open_` to all, with or without a token."""
    check_exposure(place.host, settings.token, insecure=open_)
    tls = server_tls(certificate, key)
    return Listener(*place, _keeper_wire, tls, write_bytes_max=WRITE_BYTES_MAX)


def _keeper_wire() -> KeeperWire:
    return KeeperWire(dialled=False)


class _Kept:
    """A keeper and its ledger."""

    def __init__(
        self, settings: KeeperSettings, ledger: str, listener: Listener, log: Logger, *jobs: Job
    ) -> None:
        self._core = Keeper(settings)
        self._owner = LedgerOwner(ledger, log)
        self._listener = listener
        self._log = log
        self._beside = Beside(lambda node: tell_addresses(node, log), self._owner.beside, *jobs)
        self.serve = self._beside.run

    def make(self) -> Node:
        """The node that the keeper is."""
        return Node(
            self._core,
            listeners=[self._listener],
            observe=self._log,
            local=self._owner.hear,
            ready=self._beside.ready,
        )

    async def beside(self, _node: Node) -> None:
        """Keep the ledger beside another node."""
        await asyncio.gather(self.make().run(), self.serve())


def _tell_started(node: Node, name: str, log: Logger) -> None:
    """Clients can come."""
    log(NodeStarted(name, node.addresses[0][1]))


class NodeStarted(msgspec.Struct, frozen=True):
    """A node of the race takes transactions on this port."""

    name: str
    port: int


class _Lines:
    """Facts in the words of the exercise, one line each, on standard output."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, fact: object) -> None:
        text = self._text(fact)
        if text:
            output.print(printable(text), markup=False)

    def _text(self, fact: object) -> str:
        name = self._name
        match fact:
            case NodeStarted(port=port):
                return f"{name} started on port {port}"
            case facts.ClientConnected(address=address):
                host, _, port_text = address.rpartition(":")
                return f"{name} got connection from ({host!r}, {port_text})"
            case facts.TransactionReceived(text=text):
                return f"{name} received transaction: {text}"
            case facts.PowStarted(at=at):
                return f"{name} started POW at {time_text(at, None)}"
            case facts.PowCompleted(at=at):
                return f"{name} completed POW at {time_text(at, None)}"
            case facts.RaceWon():
                return f"{name} wins the POW competition!"
            case facts.LedgerUpdated(entry=entry):
                return f"Ledger updated with: {entry.plain()}"
            case facts.RaceLost():
                return f"{name} finished POW, but another node already won."
            case facts.RaceStopped(winner=winner):
                return f"{name} stopped POW, because {winner} already won."
            case _:
                return self._other(fact)

    def _other(self, fact: object) -> str:
        """What the exercise has no words for."""
        name = self._name
        match fact:
            case facts.TransactionRefused(reason=reason):
                return f"{name} refused a transaction: {reason}"
            case facts.Restored(waiting=waiting) if waiting:
                return f"{name} goes on with {waiting} transactions of its last life"
            case facts.LedgerReplaced():
                return f"{name} found another ledger, and begins anew in it"
            case facts.KeeperReached(address=address):
                return f"{name} reached the ledger's keeper at {address}"
            case facts.KeeperLost(why=why) | facts.KeeperRefused(reason=why):
                return f"{name} has no keeper of the ledger: {why}"
            case LedgerUnusable(reason=reason):
                return f"{name} waits for the ledger: {reason}"
            case _:
                return ""
