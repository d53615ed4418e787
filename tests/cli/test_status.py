"""What `nonsuch status` shows of a pool and its miners."""

from __future__ import annotations

import random

import msgspec
import pytest

from nonsuch import LocalError
from nonsuch.cli import status
from nonsuch.cli.access import Place
from nonsuch.networks.pool.messages import Capacity, Hello
from nonsuch.networks.pool.pool import Pool
from nonsuch.networks.pool.settings import PoolSettings
from nonsuch.networks.pool.statistics import PoolStatistics
from nonsuch.node import Connected, Received, Started

PLACE = Place("127.0.0.1", 7000)


def shown(capsys: pytest.CaptureFixture[str], *capacities: Capacity) -> str:
    pool = Pool(PoolSettings(), random.Random(1))
    pool.handle(Started(), 0.0)
    for number, capacity in enumerate(capacities, 1):
        pool.handle(Connected(number, f"127.0.0.1:{number}", "nonsuch"), 0.0)
        pool.handle(Received(number, Hello("miner", name=f"m{number}")), 0.0)
        pool.handle(Received(number, capacity), 0.0)
    status._print_pool(PLACE, pool.statistics(1.0))
    return capsys.readouterr().out


def test_miners_of_one_slot_are_shown_without_a_word_of_slots(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, Capacity(1), Capacity(1))
    assert "miners   2, 2 idle" in text
    assert "slots" not in text


def test_slots_and_workers_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, Capacity(8, 4), Capacity(1))
    assert "slots    9 on 4 workers" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["m1", "8", "on", "4", "workers"] in [row[:5] for row in rows]
    assert ["m2", "1"] in [row[:2] for row in rows]


def test_a_miner_may_have_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    pool = Pool(PoolSettings(), random.Random(1))
    pool.handle(Connected(1, "127.0.0.1:1", "nonsuch"), 0.0)
    pool.handle(Received(1, Hello("miner", name="[/red][bold]")), 0.0)
    status._print_pool(PLACE, pool.statistics(1.0))
    assert "[/red][bold]" in capsys.readouterr().out


def test_what_a_miner_calls_itself_cannot_move_the_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool = Pool(PoolSettings(), random.Random(1))
    pool.handle(Connected(1, "127.0.0.1:1", "nonsuch"), 0.0)
    pool.handle(Received(1, Hello("miner", name="\x1bcRE\x9bSET\u202e")), 0.0)
    now = pool.statistics(1.0)
    status._print_pool(PLACE, now)
    assert "·cRE·SET·" in capsys.readouterr().out
    json = status._in_ascii(msgspec.json.encode(now).decode())
    assert json.isascii()
    assert json.isprintable()
    assert msgspec.json.decode(json, type=PoolStatistics) == now


@pytest.mark.parametrize(
    "junk", [b"junk", b'{"name":"x"}', b"\xff\xfe", b'{"name":"\xff"}', b'{"z":' * 5000]
)
def test_a_report_that_is_none_is_an_error_that_says_so(junk: bytes) -> None:
    with pytest.raises(LocalError, match="reports what this version cannot read"):
        status._read(junk, PLACE)


def test_a_pool_that_is_older_knows_no_slots(capsys: pytest.CaptureFixture[str]) -> None:
    pool = Pool(PoolSettings(), random.Random(1))
    report = msgspec.json.decode(msgspec.json.encode(pool.statistics(1.0)), type=dict[str, object])
    del report["slots"], report["workers"]
    status._print_pool(PLACE, status._read(msgspec.json.encode(report), PLACE))
    assert "slots" not in capsys.readouterr().out
