"""Principal components of samples of any number, in bounded memory: what a linear code of the same width can do.

They are the yardstick for reconstructions and for anomaly scores, and span the best linear code there is (Eckart and Young,
1936).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aekit.data.samples import Samples
from aekit.encoder.preprocessing import Preprocess

EXACT = 2048
"""Entries of a sample up to which the covariance matrix is held; above, its leading directions are iterated."""
MOST = 20_000
PASSES, SPARE = 5, 10


@dataclass(frozen=True)
class PCA:
    """Principal components on the scale of the preprocessed sample.

    Attributes:
        mean: (F,) of the samples.
        directions: (F, K), orthonormal, those of the largest variance first.
        explained: share of the samples' variance that they span, 0..1.
    """

    mean: Tensor
    directions: Tensor
    explained: float

    @property
    def dim(self) -> int:
        """K, the width of the code."""
        return self.directions.shape[1]

    def encode(self, x: Tensor) -> Tensor:
        """(B, *shape) preprocessed -> (B, K)."""
        return (x.flatten(1) - self.mean) @ self.directions

    def decode(self, code: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(B, K) -> (B, *shape)."""
        return (code @ self.directions.T + self.mean).unflatten(1, shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, *shape), the nearest point of the subspace."""
        return self.decode(self.encode(x), tuple(x.shape[1:]))


def fit_pca(samples: Samples, preprocess: Preprocess, dim: int, *, seed: int = 0) -> PCA:
    """The `dim` directions of the largest variance, of at most about 20,000 evenly spaced samples.

    Exact for samples of up to 2048 entries. Wider ones are passed over five times by subspace iteration (Halko, Martinsson
    and Tropp, Finding structure with randomness, 2011), whose memory is that of the directions.

    Args:
        samples: to fit on.
        preprocess: scales them.
        dim: K; cut to the number of samples and of entries.
        seed: of the iteration's first directions.
    """
    width, count = samples.spec.size, min(len(samples), MOST)
    dim = min(dim, width, count)
    mean, total = _mean_and_variance(samples, preprocess)
    if width <= EXACT:
        covariance = torch.zeros(width, width, dtype=torch.float64, device=mean.device)
        for x in _centerd(samples, preprocess, mean):
            covariance += x.T @ x
        directions = torch.linalg.eigh(covariance)[1].flip(1)[:, :dim]
    else:
        start = torch.randn(width, min(dim + SPARE, width, count), generator=torch.Generator().manual_seed(seed))
        directions = torch.linalg.qr(start.to(mean))[0]
        for _ in range(PASSES):
            spread = torch.zeros_like(directions)
            for x in _centerd(samples, preprocess, mean):
                spread += x.T @ (x @ directions)
            directions = torch.linalg.qr(spread)[0]
        # Within the subspace the directions are put in order by their variances.
        inner = torch.zeros(directions.shape[1], directions.shape[1]).to(mean)
        for x in _centerd(samples, preprocess, mean):
            inner += (x @ directions).T @ (x @ directions)
        directions = directions @ torch.linalg.eigh(inner)[1].flip(1)[:, :dim]
    spanned = sum(float((x @ directions).square().sum()) for x in _centerd(samples, preprocess, mean))
    return PCA(mean.float(), directions.float().contiguous(), spanned / total if total > 0 else 1.0)


def _mean_and_variance(samples: Samples, preprocess: Preprocess) -> tuple[Tensor, float]:
    """(F,) float64, and the sum of squared distances from it."""
    total, count = torch.zeros(samples.spec.size, dtype=torch.float64, device=preprocess.scale.device), 0
    for raw in samples.chunks(size=256, max_samples=MOST):
        total, count = total + preprocess(raw).flatten(1).double().sum(0), count + len(raw)
    mean = total / count
    return mean, sum(float(x.square().sum()) for x in _centerd(samples, preprocess, mean))


def _centerd(samples: Samples, preprocess: Preprocess, mean: Tensor) -> Iterator[Tensor]:
    for raw in samples.chunks(size=256, max_samples=MOST):
        yield preprocess(raw).flatten(1).double() - mean
