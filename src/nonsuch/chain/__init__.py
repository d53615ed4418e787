"""What a ledger is: blocks, the tree they grow, and the rules they keep. Pure, no I/O."""
