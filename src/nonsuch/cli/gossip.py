"""`nonsuch gossip`: mine, broadcast, and agree on one chain over UDP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.access import Place, parse_address
from nonsuch.cli.blocktree import draw_tree
from nonsuch.cli.engines import opened_engine
from nonsuch.cli.facts import Stopped, tell_addresses
from nonsuch.cli.inputs import check_threads, chosen_target
from nonsuch.cli.lines import read_lines
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.terminal import errors, format_count, live_line
from nonsuch.errors import check_text
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.udp import Datagrams
from nonsuch.networks.gossip import facts
from nonsuch.networks.gossip.messages import Payload, decode_record, encode_record
from nonsuch.networks.gossip.miner import Miner
from nonsuch.networks.gossip.settings import GossipSettings
from nonsuch.networks.gossip.wire import GossipWire
from nonsuch.node import LOCAL, Received
from nonsuch.search.engines.engine import Engine
from nonsuch.search.engines.opening import THREADS
from nonsuch.work.presets import GOSSIP_TARGET

__all__ = ["GOSSIP_PORT", "gossip"]

GOSSIP_PORT = 5000
"""Where gossip miners listen unless told otherwise: the homework's own number."""

PAYLOADS_AHEAD = 1000
"""Payloads that wait in the miner, before the next line is read."""

DRAWN_ROWS = 16
DRAW_SECONDS = 0.25
LINE_SECONDS = 0.5

_QUIET: frozenset[type] = frozenset({facts.BlockMined, facts.BlockAccepted})


_NO_MINING = dict.fromkeys(("engine", "threads", "insecure"), "--no-mine searches nothing")


def gossip(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where this miner listens, HOST[:PORT].")
    ],
    peers: Annotated[
        str,
        typer.Argument(metavar="PEERS", help="The other miners, HOST[:PORT],HOST[:PORT],…"),
    ] = "",
    genesis: Annotated[
        str,
        typer.Argument(metavar="[genesis]", help="The word 'genesis': make the first block."),
    ] = "",
    genesis_hash: Annotated[
        str | None,
        typer.Option("--genesis-hash", metavar="HEX", help="Believe in no other first block."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NUMBER",
            help="What all miners of the network agreed on. Default: the homework's 2**235.",
        ),
    ] = None,
    payload: Annotated[
        str,
        typer.Option(
            "--payload",
            metavar="WHAT",
            help="What goes into blocks: 'counter', or one line each of a file or of '-',"
            " standard input.",
        ),
    ] = "counter",
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What counted payloads begin with."),
    ] = None,
    mine: Annotated[
        bool, typer.Option("--mine/--no-mine", help="Whether to mine, or to listen and relay.")
    ] = True,
    block_seconds: Annotated[
        float,
        typer.Option("--block-seconds", metavar="S", help="Wait between two own blocks."),
    ] = 0.0,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="PATH", help="Keep all blocks in this file."),
    ] = None,
    print_tree: Annotated[
        bool, typer.Option("--print", help="Draw the tree of blocks as it grows.")
    ] = False,
    threads: options.SlotThreads = None,
    engine: options.Engine = THREADS,
    insecure: options.InsecureEngine = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every block.")] = False,
    json: options.JsonLines = False,
) -> int:
    """Mine on the longest chain of a network of peers that trust nobody.

    Blocks travel as JSON datagrams, as COM-402's homework 9 has them; its programs can take part.
    Of all miners of a network one is started with the word 'genesis'. Ctrl-C stops it.
    """
    if not mine:
        options.refuse_useless(context, _NO_MINING)
    check_threads(threads)
    check_text(name or "", "--name")
    place = parse_address(address, "ADDRESS", GOSSIP_PORT)
    others = _parse_peers(peers)
    if genesis not in ("", "genesis"):
        raise LocalError(f"the third argument is the word genesis or nothing, not {genesis!r}")
    settings = GossipSettings(
        name=name or str(place),
        target=chosen_target(target=target) or GOSSIP_TARGET,
        genesis=bool(genesis),
        genesis_hash=_parse_hash(genesis_hash),
        counts=payload == "counter",
        mines=mine,
        block_seconds=block_seconds,
    )
    core = Miner(settings)
    journal = None if store is None else Journal(store, encode_record, decode_record)
    log = fact_logger(json=json, quiet=frozenset() if verbose or json else _QUIET)
    display = _Display(core, log, _payloads(payload), draws=print_tree and not json)
    datagrams = Datagrams(place.host, place.port, tuple(others), GossipWire)
    with _engine(engine, threads, insecure=insecure, mine=mine) as opened:
        run(
            lambda: Node(
                core,
                datagrams=datagrams,
                journal=journal,
                engine=opened,
                observe=log,
                ready=display.ready,
            ),
            display.beside,
        )
    log(Stopped())
    return 0


def _engine(
    name: str, threads: int | None, *, insecure: bool, mine: bool
) -> contextlib.AbstractContextManager[Engine | None]:
    """None for who does not mine."""
    if not mine:
        return contextlib.nullcontext()
    return opened_engine(name, threads, insecure=insecure)


def _parse_peers(text: str) -> list[Place]:
    parts = [part for part in text.split(",") if part.strip()]
    return [parse_address(part, "a peer", GOSSIP_PORT) for part in parts]


def _parse_hash(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise LocalError(f"--genesis-hash is a hash in hex digits, not {text[:80]!r}") from None


def _payloads(what: str) -> int | None:
    """The file that payloads are read from; None where they are counted."""
    if what == "counter":
        return None
    if what == "-":
        return sys.stdin.fileno()
    try:
        if Path(what).is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        return os.open(what, os.O_RDONLY)
    except OSError as error:
        raise LocalError(f"cannot read payloads from {what}: {error.strerror}") from None


class _Display:
    """What goes on beside the miner: lines come in, and people see something."""

    def __init__(self, core: Miner, log: Logger, payloads: int | None, *, draws: bool) -> None:
        self._core = core
        self._log = log
        self._payloads = payloads
        self._draws = draws
        self._node: Node | None = None

    def ready(self, node: Node) -> None:
        """Datagrams can come."""
        self._node = node
        tell_addresses(node, self._log)

    async def beside(self) -> None:
        """Feed payloads and show the chain, until the miner stops."""
        feeding = asyncio.ensure_future(self._feed())
        try:
            with self._shown() as show:
                while True:
                    show()
                    await asyncio.sleep(DRAW_SECONDS if self._draws else LINE_SECONDS)
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding

    async def _feed(self) -> None:
        if self._payloads is None:
            return
        async for line in read_lines(self._payloads):
            await self._room()
            if line and self._node is not None:
                self._node.deliver((Received(LOCAL, Payload(line)),))

    async def _room(self) -> None:
        """Until the miner listens, and has not too many payloads waiting."""
        full = PAYLOADS_AHEAD
        # A core has no events for others.
        while self._node is None or self._core.statistics().payloads >= full:  # noqa: ASYNC110
            await asyncio.sleep(LINE_SECONDS)

    @contextlib.contextmanager
    def _shown(self) -> Iterator[Callable[[], None]]:
        if not self._draws:
            with live_line() as line:
                yield lambda: line(_line(self._core))
            return
        from rich.live import Live

        with Live(console=errors, auto_refresh=False) as live:
            yield lambda: live.update(
                draw_tree(self._core.tree, self._core.is_own, DRAWN_ROWS), refresh=True
            )


def _line(core: Miner) -> str:
    now = core.statistics()
    if now.height < 0:
        return "no block yet"
    return (
        f"height {format_count(now.height)} · {now.tip[:16]}… · {format_count(now.mined)} mined"
        f" here · {now.reorgs} reorganisations"
    )
