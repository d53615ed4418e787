"""`nonsuch info` and `nonsuch bench`: facts about a machine, whichever it is."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import msgspec

import nonsuch

if TYPE_CHECKING:
    from tests.cli.conftest import Run

PRESETS_MEASURED = ["plain", "liteminer", "race", "gossip", "coordinator", "bitcoin"]


class Info(msgspec.Struct, forbid_unknown_fields=True):
    """What `info --json` promises."""

    nonsuch: str
    python: str
    system: str
    architecture: str
    threads: int
    cache: str | None
    processor: str | None
    compiler: str | None
    features: list[str]
    kernels: dict[str, str]
    rates: dict[str, dict[str, float]]
    fallback: str | None


def read_info(output: str) -> Info:
    return msgspec.json.decode(output, type=Info)


def test_info_names_the_fastest_back_end_or_says_why_there_is_none(run: Run) -> None:
    info = read_info(run("info", "--json").output)
    assert (info.nonsuch, info.python) == (nonsuch.__version__, platform.python_version())
    assert info.threads >= 1
    assert info.fallback or set(info.kernels) == {"sha256", "sha256d"}
    for kind, name in info.kernels.items():
        assert info.rates[kind][name] == max(info.rates[kind].values()) > 0


def test_info_for_people_begins_with_the_version(run: Run) -> None:
    answer = run("info")
    assert answer.facts["nonsuch"].startswith(f"{nonsuch.__version__}, Python ")
    assert {"processor", "kernel"} <= set(answer.facts)
    assert (answer.code, answer.errors) == (0, "")


def test_the_environment_can_forbid_the_kernel(run: Run) -> None:
    info = read_info(run("info", "--json", NONSUCH_CPU_FEATURES="none").output)
    assert info.fallback
    assert (info.kernels, info.rates) == ({}, {})
    assert "hashlib instead" in run("info", NONSUCH_CPU_FEATURES="none").output


def test_the_environment_can_turn_the_cache_off(run: Run) -> None:
    answer = run("info", "--json", NONSUCH_CACHE="off", NONSUCH_CPU_FEATURES="none")
    assert read_info(answer.output).cache is None


def test_bench_measures_one_preset(run: Run) -> None:
    answer = run("bench", "--preset", "race", "--seconds", "0.01", "--rounds", "1", "--json")
    measured = msgspec.json.decode(answer.output, type=dict[str, dict[str, object]])
    assert list(measured) == ["race"]
    assert {"search", "hashlib", "midstate"} <= set(measured["race"])
    assert (answer.code, answer.errors) == (0, "")


def test_bench_measures_every_preset_and_prints_a_table(run: Run) -> None:
    answer = run("bench", "--seconds", "0.001", "--rounds", "1")
    heading, *rows = answer.output.splitlines()
    assert heading.split()[:3] == ["preset", "search", "hashlib"]
    assert [row.split()[0] for row in rows] == PRESETS_MEASURED
    assert all("H/s" in row for row in rows)


def test_the_version_and_the_help_are_on_standard_output(run: Run) -> None:
    assert run("--version").output == f"nonsuch {nonsuch.__version__}\n"
    nothing = run()
    assert nothing.output == run("--help").output == run("-h").output
    assert (nothing.code, nothing.errors) == (0, "")


def test_help_fits_eighty_columns_and_names_every_preset(run: Run) -> None:
    for command in ("solve", "verify", "bench", "info"):
        lines = run(command, "--help", COLUMNS="80").output.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[0].startswith(f"Usage: nonsuch {command} [OPTIONS]")
    text = run("solve", "--help", COLUMNS="80").output
    assert all(f"    {name} " in text for name in nonsuch.PRESETS)
