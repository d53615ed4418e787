"""Our own wire: a length of four bytes, big-endian, then one message in MessagePack.

*Any bytes in any segmentation give messages, a wait for more, or RemoteProtocolError, and never
anything else.* What is decoded has the right types and sizes (`messages.py` says them), and still
may be a lie.

The length is checked before anything is kept, against a bound that fits the sender: a miner's
messages are small, only a client's carry a puzzle, and before its hello nobody has earned more than
`HELLO_BYTES_MAX`. So a thousand strangers who each announce a long frame cost four megabytes.
"""

from __future__ import annotations

import msgspec

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.pool.messages import MESSAGE_BYTES_MAX, Hello, Message

__all__ = ["FRAME_BYTES_MAX", "HELLO_BYTES_MAX", "LENGTH_BYTES", "PoolWire"]

LENGTH_BYTES = 4

HELLO_BYTES_MAX = 4096
"""A hello with the longest token and name takes a quarter of it."""

MINER_BYTES_MAX = 8192
"""A result of 256 shares, nine bytes each, takes a third of it."""

FRAME_BYTES_MAX = 3 * MESSAGE_BYTES_MAX
"""A prefix and a suffix of the greatest length, and room for the rest."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class PoolWire:
    """One end of one connection. `accepts_puzzles` is true at the end that a pool talks to."""

    __slots__ = ("_buffer", "_error", "_frame_bytes_max")

    name = "nonsuch"

    def __init__(self, *, accepts_puzzles: bool) -> None:
        self._buffer = b""
        self._error: RemoteProtocolError | None = None
        self._frame_bytes_max = FRAME_BYTES_MAX if accepts_puzzles else HELLO_BYTES_MAX

    def encode(self, message: object) -> bytes:
        """The bytes of a message of `messages.py`."""
        body = _encoder.encode(message)
        return len(body).to_bytes(LENGTH_BYTES, "big") + body

    def feed(self, data: bytes) -> list[object]:
        """Take bytes as they came; return the messages that are complete.

        Raises `RemoteProtocolError`, now and for ever after, for what is no message.
        """
        if self._error is not None:
            raise self._error
        buffer = self._buffer + data if self._buffer else data
        messages: list[object] = []
        position = 0
        while len(buffer) - position >= LENGTH_BYTES:
            begin = position + LENGTH_BYTES
            length = int.from_bytes(buffer[position:begin], "big")
            if length > self._frame_bytes_max:
                raise self._break(
                    f"a frame of {length} bytes, where {self._frame_bytes_max} are allowed"
                )
            if len(buffer) - begin < length:
                break
            position = begin + length
            messages.append(self._decode(buffer[begin:position]))
        self._buffer = buffer[position:]
        return messages

    def _decode(self, body: bytes) -> Message:
        try:
            message = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._break(f"no message: {error}") from None
        if isinstance(message, Hello):
            self._frame_bytes_max = FRAME_BYTES_MAX if message.role == "client" else MINER_BYTES_MAX
        return message

    def _break(self, reason: str) -> RemoteProtocolError:
        self._error = RemoteProtocolError(reason)
        self._buffer = b""
        return self._error
