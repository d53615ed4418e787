"""What is solved: targets, puzzles, proofs and ranges of nonces. Pure values, no I/O."""
