"""Whose fault was it? Two trees of errors, and the type answers.

`LocalError`: we, or the person in front of us, asked for something that cannot be done: a target of
zero, a nonce that does not fit its field. The message says what was wrong and what to do instead;
a command line prints it on one line and exits with 2.

`RemoteError`: a peer sent something that no honest, correct peer sends. Every class has a `cost`; a
session adds them up and lets the peer go when its budget is spent, so that a ban is arithmetic.
Nothing catches a `LocalError` to keep a connection alive, and no `RemoteError` ends more than the
one connection it came from.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "KernelUnavailable",
    "LocalError",
    "NonsuchError",
    "RemoteError",
    "RemoteProtocolError",
    "check_text",
    "shown",
]


class NonsuchError(Exception):
    """The root of all errors that this package raises on purpose."""


class LocalError(NonsuchError, ValueError):
    """The caller asked for something impossible; the message says what to ask for instead."""


class KernelUnavailable(LocalError):
    """No generated kernel serves this puzzle or this machine; the message is the reason."""


class RemoteError(NonsuchError):
    """A peer broke the protocol. `cost` is what the offence takes from the peer's budget."""

    cost: ClassVar[int] = 100


class RemoteProtocolError(RemoteError):
    """Bytes that are no message of the protocol: nothing after them can be understood."""

    cost: ClassVar[int] = 1000


SHOWN_BITS_MAX = 288
"""A longer number is told by its size; from 4,300 digits on Python would refuse to print it."""


def check_text(text: str, what: str) -> None:
    """Raise `LocalError` for what the system took for text, and what cannot be written as such."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LocalError(f"{what} must be UTF-8 text, and {text[:80]!r} is not") from None


def shown(value: int) -> str:
    """A number as a message can show it."""
    if value.bit_length() <= SHOWN_BITS_MAX:
        return str(value)
    return f"a {'negative ' if value < 0 else ''}number of {value.bit_length()} bits"
