"""What people see of a chain: a fork, how it is resolved, and how a block is read about."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.pictures import STARTED, about, block, chain, node
from tests.browser.stage import Row, Stage


def _fork() -> dict[str, dict[str, Row]]:
    """Two nodes, each with a block of its own on the same parent."""
    root = block("root", "", 0, "node-1")
    left = block("left", str(root["id"]), 1, "node-1")
    right = block("right", str(root["id"]), 1, "node-2", best=False)
    return {
        "about": about("gossip"),
        "nodes": {
            "node-1": node("node-1", "gossip", tip=left["id"], height=1, mined=2, kept=2, share=1),
            "node-2": node("node-2", "gossip", tip=right["id"], height=1, mined=1),
        },
        "blocks": {str(row["id"]): row for row in (root, left, right)},
    }


def _at(page: Page, row: Row) -> Locator:
    """The block's drawing, by the digits under it."""
    return page.locator(".block", has_text=str(row["id"]).lstrip("0")[:6])


def _level(drawn: Locator) -> float:
    return float(drawn.evaluate("g => g.getBoundingClientRect().top"))


def test_a_fork_and_its_resolution(stage: Stage, visit: Visit) -> None:
    tables = _fork()
    stage.tell(STARTED + 2, tables)
    page = visit(still=True)
    root, left, right = tables["blocks"].values()
    stale = page.locator(".block.stale")
    expect(stale).to_have_count(1)
    assert _level(_at(page, left)) == _level(_at(page, root))
    assert _level(_at(page, right)) > _level(_at(page, root))
    expect(page.locator(".figures")).to_contain_text("1 of 2")
    expect(page.locator(".flag")).to_have_count(2)

    # node-2 finds the next block on its own: the other branch is now the longer one.
    further = block("further", str(right["id"]), 2, "node-2")
    moved = {"tip": further["id"], "height": 2}
    stage.tell(
        STARTED + 3,
        {
            "blocks": {
                str(left["id"]): {**left, "best": False},
                str(right["id"]): {**right, "best": True},
                str(further["id"]): further,
            },
            "nodes": {name: {**row, **moved} for name, row in tables["nodes"].items()},
            "reorgs": {
                "1": {
                    "at": STARTED + 3,
                    "node": "node-1",
                    "left": 1,
                    "joined": 2,
                    "fork_height": 0,
                    "height": 2,
                }
            },
        },
    )
    expect(_at(page, further)).to_have_count(1)
    expect(_at(page, left)).to_have_class("block hue hue-0 stale")
    assert _level(_at(page, right)) == _level(_at(page, root)) == _level(_at(page, further))
    assert _level(_at(page, left)) != _level(_at(page, root))
    expect(page.locator(".figures")).to_contain_text("2 of 2")
    reorg = page.get_by_role("group", name="Reorganisations").locator("tbody tr")
    expect(reorg).to_have_count(1)
    expect(reorg).to_contain_text("node-1")


def test_a_block_moves_to_its_new_lane_and_arrives(stage: Stage, visit: Visit) -> None:
    tables = _fork()
    stage.tell(STARTED + 2, tables)
    page = visit()
    root, left, right = tables["blocks"].values()
    swapped = {str(left["id"]): {**left, "best": False}, str(right["id"]): {**right, "best": True}}
    stage.tell(STARTED + 3, {"blocks": swapped})
    line = _at(page, root).get_attribute("transform")
    assert line is not None
    height = line.split()[1]
    page.wait_for_function(
        "([digits, height]) => [...document.querySelectorAll('.block')].some(block =>"
        " block.textContent.includes(digits) && block.getAttribute('transform').endsWith(height))",
        arg=[str(right["id"]).lstrip("0")[:6], height],
    )


def test_the_tree_is_read_by_keyboard(stage: Stage, visit: Visit) -> None:
    tables = _fork()
    stage.tell(STARTED + 2, tables)
    page = visit()
    _, left, right = tables["blocks"].values()
    page.get_by_role("group", name="Block tree").focus()
    detail = page.locator(".detail")
    page.keyboard.press("ArrowRight")
    expect(detail).to_contain_text(f"Height 1, on the best chain: {left['id']}, mined by node-1")
    page.keyboard.press("ArrowDown")
    expect(detail).to_contain_text(f"Height 1, stale: {right['id']}, mined by node-2")
    page.keyboard.press("ArrowLeft")
    expect(detail).to_contain_text("Height 0, on the best chain")
    page.keyboard.press("Escape")
    expect(detail).to_contain_text("arrow keys")


def test_a_long_chain_is_drawn_in_part_and_can_be_walked(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, chain(nodes=200, blocks=1000))
    page = visit(still=True)
    blocks = page.locator(".block")
    assert blocks.count() < 60
    expect(page.locator(".heights text").last).to_have_text("998")
    expect(page.locator(".flag")).to_have_count(2)  # one a block, for two hundred nodes
    page.get_by_role("group", name="Block tree").focus()
    page.keyboard.press("Home")
    expect(page.locator(".heights text").first).to_have_text("0")
    follow = page.get_by_role("button", name="Follow the tip")
    expect(follow).to_have_attribute("aria-pressed", "false")
    follow.click()
    expect(page.locator(".heights text").last).to_have_text("998")


def test_the_tree_is_a_table_too(stage: Stage, visit: Visit) -> None:
    tables = _fork()
    stage.tell(STARTED, tables)
    page = visit()
    page.get_by_text("The newest blocks as a table").click()
    rows = page.get_by_role("group", name="The newest blocks").locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="stale")).to_have_count(1)
    expect(rows.filter(has_text="stale")).to_contain_text("node-2")


def test_shares_have_their_error_bars_and_what_was_expected(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, chain())
    page = visit()
    row = page.get_by_role("group", name="Blocks by miner").locator("tr", has_text="node-2")
    expect(row).to_contain_text("15.0 %")
    expect(row).to_contain_text("20.0 %")
    box = "one => { const { x, width } = one.getBBox(); return [x, x + width]; }"
    low, high = row.locator(".error").evaluate(box)
    dot, expected = (row.locator(part).evaluate(box)[0] for part in ("circle", ".expected"))
    assert low < dot < expected < high


def test_the_tree_is_moved_by_hand(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, chain(blocks=200))
    page = visit(still=True)
    last = page.locator(".heights text").last
    expect(last).to_have_text("198")
    box = page.get_by_role("group", name="Block tree").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 700, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.get_by_role("button", name="Follow the tip")).to_have_attribute(
        "aria-pressed", "false"
    )
    expect(last).not_to_have_text("198")
    page.mouse.wheel(10_000, 0)
    expect(last).to_have_text("198")


def test_tiles_count_blocks_whose_rows_have_gone(stage: Stage, visit: Visit) -> None:
    totals = {"totals": {"blocks": 4000, "stale": 100}}
    stage.tell(STARTED + 40, {**chain(), "block_totals": totals})
    page = visit()
    for text in ("4,000 blocks", "2.5 %", "100 of 4,000"):
        expect(page.get_by_text(text, exact=True)).to_be_visible()


def test_the_first_block_that_travels_is_no_statistic(stage: Stage, visit: Visit) -> None:
    first = block("first", "", 0, "node-1")
    stage.tell(STARTED + 40, {**chain(), "blocks": {str(first["id"]): first}})
    caption = visit().locator(".caption", has_text="nine tenths after")
    expect(caption).to_contain_text("The first block that travelled: half of the nodes had it")
