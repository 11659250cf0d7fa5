"""Write the places of data into records without naming the home folder of their author, and find the data again.

A record holds a path relative to a folder that the data shares with the current folder or with the artifact, ``~/...`` for
other data in the home folder, and an absolute path only where there is no such folder. The data is looked for beside the
artifact, in each folder above it, and in the current folder, so that a project can be moved as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.data._ownership import marked, unmarked
from aekit.data._source_choice import data_exists
from aekit.errors import DataError
from aekit.io.remote_urls import is_remote, shown_url
from aekit.registry.discovery import registry


def portable_path(text: str, folder: str | Path) -> str:
    """Return how the record of an artifact names a place.

    Args:
        text: an absolute path, or ``SOURCE:`` and one; anything else is unchanged.
        folder: folder of the artifact.
    """
    name, path = _split(text)
    if is_remote(path):
        return name + shown_url(path)
    if not os.path.isabs(path):
        return text
    home, place = _home(), Path(path)
    shared = Path(os.path.commonpath([place.parent, os.path.abspath(folder)]))
    bases = [base for base in (shared, Path.cwd(), home) if base and base in place.parents and base != base.parent]
    if not bases:
        return text
    # The deepest says least about where the project is, and stays true where it is moved.
    base = max(bases, key=lambda base: len(base.parts))
    relative = place.relative_to(base).as_posix()
    return name + (f"~/{relative}" if base == home else relative)


def portable_record(record: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
    """Return a record, such as `Source.origin`, as an artifact in `folder` keeps it, by `portable_path` at every depth."""
    portable = {name: _portable(value, folder) for name, value in record.items()}
    return marked(portable) if "source" in record and "options" in record else portable


def resolved_origin(origin: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the origin in the record of an artifact with the absolute path of its data, if it is found.

    If the artifact was made by somebody else, it says so, and `aekit.data.opening.reopen` opens nothing unasked.
    """
    if "source" in origin:
        origin = unmarked(origin)
    return {**origin, "data": resolved(origin["data"], folder)} if "data" in origin else dict(origin)


def _portable(value: Any, folder: str | Path) -> Any:
    if isinstance(value, str):
        return portable_path(value, folder)
    return portable_record(value, folder) if isinstance(value, Mapping) else value


def locate(path: str, folder: str | Path | None = None) -> str:
    """Return the absolute path of data that a record names.

    Args:
        path: a path as in the record, without ``SOURCE:``.
        folder: folder of the artifact that holds the record; None: only the current folder counts.

    Raises:
        DataError: there is nothing there, or several places are possible.
    """
    if is_remote(path):
        return path
    expanded = os.path.expanduser(path)
    if os.path.isabs(expanded):
        if not data_exists(Path(expanded)):
            raise DataError(f"{path}: no such file or folder")
        return expanded
    artifact = None if folder is None else Path(os.path.abspath(folder))
    above = [] if artifact is None else [artifact, *artifact.parents]
    places = [os.path.join(base, expanded) for base in (*above, Path.cwd()) if base != base.parent]
    existing = {os.path.realpath(place): place for place in places if data_exists(Path(place))}
    if len(existing) > 1:
        raise DataError(f"{path}: can be {' or '.join(existing.values())}; pass one of them")
    if not existing:
        looked = f"the folders above {folder} and in " if folder is not None else ""
        raise DataError(f"{path}: no such file or folder in {looked}{Path.cwd()}")
    return next(iter(existing.values()))


def same_place(ours: str | None, theirs: str | None, *folders: str | Path | None) -> bool:
    """Return whether two records name the same data.

    Args:
        ours: the data of one record, or None.
        theirs: that of the other.
        folders: folders of their artifacts, in this order; missing ones are None.
    """
    if ours is None or theirs is None:
        return False
    near = (*folders, None, None)
    first, second = (os.path.realpath(resolved(text, folder)) for text, folder in zip((ours, theirs), near))
    return first == second


def resolved(text: str, folder: str | Path | None) -> str:
    """Return the absolute place that a record names, or its text if there is nothing, or if it is not a path."""
    name, path = _split(text)
    if is_remote(path):
        return name + shown_url(path)
    if name and not any(plugin.entry.tags for plugin in registry().named("source", name[:-1])):
        return text  # the source reads no files
    try:
        return name + locate(path, folder)
    except DataError:
        return text


def _split(text: str) -> tuple[str, str]:
    """Split ``SOURCE:/a/path`` into ``SOURCE:`` and the path, or the URL."""
    if is_remote(text):
        return "", text
    name, colon, path = text.partition(":")
    return (name + colon, path) if colon and os.sep not in name else ("", text)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None
