"""The rules that blocks must keep: one class of error a rule, one function a rule.

What is the same in every ledger is here; what a ledger has of its own derives from `InvalidBlock`
where the ledger is. A rule is checked at the earliest place where it can be: size and work before a
block may wait for its parent, what depends on the parent when that is known, in `validate` of the
`BlockTree`. `rule` is the name by which log lines and metrics count.

An honest peer checks before it relays, so all of these cost a peer its budget, but one: a timestamp
is too new by our clock, and it may be ours that is wrong.

**Roots.** The hash over a list of transactions is the Merkle tree hash of RFC 6962. Leaves and
nodes are hashed with different prefixes, so that a node can never be shown as a leaf, and an odd
node moves up as it is. Bitcoin does neither: there, a list and the same list with its end repeated
have one root (CVE-2012-2459).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import islice
from typing import ClassVar

from nonsuch.errors import RemoteError, shown
from nonsuch.work.target import Target

__all__ = [
    "AHEAD_SECONDS_MAX",
    "MEDIAN_BLOCKS",
    "DoubleTransaction",
    "InsufficientWork",
    "InvalidBlock",
    "TimestampTooNew",
    "TimestampTooOld",
    "TooLarge",
    "WrongGenesis",
    "WrongParent",
    "WrongRoot",
    "WrongTarget",
    "WrongVersion",
    "check_genesis",
    "check_parent",
    "check_root",
    "check_size",
    "check_target",
    "check_timestamp",
    "check_unique",
    "check_work",
    "merkle_root",
]

MEDIAN_BLOCKS = 11
"""Bitcoin Core, nMedianTimeSpan: six of eleven miners must lie before this median does."""

AHEAD_SECONDS_MAX = 2 * 60 * 60
"""Bitcoin Core, MAX_FUTURE_BLOCK_TIME: how far a miner's clock may be ahead of ours."""

LEAF = b"\x00"
NODE = b"\x01"
"""RFC 6962, section 2.1: what is hashed before a leaf, and before two nodes."""


class InvalidBlock(RemoteError):
    """A block breaks a rule. `rule` is its name, as log lines and metrics show it."""

    rule: ClassVar[str] = "block"
    cost: ClassVar[int] = 1000


class InsufficientWork(InvalidBlock):
    """The hash does not meet the target."""

    rule = "work"


class WrongVersion(InvalidBlock):
    """A block by rules that are not ours."""

    rule = "version"


class WrongTarget(InvalidBlock):
    """The target is not the one that this place in the chain asks for."""

    rule = "target"


class WrongGenesis(InvalidBlock):
    """A first block, and not the one that this chain begins with."""

    rule = "genesis"


class WrongParent(InvalidBlock):
    """The block follows another one than it must."""

    rule = "parent"


class WrongRoot(InvalidBlock):
    """The root that was hashed is not the root of the transactions that came with it."""

    rule = "root"


class DoubleTransaction(InvalidBlock):
    """One transaction is there twice."""

    rule = "double"


class TooLarge(InvalidBlock):
    """The block takes more bytes than any may."""

    rule = "size"


class TimestampTooOld(InvalidBlock):
    """The block says that it was found no later than those before it."""

    rule = "old"


class TimestampTooNew(InvalidBlock):
    """The block comes from the future. It may be our clock that is wrong, so it costs nothing."""

    rule = "new"
    cost: ClassVar[int] = 0


def check_work(rank: int, target: Target) -> None:
    """Raise `InsufficientWork` unless the target admits a hash of this rank (`Puzzle.rank`)."""
    if not target.admits(rank):
        raise InsufficientWork(f"the hash {rank:064x} is above the target {target}")


def check_target(target: Target, wanted: Target) -> None:
    """Raise `WrongTarget` unless a block's target is the one that its chain's rule says."""
    if target != wanted:
        raise WrongTarget(f"the target is {target}, and must be {wanted}")


def check_genesis(genesis: bytes, wanted: bytes) -> None:
    """Raise `WrongGenesis` unless a first block's id is that of the chain we are on."""
    if genesis != wanted:
        raise WrongGenesis(f"the chain begins with {genesis.hex()}, and must with {wanted.hex()}")


def check_parent(parent: bytes, wanted: bytes) -> None:
    """Raise `WrongParent` unless a block names the parent that it must follow."""
    if parent != wanted:
        raise WrongParent(f"the block follows {parent.hex()}, and must follow {wanted.hex()}")


def check_size(size: int, maximum: int) -> None:
    """Raise `TooLarge` where a block takes more than `maximum` bytes."""
    if size > maximum:
        raise TooLarge(f"the block takes {size} bytes; at most {maximum} are allowed")


def check_timestamp(
    timestamp: int,
    ancestor_timestamps: Iterable[int],
    now_timestamp: float,
    *,
    ahead_seconds_max: int = AHEAD_SECONDS_MAX,
) -> None:
    """A block is later than the median of those before it, and not from the future.

    All are Unix seconds; `ancestor_timestamps` come newest first, and only `MEDIAN_BLOCKS` are
    read. Raises `TimestampTooOld` and `TimestampTooNew`. Source: Bitcoin Core, src/validation.cpp,
    ContextualCheckBlockHeader; `GetMedianTimePast` takes the later of two middle ones.
    """
    past = sorted(islice(ancestor_timestamps, MEDIAN_BLOCKS))
    if past and timestamp <= past[len(past) // 2]:
        raise TimestampTooOld(
            f"the timestamp {shown(timestamp)} is not after {past[len(past) // 2]},"
            f" the median of the {len(past)} blocks before"
        )
    if timestamp > now_timestamp + ahead_seconds_max:
        raise TimestampTooNew(
            f"the timestamp {shown(timestamp)} is more than {ahead_seconds_max} s after"
            f" {now_timestamp:.0f}, the time here"
        )


def check_unique(keys: Collection[Hashable]) -> None:
    """Raise `DoubleTransaction` where a key occurs twice."""
    if len(set(keys)) < len(keys):
        raise DoubleTransaction("a transaction is there twice")


def check_root(root: bytes, leaves: Sequence[bytes]) -> None:
    """Raise `WrongRoot` unless `root` is the `merkle_root` of these transactions."""
    right = merkle_root(leaves)
    if root != right:
        raise WrongRoot(f"the root is {root.hex()}, and that of the transactions {right.hex()}")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The 32 bytes of RFC 6962's Merkle tree hash, section 2.1, of leaves of any length."""
    if not leaves:
        return hashlib.sha256().digest()
    sha256 = hashlib.sha256
    nodes = [sha256(LEAF + leaf).digest() for leaf in leaves]
    count = len(nodes)
    while count > 1:
        # The RFC splits from the top, at a power of two; in pairs from the bottom is the same.
        # Each level takes the place of the beginning of the one below.
        pairs = count // 2
        for at in range(pairs):
            nodes[at] = sha256(NODE + nodes[2 * at] + nodes[2 * at + 1]).digest()
        if count % 2:
            nodes[pairs] = nodes[count - 1]
            pairs += 1
        count = pairs
    return nodes[0]
