"""Ask sources whether a path is theirs, where its ending is that of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aekit.errors import PluginError, PluginWarning
from aekit.progress import warn
from aekit.registry.discovery import GROUP as BUILT_IN, Plugin


def claiming_sources(plugins: Sequence[Plugin], path: Path, looks_for: list[str]) -> list[Plugin]:
    """Return the sources that read a path by its content, and add what each looks for."""
    claiming = []
    for plugin in plugins:
        try:
            code = plugin.load()
            claims = not hasattr(code, "claims") or code.claims(path)
        except PluginError:  # reported by `aekit plugins`; another source may match
            continue
        except Exception as error:
            if plugin.distribution == BUILT_IN or isinstance(error, OSError):
                raise
            warn(f"{plugin.failure(error)}; left out", PluginWarning)
            continue
        line = f"{plugin.name} ({getattr(code, 'looks_for', plugin.entry.summary)})"
        looks_for += [line] if line not in looks_for else []
        if claims:
            claiming.append(plugin)
    return claiming
