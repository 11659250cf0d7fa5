"""Keep samples together that must stay together in a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aekit.data.labels import align_labels
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError
from aekit.evaluation.checks.leakage import equal_rows
from aekit.evaluation.model_selection import assign_folds
from aekit.progress import Progress


def sample_groups(embeddings: Embeddings, groups: Sequence[Any] | np.ndarray | None, progress: Progress) -> np.ndarray:
    """Return (N,) group numbers: samples with equal embeddings stay together, and so do the samples of a group.

    Args:
        embeddings: of N samples.
        groups: (N,) group of each sample, such as the patient; None: the recording or video that samples are windows of.
        progress: receives a line on recordings that stay together.

    Raises:
        DataError: a wrong number of groups.
    """
    equal = equal_rows(np.asarray(embeddings.vectors, np.float32))
    if groups is None:
        groups = _recordings(embeddings, progress)
    else:
        groups = align_labels(groups, embeddings.ids)
        if np.shape(groups) != (len(embeddings),):
            raise DataError(f"groups of shape {np.shape(groups)} for {len(embeddings)} embeddings: expected one each")
    if groups is None:
        return equal
    names = np.asarray(groups)
    members = np.unique(names.astype(str) if names.dtype.kind == "O" else names, return_inverse=True)[1]
    count = int(members.max()) + 1
    size = count + int(equal.max()) + 1
    links = coo_array((np.ones(len(equal), np.int8), (members, count + equal)), shape=(size, size))
    return connected_components(links, directed=False)[1][members]


def assign_unit_folds(units: np.ndarray, strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return (N,) fold numbers as `assign_folds` draws them, where the samples of a unit stay together.

    Args:
        units: (N,) unit of each sample, whose stratum is that of its first sample.
        strata: (N,) stratum of each sample.
        folds: number of folds; fewer, if there are fewer units.
        seed: seed of the folds.
    """
    first, unit = np.unique(units, return_index=True, return_inverse=True)[1:]
    return assign_folds(strata[first], len(first), min(folds, len(first)), seed)[unit]


def others_of_class(codes: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return (N,) how many samples of other folds have the class number of each sample."""
    in_fold = np.zeros((codes.max() + 1, folds.max() + 1), np.intp)
    np.add.at(in_fold, (codes, folds), 1)
    return (in_fold.sum(1, keepdims=True) - in_fold)[codes, folds]


def _recordings(embeddings: Embeddings, progress: Progress) -> np.ndarray | None:
    located = embeddings.source()
    if located is None or located[0].segment_starts is None:
        return None
    source, positions = located
    assert source.segment_starts is not None
    recordings = source.segment_starts[positions, 0]
    count = len(np.unique(recordings))
    if count < 2:
        return None
    progress.say(f"the windows of each of {count:,} recordings stay in one fold")
    return recordings
