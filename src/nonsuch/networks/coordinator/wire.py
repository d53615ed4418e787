"""Bare headers in both directions: 108 bytes, and then the next 108, without length or type.

*Any bytes are headers, however they are cut*, and the wire refuses nothing: what is garbage turns
out when it is hashed, and costs its sender then. What a wire alone can see is that a header has
begun and does not end. It says `Half` when that is so; how long it may be so, the core decides.
"""

from __future__ import annotations

from nonsuch.networks.coordinator.header import HEADER_BYTES, Header
from nonsuch.networks.coordinator.messages import Half

__all__ = ["HeaderWire"]


class HeaderWire:
    """One end of one connection; both ends are alike."""

    __slots__ = ("_rest",)

    name = "coordinator"

    def __init__(self) -> None:
        self._rest = b""

    def encode(self, message: object) -> bytes:
        """The bytes of a header; there are no words for anything else."""
        return message.data if isinstance(message, Header) else b""

    def feed(self, data: bytes) -> list[object]:
        """The headers that are complete, and `Half` where one has begun since."""
        whole = len(self._rest) + len(data) >= HEADER_BYTES
        buffer = self._rest + data if self._rest else data
        end = len(buffer) - len(buffer) % HEADER_BYTES
        messages: list[object] = [
            Header(buffer[at : at + HEADER_BYTES]) for at in range(0, end, HEADER_BYTES)
        ]
        begins = whole or not self._rest
        self._rest = buffer[end:]
        if self._rest and begins:
            messages.append(Half())
        return messages
