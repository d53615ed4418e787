"""What happened is told once, however many tell of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nonsuch.networks.coordinator import facts as coordinator
from nonsuch.networks.gossip import facts as gossip
from nonsuch.web import fleet
from nonsuch.web.observations import observed_fact
from nonsuch.web.picture import Picture
from nonsuch.web.pictures.sentences import (
    CAUSES_MAX,
    GOES_ON_SECONDS_MAX,
    MEMBERS_MAX,
    PAUSE_SECONDS,
    TOLD_CHARACTERS_MAX,
    TOLD_MAX,
    Again,
    Sentences,
    Words,
    shortened,
)
from nonsuch.web.rows import About

LOST = Words(" lost the coordinator: connection refused.")


def texts(sentences: Sentences) -> list[str]:
    return [row.text for row in sentences.table.rows.values()]


def test_many_who_tell_the_same_are_one_sentence() -> None:
    sentences = Sentences()
    seen = []
    for number in range(12):
        sentences.tell_of(number / 10, "coordinator lost", f"agent-{number}", "agent", LOST)
        seen += texts(sentences)
    assert [seen[0], seen[1], seen[2], seen[3], seen[-1]] == [
        "agent-0 lost the coordinator: connection refused.",
        "agent-0 and agent-1 lost the coordinator: connection refused.",
        "agent-0, agent-1 and agent-2 lost the coordinator: connection refused.",
        "4 agents lost the coordinator: connection refused.",
        "12 agents lost the coordinator: connection refused.",
    ]
    (row,) = sentences.table.rows.values()
    assert (row.at, row.until, sentences.count) == (0.0, 1.1, 1)


def test_what_goes_on_stays_one_sentence_and_what_comes_again_later_is_another() -> None:
    sentences = Sentences()
    for at in (0.0, PAUSE_SECONDS, 2 * PAUSE_SECONDS):
        sentences.tell_of(at, "lost", "a", "agent", LOST)
    assert sentences.count == 1
    sentences.tell_of(3.5 * PAUSE_SECONDS, "lost", "a", "agent", LOST)
    assert texts(sentences) == ["a lost the coordinator: connection refused."] * 2


def test_what_goes_on_for_long_is_told_again_now_and_then() -> None:
    sentences = Sentences()
    for at in range(int(5 * GOES_ON_SECONDS_MAX)):
        sentences.tell_of(float(at), "lost", "a", "agent", LOST)
    assert sentences.count == 5


def test_another_cause_is_another_sentence() -> None:
    sentences = Sentences()
    sentences.tell_of(0.0, "lost", "a", "agent", LOST)
    sentences.tell_of(0.0, "lost", "b", "agent", Words(" lost the coordinator: timed out."))
    sentences.tell_of(0.0, "lost", "c", "miner", LOST)
    sentences.tell_of(0.0, "left", "d", "agent", LOST)
    assert sentences.count == 4


def test_the_latest_sentence_is_the_last_though_it_began_before() -> None:
    sentences = Sentences()
    sentences.tell_of(0.0, "lost", "a", "agent", LOST)
    sentences.tell(1.0, "", "Something else.")
    sentences.tell_of(2.0, "lost", "a", "agent", LOST)
    assert texts(sentences) == ["Something else.", "a lost the coordinator: connection refused."]


def test_several_were_and_one_was() -> None:
    sentences = Sentences()
    words = Words(" was sent nonsense by node-7: it was void.")
    sentences.tell_of(0.0, "misbehaves", "a", "node", words)
    assert texts(sentences) == ["a was sent nonsense by node-7: it was void."]
    sentences.tell_of(0.0, "misbehaves", "b", "node", words)
    assert texts(sentences) == ["a and b were sent nonsense by node-7: it was void."]


def test_a_terminal_gets_some_names_and_then_numbers_that_double() -> None:
    sentences = Sentences()
    for number in range(100):
        for _ in range(2):
            sentences.tell_of(number / 10, "lost", f"a{number}", "agent", Words(" lost it."))
    sentences.tell(10.0, "", "Something else.")
    assert list(sentences.lines) == [
        *("a0 lost it.", "a1 lost it.", "a2 lost it."),
        *(f"{count} agents lost it." for count in (4, 8, 16, 32, 64)),
        "Something else.",
    ]
    for _ in range(2 * TOLD_MAX):
        sentences.tell(11.0, "", "Something else.")
    assert len(sentences.lines) == TOLD_MAX


def test_what_is_told_of_the_same_again_says_how_often_and_what_the_last_was() -> None:
    sentences = Sentences()
    for number in range(1, 10):
        again = Again(" was caught", f"; the last: lie {number}.")
        words = Words(f" was caught: lie {number}.", "", again)
        sentences.tell_of(float(number), "cheated", "a", "miner", words)
        if number == 1:
            assert texts(sentences) == ["a was caught: lie 1."]
    assert texts(sentences) == ["a was caught 9 times; the last: lie 9."]
    words = Words("", "", Again(" was caught", "; the last: lie 10."))
    sentences.tell_of(9.0, "cheated", "b", "miner", words)
    assert texts(sentences) == ["a and b were caught 10 times; the last: lie 10."]
    assert list(sentences.lines) == [
        *(f"a was caught: lie {number}." for number in (1, 2, 3)),
        *(f"a was caught {number} times; the last: lie {number}." for number in (4, 8)),
    ]


def test_what_was_told_once_of_each_has_no_count() -> None:
    sentences = Sentences()
    words = Words(" joined, which makes 7.", "", Again(" joined"))
    for name in "abcd":
        sentences.tell_of(0.0, "joined", name, "miner", words)
    assert texts(sentences) == ["4 miners joined."]


def test_a_row_of_the_same_is_one_sentence_that_ends_with_a_new_one() -> None:
    sentences = Sentences()
    sentences.tell_of(0.0, "lost", "a", "agent", LOST)
    for number in range(5):
        sentences.tell_in_a_row(1.0, "b", f"b won race {number}.", "races were won", "good")
        # What goes on there is no new sentence.
        sentences.tell_of(1.0, "lost", "a", "agent", LOST)
    assert texts(sentences) == [
        "5 races were won; the last: b won race 4.",
        "a lost the coordinator: connection refused.",
    ]
    sentences.tell(2.0, "c", "c was killed.", "fault")
    sentences.tell_in_a_row(3.0, "d", "d won race 5.", "races were won", "good")
    assert texts(sentences)[-2:] == ["c was killed.", "d won race 5."]
    sentences.end()
    sentences.tell_in_a_row(4.0, "d", "d won race 6.", "races were won", "good")
    assert texts(sentences)[-2:] == ["d won race 5.", "d won race 6."]


def test_hashes_are_cut_to_what_people_compare() -> None:
    assert shortened(f"the hash {'ab' * 32} is above") == "the hash ababababab… is above"
    assert shortened(f"0x{'0' * 20}{'7' * 44}") == f"0x{'0' * 20}777777…"
    for other in ("18446744073709551615", "x" * 64, "127.0.0.1:8080", "g" + "a" * 40):
        assert shortened(other) == other


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-100, 100), st.floats(allow_nan=False)),
            st.sampled_from("abcde"),
            st.integers(0, 60),
        ),
        max_size=80,
    )
)
def test_there_are_never_too_many(told: list[tuple[float, str, int]]) -> None:
    sentences = Sentences()
    for at, name, cause in told:
        words = Words("", cause=str(cause), again=Again("") if cause % 2 else None)
        sentences.tell_of(at, "lost", name, "agent", words)
        if cause % 3:
            sentences.tell_in_a_row(at, name, "one", str(cause % 3))
        sentences._check()
        sentences.table._check()


def test_a_flood_keeps_its_bounds() -> None:
    sentences = Sentences()
    for number in range(2 * TOLD_MAX):
        sentences.tell_of(0.0, "lost", "a", "agent", Words("", cause=str(number)))
    assert len(sentences._go_on) == CAUSES_MAX
    for number in range(2 * MEMBERS_MAX):
        sentences.tell_of(0.0, "lost", f"agent-{number}", "agent", LOST)
    sentences._check()
    assert len(sentences.table.rows) == TOLD_MAX
    sentences.tell_of(0.0, "lost", "a" * 10**5, "agent", Words("x" * 10**5, "y" * 10**5))
    assert len(texts(sentences)[-1]) == TOLD_CHARACTERS_MAX
    sentences.tell_of(0.0, "lost", "agent-1", "agent", LOST)
    assert texts(sentences)[-1] == "1,000 agents lost the coordinator: connection refused."


# As the networks tell it.


def test_a_liar_among_two_hundred_is_one_sentence() -> None:
    picture = Picture(About("gossip"))
    for number in range(200):
        picture.fold(observed_fact(fleet.ProcessStarted(f"node-{number}", "gossip"), "", 0.0))
    for lie in range(3):
        for number in range(1, 200):
            reason = f"the hash {lie:02x}{'c0' * 31} is above the target {'00' * 4}{'ff' * 28}"
            fact = gossip.PeerMisbehaves("node-0", reason, number)
            picture.fold(observed_fact(fact, f"node-{number}", 100.0 + 10 * lie + number / 100))
    assert texts(picture.board.sentences) == [
        "200 nodes were started.",
        "199 nodes were sent nonsense by node-0:"
        " the hash 02c0c0c0c0… is above the target 00000000ffffff…",
    ]
    # Each node's own note is about that node.
    note = picture.board.nodes.rows["node-5"].note
    assert note.startswith("node-5 was sent nonsense by node-0: the hash")


def test_a_dead_coordinator_behind_a_relay_is_one_sentence() -> None:
    picture = Picture(About("coordinator"))
    for attempt in range(1, 5):
        for number in range(12):
            name, at = f"agent-{number}", 10.0 * attempt + number / 10
            reached = coordinator.CoordinatorReached("127.0.0.1:7", attempt)
            picture.fold(observed_fact(reached, name, at))
            lost = coordinator.CoordinatorLost("connection reset")
            picture.fold(observed_fact(lost, name, at + 0.05))
    assert texts(picture.board.sentences) == ["12 agents lost the coordinator: connection reset."]


def test_a_reorganisation_of_all_is_one_sentence() -> None:
    picture = Picture(About("gossip"))
    for number in range(30):
        fact = gossip.Reorganised(1, 2, 40, "ab", 42)
        picture.fold(observed_fact(fact, f"node-{number}", 1.0 + number / 10))
    (text,) = texts(picture.board.sentences)
    assert text == (
        "30 nodes went over to another branch at height 40:"
        " 1 block given up, 2 taken in their place."
    )
