"""Who is whose neighbour, where not everybody can be everybody's."""

from __future__ import annotations

import random

__all__ = ["NEIGHBOURS", "neighbours"]

NEIGHBOURS = 8
"""As many as Bitcoin's nodes dial: a block reaches thousands in a handful of steps."""


def neighbours(count: int, lots: random.Random, degree: int = NEIGHBOURS) -> list[set[int]]:
    """The neighbours of the nodes from 0 to `count` - 1, each of them mutual.

    All are connected. Up to `degree` + 1 nodes everybody knows everybody; of more, each has about
    `degree` neighbours: two in a ring of all, and others by lot.
    """
    links = [set[int]() for _ in range(count)]

    def join(one: int, another: int) -> None:
        if one != another:
            links[one].add(another)
            links[another].add(one)

    if count <= degree + 1:
        for one in range(count):
            for another in range(one):
                join(one, another)
        return links
    ring = lots.sample(range(count), count)
    for at, each in enumerate(ring):
        join(each, ring[at - 1])
    for each in range(count):
        while len(links[each]) < degree - 1:
            join(each, lots.randrange(count))
    return links
