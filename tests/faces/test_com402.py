"""The homework's own names: blocks, a chain of them, and a miner that can be run."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import pytest

from nonsuch.errors import LocalError, RemoteProtocolError
from nonsuch.faces.com402 import TARGET, Block, BlockChain, Miner

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "gossip.json").read_text())
EASY = 2**250


def chain(count: int, parent: Block, name: bytes = b"block") -> list[Block]:
    blocks: list[Block] = []
    for number in range(count):
        before = blocks[-1] if blocks else parent
        blocks.append(Block(b"%b %d" % (name, number), before.hash()).mine(EASY))
    return blocks


def test_a_block_hashes_as_the_handout_says_before_and_after_the_proof_of_work() -> None:
    block = Block(b"genesis")
    assert block.hash().hex() == VECTORS["without_p_o_w"]
    hardest = VECTORS["vectors"][-1]
    assert block.mine(2 ** hardest["target_log2"]).p_o_w.hex() == hardest["p_o_w"]
    assert block.mine().hash().hex() == hardest["hash"]
    assert TARGET == 2**235


def test_a_block_travels() -> None:
    block = Block(b"some data", bytes(range(32))).mine(EASY)
    assert Block.decode(block.encode()) == block
    assert list(json.loads(block.encode())) == ["data", "previous", "p_o_w"]
    with pytest.raises(RemoteProtocolError):
        Block.decode(b"{}")
    with pytest.raises(LocalError, match="mine"):
        Block(b"not mined").encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Block(b"", bytes(31)),
        lambda: Block(b"", bytes(32), bytes(7)),
        lambda: Block(bytes(4097)),
    ],
)
def test_what_cannot_be_a_block_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(LocalError):
        make()


def test_a_chain_keeps_what_leads_to_its_root() -> None:
    genesis = Block(b"genesis").mine(EASY)
    kept = BlockChain(genesis, EASY)
    one, two = chain(2, genesis)
    assert kept.root == genesis
    assert kept.append(two) is None, "its parent is not here"
    assert kept.append(one) == one
    assert kept.tip == two, "it was waiting"
    assert kept.blocks() == [genesis, one, two]
    assert kept.append(Block(b"another genesis").mine(EASY)) is None
    assert kept.append(Block(b"no work", two.hash())) is None
    longer = chain(3, genesis, b"longer")
    for block in longer:
        assert kept.append(block) == block
    assert kept.tip == longer[-1]
    assert len(kept) == 4


def test_the_steps_before_the_proof_of_work_have_chains_too() -> None:
    genesis = Block(b"genesis")
    kept = BlockChain(genesis)
    one = Block(b"one", genesis.hash())
    assert kept.append(one) == one
    with pytest.raises(LocalError):
        BlockChain(Block(b"has a parent", bytes(range(32))))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_miner_runs_hears_broadcasts_and_stops() -> None:
    ports = free_port(), free_port()
    miner = Miner("127.0.0.1", ports[0], [f"127.0.0.1:{ports[1]}"], target=EASY, mines=False)
    genesis = Block(b"genesis").mine(EASY)
    one, two = chain(2, genesis)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", ports[1]))
        other.settimeout(20)
        miner.broadcast(genesis)
        assert Block.decode(other.recv(8192)) == genesis, "before it runs, it only sends"

        def talk() -> None:
            try:
                other.settimeout(0.1)
                while len(miner.chain) < 2:  # It may not listen yet.
                    for block in (genesis, one):
                        other.sendto(block.encode(), ("127.0.0.1", ports[0]))
                    with contextlib.suppress(TimeoutError):
                        other.recv(8192)
                other.settimeout(20)
                miner.broadcast(two)
                while Block.decode(other.recv(8192)) != two:
                    pass
            finally:
                miner.stop()

        talking = threading.Thread(target=talk)
        talking.start()
        miner.run()
        talking.join()
    assert miner.chain == [genesis, one, two]
