"""Peers that speak a dialect with programs that have nothing of ours: pickle, str and sockets."""

from __future__ import annotations

import ast
import hashlib
import json
import pickle
import socket
import threading
from collections.abc import Callable

import pytest

from tests.processes.conftest import EVENT_SECONDS, Network, Process, free_port

GENESIS = {
    "pickle": "The Times 03/Jan/2009 Chancellor on brink of second bailout for banks.",
    "text": "genesis",
}
PROOFS = (100, 5, 33, 155)
STAMP = "2024-01-02 03:04:05.678901"


class Dialect:
    """One of the two, as a course's program writes and reads it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def written(self, value: object) -> bytes:
        return pickle.dumps(value, 4) if self.name == "pickle" else str(value).encode()

    def read(self, data: bytes) -> object:
        if self.name == "text":
            return data.decode()
        return pickle.loads(data)  # what our own peer has written

    def heartbeat(self, chain: list[dict[str, object]]) -> bytes:
        if self.name == "pickle":
            return self.written(([("tx|wait1234|from elsewhere", STAMP)], chain, True))
        return self.written(chain)

    def chain(self, blocks: int) -> list[dict[str, object]]:
        """A chain of so many blocks, genesis included, by the original rule."""
        made: list[dict[str, object]] = []
        previous = GENESIS[self.name]
        for index in range(1, blocks + 1):
            entries = [(f"tx|abcd1234|{index}.{n}", STAMP) for n in range(5 * (index > 1))]
            joined = previous + "".join(map(str, entries)) + str(PROOFS[index - 1])
            current = hashlib.sha256(json.dumps(joined).encode()).hexdigest()
            block = {"index": index, "timestamp": STAMP, "transaction": [t for t, _ in entries]}
            block |= {"proof": PROOFS[index - 1], "previousHash": previous, "currentHash": current}
            made.append(block)
            previous = current
        return made


@pytest.fixture(params=["pickle", "text"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return Dialect(request.param)


def start(network: Network, dialect: Dialect, port: int, *neighbours: int) -> Process:
    config = network.folder / "config"
    lines = [str(len(neighbours)), *(f"N{n} {n}" for n in neighbours)]
    config.write_text("\n".join(lines))
    process = network.start(
        "peer", "A", str(port), str(config), "--dialect", dialect.name, "--json",
        "--journal", str(network.folder / "journal"), "--heartbeat-seconds", "0.3",
    )  # fmt: skip
    process.wait_for("listening")
    return process


class OtherServer:
    """A program that answers `hb`, and nothing else, on connections that stay."""

    def __init__(self, answer: Callable[[], bytes], request: bytes) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._answer = answer
        self._request = request
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(1024):
                    self.heard.append(data)
                    if data == self._request:
                        connection.sendall(self._answer())

    def close(self) -> None:
        self._listening.close()


def test_a_longer_chain_of_another_program_is_taken(network: Network, dialect: Dialect) -> None:
    blocks = 2
    server = OtherServer(lambda: dialect.heartbeat(dialect.chain(blocks)), dialect.written("hb"))
    ours = start(network, dialect, free_port(), server.port)
    ours.wait_for("neighbour reached")
    ours.wait_for("reorganised" if ours.has_seen("reorganised") else "block accepted", height=1)
    blocks = 4
    ours.wait_for("block accepted", height=3)
    assert set(server.heard) == {dialect.written("hb")}
    server.close()


def test_another_program_s_client_is_served(network: Network, dialect: Dialect) -> None:
    port = free_port()
    ours = start(network, dialect, port)
    with socket.create_connection(("127.0.0.1", port), timeout=EVENT_SECONDS) as other:

        def ask(text: str) -> object:
            other.sendall(dialect.written(text))
            return dialect.read(other.recv(65536))

        assert str(ask("gp")) == "100"
        assert ask("tx|abcd|too short") == "Rejected"
        for number in range(6):
            assert ask(f"tx|abcd1234|content {number}") == "Accepted"
        ours.wait_for("block mined")
        assert str(ask("gp")) == "5"
        assert str(ask("up|6")).lower() == "no reward"
        chain = ast.literal_eval(str(ask("pb")))
        assert [block["proof"] for block in chain] == [100, 5]
        assert chain[1]["transaction"] == [f"tx|abcd1234|content {n}" for n in range(5)]
        assert chain[1]["previousHash"] == chain[0]["currentHash"]
        assert chain[0]["previousHash"] == GENESIS[dialect.name]
        if dialect.name == "pickle":
            # Two requests in one segment, and one in three.
            other.sendall(dialect.written("gp") * 2)
            answers = b""
            while len(answers) < 2 * len(dialect.written(5)):
                answers += other.recv(65536)
            assert answers == dialect.written(5) * 2
            for byte in dialect.written("tx|abcd1234|in pieces"):
                other.sendall(bytes([byte]))
            assert dialect.read(other.recv(65536)) == "Accepted"
        other.sendall(dialect.written("cc"))
        assert other.recv(1) == b""
    assert ours.wait() == 0


def test_a_pickle_that_would_run_something_runs_nothing(network: Network) -> None:
    port = free_port()
    marker = network.folder / "ran"
    ours = start(network, Dialect("pickle"), port)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return __import__("os").system, (f"touch {marker}",)

    with socket.create_connection(("127.0.0.1", port), timeout=EVENT_SECONDS) as other:
        other.sendall(pickle.dumps(Evil(), 4))
        assert other.recv(1) == b"", "it hangs up"
    assert not marker.exists()
    ours.wait_for("peer dropped")
