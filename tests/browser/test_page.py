"""What all pages share: the stream and its loss, the themes, the keyboard, errors, a replay."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.pictures import STARTED, about, chain, coordinator, node, pool, race, told
from tests.browser.stage import Row, Stage


def _ground(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


def _told(page: Page) -> list[str]:
    return page.locator(".told .text").all_inner_texts()


def _new() -> dict[str, Row]:
    at = STARTED + 60
    return {"9": {"at": at, "node": "", "text": "New.", "kind": "info", "until": at}}


# The stream.


def test_a_page_without_a_picture_waits(stage: Stage, visit: Visit) -> None:
    page = visit()
    expect(page.get_by_text("Waiting for the first picture")).to_be_visible()
    stage.tell(STARTED, race())
    expect(page.get_by_role("heading", name="A race of the tests")).to_be_visible()


def test_a_lost_connection_is_said_and_comes_back(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    stage.hang_up()
    notice = page.get_by_text("The connection is lost.")
    expect(notice).to_be_visible()
    stage.tell(STARTED + 60, {"told": told((60, "", "While nobody looked.", "info"))})
    stage.come_back()
    expect(notice).to_be_hidden()
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator(".told")).to_contain_text("While nobody looked.")


def test_after_a_missing_message_the_picture_is_asked_for_anew(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    stage.skip()
    stage.tell(STARTED + 1, {"told": _new()})
    expect(page.locator(".told")).to_contain_text("New.")
    assert stage.paths.count("/api/stream") == 2


def test_another_network_takes_the_place_of_the_first(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    expect(page.get_by_role("heading", name="Audits")).to_be_visible()
    stage.seek(STARTED, chain())
    expect(page.get_by_role("heading", name="Block tree")).to_be_visible()
    expect(page.get_by_role("heading", name="Audits")).to_have_count(0)


HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_a_hidden_page_hears_nothing_and_catches_up(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    expect(page.locator(".told li")).to_have_count(4)
    page.evaluate(HIDE, True)
    # Another stream of the same page hears it; by then there was time for two frames.
    page.evaluate("""() => {
        window.heard = new Promise(done => {
            new EventSource('/api/stream').onmessage = event => event.data.includes('New.')
                && requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
        });
    }""")
    stage.tell(STARTED + 1, {"told": _new()})
    page.evaluate("window.heard")
    assert "New." not in _told(page)
    streams = stage.paths.count("/api/stream")
    page.evaluate(HIDE, False)
    expect(page.locator(".told")).to_contain_text("New.")
    expect(page.locator("#connection")).to_have_text("Connected")
    assert stage.paths.count("/api/stream") == streams + 1


def test_a_hidden_page_does_not_try_to_come_back(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool())
    page = visit()
    stage.hang_up()
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    page.evaluate(HIDE, True)
    stage.come_back()
    page.evaluate("fetch('/api/picture', { method: 'HEAD' })")
    streams = stage.paths.count("/api/stream")
    page.evaluate(HIDE, False)
    expect(page.get_by_text("The connection is lost.")).to_be_hidden()
    assert stage.paths.count("/api/stream") == streams + 1


def test_a_seventh_tab_is_served_while_the_others_are_hidden(stage: Stage, visit: Visit) -> None:
    """A browser has six connections to a host, and each stream holds one."""
    stage.tell(STARTED, pool())
    first = visit()
    tabs = [first]
    for _ in range(6):
        tabs[-1].evaluate(HIDE, True)
        tabs.append(first.context.new_page())
        tabs[-1].goto(stage.url)
        expect(tabs[-1].locator("#connection")).to_have_text("Connected")
        expect(tabs[-1].locator(".told li")).to_have_count(4)
    tabs[-1].evaluate(HIDE, True)
    first.evaluate(HIDE, False)
    stage.tell(STARTED + 1, {"told": _new()})
    expect(first.locator(".told")).to_contain_text("New.")


def test_what_strangers_wrote_is_text(stage: Stage, visit: Visit) -> None:
    tables = pool()
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    tables["jobs"]["a"] = {**tables["jobs"]["a"], "message": evil}
    tables["nodes"][evil] = node(evil, "miner", note=evil)
    stage.tell(STARTED, tables)
    page = visit()
    expect(page.locator(".message")).to_have_text(f"“{evil}”")
    expect(page.locator(".nodes")).to_contain_text(evil)
    assert page.locator("#view img, .nodes img").count() == 0


# Light and dark.


def test_the_theme_is_the_systems_until_it_is_chosen_and_then_remembered(
    stage: Stage, visit: Visit
) -> None:
    stage.tell(STARTED, pool())
    page = visit("dark")
    dark = _ground(page)
    page.emulate_media(color_scheme="light")
    light = _ground(page)
    assert dark != light
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    assert _ground(page) == dark
    page.reload()
    expect(button).to_have_text("Theme: dark")
    assert _ground(page) == dark


def test_the_first_line_is_one_line_however_long_the_title(stage: Stage, visit: Visit) -> None:
    title = "A simulated network among peers: 1000 peers, seed 4103966852"
    stage.tell(STARTED, chain(watched={"title": title, "virtual": True}))
    page = visit(width=900)
    top = page.locator("header.top")
    assert top.evaluate("top => top.getBoundingClientRect().height") < 70
    assert top.evaluate("top => top.scrollWidth <= top.clientWidth")
    expect(page.get_by_role("button", name="Theme")).to_be_visible()


# Control.


def test_without_control_nothing_can_be_pressed(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool() | {"about": about("pool", control=False)})
    page = visit()
    expect(page.locator(".nodes li")).to_have_count(5)
    expect(page.get_by_role("region", name="Controls")).to_be_hidden()
    expect(page.get_by_role("form", name="Submit a job")).to_be_hidden()
    expect(page.get_by_role("button", name="Actions for miner-1")).to_have_count(0)


def test_a_refused_action_is_a_sentence(stage: Stage, visit: Visit, complaints: list[str]) -> None:
    stage.tell(STARTED, pool())
    stage.answer = (HTTPStatus.CONFLICT, {"text": "There are 64 miners already: kill one first."})
    page = visit()
    page.get_by_role("button", name="Add a miner").click()
    error = page.get_by_role("alert").get_by_text("There are 64 miners already: kill one first.")
    expect(error).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(error).to_be_hidden()
    # The browser itself notes every answer of 400 and more.
    assert [line for line in complaints if "409" not in line] == []
    complaints.clear()


def test_the_main_controls_by_keyboard_alone(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, chain())
    page = visit()
    expect(page.locator(".nodes li")).to_have_count(5)

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            label = focused.get_attribute("aria-label") or focused.inner_text()
            assert focused.evaluate("one => getComputedStyle(one).outlineStyle") != "none"
            if name in (label or focused.evaluate("one => one.labels?.[0]?.textContent ?? ''")):
                return
        pytest.fail(f"{name} cannot be reached")

    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the network")
    tab_to("Add a miner")
    page.keyboard.press("Enter")
    assert stage.asked.get(timeout=10) == ("/api/nodes", {"role": "gossip"})
    tab_to("Heal all")
    page.keyboard.press("Space")
    assert stage.asked.get(timeout=10) == ("/api/heal", {})
    tab_to("Datagrams lost")
    page.keyboard.press("ArrowRight")
    assert stage.asked.get(timeout=10) == ("/api/loss", {"share": 0.01})
    tab_to("Record")
    page.keyboard.press("Enter")
    assert stage.asked.get(timeout=10) == ("/api/recording", {"on": True})
    tab_to("Actions for node-2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Freeze")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Kill")).to_be_focused()
    page.keyboard.press("Enter")
    assert stage.asked.get(timeout=10) == ("/api/nodes/node-2/kill", {})
    expect(page.get_by_role("button", name="Actions for node-2")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.get_by_role("button", name="Actions for node-2")).to_be_focused()


def test_a_menu_has_what_fits_the_nodes_state(stage: Stage, visit: Visit) -> None:
    tables = pool()
    stage.tell(STARTED, tables)
    page = visit()
    page.get_by_role("button", name="Actions for miner-4").click()
    assert page.get_by_role("menuitem").all_inner_texts() == ["Restart"]
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Actions for miner-1").click()
    items = page.get_by_role("menuitem").all_inner_texts()
    assert items == ["Freeze", "Cut from the network", "Make it lie", "Restart", "Kill"]


def test_a_recording_can_be_fetched(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, pool() | {"about": about("pool", recording=True)})
    page = visit()
    expect(page.locator("#mode")).to_have_text("Live, recording")
    link = page.get_by_role("link", name="Download the recording")
    expect(link).to_have_attribute("href", "/api/recording")


def test_a_rate_that_nobody_measured_is_about(stage: Stage, visit: Visit) -> None:
    rows = {
        "a": node("a", "gossip", rate=2.5e6, measured=False),
        "b": node("b", "gossip", rate=2.5e6),
        "c": node("c", "gossip", rate=2.5e6, measured=False, state="dead"),
        "d": node("d", "gossip", rate=0.0, measured=False),
    }
    stage.tell(STARTED, {"about": about("gossip"), "nodes": rows})
    page = visit()
    expect(page.locator(".nodes li")).to_have_count(4)
    rates = page.locator(".nodes .rate").all_inner_texts()
    assert rates == ["about 2.50 MH/s", "2.50 MH/s", "", ""]


def test_a_node_that_is_dead_and_cut_off_is_both(stage: Stage, visit: Visit) -> None:
    rows = {"a": node("a", "gossip", state="dead", cut=True)}
    stage.tell(STARTED, {"about": about("gossip"), "nodes": rows})
    page = visit()
    expect(page.locator(".nodes .state")).to_have_text("✕ dead, cut")
    page.get_by_role("button", name="Actions for a").click()
    expect(page.get_by_role("menuitem")).to_have_text(["Mend its links", "Restart"])


def test_what_goes_on_moves_up(stage: Stage, visit: Visit) -> None:
    sentences = told((1, "a", "a lost b.", "bad"), (2, "", "Something else.", "info"))
    stage.tell(STARTED + 2, pool() | {"told": sentences})
    page = visit()
    expect(page.locator(".told .text")).to_have_text(["Something else.", "a lost b."])
    more = {**sentences["1"], "text": "12 nodes lost b.", "until": STARTED + 3}
    stage.tell(STARTED + 3, {"told": {"1": more}})
    expect(page.locator(".told .text")).to_have_text(["12 nodes lost b.", "Something else."])
    expect(page.locator(".told time").first).to_have_text("14:13:23")


def test_what_is_lost_is_what_the_slider_says(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, chain(watched={"loss": 0.3}))
    page = visit()
    slider = page.get_by_role("slider", name="Datagrams lost")
    expect(slider).to_have_value("30")
    stage.tell(STARTED + 1, {"about": about("gossip", loss=0.0)})
    expect(slider).to_have_value("0")


def test_many_nodes_can_be_searched(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, chain(nodes=200))
    page = visit()
    page.get_by_role("searchbox", name="Find a node").fill("node-19")
    expect(page.locator(".nodes li")).to_have_count(11)


def test_only_a_few_events_a_second_are_spoken(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED, coordinator())
    page = visit()
    page.evaluate("""() => {
        window.spoken = 0;
        new MutationObserver(() => window.spoken += 1)
            .observe(document.querySelector('#spoken'), { childList: true, characterData: true });
    }""")
    for number in range(40):
        at = STARTED + 100 + number
        row = {"at": at, "node": "", "text": f"Event {number}.", "kind": "info", "until": at}
        stage.tell(at, {"told": {str(100 + number): row}})
    expect(page.get_by_role("log")).to_contain_text("Event 39.")
    expect(page.locator(".told li").first).to_contain_text("Event 39.")
    assert page.evaluate("window.spoken") <= 4


# A replay.


def test_the_slider_of_a_replay(stage: Stage, visit: Visit) -> None:
    replayed = {"control": False, "replay": True, "begin": STARTED, "end": STARTED + 90}
    stage.tell(STARTED + 30, chain(watched={**replayed, "paused": True}))
    page = visit()
    expect(page.locator("#mode")).to_have_text("Replay, paused")
    slider = page.get_by_role("slider", name="Time of the recording")
    expect(slider).to_have_attribute("aria-valuetext", "0:30 of 1:30")
    slider.fill("45")
    assert stage.asked.get(timeout=10) == ("/api/replay", {"at": STARTED + 45})
    expect(page.locator(".clock")).to_have_text("0:45 of 1:30")
    stage.seek(STARTED + 45, chain(blocks=20, watched={**replayed, "paused": True}))
    expect(page.locator(".heights text").last).to_have_text("18")
    page.get_by_role("button", name="Play").click()
    assert stage.asked.get(timeout=10) == ("/api/replay", {"paused": False})
    page.get_by_label("Speed").select_option("×10")
    assert stage.asked.get(timeout=10) == ("/api/replay", {"speed": 10})
    expect(page.get_by_role("region", name="Controls")).to_be_hidden()


def test_the_clock_of_a_replay_goes_on_while_nothing_is_told(stage: Stage, visit: Visit) -> None:
    replayed = {"replay": True, "begin": STARTED, "end": STARTED + 90, "speed": 50}
    stage.tell(STARTED, chain(watched=replayed))
    page = visit()
    expect(page.locator(".clock")).to_have_text("1:30 of 1:30")


def test_a_simulation_counts_from_its_beginning(stage: Stage, visit: Visit) -> None:
    stage.tell(STARTED + 40, chain(watched={"virtual": True, "speed": 60}))
    page = visit()
    expect(page.locator("#mode")).to_have_text("Simulated ×60")
    expect(page.locator(".told time").first).to_have_text("0:20")
