"""Base plus row digits plus lane digits is the message, for every nonce."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nonsuch.errors import KernelUnavailable
from nonsuch.search.layout import BLOCKS_MAX, PREFIX_BYTES_MAX, ROW_WORDS, Field
from nonsuch.search.sha256 import INITIAL_STATE, compress_words, pad
from nonsuch.work import presets
from nonsuch.work.nonce import Decimal, Raw
from nonsuch.work.puzzle import Puzzle

raw = st.builds(Raw, st.integers(3, 8), st.sampled_from(["big", "little"]))
encodings = st.one_of(st.just(Decimal()), raw)


@st.composite
def fields(draw: st.DrawFn) -> Field:
    """A field of any puzzle that can have a kernel: long prefixes, short suffixes."""
    nonce = draw(encodings)
    prefix = draw(st.binary(max_size=200))
    suffix = draw(st.binary(max_size=100))
    width = draw(st.integers(5, 20)) if isinstance(nonce, Decimal) else nonce.size
    try:
        return Field(Puzzle(prefix, nonce, suffix), width)
    except KernelUnavailable:
        assume(False)
        raise


def message_of(field: Field, nonce: int) -> tuple[tuple[int, ...], list[int]]:
    """What the kernel hashes for this nonce: midstate, and words put together as it does."""
    chunk = nonce - nonce % field.chunk
    row, lane = divmod(nonce - chunk, field.radix.row)
    state, words = field.chunk_state(chunk)
    padded = [*words, *[0] * ROW_WORDS]
    for k in range(ROW_WORDS):
        padded[field.row_word + k] += field.row_table[ROW_WORDS * row + k]
    for word, column in zip(field.layout.vary, field.lane_table, strict=True):
        padded[word] += column[lane]
    assert padded[len(words) :] == [0] * ROW_WORDS
    return state, padded[: len(words)]


@given(fields(), st.data())
def test_the_parts_add_up_to_the_message(field: Field, data: st.DataObject) -> None:
    nonce = data.draw(st.integers(field.start, field.stop - 1))
    state, words = message_of(field, nonce)

    message = field.puzzle.preimage(nonce)
    message += pad(len(message))
    body = len(message) - 4 * len(words)
    expected: tuple[int, ...] = INITIAL_STATE
    for offset in range(0, body, 64):
        expected = compress_words(expected, message[offset : offset + 64])
    assert state == expected
    assert b"".join(word.to_bytes(4, "big") for word in words) == message[body:]
    assert len(words) == 16 * field.layout.blocks


@pytest.mark.parametrize("width", range(5, 21))
def test_the_ends_of_every_decimal_width(width: int) -> None:
    field = Field(presets.plain(b"x" * 50), width)
    for nonce in (field.start, field.stop - 1):
        message = field.puzzle.preimage(nonce)
        _, words = message_of(field, nonce)
        assert b"".join(word.to_bytes(4, "big") for word in words) in message + pad(len(message))


def test_widths_meet_without_gap_or_overlap() -> None:
    stops = [Field(presets.plain(b""), width).stop for width in range(5, 21)]
    starts = [Field(presets.plain(b""), width).start for width in range(6, 21)]
    assert stops[:-1] == starts
    assert stops[-1] == 2**64


@given(st.binary(min_size=7, max_size=7), st.binary(min_size=7, max_size=7))
def test_messages_of_one_length_share_their_layout(one: bytes, other: bytes) -> None:
    assert Field(presets.plain(one), 9).layout == Field(presets.plain(other), 9).layout


@pytest.mark.parametrize(
    ("puzzle", "width", "reason"),
    [
        (presets.peer(100), 9, "SquareDifference"),
        (presets.plain(b""), 4, "too few"),
        (Puzzle(nonce=Raw(2, "big")), 2, "too few"),
        (presets.plain(bytes(PREFIX_BYTES_MAX + 1)), 9, "before the nonce"),
        (Puzzle(suffix=bytes(64 * BLOCKS_MAX)), 9, "after the nonce"),
    ],
)
def test_what_has_no_kernel_says_why(puzzle: Puzzle, width: int, reason: str) -> None:
    with pytest.raises(KernelUnavailable, match=reason):
        Field(puzzle, width)
