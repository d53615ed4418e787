"""The puzzles that programs already agree on, each a preset of the same `Puzzle`.

| preset      | preimage                             | hash    | nonce             | rank          |
|-------------|--------------------------------------|---------|-------------------|---------------|
| plain       | message, nonce                       | sha256  | decimal           | big-endian    |
| liteminer   | message, one space, nonce            | sha256  | decimal           | first 64 bits |
| race        | transaction, nonce                   | sha256  | decimal           | big-endian    |
| gossip      | data, 32 bytes of parent hash, nonce | sha256  | 8 bytes, big      | big-endian    |
| coordinator | 108-byte header, nonce at 104        | sha256d | 4 bytes, little   | big-endian    |
| bitcoin     | 80-byte header, nonce at 76          | sha256d | 4 bytes, little   | little-endian |
| peer        | nonce**2 - previous proof**2         | sha256  | square difference | big-endian    |

A `Preset` builds a puzzle from one message, as a command line or a job has it, and knows the target
that its network asks for. Sources: LiteMiner (a course project in Go), COM-402 homework 9 (gossip),
COMP3221 (peer), Bitcoin's protocol documentation ("Block Headers").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nonsuch.errors import LocalError
from nonsuch.work.nonce import Decimal, Raw, SquareDifference
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

__all__ = [
    "PRESETS",
    "Preset",
    "bitcoin",
    "coordinator",
    "gossip",
    "liteminer",
    "peer",
    "plain",
    "race",
]

LITEMINER_RANK_BITS = 64
RACE_TARGET = Target.from_zero_digits(4)
GOSSIP_TARGET = Target(2**235)
PEER_TARGET = Target.from_zero_digits(2)
PEER_GENESIS_PROOF = 100

PARENT_SIZE = 32
PROOF_DIGITS_MAX = 20
HEADER_NONCE_SIZE = 4
BITCOIN_HEADER_SIZE = 80
BITCOIN_BITS_OFFSET = 72
COORDINATOR_HEADER_SIZE = 108
COORDINATOR_TARGET_OFFSET = 72


def plain(message: bytes) -> Puzzle:
    """Nonsuch's own: the message followed by the nonce in decimal, all 256 bits compared."""
    return Puzzle(prefix=message, nonce=Decimal())


def liteminer(message: bytes) -> Puzzle:
    """The message, one space, the decimal nonce; the first 64 bits of the digest compared."""
    return Puzzle(prefix=message + b" ", nonce=Decimal(), rank_bits=LITEMINER_RANK_BITS)


def race(transaction: bytes) -> Puzzle:
    """The transaction followed by the decimal nonce; the network asks for four zero digits."""
    return Puzzle(prefix=transaction, nonce=Decimal())


def gossip(data: bytes, parent: bytes = bytes(PARENT_SIZE)) -> Puzzle:
    """Data of any length, the parent's 32-byte hash (zeros for genesis), eight nonce bytes.

    Raises `LocalError` where the parent is not 32 bytes.
    """
    if len(parent) != PARENT_SIZE:
        raise LocalError(f"a parent hash has {PARENT_SIZE} bytes, not {len(parent)}")
    return Puzzle(prefix=data + parent, nonce=Raw(8, "big"))


def coordinator(header: bytes) -> Puzzle:
    """A coordinator's header of 108 bytes (its nonce is disregarded) or its first 104."""
    prefix = _header_prefix(header, COORDINATOR_HEADER_SIZE)
    return Puzzle(prefix=prefix, nonce=Raw(HEADER_NONCE_SIZE, "little"), hash="sha256d")


def bitcoin(header: bytes) -> Puzzle:
    """A Bitcoin block header of 80 bytes (its nonce is disregarded) or its first 76."""
    prefix = _header_prefix(header, BITCOIN_HEADER_SIZE)
    nonce = Raw(HEADER_NONCE_SIZE, "little")
    return Puzzle(prefix=prefix, nonce=nonce, hash="sha256d", order="little")


def peer(previous_proof: int) -> Puzzle:
    """COMP3221's rule over the previous block's proof; the network counts nonces from 1."""
    return Puzzle(nonce=SquareDifference(previous_proof))


@dataclass(frozen=True, slots=True)
class Preset:
    """One row of the table above, as a command line needs it.

    `build` makes the puzzle of a message, `target` the threshold its network would ask of that
    message, or None where the network only ever wants the lowest hash. Both raise `LocalError` for
    a message that the network could not have sent. `first_nonce` is where its searches begin.
    """

    name: str
    summary: str
    build: Callable[[bytes], Puzzle]
    target: Callable[[bytes], Target] | None = None
    first_nonce: int = 0


def _header_prefix(header: bytes, size: int) -> bytes:
    if len(header) not in (size, size - HEADER_NONCE_SIZE):
        raise LocalError(
            f"a header has {size} bytes, or {size - HEADER_NONCE_SIZE} without its nonce;"
            f" this one has {len(header)} (give hex digits with --hex, or a binary file)"
        )
    return header[: size - HEADER_NONCE_SIZE]


def _bitcoin_target(header: bytes) -> Target:
    prefix = _header_prefix(header, BITCOIN_HEADER_SIZE)
    return Target.from_bits(int.from_bytes(prefix[BITCOIN_BITS_OFFSET:], "little"))


def _coordinator_target(header: bytes) -> Target:
    prefix = _header_prefix(header, COORDINATOR_HEADER_SIZE)
    return Target(int.from_bytes(prefix[COORDINATOR_TARGET_OFFSET:], "big"))


def _peer_from_text(message: bytes) -> Puzzle:
    if not message.isdigit() or len(message) > PROOF_DIGITS_MAX:
        raise LocalError(
            f"the peer preset's message is the previous proof, a whole number such as"
            f" {PEER_GENESIS_PROOF}; {message[:40]!r} is not"
        )
    return peer(int(message))


def _gossip_from_parts(message: bytes) -> Puzzle:
    if len(message) < PARENT_SIZE:
        raise LocalError(
            f"the gossip preset's message is the data followed by the parent's {PARENT_SIZE}-byte"
            f" hash (zeros for genesis); this one has {len(message)} bytes (try --hex)"
        )
    return gossip(message[:-PARENT_SIZE], message[-PARENT_SIZE:])


_ALL = (
    Preset("plain", "message then decimal nonce; all 256 bits compared", plain),
    Preset("liteminer", "message, a space, decimal nonce; first 64 bits compared", liteminer),
    Preset("race", "transaction then decimal nonce; four zero digits", race, lambda _: RACE_TARGET),
    Preset(
        "gossip",
        "data and 32-byte parent, then 8 big-endian nonce bytes; target 2**235",
        _gossip_from_parts,
        lambda _: GOSSIP_TARGET,
    ),
    Preset(
        "coordinator",
        "108-byte header hashed twice; the target stands in the header",
        coordinator,
        _coordinator_target,
    ),
    Preset(
        "bitcoin",
        "80-byte block header hashed twice; the target stands in its bits",
        bitcoin,
        _bitcoin_target,
    ),
    Preset(
        "peer",
        "square of the nonce minus square of the previous proof; two zero digits",
        _peer_from_text,
        lambda _: PEER_TARGET,
        first_nonce=1,
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
