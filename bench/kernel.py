"""How fast the search is, from one run: `python3 dev.py bench [--write]`.

Everything is measured through the functions that `nonsuch solve` calls. Rates are medians of runs
that alternate with the loops they are compared with; every feature level runs in fresh processes,
several times, so that luck with the placement of memory would show as a spread. `--write` puts the
report into `bench/RESULTS.md`.

The bound that rates are compared with is arithmetic, not measurement: the operations of the traced
program over those that the processor can start in a cycle, at the clock measured beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import os
import platform
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import nonsuch
from nonsuch.errors import KernelUnavailable
from nonsuch.search import native
from nonsuch.search.backends import (
    BACKENDS,
    FEATURES_VARIABLE,
    Backend,
    available_backends,
    best_backend,
    feature_groups,
    host_processor,
)
from nonsuch.search.cache import CACHE_VARIABLE
from nonsuch.search.frame import FUNCTION_NAME, Job, job_address
from nonsuch.search.layout import Field, Layout
from nonsuch.search.measure import CASES, compare, search_rate
from nonsuch.search.sha256 import trace
from nonsuch.search.shaext import shaext_census
from nonsuch.work import presets

RESULTS = Path(__file__).with_name("RESULTS.md")
LEVEL_CASES = ("plain", "bitcoin")
MINERS = ("minerd", "cpuminer")
MINER_SECONDS = 12

SHIFTING_PORTS = {"avx512": 1, "avx2": 2, "sse2": 2}
"""Vector ports that can shift or rotate; on Intel and AMD alike."""

RNDS2_CYCLES = 2
"""Cycles between two sha256rnds2 on Zen 1 to 4 and on Ice Lake and later (uops.info)."""

OPERATIONS = {
    # name: (instructions, of which shifts) with three-input logic and rotations, and without.
    "add": ((1, 0), (1, 0)),
    "xor": ((1, 0), (1, 0)),
    "and": ((1, 0), (1, 0)),
    "majority": ((1, 0), (4, 0)),
    "choose": ((1, 0), (3, 0)),
    "big_sigma0": ((4, 3), (11, 6)),
    "big_sigma1": ((4, 3), (11, 6)),
    "small_sigma0": ((4, 3), (9, 5)),
    "small_sigma1": ((4, 3), (9, 5)),
}


class LevelResult(msgspec.Struct):
    """What one fresh process measured on one feature level, by case."""

    backend: dict[str, str]
    rate: dict[str, float]
    hashlib: dict[str, float]
    ratio: dict[str, float]
    clock: float
    bound_cycles: dict[str, float]


@dataclass(frozen=True)
class Options:
    """How long to measure."""

    rounds: int
    seconds: float
    processes: int
    miner: str | None


def main() -> None:
    """Measure, print the report, and write it if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs a median is taken of (5)")
    parser.add_argument("--seconds", type=float, default=0.8, help="length of one run (0.8)")
    parser.add_argument("--processes", type=int, default=3, help="fresh processes a level (3)")
    parser.add_argument("--miner", help="an external miner to compare with; default: on PATH")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--level", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    options = Options(arguments.rounds, arguments.seconds, arguments.processes, arguments.miner)
    if arguments.level:
        sys.stdout.write(msgspec.json.encode(measure_level(options)).decode())
        return
    lines = []
    for line in report(options):
        print(line, flush=True)
        lines.append(line)
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n")


def report(options: Options) -> Iterator[str]:
    """The report in Markdown, line by line as it is measured."""
    yield "# The kernel, measured"
    yield ""
    yield from machine()
    try:
        groups = feature_groups()
    except KernelUnavailable as reason:
        yield f"No kernel here: {reason}."
        return
    yield from preset_table(options)
    yield from level_table(groups, options)
    yield from compile_table()
    yield from scaling(options)
    yield from whole_commands()
    yield from external_miner(options)


def machine() -> Iterator[str]:
    """What was measured, where and when."""
    yield f"- date: {datetime.datetime.now(tz=datetime.UTC).date()}"
    yield f"- processor: {processor_name()}, {os.cpu_count()} processors"
    yield f"- Python {platform.python_version()}, {ssl.OPENSSL_VERSION} (hashlib)"
    try:
        yield f"- {native.compiler_version()}, model {native.host_model()}"
    except KernelUnavailable:
        yield "- no llvmlite"
    yield f"- command: `{' '.join(['python3 dev.py bench', *sys.argv[1:]])}`"
    yield ""


def processor_name() -> str:
    """The model as the system calls it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"model name\s*:\s*(.*)", text)
    return found[1] if found else platform.machine()


def preset_table(options: Options) -> Iterator[str]:
    """Each preset against the loops, one thread."""
    yield "## Presets, one thread"
    yield ""
    yield "Medians in MH/s; ratios are medians of ratios of neighbouring runs. The *hashlib* loop"
    yield "builds each message and hashes it, the *midstate* loop copies the state of the prefix;"
    yield "both keep the lowest digest."
    yield ""
    yield "| preset | search | hashlib | ratio | midstate | ratio |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, case in CASES.items():
        found = compare(case, seconds=options.seconds, rounds=options.rounds)
        yield (
            f"| {name} | {mega(found.search)} | {mega(found.hashlib, 2)} | {found.ratio:.1f} |"
            f" {mega(found.midstate, 2)} | {found.ratio_to_midstate:.1f} |"
        )
    yield ""


def mega(rate: float, digits: int = 1) -> str:
    """A rate in millions a second."""
    return f"{rate / 1e6:.{digits}f}"


def level_table(groups: Sequence[str], options: Options) -> Iterator[str]:
    """Each feature level alone, in fresh processes, beside its bound."""
    yield "## Feature levels, one thread, fresh processes"
    yield ""
    yield f"Each level in {options.processes} processes of its own: the median of their medians,"
    yield "the slowest and the fastest. Cycles are at the clock measured in the same process. The"
    yield "bound counts instructions of the traced program over the ports that can start them; for"
    yield f"SHA instructions, {RNDS2_CYCLES} cycles for each `sha256rnds2`."
    yield ""
    yield "| level | preset | back end | MH/s | slowest–fastest | × hashlib | cycles/hash | bound |"
    yield "|---|---|---|--:|--:|--:|--:|--:|"
    for group in groups:
        results = [run_level(group, options) for _ in range(options.processes)]
        for name in LEVEL_CASES:
            rates = sorted(result.rate[name] for result in results)
            middle = min(results, key=lambda r: abs(r.rate[name] - statistics.median(rates)))
            ratio = statistics.median(result.ratio[name] for result in results)
            cycles = statistics.median(r.clock / r.rate[name] for r in results)
            yield (
                f"| {group} | {name} | {middle.backend[name]} | {mega(statistics.median(rates))} |"
                f" {mega(rates[0])}–{mega(rates[-1])} | {ratio:.1f} | {cycles:.1f} |"
                f" {middle.bound_cycles[name]:.1f} ({cycles / middle.bound_cycles[name]:.2f}×) |"
            )
    yield ""


def run_level(group: str, options: Options) -> LevelResult:
    """This program again, restricted to one group of features."""
    command = [sys.executable, __file__, "--level", group]
    command += ["--rounds", str(options.rounds), "--seconds", str(options.seconds)]
    environment = {**os.environ, FEATURES_VARIABLE: group}
    shown = subprocess.run(command, env=environment, capture_output=True, check=True)
    return msgspec.json.decode(shown.stdout, type=LevelResult)


def measure_level(options: Options) -> LevelResult:
    """In the fresh process: the rates of the level that the environment names."""
    result = LevelResult({}, {}, {}, {}, 0.0, {})
    clocks = [clock_rate()]
    for name in LEVEL_CASES:
        found = compare(CASES[name], seconds=options.seconds, rounds=options.rounds)
        backend, layout = used(name)
        result.backend[name] = backend.name
        result.rate[name] = found.search
        result.hashlib[name] = found.hashlib
        result.ratio[name] = found.ratio
        result.bound_cycles[name] = bound_cycles(backend, layout)
        clocks.append(clock_rate())
    result.clock = statistics.median(clocks)
    return result


def used(name: str) -> tuple[Backend, Layout]:
    """The back end and the layout that a case is searched with."""
    case = CASES[name]
    width = len(case.puzzle.nonce.encode(case.start))
    layout = Field(case.puzzle, width).layout
    return best_backend(layout), layout


def bound_cycles(backend: Backend, layout: Layout) -> float:
    """The fewest cycles a hash can take, by the number of its instructions."""
    if backend.group == "sha":
        return RNDS2_CYCLES * shaext_census(layout, "x86_64")["llvm.x86.sha256rnds2"]
    ternary = backend.group == "avx512"
    graph, output = trace(
        layout.blocks, layout.vary, layout.double, layout.last_word, ternary=ternary
    )
    instructions = shifts = 0
    for name, count in graph.census(output).items():
        each, of_which_shifts = OPERATIONS[name][0 if ternary else 1]
        instructions += count * each
        shifts += count * of_which_shifts
    ports = vector_ports(backend.group)
    return max(instructions / ports, shifts / SHIFTING_PORTS[backend.group]) / backend.lanes


def vector_ports(group: str) -> int:
    """Vector instructions a cycle: two of 512 bits; narrower, four on AMD's Zen, three on Intel."""
    if group == "avx512":
        return 2
    return 4 if native.host_model().startswith("znver") else 3


CLOCK_STEPS = 64
CLOCK_CYCLES = 4
"""A multiplication takes three cycles, an addition one, on all x86 of the last ten years."""

CLOCK_ROUNDS = 400_000


def clock_rate() -> float:
    """Cycles a second, by timing a chain of instructions whose length in cycles is known."""
    lines = [
        f"define i32 @{FUNCTION_NAME}(ptr %job) {{",
        "entry:",
        job_address("%count.at", "row_stop"),
        "%count = load i64, ptr %count.at",
        "br label %loop",
        "loop:",
        "%i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        f"%x0 = phi i64 [ %count, %entry ], [ %x{CLOCK_STEPS}, %loop ]",
    ]
    for step in range(CLOCK_STEPS):
        lines += [f"%m{step} = mul i64 %x{step}, %x{step}", f"%x{step + 1} = add i64 %m{step}, 1"]
    lines += [
        "%next = add i64 %i, 1",
        "%more = icmp ult i64 %next, %count",
        "br i1 %more, label %loop, label %done",
        "done:",
        f"%r = trunc i64 %x{CLOCK_STEPS} to i32",
        "ret i32 %r",
        "}",
    ]
    scan = native.compile_module("\n".join(lines), native.Processor(native.host_model(), "")).scan
    job = Job(row_stop=CLOCK_ROUNDS)
    times = []
    for _ in range(5):
        began = time.thread_time_ns()
        scan(ctypes.byref(job))
        times.append(time.thread_time_ns() - began)
    return CLOCK_ROUNDS * CLOCK_STEPS * CLOCK_CYCLES / (statistics.median(times) / 1e9)


COMPILED = {
    "9 digits, one block": Field(presets.plain(b"x" * 20), 9).layout,
    "9 digits across two blocks": Field(presets.plain(b"x" * 52), 9).layout,
    "80-byte header, sha256d": Field(presets.bitcoin(bytes(76)), 4).layout,
    "108-byte header, sha256d": Field(presets.coordinator(bytes(104)), 4).layout,
}


def compile_table() -> Iterator[str]:
    """What compiling costs, and what loading the kept object costs."""
    yield "## Compiling a layout"
    yield ""
    yield "Seconds of processor time from the trace to a callable function; in brackets, loading"
    yield "the object kept on disk. AVX-512 is compiled for `skylake-avx512` where it cannot run."
    yield ""
    columns = [b for b in BACKENDS[native.architecture()] if b.name != "sha-4"]
    yield "| layout | " + " | ".join(backend.name for backend in columns) + " |"
    yield "|---|" + "--:|" * len(columns)
    present = {backend.name for backend in available_backends()}
    for name, layout in COMPILED.items():
        cells = (compile_cell(layout, backend, backend.name in present) for backend in columns)
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def compile_cell(layout: Layout, backend: Backend, present: bool) -> str:
    """The median of three compilations without a cache, and of loading."""
    architecture = native.architecture()
    if not present:
        target = native.Processor("skylake-avx512", "")
        triple = f"{architecture}-unknown-linux-gnu"
        return f"{cpu_seconds(lambda: cross(layout, backend, triple, target)):.2f}"

    def build() -> None:
        native.compile_module(backend.module(layout, architecture), host_processor())

    kept = os.environ.get(CACHE_VARIABLE, "")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = "off"
        cold = cpu_seconds(build)
        os.environ[CACHE_VARIABLE] = folder
        build()
        warm = cpu_seconds(build)
    os.environ[CACHE_VARIABLE] = kept
    return f"{cold:.2f} ({warm:.2f})"


def cross(layout: Layout, backend: Backend, triple: str, target: native.Processor) -> None:
    native.cross_compile(backend.module(layout, native.architecture()), triple, target)


def cpu_seconds(work: Callable[[], object]) -> float:
    """The median processor time of three runs."""
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


def scaling(options: Options) -> Iterator[str]:
    """One thread and two, in turn."""
    yield "## Two threads against one"
    yield ""
    if (os.cpu_count() or 1) < 2:
        yield "Only one processor here."
        return
    yield "| preset | one, MH/s | two, MH/s | median ratio |"
    yield "|---|--:|--:|--:|"
    for name in LEVEL_CASES:
        runs = [
            tuple(search_rate(CASES[name], 3 * options.seconds, threads) for threads in (1, 2))
            for _ in range(options.rounds)
        ]
        one, two = (statistics.median(column) for column in zip(*runs, strict=True))
        ratio = statistics.median(run[1] / run[0] for run in runs)
        yield f"| {name} | {mega(one)} | {mega(two)} | {ratio:.2f} |"
    yield ""


def whole_commands() -> Iterator[str]:
    """What a person waits for."""
    yield "## Whole commands"
    yield ""
    base = median_wall([sys.executable, "-c", "pass"], 7)
    imported = median_wall([sys.executable, "-c", "import nonsuch"], 7)
    yield f"- `import nonsuch`: {1000 * (imported - base):.0f} ms on top of Python's start"
    command = [sys.executable, "-m", "nonsuch", "solve", "Your transaction data"]
    seconds = median_wall([*command, "--upto", "1_000_000_000"], 3)
    yield f"- `nonsuch solve … --upto 1_000_000_000`: {seconds:.1f} s, start-up included"
    latencies = sorted(cancel_latency() for _ in range(20))
    yield (
        f"- from `halt.set()` to the return of a two-thread search: median"
        f" {1000 * statistics.median(latencies):.1f} ms,"
        f" slowest of 20 {1000 * latencies[-1]:.1f} ms"
    )
    yield ""


def median_wall(command: Sequence[str], runs: int) -> float:
    """The median wall time of a command after one run that does not count."""
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def cancel_latency() -> float:
    """Seconds from the halt to the return of the search."""
    halt, moment = nonsuch.Halt(), [0.0]

    def stop(progress: nonsuch.Progress) -> None:
        if progress.hashes > 10**6 and not halt:
            moment[0] = time.perf_counter()
            halt.set()

    case = CASES["plain"]
    nonces = range(case.start, case.puzzle.nonce.count)
    nonsuch.search(case.puzzle, nonces, nonsuch.Lowest(), threads=2, progress=stop, halt=halt)
    return time.perf_counter() - moment[0]


def external_miner(options: Options) -> Iterator[str]:
    """A miner of somebody else's, where there is one, on sha256d with one thread."""
    yield "## Against an external miner"
    yield ""
    path = options.miner or next(filter(None, map(shutil.which, MINERS)), None)
    if path is None:
        yield f"None of {', '.join(MINERS)} is on PATH, and none was named with `--miner`."
        return
    runs = [
        (search_rate(CASES["bitcoin"], options.seconds), miner_rate(path))
        for _ in range(options.rounds)
    ]
    ours, theirs = (statistics.median(column) for column in zip(*runs, strict=True))
    ratio = statistics.median(run[0] / run[1] for run in runs)
    name = Path(path).name
    yield f"`{name}`, sha256d, one thread: {mega(theirs)} MH/s; ours {mega(ours)}: {ratio:.2f}×."


def miner_rate(path: str) -> float:
    """What `MINER --benchmark -a sha256d -t 1` says of itself, the median of its lines."""
    command = [path, "--benchmark", "-a", "sha256d", "-t", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=MINER_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    rates = [
        float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]
        for number, unit in re.findall(r"([\d.]+) ?([kMG]?)(?:hash|H)/s", output)
    ]
    if not rates:
        raise SystemExit(f"{path} printed no rate:\n{output[-500:]}")
    return statistics.median(rates)


if __name__ == "__main__":
    main()
