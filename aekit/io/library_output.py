"""Hide what libraries in other languages print on standard error, in addition to what they raise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aekit.shared_settings import SharedSetting


@contextmanager
def library_output_hidden() -> Iterator[None]:
    """Hide what reaches the file descriptor of standard error; a library in C++ or Rust writes there past `sys.stderr`."""
    with suppress(AttributeError, ValueError):  # none, or closed
        sys.stderr.flush()
    with _standard_error.changed_to(None):
        yield


def _keep() -> int | None:
    """Return a copy of the file descriptor of standard error; None if it is closed."""
    try:
        return os.dup(2)
    except OSError:
        return None


def _redirect(kept: int | None) -> None:
    """Let standard error lead to where a copy of its file descriptor leads, which is closed; to nowhere if there is none."""
    source = os.open(os.devnull, os.O_WRONLY) if kept is None else kept
    os.dup2(source, 2)
    os.close(source)


_standard_error: SharedSetting[int | None] = SharedSetting(_keep, _redirect)
