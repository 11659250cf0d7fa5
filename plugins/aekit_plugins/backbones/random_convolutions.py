"""Random convolutions (ROCKET) as a backbone: features of series that need no training."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from aekit.nn.random_convolutions import KERNELS, RandomConvolutions
from aekit.plugin import Field, ModuleBackbone, Preprocess, Samples, SampleSpec

MAX_SAMPLES = 5000
"""Most samples whose features are standardized; more change their means and deviations hardly at all."""


class RandomConvolutionsBackbone(ModuleBackbone):
    """Convolve each series with random kernels, and standardize the fraction of positive outputs and the maximum of each.

    The kernels are drawn from the seed and never trained, so the features are the embedding, unless `encoder.dim` asks for a map
    to fewer dimensions, which is trained. Levels and scales of series are ignored, as each channel is standardized. Means and
    deviations of the features are those of the training samples: neighbors by features of different scales are worse.

    Dempster, Petitjean and Webb, ROCKET: exceptionally fast and accurate time series classification using random convolutional
    kernels, 2020.
    """

    trains: ClassVar[bool] = False

    def __init__(
        self,
        spec: SampleSpec,
        *,
        kernels: Annotated[int, Field(ge=1, description="number of kernels; each gives two features")] = KERNELS,
    ) -> None:
        channels, steps = spec.shape
        layers = RandomConvolutions(channels, steps, kernels), _Standardization(2 * kernels)
        super().__init__(nn.Sequential(*layers), spec)
        self.note = f"{kernels:,} kernels, drawn from the seed and not trained; dense layers decode their features"

    def start(self, samples: Samples, preprocess: Preprocess) -> None:
        convolutions, standardization = self.stages[0].children()
        with torch.no_grad():
            features = [convolutions(preprocess(chunk)) for chunk in samples.chunks(max_samples=MAX_SAMPLES)]
        standardization.fit(features)  # type: ignore[operator]


class _Standardization(nn.Module):
    """Map features (B, F) to mean 0 and standard deviation 1 over the samples of `fit`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, features: list[Tensor]) -> None:
        deviation, mean = torch.std_mean(torch.cat(features).double(), 0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x.dtype)) / self.deviation.to(x.dtype)
