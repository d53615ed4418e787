"""How a gossip miner behaves: one frozen record, from the command line, a test or a simulation."""

from __future__ import annotations

import msgspec

from nonsuch.errors import LocalError
from nonsuch.work.presets import GOSSIP_TARGET, PARENT_SIZE
from nonsuch.work.target import Target

__all__ = ["GossipSettings"]


class GossipSettings(msgspec.Struct, frozen=True):
    """Every number that a gossip miner lives by. Times are seconds."""

    name: str = "miner"
    """What its counted payloads begin with."""

    target: Target = GOSSIP_TARGET
    """What the hash of a block must not be above. All miners of a network have the same."""

    genesis: bool = False
    """Make the genesis block, where there is no chain yet."""

    genesis_data: bytes = b"genesis"
    """What a genesis block of its own holds."""

    genesis_hash: bytes | None = None
    """The only genesis that is believed; None lets most work decide."""

    counts: bool = True
    """Without a payload to mine, mine a counted one; else wait for the next."""

    mines: bool = True
    """Without, it only listens, keeps and relays."""

    block_seconds: float = 0.0
    """The least time between two blocks of its own; 0 for as fast as they are found."""

    echo_seconds: float = 1.0
    """How often it says where it stands, unasked."""

    def __post_init__(self) -> None:
        if self.genesis_hash is not None and len(self.genesis_hash) != PARENT_SIZE:
            raise LocalError(f"a genesis hash has {2 * PARENT_SIZE} hex digits")
        if not 0 < self.echo_seconds < float("inf"):
            raise LocalError("echo seconds must be above 0")
        if not 0 <= self.block_seconds < float("inf"):
            raise LocalError("block seconds must be 0 or more")
