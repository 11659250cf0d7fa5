"""Super-resolution: each sample is made smaller and blown up again, and what that lost has to be restored."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.objectives.restoration import DamagedBatch, LossOption, ResidualOption, RestorationTask
from aekit.plugin import Encoder, Field, resample


class SuperResolution(RestorationTask):
    """The network sees the sample of the lower resolution at the size of the higher one, blown up with a cubic kernel.

    Series are made coarser in time, images in height and width, clips in all three, or, with `axes`, in time or in space alone.

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
        factor: Annotated[int, Field(ge=2, le=16, description="how many times smaller each side becomes")] = 2,
        axes: Annotated[
            Literal["all", "time", "space"], Field(description="of a clip, those that are made smaller")
        ] = "all",
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        kinds = {"series": ["time"], "image": ["space"] * 2, "clip": ["time", "space", "space"]}
        if encoder.spec.kind not in kinds:
            raise ValueError(f"expected series, images or clips, whose entries have neighbors, found {encoder.spec}")
        own = kinds[encoder.spec.kind]
        if axes != "all" and axes not in own:
            raise ValueError(f"axes = {axes!r} leaves nothing to make smaller of {encoder.spec}")
        super().__init__(encoder, loss, residual)
        self.factors = [factor if axes in ("all", axis) else 1 for axis in own]
        short = [side for side, factor in zip(encoder.spec.shape[1:], self.factors) if side < 2 * factor]
        if short and factor > 1:
            raise ValueError(f"factor = {factor} leaves fewer than two entries of {short[0]}")

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        small = [max(1, round(side / factor)) for side, factor in zip(x.shape[2:], self.factors)]
        return DamagedBatch(self._within(resample(resample(x, tuple(small)), tuple(x.shape[2:]))))

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        large = [side * factor for side, factor in zip(x.shape[2:], self.factors)]
        return DamagedBatch(self._within(resample(x, tuple(large))), hidden)

    def _within(self, x: Tensor) -> Tensor:
        # A cubic kernel swings beyond the values that it passes through.
        return x.clamp(0, 1) if self.unit else x
