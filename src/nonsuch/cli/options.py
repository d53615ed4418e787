"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nonsuch.work.presets import PRESETS

__all__ = [
    "Binary",
    "Bits",
    "Difficulty",
    "File",
    "Hexadecimal",
    "Json",
    "Message",
    "PresetName",
    "TargetText",
    "Threads",
    "Zeros",
]

_PRESET_HELP = "; ".join(f"{preset.name}: {preset.summary}" for preset in PRESETS.values())

Message = Annotated[
    str | None,
    typer.Argument(help="What is hashed with the nonce. Left out or '-': standard input."),
]
File = Annotated[Path | None, typer.Option("--file", "-f", help="Read the message from this file.")]
Hexadecimal = Annotated[bool, typer.Option("--hex", help="The message is given in hex digits.")]
Binary = Annotated[
    bool, typer.Option("--binary", help="Take file or standard input as raw bytes, not as text.")
]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset", "-p", metavar="NAME", help=f"What is hashed, and how. {_PRESET_HELP}."
    ),
]
Zeros = Annotated[
    int | None, typer.Option("--zeros", help="Target: this many leading zero hex digits (0 to 63).")
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
    float | None, typer.Option("--difficulty", help="Target: Bitcoin's difficulty, above 0.")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", "-t", help="Threads that search; default: one a processor."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
