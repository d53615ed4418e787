"""Choosing code for a processor, keeping it on disk, and doing without."""

import subprocess
import sys
from pathlib import Path

import pytest

from nonsuch.errors import KernelUnavailable, LocalError
from nonsuch.search import native
from nonsuch.search.backends import (
    BACKENDS,
    FEATURES_VARIABLE,
    available_backends,
    best_backend,
    calibration,
    feature_groups,
)
from nonsuch.search.cache import CACHE_VARIABLE, cache_folder, read_cache, write_cache
from nonsuch.search.lanes import lanes_module
from nonsuch.search.layout import Layout
from nonsuch.search.shaext import shaext_census, shaext_module

LAYOUTS = [
    Layout(1, (6, 7), double=False, last_word=False),
    Layout(1, (3,), double=True, last_word=True),
    Layout(1, (10,), double=True, last_word=False),
    Layout(2, (15, 16), double=False, last_word=False),
    Layout(3, (0,), double=True, last_word=True),
]
HEADER = LAYOUTS[1]


def why_no_kernel() -> str | None:
    try:
        available_backends()
    except KernelUnavailable as reason:
        return str(reason)
    return None


needs_compiler = pytest.mark.skipif(why_no_kernel() is not None, reason=str(why_no_kernel()))


@needs_compiler
def test_features_can_be_restricted_and_unknown_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = feature_groups()
    monkeypatch.setenv(FEATURES_VARIABLE, everything[-1])
    assert feature_groups() == (everything[-1],)
    assert {backend.group for backend in available_backends()} == {everything[-1]}
    monkeypatch.setenv(FEATURES_VARIABLE, "mmx")
    with pytest.raises(LocalError, match=f"choose from {everything[0]}"):
        feature_groups()


@needs_compiler
def test_what_was_measured_with_all_features_does_not_choose_among_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calibration(True)
    for group in feature_groups():
        monkeypatch.setenv(FEATURES_VARIABLE, group)
        names = {backend.name for backend in available_backends()}
        assert calibration(True).rates.keys() == names
        assert best_backend(HEADER).name in names
        monkeypatch.delenv(FEATURES_VARIABLE)


def test_no_features_means_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FEATURES_VARIABLE, "none")
    with pytest.raises(KernelUnavailable):
        feature_groups()


@needs_compiler
def test_the_fastest_measured_back_end_is_used_and_remembered() -> None:
    measured = calibration(double=True)
    assert set(measured.rates) <= {backend.name for backend in available_backends()}
    assert min(measured.rates.values()) > 0
    if len(available_backends()) > 1:
        assert best_backend(HEADER).name == max(measured.rates, key=lambda k: measured.rates[k])
    assert calibration(double=True) == measured
    folder = cache_folder()
    assert folder is not None
    assert list(folder.glob("rates-*.json"))


@needs_compiler
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arm64_code_compiles_to_its_sha_and_neon_instructions(layout: Layout) -> None:
    """Compiled, not run: there is no such processor here."""
    processor = native.Processor("cortex-a72", "+neon,+sha2")
    for backend in BACKENDS["aarch64"]:
        module = backend.module(layout, "aarch64")
        code = native.cross_compile(module, "aarch64-unknown-linux-gnu", processor)
        assert code.startswith(b"\x7fELF")
        assembly = native.cross_assembly(module, "aarch64-unknown-linux-gnu", processor)
        if backend.group == "sha":
            # LLVM leaves out the very last one where only the other half of the state is asked for.
            census = shaext_census(layout, "aarch64")["llvm.aarch64.crypto.sha256h"]
            assert assembly.count("sha256h\t") >= (census - layout.last_word) * backend.ways
        else:
            assert "v0.4s" in assembly or ".4s" in assembly


@needs_compiler
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ways", [1, 2])
def test_avx512_code_uses_rotations_and_ternary_logic(layout: Layout, ways: int) -> None:
    """512-bit registers, `vprord` and `vpternlogd`; nothing left as shift-and-or."""
    module = lanes_module(layout, 16, ways, ternary=True)
    processor = native.Processor("skylake-avx512", "")
    assembly = native.cross_assembly(module, "x86_64-unknown-linux-gnu", processor)
    assert assembly.count("vpternlogd") > 300 * ways
    assert assembly.count("vprord") > 500 * ways
    assert "vpslld" not in assembly
    assert "%ymm" not in assembly.replace("vmovd", "")


@needs_compiler
def test_sha_code_spends_one_instruction_on_two_rounds() -> None:
    census = shaext_census(HEADER, "x86_64")
    # 64 rounds less the three before the nonce, and 62 of the second hash.
    assert census["llvm.x86.sha256rnds2"] == 31 + 31
    assert "sha256rnds2" in shaext_module(HEADER, 3, "x86_64")


@needs_compiler
def test_a_damaged_or_foreign_cache_entry_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    backend = available_backends()[-1]
    processor = native.Processor(native.host_model(), "")
    module = backend.module(Layout(1, (9,), double=False, last_word=False), native.architecture())
    assert not native.compile_module(module, processor).from_disk
    assert native.compile_module(module, processor).from_disk
    (entry,) = (tmp_path / "cache").glob("*.o")
    entry.write_bytes(entry.read_bytes()[:-1])
    assert not native.compile_module(module, processor).from_disk, "truncated"
    (tmp_path / "cache").chmod(0o777)
    assert cache_folder() is None, "anyone could have put code there"
    assert not native.compile_module(module, processor).from_disk


def test_the_cache_can_be_off_or_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    write_cache("entry", b"content")
    assert read_cache("entry") is None
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    write_cache("entry", b"content")
    assert read_cache("entry") is None


def test_the_cache_forgets_the_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for number in range(5):
        write_cache(f"entry-{number}", bytes(4 * 2**20))
    kept = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert "entry-4" in kept
    assert "entry-0" not in kept


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )


def test_importing_the_package_loads_neither_compiler_nor_event_loop() -> None:
    shown = run_python(
        "import nonsuch, sys\n"
        "print([m for m in ('llvmlite', 'asyncio', 'typer') if m in sys.modules])"
    )
    assert shown.stdout.strip() == "[]"


def test_where_llvmlite_cannot_be_imported_the_answer_is_the_same() -> None:
    """One line says why it is slower; nothing else changes."""
    shown = run_python(
        "import sys; sys.modules['llvmlite'] = None\n"
        "import nonsuch\n"
        "print(nonsuch.solve(b'bradfitz', 400_000, preset='liteminer').nonce)"
    )
    direct = run_python(
        "import nonsuch; print(nonsuch.solve(b'bradfitz', 400_000, preset='liteminer').nonce)"
    )
    assert shown.stdout == direct.stdout
    assert shown.stderr.count("\n") == 1
    assert "llvmlite cannot be imported" in shown.stderr
