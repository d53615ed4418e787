"""A pool, relays and their miners: real processes on two levels, and kill -9 on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

import nonsuch
from nonsuch.networks.pool.statistics import PoolStatistics
from tests.processes.conftest import answer_of, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.processes.conftest import Network, Process

SMALL = 300_000
"""A range that any search is through with in half a second."""

SHARDS = ("--shard-seconds", "0.1")
"""So short that a relay's leases, ten times as long, are several in a job of a second."""

pytestmark = pytest.mark.timeout(300)


class Levels:
    """A pool, two relays below it, and two miners of one thread below each."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.pool = network.pool(*SHARDS)
        self.ports = [free_port(), free_port()]
        self.relays = [self.relay(port) for port in self.ports]
        self.miners = [self.miner(port, name) for port in self.ports for name in ("a", "b")]
        for relay in self.relays:
            relay.wait_for("miner joined", miners=2)

    def relay(self, port: int, *options: str, **variables: str) -> Process:
        """A relay on this port, once it lets peers in."""
        command = ("pool", "--port", str(port), "--upstream", self.network.address, "--json")
        relay = self.network.start(*command, *SHARDS, *options, **variables)
        relay.wait_for("listening")
        return relay

    def miner(self, port: int, name: str) -> Process:
        """A miner of the relay on this port."""
        command = ("miner", f"127.0.0.1:{port}", "--threads", "1", "--name", name, "--json")
        return self.network.start(*command, "--verbose")

    def submit(self, message: str, upto: int) -> Process:
        """A client, once its job is being done."""
        client = self.network.submit(message, upto)
        self.pool.wait_for("job accepted")
        self.relays[0].wait_for("worked")
        return client


def test_two_levels_give_the_exact_answer_and_everybody_has_a_part_in_it(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    levels = Levels(network)
    upto = hash_count(1)
    answer = answer_of(levels.submit("two levels", upto))
    assert answer.nonce == nonsuch.solve("two levels", upto).nonce
    assert all(process.has_seen("worked") for process in (*levels.relays, *levels.miners))
    assert levels.pool.has_seen("cheated") == []


def test_a_relay_that_is_killed_and_comes_back_has_its_miners_again(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    levels = Levels(network)
    upto = hash_count(1)
    client = levels.submit("and back", upto)
    levels.relays[0].kill()
    levels.pool.wait_for("miner left")
    levels.relays[0] = levels.relay(levels.ports[0])
    levels.relays[0].wait_for("miner joined", miners=2)
    answer = answer_of(client)
    assert answer.nonce == nonsuch.solve("and back", upto).nonce


def test_a_miner_of_a_relay_is_killed_and_nobody_above_hears_of_it(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    levels = Levels(network)
    upto = hash_count(1)
    client = levels.submit("a small loss", upto)
    levels.miners[0].kill()
    levels.relays[0].wait_for("miner left")
    answer = answer_of(client)
    assert answer.nonce == nonsuch.solve("a small loss", upto).nonce
    assert levels.pool.has_seen("miner left") == []


def test_the_pool_above_is_killed_and_started_again(
    network: Network, hash_count: Callable[[float], int]
) -> None:
    levels = Levels(network)
    upto = hash_count(1)
    client = levels.submit("from above", upto)
    levels.pool.kill()
    for relay in levels.relays:
        relay.wait_for("connection lost")
    levels.pool = network.pool(*SHARDS)
    for relay in levels.relays:
        relay.wait_for("pool reached")
    answer = answer_of(client)
    assert answer.nonce == nonsuch.solve("from above", upto).nonce
    assert all(miner.process.poll() is None for miner in levels.miners)


def test_three_levels(network: Network) -> None:
    network.pool(*SHARDS)
    above = network.address
    for _ in range(2):
        port = str(free_port())
        relay = network.start("pool", "--port", port, "--upstream", above, "--json", *SHARDS)
        relay.wait_for("listening")
        above = f"127.0.0.1:{port}"
    network.start("miner", above, "--threads", "1")
    answer = answer_of(network.submit("three levels", SMALL))
    assert answer.nonce == nonsuch.solve("three levels", SMALL).nonce


def test_a_relay_shows_one_token_above_and_asks_for_another_below(network: Network) -> None:
    network.pool("--token-file", _token(network, "above"))
    port = free_port()
    place = f"127.0.0.1:{port}"
    command = ("pool", "--port", str(port), "--upstream", network.address, "--json")
    wrong = network.start(*command, NONSUCH_TOKEN="above")
    assert wrong.wait() == 2
    assert "refused this relay: this pool wants a token" in wrong.errors
    relay = network.start(*command, NONSUCH_TOKEN="below", NONSUCH_UPSTREAM_TOKEN="above")
    relay.wait_for("pool reached")
    network.start("miner", place, "--threads", "1", NONSUCH_TOKEN="below")
    relay.wait_for("miner joined")
    client = network.submit("two tokens", SMALL, NONSUCH_TOKEN="above")
    assert answer_of(client).nonce == nonsuch.solve("two tokens", SMALL).nonce


def test_status_says_that_it_is_a_relay_and_that_jobs_belong_above(network: Network) -> None:
    pool = network.pool()
    port = free_port()
    place = f"127.0.0.1:{port}"
    relay = network.start("pool", "--port", str(port), "--upstream", network.address, "--json")
    relay.wait_for("pool reached")
    assert _status(network, place).upstream_reached
    refused = network.start("submit", place, "hello", "--upto", "9999")
    assert refused.wait() == 2
    assert "its jobs come from the pool above it" in refused.errors
    pool.kill()
    relay.wait_for("connection lost")
    now = _status(network, place)
    assert (now.is_relay, now.upstream_reached) == (True, False)
    shown = network.start("status", place)
    assert shown.wait() == 0
    assert "relay    the pool above is not reached" in shown.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--upstream", "here", "--journal", "kept"), "a relay keeps nothing"),
        (("--upstream", "here", "--liteminer", "0"), "LiteMiner ones cannot show"),
        (("--upstream", "here:there"), "--upstream is HOST:PORT"),
        (("--upstream-tls",), "name it"),
    ],
)
def test_what_a_relay_cannot_be(network: Network, options: tuple[str, ...], complaint: str) -> None:
    relay = network.start("pool", "--port", "0", *options)
    assert relay.wait() == 2
    assert complaint in relay.errors


def _status(network: Network, place: str) -> PoolStatistics:
    client = network.start("status", place, "--json")
    assert client.wait() == 0, client.errors
    return msgspec.json.decode(client.output, type=PoolStatistics)


def _token(network: Network, token: str) -> str:
    file = network.folder / f"{token}.token"
    file.write_text(token)
    return str(file)
