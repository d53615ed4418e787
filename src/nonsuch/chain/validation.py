"""The rules that blocks must keep.

One class of error a rule, one function a rule. `rule` is the name that log lines and metrics count
by.
"""

from __future__ import annotations

from typing import ClassVar

from nonsuch.errors import RemoteError

__all__ = ["InvalidBlock"]


class InvalidBlock(RemoteError):
    """A block breaks a rule. `rule` is the rule's name, as facts and metrics show it."""

    rule: ClassVar[str] = "block"
    cost: ClassVar[int] = 1000
