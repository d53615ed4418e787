"""What the tests of the committed rule share: blocks that are mined in a moment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from nonsuch.networks.peer.block import (
    BLOCK_TRANSACTIONS,
    Block,
    Template,
    Transaction,
    target_of_bits,
)

__all__ = ["make_blocks"]

FIRST_TIMESTAMP = 1_600_000_000

_counter = itertools.count(1)


def make_blocks(
    parent: Block,
    count: int,
    tag: str = "",
    *,
    transactions: Sequence[Transaction] | None = None,
    timestamp: int | None = None,
) -> list[Block]:
    """So many blocks behind a block, with these transactions or with new ones of that tag."""
    blocks = []
    for _ in range(count):
        when = max(FIRST_TIMESTAMP, parent.header.timestamp) + 1 if timestamp is None else timestamp
        parent = _mined(Template(parent.id, transactions or _five(tag), when, parent.header.bits))
        blocks.append(parent)
    return blocks


def _five(tag: str) -> list[Transaction]:
    numbers = itertools.islice(_counter, BLOCK_TRANSACTIONS)
    return [Transaction("abcd1234", f"{tag} {number}", number) for number in numbers]


def _mined(template: Template) -> Block:
    target = target_of_bits(template.bits)
    nonce = next(n for n in itertools.count() if target.admits(template.header(n).rank))
    return template.block(nonce)
