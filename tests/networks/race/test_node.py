"""A node of the race: what clients are told, what is searched, and who has won."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nonsuch.errors import LocalError
from nonsuch.networks.race import clients, facts, races
from nonsuch.networks.race.ledger import TIME_FORMAT
from nonsuch.networks.race.messages import (
    ACCEPTED,
    TRANSACTION_BYTES_MAX,
    Claim,
    End,
    Enter,
    Fragment,
    Join,
    Leave,
    Lost,
    Won,
)
from nonsuch.networks.race.records import (
    LedgerKnown,
    TextKept,
    decode_record,
    encode_record,
)
from nonsuch.networks.race.settings import RaceSettings
from nonsuch.node import (
    LOCAL,
    Cancel,
    Clock,
    Close,
    Connected,
    Disconnected,
    Emit,
    Persist,
    Received,
    Search,
    Searched,
    Send,
    Stopping,
    Tick,
)
from tests.networks.race.track import UNIX, Machine, Track, node, solved

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "race.json").read_text())["vectors"]

T = "Your transaction data"


def alone(**settings: object) -> Machine:
    return Track().add("Node1", node(**settings))


def three(**settings: object) -> list[Machine]:
    track = Track()
    return [track.add(name, node(name, **settings)) for name in ("Node1", "Node2", "Node3")]


# What clients are told.


def test_a_transaction_is_kept_then_answered_and_then_searched() -> None:
    machine = alone()
    peer = machine.calls()
    machine.hears(peer, f"  {T}\n".encode())
    effects = machine.happens(Received(peer, End()))
    assert [type(effect) for effect in effects] == [
        Persist,
        Send,
        Close,
        Emit,
        Emit,
        Search,
        Send,
    ]
    assert len(ACCEPTED.encode()) == 39
    assert machine.replies[peer] == ACCEPTED
    received, started = machine.facts[-2:]
    assert received == facts.TransactionReceived(T, f"127.0.0.1:{40000 + peer}", 1)
    assert started == facts.PowStarted(T, 1, UNIX)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["transaction"])
def test_the_entry_is_what_the_vectors_say(vector: dict[str, object]) -> None:
    machine = alone(difficulty=vector["difficulty"])
    machine.is_fed(f"{vector['transaction']}\n")
    machine.finds()
    (entry,) = machine.track.entries
    found = {"transaction": entry["transaction_data"], "difficulty": vector["difficulty"]}
    assert found | {"nonce": entry["nonce"], "hash": entry["hash"]} == vector


def test_an_entry_says_how_long_it_took_and_when_that_was() -> None:
    machine = alone()
    machine.happens(Received(LOCAL, Clock(UNIX + 0.125)))
    machine.is_fed(T)
    machine.waits(0.3)
    machine.finds()
    (entry,) = machine.track.entries
    assert entry["time_taken"] == pytest.approx(0.3)
    assert entry["start_time"] == "2023-11-14 22:13:20.125000"
    assert entry["end_time"] == "2023-11-14 22:13:20.425000"
    end = datetime.strptime(str(entry["end_time"]), TIME_FORMAT).replace(tzinfo=UTC)
    assert end.timestamp() == pytest.approx(UNIX + 0.425)


def test_what_comes_in_pieces_is_one_transaction_however_it_is_cut() -> None:
    data = "příliš žluťoučký kůň\n".encode()
    for cut in range(len(data)):
        machine = alone()
        peer = machine.calls()
        machine.hears(peer, data[:cut]) if cut else None
        machine.waits(0.9)
        assert machine.replies == {}
        machine.hears(peer, data[cut:])
        machine.waits(clients.PAUSE_SECONDS)
        assert machine.replies == {peer: ACCEPTED}
        assert [search.puzzle.prefix for search in machine.searches.values()] == [data.strip()]


@pytest.mark.parametrize(
    ("data", "pause_seconds"),
    [(b"text\n", clients.PAUSE_SECONDS), (b"text", clients.UNFINISHED_PAUSE_SECONDS)],
)
def test_a_client_that_keeps_it_open_pauses(data: bytes, pause_seconds: float) -> None:
    machine = alone()
    peer = machine.calls()
    machine.hears(peer, data)
    machine.waits(pause_seconds - 0.01)
    assert machine.replies == {}
    machine.waits(0.01)
    assert machine.replies == {peer: ACCEPTED}
    assert machine.closed == {peer: "taken"}
    machine.hears(peer, b"more")
    machine.ends(peer)
    assert machine.statistics.accepted == 1


def test_a_newline_in_the_middle_does_not_end_it_when_more_follows() -> None:
    machine = alone()
    peer = machine.calls()
    machine.hears(peer, b"one\n")
    machine.waits(0.1)
    machine.hears(peer, b"two")
    machine.waits(0.9)
    assert machine.replies == {}
    machine.waits(0.2)
    (search,) = machine.searches.values()
    assert search.puzzle.prefix == b"one\ntwo"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "A transaction is not empty."),
        (b" \t\r\n", "A transaction is not empty."),
        (b"caf\xe9", "A transaction is text in UTF-8; byte 3 is not."),
        (b"\xed\xa0\x80", "A transaction is text in UTF-8; byte 0 is not."),
        (b"x" * (TRANSACTION_BYTES_MAX + 1), "A transaction has at most 65536 bytes."),
        (b"x" + b" " * TRANSACTION_BYTES_MAX, "A transaction has at most 65536 bytes."),
    ],
    ids=["empty", "white space", "latin-1", "surrogate", "long", "long with its white space"],
)
def test_what_is_no_transaction_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    machine = alone()
    peer = machine.calls()
    for at in range(0, len(data), 1000):
        machine.hears(peer, data[at : at + 1000])
    machine.ends(peer)
    assert machine.replies == {peer: reason}
    assert machine.closed == {peer: reason}
    assert machine.searches == {}
    assert machine.told(facts.TransactionRefused) == [
        facts.TransactionRefused(reason, f"127.0.0.1:{40000 + peer}")
    ]
    assert machine.is_fed("next") == ACCEPTED


def test_the_longest_transaction_is_taken_and_any_text_is() -> None:
    machine = alone()
    assert machine.is_fed("x" * TRANSACTION_BYTES_MAX) == ACCEPTED
    assert machine.is_fed("\0 and \x1b[31m") == ACCEPTED


def test_a_client_that_says_nothing_is_dropped() -> None:
    machine = alone()
    peer = machine.calls()
    machine.waits(9.9)
    assert machine.replies == {}
    machine.waits(0.2)
    assert machine.replies == {peer: "Nothing came within 10 s."}
    assert machine.closed[peer] == machine.replies[peer]


def test_a_client_that_never_ends_is_dropped_after_a_minute() -> None:
    machine = alone()
    peer = machine.calls()
    for _ in range(119):
        machine.hears(peer, b"x")
        machine.waits(0.5)
    assert machine.replies == {}
    machine.hears(peer, b"x")
    machine.waits(0.5)
    assert machine.replies == {peer: "All of a transaction must come within 60 s."}


def test_a_node_that_was_away_reads_what_came_meanwhile_before_it_calls_that_a_pause() -> None:
    machine = alone()
    peer = machine.calls()
    machine.hears(peer, b"Your trans")
    machine.now += 30  # The process was stopped; the timer is the first to notice.
    machine.happens(Tick())
    assert machine.replies == {}
    machine.hears(peer, b"action data\n")
    machine.waits(clients.UNFINISHED_PAUSE_SECONDS)
    (search,) = machine.searches.values()
    assert search.puzzle.prefix == b"Your transaction data"


def test_a_client_that_hangs_up_in_the_middle_has_sent_nothing() -> None:
    machine = alone()
    peer = machine.calls()
    machine.hears(peer, b"half a transact")
    machine.happens(Disconnected(peer, "connection reset"))
    machine.waits(5)
    assert machine.searches == {}
    assert machine.told(facts.TransactionRefused) == [
        facts.TransactionRefused("It hung up in the middle.", f"127.0.0.1:{40000 + peer}")
    ]


def test_so_many_clients_and_one_more() -> None:
    machine = alone(connections_max=3)
    peers = [machine.calls() for _ in range(4)]
    assert machine.replies == {peers[3]: "This node has its 3 clients."}
    machine.happens(Disconnected(peers[3], "hung up"))
    machine.happens(Disconnected(peers[0], "it hung up"))
    assert machine.is_fed(T) == ACCEPTED


def test_so_many_races_and_one_more() -> None:
    machine = alone(open_max=5)
    assert [machine.is_fed(f"text {number % 2}") for number in range(5)] == [ACCEPTED] * 5
    assert machine.is_fed("one more") == "5 transactions wait already. Try again later."
    machine.finds()
    assert machine.is_fed("one more") == ACCEPTED


def test_a_new_node_holds_what_it_hears_until_it_has_read_the_ledger() -> None:
    track = Track()
    track.serves = False
    machine = track.add("Node1", node())
    assert list(machine.asked) == [Join(0)]
    peers = [machine.calls() for _ in range(2)]
    for peer in peers:
        machine.hears(peer, f"{T} {peer}".encode())
        machine.happens(Received(peer, End()))
    machine.happens(Disconnected(peers[1], "it hung up"))
    assert machine.replies == {}
    assert machine.searches == {}
    track.serves = True
    track.settle()
    assert machine.told(facts.LedgerJoined) == [facts.LedgerJoined(0)]
    assert machine.replies[peers[0]] == ACCEPTED
    assert machine.told(facts.TransactionReceived) == [
        facts.TransactionReceived(f"{T} {peer}", f"127.0.0.1:{40000 + peer}", waiting)
        for waiting, peer in enumerate(peers, 1)
    ], "who hung up behind his text has sent it"


def test_a_ledger_that_nobody_can_read_is_not_waited_for_for_ever() -> None:
    track = Track()
    track.serves = False
    machine = track.add("Node1", node())
    peers = [machine.calls() for _ in range(clients.HELD_MAX + 1)]
    for peer in peers:
        machine.hears(peer, T.encode())
        machine.happens(Received(peer, End()))
    unread = "This node has not read the ledger yet. Try again soon."
    assert machine.replies == {peers[-1]: unread}, "one more than are held"
    machine.waits(clients.HELD_SECONDS - 0.1)
    assert machine.replies == {peers[-1]: unread}
    machine.waits(0.2)
    assert machine.replies == dict.fromkeys(peers, unread)


# Races.


def test_one_of_three_wins_and_the_others_stop_at_once() -> None:
    machines = three()
    first, second, third = machines
    for machine in machines:
        machine.is_fed(T)
        machine.waits(0.5)
    second.finds()
    assert first.track.winners() == [("Node2", T)]
    assert [machine.searches for machine in machines] == [{}, {}, {}]
    completed, won, updated = second.facts[-3:]
    assert isinstance(completed, facts.PowCompleted)
    assert (completed.nonce, completed.at) == (154, UNIX + 0.5)
    assert won == facts.RaceWon(T, 1)
    assert isinstance(updated, facts.LedgerUpdated)
    assert updated.entry.plain() == first.track.entries[0]
    for machine in (first, third):
        assert machine.facts[-1] == facts.RaceStopped(T, 1, "Node2", 0.5, UNIX + 0.5)
        assert isinstance(machine.effects[-1], Emit)


def test_losers_that_finish_say_so() -> None:
    first, second, _ = machines = three(finishes=True)
    for machine in machines:
        machine.is_fed(T)
    second.finds()
    assert len(first.searches) == 1
    first.finds()
    assert isinstance(first.facts[-2], facts.PowCompleted)
    assert first.facts[-1] == facts.RaceLost(T, 1, "Node2")
    assert first.track.winners() == [("Node2", T)]
    assert first.statistics.lost == 1


def test_two_that_find_it_at_once_have_one_winner() -> None:
    first, second, _ = machines = three()
    for machine in machines:
        machine.is_fed(T)
    first.track.serves = False
    second.finds()
    first.finds()
    assert first.told(facts.RaceWon) == second.told(facts.RaceWon) == []
    first.track.serves = True
    first.track.settle()
    assert len(first.track.entries) == 1
    assert [type(machine.facts[-1]) for machine in machines] == [
        facts.LedgerUpdated,
        facts.RaceLost,
        facts.RaceStopped,
    ]


def test_nodes_that_are_fed_one_after_the_other_have_one_winner() -> None:
    first, second, third = three()
    first.is_fed(T)
    first.finds()
    for machine in (second, third):
        assert machine.is_fed(T) == ACCEPTED
        assert machine.searches == {}, "the ledger has it already"
        assert isinstance(machine.facts[-1], facts.RaceStopped)
    assert first.track.winners() == [("Node1", T)]


def test_a_text_that_comes_again_is_raced_for_again_and_in_order() -> None:
    first, second, _ = three()
    for _ in range(2):
        first.is_fed(T)
        second.is_fed(T)
    assert len(first.searches) == 1, "the races of one text come one after the other"
    first.finds()
    second.finds()
    assert first.track.winners() == [("Node1", T), ("Node2", T)]
    assert first.searches == second.searches == {}
    assert [getattr(fact, "number", None) for fact in second.told(facts.RaceWon)] == [2]


def test_long_races_leave_room_for_others_and_texts_take_turns() -> None:
    machine = alone()
    for _ in range(3):
        machine.is_fed("again and again")
    for number in range(4):
        machine.is_fed(f"text {number}")

    def searched() -> list[bytes]:
        return [search.puzzle.prefix for search in machine.searches.values()]

    assert len(machine.searches) == races.SEARCHES_MAX
    assert searched() == [b"again and again", b"text 0", b"text 1"]
    machine.finds()
    assert searched() == [b"text 0", b"text 1", b"text 2"]
    for _ in range(3):
        machine.finds()
    assert searched() == [b"text 3", b"again and again"]


def test_a_search_that_lies_is_not_claimed() -> None:
    machine = alone()
    machine.is_fed(T)
    with pytest.raises(LocalError, match="nothing that is a proof"):
        machine.happens(Searched(1, 1, (0,)))


def test_old_and_senseless_answers_are_ignored() -> None:
    machine = alone()
    machine.is_fed(T)
    key = bytes(32)
    before = len(machine.effects)
    for answer in (
        Won(0, "f" * 64, 1, key),
        Lost(1, "f" * 64, 1, key, "Node2"),
        Lost(0, "f" * 64, 2, key, "Node2"),
        Leave(),
    ):
        machine.happens(Received(LOCAL, answer))
    machine.happens(Searched(99, 1, ()))
    machine.happens(Received(1000, Fragment(b"from nobody")))
    machine.happens(Tick())
    assert len(machine.effects) == before
    assert len(machine.searches) == 1


# The disk.


def test_what_was_accepted_is_raced_for_after_a_crash() -> None:
    track = Track()
    before = track.add("Node1", node())
    before.is_fed(T)
    before.is_fed(T)
    before.is_fed("other")
    after = track.add("Node1", node())
    assert after.told(facts.Restored) == [facts.Restored(3, 2)]
    assert len(after.searches) == 2
    for _ in range(3):
        after.finds()
    assert track.winners() == [("Node1", T), ("Node1", "other"), ("Node1", T)]
    again = track.add("Node1", node())
    assert again.searches == {}
    again.is_fed(T)
    again.finds()
    assert len(track.entries) == 4, "the count was kept"


def test_a_claim_that_nobody_answered_is_sent_again_as_it_was() -> None:
    track = Track()
    before = track.add("Node1", node())
    before.is_fed(T)
    track.serves = False
    before.finds()
    (*_, claim) = before.asked
    assert isinstance(claim, Claim)
    track.entries.append(claim.entry.plain())  # The ledger has it; then the node is killed.
    track.serves = True
    after = track.add("Node1", node())
    assert after.searches == {}
    assert [type(fact) for fact in after.facts] == [
        facts.Restored,
        facts.RaceWon,
        facts.LedgerUpdated,
    ]
    assert len(track.entries) == 1


def test_a_claim_is_on_disk_before_it_is_sent_and_its_end_before_it_is_told() -> None:
    machine = alone()
    machine.is_fed(T)
    before = len(machine.effects)
    machine.finds()
    kinds = [
        type(effect.fact if isinstance(effect, Emit) else effect)
        for effect in machine.effects[before:]
    ]
    assert kinds == [
        facts.PowCompleted,
        Persist,  # the claim
        Send,
        Persist,  # the ledger is not empty any more
        Persist,  # it is over
        facts.RaceWon,
        facts.LedgerUpdated,
    ]


def test_a_text_that_is_done_leaves_a_count_on_disk_and_no_text() -> None:
    machine = alone()
    machine.is_fed("x" * 5000)
    assert max(len(encode_record(record)) for record in machine.disk.values()) > 5000
    machine.finds()
    assert max(len(encode_record(record)) for record in machine.disk.values()) < 120
    for record in machine.disk.values():
        assert decode_record(encode_record(record)) == record


def test_a_journal_of_another_node_is_refused() -> None:
    with pytest.raises(LocalError, match="this journal is of Node2, and this node is called Node1"):
        Track().add("Node1", node(), LedgerKnown("Node2", "", 0, 0))
    with pytest.raises(LocalError, match="does not say of which ledger"):
        Track().add("Node1", node(), TextKept(0, bytes(32), 0, 1, T))
    with pytest.raises(LocalError, match="no record of a race"):
        Track().add("Node1", node(), "nonsense")


def test_what_is_forgotten_never_makes_a_second_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "TEXTS_MAX", 3)
    machine = alone()
    for number in range(5):
        machine.is_fed(f"text {number}")
        machine.finds()
    assert len(machine.disk) == 3 + 1
    assert machine.statistics.texts == 3
    machine.is_fed("text 0")
    assert machine.facts[-1] == facts.RaceStopped("text 0", 1, "Node1", 0.0, UNIX)
    machine.is_fed("text 4")
    machine.finds()
    assert machine.track.winners()[5:] == [("Node1", "text 4")]


# The ledger is replaced.


def test_a_deleted_ledger_begins_anew_and_what_waits_is_raced_for_there() -> None:
    machines = three()
    first, second, _ = machines
    track = first.track
    for machine in machines:
        machine.is_fed(T)
    first.finds()
    for machine in machines:
        machine.is_fed(T)
        machine.is_fed("other")
    track.entries.clear()
    track.look()
    track.settle()
    for machine in machines:
        assert machine.told(facts.LedgerReplaced) == [facts.LedgerReplaced(2)]
    second.finds()
    second.finds()
    assert track.winners() == [("Node2", T), ("Node2", "other")]
    assert [machine.searches for machine in machines] == [{}, {}, {}]
    assert [machine.statistics.waiting for machine in machines] == [0, 0, 0]


def test_a_ledger_deleted_before_a_claim_takes_the_claim() -> None:
    machine = alone()
    machine.is_fed("before")
    machine.finds()
    machine.is_fed(T)
    machine.track.entries.clear()
    machine.finds()
    assert machine.track.winners() == [("Node1", T)]
    after = machine.track.add("Node1", node())
    assert after.is_fed("before") == ACCEPTED
    after.finds()
    assert machine.track.winners() == [("Node1", T), ("Node1", "before")]
    assert not any(
        isinstance(record, TextKept) and not record.epoch for record in after.disk.values()
    ), "counts of the old ledger are cleared away"


def test_a_ledger_that_has_entries_already_is_joined_behind_them() -> None:
    old = {"node": "old", "transaction_data": T, "nonce": 1, "remark": ["kept"]}
    track = Track(old, old)
    machine = track.add("Node1", node())
    machine.is_fed(T)
    machine.finds()
    assert track.winners() == [("old", T), ("old", T), ("Node1", T)]
    assert track.entries[0] == old
    (enter,) = [
        effect.message
        for effect in machine.effects
        if isinstance(effect, Send) and isinstance(effect.message, Enter)
    ]
    assert (enter.since, enter.number) == (2, 1)


# The end.


def test_a_node_that_is_stopped_stops_its_searches_and_leaves() -> None:
    machine = alone()
    machine.is_fed(T)
    effects = machine.happens(Stopping())
    assert effects == [Cancel(1), Send(LOCAL, Leave())]
    assert machine.core.deadline() is None
    assert machine.happens(Connected(9, "127.0.0.1:1", "text")) == []


def test_statistics_count_what_happened() -> None:
    first, second, _ = three()
    first.is_fed(T)
    second.is_fed(T)
    second.is_fed("")
    first.waits(2)
    nonce = solved(first.searches[1])
    first.finds()
    assert (first.statistics.won, first.statistics.accepted, first.statistics.waiting) == (1, 1, 0)
    assert first.statistics.hashes == nonce + 1
    assert first.statistics.rate == (nonce + 1) / 2
    assert (second.statistics.stopped, second.statistics.refused) == (1, 1)
    assert second.statistics.reached


@pytest.mark.parametrize(
    "settings",
    [
        {"difficulty": 0},
        {"difficulty": 32},
        {"name": ""},
        {"name": "n" * 129},
        {"silent_seconds": 0},
        {"transaction_seconds": float("inf")},
        {"open_max": 0},
        {"token": "t" * 129},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        RaceSettings(**settings)  # type: ignore[arg-type]
