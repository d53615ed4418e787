"""What reaches a terminal of what strangers say: their words, and nothing that moves the cursor."""

from __future__ import annotations

import io
import random

import pytest
from rich.console import Console

from nonsuch.cli import submit, terminal
from nonsuch.cli.access import Place
from nonsuch.cli.commands import _complain
from nonsuch.cli.inputs import read_question
from nonsuch.cli.logs import fact_logger
from nonsuch.networks.pool.client import Client
from nonsuch.networks.pool.facts import MinerJoined, PoolReached, Progressed
from nonsuch.networks.pool.messages import Hello, Watch

HOSTILE = "\x1bc\x1b]0;title\x07\x9b2J\u202e[/red]\r"
HARMLESS = "·c·]0;title··2J·[/red]·"
PLACE = Place("127.0.0.1", 7000)


def test_a_log_for_people_shows_a_miner_s_name_and_obeys_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fact_logger(json=False)(MinerJoined(HOSTILE, "127.0.0.1:1", "nonsuch", 1))
    shown = capsys.readouterr().err
    assert HARMLESS in shown
    assert shown.rstrip("\n").isprintable()


def test_the_live_line_shows_any_job_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(terminal, "errors", console)
    with terminal.live_line() as show:
        show(HOSTILE)
    assert HARMLESS in drawn.getvalue()


def test_a_complaint_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _complain(f"the pool refused: {HOSTILE}\nand more") == 2
    shown = capsys.readouterr().err
    assert HARMLESS.removesuffix("·") in shown
    assert shown.rstrip("\n").isprintable()


def test_who_stops_waiting_is_told_what_became_of_the_job() -> None:
    wish = submit._submit(read_question(b"hello", "plain", None, None, "9"))
    asked = submit.Asked(Client(Hello("client"), Watch("a"), random.Random(1)), PLACE)

    def last_word() -> str:
        return submit._left_behind(asked, wish, PLACE, liteminer=False)

    assert "no pool was reached at 127.0.0.1:7000, and nothing was submitted" in last_word()
    asked(PoolReached("127.0.0.1:7000", 1))
    assert "has not answered" in last_word()
    asked(Progressed(wish.job, 0, 10, 0.0, 0, None))
    assert f"job {wish.job} goes on; come back: nonsuch status" in last_word()
