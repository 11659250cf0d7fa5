"""Limit the memory that data takes to ``AEKIT_MEMORY``, or to a part of the free memory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from aekit.errors import DataError, OutOfMemoryError, RecipeError
from aekit.io._cgroups import unused_memory

VARIABLE = "AEKIT_MEMORY"
SMALL = 2**26
"""Bytes that a reader may always use: below, nothing is worth a limit."""
_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
_UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}


def stated_memory() -> int | None:
    """Return the bytes that ``AEKIT_MEMORY`` allows; None if it is not set; raises as `stated_bytes`."""
    return stated_bytes(VARIABLE)


def stated_bytes(variable: str) -> int | None:
    """Return the bytes that an environment variable states, such as ``2GB``, ``512MiB`` or ``1000000``; None if it is not set.

    Raises:
        RecipeError: it is not a size.
    """
    text = os.environ.get(variable)
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?) ?([a-z]{0,3})", text.strip().lower(), re.ASCII)
    if match is None or match[2] not in _UNITS:
        raise RecipeError([f"{variable} = {text!r}: expected a size such as 2GB, 512MiB or 1000000 (bytes)"])
    return int(float(match[1]) * _UNITS[match[2]])


def free_memory() -> int:
    """Return the bytes of main memory that this process can still get, also in a container and under ``ulimit -v``."""
    free = _unused_memory()
    allowed_by_group = unused_memory()
    if allowed_by_group is not None:
        free = min(free, allowed_by_group)
    try:
        import resource

        allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
        if allowed != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
            free = min(free, max(0, allowed - pages * resource.getpagesize()))
    except (ImportError, OSError, ValueError):  # not available on every platform
        pass
    return free


def spendable_memory() -> int | None:
    """Return the bytes that this process can still fill before Linux ends it, or those of ``AEKIT_MEMORY`` if they are more.

    Returns:
        bytes; None on other systems, which end no process for its memory.

    Raises:
        RecipeError: as `stated_bytes`.
    """
    free, stated, allowed_by_group = _meminfo(), stated_memory(), unused_memory()
    if "MemAvailable" not in free:
        return None
    spendable = free["MemAvailable"] + free.get("SwapFree", 0)
    return max(spendable if allowed_by_group is None else min(spendable, allowed_by_group), stated or 0)


def _meminfo() -> dict[str, int]:
    """Return what Linux says about the main memory, in bytes; nothing on other systems."""
    path = Path("/proc/meminfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}


def _unused_memory() -> int:
    if (available := _meminfo().get("MemAvailable")) is not None:
        return available  # it counts the page cache, which sysconf's free pages do not
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not available on every platform
        return 4 * 2**30


def read_limit() -> int:
    """Return how many bytes the content of a file may take in memory: what is stated, else 80% of what is free."""
    stated = stated_memory()
    return max(SMALL, int(0.8 * free_memory()) if stated is None else stated)


def check_memory(wanted: int, place: str) -> None:
    """Refuse to read what would not fit in memory, before it is read.

    Args:
        wanted: bytes that it takes in memory.
        place: what it is, for the message: the path, and the part of the file.

    Raises:
        DataError: it takes more than `read_limit`.
    """
    if wanted > SMALL and wanted > (limit := read_limit()):
        raise too_large(place, limit, wanted)


def require_free(wanted: int, purpose: str) -> None:
    """Refuse to begin what never ends where memory is short: OpenBLAS waits for memory that it is refused.

    Raises:
        OutOfMemoryError: less than `wanted` bytes are free.
    """
    if (free := free_memory()) < wanted:
        short = f"{purpose} takes {format_bytes(wanted)}, {format_bytes(free)} are free"
        raise OutOfMemoryError(f"out of memory: {short}; use less data, or allow more memory")


def too_large(place: str, limit: int, wanted: int | None = None) -> DataError:
    """Return the error for content that takes more memory than a limit.

    Args:
        place: what it is, as for `check_memory`.
        limit: bytes that it may take.
        wanted: bytes that it takes; None: more, which is all that is known.
    """
    origin = f"set by {VARIABLE}" if VARIABLE in os.environ else "80% of what is free"
    most = format_bytes(limit)
    takes = (
        f"more memory than the {most} that are allowed ({origin})"
        if wanted is None
        else f"{format_bytes(wanted)} of memory, but {most} are allowed ({origin})"
    )
    return DataError(f"{place} would take {takes}; set {VARIABLE}, such as 64GB, to allow more")


def format_bytes(count: int) -> str:
    """Return a number of bytes as text, such as ``1.5 GiB``."""
    for power, unit in ((5, "PiB"), (4, "TiB"), (3, "GiB"), (2, "MiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:,.1f} {unit}"
    return f"{count:,} bytes"
