"""The wires of a race: bare text as it comes, and frames that are messages or one error."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.race import fuzz_one, inputs
from nonsuch.errors import RemoteProtocolError
from nonsuch.networks.race.ledger import Entry
from nonsuch.networks.race.messages import (
    ACCEPTED,
    KEY_BYTES,
    NAME_MAX,
    TRANSACTION_BYTES_MAX,
    Claim,
    End,
    Enter,
    Fragment,
    Hello,
    Join,
    Joined,
    Leave,
    Lost,
    Message,
    Refused,
    Replaced,
    Reply,
    Welcome,
    Won,
)
from nonsuch.networks.race.wire import (
    ANSWER_BYTES_MAX,
    QUESTION_BYTES_MAX,
    REPLY_BYTES_MAX,
    ClientWire,
    KeeperWire,
    TextWire,
)

ROOT = Path(__file__).parents[3]

COUNTS = st.integers(0, 2**63 - 1)
NUMBERS = st.integers(1, 2**63 - 1)
GENERATIONS = st.text("0123456789abcdef", max_size=64)
NAMES = st.text(st.characters(codec="utf-8"), max_size=NAME_MAX)
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
ENTRIES = st.builds(Entry, NAMES, NAMES, COUNTS, NAMES, st.floats(0, 1e9), NAMES, NAMES)
MESSAGES = st.one_of(
    st.builds(Hello, NAMES, st.integers(1, 31), NAMES),
    st.builds(Welcome, NAMES),
    st.builds(Refused, NAMES, st.booleans()),
    st.builds(Join, COUNTS),
    st.builds(Enter, COUNTS, GENERATIONS, COUNTS, NUMBERS, NAMES),
    st.builds(Claim, COUNTS, GENERATIONS, COUNTS, NUMBERS, ENTRIES),
    st.just(Leave()),
    st.builds(Joined, COUNTS, GENERATIONS, COUNTS),
    st.builds(Won, COUNTS, GENERATIONS, NUMBERS, KEYS),
    st.builds(Lost, COUNTS, GENERATIONS, NUMBERS, KEYS, NAMES),
    st.builds(Replaced, COUNTS, GENERATIONS),
)


def greeted() -> KeeperWire:
    """A keeper's end of a connection to a node that has said hello."""
    wire = KeeperWire(dialled=False)
    wire.feed(wire.encode(Hello("Node1", 2)))
    return wire


@given(st.lists(MESSAGES, max_size=5), st.data())
def test_what_is_said_is_heard_however_it_is_cut(said: list[Message], data: st.DataObject) -> None:
    sender, receiver = KeeperWire(dialled=True), greeted()
    stream = b"".join(map(sender.encode, said))
    heard: list[object] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        heard += receiver.feed(stream[:size])
        stream = stream[size:]
    assert heard == said


def test_the_longest_transaction_can_be_claimed() -> None:
    text = "x" * TRANSACTION_BYTES_MAX
    entry = Entry("n" * NAME_MAX, text, 2**64 - 1, "f" * 64, 1e-9, "t" * 26, "t" * 26)
    for message in (Claim(1, "f" * 64, 2, 3, entry), Enter(1, "f" * 64, 2, 3, text)):
        data = greeted().encode(message)
        assert len(data) < QUESTION_BYTES_MAX
        assert greeted().feed(data) == [message]


def test_a_stranger_may_say_little_a_node_more_and_a_keeper_little() -> None:
    def announced(length: int) -> bytes:
        return length.to_bytes(4, "big")

    assert greeted().feed(announced(QUESTION_BYTES_MAX)) == []
    for wire in (KeeperWire(dialled=False), KeeperWire(dialled=True)):
        assert wire.feed(announced(ANSWER_BYTES_MAX)) == []
    with pytest.raises(RemoteProtocolError):
        greeted().feed(announced(QUESTION_BYTES_MAX + 1))
    for wire in (KeeperWire(dialled=False), KeeperWire(dialled=True)):
        with pytest.raises(RemoteProtocolError, match=f"where {ANSWER_BYTES_MAX} are allowed"):
            wire.feed(announced(ANSWER_BYTES_MAX + 1))
    hello = KeeperWire(dialled=True)
    hello.feed(hello.encode(Hello("keeper", 2)))
    with pytest.raises(RemoteProtocolError):
        hello.feed(announced(ANSWER_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "message",
    [
        Hello("n", 0),
        Hello("n", 32),
        Hello("n" * (NAME_MAX + 1), 1),
        Enter(0, "", 0, 0, "text"),
        Enter(-1, "", 0, 1, "text"),
        Enter(0, "f" * 65, 0, 1, "text"),
        Won(0, "", 1, bytes(31)),
        Joined(0, "", 2**63),
    ],
)
def test_what_is_out_of_its_bounds_is_no_message(message: Message) -> None:
    with pytest.raises(RemoteProtocolError):
        greeted().feed(greeted().encode(message))


def test_bare_text_is_told_as_it_comes_with_its_end() -> None:
    wire = TextWire()
    assert wire.feed(b"Your trans") == [Fragment(b"Your trans")]
    assert wire.feed(b"\xff\x00") == [Fragment(b"\xff\x00")]
    assert wire.feed(b"") == []
    assert wire.end() == [End()]
    assert wire.encode(Reply(ACCEPTED)) == b"Transaction received. Processing POW..."
    assert wire.encode(End()) == b""


def test_a_client_hears_one_reply() -> None:
    wire = ClientWire()
    assert wire.encode(Fragment(b"text")) == b"text"
    assert wire.encode(End()) == b""
    assert wire.feed(b"Transaction received.") == []
    assert wire.feed(b" Processing POW...") == []
    assert wire.end() == [Reply(ACCEPTED)]
    with pytest.raises(RemoteProtocolError):
        wire.feed(b"x" * (REPLY_BYTES_MAX + 1))
    with pytest.raises(RemoteProtocolError):
        wire.feed(b"x")


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    fuzz_one(data)


def test_mutated_streams() -> None:
    for data in islice(inputs(seed=20), 700):
        fuzz_one(data)


def test_fuzz_target_runs() -> None:
    command = [sys.executable, "-m", "fuzz.race", "--seconds", "0.1", "--seed", "7"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 7: ")
