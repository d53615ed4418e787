"""Our own wire: the frames of `frames.py`, and how long one may be.

A miner's messages are small, only a client's carry a puzzle, and before its hello nobody has earned
more than `HELLO_BYTES_MAX`. So a thousand strangers who each announce a long frame cost four
megabytes. The beat of a miner with many slots names many leases: it earns what they need.
"""

from __future__ import annotations

import msgspec

from nonsuch.frames import LENGTH_BYTES, FrameWire
from nonsuch.networks.pool.messages import MESSAGE_BYTES_MAX, Capacity, Hello, Message, leases_max

__all__ = ["FRAME_BYTES_MAX", "HELLO_BYTES_MAX", "LENGTH_BYTES", "PoolWire"]

HELLO_BYTES_MAX = 4096
"""A hello with the longest token and name takes a quarter of it."""

MINER_BYTES_MAX = 8192
"""A result of 256 shares, nine bytes each, takes a third of it."""

BEAT_BYTES = 32
NUMBER_BYTES = 9
"""A beat without leases, and each lease that it names, at the most."""

FRAME_BYTES_MAX = 3 * MESSAGE_BYTES_MAX
"""A prefix and a suffix of the greatest length, and room for the rest."""

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class PoolWire(FrameWire[Message]):
    """One end of one connection. `accepts_puzzles` is true at the end that a pool talks to."""

    __slots__ = ()

    name = "nonsuch"

    def __init__(self, *, accepts_puzzles: bool) -> None:
        frame_bytes_max = FRAME_BYTES_MAX if accepts_puzzles else HELLO_BYTES_MAX
        super().__init__(_decoder, frame_bytes_max, Hello, Capacity)

    def _earned(self, message: Message) -> int:
        match message:
            case Hello(role="client"):
                return FRAME_BYTES_MAX
            case Capacity(slots=slots) if self._frame_bytes_max > HELLO_BYTES_MAX:
                # Leases that it had before it had fewer slots are still to be named.
                wanted = BEAT_BYTES + leases_max(slots) * NUMBER_BYTES
                return max(self._frame_bytes_max, wanted)
            case Hello():
                return MINER_BYTES_MAX
            case _:
                return self._frame_bytes_max
