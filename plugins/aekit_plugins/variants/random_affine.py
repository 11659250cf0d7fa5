"""Random affine: reconstruct an image from a shifted, rotated and rescaled copy of it."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.plugin import Field, Variant


class RandomAffine(Variant):
    """Denoise geometry: apply a small affine map to the encoder input, anew each time a sample is used.

    The code need not hold where an object lies, because the decoder cannot use it. For images whose objects have a standard
    position, such as centered ones.

    Hinton, Krizhevsky and Wang, Transforming auto-encoders, 2011, for the displacement; Vincent, Larochelle, Bengio and
    Manzagol, 2008, for the clean image as the target.
    """

    def __init__(
        self,
        *,
        translate: Annotated[float, Field(ge=0, le=0.5, description="largest shift, as a fraction of the side")] = 0.1,
        degrees: Annotated[float, Field(ge=0, le=180, description="largest rotation either way, in degrees")] = 10.0,
        scale: Annotated[float, Field(ge=0, lt=1, description="largest change of size, as a fraction")] = 0.1,
    ) -> None:
        super().__init__()
        self.translate, self.degrees, self.scale = translate, degrees, scale

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        # Four numbers per sample in -1..1: across, down, angle, size.
        drawn = 2 * torch.rand(4, len(x), generator=generator, device=x.device) - 1
        angle, size = drawn[2] * math.radians(self.degrees), 1 + drawn[3] * self.scale
        cosine, sine = angle.cos() / size, angle.sin() / size
        # In grid units both sides have length 2, so rotating an image that is not square needs its aspect ratio.
        across, down = 2 * self.translate * drawn[0], 2 * self.translate * drawn[1]
        aspect = x.shape[-2] / x.shape[-1]
        maps = torch.stack(
            [torch.stack([cosine, -sine * aspect, across], 1), torch.stack([sine / aspect, cosine, down], 1)], 1
        )
        grid = F.affine_grid(maps, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid.to(x.dtype), align_corners=False)
