"""Strided convolutions over pictures: any size from 8 to 512 and beyond, any number of channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from torch import nn

from aekit.encoder import Backbone
from aekit.options import Field
from aekit.samples import SampleSpec

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda width: nn.GroupNorm(math.gcd(8, width), width),
    "none": nn.Identity,
}
SMALLEST = 4
"""Stages halve the picture until its shorter side is at most this; there are two at least, as one alone is nearly linear."""


class Conv(Backbone):
    """Stages of a 3x3 convolution with stride 2, a norm and an activation; each halves the picture, rounding up.

    Masci, Meier, Ciresan and Schmidhuber, Stacked convolutional auto-encoders, 2011.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        channels: Annotated[
            list[Annotated[int, Field(ge=1)]] | None,
            Field(description="of each stage; by default 32, 64, 128, 256, 256, ... until the map is about 4 x 4"),
        ] = None,
        activation: Annotated[Literal["relu", "gelu", "silu"], Field(description="after each convolution")] = "gelu",
        norm: Annotated[Literal["batch", "group", "none"], Field(description="between the two")] = "batch",
    ) -> None:
        super().__init__()
        if spec.kind != "image":
            raise ValueError(f"expected pictures (C, H, W), found {spec.kind}")
        self.norm, self.activation = NORMS[norm], ACTIVATIONS[activation]
        inside, *size = spec.shape
        # sizes[i] is what stage i takes in; its mirror has to give back exactly that, odd or even.
        self.sizes = [tuple(size)]
        self.channels = [inside]
        for width in _default_channels(min(size)) if channels is None else channels:
            if max(self.sizes[-1]) == 1:
                raise ValueError(f"{len(channels or [])} stages, but {len(self.channels) - 1} leave one pixel")
            self.channels.append(width)
            self.sizes.append(tuple((side + 1) // 2 for side in self.sizes[-1]))
        self.stages = nn.ModuleList(self._stage(number) for number in range(len(self.channels) - 1))
        self.features_shape = (self.channels[-1], *self.sizes[-1])
        self.features_dim = self.channels[-1] * self.sizes[-1][0] * self.sizes[-1][1]

    def _stage(self, number: int) -> nn.Module:
        inside, outside = self.channels[number], self.channels[number + 1]
        # (B, inside, H, W) -> (B, outside, ceil(H / 2), ceil(W / 2))
        convolution = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=self.norm is NORMS["none"])
        return nn.Sequential(convolution, self.norm(outside), self.activation())

    def mirror(self, stage: int) -> nn.Module:
        outside, inside = self.channels[stage], self.channels[stage + 1]
        (high, wide), (low, narrow) = self.sizes[stage], self.sizes[stage + 1]
        padding = (high - (2 * low - 1), wide - (2 * narrow - 1))
        # (B, inside, h, w) -> (B, outside, 2h - 1 + padding, 2w - 1 + padding)
        widen = nn.ConvTranspose2d(inside, outside, 3, stride=2, padding=1, output_padding=padding)
        return widen if stage == 0 else nn.Sequential(widen, self.norm(outside), self.activation())


def _default_channels(side: int) -> list[int]:
    channels: list[int] = []
    while side > SMALLEST or len(channels) < 2:
        channels.append(min(32 * 2 ** len(channels), 256))
        side = (side + 1) // 2
    return channels
