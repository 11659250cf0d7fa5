"""Derive groups of samples, which stay in one part of a split, from their ids."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import regex

from aekit.errors import DataError, RecipeError

MATCHING_SECONDS = 30
"""Most seconds that a regular expression may take for all ids."""


def groups_from_ids(ids: Sequence[str], pattern: str) -> np.ndarray:
    """Derive the group of each sample from its id.

    Args:
        ids: (N,) ids.
        pattern: a regular expression, such as ``^[^/]+`` for the folder of a file. The group is what its first parenthesis
            matches, or the whole match.

    Returns:
        (N,) groups.

    Raises:
        RecipeError: not a regular expression, or one that takes too long, as ``(a+)+$`` may.
        DataError: no match in an id.
    """
    try:
        expression = regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise RecipeError([f"groups = {pattern!r}: not a regular expression ({error})"]) from None
    matches, end = [], time.monotonic() + MATCHING_SECONDS
    for name in ids:
        try:
            matches.append(expression.search(name, timeout=max(end - time.monotonic(), 1e-3)))
        except TimeoutError:
            advice = "write it without repetitions inside of repetitions, such as (a+)+"
            raise RecipeError([f"groups = {pattern!r}: takes more than {MATCHING_SECONDS} s; {advice}"]) from None
    if None in matches:
        raise DataError(f"groups = {pattern!r}: no match in {ids[matches.index(None)]!r}")
    return np.array([match[1 if expression.groups else 0] or "" for match in matches if match is not None])
