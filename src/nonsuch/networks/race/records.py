"""What a node keeps on disk: which ledger it knows, and for each text what it has yet to do.

A text has a subject of its own and one record, which takes the place of the one before: how many of
its races are over, how many arrivals wait, and the claim that may be on its way. While nothing
waits that is a count under the text's SHA-256, whatever the length of the text.

Where the ledger was replaced, races are numbered anew. One record says so, and no other need be
written: a record of an earlier `epoch` counts from the beginning.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from nonsuch.networks.race.ledger import Entry

__all__ = [
    "LEDGER_SUBJECT",
    "LedgerKnown",
    "Record",
    "TextKept",
    "decode_record",
    "encode_record",
    "text_subject",
]

LEDGER_SUBJECT = "ledger"

Count = Annotated[int, Meta(ge=0)]


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """An array of its fields behind its tag."""


class LedgerKnown(_Record, frozen=True, tag=0):
    """The ledger that this node has joined when it had `since` entries."""

    node: str
    generation: str
    since: Count
    epoch: Count


class TextKept(_Record, frozen=True, tag=1):
    """Of this text so many races are over, and so many arrivals wait; the text only if any do."""

    epoch: Count
    key: bytes
    finished: Count
    waiting: Count = 0
    text: str = ""
    claim: Entry | None = None


Record = LedgerKnown | TextKept


def text_subject(key: bytes) -> str:
    """The subject of the text with this SHA-256."""
    return f"text:{key.hex()}"


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `msgspec.DecodeError` where there is none."""
    return _decoder.decode(data)
