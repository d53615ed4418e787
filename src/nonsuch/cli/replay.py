"""`nonsuch replay`: a recording, watched as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.access import read_token
from nonsuch.cli.dashboards import (
    HEADLESS_USELESS,
    DashboardPort,
    Dashboards,
    Headless,
    Host,
    Say,
    observed,
)
from nonsuch.cli.terminal import format_count, format_duration
from nonsuch.live.run import run_until_signal

if TYPE_CHECKING:
    from nonsuch.web.recording import Recording

__all__ = ["replay"]


def replay(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `up --record` or the page has recorded.")
    ],
    speed: Annotated[
        float, typer.Option("--speed", metavar="N", help="How many times as fast as it was.")
    ] = 1.0,
    port: DashboardPort = None,
    host: Host = "127.0.0.1",
    token_file: options.OwnTokenFile = None,
    headless: Headless = False,
    json: options.JsonLines = False,
) -> int:
    """Show a recording in a browser: every moment of it, at any speed, forward and back.

    Ctrl-C ends it.
    """
    from nonsuch.web.recording import read_recording  # These bring a dashboard along.
    from nonsuch.web.replay import SPEED_MAX, SPEED_MIN

    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise LocalError(f"--speed lies between {SPEED_MIN:g} and {SPEED_MAX:g}, not {speed:g}")
    say = Say(json=json)
    recording = read_recording(file)
    duration = format_duration(recording.end - recording.begin)
    count = format_count(len(recording))
    say(f"{file}: {recording.header.title or recording.header.network}")
    say(f"{count} observations in {duration}")
    if recording.damage:
        say(recording.damage)
    if headless:
        options.refuse_useless(context, HEADLESS_USELESS)
        run_until_signal(lambda: _play(recording, speed, json=json))
    else:
        dashboards = Dashboards(host, port, read_token(token_file), control=False, say=say)
        run_until_signal(lambda: _show(recording, speed, dashboards, say))
    return 0


async def _play(recording: Recording, speed: float, *, json: bool) -> None:
    """Print what is observed, when it is time."""
    hear = observed(recording.header.network, json=json)
    clock = asyncio.get_running_loop().time
    begin = clock()
    for number in range(len(recording)):
        due = begin + (recording.times[number] - recording.begin) / speed
        wait = due - clock()
        if wait > 0:
            await asyncio.sleep(wait)
        hear(recording[number])


async def _show(recording: Recording, speed: float, dashboards: Dashboards, say: Say) -> None:
    from nonsuch.web.replay import Replay

    player = Replay(recording, speed=speed)
    served = await dashboards.serve(player.feed, player)
    say("Ctrl-C ends it")
    try:
        await player.run()
    finally:
        await served.close()
