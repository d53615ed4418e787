"""The journal of a core: SQLite with a write-ahead log, and a commit that many records share.

One table, in the order in which records were persisted; a record belongs to a subject, and one that
`replaces` deletes all earlier ones of its subject in the same transaction. So a journal is as long
as what is still open, and reading it back is one ordered scan. Records of one subject that follow
each other in a commit share a row, each behind its length: rows cost ten times what records do.

`synchronous=FULL`: a commit has reached the disk when it returns, whatever happens to the process
or the power. That takes milliseconds, in which a thread waits and the event loop does not; records
that come meanwhile go into the next commit together. A journal is locked: a second pool on the same
file is told so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from nonsuch.errors import LocalError
from nonsuch.node import Persist

__all__ = ["Journal"]

APPLICATION_ID = 0x6E6F6E73  # "nons"
FORMAT = 1

LENGTH_BYTES = 4

LOCK_SECONDS = 1.0
"""How long to wait for another process to let go of the file."""

_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_subject ON records (subject, sequence);
"""


class Journal:
    """An open journal. Its methods are called by one thread at a time.

    `encode` and `decode` turn a record into bytes and back. Raises `LocalError` where the file
    cannot be opened, is not a journal, or is in use.
    """

    def __init__(
        self,
        path: Path,
        encode: Callable[[object], bytes],
        decode: Callable[[bytes], object],
    ) -> None:
        self.path = path
        self._encode = encode
        self._decode = decode
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise LocalError(f"cannot use the journal {path}: {_why(error)}") from None

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self.path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # Exclusive, so that the write-ahead log needs no shared memory and has one writer.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            application = database.execute("PRAGMA application_id").fetchone()[0]
            version = database.execute("PRAGMA user_version").fetchone()[0]
            tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and application != APPLICATION_ID:
                raise sqlite3.DatabaseError("this database was not made by nonsuch")
            if version > FORMAT:
                raise sqlite3.DatabaseError("a newer nonsuch made it")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(_TABLES)
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={FORMAT}")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def read(self) -> tuple[object, ...]:
        """All records, in the order in which they were persisted.

        Raises `LocalError` where one cannot be read: better no pool than one that forgot a job.
        """
        records: list[object] = []
        reached = 0
        decode = self._decode
        try:
            rows = self._database.execute("SELECT sequence, body FROM records ORDER BY sequence")
            for sequence, body in rows:
                records += map(decode, _unpacked(body))
                reached = sequence
        except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
            raise LocalError(
                f"the journal {self.path} is damaged after row {reached}: {_why(error)};"
                " move it away to begin anew"
            ) from None
        return tuple(records)

    def commit(self, effects: Iterable[Persist]) -> None:
        """Put these on disk, all of them or, if the machine fails, none.

        Raises `LocalError` where that is not possible: the disk is full, or gone.
        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._write(effects)
            self._database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise LocalError(f"cannot write the journal {self.path}: {_why(error)}") from None

    def _write(self, effects: Iterable[Persist]) -> None:
        """Insert in runs of one subject: most records replace nothing."""
        subject = ""
        run: list[bytes] = []
        for effect in effects:
            if effect.replaces or effect.subject != subject:
                self._insert(subject, run)
                subject, run = effect.subject, []
            if effect.replaces:
                self._database.execute("DELETE FROM records WHERE subject = ?", (subject,))
            if effect.record is not None:
                run.append(_packed(self._encode(effect.record)))
        self._insert(subject, run)

    def _insert(self, subject: str, run: list[bytes]) -> None:
        if run:
            row = (subject, b"".join(run))
            self._database.execute("INSERT INTO records (subject, body) VALUES (?, ?)", row)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _packed(record: bytes) -> bytes:
    return len(record).to_bytes(LENGTH_BYTES, "big") + record


def _unpacked(row: bytes) -> list[bytes]:
    records = []
    position, end = 0, len(row)
    while position < end:
        begin = position + LENGTH_BYTES
        position = begin + int.from_bytes(row[position:begin], "big")
        if position > end:
            raise ValueError("a row that ends within a record")
        records.append(row[begin:position])
    return records


def _why(error: Exception) -> str:
    return "another process uses it" if "locked" in str(error) else str(error)
