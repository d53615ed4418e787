"""A block tree as text: the newest blocks, one height a line, side branches beside the chain.

11  ● ○      14dcef29e39e… alice 00000007   19ca0770cd37… bob 00000003 *
10  ●─╯ ○    0edc4358199a… alice 00000006   096323e8bd95… carol 00000009
 9  ●   ○    15d34b49a82e… carol 00000008   1eb8d922cc70… bob 00000002 *
 8  ●───╯    1e1ae9fdac94… alice 00000005
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rich.text import Text

from nonsuch.chain.tree import BlockTree, Entry, branch
from nonsuch.cli.terminal import printable
from nonsuch.networks.gossip.messages import Block

__all__ = ["draw_tree"]

COLUMNS_MAX = 6
"""Branches that are drawn beside each other."""

NAME_DIGITS = 12
TEXT_CHARACTERS = 32


class _Branch(NamedTuple):
    """A branch beside the chain: its blocks by height, and the height at which it left."""

    fork: int
    blocks: dict[int, Entry[Block]]


def draw_tree(tree: BlockTree[Block], is_own: Callable[[Block], bool], rows: int) -> Text:
    """The last `rows` heights, newest first. Own blocks carry a star, the tip is bold."""
    tip = tree.tip
    if tip is None:
        return Text("no block yet", style="dim")
    lowest = max(0, tip.height - rows + 1)
    columns = _columns(tree, lowest)
    highest = max([tip.height, *(max(each.blocks) for each in columns)])
    text = Text()
    for height in range(highest, max(lowest, highest - rows + 1) - 1, -1):
        chain = tree.best(height) if height <= tip.height else None
        here = [each.blocks[height] for each in columns if height in each.blocks]
        text.append(f"{height:8,}  ", style="dim")
        text.append(_graph(columns, height, on_chain=chain is not None))
        for entry in [chain] if chain else here:
            text.append_text(_described(entry, is_own, is_tip=entry is tip))
        for entry in here if chain else []:
            text.append("   ")
            text.append_text(_described(entry, is_own, is_tip=False))
        text.append("\n")
    text.append(_summary(tree), style="dim")
    return text


def _columns(tree: BlockTree[Block], lowest: int) -> list[_Branch]:
    """The latest side branches that reach into what is drawn, newest first."""
    found: list[_Branch] = []
    for leaf in reversed(tree.leaves()):
        if leaf is tree.tip or leaf.height < lowest or len(found) == COLUMNS_MAX:
            continue
        blocks: dict[int, Entry[Block]] = {}
        for entry in branch(leaf):
            if tree.on_best(entry) or entry.height < lowest:
                break
            blocks[entry.height] = entry
        found.append(_Branch(min(blocks) - 1, blocks))
    return found


def _graph(columns: list[_Branch], height: int, *, on_chain: bool) -> str:
    """One line of the picture: the chain, and what runs beside it."""
    cells = ["●" if on_chain else " "]
    reach = 0
    for number, column in enumerate(columns, start=1):
        if height in column.blocks:
            cells.append("○")
        elif height == column.fork:
            cells.append("╯")
            reach = number
        else:
            cells.append(" ")
    drawn = cells[0]
    for number, cell in enumerate(cells[1:], start=1):
        joint = "─" if number <= reach else " "
        drawn += joint + ("─" if cell == " " and number < reach else cell)
    return drawn + "  "


def _described(entry: Entry[Block], is_own: Callable[[Block], bool], *, is_tip: bool) -> Text:
    block = entry.block
    data = printable(block.data.decode(errors="replace"))
    if len(data) > TEXT_CHARACTERS:
        data = data[: TEXT_CHARACTERS - 1] + "…"
    own = is_own(block)
    style = ("green" if own else "cyan") + (" bold" if is_tip else "")
    text = Text(f"{block.id.hex()[:NAME_DIGITS]}… ", style="dim")
    return text.append(data, style=style).append(" *" if own else "", style="green")


def _summary(tree: BlockTree[Block]) -> str:
    side = len(tree) - tree.height - 1
    return f"{len(tree):,} blocks, {side:,} beside the chain, {len(tree.orphans)} without a parent"
