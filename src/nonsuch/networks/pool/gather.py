"""A search that the pool's own node asks for: all that its miners find, gathered into one answer.

To whoever owns it a pool is one large processor. `LOCAL` hands it a `Search`, as a core does its
driver, hears `Advanced` and in the end `Searched`, and takes it back with `Cancel`. That is how a
relay (`relay`) works for the pool above it.

A miner's shard is evidence at a limit that its own size gives, and a gathering job is larger than
its shards: so what it asks for is among what they owe, and the rest is left out. Every share was
hashed here, so one that was named by a miner that is caught later is still one; its shards are
searched again for those that it kept back.
"""

from __future__ import annotations

from collections.abc import Iterable

from nonsuch.node import Search, Searched
from nonsuch.work.goals import First, Shares
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

__all__ = ["Gather"]


class Gather:
    """What a job is to bring home, and what it has so far.

    `limit` says which nonces are wanted; without one it is the job's answer alone. There are no
    more of them than physics gives: who asks sees to that, as a miner does with its leases.
    """

    __slots__ = ("_shares", "limit", "nonces", "target", "task")

    def __init__(self, search: Search) -> None:
        goal = search.goal
        self.task = search.task
        self.nonces = search.nonces
        self.limit: Target | None = None
        self.target: Target | None = None
        if isinstance(goal, Shares):
            self.limit, self.target = goal.limit, goal.until
        elif isinstance(goal, First):
            self.target = goal.target
        self._shares: set[int] = set()

    def take(self, puzzle: Puzzle, shares: Iterable[int]) -> None:
        """Keep those of these nonces of the job that are wanted; the others are no harm."""
        if self.limit is None:
            return
        shares = tuple(shares)
        for nonce, digest in zip(shares, puzzle.digests(shares), strict=True):
            if self.limit.admits(puzzle.rank(digest)):
                self._shares.add(nonce)

    def searched(self, answer: int | None) -> Searched:
        """What is to be said of the whole job, whose answer is this.

        With a target the search ended at the first nonce that meets it, which comes last.
        """
        hit = None if self.target is None else answer
        stop = self.nonces.stop if hit is None else hit + 1
        named = {nonce for nonce in self._shares if nonce < stop}
        if answer is not None and (self.limit is None or hit is not None):
            named.add(answer)
        return Searched(self.task, stop, tuple(sorted(named)))
