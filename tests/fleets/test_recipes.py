"""Networks of processes as they are put together: who there is, and what each is told."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Collection
from pathlib import Path

import msgspec
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from nonsuch.cli.commands import app
from nonsuch.errors import LocalError
from nonsuch.fleets.liar import Order
from nonsuch.fleets.recipes import RECIPES, SPARE_SEATS, Errands, Place, Recipe
from nonsuch.fleets.site import Site
from nonsuch.fleets.topology import NEIGHBOURS, neighbours
from nonsuch.networks.race.messages import ACCEPTED
from nonsuch.web.fleet import Unsupported
from nonsuch.web.rows import Network

NETWORKS: list[Network] = ["pool", "gossip", "peer", "race", "coordinator"]


def parse(arguments: tuple[str, ...]) -> dict[str, object]:
    """What the command line makes of arguments. Raises what it would complain of."""
    command, rest = get_command(app()), list(arguments)
    while isinstance(command, TyperGroup) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    with command.make_context("nonsuch", rest) as context:
        parsed: dict[str, object] = context.params
        return parsed


class Nobody:
    """A fleet in which nothing runs and nothing is heard."""

    def running(self) -> Collection[str]:
        return set()

    async def listening(self, names: Collection[str]) -> None:
        raise AssertionError(f"nobody is waited for: {names}")

    def spawn(self, work: Awaitable[None]) -> None:
        raise AssertionError(f"nothing is to be done: {work}")

    def observe(self, name: str, fact: object) -> None:
        raise AssertionError(f"nobody says anything: {name}, {fact}")


def recipe(network: Network, site: Site, nodes: int = 3, fleet: Nobody | None = None) -> Recipe:
    by = Nobody() if fleet is None else fleet
    errands = Errands(by.running, by.listening, by.spawn, by.observe)
    return RECIPES[network](site, nodes, errands)


SITES: list[Site] = []


def site_in(folder: Path, port: int = 20_000, *, control: bool = False) -> Site:
    """A site that is closed when the test is over."""
    site = Site(folder, port, threads=1, control=control, lots=random.Random(1))
    SITES.append(site)
    return site


@pytest.fixture(autouse=True)
async def _closing() -> AsyncIterator[None]:
    yield
    while SITES:
        await SITES.pop().close()


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
async def test_the_command_line_accepts_what_a_recipe_says(
    network: Network, control: bool, tmp_path: Path
) -> None:
    site = site_in(tmp_path, control=control)
    made = recipe(network, site)
    places = await made.places()
    places.append(await made.another() if control or network != "gossip" else places[0])
    for place in places:
        assert parse(place.child.arguments)["json"] is True, place
        assert place.child.name == place.seat.name
    names = [place.seat.name for place in places]
    assert made.hub in ("", names[0])
    assert len([place for place in places if place.seat.role == made.role]) >= 4


@pytest.mark.parametrize("network", NETWORKS)
async def test_whatever_a_node_keeps_is_in_the_network_s_folder(
    network: Network, tmp_path: Path
) -> None:
    made = recipe(network, site_in(tmp_path))
    for place in await made.places():
        parsed = parse(place.child.arguments)
        for kind in ("journal", "store", "ledger", "config"):
            kept = parsed.get(kind)
            assert kept is None or str(kept).startswith(str(tmp_path)), (place, kind)


async def test_miners_of_a_controlled_pool_find_it_behind_links_of_their_own(
    tmp_path: Path,
) -> None:
    site = site_in(tmp_path, control=True)
    pool, *miners = await recipe("pool", site).places()
    ways = {str(parse(miner.child.arguments)["pool"]) for miner in miners}
    assert len(ways) == 3
    assert pool.seat.address not in ways
    assert {site.name_of(way) for way in ways} == {"pool"}
    assert site.part({"miner-1"})


async def test_without_control_nodes_are_neighbours_and_nothing_can_be_cut(
    tmp_path: Path,
) -> None:
    site = site_in(tmp_path)
    pool, *miners = await recipe("pool", site).places()
    assert {parse(miner.child.arguments)["pool"] for miner in miners} == {pool.seat.address}
    assert not site.part({"miner-1"})


async def test_a_liar_is_told_all_that_the_honest_one_knows(tmp_path: Path) -> None:
    for network in ("pool", "gossip"):
        *_, place = await recipe(network, site_in(tmp_path)).places()
        assert place.lying is not None
        order = msgspec.json.decode(place.lying.arguments[0], type=Order)
        assert order.name == place.seat.name
        assert f":{order.port}" in " ".join(place.child.arguments)


async def test_a_gossip_network_has_so_many_spare_seats(tmp_path: Path) -> None:
    site = site_in(tmp_path, control=True)
    made = recipe("gossip", site)
    await made.places()
    for _ in range(SPARE_SEATS):
        assert isinstance(await made.another(), Place)
    with pytest.raises(Unsupported, match="all 7 seats are taken"):
        await made.another()


async def test_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        site = site_in(tmp_path, number)
        assert site.port("pool") > number
        assert number in site.moved


async def test_what_a_node_says_of_a_relay_is_said_with_a_name(tmp_path: Path) -> None:
    site = site_in(tmp_path, control=True)
    _, miner, *_ = await recipe("pool", site).places()
    way = str(parse(miner.child.arguments)["pool"])
    assert site.with_names(f"cannot reach {way}: it is closed") == "cannot reach pool: it is closed"
    assert site.with_names(way) == "pool"
    assert site.with_names("cannot reach 127.0.0.1:9") == "cannot reach 127.0.0.1:9"


class Starting(Nobody):
    """Two nodes that run; they listen when `ready` says so, and count what comes."""

    def __init__(self) -> None:
        self.waited_for = asyncio.Event()
        self.ready = asyncio.Event()
        self.came: asyncio.Queue[str] = asyncio.Queue()

    def running(self) -> Collection[str]:
        return {"Node1", "Node2"}

    async def listening(self, names: Collection[str]) -> None:
        assert set(names) == {"Node1", "Node2"}
        self.waited_for.set()
        await self.ready.wait()

    async def listen(self, place: Place) -> asyncio.Server:
        """Take what comes to this place's port."""

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            self.came.put_nowait(place.seat.name)
            writer.write(ACCEPTED.encode())
            writer.close()

        host, port = place.seat.address.split(":")
        return await asyncio.start_server(take, host, int(port))


async def test_no_payment_is_raced_for_before_all_nodes_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nonsuch.fleets.recipes.RACE_SECONDS", 0.0)
    fleet = Starting()
    race = recipe("race", site_in(tmp_path), 2, fleet)
    first, second = await race.places()
    paying = asyncio.ensure_future(race.traffic())
    async with await fleet.listen(first):
        await fleet.waited_for.wait()
        async with await fleet.listen(second):
            assert fleet.came.empty()
            fleet.ready.set()
            assert {await fleet.came.get(), await fleet.came.get()} == {"Node1", "Node2"}
            paying.cancel()


@pytest.mark.parametrize("count", [1, 2, 9, 10, 50, 200])
def test_neighbours_are_mutual_connected_and_few(count: int) -> None:
    links = neighbours(count, random.Random(count))
    assert all(each not in links[each] for each in range(count))
    assert all(one in links[another] for one in range(count) for another in links[one])
    reached, ahead = {0}, [0]
    while ahead:
        news = links[ahead.pop()] - reached
        reached |= news
        ahead += news
    assert len(reached) == count
    if count <= NEIGHBOURS + 1:
        assert all(len(each) == count - 1 for each in links)
    else:
        assert sum(map(len, links)) / count < 2 * NEIGHBOURS


async def test_two_networks_that_begin_together_have_no_port_in_common(tmp_path: Path) -> None:
    sites = [site_in(tmp_path), site_in(tmp_path)]
    ports = [site.port(name) for name in ("pool", "keeper") for site in sites]
    assert len(set(ports)) == 4
    for site in sites:
        await site.close()
    assert site_in(tmp_path).port("pool") == min(ports)


async def test_a_folder_s_chains_keep_their_target(tmp_path: Path) -> None:
    def site() -> Site:
        return Site(tmp_path, 5000, threads=1, control=False, lots=random.Random(1))

    first = site().target("gossip", 1_000_000)
    assert first.work == pytest.approx(1_000_000, rel=0.01)
    assert site().target("gossip", 5) == first
    with pytest.raises(LocalError, match="holds a gossip network"):
        site().target("peer", 5)
    (tmp_path / "network.json").write_text("{}")
    with pytest.raises(LocalError, match="damaged"):
        site().target("gossip", 5)
