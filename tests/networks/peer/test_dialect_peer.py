"""A peer of the dialects: what the table says, whole chains, and what the original rule allows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import cycle
from typing import TypeVar

import msgspec
import pytest

from nonsuch.errors import LocalError
from nonsuch.networks.peer import dialect_records as records
from nonsuch.networks.peer import facts
from nonsuch.networks.peer.block import BLOCK_TRANSACTIONS
from nonsuch.networks.peer.dialect import DialectPeer
from nonsuch.networks.peer.dialects.messages import (
    BLOCKS_MAX,
    Block,
    Chain,
    CloseConnection,
    Entry,
    GetChain,
    GetProof,
    Heartbeat,
    HeartbeatAnswer,
    Proof,
    Reward,
    Transaction,
    Unacceptable,
    UpdateProof,
    Verdict,
)
from nonsuch.networks.peer.dialects.pickle import PickleClientWire, PickleServerWire
from nonsuch.networks.peer.dialects.text import TextClientWire, TextServerWire
from nonsuch.networks.peer.original import current_hash, genesis
from nonsuch.networks.peer.original_chain import OriginalChain
from nonsuch.networks.peer.settings import PeerSettings
from nonsuch.node import (
    LOCAL,
    Cancel,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Event,
    Finish,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Started,
    Stopping,
    Tick,
)
from nonsuch.sim.network import LAN, Wires
from nonsuch.sim.world import World
from nonsuch.work.presets import peer as original_puzzle

UNIX = 1_700_000_000.0
CYCLE = (5, 33, 155, 389, 227, 81, 196, 375, 301, 82, 363, 24, 387, 183, 100)
"""All proofs there are, in the order in which they come, for ever.
Source: tests/data/peer.json."""

T = TypeVar("T")


def transaction(number: int) -> Transaction:
    return Transaction("abcd1234", f"number {number}")


def entry(number: int) -> Entry:
    return transaction(number).text, "2023-11-14 22:13:20.000000"


class Desk:
    """A peer and its clock, with `_check` after every event."""

    def __init__(
        self,
        *kept: object,
        dialect: str = "pickle",
        neighbours: Sequence[str] = (),
        mines: bool = False,
    ) -> None:
        settings = PeerSettings(mines=mines, neighbours=tuple(neighbours))
        self.peer = DialectPeer(dialect, settings, random.Random(0), UNIX)
        self.now = 0.0
        self.started = self.happens(Started(kept))
        self.number = 0

    def happens(self, event: Event) -> list[Effect]:
        effects = self.peer.handle(event, self.now)
        self.peer._check()
        return effects

    def hears(self, peer: int, message: object) -> list[Effect]:
        return self.happens(Received(peer, message))

    def asked(self, peer: int, request: object) -> object:
        """The answer to a request."""
        (answer,) = sent(self.hears(peer, request), peer)
        return answer

    def called(self, address: str = "10.0.0.1:5") -> int:
        """Somebody calls."""
        self.number += 1
        self.happens(Connected(self.number, address, self.peer._dialect))
        return self.number

    def calls(self, neighbour: str) -> int:
        """A neighbour answers our call."""
        self.number += 1
        effects = self.happens(Connected(self.number, f"{neighbour}:1", "pickle", neighbour))
        assert sent(effects, self.number) == [Heartbeat()]
        return self.number

    def ticks(self) -> list[Effect]:
        deadline = self.peer.deadline()
        assert deadline is not None
        self.now = max(self.now, deadline)
        return self.happens(Tick())

    def waits(self, seconds: float) -> list[Effect]:
        effects, until = [], self.now + seconds
        while (deadline := self.peer.deadline()) is not None and deadline <= until:
            effects += self.ticks()
        self.now = until
        return effects

    def says(self, *numbers: int) -> list[Effect]:
        return [each for number in numbers for each in self.hears(LOCAL, transaction(number))]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self.peer.chain.blocks)


def sent(effects: Iterable[Effect], peer: int) -> list[object]:
    return [each.message for each in effects if isinstance(each, Send) and each.peer == peer]


def of(kind: type[T], effects: Iterable[Effect]) -> list[T]:
    return [each for each in effects if isinstance(each, kind)]


def told(effects: Iterable[Effect]) -> list[object]:
    return [each.fact for each in effects if isinstance(each, Emit)]


def chain(count: int, first: int = 0, dialect: str = "pickle") -> list[Block]:
    """A chain of so many blocks behind the genesis, told by somebody who has done no work."""
    built = OriginalChain(dialect, "2020-01-01 00:00:00.000000")
    numbers = iter(range(first, first + BLOCK_TRANSACTIONS * count))
    for _, proof in zip(range(count), cycle(CYCLE), strict=False):
        entries = [entry(next(numbers)) for _ in range(BLOCK_TRANSACTIONS)]
        built.append(built.next_block(entries, proof, "2020-01-01 00:00:00.000000"))
    return built.blocks


# What it answers.


def test_the_table() -> None:
    desk = Desk()
    client = desk.called()
    assert desk.asked(client, GetProof()) == Proof(100)
    assert desk.asked(client, transaction(1)) == Verdict(True)
    assert desk.asked(client, Unacceptable("tx|nobody|x")) == Verdict(False)
    assert desk.asked(client, UpdateProof(5)) == Reward(False), "five do not wait yet"
    for number in range(2, 7):
        assert desk.asked(client, transaction(number)) == Verdict(True)
    assert desk.asked(client, UpdateProof(6)) == Reward(False)
    assert desk.asked(client, UpdateProof(5)) == Reward(True)
    assert desk.asked(client, UpdateProof(33)) == Reward(False)
    assert desk.asked(client, GetProof()) == Proof(5)
    shown = desk.asked(client, GetChain())
    assert shown == Chain(desk.blocks)
    assert [block.index for block in desk.blocks] == [1, 2]
    texts = tuple(transaction(number).text for number in range(1, 6))
    assert desk.blocks[1].transactions == texts
    answer = desk.asked(client, Heartbeat())
    assert isinstance(answer, HeartbeatAnswer)
    assert [text for text, _ in answer.pool] == [transaction(6).text], "the sixth waits"
    assert answer.chain == desk.blocks
    assert desk.asked(client, Heartbeat()) == HeartbeatAnswer(answer.pool, None, False)


def test_the_text_dialect_always_shows_its_chain() -> None:
    desk = Desk(dialect="text")
    client = desk.called()
    answers = [desk.asked(client, Heartbeat()) for _ in range(2)]
    assert answers == [HeartbeatAnswer((), desk.blocks, True)] * 2


def test_a_transaction_is_on_disk_before_it_is_accepted_and_is_there_once() -> None:
    desk = Desk()
    client = desk.called()
    effects = desk.hears(client, transaction(1))
    (kept,) = of(Persist, effects)
    assert effects.index(kept) < effects.index(Send(client, Verdict(True)))
    again = desk.hears(client, transaction(1))
    assert (of(Persist, again), sent(again, client)) == ([], [Verdict(True)])
    assert len(desk.peer.waiting) == 1


def test_goodbye_ends_a_connection_and_from_the_same_machine_the_peer() -> None:
    desk = Desk()
    stranger, neighbour = desk.called("192.0.2.1:5"), desk.called("127.0.0.1:5")
    assert desk.hears(stranger, CloseConnection()) == [Close(stranger, "it says cc")]
    effects = desk.hears(neighbour, CloseConnection())
    assert of(Close, effects) == [Close(neighbour, "it says cc")]
    assert of(Finish, effects) == of(Finish, desk.hears(LOCAL, CloseConnection())) == [Finish()]
    desk.happens(Stopping())
    assert desk.peer.deadline() is None


def test_who_asks_for_long_chains_without_end_is_let_go() -> None:
    desk = Desk(neighbours=["a"])
    desk.hears(desk.calls("a"), HeartbeatAnswer((), tuple(chain(500)), True))
    client, answers = desk.called(), 0
    while not of(Close, effects := desk.hears(client, GetChain())):
        answers += len(sent(effects, client))
        assert answers <= 100
    assert answers == 40_000 // 501


# What it asks.


def test_neighbours_are_asked_every_five_seconds_but_not_before_they_have_answered() -> None:
    desk = Desk(neighbours=["a", "b"])
    assert of(Dial, desk.started) == [Dial("a"), Dial("b")]
    desk.happens(Disconnected(0, "refused", address="b"))
    peer = desk.calls("a")
    assert sent(desk.waits(12), peer) == []
    desk.hears(peer, HeartbeatAnswer((), None, False))
    assert sent(desk.waits(5), peer) == [Heartbeat()]
    assert Close(peer, "silent for 30 s") in desk.waits(40)


def test_what_waits_with_a_neighbour_waits_here_too() -> None:
    desk = Desk(neighbours=["a"])
    peer = desk.calls("a")
    desk.says(1)
    pool = (entry(1), entry(2), ("tx|nobody|x", "now"), ("gp", "now"))
    desk.hears(peer, HeartbeatAnswer(pool, None, False))
    assert [text for text, _ in desk.peer.waiting] == [entry(1)[0], entry(2)[0]]


def test_a_longer_chain_is_taken_and_what_it_lacks_waits_again() -> None:
    desk = Desk(neighbours=["a"])
    peer = desk.calls("a")
    desk.says(*range(100, 106))
    desk.hears(LOCAL, UpdateProof(5))
    desk.says(0)
    effects = desk.hears(peer, HeartbeatAnswer((), tuple(chain(2)), True))
    assert len(desk.blocks) == 3
    waiting = [text for text, _ in desk.peer.waiting]
    assert waiting == [transaction(number).text for number in range(100, 106)]
    assert any(isinstance(fact, facts.Reorganised) for fact in told(effects))


def test_a_shorter_chain_is_not_looked_at_and_of_two_as_long_one_is_chosen() -> None:
    one, other = chain(2), chain(2, 50)
    tips = []
    for first, second in ((one, other), (other, one)):
        desk = Desk(neighbours=["a"])
        peer = desk.calls("a")
        desk.hears(peer, HeartbeatAnswer((), tuple(first), True))
        desk.hears(peer, HeartbeatAnswer((), tuple(second[:2]), True))
        assert desk.blocks[1:] == tuple(first[1:])
        desk.hears(peer, HeartbeatAnswer((), tuple(second), True))
        tips.append(desk.peer.chain.tip)
    assert tips[0] == tips[1]


def changed(block: Block, **fields: object) -> Block:
    return msgspec.structs.replace(block, **fields)


def edited(blocks: list[Block], at: int, **fields: object) -> list[Block]:
    return [*blocks[:at], changed(blocks[at], **fields), *blocks[at + 1 :]]


GOOD = chain(3)
TEXTS = GOOD[2].transactions

BAD = {
    "genesis": edited(GOOD, 0, proof=5),
    "index": edited(GOOD, 2, index=4),
    "link": edited(GOOD, 2, previous_hash="0" * 64),
    "hash": edited(GOOD, 1, current_hash="0" * 64),
    "proof": edited(GOOD, 2, proof=34),
    "four": edited(GOOD, 2, transactions=TEXTS[:4]),
    "six": edited(GOOD, 2, transactions=(*TEXTS, entry(99)[0])),
    "no transaction": edited(GOOD, 2, transactions=(*TEXTS[:4], "tx|nobody|x")),
    "twice in a block": edited(GOOD, 2, transactions=(*TEXTS[:4], TEXTS[0])),
    "twice in the chain": edited(GOOD, 2, transactions=(*TEXTS[:4], GOOD[1].transactions[0])),
    "hole": [GOOD[0], *GOOD[2:], GOOD[1]],
}


@pytest.mark.parametrize("fault", BAD)
def test_a_chain_that_breaks_a_rule_anywhere_is_not_taken(fault: str) -> None:
    desk = Desk(neighbours=["a"])
    peer = desk.calls("a")
    desk.hears(peer, HeartbeatAnswer((), tuple(chain(1)), True))
    before = desk.blocks
    effects = desk.hears(peer, HeartbeatAnswer((), tuple(BAD[fault]), True))
    assert desk.blocks == before
    assert of(Persist, effects) == []
    assert any(isinstance(fact, facts.ChainRefused) for fact in told(effects))
    desk.hears(peer, HeartbeatAnswer((), tuple(GOOD), True))
    assert desk.blocks[1:] == tuple(GOOD[1:])


# Mining, and another life.


def test_five_are_mined_and_the_sixth_waits() -> None:
    desk = Desk(mines=True)
    assert of(Search, desk.says(1, 2, 3, 4)) == []
    (search,) = of(Search, desk.says(5))
    assert (search.puzzle, search.nonces.start) == (original_puzzle(100), 1)
    assert of(Search, desk.says(6)) == []
    effects = desk.happens(Searched(search.task, 6, (5,)))
    assert any(isinstance(fact, facts.BlockMined) for fact in told(effects))
    assert len(desk.blocks) == 2
    assert [text for text, _ in desk.peer.waiting] == [transaction(6).text]
    assert desk.blocks[1].current_hash == current_hash(
        genesis("pickle", "").current_hash,
        [(text, "2023-11-14 22:13:20.000000") for text in desk.blocks[1].transactions],
        5,
    )


def test_a_search_is_given_up_when_a_neighbour_was_first() -> None:
    desk = Desk(mines=True, neighbours=["a"])
    peer = desk.calls("a")
    (search,) = of(Search, desk.says(*range(100, 105)))
    effects = desk.hears(peer, HeartbeatAnswer((), tuple(chain(1)), True))
    assert of(Cancel, effects) == [Cancel(search.task)]
    (again,) = of(Search, effects)
    assert again.puzzle == original_puzzle(5)


def test_a_chain_that_could_not_be_told_is_not_made() -> None:
    desk = Desk(neighbours=["a"], mines=True)
    peer = desk.calls("a")
    desk.hears(peer, HeartbeatAnswer((), tuple(chain(BLOCKS_MAX - 1)), True))
    assert len(desk.blocks) == BLOCKS_MAX
    effects = desk.says(*range(10**6, 10**6 + 5))
    assert of(Search, effects) == []
    assert len(desk.peer.waiting) == 5


def test_it_goes_on_from_its_records() -> None:
    desk = Desk(neighbours=["a"])
    peer = desk.calls("a")
    effects = desk.says(*range(100, 107))
    effects += desk.hears(LOCAL, UpdateProof(5))
    effects += desk.hears(peer, HeartbeatAnswer((), tuple(chain(2)), True))
    disk: dict[str, object] = {}
    for each in of(Persist, effects):
        disk.pop(each.subject, None)
        if each.record is not None:
            disk[each.subject] = records.decode_record(records.encode_record(each.record))
    again = Desk(*disk.values())
    assert again.blocks[1:] == desk.blocks[1:]
    assert set(again.peer.waiting) == set(desk.peer.waiting)
    assert len(again.peer.waiting) == 7
    with pytest.raises(LocalError, match="not valid here"):
        Desk(records.ChainBlock(BAD["proof"][2]))


NAMES = ("a", "b", "c")

WIRES: dict[str, Wires] = {
    "pickle": (PickleClientWire, PickleServerWire),
    "text": (TextClientWire, TextServerWire),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dialect", WIRES)
def test_three_peers_agree_in_a_world_with_a_crash_and_a_partition(dialect: str, seed: int) -> None:
    world = World(seed, LAN)

    def add(name: str) -> None:
        others = tuple(each for each in NAMES if each != name)
        settings = PeerSettings(neighbours=others)

        def made() -> DialectPeer:
            return DialectPeer(dialect, settings, random.Random(world.lots.getrandbits(64)), UNIX)

        dials = {each: each for each in others}
        world.add(name, made, hash_rate=1000, listens=True, dials=dials, wires=WIRES[dialect])

    def say(number: int) -> None:
        whom = NAMES[number % 3]
        if world.is_up(whom):
            said.add(transaction(number).text)
            world.deliver(whom, Received(LOCAL, transaction(number)))

    said: set[str] = set()
    for name in NAMES:
        add(name)
    for number in range(60):
        world.at(0.5 + number / 2, partial(say, number))
    world.at(8, partial(world.crash, "b"))
    world.at(15, partial(world.restart, "b"))
    world.partition({"a"}, {"c"}, seconds=20)
    world.run(120)
    cores = [core for name in NAMES if isinstance(core := world.core(name), DialectPeer)]
    chains = [core.chain.blocks[1:] for core in cores]
    # Of two blocks that were found at once neither is longer, until the next one.
    assert chains[0][:-1] == chains[1][:-1] == chains[2][:-1]
    assert len(chains[0]) > 5
    everywhere = set(cores[0].chain.confirmed)
    for core in cores:
        everywhere |= {text for text, _ in core.waiting}
    assert said == everywhere
