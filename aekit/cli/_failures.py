"""Describe failures of the machine, which no code of aekit has turned into an error, in one line."""

from __future__ import annotations

import errno
import os
import re

_ALLOCATION = re.compile(
    r"out of memory|allocate|bad_alloc|failed to map segment|can't start new thread", re.IGNORECASE
)
_WANTED = re.compile(r"[\d.]+ ?(?:[KMGT]i?B|bytes)", re.IGNORECASE)


def failure_line(error: BaseException) -> str | None:
    """Return one line about a file that cannot be read or written, its name, or memory that ran out; None for other errors."""
    if isinstance(error, OSError) and error.errno and error.errno != errno.ENOMEM:
        places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        return ": ".join([*places[-1:], error.strerror or str(error)])  # the second is what a copy or a renaming writes
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{error.object}: is not UTF-8; rename the file or folder"
    is_allocation = isinstance(error, (RuntimeError, OSError, ImportError)) and _ALLOCATION.search(str(error))
    if isinstance(error, MemoryError) or is_allocation:
        wanted = _WANTED.search(str(error))
        size = f", {wanted[0]} more are needed" if wanted else ""
        return f"out of memory{size}; use fewer samples, smaller batches, a smaller network, or lower AEKIT_MEMORY"
    return None
