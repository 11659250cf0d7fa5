"""Which kernels an OpenBLAS that comes inside a wheel should use.

An OpenBLAS older than the processor it runs on takes it for a much older one, and is several times slower than it could
be. It reads `OPENBLAS_CORETYPE` when it is loaded, so the choice has to be made before that.
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
"""Core -> flags of the processors that it runs on, the fastest first. On others it ends in an illegal instruction."""

_OLDEST = "prescott core2 penryn dunnington nehalem sandybridge atom nano opteron opteron_sse3 barcelona bobcat"
_OLD = frozenset([*_OLDEST.split(), "bulldozer", "piledriver", "steamroller", "excavator"])
_OLD_INTEL = {"prescott", "core2", "penryn", "dunnington", "nehalem", "sandybridge", "atom", "nano"}
_OLD_AMD = {"opteron", "opteron_sse3", "barcelona", "bobcat", "bulldozer", "piledriver", "steamroller", "excavator"}
_SLOWER = {"Haswell": _OLD_INTEL | _OLD_AMD, "SkylakeX": _OLD_INTEL | _OLD_AMD | {"haswell", "zen"}}
"""Core -> the cores whose kernels are slower, by OpenBLAS's names for them."""


def better_core(reported: str | None, flags: Set[str], environment: Mapping[str, str]) -> str | None:
    """The core to ask for, or None to leave OpenBLAS alone.

    Args:
        reported: the core that OpenBLAS chooses by itself; None where it could not be asked.
        flags: of the processor, as Linux names them.
        environment: where the user may have chosen already, which counts.
    """
    if VARIABLE in environment or reported is None:
        return None
    allowed = next((core for core, needs in _NEEDS.items() if needs <= flags), None)
    return allowed if allowed and reported.lower() in _SLOWER[allowed] else None


@cache
def better_core_for(package: str, libraries: str) -> str | None:
    """`better_core` for the OpenBLAS that a wheel brings along; None where it brings none.

    Args:
        package: as it is imported; it is looked up, not imported.
        libraries: the folder beside it with the wheel's shared libraries.
    """
    flags = _processor_flags()
    spec = find_spec(package)
    if VARIABLE in os.environ or not flags or spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parents[1] / libraries).glob("libopenblas*.so*"))
    return better_core(_reported_core(found[0]), flags, os.environ) if found else None


@cache
def import_with_better_core(package: str, libraries: str) -> tuple[ModuleType, str]:
    """Imports a package so that its OpenBLAS uses the better core; the environment is as before afterwards.

    Returns:
        The module, and a line on what could not be mended because somebody had imported it before, or "".
    """
    core = better_core_for(package, libraries)
    if core is None:
        return import_module(package), ""
    if package in sys.modules:
        note = f"{package} was imported too early for aekit to mend its matrix products: set {VARIABLE}={core}"
        return sys.modules[package], note
    os.environ[VARIABLE] = core
    try:
        return import_module(package), ""
    finally:
        del os.environ[VARIABLE]


def _processor_flags() -> frozenset[str]:
    """Empty where it is not Linux on x86."""
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
    """Asked in a process of its own: loading the library here would fix the choice that is to be made."""
    # The libraries that it needs lie beside it, where the loader looks only when told.
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    command = [sys.executable, "-I", "-S", "-c", _ASK, str(library)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
