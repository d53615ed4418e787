"""Blocks of the committed rule: their bytes, and what must hold of them by themselves."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain.validation import (
    DoubleTransaction,
    InsufficientWork,
    InvalidBlock,
    WrongRoot,
    WrongTarget,
    WrongVersion,
)
from nonsuch.errors import LocalError
from nonsuch.networks.peer.block import (
    HEADER_BYTES,
    Block,
    Header,
    Template,
    Transaction,
    genesis_block,
    target_of_bits,
)
from nonsuch.networks.peer.rules import (
    WrongCount,
    WrongTransaction,
    check_body,
    check_header,
    check_transaction,
)
from nonsuch.work.target import Target
from tests.networks.peer.blocks import make_blocks

TARGET = Target.from_work(16)
GENESIS = genesis_block("test", TARGET)
BITS = GENESIS.header.bits
FIVE = [Transaction("abcd1234", f"hello {number}", number) for number in range(5)]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_a_header_is_88_bytes_and_its_id_their_hash() -> None:
    # Written out by hand, from the layout that the essay of block.py gives and from RFC 6962.
    keys = [sha(f"abcd1234|hello {number}|{number}".encode()) for number in range(5)]
    leaves = [sha(b"\0" + key) for key in keys]
    left = sha(b"\1" + sha(b"\1" + leaves[0] + leaves[1]) + sha(b"\1" + leaves[2] + leaves[3]))
    root = sha(b"\1" + left + leaves[4])
    parent = bytes(range(32))
    data = (
        (1).to_bytes(4, "big")
        + parent
        + root
        + (1_700_000_000).to_bytes(8, "big")
        + BITS.to_bytes(4, "big")
        + (77).to_bytes(8, "big")
    )
    header = Template(parent, FIVE, 1_700_000_000, BITS).header(77)
    assert (header.data, header.id) == (data, sha(data))
    assert len(data) == HEADER_BYTES
    assert (header.parent, header.root, header.timestamp) == (parent, root, 1_700_000_000)
    assert (header.version, header.bits, header.nonce) == (1, BITS, 77)


def test_the_search_hashes_what_the_header_says() -> None:
    template = Template(GENESIS.id, FIVE, 1, BITS)
    proof = template.puzzle.prove(123_456_789)
    assert proof.digest == template.header(123_456_789).id
    assert proof.rank == template.header(123_456_789).rank


def test_a_network_is_told_by_its_name_and_its_target() -> None:
    ids = {
        genesis_block(name, target).id for name in ("a", "b") for target in (TARGET, Target(2**240))
    }
    assert len(ids) == 4
    assert genesis_block("a", TARGET).id == genesis_block("a", TARGET).id
    with pytest.raises(LocalError, match="name"):
        genesis_block("", TARGET)


def test_a_good_block_is_good() -> None:
    (block,) = make_blocks(GENESIS, 1)
    check_header(block.header, BITS)
    check_body(block)
    again = Block.of(Header(block.form.header), block.form.transactions)
    assert (again.id, again.keys, again.work) == (block.id, block.keys, target_of_bits(BITS).work)


def test_a_header_without_work_is_none() -> None:
    template = Template(GENESIS.id, FIVE, 1, BITS)
    lazy = next(n for n in range(100) if not TARGET.admits(template.header(n).rank))
    with pytest.raises(InsufficientWork):
        check_header(template.header(lazy), BITS)


def test_a_header_says_the_target_of_its_network_and_a_version_that_is_known() -> None:
    easy = Template(GENESIS.id, FIVE, 1, Target(2**255).bits).header(0)
    with pytest.raises(WrongTarget):
        check_header(easy, BITS)
    data = (2).to_bytes(4, "big") + easy.data[4:]
    with pytest.raises(WrongVersion):
        check_header(Header(data), BITS)


@pytest.mark.parametrize(
    ("transactions", "error"),
    [
        (FIVE[:4], WrongCount),
        ([], WrongCount),
        ([*FIVE[:4], FIVE[0]], DoubleTransaction),
        ([*FIVE[:4], Transaction("abcd123", "short", 9)], WrongTransaction),
    ],
)
def test_a_body_has_five_different_good_transactions(
    transactions: list[Transaction], error: type[InvalidBlock]
) -> None:
    (block,) = make_blocks(GENESIS, 1, transactions=transactions or None)
    if not transactions:
        block = Block.of(block.header, ())
    with pytest.raises(error):
        check_body(block)


def test_other_transactions_have_another_root() -> None:
    (block,) = make_blocks(GENESIS, 1)
    with pytest.raises(WrongRoot):
        check_body(Block.of(block.header, block.transactions[::-1]))


# Transactions.

GOOD = st.builds(
    Transaction,
    st.from_regex(r"[a-zA-Z]{4}[0-9]{4}", fullmatch=True),
    st.text(string.ascii_letters + string.digits + " äß漢🙂!\"'\\%{}", max_size=70),
    st.integers(0, 10**15),
)


@given(GOOD)
def test_a_good_transaction_is_good(transaction: Transaction) -> None:
    check_transaction(transaction)
    assert transaction.size >= len(f"{transaction.sender}{transaction.content}".encode())


@given(GOOD, GOOD)
def test_different_transactions_have_different_keys(one: Transaction, other: Transaction) -> None:
    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize(
    "sender", ["", "abcd123", "abcd12345", "abc12345", "äbcd1234", "abcd123４"]
)
def test_a_sender_is_four_letters_and_four_digits(sender: str) -> None:
    with pytest.raises(WrongTransaction, match="four letters and four digits"):
        check_transaction(Transaction(sender, "hello", 1))


@pytest.mark.parametrize(
    "content", ["a|b", "\n", "\0", "\x7f", "\x85", "\u2028", "\ud800", "x" * 71]
)
def test_a_content_has_no_bar_no_control_character_and_no_71_characters(content: str) -> None:
    with pytest.raises(WrongTransaction, match="content"):
        check_transaction(Transaction("abcd1234", content, 1))
