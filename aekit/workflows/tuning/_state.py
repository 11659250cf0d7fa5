"""Keep the state that a resumed search needs: its settings, its measurements and the time spent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aekit.errors import DamagedError, OutputError
from aekit.io.atomic import holds_only
from aekit.io.manifests import check_entries, read_manifest, write_manifest
from aekit.workflows.tuning._budget import Budget
from aekit.workflows.tuning._models import ResultRecord, StateManifest

STATE = "tune.json"
FORMAT = 1


@dataclass
class SearchState:
    """The contents of ``tune.json``.

    Attributes:
        folder: folder of the search.
        settings: what the user asked for, which a later call must ask for again.
        measured: seconds that were measured, by name.
        spent: seconds that all calls took.
        result: the result, once there is one.
        facts: by which a later call recognizes the data.
    """

    folder: Path
    settings: dict[str, Any]
    measured: dict[str, float] = field(default_factory=dict)
    spent: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, budget: Budget) -> None:
        """Write it, with the time that is spent by now."""
        self.spent = budget.spent
        names = ("settings", "measured", "spent", "result", "facts")
        write_manifest(self.folder / STATE, {"format": FORMAT} | {name: getattr(self, name) for name in names})


def open_state(folder: Path, settings: dict[str, Any]) -> SearchState:
    """Open the state of a search, or begin one.

    Args:
        folder: folder of the search; the data and the settings must be those that it was begun with, the minutes may differ.
        settings: what the user asks for.

    Raises:
        OutputError: the folder holds something else, or a search with other settings.
    """
    path = folder / STATE
    if not path.exists():
        if not holds_only(folder, ("journal.log",)):
            raise OutputError(f"{folder}: is not empty; choose another folder as out (-o)")
        return SearchState(folder, settings)
    try:
        record = read_manifest(path, StateManifest, kind="search", version=FORMAT)
        if record["result"]:
            check_entries(path, record["result"], ResultRecord)
    except DamagedError as error:
        raise OutputError(f"{error}; choose another folder as out (-o)") from None
    values = (record[name] for name in ("settings", "measured", "spent", "result", "facts"))
    state = SearchState(folder, *values)
    known = json.loads(json.dumps(settings))
    changed = [
        f"{name} was {state.settings.get(name)!r}, is {known.get(name)!r}"
        for name in sorted({*known, *state.settings})
        if state.settings.get(name) != known.get(name) and (name != "minutes" or state.result)
    ]
    if changed:
        raise OutputError(f"{folder}: holds another search: {'; '.join(changed)}; choose another folder as out (-o)")
    state.settings = settings
    return state
