"""A coordinator and its agents as people run them: killed, stopped, and lied to."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time
from collections.abc import Iterator
from hashlib import sha256

import pytest

from nonsuch.live.journal import Journal
from nonsuch.networks.coordinator.header import Header
from nonsuch.networks.coordinator.records import decode_record, encode_record
from tests.processes.conftest import EVENT_SECONDS, Network, Process, free_port

HEADER_BYTES = 108
LAYOUT = struct.Struct("<i32s32sI32sI")
STOCK_TARGET = b"\x00\x01" + b"\xff" * 30
TARGET = 2**237
"""Half a million hashes: some blocks a second, where agents take turns."""


class Fields:
    """A header as another program would make it, with nothing of ours."""

    def __init__(self, data: bytes) -> None:
        parts = LAYOUT.unpack(data)
        self.version, self.parent, self.root, self.time, self.target, self.nonce = parts

    def solved(self, **changes: int | bytes) -> bytes:
        """This header with some fields changed, and then with a hash that is low enough."""
        target = self.target
        for name, value in changes.items():
            setattr(self, name, value)
        head = LAYOUT.pack(self.version, self.parent, self.root, self.time, self.target, 0)[:-4]
        nonce = int(self.nonce)
        while sha256d(head + nonce.to_bytes(4, "little")) > target:
            nonce += 1
        return bytes(head + nonce.to_bytes(4, "little"))


def sha256d(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


class Site:
    """A coordinator and its journal."""

    def __init__(self, network: Network, *options: str) -> None:
        self.network = network
        self.port = free_port()
        self.journal = network.folder / "coordinator.journal"
        self.options = options
        self.process = self.start()

    def start(self) -> Process:
        command = ("coordinator", "--port", str(self.port), "--journal", str(self.journal))
        self.process = self.network.start(*command, "--json", *self.options)
        self.process.wait_for("listening")
        return self.process

    def agent(self) -> Process:
        address = f"127.0.0.1:{self.port}"
        return self.network.start("agent", address, "--threads", "1", "--json")

    @contextlib.contextmanager
    def stranger(self) -> Iterator[socket.socket]:
        """An agent that is none of ours."""
        with socket.create_connection(("127.0.0.1", self.port), EVENT_SECONDS) as client:
            yield client

    def chain(self) -> list[Fields]:
        """What is on disk, once the coordinator has let go of it; checked from its first block."""
        journal = Journal(self.journal, encode_record, decode_record)
        records = journal.read()
        journal.close()
        parent = bytes(32)
        chain = []
        for record in records:
            assert isinstance(record, Header)
            fields = Fields(record.data)
            assert fields.version == 4
            assert fields.parent == parent
            assert sha256d(record.data) <= fields.target
            assert fields.time <= time.time() + 120
            parent = sha256d(record.data)
            chain.append(fields)
        return chain


def read_header(client: socket.socket) -> bytes:
    data = b""
    while len(data) < HEADER_BYTES:
        part = client.recv(HEADER_BYTES - len(data))
        assert part, "the coordinator has hung up"
        data += part
    return data


def send_garbage(client: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):
        client.sendall(b"garbage!" * 50_000)


def hung_up(client: socket.socket) -> bool:
    """Whether the coordinator ends the connection, whatever headers come before."""
    client.settimeout(EVENT_SECONDS)
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_the_chain_grows_though_agents_die_freeze_and_lie(network: Network) -> None:
    site = Site(network, "--target", str(TARGET))
    steady, frozen, killed = (site.agent() for _ in range(3))
    for agent in (steady, frozen, killed):
        agent.wait_for("solved")
    frozen.signal(signal.SIGSTOP)
    killed.kill()
    site.process.wait_for("agent left")
    with site.stranger() as liar:
        header = Fields(read_header(liar))
        liar.sendall(header.solved(parent=b"\x11" * 32))
        site.process.wait_for("answer refused")
        send_garbage(liar)
        assert hung_up(liar)
    heights = [site.process.wait_for("block accepted")["height"] for _ in range(5)]
    assert heights == list(range(heights[0], heights[0] + 5))
    frozen.signal(signal.SIGCONT)
    frozen.wait_for("solved")

    site.process.kill()
    steady.wait_for("coordinator lost")
    restored = site.start().has_seen("restored")[0]
    assert restored["blocks"] > heights[-1]
    steady.wait_for("coordinator reached")
    frozen.wait_for("coordinator reached")
    accepted = site.process.wait_for("block accepted")
    assert accepted["height"] >= restored["blocks"]
    site.process.signal(signal.SIGINT)
    assert site.process.wait() == 0
    assert len(site.chain()) > accepted["height"]


LIES: dict[str, dict[str, int | bytes]] = {
    "parent": {"parent": b"\x11" * 32},
    "version": {"version": 5},
    "target": {"target": b"\x7f" + b"\xff" * 31},
    "new": {"time": 2**32 - 1},
    "old": {"time": 1},
    "root": {"root": b"\x22" * 32},
}
"""By the rule that each breaks."""


@pytest.mark.parametrize("lie", LIES)
def test_a_header_with_a_low_hash_and_one_lie_in_it_is_no_block(network: Network, lie: str) -> None:
    site = Site(network)
    with site.stranger() as liar, site.stranger() as honest:
        liar.sendall(Fields(read_header(liar)).solved(**LIES[lie]))
        assert site.process.wait_for("answer refused")["rule"] == lie
        honest.sendall(Fields(read_header(honest)).solved())
        assert site.process.wait_for("block accepted")["height"] == 0
    site.process.signal(signal.SIGTERM)
    site.process.wait()
    assert len(site.chain()) == 1


def test_replays_garbage_and_half_frames_have_no_effect(network: Network) -> None:
    site = Site(network)
    with site.stranger() as client, site.stranger() as half:
        half.sendall(b"\x04\x00\x00")
        answer = Fields(read_header(client)).solved()
        client.sendall(answer)
        first = site.process.wait_for("block accepted")
        second = Fields(read_header(client))
        assert second.parent == sha256d(answer)
        client.sendall(answer)
        site.process.wait_for("answer stale")
        third = second.solved()
        for byte in range(HEADER_BYTES):
            client.sendall(third[byte : byte + 1])
        assert site.process.wait_for("block accepted")["height"] == first["height"] + 1
        send_garbage(client)
        assert hung_up(client)
        site.process.wait_for("agent dropped")
        assert hung_up(half), "half a header costs its sender the connection"
    assert not site.process.process.poll()


def test_agents_are_given_nonces_of_their_own_and_a_new_header_now_and_then(
    network: Network,
) -> None:
    site = Site(network, "--block-seconds", "0.2")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(site.stranger()) for _ in range(20)]
        headers = [Fields(read_header(client)) for client in clients]
        assert len({header.nonce for header in headers}) == 20
        for client, header in zip(clients, headers, strict=True):
            again = Fields(read_header(client))
            assert again.parent == header.parent
            assert again.nonce == header.nonce
            assert again.target == STOCK_TARGET
            assert again.time >= header.time


def test_a_coordinator_with_agents_is_one_command(network: Network) -> None:
    site = Site(network, "--agents", "2")
    for _ in range(2):
        site.process.wait_for("agent joined")
    for _ in range(20):
        site.process.wait_for("block accepted")
    site.process.signal(signal.SIGINT)
    assert site.process.wait() == 0
    assert len(site.chain()) >= 20
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", site.port))


def test_targets_follow_the_hash_rate_where_that_is_asked_for(network: Network) -> None:
    options = ("--retarget", "aserti", "--spacing-seconds", "1", "--half-life-seconds", "2")
    site = Site(network, *options, "--agents", "1")
    site.process.wait_for("block accepted", height=25)
    site.process.signal(signal.SIGINT)
    site.process.wait()
    targets = [int.from_bytes(fields.target, "big") for fields in site.chain()]
    assert targets[-1] < targets[0] // 2, "blocks came faster than asked for"
