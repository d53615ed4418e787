"""Our own wire: any bytes, in any segmentation, give messages or one error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer import messages, records
from nonsuch.networks.peer.block import (
    BLOCK_TRANSACTIONS,
    CONTENT_CHARACTERS_MAX,
    HEADER_BYTES,
    ID_BYTES,
    TIMESTAMP_MAX,
    BlockForm,
    Transaction,
)
from nonsuch.networks.peer.wire import CLIENT_BYTES_MAX, FRAME_BYTES_MAX, PeerWire
from tests.networks.peer.own_strategies import FORMS, MESSAGES, TRANSACTIONS


@given(st.lists(MESSAGES, max_size=5), st.data())
def test_what_is_said_is_heard_however_it_is_cut(said: list[object], data: st.DataObject) -> None:
    sender, receiver = PeerWire(dialled=False), PeerWire(dialled=True)
    stream = b"".join(map(sender.encode, said))
    heard = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        heard += receiver.feed(stream[:size])
        stream = stream[size:]
    assert heard == said


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_an_error(data: bytes) -> None:
    wire = PeerWire(dialled=True)
    try:
        wire.feed(data)
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError):
            wire.feed(b"")


LONGEST = Transaction("abcd1234", "\U0001f642" * CONTENT_CHARACTERS_MAX, TIMESTAMP_MAX)
LONGEST_BLOCK = BlockForm(bytes(HEADER_BYTES), (LONGEST,) * BLOCK_TRANSACTIONS)


@pytest.mark.parametrize(
    "message",
    [
        messages.Headers((bytes(HEADER_BYTES),) * messages.HEADERS_MAX),
        messages.Blocks((LONGEST_BLOCK,) * messages.BLOCKS_MAX),
        messages.Chain(2**63, 2**63, (LONGEST_BLOCK,) * messages.CHAIN_BLOCKS_MAX),
        messages.Transactions((LONGEST,) * messages.TRANSACTIONS_MAX),
        messages.AskTransactions(bytes(messages.KNOWN_MAX * messages.SHORT_KEY_BYTES)),
        messages.AskBlocks((bytes(ID_BYTES),) * messages.BLOCKS_MAX),
        messages.AskHeaders((bytes(ID_BYTES),) * messages.LOCATOR_MAX),
    ],
    ids=lambda message: type(message).__name__,
)
def test_the_longest_messages_fit_and_one_more_part_does_not(message: messages.Message) -> None:
    sender, receiver = PeerWire(dialled=False), PeerWire(dialled=True)
    data = sender.encode(message)
    assert len(data) <= FRAME_BYTES_MAX
    assert receiver.feed(data) == [message]
    (field,) = (name for name in message.__struct_fields__ if name not in ("start", "height"))
    parts = getattr(message, field)
    longer = type(message)(**{field: parts + parts[:1]}) if not hasattr(message, "start") else None
    if longer is not None:
        with pytest.raises(RemoteProtocolError):
            receiver.feed(sender.encode(longer))


def test_a_stranger_may_say_little_and_a_peer_more() -> None:
    def announced(length: int) -> bytes:
        return length.to_bytes(4, "big")

    peer, client = PeerWire(dialled=False), PeerWire(dialled=False)
    peer.feed(peer.encode(messages.Hello("peer", bytes(ID_BYTES))))
    assert peer.feed(announced(FRAME_BYTES_MAX)) == []
    client.feed(client.encode(messages.Hello("client")))
    with pytest.raises(RemoteProtocolError, match=f"where {CLIENT_BYTES_MAX} are allowed"):
        client.feed(announced(CLIENT_BYTES_MAX + 1))


@given(FORMS, TRANSACTIONS)
def test_records_come_back_from_disk(form: BlockForm, transaction: Transaction) -> None:
    for record in (
        records.BlockKept(msgspec.msgpack.encode(form)),
        records.BlockKept(msgspec.msgpack.encode(form), bytes(range(40))),
        records.TransactionPooled(transaction),
    ):
        assert records.decode_record(records.encode_record(record)) == record
