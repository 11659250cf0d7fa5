"""Choose a setting without the test part: on the validation part, or by cross-validation over train and validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aekit.evaluation.results import Split

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Rows to fit on and rows to score on -> (S,) scores of the candidate settings, higher is better."""


@dataclass(frozen=True)
class Selection:
    """A setting that was chosen.

    Attributes:
        best: position of the best setting; the first of equally good ones.
        scores: (S,) mean scores.
        selected_on: the data that it was chosen on, in words.
    """

    best: int
    scores: np.ndarray
    selected_on: str


def select_setting(
    scorer: Scorer, split: Split, strata: np.ndarray | None, *, folds: int = 0, seed: int = 0
) -> Selection:
    """Score settings on samples that they were not fitted on, and choose the best.

    Args:
        scorer: fits all settings on some rows, and scores them on others.
        split: split whose test part is not used.
        strata: (N,) classes by which the folds are stratified, or None.
        folds: number of folds of a cross-validation over train and validation; 0: fit on train, score on validation.
        seed: seed of the folds.
    """
    if not folds:
        scores = scorer(split.train, split.validation)
        return Selection(int(scores.argmax()), scores, "validation")
    pool = np.concatenate([split.train, split.validation])
    if split.groups is None:
        numbers = assign_folds(None if strata is None else strata[pool], len(pool), folds, seed)
    else:
        names, member = np.unique(split.groups[pool], return_inverse=True)
        numbers = assign_folds(None, len(names), folds, seed)[member]
    parts = [(pool[numbers != fold], pool[numbers == fold]) for fold in range(folds)]
    parts = [(fitted, held_out) for fitted, held_out in parts if len(fitted) and len(held_out)]
    counts = np.array([len(held_out) for _, held_out in parts], float)
    scores = counts @ np.stack([scorer(fitted, held_out) for fitted, held_out in parts]) / counts.sum()
    return Selection(int(scores.argmax()), scores, f"{folds}-fold cross-validation of train and validation")


def assign_folds(strata: np.ndarray | None, count: int, folds: int, seed: int) -> np.ndarray:
    """Return (N,) fold numbers drawn by `seed`, with equal numbers of samples and of each stratum in every fold."""
    order = np.random.default_rng(seed).permutation(count)
    if strata is not None:
        order = order[np.argsort(np.unique(strata, return_inverse=True)[1][order], kind="stable")]
    numbers = np.empty(count, np.intp)
    numbers[order] = np.arange(count) % folds
    return numbers
