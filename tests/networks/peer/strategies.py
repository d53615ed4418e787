"""Whatever the dialects may say, and how it may be cut."""

from __future__ import annotations

from hypothesis import strategies as st

from nonsuch.networks.peer.dialects.messages import (
    NUMBER_MAX,
    TEXT_CHARACTERS_MAX,
    Answer,
    Block,
    Chain,
    CloseConnection,
    GetChain,
    GetProof,
    Heartbeat,
    HeartbeatAnswer,
    Proof,
    Request,
    Reward,
    Transaction,
    UpdateProof,
    Verdict,
)

__all__ = ["answers", "blocks", "contents", "numbers", "requests", "segments", "texts"]

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=30) | st.text(characters, max_size=TEXT_CHARACTERS_MAX)
numbers = st.integers(0, NUMBER_MAX) | st.integers(0, 1000)
contents = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|"), max_size=70)

requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(Transaction, st.from_regex("[a-zA-Z]{4}[0-9]{4}", fullmatch=True), contents),
    st.builds(UpdateProof, numbers),
    st.sampled_from([GetProof(), GetChain(), Heartbeat(), CloseConnection()]),
)

blocks = st.builds(
    Block,
    index=numbers,
    timestamp=texts,
    transactions=st.lists(texts, max_size=6).map(tuple),
    proof=numbers,
    previous_hash=texts,
    current_hash=texts,
)
chains = st.lists(blocks, max_size=4).map(tuple)
pools = st.lists(st.tuples(texts, texts), max_size=4).map(tuple)


def answers(request: Request) -> st.SearchStrategy[Answer]:
    """The answers that a request may have."""
    match request:
        case GetProof():
            return st.builds(Proof, numbers)
        case UpdateProof():
            return st.builds(Reward, st.booleans())
        case GetChain():
            return st.builds(Chain, chains)
        case Heartbeat():
            return st.builds(HeartbeatAnswer, pools, st.none() | chains, st.booleans())
        case _:
            return st.builds(Verdict, st.booleans())


@st.composite
def segments(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """A stream, cut in up to nine places."""
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=9)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
