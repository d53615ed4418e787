"""A coordinator's picture: one row a height, and what each agent has answered.

A coordinator knows its agents by their addresses, and an agent does not know its own as others see
it. Whose address it is comes out with its first block: the agent tells of the block that it solved,
the coordinator of the address that the block came from. From then on the agent's row has its name,
and what it answers on later connections is added there.
"""

from __future__ import annotations

from typing import TypeVar

from nonsuch.networks.coordinator import facts
from nonsuch.web.observations import Observation
from nonsuch.web.pictures.board import Board, Handlers, handlers, on, wilson
from nonsuch.web.pictures.sentences import Again, general, plural
from nonsuch.web.rows import TOTALS, Agent, NodeState, Round, RoundTotals
from nonsuch.web.tables import AnyTable, Table, whole

__all__ = ["CoordinatorPart"]

ROUNDS_MAX = 200

AGENTS_MAX = 1_000
"""Agents with a row; a coordinator may have ten thousand, a screen not."""

SOLVED_MAX = 1_000
"""Blocks of which one side has told and the other not yet."""

NAMES_MAX = 10_000
"""Addresses whose agents are known: one for each connection that has solved a block."""

T = TypeVar("T")


class CoordinatorPart:
    """The tables of a coordinator."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._names: dict[str, str] = {}
        self._solvers: dict[str, str] = {}
        self._senders: dict[str, tuple[str, int]] = {}
        self._height = -1
        self.rounds: Table[Round] = Table("rounds", ROUNDS_MAX)
        self.agents: Table[Agent] = Table("agents", AGENTS_MAX)
        self.totals: Table[RoundTotals] = Table("round_totals", 1)
        self._total = RoundTotals()
        self.totals.put(TOTALS, self._total)
        self.tables: tuple[AnyTable, ...] = (self.rounds, self.agents, self.totals)
        self.handlers: Handlers = handlers(
            (
                on(facts.Restored, self._restored),
                on(facts.AgentJoined, self._agent_joined),
                on(facts.AgentLeft, self._agent_left),
                on(facts.AgentDropped, self._agent_dropped),
                on(facts.BlockAccepted, self._block_accepted),
                on(facts.AnswerStale, self._answer_stale),
                on(facts.AnswerRefused, self._answer_refused),
                on(facts.CoordinatorReached, self._coordinator_reached),
                on(facts.CoordinatorLost, self._coordinator_lost),
                on(facts.HeaderRefused, self._header_refused),
                on(facts.Solved, self._solved),
            )
        )

    # Of a coordinator.

    def _restored(self, now: Observation, fact: facts.Restored) -> None:
        self._stands(now, fact.tip, fact.height)
        self._open(now, fact.height + 1, fact.tip)
        if fact.blocks:
            text = f"{now.node} has read {plural(fact.blocks, 'block')}, up to {fact.height:,}."
            self._board.tell(now.at, now.node, text)

    def _agent_joined(self, now: Observation, fact: facts.AgentJoined) -> None:
        self._board.node(now.node, "coordinator")
        self._count(fact.agents)
        self._agent(fact.agent)
        row = self._round(self._height + 1)
        if row is None:
            self._open(now, self._height + 1, "")
        else:
            row.sent += 1
        self._here(now, fact.agent, " joined", fact.agents)

    def _agent_left(self, now: Observation, fact: facts.AgentLeft) -> None:
        self._count(fact.agents)
        self._here(now, fact.agent, f" left ({fact.why})", fact.agents)
        name = self._named(fact.agent)
        if name == fact.agent:
            self.agents.drop(name)

    def _count(self, agents: int) -> None:
        self.totals.touch(TOTALS)
        self._total.agents = agents

    def _here(self, now: Observation, agent: str, after: str, agents: int) -> None:
        words = f"{after}: {plural(agents, 'agent')} now."
        again = Again(after)
        self._board.tell_of(now, words, of=self._named(agent), cause=after, again=again)

    def _agent_dropped(self, now: Observation, fact: facts.AgentDropped) -> None:
        after = f" was let go: {fact.reason}."
        name = self._named(fact.agent)
        self._board.tell_of(now, after, "bad", of=name, cause=general(fact.reason))

    def _block_accepted(self, now: Observation, fact: facts.BlockAccepted) -> None:
        self._board.node(now.node, "coordinator")
        self._stands(now, fact.block, fact.height)
        self._answered().solved += 1
        if fact.block in self._solvers:
            self._learn(fact.agent, self._solvers.pop(fact.block))
        elif fact.agent not in self._names:
            _remember(self._senders, fact.block, (fact.agent, fact.height), SOLVED_MAX)
        agent = self._agent(fact.agent)
        agent.answers += 1
        agent.accepted += 1
        row = self._round(fact.height) or self._open(now, fact.height, "")
        row.at = now.at - max(0.0, fact.seconds)  # As the coordinator counts.
        row.answers += 1
        name = self._named(fact.agent)
        row.winner, row.solved = name, now.at
        row.nonce, row.hash = whole(fact.nonce), fact.block
        self._open(now, fact.height + 1, fact.block)
        self._won(name)
        text = f"{name} solved block {fact.height:,}, after {fact.seconds:.1f} s."
        self._board.tell_in_a_row(now, name, text, "blocks were solved")

    def _answered(self) -> RoundTotals:
        """One more answer, of whatever kind."""
        self.totals.touch(TOTALS)
        self._total.answers += 1
        return self._total

    def _answer_stale(self, now: Observation, fact: facts.AnswerStale) -> None:
        self._answered().stale += 1
        agent = self._agent(fact.agent)
        agent.answers += 1
        agent.stale += 1
        row = self._round(fact.height)
        if row is not None:
            row.answers += 1
            row.stale += 1

    def _answer_refused(self, now: Observation, fact: facts.AnswerRefused) -> None:
        self._answered().refused += 1
        agent = self._agent(fact.agent)
        agent.answers += 1
        agent.errors += 1
        row = self._round(self._height + 1)
        if row is not None:
            row.answers += 1
            row.refused += 1
        name = self._named(fact.agent)
        after = f" was refused an answer: {fact.reason} ({fact.rule})."
        self._board.tell_of(now, after, "bad", of=name, cause=fact.rule)

    # Of an agent.

    def _coordinator_reached(self, now: Observation, fact: facts.CoordinatorReached) -> None:
        # That there is a connection is no news: whoever answers there says who has joined.
        self._board.node(now.node, "agent")

    def _coordinator_lost(self, now: Observation, fact: facts.CoordinatorLost) -> None:
        self._board.tell_of(now, f" lost the coordinator: {fact.why}.", "bad")

    def _header_refused(self, now: Observation, fact: facts.HeaderRefused) -> None:
        after = f" was sent a header that cannot be searched: {fact.reason}."
        self._board.tell_of(now, after, "bad", cause=general(fact.reason))

    def _solved(self, now: Observation, fact: facts.Solved) -> None:
        node = self._board.node(now.node, "agent")
        node.mined += 1
        self._board.touch(node)
        sender = self._senders.pop(fact.block, None)
        if sender is None:
            _remember(self._solvers, fact.block, now.node, SOLVED_MAX)
        else:
            self._learn(sender[0], now.node)
            row = self._round(sender[1])
            if row is not None and row.hash == fact.block:
                row.winner = now.node
                self._won(now.node)

    # Agents.

    def _named(self, address: str) -> str:
        return self._names.get(address, address)

    def _learn(self, address: str, name: str) -> None:
        """This address is that agent's: what it had answered there is its own."""
        if self._names.get(address) == name:
            return
        _remember(self._names, address, name, NAMES_MAX)
        known = self.agents.get(address)
        row = self._agent(address)
        row.address = address
        if known is not None and known is not row:
            row.answers += known.answers
            row.accepted += known.accepted
            row.stale += known.stale
            row.errors += known.errors
            self.agents.drop(address)

    def _agent(self, address: str) -> Agent:
        """The row of whoever has this address; whoever asks for it changes it."""
        name = self._named(address)
        row = self.agents.get(name)
        if row is None:
            row = Agent(address)
            self.agents.put(name, row)
        self.agents.touch(name)
        return row

    def _won(self, name: str) -> None:
        """Shares of what was won. One who is only known by an address has no row yet."""
        winner = self._board.nodes.get(name)
        if winner is None:
            return
        winner.kept += 1
        solved = self._total.solved
        for row in self._board.nodes.rows.values():
            if row.role == "agent":
                row.share = row.kept / solved
                row.share_low, row.share_high = wilson(row.kept, solved)
                self._board.touch(row)

    # Rounds.

    def _stands(self, now: Observation, tip: str, height: int) -> None:
        self._height = height
        node = self._board.node(now.node, "coordinator")
        node.tip, node.height = tip, height
        self._board.touch(node)

    def _round(self, height: int) -> Round | None:
        """The row of this height; whoever asks for it changes it."""
        row = self.rounds.get(str(height))
        if row is not None:
            self.rounds.touch(str(height))
        return row

    def _open(self, now: Observation, height: int, header: str) -> Round:
        """A new round: all agents that are there are sent its header."""
        row = self.rounds.get(str(height))
        if row is None or row.header != header:
            row = Round(height, header, now.at, sent=self._total.agents)
            self.rounds.put(str(height), row)
        return row

    def state_changed(self, name: str, state: NodeState, at: float) -> None:
        """Connections tell of themselves."""

    def _check(self) -> None:
        assert len(self._names) <= NAMES_MAX
        assert len(self._solvers) <= SOLVED_MAX
        assert len(self._senders) <= SOLVED_MAX


def _remember(book: dict[str, T], key: str, value: T, entries_max: int) -> None:
    """Add to what has a bound; the oldest is forgotten."""
    book[key] = value
    if len(book) > entries_max:
        del book[next(iter(book))]
