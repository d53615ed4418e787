"""Coordinator and agents: one hands headers out, the others solve them, and the first wins."""
