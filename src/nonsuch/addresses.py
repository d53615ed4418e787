"""What makes an address, and which are of this machine alone."""

from __future__ import annotations

import ipaddress

__all__ = ["PORT_MAX", "is_loopback"]

PORT_MAX = 65_535


def is_loopback(host: str) -> bool:
    """Whether only this machine can come in, or go there: a number, or `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
