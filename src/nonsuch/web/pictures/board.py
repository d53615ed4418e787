"""What the pictures of all networks share: who is there, and what people are told.

A node's state is the fleet's word: it starts, kills and freezes. Nodes that the fleet did not start
and that others tell of, such as a miner from elsewhere, get a row as well. Facts of different
processes come in any order, so the first fact of a node may come before the fleet has said that it
began, and the last one after its end.

What happened is told in sentences (`nonsuch.web.pictures.sentences`). The rule for what is worth
one: faults, and what came of them; who joined and who left; answers and wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from nonsuch.web import fleet
from nonsuch.web.observations import Observation, event_name
from nonsuch.web.pictures.sentences import Again, Sentences, Words
from nonsuch.web.rows import About, Kind, Network, Node, NodeState, Role, Told
from nonsuch.web.tables import AnyTable, Table

__all__ = ["Board", "Handler", "Handlers", "Part", "handlers", "on", "wilson"]

NODES_MAX = 1_000
"""Nodes with a row; those that died make room for others."""

NORMAL_95 = 1.959964
"""The standard normal deviate that 2.5 % lie above."""

_ROLES: dict[Network, Role] = {
    "pool": "client",
    "gossip": "gossip",
    "peer": "peer",
    "race": "race",
    "coordinator": "agent",
}
"""What a node is of which nothing is known but that it spoke."""

_HUBS: frozenset[Role] = frozenset({"pool", "coordinator", "keeper"})
"""Those that all others live by: when one dies or begins anew, so does what is told of them."""

_NOUNS: dict[Role, str] = {"gossip": "node", "race": "node"}
"""What those are called of whose role people do not speak."""

F = TypeVar("F", bound=msgspec.Struct)


class Handler(Generic[F]):
    """Reads the values of one kind of fact, and hands them over typed."""

    __slots__ = ("kind", "name", "take_fact")

    def __init__(self, kind: type[F], take_fact: Callable[[Observation, F], None]) -> None:
        self.name = event_name(kind)
        self.kind = kind
        self.take_fact = take_fact

    def take(self, observation: Observation) -> None:
        """Raises `msgspec.ValidationError` for values that are not of this kind."""
        self.take_fact(observation, msgspec.convert(observation.values, self.kind))


on = Handler


class AnyHandler(Protocol):
    """A handler, whatever it reads."""

    @property
    def name(self) -> str:
        """The fact, in words."""

    def take(self, observation: Observation) -> None:
        """Take a fact of this name."""


Handlers = dict[str, AnyHandler]


def handlers(each: Iterable[AnyHandler]) -> Handlers:
    """Handlers by the name of what they take."""
    return {handler.name: handler for handler in each}


class Part(Protocol):
    """What a picture has of one kind of network."""

    tables: tuple[AnyTable, ...]
    handlers: Handlers

    def state_changed(self, name: str, state: NodeState, at: float) -> None:
        """The fleet has done something to a node, or it has died."""

    def _check(self) -> None:
        """Assert every invariant."""


class Board:
    """Nodes and sentences. `part` hears of every change of a node's state."""

    def __init__(self, network: Network) -> None:
        self.network: Network = network
        self.about: Table[About] = Table("about", 1)
        self.nodes: Table[Node] = Table("nodes", NODES_MAX)
        self.sentences = Sentences()
        self.part: Part | None = None
        self._own: set[str] = set()
        self._killed: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._loss_share = 0.0
        self.handlers = handlers(
            (
                on(fleet.ProcessStarted, self._started),
                on(fleet.ProcessReady, self._ready),
                on(fleet.ProcessEnded, self._ended),
                on(fleet.ProcessStopped, self._stopped),
                on(fleet.ProcessKilled, self._was_killed),
                on(fleet.ProcessFrozen, self._frozen),
                on(fleet.ProcessThawed, self._thawed),
                on(fleet.NodeCut, self._cut),
                on(fleet.NodeMended, self._mended),
                on(fleet.LiesTold, self._lies),
                on(fleet.LossSet, self._loss),
                on(fleet.Healed, self._healed),
                on(fleet.Asked, self._asked),
            )
        )
        self.tables: tuple[AnyTable, ...] = (self.about, self.nodes, self.told)

    @property
    def told(self) -> Table[Told]:
        """The sentences."""
        return self.sentences.table

    @property
    def told_count(self) -> int:
        """How many sentences were begun."""
        return self.sentences.count

    def describe(self, about: About) -> None:
        """What is watched is this from now on; what is lost is for facts to tell."""
        self.about.put("about", msgspec.structs.replace(about, loss=self._loss_share))

    # Nodes.

    def node(self, name: str, role: Role | None = None) -> Node:
        """The row of a node, which is made where there is none.

        The fleet knows better than anybody what role its nodes have.
        """
        row = self.nodes.get(name)
        if row is None:
            row = Node(name, role or _ROLES[self.network])
            if len(self.nodes.rows) < NODES_MAX or self._forget_dead():
                self.nodes.put(name, row)
        elif role is not None and row.role != role and name not in self._own:
            row.role = role
            self.nodes.touch(name)
        return row

    def is_role(self, name: str, role: Role) -> None:
        """Only a node of this role tells what it told, whatever the fleet calls it."""
        row = self.node(name, role)
        if row.role != role:
            row.role = role
            self.touch(row)

    def _forget_dead(self) -> bool:
        dead = next((name for name, row in self.nodes.rows.items() if row.state == "dead"), None)
        if dead is None:
            return False
        self.nodes.drop(dead)
        self._own.discard(dead)
        self._killed.pop(dead, None)
        return True

    def named(self, address: str) -> str | None:
        """The node that has this name or listens at this address, where one is known."""
        return address if address in self.nodes.rows else self._addresses.get(address)

    def _lives_at(self, row: Node, address: str) -> None:
        if address and row.name in self.nodes.rows:
            row.address = address
            self._addresses[address] = row.name
            if len(self._addresses) > NODES_MAX:
                del self._addresses[next(iter(self._addresses))]

    def touch(self, row: Node) -> None:
        """This row has changed."""
        if row.name in self.nodes.rows:
            self.nodes.touch(row.name)

    def is_own(self, name: str) -> bool:
        """Whether the fleet has started this node."""
        return name in self._own

    def heard(self, name: str, at: float) -> None:
        """A node has told something: it runs."""
        row = self.nodes.rows.get(name)
        if row is None:
            row = self.node(name)
        if row.state == "starting":
            self._set(row, "up", at)

    def set_state(self, name: str, state: NodeState, at: float) -> None:
        """What others tell of a node that is not the fleet's."""
        if name not in self._own:
            self._set(self.node(name), state, at)

    def _set(self, row: Node, state: NodeState, at: float) -> None:
        row.state = state
        self.touch(row)
        if self.part is not None:
            self.part.state_changed(row.name, state, at)

    # Sentences.

    def tell(self, at: float, node: str, text: str, kind: Kind = "info") -> str:
        """Tell people. Returns the sentence's key."""
        key = self.sentences.tell(at, node, text, kind)
        self._note(node, self.told.rows[key].text)
        return key

    def tell_of(
        self,
        now: Observation,
        after: str,
        kind: Kind = "info",
        *,
        of: str | None = None,
        cause: str | None = None,
        again: Again | None = None,
    ) -> None:
        """Tell people about `of`, or the node that told it, and of others if it goes on.

        See `nonsuch.web.pictures.sentences.Words`.
        """
        name = now.node if of is None else of
        row = self.nodes.get(name)
        role = _ROLES[self.network] if row is None else row.role
        words = Words(after, cause, again)
        self.sentences.tell_of(now.at, now.fact, name, _NOUNS.get(role, role), words, kind)
        self._note(name, words.text(name))

    def tell_in_a_row(self, now: Observation, of: str, text: str, what: str) -> None:
        """Tell people of a success, and of how many there were where one follows another."""
        self.sentences.tell_in_a_row(now.at, of, text, what, "good")
        self._note(of, text)

    def _note(self, node: str, text: str) -> None:
        row = self.nodes.get(node)
        if row is not None:
            row.note = text
            self.touch(row)

    def came_of_death(self, name: str, consequence: str) -> bool:
        """Say what came of a kill in the sentence that told of it; False where there is none."""
        text = self.sentences.came(self._killed.pop(name, ""), consequence)
        if text:
            self._note(name, text)
        return bool(text)

    # What the fleet tells.

    def _started(self, now: Observation, fact: fleet.ProcessStarted) -> None:
        row = self.node(fact.name)
        if fact.name not in self._own or not fact.again:  # What it has done says the role, too.
            row.role = fact.role
        if fact.name in self.nodes.rows:
            self._own.add(fact.name)
        self._killed.pop(fact.name, None)
        row.lies = fact.lies
        self._lives_at(row, fact.address)
        if fact.rate is not None:
            row.rate, row.measured = fact.rate, self.about.rows["about"].virtual
        self._set(row, "starting", now.at)
        self._ends_with(row)
        self.tell_of(now, f" was started{' again' * fact.again}.", of=fact.name)

    def _ready(self, now: Observation, fact: fleet.ProcessReady) -> None:
        self.heard(fact.name, now.at)

    def _ended(self, now: Observation, fact: fleet.ProcessEnded) -> None:
        self._dies(fact.name, now.at)
        self.tell_of(now, f" ended by itself: {fact.why}", "fault", of=fact.name)

    def _stopped(self, now: Observation, fact: fleet.ProcessStopped) -> None:
        self._dies(fact.name, now.at)
        self.tell_of(now, " was stopped.", of=fact.name)

    def _dies(self, name: str, at: float) -> None:
        row = self.node(name)
        self._set(row, "dead", at)
        self._ends_with(row)

    def _ends_with(self, row: Node) -> None:
        """What went on with a hub is over; what comes now is told anew."""
        if row.role in _HUBS:
            self.sentences.end()

    def _was_killed(self, now: Observation, fact: fleet.ProcessKilled) -> None:
        self._dies(fact.name, now.at)
        key = self.tell(now.at, fact.name, f"{fact.name} was killed.", "fault")
        if fact.name in self.nodes.rows:
            self._killed[fact.name] = key

    def _frozen(self, now: Observation, fact: fleet.ProcessFrozen) -> None:
        self._set(self.node(fact.name), "frozen", now.at)
        self.tell_of(now, " was frozen.", "fault", of=fact.name)

    def _thawed(self, now: Observation, fact: fleet.ProcessThawed) -> None:
        row = self.node(fact.name)
        self._set(row, "cut" if row.cut else "up", now.at)
        self.tell_of(now, " was thawed.", of=fact.name)

    def _cut(self, now: Observation, fact: fleet.NodeCut) -> None:
        row = self.node(fact.name)
        if not row.cut:  # Whoever begins anew or goes on is still cut off: that is no news.
            self.tell_of(now, " was cut off from all others.", "fault", of=fact.name)
        row.cut = True
        self._set(row, "cut" if row.state in ("starting", "up") else row.state, now.at)

    def _mended(self, now: Observation, fact: fleet.NodeMended) -> None:
        self._mend(self.node(fact.name), now.at)
        self.tell_of(now, " can reach the others again.", of=fact.name)

    def _mend(self, row: Node, at: float) -> None:
        row.cut = False
        self._set(row, "up" if row.state == "cut" else row.state, at)

    def _lies(self, now: Observation, fact: fleet.LiesTold) -> None:
        row = self.node(fact.name)
        row.lies = True
        self.touch(row)
        how = f": {fact.how}" if fact.how else ""
        self.tell(now.at, fact.name, f"{fact.name} lies from now on{how}.", "fault")

    def _loses(self, share: float) -> None:
        self._loss_share = share
        self.describe(self.about.rows["about"])

    def _loss(self, now: Observation, fact: fleet.LossSet) -> None:
        self._loses(fact.share)
        if fact.share > 0:
            self.tell(
                now.at, "", f"{fact.share:.0%} of all messages are lost from now on.", "fault"
            )
        else:
            self.tell(now.at, "", "No message is lost any more.")

    def _healed(self, now: Observation, fact: fleet.Healed) -> None:
        for row in list(self.nodes.rows.values()):
            if row.cut:
                self._mend(row, now.at)
        self._loses(0.0)
        self.tell(now.at, "", "Every cut was mended, and no message is lost any more.")

    def _asked(self, now: Observation, fact: fleet.Asked) -> None:
        self.tell(now.at, "", fact.text)

    def _check(self) -> None:
        assert self._own <= self.nodes.rows.keys()
        assert self._killed.keys() <= self.nodes.rows.keys()
        assert len(self._addresses) <= NODES_MAX
        assert all(row.cut for row in self.nodes.rows.values() if row.state == "cut")
        self.sentences._check()


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Where a share lies with 95 % confidence, part of whole trials having come out (Wilson 1927).

    `whole` is not 0.
    """
    share, z = part / whole, NORMAL_95
    centre = share + z * z / (2 * whole)
    spread = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
