"""Patches of the training images as a dictionary: features of images that need no training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from aekit.nn.feature_scaling import Joined, Levels, PartialWhitening, Standardization
from aekit.nn.patch_features import ATOMS, PatchFeatures
from aekit.nn.pooling import GridMeans
from aekit.plugin import Field, ModuleBackbone, Preprocess, Samples, SampleSpec

PATCH = 6
"""Side of the patches by default; at most half of the shorter side of the images."""
SIDE = 32
"""Shorter side that larger images are averaged down to, or up to twice as much: patches then show parts rather than pixels."""
MAX_SAMPLES = 4096
"""Most images that patches and the statistics of features come from."""
PATCHES = 50_000
"""Number of patches that whitening is computed from, and that the atoms are drawn from."""
CHUNK = 64
"""Images whose features are computed at a time."""


class PatchDictionary(ModuleBackbone):
    """Compare all patches of an image with patches of the training images, average over a grid, and whiten in part.

    Patches are normalized and whitened, and a few hundred random ones are the atoms that all others are compared with. Nothing is
    trained, so the features are the embedding, unless `encoder.dim` asks for a map to other dimensions, which is trained.
    Normalized patches say nothing about brightness, so the mean and the logarithm of the standard deviation of each channel in
    each cell are features too. The leading principal components of all features, divided by a power of their deviation, make
    better neighbors than the features, in far fewer dimensions.

    Coates, Ng and Lee, An analysis of single-layer networks in unsupervised feature learning, 2011.
    """

    trains: ClassVar[bool] = False
    initial: ClassVar[str] = "patches of the training images as its weights"

    def __init__(
        self,
        spec: SampleSpec,
        *,
        atoms: Annotated[int, Field(ge=1, description="number of patches that others are compared with")] = ATOMS,
        patch: Annotated[
            int | None,
            Field(
                ge=1, description="side of a patch in pixels; by default 6, at most half of the image's shorter side"
            ),
        ] = None,
        reduction: Annotated[
            int | None,
            Field(ge=1, description="factor to average images down by; by default as far as both sides keep 32 pixels"),
        ] = None,
        stride: Annotated[
            int | None,
            Field(ge=1, description="pixels from a patch to the next; by default such that an image has about 1,000"),
        ] = None,
        grid: Annotated[int, Field(ge=1, description="cells along each side of the image")] = 3,
        threshold: Annotated[
            float, Field(ge=0, description="similarity of a patch and an atom, of length 1, above which it counts")
        ] = 0.5,
        levels: Annotated[
            float,
            Field(ge=0, lt=1, description="fraction of the variance of all features that brightness has; 0: none"),
        ] = 0.05,
        components: Annotated[
            int, Field(ge=0, description="principal components that are the embedding; 0: all features")
        ] = 512,
        whitening: Annotated[
            float, Field(ge=0, le=1, description="power of its deviation that a component is divided by")
        ] = 0.5,
    ) -> None:
        spec.require("image")
        channels, *sides = spec.shape
        factor = max(1, min(sides) // SIDE) if reduction is None else reduction
        size = (sides[0] // factor, sides[1] // factor)
        if min(size) < (patch or 1):
            options = f"patch = {patch}" if factor == 1 else f"patch = {patch or 1}, reduction = {factor}"
            raise ValueError(f"{options}: the images have {sides[0]} x {sides[1]} pixels; expected at least the patch")
        rows, columns = (min(PATCH, max(1, side // 2)) if patch is None else patch for side in size)
        similarities = PatchFeatures(
            channels, size, (rows, columns), atoms, grid=grid, threshold=threshold, stride=stride
        )
        cells = GridMeans(size, grid)
        count = 2 * channels * cells.cells if levels else 0
        layers: list[nn.Module] = [
            nn.AvgPool2d(factor) if factor > 1 else nn.Identity(),
            Joined([similarities, Levels(cells)] if levels else [similarities]),
            Standardization.with_levels(similarities.width, count, levels),
        ]
        components = min(components, similarities.width + count)
        if components:
            layers.append(PartialWhitening(similarities.width + count, components, whitening))
        super().__init__(nn.Sequential(*layers), spec)
        self._seed = int(torch.randint(2**31, ()))
        self.note = (
            f"{atoms:,} patches of {rows} x {columns} pixels of the training images"
            f"{f', averaged down to {size[0]} x {size[1]}' if factor > 1 else ''}, not trained"
        )

    def start(self, samples: Samples, preprocess: Preprocess) -> None:
        reduce, features, standardization, *whitening = self.stages[0].children()
        similarities = next(part for part in features.modules() if isinstance(part, PatchFeatures))
        generator, count = torch.Generator().manual_seed(self._seed), -(-PATCHES // min(len(samples), MAX_SAMPLES))
        with torch.no_grad():
            drawn = [similarities.draw(reduce(x), count, generator) for x in _chunks(samples, preprocess)]
            similarities.fit(torch.cat(drawn), generator)
            rows = torch.cat([features(reduce(x)) for x in _chunks(samples, preprocess)])
            standardization.fit(rows)  # type: ignore[operator]
            for last in whitening:
                last.fit(standardization(rows))  # type: ignore[operator]


def _chunks(samples: Samples, preprocess: Preprocess) -> Iterator[Tensor]:
    """Yield the same preprocessed images (B, C, H, W) each time, at most about `MAX_SAMPLES`."""
    for raw in samples.chunks(size=CHUNK, max_samples=MAX_SAMPLES):
        yield preprocess(raw)
