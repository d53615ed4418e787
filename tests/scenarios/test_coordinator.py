"""Seeds of the coordinator scenario: every one of them is trouble, and a chain that grows on."""

from __future__ import annotations

import functools
import random
import subprocess
import sys

import pytest

from nonsuch.networks.coordinator.header import ROOT, VERSION, Block, Header
from nonsuch.scenarios.coordinator import Broken, Story, check_chain, play
from nonsuch.scenarios.coordinator_cheats import CHEATS, solved
from nonsuch.work.target import Target

SEEDS = 200
EASY = Target.from_work(8)


@functools.cache
def story(seed: int) -> Story:
    return play(seed)


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_after_all_trouble_there_is_one_chain_and_it_grows(first: int) -> None:
    stories = [story(seed) for seed in range(first, first + 20)]
    assert all(story.height >= 2 for story in stories)


def test_the_seeds_have_something_to_get_over() -> None:
    stories = [story(seed) for seed in range(60)]
    assert {cheat for story in stories for cheat in story.cheats} == set(CHEATS)
    assert sum(story.stale for story in stories) > 30
    assert all(story.dropped > 0 for story in stories if story.cheats)


def test_a_seed_is_one_history_on_every_machine() -> None:
    code = "from nonsuch.scenarios.coordinator import play; print(play(3).trace_hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


# The judge is code too: it must see what it is there to see.


def chain(length: int = 13) -> list[Header]:
    """A chain, a second a block."""
    headers: list[Header] = []
    lots = random.Random(1)
    for height in range(length):
        parent = Block(headers[-1]).id if headers else ROOT
        header = Header.of(VERSION, parent, lots.randbytes(32), 1000 + height, EASY, 0)
        headers.append(solved(header))
    return headers


def test_a_chain_is_one() -> None:
    headers = chain()
    ids = check_chain([each.data for each in headers], EASY)
    assert ids == [Block(each).id.hex() for each in headers]


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("version", {"version": 5}),
        ("parent", {"parent": bytes(32)}),
        ("work", {"nonce": 0}),
        ("target", {"target": Target.from_work(7)}),
        ("time", {"timestamp": 1005}),
    ],
)
def test_a_block_that_breaks_a_rule_is_seen(rule: str, fields: dict[str, int]) -> None:
    *headers, last = chain()
    names = ("version", "parent", "root", "timestamp", "target", "nonce")
    changed = Header.of(**{**{name: getattr(last, name) for name in names}, **fields})
    if rule == "work":
        changed = next(
            each
            for each in map(changed.with_nonce, range(100))
            if not EASY.admits(Block(each).rank)
        )
    else:
        changed = solved(changed)
    with pytest.raises(Broken, match=f"height 12 breaks a rule: {rule}"):
        check_chain([each.data for each in [*headers, changed]], EASY)
