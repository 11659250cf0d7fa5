"""Check what an engine of another distribution finds, so that a wrong answer is told in one line and not passed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit.errors import PluginError, printable
from aekit.index.engine import repeats_a_row
from aekit.registry.discovery import GROUP

ROUNDING = 1e-3
"""Fraction of the range of the scores by which approximate ones may be out of order."""


def check_found(answer: Any, count: int, k: int, manifest: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and rows that an engine found.

    Args:
        answer: what its search returned.
        count: Q, number of queries.
        k: neighbors that were asked for.
        manifest: of the index; an engine of aekit is not checked.

    Raises:
        PluginError: it is no pair of arrays (Q, k), rows are no integers, or scores are NaN or not best first.
    """
    if manifest["engine"]["distribution"] == GROUP:
        return answer
    problem = _problem(answer, count, k, manifest["metric"] == "l2")
    if problem:
        raise PluginError(f"{_described(manifest)}: {problem}")
    return answer


def check_saved(settings: Any, path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that an engine returned when it was saved.

    Raises:
        PluginError: they are no plain values by name, or it has written no file.
    """
    name = _described(manifest)
    if not path.is_file():
        raise PluginError(f"{name}: save() wrote no file at the path that it was given")
    try:
        plain = isinstance(settings, dict) and json.loads(json.dumps(settings)) == settings
    except (TypeError, ValueError):
        plain = False
    if not plain:
        raise PluginError(f"{name}: save() returned {printable(repr(settings))}: expected a dict of plain settings")
    return settings


def _described(manifest: Mapping[str, Any]) -> str:
    record = manifest["engine"]
    return f"index {record['name']!r} of {record['distribution']} {record['version']}"


def _problem(answer: Any, count: int, k: int, ascending: bool) -> str:
    if not isinstance(answer, tuple) or len(answer) != 2:
        return f"search() returned {type(answer).__name__}: expected scores ({count}, {k}) and rows ({count}, {k})"
    for name, array in zip(("scores", "rows"), answer):
        if not isinstance(array, np.ndarray) or array.shape != (count, k):
            shown = f"an array {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            return f"search() returned {name} as {shown}: expected an array ({count}, {k})"
    scores, rows = answer
    if not np.issubdtype(rows.dtype, np.integer):
        return f"search() returned rows of {rows.dtype}: expected integers"
    valid = rows >= 0
    if np.isnan(scores[valid]).any():
        return "search() returned NaN as a score"
    if repeats_a_row(rows):
        return "search() returned a row twice for one query"
    steps = np.diff(scores, axis=1) * (1 if ascending else -1)
    both = valid[:, 1:] & valid[:, :-1]
    if both.any() and steps[both].min() < -ROUNDING * np.ptp(scores[valid]):
        return f"search() returned scores that are not best first, {'the smallest' if ascending else 'the largest'}"
    return ""
