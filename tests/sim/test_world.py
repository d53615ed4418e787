"""Stories in small worlds, told by puppets: cores that do what they are told and write down all.

The world is a driver, and the rules for drivers are on the page of `nonsuch.node`; each has its
story here, and so has each thing in the catalogue of what a network can do.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import msgspec
import pytest

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.node import (
    LOCAL,
    Advanced,
    Cancel,
    Close,
    Connected,
    Dial,
    Disconnected,
    Effect,
    Emit,
    Erred,
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
from nonsuch.sim.network import HOSTILE, LAN, PERFECT, TORTURE, Conditions, Partition
from nonsuch.sim.world import CHUNK_NONCES, Runaway, Told, World
from nonsuch.work.goals import First, Goal, Lowest, Shares
from nonsuch.work.nonce import Decimal, NonceEncoding, Raw
from nonsuch.work.puzzle import Puzzle
from nonsuch.work.target import Target

React = Callable[[Event, float], list[Effect]]


class Do(msgspec.Struct, frozen=True):
    """What a story tells a puppet to do."""

    effects: tuple[Effect, ...]
    deadline: float | None = None


class Puppet:
    """Does what `Do` says, then what `react` says; `heard` is all that it heard in this life."""

    def __init__(self, react: React = lambda _event, _now: [], *, dials: bool = False) -> None:
        self.react = react
        self.dials = dials
        self.heard: list[tuple[float, Event]] = []
        self.wake_at: float | None = None
        self.checks = 0

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.heard.append((now, event))
        if isinstance(event, Received) and isinstance(event.message, Do):
            self.wake_at = event.message.deadline
            return list(event.message.effects)
        if isinstance(event, Started) and self.dials:
            return [Dial()]
        if isinstance(event, Tick):
            self.wake_at = None
        return self.react(event, now)

    def deadline(self) -> float | None:
        return self.wake_at

    def _check(self) -> None:
        self.checks += 1

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.heard if not is_order(event)]

    @property
    def messages(self) -> list[object]:
        received = (event for event in self.events if isinstance(event, Received))
        return [event.message for event in received]

    def times(self, kind: type[Event]) -> list[float]:
        return [round(now, 6) for now, event in self.heard if isinstance(event, kind)]

    def ends(self) -> list[Disconnected]:
        return [event for event in self.events if isinstance(event, Disconnected)]


def is_order(event: Event) -> bool:
    return isinstance(event, Received) and isinstance(event.message, Do)


class Letters:
    """A wire with words for text alone; what is no ASCII is nonsense."""

    name = "letters"

    def feed(self, data: bytes) -> list[object]:
        if not data.isascii():
            raise RemoteProtocolError("no letters")
        return list(data.decode())

    def encode(self, message: object) -> bytes:
        return message.encode() if isinstance(message, str) else b""


def order(world: World, name: str, *effects: Effect, deadline: float | None = None) -> None:
    """Have a puppet do this, now."""
    world.deliver(name, Received(0, Do(effects, deadline)))


def puppet(world: World, name: str) -> Puppet:
    core = world.core(name)
    assert isinstance(core, Puppet)
    return core


def pair(seed: int = 1, conditions: Conditions = PERFECT) -> World:
    """a listens; b has dialled it, and each knows the other as its peer 1."""
    world = World(seed, PERFECT)
    world.add("a", Puppet, listens=True)
    world.add("b", lambda: Puppet(dials=True), dials="a")
    world.run(until=1)
    world.network.conditions = conditions
    assert puppet(world, "a").events == [Started(), Connected(1, "b")]
    assert puppet(world, "b").events == [Started(), Connected(1, "a", dialled="")]
    return world


# Time.


def test_what_happens_is_ordered_by_time_and_then_by_who_asked_first() -> None:
    world, happened = World(1), list[str]()
    world.at(2, lambda: happened.append("late"))
    world.at(1, lambda: happened.append("first"))
    world.at(1, lambda: happened.append("second"))
    world.at(1, lambda: world.at(1, lambda: happened.append("third")))
    world.run(until=1)
    assert (happened, world.seconds) == (["first", "second", "third"], 1)
    world.run(until=5)
    assert (happened[-1], world.seconds) == ("late", 5)


def test_a_world_runs_until_a_condition_holds_or_its_time_is_over() -> None:
    world, happened = World(1), list[int]()
    for second in range(1, 6):
        world.at(second, lambda: happened.append(1))
    assert world.run_until(lambda: len(happened) == 3, 100)
    assert world.seconds == 3
    assert not world.run_until(lambda: len(happened) == 9, 10)
    assert world.seconds == 13
    assert world.run_until(lambda: True, 0)


def test_the_past_is_closed() -> None:
    world = World(1)
    world.run(until=2)
    with pytest.raises(LocalError, match=r"1 s is over: it is 2\.0 s"):
        world.at(1, list)


def test_every_event_is_followed_by_a_check() -> None:
    world = pair()
    for name in "ab":
        assert puppet(world, name).checks == len(puppet(world, name).heard) == 2
    assert world.events == 4


def test_who_is_not_of_this_world_is_told_of() -> None:
    world = pair()
    actions: list[Callable[[], object]] = [
        lambda: world.core("c"),
        lambda: world.crash("c"),
        lambda: world.partition({"a"}, {"c"}),
    ]
    for action in actions:
        with pytest.raises(LocalError, match="c is not of this world"):
            action()
    with pytest.raises(LocalError, match="there is a b already"):
        world.add("b", Puppet)


def test_a_clock_has_an_offset_and_a_rate_and_never_falls() -> None:
    world = World(1)
    world.add("a", Puppet, clock_rate=1.5, clock_offset_seconds=-100)
    for second in (1, 2, 2, 4):
        world.at(second, lambda: order(world, "a"))
    world.at(2.5, lambda: world.freeze("a"))
    world.at(5, lambda: world.thaw("a"))
    world.run(until=6)
    assert [now for now, _ in puppet(world, "a").heard] == [-100, -98.5, -97, -97, -92.5]


def test_a_deadline_is_a_time_of_the_nodes_own_clock() -> None:
    world = World(1)
    world.add("a", Puppet, clock_rate=0.5, clock_offset_seconds=1000)
    world.at(0, lambda: order(world, "a", deadline=1002))
    world.run(until=3.9)
    assert puppet(world, "a").times(Tick) == []
    world.run(until=4.1)
    assert puppet(world, "a").times(Tick) == [1002]


# The one timer.


def alarm(*deadlines: tuple[float, float | None]) -> list[float]:
    """When a core is ticked to which, at these times, these deadlines were told."""
    world = World(1)
    world.add("a", Puppet)
    for second, deadline in deadlines:
        world.at(second, partial(order, world, "a", deadline=deadline))
    world.run(until=100)
    return puppet(world, "a").times(Tick)


def test_a_deadline_brings_one_tick() -> None:
    assert alarm((1, 5)) == [5]


def test_a_deadline_that_comes_nearer_brings_one_tick_and_the_old_timer_none() -> None:
    assert alarm((1, 9), (2, 5)) == [5]


def test_a_deadline_that_moves_off_is_not_ticked_early() -> None:
    assert alarm((1, 5), (2, 9)) == [9]


def test_a_deadline_that_is_dropped_brings_none() -> None:
    assert alarm((1, 5), (2, None)) == []


def test_a_stale_timer_leaves_the_live_one_alone() -> None:
    # The timer for 10 is stale from 2 on; at 10 it must not take the one for 12 with it.
    assert alarm((1, 10), (2, 5), (6, 12)) == [5, 12]
    # Nor must it when it fires in the same microsecond as a live one, before it or after it.
    assert alarm((1, 10), (2, 5), (6, 10)) == [5, 10]
    # Nor when the live one was set before the stale one fires, and is early itself.
    assert alarm((1, 10), (2, 5), (6, 9), (7, 20)) == [5, 20]


def test_a_deadline_in_the_past_brings_a_tick_soon() -> None:
    assert alarm((7, 5)) == [7.000001]


def test_of_a_thousand_deadlines_each_that_is_still_wanted_brings_one_tick() -> None:
    lots = random.Random(5)
    world = World(1)
    world.add("a", Puppet)
    orders = sorted((second, second + lots.uniform(-1, 3)) for second in map(float, range(1, 1000)))
    for second, deadline in orders:
        world.at(second, partial(order, world, "a", deadline=deadline))
    world.run(until=2000)
    due = [max(second, deadline) for second, deadline in orders]
    wanted = [
        at for at, (until, _) in zip(due, [*orders[1:], (2000.0, 0.0)], strict=True) if at < until
    ]
    ticks = puppet(world, "a").times(Tick)
    assert 300 < len(ticks) == len(wanted)
    assert all(0 <= tick - at < 3e-6 for tick, at in zip(ticks, wanted, strict=True))


def test_timers_are_as_few_as_can_be() -> None:
    world = World(1)
    world.add("a", Puppet)
    deadlines = [*range(20, 10, -1), *[11] * 10, *range(21, 31)]
    for number, deadline in enumerate(deadlines):
        world.at(number / 100, partial(order, world, "a", deadline=float(deadline)))
    steps = list[float]()

    def step() -> bool:
        steps.append(world.seconds)
        return False

    world.run_until(step, 100)
    assert puppet(world, "a").times(Tick) == [30]
    # Nine are stale; the one for 11 is early; and it is set for 30 then, whatever was between.
    assert steps[-11:] == [*range(11, 21), 30]


def test_no_timer_outlives_its_core() -> None:
    world = World(1)
    world.add("a", Puppet)
    world.add("b", Puppet)
    for name in "ab":
        world.at(1, partial(order, world, name, deadline=5))
        world.at(2, partial(world.crash, name))
    world.at(3, lambda: world.restart("a"))
    world.run(until=10)
    assert puppet(world, "a").events == [Started()]
    assert puppet(world, "b").events == [Started()]


def test_a_timer_may_be_late() -> None:
    world = World(3, tick_seconds_late_max=0.5)
    world.add("a", Puppet)
    for second in range(1, 40):
        world.at(second, partial(order, world, "a", deadline=second + 0.25))
    world.run(until=50)
    late = [time % 1 - 0.25 for time in puppet(world, "a").times(Tick)]
    assert len(late) == 39
    assert min(late) < 0.1 < 0.4 < max(late) <= 0.5


class Spinner(Puppet):
    """Its deadline is always now."""

    def deadline(self) -> float | None:
        return self.heard[-1][0] if self.heard else 0.0


def test_a_core_that_spins_is_stopped_and_its_seed_named() -> None:
    world = World(42, events_max=1000, trace_lines=3)
    world.add("a", Spinner)
    with pytest.raises(Runaway, match="seed 42: more than 1000 events in a run") as caught:
        world.run(until=10)
    assert 0 < world.seconds < 0.01
    assert [note.split(" ", 1)[1] for note in caught.value.__notes__[1:]] == ["a Tick()"] * 3


def test_what_fails_in_a_core_names_the_seed_and_the_last_events() -> None:
    def react(event: Event, _now: float) -> list[Effect]:
        assert not isinstance(event, Connected), "no visitors"
        return []

    world = World(7, PERFECT, trace_lines=2)
    world.add("a", lambda: Puppet(react), listens=True)
    world.at(1, lambda: world.add("b", lambda: Puppet(dials=True), dials="a"))
    with pytest.raises(AssertionError, match="no visitors") as caught:
        world.run(until=10)
    assert caught.value.__notes__ == [
        "seed 7, at 1.001000 s of virtual time",
        "1.000000 b Dial(address='')",
        "1.001000 a Connected(peer=1, address='b', wire='', dialled=None)",
    ]


# Connections.


def test_messages_take_their_time_and_arrive_in_order() -> None:
    world = pair()
    world.at(2, lambda: order(world, "b", Send(1, "one"), Send(1, "two")))
    world.at(3, lambda: order(world, "a", Send(1, "three")))
    world.run(until=4)
    assert puppet(world, "a").messages == ["one", "two"]
    assert puppet(world, "a").heard[-2][0] == 2.001
    assert puppet(world, "b").events[-1] == Received(1, "three")


def test_a_hang_up_comes_behind_the_last_words_and_both_ends_hear_of_it() -> None:
    world = pair()
    order(world, "a", Send(1, "wait"))  # is not heard: when it arrives, b has hung up
    order(world, "b", Send(1, "goodbye"), Close(1, "enough"), Send(1, "one more thing"))
    world.run(until=2)
    assert puppet(world, "a").events[2:] == [Received(1, "goodbye"), Disconnected(1, "it hung up")]
    assert puppet(world, "b").events[2:] == [Disconnected(1, "enough")]
    order(world, "a", Send(1, "?"), Close(1, "?"))  # to nobody
    world.run(until=3)
    assert len(puppet(world, "b").events) == 3
    assert world.network.connections == 0


def test_two_ends_that_hang_up_at_once_keep_their_reasons() -> None:
    world = pair()
    order(world, "a", Close(1, "late"))
    order(world, "b", Close(1, "bored"))
    world.run(until=2)
    assert puppet(world, "a").ends() == [Disconnected(1, "late")]
    assert puppet(world, "b").ends() == [Disconnected(1, "bored")]


def test_peers_are_numbered_anew_in_each_life_and_never_twice_in_one() -> None:
    world = pair()
    for _ in range(3):
        world.cut("b", "a")
        world.run(until=world.seconds + 1)
        order(world, "b", Dial())
        world.run(until=world.seconds + 1)
    numbers = [e.peer for e in puppet(world, "a").events if isinstance(e, Connected)]
    assert numbers == [1, 2, 3, 4]
    world.restart("a")
    world.run(until=world.seconds + 1)
    order(world, "b", Dial())
    world.run(until=world.seconds + 1)
    assert puppet(world, "a").events == [Started(), Connected(1, "b")]
    assert puppet(world, "b").events[-1] == Connected(5, "a", dialled="")


def test_the_wire_of_a_dialler_is_known_at_both_ends() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet, listens=True)
    world.add("b", lambda: Puppet(dials=True), dials="a", wires=(Letters, Letters))
    world.run(until=1)
    assert puppet(world, "a").events[-1] == Connected(1, "b", "letters")
    assert puppet(world, "b").events[-1] == Connected(1, "a", "letters", "")


def test_bytes_travel_where_the_dialler_has_wires() -> None:
    conditions = Conditions(loss=0.9, duplication=0.9, reordering=0.9, garbling=0.9)
    world = World(1, conditions)
    world.add("a", Puppet, listens=True)
    world.add("b", lambda: Puppet(dials=True), dials="a", wires=(Letters, Letters))
    world.run(until=1)
    order(world, "b", Send(1, "abc"), Send(1, 4), Send(1, "d"))
    world.run(until=2)
    assert puppet(world, "a").messages == ["a", "b", "c", "d"]
    order(world, "a", Send(1, "\N{SNOWMAN}"), Send(1, "e"))
    world.run(until=3)
    assert puppet(world, "b").messages == []
    erred, ended = puppet(world, "b").events[-2:]
    assert erred == Erred(1, RemoteProtocolError.cost, "no letters")
    assert ended == Disconnected(1, "no letters")
    assert puppet(world, "a").ends() == [Disconnected(1, "it hung up")]


def test_dialling_twice_at_once_is_dialling_once() -> None:
    world = pair()
    order(world, "b", Dial(), Dial())
    world.run(until=2)
    assert puppet(world, "b").events[2:] == [Connected(2, "a", dialled="")]


def test_several_addresses_are_dialled_each_by_itself() -> None:
    """One is up, one is down, one never answers, and none waits for the others."""
    world = World(1, PERFECT)
    for name in ("up", "down", "dark"):
        world.add(name, Puppet, listens=True)
    world.crash("down")
    world.crash("dark", silent=True)
    world.add("b", Puppet, dials={"10.0.0.1:7": "up", "10.0.0.2:7": "down", "10.0.0.3:7": "dark"})
    world.run(until=1)
    order(world, "b", *(Dial(f"10.0.0.{number}:7") for number in (1, 2, 3, 1)))
    world.run(until=2)
    met = Connected(1, "up", dialled="10.0.0.1:7")
    refused = Disconnected(0, "cannot reach down: connection refused", "10.0.0.2:7")
    assert puppet(world, "b").events[1:] == [met, refused]
    assert puppet(world, "up").events == [Started(), Connected(1, "b")]
    world.restart("down")
    order(world, "b", Dial("10.0.0.2:7"), Dial("10.0.0.3:7"))
    world.run(until=20)
    assert puppet(world, "b").events[3:] == [
        Connected(2, "down", dialled="10.0.0.2:7"),
        Disconnected(0, "cannot reach dark: no answer", "10.0.0.3:7"),
    ]
    with pytest.raises(LocalError, match=r"b dials '10\.0\.0\.9:7', but was not told who that is"):
        order(world, "b", Dial("10.0.0.9:7"))


def test_a_node_that_dials_several_and_crashes_dials_them_anew() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet, listens=True)
    world.add("b", Puppet, dials={"one": "a", "other": "a"})
    world.run(until=1)
    order(world, "b", Dial("one"), Dial("other"))
    world.restart("b")
    world.run(until=2)
    order(world, "b", Dial("other"), Dial("one"))
    world.run(until=3)
    assert puppet(world, "b").events == [
        Started(),
        Connected(1, "a", dialled="other"),
        Connected(2, "a", dialled="one"),
    ]


def dialling(world: World) -> list[tuple[float, Event]]:
    """What comes of b's attempt to dial a, now, and how many seconds later."""
    world.run(until=world.seconds)
    began, before = world.seconds, len(puppet(world, "b").heard)
    order(world, "b", Dial())
    world.run(until=began + 60)
    return [(round(now - began, 3), event) for now, event in puppet(world, "b").heard[before + 1 :]]


def test_dialling_who_does_not_listen_or_is_down_or_dark_fails() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet)
    world.add("b", Puppet, dials="a")
    refused = [(0.002, Disconnected(0, "cannot reach a: connection refused"))]
    assert dialling(world) == refused
    world = pair()
    world.crash("a")
    world.run(until=2)
    assert dialling(world) == refused
    world = pair()
    world.crash("a", silent=True)
    assert dialling(world) == [(10.001, Disconnected(0, "cannot reach a: no answer"))]


def test_a_dialler_that_crashes_leaves_nothing_behind() -> None:
    for crash_at in (0.0005, 0.0015):  # on the way there, and on the way back
        world = World(1, PERFECT)
        world.add("a", Puppet, listens=True)
        world.add("b", lambda: Puppet(dials=True), dials="a")
        world.at(crash_at, partial(world.crash, "b"))
        world.run(until=1)
        met = [Connected(1, "b"), Disconnected(1, "connection reset")] if crash_at > 0.001 else []
        assert puppet(world, "a").events == [Started(), *met]
        assert puppet(world, "b").events == [Started()]
        assert world.network.connections == 0
        world.restart("b")
        world.run(until=2)
        assert puppet(world, "b").events == [Started(), Connected(1, "a", dialled="")]


# What a network can do.


def talk(world: World, count: int) -> list[int]:
    """b says the numbers below `count` to a, 10 ms apart: what arrives?"""
    began = world.seconds
    for number in range(count):
        say = Send(1, number)
        world.at(began + number / 100, partial(order, world, "b", say))
    world.run(until=began + count / 100 + 60)
    return [message for message in puppet(world, "a").messages if isinstance(message, int)]


@pytest.mark.parametrize("conditions", [PERFECT, LAN], ids=["perfect", "lan"])
def test_in_a_good_network_all_arrives_in_order(conditions: Conditions) -> None:
    world = pair(3, conditions)
    assert talk(world, 1000) == list(range(1000))
    assert not puppet(world, "a").ends()


@pytest.mark.parametrize("seed", range(40))
def test_a_hostile_stream_delivers_all_up_to_its_end_and_both_ends_hear_of_it(seed: int) -> None:
    world = World(seed, HOSTILE)
    world.add("a", Puppet, listens=True)
    world.add("b", lambda: Puppet(dials=True), dials="a")
    world.run(until=30)
    messages = talk(world, 500)
    assert messages == list(range(len(messages)))
    told = [len(puppet(world, name).ends()) for name in "ab"]
    assert told == ([0, 0] if len(messages) == 500 else [1, 1])


def test_conditions_happen_as_often_as_they_say() -> None:
    count = 4000
    world = pair(1, Conditions(loss=0.1))
    assert 0.08 < 1 - len(talk(world, count)) / count < 0.12
    world = pair(2, Conditions(duplication=0.1))
    assert 1.08 < len(talk(world, count)) / count < 1.12
    world = pair(3, Conditions(delay_seconds_mean=0.2, reordering=0.1))
    came = talk(world, count)
    assert sorted(came) == list(range(count))
    overtaken = sum(one > other for one, other in pairwise(came))
    assert 0.06 < overtaken / count < 0.12


def test_delays_have_a_floor_and_a_mean() -> None:
    world = pair(4, Conditions(delay_seconds_min=0.5, delay_seconds_mean=0.75))
    delays = []
    for _ in range(1000):
        began = world.seconds
        order(world, "b", Send(1, "now"))
        world.run(until=began + 60)
        delays.append(puppet(world, "a").heard[-1][0] - began)
    assert min(delays) >= 0.5
    assert 0.73 < sum(delays) / 1000 < 0.77


def test_a_clogged_way_holds_up_all_behind() -> None:
    world = pair(5, Conditions(clogging=0.01, clogging_seconds_mean=5))
    assert talk(world, 1000) == list(range(1000))
    times = puppet(world, "a").times(Received)
    assert max(later - time for time, later in pairwise(times)) > 1
    assert len(set(times)) < 900, "what waited comes at once"


def test_a_cut_connection_ends_at_both_ends_once() -> None:
    world = pair(6, Conditions(cut=0.01))
    came = talk(world, 1000)
    assert came == list(range(len(came)))
    assert 0 < len(came) < 1000
    for name in "ab":
        assert puppet(world, name).ends() == [Disconnected(1, "connection reset")]


def test_garbage_is_heard_once_and_ends_the_connection() -> None:
    world = pair(7, Conditions(garbling=0.01))
    came = talk(world, 1000)
    assert came == list(range(len(came)))
    assert puppet(world, "a").events[-2:] == [Erred(1, 1000, "garbage"), Disconnected(1, "garbage")]
    assert puppet(world, "b").ends() == [Disconnected(1, "it hung up")]


def test_impossible_conditions_are_refused() -> None:
    for wrong in ({"loss": 1.0}, {"cut": -0.1}, {"delay_seconds_min": 2.0}):
        with pytest.raises(LocalError):
            Conditions(**wrong)


class Pinger(Puppet):
    """Says each number until it hears it back, over however many connections."""

    def __init__(self, count: int) -> None:
        super().__init__(dials=True)
        self.left = list(range(count))
        self.peer = 0

    def handle(self, event: Event, now: float) -> list[Effect]:
        effects = super().handle(event, now)
        match event:
            case Connected(peer=peer):
                self.peer = peer
            case Disconnected(peer=peer) if peer in (0, self.peer):
                self.peer = 0
                self.wake_at = now + 0.5
                return effects
            case Received(message=message) if self.left and message == self.left[0]:
                del self.left[0]
            case Tick() if not self.peer:
                return [Dial()]
            case Tick():
                pass
            case _:
                return effects
        if not self.left:
            self.wake_at = None
            return [Finish()]
        self.wake_at = now + 0.5
        return [Send(self.peer, self.left[0])]


def echo(event: Event, _now: float) -> list[Effect]:
    return [Send(event.peer, event.message)] if isinstance(event, Received) else []


def ping_world(seed: int, conditions: Conditions = TORTURE) -> World:
    world = World(seed, conditions)
    world.add("echo", lambda: Puppet(echo), listens=True, clock_offset_seconds=50)
    world.add("pinger", lambda: Pinger(50), dials="echo", clock_rate=1.01)
    world.at(5, lambda: world.freeze("echo"))
    world.at(8, lambda: world.thaw("echo"))
    world.at(10, lambda: world.restart("echo"))
    world.at(12, lambda: world.partition({"echo"}, {"pinger"}, seconds=3, silent=seed % 2 == 0))
    return world


@pytest.mark.parametrize("seed", range(20))
def test_who_tries_again_gets_through_all_of_it(seed: int) -> None:
    world = ping_world(seed)
    assert world.run_until(lambda: not world.is_up("pinger"), 600)


# Partitions.


def test_a_silent_partition_is_felt_only_when_it_heals() -> None:
    world = pair()
    world.partition({"a"}, {"b"}, seconds=20)
    order(world, "b", Send(1, "lost"))
    world.run(until=20.9)
    assert len(puppet(world, "a").events) == len(puppet(world, "b").events) == 2
    assert dialling(world)[0] == (0.101, Disconnected(1, "connection reset"))
    assert puppet(world, "a").ends() == [Disconnected(1, "connection reset")]
    assert puppet(world, "a").messages == []


def test_a_stream_that_lost_nothing_in_a_silent_partition_goes_on() -> None:
    world = pair()
    world.partition({"a"}, {"b"})
    world.run(until=100)
    world.heal()
    order(world, "b", Send(1, "still there?"))
    world.run(until=101)
    assert puppet(world, "a").messages == ["still there?"]
    assert not puppet(world, "b").ends()


def test_what_is_on_its_way_when_the_cable_is_pulled_is_lost_with_all_behind_it() -> None:
    world = pair()
    order(world, "b", Send(1, "on its way"))
    world.partition({"a"}, {"b"}, seconds=0.01)
    # This one sets out within and would arrive after it.
    world.network.conditions = Conditions(delay_seconds_min=0.1, delay_seconds_mean=0.1)
    order(world, "b", Send(1, "behind"))
    world.run(until=2)
    assert puppet(world, "a").messages == []
    for name in "ab":
        assert puppet(world, name).ends() == [Disconnected(1, "connection reset")]


def test_behind_a_hole_nothing_is_delivered_though_it_arrives_when_all_is_well() -> None:
    world = pair()
    order(world, "b", Send(1, "arrives within"))
    world.network.conditions = Conditions(delay_seconds_min=0.1, delay_seconds_mean=0.1)
    order(world, "b", Send(1, "arrives behind"))
    world.partition({"a"}, {"b"}, seconds=0.01)
    world.run(until=2)
    assert puppet(world, "a").messages == []
    for name in "ab":
        assert puppet(world, name).ends() == [Disconnected(1, "connection reset")]
    assert world.network.connections == 0


def test_in_a_silent_partition_dialling_takes_long_and_fails() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet, listens=True)
    world.add("b", Puppet, dials="a")
    world.partition({"a"}, {"b"}, seconds=5)
    assert dialling(world) == [(10.001, Disconnected(0, "cannot reach a: no answer"))]
    assert dialling(world) == [(0.002, Connected(1, "a", dialled=""))]


def test_an_answer_that_is_lost_leaves_half_a_connection_until_the_network_heals() -> None:
    world = World(1, PERFECT)
    world.add("a", Puppet, listens=True)
    world.add("b", Puppet, dials="a")
    world.partition({"a"}, {"b"}, one_way=True)  # b reaches a, and a does not reach b
    assert dialling(world) == [(10.002, Disconnected(0, "cannot reach a: no answer"))]
    assert puppet(world, "a").events == [Started(), Connected(1, "b")]
    world.heal()
    world.run(until=100)
    assert puppet(world, "a").ends() == [Disconnected(1, "connection reset")]
    assert len(puppet(world, "b").ends()) == 1


def test_a_one_way_partition_lets_the_other_way_through() -> None:
    world = pair()
    world.partition({"a"}, {"b"}, one_way=True)
    order(world, "a", Send(1, "lost"))
    order(world, "b", Send(1, "heard"))
    world.run(until=2)
    assert (puppet(world, "a").messages, puppet(world, "b").messages) == (["heard"], [])


def test_a_hang_up_in_a_silent_partition_is_heard_when_it_heals() -> None:
    world = pair()
    world.partition({"a"}, {"b"})
    order(world, "b", Close(1, "enough"))
    world.run(until=50)
    assert puppet(world, "b").ends() == [Disconnected(1, "enough")]
    assert puppet(world, "a").ends() == []
    world.heal()
    world.run(until=51)
    assert puppet(world, "a").ends() == [Disconnected(1, "connection reset")]
    assert len(puppet(world, "b").ends()) == 1


def test_a_loud_partition_resets_connections_and_refuses_new_ones() -> None:
    world = pair()
    world.partition({"a"}, {"b"}, silent=False)
    world.run(until=2)
    for name in "ab":
        assert puppet(world, name).ends() == [Disconnected(1, "no route")]
    assert dialling(world) == [(0.002, Disconnected(0, "cannot reach a: no route"))]
    world.heal()
    assert dialling(world) == [(0.002, Connected(2, "a", dialled=""))]


def test_a_partition_concerns_only_those_on_its_sides() -> None:
    parted = Partition((frozenset("ab"), frozenset("c")))
    assert parted.stops("a", "c")
    assert parted.stops("c", "b")
    assert not parted.stops("a", "b")
    assert not parted.stops("a", "d")
    world = pair()
    world.add("c", lambda: Puppet(dials=True), dials="a")
    world.run(until=2)
    world.partition({"a", "b"}, {"c"}, silent=False)
    order(world, "b", Send(1, "heard"))
    world.run(until=3)
    assert puppet(world, "a").ends() == [Disconnected(2, "no route")]
    assert puppet(world, "a").messages == ["heard"]


def test_two_partitions_end_one_by_one() -> None:
    world = pair()
    world.partition({"a"}, {"b"}, seconds=5)
    world.partition({"a"}, {"b"}, seconds=10)
    order(world, "b", Send(1, "lost"))
    world.run(until=10.5)
    assert not puppet(world, "b").ends()
    world.run(until=12)
    assert puppet(world, "b").ends() == [Disconnected(1, "connection reset")]


# Crash, freeze, stop.


def test_who_is_connected_to_a_node_that_crashes_is_told_and_it_begins_anew() -> None:
    world = pair()
    order(world, "a", Send(1, "last words"))
    world.crash("a")
    world.crash("a")  # twice is once
    world.deliver("a", Tick())  # and the dead hear nothing
    world.run(until=2)
    assert not world.is_up("a")
    reset = Disconnected(1, "connection reset")
    assert puppet(world, "b").events[2:] == [Received(1, "last words"), reset]
    world.restart("a")
    world.run(until=3)
    assert puppet(world, "a").events == [Started()]


def test_a_power_failure_is_felt_when_the_power_is_back() -> None:
    world = pair()
    world.crash("a", silent=True)
    order(world, "b", Send(1, "hello?"))
    world.run(until=50)
    assert puppet(world, "b").ends() == []
    world.restart("a")
    world.run(until=51)
    assert puppet(world, "b").ends() == [Disconnected(1, "connection reset")]
    assert puppet(world, "a").events == [Started()]


def test_a_frozen_node_hears_all_when_it_thaws_in_its_order() -> None:
    world = pair()
    order(world, "a", deadline=3)
    world.at(2, lambda: world.freeze("a"))
    world.at(2.5, lambda: order(world, "b", Send(1, "one")))
    world.at(4, lambda: order(world, "b", Send(1, "two"), Close(1, "bored")))
    world.at(5, lambda: world.add("c", lambda: Puppet(dials=True), dials="a"))
    world.run(until=9)
    its_system_is_awake = Connected(1, "a", dialled="")
    assert puppet(world, "c").events == [Started(), its_system_is_awake]
    assert len(puppet(world, "a").events) == 2
    world.thaw("a")
    assert [pair for pair in puppet(world, "a").heard if pair[0] > 2] == [
        (9, Received(1, "one")),
        (9, Tick()),
        (9, Received(1, "two")),
        (9, Disconnected(1, "it hung up")),
        (9, Connected(2, "c")),
    ]


def test_a_frozen_node_that_hangs_up_as_it_thaws_reads_no_further() -> None:
    def react(event: Event, _now: float) -> list[Effect]:
        return [Close(event.peer, "rude")] if isinstance(event, Received) else []

    world = pair()
    puppet(world, "a").react = react
    world.freeze("a")
    order(world, "b", Send(1, "one"), Send(1, "two"))
    world.run(until=2)
    world.thaw("a")
    world.run(until=3)
    assert puppet(world, "a").events[2:] == [Received(1, "one"), Disconnected(1, "rude")]


def test_a_frozen_node_can_be_killed_and_comes_back_awake() -> None:
    world = pair()
    world.freeze("a")
    order(world, "b", Send(1, "unheard"))
    world.run(until=2)
    world.restart("a")
    world.thaw("a")
    world.run(until=3)
    assert puppet(world, "a").events == [Started()]


def test_a_core_that_finishes_says_goodbye_and_is_gone() -> None:
    def react(event: Event, _now: float) -> list[Effect]:
        return [Send(1, "goodbye"), Persist("s", "end")] if isinstance(event, Stopping) else []

    world = pair()
    puppet(world, "b").react = react
    order(world, "b", Send(1, "done"), Finish(), Emit("finished"))
    world.run(until=2)
    assert puppet(world, "b").events[2:] == [Stopping()]
    assert puppet(world, "a").messages == ["done", "goodbye"]
    assert puppet(world, "a").ends() == [Disconnected(1, "it hung up")]
    assert not world.is_up("b")
    assert world.records("b") == ("end",)
    world.restart("b")
    world.run(until=3)
    assert puppet(world, "b").events == [Started(("end",)), Connected(1, "a", dialled="")]


def test_a_node_that_is_told_to_stop_while_it_is_frozen_stops_when_it_thaws() -> None:
    world = pair()
    world.freeze("b")
    world.stop("b")
    world.run(until=2)
    assert world.is_up("b")
    world.thaw("b")
    assert not world.is_up("b")
    assert puppet(world, "b").events[-1] == Stopping()


def test_a_node_that_is_told_to_stop_and_restarted_lives() -> None:
    world = pair()
    world.stop("b")
    world.restart("b")
    world.run(until=2)
    assert puppet(world, "b").events == [Started(), Connected(1, "a", dialled="")]


# The disk.


def test_no_effect_passes_a_record_that_is_not_on_disk() -> None:
    world = pair()
    persist = Persist("s", "r")
    order(world, "b", Send(1, "before"), persist, Send(1, "behind"), Send(1, "and behind"))
    order(world, "b", Send(1, "of a later event"))
    assert len(puppet(world, "b").heard) == 4, "events are handled meanwhile"
    assert world.run_until(lambda: puppet(world, "a").messages == ["before"], 1)
    assert world.records("b") == ()
    assert world.run_until(lambda: len(puppet(world, "a").messages) == 2, 1)
    assert world.records("b") == ("r",)
    world.run(until=2)
    assert puppet(world, "a").messages == ["before", "behind", "and behind", "of a later event"]


def test_records_that_wait_share_one_commit_and_later_ones_the_next() -> None:
    world = World(1)
    world.add("a", Puppet)
    world.run(until=1)
    order(world, "a", Persist("s", 1), Emit("one"), Persist("s", 2), Emit("two"))
    order(world, "a", Persist("s", 3), Emit("three"))
    world.run(until=2)
    one, two, three = world.facts
    assert [told.fact for told in world.facts] == ["one", "two", "three"]
    assert 1 < one.seconds == two.seconds < three.seconds
    assert world.records("a") == (1, 2, 3)


def test_a_record_replaces_those_of_its_subject() -> None:
    world = World(1)
    world.add("a", Puppet)
    world.run(until=1)
    order(world, "a", Persist("s", 1), Persist("t", 2), Persist("s", 3), Persist("u", 4))
    order(world, "a", Persist("s", 5, replaces=True), Persist("s", 6), Persist("u", None))
    order(world, "a", Persist("t", None, replaces=True))
    world.run(until=2)
    assert world.records("a") == (4, 5, 6)
    world.restart("a")
    world.run(until=3)
    assert puppet(world, "a").events == [Started((4, 5, 6))]
    world.restart("a", keep_disk=False)
    world.run(until=4)
    assert puppet(world, "a").events == [Started(())]


def test_without_storage_nothing_waits_and_nothing_is_kept() -> None:
    world = World(1)
    world.add("a", Puppet, storage=False)
    world.run(until=1)
    order(world, "a", Persist("s", 1), Emit("at once"))
    assert world.facts == [Told(1.0, "a", "at once")]
    world.restart("a")
    world.run(until=2)
    assert puppet(world, "a").events == [Started()]


def test_a_crash_at_once_loses_the_record_and_what_waited_for_it() -> None:
    world = pair()
    order(world, "b", Persist("s", 1), Send(1, "saved"), Emit("saved"))
    world.crash("b")
    world.run(until=2)
    assert (world.records("b"), world.facts, puppet(world, "a").messages) == ((), [], [])


def test_a_crash_in_a_commit_keeps_all_of_it_or_nothing_and_no_effect_without_it() -> None:
    outcomes = dict[tuple[int, int], int]()
    for seed in range(300):
        world = World(seed, sync_seconds_mean=0.01)
        world.add("a", Puppet)
        world.run(until=1)
        order(world, "a", Persist("s", 1), Emit("one"), Persist("s", 2), Emit("two"))
        world.run(until=1.01)
        world.crash("a")
        world.run(until=2)
        outcome = len(world.records("a")), len(world.facts)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert set(outcomes) == {(0, 0), (2, 0), (2, 2)}
    assert min(outcomes.values()) > 20


def test_a_commit_that_ends_while_the_node_is_frozen_goes_on_when_it_thaws() -> None:
    world = World(1)
    world.add("a", Puppet)
    world.run(until=1)
    order(world, "a", Persist("s", 1), Emit("one"))
    world.freeze("a")
    world.stop("a")
    world.run(until=2)
    assert (world.records("a"), world.facts) == ((1,), [])
    world.thaw("a")
    assert world.records("a") == (1,), "and not twice"


class Counter(Puppet):
    """Counts what it is sent, and says so only when it is on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def handle(self, event: Event, now: float) -> list[Effect]:
        super().handle(event, now)
        match event:
            case Started(records=(int(count),)):
                self.count = count
            case Received(peer=peer):
                self.count += 1
                return [Persist("count", self.count, replaces=True), Send(peer, self.count)]
            case _:
                pass
        return []


@pytest.mark.parametrize("seed", range(20))
def test_a_counter_that_persists_never_falls_behind_what_it_said(seed: int) -> None:
    world = World(seed, LAN, sync_seconds_mean=0.02)
    world.add("counter", Counter, listens=True)
    world.add("b", lambda: Pinger(10**6), dials="counter")
    for second in range(1, 20):
        silent = second % 3 == 0
        world.at(second, partial(world.crash, "counter", silent=silent))
        world.at(second + 0.3, lambda: world.restart("counter"))
    highest = 0
    for second in range(1, 25):
        world.run(until=second)
        said = [message for message in puppet(world, "b").messages if isinstance(message, int)]
        highest = max([highest, *said])
        (kept,) = world.records("counter") or (0,)
        assert isinstance(kept, int)
        assert kept >= highest
    assert highest > 10


# Facts.


def test_facts_are_kept_with_time_and_name_and_observed() -> None:
    seen: list[Told] = []
    world = World(1, observe=seen.append)
    world.add("a", Puppet, clock_offset_seconds=99)
    world.at(1.5, lambda: order(world, "a", Emit("news"), Emit(("more", 1))))
    world.run(until=2)
    assert world.facts == seen == [Told(1.5, "a", "news"), Told(1.5, "a", ("more", 1))]


def test_an_observer_may_kill_the_messenger() -> None:
    world = World(1, PERFECT, observe=lambda told: world.crash(told.node))
    world.add("a", Puppet)
    world.add("b", Puppet, storage=False)
    world.run(until=1)
    for name in "ab":
        order(world, name, Persist("s", 1), Emit("one"), Emit("two"))
    world.run(until=2)
    assert [told.fact for told in world.facts] == ["one", "one"]
    assert not world.is_up("a")
    assert not world.is_up("b")


# Searches.

PUZZLE = Puzzle(b"searched in virtual time ")


def searching(
    goal: Goal, nonces: range, puzzle: Puzzle = PUZZLE, *, rate: float = 1000.0, seed: int = 1
) -> tuple[World, Puppet]:
    """A node that begins this search, as its task 1, at 1 s."""
    world = World(seed, PERFECT)
    world.add("a", Puppet, hash_rate=rate)
    world.run(until=1)
    order(world, "a", Search(1, puzzle, nonces, goal))
    return world, puppet(world, "a")


def searched(core: Puppet) -> list[Searched]:
    return [event for event in core.events if isinstance(event, Searched)]


def expected(puzzle: Puzzle, nonces: range, goal: Goal) -> tuple[int, tuple[int, ...]]:
    """`stop` and `nonces` by brute force, from the words of `nonsuch.node.Searched`."""
    ranks = {nonce: puzzle.prove(nonce).rank for nonce in nonces}
    match goal:
        case Lowest():
            best = min(ranks, key=lambda nonce: (ranks[nonce], nonce), default=None)
            return nonces.stop, () if best is None else (best,)
        case First(target=target):
            hits = [nonce for nonce in nonces if target.admits(ranks[nonce])]
            return (hits[0] + 1, (hits[0],)) if hits else (nonces.stop, ())
        case Shares(limit=limit, until=until):
            ends = [nonce for nonce in nonces if until and until.admits(ranks[nonce])]
            stop = ends[0] + 1 if ends else nonces.stop
            shares = [nonce for nonce in range(nonces.start, stop) if limit.admits(ranks[nonce])]
            return stop, tuple(sorted({*shares, *ends[:1]}))


def some_searches() -> Iterator[tuple[Puzzle, range, Goal]]:
    lots = random.Random(11)
    encodings: list[NonceEncoding] = [Decimal(), Raw(2, "big"), Raw(8, "little")]
    for number in range(120):
        puzzle = Puzzle(
            b"puzzle %d" % (number % 6),
            lots.choice(encodings),
            hash=lots.choice(["sha256", "sha256d"]),
            order=lots.choice(["big", "little"]),
            rank_bits=lots.choice([256, 64, 9, 3]),
        )
        start = lots.choice([0, lots.randrange(3000), 2**16 - 400])
        nonces = range(start, min(2**16, start + lots.choice([0, 1, lots.randrange(2000)])))
        target = Target.from_work(lots.choice([1, 8, 300, 10_000]))
        limit = Target.from_work(lots.choice([8, 100, 300]))
        yield puzzle, nonces, First(target)
        yield puzzle, nonces, Lowest()
        yield puzzle, nonces, Shares(limit, lots.choice([None, target, limit]))


def test_searches_are_exact_for_every_goal() -> None:
    for puzzle, nonces, goal in some_searches():
        world, core = searching(goal, nonces, puzzle, rate=987.6)
        world.run(until=10)
        stop, found = expected(puzzle, nonces, goal)
        assert searched(core) == [Searched(1, stop, found)], (puzzle, nonces, goal)


@pytest.mark.parametrize("goal", [Lowest(), Shares(Target.from_work(100)), First(Target(1))])
def test_a_search_takes_its_time_give_or_take_a_quarter(goal: Goal) -> None:
    took = []
    for seed in range(60):
        world, core = searching(goal, range(2000), seed=seed)
        world.run(until=10)
        took += [time - 1 for time in core.times(Searched)]
    assert len(took) == 60
    assert 1.6 <= min(took) < 1.8 < 2.2 < max(took) <= 2.5


def test_a_first_search_ends_when_its_proof_is_reached() -> None:
    target = Target.from_work(3000)
    stop, (nonce,) = expected(PUZZLE, range(20_000), First(target))
    world, core = searching(First(target), range(20_000))
    world.run(until=100)
    (ended,) = core.times(Searched)
    assert searched(core) == [Searched(1, stop, (nonce,))]
    assert (nonce + 1) / 1250 <= ended - 1 <= (nonce + 1) / 800


def test_a_search_tells_every_half_second_how_far_it_is() -> None:
    world, core = searching(Lowest(), range(3000))
    world.run(until=10)
    advances = [event for event in core.events if isinstance(event, Advanced)]
    assert core.times(Advanced) == [1.5 + 0.5 * step for step in range(len(advances))]
    assert 4 <= len(advances) <= 7
    step = advances[0].hashes
    assert all(abs(event.hashes - step * turn) <= turn for turn, event in enumerate(advances, 1))
    assert core.times(Searched)[0] == core.heard[-1][0]


def test_a_search_that_would_never_end_costs_only_what_it_covers() -> None:
    world, core = searching(Lowest(), range(2**40), rate=100)
    world.run(until=60)
    assert 100 < len([event for event in core.events if isinstance(event, Advanced)]) < 120
    assert not searched(core)


def test_a_search_that_is_cancelled_ends_without_a_word() -> None:
    world, core = searching(Lowest(), range(3000))
    world.run(until=1.2)
    order(world, "a", Cancel(1), Cancel(7))
    world.run(until=10)
    assert core.events == [Started()]


def test_a_crash_drops_all_searches_and_their_numbers() -> None:
    world, _ = searching(Lowest(), range(3000))
    world.run(until=2)
    world.restart("a")
    world.run(until=2.1)
    order(world, "a", Search(1, PUZZLE, range(10), Lowest()))
    world.run(until=10)
    assert searched(puppet(world, "a")) == [Searched(1, *expected(PUZZLE, range(10), Lowest()))]
    assert len(puppet(world, "a").events) == 2


def test_the_searches_of_a_frozen_node_stand_still() -> None:
    world, core = searching(Lowest(), range(2000), seed=5)
    world.run(until=1.3)
    world.freeze("a")
    world.run(until=100)
    world.thaw("a")
    assert core.events == [Started()]
    world.run(until=200)
    assert 100.2 <= core.times(Advanced)[0] <= 100.2001
    assert 100 + 1.6 - 0.3 <= core.times(Searched)[0] <= 100 + 2.5 - 0.3


def test_a_machine_can_become_slower_and_stand_still() -> None:
    world, core = searching(Lowest(), range(2000))
    world.at(2, lambda: world.set_hash_rate("a", 0))
    world.at(50, lambda: world.set_hash_rate("a", 100))
    world.run(until=300)
    # 800 to 1250 are done at 2; the others take ten times as long.
    assert 50 + 6.0 <= core.times(Searched)[0] <= 50 + 15.0
    assert searched(core) == [Searched(1, *expected(PUZZLE, range(2000), Lowest()))]


def test_a_machine_that_becomes_slower_at_the_end_of_a_search_ends_it_later() -> None:
    world, core = searching(Lowest(), range(300))
    world.at(1.1, lambda: world.set_hash_rate("a", 10))
    world.run(until=100)
    assert 1 + 12.0 < core.times(Searched)[0] < 1 + 30.0
    assert len(searched(core)) == 1


def test_two_searches_share_the_machine() -> None:
    took: dict[int, float] = {}
    for seed in range(20):
        world, core = searching(Lowest(), range(2000), seed=seed)
        order(world, "a", Search(2, PUZZLE, range(500), Lowest()))
        world.run(until=20)
        assert sorted(event.task for event in searched(core)) == [1, 2]
        for event, when in zip(searched(core), core.times(Searched), strict=True):
            took[event.task] = took.get(event.task, 0.0) + (when - 1) / 20
    assert 0.9 < took[2] < 1.1, "500 nonces at half of the rate"
    assert 2.3 < took[1] < 2.7, "2000 nonces, 500 of them at half of the rate"


def test_a_task_number_is_used_once_and_a_wrong_search_is_the_cores_fault() -> None:
    world, _ = searching(Lowest(), range(10))
    world.run(until=2)
    with pytest.raises(AssertionError, match="task 1 was used before"):
        order(world, "a", Search(1, PUZZLE, range(10), Lowest()))
    with pytest.raises(AssertionError, match="one by one"):
        order(world, "a", Search(2, PUZZLE, range(0, 10, 2), Lowest()))


def test_nonces_are_hashed_once_however_often_they_are_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[int] = []
    digests = Puzzle.digests

    def counted(puzzle: Puzzle, nonces: range) -> list[bytes]:
        hashed.extend(nonces)
        return digests(puzzle, nonces)

    monkeypatch.setattr(Puzzle, "digests", counted)
    world, core = searching(Lowest(), range(2000))
    order(world, "a", Search(2, PUZZLE, range(100, 1900), Shares(Target.from_work(50))))
    order(world, "a", Search(3, PUZZLE, range(2000), First(Target(1))))
    world.run(until=100)
    assert len(searched(core)) == 3
    assert hashed == list(range(-(-2000 // CHUNK_NONCES) * CHUNK_NONCES))


# One seed, one history.


def eventful(seed: int) -> World:
    """A world with everything in it, and messages of every kind of value."""
    world = ping_world(seed)
    world.add("searcher", Puppet, hash_rate=3000)
    goals: list[Goal] = [Lowest(), First(Target.from_work(999)), Shares(Target.from_work(50))]
    for task, goal in enumerate(goals):
        search = Search(task, PUZZLE, range(task * 1000, 4000), goal)
        world.at(task + 1, partial(order, world, "searcher", search))
    fact = Emit(
        {"puzzle": PUZZLE, "names": {"x", "y", "z"}, 1: 2.5, "big": 2**200, "odd": (1, b"")}
    )
    world.at(
        4, lambda: order(world, "searcher", Persist("s", 1), fact, Emit("\ud800"), Emit(range))
    )
    world.run(until=40)
    return world


def test_one_seed_has_one_history_and_another_another() -> None:
    hashes = [eventful(seed).trace_hash for seed in (1, 2, 1)]
    assert hashes[0] == hashes[2] != hashes[1]
    assert len(hashes[0]) == 32


def test_a_history_does_not_depend_on_the_order_of_hash_tables() -> None:
    story = (
        "import runpy, sys; world = runpy.run_path(sys.argv[1])['eventful'](9);"
        " print(world.trace_hash)"
    )
    hashes = []
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", story, __file__]
        run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        hashes.append(run.stdout)
    assert hashes == [f"{eventful(9).trace_hash}\n"] * 3


def test_what_a_core_says_to_its_own_user_is_heard_behind_the_disk() -> None:
    world = World(1, PERFECT)
    heard: list[tuple[object, tuple[object, ...]]] = []

    def local(message: object) -> None:
        heard.append((message, world.records("a")))

    world.add("a", Puppet, local=local)
    world.add("b", Puppet)
    for name in ("a", "b"):
        world.run(until=world.seconds + 1)
        order(world, name, Persist("s", "kept"), Send(LOCAL, "done"))
    world.run(until=world.seconds + 1)
    assert heard == [("done", ("kept",))]


def test_the_trace_is_for_people_too() -> None:
    world = World(1, PERFECT, trace_lines=100)
    world.add("a", Puppet)
    world.at(1, lambda: world.crash("a"))
    world.run(until=2)
    assert world.trace() == [
        "0.000000 a 'start'",
        "0.000000 a Started(records=())",
        "1.000000 a 'crash'",
    ]
