"""How a setting is chosen without the test part: on the validation part, or by cross-validation within what may be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aekit.evaluation.results import Split

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Rows to fit on and rows to judge on -> (S,) scores of the settings that are tried, higher for better."""


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        best: position of the best setting; of equals the first.
        scores: (S,) mean scores.
        on: what it was chosen on, in words.
    """

    best: int
    scores: np.ndarray
    selected_on: str


def select_setting(
    judge: Scorer, split: Split, strata: np.ndarray | None, *, folds: int = 0, seed: int = 0
) -> Selection:
    """Tries settings on samples that they were not fitted on.

    Args:
        judge: fits all settings on some rows, and scores them on others.
        split: its test part is left alone.
        strata: (N,) classes that every fold gets its share of, or None.
        folds: of a cross-validation over train and validation; 0: fitted on train, judged on validation.
        seed: of the folds.
    """
    if not folds:
        scores = judge(split.train, split.validation)
        return Selection(int(scores.argmax()), scores, "validation")
    seen = np.concatenate([split.train, split.validation])
    if split.groups is None:
        numbers = assign_folds(None if strata is None else strata[seen], len(seen), folds, seed)
    else:
        names, member = np.unique(split.groups[seen], return_inverse=True)
        numbers = assign_folds(None, len(names), folds, seed)[member]
    parts = [(seen[numbers != fold], seen[numbers == fold]) for fold in range(folds)]
    parts = [(own, held) for own, held in parts if len(own) and len(held)]
    counts = np.array([len(held) for _, held in parts], float)
    scores = counts @ np.stack([judge(own, held) for own, held in parts]) / counts.sum()
    return Selection(int(scores.argmax()), scores, f"{folds}-fold cross-validation of train and validation")


def assign_folds(strata: np.ndarray | None, count: int, folds: int, seed: int) -> np.ndarray:
    """(N,) numbers 0 to `folds` - 1 drawn by `seed`: as many samples in each, and of every stratum as nearly as many."""
    order = np.random.default_rng(seed).permutation(count)
    if strata is not None:
        order = order[np.argsort(np.unique(strata, return_inverse=True)[1][order], kind="stable")]
    numbers = np.empty(count, np.intp)
    numbers[order] = np.arange(count) % folds
    return numbers
