"""What agents are given to solve on one tip, so that no two of them ever try the same.

Headers for one tip differ in three things: when they were issued, the nonce that the search begins
at, and the Merkle root. Each agent has a *place*, a small number that is its own while it is there.
The 32 bits of nonces are cut into equal strides, and places have one each; when there are more
places than strides, the next ones get another root, and the same strides again.

A stride is at least `STRIDE_WORKS` times as long as a solution is expected to take, so that an
agent finds one within its own, but for once in e**64 times. At the stock target 2048 agents share a
root. From 2**26 hashes a block on each agent has a root, and all nonces, to itself.

**Roots.** There are no transactions. The root commits to what a coinbase would: SHA-256 of SHA-256
of the height and the extranonce, 8 bytes each and big-endian, and the coordinator's name. As in
Bitcoin, the root of a tree of one leaf is that leaf. Extranonces begin at a number drawn for each
life of the coordinator, so that it does not repeat itself after a restart.

**What comes back** must be for this tip, with a root that was issued for it, and dated no earlier
than the first header that was, and no later than our clock and some allowance: who has tried all
nonces may date a header anew. What is remembered of all this is a root for each place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from nonsuch.chain.validation import TimestampTooNew, TimestampTooOld, WrongRoot, check_parent
from nonsuch.networks.coordinator.header import (
    NONCE_BYTES,
    NONCE_COUNT,
    TIMESTAMP_MAX,
    Header,
    sha256d,
)
from nonsuch.networks.coordinator.ledger import Ledger
from nonsuch.networks.coordinator.settings import CoordinatorSettings

__all__ = [
    "EXTRANONCE_BYTES",
    "STRIDES_MAX",
    "STRIDE_WORKS",
    "DatedAhead",
    "Template",
    "merkle_root",
]

STRIDES_MAX = 2048
"""Agents that share a root: at the stock target their strides are as short as they may be."""

STRIDE_WORKS = 64
"""A stride is so many times the expected work."""

NUMBER_BYTES = 8
EXTRANONCE_BYTES = NUMBER_BYTES


class DatedAhead(TimestampTooNew):
    """An answer is dated further ahead of us than agents may.

    They count from a time that we wrote, so their own clocks are no excuse.
    """

    cost: ClassVar[int] = 100


def merkle_root(name: str, height: int, extranonce: int) -> bytes:
    """The root of a block without transactions."""
    numbers = height.to_bytes(NUMBER_BYTES, "big") + extranonce.to_bytes(EXTRANONCE_BYTES, "big")
    return sha256d(numbers + name.encode(errors="replace"))


class Template:
    """The next block of a ledger, but for what differs; `first_extranonce` is that of place 0."""

    def __init__(
        self, settings: CoordinatorSettings, ledger: Ledger, first_extranonce: int
    ) -> None:
        self._settings = settings
        self.parent = ledger.tip
        self.height = ledger.height + 1
        self.target = ledger.target
        self.strides = _strides(ledger.target.work)
        self._stride_nonces = NONCE_COUNT // self.strides
        self._first_extranonce = first_extranonce
        self._roots: dict[int, bytes] = {}
        self._issued: set[bytes] = set()
        self._first_timestamp: int | None = None
        self._timestamp = ledger.earliest

    def issue(self, places: Iterable[int], unix: float) -> Iterator[Header]:
        """A header for each of these places, dated `unix`, or as early after it as may be."""
        self._timestamp = min(max(self._timestamp, int(unix)), TIMESTAMP_MAX)
        if self._first_timestamp is None:
            self._first_timestamp = self._timestamp
        heads: dict[int, bytes] = {}
        for place in places:
            group, stride = divmod(place, self.strides)
            head = heads.get(group)
            if head is None:
                head = heads[group] = self._head(group)
            nonce = stride * self._stride_nonces
            yield Header(head + nonce.to_bytes(NONCE_BYTES, "little"))

    def _head(self, group: int) -> bytes:
        """All of a header but its nonce."""
        root = self._roots.get(group)
        if root is None:
            name, extranonce = self._settings.name, self._first_extranonce + group
            root = self._roots[group] = merkle_root(name, self.height, extranonce)
            self._issued.add(root)
        version, timestamp = self._settings.version, self._timestamp
        header = Header.of(version, self.parent, root, timestamp, self.target, 0)
        return header.data[:-NONCE_BYTES]

    def check(self, header: Header, unix: float) -> None:
        """An answer is for what was issued.

        Raises `WrongParent`, `WrongRoot`, `TimestampTooOld`, `DatedAhead`.
        """
        check_parent(header.parent, self.parent)
        first, timestamp = self._first_timestamp, header.timestamp
        if first is None or header.root not in self._issued:
            raise WrongRoot(f"the root {header.root.hex()} was not issued for this block")
        if timestamp < first:
            raise TimestampTooOld(f"the timestamp {timestamp} is before {first}, the first issued")
        ahead_seconds_max = self._settings.ahead_seconds_max
        # Our own headers may be ahead of our clock, where it was set back.
        if timestamp > max(unix + ahead_seconds_max, self._timestamp):
            raise DatedAhead(
                f"the timestamp {timestamp} is more than {ahead_seconds_max} s after {unix:.0f}"
            )

    def check_invariants(self) -> None:
        """Assert them."""
        assert len(self._issued) == len(self._roots) <= self._settings.agents_max
        assert self.strides * self._stride_nonces == NONCE_COUNT
        assert self._first_timestamp is not None or not self._roots


def _strides(work: int) -> int:
    """How many agents share a root, a power of two."""
    fit = NONCE_COUNT // (STRIDE_WORKS * work)
    return min(STRIDES_MAX, 1 << max(0, fit.bit_length() - 1))
