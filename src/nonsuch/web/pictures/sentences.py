"""What happened, in sentences: one for each thing that happened, however many tell of it.

A liar is refused by a hundred nodes, and a coordinator that dies is missed by all its agents. So a
sentence may be about several: what is told of the same cause while it goes on changes the sentence
that is there already, its number and its time, and adds none. Up to `NAMED_MAX` are named, more are
counted. A cause is what happened and the words that are not names, unless the caller says what is.

What is told of the same node again and again says how often. What happens all the time, such as a
block, is one sentence until a new one of another kind is begun: it must not push faults out.

At most `TOLD_MAX` sentences are kept, ordered by when they were told last.

A terminal cannot change what it has said. It gets lines: the first few by name, each in a sentence
of its own, and then how many they are, whenever they have doubled.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from nonsuch.web.rows import Kind, Told
from nonsuch.web.tables import Table

__all__ = ["Again", "Sentences", "Words", "general", "plural", "shortened"]

TOLD_MAX = 300
"""Sentences kept."""

TOLD_CHARACTERS_MAX = 400
"""A longer sentence, for it quotes a peer, is cut."""

PAUSE_SECONDS = 12.0
"""What is told again within so long goes on: a gossip miner tells of a liar every ten seconds."""

GOES_ON_SECONDS_MAX = 60.0
"""What goes on for longer is worth another sentence."""

CAUSES_MAX = 50
"""Sentences that may go on at the same time; of more, the one that was told longest ago is over."""

MEMBERS_MAX = 1_000
"""Those whom a sentence is about; a picture has no more nodes."""

NAME_CHARACTERS_MAX = 128
"""A longer name is cut; ours have a dozen."""

NAMED_MAX = 3
"""As many names as people read; more are counted."""

HASH_DIGITS_MIN = 32
HASH_DIGITS_SHOWN = 10
HASH_DIGITS_BEHIND_ZEROS = 6
"""A hash of so many hex digits or more is cut to so many, but not before its zeros end."""

_HASH = re.compile(rf"\b(?:0x)?[0-9a-fA-F]{{{HASH_DIGITS_MIN},}}\b")
_NUMBER = re.compile(r"\b[0-9a-fA-F]*[0-9][0-9a-fA-F.,:]*")


def plural(count: int, noun: str) -> str:
    """`1 lease`, `2 leases`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shortened(text: str) -> str:
    """The text with its hashes cut to what people compare."""
    return _HASH.sub(_shortened, text).replace("….", "…")


def general(reason: str) -> str:
    """A reason without the hashes, numbers and addresses that differ from one time to the next."""
    return _NUMBER.sub("#", reason)


def _shortened(found: re.Match[str]) -> str:
    digits = found[0]
    zeros = len(digits) - len(digits.lstrip("0x"))
    return f"{digits[: max(HASH_DIGITS_SHOWN, zeros + HASH_DIGITS_BEHIND_ZEROS)]}…"


class Again(NamedTuple):
    """What is said of what was told more than once: `what`, how often, and then the `rest`."""

    what: str
    rest: str = "."


class Words:
    """What comes after the name in a sentence about one node, or after the names of several.

    `cause` is what makes two of them the same; where it is not given, the words are. What begins
    with "was" begins with "were" where it is about several. What is true of one time alone, such as
    how many there are then, is left out of `again`.
    """

    __slots__ = ("after", "again", "cause")

    def __init__(self, after: str, cause: str | None = None, again: Again | None = None) -> None:
        self.after = _cut(after)
        self.cause = (after if cause is None else cause)[:TOLD_CHARACTERS_MAX]
        self.again = None if again is None else Again(_cut(again.what), _cut(again.rest))

    def text(self, who: str, members: int = 1, times: int = 1) -> str:
        """The sentence about so many, of whom it was told so often."""
        after = self.after
        if self.again is not None and times > 1:
            often = f" {times:,} times" if times > members else ""
            after = f"{self.again.what}{often}{self.again.rest}"
        if members > 1 and after.startswith(" was "):
            after = f" were {after.removeprefix(' was ')}"
        return f"{who}{after}"[:TOLD_CHARACTERS_MAX]


def _cut(words: str) -> str:
    return shortened(words[: 2 * TOLD_CHARACTERS_MAX])


class _GoesOn:
    """What is told of one cause: since when, the sentence's key, of whom, and how often."""

    __slots__ = ("began", "key", "members", "times", "until")

    def __init__(self, at: float, key: str) -> None:
        self.began = self.until = at
        self.key = key
        self.members: dict[str, None] = {}
        self.times = 0

    def takes(self, at: float) -> bool:
        """Whether what is told now belongs to it."""
        return abs(at - self.until) <= PAUSE_SECONDS and abs(at - self.began) <= GOES_ON_SECONDS_MAX

    def add(self, name: str, at: float) -> None:
        """Of this one, too."""
        self.members.pop(name, None)
        self.members[name] = None
        if len(self.members) > MEMBERS_MAX:
            del self.members[next(iter(self.members))]
        self.times += 1
        self.until = max(self.until, at)

    def who(self, noun: str) -> str:
        """Those whom it is about, the latest last."""
        names = list(self.members)
        if len(names) > NAMED_MAX:
            return plural(len(names), noun)
        *others, last = names
        return f"{', '.join(others)} and {last}" if others else last


class _InARow(NamedTuple):
    """The latest sentence about what happens all the time: its key, and how often that was."""

    key: str
    what: str
    times: int


class Sentences:
    """The sentences of a picture. `count` is how many were begun; their keys are 1 to that.

    `lines` are what a terminal has to say, for whoever takes them from there.
    """

    def __init__(self) -> None:
        self.table: Table[Told] = Table("told", TOLD_MAX)
        self.count = 0
        self.lines: deque[str] = deque(maxlen=TOLD_MAX)
        self._go_on: dict[tuple[str, ...], _GoesOn] = {}
        self._in_a_row: _InARow | None = None

    def tell(self, at: float, node: str, text: str, kind: Kind = "info") -> str:
        """A sentence of its own. Returns its key."""
        text = shortened(text)[:TOLD_CHARACTERS_MAX]
        self.lines.append(text)
        return self._begin(at, node, text, kind)

    def _begin(self, at: float, node: str, text: str, kind: Kind) -> str:
        self.count += 1
        key = str(self.count)
        self.table.put(key, Told(at, node, text, kind, at))
        return key

    def tell_of(
        self, at: float, fact: str, name: str, noun: str, words: Words, kind: Kind = "info"
    ) -> None:
        """A sentence about `name`, and about all of whom the same is told while it goes on.

        `fact` is what happened, and `noun` what many such nodes are called, in the singular.
        """
        name = name[:NAME_CHARACTERS_MAX]
        cause = (fact, noun, words.cause)
        goes_on = self._go_on.pop(cause, None)
        row = None if goes_on is None else self.table.get(goes_on.key)
        if goes_on is None or row is None or not goes_on.takes(at):
            goes_on = _GoesOn(at, self._begin(at, name, "", kind))
            row = self.table.rows[goes_on.key]
        count = len(goes_on.members)
        goes_on.add(name, at)
        self._go_on[cause] = goes_on
        if len(self._go_on) > CAUSES_MAX:
            del self._go_on[next(iter(self._go_on))]
        row.node = name
        members = len(goes_on.members)
        row.text = words.text(goes_on.who(noun), members, goes_on.times)
        row.until = goes_on.until
        self.table.renew(goes_on.key)
        if words.again is not None:
            self._say(words.text(name), row.text, goes_on.times)
        elif members > count:
            self._say(words.text(name), row.text, members)

    def tell_in_a_row(
        self, at: float, node: str, text: str, what: str, kind: Kind = "info"
    ) -> None:
        """A sentence that takes in the one before, where that is of the same.

        `what` is said of many of them: "blocks were solved".
        """
        text = shortened(text)
        last = self._in_a_row
        row = None if last is None else self.table.get(last.key)
        if last is None or row is None or last.what != what or last.key != str(self.count):
            key = self._begin(at, node, text[:TOLD_CHARACTERS_MAX], kind)
            last, row = _InARow(key, what, 0), self.table.rows[key]
        self._in_a_row = last = last._replace(times=last.times + 1)
        if last.times > 1:
            row.node, row.until = node, max(row.until, at)
            row.text = f"{last.times:,} {what}; the last: {text}"[:TOLD_CHARACTERS_MAX]
            self.table.renew(last.key)
        self._say(text[:TOLD_CHARACTERS_MAX], row.text, last.times)

    def end(self) -> None:
        """Nothing of what was told goes on: what is told next is another sentence."""
        self._go_on.clear()
        self._in_a_row = None

    def _say(self, own: str, text: str, count: int) -> None:
        if count <= NAMED_MAX:
            self.lines.append(own)
        elif not count & (count - 1):
            self.lines.append(text)

    def came(self, key: str, consequence: str) -> str:
        """Say what came of it in the sentence itself. Returns that; nothing where it has gone."""
        row = self.table.get(key)
        if row is None:
            return ""
        row.text = f"{row.text.removesuffix('.')}: {consequence}."[:TOLD_CHARACTERS_MAX]
        self.table.touch(key)
        self.lines.append(row.text)
        return row.text

    def _check(self) -> None:
        assert len(self._go_on) <= CAUSES_MAX
        for each in self._go_on.values():
            assert 0 < len(each.members) <= min(MEMBERS_MAX, each.times)
