"""The dialect of bare text: requests and answers in UTF-8, with nothing around them.

    tx …   Accepted, Rejected      gp   decimal digits      pb   str(list of dicts)
    up …   Reward, No reward       cc   nothing             hb   the same list

Where one message ends and the next begins is nowhere said. Programs that speak this wait for each
answer before they ask again, and what they send in one piece nearly always arrives in one; so the
end of a segment says most. What can be decided:

* `hb`, `gp`, `pb`, `cc` are whole as soon as they are there, and so are the words of an answer and
  a list whose brackets are closed. They may come joined, and cut anywhere.
* A segment that ends within the letters of a request, within a sender, or within a character of
  UTF-8 is not all: more is waited for.
* A number ends where something else than a digit follows. A content ends where a bar shows that a
  request begins: before `tx|abcd1234|` and before `up|1`. No content may hold a bar, so only this
  reading makes sense of both.
* **Else the end of the segment is the end of the message.** That is a guess. A number or a content
  that the network cut in two is read too short, and its rest, which begins no request, breaks the
  connection. `gp`, `pb`, `hb` or `cc` behind a content belong to the content.

A transaction that cannot become a good one is `Unacceptable`, up to the same end. One that still
could, such as `tx|abc`, is waited for, even where somebody typed just that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
from nonsuch.networks.peer.dialects.records import VALUES_MAX, chain_of_text, chain_text
from nonsuch.networks.peer.dialects.wires import ClientWire, DialectWire

__all__ = ["TEXT", "TextClientWire", "TextServerWire"]

TEXT = "text"

_BARE = (b"hb", b"gp", b"pb", b"cc")
_BEGINNINGS = (*_BARE, b"tx|", b"up|")

_HEADER = re.compile(rb"tx\|[a-zA-Z]{4}[0-9]{4}\|")
_HEADER_CUT = re.compile(rb"tx\|(?:[a-zA-Z]{0,4}|[a-zA-Z]{4}[0-9]{1,4})")
_UPDATE = re.compile(rb"up\|[0-9]+")
_NEXT = re.compile(rb"tx\|[a-zA-Z]{4}[0-9]{4}\||up\|[0-9]")
"""Where, behind a content, a request begins beyond doubt."""

_DIGITS = re.compile(rb"[0-9]*")
_DIGITS_MAX = len(str(NUMBER_MAX))

_VERDICTS = {b"Accepted": True, b"Rejected": False}
_REWARDS = {b"Reward": True, b"No reward": False, b"No Reward": False}


class TextServerWire(DialectWire):
    """The end that is asked."""

    __slots__ = ()

    name = TEXT

    def encode(self, message: object) -> bytes:
        """The bytes of an answer; none for anything else."""
        match message:
            case Verdict(accepted=accepted):
                return b"Accepted" if accepted else b"Rejected"
            case Proof(proof=proof):
                return b"%d" % proof
            case Reward(granted=granted):
                return b"Reward" if granted else b"No reward"
            case Chain(blocks=blocks):
                return chain_text(blocks).encode()
            case HeartbeatAnswer(chain=chain):
                return chain_text(chain or ()).encode()
            case _:
                return b""

    def _messages(self) -> Iterator[object]:
        while self._buffer and (end := self._end()):
            if end > REQUEST_BYTES_MAX:
                raise RemoteProtocolError(f"a request of more than {REQUEST_BYTES_MAX} bytes")
            text = _decoded(self._buffer[:end], may_be_cut=end == len(self._buffer))
            if text is None:
                return
            del self._buffer[:end]
            yield parse_request(text)

    def _end(self) -> int:
        """Where the first request ends; 0 while that is not known."""
        buffer = self._buffer
        if buffer.startswith(_BARE):
            return len(_BARE[0])
        if buffer.startswith(b"tx|"):
            return self._end_of_transaction()
        if match := _UPDATE.match(buffer):
            return match.end()
        begun = bytes(buffer[:20])
        if any(beginning.startswith(begun) for beginning in _BEGINNINGS):
            return 0
        raise RemoteProtocolError(f"no request begins with {begun!r}")

    def _end_of_transaction(self) -> int:
        buffer = self._buffer
        if _HEADER_CUT.fullmatch(buffer):
            return 0
        header = _HEADER.match(buffer)
        following = _NEXT.search(buffer, header.end() if header else len(b"tx|"))
        return following.start() if following else len(buffer)


class TextClientWire(ClientWire):
    """The end that asks."""

    __slots__ = ("_list",)

    name = TEXT

    def __init__(self) -> None:
        super().__init__()
        self._list = _ListEnd()

    def _written(self, text: str) -> bytes:
        return text.encode()

    def _answer(self, request: Request) -> Answer | None:
        match request:
            case GetProof():
                proof = self._number()
                return None if proof is None else Proof(proof)
            case UpdateProof():
                granted = self._word(_REWARDS)
                return None if granted is None else Reward(granted)
            case GetChain() | Heartbeat():
                return self._chain(request)
            case _:
                accepted = self._word(_VERDICTS)
                return None if accepted is None else Verdict(accepted)

    def _word(self, words: dict[bytes, bool]) -> bool | None:
        for word, meaning in words.items():
            if self._buffer.startswith(word):
                del self._buffer[: len(word)]
                return meaning
        begun = bytes(self._buffer[:20])
        if not any(word.startswith(begun) for word in words):
            raise RemoteProtocolError(f"{b' or '.join(words).decode()} was due, not {begun!r}")
        return None

    def _number(self) -> int | None:
        if not self._buffer:
            return None
        match = _DIGITS.match(self._buffer)
        digits = match[0] if match else b""
        if not 1 <= len(digits) <= _DIGITS_MAX or int(digits) > NUMBER_MAX:
            raise RemoteProtocolError(f"a proof was due, not {bytes(self._buffer[:20])!r}")
        del self._buffer[: len(digits)]
        return int(digits)

    def _chain(self, request: Request) -> Chain | HeartbeatAnswer | None:
        end = self._list.find(self._buffer)
        if end > ANSWER_BYTES_MAX or (not end and len(self._buffer) >= ANSWER_BYTES_MAX):
            raise RemoteProtocolError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        if not end:
            return None
        text = _decoded(self._buffer[:end], may_be_cut=False)
        assert text is not None, "a text that is not cut is decoded or refused"
        del self._buffer[:end]
        blocks = chain_of_text(text)
        if isinstance(request, Heartbeat):
            return HeartbeatAnswer((), blocks or None, bool(blocks))
        return Chain(blocks)


def _decoded(data: bytearray, *, may_be_cut: bool) -> str | None:
    """The text that these bytes are; None where their last character is not all here."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if may_be_cut and error.end == len(data) and error.reason == "unexpected end of data":
            return None
        raise RemoteProtocolError("a text that is not UTF-8") from None


_BRACKET_OR_QUOTE = re.compile(rb"[][\"']")
_QUOTED = {
    b"'": re.compile(rb"[^'\\]*+(?:\\.[^'\\]*+)*+", re.DOTALL),
    b'"': re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL),
}
"""What stands between a quote and the next that is not escaped."""

_MARKS_MAX = 4 * VALUES_MAX
"""Brackets and quotes: each value, and each key of a dict, has two at most."""


class _ListEnd:
    """Where a printed list ends. It looks at each byte once, however small the segments are."""

    __slots__ = ("_at", "_depth", "_marks", "_quote")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._depth = 0
        self._marks = 0
        self._quote = b""

    def find(self, buffer: bytearray) -> int:
        """The end of the list that `buffer` begins with; 0 while it is not all here."""
        if buffer and not buffer.startswith(b"["):
            raise RemoteProtocolError(f"a list was due, not {bytes(buffer[:20])!r}")
        while found := self._mark(buffer):
            self._marks += 1
            if self._marks > _MARKS_MAX:
                raise RemoteProtocolError(f"a list of more than {VALUES_MAX} values")
            if found in _QUOTED:
                self._quote = b"" if self._quote else found
            else:
                self._depth += 1 if found == b"[" else -1
            if not self._depth:
                end = self._at
                self._begin()
                return end
        return 0

    def _mark(self, buffer: bytearray) -> bytes:
        """The next bracket outside of quotes, or quote; nothing while it is not here."""
        if self._quote:
            quoted = _QUOTED[self._quote].match(buffer, self._at)
            # A backslash at the end is left for when what it escapes is here.
            self._at = quoted.end() if quoted else self._at
            found = bytes(buffer[self._at : self._at + 1])
            if found != self._quote:
                return b""
            self._at += 1
            return found
        match = _BRACKET_OR_QUOTE.search(buffer, self._at)
        self._at = match.end() if match else len(buffer)
        return match[0] if match else b""
