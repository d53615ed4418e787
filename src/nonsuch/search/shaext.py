"""The same scan with the processor's own SHA-256 instructions: x86 SHA-NI, arm64 SHA2.

One such instruction performs two rounds (x86) or half the work of four (arm64) on the state of one
nonce; a vector register holds four words of the state or of the message. A round cannot start
before the last one has ended, so a single nonce leaves the unit idle most of the time: `streams`
independent nonces are hashed side by side, instruction by instruction. Two to four are best; more
do not fit into sixteen registers.

There is no graph here: the instructions are too large to fold. What is uniform over a row still
leaves the loop, group of four words by group of four words: a nonce in words 6 and 7 leaves the
first six rounds, and the sums of uniform words with their round constants, outside.

Sources: Intel, "SHA Extensions" (2013); Arm Architecture Reference Manual, SHA256H, SHA256H2,
SHA256SU0, SHA256SU1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from nonsuch.search.frame import frame, job_address
from nonsuch.search.layout import Layout
from nonsuch.search.sha256 import BLOCK_WORDS, INITIAL_STATE, ROUND_CONSTANTS, pad

__all__ = ["shaext_census", "shaext_module"]

_VECTOR = "<4 x i32>"
_GROUP = 4
_GROUPS = 16
"""Groups of four rounds in a block."""


class _Value(NamedTuple):
    """A vector by name. A varying one exists once a stream, its name ending in its number."""

    name: str
    varies: bool = False


class _State(NamedTuple):
    """The eight working words in two registers, arranged as the instruction set wants them."""

    first: _Value
    second: _Value


class _Emitter:
    """Writes each operation before the loop if no operand varies, else once for each stream."""

    def __init__(self, streams: int) -> None:
        self.streams = range(streams)
        self.uniform: list[str] = []
        self.varying = [f"%lane_{stream} = add i64 %lane, {stream}" for stream in self.streams]
        self.census: Counter[str] = Counter()
        self._count = 0

    def emit(self, template: str, *operands: _Value) -> _Value:
        """One instruction; `{0}`, `{1}` … in the template stand for the operands' names."""
        self._count += 1
        result = _Value(f"%q{self._count}", any(operand.varies for operand in operands))
        if not result.varies:
            names = (operand.name for operand in operands)
            self.uniform.append(f"{result.name} = {template.format(*names)}")
            return result
        self.census[_operation_name(template)] += 1
        for stream in self.streams:
            names = (f"{o.name}_{stream}" if o.varies else o.name for o in operands)
            self.varying.append(f"{result.name}_{stream} = {template.format(*names)}")
        return result

    def add(self, left: _Value, right: _Value) -> _Value:
        return self.emit(f"add {_VECTOR} {{0}}, {{1}}", left, right)

    def shuffle(self, left: _Value, right: _Value, *lanes: int) -> _Value:
        mask = ", ".join(f"i32 {lane}" for lane in lanes)
        text = f"shufflevector {_VECTOR} {{0}}, {_VECTOR} {{1}}, <4 x i32> <{mask}>"
        return self.emit(text, left, right)

    def call(self, function: str, *operands: _Value) -> _Value:
        arguments = ", ".join(f"{_VECTOR} {{{index}}}" for index in range(len(operands)))
        return self.emit(f"call {_VECTOR} @{function}({arguments})", *operands)

    def insert(self, word: _Value, lane: int) -> _Value:
        """A vector that is zero but for one lane."""
        return self.emit(f"insertelement {_VECTOR} zeroinitializer, i32 {{0}}, i32 {lane}", word)

    def load_group(self, source: str, index: int) -> _Value:
        """Four adjacent words of the job, the same for a whole row."""
        self._count += 1
        at = _Value(f"%q{self._count}")
        self.uniform.append(job_address(at.name, source, index))
        return self.emit(f"load {_VECTOR}, ptr {{0}}, align 4", at)

    def load_low(self, column: int) -> _Value:
        """What this stream's lane adds to the column's word."""
        lane = _Value("%lane", varies=True)
        at = self.emit(f"getelementptr i32, ptr %low{column}, i64 {{0}}", lane)
        return self.emit("load i32, ptr {0}, align 4", at)


def _operation_name(template: str) -> str:
    """`llvm.x86.sha256msg1` for a call of it, `add` for an addition."""
    if "@" in template:
        return template.split("@")[1].split("(")[0]
    return template.split()[0]


def _constant(words: Sequence[int]) -> _Value:
    return _Value("<" + ", ".join(f"i32 {word}" for word in words) + ">")


class _InstructionSet(Protocol):
    """What differs between the two: how a state lies in registers, what performs four rounds."""

    def declarations(self) -> list[str]: ...

    def load(self, emit: _Emitter, state: _State) -> _State:
        """From words a b c d, e f g h to the arrangement of the rounds."""

    def store(self, emit: _Emitter, state: _State) -> _State:
        """And back."""

    def rounds(self, emit: _Emitter, state: _State, sums: _Value, early: _Value | None) -> _State:
        """Four rounds. `sums` is message plus constants; `early` equals it in its first two words
        and, where those do not vary, lets two rounds leave the loop."""

    def schedule(self, emit: _Emitter, group: Sequence[_Value]) -> _Value:
        """The next four message words from the last sixteen."""


class _X86:
    """SHA-NI keeps a, b, e, f in one register and c, d, g, h in the other, highest word first."""

    _prefix = "llvm.x86.sha256"

    def declarations(self) -> list[str]:
        arity = {"rnds2": 3, "msg1": 2, "msg2": 2}
        return [_declare(self._prefix + name, count) for name, count in arity.items()]

    def load(self, emit: _Emitter, state: _State) -> _State:
        abcd, efgh = state
        return _State(emit.shuffle(abcd, efgh, 5, 4, 1, 0), emit.shuffle(abcd, efgh, 7, 6, 3, 2))

    def store(self, emit: _Emitter, state: _State) -> _State:
        abef, cdgh = state
        return _State(emit.shuffle(abef, cdgh, 3, 2, 7, 6), emit.shuffle(abef, cdgh, 1, 0, 5, 4))

    def two_rounds(self, emit: _Emitter, state: _State, sums: _Value) -> _State:
        """Two rounds: the old a, b, e, f are the new c, d, g, h."""
        abef, cdgh = state
        return _State(emit.call(self._prefix + "rnds2", cdgh, abef, sums), abef)

    def rounds(self, emit: _Emitter, state: _State, sums: _Value, early: _Value | None) -> _State:
        state = self.two_rounds(emit, state, early or sums)
        return self.two_rounds(emit, state, emit.shuffle(sums, sums, 2, 3, 2, 3))

    def schedule(self, emit: _Emitter, group: Sequence[_Value]) -> _Value:
        w0, w4, w8, w12 = group
        partial = emit.call(self._prefix + "msg1", w0, w4)
        partial = emit.add(partial, emit.shuffle(w8, w12, 1, 2, 3, 4))
        return emit.call(self._prefix + "msg2", partial, w12)


class _Arm64:
    """SHA2 takes the words in their natural order."""

    _prefix = "llvm.aarch64.crypto.sha256"

    def declarations(self) -> list[str]:
        arity = {"h": 3, "h2": 3, "su0": 2, "su1": 3}
        return [_declare(self._prefix + name, count) for name, count in arity.items()]

    def load(self, emit: _Emitter, state: _State) -> _State:
        return state

    def store(self, emit: _Emitter, state: _State) -> _State:
        return state

    def rounds(self, emit: _Emitter, state: _State, sums: _Value, early: _Value | None) -> _State:
        abcd, efgh = state
        return _State(
            emit.call(self._prefix + "h", abcd, efgh, sums),
            emit.call(self._prefix + "h2", efgh, abcd, sums),
        )

    def schedule(self, emit: _Emitter, group: Sequence[_Value]) -> _Value:
        w0, w4, w8, w12 = group
        partial = emit.call(self._prefix + "su0", w0, w4)
        return emit.call(self._prefix + "su1", partial, w8, w12)


def _declare(name: str, arity: int) -> str:
    return f"declare {_VECTOR} @{name}({', '.join([_VECTOR] * arity)})"


_INSTRUCTION_SETS: dict[str, _InstructionSet] = {"x86_64": _X86(), "aarch64": _Arm64()}


def shaext_module(layout: Layout, streams: int, architecture: str) -> str:
    """LLVM IR of `scan` for this layout, `streams` nonces a batch, on "x86_64" or "aarch64"."""
    emitter, candidate = _emit(layout, streams, architecture)
    return frame(
        uniform=emitter.uniform,
        varying=emitter.varying,
        candidate=candidate,
        batch=streams,
        declarations=[
            *_INSTRUCTION_SETS[architecture].declarations(),
            "declare i32 @llvm.bswap.i32(i32)",
        ],
    )


def shaext_census(layout: Layout, architecture: str) -> Counter[str]:
    """How many instructions of each name one nonce costs in the loop."""
    return _emit(layout, 1, architecture)[0].census


def _emit(layout: Layout, streams: int, architecture: str) -> tuple[_Emitter, str]:
    instructions = _INSTRUCTION_SETS[architecture]
    emitter = _Emitter(streams)
    state = _State(emitter.load_group("state", 0), emitter.load_group("state", _GROUP))
    for block in range(layout.blocks):
        final = block == layout.blocks - 1 and not layout.double
        message, early = _message(emitter, layout, block)
        state = _compress(emitter, instructions, state, message, early, layout.last_word and final)
    if layout.double:
        padding = [int.from_bytes(pad(32)[i : i + 4], "big") for i in range(0, 32, 4)]
        message = [*state, _constant(padding[:4]), _constant(padding[4:])]
        start = _State(_constant(INITIAL_STATE[:4]), _constant(INITIAL_STATE[4:]))
        state = _compress(emitter, instructions, start, message, {}, layout.last_word)
    return emitter, _compare(emitter, layout, state)


def _message(
    emitter: _Emitter, layout: Layout, block: int
) -> tuple[list[_Value], dict[int, _Value]]:
    """The block's groups of words, and the uniform parts of those whose first half is uniform."""
    message: list[_Value] = []
    early: dict[int, _Value] = {}
    for group in range(BLOCK_WORDS // _GROUP):
        first = BLOCK_WORDS * block + _GROUP * group
        base = words = emitter.load_group("message", first)
        varying = [word for word in layout.vary if first <= word < first + _GROUP]
        for word in varying:
            low = emitter.load_low(layout.vary.index(word))
            words = emitter.add(words, emitter.insert(low, word - first))
        message.append(words)
        if varying and min(varying) >= first + _GROUP // 2:
            early[group] = base
    return message, early


def _compress(
    emitter: _Emitter,
    instructions: _InstructionSet,
    state: _State,
    message: Sequence[_Value],
    early: dict[int, _Value],
    last_word: bool,
) -> _State:
    """One block. With `last_word` only the last word of the returned state is meaningful."""
    start = working = instructions.load(emitter, state)
    schedule = list(message)
    for group in range(_GROUPS):
        if group >= len(message):
            schedule.append(instructions.schedule(emitter, schedule[-4:]))
        constants = _constant(ROUND_CONSTANTS[_GROUP * group : _GROUP * (group + 1)])
        sums = emitter.add(schedule[group], constants)
        if last_word and group == _GROUPS - 1 and isinstance(instructions, _X86):
            return _last_word(emitter, instructions.two_rounds(emitter, working, sums), state)
        first_half = emitter.add(early[group], constants) if group in early else None
        working = instructions.rounds(emitter, working, sums, first_half)
    pairs = zip(working, start, strict=True)
    return instructions.store(emitter, _State(*(emitter.add(new, old) for new, old in pairs)))


def _last_word(emitter: _Emitter, working: _State, start: _State) -> _State:
    """After 62 rounds f is the e of round 61, and two rounds later would be h."""
    abef, _ = working
    h = emitter.shuffle(abef, abef, 0, 0, 0, 0)
    return _State(start.first, emitter.add(h, start.second))


def _compare(emitter: _Emitter, layout: Layout, state: _State) -> str:
    vector, lane = (state.second, 3) if layout.last_word else (state.first, 0)
    word = emitter.emit(f"extractelement {_VECTOR} {{0}}, i32 {lane}", vector)
    if layout.last_word:
        word = emitter.emit("call i32 @llvm.bswap.i32(i32 {0})", word)
    low = emitter.emit("icmp ule i32 {0}, %limit", word)
    total = f"{low.name}_0"
    for stream in emitter.streams[1:]:
        emitter.varying.append(f"%any_{stream} = or i1 {total}, {low.name}_{stream}")
        total = f"%any_{stream}"
    return total
