"""One block, one datagram: `{"data": base64, "previous": 64 hex, "p_o_w": 16 hex}` in JSON.

*Any bytes give one announcement or RemoteProtocolError, and never anything else.* What costs least
is looked at first: the size, the JSON, the lengths. Some programs name the second field
`previous_hash`; both are read, and `previous` is written, in this order and with these separators.
"""

from __future__ import annotations

import binascii

import msgspec

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.gossip.messages import DATA_BYTES_MAX, NONCE_SIZE, Announcement
from nonsuch.work.presets import PARENT_SIZE

__all__ = ["DATAGRAM_BYTES_MAX", "GossipWire"]

DATAGRAM_BYTES_MAX = 8192
"""The longest block takes 5,585 bytes; other names, and white space, may add to that."""

BASE64_CHARACTERS_MAX = (DATA_BYTES_MAX + 2) // 3 * 4


class _Form(msgspec.Struct, gc=False):
    data: str
    p_o_w: str
    previous: str | None = None
    previous_hash: str | None = None


_decoder = msgspec.json.Decoder(_Form)


class GossipWire:
    """Blocks to datagrams and back. It remembers nothing."""

    __slots__ = ()

    name = "gossip"

    def encode(self, message: object) -> bytes:
        """The datagram of an announcement."""
        assert isinstance(message, Announcement)
        data = binascii.b2a_base64(message.data, newline=False).decode()
        previous, p_o_w = message.previous.hex(), message.p_o_w.hex()
        return f'{{"data": "{data}", "previous": "{previous}", "p_o_w": "{p_o_w}"}}'.encode()

    def feed(self, data: bytes) -> list[object]:
        """The one announcement of a datagram. Raises `RemoteProtocolError` where it is none."""
        if len(data) > DATAGRAM_BYTES_MAX:
            raise RemoteProtocolError(f"a datagram of {len(data)} bytes")
        try:
            form = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteProtocolError(f"no block: {error}") from None
        previous = form.previous if form.previous is not None else form.previous_hash
        if previous is None:
            raise RemoteProtocolError("a block without its parent")
        if len(form.data) > BASE64_CHARACTERS_MAX:
            raise RemoteProtocolError(f"data of more than {DATA_BYTES_MAX} bytes")
        return [
            Announcement(
                _unwrapped(form.data),
                _hexadecimal(previous, PARENT_SIZE, "a parent"),
                _hexadecimal(form.p_o_w, NONCE_SIZE, "a p_o_w"),
            )
        ]


def _unwrapped(text: str) -> bytes:
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # also for what is not ASCII
        raise RemoteProtocolError(f"data that is no base64: {error}") from None
    if len(data) > DATA_BYTES_MAX:
        raise RemoteProtocolError(f"data of {len(data)} bytes, where {DATA_BYTES_MAX} are allowed")
    return data


def _hexadecimal(text: str, size: int, what: str) -> bytes:
    try:
        # `unhexlify`, unlike `bytes.fromhex`, takes no white space.
        value = binascii.unhexlify(text)
    except ValueError:
        raise RemoteProtocolError(f"{what} that is no hexadecimal number") from None
    if len(value) != size:
        raise RemoteProtocolError(f"{what} of {len(value)} bytes, where it has {size}")
    return value
