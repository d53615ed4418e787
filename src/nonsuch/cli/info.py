"""`nonsuch info`: which code would search here, and why."""

from __future__ import annotations

import platform

import msgspec

from nonsuch import KernelUnavailable, __version__
from nonsuch.cli import options
from nonsuch.cli.terminal import format_rate, output
from nonsuch.search import native
from nonsuch.search.backends import calibration, feature_groups
from nonsuch.search.cache import cache_folder
from nonsuch.search.searcher import default_threads

__all__ = ["info"]


class _Info(msgspec.Struct):
    """What `--json` prints. Rates are hashes a second of one thread, by back end."""

    nonsuch: str
    python: str
    system: str
    architecture: str
    threads: int
    cache: str | None
    processor: str | None = None
    compiler: str | None = None
    features: list[str] = []
    kernels: dict[str, str] = {}
    rates: dict[str, dict[str, float]] = {}
    fallback: str | None = None


def info(json: options.Json = False) -> int:
    """Show which code searches here, and how fast it is.

    Where no kernel can be generated, it says why. The first call on a machine measures, which takes
    a second or two. NONSUCH_CPU_FEATURES restricts what is used, NONSUCH_CACHE says where results
    are kept.
    """
    facts = _gather()
    if json:
        output.print(msgspec.json.encode(facts).decode(), markup=False)
        return 0
    output.print(f"nonsuch    {facts.nonsuch}, Python {facts.python}, {facts.system}")
    output.print(f"processor  {facts.processor or facts.architecture}, {facts.threads} threads")
    if facts.fallback is not None:
        output.print(f"kernel     none, hashlib instead: {facts.fallback}", markup=False)
        return 0
    output.print(f"compiler   {facts.compiler}")
    output.print(f"features   {', '.join(facts.features)}")
    for kind, name in facts.kernels.items():
        output.print(f"kernel     {kind}: {name}, the fastest of")
        for backend, rate in sorted(facts.rates[kind].items(), key=lambda item: -item[1]):
            output.print(f"             {backend:10} {format_rate(rate)} a thread")
    output.print(f"cache      {facts.cache or 'off'}", markup=False)
    return 0


def _gather() -> _Info:
    folder = cache_folder()
    facts = _Info(
        nonsuch=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        architecture=native.architecture(),
        threads=default_threads(),
        cache=None if folder is None else str(folder),
    )
    try:
        facts.processor = native.host_model()
        facts.compiler = native.compiler_version()
        facts.features = list(feature_groups())
        for kind in ("sha256", "sha256d"):
            measured = calibration(kind == "sha256d")
            facts.kernels[kind] = measured.best
            facts.rates[kind] = measured.rates
    except KernelUnavailable as reason:
        facts.fallback = str(reason)
    return facts
