"""Where a pool is, and what it takes to be let in: addresses, tokens, TLS."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nonsuch import LocalError
from nonsuch.addresses import PORT_MAX, is_loopback
from nonsuch.errors import check_text
from nonsuch.live.tcp import Address, Wire

__all__ = [
    "POOL_PORT",
    "UPSTREAM_TOKEN_VARIABLE",
    "Access",
    "Place",
    "check_exposure",
    "check_strangers",
    "parse_address",
    "read_token",
    "server_tls",
]

POOL_PORT = 7270
"""Where a pool listens unless told otherwise."""

TOKEN_CHARACTERS_MAX = 128
TOKEN_VARIABLE = "NONSUCH_TOKEN"  # the name of a variable
UPSTREAM_TOKEN_VARIABLE = "NONSUCH_UPSTREAM_TOKEN"  # a relay has two: its own, and one to show


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, what: str, default_port: int = POOL_PORT) -> Place:
    """`host:port`, `host`, or `[ipv6]:port`."""
    host, port = text.strip(), str(default_port)
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not host or not port.isdigit() or not 1 <= int(port[:6]) <= PORT_MAX:
        raise LocalError(
            f"{what} is HOST:PORT, such as 127.0.0.1:{default_port}, not {text[:80]!r}"
        )
    return Place(host, int(port))


def check_exposure(host: str, token: str, *, insecure: bool) -> None:
    """Raise `LocalError` where other machines could come in without a word."""
    if not (token or insecure or is_loopback(host)):
        raise LocalError(
            f"on {host} anybody could come in: give a token (--token-file, or NONSUCH_TOKEN in the"
            " environment), or say --insecure"
        )


def check_strangers(host: str, who: str, *, insecure: bool) -> None:
    """Raise `LocalError` where other machines could come in, and `who` can show no token."""
    if not (insecure or is_loopback(host)):
        raise LocalError(f"on {host} anybody could come in, and {who} know no tokens: --insecure")


def read_token(file: Path | None, variable: str = TOKEN_VARIABLE) -> str:
    """The token of a file or of the environment; empty where there is neither."""
    if file is None:
        token = os.environ.get(variable, "")
    else:
        try:
            token = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LocalError(f"cannot read the token from {file}: {error}") from None
        if not token.strip():
            raise LocalError(f"{file} holds no token")
    token = token.strip()
    check_text(token, "a token")
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise LocalError(f"a token has up to {TOKEN_CHARACTERS_MAX} characters")
    return token


def server_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What a pool shows of itself; None for no TLS."""
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise LocalError("--tls-key needs --tls-cert")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise LocalError(f"cannot use the certificate {certificate}: {error}") from None
    return context


class Access(NamedTuple):
    """How to be let in by a pool."""

    token: str = ""
    tls: ssl.SSLContext | None = None

    @classmethod
    def found(
        cls,
        token_file: Path | None = None,
        *,
        tls: bool = False,
        authority: Path | None = None,
        variable: str = TOKEN_VARIABLE,
    ) -> Access:
        """From options and the environment."""
        return cls(read_token(token_file, variable), _client_tls(tls=tls, authority=authority))

    def address(self, place: Place, wire: Callable[[], Wire]) -> Address:
        """Whom to call."""
        return Address(place.host, place.port, wire, self.tls)


def _client_tls(*, tls: bool, authority: Path | None) -> ssl.SSLContext | None:
    if not tls and authority is None:
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise LocalError(f"cannot use the certificate {authority}: {error}") from None
