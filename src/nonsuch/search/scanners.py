"""Two answers to the one question a search asks: *which nonces have a leading word <= limit?*

The leading word is the most significant 32 bits of a rank. First-below-target and lowest-in-range
are both that question, asked with a limit that falls while the answers come in. An answer is a
*candidate*, a hint where to look: whoever asked rehashes it.

`KernelScanner` runs generated code over one `Field`; `HashlibScanner` does the same for any puzzle,
some thirty to sixty times slower. A scanner belongs to one thread. Its `position` says how far it
has come, so that others can show progress and a search that is stopped knows what it has covered.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterator

from nonsuch.search.backends import Backend, best_backend, compiled
from nonsuch.search.frame import Job
from nonsuch.search.halt import Halt
from nonsuch.search.layout import ROW_WORDS, Field
from nonsuch.work.puzzle import Puzzle

__all__ = ["NO_LIMIT", "WORD_BITS", "HashlibScanner", "KernelScanner", "Limit", "Scanner"]

WORD_BITS = 32
NO_LIMIT = 0xFFFFFFFF
"""The limit under which every nonce is a candidate."""

Limit = Callable[[], int]
"""Asked at the start and after each candidate: the leading word not to exceed, -1 for none."""

HALT_CHECK_NONCES = 256
"""How many nonces `hashlib` hashes between two looks at the halt flag: some 0.3 ms."""


class HashlibScanner:
    """The reference: no layout it cannot do, and what the kernel is tested against."""

    def __init__(self, puzzle: Puzzle, halt: Halt) -> None:
        self.position = 0
        self._puzzle = puzzle
        self._halt = halt

    def candidates(self, start: int, stop: int, limit: Limit) -> Iterator[range]:
        """Ranges of nonces that hold a candidate, ascending, between `start` and `stop`."""
        self.position = start
        while self.position < stop and not self._halt:
            if (ceiling := limit()) < 0:
                self.position = stop
                return
            until = min(stop, self.position + HALT_CHECK_NONCES)
            found = self._next_candidate(self.position, until, ceiling)
            self.position = until if found is None else found + 1
            if found is not None:
                yield range(found, found + 1)

    def _next_candidate(self, start: int, stop: int, limit: int) -> int | None:
        puzzle, sha256 = self._puzzle, hashlib.sha256
        encode, suffix, double = puzzle.nonce.encode, puzzle.suffix, puzzle.hash == "sha256d"
        little, least = puzzle.order == "little", (limit + 1).to_bytes(5, "big")
        midstate = sha256(puzzle.prefix)
        for nonce in range(start, stop):
            state = midstate.copy()
            state.update(encode(nonce) + suffix)
            digest = sha256(state.digest()).digest() if double else state.digest()
            # Four bytes behind a zero byte, so that a limit of 2**32 - 1 has a successor.
            if b"\0" + (digest[:-5:-1] if little else digest[:4]) < least:
                return nonce
        return None


class KernelScanner:
    """Generated code over one field, chunk by chunk. Making one can raise `KernelUnavailable`.

    `backend` defaults to the one that was measured to be the fastest here.
    """

    def __init__(self, field: Field, halt: Halt, backend: Backend | None = None) -> None:
        self.position = 0
        self._field = field
        self._halt = halt
        backend = backend or best_backend(field.layout)
        self._batch = backend.batch
        self._compiled = compiled(field.layout, backend)
        # Held here, not only by the field: the job has nothing but their addresses.
        self._tables = (field.row_table, *field.lane_table)
        self._job = self._prepared_job()
        self._chunk: int | None = None

    def _prepared_job(self) -> Job:
        field = self._field
        job = Job(row_word=field.row_word, lane_stop=field.radix.row, halt=self._halt.address)
        rows, *lanes = self._tables
        job.rows = ctypes.addressof(rows)
        for column, table in enumerate(lanes):
            job.low[column] = ctypes.addressof(table)
        return job

    def candidates(self, start: int, stop: int, limit: Limit) -> Iterator[range]:
        """Ranges of nonces that hold a candidate, ascending, between `start` and `stop`."""
        self.position = start
        while self.position < stop and not self._halt:
            chunk = self.position - self.position % self._field.chunk
            self._enter(chunk)
            yield from self._scan_chunk(chunk, min(stop, chunk + self._field.chunk), limit)

    def _enter(self, chunk: int) -> None:
        """Lay out the message of this chunk, unless that is the one laid out."""
        if chunk == self._chunk:
            return
        job, (state, message) = self._job, self._field.chunk_state(chunk)
        first = self._field.row_word
        job.state[:] = [*state]
        job.message[: len(message)] = [*message]
        job.row_base[:] = [*(*message, 0)[first : first + ROW_WORDS]]
        self._chunk = chunk

    def _scan_chunk(self, chunk: int, stop: int, limit: Limit) -> Iterator[range]:
        """From `position` to `stop`, which both lie in this chunk."""
        job, row, batch = self._job, self._field.radix.row, self._batch
        job.row, lane = divmod(self.position - chunk, row)
        job.lane = lane - lane % batch
        job.row_stop = -(-(stop - chunk) // row)
        reference, scan = ctypes.byref(job), self._compiled.scan
        while job.row < job.row_stop and not self._halt:
            if (ceiling := limit()) < 0:
                self.position = stop
                return
            job.limit = ceiling
            found = scan(reference)
            first = chunk + job.row * row + job.lane
            if not found:
                self.position = min(stop, first)
                continue
            row_stop = chunk + (job.row + 1) * row
            hit = range(max(first, self.position), min(first + batch, row_stop, stop))
            job.lane += batch
            self.position = min(first + batch, row_stop, stop)
            if hit:
                yield hit
            if self.position >= stop:
                return  # What is left of the row lies past the stop.


Scanner = HashlibScanner | KernelScanner
