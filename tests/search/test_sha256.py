"""The trace is SHA-256: run the graph on numbers, and hashlib says the same."""

import hashlib
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.search.sha256 import (
    INITIAL_STATE,
    ROUND_CONSTANTS,
    WORD_MASK,
    Graph,
    Kind,
    Operand,
    Reference,
    compress_words,
    pad,
    trace,
)

words = st.integers(0, WORD_MASK)
blocks_of_bytes = st.binary(min_size=64, max_size=64)


def rotate(word: int, count: int) -> int:
    return (word >> count | word << (32 - count)) & WORD_MASK


def evaluate(graph: Graph, output: Reference, inputs: Mapping[str, int]) -> int:
    """Run a graph, one node after the other, the way generated code does."""
    values: dict[int, int] = {}

    def value(operand: Operand) -> int:
        return operand if isinstance(operand, int) else values[operand.node]

    for index in graph.live(output):
        node = graph.nodes[index]
        if not node.operands:
            values[index] = inputs[node.operation]
            continue
        values[index] = operate(node.operation, [value(operand) for operand in node.operands])
    return values[output.node]


def operate(operation: str, x: list[int]) -> int:
    match operation:
        case "add":
            return x[0] + x[1] & WORD_MASK
        case "xor":
            return x[0] ^ x[1]
        case "and":
            return x[0] & x[1]
        case "choose":
            return (x[0] & x[1]) ^ (~x[0] & x[2])
        case "majority":
            return (x[0] & x[1]) ^ (x[0] & x[2]) ^ (x[1] & x[2])
        case "big_sigma0":
            return rotate(x[0], 2) ^ rotate(x[0], 13) ^ rotate(x[0], 22)
        case "big_sigma1":
            return rotate(x[0], 6) ^ rotate(x[0], 11) ^ rotate(x[0], 25)
        case "small_sigma0":
            return rotate(x[0], 7) ^ rotate(x[0], 18) ^ x[0] >> 3
        case "small_sigma1":
            return rotate(x[0], 17) ^ rotate(x[0], 19) ^ x[0] >> 10
        case _:
            raise AssertionError(operation)


def test_constants_are_those_of_the_standard() -> None:
    """FIPS 180-4, sections 4.2.2 and 5.3.3."""
    assert ROUND_CONSTANTS[:2] == (0x428A2F98, 0x71374491)
    assert ROUND_CONSTANTS[-1] == 0xC67178F2
    assert INITIAL_STATE[0] == 0x6A09E667
    assert INITIAL_STATE[-1] == 0x5BE0CD19


@given(st.binary(max_size=300))
def test_compressing_block_by_block_is_hashlib(message: bytes) -> None:
    padded = message + pad(len(message))
    state: tuple[int, ...] = INITIAL_STATE
    for offset in range(0, len(padded), 64):
        state = compress_words(state, padded[offset : offset + 64])
    assert struct.pack(">8I", *state) == hashlib.sha256(message).digest()


@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("last_word", [False, True])
@given(
    message=st.binary(min_size=80, max_size=200),
    vary=st.sets(st.integers(0, 12), min_size=1, max_size=3),
    low=st.lists(words, min_size=3, max_size=3),
)
def test_a_traced_word_is_hashlibs_word(
    ternary: bool, double: bool, last_word: bool, message: bytes, vary: set[int], low: list[int]
) -> None:
    """Split words of a message into a uniform and a varying part; their sum is hashed."""
    padded = message + pad(len(message))
    body = padded[64:]
    state = compress_words(INITIAL_STATE, padded[:64])
    numbers = list(struct.unpack(f">{len(body) // 4}I", body))
    inputs = {f"state {index}": word for index, word in enumerate(state)}
    for index, part in zip(sorted(vary), low, strict=False):
        numbers[index] = numbers[index] - part & WORD_MASK
        inputs[f"low {index}"] = part
    inputs |= {f"message {index}": word for index, word in enumerate(numbers)}

    graph, output = trace(len(body) // 64, sorted(vary), double, last_word, ternary)

    digest = hashlib.sha256(message).digest()
    digest = hashlib.sha256(digest).digest() if double else digest
    expected = struct.unpack(">8I", digest)[7 if last_word else 0]
    assert evaluate(graph, output, inputs) == expected


def test_early_words_and_constants_cost_the_loop_nothing() -> None:
    """A nonce in word 12 leaves twelve rounds and much of the schedule outside the loop."""
    early, late = (trace(1, (word,), double=False, last_word=False) for word in (0, 12))
    assert late[0].census(late[1])["choose"] == early[0].census(early[1])["choose"] - 12
    assert late[0].census(late[1])["small_sigma0"] < early[0].census(early[1])["small_sigma0"]


def test_the_last_word_saves_three_rounds() -> None:
    first, last = (trace(1, (3,), double=True, last_word=flag) for flag in (False, True))
    assert first[0].census(first[1])["big_sigma1"] - last[0].census(last[1])["big_sigma1"] == 3


def test_ternary_logic_makes_a_majority_one_operation() -> None:
    graph, output = trace(1, (3,), double=False, last_word=False, ternary=True)
    census = graph.census(output)
    assert census["majority"] > 50
    assert census["xor"] == census["and"] == 0


def test_equal_operations_are_one_node() -> None:
    graph = Graph()
    x, y = graph.input(Kind.UNIFORM, "state 0"), graph.input(Kind.VARYING, "low 0")
    assert graph.apply("xor", x, y) == graph.apply("xor", y, x)
    assert graph.operand(graph.add(x, y)) == graph.operand(graph.add(y, x))
