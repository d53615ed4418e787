"""Whatever is told, in whatever order: tables keep their bounds, and patches are the picture."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nonsuch.networks.gossip import facts as gossip
from nonsuch.networks.pool import facts as pool
from nonsuch.web.observations import Observation, observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.pictures import chain
from nonsuch.web.pictures.spans import SPANS_MAX
from nonsuch.web.rows import About, Network
from tests.web.strategies import NETWORKS, observations

Plain = dict[str, dict[str, object]]


def plain(tables: Mapping[str, Mapping[str, msgspec.Struct]]) -> Plain:
    """Rows as a browser gets them."""
    decoded: Plain = json.loads(msgspec.json.encode(tables))
    return decoded


def applied(tables: Plain, picture: Picture) -> None:
    """Do what a browser does."""
    changes = picture.take()
    for name, some in plain(changes.set).items():
        tables.setdefault(name, {}).update(some)
    for name, keys in changes.drop.items():
        for key in keys:
            tables.setdefault(name, {}).pop(key, None)


def filled(tables: Plain) -> Plain:
    return {name: some for name, some in tables.items() if some}


@pytest.mark.parametrize("network", NETWORKS)
@settings(max_examples=60)
@given(data=st.data())
def test_patches_are_the_picture_whatever_is_told(network: Network, data: st.DataObject) -> None:
    picture = Picture(About(network))
    browser: Plain = {}
    for observation in data.draw(st.lists(observations(network), max_size=40)):
        picture.fold(observation)
        picture._check()
        if data.draw(st.booleans()):
            applied(browser, picture)
    applied(browser, picture)
    assert not picture.is_changed
    assert filled(browser) == filled(plain(picture.whole()))


@pytest.mark.parametrize("network", NETWORKS)
@settings(max_examples=30)
@given(data=st.data())
def test_a_picture_that_was_packed_away_goes_on_as_it_was(
    network: Network, data: st.DataObject
) -> None:
    before = data.draw(st.lists(observations(network), max_size=25))
    after = data.draw(st.lists(observations(network), max_size=15))
    picture = Picture(About(network))
    for observation in before:
        picture.fold(observation)
    copy = pickle.loads(pickle.dumps(picture))
    for observation in after:
        picture.fold(observation)
        copy.fold(observation)
        copy._check()
    assert plain(copy.whole()) == plain(picture.whole())


@pytest.mark.parametrize("network", NETWORKS)
def test_what_nobody_knows_is_counted_and_passed_over(network: Network) -> None:
    picture = Picture(About(network))
    picture.fold(Observation(1.0, "", "moon landed", {"crew": 3}))
    picture.fold(Observation(2.0, "", "process killed", {"name": 7}))
    picture.fold(Observation(float("inf"), "", "process killed", {"name": "a"}))
    assert (picture.observations, picture.unreadable, picture.at) == (3, 2, 2.0)
    assert picture.facts == {"others": 1, "process killed": 1}
    assert not picture.board.nodes.rows


def test_a_job_in_a_million_shards_keeps_within_its_rows() -> None:
    picture = Picture(About("pool"))
    lots = random.Random(1)
    picture.fold(observed_fact(pool.JobAccepted("j", 0, 10**9, 3), "pool", 0.0))
    for number in range(30_000):
        start = lots.randrange(10**6) * 1000
        node = f"miner-{lots.randrange(50)}"
        kind = lots.choice((pool.ShardTaken, pool.Worked))
        fact = (
            pool.ShardTaken("j", start, start + 1000)
            if kind is pool.ShardTaken
            else pool.Worked("j", start, start + 1000, 0.1)
        )
        picture.fold(observed_fact(fact, node, number / 100))
        if not number % 500:
            picture._check()
            picture.take()
    picture._check()
    assert 0 < len(picture.whole()["shards"]) <= SPANS_MAX


def test_a_long_chain_keeps_its_latest_blocks_and_a_newcomer_does_not_push_them_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain, "BLOCKS_MAX", 100)
    picture = Picture(About("gossip"))
    told = [
        gossip.BlockAccepted(f"{height:04x}", f"{height - 1:04x}", height, "", "p", True)
        for height in range(1, 500)
    ]
    for at, fact in enumerate(told):
        picture.fold(observed_fact(fact, "a", float(at)))
        picture.fold(observed_fact(fact, "b", at + 0.5))
    for at, fact in enumerate(told):
        picture.fold(observed_fact(fact, "late", 600.0 + at))
    picture._check()
    heights = [int(key, 16) for key in picture.whole()["blocks"]]
    assert heights == list(range(400, 500))


@settings(max_examples=50)
@given(st.permutations(range(12)), st.integers(0, 2**32))
def test_a_tree_is_the_same_in_whatever_order_it_is_told(order: list[int], seed: int) -> None:
    lots = random.Random(seed)
    parents = [lots.randrange(number) if number else -1 for number in range(12)]
    heights: list[int] = []
    for parent in parents:
        heights.append(0 if parent < 0 else heights[parent] + 1)
    names = [f"{number:02x}" for number in range(12)]
    told = [
        gossip.BlockAccepted(
            names[number],
            names[parents[number]] if number else "",
            heights[number],
            "",
            "p",
            False,
        )
        for number in range(12)
    ]
    tips = [lots.randrange(12) for _ in range(3)]
    reorgs = [gossip.Reorganised(1, 1, 0, names[tip], heights[tip]) for tip in tips]

    def best(blocks: list[gossip.BlockAccepted], first: bool) -> dict[str, bool]:
        picture = Picture(About("gossip"))
        facts: list[object] = [*reorgs, *blocks] if first else [*blocks, *reorgs]
        for number, fact in enumerate(facts):
            node = f"n{reorgs.index(fact)}" if isinstance(fact, gossip.Reorganised) else "x"
            picture.fold(observed_fact(fact, node, float(number)))
            picture._check()
        rows = picture.part.tables[0].whole()
        return {key: getattr(row, "best") for key, row in sorted(rows.items())}  # noqa: B009

    mixed = [told[number] for number in order]
    assert best(mixed, True) == best(told, False)
