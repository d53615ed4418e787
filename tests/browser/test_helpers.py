"""The page's helpers that know of no document, asked in the browser that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Visit


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit()


def _called(page: Page, file: str, calls: Iterable[str]) -> object:
    """What each call of the module's functions returns, numbers to seven digits."""
    bodies = ", ".join(f'"{call}": {call}' for call in calls)
    names = ", ".join({call.split("(")[0] for call in calls})
    result: object = page.evaluate(f"""async () => {{
        const {{ {names} }} = await import('/{file}');
        const rounded = value => typeof value === 'number' ? Math.round(value * 1e7) / 1e7 : value;
        const all = Object.entries({{ {bodies} }});
        return Object.fromEntries(all.map(([call, value]) => [call, rounded(value)]));
    }}""")
    return result


READ: Mapping[str, object] = {
    "count(1234567)": "1,234,567",
    "count('18446744073709551615')": "18,446,744,073,709,551,615",
    "short(999)": "999",
    "short(12345678)": "12.3 M",
    "short(999999)": "1.00 M",
    "rate(0)": "0 H/s",
    "rate(2.5e9)": "2.50 GH/s",
    "rate(null)": "–",
    "percent(0.0643)": "6.4 %",
    "seconds(0.00034)": "340 µs",
    "seconds(0.0123)": "12.3 ms",
    "seconds(59.4)": "59.4 s",
    "seconds(130)": "2 min 10 s",
    "seconds(3661)": "1 h 1 min",
    "seconds(null)": "–",
    "timeOfDay(1790000000.999999, 6)": "14:13:20.999999",
    "timeOfDay(1790000000.999999, 3)": "14:13:20.999",
    "timeOfDay(1790000000.999999)": "14:13:20",
    "timeOfDay(1790000000.000310, 6)": "14:13:20.000310",
    "timeOfDay(1790000000.9999999, 6)": "14:13:21.000000",
    "elapsed(3723.5)": "1:02:04",
    "elapsed(12.345, 2)": "0:12.35",
    "shortId('0000000a1b2c3d4e')": "a1b2c3",
    "shortId('000000000000')": "000000",
    "zeroBits('00ff')": 8.0056466,
    "zeroBits('7fff')": 1.000044,
    "zeroBits('0000')": 16,
    "plural(1, 'entry', 'entries')": "1 entry",
    "badge('node-17')": "17",
    "badge('pool')": "P",
    "byName('miner-2', 'miner-10') < 0": True,
    "median([3, 1, 2, 10])": 2.5,
    "median([])": None,
}

SCALES: Mapping[str, object] = {
    "linear([0, 10], [100, 200])(5)": 150,
    "linear([3, 3], [100, 200])(3)": 100,
    "ticks(0, 10, 5)": [0, 2, 4, 6, 8, 10],
    "ticks(0.3, 0.3, 5)": [0.3],
    "timeTicks(95, 250, 3)": [120, 180, 240],
    "clamp(5, 0, 3)": 3,
    "approach(0, 1, 0)": 0,
    "approach(0, 1, Infinity)": 1,
}


def test_what_people_read(page: Page) -> None:
    assert _called(page, "format.js", READ) == READ


def test_scales(page: Page) -> None:
    assert _called(page, "scale.js", SCALES) == SCALES


def test_lanes_of_a_tree(page: Page) -> None:
    """Two branches that overlap part; one that begins after another has ended takes its lane."""
    lanes = page.evaluate("""async () => {
        const { layOut } = await import('/draw/tree_layout.js');
        const block = (id, parent, height, best) => ({ id, parent, height, best, at: height });
        const blocks = [0, 1, 2, 3, 4, 5, 6].map(h => block('b' + h, 'b' + (h - 1), h, true));
        blocks.push(block('x1', 'b0', 1, false), block('x2', 'x1', 2, false));
        blocks.push(block('y2', 'b1', 2, false), block('z6', 'b5', 6, false));
        return Object.fromEntries(layOut(blocks, new Map()));
    }""")
    assert {lanes[f"b{height}"] for height in range(7)} == {0}
    assert lanes["x1"] == lanes["x2"] == 1
    assert lanes["y2"] == -1
    assert lanes["z6"] == 1


def test_a_branch_keeps_its_lane(page: Page) -> None:
    lane = page.evaluate("""async () => {
        const { layOut } = await import('/draw/tree_layout.js');
        const block = (id, parent, height, best) => ({ id, parent, height, best, at: height });
        const best = [block('a', '', 0, true), block('b', 'a', 1, true)];
        return layOut([...best, block('x', 'a', 1, false)], new Map([['x', -2]])).get('x');
    }""")
    assert lane == -2
