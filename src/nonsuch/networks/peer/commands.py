"""What clients ask, and the node's own user: each question has one answer.

`tx` submits a transaction, `pb` prints blocks, `hb` tells how the peer stands, `gp` and `up` are a
miner's, and `cc` stops the peer. Only whoever is on the same machine may stop it.
"""

from __future__ import annotations

import msgspec

from nonsuch.addresses import is_loopback
from nonsuch.chain.mempool import TransactionKnown, TransactionRefused
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import MICROSECONDS, Transaction
from nonsuch.networks.peer.ledger import TransactionConfirmed
from nonsuch.networks.peer.mining import Mining
from nonsuch.networks.peer.relay import Relay
from nonsuch.networks.peer.rules import WrongTransaction
from nonsuch.networks.peer.state import State
from nonsuch.networks.peer.statistics import PeerStatistics

__all__ = ["Commands", "is_near"]


class Commands:
    """Answers. `take` gives the answer to a question, and has its effects done before it."""

    def __init__(self, state: State, relay: Relay, mining: Mining) -> None:
        self._state = state
        self._relay = relay
        self._mining = mining
        self._stamp = 0

    def take(
        self,
        request: messages.Request,
        address: str,
        statistics: PeerStatistics,
        now: float,
        *,
        may_stop: bool,
    ) -> messages.Message:
        """The answer; `address` is who asks."""
        match request:
            case messages.SubmitTransaction():
                return self._submit(request, address, now)
            case messages.AskTemplate():
                return self._mining.template(now)
            case messages.OfferProof():
                return self._mining.offer(request, now)
            case messages.AskChain():
                return self._chain(request)
            case messages.AskStatus():
                return messages.Status(msgspec.json.encode(statistics))
            case messages.Stop():
                return self._stop(address, may_stop=may_stop)

    def _submit(
        self, request: messages.SubmitTransaction, address: str, now: float
    ) -> messages.Verdict:
        timestamp = request.timestamp or self._next_stamp(now)
        transaction = Transaction(request.sender, request.content, timestamp)
        try:
            self._relay.take_transaction(transaction, now, address)
        except (TransactionKnown, TransactionConfirmed):
            return messages.Verdict(True, "it was accepted before")
        except (TransactionRefused, WrongTransaction) as error:
            self._state.counts["refused"] += 1
            return messages.Verdict(False, str(error))
        return messages.Verdict(True)

    def _next_stamp(self, now: float) -> int:
        """Never twice the same: two people may well say the same thing."""
        self._stamp = max(self._stamp + 1, int(self._state.unix(now) * MICROSECONDS))
        return self._stamp

    def _chain(self, request: messages.AskChain) -> messages.Chain:
        tree = self._state.ledger.tree
        start = min(request.start, tree.height + 1)
        stop = min(start + min(request.count, messages.CHAIN_BLOCKS_MAX), tree.height + 1)
        forms = tuple(tree.best(height).block.form for height in range(start, stop))
        return messages.Chain(start, tree.height, forms)

    def _stop(self, address: str, *, may_stop: bool) -> messages.Stopped:
        if not may_stop:
            return messages.Stopped("only somebody on the same machine may stop a peer")
        self._state.emit(facts.StopAsked(address))
        return messages.Stopped()


def is_near(address: str) -> bool:
    """Whether `host:port` is of this machine itself, as far as the system says."""
    return is_loopback(address.rpartition(":")[0].strip("[]"))
