"""Lines that come while something runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nonsuch.cli.lines import LINE_BYTES_MAX, read_lines


async def all_lines(descriptor: int) -> list[bytes]:
    return [line async for line in read_lines(descriptor)]


async def test_lines_of_a_file_without_their_ends(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"one\ntwo\r\n\nlast without an end")
    descriptor = os.open(file, os.O_RDONLY)
    assert await all_lines(descriptor) == [b"one", b"two", b"", b"last without an end"]


async def test_a_line_comes_as_soon_as_it_is_there_and_in_pieces() -> None:
    reading, writing = os.pipe()
    lines = read_lines(reading)
    os.write(writing, b"fir")
    os.write(writing, b"st\nsec")
    assert await anext(lines) == b"first"
    os.write(writing, b"ond\n")
    assert await anext(lines) == b"second"
    os.close(writing)
    assert [line async for line in lines] == []


async def test_a_line_without_end_does_not_fill_the_memory() -> None:
    reading, writing = os.pipe()
    collected = asyncio.ensure_future(all_lines(reading))
    data = b"x" * (3 * LINE_BYTES_MAX + 5)
    await asyncio.to_thread(os.write, writing, data)
    os.close(writing)
    pieces = await collected
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 2 * LINE_BYTES_MAX


async def test_more_lines_than_anybody_wants_wait_where_they_are() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lines = read_lines(reading)
    count = 0
    try:
        while True:
            # A pipe holds some 64 KiB; behind it, only so many lines are read ahead.
            os.write(writing, b"%07d\n" % count)
            count += 1
    except BlockingIOError:
        pass
    got = [await anext(lines) for _ in range(1000)]
    assert got == [b"%07d" % number for number in range(1000)]
    os.close(writing)
