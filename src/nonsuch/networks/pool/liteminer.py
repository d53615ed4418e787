"""The LiteMiner wire, at each of its three ends, in terms of our own messages.

LiteMiner is a course project of which several Go programs exist; `gob` reads and writes their
bytes, and this file says what they mean:

    MinerHello, ClientHello   Hello
    MineRequest               Lease of [Lower, Upper), without evidence
    StatusUpdate              Beat
    ProofOfWork               Result of a miner's lease; to a client, the Answer
    Transaction               Submit of [0, Upper]
    Error, BusyPool           Refused

The wire has no lease numbers, no word for "stop" and no tokens. So a pool gives such a miner one
lease at a time, and takes its answers in order; a lease that is revoked is left to run out before
the miner gets another. Its miners report one nonce, the lowest, and no evidence. Some of them
search `Upper` as well: ranges that a pool hands out never end above the job's last nonce.

A pool's Error or BusyPool is a reason to try again later, as stock clients do.
"""

from __future__ import annotations

import hashlib
from collections import deque

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.networks.pool import messages
from nonsuch.networks.pool.gob import MESSAGE_BYTES_MAX, Decoder, Encoder, Kind, Message
from nonsuch.work.presets import liteminer
from nonsuch.work.puzzle import Puzzle

__all__ = ["LITEMINER", "LiteMinerClientWire", "LiteMinerMinerWire", "LiteMinerPoolWire"]

LITEMINER = "liteminer"

STRANGER_BYTES_MAX = 4096
"""Of one message, until a client has said that it is one, or a miner was told a longer text."""

OUTSTANDING_MAX = 16
"""Requests that may wait for their answer. A pool of ours has one; a foreign one might not wait."""


class _LiteMinerWire:
    """What the three ends share: a gob stream each way."""

    name = LITEMINER

    def __init__(self, decoder: Decoder | None = None) -> None:
        self._encoder = Encoder()
        self._decoder = decoder or Decoder()

    def feed(self, data: bytes) -> list[object]:
        """Bytes to our messages. Raises `RemoteProtocolError` for what is no message."""
        return [meaning for each in self._decoder.feed(data) for meaning in self._meaning(each)]

    def _meaning(self, message: Message) -> list[object]:
        raise NotImplementedError

    def _say(self, kind: Kind, message: Message | None = None) -> bytes:
        fields = message or Message()
        return self._encoder.encode(
            Message(
                int(kind),
                fields.data,
                fields.lower,
                fields.upper,
                fields.processed,
                fields.hash,
                fields.nonce,
            )
        )


class LiteMinerPoolWire(_LiteMinerWire):
    """The pool's end. `session` makes the ids of this connection's jobs, which have none."""

    def __init__(self, session: str) -> None:
        super().__init__(Decoder(STRANGER_BYTES_MAX, self._earn))
        self._session = session
        self._submitted: dict[str, str] = {}
        self._number = 0
        self._known: dict[str, str] = {}
        self._leases: deque[messages.Lease] = deque()

    def _earn(self, message: Message) -> None:
        """Only clients say much of themselves; a miner repeats what it was told."""
        if message.type == Kind.CLIENT_HELLO:
            self._decoder.bytes_max = MESSAGE_BYTES_MAX

    def _meaning(self, message: Message) -> list[object]:
        match message.type:
            case Kind.CLIENT_HELLO:
                return [messages.Hello("client")]
            case Kind.MINER_HELLO:
                return [messages.Hello("miner")]
            case Kind.STATUS_UPDATE:
                # What NumProcessed counts differs from miner to miner.
                return [messages.Beat(tuple(lease.lease for lease in self._leases))]
            case Kind.PROOF_OF_WORK:
                return [self._result(message)]
            case Kind.TRANSACTION:
                return [self._submit(message)]
            case _:
                raise RemoteProtocolError(f"a pool is not sent messages of type {message.type}")

    def _result(self, message: Message) -> messages.Result:
        if not self._leases:
            return messages.Result(0, 0, (message.nonce,))  # Late: it belongs to no lease.
        lease = self._leases.popleft()
        stop = lease.start + lease.count
        return messages.Result(lease.lease, stop, (message.nonce,), message.hash)

    def _submit(self, message: Message) -> messages.Submit:
        self._number += 1
        job = f"{self._session}-{self._number}"
        try:
            form = messages.PuzzleForm.of(liteminer(message.data.encode()))
        except LocalError as error:
            raise RemoteProtocolError(str(error)) from None
        self._submitted[job] = message.data
        return messages.Submit(job, form, 0, message.upper)

    def encode(self, message: object) -> bytes:
        """Our message in this wire's words; nothing where it has none."""
        match message:
            case messages.Lease():
                return self._request(message)
            case messages.Retire(job=job):
                self._known.pop(job, None)
            case messages.Answer(job=job, nonce=nonce) if nonce is not None:
                data = self._submitted.pop(job, None)
                if data is not None:
                    value = _value(liteminer(data.encode()), nonce)
                    answer = Message(data=data, nonce=nonce, hash=value)
                    return self._say(Kind.PROOF_OF_WORK, answer)
            case messages.Ended(job=job, reason=reason):
                self._submitted.pop(job, None)
                return self._say(Kind.ERROR, Message(data=reason))
            case messages.Refused(reason=reason):
                return self._say(Kind.ERROR, Message(data=reason))
            case _:
                pass
        return b""

    def _request(self, lease: messages.Lease) -> bytes:
        if lease.puzzle is not None:
            self._known[lease.job] = lease.puzzle.prefix[:-1].decode()
        self._leases.append(lease)
        data = self._known[lease.job]
        told = STRANGER_BYTES_MAX + len(data.encode())
        self._decoder.bytes_max = max(self._decoder.bytes_max, told)
        request = Message(data=data, lower=lease.start, upper=lease.start + lease.count)
        return self._say(Kind.MINE_REQUEST, request)


class LiteMinerMinerWire(_LiteMinerWire):
    """The end of our miner, in somebody else's pool."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._leases: dict[int, tuple[str, Puzzle]] = {}

    def _meaning(self, message: Message) -> list[object]:
        match message.type:
            case Kind.MINE_REQUEST:
                return [self._lease(message)]
            case Kind.ERROR:
                return [messages.Refused(message.data)]
            case _:
                raise RemoteProtocolError(f"a miner is not sent messages of type {message.type}")

    def _lease(self, message: Message) -> messages.Lease:
        """An empty range is asked for by some pools; something must be answered."""
        if len(self._leases) >= OUTSTANDING_MAX:
            raise RemoteProtocolError(f"more than {OUTSTANDING_MAX} requests at once")
        if message.upper < message.lower:
            raise RemoteProtocolError(f"a request of [{message.lower}, {message.upper})")
        data = message.data.encode()
        puzzle = liteminer(data)
        self._number += 1
        self._leases[self._number] = (message.data, puzzle)
        try:
            form = messages.PuzzleForm.of(puzzle)
        except LocalError as error:
            raise RemoteProtocolError(str(error)) from None
        return messages.Lease(
            self._number,
            hashlib.sha256(data).hexdigest(),
            message.lower,
            max(1, message.upper - message.lower),
            0,
            puzzle=form,
        )

    def encode(self, message: object) -> bytes:
        """Our message in this wire's words; nothing where it has none."""
        match message:
            case messages.Hello():
                return self._say(Kind.MINER_HELLO)
            case messages.Beat(leases=leases, hashes=hashes) if leases:
                return self._say(Kind.STATUS_UPDATE, Message(processed=hashes))
            case messages.Result(lease=lease, nonces=nonces) if lease in self._leases:
                data, puzzle = self._leases.pop(lease)
                nonce = nonces[0]
                found = Message(data=data, nonce=nonce, hash=_value(puzzle, nonce))
                return self._say(Kind.PROOF_OF_WORK, found)
            case _:
                return b""


class LiteMinerClientWire(_LiteMinerWire):
    """The end of our client, at somebody else's pool. It says one transaction a connection."""

    def __init__(self) -> None:
        super().__init__()
        self._said: messages.Submit | None = None

    def _meaning(self, message: Message) -> list[object]:
        match message.type:
            case Kind.PROOF_OF_WORK if self._said is not None:
                return [self._answer(self._said, message)]
            case Kind.BUSY_POOL:
                return [messages.Refused("the pool is busy with another client")]
            case Kind.ERROR:
                return [messages.Refused(message.data)]
            case _:
                raise RemoteProtocolError(f"a client is not sent messages of type {message.type}")

    @staticmethod
    def _answer(submit: messages.Submit, message: Message) -> object:
        puzzle, nonce = submit.puzzle.puzzle(), message.nonce
        if _value(puzzle, nonce) != message.hash:
            reason = f"the pool says that nonce {nonce} has hash {message.hash}, and it has not"
            return messages.Ended(submit.job, reason)
        return messages.Answer(submit.job, nonce, submit.last + 1, 0.0)

    def encode(self, message: object) -> bytes:
        """Our message in this wire's words; nothing where it has none."""
        match message:
            case messages.Hello():
                return self._say(Kind.CLIENT_HELLO)
            case messages.Submit() if self._said is None:
                self._said = message
                data = message.puzzle.prefix[:-1].decode()
                return self._say(Kind.TRANSACTION, Message(data=data, upper=message.last))
            case _:
                return b""


def _value(puzzle: Puzzle, nonce: int) -> int:
    """The Hash field: the first eight bytes of the digest as a number."""
    return puzzle.compared(puzzle.digest(nonce))
