"""Locate the folder of what is kept between commands, and make room in it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from aekit.errors import FileError


def cache_folder() -> Path:
    """Return the folder of what is kept between commands: ``$AEKIT_CACHE`` or ``~/.cache/aekit``.

    For a user without a home folder, as in a container that runs under any number, it is one among the temporary files.

    Raises:
        FileError: that one belongs to somebody else, who could place anything in it.
    """
    if stated := os.environ.get("AEKIT_CACHE"):
        return Path(os.path.expanduser(stated))  # a file of variables holds ~ as it is
    try:
        return Path.home() / ".cache" / "aekit"
    except RuntimeError:  # neither $HOME nor an entry among the users
        return own_temporary_folder()


def own_temporary_folder(*, create: bool = True) -> Path:
    """Return a folder among the temporary files that only this user can write to.

    Args:
        create: whether it is made if there is none.

    Raises:
        FileError: others can write to it.
        OSError: there is none.
    """
    folder = Path(tempfile.gettempdir()) / f"aekit-{os.getuid()}"
    if create:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise FileError(f"{folder}: others can write to it; set AEKIT_CACHE to a folder of your own for caches")
    return folder


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
