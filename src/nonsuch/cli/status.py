"""`nonsuch status` and `nonsuch cancel`: what a pool does, and what becomes of a job."""

from __future__ import annotations

from json import dumps
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from nonsuch import LocalError
from nonsuch.cli import options
from nonsuch.cli.access import POOL_PORT, Access, Place, parse_address
from nonsuch.cli.submit import EXIT_NOT_FOUND, EXIT_SIGNAL, ask_pool
from nonsuch.cli.terminal import (
    errors,
    format_count,
    format_duration,
    format_rate,
    output,
    printable,
)
from nonsuch.errors import check_text
from nonsuch.networks.pool import facts
from nonsuch.networks.pool.messages import Ask, JobId, Watch, Withdraw
from nonsuch.networks.pool.statistics import PoolStatistics

__all__ = ["cancel", "status"]

JOB_CHARACTERS_SHOWN = 40


def status(
    pool: options.PoolAddress = f"127.0.0.1:{POOL_PORT}",
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="The id that `submit` printed.", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the job's answer.")] = False,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
    json: options.Json = False,
) -> int:
    """Show how the pool at POOL stands, or one job of it.

    A finished job shows its answer. With --wait it is waited for. Exit code 1: the job is finished,
    and no nonce meets its target.
    """
    place = parse_address(pool, "POOL")
    access = Access.found(token_file, tls=tls, authority=tls_ca)
    if job is None:
        if wait:
            raise LocalError("--wait waits for a job: name one")
        return _pool_status(place, access, json=json)
    _check_job(job)
    return _job_status(place, access, job, wait=wait, json=json)


def cancel(
    pool: options.PoolAddress,
    job: options.JobName,
    token_file: options.TokenFile = None,
    tls: options.Tls = False,
    tls_ca: options.TlsAuthority = None,
) -> int:
    """Withdraw a job from the pool at POOL: nobody needs its answer any more."""
    place = parse_address(pool, "POOL")
    access = Access.found(token_file, tls=tls, authority=tls_ca)
    _check_job(job)
    asked = ask_pool(Withdraw(job), place, access, stays=True)
    if asked.signal:
        left = f"stopped; the pool at {place} has not said that it withdrew {job}"
        errors.print(f"nonsuch: {left}", markup=False)
        return EXIT_SIGNAL + asked.signal
    output.print(f"withdrawn {job}", markup=False)
    return 0


def _check_job(job: str) -> None:
    """Raise `LocalError` for what the wire has no room for: a pool would hang up each time."""
    check_text(job, "JOB")
    try:
        msgspec.convert(job, JobId)
    except msgspec.ValidationError:
        raise LocalError(
            f"JOB is the id that `submit` printed; {job[:JOB_CHARACTERS_SHOWN]!r}, of {len(job)}"
            " characters, cannot be one"
        ) from None


def _pool_status(place: Place, access: Access, *, json: bool) -> int:
    asked = ask_pool(Ask(), place, access, stays=False)
    if not asked.report:
        errors.print(f"nonsuch: stopped; the pool at {place} has not answered", markup=False)
        return EXIT_SIGNAL + asked.signal
    now = _read(asked.report, place)
    if json:
        output.print(_in_ascii(asked.report.decode()), markup=False)
    else:
        _print_pool(place, now)
    return 0


def _read(report: bytes, place: Place) -> PoolStatistics:
    """Raises `LocalError` for what is no report."""
    try:
        report.decode()  # msgspec passes over what it has no field for.
        return msgspec.json.decode(report, type=PoolStatistics)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LocalError(
            f"the pool at {place} reports what this version cannot read: {error}"
        ) from None


def _in_ascii(json: str) -> str:
    """The same JSON, in which what miners call themselves can move no cursor either."""
    return "".join(c if c.isascii() else dumps(c)[1:-1] for c in json)


def _print_pool(place: Place, now: PoolStatistics) -> None:
    output.print(f"pool     {place}, up {format_duration(now.seconds)}", markup=False)
    if now.is_relay:
        reached = "reached" if now.upstream_reached else "not reached"
        output.print(f"relay    the pool above is {reached}")
    output.print(f"miners   {now.miners}, {now.miners_idle} idle, {format_rate(now.rate)} together")
    if now.workers or now.slots not in (0, now.miners):
        output.print(f"slots    {_slots(now.slots, now.workers)}")
    output.print(f"jobs     {now.jobs} open, {now.jobs_finished} finished")
    output.print(
        f"shards   {format_count(now.results)} done, {now.leases} leased, {now.queue} returned"
    )
    lost = ", ".join(f"{count} {cause}" for cause, count in sorted(now.requeues.items()))
    output.print(f"lost     {printable(lost) or 'nothing'}", markup=False)
    output.print(
        f"audits   {now.audits_passed} passed, {now.audits_failed} failed,"
        f" {now.audits_waiting} waiting; {now.cheats} cheats caught"
    )
    if now.jobs_described:
        output.print(_jobs_table(now))
    if now.miners_described:
        output.print(_miners_table(now))


def _jobs_table(now: PoolStatistics) -> Table:
    table = Table("job", "done", "nonces", "best nonce", box=None, pad_edge=False)
    for job in now.jobs_described:
        best = "" if job.nonce is None else str(job.nonce)
        table.add_row(
            Text(printable(job.job)), f"{job.done / job.total:.1%}", format_count(job.total), best
        )
    return table


def _miners_table(now: PoolStatistics) -> Table:
    many = any(each.slots != 1 or each.workers for each in now.miners_described)
    columns = ["rate", "leases", "shards", "shares", "expected"]
    columns = ["miner", *(["slots"] if many else []), *columns]
    table = Table(*columns, box=None, pad_edge=False)
    for each in now.miners_described:
        slots = [_slots(each.slots, each.workers)] if many else []
        row = (each.leases, each.results, each.shares, f"{each.expected:.0f}")
        table.add_row(Text(printable(each.name)), *slots, format_rate(each.rate), *map(str, row))
    return table


def _slots(slots: int, workers: int) -> str:
    return f"{slots} on {workers} workers" if workers > 1 else f"{slots}"


class _JobReport(msgspec.Struct):
    """What `--json` prints of a job."""

    job: str
    finished: bool
    nonce: int | None
    done: int
    total: int
    hashes_per_second: float
    miners: int


def _job_status(place: Place, access: Access, job: str, *, wait: bool, json: bool) -> int:
    asked = ask_pool(Watch(job), place, access, stays=wait)
    latest = asked.progress
    if latest is None:
        errors.print(f"nonsuch: stopped; the pool at {place} has not answered", markup=False)
        return EXIT_SIGNAL + asked.signal
    if wait and asked.core.answer is None:
        errors.print(f"nonsuch: job {job} goes on", markup=False)
        return EXIT_SIGNAL + asked.signal
    report = _JobReport(
        job=job,
        finished=asked.core.answer is not None or latest.done == latest.total,
        nonce=latest.nonce if asked.core.answer is None else asked.core.answer.nonce,
        done=latest.done,
        total=latest.total,
        hashes_per_second=latest.rate,
        miners=latest.miners,
    )
    if json:
        output.print(msgspec.json.encode(report).decode(), markup=False)
    else:
        _print_job(report, latest)
    return EXIT_NOT_FOUND if report.finished and report.nonce is None else 0


def _print_job(report: _JobReport, latest: facts.Progressed) -> None:
    output.print(f"job      {report.job}, {'finished' if report.finished else 'running'}")
    name = "nonce" if report.finished else "best"
    output.print(f"{name:9}{'none' if report.nonce is None else report.nonce}")
    part = f"{latest.done / max(1, latest.total):.1%}"
    output.print(f"done     {format_count(latest.done)} of {format_count(latest.total)}, {part}")
    if not report.finished:
        output.print(f"rate     {format_rate(latest.rate)}, {latest.miners} miners")
