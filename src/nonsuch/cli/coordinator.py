"""`nonsuch coordinator` and `nonsuch agent`: block headers out, solved ones back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Iterator
from typing import Annotated, cast

import msgspec
import typer
from rich.table import Table

from nonsuch.addresses import PORT_MAX
from nonsuch.cli import options
from nonsuch.cli.access import Place, check_strangers, parse_address
from nonsuch.cli.beside import Beside
from nonsuch.cli.clock import origin_seconds, tell_time
from nonsuch.cli.crowd import connections_possible
from nonsuch.cli.engines import opened_engine
from nonsuch.cli.facts import Stopped, tell_addresses
from nonsuch.cli.inputs import chosen_target
from nonsuch.cli.journals import journal_path
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.metrics import serve_metrics
from nonsuch.cli.terminal import (
    errors,
    format_count,
    format_duration,
    format_rate,
    is_shown_live,
    live_line,
)
from nonsuch.live.children import Child, Children
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.tcp import Address, Listener
from nonsuch.networks.coordinator import facts
from nonsuch.networks.coordinator.agent import Agent
from nonsuch.networks.coordinator.coordinator import Coordinator
from nonsuch.networks.coordinator.header import STOCK_TARGET
from nonsuch.networks.coordinator.records import decode_record, encode_record
from nonsuch.networks.coordinator.settings import (
    RETARGETS,
    AgentSettings,
    CoordinatorSettings,
    RetargetName,
)
from nonsuch.networks.coordinator.statistics import CoordinatorStatistics
from nonsuch.networks.coordinator.wire import HeaderWire
from nonsuch.search.engines.opening import THREADS
from nonsuch.web.descriptions import COORDINATOR

__all__ = ["COORDINATOR_PORT", "agent", "coordinator"]

COORDINATOR_PORT = 3000
"""Where agents look for a coordinator: the network's own number."""

AGENTS_OWN_MAX = 100
"""Agents that are started along; each is a process."""

SHOW_SECONDS = 0.5
AGENTS_SHOWN = 12

_DEFAULTS = CoordinatorSettings()


class AgentEnded(msgspec.Struct, frozen=True):
    """An agent that was started along has ended by itself."""

    agent: str
    status: int


_QUIET: frozenset[type] = frozenset(
    {facts.BlockAccepted, facts.AnswerStale, facts.Solved, facts.Exhausted}
)


def coordinator(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=PORT_MAX, help="For agents.")
    ] = COORDINATOR_PORT,
    agents: Annotated[
        int,
        typer.Option(
            "--agents",
            metavar="N",
            min=0,
            max=AGENTS_OWN_MAX,
            help="Start so many agents along, each a process of one thread.",
        ),
    ] = 0,
    block_seconds: Annotated[
        float,
        typer.Option("--block-seconds", metavar="S", help="New headers after so long at most."),
    ] = _DEFAULTS.block_seconds,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NUMBER",
            help="What a block's hash must not be above; where targets change, the easiest one."
            " Default: the only one that stock agents can solve.",
        ),
    ] = None,
    retarget: Annotated[
        str,
        typer.Option(
            "--retarget",
            metavar="RULE",
            help=f"How targets change: {', '.join(RETARGETS)}. Stock agents need 'none'.",
        ),
    ] = _DEFAULTS.retarget,
    spacing_seconds: Annotated[
        int,
        typer.Option("--spacing-seconds", metavar="S", help="What --retarget aims at."),
    ] = _DEFAULTS.spacing_seconds,
    period_blocks: Annotated[
        int,
        typer.Option("--period-blocks", metavar="N", help="How often Bitcoin's rule looks."),
    ] = _DEFAULTS.period_blocks,
    half_life_seconds: Annotated[
        int,
        typer.Option("--half-life-seconds", metavar="S", help="How fast aserti follows."),
    ] = _DEFAULTS.half_life_seconds,
    connections: Annotated[
        int, typer.Option("--connections", metavar="N", min=1, help="Agents at once.")
    ] = _DEFAULTS.agents_max,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal",
            metavar="PATH",
            help="Where the chain is kept; 'off' for nowhere. Default: a file a port in the user's"
            " state folder.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let agents of other machines in.")
    ] = False,
    metrics: options.Metrics = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every block.")] = False,
    json: options.JsonLines = False,
) -> int:
    """Hand out block headers to agents, and keep the chain of those that come back solved.

    The first good answer wins. The chain survives any kind of end. Ctrl-C stops it.
    """
    check_strangers(host, "agents", insecure=insecure)
    log = fact_logger(json=json, quiet=frozenset() if verbose or json else _QUIET)
    settings = CoordinatorSettings(
        target=chosen_target(target=target) or STOCK_TARGET,
        block_seconds=block_seconds,
        retarget=_rule(retarget),
        spacing_seconds=spacing_seconds,
        period_blocks=period_blocks,
        half_life_seconds=half_life_seconds,
        agents_max=connections_possible(connections, log),
    )
    path = journal_path(journal, "coordinator", port)
    kept = None if path is None else Journal(path, encode_record, decode_record)
    display = _Display(log, agents)
    beside = Beside(
        lambda node: tell_addresses(node, log),
        tell_time,
        display.show,
        serve_metrics(metrics, COORDINATOR, _statistics, log),
        display.run_agents,
    )

    def make() -> Node:
        core = Coordinator(settings, random.Random(secrets.randbits(64)), origin_seconds())
        return Node(
            core,
            listeners=[Listener(host, port, HeaderWire)],
            journal=kept,
            observe=display.hear,
            ready=beside.ready,
        )

    run(make, beside.run)
    log(Stopped())
    return 0


def agent(
    address: Annotated[
        str,
        typer.Argument(metavar="COORDINATOR", help="Where the coordinator is, HOST:PORT or HOST."),
    ] = f"127.0.0.1:{COORDINATOR_PORT}",
    threads: options.SlotThreads = None,
    engine: options.Engine = THREADS,
    insecure: options.InsecureEngine = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every answer.")] = False,
    json: options.JsonLines = False,
) -> int:
    """Search the headers of the coordinator at COORDINATOR, until Ctrl-C.

    One that is not there, or goes away, is waited for.
    """
    place = parse_address(address, "COORDINATOR", COORDINATOR_PORT)
    core = Agent(AgentSettings(), random.Random(secrets.randbits(64)))
    log = fact_logger(json=json, quiet=frozenset() if verbose or json else _QUIET)

    async def show(_node: Node) -> None:
        with live_line() as line:
            while True:
                line(_agent_line(core, place))
                await asyncio.sleep(SHOW_SECONDS)

    beside = Beside(lambda _node: None, show)
    dial = Address(*place, HeaderWire)
    with opened_engine(engine, threads, insecure=insecure) as opened:
        run(
            lambda: Node(core, dial=dial, engine=opened, observe=log, ready=beside.ready),
            beside.run,
        )
    log(Stopped())
    return 0


def _rule(name: str) -> RetargetName:
    """The settings refuse what is none."""
    return cast(RetargetName, name)


def _agent_line(core: Agent, place: Place) -> str:
    now = core.statistics()
    if not now.coordinator:
        return f"waiting for the coordinator at {place}"
    return (
        f"{format_count(now.headers)} headers · {format_count(now.answers)} solved ·"
        f" {format_rate(now.rate)}"
    )


class _Display:
    """What a person sees of a coordinator, and what runs beside it."""

    def __init__(self, log: Logger, agents: int) -> None:
        self._log = log
        self._agents = agents
        self._last: facts.BlockAccepted | None = None

    def hear(self, fact: object) -> None:
        """A fact of the coordinator."""
        if isinstance(fact, facts.BlockAccepted):
            self._last = fact
        self._log(fact)

    async def run_agents(self, node: Node) -> None:
        """The agents that were asked for, until the coordinator stops."""
        if not self._agents:
            return
        children = Children(lambda _name, _line: None, self._died)
        place = Place(*node.addresses[0])
        try:
            for number in range(1, self._agents + 1):
                arguments = ("agent", str(place), "--threads", "1", "--json")
                await children.start(Child(f"agent-{number}", arguments))
            await asyncio.Event().wait()
        finally:
            await children.close()

    def _died(self, name: str, status: int) -> None:
        self._log(AgentEnded(name, status))

    async def show(self, node: Node) -> None:
        """A table on a terminal, as it is now."""
        clock = asyncio.get_running_loop().time
        with _live() as draw:
            while True:
                draw(lambda: _table(_statistics(node, clock()), self._last))
                await asyncio.sleep(SHOW_SECONDS)


def _statistics(node: Node, now: float) -> CoordinatorStatistics:
    core = node.core
    assert isinstance(core, Coordinator)
    return core.statistics(now)


@contextlib.contextmanager
def _live() -> Iterator[Callable[[Callable[[], Table]], None]]:
    """A function that shows what another one draws, in the place of what was there; or nothing."""
    if not is_shown_live():
        yield lambda _draw: None
        return
    from rich.live import Live

    with Live(console=errors, auto_refresh=False) as live:
        yield lambda draw: live.update(draw(), refresh=True)


def _table(now: CoordinatorStatistics, last: facts.BlockAccepted | None) -> Table:
    """Who searches how fast, and how the chain stands."""
    rate = sum(each.rate_estimate for each in now.agents_described)
    title = [f"height {format_count(now.height)}" if now.height >= 0 else "no block yet"]
    title += [f"{now.agents} agents", f"about {format_rate(rate)}", f"{now.stale} stale answers"]
    table = Table(title=" · ".join(title), title_justify="left", title_style="bold", box=None)
    for column in ("agent", "accepted", "stale", "errors", "rate, about", "here for"):
        table.add_column(column, justify="left" if column == "agent" else "right")
    for each in now.agents_described[:AGENTS_SHOWN]:
        counts = (format_count(count) for count in (each.accepted, each.stale, each.errors))
        rate_text = format_rate(each.rate_estimate)
        table.add_row(each.agent, *counts, rate_text, format_duration(each.seconds))
    if now.agents > AGENTS_SHOWN:
        table.add_row(f"and {now.agents - AGENTS_SHOWN} more")
    if last is not None:
        table.caption = f"last block {last.block[:16]}… of {last.agent}, in {last.seconds:.3f} s"
        table.caption_justify = "left"
    return table
