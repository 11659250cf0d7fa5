"""Score embeddings without labels, to choose between encoders: ranks of spectra, their decay, and stability of neighbors.

How well each score agrees with a linear probe is measured by ``benchmarks/label_free.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.inference import Inference
from aekit.evaluation.checks._stability import neighbor_fractions, unit_rows
from aekit.nn.augment.presets import augmentation_for

LabelFree = Literal["rankme", "alpha-req", "lidar", "neighbors-kept", "retrieved"]
LABEL_FREE: tuple[LabelFree, ...] = get_args(LabelFree)
SELECTION = "retrieved x lidar"
"""The score that chooses between encoders, see `selection_score`."""
VIEWS = 5
"""Views of each sample for LiDAR."""
MAX_SAMPLES, MAX_VIEWED = 1000, 200
"""Samples for the spectra, and samples whose views are compared."""
BATCH = 256


def label_free_scores(encoder: Encoder, raw: Tensor, *, seed: int = 0) -> dict[LabelFree, float]:
    """Compute every score of an encoder without labels; higher is better.

    Args:
        encoder: the encoder.
        raw: (N, *shape) samples, of which at most 1,000 are embedded and 200 are augmented.
        seed: seed of the views.

    Returns:
        ``rankme`` (see `rankme`), ``alpha-req``, minus the distance of `spectral_decay` from 1, ``lidar`` (see `lidar`), and the
        two fractions of `view_stability`.
    """
    raw = raw[:MAX_SAMPLES]
    viewed = raw[:MAX_VIEWED]
    augmentation = augmentation_for(encoder.spec, encoder.preprocess)
    generator = torch.Generator(encoder.device).manual_seed(seed)
    run = Inference(encoder, VIEWS * len(viewed), device=encoder.device, forward=lambda network, x: network.encode(x))

    def encode(samples: Tensor, *, view: bool) -> np.ndarray:
        parts = []
        for part in samples.split(BATCH):
            x = encoder.preprocess(part.to(encoder.device))
            parts.append(run(augmentation(x, generator) if view else x).float().cpu().numpy())
        return np.concatenate(parts)

    with eval_mode(encoder):
        vectors = encode(raw, view=False)
        views = np.stack([encode(viewed, view=True) for _ in range(VIEWS)], axis=1)
    scores: dict[LabelFree, float] = {
        "rankme": rankme(vectors),
        "alpha-req": -abs(spectral_decay(vectors) - 1),
        "lidar": lidar(views),
    }
    kept = view_stability(vectors[: len(viewed)], views[:, 0])
    return scores | {"neighbors-kept": kept["neighbors_kept"], "retrieved": kept["retrieved"]}


def selection_score(scores: Mapping[LabelFree, float]) -> float:
    """Return the fraction of views that are retrieved, times the logarithm of LiDAR: stable, and using many directions.

    Of the scores and combinations in ``benchmarks/label_free.py`` it is the one whose lowest rank correlation with the probe,
    over the data sets, is highest.

    Args:
        scores: what `label_free_scores` returned.
    """
    return scores["retrieved"] * math.log(max(scores["lidar"], 1.0))


def rankme(vectors: np.ndarray) -> float:
    """Return the number of directions that (N, D) embeddings use: exp of the entropy of their singular values.

    The embeddings are not centered, as in the paper. Garrido, Balestriero, Najman and LeCun, RankMe: assessing the downstream
    performance of pretrained self-supervised representations by their rank, 2023.
    """
    return _exp_entropy(np.linalg.svd(vectors.astype(np.float64), compute_uv=False))


def spectral_decay(vectors: np.ndarray) -> float:
    """Return the exponent alpha of the decay ``i ** -alpha`` of the eigenvalues of the covariance of (N, D) embeddings.

    It is the slope of a line through the logarithms of the positive eigenvalues and of their ranks; 0 for fewer than two.
    Agrawal, Mondal, Ghosh and Richards, alpha-ReQ: assessing representation quality in self-supervised learning by measuring
    eigenspectrum decay, 2022, finds the best embeddings near 1.
    """
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values = np.linalg.svd(centered, compute_uv=False) ** 2 / max(1, len(vectors) - 1)
    values = values[values > 1e-10 * max(float(values[0]), 1e-300)]
    if len(values) < 2:
        return 0.0
    return float(-np.polyfit(np.log(np.arange(1, len(values) + 1)), np.log(values), 1)[0])


def lidar(views: np.ndarray, *, delta: float = 1e-4) -> float:
    """Return the effective rank of the directions in which samples differ more than their views do.

    Args:
        views: (N, Q, D) embeddings of Q views of each sample.
        delta: added to the variances within a sample, relative to their mean.

    Thilak et al., LiDAR: sensing linear probing performance in joint embedding SSL architectures, 2024: the exponential of the
    entropy of the eigenvalues of linear discriminant analysis, with each sample as a class. There `delta` is absolute, here
    relative, so that the scale of the embeddings does not matter.
    """
    rows = views.astype(np.float64)
    means = rows.mean(axis=1)
    between = np.cov(means, rowvar=False, ddof=1).reshape(rows.shape[2], -1)
    residuals = (rows - means[:, None]).reshape(-1, rows.shape[2])
    within = residuals.T @ residuals / max(1, len(rows) * (rows.shape[1] - 1))
    scale = max(float(np.trace(within)) / len(within), 1e-12)
    values, vectors = np.linalg.eigh(within + delta * scale * np.eye(len(within)))
    root = vectors / np.sqrt(np.maximum(values, 1e-300))
    return _exp_entropy(np.linalg.eigvalsh(root.T @ between @ root).clip(min=0))


def view_stability(vectors: np.ndarray, views: np.ndarray) -> dict[str, float]:
    """Compare the nearest neighbors of samples and of a view of each.

    Args:
        vectors: (N, D) embeddings of samples.
        views: (N, D) embeddings of a view of each.

    Returns:
        ``neighbors_kept``, the fraction of its 10 nearest neighbors that a sample shares with its view, and ``retrieved``, the
        fraction of views whose nearest sample is their own. 0 for fewer than 12 samples.
    """
    if len(vectors) < 12:
        return {"neighbors_kept": 0.0, "retrieved": 0.0}
    return neighbor_fractions(unit_rows(vectors), unit_rows(views), np.arange(len(vectors)))


def _exp_entropy(values: np.ndarray) -> float:
    """Return exp of the entropy of numbers that are scaled to a sum of 1; 0 if all are 0."""
    if values.sum() <= 1e-12:
        return 0.0
    p = values / values.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))
