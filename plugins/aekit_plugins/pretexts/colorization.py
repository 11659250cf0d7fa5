"""Colorization: the encoder sees the lightness of an image, and its code has to say which colors belong to it."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.color import ab_bins, lab_to_rgb, lightness_to_rgb, rebalancing_weights, rgb_to_lab, soft_encode_ab
from aekit.objectives.restoration import DamagedBatch, RestorationTask
from aekit.plugin import Encoder, Field, Samples, resample

WIDTH = 32
"""Channels that the decoder ends with, for classes, before each pixel is told its class."""
MOST = 2000
"""Training images whose colors are counted, evenly spaced."""


class Colorization(RestorationTask):
    """Lightness in, the colors a and b of CIELAB out; the lightness of the result is that of what the network saw.

    ``classes`` predicts a distribution over bins of a and b for each small square of pixels: wherever a thing may have several
    colors, it names one of them, where the mean of regression is gray. Rare colors, which are the vivid ones, count more.
    The color shown is the mean of the distribution, sharpened. Images of other sizes get the colors of an image of the
    network's size.
    The encoder learns from images without color; embed images without color with it.

    Zhang, Isola and Efros, Colorful image colorization, 2016.

    Raises:
        ValueError: samples other than images in red, green and blue, or values that have no white.
    """

    task, damaged_label, any_size = "colorize", "left gray", True
    bins: Tensor
    rarity: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        way: Annotated[Literal["classes", "regression"], Field(description="of colors, or to a and b")] = "classes",
        grid: Annotated[float, Field(ge=2, le=50, description="side of a bin of a and b, for classes")] = 10.0,
        square: Annotated[
            Literal[1, 2, 4], Field(description="pixels along a side that share a distribution, for classes")
        ] = 2,
        temperature: Annotated[
            float, Field(gt=0, le=1, description="of the color shown: 1 is the mean, towards 0 the likeliest")
        ] = 0.38,
    ) -> None:
        spec, reach = encoder.spec, encoder.preprocess.raw_range()
        if not spec.is_image or spec.shape[0] != 3:
            raise ValueError(f"expected images in red, green and blue (3, H, W), found {spec}")
        self.white = {"uint8": 255.0, "uint16": 65535.0}.get(spec.dtype, 1.0)
        if float(reach[0].min()) < 0 or float(reach[1].max()) > self.white:
            raise ValueError(f"expected values in 0..{self.white:g}, found {reach[0].min():g}..{reach[1].max():g}")
        self.way, self.square, self.temperature = way, square, temperature
        super().__init__(encoder, residual=False)
        if way == "classes":
            self.register_buffer("bins", ab_bins(grid))
            self.register_buffer("rarity", torch.ones(len(self.bins)))
            self.told = nn.Sequential(nn.GELU(), nn.Conv2d(WIDTH, len(self.bins), 1))

    def make_decoder(self, channels: int | None = None) -> nn.Module:
        return super().make_decoder(2 if self.way == "regression" else WIDTH)

    def start(self, samples: Samples) -> None:
        if self.way == "classes":
            counts = torch.zeros(len(self.bins), dtype=torch.float64, device=self.bins.device)
            for raw in samples.chunks(size=64, max_samples=MOST):
                ab = self._reduced(rgb_to_lab(self._rgb(self.encoder.preprocess(raw)))[:, 1:])
                places, weights = soft_encode_ab(ab, self.bins)
                counts += torch.bincount(places.flatten(), weights.flatten().double(), len(self.bins))
            self.rarity.copy_(rebalancing_weights(counts))

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        return DamagedBatch(self._scaled(lightness_to_rgb(rgb_to_lab(self._rgb(x))[:, :1])), hidden)

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        return self.prepare_damaged(x)

    def transform(self, x: Tensor) -> Tensor:
        lab, given = rgb_to_lab(self._rgb(x)), self._given(x)
        if self.way == "classes":
            given = torch.einsum("bq...,qc->bc...", (given / self.temperature).softmax(1), self.bins)
        colors = F.interpolate(given, x.shape[2:], mode="bilinear", align_corners=False)
        return self._scaled(lab_to_rgb(torch.cat([lab[:, :1], colors], 1)))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, 3, H, W) -> cross-entropy of a square's color, weighted by rarity, or squared error of a and b, in tens."""
        with torch.autocast(x.device.type, enabled=False):  # colors need all digits
            ab, visible = rgb_to_lab(self._rgb(x))[:, 1:], self.prepare_damaged(x).visible
            if self.way == "classes":
                places, shares = soft_encode_ab(self._reduced(ab), self.bins)  # (B, h, w, K)
        given = self._given(visible)
        if self.way == "regression":
            return {"loss": (given - ab).square().mean() / 100}
        nats = -(given.log_softmax(1).movedim(1, -1).gather(-1, places) * shares).sum(-1)
        rarity = self.rarity[places[..., 0]]
        return {"loss": (rarity * nats).sum() / rarity.sum(), "nats": nats.detach().mean()}

    def _given(self, visible: Tensor) -> Tensor:
        """(B, 3, H, W) -> a and b (B, 2, H, W), or logits (B, Q, h, w)."""
        decoded = self.decode(resample(visible, self.encoder.spec.shape[1:]))
        # The decoder starts with outputs of about 1, colors are of the order of 10.
        return 10 * decoded if self.way == "regression" else self.told(self._reduced(decoded)).float()

    def _reduced(self, x: Tensor) -> Tensor:
        return x if self.square == 1 else F.avg_pool2d(x, self.square, ceil_mode=True, count_include_pad=False)

    def _rgb(self, x: Tensor) -> Tensor:
        return (self.encoder.preprocess.inverse(x) / self.white).clamp(0, 1)

    def _scaled(self, rgb: Tensor) -> Tensor:
        return self.encoder.preprocess(rgb * self.white)
