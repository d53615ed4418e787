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
