"""Find installed distributions with entry points, without reading more of their metadata than a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint, distributions

GROUP = "aekit"
"""Group of the entry points of plugins, and name of the distribution with the built-in ones."""


def entry_points_of(copies: Mapping[str, list[Distribution]]) -> list[tuple[Distribution, EntryPoint]]:
    """Return the entry points of the group in the first copy of each distribution."""
    first = [versions[0] for _, versions in sorted(copies.items())]
    return [(d, ep) for d in first for ep in d.entry_points if ep.group == GROUP]


def installed_copies() -> dict[str, list[Distribution]]:
    """Return all copies of each distribution that has entry points, in the order of the path."""
    copies: dict[str, list[Distribution]] = {}
    for distribution in distributions():
        name = _name(distribution) if distribution.read_text("entry_points.txt") else None
        if name:
            copies.setdefault(name.lower().replace("_", "-"), []).append(distribution)
    return copies


def _name(distribution: Distribution) -> str | None:
    """Return the name in the metadata, whose parsing as an e-mail takes most of the time of `aekit --help`."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    name = re.search(r"^Name:[ \t]*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return name[1] if name else distribution.metadata["Name"]
