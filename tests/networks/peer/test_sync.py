"""Fetching what is missing: headers first, over the real wire, from the honest and from liars."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import Block
from nonsuch.networks.peer.messages import HEADERS_MAX
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.records import BlockKept, decode_record, encode_record
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import Send
from nonsuch.work.target import Target
from tests.networks.peer.blocks import make_blocks
from tests.networks.peer.pair import Net

TARGET = Target.from_work(2)


def settings(*neighbours: str) -> PeerSettings:
    return PeerSettings(target=TARGET, mines=False, neighbours=neighbours)


GENESIS = Net().add("any", settings()).ledger.genesis


def kept(blocks: Iterable[Block]) -> list[BlockKept]:
    return [BlockKept.of(block) for block in blocks]


def height(peer: Peer) -> int:
    return peer.ledger.tip.height


def told(net: Net, name: str, kind: type[facts.Fact]) -> list[object]:
    return [fact for where, fact in net.facts if where == name and isinstance(fact, kind)]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 129, 400])
def test_a_newcomer_fetches_the_whole_chain(length: int) -> None:
    net = Net()
    net.add("old", settings(), *kept(make_blocks(GENESIS, length)))
    new = net.add("new", settings("old"))
    net.connect("new", "old")
    net.settle()
    net.check()
    assert height(new) == length
    assert told(net, "new", facts.Synchronised) == [
        facts.Synchronised(length, length, 0.0, "old:1")
    ]


def test_what_was_kept_is_sent_as_it_came() -> None:
    """From one to the next by the wire, and each time through a disk."""
    blocks = make_blocks(GENESIS, 150)
    said: list[bytes] = []
    for _ in range(3):
        net = Net()
        written = [encode_record(BlockKept.of(block)) for block in blocks]
        assert written == (said or written)
        net.add("old", settings(), *map(decode_record, written))
        new = net.add("new", settings("old"))
        net.connect("new", "old")
        net.settle()
        net.check()
        blocks = [entry.block for entry in new.ledger.tree][1:]
        said = written
    assert len(blocks) == 150


def test_a_body_that_somebody_changed_on_disk_goes_no_further() -> None:
    first, second = make_blocks(GENESIS, 2)
    forged = BlockKept(Block.of(first.header, second.transactions).data, BlockKept.of(first).keys)
    net = Net()
    net.add("old", settings(), decode_record(encode_record(forged)))
    new = net.add("new", settings("old"))
    net.connect("new", "old")
    net.settle()
    new._check()
    assert height(new) == 0
    (lost,) = told(net, "new", facts.NeighbourLost)
    assert "root" in str(lost)


def test_a_chain_longer_than_one_message_of_headers_is_fetched_in_rounds() -> None:
    net = Net()
    old = net.add("old", settings(), *kept(make_blocks(GENESIS, 2 * HEADERS_MAX + 7)))
    new = net.add("new", settings("old"))
    net.connect("new", "old")
    net.settle()
    assert new.ledger.tip.block.id == old.ledger.tip.block.id


def test_a_branch_longer_than_one_message_of_headers_takes_over() -> None:
    net = Net()
    theirs = make_blocks(GENESIS, HEADERS_MAX + 900, "theirs")
    ours = make_blocks(GENESIS, HEADERS_MAX + 500, "ours")
    one = net.add("one", settings(), *kept(theirs))
    other = net.add("other", settings("one"), *kept(ours))
    net.connect("other", "one")
    net.settle()
    assert other.ledger.tip.block.id == one.ledger.tip.block.id == theirs[-1].id
    assert told(net, "other", facts.Reorganised) != []
    keys = [key for block in ours for key in block.keys]
    assert all(key in other.ledger.waiting for key in keys)


def test_what_a_pair_that_agrees_says_every_five_seconds_is_less_than_a_kibibyte() -> None:
    net = Net()
    chain = kept(make_blocks(GENESIS, 300))
    net.add("one", settings("other"), *chain)
    net.add("other", settings("one"), *chain)
    # Each has dialled the other, so there are two connections.
    net.connect("one", "other")
    net.connect("other", "one")
    net.settle()
    net.waits(0.1)
    net.bytes = 0
    net.waits(5)
    assert 0 < net.bytes <= 1024
    assert net.bytes < 400


def test_only_what_is_missing_is_sent() -> None:
    net = Net()
    chain = make_blocks(GENESIS, 300)
    net.add("one", settings(), *kept(chain))
    other = net.add("other", settings("one"), *kept(chain[:-2]))
    net.connect("other", "one")
    net.settle()
    assert height(other) == 300
    assert net.bytes < 4000, "two blocks, a locator, and a few greetings"


def test_two_that_were_apart_agree_and_lose_no_transaction() -> None:
    net = Net()
    one = net.add("one", settings(), *kept(make_blocks(GENESIS, 5, "one")))
    lost = make_blocks(GENESIS, 4, "other")
    other = net.add("other", settings("one"), *kept(lost))
    net.connect("other", "one")
    net.waits(20)
    net.check()
    assert other.ledger.tip.block.id == one.ledger.tip.block.id
    assert other.ledger.digest == one.ledger.digest
    assert len(one.ledger.waiting) == 20
    assert all(key in one.ledger.waiting for block in lost for key in block.keys)


def test_of_two_chains_with_as_much_work_all_choose_the_same() -> None:
    net = Net()
    one = net.add("one", settings(), *kept(make_blocks(GENESIS, 3, "one")))
    other = net.add("other", settings("one"), *kept(make_blocks(GENESIS, 3, "other")))
    tips = {one.ledger.tip.block.id, other.ledger.tip.block.id}
    net.connect("other", "one")
    net.waits(20)
    assert {one.ledger.tip.block.id, other.ledger.tip.block.id} == {min(tips)}


# Liars. "liar" is an honest peer whose words are edited on their way.


Lie = Callable[[str, Send], Iterable[Send]]


def silent_about(*kinds: type[messages.Message]) -> Lie:
    def edit(name: str, send: Send) -> list[Send]:
        return [] if name == "liar" and isinstance(send.message, kinds) else [send]

    return edit


def boasts(name: str, send: Send) -> list[Send]:
    message = send.message
    if name != "liar" or not isinstance(message, messages.Heartbeat):
        return [send]
    tip, work = b"\x01" * 32, b"\xff" * 32
    return [Send(send.peer, messages.Heartbeat(10**9, work, tip, 0, message.digest))]


def forges(name: str, send: Send) -> list[Send]:
    message = send.message
    if name != "liar" or not isinstance(message, messages.Blocks):
        return [send]
    forms = [type(each)(each.header, each.transactions[::-1]) for each in message.blocks]
    return [Send(send.peer, messages.Blocks(tuple(forms)))]


def invents(name: str, send: Send) -> list[Send]:
    message = send.message
    if name != "liar" or not isinstance(message, messages.Headers):
        return [send]
    return [Send(send.peer, messages.Headers(message.headers[1:]))]


LIES: dict[str, Lie] = {
    "boasts": boasts,
    "forges": forges,
    "invents": invents,
    "sends no headers": silent_about(messages.Headers),
    "sends no blocks": silent_about(messages.Blocks),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_costs_time_and_never_the_chain(lie: str) -> None:
    net = Net()
    net.edit = LIES[lie]
    chain = make_blocks(GENESIS, 200)
    net.add("liar", settings(), *kept(chain))
    net.add("honest", settings(), *kept(chain))
    new = net.add("new", settings("liar", "honest"))
    net.connect("new", "liar")
    net.settle()
    assert height(new) == (200 if lie == "boasts" else 0)
    net.connect("new", "honest")
    net.waits(30)
    net.check()
    assert height(new) == 200
    assert not [fact for fact in told(net, "new", facts.PeerDropped) if "honest" in repr(fact)]


@pytest.mark.parametrize("lie", ["boasts", "sends no headers", "sends no blocks"])
def test_a_liar_that_keeps_at_it_is_let_go(lie: str) -> None:
    net = Net()
    net.edit = LIES[lie]
    net.add("liar", settings(), *kept(make_blocks(GENESIS, 10)))
    net.add("new", settings("liar"))
    net.connect("new", "liar")
    net.waits(300)
    dropped = told(net, "new", facts.PeerDropped)
    assert len(dropped) == 1
    assert "claim" in repr(dropped[0])


def test_what_nobody_asked_for_is_not_taken() -> None:
    net = Net()
    blocks = make_blocks(GENESIS, 3)
    one = net.add("one", settings("liar"))
    net.add("liar", settings())
    net.connect("one", "liar")
    net.settle()
    unasked = [
        messages.Blocks(tuple(block.form for block in blocks)),
        messages.Headers(tuple(block.header.data for block in blocks)),
    ]
    for message in unasked:
        net._send(("liar", 1), message)
    net.settle()
    assert height(one) == 0
    assert one.statistics(net.now).errors == 2
