"""Which code to generate on this processor: the back ends, and a short calibration between them.

Whether vector lanes or SHA instructions are faster, and how many streams to interleave, depends on
the model in ways that no table of features tells. So the candidates are measured once for each kind
of hash, some hundredths of a second each, with the very functions that a search calls; the result
is kept in the cache. Noise only ever slows a run down, so the best of several short runs counts.

`NONSUCH_CPU_FEATURES` restricts what may be used, as a comma-separated list of the groups below:
`sha` is the SHA instructions without AVX, `avx2` AVX2 lanes only, `sse2` what every 64-bit x86 has,
`none` the hashlib fallback. Nothing is assumed that the processor does not report.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from nonsuch.errors import KernelUnavailable, LocalError
from nonsuch.search import native
from nonsuch.search.cache import read_cache, write_cache
from nonsuch.search.frame import Job
from nonsuch.search.lanes import lanes_module
from nonsuch.search.layout import Layout, aligned_words
from nonsuch.search.shaext import shaext_module

__all__ = [
    "BACKENDS",
    "FEATURES_VARIABLE",
    "NO_FEATURES",
    "Backend",
    "Calibration",
    "available_backends",
    "best_backend",
    "calibration",
    "compiled",
    "feature_groups",
    "host_processor",
    "load_kernel",
]

FEATURES_VARIABLE = "NONSUCH_CPU_FEATURES"
NO_FEATURES = "none"

CALIBRATION_ROUNDS = 5
CALIBRATION_SECONDS = 0.004
_CALIBRATION_LANES = 2_000
_CALIBRATION_ROWS = 8
"""The first, unmeasured run: enough to fault in pages and to guess how many rows to time."""

_NEEDED: dict[str, dict[str, frozenset[str]]] = {
    "x86_64": {
        "avx512": frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
        "avx2": frozenset({"avx2"}),
        "sha": frozenset({"sha", "ssse3", "sse4.1"}),
        "sse2": frozenset({"sse2"}),
    },
    "aarch64": {"sha": frozenset({"sha2"}), "neon": frozenset({"neon"})},
}
"""For each group, what LLVM must report of the processor."""

_WITHOUT: dict[str, str] = {"avx512": "-avx512f", "avx2": "-avx", "sha": "-sha", "neon": ""}
"""What to take from LLVM where a group is not to be used; it drops what builds upon it as well."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to generate a scan: `ways` vectors of `lanes` nonces each, or SHA streams."""

    name: str
    group: str
    lanes: int
    ways: int

    @property
    def batch(self) -> int:
        """Nonces a pass of the inner loop covers."""
        return self.lanes * self.ways

    def module(self, layout: Layout, architecture: str) -> str:
        """LLVM IR for this layout."""
        if self.group == "sha":
            return shaext_module(layout, self.ways, architecture)
        return lanes_module(layout, self.lanes, self.ways, ternary=self.group == "avx512")


def _lanes(group: str, lanes: int, ways: int = 1) -> Backend:
    return Backend(f"{group}-{lanes * ways}", group, lanes, ways)


BACKENDS: dict[str, tuple[Backend, ...]] = {
    "x86_64": (
        _lanes("avx512", 16),
        _lanes("avx512", 16, 2),
        _lanes("sha", 1, 2),
        _lanes("sha", 1, 3),
        _lanes("sha", 1, 4),
        _lanes("avx2", 8),
        _lanes("sse2", 4),
    ),
    "aarch64": (
        _lanes("sha", 1, 2),
        _lanes("sha", 1, 3),
        _lanes("sha", 1, 4),
        _lanes("neon", 4),
        _lanes("neon", 4, 2),
    ),
}
"""All back ends of an architecture; the name's number is its batch."""

_LAST_RESORT = ("sse2",)
"""Groups not worth measuring where any other is present."""


def feature_groups() -> tuple[str, ...]:
    """The groups that may be used here: what the processor has, less what the environment forbids.

    Raises `KernelUnavailable` where nothing is left, `LocalError` for a list that makes no sense.
    """
    present = _present_groups()
    chosen = os.environ.get(FEATURES_VARIABLE, "").replace(",", " ").split()
    if NO_FEATURES in chosen:
        raise KernelUnavailable(f"{FEATURES_VARIABLE}={NO_FEATURES}")
    for group in chosen:
        if group not in present:
            raise LocalError(
                f"{FEATURES_VARIABLE} names {group!r}, which this processor does not offer;"
                f" choose from {', '.join((*present, NO_FEATURES))}"
            )
    groups = tuple(group for group in present if not chosen or group in chosen)
    if not groups:
        raise KernelUnavailable(f"no back end for a {native.architecture()} processor")
    return groups


def _present_groups() -> tuple[str, ...]:
    needed = _NEEDED.get(native.architecture(), {})
    if native.host_model().startswith("apple-"):
        return tuple(needed)  # Every Apple arm64 has them; LLVM does not report features there.
    features = native.host_features()
    return tuple(group for group, names in needed.items() if names <= features)


def host_processor() -> native.Processor:
    """The host, less the groups that are not to be used. (An AVX-512 host still has AVX2.)

    Raises as `feature_groups` does.
    """
    groups = feature_groups()
    named = [f"+{feature}" for feature in sorted(native.host_features())]
    if tuple(groups) == ("sse2",):
        named.append("-sse3")
    elif "avx512" not in groups:
        missing = [group for group in _present_groups() if group not in groups]
        named += filter(None, (_WITHOUT.get(group, "") for group in missing))
    return native.Processor(native.host_model(), ",".join(named))


def available_backends() -> tuple[Backend, ...]:
    """What can run here, in no particular order. Raises as `feature_groups` does."""
    groups = feature_groups()
    return tuple(b for b in BACKENDS[native.architecture()] if b.group in groups)


_compiling = threading.Lock()
_compiled: dict[tuple[Layout, Backend, native.Processor], native.Compiled] = {}

COMPILED_MAX = 256
"""Layouts kept in memory, some 30 KB each: all that one session is ever likely to meet."""


def compiled(layout: Layout, backend: Backend) -> native.Compiled:
    """The scan function for a layout; made once, whoever asks for it first."""
    processor = host_processor()
    key = layout, backend, processor
    if (known := _compiled.get(key)) is not None:
        return known  # Without waiting for a compilation of another layout.
    with _compiling:
        if key not in _compiled:
            if len(_compiled) >= COMPILED_MAX:
                _compiled.pop(next(iter(_compiled)))
            ir = backend.module(layout, native.architecture())
            _compiled[key] = native.compile_module(ir, processor)
        return _compiled[key]


class Calibration(msgspec.Struct, frozen=True):
    """Hashes a second of one thread, by back end, on one kind of hash."""

    rates: dict[str, float]

    @property
    def best(self) -> str:
        """The name of the fastest back end."""
        return max(self.rates, key=self.rates.__getitem__)


def best_backend(layout: Layout) -> Backend:
    """The back end to use for this layout here. Raises as `feature_groups` does."""
    candidates = available_backends()
    best = calibration(layout.double).best if len(candidates) > 1 else candidates[0].name
    return next(backend for backend in candidates if backend.name == best)


def calibration(double: bool) -> Calibration:
    """The rates on single or double SHA-256, from memory, from the cache, or measured now."""
    with _calibrating:
        return _calibration(double, host_processor(), _candidates())


def load_kernel() -> str | None:
    """Have at hand, once for the process, what every search with a kernel needs.

    Returns why there can be none here; a search says the same when it comes to it.
    """
    try:
        calibration(False)
    except LocalError as reason:
        return str(reason)
    return None


_calibrating = threading.Lock()


@functools.cache
def _calibration(
    double: bool, processor: native.Processor, candidates: tuple[Backend, ...]
) -> Calibration:
    key = repr((processor, native.compiler_version(), candidates, _calibration_layout(double)))
    name = f"rates-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        return msgspec.json.decode(read_cache(name) or b"", type=Calibration)
    except msgspec.DecodeError:
        measured = _measure(candidates, _calibration_layout(double))
        write_cache(name, msgspec.json.encode(measured))
        return measured


def _candidates() -> tuple[Backend, ...]:
    backends = available_backends()
    return tuple(b for b in backends if b.group not in _LAST_RESORT) or backends


def _calibration_layout(double: bool) -> Layout:
    """A block header, or a message of some twenty bytes and a decimal nonce."""
    return Layout(1, (3,), True, True) if double else Layout(1, (6,), False, False)


def _measure(backends: Sequence[Backend], layout: Layout) -> Calibration:
    scans = {backend.name: compiled(layout, backend).scan for backend in backends}
    rows = {name: _rows_to_time(scan) for name, scan in scans.items()}
    best = dict.fromkeys(scans, 0.0)
    for _ in range(CALIBRATION_ROUNDS):
        for name, scan in scans.items():
            best[name] = max(best[name], _CALIBRATION_LANES * rows[name] / _time(scan, rows[name]))
    return Calibration(best)


def _rows_to_time(scan: native.Scan) -> int:
    _time(scan, 1)
    seconds = _time(scan, _CALIBRATION_ROWS)
    return max(_CALIBRATION_ROWS, int(_CALIBRATION_ROWS * CALIBRATION_SECONDS / seconds))


def _time(scan: native.Scan, rows: int) -> float:
    """Seconds that a scan without candidates takes; zeros for tables cost the same."""
    table = aligned_words(2 * max(_CALIBRATION_LANES + 64, rows))
    halt = ctypes.c_uint32(0)
    job = Job(limit=0, row_stop=rows, lane_stop=_CALIBRATION_LANES)
    job.rows = job.low[0] = job.low[1] = ctypes.addressof(table)
    job.halt = ctypes.addressof(halt)
    start = time.thread_time_ns()
    scan(ctypes.byref(job))
    return max(1, time.thread_time_ns() - start) / 1e9
