"""Ledgers that several processes share: entries on disk, in an order, of which none is ever lost.

A ledger knows nothing of what stands in it: an entry is a JSON object. Who appends holds the whole
ledger alone, from the look at its last entry to the moment when the new one is on disk:

    with ledger.locked() as entries:
        entries.append(following(entries[-1]))

Behind the block the entry is durable, or, after an error, nothing has changed.

**A JSON ledger** is a file that people and other programs read: an array, as
`json.dump(entries, file, indent=4)` writes it. It is never written to; it is replaced, by a copy
with the new entry before the closing bracket, so that it is whole at every moment and what stands
in it already keeps every byte. Because it is replaced, it cannot be locked itself: the lock is an
empty file beside it, `.NAME.lock`, which stays. The system lets go of that lock when its holder
ends, however it ends, so that none is ever stale; what a killed writer leaves, `.NAME.new`, the
next one throws away. A program that writes the ledger without the lock may undo our entries.

**A SQLite ledger** keeps the same entries as rows, and appends in the time of one row.

Either is one file, with all its entries at every moment: who moves it away or deletes it while it
is used has a whole ledger, or none, and in its place a new one begins.

Whatever is no ledger is refused, and left as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar, overload

from nonsuch.errors import LocalError

__all__ = [
    "LEDGER_BYTES_MAX",
    "LOCK_SECONDS",
    "Entries",
    "Entry",
    "JsonLedger",
    "Ledger",
    "LedgerDamaged",
    "SqliteLedger",
    "open_ledger",
]

Entry: TypeAlias = dict[str, object]
_Slice: TypeAlias = "slice[int | None, int | None, int | None]"
_Mark: TypeAlias = tuple[int, ...]
T = TypeVar("T")

LOCK_SECONDS = 10.0
"""How long to wait for others that append: each holds a ledger for some milliseconds."""

TRY_SECONDS = 0.002
"""How often to look whether it is free."""

LEDGER_BYTES_MAX = 2**28
"""A longer ledger is not read: it stands in memory, and is copied for each entry."""

INDENT = 4

APPLICATION_ID = 0x6E6F6E6C  # "nonl"
FORMAT = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL)
"""


class LedgerDamaged(LocalError):
    """A file that is no ledger, or not any more. It was left as it is."""


class Entries(Sequence[Entry]):
    """All entries of a ledger that is locked. They are everybody's: not to be changed."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries.copy()
        self._known = len(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: _Slice) -> list[Entry]: ...
    def __getitem__(self, index: int | _Slice) -> Entry | list[Entry]:
        if isinstance(index, int):
            return self._entries[index]
        return self._entries[index]

    @property
    def added(self) -> list[Entry]:
        """Those that are not on disk yet."""
        return self._entries[self._known :]

    def append(self, entry: Entry) -> None:
        """Add a copy of an entry, as JSON says it; it is durable behind the lock.

        Raises `LocalError` for what JSON cannot say.
        """
        try:
            self._entries += _parsed(json.dumps([entry], allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise LocalError(f"this is no entry for a ledger: {why}") from None


class Ledger(Protocol):
    """Entries on disk. One thread at a time may use such an object, and its calls block."""

    def locked(self) -> AbstractContextManager[Entries]:
        """Hold the ledger alone, among all processes of this machine.

        Raises `LedgerDamaged` for what is no ledger, and `LocalError` where it cannot be had or, at
        the end, written; then, and after an error of the block, nothing has changed.
        """

    def changed(self) -> bool:
        """Whether others may have changed it since it was last locked; costs microseconds.

        It was not locked where the lock, or the block, ended in an error.
        """

    def read(self) -> list[Entry]:
        """All entries, without a lock and without a trace. Raises as `locked` does."""

    def interrupt(self) -> None:
        """From any thread: whoever waits for the lock waits no longer, now and ever after."""

    def close(self) -> None:
        """Let go of the file."""


def open_ledger(text: str) -> Ledger:
    """The ledger `FILE` or `sqlite:FILE`, which need not be there yet, while its folder must."""
    name = text.removeprefix("sqlite:")
    if not name:
        raise LocalError("a ledger is FILE or sqlite:FILE")
    return JsonLedger(Path(name)) if name == text else SqliteLedger(Path(name))


# JSON.


class JsonLedger:
    """A file that holds a JSON array of objects; none, or an empty one, is an empty ledger.

    A link is followed: what it points to is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = _followed(path)
        self._lock = self.path.with_name(f".{self.path.name}.lock")
        self._new = self.path.with_name(f".{self.path.name}.new")
        self._mark: _Mark | None = None
        self._data = b""
        self._entries: list[Entry] = []
        self._seen: _Mark | None = None
        self._was_locked = False
        self._interrupted = threading.Event()

    @contextlib.contextmanager
    def locked(self) -> Iterator[Entries]:
        """See `Ledger`."""
        with _exclusive(self._lock, self.path, self._interrupted):
            self._load()
            entries = Entries(self._entries)
            yield entries
            if added := entries.added:
                self._replace(_spliced(self._data, added))
                self._entries += added
            self._seen, self._was_locked = self._mark, True

    def changed(self) -> bool:
        """See `Ledger`."""
        return not self._was_locked or _mark_of(self.path) != self._seen

    def read(self) -> list[Entry]:
        """See `Ledger`."""
        self._load()
        return self._entries.copy()

    def interrupt(self) -> None:
        """See `Ledger`."""
        self._interrupted.set()

    def close(self) -> None:
        """See `Ledger`. Nothing is open between two calls."""

    def _load(self) -> None:
        """Bring what stands in memory up to date."""
        mark = _mark_of(self.path)
        if mark is None or mark != self._mark:
            data = b"" if mark is None else self._bytes()
            self._entries = self._understood(data)
            self._data, self._mark = data, mark

    def _bytes(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                data = file.read(LEDGER_BYTES_MAX + 1)
        except OSError as error:
            raise _unusable(self.path, error) from None
        _check_size(self.path, len(data))
        return data

    def _understood(self, data: bytes) -> list[Entry]:
        if not data:
            return []
        try:
            return self._continued(data) or _parsed(data.decode())
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise _damaged(self.path, f"{where}: {error.msg}") from None
        except UnicodeDecodeError as error:
            lines = data[: error.start].split(b"\n")
            where = f"line {len(lines)}, column {len(lines[-1]) + 1}"
            raise _damaged(self.path, f"{where}: this is not UTF-8") from None

    def _continued(self, data: bytes) -> list[Entry]:
        """Where something was only added to what is known, only that is looked at."""
        head = _head(self._data)
        if self._entries and data.startswith(head):
            rest = data[len(head) :].lstrip(_BLANKS)
            if rest.startswith(b","):
                with contextlib.suppress(ValueError):  # The whole will say where it is wrong.
                    return self._entries + _parsed(f"[{rest[1:].decode()}")
        return []

    def _replace(self, data: bytes) -> None:
        _check_size(self.path, len(data))
        if self._mark is not None and not os.access(self.path, os.W_OK):
            raise LocalError(f"cannot use the ledger {self.path}: it may not be written")
        try:
            self._new.unlink(missing_ok=True)
            self._write_new(data)
            if _mark_of(self.path) != self._mark:
                raise LocalError(
                    f"the ledger {self.path} was changed by a program that does not lock it;"
                    " nothing was written"
                )
            self._new.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise _unusable(self.path, error) from None
        finally:
            with contextlib.suppress(OSError):
                self._new.unlink(missing_ok=True)
        self._data, self._mark = data, _mark_of(self.path)

    def _write_new(self, data: bytes) -> None:
        handle = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            if self._mark is not None:
                self._new.chmod(stat.S_IMODE(self.path.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(handle)


_BLANKS = b" \t\n\r"
_SOME_BLANKS = re.compile(r"[ \t\n\r]*")


def _head(data: bytes) -> bytes:
    """An array up to the end of its last entry, or to its opening bracket."""
    return data.rstrip(_BLANKS)[:-1].rstrip(_BLANKS) or b"["


def _spliced(data: bytes, added: list[Entry]) -> bytes:
    """An array with more entries, as `json.dump` with an indent would have written them."""
    head = _head(data)
    comma = b"" if head.endswith(b"[") else b","  # Entries end in a brace.
    behind = data[len(data.rstrip(_BLANKS)) :]
    return b"".join([head, comma, json.dumps(added, indent=INDENT)[1:].encode(), behind])


# Locks and files.


@contextlib.contextmanager
def _exclusive(lock: Path, ledger: Path, interrupted: threading.Event) -> Iterator[None]:
    """Hold the file `lock`, which the system lets go of when this process ends."""
    try:
        handle = _patiently(lambda: _held(lock), ledger, interrupted)
    except OSError as error:
        raise _unusable(ledger, error) from None
    if handle is None:
        raise LocalError(
            f"the ledger {ledger} has been locked for {LOCK_SECONDS:g} s by another process,"
            f" which holds {lock.name} beside it; end that one (`fuser {lock}` finds it)"
        )
    try:
        yield
    finally:
        os.close(handle)


def _held(lock: Path) -> int | None:
    """The handle that holds it; None where another one does."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        # Where somebody has thrown the file away meanwhile, the next one locks another.
        if not _try_lock(handle) or not _is_at(handle, lock):
            return None
        stack.pop_all()
        return handle


if sys.platform == "win32":

    def _try_lock(_handle: int) -> bool:
        raise OSError("this system has no locks for it; use sqlite:FILE")

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _patiently(
    attempt: Callable[[], T | None], ledger: Path, interrupted: threading.Event
) -> T | None:
    """What an attempt gives, made until it gives something or the time is over.

    Raises `LocalError` where it is interrupted.
    """
    until = time.monotonic() + LOCK_SECONDS
    while (gave := attempt()) is None and time.monotonic() < until:
        if interrupted.wait(TRY_SECONDS):
            raise LocalError(f"the ledger {ledger} was locked, and is not waited for any longer")
    return gave


def _mark_of(path: Path) -> _Mark | None:
    """What changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise LocalError(f"cannot use the ledger {path}: it is no file")
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)


def _file_of(path: Path) -> _Mark | None:
    """Which file this is, whatever stands in it."""
    mark = _mark_of(path)
    return mark and mark[:2]


def _followed(path: Path) -> Path:
    try:
        real = path.resolve()
        folder_is_there = real.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a zero byte
        raise _unusable(path, error) from None
    if not folder_is_there or not real.name:
        raise LocalError(f"cannot use the ledger {path}: there is no folder {real.parent}")
    return real


def _sync_folder(folder: Path) -> None:
    """A name is on disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_size(path: Path, size: int) -> None:
    if size > LEDGER_BYTES_MAX:
        raise LocalError(f"the ledger {path} is full: it may have {LEDGER_BYTES_MAX:,} bytes")


def _unusable(path: Path, error: Exception) -> LocalError:
    number = error.errno if isinstance(error, OSError) else None
    why = os.strerror(number).lower() if number else str(error)
    return LocalError(f"cannot use the ledger {path}: {why}")


def _damaged(path: Path, why: str) -> LedgerDamaged:
    return LedgerDamaged(
        f"the ledger {path} is damaged: {why}; mend it or move it away: it was left as it is"
    )


# Entries as text. What would be lost or changed on the way is refused, in both directions.


def _object(pairs: list[tuple[str, object]]) -> Entry:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return entry


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number that is too large")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_number
)


def _parsed(text: str) -> list[Entry]:
    """The objects of an array. Raises `JSONDecodeError`, with the place, for anything else."""
    at = _skipped(text, 0)
    if text[at : at + 1] != "[":
        raise json.JSONDecodeError("an array should begin here", text, at)
    entries: list[Entry] = []
    at = _skipped(text, at + 1)
    if text[at : at + 1] != "]":
        at = _parse_entries(text, at, entries)
    if (rest := _skipped(text, at + 1)) < len(text):
        raise json.JSONDecodeError("the array has ended before", text, rest)
    return entries


def _parse_entries(text: str, at: int, entries: list[Entry]) -> int:
    """Returns where the closing bracket is."""
    while True:
        entry, at = _parse_entry(text, at)
        entries.append(entry)
        at = _skipped(text, at)
        if text[at : at + 1] == "]":
            return at
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("a comma or the end should be here", text, at)
        at = _skipped(text, at + 1)


def _parse_entry(text: str, at: int) -> tuple[Entry, int]:
    if text[at : at + 1] != "{":
        raise json.JSONDecodeError("an object should begin here", text, at)
    try:
        entry, end = _decoder.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, at) from None
    except ValueError as error:
        raise json.JSONDecodeError(f"in the object that begins here, {error}", text, at) from None
    return entry, end


def _skipped(text: str, at: int) -> int:
    found = _SOME_BLANKS.match(text, at)
    return found.end() if found else at


# SQLite.


class SqliteLedger:
    """A database of one table; none, or an empty one, is an empty ledger.

    `BEGIN IMMEDIATE` is the lock, and `synchronous=EXTRA` makes a commit durable: behind it no loss
    of power brings the rollback journal back. All entries stand in that one file, so whoever moves
    it away moves them all; one that still has a write-ahead log is freed of it when it is locked.
    What was read once is not read again.
    """

    def __init__(self, path: Path) -> None:
        self.path = _followed(path)
        self._database: sqlite3.Connection | None = None
        self._file: _Mark | None = None
        self._entries: list[Entry] = []
        self._seen: int | None = None
        self._interrupted = threading.Event()

    @contextlib.contextmanager
    def locked(self) -> Iterator[Entries]:
        """See `Ledger`."""
        try:
            with self._translated():
                database = self._patiently(self._begin)
                self._load(database)
                seen = _number(database, "PRAGMA data_version")
            entries = Entries(self._entries)
            yield entries
            with self._translated():
                self._commit(database, entries.added)
            self._entries += entries.added
            self._seen = seen
        finally:
            if self._database is not None and self._database.in_transaction:
                with self._translated():
                    self._database.execute("ROLLBACK")

    def changed(self) -> bool:
        """See `Ledger`."""
        database = self._database
        if database is None or self._seen is None or not self._is_there():
            return True
        with self._translated():
            # Where somebody is writing at this moment it has changed, or is about to.
            seen = _unless_locked(lambda: _number(database, "PRAGMA data_version"))
        return seen != self._seen

    def read(self) -> list[Entry]:
        """See `Ledger`."""
        if _mark_of(self.path) is None:
            return []
        with self._translated():
            self._patiently(self._read)
        return self._entries.copy()

    def interrupt(self) -> None:
        """See `Ledger`."""
        self._interrupted.set()

    def close(self) -> None:
        """See `Ledger`."""
        if self._database is not None:
            self._database.close()
        self._database, self._seen, self._entries = None, None, []

    def _begin(self) -> sqlite3.Connection | None:
        """Lock the database that stands there now."""
        database = self._opened()
        if not _without_log(database):
            self.close()  # Whoever else wants the same has it open too.
            return None
        database.execute("BEGIN IMMEDIATE")
        if not self._is_there():
            self.close()  # It was moved away meanwhile.
            return None
        if not _is_ledger(database):
            database.execute(_TABLE)
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={FORMAT}")
        return database

    def _commit(self, database: sqlite3.Connection, added: list[Entry]) -> None:
        rows = ((json.dumps(entry).encode(),) for entry in added)
        database.executemany("INSERT INTO entries (body) VALUES (?)", rows)
        if added and not self._is_there():
            raise LocalError(f"the ledger {self.path} was moved away; nothing was written")
        self._patiently(lambda: database.execute("COMMIT"))

    def _read(self) -> bool:
        """What stands there at one moment."""
        database = self._opened()
        database.execute("BEGIN")
        try:
            if _is_ledger(database):
                self._load(database)
            else:
                self._entries = []
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        if _journal_mode(database, "") != b"delete":
            database.close()  # It would be in the way of whoever frees it of its log.
            self._database = self._seen = None
        return True

    def _patiently(self, attempt: Callable[[], T | None]) -> T:
        """What an attempt gives, once nobody is in its way. Raises `LocalError` for a lock."""
        gave = _patiently(lambda: _unless_locked(attempt), self.path, self._interrupted)
        if gave is None:
            raise LocalError(
                f"the ledger {self.path} has been locked for {LOCK_SECONDS:g} s by another process;"
                f" end that one (`fuser {self.path}` finds it)"
            )
        return gave

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors become ours. Behind one the database is opened anew."""
        try:
            yield
        except sqlite3.OperationalError as error:
            self.close()
            raise _unusable(self.path, error) from None
        except sqlite3.Error as error:
            self.close()
            raise _damaged(self.path, str(error)) from None

    def _opened(self) -> sqlite3.Connection:
        """The database that stands there now: it may have been moved away."""
        if not self._is_there():
            self.close()
        if self._database is None:
            self._database = _connected(self.path)
            self._file = _file_of(self.path)
        return self._database

    def _is_there(self) -> bool:
        """Whether what is open still has the name."""
        there = _file_of(self.path)
        return there is not None and there == self._file

    def _load(self, database: sqlite3.Connection) -> None:
        """Bring what stands in memory up to date."""
        size = _number(database, "PRAGMA page_count") * _number(database, "PRAGMA page_size")
        _check_size(self.path, size)
        if _number(database, "SELECT coalesce(max(sequence), 0) FROM entries") < len(self._entries):
            self._entries = []  # Somebody took some away by hand.
        count = len(self._entries)
        rows = database.execute(
            "SELECT sequence, body FROM entries WHERE sequence > ? ORDER BY sequence", (count,)
        )
        for number, (sequence, body) in enumerate(rows, count + 1):
            if sequence != number:
                raise _damaged(self.path, f"entry {number} is missing")
            self._entries.append(self._understood(number, body))

    def _understood(self, number: int, body: object) -> Entry:
        try:
            if not isinstance(body, bytes):
                raise ValueError("no text")
            (entry,) = _parsed(f"[{body.decode()}]")
        except ValueError as error:
            raise _damaged(self.path, f"entry {number}: {error}") from None
        return entry


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        database.text_factory = bytes
        pages = LEDGER_BYTES_MAX // _number(database, "PRAGMA page_size")
        database.execute(f"PRAGMA max_page_count={pages}")
        database.execute("PRAGMA synchronous=EXTRA")
        _is_ledger(database)
    except BaseException:
        database.close()
        raise
    return database


def _is_ledger(database: sqlite3.Connection) -> bool:
    """Whether this is one, rather than empty. Raises `DatabaseError` for what is neither."""
    # In this order: another process may be making it one.
    tables = _number(database, "SELECT count(*) FROM sqlite_master")
    application = _number(database, "PRAGMA application_id")
    if application != APPLICATION_ID and (tables or application):
        raise sqlite3.DatabaseError("it is no ledger of nonsuch")
    if _number(database, "PRAGMA user_version") > FORMAT:
        raise sqlite3.DatabaseError("a newer nonsuch made it")
    return tables > 0


def _without_log(database: sqlite3.Connection) -> bool:
    """Have no write-ahead log, whose entries would be lost with the name of the file.

    False where there is one, and others that have the database open are in the way.
    """
    return _unless_locked(lambda: _journal_mode(database, "=DELETE")) == b"delete"


def _journal_mode(database: sqlite3.Connection, wish: str) -> bytes:
    return bytes(database.execute(f"PRAGMA journal_mode{wish}").fetchone()[0])


def _unless_locked(attempt: Callable[[], T]) -> T | None:
    """What an attempt gives; None where others are in its way."""
    try:
        return attempt()
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return None


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])
