"""Frames for any messages; `networks/pool/test_wire.py` tests the rest through one user of them."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import RemoteProtocolError
from nonsuch.frames import LENGTH_BYTES, FrameWire


class Greeting(msgspec.Struct, frozen=True, tag="greeting", array_like=True):
    trusted: bool = False


class Tale(msgspec.Struct, frozen=True, tag="tale", array_like=True):
    text: str = ""


Said = Greeting | Tale
decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)

STRANGER_BYTES, FRIEND_BYTES = 16, 1000


class TaleWire(FrameWire[Said]):
    def __init__(self) -> None:
        super().__init__(decoder, STRANGER_BYTES, Greeting)

    def _earned(self, hello: Said) -> int:
        trusted = isinstance(hello, Greeting) and hello.trusted
        return FRIEND_BYTES if trusted else STRANGER_BYTES


def encoded(*said: Said) -> bytes:
    return b"".join(TaleWire().encode(message) for message in said)


SHORT, LONG = Tale("x"), Tale("x" * 500)


def test_a_stranger_says_little_and_a_friend_much() -> None:
    assert TaleWire().feed(encoded(SHORT, Greeting(True), LONG)) == [SHORT, Greeting(True), LONG]
    for before in (SHORT, Greeting(False)):
        with pytest.raises(RemoteProtocolError, match="where 16 are allowed"):
            TaleWire().feed(encoded(before, LONG))


def test_what_was_earned_can_be_lost() -> None:
    with pytest.raises(RemoteProtocolError, match="where 16 are allowed"):
        TaleWire().feed(encoded(Greeting(True), LONG, Greeting(False), LONG))


def test_without_a_hello_the_bound_stays() -> None:
    wire = FrameWire(decoder, STRANGER_BYTES)
    assert wire.feed(encoded(Greeting(True))) == [Greeting(True)]
    with pytest.raises(RemoteProtocolError, match="where 16 are allowed"):
        wire.feed(encoded(LONG))


@given(
    st.lists(st.builds(Tale, st.text(max_size=2)) | st.builds(Greeting, st.booleans())), st.data()
)
def test_segmentation_does_not_matter(said: list[Said], data: st.DataObject) -> None:
    stream = encoded(*said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    wire = TaleWire()
    assert [message for piece in pieces for message in wire.feed(piece)] == said


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_are_messages_a_wait_or_an_error_for_ever(first: bytes, second: bytes) -> None:
    wire = TaleWire()
    try:
        wire.feed(first)
        wire.feed(second)
    except RemoteProtocolError as error:
        reason = re.escape(str(error))
        with pytest.raises(RemoteProtocolError, match=f"^{reason}$"):
            wire.feed(b"")
    assert len(wire._buffer) < LENGTH_BYTES + FRIEND_BYTES
