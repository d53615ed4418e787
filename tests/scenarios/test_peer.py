"""Peers through a minute of trouble: every seed ends well, and the scenario has teeth."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

from nonsuch.chain.tree import Reorged
from nonsuch.networks.peer.block import Block, Transaction
from nonsuch.networks.peer.ledger import Ledger
from nonsuch.networks.peer.state import State
from nonsuch.networks.peer.sync import Sync
from nonsuch.scenarios.peer import Broken, play
from nonsuch.scenarios.peer_cheats import CHEATS

SEEDS = 50
CHUNK = 10

story = functools.cache(play)
"""Of a seed; it is the same each time."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_seed_ends_well(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert story(seed).seconds < 400


def test_the_seeds_are_about_everything() -> None:
    stories = [story(seed) for seed in range(40)]
    assert {story.network for story in stories} == {"perfect", "lan", "hostile"}
    assert len({kind for story in stories for kind in story.cheats}) > len(CHEATS) / 2
    assert sum(story.accepted for story in stories) > 300
    assert sum(story.reorgs for story in stories) > 10


def test_a_seed_is_the_same_history_in_another_process() -> None:
    script = (
        "from nonsuch.scenarios.peer import play\n"
        "for seed in range(3): print(play(seed).trace_hash)"
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
    here = [story(seed).trace_hash for seed in range(3)]
    assert hashes == [here, here]


# The scenario has teeth.


def _first_failure(first: int = 0) -> Exception:
    for seed in range(first, 100):
        try:
            play(seed)
        except (AssertionError, Broken) as error:
            return error
    pytest.fail("no seed among the first hundred noticed")


def test_a_reorganisation_that_forgets_transactions_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget(ledger: Ledger, change: Reorged[Block]) -> None:
        ledger._confirm([key for block in change.connected for key in block.keys])

    monkeypatch.setattr(Ledger, "_reorganize", forget)
    error = _first_failure()
    assert isinstance(error, Broken)
    assert "accepted, and is lost" in str(error) or "do not agree" in str(error)


def test_a_transaction_that_is_accepted_before_it_is_on_disk_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget(_state: State, _key: bytes, _transaction: Transaction) -> None:
        pass

    monkeypatch.setattr(State, "keep_transaction", forget)
    error = _first_failure()
    assert isinstance(error, Broken)
    assert "accepted, and is lost" in str(error)


def test_a_peer_that_waits_for_a_liar_for_ever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sync, "tick", lambda *_: None)
    monkeypatch.setattr(Sync, "deadline", lambda *_: None)
    error = _first_failure(40)  # Few seeds have such a liar, and none of the first.
    assert isinstance(error, Broken)
    assert "do not agree" in str(error)
