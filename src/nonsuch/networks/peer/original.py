"""The network's original rule, for programs that know no other: its proofs commit to nothing.

A proof is the smallest n from 1 for which SHA-256 of the decimal text of n² − previous² begins with
two zero digits. It says nothing of the block that carries it. From the genesis proof, 100, the
proofs are 5, 33, 155, 389, 227, 81, 196, 375, 301, 82, 363, 24, 387, 183, and then 100 again, for
ever and on every chain: anyone can write any history, free of charge. A block's `current_hash` does
not help. It is a hash of texts run together, and some of those, the times at which transactions
came, are not in the block; so nobody can check it. Between peers of our own, `block.py` has the
rule whose proofs do commit.

Source: COMP3221's second assignment, and programs that were written for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from nonsuch.errors import LocalError
from nonsuch.networks.peer.dialects.messages import Block, Entry
from nonsuch.networks.peer.dialects.pickle import PICKLE
from nonsuch.networks.peer.dialects.text import TEXT
from nonsuch.work.presets import PEER_GENESIS_PROOF, PEER_TARGET, peer

__all__ = ["GENESIS_HASHES", "current_hash", "follows", "genesis", "next_proof", "proves"]

GENESIS_HASHES = {
    PICKLE: "The Times 03/Jan/2009 Chancellor on brink of second bailout for banks.",
    TEXT: "genesis",
}
"""What the first block of each dialect names as its parent's hash."""

GENESIS_INDEX = 1

PROOFS_MAX = 2**16
"""Proofs tried. One of 256 is good: that none of so many is has a chance of e**-256."""


def proves(previous: int, proof: int) -> bool:
    """Whether a proof is good after `previous`, both below 2**64; it need not be the smallest."""
    puzzle = peer(previous)
    return 1 <= proof < puzzle.nonce.count and PEER_TARGET.admits(puzzle.prove(proof).rank)


def next_proof(previous: int) -> int:
    """The smallest good proof after `previous`. Raises `LocalError` where there is none to find.

    It takes half a millisecond; a search of `presets.peer(previous)` from 1 finds the same.
    """
    puzzle = peer(previous)
    for proof in range(1, PROOFS_MAX):
        if PEER_TARGET.admits(puzzle.prove(proof).rank):
            return proof
    raise LocalError(f"no proof below {PROOFS_MAX} follows {previous}")


def current_hash(previous_hash: str, entries: Iterable[Entry | str], proof: int) -> str:
    """64 hex digits: SHA-256 of JSON of the parent's hash, the entries and the proof, joined.

    An entry of the pool is written as Python prints it, a pair of transaction and timestamp.
    """
    joined = previous_hash + "".join(str(entry) for entry in entries) + str(proof)
    return hashlib.sha256(json.dumps(joined).encode()).hexdigest()


def genesis(dialect: str, timestamp: str) -> Block:
    """The first block of a chain in a dialect: without transactions, of proof 100.

    Raises `LocalError` for a dialect of which this is not known.
    """
    if dialect not in GENESIS_HASHES:
        raise LocalError(f"dialects are {' and '.join(GENESIS_HASHES)}; {dialect!r} is none")
    previous_hash = GENESIS_HASHES[dialect]
    return Block(
        GENESIS_INDEX,
        timestamp,
        (),
        PEER_GENESIS_PROOF,
        previous_hash,
        current_hash(previous_hash, (), PEER_GENESIS_PROOF),
    )


def follows(parent: Block, block: Block) -> bool:
    """Whether a block may come after another: by index, by hash and by proof."""
    return (
        block.index == parent.index + 1
        and block.previous_hash == parent.current_hash
        and proves(parent.proof, block.proof)
    )
