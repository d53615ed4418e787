"""`nonsuch submit`: have a pool find the nonce. `solve --pool` is the same."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer

from nonsuch import First, LocalError, Proof
from nonsuch.cli import options
from nonsuch.cli.access import Access, Place, parse_address
from nonsuch.cli.inputs import chosen_target, read_message, read_question
from nonsuch.cli.terminal import (
    errors,
    format_count,
    format_duration,
    format_rate,
    job_progress,
    output,
    printable,
)
from nonsuch.live.driver import Node
from nonsuch.live.run import run
from nonsuch.live.tcp import Wire
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.client import Client, Wish
from nonsuch.networks.pool.liteminer import LiteMinerClientWire
from nonsuch.networks.pool.messages import (
    Answer,
    Hello,
    PuzzleForm,
    Submit,
    target_bytes,
    target_of,
)
from nonsuch.networks.pool.wire import PoolWire
from nonsuch.search.solve import Question
from nonsuch.work.presets import liteminer as liteminer_puzzle

__all__ = ["ask_pool", "submit", "submit_question"]

EXIT_NOT_FOUND = 1
EXIT_SIGNAL = 128
JOB_BYTES = 8

SILENT_SECONDS = 5.0
"""After so long without a word from a pool people are told. It tells of a job twice a second."""


def submit(
    pool: options.PoolAddress,
    message: options.Message = None,
    upto: options.Upto = None,
    start: options.Start = None,
    zeros: options.Zeros = None,
    bits: options.Bits = None,
    target: options.TargetText = None,
    difficulty: options.Difficulty = None,
    preset: options.PresetName = "plain",
    file: options.File = None,
    hexadecimal: options.Hexadecimal = False,
    binary: options.Binary = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the job's id and leave; see `status`.")
    ] = False,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
    liteminer: options.LiteMiner = False,
    json: options.Json = False,
) -> int:
    """Have the pool at POOL find the lowest hash, or the first that meets a target.

    The answer is hashed again here. A pool that goes away is waited for. Ctrl-C leaves the job
    where it is and says how to come back for it. Exit code 1: no nonce of the range meets the
    target.
    """
    content = read_message(message, file, hexadecimal=hexadecimal, binary=binary)
    wanted = chosen_target(zeros=zeros, bits=bits, target=target, difficulty=difficulty)
    if liteminer and preset == "plain":
        preset = "liteminer"
    question = read_question(content, preset, wanted, start, upto)
    access = Access.found(token_file, tls=tls, authority=tls_ca)
    place = parse_address(pool, "POOL")
    return submit_question(question, place, access, json=json, detach=detach, liteminer=liteminer)


def submit_question(
    question: Question,
    place: Place,
    access: Access,
    *,
    json: bool = False,
    detach: bool = False,
    liteminer: bool = False,
) -> int:
    """Submit, wait, check, print. Returns the exit code."""
    wish = _submit(question)
    if liteminer:
        _check_liteminer(question, detach=detach)
    asked = ask_pool(wish, place, access, stays=not detach, liteminer=liteminer)
    if asked.signal:
        errors.print(
            f"nonsuch: {_left_behind(asked, wish, place, liteminer=liteminer)}", markup=False
        )
        return EXIT_SIGNAL + asked.signal
    if asked.core.answer is None:
        _print_job(wish, place, json=json)
        return 0
    report = _report(question, asked.core.answer)
    if json:
        output.print(msgspec.json.encode(report).decode(), markup=False)
    else:
        _print_report(report)
    return 0 if report.found else EXIT_NOT_FOUND


def _left_behind(asked: Asked, wish: Submit, place: Place, *, liteminer: bool) -> str:
    """What becomes of a job whose client leaves."""
    if not asked.reached:
        return f"stopped; no pool was reached at {place}, and nothing was submitted"
    if liteminer:
        return "stopped; a LiteMiner pool forgets the job"
    command = f"nonsuch status {place} {wish.job}"
    if asked.progress is None:
        silent = f"stopped; the pool at {place} has not answered"
        return f"{silent}, and may have the job or not, which says: {command}"
    return f"job {wish.job} goes on; come back: {command} --wait"


class Asked:
    """A wish that was said to a pool: the client at its end, and what it heard."""

    def __init__(self, core: Client, place: Place) -> None:
        self.core = core
        self.signal = 0
        self.report = b""
        self.progress: facts.Progressed | None = None
        self.reached = False
        self._place = place
        self._connected = False
        self._word = asyncio.Event()

    def __call__(self, fact: object) -> None:
        """Hear a fact."""
        self._word.set()
        match fact:
            case facts.PoolReached():
                self.reached = self._connected = True
            case facts.Progressed():
                self.progress = fact
            case facts.Reported(statistics=statistics):
                self.report = statistics
            case facts.ConnectionLost(why=why):
                self._connected = False
                _say(f"{why}; trying again")
            case facts.PoolRefused(reason=why):
                _say(f"{why}; trying again")
            case _:
                pass

    async def tell_silence(self) -> None:
        """Say, once a silence, that a pool which lets us in says nothing. It is waited for."""
        told = False
        while True:
            self._word.clear()
            try:
                await asyncio.wait_for(self._word.wait(), SILENT_SECONDS)
                told = False
            except TimeoutError:
                if self._connected and not told:
                    told = True
                    _say(f"the pool at {self._place} does not answer; waiting")


def _say(text: str) -> None:
    """While something lasts. A part of it may be what a stranger said."""
    errors.print(f"nonsuch: {printable(text)}", style="dim", markup=False)


def ask_pool(
    wish: Wish, place: Place, access: Access, *, stays: bool, liteminer: bool = False
) -> Asked:
    """One wish to a pool, shown while it lasts. Raises `LocalError` where it cannot be had."""
    hello = Hello("client", token=access.token)
    core = Client(hello, wish, random.Random(secrets.randbits(64)), stays=stays)
    wire: Callable[[], Wire] = (
        LiteMinerClientWire if liteminer else lambda: PoolWire(accepts_puzzles=True)
    )
    asked = Asked(core, place)
    address = access.address(place, wire)
    with job_progress(_expected_work(wish)) as show:

        def observe(fact: object) -> None:
            asked(fact)
            if isinstance(fact, facts.Progressed):
                show(fact)

        # A LiteMiner pool says nothing before it has the answer.
        beside = None if liteminer else asked.tell_silence
        asked.signal = run(lambda: Node(core, dial=address, observe=observe), beside)
    if core.failure is not None:
        raise LocalError(f"the pool at {place}: {core.failure}")
    return asked


def _expected_work(wish: Wish) -> int | None:
    """Hashes until a target is met, on average; None where the whole range is searched."""
    if not isinstance(wish, Submit) or wish.target is None:
        return None
    return target_of(wish.target).work


def _submit(question: Question) -> Submit:
    puzzle, nonces, goal = question
    target = target_bytes(goal.target) if isinstance(goal, First) else None
    form = PuzzleForm.of(puzzle)
    job = secrets.token_hex(JOB_BYTES)
    return Submit(job, form, nonces.start, nonces.stop - 1, target)


def _check_liteminer(question: Question, *, detach: bool) -> None:
    puzzle, nonces, goal = question
    if puzzle != liteminer_puzzle(puzzle.prefix[:-1]) or isinstance(goal, First):
        raise LocalError(
            "a LiteMiner pool finds the lowest hash of its own puzzle only: give --upto, and no"
            " target or other preset"
        )
    try:
        puzzle.prefix.decode()
    except UnicodeDecodeError:
        raise LocalError("a LiteMiner pool takes text, and this message is not UTF-8") from None
    if nonces.start:
        raise LocalError("a LiteMiner pool begins at nonce 0: leave --start out")
    if detach:
        raise LocalError("a LiteMiner pool forgets whose client leaves: leave --detach out")


class _Report(msgspec.Struct):
    """What `--json` prints. The range is [first, last], both included."""

    job: str
    nonce: int | None
    hash: str | None
    found: bool
    verified: bool
    range: tuple[int, int]
    hashes: int
    seconds: float


def _report(question: Question, answer: Answer) -> _Report:
    proof: Proof | None = None
    if answer.nonce is not None:
        proof = question.puzzle.prove(answer.nonce)
    return _Report(
        job=answer.job,
        nonce=answer.nonce,
        hash=None if proof is None else proof.hexdigest,
        found=proof is not None,
        verified=proof is not None and proof.verify(),
        range=(question.nonces.start, question.nonces.stop - 1),
        hashes=answer.hashes,
        seconds=answer.seconds,
    )


def _print_report(report: _Report) -> None:
    if report.nonce is None:
        errors.print("nonsuch: no nonce of this range meets the target")
    else:
        output.print(f"nonce    {report.nonce}")
        output.print(f"hash     {report.hash}")
    first, last = report.range
    output.print(f"range    {format_count(first)} to {format_count(last)}")
    if report.verified:
        output.print("checked  hashlib gives the same hash")
    rate = report.hashes / report.seconds if report.seconds else 0.0
    took = f" in {format_duration(report.seconds)}, {format_rate(rate)}" if rate else ""
    output.print(f"work     {format_count(report.hashes)} hashes{took}, job {report.job}")


def _print_job(wish: Submit, place: Place, *, json: bool) -> None:
    if json:
        output.print(msgspec.json.encode({"job": wish.job}).decode(), markup=False)
        return
    output.print(wish.job)
    errors.print(f"nonsuch: come back with: nonsuch status {place} {wish.job} --wait", markup=False)
