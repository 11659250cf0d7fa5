"""Random convolutions (ROCKET) as a backbone: features of series that need no training."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import nn

from aekit.nn.feature_scaling import Joined, Levels, Standardization
from aekit.nn.random_convolutions import KERNELS, RandomConvolutions
from aekit.plugin import Field, ModuleBackbone, Preprocess, Samples, SampleSpec

MAX_SAMPLES = 5000
"""Most samples whose features are standardized; more change their means and deviations hardly at all."""


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
        spec.require("series")
        channels, steps = spec.shape
        convolutions = RandomConvolutions(channels, steps, kernels)
        features = Joined([convolutions, Levels()] if levels else [convolutions])
        scaling = Standardization.with_levels(2 * kernels, 2 * channels if levels else 0, levels)
        super().__init__(nn.Sequential(features, scaling), spec)
        self.note = f"{kernels:,} kernels, drawn from the seed and not trained"

    def start(self, samples: Samples, preprocess: Preprocess) -> None:
        features, standardization = self.stages[0].children()
        with torch.no_grad():
            chunks = [features(preprocess(chunk)) for chunk in samples.chunks(max_samples=MAX_SAMPLES)]
        standardization.fit(torch.cat(chunks))  # type: ignore[operator]
