"""Tell the files of Python and of installed packages from those of the user."""

from __future__ import annotations

import os
from functools import cache

_FOLDERS = {"site-packages", "dist-packages"}
"""Names of folders of packages: besides those of this environment, there are the user's, and those it is stacked upon."""


def is_library_file(file: str) -> bool:
    """Return whether a file of code is of Python itself or of an installed package.

    Examples:
        >>> is_library_file("/home/me/.local/lib/python3.11/site-packages/pandas/core/frame.py"), is_library_file("/home/me/a.py")
        (True, False)
    """
    return file.startswith(_library_folders()) or not _FOLDERS.isdisjoint(file.split(os.sep))


@cache
def _library_folders() -> tuple[str, ...]:
    import sysconfig  # takes milliseconds

    paths = sysconfig.get_paths()
    return (*(os.path.join(paths[name], "") for name in ("stdlib", "platstdlib", "purelib", "platlib")), "<frozen ")
