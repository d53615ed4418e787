"""Where a key may be found: nothing that was added is missed, and what was removed is gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain import index
from nonsuch.chain.index import NUMBER_MAX, SHORT_BYTES, CandidateIndex
from nonsuch.errors import LocalError

# Few different bytes, so that keys begin alike and are found across the borders of records.
KEYS = st.lists(st.sampled_from([0, 1]), min_size=4, max_size=7).map(bytes)
NUMBERS = st.sampled_from([0, 1, 256, 2**16, 0x01000000, 0x01010101, NUMBER_MAX])


def test_a_key_is_where_it_was_added() -> None:
    found = CandidateIndex()
    one, other = b"a" * 32, b"b" * 32
    found.add([one, other], 7)
    found.add([one], 3)
    assert found.candidates([one, b"c" * 32, other]) == [(one, 7), (one, 3), (other, 7)]
    assert len(found) == 3


def test_what_is_removed_is_gone_and_the_rest_stays() -> None:
    found = CandidateIndex()
    key = b"a" * 32
    for number in range(5):
        found.add([key], number)
    found.remove([key, b"b" * 32], 2)
    found.remove([key], 9)
    assert found.candidates([key]) == [(key, 0), (key, 1), (key, 3), (key, 4)]
    assert len(found) == 4


@pytest.mark.parametrize("number", [-1, NUMBER_MAX + 1])
def test_a_number_has_four_bytes(number: int) -> None:
    with pytest.raises(LocalError, match="numbers up to"):
        CandidateIndex().add([b"a" * 32], number)


@given(st.lists(st.tuples(KEYS, NUMBERS, st.booleans()), max_size=60))
def test_no_pair_is_missed_and_no_pair_is_made_up(
    steps: list[tuple[bytes, int, bool]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "BUCKETS", 1)  # All keys share it.
        found = CandidateIndex()
        here: list[tuple[bytes, int]] = []
        for key, number, adds in steps:
            pair = (key[:SHORT_BYTES], number)
            if adds:
                found.add([key], number)
                here.append(pair)
            else:
                found.remove([key], number)
                if pair in here:
                    here.remove(pair)
            assert len(found) == len(here)
            for asked in {key, *(key for key, _, _ in steps)}:
                numbers = [number for _, number in found.candidates([asked])]
                assert numbers == [number for short, number in here if short == asked[:SHORT_BYTES]]
