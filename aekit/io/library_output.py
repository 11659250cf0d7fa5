"""Hide what libraries in other languages print on standard error, in addition to what they raise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def library_output_hidden() -> Iterator[None]:
    """Hide what reaches the file descriptor of standard error; a library in C++ or Rust writes there past `sys.stderr`."""
    with suppress(AttributeError, ValueError):  # none, or closed
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
