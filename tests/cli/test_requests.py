"""What people say to a peer, and how its answers are shown."""

from __future__ import annotations

import pytest

from nonsuch import LocalError
from nonsuch.cli.requests import format_answer, parse_dialect_request, parse_request
from nonsuch.networks.peer import messages
from nonsuch.networks.peer.block import TIMESTAMP_MAX, Template, Transaction
from nonsuch.networks.peer.dialects import messages as dialect


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("tx|abcd1234|two words", messages.SubmitTransaction("abcd1234", "two words", 7)),
        ("tx abcd1234 two words", messages.SubmitTransaction("abcd1234", "two words", 7)),
        (" PB ", messages.AskChain(0, 20)),
        ("pb 40", messages.AskChain(40, 20)),
        ("hb", messages.AskStatus()),
        ("gp", messages.AskTemplate()),
        ("up|5", messages.OfferProof(3, 5)),
        ("up 4 5", messages.OfferProof(4, 5)),
        ("cc", messages.Stop()),
    ],
)
def test_the_network_s_words_and_plain_ones(line: str, request_: messages.Request) -> None:
    assert parse_request(line, timestamp=7, template=3) == request_


@pytest.mark.parametrize(
    "line", ["", "what", "tx", "tx|a", "pb x", "up ²", "up 99999999999999999999"]
)
def test_what_is_no_request_is_said_to_be_none(line: str) -> None:
    with pytest.raises(LocalError):
        parse_request(line)


def test_a_content_of_any_length_and_bytes_reaches_the_peer_that_refuses_it() -> None:
    request = parse_request("tx|abcd1234|" + "x" * 5000)
    assert isinstance(request, messages.SubmitTransaction)
    assert len(request.content) == 128
    assert parse_request("tx|abcd1234|\udcff") == messages.SubmitTransaction("abcd1234", "?", 0)


def test_the_same_words_in_a_dialect() -> None:
    assert parse_dialect_request("tx abcd1234 two words") == dialect.Transaction(
        "abcd1234", "two words"
    )
    assert parse_dialect_request("up 5") == dialect.UpdateProof(5)
    with pytest.raises(LocalError):
        parse_dialect_request("what")


def test_nothing_that_a_peer_says_moves_the_cursor() -> None:
    text = format_answer(messages.Verdict(False, "\x1b]0;owned\x07\x1b[2J\r"))
    assert text == "Rejected: ·]0;owned··[2J·"


def test_any_time_that_a_miner_puts_into_a_block_can_be_shown() -> None:
    late = Transaction("abcd1234", "late", TIMESTAMP_MAX)
    for seconds in (0, 2**40, 2**64 - 1):
        block = Template(bytes(32), [late] * 5, seconds, 0x207FFFFF).block(0)
        text = format_answer(messages.Chain(0, 0, (block.form,)))
        assert "9999-12-31 23:59:59.999999  abcd1234  late" in text


def test_a_status_that_is_none_is_an_error_that_says_so() -> None:
    with pytest.raises(LocalError, match="cannot be read"):
        format_answer(messages.Status(b"{}"))
