"""PCA of any number of samples in bounded memory.

It is the optimal linear code (Eckart and Young, 1936) and the baseline for reconstructions and anomaly scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aekit.data.samples import Samples
from aekit.encoder.preprocessing import Preprocess

MAX_EXACT_SIZE = 2048
"""Largest sample for which the covariance matrix is computed; above, subspace iteration is used."""
MAX_SAMPLES = 20_000
"""Most samples to fit on."""
ITERATIONS, OVERSAMPLING = 5, 10
"""Passes of the subspace iteration, and its additional directions."""
LEADING_SAMPLES, LEADING_PASSES = 4096, 2
"""Most rows in which leading directions are found, and the passes over them."""


@dataclass(frozen=True)
class PCA:
    """Principal components on the scale of the preprocessed sample.

    Attributes:
        mean: (F,) mean of the samples.
        directions: (F, K) orthonormal, by decreasing variance.
        explained: fraction of the samples' variance in their span, 0..1.
    """

    mean: Tensor
    directions: Tensor
    explained: float

    @property
    def dim(self) -> int:
        """Return K, the dimension of the code."""
        return self.directions.shape[1]

    def encode(self, x: Tensor) -> Tensor:
        """Map preprocessed samples (B, *shape) -> (B, K)."""
        return (x.flatten(1) - self.mean) @ self.directions

    def decode(self, code: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Map codes (B, K) -> (B, *shape)."""
        return (code @ self.directions.T + self.mean).unflatten(1, shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Map (B, *shape) -> (B, *shape), the nearest point of the subspace."""
        return self.decode(self.encode(x), tuple(x.shape[1:]))


def fit_pca(samples: Samples, preprocess: Preprocess, dim: int, *, seed: int = 0) -> PCA:
    """Compute the `dim` directions of largest variance from at most about 20,000 evenly spaced samples.

    The result is exact for samples of up to 2048 entries. Larger ones take five passes of subspace iteration (Halko,
    Martinsson and Tropp, Finding structure with randomness, 2011), which stores only the directions.

    Args:
        samples: to fit on.
        preprocess: scales them.
        dim: K; at most the number of samples and of entries.
        seed: of the iteration's initial directions.
    """
    width, count = samples.spec.size, min(len(samples), MAX_SAMPLES)
    dim = min(dim, width, count)
    mean, total = _mean_and_variance(samples, preprocess)
    if width <= MAX_EXACT_SIZE:
        covariance = torch.zeros(width, width, dtype=torch.float64, device=mean.device)
        for x in _centered(samples, preprocess, mean):
            covariance += x.T @ x
        directions = torch.linalg.eigh(covariance)[1].flip(1)[:, :dim]
    else:
        initial = torch.randn(
            width, min(dim + OVERSAMPLING, width, count), generator=torch.Generator().manual_seed(seed)
        )
        directions = torch.linalg.qr(initial.to(mean))[0]
        for _ in range(ITERATIONS):
            spread = torch.zeros_like(directions)
            for x in _centered(samples, preprocess, mean):
                spread += x.T @ (x @ directions)
            directions = torch.linalg.qr(spread)[0]
        # Sort the directions within the subspace by their variances.
        inner = torch.zeros(directions.shape[1], directions.shape[1]).to(mean)
        for x in _centered(samples, preprocess, mean):
            inner += (x @ directions).T @ (x @ directions)
        directions = directions @ torch.linalg.eigh(inner)[1].flip(1)[:, :dim]
    spanned = sum(float((x @ directions).square().sum()) for x in _centered(samples, preprocess, mean))
    return PCA(mean.float(), directions.float().contiguous(), spanned / total if total > 0 else 1.0)


def _mean_and_variance(samples: Samples, preprocess: Preprocess) -> tuple[Tensor, float]:
    """Return the (F,) float64 mean and the sum of squared distances from it."""
    total, count = torch.zeros(samples.spec.size, dtype=torch.float64, device=preprocess.scale.device), 0
    for raw in samples.chunks(size=256, max_samples=MAX_SAMPLES):
        total, count = total + preprocess(raw).flatten(1).double().sum(0), count + len(raw)
    mean = total / count
    return mean, sum(float(x.square().sum()) for x in _centered(samples, preprocess, mean))


def _centered(samples: Samples, preprocess: Preprocess, mean: Tensor) -> Iterator[Tensor]:
    for raw in samples.chunks(size=256, max_samples=MAX_SAMPLES):
        yield preprocess(raw).flatten(1).double() - mean


def leading_directions(rows: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
    """Return the (K,) variances along K leading principal directions of (N, D) rows, ascending, and the (D, K) directions.

    They are found in at most 4,096 rows by subspace iteration (Halko, Martinsson and Tropp, Finding structure with
    randomness, 2011). K is at most `count` and the number of these rows.

    Returns:
        None if factoring fails.
    """
    sample = rows[:: -(-len(rows) // LEADING_SAMPLES)]
    count = min(count, *sample.shape)
    start = torch.randn(rows.shape[1], count, generator=torch.Generator().manual_seed(0))
    try:
        directions = start.to(rows)
        for _ in range(LEADING_PASSES):
            directions = torch.linalg.qr(sample.T @ (sample @ directions))[0]
        projected = (sample @ directions).double()
        values, vectors = torch.linalg.eigh(projected.T @ projected / len(sample))
    except torch.linalg.LinAlgError:
        return None
    if not (values.isfinite().all() and vectors.isfinite().all()):
        return None
    return values.clamp(min=0), directions @ vectors.to(directions.dtype)
