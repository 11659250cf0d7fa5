"""Residual networks over images, series and clips, large and small."""

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
"""Kind of sample -> convolution, norm, and the two ways to pool."""
SMALL = 64
"""Samples whose shorter side is at most this have the stem for small ones, unless told otherwise."""


class ResNet(Backbone):
    """A stem, then groups of residual blocks, each group but the first halving the sample and doubling the channels; the mean
    over all places is the features. By default ResNet-18; ``blocks = [3, 4, 6, 3]`` is ResNet-34. It has no decoder.

    The small stem is a convolution of 3 entries without stride or pooling, as is usual for CIFAR-10; the large one, of 7
    entries with stride and pooling, is for samples that can do with a quarter of their resolution.

    He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2016.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        blocks: Annotated[
            list[Annotated[int, Field(ge=1)]] | None,
            Field(min_length=1, description="residual blocks in each group; by default 2, 2, 2, 2"),
        ] = None,
        width: Annotated[int, Field(ge=1, description="channels of the first group")] = 64,
        stem: Annotated[
            Literal["auto", "small", "large"], Field(description="auto: small if the shorter side is at most 64")
        ] = "auto",
    ) -> None:
        super().__init__()
        if spec.kind not in LAYERS:
            raise ValueError(f"expected series (C, T), images (C, H, W) or clips (C, T, H, W), found {spec.kind}")
        convolution, norm, most, mean = self.layers = LAYERS[spec.kind]
        channels, *size = spec.shape
        small = min(size[-2:]) <= SMALL if stem == "auto" else stem == "small"
        wide, stride = (3, 1) if small else (7, 2)
        stem_layers = [
            convolution(channels, width, wide, stride=stride, padding=wide // 2, bias=False),
            norm(width),
            nn.ReLU(),
            *([] if small else [most(3, stride=2, padding=1)]),
        ]
        stages, inside = [nn.Sequential(*stem_layers)], width
        for group, count in enumerate(blocks or [2, 2, 2, 2]):
            outside = width * 2**group
            first = Block(self.layers, inside, outside, stride=1 if group == 0 else 2)
            others = [Block(self.layers, outside, outside, stride=1) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *others))
            inside = outside
        stages[-1].extend([mean(1), nn.Flatten()])
        self.stages = nn.ModuleList(stages)
        self.features_dim, self.features_shape = inside, (inside,)
        for module in self.modules():
            if isinstance(module, convolution):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Block(nn.Module):
    """(B, inside, ...) -> (B, outside, ...): two convolutions, to whose output the input is added."""

    def __init__(self, layers: tuple[Any, ...], inside: int, outside: int, *, stride: int) -> None:
        super().__init__()
        convolution, norm = layers[:2]
        self.changes = nn.Sequential(
            convolution(inside, outside, 3, stride=stride, padding=1, bias=False),
            norm(outside),
            nn.ReLU(),
            convolution(outside, outside, 3, padding=1, bias=False),
            norm(outside),
        )
        self.passes: nn.Module = nn.Identity()
        if stride > 1 or inside != outside:
            self.passes = nn.Sequential(convolution(inside, outside, 1, stride=stride, bias=False), norm(outside))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.changes(x) + self.passes(x))
