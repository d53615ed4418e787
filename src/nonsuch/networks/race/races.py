"""Who races for what: the texts that wait, the searches, and the claims until they are decided.

    arrived ──▶ queue ──3 at once──▶ search ──▶ claim, on disk ──▶ the ledger ──▶ won or lost
                  ▲                    │ another has won: stopped                     │
                  └───── the next arrival of the same text ◀──────────────────────────┘

The races of one text are run one after the other, in the order of their numbers; those of different
texts do not touch each other, and the queue is one of texts, so that a text which came a thousand
times waits its turn like all others.

**What is on disk when.** An arrival, before the client hears of it. A claim, before the ledger
does: after a crash the very same claim is sent again, and not another one that would lose to it.
And how a race has ended, before people hear of it.

**What is forgotten.** A hundred thousand texts are counted. One that was not raced for longest is
forgotten then, and its next arrival is number 1 again: a race that was won long ago, and that this
node has then lost. So forgetting costs a race, and never makes a second winner.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice

from nonsuch.errors import LocalError
from nonsuch.networks.race import facts
from nonsuch.networks.race.desk import key_of
from nonsuch.networks.race.ledger import Entry, time_text
from nonsuch.networks.race.link import Link
from nonsuch.networks.race.messages import (
    RACES_MAX,
    Answer,
    Claim,
    Enter,
    Join,
    Joined,
    Leave,
    Lost,
    Won,
)
from nonsuch.networks.race.records import LEDGER_SUBJECT, LedgerKnown, TextKept, text_subject
from nonsuch.networks.race.state import State
from nonsuch.node import LOCAL, Cancel, Search, Searched
from nonsuch.work.goals import First
from nonsuch.work.presets import race
from nonsuch.work.puzzle import Puzzle

__all__ = ["CLAIMS_MAX", "SEARCHES_MAX", "TEXTS_MAX", "Races"]

SEARCHES_MAX = 3
"""Searches at once: one below what a driver runs, since one that was cancelled takes a moment."""

CLAIMS_MAX = 6
"""Claims under way at once: with the longest texts, half of what a driver keeps unsent."""

ENTERED_MAX = RACES_MAX - 2 * CLAIMS_MAX
"""Races that the ledger watches for this node. One that it does not watch is claimed in the end.

Twice, because a claim may meet the word on its way that it comes too late; it is open there still.
"""

TEXTS_MAX = 100_000
"""Texts whose races are counted."""

ANSWER_SECONDS = 15.0
"""A keeper that has not answered by then is called anew."""


class _Text:
    """The races of one text, some of which wait: the first of them is number `finished` + 1.

    Of that one: `task` while it is searched, `claim` once it is found, `winner` where another node
    is known to have won it.
    """

    __slots__ = (
        "began",
        "began_unix",
        "claim",
        "finished",
        "key",
        "puzzle",
        "task",
        "text",
        "waiting",
        "winner",
    )

    def __init__(self, key: bytes, text: str, finished: int) -> None:
        self.key = key
        self.text = text
        self.puzzle: Puzzle = race(text.encode())
        self.finished = finished
        self.waiting = 0
        self.task = 0
        self.began = self.began_unix = 0.0
        self.claim: Entry | None = None
        self.winner: str | None = None

    @property
    def number(self) -> int:
        """Of the race that is next, or under way."""
        return self.finished + 1


class Races:
    """All races of a node, and what the ledger says of them."""

    def __init__(self, state: State, link: Link) -> None:
        self._state = state
        self._link = link
        self._goal = First(state.settings.target)
        self._known: LedgerKnown | None = None
        self._epoch = 0
        self._texts: dict[bytes, _Text] = {}
        self._finished: OrderedDict[bytes, int] = OrderedDict()
        self._queue: deque[_Text] = deque()
        self._searches: dict[int, _Text] = {}
        self._claims: dict[bytes, _Text] = {}
        self._entered: dict[bytes, None] = {}
        self._asked_at: dict[bytes, float] = {}
        self._join_asked_at: float | None = None
        self._task = 0
        self._seconds = 0.0
        self.waiting = 0
        self.hashes = 0

    @property
    def rate(self) -> float:
        """Hashes a second of one search, in all that have found their nonce; 0 before the first."""
        return self.hashes / self._seconds if self._seconds else 0.0

    @property
    def searching(self) -> int:
        """Searches under way."""
        return len(self._searches)

    @property
    def claims(self) -> int:
        """Races that are found, and wait for the ledger's word."""
        return len(self._claims)

    @property
    def texts(self) -> int:
        """Texts that are counted."""
        return len(self._texts) + len(self._finished)

    def finished(self, text: str) -> int:
        """How many of its races are over, in the ledger as it is known."""
        key = key_of(text)
        found = self._texts.get(key)
        return self._finished.get(key, 0) if found is None else found.finished

    def deadline(self) -> float | None:
        """When a keeper should have answered."""
        asked_at = self._oldest_question()
        return None if asked_at is None else asked_at + ANSWER_SECONDS

    def _oldest_question(self) -> float | None:
        if self._link.peer in (None, LOCAL):
            return None
        times = (self._join_asked_at, next(iter(self._asked_at.values()), None))
        return min((at for at in times if at is not None), default=None)

    def tick(self, now: float) -> None:
        """A keeper that does not answer is not there, whatever the connection says."""
        asked_at = self._oldest_question()
        if asked_at is not None and now >= asked_at + ANSWER_SECONDS:
            self._link.give_up("no answer")

    # A life begins, and ends.

    def restore(self, kept: tuple[object, ...]) -> None:
        """Go on from what is on disk. Raises `LocalError` for what is not of this node."""
        self._known = next((each for each in kept if isinstance(each, LedgerKnown)), None)
        if self._known is not None:
            ours, theirs = self._state.settings.name, self._known.node
            if ours != theirs:
                raise LocalError(
                    f"this journal is of {theirs}, and this node is called {ours}: give each node"
                    " a journal of its own"
                )
            self._epoch = self._known.epoch
        for record in kept:
            if isinstance(record, TextKept):
                self._restore(record)
            elif not isinstance(record, LedgerKnown):
                raise LocalError(f"{type(record).__name__} is no record of a race")
        if self._texts and self._known is None:
            raise LocalError("this journal has races, and does not say of which ledger")
        self._forget()
        if kept:
            self._state.emit(facts.Restored(self.waiting, self.texts))

    def _restore(self, record: TextKept) -> None:
        finished = record.finished if record.epoch == self._epoch else 0
        if record.waiting:
            text = self._texts[record.key] = _Text(record.key, record.text, finished)
            text.waiting = record.waiting
            text.claim = record.claim
            self.waiting += record.waiting
            self._in_turn(text)
        elif finished:
            self._finished[record.key] = finished
        else:
            self._state.keep(text_subject(record.key), None)  # Of a ledger that was replaced.

    def stop(self) -> None:
        """All goes on in the next life."""
        for task in self._searches:
            self._state.effects.append(Cancel(task))
        self._searches.clear()
        self._link.ask(Leave())

    # Arrivals.

    @property
    def ledger_read(self) -> bool:
        """Whether arrivals can be counted: a new node has to know what is in the ledger."""
        return self._known is not None

    def objection(self) -> str:
        """Why no transaction can be taken now, if none can."""
        if self._known is None:
            # What arrives now might be a race that is in the ledger by the time it is read.
            return "This node has not read the ledger yet. Try again soon."
        most = self._state.settings.open_max
        return f"{most} transactions wait already. Try again later." if self.waiting >= most else ""

    def arrived(self, text: str) -> None:
        """A transaction that nothing is wrong with: one more race."""
        key = key_of(text)
        found = self._texts.get(key)
        if found is None:
            found = self._texts[key] = _Text(key, text, self._finished.pop(key, 0))
            self._queue.append(found)
        found.waiting += 1
        self.waiting += 1
        self._keep(found)

    def _keep(self, text: _Text) -> None:
        record = TextKept(self._epoch, text.key, text.finished)
        if text.waiting:
            record = TextKept(
                self._epoch, text.key, text.finished, text.waiting, text.text, text.claim
            )
        self._state.keep(text_subject(text.key), record)

    # Searches.

    def settle(self, now: float) -> None:
        """Begin what can begin, and claim what can be claimed."""
        while self._queue and len(self._searches) < SEARCHES_MAX:
            self._begin(self._queue.popleft(), now)
        self._claim_more(now)

    def _in_turn(self, text: _Text) -> None:
        if text.claim is None:
            self._queue.append(text)
        else:
            self._claims[text.key] = text

    def _begin(self, text: _Text, now: float) -> None:
        self._task += 1
        state = self._state
        text.task, text.began, text.began_unix = self._task, now, state.unix(now)
        self._searches[self._task] = text
        state.emit(facts.PowStarted(text.text, text.number, text.began_unix))
        nonces = range(text.puzzle.nonce.count)
        state.effects.append(Search(self._task, text.puzzle, nonces, self._goal))
        self._enter(text)

    def searched(self, event: Searched, now: float) -> None:
        """A nonce is found: hash it again, and claim the race."""
        text = self._searches.pop(event.task, None)
        if text is None:
            return
        text.task = 0
        proof = text.puzzle.prove(event.nonces[0]) if event.nonces else None
        if proof is None or not proof.verify(self._goal.target):
            raise LocalError(f"a search of {text.text[:80]!r} has found nothing that is a proof")
        seconds = now - text.began
        self.hashes += event.stop
        self._seconds += seconds
        state = self._state
        unix = state.unix(now)
        state.emit(
            facts.PowCompleted(text.text, text.number, proof.nonce, proof.hexdigest, seconds, unix)
        )
        if text.winner is not None:
            self._lost(text, text.winner, now)
            return
        zone = state.settings.zone
        text.claim = Entry(
            state.settings.name,
            text.text,
            proof.nonce,
            proof.hexdigest,
            seconds,
            time_text(text.began_unix, zone),
            time_text(unix, zone),
        )
        self._claims[text.key] = text
        self._keep(text)

    # What is asked of the ledger.

    def reached(self, now: float) -> None:
        """The ledger can be asked: ask all that is open, again."""
        self._entered.clear()
        self._asked_at.clear()
        self._join_asked_at = None
        if self._known is None:
            self._join_asked_at = now
            self._link.ask(Join(self._epoch))
            return
        for text in self._searches.values():
            if text.winner is None:
                self._enter(text)
        self._claim_more(now)

    def _enter(self, text: _Text) -> None:
        known = self._known
        assert known is not None, "nothing is raced for before the ledger is known"
        if self._link.peer is None or len(self._entered) >= ENTERED_MAX:
            return
        self._entered[text.key] = None
        enter = Enter(self._epoch, known.generation, known.since, text.number, text.text)
        self._link.ask(enter)

    def _claim_more(self, now: float) -> None:
        """Send claims, as many as may be under way."""
        asked = self._asked_at
        if self._link.peer is None or len(asked) in (len(self._claims), CLAIMS_MAX):
            return
        unsent = (text for text in self._claims.values() if text.key not in asked)
        for text in list(islice(unsent, CLAIMS_MAX - len(asked))):
            self._claim(text)
            asked[text.key] = now

    def _claim(self, text: _Text) -> None:
        known, entry = self._known, text.claim
        assert known is not None
        assert entry is not None
        self._entered.pop(text.key, None)
        self._link.ask(Claim(self._epoch, known.generation, known.since, text.number, entry))

    # What the ledger says.

    def answered(self, answer: Answer, now: float) -> None:
        """Take an answer; one about another time, or about nothing that is open, is ignored."""
        if answer.epoch != self._epoch:
            return
        match answer:
            case Joined():
                self._on_joined(answer)
            case Won() | Lost():
                self._on_decided(answer, now)
            case _:
                self._on_replaced(answer.generation, now)

    def _on_joined(self, joined: Joined) -> None:
        self._join_asked_at = None
        if self._known is None:
            self._know(joined.generation, joined.entries)
            self._state.emit(facts.LedgerJoined(joined.entries))

    def _know(self, generation: str, since: int) -> None:
        name = self._state.settings.name
        self._known = LedgerKnown(name, generation, since, self._epoch)
        self._state.keep(LEDGER_SUBJECT, self._known)

    def _on_decided(self, answer: Won | Lost, now: float) -> None:
        known, text = self._known, self._texts.get(answer.key)
        if known is None or text is None or answer.number != text.number:
            return
        if not known.generation and answer.generation:
            self._know(answer.generation, 0)  # It was empty; now it has its name.
        if isinstance(answer, Won):
            self._won(text)
        elif text.claim is not None or not self._state.settings.finishes:
            self._lost(text, answer.winner, now)
        elif text.task:
            text.winner = answer.winner
            self._entered.pop(text.key, None)

    def _won(self, text: _Text) -> None:
        entry = text.claim
        if entry is None:
            return
        number = text.number
        self._over(text)
        self._state.counts["won"] += 1
        self._state.emit(facts.RaceWon(text.text, number))
        self._state.emit(facts.LedgerUpdated(entry))

    def _lost(self, text: _Text, winner: str, now: float) -> None:
        """Another node was faster; perhaps so much that this one need not go on."""
        state, task, number, began = self._state, text.task, text.number, text.began
        if task:
            del self._searches[task]
            state.effects.append(Cancel(task))
        elif text.claim is None and text.winner is None:
            return  # It has not begun.
        self._over(text)
        if task:
            state.counts["stopped"] += 1
            seconds = now - began
            state.emit(facts.RaceStopped(text.text, number, winner, seconds, state.unix(now)))
        else:
            state.counts["lost"] += 1
            state.emit(facts.RaceLost(text.text, number, winner))

    def _over(self, text: _Text) -> None:
        """This race is decided: the next arrival of the text waits its turn."""
        self._claims.pop(text.key, None)
        self._entered.pop(text.key, None)
        self._asked_at.pop(text.key, None)
        text.task, text.claim, text.winner = 0, None, None
        text.finished += 1
        text.waiting -= 1
        self.waiting -= 1
        self._keep(text)
        if text.waiting:
            self._queue.append(text)
        else:
            del self._texts[text.key]
            self._finished[text.key] = text.finished
            self._forget()

    def _forget(self) -> None:
        while len(self._finished) > TEXTS_MAX:
            key, _ = self._finished.popitem(last=False)
            self._state.keep(text_subject(key), None)

    def _on_replaced(self, generation: str, now: float) -> None:
        """All that waits is raced for in the new ledger, from number 1; all else is history."""
        if self._known is None:
            return
        self._epoch += 1
        self._know(generation, 0)
        self._finished.clear()
        for text in self._texts.values():
            text.finished = 0
            text.winner = None
        self._state.counts["replaced"] += 1
        self._state.emit(facts.LedgerReplaced(self.waiting))
        self.reached(now)

    def check(self) -> None:
        """Assert every invariant."""
        assert len(self._searches) <= SEARCHES_MAX
        assert len(self._finished) <= TEXTS_MAX
        assert len(self._asked_at) <= CLAIMS_MAX
        assert len(self._entered) <= ENTERED_MAX
        assert not set(self._entered) & set(self._asked_at)
        assert self.waiting == sum(text.waiting for text in self._texts.values())
        assert not self._queue or len(self._searches) == SEARCHES_MAX, "work, and nothing searched"
        assert all(text.claim is not None for text in self._claims.values())
        assert all(self._searches[text.task] is text for text in self._searches.values())
        places = [*self._queue, *self._searches.values(), *self._claims.values()]
        assert sorted(text.key for text in places) == sorted(self._texts), "each in one place"
        for key, text in self._texts.items():
            assert text.key == key
            assert text.waiting > 0
            assert key not in self._finished
        assert set(self._asked_at) <= set(self._claims)
        if self._link.peer is not None and self._known is not None:
            free = len(self._asked_at) < CLAIMS_MAX
            assert not free or len(self._asked_at) == len(self._claims), "a claim that is not sent"
