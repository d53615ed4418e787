"""Whole networks in virtual time, drawn from a seed: shipped cores, and all that befalls them."""
