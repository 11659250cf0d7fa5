"""A decoder for networks that have no mirror image: from a code to a sample, by convolutions that double its size."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

SMALLEST, NARROWEST, WIDEST = 4, 32, 256
"""Longest side of the map that a code becomes; channels of the largest map, and at most of the others."""

_LAYERS: dict[int, tuple[Any, Any]] = {
    1: (nn.Conv1d, nn.BatchNorm1d),
    2: (nn.Conv2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.BatchNorm3d),
}


class Upsampling(nn.Module):
    """(B, *given) features -> (B, *shape), before any output activation.

    Each step enlarges the map to about twice its size, at last to the sample's own, odd or even, by repeating its entries, and
    then convolves it. That leaves no chequered pattern, as transposed convolutions do: Odena, Dumoulin and Olah, Deconvolution
    and checkerboard artifacts, 2016.

    Args:
        given: (D,) of a code, or (C, ...) of a map with as many axes as the sample, from whose size on it goes.
        shape: of a series, an image or a clip, channels first.
    """

    def __init__(self, given: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *size = shape
        if not size:
            raise NotImplementedError(f"no upsampling to a vector of {channels} numbers, which has no size to double")
        is_map = len(given) == len(shape)
        self.sizes = [tuple(size)]
        while len(self.sizes) < 2 or max(self.sizes[0]) > SMALLEST:
            smaller = tuple((side + 1) // 2 for side in self.sizes[0])
            if is_map and any(side <= least for side, least in zip(smaller, given[1:])):
                self.sizes.insert(0, given[1:])
                break
            self.sizes.insert(0, smaller)
        first, steps = self.sizes.pop(0), len(self.sizes)
        widths = [min(NARROWEST * 2**number, WIDEST) for number in reversed(range(steps))]
        convolution, norm = _LAYERS[len(size)]
        if is_map:
            self.begin: nn.Module = convolution(given[0], widths[0], 3, padding=1)
        else:
            self.begin = nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(given), widths[0] * math.prod(first)),
                nn.Unflatten(1, (widths[0], *first)),
            )
        self.between = nn.ModuleList(nn.Sequential(norm(width), nn.GELU()) for width in widths)
        self.convolutions = nn.ModuleList(
            convolution(inside, outside, 3, padding=1) for inside, outside in zip(widths, [*widths[1:], channels])
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, *given) -> (B, *shape)."""
        x = self.begin(features)
        for size, between, convolution in zip(self.sizes, self.between, self.convolutions):
            x = convolution(interpolate(between(x), size=size))
        return x
