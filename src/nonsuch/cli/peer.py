"""`nonsuch peer` and `nonsuch ask`: a ledger among neighbours, five transactions to a block."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import platformdirs
import typer

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.access import PORT_MAX, Place, is_loopback, parse_address
from nonsuch.cli.facts import Listening, Stopped
from nonsuch.cli.inputs import check_threads, chosen_target
from nonsuch.cli.lines import read_lines
from nonsuch.cli.logs import Logger, fact_logger
from nonsuch.cli.requests import WORDS, format_answer, parse_request
from nonsuch.cli.terminal import errors, output
from nonsuch.live.driver import Node
from nonsuch.live.journal import Journal
from nonsuch.live.run import run
from nonsuch.live.tcp import Address, Listener
from nonsuch.networks.peer import facts, messages
from nonsuch.networks.peer.block import MICROSECONDS, BlockForm, Header
from nonsuch.networks.peer.client import Answer, Client
from nonsuch.networks.peer.peer import Peer
from nonsuch.networks.peer.records import decode_record, encode_record
from nonsuch.networks.peer.settings import NEIGHBOURS_MAX, PeerSettings
from nonsuch.networks.peer.wire import PeerWire
from nonsuch.node import LOCAL, Received

__all__ = ["PEER_PORT", "ask", "peer"]

PEER_PORT = 6000
"""Where the network's peers listen, from this port on."""

CONFIG_BYTES_MAX = 2**16
EXIT_NO = 1
EXIT_SIGNAL = 128
NAME_CHARACTERS_MAX = 64

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
    if not is_loopback(host) and not insecure:
        raise LocalError(f"on {host} anybody could come in, and peers know no tokens: --insecure")
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
    kept = _journal(journal, name, port)
    log = fact_logger(json=json, quiet=frozenset() if verbose or json else _QUIET)
    prompt = _Prompt(log, json=json)
    book = {str(place): Address(*place, lambda: PeerWire(dialled=True)) for place in neighbours}

    def make() -> Node:
        origin = time.time() - asyncio.get_running_loop().time()
        return Node(
            Peer(settings, random.Random(secrets.randbits(64)), origin),
            listeners=[Listener(host, port, lambda: PeerWire(dialled=False))],
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
    json: options.Json = False,
) -> int:
    """Ask a peer one thing, and print its answer.

    A transaction is tried again until it is answered, and is in the chain once all the same. Exit
    code 1 where the answer is no.
    """
    text = f"127.0.0.1:{address}" if address.isdigit() else address
    place = parse_address(text, "PEER", PEER_PORT)
    timestamp = time.time_ns() * MICROSECONDS // 10**9
    line = request[0] if len(request) == 1 else " ".join(request)
    core = Client(parse_request(line, timestamp=timestamp), random.Random(secrets.randbits(64)))
    dial = Address(*place, lambda: PeerWire(dialled=True))
    signal = run(lambda: Node(core, dial=dial))
    if signal:
        return EXIT_SIGNAL + signal
    if core.answer is None:
        raise LocalError(f"no answer from the peer at {place}: {core.failure}")
    output.print(_json_text(core.answer) if json else format_answer(core.answer), markup=False)
    return 0 if _is_yes(core.answer) else EXIT_NO


def _is_yes(answer: Answer) -> bool:
    match answer:
        case messages.Verdict(accepted=accepted) | messages.Reward(accepted=accepted):
            return accepted
        case messages.Stopped(reason=reason):
            return not reason
        case _:
            return True


def _json_text(answer: Answer) -> str:
    """The answer's fields, or those of a status; bytes are hex digits."""
    fields = {name: getattr(answer, name) for name in answer.__struct_fields__}
    if isinstance(answer, messages.Status):
        fields = msgspec.json.decode(answer.statistics, type=dict[str, object])
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
    if not lines or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise LocalError(form)
    count, rest = int(lines[0][0][:9]), lines[1:]
    if count > NEIGHBOURS_MAX:
        raise LocalError(f"{path} names {count} neighbours, where {NEIGHBOURS_MAX} are possible")
    if len(rest) != count or any(len(words) != 2 for words in rest):
        raise LocalError(f"{form}: {count} of them, not {len(rest)}")
    texts = (f"127.0.0.1:{where}" if where.isdigit() else where for _, where in rest)
    return [parse_address(text, f"a neighbour in {path}", PEER_PORT) for text in texts]


def _journal(path: str | None, name: str, port: int) -> Journal | None:
    if path == "off":
        return None
    if path is None:
        safe = "".join(c if c.isalnum() else "-" for c in name[:NAME_CHARACTERS_MAX])
        folder = platformdirs.user_state_path("nonsuch", appauthor=False)
        return Journal(folder / f"peer-{safe}-{port}.journal", encode_record, decode_record)
    return Journal(Path(path), encode_record, decode_record)


class _Prompt:
    """The person in front of a peer: lines become requests, and answers are printed."""

    def __init__(self, log: Logger, *, json: bool) -> None:
        self._log = log
        self._json = json
        self._node: Node | None = None
        self._listening = asyncio.Event()
        self._template = 0

    def ready(self, node: Node) -> None:
        """Neighbours can come, and so can requests."""
        self._node = node
        for host, port in node.addresses:
            self._log(Listening(str(Place(host, port))))
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
        if sys.stdin is not None and not sys.stdin.closed:
            if sys.stdin.isatty():
                errors.print(f"requests: {WORDS}", style="dim", markup=False)
            async for line in read_lines(sys.stdin.fileno()):
                self._take(line.decode(errors="replace"))
        await asyncio.Event().wait()

    def _take(self, line: str) -> None:
        assert self._node is not None
        if not line.strip():
            return
        try:
            request = parse_request(line, template=self._template)
        except LocalError as error:
            errors.print(str(error), markup=False)
            return
        self._node.deliver((Received(LOCAL, request),))
