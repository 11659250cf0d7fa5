"""Samples that stand in more than one part of a split, or several times in one: what makes figures better than they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aekit.evaluation.neighbors import nearest_neighbors
from aekit.evaluation.results import CheckResult, Split

SEARCHED = 5000
"""Test samples whose nearest training sample is looked for, and training samples that tell what is usual."""
NEAR_DISTANCE = 0.1
"""Share of the usual distance to the nearest below which two samples are near duplicates."""
RARE = 1e-4
"""Chance at which so near a neighbor may be luck; in few dimensions the share is cut until it is no larger."""
NOTICED = 0.01
"""Share of the test part above which duplicates are a warning."""
SHOWN = 20


def find_leakage(
    vectors: np.ndarray,
    split: Split,
    *,
    stamps: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> CheckResult:
    """Exact duplicates by the content of the samples, near ones by their embeddings, within and between the parts.

    Args:
        vectors: (N, D) embeddings.
        split: positions into them.
        stamps: (N,) hashes of the raw samples; None: of the embeddings.
        ids: (N,) names for the table of pairs.
        labels: (N,) classes, to count duplicates that have another label.
        seed: of which samples are searched, where there are many.

    Returns:
        ``equal_in_train``, ``equal_in_test``, samples that stand there more than once; ``test_in_train``, test samples that
        equal one of train or validation; ``near_in_train``, the share of the test samples that were searched whose nearest
        is a tenth as far as is usual, or less.
    """
    seen = np.concatenate([split.train, split.validation])
    figures: dict[str, float] = {}
    warnings: list[str] = []
    notes: list[str] = []
    shared = np.intersect1d(split.test, seen)
    if len(shared):
        warnings.append(_said(len(shared), len(split.test), "are training or validation samples themselves"))
    if split.groups is not None and (both := np.intersect1d(split.groups[split.test], split.groups[seen])).size:
        warnings.append(
            f"{len(both):,} groups have samples in the test part and in the others: they do not stay together in this split"
        )
    hashes = _row_hashes(vectors) if stamps is None else np.unique(np.asarray(stamps), return_inverse=True)[1]
    counts = np.bincount(hashes)
    table: list[dict[str, Any]] = []
    if stamps is None and counts.max() > 0.5 * len(hashes):
        notes.append("duplicates were not counted: more than half of the embeddings are the same")
        return CheckResult(figures, warnings, notes)
    figures["equal_in_train"] = float(_repeated(hashes[seen]))
    figures["equal_in_test"] = float(_repeated(hashes[split.test]))
    known = np.isin(hashes[split.test], hashes[seen]) & ~np.isin(split.test, shared)
    equal = split.test[known]
    figures["test_in_train"] = float(len(equal))
    if len(equal):
        order = np.argsort(hashes[seen], kind="stable")
        other = seen[order[np.searchsorted(hashes[seen][order], hashes[equal])]]
        what = "equal a training or validation sample"
        if labels is not None and (differ := int((labels[equal] != labels[other]).sum())):
            what += f", {differ:,} of them with another label"
        said = _said(len(equal), len(split.test), what)
        (warnings if len(equal) >= NOTICED * len(split.test) else notes).append(said)
        table += [_pair("equal", a, b, ids, 0.0) for a, b in zip(equal[:SHOWN].tolist(), other[:SHOWN].tolist())]
    if repeats := int(figures["equal_in_train"]):
        notes.append(f"{repeats:,} of {len(seen):,} training and validation samples are there more than once")
    rest = np.setdiff1d(split.test, np.concatenate([equal, shared]))
    if len(rest) and len(seen) > 2:
        near, found = _near(vectors, rest, seen, seed)
        figures["near_in_train"] = float(near.mean()) if len(near) else 0.0
        table += [_pair("near", a, b, ids, share) for a, b, share in found[:SHOWN]]
        if near.any():
            of = len(near)
            said = (
                f"{int(near.sum()):,} of {of:,} test samples lie next to a training sample, a tenth as far as is usual"
            )
            bad = near.mean() >= NOTICED
            said += ": near duplicates, or an encoder that cannot tell them apart" if bad else ""
            (warnings if bad else notes).append(said)
    return CheckResult(figures, warnings, notes, table)


def _near(
    vectors: np.ndarray, rest: np.ndarray, seen: np.ndarray, seed: int
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Which of some test samples are near duplicates of training samples, and the pairs with their share of the usual."""
    generator = np.random.default_rng(seed)
    asked, usual = (
        part if len(part) <= SEARCHED else np.sort(generator.choice(part, SEARCHED, replace=False))
        for part in (rest, seen)
    )
    own, _ = nearest_neighbors(vectors[usual], vectors[seen], 2, metric="l2")
    typical = float(np.median(np.sqrt(-own[:, 1])))
    if typical <= 0:
        return np.zeros(len(asked), bool), []
    _, at = nearest_neighbors(vectors[asked], vectors[seen], 1, metric="l2")
    gaps = np.linalg.norm(vectors[asked].astype(np.float64) - vectors[seen[at[:, 0]]], axis=1)
    # In D dimensions a share r of the usual distance has a chance of about r ** D.
    width = max(1.0, _dimensions(vectors[usual]))
    shares = gaps / typical
    near = shares < min(NEAR_DISTANCE, RARE ** (1 / width))
    pairs = [(int(asked[i]), int(seen[at[i, 0]]), float(shares[i])) for i in np.flatnonzero(near)]
    return near, sorted(pairs, key=lambda pair: pair[2])


def _dimensions(rows: np.ndarray) -> float:
    """About how many directions (N, D) embeddings use: the participation ratio of their variances."""
    centerd = rows - rows.mean(axis=0, dtype=np.float64)
    product = centerd.T @ centerd
    return float(np.trace(product) ** 2 / max(float(np.square(product).sum()), 1e-300))


def _row_hashes(vectors: np.ndarray) -> np.ndarray:
    """(N,) numbers, alike for equal rows."""
    rows = np.ascontiguousarray(vectors)
    return np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel(), return_inverse=True)[
        1
    ]


def _repeated(hashes: np.ndarray) -> int:
    _, member, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return int((counts[member] > 1).sum())


def _pair(kind: str, test: int, train: int, ids: Sequence[str] | None, share: float) -> dict[str, Any]:
    names = (str(test), str(train)) if ids is None else (ids[test], ids[train])
    return {"pair": kind, "test sample": names[0], "training sample": names[1], "share of usual distance": share}


def _said(count: int, of: int, what: str) -> str:
    return f"{count:,} of {of:,} test samples ({100 * count / of:.1f} %) {what}: figures on them say little"
