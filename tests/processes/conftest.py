"""Pools, miners and clients as people run them: processes, told apart by their logs."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import msgspec
import pytest

EVENT_SECONDS = 40.0
"""How long a test waits for something that should happen in a second, on a busy machine."""


class Fact(TypedDict, total=False):
    """A line of a log: what happened, and the fields that tests look at."""

    event: str
    address: str
    job: str
    miner: str
    cause: str
    reason: str
    nonce: int
    shares: int
    expected: float
    redone: int
    url: str
    connections: int
    wanted: int
    why: str
    jobs: int
    block: str
    parent: str
    data: str
    height: int
    best: bool
    tip: str
    blocks: int
    process: str
    agent: str
    rule: str


class Process:
    """`nonsuch ARGUMENTS…`, whose log is read as it is written."""

    def __init__(self, *arguments: str, before: Sequence[str] = (), **variables: str) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "nonsuch", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **variables},
        )
        self.facts: list[Fact] = []
        self.lines: list[bytes] = []
        self.complaints: list[bytes] = []
        self._complained = threading.Condition()
        self._unread: queue.SimpleQueue[Fact | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith(b"{"):
                fact: Fact = msgspec.json.decode(line)
                self.facts.append(fact)
                self._unread.put(fact)
        self._unread.put(None)

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._complained:
                self.complaints.append(line)
                self._complained.notify_all()

    def wait_for(self, event: str, **fields: object) -> Fact:
        """The next fact of this kind with these fields; those before it are passed over."""
        until = time.monotonic() + EVENT_SECONDS
        while True:
            try:
                fact = self._unread.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event!r} in {self.facts[-20:]}") from None
            assert fact is not None, f"ended before {event!r}: {self.errors[-2000:]}"
            if fact["event"] == event and fields.items() <= fact.items():
                return fact

    def wait_for_complaint(self, text: str) -> None:
        """Until this stands on standard error."""
        with self._complained:
            said = self._complained.wait_for(lambda: text in self.errors, EVENT_SECONDS)
        assert said, f"no {text!r} in {self.errors[-2000:]}"

    def has_seen(self, event: str) -> list[Fact]:
        """All facts of this kind so far."""
        return [fact for fact in self.facts if fact["event"] == event]

    @property
    def errors(self) -> str:
        """What stands on standard error."""
        return b"".join(self.complaints).decode()

    @property
    def output(self) -> str:
        """What stands on standard output."""
        return b"".join(self.lines).decode()

    def say(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, and wait until the system has noticed."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for its end. Returns the exit code."""
        code = self.process.wait(EVENT_SECONDS)
        for reader in self._readers:
            reader.join(EVENT_SECONDS)
        return code

    def close(self) -> None:
        """Whatever it is doing: end it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Network:
    """The processes of one test, and where their pool is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._running: list[Process] = []

    @property
    def address(self) -> str:
        """Where miners and clients find the pool."""
        return f"127.0.0.1:{self.port}"

    def start(self, *arguments: str, before: Sequence[str] = (), **variables: str) -> Process:
        """Any command; `before` it stands what starts it."""
        process = Process(*arguments, before=before, **variables)
        self._running.append(process)
        return process

    def pool(self, *options: str, before: Sequence[str] = (), **variables: str) -> Process:
        """The pool, once it lets peers in; always with the same journal."""
        journal = str(self.folder / "pool.journal")
        command = ("pool", "--port", str(self.port), "--journal", journal, "--json", *options)
        process = self.start(*command, before=before, **variables)
        process.wait_for("listening")
        return process

    def miner(self, name: str = "", *options: str, **variables: str) -> Process:
        """A miner of one thread. The pool may not be there yet."""
        command = ("miner", self.address, "--threads", "1", "--json", "--name", name or "m")
        return self.start(*command, *options, **variables)

    def submit(self, message: str, upto: int, *options: str, **variables: str) -> Process:
        """A client that waits for its answer."""
        command = ("submit", self.address, message, "--upto", str(upto), "--json")
        return self.start(*command, *options, **variables)

    def close(self) -> None:
        """End them all."""
        for process in self._running:
            process.close()


def open_files(limit: str) -> tuple[str, ...]:
    """What starts a command with few open files: `-n 64`, or `-Sn 64` where it may have more."""
    return ("sh", "-c", f'ulimit {limit}; exec "$@"', "sh")


class Answer(msgspec.Struct):
    """What `submit --json` prints."""

    job: str
    nonce: int | None
    hash: str | None
    found: bool
    verified: bool
    hashes: int


def answer_of(client: Process) -> Answer:
    """The answer of a client, once it has one."""
    code = client.wait()
    assert code == 0, client.errors
    return msgspec.json.decode(client.output, type=Answer)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of this machine that nobody has; somebody may take it, but hardly so soon."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody has, where the system gives none away."""
    lots = random.Random(os.getpid())
    while True:
        first = lots.randrange(15_000, 30_000)
        with contextlib.ExitStack() as stack:
            probes = [stack.enter_context(socket.socket()) for _ in range(count)]
            with contextlib.suppress(OSError):
                for number, probe in enumerate(probes):
                    probe.bind(("127.0.0.1", first + number))
                return first


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """A place for processes; none of them outlives the test."""
    made = Network(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def hash_count() -> Callable[[float], int]:
    """How many nonces two processors of this machine search in so many seconds, roughly."""
    from nonsuch import KernelUnavailable
    from nonsuch.search.backends import calibration

    try:
        measured = calibration(False)
        rate = measured.rates[measured.best]
    except KernelUnavailable:
        rate = 700_000.0
    return lambda seconds: int(2 * rate * seconds)
