"""A replay: a clock over a recording, whose observations go the way that live ones do.

The clock runs at a speed, stands, or is set to any moment. To go back, a picture is folded again:
not from the beginning, but from the latest checkpoint before the moment. Checkpoints are pictures
as they were, packed away while the recording is folded for the first time; there are never more
than `CHECKPOINTS_MAX`, for when there would be, every other one goes and the next are twice as far
apart. Folding is done in slices, so that whoever watches is served meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import pickle
from bisect import bisect_right

import msgspec

from nonsuch.errors import LocalError
from nonsuch.web.feed import Feed
from nonsuch.web.fleet import Bystander
from nonsuch.web.picture import Picture
from nonsuch.web.recording import Recording
from nonsuch.web.rows import About

__all__ = ["SPEED_MAX", "SPEED_MIN", "Replay"]

SPEED_MIN = 0.01
SPEED_MAX = 1000.0

CHECKPOINT_OBSERVATIONS = 10_000
"""The first distance of checkpoints: a quarter of a second of folding."""

CHECKPOINTS_MAX = 64
"""Each is a megabyte or two."""

SLICE_OBSERVATIONS = 500
"""Folded at once: some ten milliseconds, in which nobody is served."""

STEP_SECONDS = 0.02
"""The clock does not stop more often for the next observation."""


class Replay(Bystander):
    """The clock of a recording, and the fleet of a replay, of which nothing can be done but that.

    Make its `feed` the dashboard's, and `run` it beside.
    """

    def __init__(self, recording: Recording, *, speed: float = 1.0, paused: bool = False) -> None:
        header = recording.header
        super().__init__(
            About(
                network=header.network,
                title=header.title,
                virtual=header.virtual,
                speed=_checked_speed(speed),
                started=header.started,
                replay=True,
                begin=recording.begin,
                end=recording.end,
                paused=paused,
            )
        )
        self._recording = recording
        self._position = recording.begin
        self._next = 0
        self._set_at: float | None = None
        self._changed = asyncio.Event()
        self._seeking = asyncio.Lock()
        self._distance = CHECKPOINT_OBSERVATIONS
        self._checkpoints: dict[int, bytes] = {}
        picture = Picture(self._about)
        self._keep(0, picture)
        self.feed = Feed(picture, clock=lambda: self.at)

    # The clock.

    @property
    def at(self) -> float:
        """What time it is in the replay."""
        if self._about.paused or self._set_at is None:
            return self._position
        elapsed = asyncio.get_running_loop().time() - self._set_at
        return min(self._recording.end, self._position + elapsed * self._about.speed)

    def _set(self, at: float) -> None:
        """It is this time now."""
        self._position = min(max(at, self._recording.begin), self._recording.end)
        self._set_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Play, until cancelled."""
        self._set(self._position)
        while True:
            self._changed.clear()
            if not self._about.paused:
                async with self._seeking:
                    await self._play()
            seconds = self._seconds_left()
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(seconds):
                    await self._changed.wait()

    async def _play(self) -> None:
        """Fold what its time has come for; at the end, stand."""
        due = bisect_right(self._recording.times, self.at)
        while self._next < due:
            stop = min(due, self._next + SLICE_OBSERVATIONS)
            for number in range(self._next, stop):
                self.feed.observe(self._recording[number])
            self._next = stop
            self._pass(stop, self.feed.picture)
            await asyncio.sleep(0)
        if self._next == len(self._recording) and self.at >= self._recording.end:
            self._set(self._recording.end)
            self._describe(paused=True)

    def _seconds_left(self) -> float | None:
        """Until the next observation, or the end; None where the clock stands."""
        if self._about.paused:
            return None
        times = self._recording.times
        due = times[self._next] if self._next < len(times) else self._recording.end
        return max(STEP_SECONDS, (due - self.at) / self._about.speed)

    def _describe(self, *, paused: bool | None = None, speed: float | None = None) -> None:
        about = msgspec.structs.replace(self._about)
        about.paused = about.paused if paused is None else paused
        about.speed = about.speed if speed is None else speed
        self._about = about
        self.feed.describe(about)

    # What people do.

    async def replay(self, at: float | None, paused: bool | None, speed: float | None) -> str:
        """Set the clock, or have it stand or run, or how fast. Raises `LocalError`."""
        if speed is not None:
            _checked_speed(speed)
        if at is not None and not math.isfinite(at):
            raise LocalError("a moment is a number of seconds")
        self._set(self.at)
        if paused is False and at is None and self.at >= self._recording.end:
            at = self._recording.begin
        self._describe(paused=paused, speed=speed)
        if at is not None:
            await self.seek(at)
        self._changed.set()
        state = "stands" if self._about.paused else f"runs at speed {self._about.speed:g}"
        since = self.at - self._recording.begin
        return f"The replay {state}, {since:.1f} s after its beginning."

    async def seek(self, at: float) -> None:
        """Show the picture as it was then; moments outside are its beginning or its end."""
        async with self._seeking:
            at = min(max(at, self._recording.begin), self._recording.end)
            stop = bisect_right(self._recording.times, at)
            number, picture = self._nearest(stop)
            while number < stop:
                slice_stop = min(stop, number + SLICE_OBSERVATIONS)
                for each in range(number, slice_stop):
                    picture.fold(self._recording[each])
                number = slice_stop
                picture.take()
                self._pass(number, picture)
                await asyncio.sleep(0)
            picture.describe(self._about)
            self._next = stop
            self._set(at)
            self.feed.show(picture)

    # Checkpoints.

    def _nearest(self, number: int) -> tuple[int, Picture]:
        """The latest checkpoint that is not behind so many observations."""
        found = max(each for each in self._checkpoints if each <= number)
        picture = pickle.loads(self._checkpoints[found])
        assert isinstance(picture, Picture)
        return found, picture

    def _pass(self, number: int, picture: Picture) -> None:
        """So many are folded: is it time for a checkpoint?"""
        if number >= max(self._checkpoints) + self._distance:
            self._keep(number, picture)

    def _keep(self, number: int, picture: Picture) -> None:
        self._checkpoints[number] = pickle.dumps(picture, pickle.HIGHEST_PROTOCOL)
        if len(self._checkpoints) > CHECKPOINTS_MAX:
            self._distance *= 2
            for each in sorted(self._checkpoints)[1::2]:
                del self._checkpoints[each]


def _checked_speed(speed: float) -> float:
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise LocalError(f"a replay's speed is {SPEED_MIN:g} to {SPEED_MAX:g}, not {speed:g}")
    return speed
