"""Dilated backbone: residual blocks at nearly full resolution, to restore images, pages divided by their background too."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.plugin import Backbone, Field, Preprocess, SampleSpec

DARKEST = 0.05
"""Lowest background that an image is divided by, so that a black region does not turn to noise."""
SAMPLES = 8
"""Pixels per side of the neighborhood that its median is taken of, about."""


class Dilated(Backbone):
    """Fold squares of pixels into channels, and apply residual blocks of dilated convolutions, all of one size.

    Nothing is pooled, and the first features are the image itself: its pixels reach the decoder past all blocks, and the
    decoder, one convolution, at first returns them. It learns what to change. So the features restore an image and do not
    summarize it, and they have more entries than the image: set ``encoder.dim = 0``, and take another backbone for
    embeddings.

    With `background`, images are divided by the median of each pixel's neighborhood, for dark ink on a lighter ground:
    stains and shadows vanish, and the network starts from the quotient. It sees the image too.

    Yu and Koltun, Multi-scale context aggregation by dilated convolutions, 2016; Zhang, Zuo and Zhang, FFDNet: toward a
    fast and flexible solution for CNN-based image denoising, 2018, for the folding.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        channels: Annotated[int, Field(ge=1, description="channels of each block")] = 24,
        dilations: Annotated[
            list[Annotated[int, Field(ge=1, le=64)]],
            Field(min_length=1, description="dilation of each block: the distance between the pixels that it combines"),
        ] = [1, 1, 2],  # noqa: B006
        fold: Annotated[
            Literal[1, 2, 4],
            Field(description="side of the squares of pixels that become channels; 1: full resolution"),
        ] = 2,
        background: Annotated[
            int,
            Field(
                ge=0,
                le=255,
                description="side in pixels of the neighborhood whose median an image is divided by, larger than letters; "
                "0: the image is not divided",
            ),
        ] = 0,
    ) -> None:
        super().__init__()
        spec.require("image")
        image_channels, *size = spec.shape
        self.padding = tuple(-side % fold for side in size)
        self.image_channels, self.channels, self.fold, self.background = image_channels, channels, fold, background
        self.copied = image_channels * fold**2
        width = self.copied + channels
        first = Fold(image_channels, channels, fold, background, self.padding)
        self.stages = nn.ModuleList([first, *(Block(self.copied, channels, dilation) for dilation in dilations)])
        self.features_shape = (width, *(-(-side // fold) for side in size))
        self.features_dim = math.prod(self.features_shape)
        # Each 3 x 3 convolution sees one square further, or as many as its dilation; and a square is seen whole.
        self.reach = fold * (2 + sum(1 + dilation for dilation in dilations)) + fold - 1
        if background:
            self.reach += background // 2 + fold
        self.note = "its features hold the image, to restore it with encoder.dim = 0; embeddings need another backbone"

    def prepare(self, preprocess: Preprocess) -> None:
        if self.background and not preprocess.unit:
            raise ValueError(f"background = {self.background} needs samples in [0, 1]: set encoder.scaling = 'unit'")

    def mirror(self, stage: int) -> nn.Module:
        # Blocks keep the shape of the features, and the pixels in them.
        return nn.Identity() if stage else Unfold(self.image_channels, self.channels, self.fold, self.padding)

    def mirror_activation(self, stage: int) -> nn.Module:
        return nn.Identity()


class Fold(nn.Module):
    """Map images (B, C, H, W) to the pixels that the decoder starts from, as channels, and features of them.

    Args:
        image_channels: C.
        channels: number of features.
        fold: side of the squares of pixels that become channels.
        background: side of the neighborhood whose median the images are divided by; 0: they are not.
        padding: rows and columns that images lack to be a multiple of `fold`.
    """

    def __init__(
        self, image_channels: int, channels: int, fold: int, background: int, padding: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.fold, self.background, self.padding = fold, background, padding
        inputs = image_channels * fold**2 * (2 if background else 1)
        convolution = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.features = nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C * fold ** 2 + channels, H / fold, W / fold), sizes rounded up."""
        if any(self.padding):
            x = F.pad(x, (0, self.padding[1], 0, self.padding[0]), mode="replicate")
        images = [x]
        if self.background:
            ground = local_median(x.float(), self.background, self.fold)
            images = [(x / ground.clamp(min=DARKEST)).clamp(0, 1), x]
        folded = [F.pixel_unshuffle(image, self.fold) for image in images]
        return torch.cat([folded[0], self.features(torch.cat(folded, 1))], 1)


class Unfold(nn.Module):
    """Map the features back to images (B, C, H, W) by one convolution, which initially returns the pixels in them."""

    def __init__(self, image_channels: int, channels: int, fold: int, padding: tuple[int, ...]) -> None:
        super().__init__()
        self.fold, self.padding = fold, padding
        copied = image_channels * fold**2
        self.convolution = nn.Conv2d(copied + channels, copied, 3, padding=1)
        with torch.no_grad():
            weight = self.convolution.weight
            weight[:, copied:] *= 0.01  # the blocks hardly count before they have learned anything, but get gradients
            weight[:, :copied] = 0.0
            weight[range(copied), range(copied), 1, 1] = 1.0
            nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C * fold ** 2 + channels, h, w) -> (B, C, H, W)."""
        x = F.pixel_shuffle(self.convolution(features), self.fold)
        return x[..., : x.shape[-2] - self.padding[0], : x.shape[-1] - self.padding[1]]


class Block(nn.Module):
    """Map the features after the copied pixels by two convolutions and a shortcut around them; keep the pixels."""

    def __init__(self, copied: int, channels: int, dilation: int) -> None:
        super().__init__()
        self.copied = copied
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, copied + channels, h, w) -> the same."""
        features = x[:, self.copied :]
        return torch.cat([x[:, : self.copied], F.relu(features + self.residual(features))], 1)


def local_median(x: Tensor, side: int, step: int) -> Tensor:
    """Return the median of the neighborhood of each pixel, from a grid of its pixels and interpolated between positions.

    Args:
        x: (B, C, H, W) float32.
        side: side of the neighborhood in pixels.
        step: distance of the positions at which the median is computed.
    """
    spacing = max(1, round(side / SAMPLES))
    count = max(1, side // spacing) // 2 * 2 + 1  # odd, so that the pixel itself is in the middle
    around = (count - 1) * spacing // 2
    height, width = x.shape[2:]
    padded = F.pad(x, (around, around + step, around, around + step), mode="replicate")
    planes = padded.flatten(0, 1)[:, None]
    neighbors = F.unfold(planes, count, dilation=spacing, stride=step)
    # The median of an odd number of values, by an operation that ONNX has too.
    medians = neighbors.topk(count**2 // 2 + 1, dim=1).values[:, -1]
    rows, columns = height // step + 1, width // step + 1
    grid = medians.reshape(x.shape[0], x.shape[1], rows, columns)
    size = [(rows - 1) * step + 1, (columns - 1) * step + 1]
    return F.interpolate(grid, size=size, mode="bilinear", align_corners=True)[..., :height, :width]
