"""Tell files from pipes, sockets and devices: reading those may never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special_kind(path: str | Path) -> str | None:
    """Return the kind of a special file, such as ``a pipe``; None for files, folders and missing paths."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whoever opens it says what is wrong
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)
