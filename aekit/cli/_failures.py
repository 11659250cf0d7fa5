"""Describe failures of the machine, which no code of aekit has turned into an error, in one line."""

from __future__ import annotations

import errno
import os

from aekit.errors import out_of_memory


def failure_line(error: BaseException) -> str | None:
    """Return one line about a file that cannot be read or written, its name, or memory that ran out; None for other errors."""
    if isinstance(error, OSError) and error.errno and error.errno != errno.ENOMEM:
        places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        return ": ".join([*places[-1:], error.strerror or str(error)])  # the second is what a copy or a renaming writes
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"{error.object}: is not UTF-8; rename the file or folder"
    refusal = out_of_memory(error)
    return None if refusal is None else str(refusal)
