"""A race's picture: one lane a node, who won, and what the ledger says.

The k-th time that a node gets a text is its part in race (text, k). Which race a transaction is for
is only told when its search begins; until then the next number is the guess, and a lane is moved
where that was wrong (a node that has begun anew counts from another number on).
"""

from __future__ import annotations

import hashlib
from collections import deque

from nonsuch.networks.race import facts
from nonsuch.networks.race.ledger import Entry
from nonsuch.web.observations import Observation
from nonsuch.web.pictures.board import Board, Handlers, handlers, on
from nonsuch.web.pictures.sentences import Again, general, plural
from nonsuch.web.rows import TOTALS, Lane, LaneState, NodeState, Race, RaceTotals
from nonsuch.web.tables import AnyTable, Table, whole

__all__ = ["RacePart"]

RACES_MAX = 100
LEDGER_MAX = 200

LANES_MAX = 64
"""Nodes in one race; more lanes no screen has room for."""

COUNTED_MAX = 10_000
"""Texts by node whose races are counted; the longest unheard of are forgotten."""

WAITING_MAX = 1_000
"""Transactions of one text that wait at one node, as many as the node itself lets wait."""

TEXT_CHARACTERS_MAX = 200
"""How much of a text is shown; a longer one is told apart by its hash."""

_ENDED: frozenset[LaneState] = frozenset({"won", "lost", "stopped"})


class _Count:
    """How often a node got a text, and which of them still wait."""

    __slots__ = ("last", "waiting")

    def __init__(self) -> None:
        self.last = 0
        self.waiting: deque[int] = deque(maxlen=WAITING_MAX)


class RacePart:
    """The tables of a race."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._counts: dict[tuple[str, str], _Count] = {}
        self.races: Table[Race] = Table("races", RACES_MAX)
        self.ledger: Table[Entry] = Table("ledger", LEDGER_MAX)
        self.totals: Table[RaceTotals] = Table("race_totals", 1)
        self._total = RaceTotals()
        self.totals.put(TOTALS, self._total)
        self.tables: tuple[AnyTable, ...] = (self.races, self.ledger, self.totals)
        self.handlers: Handlers = handlers(
            (
                on(facts.Restored, self._restored),
                on(facts.LedgerReplaced, self._ledger_replaced),
                on(facts.TransactionReceived, self._received),
                on(facts.TransactionRefused, self._refused),
                on(facts.PowStarted, self._pow_started),
                on(facts.PowCompleted, self._pow_completed),
                on(facts.RaceWon, self._won),
                on(facts.RaceLost, self._lost),
                on(facts.RaceStopped, self._stopped),
                on(facts.LedgerUpdated, self._ledger_updated),
                on(facts.KeeperLost, self._keeper_lost),
                on(facts.KeeperRefused, self._keeper_refused),
                on(facts.NodeJoined, self._node_joined),
                on(facts.NodeLeft, self._node_left),
                on(facts.EntryWritten, self._entry_written),
                on(facts.PeerDropped, self._peer_dropped),
            )
        )

    # What nodes tell of themselves.

    def _restored(self, now: Observation, fact: facts.Restored) -> None:
        if fact.waiting:
            races = plural(fact.waiting, "race")
            self._board.tell_of(now, f" read its journal: {races} to go on with.")

    def _ledger_replaced(self, now: Observation, fact: facts.LedgerReplaced) -> None:
        races = plural(fact.waiting, "open race")
        after = f" found another ledger than before, and begins anew there with {races}."
        self._board.tell_of(now, after, "fault", cause="")

    def _refused(self, now: Observation, fact: facts.TransactionRefused) -> None:
        after = f" refused a transaction: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=general(fact.reason))

    def _keeper_lost(self, now: Observation, fact: facts.KeeperLost) -> None:
        self._board.tell_of(now, f" lost the ledger's keeper: {fact.why}.", "fault")

    def _keeper_refused(self, now: Observation, fact: facts.KeeperRefused) -> None:
        self._board.tell_of(now, f" was refused by the ledger's keeper: {fact.reason}.", "bad")

    # What the keeper tells.

    def _node_joined(self, now: Observation, fact: facts.NodeJoined) -> None:
        self._board.is_role(now.node, "keeper")
        after = f" joined the ledger's keeper, which has {plural(fact.nodes, 'node')} now."
        again = Again(" joined the ledger's keeper")
        self._board.tell_of(now, after, of=fact.name, cause="", again=again)

    def _node_left(self, now: Observation, fact: facts.NodeLeft) -> None:
        self._board.tell_of(now, f" left the ledger's keeper: {fact.why}.", "bad", of=fact.name)

    def _entry_written(self, now: Observation, fact: facts.EntryWritten) -> None:
        self._board.is_role(now.node, "keeper")

    # What either tells.

    def _peer_dropped(self, now: Observation, fact: facts.PeerDropped) -> None:
        after = f" ended a connection: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=general(fact.reason))

    # Races.

    def _received(self, now: Observation, fact: facts.TransactionReceived) -> None:
        count = self._count(now.node, fact.text)
        count.last += 1
        count.waiting.append(count.last)
        self._lane(now, fact.text, count.last).received = now.at

    def _pow_started(self, now: Observation, fact: facts.PowStarted) -> None:
        count = self._count(now.node, fact.text)
        guess = count.waiting.popleft() if count.waiting else fact.number
        received = None
        if guess != fact.number:
            received = self._withdraw(now.node, fact.text, guess)
        count.last = max(fact.number + len(count.waiting), 0)
        lane = self._lane(now, fact.text, fact.number)
        lane.received = lane.received or received
        lane.started = fact.at
        if lane.state not in _ENDED:
            lane.state = "searching"

    def _pow_completed(self, now: Observation, fact: facts.PowCompleted) -> None:
        lane = self._lane(now, fact.text, fact.number)
        lane.completed, lane.seconds = fact.at, fact.seconds
        race = self._race(now, fact.text, fact.number)
        if race.nonce is None or race.winner == now.node:
            race.nonce, race.hash = whole(fact.nonce), fact.hash

    def _won(self, now: Observation, fact: facts.RaceWon) -> None:
        self._lane(now, fact.text, fact.number).state = "won"
        race = self._race(now, fact.text, fact.number)
        race.winner = now.node
        nonce = "" if race.nonce is None else f" with nonce {race.nonce:,}"
        text = f"{now.node} won the race for {_quoted(fact.text)}{nonce}."
        self._board.tell_in_a_row(now, now.node, text, "races were won")
        self._count_win(now.node)

    def _count_win(self, name: str) -> None:
        node = self._board.node(name)
        node.kept += 1
        self._board.touch(node)

    def _lost(self, now: Observation, fact: facts.RaceLost) -> None:
        self._lane(now, fact.text, fact.number).state = "lost"
        self._race(now, fact.text, fact.number).winner = fact.winner

    def _stopped(self, now: Observation, fact: facts.RaceStopped) -> None:
        lane = self._lane(now, fact.text, fact.number)
        lane.state, lane.seconds = "stopped", fact.seconds
        self._race(now, fact.text, fact.number).winner = fact.winner

    def _ledger_updated(self, now: Observation, fact: facts.LedgerUpdated) -> None:
        self._total.entries += 1
        self.totals.touch(TOTALS)
        self.ledger.put(str(self._total.entries), fact.entry)

    def _count(self, node: str, text: str) -> _Count:
        key = node, _named(text)
        count = self._counts.pop(key, None) or _Count()
        self._counts[key] = count
        if len(self._counts) > COUNTED_MAX:
            del self._counts[next(iter(self._counts))]
        return count

    def _race(self, now: Observation, text: str, number: int) -> Race:
        key = f"{_named(text)}#{number}"
        race = self.races.get(key)
        if race is None:
            race = Race(_named(text), number, now.at, lanes={})
            self.races.put(key, race)
            self._add_races(1)
        self.races.touch(key)
        return race

    def _add_races(self, count: int) -> None:
        self._total.races += count
        self.totals.touch(TOTALS)

    def _lane(self, now: Observation, text: str, number: int) -> Lane:
        """The node's part; one that is not shown where there are too many."""
        lanes = self._race(now, text, number).lanes
        if now.node in lanes or len(lanes) < LANES_MAX:
            return lanes.setdefault(now.node, Lane())
        return Lane()

    def _withdraw(self, node: str, text: str, number: int) -> float | None:
        """It was not this race. Returns when the transaction came."""
        key = f"{_named(text)}#{number}"
        race = self.races.get(key)
        lane = None if race is None else race.lanes.get(node)
        if race is None or lane is None or lane.started is not None:
            return None
        del race.lanes[node]
        if race.lanes:
            self.races.touch(key)
        else:
            self.races.drop(key)
            self._add_races(-1)
        return lane.received

    def state_changed(self, name: str, state: NodeState, at: float) -> None:
        """What becomes of a race is told by those that run."""

    def _check(self) -> None:
        assert len(self._counts) <= COUNTED_MAX
        assert all(len(race.lanes) <= LANES_MAX for race in self.races.rows.values())


def _named(text: str) -> str:
    """A text as rows have it."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[:TEXT_CHARACTERS_MAX]}… {digest[:8]}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
