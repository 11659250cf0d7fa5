"""Dotted names of plugins' options, ``data.arrays.y``, as recipes and ``--set`` take them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from aekit.errors import AekitError
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import model_of_plugin

KINDS_OF_SECTIONS = {"data": ("source",), "encoder": ("backbone",), "objective": ("variant", "pretext")}
"""Section of a recipe -> kinds of the plugins whose tables of options are in it."""
LISTED_PLACES = 3
"""Maximum number of places that a message lists for a misplaced option."""


def misplaced_options(section: str, names: Iterable[str], candidates: Sequence[Plugin] | None = None) -> dict[str, str]:
    """Find the names in a section of a recipe that are options of a plugin.

    Args:
        section: name of the section.
        names: names that are no settings of the section.
        candidates: plugins to look at; None: all of the section.

    Returns:
        name -> the mistake in one line, with the places where such an option may stand.
    """
    if candidates is None:
        candidates = [plugin for kind in KINDS_OF_SECTIONS.get(section, ()) for plugin in registry().by_kind(kind)]
    problems = {}
    for name in names:
        places = [f"{section}.{plugin.name}.{name}" for plugin in candidates if _has_option(plugin, name)]
        if places:
            more = " ..." if len(places) > LISTED_PLACES else ""
            listed = " or ".join(places[:LISTED_PLACES])
            problems[name] = f"{section}.{name}: no such option; did you mean {listed}{more}?"
    return problems


def with_places(line: str, section: str, plugin: Plugin) -> str:
    """Complete the names of a plugin's options in a line: ``y = 'a'`` becomes ``data.arrays.y = 'a'``."""

    def complete(match: re.Match[str]) -> str:
        known, name = model_of_plugin(plugin).model_fields, match["name"]
        if name == "y" and name not in known:
            name = "label"  # as sources of records call what the reader of tables calls y
        place = f"{section}.{plugin.name}.{name}"
        return match[0].replace(match["name"], place, 1) if name in known else match[0]

    return _ASSIGNMENT.sub(complete, line)


_QUOTED = r"(?<!\w)'[^']*'|(?<!\w)\"[^\"]*\""
_ASSIGNMENT = re.compile(rf"{_QUOTED}|(?<![\w.])(?P<name>[a-z_]+) = (?=\S)")
"""Text from data in quotes, which stays as it is, or the name of an option."""


def _has_option(plugin: Plugin, option: str) -> bool:
    try:
        return option in model_of_plugin(plugin).model_fields
    except (AekitError, TypeError, NameError):  # a broken plugin says so where it is used
        return False
