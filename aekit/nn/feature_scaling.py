"""Features of several modules side by side, on scales that suit neighbors: standardized, or partly whitened."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aekit.nn.pca import leading_directions

MIN_DEVIATION = 0.01
"""Least deviation of levels and scales over the training samples, in units of the scaled input: archives often hold samples that
were standardized one by one, and rounding must not become a feature."""
RANK = 1e-6
"""Variances up to this fraction of the largest are rounding errors of a direction in which no sample varies."""
DETERMINED = 2
"""Samples for each component."""
ROUNDING = 1e-7
"""Deviations up to this fraction of the mean are rounding errors of a feature that does not vary."""


class Joined(nn.Module):
    """Map a batch to the features (B, F) of several modules, side by side."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], 1)


class Levels(nn.Module):
    """Map samples (B, C, *size) to the mean of each channel in each cell, then the logarithms of the deviations.

    Args:
        pool: means over G cells, (B, C, *size) -> (B, C, G); default: over the whole sample, with G = 1.
    """

    def __init__(self, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *size) to (B, 2 C G)."""
        mean = x.flatten(2).mean(2, keepdim=True)
        centered = x - mean.view(*mean.shape[:2], *[1] * (x.ndim - 2))  # squares of large levels would be rounded
        cells, squares = self._means(centered), self._means(centered.square())
        # Added to the variance rather than to its root, which makes much of rounding where a cell is flat.
        variance = (squares - cells.square()).clamp(min=0) + MIN_DEVIATION**2
        return torch.cat([(cells + mean).flatten(1), variance.log().flatten(1) / 2], 1)

    def _means(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2, keepdim=True) if self.pool is None else self.pool(x)


class Standardization(nn.Module):
    """Map features (B, F) to mean 0 and standard deviation `weight` over the samples of `fit`.

    Args:
        minimum: (F,) least deviation that features are divided by; 0: features that do not vary are not divided.
        weight: (F,) factor of the standardized features.
    """

    mean: Tensor
    deviation: Tensor
    minimum: Tensor

    def __init__(self, minimum: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("minimum", minimum, persistent=False)
        self.register_buffer("mean", torch.zeros_like(minimum))
        self.register_buffer("deviation", torch.ones_like(minimum))

    @classmethod
    def with_levels(cls, features: int, levels: int, fraction: float) -> Standardization:
        """Standardize features that levels follow, which have a fraction of the variance of all.

        Args:
            features: number of features.
            levels: number of levels and scales after them; 0: none.
            fraction: 0..1, below 1.
        """
        weight = (fraction / (1 - fraction) * features / max(levels, 1)) ** 0.5
        minimum = torch.cat([torch.zeros(features), torch.full((levels,), MIN_DEVIATION)])
        return cls(minimum, torch.cat([torch.ones(features), torch.full((levels,), weight)]))

    def fit(self, features: Tensor) -> None:
        """Set means and deviations from the features (N, F) of some samples."""
        deviation, mean = torch.std_mean(features.double(), 0, correction=0)
        deviation = torch.maximum(deviation, self.minimum)
        varies = deviation > ROUNDING * mean.abs()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, deviation, 1) / self.weight.to(deviation.device))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x.dtype)) / self.deviation.to(x.dtype)


class PartialWhitening(nn.Module):
    """Map features (B, F) to their leading principal components, each divided by a power of its deviation, and rotated at random.

    Power 0 keeps distances, in which few directions of large variance outweigh all others; 1 is whitening, in which directions of
    noise weigh as much as any. The rotation keeps distances too. Without it, whoever standardizes the dimensions of an embedding,
    as linear models do, would whiten it wholly. There are K dimensions, of a mean variance of 1 over the samples of `fit`, and K
    components, but at most one for every two samples: new samples would vary more along further ones than those of `fit`.

    Args:
        features: F.
        components: K, at most F.
        power: 0..1.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, features: int, components: int, power: float) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("directions", torch.randn(features, components) / features**0.5)

    def fit(self, features: Tensor) -> None:
        """Set the components from the features (N, F) of some samples.

        Raises:
            ValueError: the features are not finite.
        """
        mean, width = features.mean(0), self.directions.shape[1]
        leading = leading_directions(features - mean, min(width, max(1, len(features) // DETERMINED)))
        if leading is None:
            raise ValueError("features of the training samples are not finite")
        variances, directions = leading
        rounding = ROUNDING**2 * features.double().square().mean(0).sum()
        used = variances > torch.maximum(RANK * variances.max(), rounding)
        scale = torch.where(used, variances, 1) ** (-self.power / 2) * used
        total = (variances * scale.square()).sum()
        scale = scale * (width / torch.where(total > 0, total, width)).sqrt()
        rotation = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(0)))[0]
        self.mean.copy_(mean)
        self.directions.copy_((directions * scale) @ rotation[: len(scale)].to(scale))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x.dtype)) @ self.directions.to(x.dtype)
