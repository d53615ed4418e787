"""Small files that save time on the next start: compiled objects and calibrations.

Anything wrong here, from a full disk to a truncated file, only means computing again, so nothing in
this file raises. What is kept are objects that will be run as code and numbers that choose between
them; a folder that another user could write to is therefore not used, and every entry carries a
checksum of its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs

__all__ = ["CACHE_VARIABLE", "cache_folder", "read_cache", "write_cache"]

CACHE_VARIABLE = "NONSUCH_CACHE"
"""Environment variable: another folder for the cache, or `off`."""

CACHE_BYTES_MAX = 16 * 2**20
"""A compiled layout is 15 to 60 KB; past this sum the oldest entries are deleted."""

_CHECKSUM_SIZE = 32


def cache_folder() -> Path | None:
    """Where entries are kept, created if need be; None where there is no safe place for them."""
    chosen = os.environ.get(CACHE_VARIABLE, "")
    if chosen == "off":
        return None
    folder = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("nonsuch"))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _only_ours(folder) else None
    except OSError:
        return None


def _only_ours(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def read_cache(name: str) -> bytes | None:
    """The content kept under this file name, or None."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        entry = (folder / name).read_bytes()
    except OSError:
        return None
    checksum, content = entry[:_CHECKSUM_SIZE], entry[_CHECKSUM_SIZE:]
    return content if hashlib.sha256(content).digest() == checksum else None


def write_cache(name: str, content: bytes) -> None:
    """Keep `content` under this file name; other processes see all of it or nothing."""
    folder = cache_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(temporary).replace(folder / name)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
        _evict(folder)


def _evict(folder: Path) -> None:
    entries = sorted(
        ((file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir()),
        reverse=True,
    )
    total = 0
    for _, size, file in entries:
        total += size
        if total > CACHE_BYTES_MAX:
            file.unlink(missing_ok=True)
