"""`nonsuch up` and `nonsuch replay` as people run them: whole networks, and nothing left behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from nonsuch import solve
from nonsuch.live.journal import Journal
from nonsuch.web.observations import Observation
from nonsuch.web.rows import About, Job, Node, Shard, Told
from tests.processes.conftest import free_port

HAPPENS_SECONDS = 120.0
"""How long a test waits for what takes some seconds, on a busy machine."""

STOP_SECONDS = 10.0
"""It takes less than two, where nothing else is to be done."""

pytestmark = pytest.mark.timeout(300)


class Tables(msgspec.Struct):
    """Of a picture, what is looked at here."""

    nodes: dict[str, Node] = {}
    told: dict[str, Told] = {}
    about: dict[str, About] = {}
    jobs: dict[str, Job] = {}
    shards: dict[str, Shard] = {}


class Picture(msgspec.Struct):
    """What `/api/picture` answers."""

    set: Tables


class Sentence(msgspec.Struct):
    """What an action answers."""

    text: str


class Command:
    """`nonsuch ARGUMENTS…`, whose output is read as it is written."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nonsuch", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        self.lines: list[str] = []
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._unread.put(self.lines[-1])
        self._unread.put(None)

    def wait_for_line(self, is_it: Callable[[str], bool]) -> str:
        """The next line that is it."""
        until = time.monotonic() + HAPPENS_SECONDS
        while True:
            try:
                line = self._unread.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not in {self.lines[-30:]}") from None
            assert line is not None, f"ended: {self.lines[-30:]}"
            if is_it(line):
                return line

    def wait_for(self, fact: str) -> Observation:
        """The next observation of this fact."""
        return observed(self.wait_for_line(lambda line: f'"fact":"{fact}"' in line))

    def open(self) -> None:
        """Until the dashboard is there."""
        line = self.wait_for_line(lambda line: line.startswith("dashboard"))
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found is not None
        self.port = int(found[1])

    @property
    def observations(self) -> list[Observation]:
        """All that it printed."""
        return [observed(line) for line in self.lines if line.startswith('{"at"')]

    @property
    def children(self) -> list[int]:
        """The processes that it has started."""
        return [int(pid) for pid, parent, _ in processes() if int(parent) == self.process.pid]

    # As a browser.

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """A request, and its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HAPPENS_SECONDS)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "X-Nonsuch": "1"}
            data = None if body is None and method == "GET" else msgspec.json.encode(body or {})
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def do(self, path: str, body: object = None) -> str:
        """An action that is done."""
        status, answer = self.ask("POST", f"/api/{path}", body)
        assert status == 200, answer
        return msgspec.json.decode(answer, type=Sentence).text

    def see(self) -> Tables:
        """The picture as it is now."""
        status, answer = self.ask("GET", "/api/picture")
        assert status == 200
        return msgspec.json.decode(answer, type=Picture).set

    def see_until(self, is_so: Callable[[Tables], bool]) -> Tables:
        """The picture, once it is so."""
        until = time.monotonic() + HAPPENS_SECONDS
        while not is_so(tables := self.see()):
            told = [each.text for each in tables.told.values()][-20:]
            assert time.monotonic() < until, f"{told} {tables.nodes} {tables.jobs}"
            time.sleep(0.05)
        return tables

    def see_told(self, words: str) -> Tables:
        """The picture, once a sentence has these words in it."""
        return self.see_until(lambda now: any(words in told.text for told in now.told.values()))

    # Its end.

    def stop(self) -> None:
        """Ctrl-C ends it, and all that it has started."""
        children = self.children
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(STOP_SECONDS) == 0, self.lines[-20:]
        self._reader.join(STOP_SECONDS)
        assert not living(children)

    def close(self) -> None:
        """Whatever it is doing: end it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def observed(line: str) -> Observation:
    return msgspec.json.decode(line, type=Observation)


def processes() -> list[list[str]]:
    """Number, parent and state of each."""
    command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[:3] for line in listed.splitlines()]


def living(numbers: list[int]) -> set[int]:
    """Which of them run; one that has ended and that nobody has asked about does not."""
    running = {int(pid) for pid, _, state in processes() if not state.startswith("Z")}
    return running & set(numbers)


def wait_until_dead(numbers: list[int]) -> None:
    until = time.monotonic() + HAPPENS_SECONDS
    while left := living(numbers):
        assert time.monotonic() < until, left
        time.sleep(0.05)


class Start(Protocol):
    """Starts a command."""

    def __call__(self, *arguments: str) -> Command: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands in a folder of their own; none of them outlives the test."""
    started: list[Command] = []

    def begin(*arguments: str) -> Command:
        command = Command(tmp_path, *arguments)
        started.append(command)
        return command

    yield begin
    for command in started:
        command.close()


@pytest.fixture
def up(start: Start) -> Start:
    """Starts a network whose dashboard is there."""

    def begin(*arguments: str) -> Command:
        command = start("up", "--port", str(free_port()), *arguments)
        command.open()
        return command

    return begin


ALIVE = {
    "pool": "worked",
    "gossip": "block accepted",
    "peer": "transaction accepted",
    "race": "race won",
    "coordinator": "block accepted",
}
"""What shows that a network lives, by the facts of more than one of its nodes."""


@pytest.mark.parametrize("network", ALIVE)
def test_a_network_comes_to_life_and_ends_without_a_trace(start: Start, network: str) -> None:
    command = start("up", "--network", network, "--headless", "--json")
    line = command.wait_for_line(lambda line: line.startswith("data "))
    folder = Path(line.split()[1].rstrip(","))
    assert folder.is_dir()
    command.wait_for(ALIVE[network])
    assert command.children
    command.stop()
    assert not folder.exists()
    assert all(each.fact != "process ended" for each in command.observations)


def test_killed_the_hard_way_it_leaves_no_child(start: Start) -> None:
    command = start("up", "--headless", "--json", "--nodes", "3")
    command.wait_for("worked")
    children = command.children
    assert len(children) == 4
    command.process.kill()
    wait_until_dead(children)


def test_a_job_from_the_page_has_its_right_answer(up: Start) -> None:
    pool = up("--nodes", "2", "--control")
    said = pool.do("jobs", {"message": "from the page", "upto": 3_000_000})
    assert "nonces 0 to 3,000,000" in said
    tables = pool.see_until(lambda now: any(job.nonce is not None for job in now.jobs.values()))
    (job,) = tables.jobs.values()
    best = solve("from the page", upto=3_000_000)
    assert (job.message, job.nonce, job.hash) == ("from the page", best.nonce, best.hexdigest)
    assert job.verified
    pool.see_until(lambda now: now.nodes["client"].role == "client")
    pool.stop()


def test_miners_that_are_killed_frozen_and_lie(
    up: Start, hash_count: Callable[[float], int]
) -> None:
    pool = up("--nodes", "2", "--control")
    upto = hash_count(8)
    pool.see_until(all_up)
    pool.do("jobs", {"message": "a miner dies", "upto": upto})
    pool.see_until(lambda now: bool(leased(now, "miner-1")))
    assert pool.do("nodes/miner-1/kill") == "miner-1 was killed."
    tables = pool.see_told("miner-1 was killed: its")
    assert tables.nodes["miner-1"].state == "dead"
    status, answer = pool.ask("POST", "/api/nodes/miner-1/kill", {})
    assert (status, b"restart it first" in answer) == (400, True)

    pool.do("nodes/miner-2/freeze")
    pool.see_told(", and leases went back into the queue")
    pool.do("nodes/miner-2/thaw")
    tables = pool.see_until(lambda now: all(job.state == "done" for job in now.jobs.values()))
    (job,) = tables.jobs.values()
    best = solve("a miner dies", upto=upto)
    assert (job.nonce, job.hash) == (best.nonce, best.hexdigest)
    searched = {shard.state for shard in tables.shards.values() if shard.node == "miner-2"}
    assert "done" in searched

    assert "nothing" in pool.do("nodes/miner-1/lie")
    pool.see_until(lambda now: now.nodes["miner-1"].lies and now.nodes["miner-1"].state == "up")
    pool.do("jobs", {"message": "a miner lies", "upto": upto})
    tables = pool.see_told("miner-1 was caught cheating")
    assert not any("miner-2 was caught" in told.text for told in tables.told.values())
    pool.do("nodes/miner-1/restart")
    assert pool.do("nodes", {"role": "miner"}) == "miner-3 was started."
    assert pool.see().about["about"].title == "A pool: 3 miners on this machine"
    pool.see_until(lambda now: "miner-3" in now.nodes and all_up(now))
    status, answer = pool.ask("POST", "/api/loss", {"share": 0.5})
    assert (status, b"only gossip" in answer) == (409, True)
    pool.stop()


def all_up(now: Tables) -> bool:
    """Whether nobody is still to come, or gone."""
    return all(node.state == "up" for node in now.nodes.values())


def leased(now: Tables, miner: str) -> list[Shard]:
    """What this miner has to search."""
    shards = now.shards.values()
    return [shard for shard in shards if (shard.node, shard.state) == (miner, "leased")]


def test_a_miner_of_gossip_that_is_cut_off_finds_back(up: Start) -> None:
    gossip = up("--network", "gossip", "--nodes", "3", "--control")
    gossip.see_until(lambda now: all(node.tip is not None for node in now.nodes.values()))
    gossip.do("nodes/node-2/cut")
    alone = gossip.see().nodes["node-2"]
    assert alone.state == "cut"
    gossip.see_until(lambda now: (now.nodes["node-1"].height or 0) > (alone.height or 0) + 2)
    assert "30%" in gossip.do("loss", {"share": 0.3})
    gossip.do("nodes/node-2/mend")
    gossip.see_until(lambda now: len({node.tip for node in now.nodes.values()}) == 1)
    assert "was mended" in gossip.do("heal")
    gossip.do("nodes/node-3/lie")
    gossip.see_told("nonsense by node-3")
    gossip.do("nodes", {"role": "gossip"})
    gossip.see_until(lambda now: (now.nodes["node-4"].height or 0) > 2)
    gossip.stop()


def test_a_race_from_the_page_whose_nodes_can_be_cut_off(up: Start) -> None:
    race = up("--network", "race", "--nodes", "2", "--control", "--no-traffic")
    race.see_until(all_up)
    race.do("nodes/Node1/cut")
    assert "Node2 took the transaction" in race.do("transactions", {"text": "Alice pays Bob 5"})
    race.see_told("Node2 won the race for 'Alice pays Bob 5'")
    assert race.see().nodes["Node1"].state == "cut"
    race.do("nodes/Node1/mend")
    race.stop()


def test_peers_take_a_transaction_from_the_page(up: Start) -> None:
    peers = up("--network", "peer", "--nodes", "2", "--control", "--no-traffic")
    peers.see_told("found a neighbour")
    assert "took the transaction" in peers.do("transactions", {"text": "Alice pays Bob 5"})
    status, answer = peers.ask("POST", "/api/transactions", {"text": "a bar | is not allowed"})
    assert (status, b"has no bar" in answer) == (400, True)
    peers.stop()


def test_without_control_it_only_shows(up: Start) -> None:
    pool = up("--nodes", "1")
    assert any("first job" in line for line in pool.lines)
    status, answer = pool.ask("POST", "/api/nodes/pool/kill", {})
    assert (status, b"--control" in answer) == (403, True)
    status, page = pool.ask("GET", "/")
    assert (status, b"<title" in page) == (200, True)
    pool.see_until(lambda now: bool(now.jobs))
    pool.stop()


def test_ports_that_are_taken_are_passed_over_and_that_is_said(start: Start) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as page,
        contextlib.suppress(OSError),
        socket.create_server(("127.0.0.1", 7270)),
    ):
        number = page.getsockname()[1]
        pool = start("up", "--nodes", "1", "--port", str(number))
        pool.wait_for_line(lambda line: line.startswith("port 7270 is taken"))
        pool.wait_for_line(lambda line: line.startswith(f"port {number} is taken"))
        pool.port = number + 1
        pool.stop()


@pytest.mark.parametrize("networks", [("gossip", "race"), ("pool", "pool")])
def test_two_networks_that_begin_together_both_live(
    start: Start, networks: tuple[str, str]
) -> None:
    port = str(free_port())
    both = [start("up", "--network", each, "--json", "--port", port) for each in networks]
    for network, command in zip(networks, both, strict=True):
        command.wait_for(ALIVE[network])
    for command in both:
        command.stop()
        assert all(each.fact != "process ended" for each in command.observations)


@pytest.mark.parametrize(
    ("network", "used", "complaint"),
    [
        ("pool", ["pool.journal"], "pool cannot start: cannot use the journal"),
        ("coordinator", ["coordinator.journal"], "coordinator cannot start: cannot use the"),
        ("gossip", ["node-1.store", "node-2.store"], "no miner can start; node-"),
        ("peer", ["peer-1.journal", "peer-2.journal"], "no peer can start; peer-"),
    ],
)
def test_a_network_that_cannot_start_says_why_and_ends(
    start: Start, tmp_path: Path, network: str, used: list[str], complaint: str
) -> None:
    data = tmp_path / "data"
    journals = [Journal(data / name, encode, decode) for name in used]
    network_up = start(
        *("up", "--network", network, "--nodes", "2"),
        *("--data", str(data), "--port", str(free_port())),
    )
    assert network_up.process.wait(HAPPENS_SECONDS) == 2
    network_up.close()
    for journal in journals:
        journal.close()
    assert complaint in network_up.lines[-1]
    assert ": cannot use the journal" in network_up.lines[-1]
    assert network_up.lines[-1].endswith("another process uses it")
    assert not network_up.children


def encode(record: object) -> bytes:
    return str(record).encode()


def decode(record: bytes) -> object:
    return record


def test_a_folder_has_one_network_and_stays_as_that_has_left_it(
    start: Start, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = start("up", "--network", "gossip", "--nodes", "2", "--data", str(data), "--headless")
    first.wait_for_line(lambda line: "node-1" in line)
    kept = (data / "network.json").read_bytes()
    for network in ("gossip", "race", "pool"):
        second = start("up", "--network", network, "--data", str(data), "--port", str(free_port()))
        assert second.process.wait(HAPPENS_SECONDS) == 2
        second.close()
        assert second.lines == [f"nonsuch: cannot use {data}: another `up` uses it"]
    assert (data / "network.json").read_bytes() == kept
    first.stop()
    again = start("up", "--network", "gossip", "--nodes", "2", "--data", str(data), "--headless")
    again.wait_for_line(lambda line: "node-1" in line)
    again.stop()


def test_a_host_that_cannot_be_is_found_before_anything_is_started(
    start: Start, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a secret of some length")
    for host in ("192.0.2.1", "no such host.invalid"):
        command = start("up", "--network", "gossip", "--host", host, "--token-file", str(token))
        assert command.process.wait(HAPPENS_SECONDS) == 2
        command.close()
        assert host in command.lines[-1]
        assert not any("gossip" in line or "node-1" in line for line in command.lines)


def test_a_neighbour_that_is_not_there_is_called_by_its_name(up: Start) -> None:
    peers = up("--network", "peer", "--nodes", "2", "--control", "--no-traffic")
    peers.see_until(all_up)
    peers.do("nodes/peer-1/kill")
    peers.do("nodes/peer-2/restart")
    tables = peers.see_told("cannot reach peer-1")
    assert not any("127.0.0.1" in told.text for told in tables.told.values())
    peers.stop()


def test_a_node_that_dies_later_has_a_line_in_the_terminal(up: Start) -> None:
    pool = up("--nodes", "2")
    pool.see_until(lambda now: now.nodes["miner-2"].state == "up")
    numbers = sorted(pool.children)
    os.kill(numbers[-1], signal.SIGKILL)
    line = pool.wait_for_line(lambda line: "ended by itself" in line)
    assert line == "miner-2 ended by itself: killed by SIGKILL"
    pool.see_told("miner-2 ended by itself")
    pool.stop()


def test_while_a_pool_is_gone_its_miners_say_so_once(up: Start) -> None:
    pool = up("--nodes", "1", "--control")
    pool.see_told("joined the pool")
    pool.do("nodes/pool/kill")
    pool.see_told("lost the pool")
    pool.do("nodes/pool/restart")

    def since(now: Tables) -> list[str]:
        told = [told.text for told in now.told.values()]
        return told[told.index("pool was started again.") :]

    tables = pool.see_until(lambda now: any("joined the pool" in each for each in since(now)))
    assert sum("lost the pool" in told.text for told in tables.told.values()) == 1
    assert not any("lost" in each for each in since(tables))
    pool.stop()


def told_to_join(now: Tables) -> set[str]:
    """Who was told of as one that has joined, alone or with others."""
    texts = (told.text for told in now.told.values() if " joined" in told.text)
    return {word.strip(",.") for text in texts for word in text.split()}


def test_agents_have_their_names_from_the_beginning(up: Start) -> None:
    rounds = up("--network", "coordinator", "--nodes", "2", "--control")
    rounds.see_until(lambda now: {"agent-1", "agent-2"} <= told_to_join(now))
    assert not any("127.0.0.1" in told.text for told in rounds.see().told.values())
    rounds.stop()


def test_peers_find_each_other_at_the_first_attempt(start: Start) -> None:
    peers = start("up", "--network", "peer", "--nodes", "3", "--headless", "--json")
    peers.wait_for("transaction accepted")
    peers.stop()
    reached = [each for each in peers.observations if each.fact == "neighbour reached"]
    assert {each.values["attempts"] for each in reached} == {1}
    assert all(each.fact != "neighbour lost" for each in peers.observations)


def test_what_somebody_killed_has_left_behind_is_removed(start: Start) -> None:
    folders = []
    commands = []
    for _ in range(2):
        command = start("up", "--nodes", "1", "--headless", "--json")
        line = command.wait_for_line(lambda line: line.startswith("data "))
        folders.append(Path(line.split()[1].rstrip(",")))
        command.wait_for("worked")
        commands.append(command)
    children = commands[0].children
    commands[0].process.kill()
    wait_until_dead(children)
    assert folders[0].exists()
    third = start("up", "--nodes", "1", "--headless", "--json")
    third.wait_for("process started")
    assert not folders[0].exists()
    assert folders[1].exists(), "its owner lives"
    for command in (commands[1], third):
        command.stop()


def test_a_dashboard_for_everybody_is_told_by_a_name_that_others_can_use(
    start: Start, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a secret of some length")
    everywhere = ("--host", "0.0.0.0", "--token-file", str(token), "--port", str(free_port()))
    pool = start("up", "--nodes", "1", *everywhere)
    line = pool.wait_for_line(lambda line: line.startswith("dashboard"))
    assert "//0.0.0.0" not in line
    assert "?token=" in line
    pool.stop()


def test_a_race_is_simulated(up: Start) -> None:
    race = up("--sim", "--network", "race", "--nodes", "5", "--speed", "50", "--control")
    race.see_told("won")
    assert race.do("nodes", {"role": "race"}) == "Node6 was started."
    race.stop()


def test_a_replay_tells_what_was_recorded(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "a.recording"
    made = start("up", "--headless", "--json", "--nodes", "1", "--record", str(file))
    made.wait_for("worked")
    made.stop()
    assert any(line.startswith(f"recorded   {file}") for line in made.lines)
    again = start("replay", str(file), "--headless", "--json", "--speed", "1000")
    assert again.process.wait(HAPPENS_SECONDS) == 0
    again.close()
    assert again.observations == made.observations
    assert len(again.observations) > 5


def test_a_replay_is_shown_and_its_clock_can_be_set(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "a.recording"
    made = start("up", "--headless", "--json", "--nodes", "1", "--record", str(file))
    made.wait_for("worked")
    made.stop()
    shown = start("replay", str(file), "--port", str(free_port()))
    shown.open()
    assert "stands" in shown.do("replay", {"at": 0, "paused": True})
    assert "client" not in shown.see().nodes
    shown.do("replay", {"at": made.observations[-1].at + 1})
    assert shown.see().nodes["client"].role == "client"
    shown.stop()


def test_what_is_kept_is_there_again(start: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ("up", "--network", "race", "--nodes", "1", "--data", str(data), "--headless")
    ledgers = []
    for _ in range(2):
        race = start(*arguments)
        race.wait_for_line(lambda line: "Node1 won the race" in line)
        race.stop()
        ledgers.append(msgspec.json.decode((data / "ledger.json").read_bytes(), type=list[object]))
    first, second = ledgers
    assert second[: len(first)] == first
    assert len(second) > len(first) > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--network", "nothing"], "there is no network 'nothing'"),
        (["--host", "0.0.0.0"], "needs a token"),
        (["--nodes", "1000"], "too many for one machine"),
        (["--headless", "--host", "nonsense"], "--host is of no use here: --headless has no"),
        (["--headless", "--port", "9"], "--port is of no use here"),
        (["--sim", "--data", "here"], "--data is of no use here: a simulation keeps nothing"),
        (["--seed", "4"], "--seed is of no use here: only a simulation"),
        (["--threads", "0"], "--threads must lie"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    start: Start, arguments: list[str], complaint: str
) -> None:
    command = start("up", *arguments)
    assert command.process.wait(HAPPENS_SECONDS) == 2
    command.close()
    assert complaint in command.lines[-1]


def test_a_simulation_is_shown_and_controlled(up: Start) -> None:
    gossip = up("--sim", "--network", "gossip", "--nodes", "10", "--speed", "50", "--control")
    gossip.see_until(lambda now: (now.nodes["node-1"].height or 0) > 2)
    assert gossip.do("nodes/node-2/kill") == "node-2 was killed."
    gossip.see_until(lambda now: now.nodes["node-2"].state == "dead")
    gossip.stop()
