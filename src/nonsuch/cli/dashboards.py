"""What `up` and `replay` have in common: a dashboard for a browser, or lines in its place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from nonsuch.addresses import PORT_MAX
from nonsuch.cli.terminal import errors, output, printable

if TYPE_CHECKING:
    from nonsuch.web.feed import Feed
    from nonsuch.web.fleet import Fleet
    from nonsuch.web.observations import Observation
    from nonsuch.web.rows import Network
    from nonsuch.web.server import Serving

__all__ = [
    "DASHBOARD_PORT",
    "HEADLESS_USELESS",
    "DashboardPort",
    "Dashboards",
    "Headless",
    "Host",
    "Say",
    "observed",
]

DASHBOARD_PORT = 8000
"""Where the page is unless told otherwise; the next ports are tried where it is taken."""

NAME_SECONDS = 1.0
"""How long it may take to find this machine's own name."""

DashboardPort = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=0,
        max=PORT_MAX,
        help=f"Where the dashboard is. Default: {DASHBOARD_PORT}, or the next that is free.",
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="HOST", help="The address that the dashboard listens on."),
]
Headless = Annotated[
    bool, typer.Option("--headless", help="No dashboard: print what happens, line by line.")
]
HEADLESS_USELESS = dict.fromkeys(("host", "port", "token_file"), "--headless has no dashboard")
"""Options that mean nothing then, and why."""


class Say:
    """Tells people how things stand: on standard error where programs read the output."""

    def __init__(self, *, json: bool) -> None:
        self._console = errors if json else output

    def __call__(self, text: str) -> None:
        """One line."""
        self._console.print(printable(text), markup=False)


def observed(network: Network, *, json: bool) -> Callable[[Observation], None]:
    """A function that prints observations: all of them as JSON, or the sentences for people."""
    if json:
        encoder = msgspec.json.Encoder()

        def print_json(observation: Observation) -> None:
            output.out(encoder.encode(observation).decode(), highlight=False)

        return print_json
    from nonsuch.web.picture import Picture
    from nonsuch.web.rows import About

    picture = Picture(About(network))

    def print_told(observation: Observation) -> None:
        picture.fold(observation)
        picture.take()
        lines = picture.board.sentences.lines
        while lines:
            output.print(printable(lines.popleft()), markup=False)

    return print_told


class Dashboards:
    """Where a dashboard is, and who may see it. Raises `LocalError` where anybody could."""

    def __init__(
        self, host: str, port: int | None, token: str, *, control: bool, say: Callable[[str], None]
    ) -> None:
        from nonsuch.web.guard import Access

        self._access = Access(host, token=token, control=control)
        self._wanted = DASHBOARD_PORT if port is None else port
        self._say = say

    async def serve(self, feed: Feed, fleet: Fleet) -> Serving:
        """Serve it, and say where. Raises `LocalError` where it cannot be."""
        served = await self.open(feed, fleet)
        await self.tell(served)
        return served

    async def open(self, feed: Feed, fleet: Fleet) -> Serving:
        """Serve it. Raises `LocalError` where it cannot be."""
        from nonsuch.web.server import dashboard, serve  # It brings a web server along.

        return await serve(dashboard(feed, fleet, self._access), self._access.host, self._wanted)

    async def tell(self, served: Serving) -> None:
        """Say where it is."""
        from nonsuch.web.guard import ANY_ADDRESS

        if self._wanted and served.port != self._wanted:
            self._say(f"port {self._wanted} is taken: the dashboard has the next that is free")
        token = "?token=…, with the token" if self._access.token else ""
        url = served.url
        if self._access.host in ANY_ADDRESS:
            url = f"http://{await _own_name()}:{served.port}/"
        self._say(f"dashboard  {url}{token}")


async def _own_name() -> str:
    """What this machine is called by others, if that name can be found; else by itself."""
    name = socket.gethostname()
    try:
        async with asyncio.timeout(NAME_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(name, None)
    except (OSError, UnicodeError, TimeoutError):
        return "127.0.0.1"
    return name
