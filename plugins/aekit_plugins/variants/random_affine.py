"""Displaced images: the encoder sees the sample moved, turned and resized, the decoder is asked for it in its place."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.objectives.base import Variant
from aekit.plugin import Field


class RandomAffine(Variant):
    """A denoising autoencoder whose noise is geometry: a new small displacement at every presentation.

    What is where a thing lies, and not what it is, need not be in the code, as the decoder cannot use it. For images whose
    things lie in a usual place, such as centerd ones.

    Hinton, Krizhevsky and Wang, Transforming auto-encoders, 2011, for the displacement; Vincent, Larochelle, Bengio and
    Manzagol, 2008, for the clean image as the target.
    """

    def __init__(
        self,
        *,
        shift: Annotated[float, Field(ge=0, le=0.5, description="largest, as a share of the side, each way")] = 0.1,
        turn: Annotated[float, Field(ge=0, le=180, description="largest angle in degrees, each way")] = 10.0,
        resize: Annotated[float, Field(ge=0, lt=1, description="largest change of size, as a share, each way")] = 0.1,
    ) -> None:
        super().__init__()
        self.shift, self.turn, self.resize = shift, turn, resize

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        # Four numbers a sample in -1..1: across, down, angle, size.
        drawn = 2 * torch.rand(4, len(x), generator=generator, device=x.device) - 1
        angle, size = drawn[2] * math.radians(self.turn), 1 + drawn[3] * self.resize
        cosine, sine = angle.cos() / size, angle.sin() / size
        # In a grid's units either side is 2 long, so that turning an image that is not square needs its proportion.
        across, down = 2 * self.shift * drawn[0], 2 * self.shift * drawn[1]
        tall = x.shape[-2] / x.shape[-1]
        maps = torch.stack(
            [torch.stack([cosine, -sine * tall, across], 1), torch.stack([sine / tall, cosine, down], 1)], 1
        )
        grid = F.affine_grid(maps, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid.to(x.dtype), align_corners=False)
