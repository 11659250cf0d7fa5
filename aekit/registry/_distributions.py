"""Find installed distributions with entry points, without reading more of their metadata than a name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path

from aekit.errors import PluginError
from aekit.version import __version__

GROUP = "aekit"
"""Group of the entry points of plugins, and name of the distribution with the built-in ones."""
BUILT_IN = "aekit_plugins"
"""Module of the built-in plugins, as the metadata of the distribution names it."""


class _OwnFiles(Distribution):
    """aekit where only its files are on the path, as in a checkout or an archive: no installer has written its metadata."""

    def read_text(self, filename: str) -> str | None:
        metadata = f"Metadata-Version: 2.1\nName: {GROUP}\nVersion: {__version__}\n"
        return {"METADATA": metadata, "entry_points.txt": f"[{GROUP}]\nbuiltin = {BUILT_IN}\n"}.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path(__file__).parents[2] / path


def entry_points_of(copies: Mapping[str, list[Distribution]]) -> list[tuple[Distribution, EntryPoint]]:
    """Return the entry points of the group in the first copy of each distribution."""
    first = [versions[0] for _, versions in sorted(copies.items())]
    return [(d, ep) for d in first for ep in d.entry_points if ep.group == GROUP]


def installed_copies() -> dict[str, list[Distribution]]:
    """Return all copies of each distribution that has entry points, in the order of the path.

    Raises:
        PluginError: neither aekit's metadata nor its plugins are on the path.
    """
    copies: dict[str, list[Distribution]] = {}
    for distribution in distributions():
        name = _name(distribution) if distribution.read_text("entry_points.txt") else None
        if name:
            copies.setdefault(name.lower().replace("_", "-"), []).append(distribution)
    if GROUP not in copies:
        uninstalled = _OwnFiles()
        if find_spec(BUILT_IN) is None:
            raise PluginError(
                f"{BUILT_IN}, the built-in plugins, are not on the path of Python, and aekit in "
                f"{uninstalled.locate_file('')} is not installed: install it (python -m pip install FOLDER)"
            )
        copies[GROUP] = [uninstalled]
    return copies


def _name(distribution: Distribution) -> str | None:
    """Return the name in the metadata, whose parsing as an e-mail takes most of the time of `aekit --help`."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    name = re.search(r"^Name:[ \t]*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return name[1] if name else distribution.metadata["Name"]
