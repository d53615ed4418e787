"""Blocks as plain Python values, and lists of them as Python prints them.

The programs of this network keep a block in a dict, and show their chain as `str(list_of_dicts)`.
`ast.literal_eval` would take hundreds of times the length of that text in memory before anyone
could look at what it is. So here is a small reader of what occurs in it: lists, dicts with texts
for keys, texts, whole numbers. It counts what it makes, and how deep it is in. A list in JSON reads
the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer.dialects.messages import (
    BLOCKS_MAX,
    NUMBER_MAX,
    POOL_MAX,
    TEXT_CHARACTERS_MAX,
    Block,
    Entry,
    HeartbeatAnswer,
)

__all__ = ["NESTING_MAX", "VALUES_MAX", "chain_of_text", "chain_text", "heartbeat_of", "plain"]

NESTING_MAX = 8
"""A transaction in a block in a chain in an answer is four deep."""

VALUES_MAX = 2**17
"""Values of one answer: `BLOCKS_MAX` blocks of five transactions are 75,000, keys included."""

QUOTED_CHARACTERS_MAX = 10 * TEXT_CHARACTERS_MAX
"""Of a text as it is printed: the longest escape has ten characters."""

_Chain = Annotated[tuple[Block, ...], Meta(max_length=BLOCKS_MAX)]
_Pool = Annotated[tuple[Entry, ...], Meta(max_length=POOL_MAX)]
_Heartbeat = tuple[_Pool, _Chain | None, bool]


def plain(block: Block) -> dict[str, object]:
    """The dict that others keep, its keys in their order."""
    return {
        "index": block.index,
        "timestamp": block.timestamp,
        "transaction": list(block.transactions),
        "proof": block.proof,
        "previousHash": block.previous_hash,
        "currentHash": block.current_hash,
    }


def chain_text(blocks: Iterable[Block]) -> str:
    """A chain as Python prints it."""
    return str([plain(block) for block in blocks])


def chain_of_text(text: str) -> tuple[Block, ...]:
    """The chain that a text shows. Raises `RemoteProtocolError` where it shows none."""
    value = _Literal(text).read()
    try:
        chain: tuple[Block, ...] = msgspec.convert(value, _Chain)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(f"no chain: {error}") from None
    return chain


def heartbeat_of(value: object) -> HeartbeatAnswer:
    """The answer that a tuple of pool, chain or None, and flag is.

    Raises `RemoteProtocolError` where it is none.
    """
    try:
        pool, chain, flag = msgspec.convert(value, _Heartbeat)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(f"no heartbeat: {error}") from None
    return HeartbeatAnswer(pool, chain, flag)


_TOKEN = re.compile(
    r"""[ \t\r\n]*+(
        [][{},:]
        | -?[0-9]++
        | '[^'\\]*+(?:\\.[^'\\]*+)*+'
        | "[^"\\]*+(?:\\.[^"\\]*+)*+"
        | \Z
    )""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_SHORT = {r"\\": "\\", r"\'": "'", r"\"": '"', r"\n": "\n", r"\r": "\r", r"\t": "\t"}
_DIGITS_MAX = len(str(NUMBER_MAX))


class _Literal:
    """A position in a text. All faults are `RemoteProtocolError`."""

    __slots__ = ("_at", "_text", "_values")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._values = 0

    def read(self) -> object:
        """The one value that the text is."""
        value = self._value(self._token(), NESTING_MAX)
        if self._token():
            raise RemoteProtocolError("a list that goes on after its end")
        return value

    def _token(self) -> str:
        """The next one; an empty text at the end."""
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise RemoteProtocolError(f"a list with {self._text[self._at :][:20]!r} in it")
        self._at = match.end()
        return match[1]

    def _value(self, token: str, nesting: int) -> object:
        self._values += 1
        if self._values > VALUES_MAX:
            raise RemoteProtocolError(f"a list of more than {VALUES_MAX} values")
        if not nesting:
            raise RemoteProtocolError(f"a list that is more than {NESTING_MAX} deep")
        match token[:1]:
            case "[":
                return [self._value(item, nesting - 1) for item in self._items("]")]
            case "{":
                return dict(self._pair(key, nesting - 1) for key in self._items("}"))
            case "'" | '"':
                return _unquoted(token)
            case "" | "]" | "}" | "," | ":":
                raise RemoteProtocolError("a list without a value where there should be one")
            case _:
                return _number(token)

    def _items(self, closing: str) -> Iterator[str]:
        """The first token of each item; the caller reads the others before it asks again."""
        token = self._token()
        while token != closing:
            yield token
            token = self._token()
            if token == ",":
                token = self._token()
            elif token != closing:
                raise RemoteProtocolError("a list without a comma where there should be one")

    def _pair(self, key: str, nesting: int) -> tuple[str, object]:
        if key[:1] not in ("'", '"') or self._token() != ":":
            raise RemoteProtocolError("a list with a dict without a key")
        return _unquoted(key), self._value(self._token(), nesting)


def _number(token: str) -> int:
    if len(token) > _DIGITS_MAX or int(token) > NUMBER_MAX:
        raise RemoteProtocolError("a list with a number of more than 64 bits")
    return int(token)


def _unquoted(token: str) -> str:
    text = token[1:-1]
    if len(text) > QUOTED_CHARACTERS_MAX:
        raise RemoteProtocolError(f"a list with a text of over {TEXT_CHARACTERS_MAX} characters")
    return _ESCAPE.sub(lambda match: _unescaped(match[0]), text) if "\\" in text else text


@functools.lru_cache(maxsize=1024)
def _unescaped(escape: str) -> str:
    if escape in _SHORT:
        return _SHORT[escape]
    digits = escape[2:]
    code = int(digits, 16) if digits else None
    if code is None or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise RemoteProtocolError("a list with an escape that stands for no character")
    return chr(code)
