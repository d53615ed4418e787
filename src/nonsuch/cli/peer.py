"""`nonsuch peer` and `nonsuch ask`: a ledger among neighbours, five transactions to a block."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from nonsuch import LocalError
from nonsuch.addresses import PORT_MAX
from nonsuch.cli import options
from nonsuch.cli.access import Place, check_strangers, parse_address
from nonsuch.cli.clock import origin_seconds, tell_time
from nonsuch.cli.facts import Stopped, tell_addresses
from nonsuch.cli.inputs import check_threads, chosen_target
from nonsuch.cli.journals import NAME_CHARACTERS_MAX, journal_path
from nonsuch.cli.lines import read_lines
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.requests import (
    WORDS,
    format_answer,
    parse_dialect_request,
    parse_request,
    read_status,
)
from nonsuch.cli.terminal import errors, output
from nonsuch.errors import check_text
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.tcp import Address, Listener
from nonsuch.networks.peer import dialect_records, facts, messages, records
from nonsuch.networks.peer.block import MICROSECONDS, BlockForm, Header
from nonsuch.networks.peer.client import Answer, Client, Request
from nonsuch.networks.peer.dialect import DialectPeer
from nonsuch.networks.peer.dialects import messages as dialects
from nonsuch.networks.peer.dialects.messages import ANSWER_BYTES_MAX
from nonsuch.networks.peer.dialects.pickle import PICKLE, PickleClientWire, PickleServerWire
from nonsuch.networks.peer.dialects.text import TEXT, TextClientWire, TextServerWire
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.settings import NEIGHBOURS_MAX, PeerSettings
from nonsuch.networks.peer.wire import PeerWire
from nonsuch.node import LOCAL, Core, Received, Wire

__all__ = ["PEER_PORT", "ask", "peer"]

PEER_PORT = 6000
"""Where the network's peers listen, from this port on."""

CONFIG_BYTES_MAX = 2**16
WRITE_BYTES_MAX = 2 * ANSWER_BYTES_MAX
"""A dialect's answer is a whole chain."""

NUMBER_DIGITS_MAX = 18
EXIT_NO = 1
EXIT_SIGNAL = 128

OURS = "nonsuch"
DIALECTS = (OURS, PICKLE, TEXT)

Dialect = Annotated[
    str,
    typer.Option(
        "--dialect",
        metavar="NAME",
        help="nonsuch, or what other programs of the assignment speak: pickle or text. Those have"
        " the original rule, whose proofs commit to nothing.",
    ),
]

_DEFAULTS = PeerSettings()
_QUIET: frozenset[type] = frozenset({facts.TransactionAccepted, facts.PeerJoined})


def peer(
    name: Annotated[str, typer.Argument(metavar="ID", help="What this peer is called, such as A.")],
    port: Annotated[
        int, typer.Argument(metavar="PORT", min=0, max=PORT_MAX, help="Where it listens.")
    ],
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="Its neighbours: how many, and then a line 'ID PORT' or 'ID HOST:PORT' each.",
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    network: Annotated[
        str,
        typer.Option("--network", metavar="NAME", help="Peers of one network have one name of it."),
    ] = _DEFAULTS.network,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NUMBER",
            help="What all peers of the network agreed on. Default: four million hashes a block.",
        ),
    ] = None,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal",
            metavar="PATH",
            help="Where the chain is kept; 'off' for nowhere. Default: a file an ID and port in the"
            " user's state folder.",
        ),
    ] = None,
    mine: Annotated[
        bool, typer.Option("--mine/--no-mine", help="Whether to mine what waits.")
    ] = True,
    dialect: Dialect = OURS,
    heartbeat_seconds: Annotated[
        float,
        typer.Option("--heartbeat-seconds", metavar="S", help="How often it says where it stands."),
    ] = _DEFAULTS.heartbeat_seconds,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen where other machines can come in.")
    ] = False,
    threads: options.Threads = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell of every transaction and connection.")
    ] = False,
    json: options.JsonLines = False,
) -> int:
    """Run a peer: server, client and miner in one.

    It takes requests from its own prompt and from `nonsuch ask`, shares transactions and blocks
    with its neighbours, and mines when five transactions wait. Ctrl-C or the request cc stops it.
    """
    check_threads(threads)
    check_text(name, "ID")
    check_strangers(host, "peers", insecure=insecure)
    speech = _Speech.of(dialect)
    neighbours = _read_config(config)
    chosen = chosen_target(target=target)
    settings = PeerSettings(
        name=name[:NAME_CHARACTERS_MAX],
        neighbours=tuple(map(str, neighbours)),
        network=network,
        target=_DEFAULTS.target if chosen is None else chosen,
        mines=mine,
        heartbeat_seconds=heartbeat_seconds,
    )
    kept = speech.journal(journal_path(journal, "peer", name, port))
    log = fact_logger(json=json, quiet=frozenset() if verbose or json else _QUIET)
    prompt = _Prompt(log, speech, json=json)
    book = {str(place): Address(*place, speech.client_wire) for place in neighbours}

    def make() -> Node:
        return Node(
            speech.core(settings, random.Random(secrets.randbits(64)), origin_seconds()),
            listeners=[Listener(host, port, speech.server_wire, write_bytes_max=WRITE_BYTES_MAX)],
            dial=book,
            journal=kept,
            threads=threads,
            observe=log,
            local=prompt.hear,
            ready=prompt.ready,
        )

    run(make, prompt.beside)
    log(Stopped())
    return 0


def ask(
    address: Annotated[
        str, typer.Argument(metavar="PEER", help="Where the peer listens, [HOST:]PORT.")
    ],
    request: Annotated[list[str], typer.Argument(metavar="REQUEST…", help=f"One of: {WORDS}.")],
    dialect: Dialect = OURS,
    json: options.Json = False,
) -> int:
    """Ask a peer one thing, and print its answer.

    A transaction is tried again until it is answered, and is in the chain once all the same. Exit
    code 1 where the answer is no.
    """
    text = f"127.0.0.1:{address}" if _is_number(address) else address
    place = parse_address(text, "PEER", PEER_PORT)
    timestamp = time.time_ns() * MICROSECONDS // 10**9
    line = request[0] if len(request) == 1 else " ".join(request)
    speech = _Speech.of(dialect)
    question = speech.parse(line, timestamp=timestamp)
    core = Client(question, random.Random(secrets.randbits(64)))
    dial = Address(*place, speech.client_wire)
    signal = run(lambda: Node(core, dial=dial))
    if signal:
        return EXIT_SIGNAL + signal
    if core.answer is None:
        raise LocalError(f"no answer from the peer at {place}: {core.failure}")
    output.print(_json_text(core.answer) if json else format_answer(core.answer), markup=False)
    return 0 if _is_yes(core.answer) else EXIT_NO


def _is_yes(answer: Answer) -> bool:
    match answer:
        case messages.Verdict() | messages.Reward() | dialects.Verdict():
            return answer.accepted
        case dialects.Reward(granted=granted):
            return granted
        case messages.Stopped(reason=reason):
            return not reason
        case _:
            return True


def _json_text(answer: Answer) -> str:
    """The answer's fields, or those of a status; bytes are hex digits."""
    fields = {name: getattr(answer, name) for name in answer.__struct_fields__}
    if isinstance(answer, messages.Status):
        fields = msgspec.structs.asdict(read_status(answer.statistics))
    plain = _plain({"event": "answer", "answer": type(answer).__name__.lower(), **fields})
    return msgspec.json.encode(plain).decode()


def _plain(value: object) -> object:
    """For JSON: bytes in hex digits, wherever they are."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case BlockForm():
            header = Header(value.header)
            names = ("id", "parent", "root", "timestamp", "bits", "nonce")
            parts = {name: getattr(header, name) for name in names}
            return _plain({**parts, "transactions": value.transactions})
        case msgspec.Struct():
            return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        case _:
            return value


def _read_config(path: Path) -> list[Place]:
    """The neighbours of a configuration file: a count, and then `ID PORT` lines."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.split() for line in file.read(CONFIG_BYTES_MAX).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"cannot read {path}: {error}") from None
    lines = [words for words in lines if words]
    form = f"{path} has the number of neighbours, and then a line 'ID PORT' for each"
    if not lines or len(lines[0]) != 1 or not _is_number(lines[0][0]):
        raise LocalError(form)
    count, rest = int(lines[0][0]), lines[1:]
    if count > NEIGHBOURS_MAX:
        raise LocalError(f"{path} names {count} neighbours, where {NEIGHBOURS_MAX} are possible")
    if len(rest) != count or any(len(words) != 2 for words in rest):
        raise LocalError(f"{form}: {count} of them, not {len(rest)}")
    texts = (f"127.0.0.1:{where}" if _is_number(where) else where for _, where in rest)
    return [parse_address(text, f"a neighbour in {path}", PEER_PORT) for text in texts]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX


class _Speech:
    """What is spoken: on our own wire, or in a dialect."""

    def __init__(
        self, dialect: str, server_wire: Callable[[], Wire], client_wire: Callable[[], Wire]
    ) -> None:
        self.server_wire = server_wire
        self.client_wire = client_wire
        self._dialect = dialect

    @classmethod
    def of(cls, dialect: str) -> _Speech:
        """Raises `LocalError` for one that there is not."""
        match dialect:
            case "nonsuch":
                ends = (lambda: PeerWire(dialled=False)), (lambda: PeerWire(dialled=True))
                return cls(dialect, *ends)
            case "pickle":
                return cls(dialect, PickleServerWire, PickleClientWire)
            case "text":
                return cls(dialect, TextServerWire, TextClientWire)
            case _:
                raise LocalError(
                    f"there is no dialect {dialect!r}: choose from {', '.join(DIALECTS)}"
                )

    def core(self, settings: PeerSettings, lots: random.Random, origin: float) -> Core:
        """The peer."""
        if self._dialect == OURS:
            return Peer(settings, lots, origin)
        return DialectPeer(self._dialect, settings, lots, origin)

    def journal(self, path: Path | None) -> Journal | None:
        """Where it keeps things."""
        if path is None:
            return None
        codec = records if self._dialect == OURS else dialect_records
        return Journal(path, codec.encode_record, codec.decode_record)

    def parse(self, line: str, *, timestamp: int = 0, template: int = 0) -> Request:
        """The request that a line stands for."""
        if self._dialect == OURS:
            return parse_request(line, timestamp=timestamp, template=template)
        return parse_dialect_request(line)


class _Prompt:
    """The person in front of a peer: lines become requests, and answers are printed."""

    def __init__(self, log: Logger, speech: _Speech, *, json: bool) -> None:
        self._log = log
        self._speech = speech
        self._json = json
        self._node: Node | None = None
        self._listening = asyncio.Event()
        self._template = 0

    def ready(self, node: Node) -> None:
        """Neighbours can come, and so can requests."""
        self._node = node
        tell_addresses(node, self._log)
        self._listening.set()

    def hear(self, message: object) -> None:
        """An answer to the prompt."""
        assert isinstance(message, Answer)
        if isinstance(message, messages.Template):
            self._template = message.number
        output.print(_json_text(message) if self._json else format_answer(message), markup=False)

    async def beside(self) -> None:
        """Take requests as long as there are lines, and wait for the end then."""
        await self._listening.wait()
        assert self._node is not None
        clock = asyncio.ensure_future(tell_time(self._node))
        try:
            await self._read()
            await asyncio.Event().wait()
        finally:
            clock.cancel()

    async def _read(self) -> None:
        if sys.stdin is not None and not sys.stdin.closed:
            if sys.stdin.isatty():
                errors.print(f"requests: {WORDS}", style="dim", markup=False)
            async for line in read_lines(sys.stdin.fileno()):
                self._take(line.decode(errors="replace"))

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        try:
            request = self._speech.parse(line, template=self._template)
        except LocalError as error:
            errors.print(str(error), markup=False)
            return
        self._deliver(request)

    def _deliver(self, message: object) -> None:
        assert self._node is not None
        self._node.deliver((Received(LOCAL, message),))
