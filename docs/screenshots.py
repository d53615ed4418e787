"""Make the pictures of the documentation from the running program.

    python docs/screenshots.py [NAME …]

Each is a network that `nonsuch up` has started, at some point of its life, as the page shows it
then, light and dark. It takes Playwright and a chromium on the path, and some minutes.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

from playwright.async_api import Browser, async_playwright

PICTURES = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 1200, 860
PORT = 8700
WAIT_SECONDS_MAX = 240
LOOK_SECONDS = 0.5
PICTURE_BYTES_MAX = 200_000
SCHEMES = ("light", "dark")


class When(NamedTuple):
    """Once a table of the page has so many rows."""

    table: str
    rows: int


class Act(NamedTuple):
    """What is asked of the page's server, and when."""

    when: When
    path: str
    body: dict[str, object]


class Scene(NamedTuple):
    """A network, what is done to it, and when the picture is taken."""

    arguments: list[str]
    acts: list[Act]
    when: When


JOB: dict[str, object] = {"message": "Your transaction data", "upto": 1_000_000_000}
SIMULATION = ["--sim", "--nodes", "40", "--speed", "20", "--seed", "1"]

SCENES = {
    "pool": Scene(
        ["--nodes", "3", "--no-traffic"],
        [
            Act(When("nodes", 4), "jobs", JOB),
            Act(When("rates", 12), "nodes/miner-2/kill", {}),
        ],
        When("rates", 22),
    ),
    "gossip": Scene(
        ["--network", "gossip"],
        [
            Act(When("blocks", 6), "nodes/node-2/cut", {}),
            Act(When("blocks", 14), "nodes/node-2/mend", {}),
        ],
        When("blocks", 18),
    ),
    "peer": Scene(["--network", "peer"], [], When("blocks", 5)),
    "race": Scene(["--network", "race"], [], When("ledger", 4)),
    "coordinator": Scene(["--network", "coordinator", "--nodes", "3"], [], When("rounds", 12)),
    "simulation": Scene(["--network", "gossip", *SIMULATION], [], When("blocks", 40)),
}


async def play(browser: Browser, name: str, scene: Scene) -> None:
    """Start the network, act, and take the pictures."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nonsuch", "up", "--control", "--port", str(PORT)),
        *scene.arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        url = ""
        while not url:
            line = (await process.stdout.readline()).decode()
            if not line:
                raise SystemExit(f"{name}: it ended before there was a dashboard")
            if line.startswith("dashboard"):
                url = line.split()[1]
        for act in scene.acts:
            await happens(url, act.when)
            print(name, await asyncio.to_thread(ask, url, act))
        await happens(url, scene.when)
        for scheme in SCHEMES:
            await take(browser, url, PICTURES / f"{name}-{scheme}.png", scheme)
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


async def happens(url: str, when: When) -> None:
    """Wait until the table has so many rows."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while await asyncio.to_thread(rows, url, when.table) < when.rows:
            await asyncio.sleep(LOOK_SECONDS)


def rows(url: str, table: str) -> int:
    """How many rows a table has now."""
    with urllib.request.urlopen(f"{url}api/picture") as answer:
        return len(json.load(answer)["set"].get(table, ()))


def ask(url: str, act: Act) -> str:
    """Do something; the sentence that the server answers."""
    request = urllib.request.Request(
        f"{url}api/{act.path}",
        json.dumps(act.body).encode(),
        {"Content-Type": "application/json", "X-Nonsuch": "1", "Origin": url.rstrip("/")},
    )
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["text"])


async def take(browser: Browser, url: str, path: Path, scheme: str) -> None:
    """One picture."""
    page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.goto(url)
    await page.wait_for_timeout(2000)
    picture = await page.screenshot(path=path)
    await page.close()
    size = len(picture)
    print(f"{path.name}: {size:,} bytes")
    if size > PICTURE_BYTES_MAX:
        raise SystemExit(f"{path} is larger than {PICTURE_BYTES_MAX:,} bytes")


async def main(names: list[str]) -> None:
    """All scenes, or those that are named."""
    PICTURES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name in names or SCENES:
            await play(browser, name, SCENES[name])
        await browser.close()


asyncio.run(main(sys.argv[1:]))
