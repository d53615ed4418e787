"""Nodes that race through half a minute of trouble: every seed ends well, and it has teeth."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

from nonsuch.networks.race.desk import Desk
from nonsuch.networks.race.keeper import Keeper
from nonsuch.networks.race.ledger import Entry, Ledger
from nonsuch.networks.race.messages import Enter
from nonsuch.networks.race.node import RaceNode
from nonsuch.networks.race.races import Races
from nonsuch.scenarios.race import Broken, play
from nonsuch.scenarios.race_cheats import CHEATS

SEEDS = 200
CHUNK = 25

story = functools.cache(play)
"""Of a seed; it is the same each time."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_seed_ends_well(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert story(seed).seconds < 400


def test_the_seeds_are_about_everything() -> None:
    stories = [story(seed) for seed in range(100)]
    assert {story.network for story in stories} == {"perfect", "lan", "hostile"}
    assert {story.keeper for story in stories} == {True, False}
    assert {story.replaced for story in stories} == {True, False}
    assert {kind for story in stories for kind in story.cheats} == set(CHEATS)
    assert sum(story.arrivals for story in stories) > 2000
    assert sum(story.wins for story in stories) > 500
    assert sum(story.stopped for story in stories) > 500


def test_a_seed_is_the_same_history_in_another_process() -> None:
    script = (
        "from nonsuch.scenarios.race import play\n"
        "for seed in range(4): print(play(seed).trace_hash)"
    )
    hashes = []
    for hash_seed in ("1", "2"):
        child = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(child.stdout.split())
    here = [story(seed).trace_hash for seed in range(4)]
    assert hashes == [here, here]


# The scenario has teeth.


def _first_failure() -> str:
    for seed in range(100):
        try:
            play(seed)
        except Broken as error:
            return str(error)
    pytest.fail("no seed among the first hundred noticed")


def test_a_transaction_that_is_taken_before_it_is_on_disk_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Races, "_keep", lambda *_: None)
    assert "an arrival is lost" in _first_failure()


def test_a_ledger_that_everybody_may_write_to_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "_claim", Desk._write)
    assert "not one winner a race" in _first_failure()


def test_a_claim_sent_twice_that_loses_to_itself_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Entry, "is_same", lambda *_: False)
    assert "has lost to itself" in _first_failure()


def test_a_node_that_counts_from_the_wrong_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(ledger: Ledger, text: str, number: int, _since: int) -> int:
        return max(number, ledger.count(text))

    monkeypatch.setattr(Ledger, "place", place)
    assert "not one winner a race" in _first_failure()


def test_a_claim_that_is_not_sent_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = Races.reached

    def forgetful(races: Races, now: float) -> None:
        if races.claims:
            return
        reached(races, now)

    monkeypatch.setattr(Races, "reached", forgetful)
    monkeypatch.setattr(RaceNode, "_check", lambda _: None)
    assert "races that do not end" in _first_failure()


def test_a_keeper_that_believes_everybody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "_verify", lambda *_: None)
    assert "a wrong entry" in _first_failure() or "no entry" in _first_failure()


def test_a_desk_that_forgets_before_the_file_is_written_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Desk, "copy", lambda desk: desk)
    assert "is never told that it has lost" in _first_failure()


def test_a_race_that_nobody_watches_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(_desk: Desk, _seat: int, _enter: Enter) -> None:
        pass

    monkeypatch.setattr(Desk, "_watch", deaf)
    assert "is never told that it has lost" in _first_failure()
