"""Random affine: reconstruct an image from a shifted, rotated and rescaled copy of it, or that copy."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.plugin import Field, Variant


class RandomAffine(Variant):
    """Apply a small affine map to each image, anew each time it is used.

    If the original is the target, this denoises geometry: the code need not hold where an object lies, because the decoder
    cannot use it. For images whose objects have a standard position, such as centered ones. If the copy is the target, there
    are more images to learn from, and a large network memorizes them less. It then learns best from the images themselves at
    the end (`until`; He et al., Data augmentation revisited, 2019).

    Hinton, Krizhevsky and Wang, Transforming auto-encoders, 2011, for the displacement; Vincent, Larochelle, Bengio and
    Manzagol, 2008, for the clean image as the target.
    """

    def __init__(
        self,
        *,
        translate: Annotated[float, Field(ge=0, le=0.5, description="largest shift, as a fraction of the side")] = 0.1,
        degrees: Annotated[float, Field(ge=0, le=180, description="largest rotation either way, in degrees")] = 10.0,
        scale: Annotated[float, Field(ge=0, lt=1, description="largest change of size, as a fraction")] = 0.1,
        target: Annotated[Literal["original", "copy"], Field(description="what is reconstructed")] = "original",
        until: Annotated[
            float, Field(ge=0, le=1, description="fraction of the training after which images stay as they are")
        ] = 1.0,
    ) -> None:
        super().__init__()
        self.translate, self.degrees, self.scale = translate, degrees, scale
        self.target, self.until = target, until

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self._moved(x, generator) if self.target == "copy" else x

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self._moved(x, generator) if self.target == "original" else x

    def _moved(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.until < 1 and self.progress >= self.until:
            return x
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
