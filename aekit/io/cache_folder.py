"""Locate the folder of what is kept between commands, and make room in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of what is kept between commands: ``$AEKIT_CACHE`` or ``~/.cache/aekit``."""
    return Path(os.environ.get("AEKIT_CACHE", Path.home() / ".cache" / "aekit"))


def make_room(entries: Iterable[Path], most: int, wanted: int = 0) -> None:
    """Remove the entries that were used longest ago, so that those that stay and a new one take no more than `most` bytes.

    Args:
        entries: files, or folders of files; the time of the last change is that of the last use.
        most: bytes of all of them.
        wanted: bytes of the new one.
    """
    total = wanted
    for entry in sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True):
        total += sum(file.stat().st_size for file in (entry.iterdir() if entry.is_dir() else [entry]))
        if total > most and entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif total > most:
            entry.unlink(missing_ok=True)
