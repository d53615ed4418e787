"""The desk at which a ledger's owner serves those who ask: questions in, answers out.

The owner of a file has all the blocking in his hands, and nothing to decide:

    lock the file; where it has changed: ledger.update(entries), and hand out desk.look(ledger)
    entries, answers = desk.handle(request, ledger)
    append the entries to the file, durably; unlock
    then hand out the answers, each as Received(LOCAL, answer)

Several requests may be handled under one lock. `handle` adds to the index what is to be added to
the file, and forgets who has been answered; an owner who then cannot write must not use that index
again, and goes on from a `copy` of the desk that he made before. Else whoever was about to hear
that it has lost would never hear it.

What waits for its turn is in `Waiting`, which is bounded where a keeper's nodes ask: while the file
cannot be used they come and go as they like.

While `watches` is not 0 somebody wants to know as soon as the file changes. Nobody needs to lock it
for that: to read it and to `look` is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from nonsuch.networks.race.ledger import Entry, Ledger
from nonsuch.networks.race.messages import (
    NAME_MAX,
    Answer,
    Asked,
    Claim,
    Enter,
    Join,
    Joined,
    Leave,
    Lost,
    Question,
    Replaced,
    Told,
    Won,
)
from nonsuch.node import LOCAL

__all__ = ["QUESTIONS_BYTES_MAX", "Desk", "Overfull", "Served", "Waiting", "key_of"]

QUESTIONS_BYTES_MAX = 2**26
"""Of the texts that wait with a keeper's questions: a thousand of the longest."""

QUESTION_BYTES = 2**10
"""What a question counts beside its text, so that their number is bounded as well."""


def key_of(text: str) -> bytes:
    """What a text is called where it need not be read: its SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


class Served(NamedTuple):
    """What is to be appended to the file, and what is then to be handed out."""

    entries: list[dict[str, object]]
    answers: list[Answer | Told]


class Overfull(msgspec.Struct, frozen=True):
    """What the node in this seat asks cannot wait any more: the keeper is to send it away."""

    seat: int


class Waiting:
    """Questions that wait for the file, in the order in which they came.

    The `first` are handled at a desk, and `served` once what came of it is on disk; until then they
    are the first again. Who leaves takes along what nobody else cares for; its claims stay.
    """

    def __init__(self) -> None:
        self._questions: dict[int, Question | Asked] = {}
        self._revocable: dict[int, dict[int, None]] = {}
        self._serving: dict[int, Question | Asked] = {}
        self._number = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._questions)

    def add(self, request: Question | Asked, desk: Desk) -> bool:
        """One more; False where a keeper's node asks and there is no room.

        `desk` is the one at which all was handled that was served.
        """
        if isinstance(request, Asked):
            if isinstance(request.question, Leave):
                return self._leave(request, desk)
            if self._bytes + _size(request) > QUESTIONS_BYTES_MAX:
                return False
        self._keep(request)
        return True

    def first(self, count: int) -> list[Question | Asked]:
        """So many of those that have waited longest."""
        self._serving = dict(islice(self._questions.items(), count))
        return list(self._serving.values())

    def served(self) -> None:
        """The `first` wait no longer."""
        for number in self._serving:
            self._drop(number)
        self._serving = {}

    def _keep(self, request: Question | Asked) -> None:
        self._number += 1
        self._questions[self._number] = request
        if isinstance(request, Asked):
            self._bytes += _size(request)
            if isinstance(request.question, Enter | Join):
                self._revocable.setdefault(request.seat, {})[self._number] = None

    def _drop(self, number: int) -> None:
        request = self._questions.pop(number, None)
        if isinstance(request, Asked):
            self._bytes -= _size(request)
            revocable = self._revocable.get(request.seat, {})
            revocable.pop(number, None)
            if not revocable:
                self._revocable.pop(request.seat, None)

    def _leave(self, leave: Asked, desk: Desk) -> bool:
        """The desk hears of it where it may know this seat, and so once for each that it knows."""
        for number in list(self._revocable.get(leave.seat, ())):
            self._drop(number)
        serving = (each.seat for each in self._serving.values() if isinstance(each, Asked))
        if desk.knows(leave.seat) or leave.seat in serving:
            self._keep(leave)
        return True


def _size(request: Asked) -> int:
    match request.question:
        case Enter(text=text) | Claim(entry=Entry(transaction_data=text)):
            return QUESTION_BYTES + len(text.encode(errors="surrogatepass"))
        case _:
            return QUESTION_BYTES


class Desk:
    """Who waits for what. Requests are a node's own questions, or those `Asked` of a keeper."""

    def __init__(self) -> None:
        self._watches: dict[str, dict[tuple[int, int], Enter]] = {}
        self._seats: dict[int, dict[tuple[str, int], None]] = {}

    @property
    def watches(self) -> int:
        """How many races are watched."""
        return sum(map(len, self._seats.values()))

    def knows(self, seat: int) -> bool:
        """Whether somebody in this seat watches a race."""
        return seat in self._seats

    def copy(self) -> Desk:
        """A desk that knows the same, to be used in the place of this one if all goes well."""
        desk = Desk()
        desk._watches = {text: watches.copy() for text, watches in self._watches.items()}
        desk._seats = {seat: races.copy() for seat, races in self._seats.items()}
        return desk

    def handle(self, request: Question | Asked, ledger: Ledger) -> Served:
        """Serve one request. The ledger must be what is in the file, and the file locked."""
        seat, question = LOCAL, request
        if isinstance(request, Asked):
            seat, question = request.seat, request.question
        match question:
            case Join(epoch=epoch):
                return _told(seat, Joined(epoch, ledger.generation, len(ledger)))
            case Enter():
                return self._enter(seat, question, ledger)
            case Claim():
                return self._claim(seat, question, ledger)
            case _:
                self._leave(seat)
                return Served([], [])

    def look(self, ledger: Ledger) -> list[Answer | Told]:
        """The file has changed: what those who watch must hear now."""
        answers: list[Answer | Told] = []
        for watches in list(self._watches.values()):
            for (seat, _), enter in list(watches.items()):
                # One that came before it may have sent this seat away.
                if (enter.text, enter.number) in self._seats.get(seat, ()):
                    answers += self._enter(seat, enter, ledger).answers
        return answers

    def _enter(self, seat: int, enter: Enter, ledger: Ledger) -> Served:
        place = _place(enter, enter.text, ledger)
        if place is None:
            return self._replaced(seat, enter, ledger)
        if ledger.count(enter.text) < place:
            self._watch(seat, enter)
            return Served([], [])
        self._forget(seat, enter.text, enter.number)
        return _told(seat, _lost(enter, enter.text, ledger, place))

    def _claim(self, seat: int, claim: Claim, ledger: Ledger) -> Served:
        text = claim.entry.transaction_data
        place = _place(claim, text, ledger)
        if place is None:
            return self._replaced(seat, claim, ledger)
        self._forget(seat, text, claim.number)
        if ledger.count(text) < place:
            return self._write(seat, claim, ledger)
        if claim.entry.is_same(ledger.winner(text, place)):
            return _told(seat, _won(claim, ledger))
        return _told(seat, _lost(claim, text, ledger, place))

    def _write(self, seat: int, claim: Claim, ledger: Ledger) -> Served:
        """The claim is the first: one more entry, and all who wait for it have lost."""
        entry = claim.entry.plain()
        ledger.append(entry)
        (won,) = _told(seat, _won(claim, ledger)).answers
        return Served([entry], [won, *self.look(ledger)])

    def _replaced(self, seat: int, question: Enter | Claim, ledger: Ledger) -> Served:
        """Nothing that this node has entered by then has its number any more."""
        for text, number in list(self._seats.get(seat, ())):
            if self._watches[text][seat, number].epoch <= question.epoch:
                self._forget(seat, text, number)
        return _told(seat, Replaced(question.epoch, ledger.generation))

    # Who watches what.

    def _watch(self, seat: int, enter: Enter) -> None:
        self._watches.setdefault(enter.text, {})[seat, enter.number] = enter
        self._seats.setdefault(seat, {})[enter.text, enter.number] = None

    def _forget(self, seat: int, text: str, number: int) -> None:
        watches, seats = self._watches.get(text, {}), self._seats.get(seat, {})
        watches.pop((seat, number), None)
        seats.pop((text, number), None)
        if not watches:
            self._watches.pop(text, None)
        if not seats:
            self._seats.pop(seat, None)

    def _leave(self, seat: int) -> None:
        for text, number in list(self._seats.get(seat, ())):
            self._forget(seat, text, number)


def _place(question: Enter | Claim, text: str, ledger: Ledger) -> int | None:
    """Where in the ledger this race belongs; None where the node knows another ledger."""
    if not ledger.is_known(question.generation, question.since):
        return None
    place = ledger.place(text, question.number, question.since)
    return place if ledger.count(text) >= place - 1 else None


def _told(seat: int, answer: Answer) -> Served:
    return Served([], [answer if seat == LOCAL else Told(seat, answer)])


def _won(claim: Claim, ledger: Ledger) -> Won:
    key = key_of(claim.entry.transaction_data)
    return Won(claim.epoch, ledger.generation, claim.number, key)


def _lost(question: Enter | Claim, text: str, ledger: Ledger, place: int) -> Lost:
    winner = _name(ledger.winner(text, place))
    return Lost(question.epoch, ledger.generation, question.number, key_of(text), winner)


def _name(entry: Mapping[str, object]) -> str:
    """Who has won, as it can travel: a file may hold any text."""
    return str(entry["node"]).encode(errors="replace").decode()[:NAME_MAX]
