"""Whole conversations in each dialect, byte for byte.

`tests/data/peer_sessions.json` says how they came about. Each request is fed to the wire of a
server's end, and what its peer says to it must be the bytes that stand there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from nonsuch.networks.peer.dialect import DialectPeer
from nonsuch.networks.peer.dialects.pickle import PickleServerWire
from nonsuch.networks.peer.dialects.text import TextServerWire
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import Connected, Received, Send, Started, Wire

SESSIONS = json.loads((Path(__file__).parents[2] / "data" / "peer_sessions.json").read_text())
WIRES: dict[str, Callable[[], Wire]] = {"pickle": PickleServerWire, "text": TextServerWire}
UNIX = 1_700_000_000.0
OTHER = 1


class Session:
    """One connection to a peer that stands still in time."""

    def __init__(self, dialect: str) -> None:
        self.wire = WIRES[dialect]()
        self.peer = DialectPeer(dialect, PeerSettings(mines=False), random.Random(0), UNIX)
        self.peer.handle(Started(), 0.0)
        self.peer.handle(Connected(OTHER, "127.0.0.1:5", dialect), 0.0)

    def hear(self, data: bytes) -> bytes:
        """What the peer answers to these bytes."""
        answered = b""
        for message in self.wire.feed(data):
            for effect in self.peer.handle(Received(OTHER, message), 0.0):
                if isinstance(effect, Send):
                    assert effect.peer == OTHER
                    answered += self.wire.encode(effect.message)
        return answered


@pytest.mark.parametrize("dialect", WIRES)
def test_a_conversation_is_the_same_byte_for_byte(dialect: str) -> None:
    session = Session(dialect)
    answered = b""
    for direction, data in SESSIONS["sessions"][dialect]:
        if direction == "in":
            assert answered == b"", "more was said than there should be"
            answered = session.hear(bytes.fromhex(data))
        else:
            assert answered == bytes.fromhex(data)
            answered = b""
    assert answered == b""


def test_a_conversation_in_pickles_may_come_cut_anywhere() -> None:
    session, said, wanted = Session("pickle"), b"", b""
    for direction, data in SESSIONS["sessions"]["pickle"]:
        if direction == "in":
            said += b"".join(session.hear(bytes([byte])) for byte in bytes.fromhex(data))
        else:
            wanted += bytes.fromhex(data)
    assert said == wanted
