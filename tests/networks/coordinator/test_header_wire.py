"""Bare headers, cut anywhere: what comes out is what went in, and any bytes are headers."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzz.coordinator import fuzz_one, inputs
from nonsuch.networks.coordinator.header import HEADER_BYTES, Header
from nonsuch.networks.coordinator.messages import Half
from nonsuch.networks.coordinator.wire import HeaderWire
from nonsuch.node import Clock

REPOSITORY = Path(__file__).parents[3]

headers = st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES).map(Header)


@given(st.lists(headers, max_size=4), st.binary(max_size=107), st.lists(st.integers(0, 540)))
def test_however_a_stream_is_cut_the_same_headers_come(
    said: list[Header], rest: bytes, cuts: list[int]
) -> None:
    stream = b"".join(map(HeaderWire().encode, said)) + rest
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    wire = HeaderWire()
    heard: list[object] = []
    for start, stop in pairwise(bounds):
        heard += wire.feed(stream[start:stop])
    assert [each for each in heard if each != Half()] == said
    assert (heard[-1:] == [Half()]) == bool(rest), "what has begun is told, and what has ended"


def test_a_header_that_has_begun_is_told_of_once() -> None:
    header = Header(bytes(range(HEADER_BYTES)))
    wire = HeaderWire()
    assert wire.feed(header.data[:1]) == [Half()]
    assert wire.feed(b"") == []
    assert wire.feed(header.data[1:107]) == []
    assert wire.feed(header.data[107:] + header.data[:5]) == [header, Half()]
    assert wire.feed(header.data[5:]) == [header]
    assert wire.feed(b"") == []


def test_nothing_but_headers_is_ever_said() -> None:
    assert HeaderWire().encode(Half()) == HeaderWire().encode(Clock(0.0)) == b""


@given(st.binary(max_size=400))
def test_any_bytes_do_no_harm(data: bytes) -> None:
    fuzz_one(data)


def test_mutated_answers() -> None:
    for data in islice(inputs(seed=20), 500):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.coordinator", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")
