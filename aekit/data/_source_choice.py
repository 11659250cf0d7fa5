"""Choose the source that opens a file or a folder, by its ending and its content."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aekit._arguments import expand_path
from aekit.data._unread_formats import ADVICE
from aekit.data.readers.folders import list_files
from aekit.data.readers.shards import expand_range
from aekit.data.readers.table_folders import advise_on_tables
from aekit.errors import DataError, PluginError, PluginWarning
from aekit.io.remote import local_copy
from aekit.io.remote_urls import is_remote, shown_url
from aekit.progress import warn
from aekit.registry.discovery import GROUP as BUILT_IN, Plugin, registry

Options = Mapping[str, Mapping[str, Any]]
"""Options of sources, by the source's name."""


def choose_source(path: Path, options: Options) -> tuple[Plugin, str]:
    """Return the source for a path: by its ending (or ``folder``), and if several match, by the content.

    Returns:
        the source, and a line on files in a folder that it leaves out and another source would read, or "".

    Raises:
        DataError: no source reads it, or several do.
    """
    plugins = registry().by_kind("source")
    matching = [plugin for plugin in plugins if _handles(plugin, path)]
    if not matching:
        raise _unknown_ending(path, sorted({tag for plugin in plugins for tag in plugin.entry.tags} - {"folder"}))
    if len(matching) == 1:
        return matching[0], ""
    named = [plugin for plugin in matching if {plugin.name, plugin.qualified} & set(options)]
    claiming: list[Plugin] = []
    looks_for: list[str] = []
    # Built-in sources win, so that installing a plugin does not change how files are read.
    built_in = [plugin for plugin in matching if plugin.distribution == BUILT_IN]
    for candidates in (named, built_in, [plugin for plugin in matching if plugin not in built_in]):
        claiming = claiming or _claiming_sources(candidates, path, looks_for)
    if len(claiming) > 1 and path.is_dir() and (of_most := _of_most_files(claiming, path)):
        return of_most
    if len(claiming) > 1:
        choices = " or ".join(f"{plugin.name}:{path}" for plugin in claiming)
        raise DataError(f"{path}: can be opened by {len(claiming)} sources; write {choices}")
    if not claiming:
        what = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "no samples"
        counts = Counter(reason for _, reason in list_files(path, ())) if path.is_dir() else Counter[str]()
        kinds = f"; found {', '.join(f'{n} {kind}' for kind, n in counts.most_common(5))}" if counts else ""
        known = (ADVICE[kind] for kind, _ in counts.most_common() if kind in ADVICE)
        if path.is_dir() and (advice := advise_on_tables(path) or next(known, "")):
            raise DataError(f"{path}: {what}{kinds}; {advice}")
        raise DataError(f"{path}: {what}; looked for {', '.join(looks_for)}{kinds}")
    return claiming[0], ""


def _of_most_files(claiming: Sequence[Plugin], path: Path) -> tuple[Plugin, str] | None:
    """Return the source that reads most of the files, the first of equal ones, and a line on the others; None if unknown.

    A telephone puts photographs and videos into one folder, a camera sound beside videos.
    """
    endings = [_trait(plugin.load(), "endings", None) for plugin in claiming]
    if None in endings:
        return None
    counts = [sum(not reason for _, reason in list_files(path, of_one)) for of_one in endings]
    best = max(range(len(claiming)), key=counts.__getitem__)
    others = [
        f"{counts[number]:,} other files are left out, which {plugin.name}:{path} opens"
        for number, plugin in enumerate(claiming)
        if number != best
    ]
    return claiming[best], "; ".join(others)


def _unknown_ending(path: Path, known: Sequence[str]) -> DataError:
    what = f"files ending in {path.suffix!r}" if path.suffix else "files without an ending"
    if advice := ADVICE.get(path.suffix.lower()):
        return DataError(f"{path}: no source reads {what}; {advice}")
    what = "folders" if path.is_dir() else what
    near = difflib.get_close_matches(path.suffix.lower(), known, n=1, cutoff=0.8)
    choices = f"did you mean {near[0]!r}?" if near else f"if it is a table of text, open arrays:{path}"
    return DataError(f"{path}: no source reads {what}; {choices}")


def _claiming_sources(plugins: Sequence[Plugin], path: Path, looks_for: list[str]) -> list[Plugin]:
    """Return the sources that read a path by its content, and add what each looks for.

    Sources that recognize exactly this content win over those that take any such file.
    """
    claiming, specific = [], []
    for plugin in plugins:
        try:
            code = plugin.load()
            claim = _trait(code, "claims", None)
            claims = claim is None or claim(path)
        except PluginError:  # reported by `aekit plugins`; another source may match
            continue
        except Exception as error:
            if plugin.distribution == BUILT_IN or isinstance(error, OSError):
                raise
            warn(f"{plugin.failure(error)}; left out", PluginWarning)
            continue
        line = f"{plugin.name} ({_trait(code, 'looks_for', plugin.entry.summary)})"
        looks_for += [line] if line not in looks_for else []
        if claims:
            claiming.append(plugin)
            specific += [plugin] if _trait(code, "specific", False) else []
    return specific or claiming


def _trait(code: Any, name: str, default: Any) -> Any:
    """Return an attribute of a source: of its class, or of the module of its function."""
    module = sys.modules.get(getattr(code, "__module__", ""))
    return getattr(code, name, default) if inspect.isclass(code) else getattr(module, name, default)


def place_of_data(text: str, base: Path | None) -> tuple[str, str]:
    """Return the absolute path of data, whether it exists or not, and the name of the place in records.

    Args:
        text: path, or URL of a file, a folder, or files of a pattern such as ``s3://bucket/train-{000..003}.tar``.
        base: folder that a relative path starts from; None: the current folder.

    Raises:
        DataError: there is nothing at the URL, or it cannot be read.
    """
    if not is_remote(text):
        path = os.path.abspath((base or Path()) / text)
        if not data_exists(Path(path)):  # else its name may hold $ or ~
            # Unlike `Path.expanduser`, it leaves names such as ~$table.xlsx as they are.
            path = os.path.abspath((base or Path()) / expand_path(text))
        return path, path
    folder, _, pattern = text.rpartition("/")
    names = [path.name for path in expand_range(Path(pattern))]
    return str(local_copy(folder + "/", names) / pattern if names else local_copy(text)), shown_url(text)


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
    if path.is_symlink():
        return DataError(f"{path}: is a link to {os.readlink(path)}, which does not exist or leads back to itself")
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "expected a folder, a file or SOURCE:NAME"
    return DataError(f"{path}: no such file or folder; {hint}")
