"""A network's folder: a temporary one goes with the network, even with one that was killed.

Whoever makes a temporary one holds a lock in it, of which the system lets go when its process ends,
however that ends. So a folder whose lock is free is nobody's any more, and the next network that
needs one removes it. The lock is taken before it has its name: nobody finds one that is not held.

A folder that is kept is locked, too, for two networks in it would write over each other; but the
lock has another name, by which nobody takes the folder for one to be removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nonsuch.errors import LocalError

__all__ = ["PREFIX", "kept_folder", "temporary_folder"]

PREFIX = "nonsuch-"
LOCK = "owner.lock"
NEW_LOCK = "owner.new"
KEPT_LOCK = "up.lock"

ABANDONED_MAX = 100
"""Folders that are looked at: whoever starts a network does not wait for long."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end; so are those that were left behind.

    Raises `LocalError` where none can be made.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    try:
        made = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise LocalError(f"cannot make a temporary folder: {error.strerror}") from None
    with made as name, _owned(Path(name)):
        yield Path(name)


@contextlib.contextmanager
def kept_folder(folder: Path) -> Iterator[Path]:
    """A folder that stays, made where there is none, and meanwhile nobody else's.

    Raises `LocalError` where it cannot be written to, or another network has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # Whoever cannot write there is told so before anything is started.
        handle = os.open(folder / KEPT_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LocalError(f"cannot use {folder}: {error.strerror}") from None
    try:
        if not _try_lock(handle):
            raise LocalError(f"cannot use {folder}: another `up` uses it")
        yield folder.absolute()
    finally:
        os.close(handle)


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[None]:
    handle = os.open(folder / NEW_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if _try_lock(handle):
            (folder / NEW_LOCK).rename(folder / LOCK)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(parent: Path) -> None:
    """What cannot be removed, or is another user's, stays."""
    with contextlib.suppress(OSError):
        for lock in sorted(parent.glob(f"{PREFIX}*/{LOCK}"))[:ABANDONED_MAX]:
            if _is_free(lock):
                shutil.rmtree(lock.parent, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        ours = not hasattr(os, "getuid") or os.fstat(handle).st_uid == os.getuid()
        return ours and _try_lock(handle)
    finally:
        os.close(handle)


if sys.platform == "win32":

    def _try_lock(_handle: int) -> bool:
        return False  # There are no networks of processes either.

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
