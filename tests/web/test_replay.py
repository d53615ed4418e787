"""A replay shows at any moment what was to be seen then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from nonsuch.errors import LocalError
from nonsuch.networks.pool import facts
from nonsuch.web import replay as module
from nonsuch.web.fleet import Unsupported
from nonsuch.web.observations import observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.recording import FORMAT, Header, Recording
from nonsuch.web.replay import Replay
from nonsuch.web.rows import About

COUNT = 3_000


@pytest.fixture
def recording() -> Recording:
    recording = Recording(Header(FORMAT, 1, "pool", "a pool", 1000.0))
    told = [observed_fact(facts.JobAccepted("j", 0, 10**6, 1, "m"), "pool", 1000.0)]
    for number in range(COUNT):
        fact = facts.Worked("j", number * 100, number * 100 + 100, 0.1)
        told.append(observed_fact(fact, f"miner-{number % 3}", 1000.0 + number / 10))
    for observation in told:
        recording.add(msgspec.json.encode(observation))
    return recording


@contextlib.asynccontextmanager
async def played(replay: Replay) -> AsyncIterator[Replay]:
    playing = asyncio.ensure_future(replay.run())
    try:
        yield replay
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing


def shown(picture: Picture) -> dict[str, bytes]:
    """All but what is said of the replay itself."""
    whole = picture.whole()
    return {name: msgspec.json.encode(whole[name]) for name in whole if name != "about"}


def seen_at(recording: Recording, at: float) -> dict[str, bytes]:
    picture = Picture(About("pool", started=1000.0))
    for number in range(len(recording)):
        if recording.times[number] <= max(at, recording.begin):
            picture.fold(recording[number])
    return shown(picture)


@pytest.mark.parametrize("distance", [100, 100_000])
async def test_every_moment_is_as_it_was(
    recording: Recording, distance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_OBSERVATIONS", distance)
    monkeypatch.setattr(module, "CHECKPOINTS_MAX", 8)
    replay = Replay(recording, paused=True)
    for at in (1300.0, 1000.0, 1150.05, 1149.9, 900.0, 1010.0, 5000.0, 1250.0):
        await replay.seek(at)
        assert shown(replay.feed.picture) == seen_at(recording, at), at
        replay.feed.picture._check()
    assert len(replay._checkpoints) <= 8


async def test_it_plays_to_its_end_and_stands(recording: Recording) -> None:
    async with played(Replay(recording, speed=1000.0)) as replay:
        client = replay.feed.join()
        while not replay.feed.picture.about.paused:
            await client.messages()
        assert shown(replay.feed.picture) == seen_at(recording, 5000.0)
        assert replay.at == recording.end
        # From there it begins again.
        text = await replay.replay(None, False, 0.01)
        assert text == "The replay runs at speed 0.01, 0.0 s after its beginning."


async def test_it_stands_until_it_is_told_to_go_on(recording: Recording) -> None:
    async with played(Replay(recording, paused=True)) as replay:
        about = replay.feed.picture.about
        assert (about.replay, about.paused, about.begin, about.end) == (
            *(True, True, 1000.0),
            recording.end,
        )
        text = await replay.replay(1100.0, None, None)
        assert text == "The replay stands, 100.0 s after its beginning."
        assert replay.at == 1100.0
        before = replay.feed.picture.observations
        text = await replay.replay(None, False, 100.0)
        assert text.startswith("The replay runs at speed 100")
        client = replay.feed.join()
        while replay.feed.picture.observations < before + 50:
            await client.messages()
        await replay.replay(None, True, None)
        stopped = replay.at
        assert stopped > 1100.0
        assert replay.at == stopped
        assert replay.feed.picture.about.speed == 100.0


async def test_who_watches_gets_the_whole_picture_of_another_moment(recording: Recording) -> None:
    replay = Replay(recording, paused=True)
    client = replay.feed.join()
    await client.messages()
    await replay.seek(1200.0)
    message = msgspec.json.decode((await client.messages()).removeprefix(b"data: "))
    assert (message["reset"], message["at"]) == (True, 1200.0)
    assert message["set"]["jobs"]["j"]["done"] == 200_100


@pytest.mark.parametrize(
    ("at", "speed"), [(None, 0.0), (None, -1.0), (None, 1e9), (float("nan"), None)]
)
async def test_what_no_clock_can_do_is_refused(
    recording: Recording, at: float | None, speed: float | None
) -> None:
    replay = Replay(recording)
    with pytest.raises(LocalError):
        await replay.replay(at, None, speed)


async def test_nothing_can_be_done_to_the_past(recording: Recording) -> None:
    replay = Replay(recording)
    for action in (
        *(replay.kill, replay.freeze, replay.thaw, replay.restart),
        *(replay.lie, replay.cut, replay.mend, replay.transact),
    ):
        with pytest.raises(Unsupported, match="not possible here: a pool has no way"):
            await action("miner-1")
    for done in (
        *(replay.add("miner"), replay.lose(0.5), replay.heal()),
        *(replay.submit("m", 7), replay.record(on=True)),
    ):
        with pytest.raises(Unsupported):
            await done
    assert replay.recording() is None


async def test_an_empty_recording_can_be_played() -> None:
    empty = Recording(Header(FORMAT, 1, "gossip", "", 5.0))
    async with played(Replay(empty)) as replay:
        client = replay.feed.join()
        while not replay.feed.picture.about.paused:
            await client.messages()
        await replay.replay(7.0, None, None)
        assert replay.at == 5.0
