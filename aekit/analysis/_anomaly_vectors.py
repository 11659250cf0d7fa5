"""Score vectors by their own values, without the network: by their neighbors and by the tails of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import Samples
from aekit.data.source import Source, read_valid
from aekit.encoder.preprocessing import Preprocess
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.evaluation.splits import evenly_spaced

NEIGHBORS, MANY_NEIGHBORS = 5, 50
MAX_REFERENCE = 10_000
"""Most reference samples that are stored for the distance to the nearest."""
STORED_VALUES = 2**24
"""Most values of reference samples that are stored: fewer samples of wide vectors."""
EQUAL = 1e-4
"""Largest distance per dimension, in standard deviations, of two samples that count as equal."""
RAW_SCORES = (f"raw-neighbors-{NEIGHBORS}", f"raw-neighbors-{MANY_NEIGHBORS}", "raw-tails")
NORMAL_WEIGHTS = {"reconstruction": 1.0, f"raw-neighbors-{NEIGHBORS}": 5.0, "raw-tails": 2.0}
"""Weights of the surprisals in ``combined`` if the reference samples are normal; see recipes/anomaly."""
CONTAMINATED_WEIGHTS = {f"raw-neighbors-{MANY_NEIGHBORS}": 1.0, "raw-tails": 1.0}
"""The same if anomalies may be among the reference samples: the network reconstructs those too, and they are neighbors of each
other."""
CONTAMINATED = (
    "all samples scored are among the reference samples, so anomalies may be too: combined is the mean of "
    "raw-neighbors-50 and raw-tails, which they mislead least"
)
_NORMAL_QUARTILES = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
_CHUNK = 1024


@torch.inference_mode()
def fit_vectors(samples: Samples, preprocess: Preprocess) -> dict[str, Tensor]:
    """Fit the scores of `score_vectors` to reference samples (N, D).

    Columns are scaled robustly, by their medians and quartiles: a few anomalies among the samples do not hide others.

    Returns:
        ``raw.center`` and ``raw.factor``, (D,) float64, and ``raw.rows``, at most 10,000 scaled samples, float32.
    """
    chunks = samples.chunks(max_samples=most_stored(samples.spec.size))
    x = torch.cat([preprocess(raw).double().cpu() for raw in chunks])
    lower, center, upper = torch.from_numpy(np.quantile(x.numpy(), [0.25, 0.5, 0.75], axis=0))
    deviation, robust = x.std(0), (upper - lower) / _NORMAL_QUARTILES
    scale = torch.where(robust > 1e-6 * deviation, robust, deviation)
    tensors = {"raw.center": center, "raw.factor": torch.where(scale > 1e-12, 1 / scale, 1.0)}
    return tensors | {"raw.rows": _scaled(x, tensors)}


def score_vectors(x: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Score preprocessed vectors (B, D): name -> (B,) float64.

    - ``raw-neighbors-5`` and ``-50``: mean distance to that many nearest reference samples, excluding itself.
    - ``raw-tails``: sum over the columns of the surprisal of a value as low, or as high, whichever is rarer among the reference
      samples (as in Li, Zhao, Hu, Botta, Ionescu and Chen, ECOD: unsupervised outlier detection using empirical cumulative
      distribution functions, 2022).
    """
    return score_scaled(_scaled(x.double().cpu(), tensors).numpy(), tensors["raw.rows"].numpy())


def score_scaled(rows: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Score robustly scaled vectors (B, D) against scaled reference samples (N, D), float32: name -> (B,) float64."""
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    near = [mean_distances(chunk, reference, (NEIGHBORS, MANY_NEIGHBORS)) for chunk in chunks]
    few, many = (np.concatenate(parts) for parts in zip(*near))
    tails = np.zeros(len(rows))
    for values, column in zip(rows.T, np.sort(reference, axis=0).T):
        as_low = np.searchsorted(column, values, "right")
        as_high = len(column) - np.searchsorted(column, values, "left")
        tails -= np.log((np.minimum(as_low, as_high) + 1) / (len(column) + 2))
    return dict(zip(RAW_SCORES, (few, many, tails)))


def mean_distances(rows: np.ndarray, reference: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    """Return the mean distance of each row to its nearest neighbors in `reference`, for each number of neighbors.

    A sample is not its own neighbor: one reference row that equals the row is excluded. Otherwise the samples that a detector
    was fitted on would look more typical than others.

    Args:
        rows: (B, D) float32, standardized.
        reference: (N, D) float32, standardized.
        counts: numbers of neighbors; all that there are where there are fewer.

    Returns:
        (B,) float64 for each number.
    """
    _, positions = nearest_neighbors(rows, reference, max(counts) + 1, metric="l2", device=torch.device("cpu"))
    # Differences are exact where float32 products cannot tell equal rows from almost equal ones.
    squares = [np.square(rows.astype(np.float64) - reference[column]).sum(1) for column in positions.T]
    distances = np.sort(np.sqrt(np.stack(squares, 1)), axis=1)
    equal = distances[:, 0] <= EQUAL * np.sqrt(rows.shape[1])
    return [np.where(equal, distances[:, 1 : count + 1].mean(1), distances[:, :count].mean(1)) for count in counts]


def neighbor_distances(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the mean distance (B,) of each row to its 5 nearest neighbors in `reference`, as `mean_distances`."""
    return mean_distances(rows, reference, (NEIGHBORS,))[0]


def may_be_contaminated(source: Source, rows: np.ndarray, samples: Samples, notes: list[str]) -> bool:
    """Return whether anomalies may be among reference vectors: if all vectors scored, at most 10,000 of them, are.

    Args:
        source: source of the samples that are scored.
        rows: (N,) their positions in it.
        samples: reference samples.
        notes: receives a line if so.
    """
    if not source.spec.is_vector:
        return False
    raw, ok = read_valid(source, evenly_spaced(rows, most_stored(source.spec.size)))
    reference = {row.tobytes() for chunk in samples.chunks() for row in chunk.cpu().numpy()}
    contaminated = bool(ok.any()) and all(row.tobytes() in reference for row in raw[ok])
    notes += [CONTAMINATED] if contaminated else []
    return contaminated


def most_stored(size: int) -> int:
    """Return the maximum number of reference samples of this size to store."""
    return min(MAX_REFERENCE, max(100, STORED_VALUES // size))


def _scaled(x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    return ((x - tensors["raw.center"]) * tensors["raw.factor"]).float()
