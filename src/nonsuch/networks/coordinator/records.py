"""What a coordinator keeps on disk: the headers of its chain, 108 bytes each, the oldest first."""

from __future__ import annotations

from nonsuch.networks.coordinator.header import Header

__all__ = ["CHAIN_SUBJECT", "decode_record", "encode_record"]

CHAIN_SUBJECT = "chain"


def encode_record(record: object) -> bytes:
    """A record's bytes for the journal."""
    assert isinstance(record, Header)
    return record.data


def decode_record(data: bytes) -> object:
    """The record of these bytes. Raises `LocalError`, a ValueError, where there is none."""
    return Header(data)
