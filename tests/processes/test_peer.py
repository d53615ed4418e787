"""Peers as people run them: three processes, a prompt, questions from outside, and misfortunes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from tests.processes.conftest import EVENT_SECONDS, Network, Process, free_port

TARGET = 2**241
"""Some 32,000 hashes: a millisecond of the kernel, and a twentieth of a second of hashlib."""


class Transaction(msgspec.Struct):
    content: str


class Block(msgspec.Struct):
    transactions: list[Transaction]


class Chain(msgspec.Struct):
    """What `ask … pb --json` prints."""

    height: int
    blocks: list[Block]


class Status(msgspec.Struct):
    """What `ask … hb --json` prints."""

    tip: str
    height: int
    waiting: int
    neighbours_reached: int


class Peers:
    """Three of them, each a neighbour of both others, each with its journal."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ports = [free_port() for _ in range(3)]
        self.running = [self.start(number) for number in range(3)]

    def start(self, number: int) -> Process:
        others = [(n, port) for n, port in enumerate(self.ports) if n != number]
        config = self.network.folder / f"{number}.config"
        lines = [str(len(others)), *(f"{'ABC'[n]} {port}" for n, port in others)]
        config.write_text("\n".join(lines))
        command = ["peer", "ABC"[number], str(self.ports[number]), str(config), "--json"]
        command += ["--journal", str(self.network.folder / f"{number}.journal")]
        command += ["--threads", "1", "--target", str(TARGET), "--heartbeat-seconds", "0.5"]
        process = self.network.start(*command)
        process.wait_for("listening")
        return process

    def ask(self, number: int, *request: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nonsuch", "ask", str(self.ports[number]), *request]
        return subprocess.run(command, capture_output=True, text=True, timeout=EVENT_SECONDS)

    def status(self, number: int) -> Status:
        return msgspec.json.decode(self.ask(number, "hb", "--json").stdout, type=Status)

    def agree(self, transactions: int) -> list[Status]:
        """Wait until all have one tip, and as many transactions in the chain and waiting."""
        until = time.monotonic() + EVENT_SECONDS
        now: list[Status] = []
        while time.monotonic() < until:
            now = [self.status(number) for number in range(3)]
            whole = all(5 * each.height + each.waiting == transactions for each in now)
            if len({each.tip for each in now}) == 1 and whole:
                return now
        raise AssertionError(now)

    def contents(self, number: int) -> list[str]:
        """All that was said in the chain of a peer, in its order."""
        found: list[str] = []
        start, height = 0, 0
        while start <= height:
            answer = self.ask(number, "pb", str(start), "--json")
            chain = msgspec.json.decode(answer.stdout, type=Chain)
            for block in chain.blocks:
                found += [transaction.content for transaction in block.transactions]
            start, height = start + len(chain.blocks), chain.height
        return found


def test_three_peers_lose_and_double_nothing_though_one_is_killed_and_one_freezes(
    network: Network,
) -> None:
    peers = Peers(network)
    a, b, c = peers.running
    a.wait_for("neighbour reached")
    for number in range(6):
        a.say(f"tx|abcd1234|first {number}")
    assert all(each.height == 1 for each in peers.agree(6)), "the sixth waits"

    b.kill()
    c.signal(signal.SIGSTOP)
    for number in range(9):
        a.say(f"tx|abcd1234|alone {number}")
    a.wait_for("block mined", height=3)
    c.signal(signal.SIGCONT)
    again = peers.start(1)
    peers.running[1] = again
    assert again.facts[0]["event"] == "restored"
    for number in range(7):
        again.say(f"tx|efgh5678|back {number}")
        c.say(f"tx|ijkl9012|awake {number}")
    peers.agree(6 + 9 + 14)
    contents = peers.contents(1)
    assert len(contents) == len(set(contents)) == 25
    assert contents == peers.contents(0) == peers.contents(2)


def test_an_accepted_transaction_outlives_its_peer(network: Network) -> None:
    peers = Peers(network)
    said = peers.ask(0, "tx", "abcd1234", "do not forget me")
    assert said.stdout == "Accepted\n"
    for process in peers.running:
        process.kill()
    peers.running = [peers.start(number) for number in range(3)]
    for number in range(4):
        peers.running[2].say(f"tx|abcd1234|{number}")
    peers.agree(5)
    assert "do not forget me" in peers.contents(1)


def test_questions_from_outside(network: Network, tmp_path: Path) -> None:
    peers = Peers(network)
    refused = peers.ask(0, "tx|abc|too short a sender")
    assert refused.returncode == 1
    assert refused.stdout.startswith("Rejected: ")
    assert "the last proof is" in peers.ask(0, "gp").stdout
    assert peers.ask(0, "up", "1", "5").stdout.startswith("No reward")
    nonsense = peers.ask(0, "what?")
    assert nonsense.returncode == 2
    assert "there are: tx" in nonsense.stderr
    assert peers.ask(0, "cc").stdout == "connection closed\n"
    assert peers.running[0].wait() == 0
    nobody = peers.ask(0, "hb")
    assert nobody.returncode == 2
    assert "connection refused" in nobody.stderr
    for text, words in (("", "number of neighbours"), ("2\nB 6001", "2 of them, not 1")):
        config = tmp_path / "config"
        config.write_text(text)
        process = network.start("peer", "A", "0", str(config))
        assert process.wait() == 2
        assert words in process.errors


def test_strangers_who_talk_nonsense_do_not_disturb(network: Network) -> None:
    peers = Peers(network)
    open_ones = []
    for data in (
        b"",
        b"\x00" * 100,
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x05ab",
    ):
        for _ in range(20):
            stranger = socket.create_connection(("127.0.0.1", peers.ports[0]))
            stranger.sendall(data)
            open_ones.append(stranger)
    for number in range(5):
        peers.running[1].say(f"tx|abcd1234|{number}")
    peers.agree(5)
    for stranger in open_ones:
        stranger.close()
