"""Find mistakes in hook modules, which would be ignored in silence or fail where nobody expects it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pluggy

from aekit.errors import closest_name, printable


def misspelled_hooks(manager: pluggy.PluginManager, module: Any, known: Collection[str]) -> list[str]:
    """Describe functions that look like hooks but have no hook's name, and would be silently ignored."""
    return [
        f"{name} is not a hook{closest_name(name, known)}"
        for name in sorted(vars(module))
        if name not in known
        and callable(getattr(module, name))
        and (name.startswith("aekit_") or is_marked(manager, module, name))
    ]


def unmarked_hooks(manager: pluggy.PluginManager, module: Any, known: Collection[str]) -> list[str]:
    """Describe functions of a hook's name without the decorator, which would be silently ignored."""
    return [
        f"{name} is not registered: decorate it with @aekit.plugin.hookimpl"
        for name in sorted(vars(module))
        if name in known and callable(getattr(module, name)) and not is_marked(manager, module, name)
    ]


def is_marked(manager: pluggy.PluginManager, module: Any, name: str) -> bool:
    """Return whether a module has a function of this name that is decorated as a hook."""
    return hasattr(module, name) and manager.parse_hookimpl_opts(module, name) is not None


def entry_problem(entry: Any) -> str:
    """Return what is wrong with the values of an entry, or ""."""
    for name in ("name", "target", "summary"):
        value = getattr(entry, name)
        if not isinstance(value, str) or not value:
            return f"{name} = {printable(repr(value))}: expected text"
    module, colon, attribute = entry.target.partition(":")
    if not (module and colon and attribute):
        return f"target = {printable(repr(entry.target))}: expected 'package.module:attribute'"
    if not isinstance(entry.api, int):
        return f"api = {printable(repr(entry.api))}: expected a whole number, such as 2"
    if isinstance(entry.tags, str) or not all(isinstance(tag, str) for tag in entry.tags):
        return f"tags = {printable(repr(entry.tags))}: expected a tuple of texts, such as ('vector',)"
    return ""
