"""A pool runs on uvloop where that is installed, and on Python's event loop: so do these tests."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}

try:
    import uvloop
except ImportError:
    BOTH = LOOPS
else:
    BOTH = LOOPS | {"uvloop": uvloop.new_event_loop}

ON_BOTH = {"test_driver"}
"""What a pool is made of."""


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that a test runs on, one after the other."""
    return BOTH if item.path.stem in ON_BOTH else LOOPS
