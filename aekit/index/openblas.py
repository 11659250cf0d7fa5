"""Choose the kernels of an OpenBLAS that is bundled in a wheel.

An OpenBLAS older than the processor mistakes it for a much older one and is several times slower than necessary. It reads
`OPENBLAS_CORETYPE` when it is loaded, so the choice must be made before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Set
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

VARIABLE = "OPENBLAS_CORETYPE"

_NEEDS = {"SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}, "Haswell": {"avx2", "fma"}}
"""Core -> processor flags that it needs, the fastest core first. Without them it crashes with an illegal instruction."""

_OLDEST = "prescott core2 penryn dunnington nehalem sandybridge atom nano opteron opteron_sse3 barcelona bobcat"
_OLD = frozenset([*_OLDEST.split(), "bulldozer", "piledriver", "steamroller", "excavator"])
_OLD_INTEL = {"prescott", "core2", "penryn", "dunnington", "nehalem", "sandybridge", "atom", "nano"}
_OLD_AMD = {"opteron", "opteron_sse3", "barcelona", "bobcat", "bulldozer", "piledriver", "steamroller", "excavator"}
_SLOWER = {"Haswell": _OLD_INTEL | _OLD_AMD, "SkylakeX": _OLD_INTEL | _OLD_AMD | {"haswell", "zen"}}
"""Core -> cores whose kernels are slower, by OpenBLAS's names."""


def better_core(reported: str | None, flags: Set[str], environment: Mapping[str, str]) -> str | None:
    """Return the core to ask for, or None to keep OpenBLAS's choice.

    Args:
        reported: the core that OpenBLAS chooses by itself; None: unknown.
        flags: processor flags, as Linux names them.
        environment: environment variables; a choice of the user there takes precedence.
    """
    if VARIABLE in environment or reported is None:
        return None
    allowed = next((core for core, needs in _NEEDS.items() if needs <= flags), None)
    return allowed if allowed and reported.lower() in _SLOWER[allowed] else None


@cache
def better_core_for(package: str, libraries: str) -> str | None:
    """Return the `better_core` for the OpenBLAS bundled in a wheel, or None if it bundles none.

    Args:
        package: import name of the package; it is looked up, not imported.
        libraries: folder of the wheel's shared libraries, next to the package.
    """
    flags = _processor_flags()
    spec = find_spec(package)
    if VARIABLE in os.environ or not flags or spec is None or spec.origin is None:
        return None
    paths = sorted((Path(spec.origin).parents[1] / libraries).glob("libopenblas*.so*"))
    return better_core(_reported_core(paths[0]), flags, os.environ) if paths else None


@cache
def import_with_better_core(package: str, libraries: str) -> tuple[ModuleType, str]:
    """Import a package so that its OpenBLAS uses the better core, and restore the environment afterwards.

    Returns:
        the module, and a note if it was imported before and its core can no longer be chosen, or "".
    """
    core = better_core_for(package, libraries)
    if core is None:
        return import_module(package), ""
    if package in sys.modules:
        note = f"{package} was imported before aekit could choose faster matrix products: set {VARIABLE}={core}"
        return sys.modules[package], note
    os.environ[VARIABLE] = core
    try:
        return import_module(package), ""
    finally:
        os.environ.pop(VARIABLE, None)  # another thread may import it too


def _processor_flags() -> frozenset[str]:
    """Return the processor flags; empty unless on Linux on x86."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


_ASK = """
import ctypes, sys
name = ctypes.CDLL(sys.argv[1]).openblas_get_corename
name.restype = ctypes.c_char_p
print(name().decode())
"""


def _reported_core(library: Path) -> str | None:
    """Ask OpenBLAS for its core in a separate process, because loading it here would fix the choice."""
    # The libraries that it needs are in the same folder, which the loader does not search by default.
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    command = [sys.executable, "-I", "-S", "-c", _ASK, str(library)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
