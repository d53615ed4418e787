"""Kernels for processors that are not here, run on emulated ones: arm64 by qemu, AVX-512 by Bochs.

Both get the same: jobs and tables at a fixed address, all kernels linked into one small program
that runs each to its end, and hashlib's word on what should have been found. Skipped where tools
are missing (Debian: qemu-user, gcc-aarch64-linux-gnu; bochs, bochs-term, bochsbios, nasm, gcc).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from nonsuch import Puzzle, Raw, presets
from nonsuch.errors import KernelUnavailable
from nonsuch.search import native
from nonsuch.search.backends import BACKENDS, Backend
from nonsuch.search.frame import FUNCTION_NAME, Job
from nonsuch.search.layout import ROW_WORDS, Field

SOURCES = Path(__file__).with_name("emulated")
BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
TERMINAL = list(Path("/usr/lib").glob("*/bochs/plugins/libbx_term_gui.so"))

MEMORY = 0x4000000
LIMIT = 2**26
NONCES = 4_000
SECTOR = 512
TRACK_SECTORS = 63
HEADS = 16
EMULATION_SECONDS = 110

CASES = [
    *((presets.plain(bytes(range(n))), 9, 999_995_000) for n in (0, 20, 45, 46, 52, 55, 60)),
    (presets.plain(bytes(20)), 6, 990_000),
    (presets.plain(bytes(31)), 13, 10**12 + 7_777),
    (Puzzle(bytes(21), suffix=b" and a suffix so long that it needs one more block"), 9, 10**8),
    (presets.gossip(b"genesis"), 8, 2**40 + 5),
    (Puzzle(bytes(32), Raw(8, "little")), 8, 2**41 - 9_000),
    (presets.bitcoin(bytes(range(80))), 4, 2**32 - 5_000),
    (presets.coordinator(bytes(range(104))), 4, 2**24 - 5_000),
    (Puzzle(bytes(61), Raw(4, "big"), hash="sha256d"), 4, 2**20),
]


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    try:
        native.compiler_version()
    except KernelUnavailable as reason:
        missing.append(str(reason))
    return pytest.mark.skipif(bool(missing), reason=f"missing: {', '.join(missing)}")


@dataclass
class Trial:
    """One kernel and the stretch of nonces it is given."""

    field: Field
    backend: Backend
    start: int
    job_address: int = 0

    @property
    def chunk(self) -> int:
        return self.start - self.start % self.field.chunk

    @property
    def nonces(self) -> range:
        return range(self.start, min(self.start + NONCES, self.chunk + self.field.chunk))

    def expected(self) -> set[int]:
        return {nonce for nonce in self.nonces if self.is_candidate(nonce)}

    def is_candidate(self, nonce: int) -> bool:
        puzzle = self.field.puzzle
        return puzzle.rank(puzzle.digest(nonce)) >> 224 <= LIMIT

    def found(self, row: int, lane: int) -> set[int]:
        """The candidates of the batch at this row and lane."""
        begin = self.chunk + row * self.field.radix.row
        batch = range(begin + lane, begin + min(lane + self.backend.batch, self.field.radix.row))
        return {nonce for nonce in batch if nonce in self.nonces and self.is_candidate(nonce)}


class Memory:
    """The emulated machine's data, from address MEMORY on."""

    def __init__(self) -> None:
        self.content = bytearray(64)  # Its first word is the halt flag, not set.

    def put(self, data: bytes) -> int:
        self.content += bytes(-len(self.content) % 64)
        self.content += data
        return MEMORY + len(self.content) - len(data)

    def place(self, trial: Trial) -> None:
        field, job = trial.field, Job(limit=LIMIT, halt=MEMORY)
        state, message = field.chunk_state(trial.chunk)
        job.state[:] = [*state]
        job.message[: len(message)] = [*message]
        job.row_word = field.row_word
        job.row_base[:] = [*(*message, 0)[field.row_word : field.row_word + ROW_WORDS]]
        job.rows = self.put(bytes(field.row_table))
        for column, table in enumerate(field.lane_table):
            job.low[column] = self.put(bytes(table))
        job.row, lane = divmod(trial.start - trial.chunk, field.radix.row)
        job.lane = lane - lane % trial.backend.batch
        job.lane_stop = field.radix.row
        job.row_stop = -(-(trial.nonces.stop - trial.chunk) // field.radix.row)
        trial.job_address = self.put(bytes(job))


@dataclass
class Machine:
    """What the kernels are compiled for, and where the pieces of the program are put."""

    architecture: str
    triple: str
    processor: native.Processor
    groups: tuple[str, ...]
    folder: Path

    def build(self) -> tuple[list[Trial], list[str]]:
        """Compile all trials; their objects, beside the driver's header and the memory's image."""
        memory = Memory()
        trials = [
            Trial(Field(puzzle, width), backend, start)
            for puzzle, width, start in CASES
            for backend in BACKENDS[self.architecture]
            if backend.group in self.groups
        ]
        objects = []
        for number, trial in enumerate(trials):
            memory.place(trial)
            module = trial.backend.module(trial.field.layout, self.architecture)
            module = module.replace(f"@{FUNCTION_NAME}(", f"@{FUNCTION_NAME}_{number}(")
            path = self.folder / f"{number}.o"
            path.write_bytes(native.cross_compile(module, self.triple, self.processor))
            objects.append(str(path))
        (self.folder / "memory").write_bytes(memory.content)
        (self.folder / "kernels.h").write_text(header(trials, len(memory.content)))
        return trials, objects


def header(trials: list[Trial], size: int) -> str:
    numbers = range(len(trials))
    return "\n".join(
        [
            f"#define KERNELS {len(trials)}",
            f"#define MEMORY {MEMORY}",
            f"#define MEMORY_SIZE {size}",
            f"#define ROW_OFFSET {Job.row.offset}",  # type: ignore[attr-defined]
            f"#define LANE_OFFSET {Job.lane.offset}",  # type: ignore[attr-defined]
            *(f"int {FUNCTION_NAME}_{n}(void *);" for n in numbers),
            f"static int (*const scans[])(void *) = {{{','.join(f'scan_{n}' for n in numbers)}}};",
            f"static const long jobs[] = {{{','.join(str(t.job_address) for t in trials)}}};",
            f"static const int batches[] = {{{','.join(str(t.backend.batch) for t in trials)}}};",
        ]
    )


def judge(trials: list[Trial], printed: str) -> None:
    """Each kernel came to its end, and named every batch with a candidate."""
    found: dict[int, set[int]] = defaultdict(set)
    ended = set()
    for line in printed.splitlines():
        if not line.startswith("K"):
            continue
        kernel, more, row, lane = (int(word, 16) for word in line[1:].split())
        if more:
            found[kernel] |= trials[kernel].found(row, lane)
        else:
            ended.add(kernel)
    assert ended == set(range(len(trials))), "all kernels ran"
    for number, trial in enumerate(trials):
        assert found[number] == trial.expected(), (trial.backend.name, trial.field.layout)


def call(*command: str | Path) -> str:
    shown = subprocess.run(
        command, capture_output=True, text=True, timeout=EMULATION_SECONDS, stdin=subprocess.DEVNULL
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    return shown.stdout


@needs("qemu-aarch64", "aarch64-linux-gnu-gcc")
def test_arm64_kernels_find_what_hashlib_finds(tmp_path: Path) -> None:
    machine = Machine(
        "aarch64",
        "aarch64-unknown-linux-gnu",
        native.Processor("cortex-a72", "+neon,+sha2"),
        ("sha", "neon"),
        tmp_path,
    )
    trials, objects = machine.build()
    program, driver = tmp_path / "program", SOURCES / "driver.c"
    call(
        "aarch64-linux-gnu-gcc", "-O1", "-static", f"-I{tmp_path}", driver, *objects, "-o", program
    )
    judge(trials, call("qemu-aarch64", "-cpu", "max", program, tmp_path / "memory"))


@needs("bochs", "nasm", "gcc", "ld", "objcopy")
@pytest.mark.skipif(not (BIOS.exists() and TERMINAL), reason="Bochs without BIOS or terminal")
def test_avx512_kernels_find_what_hashlib_finds(tmp_path: Path) -> None:
    machine = Machine(
        "x86_64",
        "x86_64-unknown-linux-gnu",
        native.Processor("skylake-avx512", ""),
        ("avx512",),
        tmp_path,
    )
    trials, objects = machine.build()
    code = link_bare(tmp_path, objects)
    make_disk(tmp_path, code, (tmp_path / "memory").read_bytes())
    # Debian's Bochs begins in its debugger, which "c" lets go.
    (tmp_path / "debugger").write_text("c\n")
    files = str(tmp_path / "bochsrc"), str(tmp_path / "debugger")
    command = ["bochs", "-q", "-f", files[0], "-rc", files[1]]
    judge(trials, on_a_terminal(command))


def on_a_terminal(command: list[str]) -> str:
    """What a command prints that insists on a terminal."""
    ours, its = os.openpty()
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}
    )
    os.close(its)
    printed = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end was closed
        while piece := os.read(ours, 65536):
            printed += piece
    os.close(ours)
    process.wait(EMULATION_SECONDS)
    return printed.decode(errors="replace")


def link_bare(folder: Path, objects: list[str]) -> bytes:
    """Driver and kernels as one flat piece of code that begins with `start`."""
    flags = ["-O1", "-ffreestanding", "-fno-pic", "-mno-red-zone", "-fno-stack-protector"]
    driver, linked, flat = folder / "driver.o", folder / "linked", folder / "flat"
    call("gcc", *flags, "-DBARE_METAL", f"-I{folder}", "-c", SOURCES / "driver.c", "-o", driver)
    (folder / "script").write_text(
        "SECTIONS { . = 0x2000000;\n"
        ".all : { *(.start) *(.text*) . = ALIGN(64); *(.rodata*) *(.data*) *(.bss*) }\n"
        "/DISCARD/ : { *(.eh_frame) *(.comment) *(.note*) } }"
    )
    call("ld", "-T", folder / "script", "-nostdlib", "-o", linked, driver, *objects)
    call("objcopy", "-O", "binary", linked, flat)
    return flat.read_bytes()


def make_disk(folder: Path, code: bytes, memory: bytes) -> None:
    """A disk of boot sector, code and memory, and the description of the machine that boots it."""
    code, memory = (part + bytes(-len(part) % SECTOR) for part in (code, memory))
    boot = folder / "boot"
    sizes = [f"-DCODE_SECTORS={len(code) // SECTOR}", f"-DMEMORY_SECTORS={len(memory) // SECTOR}"]
    call("nasm", "-f", "bin", *sizes, SOURCES / "boot.asm", "-o", boot)
    content = boot.read_bytes() + code + memory
    cylinder = HEADS * TRACK_SECTORS * SECTOR
    content += bytes(-len(content) % cylinder)
    (folder / "disk").write_bytes(content)
    (folder / "bochsrc").write_text(
        "cpu: model=corei7_skylake_x, count=1, ips=200000000\n"
        "megs: 256\n"
        f"romimage: file={BIOS}\n"
        f"vgaromimage: file={BIOS.with_name('VGABIOS-lgpl-latest')}\n"
        f"ata0-master: type=disk, path={folder / 'disk'}, mode=flat,"
        f" cylinders={len(content) // cylinder}, heads={HEADS}, spt={TRACK_SECTORS}\n"
        "boot: disk\n"
        "port_e9_hack: enabled=1\n"
        "display_library: term\n"
        f"log: {folder / 'log'}\n"
        "panic: action=fatal\n"
    )
