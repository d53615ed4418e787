"""The traced graph as vector code: one nonce a lane, 4 to 32 lanes a batch.

Uniform and varying nodes become the same instructions on the same vector type; they differ only in
where they stand, before the loop over lanes or inside it. A uniform value that the loop needs is
then already spread over all lanes, in a register or, as there are more of them than registers, in a
stack slot that the addition reads directly.

With several vectors a batch (`ways`), every varying node is emitted once for each, side by side, so
that the processor finds independent work while a chain of rounds waits for its own results. That
pays where there are 32 vector registers (AVX-512) and costs more in spills than it gains where
there are 16.

What LLVM knows better is left to it: it fuses shifts and ors into rotations, and most pairs of
logical operations into AVX-512's `vpternlog`. It does not recognise a majority of three when the
`a ^ b` in it is shared between rounds, so that one is named (truth table 0xE8).
"""

from __future__ import annotations

from dataclasses import dataclass

from nonsuch.search.frame import frame, job_address
from nonsuch.search.layout import Layout
from nonsuch.search.sha256 import ROTATIONS, Kind, Node, Operand, Reference, trace, trace_block

__all__ = ["block_function", "lanes_module", "vector_attributes", "vector_declarations"]

_MAJORITY_TABLE = 0xE8
_TERNARY_LOGIC = "llvm.x86.avx512.pternlog.d.512"


def lanes_module(layout: Layout, lanes: int, ways: int, ternary: bool) -> str:
    """LLVM IR of `scan` for this layout: `ways` vectors of `lanes` nonces a batch.

    `ternary` is for AVX-512, whose three-input logic is used by name.
    """
    graph, output = trace(layout.blocks, layout.vary, layout.double, layout.last_word, ternary)
    emitter = _ScanEmitter(lanes, layout, ways)
    for index in graph.live(output):
        emitter.emit(index, graph.nodes[index])
    candidate = emitter.compare(output)
    return frame(
        uniform=emitter.uniform,
        varying=emitter.varying,
        candidate=candidate,
        batch=lanes * ways,
        attributes=vector_attributes(lanes),
        declarations=vector_declarations(lanes, ternary=ternary),
    )


def block_function(name: str, lanes: int) -> list[str]:
    """LLVM IR of one block of SHA-256 for so many nonces: `void name(ptr state, ptr words)`.

    Both point to vectors, the 8 of the state, which are replaced, and the 16 of the message.
    """
    graph, outputs = trace_block()
    emitter = _BlockEmitter(lanes)
    live = sorted({index for output in outputs for index in graph.live(output)})
    for index in live:
        emitter.emit(index, graph.nodes[index])
    for place, output in enumerate(outputs):
        emitter.store(output, place)
    return [
        f"define internal void @{name}(ptr %state, ptr %message) #0 {{",
        *emitter.lines,
        "ret void",
        "}",
    ]


def vector_attributes(lanes: int) -> str:
    """Of a function that computes with vectors of so many lanes."""
    bits = 32 * lanes
    return (
        f'alignstack=64 "stackrealign" "prefer-vector-width"="{bits}"'
        f' "min-legal-vector-width"="{bits}"'
    )


def vector_declarations(lanes: int, *, ternary: bool) -> list[str]:
    """The intrinsics that the code calls."""
    vector = f"<{lanes} x i32>"
    lines = [
        f"declare {vector} @llvm.fshr.v{lanes}i32({vector}, {vector}, {vector})",
        f"declare {vector} @llvm.bswap.v{lanes}i32({vector})",
    ]
    if ternary:
        arguments = f"{vector}, {vector}, {vector}, i32"
        lines.append(f"declare {vector} @{_TERNARY_LOGIC}({arguments})")
    return lines


@dataclass
class _Emitter:
    """Writes operations on vectors of so many lanes as instructions, into `lines`."""

    lanes: int

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self._vector = f"<{self.lanes} x i32>"
        self._temporaries = 0

    def _splat(self, scalar: str, result: str | None = None) -> str:
        vector = self._vector
        first = self._new(f"insertelement {vector} poison, i32 {scalar}, i32 0")
        spread = f"{vector} {first}, {vector} poison, <{self.lanes} x i32> zeroinitializer"
        return self._set(result or self._temporary(), f"shufflevector {spread}")

    def _operation(self, result: str, name: str, operands: list[str]) -> None:
        if name in ROTATIONS:
            self._sigma(result, name, operands[0])
        elif name == "choose":
            e, f, g = operands
            self._binary("xor", g, self._binary("and", e, self._binary("xor", f, g)), result)
        elif name == "majority":
            a, b, c = (f"{self._vector} {operand}" for operand in operands)
            call = f"@{_TERNARY_LOGIC}({a}, {b}, {c}, i32 {_MAJORITY_TABLE})"
            self._set(result, f"call {self._vector} {call}")
        else:
            left, right = operands
            self._binary(name, left, right, result)

    def _sigma(self, result: str, name: str, word: str) -> None:
        first, second, third = ROTATIONS[name]
        tail = self._rotated(word, third) if name.startswith("big") else self._shifted(word, third)
        head = self._binary("xor", self._rotated(word, first), self._rotated(word, second))
        self._binary("xor", head, tail, result)

    def _rotated(self, word: str, count: int) -> str:
        vector = self._vector
        arguments = f"{vector} {word}, {vector} {word}, {vector} {self._name(count)}"
        return self._new(f"call {vector} @llvm.fshr.v{self.lanes}i32({arguments})")

    def _shifted(self, word: str, count: int) -> str:
        return self._binary("lshr", word, self._name(count))

    def _binary(self, operation: str, left: str, right: str, result: str | None = None) -> str:
        return self._set(result or self._temporary(), f"{operation} {self._vector} {left}, {right}")

    def _name(self, operand: Operand, way: int = 0) -> str:
        if isinstance(operand, int):
            return f"splat (i32 {operand})"
        if operand.kind is Kind.UNIFORM:
            return f"%u{operand.node}"
        return f"%v{operand.node}.{way}"

    def _new(self, text: str) -> str:
        return self._set(self._temporary(), text)

    def _set(self, name: str, text: str) -> str:
        self.lines.append(f"{name} = {text}")
        return name

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"%t{self._temporaries}"


@dataclass
class _ScanEmitter(_Emitter):
    """Writes nodes as instructions, uniform ones once, varying ones once for each way."""

    layout: Layout
    ways: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.uniform: list[str] = []
        self.varying = [f"%lane{way} = add i64 %lane, {way * self.lanes}" for way in self._ways]

    @property
    def _ways(self) -> range:
        return range(self.ways)

    def emit(self, index: int, node: Node) -> None:
        """Write one node. Its operands must have been written before."""
        self.lines = self.uniform if node.kind is Kind.UNIFORM else self.varying
        for way in range(1) if node.kind is Kind.UNIFORM else self._ways:
            result = self._name(Reference(node.kind, index), way)
            if not node.operands:
                self._input(result, node.operation, way)
            else:
                operands = [self._name(operand, way) for operand in node.operands]
                self._operation(result, node.operation, operands)

    def compare(self, output: Reference) -> str:
        """Write the comparison of all lanes with the limit; the name of its one-bit result."""
        self.lines = self.uniform
        limit = self._splat("%limit")
        self.lines = self.varying
        found = [self._is_low(self._name(output, way), limit) for way in self._ways]
        total = found[0]
        for other in found[1:]:
            total = self._new(f"or i{self.lanes} {total}, {other}")
        return self._new(f"icmp ne i{self.lanes} {total}, 0")

    def _is_low(self, word: str, limit: str) -> str:
        vector = self._vector
        if self.layout.last_word:
            word = self._new(f"call {vector} @llvm.bswap.v{self.lanes}i32({vector} {word})")
        flags = self._new(f"icmp ule {vector} {word}, {limit}")
        return self._new(f"bitcast <{self.lanes} x i1> {flags} to i{self.lanes}")

    def _input(self, result: str, name: str, way: int) -> None:
        source, index = name.split()
        if source == "low":
            column = self.layout.vary.index(int(index))
            at = self._new(f"getelementptr i32, ptr %low{column}, i64 %lane{way}")
            self._set(result, f"load {self._vector}, ptr {at}, align 16")
            return
        at = self._temporary()
        self.lines.append(job_address(at, source, int(index)))
        self._splat(self._new(f"load i32, ptr {at}, align 4"), result)


class _BlockEmitter(_Emitter):
    """Writes nodes whose inputs are vectors in memory, `%state` and `%message`."""

    def emit(self, index: int, node: Node) -> None:
        """Write one node. Its operands must have been written before."""
        result = self._name(Reference(node.kind, index))
        if node.operands:
            self._operation(result, node.operation, [self._name(each) for each in node.operands])
            return
        source, place = node.operation.split()
        at = self._new(f"getelementptr {self._vector}, ptr %{source}, i64 {place}")
        self._set(result, f"load {self._vector}, ptr {at}, align {4 * self.lanes}")

    def store(self, output: Reference, place: int) -> None:
        """Make this the new word of the state at its place."""
        at = self._new(f"getelementptr {self._vector}, ptr %state, i64 {place}")
        self.lines.append(
            f"store {self._vector} {self._name(output)}, ptr {at}, align {4 * self.lanes}"
        )
