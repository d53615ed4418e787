"""Feed the gossip wire datagrams that are almost valid.

    python -m fuzz.gossip --seconds 10 --seed 1

What must hold: any bytes give one announcement of the right sizes or RemoteProtocolError, never
anything else, and what was understood is understood again when it is sent on.
Where it does not hold, the input is printed in hex and the exit code is 1.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from random import Random

from fuzz.mutation import mutate, run
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.gossip.messages import DATA_BYTES_MAX, NONCE_SIZE, ROOT, Announcement
from nonsuch.networks.gossip.wire import DATAGRAM_BYTES_MAX, GossipWire

EDGES = tuple(b'"\\{}[]:,=+/ 0aFg\x00\x7f\x80\xc3\xff')
"""Bytes at which JSON, base64, hexadecimal and UTF-8 change their minds."""

PIECES = (b"\\u0030", b'"previous_hash": "', b'"data": ', b"[" * 1500, b"\xed\xa0\x80", b"1e999")


def fuzz_one(data: bytes) -> None:
    """Assert the sentence above for `data`."""
    try:
        messages = GossipWire().feed(data)
    except RemoteProtocolError:
        return
    (announcement,) = messages
    assert isinstance(announcement, Announcement)
    assert len(announcement.data) <= DATA_BYTES_MAX
    assert len(announcement.previous) == len(ROOT)
    assert len(announcement.p_o_w) == NONCE_SIZE
    again = GossipWire().encode(announcement)
    assert len(again) <= DATAGRAM_BYTES_MAX
    assert GossipWire().feed(again) == messages


def inputs(seed: int) -> Iterator[bytes]:
    """Valid datagrams with a few mutations each, without end; the same for the same seed."""
    random = Random(seed)
    while True:
        data = random.randbytes(random.choice((0, 1, 2, 3, 20, DATA_BYTES_MAX)))
        fields = {
            "data": base64.b64encode(data).decode(),
            random.choice(("previous", "previous_hash")): random.randbytes(32).hex(),
            "p_o_w": random.randbytes(NONCE_SIZE).hex(),
        }
        stream = bytearray(json.dumps(fields, indent=random.choice((None, 2))).encode())
        for _ in range(random.randrange(5)):
            mutate(stream, random, EDGES, PIECES)
        yield bytes(stream)


if __name__ == "__main__":
    sys.exit(run("the gossip wire", fuzz_one, inputs))
