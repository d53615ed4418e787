"""Gossip: miners that broadcast blocks over UDP, and agree on one chain among malicious ones."""
