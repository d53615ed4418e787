"""What the wires of all dialects share: a buffer, an order of answers, one way to fail.

*Any bytes in any segmentation give messages, a wait for more, or RemoteProtocolError, and never
anything else.* What a wire holds between two calls is the beginning of one message, within its
bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.networks.peer.dialects.messages import (
    Answer,
    CloseConnection,
    Request,
    request_text,
)

__all__ = ["ASKED_MAX", "ClientWire", "DialectWire"]

ASKED_MAX = 16
"""Requests that wait for their answers. Whoever asks should wait for each; some leeway is kind."""


class DialectWire:
    """One end of one connection."""

    __slots__ = ("_buffer", "_fault")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fault: str | None = None

    @property
    def pending(self) -> int:
        """Bytes held of a message that has not all arrived."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[object]:
        """Take a segment as it came; return the messages that are complete.

        Raises `RemoteProtocolError`, now and for ever after, for what is no message.
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

    def _messages(self) -> Iterator[object]:
        """What is complete in the buffer, taken out of it."""
        raise NotImplementedError


class ClientWire(DialectWire):
    """The end that asks. It knows what each answer is by what was asked, in the same order."""

    __slots__ = ("_asked", "_has_left")

    def __init__(self) -> None:
        super().__init__()
        self._asked: deque[Request] = deque()
        self._has_left = False

    def encode(self, message: object) -> bytes:
        """The bytes of a request; none for anything else.

        Raises `LocalError` for a request that would not be understood as it is meant, and for one
        more than `ASKED_MAX` that wait for their answers.
        """
        if not isinstance(message, Request):
            return b""
        written = self._written(request_text(message))
        if isinstance(message, CloseConnection):
            self._has_left = True
        elif len(self._asked) >= ASKED_MAX:
            raise LocalError(f"{ASKED_MAX} requests wait for their answers already")
        else:
            self._asked.append(message)
        return written

    def _messages(self) -> Iterator[object]:
        while self._asked:
            answer = self._answer(self._asked[0])
            if answer is None:
                return
            self._asked.popleft()
            yield answer
        if self._has_left:
            # Some programs say goodbye too, each in its own words.
            self._buffer.clear()
        elif self._buffer:
            raise RemoteProtocolError("an answer that nobody asked for")

    def _written(self, text: str) -> bytes:
        raise NotImplementedError

    def _answer(self, request: Request) -> Answer | None:
        """The answer to a request, taken out of the buffer; None while it is not all here."""
        raise NotImplementedError
