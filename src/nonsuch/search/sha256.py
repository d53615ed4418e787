"""SHA-256 written once, over symbolic words, and *traced* for one layout of the nonce.

Run the text-book algorithm (FIPS 180-4, section 6.2.2) on words that are not numbers but promises
of numbers, and it leaves behind a graph of everything it would have computed. Each word is of one
of three kinds, and the kind of a result follows from the kinds of its operands:

    constant  known now: round constants, padding of the second hash, the initial state
    uniform   the same for a whole row of nonces: the message, the midstate, the high digits
    varying   different in every lane: the low digits of the nonce, and all they touch

Constants fold here, in Python. Uniform nodes become code that runs once a row (some thousand
nonces). Only varying nodes become code of the inner loop, and there are fewer of them than one
would think: a nonce in word 3 leaves the first three rounds and a good part of the message schedule
uniform.

Sums are special. SHA-256 adds up to five terms at a time, and addition commutes, so a sum is kept
apart as `constant + uniform + varying` until somebody needs its bits. All constant and uniform
terms then cost one addition in the loop, however many they are.

The graph shares equal nodes, so `a ^ b`, which the majority of one round and of the next both need,
is computed once. Nothing that the asked-for digest word does not depend on is emitted (`live`): the
kernel looks at one word only, and when that is the last one (Bitcoin's order), three rounds fall
away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import isqrt
from typing import NamedTuple

from nonsuch.work.puzzle import BLOCK_SIZE

__all__ = [
    "BLOCK_SIZE",
    "INITIAL_STATE",
    "ROTATIONS",
    "ROUND_CONSTANTS",
    "WORD_MASK",
    "Graph",
    "Kind",
    "Node",
    "Value",
    "compress_words",
    "midstate",
    "pad",
    "trace",
    "trace_block",
    "words_of",
]

WORD_MASK = 0xFFFFFFFF
BLOCK_WORDS = 16
ROUNDS = 64

ROUNDS_TO_LAST_WORD = 61
"""H7 is the initial h plus the h of round 64, which is the e of round 61: three rounds less."""


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _cube_root(value: int) -> int:
    """The integer part of the cube root, by Newton's method from above."""
    guess = 1 << -(-value.bit_length() // 3)
    while (better := (2 * guess + value // guess**2) // 3) < guess:
        guess = better
    return guess


# FIPS 180-4, sections 4.2.2 and 5.3.3: the first 32 bits of the fractional parts of the cube roots
# of the first 64 primes, and of the square roots of the first eight.
ROUND_CONSTANTS = tuple(_cube_root(prime << 96) & WORD_MASK for prime in _primes(ROUNDS))
INITIAL_STATE = tuple(isqrt(prime << 64) & WORD_MASK for prime in _primes(8))

ROTATIONS = {
    "big_sigma0": (2, 13, 22),
    "big_sigma1": (6, 11, 25),
    "small_sigma0": (7, 18, 3),
    "small_sigma1": (17, 19, 10),
}
"""Rotations to the right of FIPS 180-4, section 4.1.2; a small sigma's third is a shift."""


def _rotate(word: int, count: int) -> int:
    return (word >> count | word << 32 - count) & WORD_MASK


def _sigma(name: str, word: int) -> int:
    first, second, third = ROTATIONS[name]
    tail = _rotate(word, third) if name.startswith("big") else word >> third
    return _rotate(word, first) ^ _rotate(word, second) ^ tail


def _fold(operation: str, words: Sequence[int]) -> int:
    """What an operation gives on constants."""
    if operation in ROTATIONS:
        return _sigma(operation, words[0])
    if operation == "choose":
        e, f, g = words
        return g ^ (e & (f ^ g))
    if operation == "majority":
        a, b, c = words
        return (a & b) | (c & (a | b))
    left, right = words
    return {"add": left + right & WORD_MASK, "xor": left ^ right, "and": left & right}[operation]


class Kind(Enum):
    """When a node's value is known: once a row, or per lane. (Constants are plain integers.)"""

    UNIFORM = "uniform"
    VARYING = "varying"


class Node(NamedTuple):
    """One operation of the graph; `operands` are literals or earlier nodes."""

    kind: Kind
    operation: str
    operands: tuple[Operand, ...]


class Reference(NamedTuple):
    """A pointer to a node, with the node's kind so that nobody has to look it up."""

    kind: Kind
    node: int


Operand = int | Reference


class Value(NamedTuple):
    """A word that is not materialised yet: constant + uniform + varying, modulo 2**32."""

    constant: int = 0
    uniform: Reference | None = None
    varying: Reference | None = None


@dataclass
class Graph:
    """The operations a trace has asked for, each once, in an order in which they can be run.

    Inputs are nodes without operands, named by their operation: `state 3` and `message 9` (uniform
    in a scan, varying where a block is all there is) and `low 6` (varying: what a lane adds to
    message word 6).
    """

    ternary: bool = False
    """Whether the target has three-input logic, so that a majority is one operation, not three."""

    nodes: list[Node] = field(default_factory=list)
    _shared: dict[tuple[str, tuple[Operand, ...]], Reference] = field(default_factory=dict)

    def input(self, kind: Kind, name: str) -> Value:
        """An input by name; asking twice gives the same node."""
        return _as_value(self._node(kind, name, ()))

    def add(self, *values: Value) -> Value:
        """A sum whose uniform terms are gathered, and whose bits nobody has asked for yet."""
        constant = sum(value.constant for value in values) & WORD_MASK
        uniform = self._total(Kind.UNIFORM, (value.uniform for value in values))
        varying = self._total(Kind.VARYING, (value.varying for value in values))
        return Value(constant, uniform, varying)

    def settle(self, value: Value) -> Value:
        """The same word with its terms added up, for one that will be used many times."""
        return _as_value(self.operand(value))

    def operand(self, value: Value) -> Operand:
        """The word itself, to be operated on bit by bit: at most two additions."""
        base: Operand = value.constant
        if value.uniform is not None:
            base = self._apply("add", value.uniform, value.constant)
        if value.varying is None:
            return base
        return self._apply("add", value.varying, base)

    def apply(self, operation: str, *values: Value) -> Value:
        """One of the functions of FIPS 180-4, section 4.1.2."""
        return _as_value(self._apply(operation, *(self.operand(value) for value in values)))

    def majority(self, a: Value, b: Value, c: Value) -> Value:
        """Three operations where `a ^ b` serves the next round too; one with ternary logic."""
        if self.ternary:
            return self.apply("majority", a, b, c)
        return self.apply(
            "xor", self.apply("and", self.apply("xor", a, b), self.apply("xor", c, b)), b
        )

    def live(self, output: Reference) -> list[int]:
        """Indices of the nodes that `output` depends on, ascending."""
        needed: set[int] = set()
        pending = [output.node]
        while pending:
            index = pending.pop()
            if index in needed:
                continue
            needed.add(index)
            pending += [o.node for o in self.nodes[index].operands if isinstance(o, Reference)]
        return sorted(needed)

    def census(self, output: Reference) -> Counter[str]:
        """How many varying operations of each name one batch costs, inputs not counted."""
        live = (self.nodes[index] for index in self.live(output))
        return Counter(n.operation for n in live if n.kind is Kind.VARYING and n.operands)

    def _total(self, kind: Kind, terms: Iterable[Reference | None]) -> Reference | None:
        total: Reference | None = None
        for term in terms:
            if term is not None:
                total = term if total is None else self._node(kind, "add", (total, term))
        return total

    def _apply(self, operation: str, *operands: Operand) -> Operand:
        literals = [operand for operand in operands if isinstance(operand, int)]
        if len(literals) == len(operands):
            return _fold(operation, literals)
        if operation == "add" and 0 in literals:
            return next(operand for operand in operands if operand != 0)
        varying = any(isinstance(o, Reference) and o.kind is Kind.VARYING for o in operands)
        return self._node(Kind.VARYING if varying else Kind.UNIFORM, operation, operands)

    def _node(self, kind: Kind, operation: str, operands: tuple[Operand, ...]) -> Reference:
        if operation in ("add", "xor", "and"):
            operands = tuple(sorted(operands, key=_order))
        key = operation, operands
        if key not in self._shared:
            self._shared[key] = Reference(kind, len(self.nodes))
            self.nodes.append(Node(kind, operation, operands))
        return self._shared[key]


def _order(operand: Operand) -> tuple[int, int]:
    """Commuting operands are sorted, so that equal operations are equal nodes; literals last."""
    return (1, operand) if isinstance(operand, int) else (0, operand.node)


def _as_value(operand: Operand) -> Value:
    if isinstance(operand, int):
        return Value(constant=operand)
    if operand.kind is Kind.UNIFORM:
        return Value(uniform=operand)
    return Value(varying=operand)


def _compress(
    graph: Graph, state: Sequence[Value], message: Sequence[Value], last_word: bool = False
) -> list[Value]:
    """One block (FIPS 180-4, section 6.2.2). With `last_word`, only H7 is computed and returned."""
    a, b, c, d, e, f, g, h = state
    schedule = list(message)
    for t in range(ROUNDS_TO_LAST_WORD if last_word else ROUNDS):
        if t >= BLOCK_WORDS:
            schedule.append(graph.settle(_scheduled(graph, schedule, t)))
        # The uniform part goes in with the first varying term: h is ready a round before the rest.
        ready = graph.settle(graph.add(h, schedule[t], Value(ROUND_CONSTANTS[t])))
        choice = graph.apply("choose", e, f, g)
        t1 = graph.add(ready, choice, graph.apply("big_sigma1", e))
        t2 = graph.add(graph.majority(a, b, c), graph.apply("big_sigma0", a))
        a, b, c, d, e, f, g, h = graph.add(t2, t1), a, b, c, graph.add(d, t1), e, f, g
        a, e = graph.settle(a), graph.settle(e)
    if last_word:
        return [graph.add(e, state[7])]
    return [graph.add(old, new) for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def _scheduled(graph: Graph, schedule: Sequence[Value], t: int) -> Value:
    small_sigma0 = graph.apply("small_sigma0", schedule[t - 15])
    small_sigma1 = graph.apply("small_sigma1", schedule[t - 2])
    return graph.add(small_sigma0, schedule[t - 16], schedule[t - 7], small_sigma1)


def trace(
    blocks: int, vary: Sequence[int], double: bool, last_word: bool, ternary: bool = False
) -> tuple[Graph, Reference]:
    """The graph of one digest word, and where in it that word is.

    `blocks` is how many 64-byte blocks are hashed from the given state, `vary` the indices of the
    message words that differ between lanes, `double` whether the digest is hashed again. The word
    is the first (H0), or with `last_word` the last (H7).
    """
    graph = Graph(ternary)

    def message_word(index: int) -> Value:
        word = graph.input(Kind.UNIFORM, f"message {index}")
        if index in vary:
            word = graph.add(word, graph.input(Kind.VARYING, f"low {index}"))
        return graph.settle(word)

    state = [graph.input(Kind.UNIFORM, f"state {index}") for index in range(8)]
    for block in range(blocks):
        words = [message_word(BLOCK_WORDS * block + index) for index in range(BLOCK_WORDS)]
        final = block == blocks - 1 and not double
        state = _compress(graph, state, words, last_word and final)
    if double:
        words = [*state, *map(Value, _SECOND_HASH_PADDING)]
        state = _compress(graph, [*map(Value, INITIAL_STATE)], words, last_word)
    output = graph.operand(state[0])
    assert isinstance(output, Reference), "a digest that no nonce changes"
    return graph, output


def trace_block() -> tuple[Graph, list[Reference]]:
    """The graph of one block of which nothing is known, and where in it the new state is.

    Its inputs, all varying, are `state 0` to `state 7` and `message 0` to `message 15`.
    """
    graph = Graph()
    state = [graph.input(Kind.VARYING, f"state {index}") for index in range(8)]
    message = [graph.input(Kind.VARYING, f"message {index}") for index in range(BLOCK_WORDS)]
    words = [graph.operand(word) for word in _compress(graph, state, message)]
    outputs = [word for word in words if isinstance(word, Reference)]
    assert len(outputs) == len(words), "a state that no message changes"
    return graph, outputs


def pad(length: int) -> bytes:
    """The padding that follows a message of `length` bytes (FIPS 180-4, section 5.1.1)."""
    zeros = (BLOCK_SIZE - 9 - length) % BLOCK_SIZE
    return b"\x80" + bytes(zeros) + (8 * length).to_bytes(8, "big")


def words_of(message: bytes) -> tuple[int, ...]:
    """A message of whole words as numbers."""
    return tuple(int.from_bytes(message[i : i + 4], "big") for i in range(0, len(message), 4))


_SECOND_HASH_PADDING = words_of(pad(32))


def midstate(blocks: bytes, state: tuple[int, ...] = INITIAL_STATE) -> tuple[int, ...]:
    """The state after so many whole blocks."""
    for offset in range(0, len(blocks), BLOCK_SIZE):
        state = compress_words(state, blocks[offset : offset + BLOCK_SIZE])
    return state


def compress_words(state: Sequence[int], block: bytes) -> tuple[int, ...]:
    """One block over plain numbers, for midstates. (`_compress` takes ten times as long.)"""
    w = [*words_of(block)]
    for t in range(BLOCK_WORDS, ROUNDS):
        x, y = w[t - 15], w[t - 2]
        x = (x >> 7 | x << 25) ^ (x >> 18 | x << 14) ^ x >> 3
        y = (y >> 17 | y << 15) ^ (y >> 19 | y << 13) ^ y >> 10
        w.append((w[t - 16] + w[t - 7] + x + y) & WORD_MASK)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(ROUND_CONSTANTS, w, strict=True):
        t1 = (e >> 6 | e << 26) ^ (e >> 11 | e << 21) ^ (e >> 25 | e << 7)
        t1 = h + (t1 & WORD_MASK) + (g ^ (e & (f ^ g))) + constant + word
        t2 = (a >> 2 | a << 30) ^ (a >> 13 | a << 19) ^ (a >> 22 | a << 10)
        t2 = (t2 & WORD_MASK) + ((a & b) | (c & (a | b)))
        a, b, c, d, e, f, g, h = (t1 + t2) & WORD_MASK, a, b, c, (d + t1) & WORD_MASK, e, f, g
    return tuple(
        old + new & WORD_MASK for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)
    )
