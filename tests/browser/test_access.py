"""Who cannot see, or not well, or uses no mouse: axe-core finds nothing serious to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.pictures import STARTED, chain, coordinator, pool, race
from tests.browser.stage import Row, Stage

axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")

AXE = Path(next(iter(axe.__path__))) / "axe.min.js"

REPLAYED = {"replay": True, "begin": STARTED, "end": STARTED + 60, "paused": True}

PICTURES: Mapping[str, Callable[[], dict[str, dict[str, Row]]]] = {
    "pool": pool,
    "gossip": chain,
    "peer": lambda: chain("peer"),
    "race": race,
    "coordinator": coordinator,
    "replay": lambda: chain(watched=REPLAYED),
}


def _serious(page: Page) -> list[str]:
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate("""async () => (await axe.run()).violations
        .filter(one => ['serious', 'critical'].includes(one.impact))
        .flatMap(one => one.nodes.map(node => `${one.id}: ${node.html} ${node.failureSummary}`))""")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("network", PICTURES)
def test_axe_finds_nothing_serious(stage: Stage, visit: Visit, network: str, scheme: str) -> None:
    stage.tell(STARTED + 33, PICTURES[network]())
    page = visit(scheme, bypass_csp=True, still=True)
    expect(page.locator(".nodes li").first).to_be_visible()
    assert _serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nor_of_a_menu_an_error_and_a_lost_connection(
    stage: Stage, visit: Visit, scheme: str
) -> None:
    stage.tell(STARTED + 33, pool())
    page = visit(scheme, width=400, bypass_csp=True, still=True)
    page.get_by_role("button", name="Heal all").click()
    expect(page.locator("#answer")).to_be_visible()
    page.get_by_role("button", name="Actions for miner-2").click()
    expect(page.get_by_role("menu")).to_be_visible()
    stage.hang_up()
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    assert _serious(page) == []


@pytest.mark.parametrize("network", PICTURES)
def test_a_narrow_page_does_not_scroll_sideways(stage: Stage, visit: Visit, network: str) -> None:
    stage.tell(STARTED + 33, PICTURES[network]())
    page = visit(width=360)
    expect(page.locator(".nodes li").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_axe_would_find_something(visit: Visit) -> None:
    """A check that cannot fail checks nothing."""
    page = visit(bypass_csp=True)
    page.evaluate("document.body.append(document.createElement('button'))")
    [found] = _serious(page)
    assert found.startswith("button-name")
