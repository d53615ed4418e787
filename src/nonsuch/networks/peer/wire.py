"""Our own wire: the frames of `frames.py`, and how long one may be.

Whoever was dialled may answer at length. Whoever dials in is a stranger until its hello, and only a
peer has more to say than a few lines.
"""

from __future__ import annotations

import msgspec

from nonsuch.frames import FrameWire
from nonsuch.networks.peer.messages import Hello, Message

__all__ = ["CLIENT_BYTES_MAX", "FRAME_BYTES_MAX", "PeerWire"]

CLIENT_BYTES_MAX = 4096
"""A hello or a transaction with the longest texts takes a quarter of it."""

FRAME_BYTES_MAX = 2**18
"""2,000 headers or 20,000 short keys take three quarters of it."""

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class PeerWire(FrameWire[Message]):
    """One end of one connection; `dialled` at the end that has called the other."""

    __slots__ = ()

    name = "nonsuch"

    def __init__(self, *, dialled: bool) -> None:
        super().__init__(_decoder, FRAME_BYTES_MAX if dialled else CLIENT_BYTES_MAX, Hello)

    def _earned(self, hello: Message) -> int:
        is_peer = isinstance(hello, Hello) and hello.role == "peer"
        return FRAME_BYTES_MAX if is_peer else self._frame_bytes_max
