"""The ledger, and the rule by which exactly one node wins a race.

A text may be raced for many times. The k-th time that it arrives at a node, the node takes part in
the race (text, k); it does the races of one text one after the other. So a node that was fed late,
or was down, finds that a race was won long ago, and two nodes that are fed one after the other do
not both win the same one.

A node that joins a ledger in the middle counts from there: `since` is how many entries the ledger
had then. The race (text, k) of a node is therefore the ledger's n-th entry of that text, where

    n = how often the text is among the first `since` entries + k

and a claim is won where the ledger has n - 1 entries of the text, and lost where it has more. It
cannot have fewer, unless it is not the ledger that the node knew: somebody has deleted or replaced
it. The `generation`, a hash of its first entry, is how that is noticed also where the new one has
grown. The node then begins anew, at the beginning of the new ledger: whatever is in that was won
while the nodes took part.

Entries that are there already are kept as they are, with keys that nobody here knows.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo

import msgspec

from nonsuch.errors import LocalError

__all__ = ["TIME_FORMAT", "Entry", "Ledger", "LedgerDamaged", "time_text"]

TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


class LedgerDamaged(LocalError):
    """A ledger that nobody may write to before somebody has looked at it."""


class Entry(msgspec.Struct, frozen=True):
    """A race that was won. The fields are the keys of the file, in their order.

    `hash` is in hex, `time_taken` in seconds, and the other times are local, see `time_text`.
    """

    node: str
    transaction_data: str
    nonce: int
    hash: str
    time_taken: float
    start_time: str
    end_time: str

    def plain(self) -> dict[str, object]:
        """The entry as the file has it."""
        return msgspec.structs.asdict(self)

    def is_same(self, other: Mapping[str, object]) -> bool:
        """Whether an entry of the ledger comes of this very claim, sent before."""
        ours = self.node, self.start_time, self.end_time
        return ours == (other.get("node"), other.get("start_time"), other.get("end_time"))


def time_text(unix: float, zone: tzinfo | None) -> str:
    """A time, Unix seconds, as people of this zone write it; None is the machine's own zone."""
    return datetime.fromtimestamp(unix, UTC).astimezone(zone).strftime(TIME_FORMAT)


class Ledger:
    """What is in a ledger, by text. Raises `LedgerDamaged` for entries that are none."""

    def __init__(self, entries: Sequence[Mapping[str, object]] = ()) -> None:
        self._entries: list[Mapping[str, object]] = []
        self._places: dict[str, list[int]] = {}
        self.generation = ""
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Mapping[str, object]) -> None:
        """One more entry."""
        text = _checked(entry, len(self._entries) + 1)
        if not self._entries:
            self.generation = _generation(entry)
        self._places.setdefault(text, []).append(len(self._entries))
        self._entries.append(entry)

    def update(self, entries: Sequence[Mapping[str, object]]) -> None:
        """The ledger is this by now: what is new is added, or all read again where it differs.

        Costs what is new, where the first and the last that were known are still in their places.
        """
        known = len(self._entries)
        if known and not (
            len(entries) >= known
            and entries[0] == self._entries[0]
            and entries[known - 1] == self._entries[-1]
        ):
            self._entries, self._places, self.generation = [], {}, ""
            known = 0
        for entry in entries[known:]:
            self.append(entry)

    def is_known(self, generation: str, since: int) -> bool:
        """Whether a node that has joined like this has joined this ledger.

        One that has joined an empty ledger does not know its generation before there is an entry.
        """
        if not generation:
            return since == 0
        return generation == self.generation and since <= len(self)

    def place(self, text: str, number: int, since: int) -> int:
        """Which of the entries of this text, from 1, belongs to a node's race (text, number)."""
        return bisect_left(self._places.get(text, ()), since) + number

    def count(self, text: str) -> int:
        """How many entries of this text there are."""
        return len(self._places.get(text, ()))

    def winner(self, text: str, place: int) -> Mapping[str, object]:
        """The entry at this place, from 1, among those of its text."""
        return self._entries[self._places[text][place - 1]]


def _checked(entry: object, number: int) -> str:
    """The text that an entry is about."""
    if not isinstance(entry, Mapping):
        raise _damaged(number, "is no object")
    for key in ("node", "transaction_data"):
        if not isinstance(entry.get(key), str):
            raise _damaged(number, f'has no text as its "{key}"')
    text = entry["transaction_data"]
    assert isinstance(text, str)
    return text


def _damaged(number: int, what: str) -> LedgerDamaged:
    return LedgerDamaged(
        f"entry {number} of the ledger {what}; nothing was changed: mend the ledger, or move it"
        " away to begin a new one"
    )


def _generation(first: Mapping[str, object]) -> str:
    """A ledger is what its first entry is."""
    canonical = json.dumps(dict(first), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
