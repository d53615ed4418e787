"""What a network of processes is built on: a folder, ports, and the ways between its nodes.

Where the network is to be controlled, nodes reach each other through relays, whose links can be cut
and lose datagrams; where it is only looked at, directly. A recipe need not know which.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from nonsuch.addresses import PORT_MAX
from nonsuch.errors import KernelUnavailable, LocalError
from nonsuch.live.relays import Relays
from nonsuch.search.backends import calibration
from nonsuch.search.searcher import default_threads
from nonsuch.work.target import Target

__all__ = ["HOST", "Site", "hash_rate"]

HOST = "127.0.0.1"
"""All processes are on this machine, and nobody else's."""

_ADDRESS = re.compile(rf"{re.escape(HOST)}:\d+")

PORTS_TRIED_MAX = 1_000

CALLERS_MAX = 4096
"""Addresses that nodes have called from and that are remembered: a call costs one."""

HASHLIB_RATE = 700_000.0
"""Hashes a second of one thread where there is no kernel that could be measured."""


def hash_rate(*, double: bool) -> float:
    """What one thread of this machine does; may take a second, for it is measured once."""
    try:
        measured = calibration(double)
    except KernelUnavailable:
        return HASHLIB_RATE
    return measured.rates[measured.best]


KEPT = "network.json"
"""What a folder's chains were made with: the next network in it has the same target."""


class _Kept(msgspec.Struct, frozen=True):
    """`target` is a decimal number: JSON has none so long."""

    network: str
    target: str


class Site:
    """`port` is where to look for free ports; `threads` are those of each node.

    `datagrams` says that nodes speak these and not TCP. The site holds what they leave of a port:
    so two networks that begin at the same time have none in common.

    `moved` are the ports that were wanted and taken.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        threads: int,
        control: bool,
        lots: random.Random,
        datagrams: bool = False,
    ) -> None:
        self.folder = folder
        self.threads = threads
        self.lots = lots
        self.relays = Relays(lots, self._calls) if control else None
        self.moved: list[int] = []
        self._port = port
        self._kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
        self._held: list[socket.socket] = []
        self._links: set[frozenset[str]] = set()
        self._names: dict[str, str] = {}
        self._callers: dict[str, str] = {}

    @property
    def control(self) -> bool:
        """Whether ways can be cut."""
        return self.relays is not None

    def file(self, name: str) -> Path:
        """A file of the network's."""
        return self.folder / name

    def target(self, network: str, work: int) -> Target:
        """What blocks must meet: as this folder's chains have it, else of so much work.

        Raises `LocalError` where the folder is another network's.
        """
        path = self.file(KEPT)
        try:
            if not path.exists():
                kept = _Kept(network, str(Target.from_work(max(1, work)).value))
                path.write_bytes(msgspec.json.encode(kept))
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
            target = Target(int(kept.target))
        except OSError as error:
            raise LocalError(f"cannot use {path}: {error.strerror}") from None
        except ValueError as error:  # msgspec's errors and ours are some
            raise LocalError(f"{path} is damaged: {error}; give another --data folder") from None
        if kept.network != network:
            raise LocalError(f"{self.folder} holds a {kept.network} network: give another folder")
        return target

    def port(self, name: str) -> int:
        """The next port that nobody has, for this node. Raises `LocalError` where there is none."""
        for port in range(self._port, min(self._port + PORTS_TRIED_MAX, PORT_MAX + 1)):
            try:
                self._held.append(_reserved(port, self._kind))
            except OSError:
                self.moved.append(port)
                continue
            self._port = port + 1
            self._names[f"{HOST}:{port}"] = name
            return port
        raise LocalError(f"{PORTS_TRIED_MAX} ports from {self._port} on are taken")

    async def way(self, one: str, another: str, port: int) -> int:
        """The port at which `one` finds `another`, who listens at `port` of TCP."""
        self._links.add(frozenset((one, another)))
        if self.relays is None:
            return port
        way = await self.relays.connect(one, another, port)
        self._names[f"{HOST}:{way}"] = another
        return way

    async def ways(self, one: str, one_port: int, another: str, another_port: int) -> list[int]:
        """The ports at which they find each other, for datagrams."""
        self._links.add(frozenset((one, another)))
        if self.relays is None:
            return [another_port, one_port]
        ways = await self.relays.join(one, one_port, another, another_port)
        for way, name in zip(ways, (another, one), strict=True):
            self._names[f"{HOST}:{way}"] = name
        return ways

    def name_of(self, address: str) -> str | None:
        """Whose an address is, as nodes know each other: where one is found, or has called from."""
        return self._names.get(address) or self._callers.get(address)

    def with_names(self, text: str) -> str:
        """What a node says, with names for the addresses that it knows others by."""
        return _ADDRESS.sub(lambda found: self.name_of(found[0]) or found[0], text)

    def _calls(self, name: str, address: str) -> None:
        """The system gives a port to one after the other; the last one counts."""
        self._callers.pop(address, None)
        self._callers[address] = name
        if len(self._callers) > CALLERS_MAX:
            del self._callers[next(iter(self._callers))]

    def open(self, name: str) -> None:
        """This node listens: the ways to it lead there."""
        if self.relays is not None:
            self.relays.open(name)

    def shut(self, name: str) -> None:
        """This node does not listen, or not any more: the ways to it lead nowhere."""
        if self.relays is not None:
            self.relays.shut(name)

    def part(self, alone: Iterable[str]) -> bool:
        """Cut each of these off from all others; all other links stand. False where none can be."""
        if self.relays is None:
            return False
        cut = frozenset(alone)
        for link in self._links:
            do: Callable[[str, str], None] = self.relays.cut if link & cut else self.relays.mend
            do(*link)
        return True

    def hash_rates(self, nodes: int, *, double: bool = False) -> tuple[float, float]:
        """What so many nodes do together, and each of them, if they share the processors."""
        threads = min(default_threads(), nodes * self.threads)
        total = hash_rate(double=double) * max(1, threads)
        return total, total / max(1, nodes)

    async def close(self) -> None:
        """End every link, and let go of every port."""
        for held in self._held:
            held.close()
        if self.relays is not None:
            await self.relays.close()


def _reserved(port: int, kind: socket.SocketKind) -> socket.socket:
    """Hold a port by what its node does not use of it. Raises `OSError` where it is taken."""
    other = socket.SOCK_STREAM if kind == socket.SOCK_DGRAM else socket.SOCK_DGRAM
    held = socket.socket(type=other)
    try:
        held.bind((HOST, port))
        with socket.socket(type=kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except OSError:
        held.close()
        raise
    return held
