"""One block, one datagram: vectors, other programs' habits, and garbage."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.gossip import fuzz_one, inputs
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.gossip.messages import (
    DATA_BYTES_MAX,
    ROOT,
    Announcement,
    Block,
    decode_record,
    encode_record,
)
from nonsuch.networks.gossip.wire import DATAGRAM_BYTES_MAX, GossipWire
from nonsuch.work.target import Target

REPOSITORY = Path(__file__).parents[3]
VECTORS = json.loads((REPOSITORY / "tests" / "data" / "gossip.json").read_text())

announcements = st.builds(
    Announcement,
    st.binary(max_size=DATA_BYTES_MAX),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=8, max_size=8),
)


def form(**changes: object) -> bytes:
    fields = {"data": "", "previous": "00" * 32, "p_o_w": "00" * 8}
    return json.dumps({**fields, **changes}).encode()


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["p_o_w"])
def test_blocks_of_other_programs_have_the_hash_that_they_have_there(
    vector: dict[str, object],
) -> None:
    data = base64.b64encode(str(vector["data"]).encode()).decode()
    datagram = json.dumps({"data": data, "previous": vector["previous"], "p_o_w": vector["p_o_w"]})
    (announcement,) = GossipWire().feed(datagram.encode())
    assert isinstance(announcement, Announcement)
    block = Block.of(announcement, 1)
    assert block.id.hex() == vector["hash"]
    assert Target(2 ** int(str(vector["target_log2"]))).admits(block.rank)
    assert block.parent == ROOT
    # And back: the same bytes that Python's own json would send.
    assert GossipWire().encode(block.announcement) == datagram.encode()


@given(announcements)
def test_every_block_comes_back_as_it_was_sent(announcement: Announcement) -> None:
    datagram = GossipWire().encode(announcement)
    assert GossipWire().feed(datagram) == [announcement]
    assert datagram == json.dumps(json.loads(datagram)).encode(), "keys and separators"
    assert len(datagram) <= 5585 or len(announcement.data) > DATA_BYTES_MAX
    assert Block.of(announcement, 1).datagram_bytes == len(datagram)
    assert decode_record(encode_record(announcement)) == announcement


def test_the_longest_block_has_the_size_that_the_protocol_says() -> None:
    longest = Announcement(bytes(DATA_BYTES_MAX), ROOT, bytes(8))
    assert len(GossipWire().encode(longest)) == 5585


def test_both_names_of_the_parent_are_read() -> None:
    fields = json.loads(form())
    fields["previous_hash"] = fields.pop("previous")
    assert GossipWire().feed(json.dumps(fields).encode()) == GossipWire().feed(form())


def test_white_space_other_orders_and_further_keys_do_not_matter() -> None:
    fields = dict(reversed(json.loads(form()).items()), difficulty=4)
    assert GossipWire().feed(json.dumps(fields, indent=2).encode()) == GossipWire().feed(form())


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'"data"',
        form()[:-1],
        form(previous=None),
        form(previous="00" * 31),
        form(previous="0" * 63),
        form(previous=" " * 2 + "00" * 31),
        form(previous="zz" * 32),
        form(previous="é" * 32),
        form(p_o_w="00" * 7),
        form(p_o_w=0),
        form(data=None),
        form(data="="),
        form(data="AA==AA=="),
        form(data="A A="),
        form(data="ž"),
        form(data=base64.b64encode(bytes(DATA_BYTES_MAX + 1)).decode()),
        b"[" * 4000,
        b'{"a":' * 1000,
        b" " * (DATAGRAM_BYTES_MAX + 1),
    ],
)
def test_what_is_no_block_is_refused_and_nothing_else_happens(datagram: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        GossipWire().feed(datagram)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_a_block_or_a_protocol_error(data: bytes) -> None:
    try:
        (announcement,) = GossipWire().feed(data)
    except RemoteProtocolError:
        return
    assert isinstance(announcement, Announcement)


def test_mutated_datagrams() -> None:
    for data in islice(inputs(seed=20), 3000):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.gossip", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")
