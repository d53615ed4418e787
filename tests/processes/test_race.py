"""Nodes of a race as people run them: processes that are fed by `nc`, killed, and started again."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from hashlib import sha256
from itertools import pairwise
from typing import TypedDict

import pytest

from tests.processes.conftest import EVENT_SECONDS, Network, Process, free_port, free_ports

RECEIVED = b"Transaction received. Processing POW..."
NAMES = ("Node1", "Node2", "Node3")


class Entry(TypedDict):
    """What stands in a ledger."""

    node: str
    transaction_data: str
    nonce: int
    hash: str
    time_taken: float
    start_time: str
    end_time: str


class Race:
    """Three nodes with one ledger."""

    def __init__(self, network: Network, *options: str, ledger: str | None = None) -> None:
        self.network = network
        self.path = network.folder / "ledger.json"
        self.ledger = ledger or str(self.path)
        self.options = options
        self.ports = {name: free_port() for name in NAMES}
        self.nodes = {name: self.start(name) for name in NAMES}

    def start(self, name: str) -> Process:
        """A node, once it takes transactions."""
        journal = self.network.folder / f"{name}.journal"
        command = ["race", "node", name, str(self.ports[name]), "--ledger", self.ledger]
        process = self.network.start(*command, "--journal", str(journal), "--json", *self.options)
        process.wait_for("node started")
        return process

    def restart(self, name: str) -> None:
        self.nodes[name] = self.start(name)

    def send(self, name: str, text: str, pieces: int = 1) -> bytes:
        """What a node answers to a transaction; nothing where it is not there."""
        data = text.encode()
        cuts = [len(data) * number // pieces for number in range(pieces + 1)]
        try:
            with socket.create_connection(("127.0.0.1", self.ports[name]), EVENT_SECONDS) as client:
                for start, stop in pairwise(cuts):
                    client.sendall(data[start:stop])
                client.shutdown(socket.SHUT_WR)
                return read_all(client)
        except OSError:
            return b""

    def entries(self) -> list[Entry]:
        entries: list[Entry] = json.loads(self.path.read_text())
        return entries

    def wait_for_entries(self, count: int) -> list[Entry]:
        """The ledger, once it has so many."""
        until = time.monotonic() + EVENT_SECONDS
        while time.monotonic() < until:
            if self.path.exists() and len(entries := self.entries()) >= count:
                return entries
            time.sleep(0.05)
        raise AssertionError(f"{len(self.entries())} entries, and not {count}")


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(4096):
        parts.append(part)
    return b"".join(parts)


def first_nonce(text: str, zeros: int) -> tuple[int, str]:
    """By plain hashing, and nothing of ours."""
    nonce = 0
    while not (digits := sha256(f"{text}{nonce}".encode()).hexdigest()).startswith("0" * zeros):
        nonce += 1
    return nonce, digits


def check_entry(entry: Entry, zeros: int) -> None:
    assert list(entry) == list(Entry.__annotations__)
    assert (entry["nonce"], entry["hash"]) == first_nonce(entry["transaction_data"], zeros)
    assert isinstance(entry["time_taken"], float)
    assert entry["start_time"] <= entry["end_time"]


@pytest.fixture(params=["file", "keeper"])
def race(request: pytest.FixtureRequest, network: Network) -> Race:
    """With the ledger as a file of the nodes' machine, or behind a keeper."""
    if request.param == "file":
        return Race(network, "--difficulty", "1")
    port = free_port()
    command = ["race", "keeper", "--port", str(port), "--difficulty", "1", "--json"]
    keeper = network.start(*command, "--ledger", str(network.folder / "ledger.json"))
    keeper.wait_for("listening")
    made = Race(network, "--difficulty", "1", "--keeper", f"127.0.0.1:{port}")
    for node in made.nodes.values():
        node.wait_for("ledger joined")
    return made


def test_200_transactions_have_200_winners_though_nodes_die(race: Race) -> None:
    lots = random.Random(5)
    texts = [f"transaction {number}" for number in range(150)]
    texts += [f"twice {number}" for number in range(25)] * 2
    lots.shuffle(texts)
    accepted: Counter[str] = Counter()
    count_lock = threading.Lock()

    def feed(name: str, batch: list[str]) -> None:
        for text in batch:
            answer = race.send(name, text, pieces=lots.choice((1, 1, 2, 7)))
            assert answer in (b"", RECEIVED)
            with count_lock:
                accepted[text] += bool(answer)

    for round_number in range(5):
        batch = texts[40 * round_number : 40 * round_number + 40]
        # Of three nodes one dies in each round, so any two that take a text have one in common
        # with any two that take it again.
        victim = NAMES[round_number % 3]
        orders = {name: lots.sample(batch, len(batch)) for name in NAMES}
        feeders = [threading.Thread(target=feed, args=each) for each in orders.items()]
        for feeder in feeders:
            feeder.start()
        race.nodes[victim].wait_for("pow started")
        race.nodes[victim].kill()
        for feeder in feeders:
            feeder.join(EVENT_SECONDS)
        race.restart(victim)
    assert min(accepted.values()) >= 2, "all but the victim take every text"
    entries = race.wait_for_entries(200)
    # Every node has nothing left to race for, so nothing more can come.
    for name in NAMES:
        race.send(name, f"last of {name}")
    entries = race.wait_for_entries(203)
    texts += [f"last of {name}" for name in NAMES]
    assert Counter(entry["transaction_data"] for entry in entries) == Counter(texts)
    for entry in entries:
        check_entry(entry, zeros=2)


@pytest.mark.parametrize("program", ["nc", "nc -N", "ncat"])
def test_netcat_as_people_use_it(network: Network, program: str) -> None:
    if shutil.which(program.split()[0]) is None or shutil.which("bash") is None:
        pytest.skip(f"there is no {program}, or no bash")
    race = Race(network)
    feeds = " ".join(f">({program} localhost {port})" for port in race.ports.values())
    command = f'echo "Your transaction data" | tee {feeds} > /dev/null'
    subprocess.run(
        ["bash", "-c", command], check=True, timeout=EVENT_SECONDS, stdout=subprocess.PIPE
    )
    (entry,) = race.wait_for_entries(1)
    check_entry(entry, zeros=4)
    assert entry["nonce"] == 4117
    for name, node in race.nodes.items():
        if name == entry["node"]:
            node.wait_for("race won")
        else:
            node.wait_for("transaction received", text="Your transaction data")


def test_nodes_fed_one_after_the_other_have_one_winner(race: Race) -> None:
    for name in NAMES:
        assert race.send(name, "one by one") == RECEIVED
        (entry,) = race.wait_for_entries(1)
        assert entry["node"] == NAMES[0]
    for name in reversed(NAMES):
        assert race.send(name, "one by one") == RECEIVED
        race.wait_for_entries(2)
    entries = race.entries()
    assert [entry["node"] for entry in entries] == ["Node1", "Node3"]


def test_what_cannot_be_raced_for_is_refused_and_harms_nobody(network: Network) -> None:
    race = Race(network, "--difficulty", "1")
    for data in (b"", b" \n", b"\xff\xfe", b"x" * 70_000):
        with socket.create_connection(("127.0.0.1", race.ports["Node1"])) as client:
            client.settimeout(EVENT_SECONDS)
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                answer = read_all(client)
            except ConnectionError:
                answer = b"cut"  # It had not read all when it hung up.
            assert answer not in (b"", RECEIVED)
    # Somebody who says nothing holds up nobody.
    with socket.create_connection(("127.0.0.1", race.ports["Node1"])):
        assert race.send("Node1", "after all that", pieces=14) == RECEIVED
        (entry,) = race.wait_for_entries(1)
    assert entry["transaction_data"] == "after all that"


def test_a_corrupt_ledger_is_refused_and_kept(network: Network) -> None:
    path = network.folder / "ledger.json"
    path.write_text('[{"node": "Node1", "transac')
    process = network.start("race", "node", "Node1", "0", "--ledger", str(path), "--journal", "off")
    assert process.wait() == 2
    assert str(path) in process.errors
    assert "mend" in process.errors
    assert path.read_text() == '[{"node": "Node1", "transac'


def test_a_ledger_that_breaks_while_nodes_run_is_kept_until_somebody_mends_it(
    network: Network,
) -> None:
    race = Race(network, "--difficulty", "1")
    race.send("Node1", "before")
    race.wait_for_entries(1)
    good = race.path.read_text()
    race.path.write_text(good[:-3])
    race.send("Node2", "after")
    race.nodes["Node2"].wait_for("ledger unusable")
    assert race.path.read_text() == good[:-3]
    race.path.write_text(good)
    assert [entry["transaction_data"] for entry in race.wait_for_entries(2)] == ["before", "after"]


def test_other_keys_of_other_programs_are_preserved(network: Network) -> None:
    path = network.folder / "ledger.json"
    old = {"node": "Node9", "transaction_data": "old", "hash": "?", "mood": [1, {"a": None}]}
    path.write_text(json.dumps([old], indent=4))
    race = Race(network, "--difficulty", "1")
    race.send("Node2", "old")
    race.wait_for_entries(2)
    text = path.read_text()
    entries = json.loads(text)
    assert entries[0] == old
    assert text == json.dumps(entries, indent=4)


def test_a_keeper_wants_a_token_and_nodes_on_the_same_difficulty(network: Network) -> None:
    port = free_port()
    token = network.folder / "token"
    token.write_text("open sesame")
    ledger = str(network.folder / "ledger.json")
    keeper = network.start(
        "race",
        "keeper",
        "--port",
        str(port),
        "--ledger",
        ledger,
        "--json",
        NONSUCH_TOKEN="open sesame",
    )
    keeper.wait_for("listening")
    common = ["race", "node", "Node1", "0", "--keeper", f"127.0.0.1:{port}", "--journal", "off"]
    refused = network.start(*common)
    assert refused.wait() == 2
    assert "token" in refused.errors
    harder = network.start(*common, "--difficulty", "3", "--token-file", str(token))
    assert harder.wait() == 2
    assert "difficulty" in harder.errors
    node = network.start(*common, "--token-file", str(token), "--json")
    node.wait_for("ledger joined")


def test_a_keeper_that_is_killed_and_comes_back_loses_no_claim(network: Network) -> None:
    port = free_port()
    ledger = str(network.folder / "ledger.json")
    command = [
        "race",
        "keeper",
        "--port",
        str(port),
        "--difficulty",
        "1",
        "--ledger",
        ledger,
        "--json",
    ]
    keeper = network.start(*command)
    keeper.wait_for("listening")
    race = Race(network, "--difficulty", "1", "--keeper", f"127.0.0.1:{port}")
    for node in race.nodes.values():
        node.wait_for("ledger joined")
    keeper.kill()
    for node in race.nodes.values():
        node.wait_for("keeper lost")
    for name in NAMES:
        assert race.send(name, "while it is away") == RECEIVED
    network.start(*command).wait_for("listening")
    (entry,) = race.wait_for_entries(1)
    check_entry(entry, zeros=2)


def test_race_starts_three_nodes_and_leaves_none(network: Network) -> None:
    first = free_ports(len(NAMES))
    ledger = network.folder / "ledger.json"
    command = ("race", "--port", str(first), "--ledger", str(ledger), "--json")
    state = str(network.folder)
    together = network.start(*command, XDG_STATE_HOME=state)
    started = [together.wait_for("node started") for _ in NAMES]
    assert {fact["process"] for fact in started} == set(NAMES)
    with socket.create_connection(("127.0.0.1", first + 1)) as client:
        client.sendall(b"Your transaction data\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == RECEIVED
    together.wait_for("race won", process="Node2")
    together.signal(signal.SIGINT)
    assert together.wait() == 0
    for port in range(first, first + 3):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port))


def test_a_node_can_be_the_keeper_too(network: Network) -> None:
    port = free_port()
    ledger = ["--ledger", str(network.folder / "ledger.json"), "--difficulty", "1"]
    first = network.start(
        *("race", "node", "Node1", "0", "--journal", "off", "--json", "--keep", str(port)), *ledger
    )
    first.wait_for("listening", address=f"127.0.0.1:{port}")
    race = Race(network, "--difficulty", "1", "--keeper", f"127.0.0.1:{port}")
    race.nodes["Node2"].wait_for("ledger joined")
    assert race.send("Node2", "from afar") == RECEIVED
    (entry,) = race.wait_for_entries(1)
    check_entry(entry, zeros=2)


def test_losers_that_finish_say_so(network: Network) -> None:
    race = Race(network, "--finish")
    for name in NAMES:
        race.send(name, "to the end")
    for name in NAMES:
        race.nodes[name].wait_for("pow completed", nonce=first_nonce("to the end", 4)[0])
    assert len(race.wait_for_entries(1)) == 1
    assert not any(node.has_seen("race stopped") for node in race.nodes.values())


def test_who_says_nothing_is_dropped(network: Network) -> None:
    race = Race(network)
    with socket.create_connection(("127.0.0.1", race.ports["Node1"]), EVENT_SECONDS) as client:
        assert read_all(client), "a word of why"
    race.nodes["Node1"].wait_for("transaction refused")


def test_a_node_knows_its_ledger_by_any_name(network: Network) -> None:
    """Its journal is the same one, so what it has accepted is raced for."""
    folder = network.folder / "folder"
    folder.mkdir()
    long_name = "n" * 70
    for ledger in (f"{folder}/l.json", f"{folder}/../folder/l.json"):
        process = network.start(
            *("race", "node", long_name, "0", "--ledger", ledger, "--json"),
            XDG_STATE_HOME=str(network.folder),
        )
        process.wait_for("node started")
        process.signal(signal.SIGTERM)
        process.wait()
    assert len(list((network.folder / "nonsuch").glob("race-*.journal"))) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("race", "--difficulty", "3", "node", "Node1", "0"),
        ("race", "node", b"\xff".decode(errors="surrogateescape"), "0"),
        ("race", "node", "Node1", "0", "--tls"),
        ("race", "node", "Node1", "0", "--keep", "1", "--keeper", "127.0.0.1:1"),
        ("race", "ledger", "nowhere.json"),
        ("race", "--difficulty", "0"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    network: Network, command: tuple[str, ...]
) -> None:
    process = network.start(*command)
    assert process.wait() == 2
    assert process.errors.startswith("nonsuch: ")
    assert process.errors.count("\n") == 1


def test_the_ledger_is_shown(network: Network) -> None:
    race = Race(network, "--difficulty", "1")
    for number in range(3):
        race.send("Node1", f"text {number}")
    race.wait_for_entries(3)
    shown = network.start("race", "ledger", str(race.path))
    assert shown.wait() == 0
    assert "Node1" in shown.output
    assert "text 2" in shown.output
    picture = network.folder / "times.png"
    report = network.start("race", "ledger", str(race.path), "--json", "--plot", str(picture))
    assert report.wait() == 0, report.errors
    content = json.loads(report.output)
    assert content["nodes"][0]["wins"] == 3
    assert len(content["entries"]) == 3
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_ledger_in_sqlite_is_as_good(network: Network) -> None:
    file = f"sqlite:{network.folder / 'ledger.db'}"
    race = Race(network, "--difficulty", "1", ledger=file)
    for name in NAMES:
        assert race.send(name, "one text") == RECEIVED
    until = time.monotonic() + EVENT_SECONDS
    entries: list[Entry] = []
    while not entries and time.monotonic() < until:
        shown = network.start("race", "ledger", file, "--json")
        if shown.wait() == 0:
            entries = json.loads(shown.output)["entries"]
    (entry,) = entries
    check_entry(entry, zeros=2)
