"""The same attack twice: on a chain by the original rule, and on one by the committed rule.

python docs/scripts/rewrite_history.py
"""

from __future__ import annotations

import nonsuch
from nonsuch import Target
from nonsuch.networks.peer.block import Block, Template, Transaction, genesis_block
from nonsuch.networks.peer.original import next_proof
from nonsuch.networks.peer.original_chain import OriginalChain

WHEN, WHEN_UNIX = "2020-01-01 00:00:00.000000", 1_577_836_800
TARGET = Target.from_work(2**16)  # easy, so that this takes seconds; the usual one is 2**22


def words(payee: str, number: int) -> list[str]:
    """Five transactions for the block of this number."""
    return [f"pay {payee} {number} {each}" for each in range(5)]


def entries(payee: str, number: int) -> list[tuple[str, str]]:
    """The same as the original rule has them: each with its time."""
    return [(f"tx|abcd1234|{each}", WHEN) for each in words(payee, number)]


def transactions(payee: str, number: int) -> list[Transaction]:
    """The same as the committed rule has them."""
    return [Transaction("abcd1234", each, 0) for each in words(payee, number)]


def rewrite_original() -> None:
    """Take the proofs of the chain that is there, and put other transactions beside them."""
    honest, forged = OriginalChain("text", WHEN), OriginalChain("text", WHEN)
    for number in range(100):
        honest.append(honest.next_block(entries("Bob", number), next_proof(honest.tip.proof), WHEN))
    proofs = [block.proof for block in honest.blocks[1:]]
    for number, proof in enumerate([*proofs, proofs[len(proofs) % 15]]):
        forged.append(forged.next_block(entries("Eve", number), proof, WHEN))
    left, joined = honest.adopt(forged.blocks)
    print(f"original rule:  {len(left)} blocks replaced by {len(joined)}, and nothing searched")


def mined(parent: bytes, payee: str, number: int) -> tuple[Block, int]:
    """A block by the committed rule, and how many hashes it took."""
    template = Template(parent, transactions(payee, number), WHEN_UNIX + number, TARGET.bits)
    proof = nonsuch.first(template.puzzle, Target.from_bits(TARGET.bits))
    assert proof
    return template.block(proof.nonce), proof.nonce + 1


def rewrite_committed() -> None:
    """Try the same: other transactions under the proofs that are there. Then pay for it."""
    parent = genesis_block("nonsuch", TARGET).id
    honest: list[Block] = []
    for number in range(10):
        honest.append(mined(honest[-1].id if honest else parent, "Bob", number)[0])
    good, hashes = 0, 0
    for number, block in enumerate(honest):
        header = block.header
        changed = Template(parent, transactions("Eve", number), header.timestamp, header.bits)
        good += Target.from_bits(header.bits).admits(changed.header(header.nonce).rank)
        again, tried = mined(parent, "Eve", number)
        parent, hashes = again.id, hashes + tried
    print(f"committed rule: {good} of 10 old proofs are good for new words;")
    print(f"                10 new proofs took {hashes:,} hashes")


rewrite_original()
rewrite_committed()
