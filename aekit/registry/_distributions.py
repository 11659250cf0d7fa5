"""List installed distributions that have entry points, without parsing their metadata."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions


def distribution_copies() -> dict[str, list[Distribution]]:
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
