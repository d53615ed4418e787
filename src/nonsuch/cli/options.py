"""Options that several commands share, each declared once."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from nonsuch import LocalError
from nonsuch.addresses import PORT_MAX
from nonsuch.work.presets import PRESETS

__all__ = [
    "PRESET_TABLE",
    "Binary",
    "Bits",
    "Difficulty",
    "Engine",
    "File",
    "Hexadecimal",
    "Insecure",
    "InsecureEngine",
    "JobName",
    "Json",
    "JsonLines",
    "LiteMiner",
    "Message",
    "Metrics",
    "OwnTokenFile",
    "PoolAddress",
    "PresetName",
    "SlotThreads",
    "Start",
    "TargetText",
    "Threads",
    "Tls",
    "TlsAuthority",
    "TlsCertificate",
    "TlsKey",
    "TokenFile",
    "Upto",
    "Verbose",
    "Zeros",
    "refuse_stray",
]


def refuse_stray(context: typer.Context) -> None:
    """Raise `LocalError` where options stand before the name of a command below this one.

    They would be taken for this one's, which does nothing then.
    """
    sources = {name: context.get_parameter_source(name) for name in context.params}
    if any(source is not None and source.name == "COMMANDLINE" for source in sources.values()):
        command = f"{context.info_name} {context.invoked_subcommand}"
        raise LocalError(f"options come behind the command: nonsuch {command} …")


def refuse_useless(context: typer.Context, useless: Mapping[str, str]) -> None:
    """Raise `LocalError` where an option was given that would do nothing: by name, and why."""
    for name, why in useless.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise LocalError(f"--{name.replace('_', '-')} is of no use here: {why}")


PRESET_TABLE = "\b\nPresets:\n" + "\n".join(
    textwrap.fill(f"  {preset.name:13}{preset.summary}", 78, subsequent_indent=" " * 15)
    for preset in PRESETS.values()
)
"""What stands below the help of commands with --preset; the \\b keeps its lines apart."""

Message = Annotated[
    str | None,
    typer.Argument(
        metavar="MESSAGE",
        help="What is hashed with the nonce. Left out or '-': standard input.",
        show_default=False,
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="PATH", help="Read the message from this file."),
]
Hexadecimal = Annotated[bool, typer.Option("--hex", help="The message is given in hex digits.")]
Binary = Annotated[
    bool, typer.Option("--binary", help="Take file or standard input as raw bytes, not as text.")
]
PresetName = Annotated[
    str,
    typer.Option("--preset", "-p", metavar="NAME", help="What is hashed, and how; see below."),
]
Upto = Annotated[
    str | None,
    typer.Option("--upto", "-n", metavar="N", help="Search nonces up to N, N included."),
]
Start = Annotated[
    str | None, typer.Option("--start", metavar="N", help="Begin at this nonce, not at 0.")
]
Zeros = Annotated[
    int | None,
    typer.Option("--zeros", metavar="N", help="Target: N leading zero hex digits, 0 to 63."),
]
Bits = Annotated[
    str | None,
    typer.Option("--bits", metavar="HEX", help="Target: Bitcoin's compact form, such as 1d00ffff."),
]
TargetText = Annotated[
    str | None,
    typer.Option("--target", metavar="NUMBER", help="Target: 64 hex digits, 0x…, 2**235, decimal."),
]
Difficulty = Annotated[
    float | None,
    typer.Option("--difficulty", metavar="NUMBER", help="Target: Bitcoin's difficulty, above 0."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", "-t", metavar="N", help="Threads that search; default: one a processor."
    ),
]
SlotThreads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        "-t",
        metavar="N",
        help="Threads that search, or processes of --engine processes and dask; default: one a"
        " processor.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="Where to search: threads, processes, dask, dask://HOST:PORT, tls://HOST:PORT, or"
        " MODULE:CALLABLE, which returns an executor.",
    ),
]
InsecureEngine = Annotated[
    bool,
    typer.Option("--insecure", help="Reach dask:// on other machines, where anybody may listen."),
]
PoolAddress = Annotated[
    str,
    typer.Argument(metavar="POOL", help="Where the pool listens, HOST:PORT or HOST."),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="The id that `submit` printed.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="PATH", help="Read the pool's token from it, not NONSUCH_TOKEN."
    ),
]
OwnTokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="PATH", help="Ask all for this token; or set NONSUCH_TOKEN."
    ),
]
TlsCertificate = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="PATH", help="Speak TLS, as this.")
]
TlsKey = Annotated[
    Path | None, typer.Option("--tls-key", metavar="PATH", help="The certificate's key.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Let other machines in without a token.")
]
Tls = Annotated[
    bool, typer.Option("--tls", help="Speak TLS; the system's authorities must know the pool.")
]
TlsAuthority = Annotated[
    Path | None,
    typer.Option("--tls-ca", metavar="PATH", help="Speak TLS, and trust this certificate."),
]
LiteMiner = Annotated[
    bool, typer.Option("--liteminer", help="The pool is a LiteMiner one, not one of ours.")
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line for all that happens.")
]
Metrics = Annotated[
    int | None,
    typer.Option(
        "--metrics",
        metavar="PORT",
        min=0,
        max=PORT_MAX,
        help="Serve Prometheus metrics on this port, to this machine only.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every shard and audit.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
