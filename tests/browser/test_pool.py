"""What people see of a pool."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.pictures import STARTED, pool, proof, told
from tests.browser.stage import Stage


def _state(page: Page, name: str) -> str:
    return page.locator(f".state-of-{name} b").inner_text()


def test_the_range_of_a_job_is_a_bar_of_what_became_of_each_part(
    stage: Stage, visit: Visit
) -> None:
    stage.tell(STARTED + 33, pool())
    page = visit()
    expect(page.get_by_text("“Alice pays Bob 5; Bob pays Carol 3”")).to_be_visible()
    expect(page.get_by_role("img", name="The range 0 to 999,999,999")).to_be_visible()
    assert _state(page, "leased") == "64.0 M (6.4 %)"
    assert _state(page, "failed") == "8.00 M (0.8 %)"
    assert _state(page, "free") == "464 M (46.4 %)"
    # The bar says the same: of its whole width, so much is leased.
    drawn = page.locator("path.shards.leased").evaluate("path => path.getBBox().width")
    whole = page.locator(".plot rect.shards.free").evaluate("rect => rect.getBBox().width")
    assert abs(drawn / whole - 0.064) < 0.002


def test_a_killed_miners_shards_go_back(stage: Stage, visit: Visit) -> None:
    tables = pool()
    stage.tell(STARTED + 33, tables)
    page = visit()
    lost = {key: row for key, row in tables["shards"].items() if row["node"] == "miner-1"}
    lost = {key: row for key, row in lost.items() if row["state"] == "leased"}
    holds = page.get_by_text(f"miner-1 has {len(lost)} shards")
    expect(holds).to_be_visible()
    sentence = f"miner-1 was killed: its {len(lost)} leases went back into the queue."
    stage.tell(
        STARTED + 34,
        {
            "nodes": {"miner-1": {**tables["nodes"]["miner-1"], "state": "dead", "rate": None}},
            "shards": {key: {**row, "state": "returned"} for key, row in lost.items()},
            "told": {"5": told((34, "", sentence, "fault"))["1"]},
        },
    )
    expect(holds).to_have_count(0)
    assert _state(page, "returned") == f"{8 + 8 * len(lost):.1f} M ({0.8 + 0.8 * len(lost):.1f} %)"
    expect(page.locator(".told li").first).to_contain_text(sentence)
    expect(page.get_by_role("log")).to_contain_text(sentence)
    expect(page.locator(".nodes li", has_text="miner-1")).to_contain_text("dead")


def test_a_job_ends_with_its_answer_verified(stage: Stage, visit: Visit) -> None:
    tables = pool()
    stage.tell(STARTED + 33, tables)
    page = visit()
    expect(page.locator(".result")).to_contain_text("Best so far")
    done = {
        "state": "done",
        "done": 1_000_000_000,
        "nonce": 830_111_222,
        "hash": proof("the answer", 30),
        "verified": True,
        "finished": STARTED + 41.5,
    }
    stage.tell(STARTED + 41.5, {"jobs": {"a": {**tables["jobs"]["a"], **done}}})
    result = page.locator(".result")
    expect(result).to_contain_text("Answer")
    expect(result).to_contain_text("nonce 830,111,222")
    expect(result).to_contain_text(proof("the answer", 30))
    expect(result).to_contain_text("✓ verified")
    expect(page.locator(".figures")).to_contain_text("it took 41.5 s")


def test_a_number_that_a_double_would_round_is_shown_whole(stage: Stage, visit: Visit) -> None:
    tables = pool()
    nonce = str(2**63 + 1)
    answer = {"last": str(2**64 - 1), "total": str(2**64), "best_nonce": nonce}
    stage.tell(STARTED, {**tables, "jobs": {"a": {**tables["jobs"]["a"], **answer}}, "shards": {}})
    page = visit()
    expect(page.locator(".result")).to_contain_text("nonce 9,223,372,036,854,775,809")
    expect(page.locator(".plot").first).to_contain_text("18,446,744,073,709,551,615")


def test_a_job_is_submitted(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    page.get_by_label("Message").fill("Alice pays Bob 7")
    page.get_by_label("Highest nonce").fill("1_000_000")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("status").get_by_text("It was done.")).to_be_visible()
    asked = stage.asked.get(timeout=10)
    assert asked == ("/api/jobs", {"message": "Alice pays Bob 7", "upto": 1_000_000})
    expect(page.get_by_label("Message")).to_have_value("")


def test_another_job_can_be_looked_at(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    page.get_by_role("button", name="Show the job “The first transaction").click()
    expect(page.locator(".message")).to_have_text("“The first transaction of the day”")
    expect(page.locator(".result")).to_contain_text("nonce 117,201,913")
