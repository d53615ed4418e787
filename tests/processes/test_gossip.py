"""Gossip miners as people run them: three processes that die, freeze, and are lied to."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

from tests.processes.conftest import EVENT_SECONDS, Network, Process, free_port

TARGET = 2**241
"""Some 32,000 hashes: a millisecond of the kernel, and a twentieth of a second of hashlib."""

EXAMPLE = Path(__file__).parents[2] / "examples" / "com402" / "miner" / "miner.py"


TIE_SECONDS = 10.0
"""Two chains of equal work stay as they are while nobody has a line to mine."""

TIE_BREAKER = "a line that ends a tie"


class Miners:
    """Miners on ports of their own. They mine what they are told to, a line a block."""

    def __init__(self, network: Network, count: int) -> None:
        self.network = network
        self.ports = [free_port(socket.SOCK_DGRAM) for _ in range(count)]
        self.running = [self.start(number) for number in range(count)]
        self.tie_broken = False

    def start(self, number: int, *options: str) -> Process:
        """The miner of this number, with its store."""
        places = [f"127.0.0.1:{port}" for port in self.ports]
        others = ",".join(place for place in places if place != places[number])
        command = ["gossip", places[number], others, *(["genesis"] if not number else [])]
        command += ["--payload", "-", "--json", "--threads", "1", "--target", str(TARGET)]
        command += ["--store", str(self.network.folder / f"{number}.blocks"), *options]
        process = self.network.start(*command)
        process.wait_for("listening")
        return process

    def restart(self, number: int) -> Process:
        self.running[number] = self.start(number)
        return self.running[number]

    def agree(self, lines: set[str]) -> list[str]:
        """Wait until all have one chain with all these lines; return its lines, oldest first."""
        began = time.monotonic()
        chains: list[dict[str, str]] = []
        while time.monotonic() < began + EVENT_SECONDS:
            chains = [chain_of(process) for process in self.running]
            if all(chain == chains[0] for chain in chains) and lines <= set(chains[0].values()):
                return list(chains[0].values())
            if time.monotonic() > began + TIE_SECONDS and not self.tie_broken:
                self.tie_broken = True
                self.running[0].say(TIE_BREAKER)
            time.sleep(0.05)
        raise AssertionError([list(chain.values()) for chain in chains])


def chain_of(process: Process) -> dict[str, str]:
    """The best chain that a log tells of: data by block, oldest first; all since its start."""
    blocks: dict[str, tuple[str, str]] = {}
    tip = ""
    for fact in list(process.facts):
        if fact["event"] in ("block mined", "block accepted"):
            blocks[fact["block"]] = fact["parent"], fact["data"]
            tip = fact["block"] if fact.get("best", True) else tip
        elif fact["event"] in ("reorganised", "restored"):
            tip = fact["tip"]
    chain: dict[str, str] = {}
    while tip in blocks:
        parent, chain[tip] = blocks[tip]
        tip = parent
    return dict(reversed(chain.items()))


def test_three_miners_agree_though_one_is_killed_and_one_freezes(network: Network) -> None:
    miners = Miners(network, 3)
    lines = {f"line {number} of {miner}" for number in range(6) for miner in range(3)}
    for number in range(2):
        for place, miner in enumerate(miners.running):
            miner.say(f"line {number} of {place}")
    early = {line for line in lines if line.startswith(("line 0", "line 1"))}
    assert early < set(miners.agree(early)), "and the genesis"
    # A block is told of before it is on disk, and the next one after that.
    miners.running[0].say("line 2 of 0")
    miners.agree({*early, "line 2 of 0"})

    miners.running[1].kill()
    miners.running[2].signal(signal.SIGSTOP)
    for number in range(3, 6):
        miners.running[0].say(f"line {number} of 0")
    miners.running[0].wait_for("block mined", data="line 5 of 0")
    miners.running[2].signal(signal.SIGCONT)
    again = miners.restart(1)
    assert again.facts[0]["event"] == "restored"
    assert again.facts[0]["blocks"] >= 1 + len(early)
    # Its log begins anew, so agreement is about what comes from now on.
    for number in range(2, 6):
        for place in (1, 2):
            miners.running[place].say(f"line {number} of {place}")
    miners.running.remove(again)
    chain = miners.agree(lines)
    chain = [line for line in chain if line != TIE_BREAKER]
    assert sorted(chain) == sorted({*lines, "genesis"}), "each of them once"
    tip = list(chain_of(miners.running[0]))[-1]
    assert list(chain_of(again))[-1] == tip


def test_a_miner_that_missed_everything_gets_the_chain(network: Network) -> None:
    miners = Miners(network, 2)
    for number in range(100):
        miners.running[0].say(f"line {number}")
    lines = {f"line {number}" for number in range(100)}
    miners.agree(lines)
    miners.running[1].kill()
    (network.folder / "1.blocks").unlink()
    miners.restart(1)
    assert len(miners.agree(lines)) == 101


def test_nothing_that_a_datagram_contains_ends_a_miner(network: Network) -> None:
    miners = Miners(network, 2)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    garbage = [b"", b"{}", b"\x00" * 60_000, b"[" * 5000, b'{"data": "", "previous": 1}', b"\xff"]
    lonely = block(b"without work", bytes(32), target=2**256)
    for _ in range(50):
        for datagram in (*garbage, lonely, lonely.replace(b"previous", b"previous_hash")):
            stranger.sendto(datagram, ("127.0.0.1", miners.ports[0]))
    stranger.close()
    miners.running[0].say("still here")
    assert miners.agree({"still here"}) == ["genesis", "still here"]
    assert miners.running[0].has_seen("peer misbehaves")


def block(data: bytes, previous: bytes, target: int = TARGET) -> bytes:
    """A block as another program makes it, with nothing of ours."""
    p_o_w = 0
    while (
        int.from_bytes(sha256(data + previous + p_o_w.to_bytes(8, "big")).digest(), "big") > target
    ):
        p_o_w += 1
    fields = {
        "data": b64encode(data).decode(),
        "previous": previous.hex(),
        "p_o_w": f"{p_o_w:016x}",
    }
    return json.dumps(fields).encode()


def test_a_program_of_the_homework_takes_part_and_gets_what_it_missed(network: Network) -> None:
    """It sends from a port of the moment, has no orphan pool, and never asks for anything."""
    miners = Miners(network, 2)
    miners.agree({"genesis"})
    port = free_port(socket.SOCK_DGRAM)
    miners.running[0].kill()
    miners.ports.append(port)
    ours = miners.restart(0)
    known: dict[bytes, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", port))
        listening.settimeout(EVENT_SECONDS)

        def hear(wanted: str) -> bytes:
            while True:
                fields = json.loads(listening.recv(8192))
                data, parent = b64decode(fields["data"]), bytes.fromhex(fields["previous"])
                hashed = sha256(data + parent + bytes.fromhex(fields["p_o_w"])).digest()
                if parent in known or parent == bytes(32):
                    known[hashed] = data.decode()
                    if data.decode() == wanted:
                        return hashed

        def send(datagram: bytes) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for each in miners.ports[:2]:
                    sender.sendto(datagram, ("127.0.0.1", each))

        genesis = hear("genesis")
        send(block(b"from elsewhere", genesis))
        ours.wait_for("block accepted", data="from elsewhere")
        ours.say("upon it")
        hear("upon it")
        # It is deaf for a while, and mines on what it had.
        listening.setblocking(False)
        ours.say("missed")
        miners.running[1].wait_for("block accepted", data="missed")
        with contextlib.suppress(BlockingIOError):
            while listening.recv(8192):
                pass
        listening.settimeout(EVENT_SECONDS)
        known = {hashed: data for hashed, data in known.items() if data != "missed"}
        send(block(b"on an old tip", next(h for h, d in known.items() if d == "upon it")))
        hear("missed")


def test_the_example_runs_as_the_handout_runs_it(network: Network) -> None:
    ports = [free_port(socket.SOCK_DGRAM) for _ in range(2)]
    places = [f"127.0.0.1:{port}" for port in ports]
    made = subprocess.Popen(
        [sys.executable, str(EXAMPLE), places[0], places[1], "genesis", "--threads", "1"],
        stderr=subprocess.PIPE,
    )
    try:
        other = network.start("gossip", places[1], places[0], "--no-mine", "--json")
        other.wait_for("block accepted", data=f"{places[0]} 00000002")
        made.send_signal(signal.SIGINT)
        assert made.wait(EVENT_SECONDS) == 0
    finally:
        made.kill()
        made.communicate()


def test_what_makes_no_sense_is_said_in_a_line(network: Network) -> None:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    place = f"127.0.0.1:{taken.getsockname()[1]}"
    for arguments, words in (
        ((place,), "already in use"),
        ((place, "nobody:0"), "HOST:PORT"),
        ((place, "", "begin"), "the word genesis"),
        ((place, "--genesis-hash", "xyz"), "hex digits"),
        ((place, "--payload", "/no/such/file"), "cannot read payloads"),
        ((place, "--block-seconds", "-1"), "block seconds"),
    ):
        process = network.start("gossip", *arguments)
        assert process.wait() == 2, arguments
        assert words in process.errors
        assert len(process.errors.splitlines()) == 1
    taken.close()
