"""Super-resolution: downsample and upsample each sample, and restore the lost detail."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.objectives.restoration import DamagedBatch, LossOption, ResidualOption, RestorationTask
from aekit.plugin import Encoder, Field, resample


class SuperResolution(RestorationTask):
    """Restore samples that were downsampled and upsampled to the original size with a cubic kernel.

    Series are downsampled in time, images in height and width, clips in all three or, with `axes`, only in time or space.

    Dong, Loy, He and Tang, Learning a deep convolutional network for image super-resolution, 2014; Kim, Lee and Lee,
    Accurate image super-resolution using very deep convolutional networks, 2016, for the residual.

    Raises:
        ValueError: vectors, or axes that the samples do not have.
    """

    task, damaged_label, enlarges = "enlarge", "bicubic", True

    def __init__(
        self,
        encoder: Encoder,
        *,
        factor: Annotated[int, Field(ge=2, le=16, description="factor by which each side is downsampled")] = 2,
        axes: Annotated[
            Literal["all", "time", "space"], Field(description="axes of a clip that are downsampled")
        ] = "all",
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        kinds = {"series": ["time"], "image": ["space"] * 2, "clip": ["time", "space", "space"]}
        encoder.spec.require("series", "image", "clip")  # whose entries have neighbors
        sample_axes = kinds[encoder.spec.kind]
        if axes != "all" and axes not in sample_axes:
            raise ValueError(f"axes = {axes!r} leaves nothing to downsample in {encoder.spec}")
        super().__init__(encoder, loss, residual)
        self.factors = [factor if axes in ("all", axis) else 1 for axis in sample_axes]
        short = [side for side, factor in zip(encoder.spec.shape[1:], self.factors) if side < 2 * factor]
        if short and factor > 1:
            raise ValueError(f"factor = {factor} leaves fewer than two entries of {short[0]}")

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        small = [max(1, round(side / factor)) for side, factor in zip(x.shape[2:], self.factors)]
        return DamagedBatch(self._clamp(resample(resample(x, tuple(small)), tuple(x.shape[2:]))))

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        large = [side * factor for side, factor in zip(x.shape[2:], self.factors)]
        return DamagedBatch(self._clamp(resample(x, tuple(large))), hidden)

    def _clamp(self, x: Tensor) -> Tensor:
        # A cubic kernel overshoots.
        return x.clamp(0, 1) if self.unit else x
