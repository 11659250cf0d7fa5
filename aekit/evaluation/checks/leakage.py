"""Search for duplicates within and between the parts of a split, which make metrics too good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aekit.evaluation.neighbors import nearest_neighbors
from aekit.evaluation.results import CheckResult, Split

MAX_SEARCHED = 5000
"""Test samples whose nearest training sample is searched, and training samples that give the typical distance."""
NEAR_DISTANCE = 0.1
"""Fraction of the typical distance to the nearest neighbor below which two samples are near duplicates."""
CHANCE = 1e-4
"""Largest probability of so near a neighbor by chance; in few dimensions it lowers `NEAR_DISTANCE`."""
WARNING_FRACTION = 0.01
"""Fraction of the test part above which duplicates are a warning."""
MAX_PAIRS = 20
"""Pairs of each kind in the table."""


def find_leakage(
    vectors: np.ndarray,
    split: Split,
    *,
    sample_hashes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> CheckResult:
    """Search for exact duplicates by the content of the samples, and for near duplicates by their embeddings.

    Args:
        vectors: (N, D) embeddings.
        split: positions in the embeddings.
        sample_hashes: (N,) hashes of the raw samples; None: compare the embeddings.
        ids: (N,) ids for the table of pairs.
        labels: (N,) classes, to count duplicates with another label.
        seed: seed of the samples that are searched, if there are many.

    Returns:
        ``equal_in_train`` and ``equal_in_test``, samples that occur more than once there; ``test_in_train``, test samples equal
        to a training or validation sample; ``near_in_train``, the fraction of the searched test samples whose nearest training
        sample is at most a tenth of the typical distance away.
    """
    if sample_hashes is None:
        hashes = equal_rows(vectors)
    else:
        hashes = np.unique(np.asarray(sample_hashes), return_inverse=True)[1]
    leaks = _Leaks(split, ids, labels)
    leaks.add_shared()
    if sample_hashes is None and np.bincount(hashes).max() > 0.5 * len(hashes):
        leaks.notes.append("duplicates were not counted, as more than half of the embeddings are equal")
    else:
        leaks.add_equal(hashes)
        leaks.add_near(vectors, seed)
    return CheckResult(leaks.values, leaks.warnings, leaks.notes, leaks.table)


@dataclass
class _Leaks:
    """The samples of the test part that are in other parts too, as far as they were searched.

    Attributes:
        split: positions in the embeddings.
        ids: (N,) ids, or None.
        labels: (N,) classes, or None.
        values, warnings, notes, table: as of `CheckResult`.
        known: positions of the test samples that were found so far.
    """

    split: Split
    ids: Sequence[str] | None
    labels: np.ndarray | None
    values: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    table: list[dict[str, Any]] = field(default_factory=list)
    known: np.ndarray = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def fitted(self) -> np.ndarray:
        """Positions of the training and validation samples."""
        return np.concatenate([self.split.train, self.split.validation])

    def add_shared(self) -> None:
        """Find samples and groups that are in two parts of the split."""
        split, fitted = self.split, self.fitted
        self.known = np.intersect1d(split.test, fitted)
        if len(self.known):
            finding = "are training or validation samples themselves"
            self.warnings.append(_sentence(len(self.known), len(split.test), finding))
        if split.groups is not None and (both := np.intersect1d(split.groups[split.test], split.groups[fitted])).size:
            self.warnings.append(
                f"{len(both):,} groups have samples both in the test part and in the others: the split separates them"
            )

    def add_equal(self, hashes: np.ndarray) -> None:
        """Find samples of equal hashes (N,)."""
        test, fitted = self.split.test, self.fitted
        equal = test[np.isin(hashes[test], hashes[fitted]) & ~np.isin(test, self.known)]
        repeats = _repeated(hashes[fitted])
        self.values |= {"equal_in_train": float(repeats), "equal_in_test": float(_repeated(hashes[test]))}
        self.values["test_in_train"] = float(len(equal))
        if len(equal):
            order = np.argsort(hashes[fitted], kind="stable")
            other = fitted[order[np.searchsorted(hashes[fitted][order], hashes[equal])]]
            finding = "equal a training or validation sample"
            if self.labels is not None and (differ := int((self.labels[equal] != self.labels[other]).sum())):
                finding += f", {differ:,} of them with another label"
            is_bad = len(equal) >= WARNING_FRACTION * len(test)
            (self.warnings if is_bad else self.notes).append(_sentence(len(equal), len(test), finding))
            pairs = zip(equal[:MAX_PAIRS].tolist(), other[:MAX_PAIRS].tolist())
            self.table += [_pair("equal", a, b, self.ids, 0.0) for a, b in pairs]
        if repeats:
            self.notes.append(f"{repeats:,} of {len(fitted):,} training and validation samples occur more than once")
        self.known = np.concatenate([equal, self.known])

    def add_near(self, vectors: np.ndarray, seed: int) -> None:
        """Find the remaining test samples whose embedding, of (N, D), is near that of a training or validation sample."""
        remaining, fitted = np.setdiff1d(self.split.test, self.known), self.fitted
        if not len(remaining) or len(fitted) <= 2:
            return
        near, pairs = _near_duplicates(vectors, remaining, fitted, seed)
        self.values["near_in_train"] = float(near.mean()) if len(near) else 0.0
        self.table += [_pair("near", a, b, self.ids, fraction) for a, b, fraction in pairs[:MAX_PAIRS]]
        if near.any():
            is_bad = near.mean() >= WARNING_FRACTION
            sentence = f"{int(near.sum()):,} of {len(near):,} test samples lie next to a training sample"
            sentence += ", at a tenth of the typical distance"
            sentence += ": near duplicates, or an encoder that cannot distinguish them" if is_bad else ""
            (self.warnings if is_bad else self.notes).append(sentence)


def _near_duplicates(
    vectors: np.ndarray, tested: np.ndarray, fitted: np.ndarray, seed: int
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Return which test samples are near duplicates of training samples, and the pairs with their fraction of the distance."""
    generator = np.random.default_rng(seed)
    searched, reference = (
        part if len(part) <= MAX_SEARCHED else np.sort(generator.choice(part, MAX_SEARCHED, replace=False))
        for part in (tested, fitted)
    )
    squares, _ = nearest_neighbors(vectors[reference], vectors[fitted], 2, metric="l2")
    typical = float(np.median(np.sqrt(-squares[:, 1])))
    if typical <= 0:
        return np.zeros(len(searched), bool), []
    _, at = nearest_neighbors(vectors[searched], vectors[fitted], 1, metric="l2")
    distances = np.linalg.norm(vectors[searched].astype(np.float64) - vectors[fitted[at[:, 0]]], axis=1)
    # In D dimensions a fraction r of the typical distance has a probability of about r ** D.
    width = max(1.0, participation_ratio(vectors[reference]))
    fractions = distances / typical
    near = fractions < min(NEAR_DISTANCE, CHANCE ** (1 / width))
    pairs = [(int(searched[i]), int(fitted[at[i, 0]]), float(fractions[i])) for i in np.flatnonzero(near)]
    return near, sorted(pairs, key=lambda pair: pair[2])


def participation_ratio(rows: np.ndarray) -> float:
    """Estimate the number of directions that (N, D) embeddings use, by the participation ratio of their variances."""
    centered = rows - rows.mean(axis=0, dtype=np.float64)
    product = centered.T @ centered
    return float(np.trace(product) ** 2 / max(float(np.square(product).sum()), 1e-300))


def equal_rows(vectors: np.ndarray) -> np.ndarray:
    """Return (N,) numbers that are equal for equal rows."""
    rows = np.ascontiguousarray(vectors)
    whole = np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))
    return np.unique(rows.view(whole).ravel(), return_inverse=True)[1]


def _repeated(hashes: np.ndarray) -> int:
    _, member, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return int((counts[member] > 1).sum())


def _pair(kind: str, test: int, train: int, ids: Sequence[str] | None, fraction: float) -> dict[str, Any]:
    names = (str(test), str(train)) if ids is None else (ids[test], ids[train])
    return {
        "pair": kind,
        "test sample": names[0],
        "training sample": names[1],
        "fraction of typical distance": fraction,
    }


def _sentence(count: int, total: int, finding: str) -> str:
    return (
        f"{count:,} of {total:,} test samples ({100 * count / total:.1f}%) {finding}, so the metrics are too optimistic"
    )
