"""What people say to a peer, and what it answers: the network's own words, and plain ones.

tx|abcd1234|hello      tx abcd1234 hello      put a transaction into a block
pb                     pb 64                  print blocks, from a height on
hb                                            how does the peer stand?
gp                                            the last proof, and what is to be mined
up|NONCE               up NONCE               a proof for the last `gp`; or up TEMPLATE NONCE
cc                                            stop the peer
"""

from __future__ import annotations

import datetime
import re

import msgspec

from nonsuch import LocalError
from nonsuch.cli.terminal import format_count, format_duration, printable
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.peer import messages
from nonsuch.networks.peer.block import MICROSECONDS, BlockForm, Header, Transaction
from nonsuch.networks.peer.client import Answer
from nonsuch.networks.peer.dialects import messages as dialect
from nonsuch.networks.peer.statistics import PeerStatistics

__all__ = ["WORDS", "format_answer", "parse_dialect_request", "parse_request", "read_status"]

WORDS = "tx SENDER CONTENT · pb [HEIGHT] · hb · gp · up NONCE · cc"

BLOCKS_SHOWN = 20
_CHARACTERS_MAX = 2**12
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_TEXT_CHARACTERS = 128
"""More than a transaction may have, so that the peer can refuse it, and no more than it hears."""

_NUMBER = re.compile(r"[0-9]{1,20}")


def parse_request(text: str, *, timestamp: int = 0, template: int = 0) -> messages.Request:
    """The request that a line stands for. Raises `LocalError` for what is none.

    `timestamp` (Unix microseconds, 0 for the peer's own) goes into a transaction; `template` is the
    number of the last one that was heard of.
    """
    word, *rest = _split(text.encode(errors="replace").decode())
    match word.lower(), rest:
        case "tx", [sender, content]:
            return messages.SubmitTransaction(
                sender[:_TEXT_CHARACTERS], content[:_TEXT_CHARACTERS], timestamp
            )
        case "pb", []:
            return messages.AskChain(0, BLOCKS_SHOWN)
        case "pb", [start]:
            return messages.AskChain(_number(start), BLOCKS_SHOWN)
        case "hb", []:
            return messages.AskStatus()
        case "gp", []:
            return messages.AskTemplate()
        case "up", [nonce]:
            return messages.OfferProof(template, _number(nonce))
        case "up", [number, nonce]:
            return messages.OfferProof(_number(number), _number(nonce))
        case "cc", []:
            return messages.Stop()
        case _:
            raise _no_request(text)


def parse_dialect_request(text: str) -> dialect.Request:
    """The same for peers of the original rule. Raises `LocalError` for what is none."""
    try:
        return dialect.parse_request("|".join(_split(text)))
    except RemoteProtocolError:
        raise _no_request(text) from None


def _no_request(text: str) -> LocalError:
    return LocalError(f"{text[:80]!r} is no request; there are: {WORDS}")


def _split(text: str) -> list[str]:
    """The words of a line: at bars, or at spaces; a content may have spaces."""
    line = text.strip()[:_CHARACTERS_MAX]
    if "|" in line:
        return line.split("|")
    parts = line.split(None, 2 if line[:3].lower() == "tx " else -1)
    return parts or [""]


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) >= 2**64:
        raise LocalError(f"a whole number below 2**64 is wanted, not {text[:40]!r}")
    return int(text)


def format_answer(answer: Answer) -> str:
    """An answer as people read it, in the words of the network where it has some."""
    return printable(_answer_text(answer), keep="\n")


def _answer_text(answer: Answer) -> str:
    match answer:
        case messages.Verdict(accepted=accepted, reason=reason):
            return _with_reason("Accepted" if accepted else "Rejected", reason)
        case messages.Reward(accepted=accepted, reason=reason):
            return _with_reason("Reward" if accepted else "No reward", reason)
        case messages.Stopped(reason=reason):
            return _with_reason("it goes on" if reason else "connection closed", reason)
        case messages.Template():
            return _template_text(answer)
        case messages.Chain():
            return _chain_text(answer)
        case messages.Status(statistics=statistics):
            return _status_text(read_status(statistics))
        case _:
            return _dialect_text(answer)


def read_status(statistics: bytes) -> PeerStatistics:
    """The statistics of a status. Raises `LocalError` where they cannot be read."""
    try:
        return msgspec.json.decode(statistics, type=PeerStatistics)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise LocalError("the peer's status cannot be read: is it one of this version?") from None


def _dialect_text(answer: dialect.Answer) -> str:
    match answer:
        case dialect.Verdict(accepted=accepted):
            return "Accepted" if accepted else "Rejected"
        case dialect.Reward(granted=granted):
            return "Reward" if granted else "No reward"
        case dialect.Proof(proof=proof):
            return f"the last proof is {proof}"
        case dialect.Chain(blocks=blocks):
            return "\n".join(map(_original_text, blocks))
        case dialect.HeartbeatAnswer(pool=pool, chain=chain):
            blocks_text = "no chain" if chain is None else f"{len(chain)} blocks"
            return f"{blocks_text} · {len(pool)} waiting"


def _original_text(block: dialect.Block) -> str:
    first = f"{block.index:6}  {block.current_hash}  {block.timestamp}  proof {block.proof}"
    return "\n".join([first, *(f"        {each}" for each in block.transactions)])


def _with_reason(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text


def _template_text(template: messages.Template) -> str:
    last = f"the last proof is {template.proof}"
    if not template.number:
        return f"{last}; fewer than five transactions wait, there is nothing to mine"
    return (
        f"{last}; template {template.number}, for height {template.height}:"
        f" SHA-256 of {template.prefix.hex()} and eight bytes of nonce, big-endian,"
        f" for bits {template.bits:08x}"
    )


def _chain_text(chain: messages.Chain) -> str:
    lines = [_block_text(chain.start + place, form) for place, form in enumerate(chain.blocks)]
    stop = chain.start + len(chain.blocks)
    lines.append(
        f"{format_count(chain.height + 1)} blocks"
        + (f"; pb {stop} for more" * (stop <= chain.height))
    )
    return "\n".join(lines)


def _block_text(height: int, form: BlockForm) -> str:
    header = Header(form.header)
    when = _time_text(header.timestamp * MICROSECONDS)[: -len(".000000")]
    first = f"{height:6}  {header.id.hex()}  {when}  nonce {header.nonce}"
    return "\n".join([first, *(f"        {_transaction_text(each)}" for each in form.transactions)])


def _transaction_text(transaction: Transaction) -> str:
    when = _time_text(transaction.timestamp)
    return f"{when}  {transaction.sender}  {transaction.content}"


def _time_text(microseconds: int) -> str:
    """A time as people write it; a miner may put any number there."""
    try:
        when = _EPOCH + datetime.timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds // MICROSECONDS} s.000000"
    return f"{when:%Y-%m-%d %H:%M:%S.%f}"


def _status_text(now: PeerStatistics) -> str:
    return (
        f"height {format_count(now.height)} · {now.tip[:16]}… · {now.waiting} waiting ·"
        f" {now.neighbours_reached} of {now.neighbours} neighbours · {now.mined} mined here ·"
        f" up {format_duration(now.seconds)}"
    )
