"""The loops around the hashing, as LLVM IR, and the record through which Python drives them.

Every back end emits two pieces of straight-line code: what is done once a row, and what is done for
each batch of lanes. This file wraps them into one function:

    i32 scan(Job *job)

    for each row from job.row to job.row_stop:
        add the row's digits to the message
        <uniform code>
        for each batch of lanes from job.lane to lane_stop:
            <varying code>
            if some lane's word <= job.limit: note row and lane in the job, return 1
        if *job.halt: note the row, return 0
    return 0

So a scan returns at the first batch that holds a candidate, and calling it again after moving
`job.lane` past that batch resumes it. The halt flag is read once a row, some 2,000 hashes, which
takes well under a millisecond on any back end. Nothing here is told whether a candidate is any
good: Python rehashes it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import ClassVar

from nonsuch.search.layout import BLOCKS_MAX, ROW_WORDS, TABLE_WORDS
from nonsuch.search.sha256 import BLOCK_WORDS

__all__ = ["FUNCTION_NAME", "Job", "frame", "job_address", "load_word"]

FUNCTION_NAME = "scan"


class Job(ctypes.Structure):
    """One thread's place in its search; generated code reads and writes it by these offsets."""

    _fields_: ClassVar = [
        ("state", ctypes.c_uint32 * 8),
        # Spare words at the end: a row's last, absent word may lie past the message.
        ("message", ctypes.c_uint32 * (BLOCK_WORDS * BLOCKS_MAX + ROW_WORDS)),
        ("row_base", ctypes.c_uint32 * ROW_WORDS),
        ("limit", ctypes.c_uint32),
        ("row_word", ctypes.c_uint64),
        ("row", ctypes.c_uint64),
        ("row_stop", ctypes.c_uint64),
        ("lane", ctypes.c_uint64),
        ("lane_stop", ctypes.c_uint64),
        ("rows", ctypes.c_void_p),
        ("low", ctypes.c_void_p * TABLE_WORDS),
        ("halt", ctypes.c_void_p),
    ]

    state: ctypes.Array[ctypes.c_uint32]
    message: ctypes.Array[ctypes.c_uint32]
    row_base: ctypes.Array[ctypes.c_uint32]
    limit: int
    row_word: int
    row: int
    row_stop: int
    lane: int
    lane_stop: int
    rows: int | None
    low: ctypes.Array[ctypes.c_void_p]
    halt: int | None


def job_address(name: str, field: str, index: int = 0, size: int = 4) -> str:
    """An instruction that names the address of element `index` of a field of the job."""
    offset = getattr(Job, field).offset + index * size
    return f"{name} = getelementptr i8, ptr %job, i64 {offset}"


def load_word(name: str, field: str, index: int = 0) -> list[str]:
    """Instructions that load a 32-bit element of the job into `name`."""
    return [job_address(f"{name}.at", field, index), f"{name} = load i32, ptr {name}.at, align 4"]


def _load_wide(name: str, field: str, kind: str = "i64", index: int = 0) -> list[str]:
    address = job_address(f"{name}.at", field, index, size=8)
    return [address, f"{name} = load {kind}, ptr {name}.at, align 8"]


def _store_wide(field: str, value: str, tag: str) -> list[str]:
    address = f"%{field}.{tag}.at"
    return [job_address(address, field), f"store i64 {value}, ptr {address}, align 8"]


def _row_digits() -> list[str]:
    """message[row_word + k] = row_base[k] + rows[row][k], for each k."""
    lines = [
        job_address("%message.at", "message"),
        f"%row.first = mul i64 %row, {ROW_WORDS}",
        "%row.at = getelementptr i32, ptr %rows, i64 %row.first",
    ]
    for k in range(ROW_WORDS):
        lines += [
            *load_word(f"%base{k}", "row_base", k),
            f"%digits{k}.at = getelementptr i32, ptr %row.at, i64 {k}",
            f"%digits{k} = load i32, ptr %digits{k}.at, align 4",
            f"%sum{k} = add i32 %base{k}, %digits{k}",
            f"%index{k} = add i64 %row_word, {k}",
            f"%sum{k}.at = getelementptr i32, ptr %message.at, i64 %index{k}",
            f"store i32 %sum{k}, ptr %sum{k}.at, align 4",
        ]
    return lines


def frame(
    *,
    uniform: Sequence[str],
    varying: Sequence[str],
    candidate: str,
    batch: int,
    attributes: str = "",
    declarations: Sequence[str] = (),
) -> str:
    """The whole module.

    `uniform` may read `%job`; `varying` may also read the lane index `%lane`, the table addresses
    `%low0` and `%low1` and the 32-bit `%limit`, and sets the i1 named by `candidate`. Neither may
    branch. `batch` is how many lanes one pass of `varying` covers.
    """
    lines = [
        *declarations,
        f"define i32 @{FUNCTION_NAME}(ptr %job) #0 {{",
        "entry:",
        *load_word("%limit", "limit"),
        *_load_wide("%row_word", "row_word"),
        *_load_wide("%row.begin", "row"),
        *_load_wide("%row_stop", "row_stop"),
        *_load_wide("%lane.begin", "lane"),
        *_load_wide("%lane_stop", "lane_stop"),
        *_load_wide("%rows", "rows", "ptr"),
        *_load_wide("%low0", "low", "ptr", 0),
        *_load_wide("%low1", "low", "ptr", 1),
        *_load_wide("%halt", "halt", "ptr"),
        "%any = icmp ult i64 %row.begin, %row_stop",
        "br i1 %any, label %next_row, label %none",
        "none:",
        "ret i32 0",
        "next_row:",
        "%row = phi i64 [ %row.begin, %entry ], [ %row.after, %row_done ]",
        "%lane.first = phi i64 [ %lane.begin, %entry ], [ 0, %row_done ]",
        *_row_digits(),
        *uniform,
        "%row_is_open = icmp ult i64 %lane.first, %lane_stop",
        "br i1 %row_is_open, label %next_batch, label %row_done",
        "next_batch:",
        "%lane = phi i64 [ %lane.first, %next_row ], [ %lane.after, %batch_done ]",
        *varying,
        f"br i1 {candidate}, label %hit, label %batch_done, !prof !0",
        "batch_done:",
        f"%lane.after = add i64 %lane, {batch}",
        "%more_lanes = icmp ult i64 %lane.after, %lane_stop",
        "br i1 %more_lanes, label %next_batch, label %row_done, !prof !1",
        "row_done:",
        "%row.after = add i64 %row, 1",
        "%halted = load volatile i32, ptr %halt, align 4",
        "%running = icmp eq i32 %halted, 0",
        "%more_rows = icmp ult i64 %row.after, %row_stop",
        "%onward = and i1 %running, %more_rows",
        "br i1 %onward, label %next_row, label %over",
        "over:",
        *_store_wide("row", "%row.after", "over"),
        *_store_wide("lane", "0", "over"),
        "ret i32 0",
        "hit:",
        *_store_wide("row", "%row", "hit"),
        *_store_wide("lane", "%lane", "hit"),
        "ret i32 1",
        "}",
        f"attributes #0 = {{ nounwind {attributes} }}",
        '!0 = !{!"branch_weights", i32 1, i32 100000}',
        '!1 = !{!"branch_weights", i32 100000, i32 1}',
    ]
    return "\n".join(lines) + "\n"
