"""What a fleet says to its nodes in the name of people: jobs and transactions."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable

from nonsuch.errors import LocalError
from nonsuch.live.driver import Node
from nonsuch.live.tcp import Address, reason_of
from nonsuch.networks.peer.block import MICROSECONDS
from nonsuch.networks.peer.client import Client as PeerClient
from nonsuch.networks.peer.messages import SubmitTransaction, Verdict
from nonsuch.networks.peer.wire import PeerWire
from nonsuch.networks.pool.client import Client as PoolClient
from nonsuch.networks.pool.messages import Hello, PuzzleForm, Submit
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.work.presets import plain

__all__ = ["job_for", "send_text", "submit_transaction", "wait_for_answer"]

JOB_BYTES = 4
"""Eight hex digits: enough to tell the jobs of one pool apart."""

ANSWER_SECONDS = 10.0
"""How long a node may take to say that it has a transaction."""

REPLY_BYTES_MAX = 4096


def job_for(message: str, upto: int) -> Submit:
    """A job: the lowest hash of nonces 0 to `upto`. Raises `LocalError` for what is none."""
    puzzle = plain(message.encode(errors="replace"))
    if not 0 <= upto < puzzle.nonce.count:
        raise LocalError(f"the last nonce lies between 0 and {puzzle.nonce.count - 1:,}")
    return Submit(secrets.token_hex(JOB_BYTES), PuzzleForm.of(puzzle), 0, upto, None)


async def wait_for_answer(
    job: Submit, host: str, port: int, observe: Callable[[object], None]
) -> None:
    """Submit a job to a pool, and wait for its answer however long that takes."""
    core = PoolClient(Hello("client"), job, _lots(), patient=True)
    dial = Address(host, port, lambda: PoolWire(accepts_puzzles=True))
    await Node(core, dial=dial, observe=observe).run()


async def submit_transaction(sender: str, text: str, host: str, port: int) -> None:
    """Have a peer take a transaction. Raises `LocalError` where it does not."""
    request = SubmitTransaction(sender, text, time.time_ns() * MICROSECONDS // 10**9)
    core = PeerClient(request, _lots())
    node = Node(core, dial=Address(host, port, lambda: PeerWire(dialled=True)))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await node.run()
    except TimeoutError:
        raise LocalError(f"no answer within {ANSWER_SECONDS:.0f} s") from None
    if not isinstance(core.answer, Verdict):
        raise LocalError(core.failure or "no answer")
    if not core.answer.accepted:
        raise LocalError(core.answer.reason)


async def send_text(text: str, host: str, port: int) -> str:
    """Send text as `nc -N` does, and return the reply. Raises `LocalError`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(text.encode(errors="replace"))
                writer.write_eof()
                return (await reader.read(REPLY_BYTES_MAX)).decode(errors="replace")
            finally:
                writer.close()
    except TimeoutError:
        raise LocalError(f"no answer within {ANSWER_SECONDS:.0f} s") from None
    except OSError as error:
        raise LocalError(reason_of(error)) from None


def _lots() -> random.Random:
    return random.Random(secrets.randbits(64))
