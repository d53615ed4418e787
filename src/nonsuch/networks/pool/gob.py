"""The wire of the pool network: LiteMiner's one message, in the encoding of Go's `encoding/gob`.

Each direction of a connection is one gob stream and nothing else: no header, no other framing. The
stream is a row of *messages*, each a length and that many bytes, and a message is one of two:

- a **descriptor**, which says once what a type id stands for: here a struct, its fields' names and
  kinds in order. It begins with the id, negated;
- a **value**, which begins with the id and is then pairs of (field delta, value) up to a zero. The
  delta is the distance from the field before; a field that is zero is left out.

Three things are ever written. An *unsigned* number below 128 is one byte; any other is one byte,
256 less the count of bytes that follow, and those bytes, big-endian. A *signed* number is shifted
left by one, complemented if it was negative, with the sign in the lowest bit, and written unsigned.
*Octets* (and a string, in UTF-8) are an unsigned length and the bytes.

**What is ours is fixed, what is theirs is read.** The encoder sends, byte for byte, what every Go
program with LiteMiner's struct sends. The decoder goes by the peer's own descriptor, as Go does:
fields are known by name, in any order, under any type id. A field that the peer's struct lacks is
zero; a field that ours lacks is skipped, if it is of a simple kind. A known name of another kind is
refused when it is described, and so is a struct that shares no name with ours: of that, every value
would read as a ClientHello.

**Any bytes in any segmentation give messages, a wait for more, or RemoteProtocolError, never
anything else.** Every length is capped before anything is kept for it, so a decoder holds at most
one unfinished message, and a descriptor costs its cap in fields. The decoder is a little stricter
than Go's: bytes left over inside a message, which Go drops in silence, are an error, and so is
Data that is no UTF-8. Numbers written with leading zero bytes are accepted, as in Go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum

import msgspec

from nonsuch.errors import LocalError, RemoteProtocolError, shown

__all__ = [
    "DATA_BYTES_MAX",
    "DESCRIPTORS_MAX",
    "FIELDS_MAX",
    "MESSAGE_BYTES_MAX",
    "Decoder",
    "Encoder",
    "Kind",
    "Message",
]

DATA_BYTES_MAX = 64 * 1024
"""Bytes of Data, in UTF-8. Every reported nonce costs the pool one hash of all of Data, and every
shard sends it once more: 64 KiB keeps both below a millisecond, and is a long line of text."""

MESSAGE_BYTES_MAX = DATA_BYTES_MAX + 64 * 1024
"""Bytes of one gob message, and so the memory that a silent peer can hold. Our own fields need 68
bytes beside Data; the rest is room for a descriptor, and for fields of others that are skipped."""

DESCRIPTORS_MAX = 8
"""Types that one peer may describe. LiteMiner has one; a few more do no harm, each is kept."""

FIELDS_MAX = 64
"""Fields of one described struct. LiteMiner's has 7; there is room for a generous extension."""

UNSIGNED_BYTES_MAX = 8
"""Bytes of the longest number: gob has no integer above 64 bits."""


class Kind(IntEnum):
    """What a message is: its `type`."""

    CLIENT_HELLO = 0
    MINER_HELLO = 1
    ERROR = 2
    PROOF_OF_WORK = 3
    STATUS_UPDATE = 4
    MINE_REQUEST = 5
    TRANSACTION = 6
    BUSY_POOL = 7


class Message(msgspec.Struct, frozen=True):
    """LiteMiner's one struct. Which fields a `type` fills is for the layer above to judge.

    Decoded, `type` is any signed and the others are any unsigned number of 64 bits; `type` need not
    be a `Kind`. On the wire `processed` is NumProcessed.
    """

    type: int = 0
    data: str = ""
    lower: int = 0
    upper: int = 0
    processed: int = 0
    hash: int = 0
    nonce: int = 0


class _Wire(IntEnum):
    """The type ids that gob itself gives out and that a field may have here."""

    BOOL = 1
    INT = 2
    UINT = 3
    FLOAT = 4
    BYTES = 5
    STRING = 6


_FIELDS = {
    "Type": ("type", _Wire.INT),
    "Data": ("data", _Wire.STRING),
    "Lower": ("lower", _Wire.UINT),
    "Upper": ("upper", _Wire.UINT),
    "NumProcessed": ("processed", _Wire.UINT),
    "Hash": ("hash", _Wire.UINT),
    "Nonce": ("nonce", _Wire.UINT),
}
"""The fields of LiteMiner's struct in its order: on the wire, in `Message`, and of which kind."""

_SIMPLE = frozenset(_Wire)
_OCTETS = frozenset({_Wire.BYTES, _Wire.STRING})
"""The kinds that are written as octets; the other simple ones are one number."""

_USER_TYPE_MIN = 64
"""Lower type ids are gob's own."""

_DESCRIPTIONS = 7
_STRUCT = 2
"""A descriptor is itself a struct of 7 fields, of which one is set, for arrays, slices, structs
(this one), maps and three kinds of types that encode themselves."""

# Encoding.

_DESCRIPTOR = bytes.fromhex(
    "5fff81030101074d65737361676501ff820001070104547970650104000104446174"
    "61010c0001054c6f77657201060001055570706572010600010c4e756d50726f6365"
    "7373656401060001044861736801060001054e6f6e63650106000000"
)
"""What Go sends ahead of the first Message: a struct "Message" with those 7 fields is type 65."""

_TYPE_ID = 65
_ZERO = b"\x00"
"""How zero is written, whether number or octets; also the end of a struct."""


class Encoder:
    """One direction of a connection, as a Go program would send it."""

    __slots__ = ("_described",)

    def __init__(self) -> None:
        self._described = False

    def encode(self, message: Message) -> bytes:
        """The bytes of one message; those of the first begin with the descriptor.

        Raises `LocalError` where a value does not fit its field; the stream is then as it was.
        """
        content = _signed(_TYPE_ID) + _struct(_values(message))
        framed = _unsigned(len(content)) + content
        if self._described:
            return framed
        self._described = True
        return _DESCRIPTOR + framed


def _values(message: Message) -> list[bytes]:
    """Each field's value as it is written, in the order of the struct."""
    if not -(2**63) <= message.type < 2**63:
        raise LocalError(f"type {shown(message.type)} does not fit in a signed number of 64 bits")
    numbers = {
        "lower": message.lower,
        "upper": message.upper,
        "processed": message.processed,
        "hash": message.hash,
        "nonce": message.nonce,
    }
    for name, value in numbers.items():
        if not 0 <= value < 2**64:
            raise LocalError(f"{name} {shown(value)} is outside [0, 2**64), all that it can hold")
    data = _encoded_text(message.data)
    return [
        _signed(message.type),
        _unsigned(len(data)) + data,
        *(_unsigned(value) for value in numbers.values()),
    ]


def _encoded_text(text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise LocalError("data holds a lone surrogate, which UTF-8 cannot write") from None
    if len(encoded) > DATA_BYTES_MAX:
        raise LocalError(f"data has {len(encoded)} bytes; a message carries {DATA_BYTES_MAX}")
    return encoded


def _struct(values: list[bytes]) -> bytes:
    """The fields that are not zero, each after its distance from the one before, and the end."""
    written = bytearray()
    before = -1
    for number, value in enumerate(values):
        if value != _ZERO:
            written += _unsigned(number - before) + value
            before = number
    return bytes(written) + _ZERO


def _unsigned(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    size = (value.bit_length() + 7) // 8
    return bytes((256 - size,)) + value.to_bytes(size, "big")


def _signed(value: int) -> bytes:
    return _unsigned(~value << 1 | 1 if value < 0 else value << 1)


# Decoding.

_Field = tuple[str | None, int]
"""A field as the peer described it: which of ours it is, if any, and its kind."""


class Decoder:
    """The other direction of a connection: bytes in, messages out.

    Any bytes in any segmentation give messages, a wait for more, or RemoteProtocolError, never
    anything else. A message may have `bytes_max` bytes; `heard` is told of each one before the next
    is read, and may change that.
    """

    __slots__ = ("_buffer", "_fault", "_heard", "_layouts", "bytes_max")

    def __init__(
        self,
        bytes_max: int = MESSAGE_BYTES_MAX,
        heard: Callable[[Message], None] = lambda _message: None,
    ) -> None:
        self.bytes_max = bytes_max
        self._heard = heard
        self._buffer = bytearray()
        self._layouts: dict[int, list[_Field]] = {}
        self._fault: str | None = None

    @property
    def pending(self) -> int:
        """Bytes held of a message that has not all arrived; 0 where a stream may well end."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order; an empty list is a wait for more.

        Raises `RemoteProtocolError` where no more messages can come of the stream, now and at every
        later call. What the same `data` held before the fault is lost with the peer who sent it.
        """
        if self._fault is not None:
            raise RemoteProtocolError(self._fault)
        self._buffer += data
        try:
            return list(self._messages())
        except RemoteProtocolError as error:
            self._fault = str(error)
            self._buffer.clear()
            raise

    def _messages(self) -> Iterator[Message]:
        while (reader := self._next()) is not None:
            type_id = reader.signed()
            if type_id < 0:
                self._describe(-type_id, reader)
            elif (layout := self._layouts.get(type_id)) is not None:
                message = _read_message(reader, layout)
                self._heard(message)
                yield message
            else:
                raise RemoteProtocolError(f"a value of type {type_id}, which was not described")
            reader.finish()

    def _next(self) -> _Reader | None:
        """The next whole gob message, taken out of the buffer; None while it is not all here."""
        found = _read_unsigned(self._buffer, 0)
        if found is None:
            return None
        length, start = found
        if not 1 <= length <= self.bytes_max:
            raise RemoteProtocolError(
                f"a gob message of {length} bytes; 1 to {self.bytes_max} are accepted"
            )
        stop = start + length
        if len(self._buffer) < stop:
            return None
        content = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        return _Reader(content)

    def _describe(self, type_id: int, reader: _Reader) -> None:
        if type_id < _USER_TYPE_MIN:
            raise RemoteProtocolError(f"type {type_id} is gob's own and cannot be described")
        if type_id in self._layouts:
            raise RemoteProtocolError(f"type {type_id} was described before")
        if len(self._layouts) >= DESCRIPTORS_MAX:
            raise RemoteProtocolError(f"more than {DESCRIPTORS_MAX} types were described")
        self._layouts[type_id] = _read_descriptor(reader)


def _read_message(reader: _Reader, layout: list[_Field]) -> Message:
    data = ""
    numbers: dict[str, int] = {}
    for number in reader.fields(len(layout)):
        name, kind = layout[number]
        if name is None:
            _skip(reader, kind)
        elif kind == _Wire.STRING:
            data = reader.text(DATA_BYTES_MAX)
        elif kind == _Wire.INT:
            numbers[name] = reader.signed()
        else:
            numbers[name] = reader.unsigned()
    return Message(data=data, **numbers)


def _skip(reader: _Reader, kind: int) -> None:
    if kind in _OCTETS:
        reader.octets(MESSAGE_BYTES_MAX)
    else:
        reader.unsigned()


def _read_descriptor(reader: _Reader) -> list[_Field]:
    layout: list[_Field] | None = None
    for number in reader.fields(_DESCRIPTIONS):
        if number != _STRUCT:
            raise RemoteProtocolError("a descriptor of something other than a struct")
        layout = _read_struct(reader)
    if layout is None:
        raise RemoteProtocolError("a descriptor that describes nothing")
    return layout


def _read_struct(reader: _Reader) -> list[_Field]:
    """What a struct's description holds: its own name and id, of no interest, and its fields."""
    described: list[tuple[str, int]] = []
    for number in reader.fields(2):
        if number == 0:
            _read_name_and_id(reader)
        else:
            count = reader.unsigned()
            if count > FIELDS_MAX:
                raise RemoteProtocolError(f"a struct of {count} fields; {FIELDS_MAX} are accepted")
            described = [_read_name_and_id(reader) for _ in range(count)]
    return _layout(described)


def _layout(described: list[tuple[str, int]]) -> list[_Field]:
    if len({name for name, _ in described}) < len(described):
        raise RemoteProtocolError("a struct with two fields of one name")
    layout = [_field(name, kind) for name, kind in described]
    if layout and all(name is None for name, _ in layout):
        raise RemoteProtocolError("a struct that has no field of LiteMiner's Message")
    return layout


def _field(name: str, kind: int) -> _Field:
    if name in _FIELDS:
        ours, wanted = _FIELDS[name]
        if kind != wanted:
            raise RemoteProtocolError(f"field {name} has gob type {kind}, not {wanted.value}")
        return ours, kind
    if kind not in _SIMPLE:
        raise RemoteProtocolError(f"a field of gob type {kind}, which is not one of the simple six")
    return None, kind


def _read_name_and_id(reader: _Reader) -> tuple[str, int]:
    """A struct or a field is introduced in the same way: field 0 is a name, field 1 a type id."""
    name, type_id = "", 0
    for number in reader.fields(2):
        if number == 0:
            name = reader.text(MESSAGE_BYTES_MAX)
        else:
            type_id = reader.signed()
    return name, type_id


class _Reader:
    """A position in one gob message, all of which is here: running out of bytes is an error."""

    __slots__ = ("_at", "_content")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def unsigned(self) -> int:
        found = _read_unsigned(self._content, self._at)
        if found is None:
            raise RemoteProtocolError("a gob message ends where a number should be")
        value, self._at = found
        return value

    def signed(self) -> int:
        value = self.unsigned()
        return ~(value >> 1) if value & 1 else value >> 1

    def octets(self, size_max: int) -> bytes:
        size = self.unsigned()
        if size > size_max:
            raise RemoteProtocolError(f"a text of {size} bytes; {size_max} are accepted")
        start, self._at = self._at, self._at + size
        if self._at > len(self._content):
            raise RemoteProtocolError("a text is longer than the gob message that it is in")
        return self._content[start : self._at]

    def text(self, size_max: int) -> str:
        try:
            return self.octets(size_max).decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("a text that is not UTF-8") from None

    def fields(self, count: int) -> Iterator[int]:
        """The numbers of the fields that are there. The caller reads each before the next."""
        number = -1
        while delta := self.unsigned():
            number += delta
            if number >= count:
                raise RemoteProtocolError(f"field {number} of a struct that has {count}")
            yield number

    def finish(self) -> None:
        left = len(self._content) - self._at
        if left:
            raise RemoteProtocolError(f"{left} bytes are left over at the end of a gob message")


def _read_unsigned(content: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """The number at `start` and where it ends; None where `content` ends first."""
    if start >= len(content):
        return None
    first = content[start]
    if first < 0x80:
        return first, start + 1
    size = 256 - first
    if size > UNSIGNED_BYTES_MAX:
        raise RemoteProtocolError(f"a number of {size} bytes; gob's longest has 8")
    stop = start + 1 + size
    if stop > len(content):
        return None
    return int.from_bytes(content[start + 1 : stop], "big"), stop
