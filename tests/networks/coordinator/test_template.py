"""What agents are given: never twice the same, and nothing else is taken back."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonsuch.chain.validation import TimestampTooOld, WrongRoot
from nonsuch.networks.coordinator.header import NONCE_COUNT, STOCK_TARGET, TIMESTAMP_MAX, Header
from nonsuch.networks.coordinator.ledger import Ledger
from nonsuch.networks.coordinator.roster import Roster
from nonsuch.networks.coordinator.settings import CoordinatorSettings
from nonsuch.networks.coordinator.template import (
    STRIDE_WORKS,
    STRIDES_MAX,
    DatedAhead,
    Template,
    merkle_root,
)
from nonsuch.work.target import Target
from tests.networks.coordinator.bench import UNIX

FIRST_EXTRANONCE = 7 << 32


def template(target: Target = STOCK_TARGET, **fields: int) -> Template:
    settings = CoordinatorSettings(target=target, **fields)  # type: ignore[arg-type]
    return Template(settings, Ledger(settings), FIRST_EXTRANONCE)


def test_stock_agents_share_a_root_and_begin_at_nonces_far_apart() -> None:
    headers = list(template().issue(range(STRIDES_MAX), UNIX))
    assert len({header.root for header in headers}) == 1
    starts = sorted(header.nonce for header in headers)
    assert starts == list(range(0, NONCE_COUNT, NONCE_COUNT // STRIDES_MAX))
    stride = NONCE_COUNT // STRIDES_MAX
    assert stride >= STRIDE_WORKS * STOCK_TARGET.work


def test_when_strides_run_out_there_are_more_roots() -> None:
    headers = list(template().issue(range(10_000), UNIX))
    assert len({header.root for header in headers}) == 5
    assert len({header.data for header in headers}) == 10_000


@given(st.integers(1, 2**255), st.lists(st.integers(0, 20_000), unique=True, max_size=50))
def test_no_two_agents_begin_in_the_same_stride_of_the_same_root(
    work: int, places: list[int]
) -> None:
    target = Target.from_work(work)
    issued = list(template(target).issue(places, UNIX))
    begins: dict[bytes, list[int]] = {}
    for header in issued:
        begins.setdefault(header.root, []).append(header.nonce)
    for nonces in begins.values():
        ends = [*sorted(nonces)[1:], NONCE_COUNT]
        strides = [end - begin for begin, end in zip(sorted(nonces), ends, strict=True)]
        assert min(strides) >= min(STRIDE_WORKS * target.work, NONCE_COUNT)


def test_where_blocks_are_hard_everybody_has_all_nonces() -> None:
    headers = list(template(Target.from_work(2**26)).issue(range(5), UNIX))
    assert {header.nonce for header in headers} == {0}
    assert len({header.root for header in headers}) == 5


def test_a_root_commits_to_the_height_the_extranonce_and_the_name() -> None:
    height, extranonce = bytes(7) + b"\x03", bytes(7) + b"\x05"
    leaf = height + extranonce + b"name"
    assert merkle_root("name", 3, 5) == sha256(sha256(leaf).digest()).digest()
    (header,) = template().issue([0], UNIX)
    assert header.root == merkle_root("coordinator", 0, FIRST_EXTRANONCE)


def test_time_is_the_clocks_and_never_goes_back() -> None:
    one = template()
    times = [UNIX, UNIX + 15.9, UNIX + 3, UNIX + 16]
    issued = [next(one.issue([0], unix)).timestamp for unix in times]
    assert issued == [UNIX, UNIX + 15, UNIX + 15, UNIX + 16]
    assert next(one.issue([0], 2.0**40)).timestamp == TIMESTAMP_MAX


def test_a_header_may_be_dated_anew_but_only_so_far() -> None:
    one = template(ahead_seconds_max=60)
    (header,) = one.issue([0], UNIX)
    for seconds in (0, 1, 60):
        one.check(header.with_timestamp(header.timestamp + seconds), UNIX)
    with pytest.raises(DatedAhead, match="more than 60 s after 1700000000"):
        one.check(header.with_timestamp(header.timestamp + 61), UNIX)
    with pytest.raises(TimestampTooOld):
        one.check(header.with_timestamp(header.timestamp - 1), UNIX)
    # One that was issued stays good, whatever happens to our clock.
    one.check(header, UNIX - 10_000)


def test_only_roots_that_were_issued_are_taken() -> None:
    one = template()
    (header,) = one.issue([0], UNIX)
    other = merkle_root("coordinator", 0, FIRST_EXTRANONCE + 1)
    fields = (header.version, header.parent, other, header.timestamp, header.target, 0)
    with pytest.raises(WrongRoot):
        one.check(Header.of(*fields), UNIX)
    list(one.issue([STRIDES_MAX], UNIX))
    one.check(Header.of(*fields), UNIX)
    with pytest.raises(WrongRoot):
        template().check(header, UNIX)


def test_places_are_taken_again_when_their_agents_have_left() -> None:
    roster, lots = Roster(CoordinatorSettings(agents_max=50)), random.Random(1)
    for number in range(1000):
        roster.join(number, "", 0.0)
        roster.check()
        if lots.random() < 0.7:
            roster.leave(lots.choice(list(roster.sessions)))
            roster.check()
    roster.join(1000, "", 0.0)
    places = [session.place for session in roster.sessions.values()]
    assert len(places) == len(set(places)) == 50
    assert max(places) < 50, "no more than there are agents"
