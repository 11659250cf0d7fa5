"""Convolutional backbone: strided convolutions over series, images and clips of any size."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from torch import nn

from aekit.plugin import Backbone, Field, SampleSpec, TiedLayer

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
LAYERS: dict[str, tuple[Any, Any, Any]] = {
    "series": (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d),
    "image": (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
    "clip": (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
}
"""Kind of sample -> convolution, transposed convolution, batch norm."""
MIN_SIDE = 4
"""By default, stages halve the sample until its shorter side is at most this; at least two, as one alone is nearly linear."""


class Conv(Backbone):
    """Halve the sample in each stage, by a convolution with stride 2, a norm and an activation; odd sizes are rounded up.

    Series are convolved along time, images over height and width, clips over all three.

    Masci, Meier, Ciresan and Schmidhuber, Stacked convolutional auto-encoders, 2011.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        channels: Annotated[
            list[Annotated[int, Field(ge=1)]] | None,
            Field(
                description="channels of each stage; by default 32, 64, 128, 256, ... until the map is about 4 x 4",
                json_schema_extra={"search": [None, [16, 32], [64, 128], [64, 128, 256]]},
            ),
        ] = None,
        activation: Annotated[
            Literal["relu", "gelu", "silu", "sigmoid", "tanh"],
            Field(description="activation after each stage", json_schema_extra={"search": ["relu", "gelu", "silu"]}),
        ] = "gelu",
        norm: Annotated[Literal["batch", "group", "none"], Field(description="norm before the activation")] = "batch",
        tied: Annotated[bool, Field(description="use the encoder's weights, transposed, in the decoder")] = False,
    ) -> None:
        super().__init__()
        spec.require("series", "image", "clip")
        self.layers, self.norm, self.activation, self.tied = LAYERS[spec.kind], norm, ACTIVATIONS[activation], tied
        in_channels, *size = spec.shape
        # sizes[i] is the input size of stage i, which its mirror has to restore exactly, odd or even.
        self.sizes = [tuple(size)]
        self.channels = [in_channels]
        for width in _default_channels(min(size[-2:])) if channels is None else channels:
            if max(self.sizes[-1]) == 1:
                possible = len(self.channels) - 1
                raise ValueError(
                    f"{len(channels or [])} stages: expected at most {possible} for samples of {spec.shape}"
                )
            self.channels.append(width)
            self.sizes.append(tuple((side + 1) // 2 for side in self.sizes[-1]))
        self.stages = nn.ModuleList(self._stage(number) for number in range(len(self.channels) - 1))
        self.features_shape = (self.channels[-1], *self.sizes[-1])
        self.features_dim = math.prod(self.features_shape)

    def _stage(self, number: int) -> nn.Module:
        in_channels, out_channels = self.channels[number], self.channels[number + 1]
        # (B, in_channels, ..., W) -> (B, out_channels, ..., ceil(W / 2))
        convolution = self.layers[0](in_channels, out_channels, 3, stride=2, padding=1, bias=self.norm == "none")
        return nn.Sequential(convolution, *self.mirror_activation(number).children())

    def mirror(self, stage: int) -> nn.Module:
        out_channels, in_channels = self.channels[stage], self.channels[stage + 1]
        # (B, in_channels, ..., w) -> (B, out_channels, ..., 2w - 1 + padding)
        padding = tuple(large - (2 * small - 1) for large, small in zip(self.sizes[stage], self.sizes[stage + 1]))
        if self.tied:
            return TiedLayer(next(self.stages[stage].children()), out_channels, padding)
        return self.layers[1](in_channels, out_channels, 3, stride=2, padding=1, output_padding=padding)

    def mirror_activation(self, stage: int) -> nn.Module:
        width = self.channels[stage + 1]
        norms = {"batch": self.layers[2], "group": lambda width: nn.GroupNorm(math.gcd(8, width), width)}
        return nn.Sequential(norms.get(self.norm, lambda width: nn.Identity())(width), self.activation())


def _default_channels(side: int) -> list[int]:
    channels: list[int] = []
    while side > MIN_SIDE or len(channels) < 2:
        channels.append(min(32 * 2 ** len(channels), 256))
        side = (side + 1) // 2
    return channels
