"""What must hold of a transaction, of a header, and of a body, by themselves.

Nothing here looks at a chain: that is `ledger.py`. A header is checked before its body is asked
for, and a body against its header before it may join the tree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nonsuch.chain.validation import (
    InvalidBlock,
    WrongTarget,
    WrongVersion,
    check_root,
    check_unique,
    check_work,
)
from nonsuch.networks.peer.block import (
    BLOCK_TRANSACTIONS,
    CONTENT_CHARACTERS_MAX,
    TIMESTAMP_MAX,
    VERSION,
    Block,
    Header,
    Transaction,
    target_of_bits,
)

__all__ = [
    "WrongCount",
    "WrongTransaction",
    "check_body",
    "check_header",
    "check_keys",
    "check_transaction",
]

# Said by code points, and not by `str.isprintable`, which follows Python's edition of Unicode:
# what one peer calls printable all must.
_SENDER = re.compile("[a-zA-Z]{4}[0-9]{4}")
_UNPRINTABLE = re.compile("[|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class WrongTransaction(InvalidBlock):
    """A transaction that nobody may make."""

    rule = "transaction"


class WrongCount(InvalidBlock):
    """Too few transactions."""

    rule = "count"


def check_transaction(transaction: Transaction) -> None:
    """Raise `WrongTransaction` unless sender, content and timestamp are as they must be."""
    if not _SENDER.fullmatch(transaction.sender):
        raise WrongTransaction("a sender is four letters and four digits, such as abcd1234")
    if len(transaction.content) > CONTENT_CHARACTERS_MAX:
        raise WrongTransaction(f"a content has at most {CONTENT_CHARACTERS_MAX} characters")
    if _UNPRINTABLE.search(transaction.content):
        raise WrongTransaction("a content has no bar (|) and no control characters")
    if not 0 <= transaction.timestamp <= TIMESTAMP_MAX:
        raise WrongTransaction("a timestamp lies between the years 1970 and 9999")


def check_header(header: Header, bits: int) -> None:
    """A header of our version whose hash meets the target that `bits` stand for.

    Raises `WrongVersion`, `WrongTarget`, `InsufficientWork`.
    """
    if header.version != VERSION:
        raise WrongVersion(f"a block of version {header.version}, where {VERSION} is spoken")
    if header.bits != bits:
        raise WrongTarget(f"target bits {header.bits:08x}, where {bits:08x} are due")
    check_work(header.rank, target_of_bits(bits))


def check_body(block: Block) -> None:
    """Five different good transactions, and the root of the header is theirs.

    Raises `WrongCount`, `DoubleTransaction`, `WrongTransaction`, `WrongRoot`.
    """
    for transaction in block.transactions:
        check_transaction(transaction)
    check_keys(block.keys, block.root)


def check_keys(keys: Sequence[bytes], root: bytes) -> None:
    """Those of five different transactions, and this is their root.

    Raises `WrongCount`, `DoubleTransaction`, `WrongRoot`.
    """
    if len(keys) != BLOCK_TRANSACTIONS:
        raise WrongCount(f"{len(keys)} transactions, where a block has {BLOCK_TRANSACTIONS}")
    check_unique(keys)
    check_root(root, keys)
