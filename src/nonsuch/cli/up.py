"""`nonsuch up`: a whole network on this machine, or a simulated one, watched in a browser."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
import typer

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.access import POOL_PORT, read_token
from nonsuch.cli.coordinator import COORDINATOR_PORT
from nonsuch.cli.dashboards import (
    HEADLESS_USELESS,
    DashboardPort,
    Dashboards,
    Headless,
    Host,
    Say,
    observed,
)
from nonsuch.cli.gossip import GOSSIP_PORT
from nonsuch.cli.inputs import check_threads
from nonsuch.cli.peer import PEER_PORT
from nonsuch.cli.race import RACE_PORT
from nonsuch.cli.terminal import format_rate
from nonsuch.live.run import run_until_signal
from nonsuch.search.searcher import default_threads

if TYPE_CHECKING:
    from nonsuch.fleets.controlled import Controlled
    from nonsuch.web.observations import Observation

    Hear = Callable[[Observation], None] | None

__all__ = ["up"]

Network = Literal["pool", "gossip", "peer", "race", "coordinator"]

NODES: dict[Network, int | None] = {
    "pool": None,
    "gossip": 4,
    "peer": 4,
    "race": 3,
    "coordinator": None,
}
"""How many there are unless told otherwise; None for one a processor."""

PORTS: dict[Network, int] = {
    "pool": POOL_PORT,
    "gossip": GOSSIP_PORT,
    "peer": PEER_PORT,
    "race": RACE_PORT,
    "coordinator": COORDINATOR_PORT,
}

SIMULATED_NODES = 50
SEED_BITS = 32
NODES_SHOWN = 20

REAL = "only a simulation (--sim) has such a thing"
SIMULATED = {
    "data": "a simulation keeps nothing",
    "threads": "a simulation's machines have hash rates, and no threads",
}
"""Options that mean nothing, and why."""


def up(
    context: typer.Context,
    network: Annotated[
        str,
        typer.Option("--network", metavar="NAME", help=f"One of: {', '.join(NODES)}."),
    ] = "pool",
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes",
            metavar="N",
            min=1,
            help="How many miners, peers or agents. Default: one a processor, or three or four.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", "-t", metavar="N", help="Threads that each searches with.")
    ] = 1,
    control: Annotated[
        bool,
        typer.Option(
            "--control/--no-control",
            help="Whether the page may do things: kill nodes, cut links, submit jobs.",
        ),
    ] = False,
    traffic: Annotated[
        bool,
        typer.Option(
            "--traffic/--no-traffic", help="Whether there is something to do when nobody asks."
        ),
    ] = True,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Keep journals and ledgers there, and go on with them next time. Default: a"
            " temporary folder.",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Record all that happens, for `replay`."),
    ] = None,
    sim: Annotated[
        bool, typer.Option("--sim", help="Simulate the network, in virtual time.")
    ] = False,
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", help="How fast virtual time goes.")
    ] = 10.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="What a simulated network is drawn from."),
    ] = None,
    port: DashboardPort = None,
    host: Host = "127.0.0.1",
    token_file: options.OwnTokenFile = None,
    headless: Headless = False,
    json: options.JsonLines = False,
) -> int:
    """Run a whole network, and watch it in a browser.

    By default that is a pool with a miner on every processor, and a dashboard at
    http://127.0.0.1:8000. Nothing is opened, and nothing is left behind: Ctrl-C ends it all.
    """
    wish = _Wish(
        network=_network(network),
        nodes=nodes,
        threads=threads,
        control=control,
        traffic=traffic,
        data=data,
        record=record,
        speed=speed,
        seed=seed,
    )
    check_threads(threads)
    options.refuse_useless(
        context,
        {
            **(HEADLESS_USELESS if headless else {}),
            **(SIMULATED if sim else dict.fromkeys(("speed", "seed"), REAL)),
        },
    )
    say = Say(json=json)
    hear = observed(wish.network, json=json) if headless or json else _deaths(say)
    dashboards = None
    if not headless:
        dashboards = Dashboards(host, port, read_token(token_file), control=control, say=say)
    with _folder(wish, say, sim=sim) as folder:

        def make() -> Controlled:
            return wish.simulation(hear) if sim else wish.processes(folder, hear)

        run_until_signal(lambda: _watch(make, wish, dashboards, say))
    return 0


def _deaths(say: Say) -> Hear:
    """What the terminal says where there is a page for all else: who has ended by itself."""
    from nonsuch.web.fleet import ProcessEnded
    from nonsuch.web.observations import event_name

    ended = event_name(ProcessEnded)

    def tell(observation: Observation) -> None:
        if observation.fact == ended:
            fact = msgspec.convert(observation.values, ProcessEnded)
            say(f"{fact.name} ended by itself: {fact.why}")

    return tell


class _Wish(NamedTuple):
    """What somebody wants to watch."""

    network: Network
    nodes: int | None
    threads: int
    control: bool
    traffic: bool
    data: Path | None
    record: Path | None
    speed: float
    seed: int | None

    @property
    def recordings(self) -> Path:
        """Where recordings go that the page asks for: not where they would be removed."""
        return Path.cwd() if self.data is None else self.data

    def processes(self, folder: Path, hear: Hear) -> Controlled:
        """A fleet of processes."""
        from nonsuch.fleets.processes import NODES_MAX, ProcessFleet
        from nonsuch.fleets.site import Site

        nodes = self.nodes or NODES[self.network] or default_threads()
        if nodes > NODES_MAX:
            raise LocalError(
                f"{nodes} processes are too many for one machine: {NODES_MAX} are possible, or"
                " more with --sim"
            )
        lots = random.Random(secrets.randbits(64))
        port = PORTS[self.network]
        site = Site(
            folder,
            port,
            threads=self.threads,
            control=self.control,
            lots=lots,
            datagrams=self.network == "gossip",
        )
        return ProcessFleet(
            self.network, nodes, site, recordings=self.recordings, traffic=self.traffic, hear=hear
        )

    def simulation(self, hear: Hear) -> Controlled:
        """A simulated fleet."""
        from nonsuch.fleets.simulated import SimulatedFleet

        return SimulatedFleet(
            self.network,
            SIMULATED_NODES if self.nodes is None else self.nodes,
            seed=secrets.randbits(SEED_BITS) if self.seed is None else self.seed,
            speed=self.speed,
            recordings=self.recordings,
            control=self.control,
            traffic=self.traffic,
            hear=hear,
        )


@contextlib.contextmanager
def _folder(wish: _Wish, say: Say, *, sim: bool) -> Iterator[Path]:
    """Where nodes keep what they keep; a simulation keeps nothing."""
    if sim:
        yield wish.recordings
    elif wish.data is not None:
        from nonsuch.fleets.folders import kept_folder

        with kept_folder(wish.data) as folder:
            say(f"data       {folder}, which is kept")
            yield folder
    else:
        from nonsuch.fleets.folders import temporary_folder

        with temporary_folder() as folder:
            say(f"data       {folder}, removed at the end; --data DIR keeps it")
            yield folder


async def _watch(
    make: Callable[[], Controlled], wish: _Wish, dashboards: Dashboards | None, say: Say
) -> None:
    """Run a fleet and its dashboard until cancelled; then nothing is left of either."""
    fleet = make()
    served = None
    try:
        if wish.record is not None:
            fleet.record_to(wish.record)
        if dashboards is not None:  # Before it would be in vain to have started a network.
            served = await dashboards.open(fleet.feed, fleet)
        await fleet.start()
        _tell_nodes(fleet, say)
        if dashboards is not None and served is not None:
            await dashboards.tell(served)
            if not wish.control:
                say("           it only shows; with --control it can do things, too")
        say("Ctrl-C ends it all")
        await fleet.run()
    finally:
        closing = [fleet.close()] + ([] if served is None else [served.close()])
        await asyncio.gather(*closing)
        for path in fleet.recordings:
            say(f"recorded   {path}: nonsuch replay {shlex.quote(str(path))}")


def _tell_nodes(fleet: Controlled, say: Say) -> None:
    """What was started, and where it is."""
    say(fleet.about().title)
    width = max(len(seat.name) for seat in fleet.seats)
    for seat in fleet.seats[:NODES_SHOWN]:
        rate = f"about {format_rate(seat.rate)}" if seat.rate else ""
        say(f"  {seat.name:{width}}  {seat.address or rate}".rstrip())
    if len(fleet.seats) > NODES_SHOWN:
        say(f"  and {len(fleet.seats) - NODES_SHOWN} more")
    for remark in fleet.remarks:
        say(remark)


def _network(name: str) -> Network:
    found = next((each for each in NODES if each == name), None)
    if found is None:
        raise LocalError(f"there is no network {name!r}: choose from {', '.join(NODES)}")
    return found
