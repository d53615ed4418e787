"""`nonsuch verify`: hash one nonce with hashlib, and say whether it is what somebody claims."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from nonsuch import LocalError, Proof, Target
from nonsuch.cli import options
from nonsuch.cli.inputs import chosen_target, parse_nonce, read_message, read_preset
from nonsuch.cli.terminal import output

__all__ = ["verify"]

EXIT_REFUSED = 1
HASH_DIGITS = 64


def verify(
    nonce: Annotated[str, typer.Option("--nonce", metavar="N", help="The nonce to check.")],
    message: options.Message = None,
    claimed: Annotated[
        str | None,
        typer.Option("--hash", metavar="HEX", help="The hash that the nonce is said to have."),
    ] = None,
    zeros: options.Zeros = None,
    bits: options.Bits = None,
    target: options.TargetText = None,
    difficulty: options.Difficulty = None,
    preset: options.PresetName = "plain",
    file: options.File = None,
    hexadecimal: options.Hexadecimal = False,
    binary: options.Binary = False,
    json: options.Json = False,
) -> int:
    """Check one nonce: its hash, the hash claimed, the target.

    The target is the option given, else the preset's own. Exit code 0 if all holds, 1 if not.
    """
    chosen = read_preset(preset)
    content = read_message(message, file, hexadecimal=hexadecimal, binary=binary)
    puzzle = chosen.build(content)
    proof = puzzle.prove(parse_nonce(nonce, "--nonce", puzzle.nonce.count))
    wanted = chosen_target(zeros=zeros, bits=bits, target=target, difficulty=difficulty)
    if wanted is None and chosen.target is not None:
        wanted = chosen.target(content)
    report = _report(proof, wanted, _claimed_hash(claimed))
    if json:
        output.print(msgspec.json.encode(report).decode(), markup=False)
    else:
        _print_report(report)
    return 0 if report.valid else EXIT_REFUSED


class _Report(msgspec.Struct):
    """What `--json` prints."""

    nonce: int
    hash: str
    compared: int
    hash_matches: bool | None
    meets_target: bool | None
    target: str | None

    valid: bool


def _claimed_hash(claimed: str | None) -> str | None:
    if claimed is None:
        return None
    digits = claimed.strip().lower()
    if len(digits) != HASH_DIGITS or set(digits) - set("0123456789abcdef"):
        raise LocalError(f"--hash takes {HASH_DIGITS} hex digits, not {claimed[:70]!r}")
    return digits


def _report(proof: Proof, wanted: Target | None, claimed: str | None) -> _Report:
    matches = None if claimed is None else claimed == proof.hexdigest
    meets = None if wanted is None else wanted.admits(proof.rank)
    return _Report(
        nonce=proof.nonce,
        hash=proof.hexdigest,
        compared=proof.puzzle.compared(proof.digest),
        hash_matches=matches,
        meets_target=meets,
        target=None if wanted is None else str(wanted),
        valid=matches is not False and meets is not False,
    )


def _print_report(report: _Report) -> None:
    output.print(f"nonce    {report.nonce}")
    output.print(f"hash     {report.hash}")
    if report.hash_matches is not None:
        output.print(f"claimed  {'the same' if report.hash_matches else 'a different hash'}")
    if report.target is not None:
        output.print(f"target   {report.target}")
        output.print(f"meets it {'yes' if report.meets_target else 'no'}")
