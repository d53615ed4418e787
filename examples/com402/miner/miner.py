"""Homework 9's miner, run as the handout runs it.

    python3 miner/miner.py ADDRESS PEER,PEER,… [genesis]

`Block`, `BlockChain` and `Miner` are there to be imported; what runs is `nonsuch gossip`, and takes
its options too (`--print` draws the tree).
"""

import sys

from nonsuch.cli import main
from nonsuch.faces.com402 import TARGET, Block, BlockChain, Miner

__all__ = ["TARGET", "Block", "BlockChain", "Miner"]

if __name__ == "__main__":
    main(["gossip", *sys.argv[1:]])
