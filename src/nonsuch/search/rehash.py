"""Shares rehashed by generated code: which of some nonces have the lowest and the highest rank.

A pool hashes every share that it is shown, 32 a result, and with `hashlib` that is the better part
of what a result costs. Each call of it hashes one message, and takes three times as long as the
hashing itself. Here the nonces of a result go to one function, which writes their digits into a
prepared message, eight nonces side by side, and compares their ranks.

What it says is a hint, as all that generated code says: the best of a job is hashed by `hashlib`
before anybody hears of it, and so is all that a miner says before it is accused of a lie. That none
is missed who lies, a look at each function before its first use and the tests must show.

    i64 extremes(Plan *plan, u64 *nonces, i64 count)

    if the nonces do not ascend: return -1
    for each eight nonces:
        message = the prepared words, with the digits of the nonces added
        state = the prefix's; compress each block; where the hash is double, compress the digest
        for each nonce: rank, as a number of 256 bits; is it lower, or higher, than any before?
    note the lowest and the highest rank in the plan
    return the place of the lowest; of equal ones the first
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from nonsuch.errors import KernelUnavailable
from nonsuch.search import native
from nonsuch.search.backends import host_processor
from nonsuch.search.lanes import block_function, vector_attributes, vector_declarations
from nonsuch.search.layout import Words, aligned_words
from nonsuch.search.sha256 import BLOCK_SIZE, BLOCK_WORDS, INITIAL_STATE, midstate, pad, words_of
from nonsuch.work.nonce import Decimal, Raw
from nonsuch.work.puzzle import DIGEST_BITS, DIGEST_SIZE, Puzzle
from nonsuch.work.shares import Extremes, Rehash, hashed_extremes

__all__ = ["GeneratedRehash", "best_rehash", "rehash_module"]

LANES = 8
"""What vectors of 256 bits hold. Where they are shorter, LLVM takes two."""

BLOCKS_MAX = 8
"""Blocks from the nonce on; of longer messages the hashing is what takes long, not the calls."""

PREFIX_BYTES_MAX = 1024
"""Python hashes the prefix, once a puzzle and width of nonces, in 0.2 ms each 64 bytes."""

PREPARED_AFTER = 8
"""Results of one puzzle and width from which on it is prepared, for up to some milliseconds."""

PLANS_KEPT_MAX = 1024
"""Puzzles, with one width of nonces each, that are counted or prepared, 4 KB each: as many as a
pool has jobs, unless it has uncommonly many. Of those it then has in turn, `hashlib` hashes all."""

_STATE_WORDS = 8
_DECIMAL_BASE, _BINARY_BASE = 10, 256
_PROBES = (Puzzle(b"decimal"), Puzzle(b"binary", Raw(8, "little"), b"", "sha256d", "little"))
_PROBED = range(10**9, 10**9 + 20)


class Plan(ctypes.Structure):
    """A puzzle with nonces of one width, as generated code reads it by these offsets.

    Words are in vectors of `LANES`, but for those of `template`; the last three are scratch.
    """

    _fields_: ClassVar = [
        ("mask", ctypes.c_uint64 * 4),
        ("lowest", ctypes.c_uint64 * 4),
        ("highest", ctypes.c_uint64 * 4),
        ("blocks", ctypes.c_uint64),
        ("double", ctypes.c_uint64),
        ("little", ctypes.c_uint64),
        ("word_first", ctypes.c_uint64),
        ("words", ctypes.c_uint64),
        ("digits", ctypes.c_uint64),
        ("digit_at", ctypes.c_uint64),
        ("digit_step", ctypes.c_int64),
        ("template", ctypes.c_void_p),
        ("midstate", ctypes.c_void_p),
        ("initial", ctypes.c_void_p),
        ("message", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
    ]

    mask: ctypes.Array[ctypes.c_uint64]


class _Prepared:
    """A plan, its memory, and the nonces that it is for: those of `puzzle` in [start, stop)."""

    def __init__(self, puzzle: Puzzle, width: int) -> None:
        decimal = isinstance(puzzle.nonce, Decimal)
        base = _DECIMAL_BASE if decimal else _BINARY_BASE
        self.puzzle = puzzle
        self.start = base ** (width - 1) if decimal and width > 1 else 0
        self.stop = min(base**width, puzzle.nonce.count)
        body = len(puzzle.prefix) // BLOCK_SIZE * BLOCK_SIZE
        digits = b"0" * width if decimal else bytes(width)
        message = puzzle.prefix + digits + puzzle.suffix
        message = (message + pad(len(message)))[body:]
        self._memory = self._laid_out(puzzle.prefix[:body], message)
        first = len(puzzle.prefix) - body
        rising = isinstance(puzzle.nonce, Raw) and puzzle.nonce.order == "little"
        last = first + width - 1
        words = range(first // 4, last // 4 + 1)
        self._plan = Plan(
            blocks=len(message) // BLOCK_SIZE,
            double=puzzle.hash == "sha256d",
            little=puzzle.order == "little",
            word_first=words.start,
            words=len(words),
            digits=width,
            digit_at=first if rising else last,
            digit_step=1 if rising else -1,
            **self._addresses,
        )
        ranked = (1 << puzzle.rank_bits) - 1 << DIGEST_BITS - puzzle.rank_bits
        self._plan.mask[:] = [ranked >> shift & 2**64 - 1 for shift in range(0, DIGEST_BITS, 64)]
        self.address = ctypes.addressof(self._plan)
        memory = memoryview(self._plan).cast("B")
        starts = Plan.lowest.offset, Plan.highest.offset
        self.lowest, self.highest = (memory[start : start + DIGEST_SIZE] for start in starts)

    def _laid_out(self, prefix: bytes, message: bytes) -> Words:
        words = words_of(message)
        state = (0,) * _STATE_WORDS
        # What is read as vectors comes first, so that it is aligned.
        parts = {
            "midstate": _spread(midstate(prefix)),
            "initial": _spread(INITIAL_STATE),
            "message": _spread(words),
            "state": _spread(state),
            "second": _spread((*state, *words_of(pad(DIGEST_SIZE)))),
            "template": words,
        }
        memory = aligned_words(sum(map(len, parts.values())))
        self._addresses, at = {}, 0
        for name, part in parts.items():
            memory[at : at + len(part)] = [*part]
            self._addresses[name] = ctypes.addressof(memory) + at * ctypes.sizeof(ctypes.c_uint32)
            at += len(part)
        return memory


def _spread(words: Sequence[int]) -> list[int]:
    return [word for word in words for _ in range(LANES)]


class GeneratedRehash:
    """Generated code for both kinds of digits, called in one thread at a time.

    Raises `KernelUnavailable` where there is none.
    """

    def __init__(self) -> None:
        prototype = ctypes.PYFUNCTYPE(  # So short that the interpreter is not let go.
            ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64
        )
        processor = host_processor()
        module = rehash_module()
        self._decimal, self._binary = (
            native.compile_function(module, processor, _name(base), prototype)
            for base in (_DECIMAL_BASE, _BINARY_BASE)
        )
        self._plans: dict[tuple[Puzzle, int], _Prepared | int] = {}
        for probe in _PROBES:
            width = len(probe.nonce.encode(_PROBED.start))
            self._last = _Prepared(probe, width)
            if self(probe, _PROBED) != hashed_extremes(probe, _PROBED):
                raise KernelUnavailable("the generated code does not hash as hashlib does")

    def __call__(self, puzzle: Puzzle, nonces: Sequence[int]) -> Extremes | None:
        """The extremes of these nonces, as `hashed_extremes` says them."""
        plan = self._last
        if plan.puzzle is not puzzle or not plan.start <= nonces[0] <= nonces[-1] < plan.stop:
            found = self._plan(puzzle, nonces)
            if found is None:
                return hashed_extremes(puzzle, nonces)
            self._last = plan = found
        function = self._decimal if isinstance(puzzle.nonce, Decimal) else self._binary
        try:
            numbers = array("Q", nonces)
        except OverflowError:
            return None  # Between the first and the last there is none of that size.
        place = function(plan.address, numbers.buffer_info()[0], len(numbers))
        if place < 0:
            return None
        lowest = int.from_bytes(plan.lowest, "little")
        return (lowest, nonces[place]), int.from_bytes(plan.highest, "little")

    def _plan(self, puzzle: Puzzle, nonces: Sequence[int]) -> _Prepared | None:
        """How to hash these, where that can be done at once."""
        match puzzle.nonce:
            case Decimal():
                width, last = len(str(nonces[0])), len(str(nonces[-1]))
            case Raw(size=size):
                width = last = size
            case _:
                return None
        blocks = (len(puzzle.prefix) % BLOCK_SIZE + width + len(puzzle.suffix) + 8) // BLOCK_SIZE
        if width != last or blocks >= BLOCKS_MAX or len(puzzle.prefix) > PREFIX_BYTES_MAX:
            return None
        plan = self._plan_for(puzzle, width)
        fits = plan is not None and plan.start <= nonces[0] <= nonces[-1] < plan.stop
        return plan if fits else None

    def _plan_for(self, puzzle: Puzzle, width: int) -> _Prepared | None:
        """What was prepared, or is now; None where that is not worth it yet."""
        key = puzzle, width
        plan = self._plans.pop(key, 0)  # The last one used is the last one forgotten.
        if isinstance(plan, int):
            plan = plan + 1 if plan < PREPARED_AFTER else _Prepared(puzzle, width)
        self._plans[key] = plan
        if len(self._plans) > PLANS_KEPT_MAX:
            del self._plans[next(iter(self._plans))]
        return None if isinstance(plan, int) else plan


@functools.cache
def best_rehash() -> Rehash:
    """The fastest way to rehash shares here: generated code, or `hashlib` where it cannot be.

    The first call may compile, for a second or two; the code is kept on disk. Raises `LocalError`
    for `NONSUCH_CPU_FEATURES` that make no sense.
    """
    try:
        return GeneratedRehash()
    except KernelUnavailable:
        return hashed_extremes


# Generated code.


class _Code:
    """Lines of one function, with loops that may stand in one another."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._label = "entry"
        self._count = 0

    def set(self, text: str) -> str:
        """A new value."""
        self._count += 1
        self.lines.append(f"%c{self._count} = {text}")
        return f"%c{self._count}"

    def load(self, kind: str, at: str, align: int = 8) -> str:
        """What is there."""
        return self.set(f"load {kind}, ptr {at}, align {align}")

    def store(self, kind: str, value: str, at: str, align: int = 8) -> None:
        """Put it there."""
        self.lines.append(f"store {kind} {value}, ptr {at}, align {align}")

    def element(self, kind: str, base: str, index: str) -> str:
        """The address of an element."""
        return self.set(f"getelementptr {kind}, ptr {base}, i64 {index}")

    def address(self, name: str) -> str:
        """Where in the plan that stands."""
        return self.set(f"getelementptr i8, ptr %plan, i64 {getattr(Plan, name).offset}")

    def field(self, name: str, kind: str = "i64") -> str:
        """What the plan says."""
        return self.load(kind, self.address(name))

    @contextmanager
    def loop(self, stop: str, step: int = 1) -> Iterator[str]:
        """What is written inside is done with an index from 0 to `stop`."""
        self._count += 1
        name, before = f"l{self._count}", self._label
        self.lines += [f"br label %{name}", f"{name}:"]
        place = len(self.lines)
        self.lines += [
            "",
            f"%{name}.more = icmp ult i64 %{name}.index, {stop}",
            f"br i1 %{name}.more, label %{name}.body, label %{name}.done",
            f"{name}.body:",
        ]
        self._label = f"{name}.body"
        yield f"%{name}.index"
        self.lines[place] = (
            f"%{name}.index = phi i64 [ 0, %{before} ], [ %{name}.next, %{self._label} ]"
        )
        self.lines += [
            f"%{name}.next = add i64 %{name}.index, {step}",
            f"br label %{name}",
            f"{name}.done:",
        ]
        self._label = f"{name}.done"


def rehash_module() -> str:
    """LLVM IR of the module, with a function for each kind of digits."""
    lines = [
        *vector_declarations(LANES, ternary=False),
        "declare i256 @llvm.bswap.i256(i256)",
        "declare i64 @llvm.umin.i64(i64, i64)",
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
        *block_function("compress", LANES),
        *_function(_DECIMAL_BASE),
        *_function(_BINARY_BASE),
        f"attributes #0 = {{ nounwind {vector_attributes(LANES)} }}",
    ]
    return "\n".join(lines) + "\n"


def _name(base: int) -> str:
    return f"extremes{base}"


def _function(base: int) -> list[str]:
    """For nonces with digits of this base: 10 in ASCII, or 256."""
    code = _Code()
    code.lines.append("%rest = alloca i64, align 8")
    code.lines.append("%place = alloca i64, align 8")
    code.store("i256", "-1", code.address("lowest"))
    code.store("i256", "0", code.address("highest"))
    code.store("i64", "0", "%place")
    with code.loop("%count", LANES) as first:
        _write_messages(code, base, first)
        _hash(code)
        _compare(code, first)
    _ascend(code)
    place = code.load("i64", "%place")
    return [
        f"define i64 @{_name(base)}(ptr %plan, ptr %nonces, i64 %count) #0 {{",
        "entry:",
        *code.lines,
        f"ret i64 {place}",
        "}",
    ]


def _write_messages(code: _Code, base: int, first: str) -> None:
    """The template with the digits of the nonces from `first` on; of the last one again, and again.

    Digits of different places do not meet, so they are added to their words.
    """
    message, template = code.field("message", "ptr"), code.field("template", "ptr")
    last = code.set("sub i64 %count, 1")
    begin = code.field("word_first")
    with code.loop(str(LANES)) as lane:
        ahead = code.set(f"add i64 {first}, {lane}")
        index = code.set(f"call i64 @llvm.umin.i64(i64 {ahead}, i64 {last})")
        nonce = code.load("i64", code.element("i64", "%nonces", index))
        code.store("i64", nonce, "%rest")
        with code.loop(code.field("words")) as offset:
            word = code.set(f"add i64 {begin}, {offset}")
            prepared = code.load("i32", code.element("i32", template, word), 4)
            code.store("i32", prepared, _lane_of(code, message, word, lane), 4)
        with code.loop(code.field("digits")) as digit:
            _add_digit(code, base, message, lane, digit)


def _add_digit(code: _Code, base: int, message: str, lane: str, digit: str) -> None:
    """The lowest digit of what is left of the nonce, where it belongs."""
    rest = code.load("i64", "%rest")
    quotient = code.set(f"udiv i64 {rest}, {base}")
    code.store("i64", quotient, "%rest")
    value = code.set(f"sub i64 {rest}, {code.set(f'mul i64 {quotient}, {base}')}")
    steps = code.set(f"mul i64 {digit}, {code.field('digit_step')}")
    at = code.set(f"add i64 {code.field('digit_at')}, {steps}")
    place = code.set(f"and i64 {at}, 3")
    shift = code.set(f"shl i64 {code.set(f'sub i64 3, {place}')}, 3")
    shifted = code.set(f"trunc i64 {code.set(f'shl i64 {value}, {shift}')} to i32")
    word = _lane_of(code, message, code.set(f"lshr i64 {at}, 2"), lane)
    code.store("i32", code.set(f"add i32 {code.load('i32', word, 4)}, {shifted}"), word, 4)


def _lane_of(code: _Code, vectors: str, index: str, lane: str) -> str:
    """The address of one nonce's word of a vector."""
    vector = code.element(f"<{LANES} x i32>", vectors, index)
    return code.element("i32", vector, lane)


def _hash(code: _Code) -> None:
    """The state becomes the digests."""
    state, message = code.field("state", "ptr"), code.field("message", "ptr")
    _copy(code, state, code.field("midstate", "ptr"))
    with code.loop(code.field("blocks")) as block:
        words = code.set(f"mul i64 {block}, {BLOCK_WORDS}")
        vector = code.element(f"<{LANES} x i32>", message, words)
        code.lines.append(f"call void @compress(ptr {state}, ptr {vector})")
    with code.loop(code.field("double")):
        second = code.field("second", "ptr")
        _copy(code, second, state)
        _copy(code, state, code.field("initial", "ptr"))
        code.lines.append(f"call void @compress(ptr {state}, ptr {second})")


def _copy(code: _Code, to: str, of: str) -> None:
    size = _STATE_WORDS * LANES * ctypes.sizeof(ctypes.c_uint32)
    code.lines.append(
        f"call void @llvm.memcpy.p0.p0.i64(ptr align 32 {to}, ptr align 32 {of}, i64 {size},"
        " i1 false)"
    )


def _compare(code: _Code, first: str) -> None:
    """Hold each digest against the lowest and the highest before it."""
    state, mask = code.field("state", "ptr"), code.field("mask", "i256")
    little = code.set(f"icmp ne i64 {code.field('little')}, 0")
    left = code.set(f"sub i64 %count, {first}")
    with code.loop(code.set(f"call i64 @llvm.umin.i64(i64 {left}, i64 {LANES})")) as lane:
        rank = "0"
        for word in range(_STATE_WORDS):
            part = code.load("i32", _lane_of(code, state, str(word), lane), 4)
            rank = code.set(f"shl i256 {rank}, 32")
            rank = code.set(f"or i256 {rank}, {code.set(f'zext i32 {part} to i256')}")
        swapped = code.set(f"call i256 @llvm.bswap.i256(i256 {rank})")
        rank = code.set(f"select i1 {little}, i256 {swapped}, i256 {rank}")
        rank = code.set(f"and i256 {rank}, {mask}")
        for name, comparison in (("lowest", "ult"), ("highest", "ugt")):
            at = code.address(name)
            before = code.load("i256", at)
            beyond = code.set(f"icmp {comparison} i256 {rank}, {before}")
            code.store("i256", code.set(f"select i1 {beyond}, i256 {rank}, i256 {before}"), at)
            if name == "lowest":
                index = code.set(f"add i64 {first}, {lane}")
                place = code.load("i64", "%place")
                code.store(
                    "i64", code.set(f"select i1 {beyond}, i64 {index}, i64 {place}"), "%place"
                )


def _ascend(code: _Code) -> None:
    """Nonces that do not ascend have no best."""
    with code.loop(code.set("sub i64 %count, 1")) as index:
        at = code.element("i64", "%nonces", index)
        this, following = code.load("i64", at), code.load("i64", code.element("i64", at, "1"))
        rises = code.set(f"icmp ult i64 {this}, {following}")
        place = code.load("i64", "%place")
        code.store("i64", code.set(f"select i1 {rises}, i64 {place}, i64 -1"), "%place")
