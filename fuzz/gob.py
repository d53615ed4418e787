"""Feed the gob decoder of the pool's wire streams that are almost valid.

    python -m fuzz.gob --seconds 10 --seed 1

What must hold: any bytes in any segmentation give messages, a wait for more, or
RemoteProtocolError, never anything else. And the segmentation must not matter to which of them.
Where it does not hold, the input is printed in hex and the exit code is 1.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator
from random import Random

from fuzz.mutation import mutate, run
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.pool.gob import MESSAGE_BYTES_MAX, Decoder, Encoder, Message

HELD_MAX = MESSAGE_BYTES_MAX + 9
"""What a decoder may hold between two calls: less than one whole message and its length."""

INPUT_BYTES_MAX = 4096
"""Longer streams are cut: the decoder's states are reached by short ones, and more of them."""

OTHER_STRUCT = bytes.fromhex(
    "7cff81030101075265717565737401ff8200010a01054e6f6e63650106000106576569676874010800010653656372"
    "6574010a00010444617461010c000106557267656e74010200010544656c746101040001044e6f7465010c00010454"
    "79706501040001085072696f7269747901060001055570706572010600000003ff820034ff82010701f8182d4454fb"
    "21094001036b65790108627261646669747a010101090107736b6970206d65010c01ffc801fe270f0013ff820402c3"
    "a9040502f8ffffffffffffffff00"
)
"""Written by Go: fields in another order, and five that LiteMiner does not have."""

EDGES = (0x00, 0x01, 0x02, 0x40, 0x7F, 0x80, 0xF7, 0xF8, 0xFE, 0xFF)
"""Bytes at which gob's numbers change their form."""


def fuzz_one(data: bytes) -> None:
    """Assert the sentence above for `data`: whole, byte by byte, and cut at places it decides."""
    whole = outcome([data])
    assert outcome(data[at : at + 1] for at in range(len(data))) == whole
    random = Random(zlib.crc32(data))
    cuts = sorted(random.randint(0, len(data)) for _ in range(4))
    bounds = zip([0, *cuts], [*cuts, len(data)], strict=True)
    assert outcome(data[start:stop] for start, stop in bounds) == whole


def outcome(segments: Iterable[bytes]) -> list[Message] | str:
    """The messages in `segments`, or what was wrong. Anything else that is raised is a fault."""
    decoder = Decoder()
    messages: list[Message] = []
    try:
        for segment in segments:
            messages += decoder.feed(segment)
            assert decoder.pending <= HELD_MAX
    except RemoteProtocolError as error:
        assert_broken(decoder)
        return str(error)
    encoder = Encoder()
    again = Decoder().feed(b"".join(encoder.encode(message) for message in messages))
    assert again == messages
    return messages


def assert_broken(decoder: Decoder) -> None:
    """A stream that could not be understood once is never understood again."""
    assert decoder.pending == 0
    try:
        decoder.feed(b"")
    except RemoteProtocolError:
        return
    raise AssertionError("the decoder went on after an error")


def inputs(seed: int) -> Iterator[bytes]:
    """Valid streams with a few mutations each, without end; the same for the same seed."""
    random = Random(seed)
    while True:
        stream = bytearray(OTHER_STRUCT if random.random() < 0.3 else valid_stream(random))
        for _ in range(random.randrange(6)):
            mutate(stream, random, EDGES)
        yield bytes(stream[:INPUT_BYTES_MAX])


def valid_stream(random: Random) -> bytes:
    encoder = Encoder()
    return b"".join(encoder.encode(any_message(random)) for _ in range(random.randint(1, 4)))


def any_message(random: Random) -> Message:
    numbers = [random.getrandbits(random.choice((0, 1, 8, 32, 64))) for _ in range(5)]
    text = "".join(random.choices("a ž鉱\0", k=random.choice((0, 1, 8, 200))))
    lower, upper, processed, digest, nonce = numbers
    return Message(random.randint(-2, 9), text, lower, upper, processed, digest, nonce)


if __name__ == "__main__":
    sys.exit(run("the gob decoder of the pool's wire", fuzz_one, inputs))
