"""The two wires of a race: bare text for clients, frames between a node and a keeper.

Bare text has no end of its own. Whoever reads it hears each piece as it comes, and that the other
end has said all; where a transaction ends is for the node to decide, because it takes a clock.
"""

from __future__ import annotations

import msgspec

from nonsuch.errors import RemoteProtocolError
from nonsuch.frames import FrameWire
from nonsuch.networks.race.messages import (
    TRANSACTION_BYTES_MAX,
    End,
    Fragment,
    Hello,
    Message,
    Reply,
)

__all__ = [
    "ANSWER_BYTES_MAX",
    "QUESTION_BYTES_MAX",
    "REPLY_BYTES_MAX",
    "ClientWire",
    "KeeperWire",
    "TextWire",
]

REPLY_BYTES_MAX = 4096
"""A node answers in one line."""

ANSWER_BYTES_MAX = 4096
"""A hello, or any answer, with the longest texts takes a quarter of it."""

QUESTION_BYTES_MAX = TRANSACTION_BYTES_MAX + 4096
"""What a node asks may hold a transaction."""

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class TextWire:
    """A node's end of a connection to a client. It holds nothing."""

    __slots__ = ()

    name = "text"

    def feed(self, data: bytes) -> list[object]:
        """Take bytes as they came, and say so."""
        return [Fragment(data)] if data else []

    def end(self) -> list[object]:
        """The client has closed its half."""
        return [End()]

    def encode(self, message: object) -> bytes:
        """The bytes of a reply; none for anything else."""
        return message.text.encode() if isinstance(message, Reply) else b""


class ClientWire:
    """A client's end. The reply is all that comes until the node hangs up."""

    __slots__ = ("_buffer",)

    name = "text"

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[object]:
        """Take bytes as they came. Raises `RemoteProtocolError` for more than a reply."""
        if len(self._buffer) + len(data) > REPLY_BYTES_MAX:
            self._buffer = bytes(REPLY_BYTES_MAX)  # However little comes next, it is too much.
            raise RemoteProtocolError(f"a reply of more than {REPLY_BYTES_MAX} bytes")
        self._buffer += data
        return []

    def end(self) -> list[object]:
        """The node has said all."""
        text, self._buffer = self._buffer.decode(errors="replace"), b""
        return [Reply(text)]

    def encode(self, message: object) -> bytes:
        """The bytes of a piece of a transaction; none for anything else."""
        return message.data if isinstance(message, Fragment) else b""


class KeeperWire(FrameWire[Message]):
    """One end of one connection; `dialled` at the end that has called the other, a node's."""

    __slots__ = ()

    name = "nonsuch"

    def __init__(self, *, dialled: bool) -> None:
        super().__init__(_decoder, ANSWER_BYTES_MAX, *(() if dialled else (Hello,)))

    def _earned(self, _message: Message) -> int:
        return QUESTION_BYTES_MAX
