"""What all tests share: a cache of their own, so that none reads or writes the user's."""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# Nothing here is an assertion about time: a busy machine may take as long as it needs.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So a shell begins what it runs in the background, and what the tests begin would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW = ("processes", "browser", "engines")
"""Folders whose tests wait for real processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, they begin with the slow ones."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path.parent.name not in SLOW)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the whole run: all its processes compile a layout once."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    patch = pytest.MonkeyPatch()
    patch.setenv("NONSUCH_CACHE", str(shared / "nonsuch-cache"))
    yield
    patch.undo()
