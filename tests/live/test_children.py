"""Children are heard, and end: asked to, killed, frozen, or left alone by a parent that is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nonsuch.errors import LocalError
from nonsuch.live import children
from nonsuch.live.children import END_SECONDS, LINE_BYTES_MAX, PARENT, Child, Children

LONG_SECONDS = 60.0
"""Longer than any test may take."""


class Family:
    """Children, and all that was heard of them."""

    def __init__(self, end_seconds: float) -> None:
        self.lines: list[tuple[str, str]] = []
        self.deaths: list[tuple[str, int]] = []
        self._news = asyncio.Event()
        self.children = Children(self._hear, self._died, end_seconds=end_seconds)

    def _hear(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._news.set()

    def _died(self, name: str, status: int) -> None:
        self.deaths.append((name, status))
        self._news.set()

    async def start(self, name: str, code: str) -> int:
        """A child that runs this Python. Returns its process number once it has said `ready`."""
        await self.children.start(Child(name, ("-c", code), PYTHON))
        await self.heard(name, "ready")
        return self.children.running[name]

    async def until(self, come: Callable[[], bool]) -> None:
        while not come():
            self._news.clear()
            await self._news.wait()

    async def heard(self, name: str, line: str) -> None:
        await self.until(lambda: (name, line) in self.lines)

    def said(self, name: str) -> list[str]:
        return [line for who, line in self.lines if who == name]


@asynccontextmanager
async def family(end_seconds: float = END_SECONDS) -> AsyncIterator[Family]:
    made = Family(end_seconds)
    before = descriptors()
    async with asyncio.timeout(LONG_SECONDS):
        try:
            yield made
        finally:
            numbers = list(made.children.running.values())
            await made.children.close()
    assert made.children.running == {}
    assert not any(is_alive(number) for number in numbers)
    assert descriptors() == before - 2, "its pipe is closed, and those of its children"


def descriptors() -> int:
    """How many this process has open."""
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        if folder.exists():
            return len(list(folder.iterdir()))
    pytest.skip("descriptors cannot be counted here")


def state_of(number: int) -> str:
    """What a process does, as `ps` says it: T where it is stopped; nothing where it has ended."""
    command = ["ps", "-o", "stat=", "-p", str(number)]
    state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return "" if state.startswith("Z") else state


def is_alive(number: int) -> bool:
    return state_of(number) != ""


def wait_until(come: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG_SECONDS
    while not come():
        assert time.monotonic() < until
        threading.Event().wait(0.02)


PYTHON = (sys.executable,)

WAITING = "import signal\nprint('ready')\nsignal.pause()"
POLITE = """
import signal, sys
def leave(*_):
    print('goodbye')
    sys.exit(7)
signal.signal(signal.SIGTERM, leave)
print('ready')
while True:
    signal.pause()
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITING


# What they say.


async def test_lines_come_in_the_order_in_which_they_were_written() -> None:
    code = """
import sys
for number in range(2000):
    print(number, file=sys.stderr if number % 3 else sys.stdout)
"""
    async with family() as one:
        for name in ("a", "b"):
            await one.children.start(Child(name, ("-c", code), PYTHON))
        await one.until(lambda: len(one.deaths) == 2)
    assert sorted(one.deaths) == [("a", 0), ("b", 0)]
    for name in ("a", "b"):
        assert one.said(name) == [str(number) for number in range(2000)]


async def test_lines_of_any_kind() -> None:
    code = f"""
import sys
out = sys.stdout.buffer
out.write(b'\\nends like this\\r\\n')
out.write(b'x' * {3 * LINE_BYTES_MAX + 5} + b'\\n')
out.write(b'\\xc3\\xa9 and \\xff\\n')
out.write(b'no end')
"""
    async with family() as one:
        await one.children.start(Child("a", ("-c", code), PYTHON))
        await one.until(lambda: bool(one.deaths))
    first, second, *pieces, odd, last = one.said("a")
    assert (first, second, odd, last) == ("", "ends like this", "é and \ufffd", "no end")
    assert "".join(pieces) == "x" * (3 * LINE_BYTES_MAX + 5)
    assert max(map(len, pieces)) <= LINE_BYTES_MAX


async def test_the_longest_fact_is_one_line() -> None:
    """A text of 65,536 bytes that JSON has to escape, and what stands around it."""
    code = """
import json
print(json.dumps({"event": "ledger updated", "text": "\\x01" * 65536, "around": "x" * 3000}))
"""
    async with family() as one:
        await one.children.start(Child("a", ("-c", code), PYTHON))
        await one.until(lambda: bool(one.deaths))
    (line,) = one.said("a")
    assert json.loads(line)["text"] == "\x01" * 65_536


async def test_a_child_is_this_program() -> None:
    async with family() as one:
        await one.children.start(Child("a", ("--version",)))
        await one.until(lambda: bool(one.deaths))
    assert one.said("a")[0].startswith("nonsuch ")
    assert one.deaths == [("a", 0)]


async def test_a_child_does_not_get_our_ctrl_c_and_stays_in_our_session() -> None:
    async with family() as one:
        number = await one.start("a", WAITING)
        assert os.getpgid(number) == number != os.getpgid(0)
        assert os.getsid(number) == os.getsid(0)


# How they end.


async def test_who_dies_by_itself_is_told_behind_its_last_words() -> None:
    async with family() as one:
        await one.children.start(Child("a", ("-c", "print('last'); exit(3)"), PYTHON))
        await one.until(lambda: bool(one.deaths))
        assert (one.said("a"), one.deaths) == (["last"], [("a", 3)])
        number = await one.start("b", WAITING)
        os.kill(number, signal.SIGKILL)
        await one.until(lambda: len(one.deaths) == 2)
        assert one.deaths[1] == ("b", -signal.SIGKILL)
        # And to do something to who has ended is no error: it may happen at any time.
        for name in ("a", "b"):
            await one.children.stop(name)
            await one.children.kill(name)
            one.children.freeze(name)
            one.children.thaw(name)


async def test_who_was_asked_to_end_may_say_goodbye_and_its_death_is_no_news() -> None:
    async with family() as one:
        number = await one.start("a", POLITE)
        await one.children.stop("a")
        assert not is_alive(number)
        assert one.said("a") == ["ready", "goodbye"]
    assert one.deaths == []


async def test_who_was_killed_says_nothing_and_may_come_back() -> None:
    async with family() as one:
        for _ in range(3):
            number = await one.start("a", POLITE)
            assert list(one.children.running) == ["a"]
            await one.children.kill("a")
            assert not is_alive(number)
            assert one.children.running == {}
            assert one.said("a") == ["ready"]
            one.lines.clear()
    assert one.deaths == []


async def test_who_does_not_listen_is_killed() -> None:
    async with family(end_seconds=0.1) as one:
        number = await one.start("a", STUBBORN)
        await one.children.stop("a")
        assert not is_alive(number)
        await one.start("b", STUBBORN)
        await one.start("c", WAITING)
    assert one.deaths == []


async def test_the_frozen_do_nothing_until_they_are_thawed() -> None:
    async with family() as one:
        number = await one.start("a", "print('ready')\nwhile input: print('x')")
        one.children.freeze("a")
        await asyncio.to_thread(wait_until, lambda: state_of(number).startswith("T"))
        one.children.thaw("a")
        await asyncio.to_thread(wait_until, lambda: not state_of(number).startswith("T"))
        one.lines.clear()
        await one.heard("a", "x")


async def test_the_frozen_end_as_others_do() -> None:
    async with family() as one:
        for name in ("a", "b", "c"):
            await one.start(name, POLITE)
            one.children.freeze(name)
        await one.children.stop("a")
        assert one.said("a") == ["ready", "goodbye"]
        await one.children.kill("b")
        assert one.said("b") == ["ready"]
    assert one.said("c") == ["ready", "goodbye"]
    assert one.deaths == []


async def test_what_a_child_leaves_behind_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "OUTPUT_SECONDS", 0.1)
    code = (
        "import subprocess\nprint(subprocess.Popen(['sleep', '1000']).pid)\nprint('ready')\nexit(3)"
    )
    async with family() as one:
        await one.children.start(Child("a", ("-c", code), PYTHON))
        await one.until(lambda: bool(one.deaths))
        left = int(one.said("a")[0])
        await asyncio.to_thread(wait_until, lambda: not is_alive(left))
    assert one.deaths == [("a", 3)]


async def test_many_end_at_once_and_nothing_is_left() -> None:
    tasks = asyncio.all_tasks()
    async with family() as one:
        numbers = [await one.start(f"child {number}", POLITE) for number in range(8)]
        assert sorted(one.children.running.values()) == sorted(numbers)
    assert [line for _, line in one.lines].count("goodbye") == 8
    assert asyncio.all_tasks() == tasks


# What cannot be.


async def test_what_cannot_be_started_is_told() -> None:
    async with family() as one:
        await one.start("a", WAITING)
        with pytest.raises(LocalError, match="cannot start a: it is running"):
            await one.start("a", WAITING)
        with pytest.raises(LocalError, match="cannot start b: no such file"):
            await one.children.start(Child("b", (), ("/no/such/program",)))
        with pytest.raises(LocalError, match="cannot start b: embedded null"):
            await one.children.start(Child("b", ("a\0b",)))
        with pytest.raises(LocalError, match="there is no child 'c'"):
            await one.children.stop("c")
        assert list(one.children.running) == ["a"]
        await one.start("b", WAITING)
    assert one.deaths == []
    with pytest.raises(LocalError, match="all is about to end"):
        await one.start("d", WAITING)
    await one.children.close()


async def test_there_is_a_bound_on_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "CHILDREN_MAX", 2)
    async with family() as one:
        await one.start("a", WAITING)
        await one.start("b", WAITING)
        with pytest.raises(LocalError, match="there are 2 others"):
            await one.start("c", WAITING)
        await one.children.kill("b")
        one.lines.clear()
        await one.start("b", WAITING)


async def test_a_start_that_crosses_the_end_leaves_no_child() -> None:
    async with family() as one:
        starting = asyncio.create_task(one.children.start(Child("a", ("-c", STUBBORN), PYTHON)))
        await asyncio.sleep(0)
        await one.children.close()
        with pytest.raises(LocalError, match="all is about to end"):
            await starting
    assert one.deaths == []


async def test_a_start_that_is_given_up_leaves_no_child() -> None:
    async with family() as one:
        starting = asyncio.create_task(one.children.start(Child("a", ("-c", STUBBORN), PYTHON)))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert one.children.running == {}
        await one.start("a", WAITING)
    assert one.deaths == []


# When the parent is gone.


PARENT_OF_FOUR = """
import asyncio, sys
from nonsuch.live.children import Child, Children

waiting = "from nonsuch.live.children import end_with_parent; import signal; end_with_parent();"
stubborn = waiting + "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
pool = ("pool", "--port", "0", "--journal", "off", "--json")
python = (sys.executable,)

async def main():
    ready = asyncio.Queue()
    def hear(name, line):
        if line == "ready" or "listening" in line:
            ready.put_nowait(name)
    children = Children(hear, print)
    await children.start(Child("pool", pool))
    for name, code in (("waiting", waiting), ("stubborn", stubborn), ("frozen", waiting)):
        code += "print('ready')\\nwhile True: signal.pause()"
        await children.start(Child(name, ("-c", code), python))
    for _ in range(4):
        await ready.get()
    children.freeze("frozen")
    print(*children.running.values(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_a_parent_that_is_killed(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT_OF_FOUR]
    # In a session of its own, so that whoever inherits its children is of another one.
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with parent:
        assert parent.stdout is not None
        numbers = [int(each) for each in parent.stdout.readline().split()]
        assert len(numbers) == 4
        assert all(is_alive(each) for each in numbers)
        wait_until(lambda: state_of(numbers[-1]).startswith("T"))
        parent.send_signal(number)
        parent.wait()
    wait_until(lambda: not any(is_alive(each) for each in numbers))


def test_a_node_that_is_nobodys_child_does_not_mind() -> None:
    code = "from nonsuch.live.children import end_with_parent\nend_with_parent()\nprint('alive')"
    for value in ("", "x", "-1", "77", "9" * 30, "²"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, PARENT: value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == "alive\n"
