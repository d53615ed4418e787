"""A browser, where there is one, and a page that is held to what every page must keep.

Each visit ends with the question whether anything was written to the console or asked of another
host. The browser lives as long as a module: its driver keeps an event loop in this thread, and
other tests begin their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.browser.stage import Stage, on_stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
WAIT_MS = 30_000  # a busy machine may take as long as it needs


class _NoPlaywright(pytest.Module):
    """A module that is not even read."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip("playwright is not installed", allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    if find_spec("playwright") is not None:
        return None
    module: pytest.Module = _NoPlaywright.from_parent(parent, path=module_path)
    return module


class Visit(Protocol):
    """Open the page in a browser that is set up in this way."""

    def __call__(
        self,
        scheme: str = "light",
        width: int = 1400,
        *,
        bypass_csp: bool = False,
        still: bool = False,
    ) -> Page: ...


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with on_stage() as stage:
        yield stage


@pytest.fixture
def complaints() -> list[str]:
    """What the console said. A test that provokes something takes it out."""
    return []


@pytest.fixture
def visit(chromium: Browser, stage: Stage, complaints: list[str]) -> Iterator[Visit]:
    contexts = []
    requests: list[str] = []

    def open_page(
        scheme: str = "light", width: int = 1400, *, bypass_csp: bool = False, still: bool = False
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce" if still else "no-preference",
            bypass_csp=bypass_csp,
            timezone_id="UTC",
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(stage.url)
        page.locator("#connection", has_text="Connected").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(stage.url)] == []
