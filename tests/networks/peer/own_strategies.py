"""Messages of our own wire as hypothesis draws them: of the right form, and senseless."""

from __future__ import annotations

from hypothesis import strategies as st

from nonsuch.networks.peer import messages
from nonsuch.networks.peer.block import (
    BLOCK_TRANSACTIONS,
    CONTENT_CHARACTERS_MAX,
    HEADER_BYTES,
    ID_BYTES,
    SENDER_CHARACTERS,
    TIMESTAMP_MAX,
    BlockForm,
    Transaction,
)

__all__ = ["FORMS", "MESSAGES", "TRANSACTIONS"]

NUMBERS = st.integers(0, 2**64 - 1)
IDS = st.binary(min_size=ID_BYTES, max_size=ID_BYTES)
TRANSACTIONS = st.builds(
    Transaction,
    st.text(max_size=SENDER_CHARACTERS),
    st.text(max_size=CONTENT_CHARACTERS_MAX),
    st.integers(0, TIMESTAMP_MAX),
)
HEADERS = st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES)
FORMS = st.builds(
    BlockForm,
    HEADERS,
    st.lists(TRANSACTIONS, max_size=BLOCK_TRANSACTIONS).map(tuple),
)
MESSAGES = st.one_of(
    st.builds(messages.Heartbeat, NUMBERS, st.binary(max_size=32), IDS, NUMBERS, IDS),
    st.builds(messages.AskHeaders, st.lists(IDS, max_size=5).map(tuple)),
    st.builds(messages.AskBlocks, st.lists(IDS, max_size=5).map(tuple)),
    st.builds(messages.Blocks, st.lists(FORMS, max_size=3).map(tuple)),
    st.builds(messages.AnnounceBlock, FORMS),
    st.builds(messages.AskTransactions, st.binary(max_size=80)),
    st.builds(messages.Transactions, st.lists(TRANSACTIONS, max_size=4).map(tuple)),
    st.builds(messages.Headers, st.lists(HEADERS, max_size=3).map(tuple)),
    st.builds(messages.SubmitTransaction, st.text(max_size=100), st.text(max_size=100), NUMBERS),
    st.builds(messages.AskChain, NUMBERS, NUMBERS),
    st.builds(messages.OfferProof, NUMBERS, NUMBERS),
    st.sampled_from([messages.AskTemplate(), messages.AskStatus(), messages.Stopped()]),
    st.builds(messages.Hello, st.sampled_from(["peer", "client"]), st.binary(max_size=32)),
    st.builds(messages.Welcome, st.binary(max_size=16), st.text(max_size=100)),
    st.builds(messages.Refused, st.text(max_size=100)),
    st.builds(messages.Verdict, st.booleans(), st.text(max_size=100)),
    st.just(messages.Stop()),
)
