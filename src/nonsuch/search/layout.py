"""Where a nonce's digits fall in the words that SHA-256 reads.

A nonce moves through three loops, from the inside out:

    lane   the low digits, taken from a table that the kernel adds to the message: 2,000 nonces
    row    the digits above them, taken from a second table once a row: 5,000 rows
    chunk  everything above: ten million nonces, for which Python lays out the message anew

Writing a nonce in parts works because positional digits add without carries, byte by byte:

    encode(n) = encode(chunk start)
              + digits of (row start - chunk start)
              + digits of (n - row start)

as long as no digit place overflows. A row is 2,000 nonces, not 1,000 or 10,000, for three reasons
that pull apart: 2,000 divides by 8 and 16 lanes without a rest; the work done once a row is then
below a percent; and its table is 8 KB a word, so that it lies in every first-level cache *with* the
kernel's own spilled registers. (10,000 entries are 40 KB, the size of the whole cache: measured
rates then depend on where the tables happen to lie.) The place of the thousands is shared: a lane
adds 0 or 1 to it, a row 0, 2, 4, 6 or 8. Binary nonces do the same with rows of 2,048.

A `Field` is one width of nonce in one puzzle: decimal nonces of nine digits, or the four bytes of a
header. Its `layout` is all that code generation depends on; two fields with equal layouts share
compiled code, whatever their messages say.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from dataclasses import dataclass

from nonsuch.errors import KernelUnavailable
from nonsuch.search.sha256 import BLOCK_SIZE, BLOCK_WORDS, midstate, pad, words_of
from nonsuch.work.nonce import Decimal, Raw
from nonsuch.work.puzzle import Puzzle

__all__ = [
    "BATCH_MAX",
    "BLOCKS_MAX",
    "ROW_WORDS",
    "TABLE_WORDS",
    "Field",
    "Layout",
    "Radix",
    "Words",
    "aligned_words",
]

WORD_SIZE = 4

BLOCKS_MAX = 3
"""Blocks that one kernel hashes a nonce: nonce and padding in two, and a suffix of some 60 bytes.

Compile time grows with each (0.1 to 0.3 s); a longer suffix is searched with hashlib.
"""

PREFIX_BYTES_MAX = 512 * 1024
"""Hashing the prefix to a midstate is done in Python, at some 300 KB a second, once a search."""

ROW_WORDS = 2
"""A row's digits are at most four adjacent bytes, which touch at most two words."""

TABLE_WORDS = 2
"""So do a lane's."""

BATCH_MAX = 64
"""The widest batch of any back end: tables are longer by it, as the last batch may overhang."""

Words = ctypes.Array[ctypes.c_uint32]


@dataclass(frozen=True, slots=True)
class Layout:
    """What code is generated for.

    `blocks` are hashed from a midstate, lanes differ in the message words `vary`, `double` hashes
    the digest again, and `last_word` looks at the digest's last word, byte-swapped, not its first.
    """

    blocks: int
    vary: tuple[int, ...]
    double: bool
    last_word: bool


@dataclass(frozen=True, slots=True)
class Radix:
    """How one kind of digit is spread over lanes, rows and chunks."""

    base: int
    row: int
    """Nonces a row."""
    chunk: int
    """Nonces a chunk."""
    lane_places: int
    """Digit places that lanes touch: the lowest ones."""
    row_places: tuple[int, int]
    """Digit places that rows touch, first and past the last; the first is shared with the lanes."""

    def digit(self, value: int, place: int) -> int:
        """The digit of `value` at `place`, 0 being the lowest."""
        return value // int(self.base**place) % self.base


_DECIMAL = Radix(base=10, row=2_000, chunk=10**7, lane_places=4, row_places=(3, 7))
_BINARY = Radix(base=256, row=2_048, chunk=2**24, lane_places=2, row_places=(1, 3))


@functools.lru_cache(maxsize=256)
def _table(
    radix: Radix, first: int, count: int, places: range, offsets: tuple[int, ...]
) -> tuple[Words, ...]:
    """Columns of words: column w, entry i holds the digits of `first * i` that fall in word w.

    `offsets[k]` is the byte, counted from the first column, where digit place `places[k]` stands.
    """
    columns = tuple(aligned_words(count) for _ in range(max(offsets) // WORD_SIZE + 1))
    for place, offset in zip(places, offsets, strict=True):
        column, shift = columns[offset // WORD_SIZE], 8 * (WORD_SIZE - 1 - offset % WORD_SIZE)
        for entry in range(count):
            column[entry] += radix.digit(entry * first, place) << shift
    return columns


@functools.lru_cache(maxsize=64)
def _interleaved(
    radix: Radix, first: int, count: int, places: range, offsets: tuple[int, ...]
) -> Words:
    """The same columns side by side, `ROW_WORDS` of them, missing ones zero."""
    words = aligned_words(ROW_WORDS * count)
    for index, column in enumerate(_table(radix, first, count, places, offsets)):
        words[index::ROW_WORDS] = [*column]
    return words


def aligned_words(count: int) -> Words:
    """Zeroed words that begin on a page of their own: alignment by intent, not by luck."""
    return (ctypes.c_uint32 * count).from_buffer(mmap.mmap(-1, WORD_SIZE * count))


@dataclass(frozen=True)
class Field:
    """The nonces of one width (digits or bytes) in one puzzle.

    Raises `KernelUnavailable`, with the reason, where no kernel can be generated.
    """

    puzzle: Puzzle
    width: int

    def __post_init__(self) -> None:
        if not isinstance(self.puzzle.nonce, Decimal | Raw):
            raise KernelUnavailable(
                f"a {type(self.puzzle.nonce).__name__} nonce has no digits that a kernel could walk"
            )
        if len(self.puzzle.prefix) > PREFIX_BYTES_MAX:
            raise KernelUnavailable(
                f"the {len(self.puzzle.prefix)} bytes before the nonce are more than"
                f" {PREFIX_BYTES_MAX}, for which a kernel is prepared"
            )
        if self.width < self.radix.lane_places + 1:
            raise KernelUnavailable(f"nonces {self.width} wide are too few to be worth a kernel")
        if self.layout.blocks > BLOCKS_MAX:
            raise KernelUnavailable(
                f"the {len(self.puzzle.suffix)} bytes after the nonce make {self.layout.blocks}"
                f" blocks to hash each time; the kernel is generated for {BLOCKS_MAX} at most"
            )

    @property
    def radix(self) -> Radix:
        """The digits that this field counts with."""
        return _DECIMAL if isinstance(self.puzzle.nonce, Decimal) else _BINARY

    @property
    def start(self) -> int:
        """The first nonce of this width."""
        decimal = isinstance(self.puzzle.nonce, Decimal)
        return 10 ** (self.width - 1) if decimal and self.width > 1 else 0

    @property
    def stop(self) -> int:
        """One past the last nonce of this width."""
        return int(min(self.radix.base**self.width, self.puzzle.nonce.count))

    @property
    def chunk(self) -> int:
        """Nonces a chunk: less than the radix's where the field is narrow."""
        return int(min(self.radix.chunk, self.radix.base**self.width))

    @functools.cached_property
    def layout(self) -> Layout:
        """The key under which code for this field is compiled."""
        lane_bytes = self._offsets(range(self.radix.lane_places))
        words = {offset // WORD_SIZE - self._first_word for offset in lane_bytes}
        return Layout(
            blocks=len(self._message(0)) // BLOCK_SIZE - self._first_block,
            vary=tuple(sorted(words)),
            double=self.puzzle.hash == "sha256d",
            last_word=self.puzzle.order == "little",
        )

    @functools.cached_property
    def lane_table(self) -> tuple[Words, ...]:
        """For each word of `layout.vary`, what each lane of a row adds to it. Shared, read-only."""
        places = range(self.radix.lane_places)
        return _table(self.radix, 1, self.radix.row + BATCH_MAX, places, self._relative(places))

    @functools.cached_property
    def row_table(self) -> Words:
        """`ROW_WORDS` words for each row of a chunk, to be added from word `row_word` on."""
        rows, places = self.chunk // self.radix.row, self._row_places
        return _interleaved(self.radix, self.radix.row, rows, places, self._relative(places))

    @property
    def row_word(self) -> int:
        """The first message word that rows change."""
        return min(self._offsets(self._row_places)) // WORD_SIZE - self._first_word

    def chunk_state(self, start: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The midstate and the message words of the chunk that begins at nonce `start`."""
        message, body = self._message(start), BLOCK_SIZE * self._first_block
        high_digits = message[BLOCK_SIZE * self._prefix_blocks : body]
        return midstate(high_digits, self._prefix_state), words_of(message[body:])

    # Blocks that no nonce reaches, blocks that only the high digits of a chunk reach, and from
    # `_first_block` on the blocks that the kernel hashes.

    @property
    def _prefix_blocks(self) -> int:
        return min(len(self.puzzle.prefix) // BLOCK_SIZE, self._first_block)

    @functools.cached_property
    def _prefix_state(self) -> tuple[int, ...]:
        return midstate(self.puzzle.prefix[: BLOCK_SIZE * self._prefix_blocks])

    @functools.cached_property
    def _first_block(self) -> int:
        return min(self._offsets(range(self._row_places.stop))) // BLOCK_SIZE

    @property
    def _first_word(self) -> int:
        return BLOCK_WORDS * self._first_block

    @property
    def _row_places(self) -> range:
        first, stop = self.radix.row_places
        return range(first, min(stop, self.width))

    def _offsets(self, places: range) -> tuple[int, ...]:
        """Where in the preimage the digits of these places stand, in bytes."""
        start = len(self.puzzle.prefix)
        if isinstance(self.puzzle.nonce, Raw) and self.puzzle.nonce.order == "little":
            return tuple(start + place for place in places)
        return tuple(start + self.width - 1 - place for place in places)

    def _message(self, nonce: int) -> bytes:
        """The padded preimage, with leading zeros where the nonce is short of digits."""
        decimal = isinstance(self.puzzle.nonce, Decimal)
        digits = b"%0*d" % (self.width, nonce) if decimal else self.puzzle.nonce.encode(nonce)
        message = self.puzzle.prefix + digits + self.puzzle.suffix
        return message + pad(len(message))

    def _relative(self, places: range) -> tuple[int, ...]:
        """The same bytes, counted from the first word that any of them touches."""
        offsets = self._offsets(places)
        base = min(offsets) // WORD_SIZE * WORD_SIZE
        return tuple(offset - base for offset in offsets)
