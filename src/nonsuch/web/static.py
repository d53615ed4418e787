"""The page: files of this package, read once and served from memory.

Only what is there when the dashboard begins can be asked for, by its exact name, so there is no
path to climb. Each kind of file has its type here: systems differ in what they know of them.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.responses import Response

from nonsuch.errors import LocalError

__all__ = ["PAGE", "Page"]

PAGE = Path(__file__).with_name("page")
"""Where the files are."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}

FILES_MAX = 1_000
FILE_BYTES_MAX = 4 * 2**20

FIRST = "index.html"


class _File:
    """One file, as it is sent."""

    __slots__ = ("body", "kind", "tag")

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.kind = TYPES[path.suffix]
        self.tag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


class Page:
    """All files of a folder. Raises `LocalError` where they cannot be read, or are too many."""

    def __init__(self, folder: Path = PAGE) -> None:
        self._files: dict[str, _File] = {}
        try:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix in TYPES:
                    self._add(PurePosixPath(path.relative_to(folder)).as_posix(), path)
        except OSError as error:
            raise LocalError(f"cannot read the page in {folder}: {error.strerror}") from None

    def _add(self, name: str, path: Path) -> None:
        file = _File(path)
        if len(self._files) >= FILES_MAX or len(file.body) > FILE_BYTES_MAX:
            raise LocalError(f"{path} is too much for a page")
        self._files[name] = file

    def answer(self, name: str, request: Request) -> Response:
        """The file of this name; the first page for an empty one.

        A browser asks each time whether its copy is still right, which is cheap, and so has the
        page of the program that runs, whatever ran there before.
        """
        file = self._files.get(name or FIRST)
        if file is None:
            return Response(
                "There is no such page.\n", HTTPStatus.NOT_FOUND, media_type="text/plain"
            )
        headers = {"cache-control": "no-cache", "etag": file.tag, "content-type": file.kind}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(None, HTTPStatus.NOT_MODIFIED, headers)
        return Response(file.body, headers=headers)
