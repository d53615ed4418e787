"""Framed messages: a length of four bytes, big-endian, then one message in MessagePack.

*Any bytes in any segmentation give messages, a wait for more, or RemoteProtocolError, and never
anything else.* What is decoded has the right types and sizes (a network's messages say them), and
still may be a lie.

The length is checked before anything is kept, against a bound that the peer earns: a stranger may
say less than one that has said hello. So what a connection can hold is one frame of that length.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from nonsuch.errors import RemoteProtocolError

__all__ = ["LENGTH_BYTES", "FrameWire"]

LENGTH_BYTES = 4

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()


class FrameWire(Generic[M]):
    """One end of one connection that speaks in frames.

    `decoder` knows the messages; a frame may have `frame_bytes_max` bytes, its length not counted.
    Each message of one of the classes `earning` sets that bound anew, to what `_earned` says.
    """

    __slots__ = ("_buffer", "_decode", "_earning", "_error", "_frame_bytes_max")

    name = ""

    def __init__(
        self, decoder: msgspec.msgpack.Decoder[M], frame_bytes_max: int, *earning: type[M]
    ) -> None:
        self._buffer = b""
        self._decode = decoder.decode
        self._error: RemoteProtocolError | None = None
        self._frame_bytes_max = frame_bytes_max
        self._earning = earning

    def encode(self, message: object) -> bytes:
        """The bytes of a message."""
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
            try:
                message = self._decode(buffer[begin:position])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise self._break(f"no message: {error}") from None
            if type(message) in self._earning:
                self._frame_bytes_max = self._earned(message)
            messages.append(message)
        self._buffer = buffer[position:]
        return messages

    def _earned(self, _message: M) -> int:
        """Bytes that a frame may have after this: as before, unless a wire says otherwise."""
        return self._frame_bytes_max

    def _break(self, reason: str) -> RemoteProtocolError:
        self._error = RemoteProtocolError(reason)
        self._buffer = b""
        return self._error
