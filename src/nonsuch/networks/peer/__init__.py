"""Peer: servers that pass transactions on, put five to a block, and agree on one chain."""
