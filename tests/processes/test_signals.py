"""How commands end that a signal stops: 0 where that is their end, and else 128 and its number."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes.conftest import Network

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("command", "begun"),
    [
        (("pool", "--port", "0", "--journal", "off"), "listening"),
        (("pool", "--port", "0", "--upstream", "127.0.0.1:1"), "listening"),
        (("miner", "127.0.0.1:1", "--threads", "1"), "connection lost"),
        (("coordinator", "--port", "0", "--journal", "off"), "listening"),
        (("agent", "127.0.0.1:1", "--threads", "1"), "coordinator lost"),
        (("race", "keeper", "--port", "0"), "listening"),
    ],
)
def test_what_runs_until_it_is_stopped_has_done_all_it_should(
    network: Network,
    command: tuple[str, ...],
    begun: str,
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # A keeper keeps its ledger here.
    process = network.start(*command, "--json")
    process.wait_for(begun)
    process.signal(number)
    assert process.wait() == 0
    assert process.facts[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_client_that_is_stopped_has_not(network: Network, number: signal.Signals) -> None:
    pool = network.pool()
    client = network.submit("endless", 2**63)
    pool.wait_for("job accepted")
    client.signal(number)
    assert client.wait() == 128 + number
