"""Datagrams in small worlds: nothing is promised, nobody is told, and the wire is a real one."""

from functools import partial
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.node import (
    DATAGRAM_BYTES_MAX,
    STRANGER,
    Close,
    Connected,
    Disconnected,
    Effect,
    Erred,
    Event,
    Received,
    Send,
    Started,
)
from nonsuch.sim.datagrams import OVERHEAD_BYTES, RECEIVE_BYTES_MAX, WAY_BYTES_MAX, Datagrams
from nonsuch.sim.network import HOSTILE, PERFECT, TORTURE, Conditions
from nonsuch.sim.world import World
from tests.sim.test_world import Puppet, order, puppet


class Json:
    """A wire of datagrams that are JSON, and so shows that they were bytes in between."""

    name = "json"

    def feed(self, data: bytes) -> list[object]:
        try:
            return [msgspec.json.decode(data)]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RemoteProtocolError(f"no JSON: {error}") from None

    def encode(self, message: object) -> bytes:
        return b"" if message is None else msgspec.json.encode(message)


def triangle(seed: int = 1, conditions: Conditions = PERFECT) -> World:
    """a, b and c know each other, a node's peers in the order of their names; x knows a."""
    world = World(seed, conditions)
    for name in "abc":
        others = tuple(other for other in "abc" if other != name)
        world.add(name, Puppet, datagrams=Datagrams(others, Json))
    world.add("x", Puppet, datagrams=Datagrams(("a",), Json))
    world.run(until=1)
    return world


GREETINGS = {
    "a": [Started(), Connected(1, "b", "json"), Connected(2, "c", "json")],
    "b": [Started(), Connected(1, "a", "json"), Connected(2, "c", "json")],
    "c": [Started(), Connected(1, "a", "json"), Connected(2, "b", "json")],
    "x": [Started(), Connected(1, "a", "json")],
}


def news(world: World, name: str) -> list[Event]:
    """What a node has heard in this life since it was told of its peers."""
    events = puppet(world, name).events
    count = len(GREETINGS[name])
    assert events[:count] == GREETINGS[name]
    return events[count:]


def talk(world: World, count: int) -> list[int]:
    """b says the numbers below `count` to a, 10 ms apart: what arrives?"""
    began = world.seconds
    for number in range(count):
        world.at(began + number / 100, partial(order, world, "b", Send(1, number)))
    world.run(until=began + count / 100 + 60)
    return [message for message in puppet(world, "a").messages if isinstance(message, int)]


# Words.


def test_peers_are_there_from_the_start_and_what_they_say_goes_over_the_wire() -> None:
    world = triangle()
    for name in GREETINGS:
        assert news(world, name) == []
    order(world, "a", Send(1, ("for b", 1)), Send(2, {"for": "c"}))
    order(world, "c", Send(1, 2.5), Send(2, "for b"))
    world.run(until=2)
    assert news(world, "a") == [Received(2, 2.5)]
    assert news(world, "b") == [Received(1, ["for b", 1]), Received(2, "for b")]
    assert news(world, "c") == [Received(1, {"for": "c"})]


def test_who_is_not_a_peer_is_a_stranger_and_is_not_answered() -> None:
    world = triangle()
    order(world, "x", Send(1, "let me in"))
    world.run(until=2)
    assert news(world, "a") == [Received(STRANGER, "let me in")]
    order(world, "a", Send(STRANGER, "no"), Send(3, "who?"), Send(0, "me?"), Close(1, "?"))
    world.run(until=3)
    assert [news(world, name) for name in "bcx"] == [[], [], []]


def test_what_is_no_message_is_told_and_the_next_one_is_heard() -> None:
    world = triangle()
    world.send_datagram("b", "a", b"{")
    world.send_datagram("x", "a", b"")
    order(world, "b", Send(1, "well?"))
    order(world, "x", Send(1, "well?"))
    world.run(until=2)
    one, two, *rest = news(world, "a")
    cost = RemoteProtocolError.cost
    assert isinstance(one, Erred)
    assert isinstance(two, Erred)
    assert [(each.peer, each.cost) for each in (one, two)] == [(1, cost), (STRANGER, cost)]
    assert rest == [Received(1, "well?"), Received(STRANGER, "well?")]
    assert [news(world, name) for name in "bx"] == [[], []], "nobody is told"


def test_what_is_too_long_or_has_no_words_does_not_set_out() -> None:
    world = triangle()
    longest = "x" * (DATAGRAM_BYTES_MAX - 2)
    order(world, "b", Send(1, f"{longest}x"), Send(1, None), Send(1, longest))
    world.run(until=2)
    assert news(world, "a") == [Received(1, longest)]


def test_streams_are_numbered_behind_datagram_peers() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet, listens=True, datagrams=Datagrams(("b", "c"), Json))
    world.add("b", lambda: Puppet(dials=True), dials="a", datagrams=Datagrams(("a",), Json))
    world.run(until=1)
    assert puppet(world, "a").events[-1] == Connected(3, "b")
    assert puppet(world, "b").events[-1] == Connected(2, "a", dialled="")
    both = Send(1, ("a", "datagram")), Send(2, ("a", "stream"))
    order(world, "b", *both)
    world.run(until=2)
    heard = puppet(world, "a").events[-2:]
    assert heard == [Received(1, ["a", "datagram"]), Received(3, ("a", "stream"))]
    world.restart("b")
    world.run(until=3)
    anew = [Disconnected(3, "connection reset"), Connected(4, "b")]
    assert puppet(world, "a").events[-2:] == anew, "and peer 1 is peer 1 for ever"


def test_a_peer_may_come_later_and_what_is_said_before_is_lost() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet, datagrams=Datagrams(("late", "never"), Json))
    world.run(until=1)
    order(world, "a", Send(1, "are you there?"), Send(2, "and you?"))
    world.run(until=2)
    world.add("late", Puppet, datagrams=Datagrams(("a",), Json))
    world.run(until=3)
    order(world, "a", Send(1, "and now?"))
    world.run(until=4)
    assert puppet(world, "late").messages == ["and now?"]


def test_a_peer_that_is_named_twice_is_refused() -> None:
    with pytest.raises(LocalError, match="a peer is named twice: b, c, b"):
        Datagrams(("b", "c", "b"), Json)


# What a network can do.


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.5])
def test_datagrams_are_lost_as_often_as_conditions_say(loss: float) -> None:
    count = 5000
    came = talk(triangle(1, Conditions(loss=loss)), count)
    assert came == sorted(came)
    assert abs(1 - len(came) / count - loss) < 0.025


def test_datagrams_come_twice_as_often_as_conditions_say() -> None:
    came = talk(triangle(2, Conditions(duplication=0.1)), 4000)
    assert set(came) == set(range(4000))
    assert 1.08 < len(came) / 4000 < 1.12
    assert max(map(came.count, came[:400])) == 2


def test_datagrams_overtake_each_other_and_some_are_late() -> None:
    """Streams do not, whatever their delays; each datagram has a delay of its own."""
    spread = Conditions(delay_seconds_min=0.01, delay_seconds_mean=0.02)
    world = triangle(3, spread)
    came = talk(world, 2000)
    assert sorted(came) == list(range(2000))
    overtaken = sum(one > other for one, other in pairwise(came))
    assert 0.1 < overtaken / 2000 < 0.4
    times = puppet(world, "a").times(Received)
    assert times == sorted(times)
    came = talk(triangle(3, Conditions(delay_seconds_mean=0.02, reordering=0.3)), 2000)
    assert sum(one > other for one, other in pairwise(came)) > overtaken


def test_garbled_datagrams_are_refused_or_say_something_else() -> None:
    world = triangle(4, Conditions(garbling=0.2))
    for number in range(1000):
        world.at(2 + number / 100, partial(order, world, "b", Send(1, [number])))
    world.run(until=20)
    wrong = [event for event in news(world, "a") if isinstance(event, Erred)]
    right = [event for event in news(world, "a") if isinstance(event, Received)]
    assert len(wrong) + len(right) == 1000
    assert 100 < len(wrong) < 250
    assert len({str(event.message) for event in right}) < len(right), "one number became another"
    assert not puppet(world, "a").ends()
    assert news(world, "b") == []


def numbers_of(lots: st.DrawFn) -> Conditions:
    chance = st.floats(0, 0.9)
    return Conditions(
        delay_seconds_mean=lots(st.floats(0.001, 0.5)),
        clogging=lots(chance),
        loss=lots(chance),
        duplication=lots(chance),
        reordering=lots(chance),
    )


@settings(max_examples=30)
@given(st.composite(numbers_of)(), st.integers(0, 2**32))
def test_whatever_happens_only_what_was_said_is_heard_and_at_most_twice(
    conditions: Conditions, seed: int
) -> None:
    world = triangle(seed, conditions)
    came = talk(world, 100)
    assert set(came) <= set(range(100))
    assert all(came.count(number) <= 2 for number in came)
    assert all(isinstance(event, Received) for event in news(world, "a"))
    assert [news(world, name) for name in "bcx"] == [[], [], []]


# Partitions.


@pytest.mark.parametrize("silent", [True, False])
def test_a_partition_loses_what_it_separates_and_nobody_is_told(*, silent: bool) -> None:
    world = triangle()
    world.partition({"a"}, {"b"}, seconds=5, silent=silent)
    order(world, "b", Send(1, "lost"), Send(2, "to c"))
    order(world, "c", Send(1, "to a"))
    world.run(until=7)
    order(world, "b", Send(1, "healed"))
    world.run(until=8)
    assert news(world, "a") == [Received(2, "to a"), Received(1, "healed")]
    assert news(world, "c") == [Received(2, "to c")]
    assert news(world, "b") == []


def test_a_one_way_partition_lets_the_other_way_through() -> None:
    world = triangle()
    world.partition({"a"}, {"b"}, one_way=True)
    order(world, "a", Send(1, "lost"))
    order(world, "b", Send(1, "heard"))
    world.run(until=2)
    assert (puppet(world, "a").messages, puppet(world, "b").messages) == (["heard"], [])


def test_what_is_on_its_way_when_the_cable_is_pulled_is_lost_and_nothing_behind_it() -> None:
    world = triangle()
    order(world, "b", Send(1, "on its way"))
    world.partition({"a"}, {"b"}, seconds=0.01)
    # This one sets out within and would arrive after it.
    world.network.conditions = Conditions(delay_seconds_min=0.1, delay_seconds_mean=0.1)
    order(world, "b", Send(1, "sets out within"))
    world.run(until=1.05)
    order(world, "b", Send(1, "behind"))
    world.run(until=2)
    assert news(world, "a") == [Received(1, "behind")]


# Crash and freeze.


@pytest.mark.parametrize("silent", [True, False])
def test_who_crashes_is_spoken_to_in_vain_and_meets_its_peers_anew(*, silent: bool) -> None:
    world = triangle()
    world.crash("a", silent=silent)
    order(world, "b", Send(1, "are you there?"))
    world.run(until=2)
    world.restart("a")
    world.run(until=3)
    assert news(world, "a") == []
    assert news(world, "b") == [], "and b has not noticed"
    order(world, "b", Send(1, "and now?"))
    order(world, "a", Send(1, "back"))
    world.run(until=4)
    assert news(world, "a") == [Received(1, "and now?")]
    assert news(world, "b") == [Received(1, "back")]


def test_what_is_on_its_way_may_reach_a_later_life_and_outlive_its_sender() -> None:
    world = triangle(1, Conditions(delay_seconds_min=5, delay_seconds_mean=5))
    order(world, "b", Send(1, "for your last life"))
    world.run(until=3)
    world.restart("a")
    world.crash("b")
    world.run(until=10)
    assert news(world, "a") == [Received(1, "for your last life")]


def test_nobody_is_heard_before_a_core_has_started() -> None:
    """What arrives in the microsecond of a restart."""
    world = triangle()
    world.at(1, lambda: world.at(2.001, lambda: world.restart("a")))
    world.at(2, lambda: order(world, "b", Send(1, "now")))
    world.run(until=3)
    assert puppet(world, "a").events[0] == Started()
    assert news(world, "a") == []


def test_a_node_that_left_hears_nothing_and_says_nothing() -> None:
    world = triangle()
    world.stop("a")
    world.run(until=2)
    order(world, "b", Send(1, "?"))
    world.send_datagram("a", "b", b'"boo"')
    world.run(until=3)
    assert puppet(world, "a").messages == []
    assert news(world, "b") == []


def waiting(size: int) -> int:
    """How many datagrams of this size a frozen node keeps for each source."""
    return RECEIVE_BYTES_MAX // (size + OVERHEAD_BYTES)


def test_a_frozen_node_keeps_what_its_system_has_room_for_of_each_source() -> None:
    world = triangle()
    world.freeze("a")
    room = waiting(len(b"1000"))
    order(world, "b", *(Send(1, number) for number in range(1000, 1000 + 2 * room)))
    order(world, "c", *(Send(1, number) for number in range(50)))
    order(world, "x", *(Send(1, number) for number in range(1000, 1000 + 2 * room)))
    world.run(until=2)
    assert news(world, "a") == []
    world.thaw("a")
    heard = news(world, "a")
    kept = list(range(1000, 1000 + room))
    assert [event.message for event in received(heard, 1)] == kept
    assert [event.message for event in received(heard, 2)] == list(range(50))
    assert [event.message for event in received(heard, STRANGER)] == kept
    order(world, "b", Send(1, "there is room again"))
    world.run(until=3)
    assert news(world, "a")[-1] == Received(1, "there is room again")


def received(events: list[Event], peer: int) -> list[Received]:
    heard = (event for event in events if isinstance(event, Received))
    return [event for event in heard if event.peer == peer]


def test_a_frozen_node_that_is_killed_leaves_nothing_unread() -> None:
    world = triangle()
    world.freeze("a")
    order(world, "b", *(Send(1, number) for number in range(5000)))
    world.run(until=2)
    world.restart("a")
    world.thaw("a")
    world.run(until=3)
    assert news(world, "a") == []
    count = waiting(len(b"1000"))
    world.freeze("a")
    order(world, "b", *(Send(1, number) for number in range(1000, 1000 + count)))
    world.run(until=4)
    world.thaw("a")
    assert len(news(world, "a")) == count


def test_more_than_a_way_has_room_for_is_lost() -> None:
    world = triangle(1, Conditions(delay_seconds_min=1, delay_seconds_mean=1))
    size = 10_000
    order(world, "b", *[Send(1, "x" * (size - 2))] * 1000)
    order(world, "c", Send(1, "on another way"))
    world.run(until=5)
    room = WAY_BYTES_MAX // (size + OVERHEAD_BYTES)
    assert len(received(news(world, "a"), 1)) == room
    assert received(news(world, "a"), 2) == [Received(2, "on another way")]
    order(world, "b", Send(1, "now"))
    world.run(until=7)
    assert news(world, "a")[-1] == Received(1, "now")


# Forgeries.


def test_a_source_can_be_forged() -> None:
    world = triangle()
    world.send_datagram("x", "a", b'"I am b"', source="b")
    world.send_datagram("x", "a", b'"I am nobody"', source="nobody")
    world.send_datagram("x", "a", b'"I am x"')
    world.send_datagram("b", "c", b'"I am a"', source="a")
    world.run(until=2)
    said = [(1, "I am b"), (STRANGER, "I am nobody"), (STRANGER, "I am x")]
    assert news(world, "a") == [Received(*each) for each in said]
    assert news(world, "c") == [Received(1, "I am a")]
    assert [news(world, name) for name in "bx"] == [[], []]


def test_a_forgery_goes_the_way_of_its_forger() -> None:
    world = triangle()
    world.partition({"a"}, {"b"})
    world.send_datagram("x", "a", b'"cut off, am I?"', source="b")
    world.run(until=2)
    assert news(world, "a") == [Received(1, "cut off, am I?")]
    world.heal()
    world.partition({"a"}, {"x"})
    world.send_datagram("x", "a", b'"lost"', source="b")
    world.run(until=3)
    assert len(news(world, "a")) == 1


def test_who_is_not_of_this_world_is_told_of() -> None:
    world = triangle()
    for sender, target in (("a", "nobody"), ("nobody", "a")):
        with pytest.raises(LocalError, match="nobody is not of this world"):
            world.send_datagram(sender, target, b"")
    world.add("deaf", Puppet)
    world.send_datagram("a", "deaf", b"1")
    world.run(until=2)
    assert puppet(world, "deaf").events == [Started()]


# One seed, one history.


class Gossip(Puppet):
    """Tells all its peers each number that it hears for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[int] = []
        self.known: set[object] = set()

    def handle(self, event: Event, now: float) -> list[Effect]:
        super().handle(event, now)
        match event:
            case Connected(peer=peer):
                self.peers.append(peer)
            case Received(message=int(number)) if number not in self.known:
                self.known.add(number)
                return [Send(peer, number) for peer in self.peers]
            case _:
                pass
        return []


def rumours(seed: int, conditions: Conditions) -> World:
    """A village in which much happens, and somebody who starts rumours under others' names."""
    world = World(seed, conditions)
    names = [f"n{number}" for number in range(8)]
    for name in names:
        others = tuple(other for other in names if other != name)
        world.add(name, Gossip, datagrams=Datagrams(others, Json), clock_rate=1.01)
    world.add("liar", Puppet)
    for number in range(100):
        target, source = names[number % 8], names[number * 5 % 8]
        data = msgspec.json.encode(number)
        tell = partial(world.send_datagram, "liar", target, data, source=source)
        world.at(1 + number / 10, tell)
    world.at(2, lambda: world.freeze("n1"))
    world.at(4, lambda: world.thaw("n1"))
    world.at(3, lambda: world.restart("n2"))
    world.at(5, lambda: world.partition({"n3", "n4"}, {"n5", "n6"}, seconds=3))
    world.run(until=30)
    return world


LOSSY = [Conditions(loss=loss) for loss in (0.05, 0.2, 0.5)]


@pytest.mark.parametrize("weather", [PERFECT, HOSTILE, TORTURE, *LOSSY])
def test_one_seed_has_one_history_and_another_another(weather: Conditions) -> None:
    hashes = [rumours(seed, weather).trace_hash for seed in (1, 2, 1)]
    assert hashes[0] == hashes[2]
    assert hashes[0] != hashes[1] or weather == PERFECT, "nothing is drawn in a perfect world"


def test_rumours_spread_through_loss() -> None:
    """One datagram in five is lost, of the liar's too; but seven ways lead to everybody."""
    world = rumours(1, Conditions(loss=0.2))
    known = [known_by(world, name) for name in ("n0", "n7")]
    assert known[0] == known[1]
    assert 70 < len(known[0]) < 95


def known_by(world: World, name: str) -> set[object]:
    core = world.core(name)
    assert isinstance(core, Gossip)
    return core.known
