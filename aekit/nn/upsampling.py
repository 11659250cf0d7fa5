"""Decoder for networks that cannot be mirrored: upsampling convolutions from a code to a sample."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

MAX_FIRST_SIDE, MIN_CHANNELS, MAX_CHANNELS = 4, 32, 256
"""Longest side of the first map; channels of the last map, and most channels of any map."""

_LAYERS: dict[int, tuple[Any, Any]] = {
    1: (nn.Conv1d, nn.BatchNorm1d),
    2: (nn.Conv2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.BatchNorm3d),
}


class Upsampling(nn.Module):
    """Map features (B, *features_shape) -> (B, *shape), before any output activation.

    Each step about doubles the size of the map by repeating its entries, ending at the exact size of the sample, and then
    convolves it. This avoids the checkerboard artifacts of transposed convolutions (Odena, Dumoulin and Olah, Deconvolution
    and checkerboard artifacts, 2016).

    Args:
        features_shape: (D,) of a code, or (C, ...) of a map with as many axes as the sample.
        shape: of a series, an image or a clip, channels first.

    Raises:
        NotImplementedError: `shape` is that of a vector.
    """

    def __init__(self, features_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *size = shape
        if not size:
            raise NotImplementedError(f"cannot upsample to vectors ({channels},): expected series, images or clips")
        is_map = len(features_shape) == len(shape)
        self.sizes = [tuple(size)]
        while len(self.sizes) < 2 or max(self.sizes[0]) > MAX_FIRST_SIDE:
            smaller = tuple((side + 1) // 2 for side in self.sizes[0])
            if is_map and any(side <= first for side, first in zip(smaller, features_shape[1:])):
                self.sizes.insert(0, features_shape[1:])
                break
            self.sizes.insert(0, smaller)
        first, steps = self.sizes.pop(0), len(self.sizes)
        widths = [min(MIN_CHANNELS * 2**number, MAX_CHANNELS) for number in reversed(range(steps))]
        convolution, norm = _LAYERS[len(size)]
        if is_map:
            self.begin: nn.Module = convolution(features_shape[0], widths[0], 3, padding=1)
        else:
            self.begin = nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(features_shape), widths[0] * math.prod(first)),
                nn.Unflatten(1, (widths[0], *first)),
            )
        self.activations = nn.ModuleList(nn.Sequential(norm(width), nn.GELU()) for width in widths)
        self.convolutions = nn.ModuleList(
            convolution(width, next_width, 3, padding=1) for width, next_width in zip(widths, [*widths[1:], channels])
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, *features_shape) -> (B, *shape)."""
        x = self.begin(features)
        for size, activation, convolution in zip(self.sizes, self.activations, self.convolutions):
            x = convolution(interpolate(activation(x), size=size))
        return x
