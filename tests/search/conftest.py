"""The feature levels that this machine can run, each of which the search must be exact on."""

import pytest

from nonsuch.errors import KernelUnavailable
from nonsuch.search import backends


def _levels() -> list[str]:
    try:
        return [*backends.feature_groups(), backends.NO_FEATURES]
    except KernelUnavailable:
        return [backends.NO_FEATURES]


LEVELS = _levels()


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each level in turn, and no other features than its own."""
    name = str(request.param)
    monkeypatch.setenv(backends.FEATURES_VARIABLE, name)
    return name


@pytest.fixture(params=[name for name in LEVELS if name != backends.NO_FEATURES])
def kernel_level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The levels that have a kernel: none, and the test is skipped, where there is no llvmlite."""
    name = str(request.param)
    monkeypatch.setenv(backends.FEATURES_VARIABLE, name)
    return name
