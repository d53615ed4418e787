"""What people see of a race."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.pictures import STARTED, race
from tests.browser.stage import Stage


def test_three_lanes_on_one_axis_and_one_winner(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED + 21, race())
    page = visit()
    latest = page.locator("article", has_text="Alice pays Bob 6")
    expect(latest).to_contain_text("Under way")
    won = page.locator("article", has_text="Alice pays Bob 5")
    expect(won).to_contain_text("★ node-1 won")
    expect(won.locator(".lane")).to_have_count(3)
    expect(won.locator(".lane.stopped")).to_have_count(2)
    ends = won.locator(".lane .searched").evaluate_all(
        "all => all.map(one => one.getBBox().x + one.getBBox().width)"
    )
    assert ends[0] < ends[1]


def test_times_have_microseconds(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED + 21, race())
    page = visit()
    won = page.locator("article", has_text="Alice pays Bob 4")
    won.get_by_text("Times to the microsecond").click()
    expect(won.locator("tbody tr").first).to_contain_text("14:13:20.000310")


def test_a_loser_stops_when_the_winner_is_known(stage: Stage, visit: Visit) -> None:
    tables = race()
    stage.tell(STARTED + 21, tables)
    page = visit()
    race_ = tables["races"]["pay 2#1"]
    lanes = race_["lanes"]
    assert isinstance(lanes, dict)
    end = STARTED + 20.5
    after = {
        name: {**lane, "completed": end, "state": "won" if name == "node-3" else "stopped"}
        for name, lane in lanes.items()
    }
    stage.tell(STARTED + 21, {"races": {"pay 2#1": {**race_, "lanes": after, "winner": "node-3"}}})
    latest = page.locator("article", has_text="Alice pays Bob 6")
    expect(latest).to_contain_text("★ node-3 won")
    expect(latest.locator(".lane.stopped")).to_have_count(2)


def test_the_ledger_has_the_columns_of_its_file(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED + 21, race())
    page = visit()
    ledger = page.get_by_role("group", name="Ledger")
    expect(ledger.get_by_role("columnheader")).to_have_count(7)
    expect(ledger.locator("tbody tr").first).to_contain_text("Alice pays Bob 5")
    expect(ledger.locator("tbody tr").first).to_contain_text("13.8 ms14:13:21.00014:13:21.014")
    # All of it fits.
    assert ledger.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_a_transaction_is_sent(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED + 21, race())
    page = visit()
    page.get_by_label("Transaction", exact=True).fill("Carol pays Dan 1")
    page.keyboard.press("Enter")
    assert stage.asked.get(timeout=10) == ("/api/transactions", {"text": "Carol pays Dan 1"})


def test_tiles_count_races_whose_rows_have_gone(stage: Stage, visit: Visit) -> None:
    tables = race()
    nodes = {name: {**row, "kept": 500} for name, row in tables["nodes"].items()}
    totals = {"totals": {"races": 1501, "entries": 1500}}
    stage.tell(STARTED + 21, {**tables, "nodes": nodes, "race_totals": totals})
    page = visit()
    for text in ("1,501", "1 under way", "node-1 500, node-2 500, node-3 500", "1,500 entries"):
        expect(page.get_by_text(text, exact=True)).to_be_visible()
