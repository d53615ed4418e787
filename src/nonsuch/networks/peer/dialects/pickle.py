"""The dialect of pickles: each request is a pickled text, each answer a pickled value.

    tx …   "Accepted", "Rejected"       gp   int           pb   str(list of dicts)
    up …   "Reward", "No Reward"        cc   nothing       hb   (pool, chain or None, flag)

Nothing frames them, and nothing has to: a pickle is a program that ends with its STOP, and so two
that come joined are told apart, and one that comes in pieces is waited for.

**A pickle from a stranger is never given to `pickle`.** A pickle can name any function and have it
called; that is refused by overriding `find_class`, but the rest is not: a standard unpickler lets
13 bytes allocate gigabytes (a memo index, a length), makes what any number of opcodes asks for, and
cannot tell a pickle that is not all here from one that is broken. So this is a reader of our own,
of the few opcodes that occur: texts, whole numbers, booleans, None, lists, tuples, dicts, and the
memo. Anything else is refused before it is understood; every length of a value is held against what
is left of the bound before it is waited for; values are counted. It reads each opcode once, however
small the segments are. What is written is made by `pickle` itself, and so byte for byte what other
programs send.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer.dialects.messages import (
    ANSWER_BYTES_MAX,
    NUMBER_MAX,
    REQUEST_BYTES_MAX,
    Answer,
    Chain,
    GetChain,
    GetProof,
    Heartbeat,
    HeartbeatAnswer,
    Proof,
    Request,
    Reward,
    UpdateProof,
    Verdict,
    parse_request,
)
from nonsuch.networks.peer.dialects.records import (
    NESTING_MAX,
    VALUES_MAX,
    chain_of_text,
    chain_text,
    heartbeat_of,
    plain,
)
from nonsuch.networks.peer.dialects.wires import ClientWire, DialectWire

__all__ = ["PICKLE", "PickleClientWire", "PickleReader", "PickleServerWire"]

PICKLE = "pickle"

PROTOCOL = 4

PROTOCOLS_READ = (4, 5)
"""Of what occurs here 5 writes the same bytes, and Python 3.14 writes 5 if it is not told."""

INTEGER_BYTES_MAX = 9
"""Of a number of 64 bits, and its sign."""

_VERDICTS = {"Accepted": True, "Rejected": False}
_REWARDS = {"Reward": True, "No Reward": False, "No reward": False}


class PickleServerWire(DialectWire):
    """The end that is asked."""

    __slots__ = ("_reader",)

    name = PICKLE

    def __init__(self) -> None:
        super().__init__()
        self._reader = PickleReader()

    def encode(self, message: object) -> bytes:
        """The bytes of an answer; none for anything else."""
        match message:
            case Verdict(accepted=accepted):
                return _pickled("Accepted" if accepted else "Rejected")
            case Proof(proof=proof):
                return _pickled(proof)
            case Reward(granted=granted):
                return _pickled("Reward" if granted else "No Reward")
            case Chain(blocks=blocks):
                return _pickled(chain_text(blocks))
            case HeartbeatAnswer(pool=pool, chain=chain, flag=flag):
                dicts = None if chain is None else [plain(block) for block in chain]
                return _pickled((list(pool), dicts, flag))
            case _:
                return b""

    def _messages(self) -> Iterator[object]:
        while taken := self._reader.take(self._buffer, REQUEST_BYTES_MAX):
            yield parse_request(_text(taken[0]))


class PickleClientWire(ClientWire):
    """The end that asks."""

    __slots__ = ("_reader",)

    name = PICKLE

    def __init__(self) -> None:
        super().__init__()
        self._reader = PickleReader()

    def _written(self, text: str) -> bytes:
        return _pickled(text)

    def _answer(self, request: Request) -> Answer | None:
        is_long = isinstance(request, GetChain | Heartbeat)
        bytes_max = ANSWER_BYTES_MAX if is_long else REQUEST_BYTES_MAX
        taken = self._reader.take(self._buffer, bytes_max)
        return _answer_of(taken[0], request) if taken else None


def _pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=PROTOCOL)


def _answer_of(value: object, request: Request) -> Answer:
    match request:
        case GetProof():
            return Proof(_proof(value))
        case UpdateProof():
            return Reward(_one_of(_REWARDS, value))
        case GetChain():
            return Chain(chain_of_text(_text(value)))
        case Heartbeat():
            return heartbeat_of(value)
        case _:
            return Verdict(_one_of(_VERDICTS, value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RemoteProtocolError(f"a text was due, not {type(value).__name__}")
    return value


def _one_of(words: dict[str, bool], value: object) -> bool:
    text = _text(value)
    if text not in words:
        raise RemoteProtocolError(f"{' or '.join(words)} was due, not {text[:40]!r}")
    return words[text]


def _proof(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RemoteProtocolError("a proof is a whole number, 0 or more")
    return value


class PickleReader:
    """A stack, and how far it is in a pickle. Nothing is kept once the value was taken."""

    __slots__ = ("_below", "_memo", "_read", "_stack", "_values")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._read = 0
        self._values = 0
        self._stack: list[object] = []
        self._below: list[list[object]] = []
        self._memo: list[object] = []

    def take(self, buffer: bytearray, bytes_max: int) -> tuple[object] | None:
        """The value of the first pickle, taken out of `buffer`; None while it is not all here.

        What was understood is taken out in any case. Raises `RemoteProtocolError` for a pickle of
        more than `bytes_max` bytes, and for anything that is not one of plain values.
        """
        at = 0
        while (found := _instruction(buffer, at, bytes_max - self._read)) is not None:
            opcode, argument, end = found
            if (self._read + at == 0) != (opcode == _PROTO):
                raise RemoteProtocolError("no pickle: one begins with its protocol, and only there")
            at = end
            if opcode == _STOP:
                del buffer[:at]
                return (self._finish(),)
            _ACTIONS[opcode](self, argument)
        del buffer[:at]
        self._read += at
        return None

    def _finish(self) -> object:
        value = self._pop()
        if self._stack or self._below:
            raise RemoteProtocolError("a pickle of more than one value")
        self._begin()
        return value

    # What opcodes do.

    def _push(self, value: object) -> None:
        self._values += 1
        if self._values > VALUES_MAX:
            raise RemoteProtocolError(f"a pickle of more than {VALUES_MAX} values")
        self._stack.append(value)

    def _pop(self) -> object:
        if not self._stack:
            raise RemoteProtocolError("a pickle that takes more values than it has")
        return self._stack.pop()

    def _mark(self, _: bytes) -> None:
        if len(self._below) >= NESTING_MAX:
            raise RemoteProtocolError(f"a pickle that is more than {NESTING_MAX} deep")
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[object]:
        if not self._below:
            raise RemoteProtocolError("a pickle that goes back to a mark it has not made")
        values, self._stack = self._stack, self._below.pop()
        return values

    def _protocol(self, argument: bytes) -> None:
        if argument[0] not in PROTOCOLS_READ:
            raise RemoteProtocolError(f"a pickle of protocol {argument[0]}, where 4 is spoken")

    def _unicode(self, argument: bytes) -> None:
        try:
            self._push(argument.decode())
        except UnicodeDecodeError:
            raise RemoteProtocolError("a pickle with a text that is not UTF-8") from None

    def _unsigned(self, argument: bytes) -> None:
        self._push(int.from_bytes(argument, "little"))

    def _signed(self, argument: bytes) -> None:
        value = int.from_bytes(argument, "little", signed=True)
        if len(argument) > INTEGER_BYTES_MAX or abs(value) > NUMBER_MAX:
            raise RemoteProtocolError("a pickle with a number of more than 64 bits")
        self._push(value)

    def _append(self, values: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, list):
            raise RemoteProtocolError("a pickle that appends to what is no list")
        target.extend(values)

    def _set(self, values: list[object]) -> None:
        target = self._stack[-1] if self._stack else None
        keys = values[::2]
        if not isinstance(target, dict) or len(values) % 2:
            raise RemoteProtocolError("a pickle that sets items of what is no dict")
        if not all(isinstance(key, str) for key in keys):
            raise RemoteProtocolError("a pickle of a dict with a key that is no text")
        target.update(zip(keys, values[1::2], strict=True))

    def _memoize(self, _: bytes) -> None:
        if len(self._memo) >= VALUES_MAX:
            raise RemoteProtocolError(f"a pickle that remembers more than {VALUES_MAX} values")
        self._memo.append(self._pop())
        self._stack.append(self._memo[-1])

    def _get(self, argument: bytes) -> None:
        index = int.from_bytes(argument, "little")
        if index >= len(self._memo):
            raise RemoteProtocolError("a pickle that remembers what it was not told")
        self._push(self._memo[index])

    def _pop_last(self, count: int) -> list[object]:
        return [self._pop() for _ in range(count)][::-1]


_Action = Callable[[PickleReader, bytes], None]


def _tuple_of(count: int) -> _Action:
    return lambda reader, _: reader._push(tuple(reader._pop_last(count)))


_PROTO = pickle.PROTO[0]
_STOP = pickle.STOP[0]

_ACTIONS: dict[int, _Action] = {
    opcode[0]: action
    for opcode, action in {
        pickle.PROTO: PickleReader._protocol,
        pickle.FRAME: lambda _reader, _: None,
        pickle.SHORT_BINUNICODE: PickleReader._unicode,
        pickle.BINUNICODE: PickleReader._unicode,
        pickle.BINUNICODE8: PickleReader._unicode,
        pickle.BININT: PickleReader._signed,
        pickle.BININT1: PickleReader._unsigned,
        pickle.BININT2: PickleReader._unsigned,
        pickle.LONG1: PickleReader._signed,
        pickle.NONE: lambda reader, _: reader._push(None),
        pickle.NEWTRUE: lambda reader, _: reader._push(True),
        pickle.NEWFALSE: lambda reader, _: reader._push(False),
        pickle.EMPTY_LIST: lambda reader, _: reader._push([]),
        pickle.EMPTY_DICT: lambda reader, _: reader._push({}),
        pickle.EMPTY_TUPLE: _tuple_of(0),
        pickle.TUPLE1: _tuple_of(1),
        pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3),
        pickle.TUPLE: lambda reader, _: reader._push(tuple(reader._since_mark())),
        pickle.MARK: PickleReader._mark,
        pickle.APPEND: lambda reader, _: reader._append(reader._pop_last(1)),
        pickle.APPENDS: lambda reader, _: reader._append(reader._since_mark()),
        pickle.SETITEM: lambda reader, _: reader._set(reader._pop_last(2)),
        pickle.SETITEMS: lambda reader, _: reader._set(reader._since_mark()),
        pickle.MEMOIZE: PickleReader._memoize,
        pickle.BINGET: PickleReader._get,
        pickle.LONG_BINGET: PickleReader._get,
    }.items()
}

_SIZES: dict[int, int] = dict.fromkeys([*_ACTIONS, _STOP], 0) | {
    _PROTO: 1,
    pickle.FRAME[0]: 8,
    pickle.BININT[0]: 4,
    pickle.BININT1[0]: 1,
    pickle.BININT2[0]: 2,
    pickle.BINGET[0]: 1,
    pickle.LONG_BINGET[0]: 4,
}
"""Bytes of an opcode's argument, but for those of `_LENGTHS`."""

_LENGTHS = {
    pickle.SHORT_BINUNICODE[0]: 1,
    pickle.BINUNICODE[0]: 4,
    pickle.BINUNICODE8[0]: 8,
    pickle.LONG1[0]: 1,
}
"""Bytes of the length that comes before an argument of that length, little-endian."""


def _instruction(buffer: bytearray, at: int, bytes_max: int) -> tuple[int, bytes, int] | None:
    """The opcode at a place, its argument, and where it ends; None while it is not all here."""
    if at >= len(buffer):
        return None
    opcode = buffer[at]
    if opcode not in _SIZES:
        raise RemoteProtocolError(f"a pickle with opcode {opcode:#04x}, which no plain value needs")
    begin = at + 1 + _LENGTHS.get(opcode, 0)
    end = begin + _SIZES[opcode]
    if opcode in _LENGTHS and begin <= len(buffer):
        end += int.from_bytes(buffer[at + 1 : begin], "little")
    if end > bytes_max:
        raise RemoteProtocolError("a pickle of more bytes than are allowed here")
    if end > len(buffer):
        return None
    return opcode, bytes(buffer[begin:end]), end
