"""Measure the chain on this machine: what a block costs, and what a question about it does.

    python3 dev.py bench chain       some ten seconds

Blocks have 200 bytes and a hash of their own, made before the clock starts; no rule is checked, for
rules are their ledger's. Times are the best of some runs, each with a tree of its own.
"""

from __future__ import annotations

import gc
import hashlib
import time
import tracemalloc
from collections.abc import Callable, Iterable
from functools import partial

from nonsuch.chain.orphans import OrphanLimits
from nonsuch.chain.tree import BlockTree, Entry, Reorged
from nonsuch.chain.validation import merkle_root

ROOT = bytes(32)
BLOCKS = 100_000
SIDE_BLOCKS = 1_000
BLOCK_BYTES = 200
ORPHANS = 10_000
ROUNDS = 5
QUESTIONS = 2_000
SUCCESSORS = 500
LEAVES = 1_000
ROOMY = OrphanLimits(count=ORPHANS, bytes=2**30, per_source=ORPHANS, seconds=60.0)
LINE = "  {:58}{:>14}   {}"


class Sample:
    """A block of the usual size, that remembers its hash."""

    __slots__ = ("data", "id", "parent", "size", "work")

    def __init__(self, parent: bytes, data: bytes) -> None:
        self.parent = parent
        self.data = data
        self.id = hashlib.sha256(data + parent).digest()
        self.work = 2**21
        self.size = BLOCK_BYTES


Tree = BlockTree[Sample]


def report(what: str, measured: str, wanted: str = "") -> None:
    print(LINE.format(what, measured, wanted).rstrip(), flush=True)


def chain(length: int, parent: bytes = ROOT, mark: int = 0) -> list[Sample]:
    blocks = []
    for number in range(length):
        data = bytes([mark]) + number.to_bytes(BLOCK_BYTES - len(parent) - 1, "big")
        blocks.append(Sample(parent, data))
        parent = blocks[-1].id
    return blocks


def anything(_block: Sample, _parent: Entry[Sample] | None) -> None:
    """No rule at all."""


def grow(blocks: Iterable[Sample]) -> Tree:
    tree = BlockTree(ROOT, anything, orphans=ROOMY)
    for block in blocks:
        tree.connect(block)
    return tree


def seconds(run: Callable[[], object]) -> float:
    """The fastest of some runs; what one leaves behind is collected before the next."""
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.perf_counter()
        kept = run()
        times.append(time.perf_counter() - began)
        del kept
    return min(times)


def microseconds(run: Callable[[], object], count: int) -> str:
    return f"{seconds(run) / count * 1e6:.2f} µs"


def blocks_come(blocks: list[Sample]) -> None:
    print("Blocks come")
    report(
        f"{BLOCKS:,} blocks in their order, each",
        microseconds(lambda: grow(blocks), BLOCKS),
        "at most 8 µs",
    )
    backwards = blocks[ORPHANS - 1 :: -1]
    report(
        f"{ORPHANS:,} blocks backwards, each waits for its parent, each",
        microseconds(lambda: grow(backwards), ORPHANS),
    )
    tree = grow(blocks)
    report("a block that is here already", microseconds(lambda: again(tree, blocks), BLOCKS))
    reorganize(blocks)


def again(tree: Tree, blocks: list[Sample]) -> None:
    for block in blocks:
        tree.connect(block)


def reorganize(blocks: list[Sample]) -> None:
    """A rival of the last thousand blocks that is one longer."""
    fork = blocks[-SIDE_BLOCKS - 1].id
    *rival, last = chain(SIDE_BLOCKS + 1, fork, mark=1)
    tree = grow([*blocks, *rival])
    began = time.perf_counter()
    (change,) = tree.connect(last)
    took = time.perf_counter() - began
    assert isinstance(change, Reorged)
    assert len(change.disconnected) == SIDE_BLOCKS
    report(f"a reorganization of {SIDE_BLOCKS:,} blocks", f"{took * 1e6:.0f} µs")


def memory(blocks: list[Sample]) -> None:
    print("Memory")
    gc.collect()
    tracemalloc.start()
    tree = grow(blocks)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tracemalloc.start()
    copy = chain(BLOCKS, mark=2)
    itself, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(copy) == len(tree)
    report("a block itself", f"{itself / BLOCKS:.0f} bytes")
    report("its place in the tree", f"{held / BLOCKS:.0f} bytes", "at most 500")
    report("both", f"{(itself + held) / BLOCKS:.0f} bytes", "at most 1024")


def questions(blocks: list[Sample]) -> None:
    print(f"Questions, at {BLOCKS:,} blocks")
    side = chain(SIDE_BLOCKS, blocks[BLOCKS // 2].id, mark=1)
    tree = grow([*blocks, *side])
    tip, rival, middle = tree.tip, tree.entry(side[-1].id), tree.best(BLOCKS // 2)
    locator = tree.locator()
    assert tip is not None
    assert rival is not None
    asked: dict[str, Callable[[], object]] = {
        f"locator, {len(locator)} ids": tree.locator,
        f"successors, {SUCCESSORS}": lambda: tree.successors(middle.block.id, SUCCESSORS),
        f"after a locator, {SUCCESSORS}": lambda: tree.after(locator[-2:], SUCCESSORS),
        "best(height)": lambda: tree.best(BLOCKS // 2),
        "ancestor on the best chain": lambda: tree.ancestor(tip, 1000),
        f"ancestor from a side branch of {SIDE_BLOCKS:,}": lambda: tree.ancestor(rival, 1000),
        "includes, on the best chain": lambda: tree.includes(tip, middle),
    }
    for name, ask in asked.items():
        report(name, microseconds(partial(repeat, ask), QUESTIONS))


def repeat(ask: Callable[[], object]) -> None:
    for _ in range(QUESTIONS):
        ask()


def roots() -> None:
    print("Roots")
    leaves = [number.to_bytes(BLOCK_BYTES, "big") for number in range(LEAVES)]
    took = seconds(lambda: merkle_root(leaves))
    report(f"merkle_root of {LEAVES:,} transactions", f"{took * 1e3:.2f} ms")


def main() -> None:
    blocks = chain(BLOCKS)
    blocks_come(blocks)
    memory(blocks)
    questions(blocks)
    roots()


if __name__ == "__main__":
    main()
