"""Random convolutions (ROCKET) as a backbone: features of series that need no training."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from aekit.nn.random_convolutions import KERNELS, RandomConvolutions
from aekit.plugin import Field, ModuleBackbone, Preprocess, Samples, SampleSpec

MAX_SAMPLES = 5000
"""Most samples whose features are standardized; more change their means and deviations hardly at all."""


MIN_DEVIATION = 0.01
"""Least deviation of levels and scales over the training series, in units of the scaled input: archives often hold series that
were standardized one by one, and rounding must not become a feature."""


class RandomConvolutionsBackbone(ModuleBackbone):
    """Convolve each series with random kernels, and standardize the fraction of positive outputs and the maximum of each.

    The kernels are drawn from the seed and never trained, so the features are the embedding, unless `encoder.dim` asks for a map
    to fewer dimensions, which is trained. Outputs say nothing about the level and the scale of a series, as each channel of it is
    standardized, so the mean and the logarithm of the standard deviation of each channel are features too. Means and deviations
    of the features are those of the training samples: neighbors by features of different scales are worse.

    Dempster, Petitjean and Webb, ROCKET: exceptionally fast and accurate time series classification using random convolutional
    kernels, 2020.
    """

    trains: ClassVar[bool] = False

    def __init__(
        self,
        spec: SampleSpec,
        *,
        kernels: Annotated[int, Field(ge=1, description="number of kernels; each gives two features")] = KERNELS,
        levels: Annotated[
            float,
            Field(
                ge=0,
                lt=1,
                description="fraction of the variance of all features that levels and scales of the channels have; 0: none",
            ),
        ] = 0.3,
    ) -> None:
        channels, steps = spec.shape
        minimum, weight = torch.zeros(2 * kernels), torch.ones(2 * kernels)
        layers: list[nn.Module] = [RandomConvolutions(channels, steps, kernels)]
        if levels:
            layers.append(_Levels())
            minimum = torch.cat([minimum, torch.full((2 * channels,), MIN_DEVIATION)])
            share = levels / (1 - levels) * kernels / channels
            weight = torch.cat([weight, torch.full((2 * channels,), share**0.5)])
        super().__init__(nn.Sequential(_Joined(layers), _Standardization(minimum, weight)), spec)
        self.note = f"{kernels:,} kernels, drawn from the seed and not trained; dense layers decode their features"

    def start(self, samples: Samples, preprocess: Preprocess) -> None:
        features, standardization = self.stages[0].children()
        with torch.no_grad():
            chunks = [features(preprocess(chunk)) for chunk in samples.chunks(max_samples=MAX_SAMPLES)]
        standardization.fit(chunks)  # type: ignore[operator]


class _Levels(nn.Module):
    """Map series (B, C, T) to (B, 2 C): the mean of each channel, then the logarithms of the deviations."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(2), (x.std(2, correction=0) + MIN_DEVIATION).log()], 1)


class _Joined(nn.Module):
    """Map a batch to the features (B, F) of several modules, side by side."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], 1)


class _Standardization(nn.Module):
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

    def fit(self, features: list[Tensor]) -> None:
        deviation, mean = torch.std_mean(torch.cat(features).double(), 0, correction=0)
        deviation = torch.maximum(deviation, self.minimum)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1) / self.weight.to(deviation.device))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x.dtype)) / self.deviation.to(x.dtype)
