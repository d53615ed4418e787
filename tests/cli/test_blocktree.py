"""The picture of a block tree."""

from __future__ import annotations

from nonsuch.chain.tree import BlockTree
from nonsuch.cli.blocktree import draw_tree
from nonsuch.networks.gossip.messages import ROOT, Block


def grown(*branches: tuple[bytes, int, int | None]) -> BlockTree[Block]:
    """A tree of branches: a name, a length, and the height on the first that it leaves from."""
    tree: BlockTree[Block] = BlockTree(ROOT, lambda _block, _parent: None)
    first: list[Block] = []
    for name, length, fork in branches:
        parent = ROOT if fork is None else first[fork].id
        for number in range(length):
            block = Block(b"%b %d" % (name, number), parent, bytes(8), 1)
            tree.connect(block)
            parent = block.id
            if fork is None:
                first.append(block)
    return tree


def test_an_empty_tree_says_so() -> None:
    assert draw_tree(grown(), lambda _: False, 20).plain == "no block yet"


def test_a_chain_is_a_line_newest_first() -> None:
    text = draw_tree(grown((b"a", 3, None)), lambda _: False, 20).plain.splitlines()
    assert [line.split()[:2] for line in text[:3]] == [["2", "●"], ["1", "●"], ["0", "●"]]
    assert text[0].endswith("a 2")
    assert text[-1] == "3 blocks, 0 beside the chain, 0 without a parent"


def test_side_branches_run_beside_the_chain_and_end_where_they_left_it() -> None:
    text = draw_tree(
        grown((b"a", 6, None), (b"own", 2, 2), (b"c", 1, 4)),
        lambda block: block.data.startswith(b"own"),
        20,
    ).plain.splitlines()
    picture = ["● ○", "●─╯ ○", "●   ○", "●───╯", "●", "●"]
    assert [line[10:15].rstrip() for line in text[:6]] == picture
    assert text[1].endswith("own 1 *")
    assert "3 beside the chain" in text[-1]


def test_only_the_newest_rows_are_drawn_and_nothing_of_a_stranger_can_move_the_cursor() -> None:
    tree = grown((b"evil \x1b[2J\r\n", 50, None), (b"long ago", 1, 3))
    text = draw_tree(tree, lambda _: False, 10).plain
    assert len(text.splitlines()) == 11
    assert "\x1b" not in text
    assert "long ago" not in text
    assert text.splitlines()[0].split()[0] == "49"
