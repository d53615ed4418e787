"""A flag that stops a search, where generated code can see it.

`threading.Event` lives behind the interpreter lock; the kernel, which has let go of that lock,
reads a word in memory once a row instead. Flags form a tree: setting one sets all that were made
from it, so one call stops every thread of a search, and a thread can be stopped alone.
"""

from __future__ import annotations

import ctypes
import threading
import weakref

__all__ = ["Halt"]


class Halt:
    """Set once, from any thread or a signal handler; never cleared. True when set."""

    def __init__(self, parent: Halt | None = None) -> None:
        self._word = ctypes.c_uint32(0)
        self._children: weakref.WeakSet[Halt] = weakref.WeakSet()
        self._lock = threading.RLock()
        if parent is not None:
            parent._adopt(self)

    @property
    def address(self) -> int:
        """Where the 32-bit word is; 0 means run. Valid as long as this object lives."""
        return ctypes.addressof(self._word)

    def set(self) -> None:
        """Stop, as soon as it is noticed: within a row of the kernel, some 0.1 ms."""
        self._word.value = 1
        with self._lock:
            children = list(self._children)
        for child in children:
            child.set()

    def __bool__(self) -> bool:
        return self._word.value != 0

    def _adopt(self, child: Halt) -> None:
        with self._lock:
            self._children.add(child)
        if self:
            child.set()
