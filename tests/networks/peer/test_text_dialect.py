"""The dialect of bare text: what can be told apart is, what cannot is decided, and said."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.peer import fuzz_one
from nonsuch.errors import RemoteProtocolError
from nonsuch.live.tcp import Wire
from nonsuch.networks.peer.dialects.messages import (
    ANSWER_BYTES_MAX,
    BLOCKS_MAX,
    NUMBER_MAX,
    REQUEST_BYTES_MAX,
    Answer,
    Block,
    Chain,
    CloseConnection,
    GetChain,
    GetProof,
    Heartbeat,
    HeartbeatAnswer,
    Proof,
    Request,
    Reward,
    Transaction,
    Unacceptable,
    UpdateProof,
    Verdict,
)
from nonsuch.networks.peer.dialects.records import (
    NESTING_MAX,
    VALUES_MAX,
    chain_of_text,
    chain_text,
    plain,
)
from nonsuch.networks.peer.dialects.text import TextClientWire, TextServerWire
from tests.networks.peer.strategies import blocks, contents, numbers, requests, segments

SENDER = "abcd1234"
HELLO, WORLD = Transaction(SENDER, "hello"), Transaction(SENDER, "world")
COFFEE = Transaction(SENDER, "café")
BLOCK = Block(2, "2023-05-01 10:00:05.000000", (HELLO.text,) * 5, 5, "00" * 32, "11" * 32)


def asking(*asked: Request) -> TextClientWire:
    wire = TextClientWire()
    for request in asked:
        wire.encode(request)
    return wire


def said(*messages: Answer) -> bytes:
    return b"".join(map(TextServerWire().encode, messages))


def heard(wire: Wire, pieces: Iterable[str | bytes]) -> list[object]:
    return [
        message
        for piece in pieces
        for message in wire.feed(piece.encode() if isinstance(piece, str) else piece)
    ]


# What other programs send.


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("hb", Heartbeat()),
        ("gp", GetProof()),
        ("pb", GetChain()),
        ("cc", CloseConnection()),
        ("up|5", UpdateProof(5)),
        ("tx|abcd1234|abc", Transaction("abcd1234", "abc")),
        ("tx|ABcd0000|", Transaction("ABcd0000", "")),
        ("tx|abcd1234|ž 鉱\n", Transaction("abcd1234", "ž 鉱\n")),
        ("tx|abcd1234|hb", Transaction("abcd1234", "hb")),
    ],
)
def test_requests_are_what_other_programs_send(text: str, request_: Request) -> None:
    assert heard(TextServerWire(), [text]) == [request_]
    assert TextClientWire().encode(request_) == text.encode()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Verdict(True), "Accepted"),
        (Verdict(False), "Rejected"),
        (Proof(100), "100"),
        (Reward(True), "Reward"),
        (Reward(False), "No reward"),
        (Chain(()), "[]"),
        (Chain((BLOCK, BLOCK)), str([plain(BLOCK), plain(BLOCK)])),
        (HeartbeatAnswer((), (BLOCK,), True), str([plain(BLOCK)])),
        (HeartbeatAnswer((("tx", "when"),), None, False), "[]"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Answer) else "",
)
def test_answers_are_what_other_programs_read(answer: Answer, text: str) -> None:
    assert said(answer) == text.encode()


@given(requests)
def test_a_request_that_comes_in_one_piece_is_understood(request: Request) -> None:
    assert heard(TextServerWire(), [TextClientWire().encode(request)]) == [request]


def test_a_whole_conversation() -> None:
    client, server = TextClientWire(), TextServerWire()
    story: list[tuple[Request, Answer]] = [
        (HELLO, Verdict(True)),
        (Transaction(SENDER, "gp"), Verdict(True)),
        (GetProof(), Proof(100)),
        (UpdateProof(5), Reward(True)),
        (GetProof(), Proof(5)),
        (GetChain(), Chain((BLOCK,))),
        (Heartbeat(), HeartbeatAnswer((), (BLOCK,), True)),
        (UpdateProof(5), Reward(False)),
    ]
    for request, answer in story:
        assert server.feed(client.encode(request)) == [request]
        assert client.feed(server.encode(answer)) == [answer]
    assert server.feed(client.encode(CloseConnection())) == [CloseConnection()]


# Joined and cut: what can be told.


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["hbgppbcc"], [Heartbeat(), GetProof(), GetChain(), CloseConnection()]),
        (["h", "bg", "", "p"], [Heartbeat(), GetProof()]),
        (["up|12gp"], [UpdateProof(12), GetProof()]),
        (["up|12up|13"], [UpdateProof(12), UpdateProof(13)]),
        (["u", "p", "|", "12"], [UpdateProof(12)]),
        (["up|5tx|abcd1234|hello"], [UpdateProof(5), HELLO]),
        (["gptx|abcd1234|hello"], [GetProof(), HELLO]),
        (["tx|abcd1234|hellotx|abcd1234|world"], [HELLO, WORLD]),
        (["tx|abcd1234|helloup|7hb"], [HELLO, UpdateProof(7), Heartbeat()]),
        (["t", "x|", "ab", "cd12", "34", "|hello"], [HELLO]),
        (["tx|abcd1234", "|hello"], [HELLO]),
        (["tx|abcd1234|hello", "tx|ab", "cd1234|world"], [HELLO, WORLD]),
        (["hbtx|abcd1234|café".encode()[:-1], b"\xa9"], [Heartbeat(), COFFEE]),
        (["tx|abcd1234|", "hb"], [Transaction(SENDER, ""), Heartbeat()]),
    ],
    ids=repr,
)
def test_requests_that_can_be_told_apart_are(
    pieces: list[str | bytes], expected: list[Request]
) -> None:
    server = TextServerWire()
    assert heard(server, pieces) == expected
    assert server.pending == 0


BARE = st.sampled_from([GetProof(), GetChain(), Heartbeat(), CloseConnection()])


@given(st.lists(BARE, max_size=8), st.data())
def test_bare_requests_may_be_cut_anywhere(asked: list[Request], data: st.DataObject) -> None:
    stream = b"".join(map(TextClientWire().encode, asked))
    assert heard(TextServerWire(), data.draw(segments(stream))) == asked


NUMBERED = st.builds(UpdateProof, numbers)


@given(st.lists(BARE | NUMBERED, max_size=8))
def test_requests_without_a_content_may_come_joined(asked: list[Request]) -> None:
    assert heard(TextServerWire(), [b"".join(map(TextClientWire().encode, asked))]) == asked


CONTENTS = contents.filter(lambda content: not content.endswith(("t", "tx", "u", "up")))


@given(st.lists(st.builds(Transaction, st.just(SENDER), CONTENTS) | NUMBERED, max_size=8))
def test_transactions_may_come_joined(asked: list[Request]) -> None:
    assert heard(TextServerWire(), [b"".join(map(TextClientWire().encode, asked))]) == asked


@given(st.builds(Transaction, st.just(SENDER), contents), st.data())
def test_a_transaction_that_is_cut_before_its_content_is_waited_for(
    transaction: Transaction, data: st.DataObject
) -> None:
    stream = TextClientWire().encode(transaction)
    header = len(f"tx|{SENDER}|") - 1
    pieces = [*data.draw(segments(stream[:header])), stream[header:]]
    assert heard(TextServerWire(), pieces) == [transaction]


# Joined and cut: what cannot be told, and is decided.


@pytest.mark.parametrize(
    ("pieces", "expected", "reason"),
    [
        # What is behind a content belongs to it, unless a bar shows otherwise.
        (["tx|abcd1234|hellogp"], [Transaction(SENDER, "hellogp")], ""),
        (["tx|abcd1234|hellogptx|abcd1234|world"], [Transaction(SENDER, "hellogp"), WORLD], ""),
        (["tx|abcd1234|hellotx|"], [Unacceptable("tx|abcd1234|hellotx|")], ""),
        (["tx|abcd1234|give up|"], [Unacceptable("tx|abcd1234|give up|")], ""),
        # The end of a segment ends a number or a content.
        (["tx|abcd1234|hel", "lo"], [Transaction(SENDER, "hel")], "no request begins with b'lo'"),
        (["tx|abcd1234|h", "gp"], [Transaction(SENDER, "h"), GetProof()], ""),
        (["up|1", "2"], [UpdateProof(1)], "no request begins with b'2'"),
        # A transaction that may still become a good one is waited for; one that cannot is not.
        (["tx|abc"], [], ""),
        (["tx|abc", "hb"], [Unacceptable("tx|abchb")], ""),
        (["tx|abc|hello"], [Unacceptable("tx|abc|hello")], ""),
        (["tx|abcd12345"], [Unacceptable("tx|abcd12345")], ""),
        (["tx|abcd1234|a|b"], [Unacceptable("tx|abcd1234|a|b")], ""),
        (["tx|abcd1234|" + "x" * 71], [Unacceptable("tx|abcd1234|" + "x" * 71)], ""),
        (["tx|bad|onetx|abcd1234|hello"], [Unacceptable("tx|bad|one"), HELLO], ""),
        (["tx|tx|abcd1234|hello"], [Unacceptable("tx|"), HELLO], ""),
        # There is no white space between requests.
        (["hb", "\n"], [Heartbeat()], "no request begins"),
    ],
    ids=repr,
)
def test_requests_that_cannot_be_told_apart(
    pieces: list[str], expected: list[Request], reason: str
) -> None:
    server = TextServerWire()
    *sound, last = pieces
    if not reason:
        assert heard(server, pieces) == expected
        return
    assert heard(server, sound) == expected
    with pytest.raises(RemoteProtocolError, match=reason):
        server.feed(last.encode())


def test_an_answer_in_digits_ends_with_its_segment() -> None:
    client = asking(GetProof(), GetProof(), Transaction(SENDER, "x"))
    assert heard(client, ["10"]) == [Proof(10)]
    assert heard(client, ["0Accepted"]) == [Proof(0), Verdict(True)]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ("xx", "no request begins with b'xx'"),
        ("hbx", "no request begins with b'x'"),
        ("HB", "no request begins"),
        ("\x80\x04\x95", "no request begins"),
        ("up|x", "no request begins"),
        ("up|-5", "no request begins"),
        (f"up|{NUMBER_MAX + 1}", "no request: 'up|"),
        ("up|" + "9" * 5000, "more than 512 bytes"),
        ("tx|abcd1234|" + "x" * REQUEST_BYTES_MAX, "more than 512 bytes"),
        (b"tx|abcd1234|\xffx", "not UTF-8"),
        (b"tx|abcd1234|\xc3tx|abcd1234|x", "not UTF-8"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_request(stream: str | bytes, reason: str) -> None:
    server = TextServerWire()
    for data in (stream, b"hb"):
        with pytest.raises(RemoteProtocolError) as error:
            heard(server, [data])
        assert reason in str(error.value)
    assert server.pending == 0


@pytest.mark.parametrize(
    ("request_", "stream", "reason"),
    [
        (GetProof(), "x", "a proof was due, not b'x'"),
        (GetProof(), "-1", "a proof was due"),
        (GetProof(), str(NUMBER_MAX + 1), "a proof was due"),
        (GetProof(), "9" * 5000, "a proof was due"),
        (UpdateProof(5), "Rewind", "Reward or No reward or No Reward was due, not b'Rewind'"),
        (HELLO, "accepted", "Accepted or Rejected was due"),
        (HELLO, "AcceptedAccepted", "nobody asked"),
        (GetChain(), "{}", "a list was due, not b'{}'"),
        (GetChain(), "None", "a list was due"),
        (GetChain(), b"['\xff']", "not UTF-8"),
        (GetChain(), "[1]", "no chain: Expected `object`"),
        (GetChain(), str([plain(BLOCK)] * (BLOCKS_MAX + 1)), "length <= 4096"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_answer(request_: Request, stream: str | bytes, reason: str) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        heard(asking(request_), [stream])
    assert reason in str(error.value)


def test_a_list_without_an_end_comes_to_one() -> None:
    for endless in (b"[", b"['", b"['\\"):
        client = asking(GetChain())
        pieces = [endless, *[b"x" * 2**16] * (ANSWER_BYTES_MAX // 2**16)]
        with pytest.raises(RemoteProtocolError, match="more than 4194304 bytes"):
            heard(client, pieces)
        assert client.pending == 0


# Answers that show their end.

WORDS = st.sampled_from(
    [
        (HELLO, Verdict(True)),
        (HELLO, Verdict(False)),
        (UpdateProof(5), Reward(True)),
        (UpdateProof(5), Reward(False)),
    ]
)
CHAINS = st.lists(blocks, max_size=4).map(tuple)
SHOWN = st.one_of(
    WORDS,
    CHAINS.map(lambda chain: (GetChain(), Chain(chain))),
    CHAINS.map(lambda chain: (Heartbeat(), HeartbeatAnswer((), chain or None, bool(chain)))),
)


@given(st.lists(SHOWN, max_size=5), st.data())
def test_words_and_lists_arrive_in_any_segmentation(
    story: list[tuple[Request, Answer]], data: st.DataObject
) -> None:
    client = asking(*[request for request, _ in story])
    stream = said(*[answer for _, answer in story])
    assert heard(client, data.draw(segments(stream))) == [answer for _, answer in story]
    assert client.pending == 0


def test_a_long_list_comes_in_many_segments() -> None:
    chain = Chain((BLOCK,) * BLOCKS_MAX)
    data = said(chain)
    client = asking(GetChain())
    assert heard(client, [data[at : at + 1448] for at in range(0, len(data), 1448)]) == [chain]


# Lists as Python prints them.


@given(CHAINS)
def test_a_chain_is_printed_as_python_does_and_read_again(chain: tuple[Block, ...]) -> None:
    text = chain_text(chain)
    assert ast.literal_eval(text) == [plain(block) for block in chain]
    assert chain_of_text(text) == chain


def test_a_list_in_json_reads_the_same() -> None:
    assert chain_of_text(json.dumps([plain(BLOCK)], indent=4)) == (BLOCK,)


def test_a_comma_behind_the_last_item_does_no_harm() -> None:
    assert chain_of_text(str([plain(BLOCK)]).replace("]}]", "],},]")) == (BLOCK,)


def in_a_block(quoted: str) -> str:
    return chain_text([BLOCK]).replace(f"'{BLOCK.timestamp}'", quoted)


@pytest.mark.parametrize(
    ("quoted", "read"),
    [
        ("''", ""),
        ('""', ""),
        ('"it\'s"', "it's"),
        (r"'it\'s'", "it's"),
        (r"'\\'", "\\"),
        (r"'\\\''", "\\'"),
        (r"'\n\r\t'", "\n\r\t"),
        (r"'\x00\x7f\xa0'", "\0\x7f\xa0"),
        (r"'\u2028'", "\u2028"),
        (r"'\U0001f71a'", "\U0001f71a"),
        ("']},['", "]},["),
    ],
)
def test_texts_are_unquoted_as_python_quotes_them(quoted: str, read: str) -> None:
    (block,) = chain_of_text(in_a_block(quoted))
    assert block.timestamp == read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "without a value"),
        ("[", "without a value"),
        ("[,]", "without a value"),
        ("[1 2]", "without a comma"),
        ("[1", "without a comma"),
        ("[1:2]", "without a comma"),
        ("[]]", "goes on after its end"),
        ("[] []", "goes on after its end"),
        ("[}", "without a value"),
        ("{1: 2}", "without a key"),
        ("{'a'}", "without a key"),
        ("{'a':}", "without a value"),
        ("{'a' 1}", "without a key"),
        ("['", 'with "\'" in it'),
        ("[None]", "with 'None]' in it"),
        ("[1.5]", "with '.5]' in it"),
        ("[(1, 2)]", "with '(1, 2)]' in it"),
        ("[__import__('os')]", "in it"),
        ("[f'{1}']", "in it"),
        ("[1, *[2]]", "in it"),
        ("['a' 'b']", "without a comma"),
        (r"['\q']", "stands for no character"),
        (r"['\x4']", "stands for no character"),
        (r"['\ud800']", "stands for no character"),
        (r"['\U00110000']", "stands for no character"),
        (r"['\N{BULLET}']", "stands for no character"),
        ("['" + r"\x41" * 2000 + "']", "a text of over 512 characters"),
        (f"[{NUMBER_MAX + 1}]", "more than 64 bits"),
        ("[" + "9" * 5000 + "]", "more than 64 bits"),
        ("[" * (NESTING_MAX + 1), "8 deep"),
        ("[" * 100_000, "8 deep"),
        ("[{'a': " * 5, "8 deep"),
        ("[" + "1," * VALUES_MAX + "]", "more than 131072 values"),
        ("[" + "[]," * VALUES_MAX + "]", "more than 131072 values"),
        ("[-1]", "no chain: Expected `object`"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_list_is_refused(text: str, reason: str) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        chain_of_text(text)
    assert reason in str(error.value)


@given(st.text("[]{},:'\"\\ 1-x\nuž", max_size=40))
def test_any_text_is_a_chain_or_refused(text: str) -> None:
    try:
        chain_of_text(text)
    except RemoteProtocolError:
        return
    assert ast.literal_eval(text.strip()) == []


# Anything at all.


@given(st.text("txuphbgcabcd1234|žé", max_size=60))
def test_any_requests(text: str) -> None:
    fuzz_one(b"\4" + text.encode())


@given(st.text(max_size=60), st.integers(0, 6))
def test_any_text(text: str, choice: int) -> None:
    fuzz_one(bytes((choice,)) + text.encode())
