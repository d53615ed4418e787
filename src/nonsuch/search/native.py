"""LLVM IR to a function in memory, by llvmlite: the only file that imports it, when called.

A layout is compiled to an object once; the object is kept on disk and loaded again by the next
process. (Measured: compiling takes 0.02 to 0.6 s of processor time a layout, loading 5 ms.)
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from nonsuch.errors import KernelUnavailable
from nonsuch.search.cache import read_cache, write_cache
from nonsuch.search.frame import FUNCTION_NAME, Job

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "Compiled",
    "Processor",
    "Scan",
    "architecture",
    "compile_function",
    "compile_module",
    "compiler_version",
    "cross_assembly",
    "cross_compile",
    "host_features",
    "host_model",
]

_OPTIMISATION = 2
_EMPTY_MODULE = ""


@dataclass(frozen=True, slots=True)
class Processor:
    """What code is generated for: LLVM's name for the model, and features as `+avx2,-avx512f`."""

    model: str
    features: str


Scan = Callable[[object], int]
"""Takes `ctypes.byref(job)` and lets go of the interpreter; 1 at a candidate, else 0."""

F = TypeVar("F")

_SCAN_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(Job))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A scan function, and whether its code was found on disk."""

    scan: Scan
    from_disk: bool


def architecture() -> str:
    """The host's architecture as LLVM spells it: "x86_64", "aarch64" …"""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


@functools.cache
def compiler_version() -> str:
    """llvmlite's and LLVM's versions. Raises `KernelUnavailable` where there is no llvmlite."""
    binding = _binding()
    import llvmlite

    llvm = ".".join(map(str, binding.llvm_version_info))
    return f"llvmlite {llvmlite.__version__}, LLVM {llvm}"


@functools.cache
def host_model() -> str:
    """LLVM's name for the host's processor. Raises `KernelUnavailable`."""
    return str(_binding().get_host_cpu_name())


@functools.cache
def host_features() -> frozenset[str]:
    """LLVM's names for what the host's processor can do. Raises `KernelUnavailable`."""
    features = _binding().get_host_cpu_features()
    return frozenset(str(name) for name, present in features.items() if present)


@functools.cache
def _binding() -> ModuleType:
    _check_executable()
    try:
        from llvmlite import binding
    except (ImportError, OSError) as error:
        raise KernelUnavailable(f"llvmlite cannot be imported: {error}") from error
    try:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    except RuntimeError as error:
        raise KernelUnavailable(f"LLVM has no code generator for this machine: {error}") from error
    return binding  # type: ignore[no-any-return]


def _check_executable() -> None:
    """Raise `KernelUnavailable` where code that was written cannot be run.

    systemd's MemoryDenyWriteExecute, SELinux and others forbid it; LLVM does not look whether it
    was allowed to, and crashes. So this does with one page what LLVM does with all.
    """
    if not hasattr(mmap, "PROT_EXEC"):
        return
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
        reason = os.strerror(ctypes.get_errno())
        raise KernelUnavailable(
            f"this process may not make memory executable (MemoryDenyWriteExecute?): {reason}"
        )


def compile_module(ir: str, processor: Processor) -> Compiled:
    """The module's `scan`, compiled for this processor, or loaded if that was done before."""
    code, from_disk = _object(ir, processor)
    return Compiled(_load(code, processor, FUNCTION_NAME, _SCAN_PROTOTYPE), from_disk)


def compile_function(ir: str, processor: Processor, name: str, prototype: Callable[[int], F]) -> F:
    """The module's function of this name, likewise. `prototype` is a function type of `ctypes`."""
    return _load(_object(ir, processor)[0], processor, name, prototype)


def _object(ir: str, processor: Processor) -> tuple[bytes, bool]:
    """The code of a module, and whether it was found on disk."""
    key = repr((ir, processor, compiler_version()))
    name = hashlib.sha256(key.encode()).hexdigest()[:32] + ".o"
    code = read_cache(name)
    if code is not None:
        return code, True
    try:
        code = _emit_object(ir, processor)
    except RuntimeError as error:
        raise KernelUnavailable(f"LLVM cannot generate the code: {error}") from error
    write_cache(name, code)
    return code, False


def _emit_object(ir: str, processor: Processor) -> bytes:
    binding = _binding()
    module = binding.parse_assembly(ir)
    module.verify()
    return _host_machine(processor).emit_object(module)


def _load(code: bytes, processor: Processor, name: str, prototype: Callable[[int], F]) -> F:
    binding = _binding()
    engine = binding.create_mcjit_compiler(
        binding.parse_assembly(_EMPTY_MODULE), _host_machine(processor)
    )
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function = prototype(engine.get_function_address(name))
    # The engine owns the code and must live as long as this does.
    function.engine = engine  # type: ignore[attr-defined]
    return function


class _TargetMachine(Protocol):
    """The part of llvmlite's class that is used; llvmlite ships no types."""

    def emit_object(self, module: object) -> bytes: ...

    def emit_assembly(self, module: object) -> str: ...


class _Target(Protocol):
    """Likewise."""

    def create_target_machine(self, **options: object) -> _TargetMachine: ...


def _host_machine(processor: Processor) -> _TargetMachine:
    return _machine(_binding().Target.from_default_triple(), processor, jit=True)


def _machine(target: _Target, processor: Processor, *, jit: bool) -> _TargetMachine:
    return target.create_target_machine(
        cpu=processor.model,
        features=processor.features,
        opt=_OPTIMISATION,
        reloc="pic",
        codemodel="small",
        jit=jit,
    )


def cross_compile(ir: str, triple: str, processor: Processor) -> bytes:
    """The module as an object for another kind of machine, to be inspected or run there."""
    machine, module = _abroad(ir, triple, processor)
    return machine.emit_object(module)


def cross_assembly(ir: str, triple: str, processor: Processor) -> str:
    """The same as assembly, for people and for counting instructions."""
    machine, module = _abroad(ir, triple, processor)
    return machine.emit_assembly(module)


def _abroad(ir: str, triple: str, processor: Processor) -> tuple[_TargetMachine, object]:
    binding = _binding()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = binding.parse_assembly(ir)
    module.triple = triple
    module.verify()
    return _machine(binding.Target.from_triple(triple), processor, jit=False), module
