"""Choose the source that opens a file or a folder, by its ending and its content."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.data.readers.shards import expand_range
from aekit.errors import DataError, PluginError
from aekit.registry.discovery import Plugin, registry

Options = Mapping[str, Mapping[str, Any]]
"""Options of sources, by the source's name."""


def choose_source(path: Path, options: Options) -> Plugin:
    """Return the source for a path: by its ending (or ``folder``), and if several match, by the content."""
    plugins = registry().by_kind("source")
    matching = [plugin for plugin in plugins if _handles(plugin, path)]
    if not matching:
        known = sorted({tag for plugin in plugins for tag in plugin.entry.tags} - {"folder"})
        what = f"files ending in {path.suffix!r}" if path.suffix else "files without an ending"
        raise DataError(
            f"{path}: no source reads {'folders' if path.is_dir() else what}; available: {', '.join(known)}"
        )
    if len(matching) == 1:
        return matching[0]
    claiming, looks_for = [], []
    specific: set[str] = set()  # sources that recognize exactly this content win over those that take any such file
    for plugin in matching:
        try:
            code = plugin.load()
        except PluginError:  # reported by `aekit plugins`; another source may match
            continue
        looks_for.append(f"{plugin.name} ({_trait(code, 'looks_for', plugin.entry.summary)})")
        claims = _trait(code, "claims", None)
        if claims is None or claims(path):
            claiming.append(plugin)
            specific |= {plugin.name} if _trait(code, "specific", False) else set()
    if len(claiming) > 1 and specific:
        claiming = [plugin for plugin in claiming if plugin.name in specific]
    if len(claiming) > 1:
        claiming = [plugin for plugin in claiming if plugin.name in options] or claiming
    if len(claiming) > 1:
        choices = " or ".join(f"{plugin.name}:{path}" for plugin in claiming)
        raise DataError(f"{path}: can be opened by {len(claiming)} sources; write {choices}")
    if not claiming:
        what = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "no samples"
        raise DataError(f"{path}: {what}; looked for {', '.join(looks_for)}")
    return claiming[0]


def _trait(code: Any, name: str, default: Any) -> Any:
    """Return an attribute of a source: of its class, or of the module of its function."""
    module = sys.modules.get(getattr(code, "__module__", ""))
    return getattr(code, name, default) if inspect.isclass(code) else getattr(module, name, default)


def data_exists(path: Path) -> bool:
    """Return whether a path exists, or files of a pattern such as ``train-{000..003}.tar``."""
    return os.path.exists(path) or any(map(os.path.exists, expand_range(path)))


def _handles(plugin: Plugin, path: Path) -> bool:
    name = path.name.lower()
    return any(name.endswith(tag) if tag != "folder" else path.is_dir() for tag in plugin.entry.tags)


def missing_data(path: Path) -> DataError:
    """Return the error for a path where nothing is, with names that are close to it."""
    if not path.parent.is_dir():
        return DataError(f"{path}: no such file or folder; {path.parent} does not exist")
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "expected a folder, a file or SOURCE:NAME"
    return DataError(f"{path}: no such file or folder; {hint}")
