"""A relay: a pool to its miners, and to the pool above it one large miner.

    pool ◀── Hello, Capacity ── relay ◀── Hello ── miner
     │                            │                  ▲
     └──────── Lease ─────▶ gathering job ── Lease ──┘
     ◀──────── Result ──── all its shares

Where one pool has too many miners, some of them are relays: each leases for many seconds of all its
miners, cuts shards of it, believes no result of theirs, and sends up one. Nothing here is new: a
relay is the core of a `Pool` and that of a `Miner`. What the miner wants searched the pool gathers
(`gather`), and the answers go back. The connection that was dialled is the miner's, all others are
the pool's. A miner of a relay may be a relay itself.

**The seam.** Two leases are handed down at once and searched in their order, so the miners that
have nothing left in one go on in the next, and nobody waits for the pool above.

**What is lost when.** Nothing here is on disk: if the relay dies, or is cut off, its leases go to
somebody else, as a miner's do. Miners wait here until the pool above is back. If it is the miners
that are gone, leases wait for them as long as a silent miner may keep its own; then the relay hangs
up, and has it all given back. Until somebody comes it wants nothing.

**Whom to believe.** The pool above does not believe a relay either, and what it answers for is what
its miners say. Those it catches lying are out, but what it has sent up by then cannot be taken
back: the audits above see to that, as they do with any miner.
"""

from __future__ import annotations

import random
from collections import deque

import msgspec

from nonsuch.errors import LocalError
from nonsuch.networks.pool import messages
from nonsuch.networks.pool.miner import Miner
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.node import (
    LOCAL,
    Advanced,
    Cancel,
    Capacity,
    Close,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.work.shares import Rehash, hashed_extremes

__all__ = ["Relay"]

SHARDS_A_LEASE = 10
"""So many shards of each of its miners make a lease: the two ends of one are a tenth of it."""

TELL_SECONDS = 1.0
"""How often the pool above hears of miners that come and go, unless it is the first or the last."""

REFUSES_JOBS = "this pool is a relay, and its jobs come from the pool above it: submit them there"


class Relay:
    """The core of a relay. `hello` is what it says above, `settings` are those of the pool here.

    `lots` decides what is audited here, and spreads the attempts to reach the pool above;
    `rehash` is the `Pool`'s.
    """

    def __init__(
        self,
        settings: PoolSettings,
        hello: messages.Hello,
        lots: random.Random,
        rehash: Rehash = hashed_extremes,
    ) -> None:
        settings = msgspec.structs.replace(settings, refuses_jobs=REFUSES_JOBS)
        self._lease_seconds = settings.lease_seconds
        self._pool = Pool(settings, random.Random(lots.getrandbits(64)), rehash)
        self._pool.upstream = False
        self._miner = Miner(
            hello,
            random.Random(lots.getrandbits(64)),
            searches_all=True,
            lease_seconds=SHARDS_A_LEASE * settings.shard_seconds,
        )
        self._upstream = 0
        self._told = Capacity(1)
        self._tell_at: float | None = None
        self._alone_at: float | None = None
        self._inside: deque[tuple[Miner | Pool, Event]] = deque()

    @property
    def failure(self) -> str | None:
        """Why the pool above will not have this relay, where it never will."""
        return self._miner.failure

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `nonsuch.node`."""
        match event:
            case Tick():
                for core in (self._miner, self._pool):
                    if _is_due(core.deadline(), now):
                        self._inside.append((core, event))
            case Started() | Stopping():
                self._inside += ((self._miner, event), (self._pool, event))
            case Received(peer=peer) if peer == LOCAL:
                pass  # A relay's own user has nothing to say.
            case _:
                self._inside.append((self._whose(event), event))
        effects = self._settle(now)
        self._tell_capacity(now)
        return [*effects, *self._settle(now), *self._hang_up_alone(now)]

    def deadline(self) -> float | None:
        """The nearest of both cores', and when there is something to be said above."""
        times = (self._miner.deadline(), self._pool.deadline(), self._tell_at, self._alone_at)
        return min((when for when in times if when is not None), default=None)

    def statistics(self, now: float) -> PoolStatistics:
        """Those of the pool here, which say whether the one above is reached."""
        return self._pool.statistics(now)

    # From one to the other.

    def _whose(self, event: Event) -> Miner | Pool:
        """What comes from above is the miner's. Searches of the driver are the pool's audits."""
        match event:
            case Connected(peer=peer, dialled=dialled) if dialled is not None:
                self._upstream, self._pool.upstream = peer, True
                return self._miner
            case Disconnected(peer=peer) if peer in (0, self._upstream):
                self._upstream, self._pool.upstream = 0, False
                return self._miner
            case Received(peer=peer) | Erred(peer=peer) if peer == self._upstream:
                return self._miner
            case _:
                return self._pool

    def _settle(self, now: float) -> list[Effect]:
        """Hand events in until both cores are through with them; what is left is for the driver.

        In order: what one has said before it asks the other for something, it has said before.
        """
        effects: list[Effect] = []
        while self._inside:
            core, event = self._inside.popleft()
            other = self._pool if core is self._miner else self._miner
            for effect in self._done(core, event, now):
                handed_over = self._handed_over(core, effect)
                if handed_over is None:
                    effects.append(self._with_rate(effect))
                else:
                    self._inside.append((other, handed_over))
        return effects

    def _done(self, core: Miner | Pool, event: Event, now: float) -> list[Effect]:
        if not (isinstance(event, Received) and isinstance(event.message, Search)):
            return core.handle(event, now)
        try:
            return core.handle(event, now)
        except LocalError as error:
            # The miner has looked at the lease, but a pool is harder to please.
            return [Close(self._upstream, f"a lease that no miner could be given: {error}")]

    def _handed_over(self, core: Miner | Pool, effect: Effect) -> Event | None:
        """What the other core hears of this effect; None where it is for the driver."""
        match effect:
            case Search() | Cancel() if core is self._miner:
                return Received(LOCAL, effect)
            case Send(peer=peer, message=Searched() | Advanced() as answer) if peer == LOCAL:
                return answer
            case _:
                return None

    # What is said above.

    def _with_rate(self, effect: Effect) -> Effect:
        """A hello says how fast all miners are, so that a pool that is back begins as it was."""
        match effect:
            case Send(peer=peer, message=messages.Hello() as hello) if self._pool.rate:
                rate = min(self._pool.rate, messages.RATE_MAX)
                return Send(peer, msgspec.structs.replace(hello, rate=rate))
            case _:
                return effect

    def _tell_capacity(self, now: float) -> None:
        miners = self._pool.evident_miners
        wanted = Capacity(min(1, miners), miners)
        if wanted == self._told:
            self._tell_at = None
        elif wanted.slots != self._told.slots or _is_due(self._tell_at, now):
            self._told, self._tell_at = wanted, None
            self._inside.append((self._miner, Received(LOCAL, wanted)))
        elif self._tell_at is None:
            self._tell_at = now + TELL_SECONDS

    def _hang_up_alone(self, now: float) -> list[Effect]:
        """Leases that nobody is there to search are given back."""
        if self._pool.evident_miners or not self._pool.gathers:
            self._alone_at = None
        elif self._alone_at is None:
            self._alone_at = now + self._lease_seconds
        elif now >= self._alone_at:
            self._alone_at = now + self._lease_seconds
            return [Close(self._upstream, "no miner is left here")]
        return []

    def _check(self) -> None:
        self._miner._check()
        self._pool._check()
        assert not self._inside, "something that one has not told the other"
        assert self._upstream or not self._pool.gathers, "searches for nobody"
        assert self._told.slots == min(1, self._pool.evident_miners), "leases that nobody wants"


def _is_due(deadline: float | None, now: float) -> bool:
    return deadline is not None and now >= deadline
