"""Who watches gets the whole picture, and then what changes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TypedDict

import msgspec
import pytest

from nonsuch.web import feed as module
from nonsuch.web.feed import CLIENT_MESSAGES_MAX, Client, Feed, TooManyClients
from nonsuch.web.fleet import Asked, ProcessStarted
from nonsuch.web.observations import Observation, observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.rows import About


class Message(TypedDict, total=False):
    n: int
    at: float
    reset: bool
    set: dict[str, dict[str, Mapping[str, object]]]
    drop: dict[str, list[str]]


async def messages_of(client: Client) -> list[Message]:
    """All that is queued, once there is any."""
    data = (await client.messages()).decode()
    events = [event for event in data.split("\n\n") if event and not event.startswith(":")]
    return [json.loads(event.removeprefix("data: ")) for event in events]


def asked(number: int) -> Observation:
    return observed_fact(Asked(f"sentence {number}"), "", float(number))


@pytest.fixture
def feed() -> Feed:
    return Feed(Picture(About("pool", title="a pool")))


async def test_the_first_message_is_the_whole_picture(feed: Feed) -> None:
    feed.observe(observed_fact(ProcessStarted("miner-1", "miner"), "", 7.0))
    (message,) = await messages_of(feed.join())
    assert (message["n"], message["at"], message["reset"]) == (0, 7.0, True)
    assert message["set"]["nodes"]["miner-1"]["state"] == "starting"
    assert message["set"]["about"]["about"]["title"] == "a pool"


async def test_changes_of_a_moment_are_one_message_for_all(feed: Feed) -> None:
    clients = [feed.join() for _ in range(3)]
    for client in clients:
        await messages_of(client)
    for number in range(100):
        feed.observe(asked(number))
    (first,) = await messages_of(clients[0])
    assert (first["n"], first["at"], "reset" in first) == (1, 99.0, False)
    assert len(first["set"]["told"]) == 100
    assert await messages_of(clients[1]) == [first]
    feed.observe(asked(100))
    (second,) = await messages_of(clients[0])
    assert (second["n"], list(second["set"]["told"])) == (2, ["101"])
    # One who did not look meanwhile has missed nothing.
    assert await messages_of(clients[2]) == [first, second]


async def test_patches_go_on_from_where_a_reset_was(feed: Feed) -> None:
    early = feed.join()
    await messages_of(early)
    for number in range(400):
        feed.observe(asked(number))
        if number % 100 == 0:
            await asyncio.sleep(0)
    # What has not been sent yet is in the reset, and comes again without harm.
    late = feed.join()
    seen: dict[Client, dict[str, dict[str, Mapping[str, object]]]] = {}
    feed.observe(asked(400))
    await asyncio.sleep(2 * module.PATCH_SECONDS)
    for client in (early, late):
        seen[client] = {}
        numbers = []
        for message in await messages_of(client):
            numbers.append(message["n"])
            for name, some in message["set"].items():
                seen[client].setdefault(name, {}).update(some)
            for name, keys in message.get("drop", {}).items():
                for key in keys:
                    seen[client][name].pop(key, None)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert seen[early]["told"] == seen[late]["told"]
    assert len(seen[late]["told"]) == 300


async def test_one_who_does_not_read_is_dropped_and_the_others_are_not(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATCH_SECONDS", 0.0)
    told: list[str] = []
    slow = feed.join(lambda: told.append("slow"))
    quick = feed.join(lambda: told.append("quick"))
    read = len(await messages_of(quick))
    for number in range(CLIENT_MESSAGES_MAX + 5):
        feed.observe(asked(number))
        read += len(await messages_of(quick))
    assert (told, slow.is_over, quick.is_over) == (["slow"], True, False)
    assert (feed.clients, feed.dropped) == (1, 1)
    assert read == CLIENT_MESSAGES_MAX + 6
    # Nothing more comes, and what was queued is gone.
    assert await slow.messages() == b""


class Wire:
    """A connection that is ready, or not."""

    def __init__(self) -> None:
        self.is_ready = True
        self.written: list[bytes] = []

    def write(self, message: bytes) -> None:
        self.written.append(message)


async def test_messages_are_written_at_once_where_the_connection_is_ready(feed: Feed) -> None:
    client, other, wire = feed.join(), feed.join(), Wire()
    first = await client.messages()
    await messages_of(other)
    client.write_to(wire)
    feed.observe(asked(1))
    await messages_of(other)  # Who came later is told later.
    assert (len(wire.written), len(client)) == (1, 0)
    wire.is_ready = False
    feed.observe(asked(2))
    assert await client.waits()
    # Ready again, but what waits goes first.
    wire.is_ready = True
    feed.observe(asked(3))
    await messages_of(other)
    await messages_of(other)
    assert (len(wire.written), len(client)) == (1, 2)
    events = (first + b"".join(wire.written) + client.take()).split(b"\n\n")[:-1]
    numbers = [json.loads(event.removeprefix(b"data: "))["n"] for event in events]
    assert numbers == [0, 1, 2, 3]


async def test_there_is_room_for_so_many(feed: Feed) -> None:
    feed = Feed(feed.picture, clients_max=3)
    clients = [feed.join() for _ in range(3)]
    with pytest.raises(TooManyClients, match="has its 3 clients"):
        feed.join()
    feed.leave(clients[0])
    feed.join()


async def test_the_whole_picture_is_encoded_once_for_all_who_come_together(feed: Feed) -> None:
    assert feed.whole() is feed.whole()
    before = feed.whole()
    feed.describe(msgspec.structs.replace(feed.picture.about, title="another"))
    assert b"another" in feed.whole()
    assert feed.whole() is not before


async def test_nothing_runs_while_nothing_happens(feed: Feed) -> None:
    loop = asyncio.get_running_loop()
    client = feed.join()
    await client.messages()
    feed.observe(asked(1))
    await client.messages()
    feed.leave(client)
    assert feed._timer is None
    feed.close()
    assert feed._heart is not None
    assert feed._heart.cancelled()
    assert loop.is_running()


async def test_a_silent_stream_has_a_heart(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    client = feed.join()
    await client.messages()
    assert await client.messages() == module.HEARTBEAT
    assert await client.messages() == module.HEARTBEAT


async def test_another_picture_is_a_reset(feed: Feed) -> None:
    client = feed.join()
    await client.messages()
    feed.show(Picture(About("pool", title="another")))
    (message,) = await messages_of(client)
    assert (message["n"], message["reset"]) == (1, True)
    feed.observe(asked(1))
    (message,) = await messages_of(client)
    assert message["n"] == 2


async def test_a_recording_hears_everything(feed: Feed) -> None:
    class Heard:
        def __init__(self) -> None:
            self.all: list[Observation] = []

        def add(self, observation: Observation) -> None:
            self.all.append(observation)

    feed.hears = heard = Heard()
    some = [asked(number) for number in range(5)]
    for observation in some:
        feed.observe(observation)
    assert heard.all == some
    feed.close()


async def test_a_feed_that_is_over_ends_every_stream(feed: Feed) -> None:
    client = feed.join()
    await client.messages()
    waiting = asyncio.ensure_future(client.messages())
    await asyncio.sleep(0)
    feed.close()
    assert await waiting == b""
    assert feed.clients == 0
