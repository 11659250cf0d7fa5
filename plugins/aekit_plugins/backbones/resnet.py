"""ResNet backbone: residual networks over images, series and clips."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from aekit.plugin import Backbone, Field, SampleSpec

LAYERS: dict[str, tuple[Any, Any, Any, Any]] = {
    "series": (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d),
    "image": (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
    "clip": (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d),
}
"""Kind of sample -> convolution, norm, max pooling and average pooling."""
SMALL_SIDE = 64
"""Longest shorter side of samples that get the small stem with ``stem = "auto"``."""


class ResNet(Backbone):
    """Apply a stem and groups of residual blocks, and average over all positions.

    Each group but the first halves the sample and doubles the channels. The default is ResNet-18; ``blocks = [3, 4, 6, 3]``
    gives ResNet-34. It has no decoder. The small stem is a convolution with kernel 3 and neither stride nor pooling, as is
    customary for CIFAR-10; the large one, with kernel 7, stride and pooling, reduces the resolution to a quarter.

    He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2016.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        blocks: Annotated[
            list[Annotated[int, Field(ge=1)]] | None,
            Field(min_length=1, description="residual blocks per group; by default 2, 2, 2, 2"),
        ] = None,
        width: Annotated[
            int, Field(ge=1, description="channels of the first group", json_schema_extra={"search": [16, 32, 64]})
        ] = 64,
        stem: Annotated[
            Literal["auto", "small", "large"], Field(description="stem; auto: small if the shorter side is at most 64")
        ] = "auto",
    ) -> None:
        super().__init__()
        spec.require("series", "image", "clip")
        convolution, norm, max_pool, average_pool = self.layers = LAYERS[spec.kind]
        channels, *size = spec.shape
        small = min(size[-2:]) <= SMALL_SIDE if stem == "auto" else stem == "small"
        kernel, stride = (3, 1) if small else (7, 2)
        stem_layers = [
            convolution(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False),
            norm(width),
            nn.ReLU(),
            *([] if small else [max_pool(3, stride=2, padding=1)]),
        ]
        stages, in_channels = [nn.Sequential(*stem_layers)], width
        for group, count in enumerate(blocks or [2, 2, 2, 2]):
            out_channels = width * 2**group
            first = Block(self.layers, in_channels, out_channels, stride=1 if group == 0 else 2)
            others = [Block(self.layers, out_channels, out_channels, stride=1) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *others))
            in_channels = out_channels
        stages[-1].extend([average_pool(1), nn.Flatten()])
        self.stages = nn.ModuleList(stages)
        self.features_dim, self.features_shape = in_channels, (in_channels,)
        for module in self.modules():
            if isinstance(module, convolution):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Block(nn.Module):
    """Map (B, in_channels, ...) -> (B, out_channels, ...) by two convolutions and a shortcut around them."""

    def __init__(self, layers: tuple[Any, ...], in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        convolution, norm = layers[:2]
        self.residual = nn.Sequential(
            convolution(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            norm(out_channels),
            nn.ReLU(),
            convolution(out_channels, out_channels, 3, padding=1, bias=False),
            norm(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            projection = convolution(in_channels, out_channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))
