"""What people see of a coordinator."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.pictures import STARTED, coordinator
from tests.browser.stage import Stage


def test_a_round_is_open_until_it_is_won(stage: Stage, visit: Visit) -> None:
    tables = coordinator()
    stage.tell(STARTED + 80, tables)
    page = visit()
    newest = page.get_by_role("group", name="Rounds").locator("tbody tr").first
    expect(newest).to_contain_text("waiting")
    won = {"winner": "agent-2", "solved": STARTED + 80.75, "answers": 2, "stale": 1}
    stage.tell(STARTED + 81, {"rounds": {"40": {**tables["rounds"]["40"], **won}}})
    expect(newest).to_contain_text("agent-2")
    expect(newest).to_contain_text("750 ms")
    expect(page.locator(".plot rect")).to_have_count(40)


def test_an_agent_whose_answers_are_refused_stands_out(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED + 80, coordinator())
    page = visit()
    agents = page.get_by_role("group", name="Agents")
    expect(agents.locator("tr", has=page.locator(".wrong"))).to_contain_text("agent-3")
    expect(page.get_by_text("3 errors so far.")).to_be_visible()


def test_tiles_count_rounds_whose_rows_have_gone(stage: Stage, visit: Visit) -> None:
    tables = coordinator()
    totals = {"solved": 1234, "answers": 2000, "stale": 500, "refused": 7}
    stage.tell(STARTED + 80, {**tables, "round_totals": {"totals": totals}})
    page = visit()
    for text in ("1,234 solved here", "median of the last 39", "7 refused", "500 came too late"):
        expect(page.get_by_text(text)).to_be_visible()
    expect(page.get_by_text("25.0 %")).to_be_visible()


def test_addresses_are_shown_where_they_are_not_the_names(stage: Stage, visit: Visit) -> None:
    tables = coordinator()
    stranger = {**tables["agents"]["agent-1"], "address": "127.0.0.1:7"}
    stage.tell(STARTED + 80, {**tables, "agents": {"127.0.0.1:7": stranger}})
    page = visit()
    agents = page.get_by_role("group", name="Agents")
    expect(agents).to_contain_text("127.0.0.1:7")
    heading = agents.get_by_role("columnheader", name="Address")
    expect(heading).to_have_count(0)
    expect(agents.locator("tbody td:visible")).to_have_count(5)
    stage.tell(STARTED + 81, {"agents": {"agent-1": {**stranger, "address": "127.0.0.1:8"}}})
    expect(heading).to_be_visible()
    expect(agents.locator("tbody td:visible")).to_have_count(12)
