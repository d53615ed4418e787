"""What processes write and cores emit becomes the same observations."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.cli.logs import fact_logger
from nonsuch.networks.pool import facts
from nonsuch.web.observations import (
    FACT_CHARACTERS_MAX,
    LINE,
    TEXT_CHARACTERS_MAX,
    Observation,
    event_name,
    observed_fact,
    observed_line,
)

FACT = facts.Worked("job", 0, 1000, 0.123456)


def test_a_fact_that_was_logged_is_the_fact_that_was_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fact_logger(json=True)(FACT)
    line = capsys.readouterr().out
    read, told = observed_line(line, "miner-1", 0.0), observed_fact(FACT, "miner-1", 5.0)
    assert (read.node, read.fact, read.values) == (told.node, told.fact, told.values)
    # It says when it was written, to the microsecond.
    assert read.at > 1_700_000_000
    assert read.at != int(read.at)


def test_a_time_is_read_in_seconds() -> None:
    line = '{"event": "x", "timestamp": "1970-01-02T00:00:01.250000Z"}'
    assert observed_line(line, "a", 0.0) == Observation(86_401.25, "a", "x", {})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(facts.MinerJoined, "miner joined"), (facts.Worked, "worked"), (facts.Restored, "restored")],
)
def test_a_kind_of_fact_has_a_name_in_words(kind: type, name: str) -> None:
    assert event_name(kind) == name


@pytest.mark.parametrize(
    "line",
    [
        "Node1 started on port 5000",
        "",
        "{",
        "{}",
        "[]",
        '{"event": "x"}',
        '{"event": 7, "timestamp": "2026-01-01T00:00:00Z"}',
        '{"event": "x", "timestamp": "tomorrow"}',
        "{" * 100_000,
        '{"a":' * 100_000,
        '{"event": "x", "timestamp": "2026-01-01T00:00:00Z", '
        + ", ".join(f'"{number}": 0' for number in range(65))
        + "}",
        "{" + " " * FACT_CHARACTERS_MAX + "}",
    ],
)
def test_any_other_line_is_its_text(line: str) -> None:
    observed = observed_line(line, "a", 7.0)
    assert observed == Observation(7.0, "a", LINE, {"text": line[:TEXT_CHARACTERS_MAX]})


@given(st.text() | st.dictionaries(st.text(), st.text()).map(json.dumps))
def test_no_line_is_an_error(line: str) -> None:
    assert observed_line(line, "a", 7.0).node == "a"


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers(-9, 9) | st.text(max_size=5)))
def test_an_observation_is_written_and_read(values: dict[str, object]) -> None:
    observation = Observation(1.5, "a", "x", values)
    assert msgspec.json.decode(msgspec.json.encode(observation), type=Observation) == observation
