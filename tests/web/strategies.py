"""Observations of every kind, sensible and not."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from nonsuch.web.observations import Observation
from nonsuch.web.picture import Picture
from nonsuch.web.pictures.board import Handler
from nonsuch.web.rows import About, Network

NETWORKS: tuple[Network, ...] = ("pool", "gossip", "peer", "race", "coordinator")

NAMES = ("", "a", "b", "c", "miner-1", "miner-2", "pool")
WORDS = st.sampled_from((*NAMES, "miner", "agent", "left", "cheated", "0a", "1b", "2c", "x" * 300))
TIMES = st.one_of(st.integers(0, 30).map(float), st.floats(allow_nan=False))
NUMBERS = st.one_of(st.integers(-1, 12), st.integers(-(2**70), 2**70))


def values_of_kind(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, object]]:
    """Values that this fact can have."""
    fields = msgspec.structs.fields(kind)
    return st.fixed_dictionaries({field.name: values_of_type(field.type) for field in fields})


def values_of_type(kind: object) -> st.SearchStrategy[object]:
    """Values of the types that facts have; anything for any other."""
    plain: dict[object, st.SearchStrategy[object]] = {
        int: NUMBERS,
        str: WORDS,
        float: TIMES,
        bool: st.booleans(),
        int | None: st.none() | NUMBERS,
        float | None: st.none() | TIMES,
    }
    if kind in plain:
        return plain[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return values_of_kind(kind)
    return ANYTHING


ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | TIMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


def kinds_of(network: Network) -> list[tuple[str, type[msgspec.Struct]]]:
    """The facts that a picture of this network understands."""
    picture = Picture(About(network))
    handlers = {**picture.board.handlers, **picture.part.handlers}
    return [
        (name, handler.kind) for name, handler in handlers.items() if isinstance(handler, Handler)
    ]


def observations(network: Network) -> st.SearchStrategy[Observation]:
    """An observation: mostly of a kind that is understood, with its own values."""
    known = st.sampled_from(kinds_of(network)).flatmap(
        lambda kind: st.builds(
            Observation,
            TIMES,
            st.sampled_from(NAMES),
            st.just(kind[0]),
            values_of_kind(kind[1]),
        )
    )
    words = st.sampled_from([name for name, _ in kinds_of(network)] + ["line", "something else"])
    other = st.builds(
        Observation,
        TIMES,
        st.sampled_from(NAMES),
        words,
        st.dictionaries(WORDS, ANYTHING, max_size=3),
    )
    return st.one_of(known, known, known, other)
