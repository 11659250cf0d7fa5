"""Colorization: predict the colors of an image from its lightness."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.color import ab_bins, lab_to_rgb, lightness_to_rgb, rebalancing_weights, rgb_to_lab, soft_encode_ab
from aekit.nn.gather import batch_sum
from aekit.objectives.restoration import DamagedBatch, RestorationTask
from aekit.plugin import Encoder, Field, Samples, resample

WIDTH = 32
"""Output channels of the decoder before the per-pixel classifier, for classes."""
MAX_COUNTED = 2000
"""Number of evenly spaced training images whose colors are counted."""


class Colorization(RestorationTask):
    """Map lightness to the a and b channels of CIELAB; the result keeps the lightness of the input.

    ``classes`` predicts a distribution over bins of a and b for each small square of pixels: where an object can have several
    colors, it picks one of them, while the mean that regression predicts is gray. Rare colors, which are the vivid ones, get
    more weight. The displayed color is the mean of the sharpened distribution. Images of other sizes get the colors of the
    image resized to the network's size.
    The encoder learns from images without color; embed images without color with it.

    Zhang, Isola and Efros, Colorful image colorization, 2016.

    Raises:
        ValueError: samples other than RGB images, or values outside the range from black to white.
    """

    task, damaged_label, any_size = "colorize", "grayscale", True
    bins: Tensor
    rarity: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        target: Annotated[
            Literal["classes", "regression"], Field(description="classify color bins, or regress a and b")
        ] = "classes",
        grid: Annotated[float, Field(ge=2, le=50, description="side length of a bin of a and b, for classes")] = 10.0,
        square: Annotated[
            Literal[1, 2, 4], Field(description="side in pixels of the squares that share a distribution, for classes")
        ] = 2,
        temperature: Annotated[
            float,
            Field(
                gt=0, le=1, description="softmax temperature of the displayed color; 1: the mean; toward 0: the mode"
            ),
        ] = 0.38,
    ) -> None:
        spec, (low, high) = encoder.spec, encoder.preprocess.raw_range()
        if not spec.is_image or spec.shape[0] != 3:
            raise ValueError(f"expected RGB images (3, H, W), found {spec}")
        self.white = {"uint8": 255.0, "uint16": 65535.0}.get(spec.dtype, 1.0)
        if float(low.min()) < 0 or float(high.max()) > self.white:
            raise ValueError(f"expected values in 0..{self.white:g}, found {low.min():g}..{high.max():g}")
        self.target, self.square, self.temperature = target, square, temperature
        super().__init__(encoder, residual=False)
        if target == "classes":
            self.register_buffer("bins", ab_bins(grid))
            self.register_buffer("rarity", torch.ones(len(self.bins)))
            self.classifier = nn.Sequential(nn.GELU(), nn.Conv2d(WIDTH, len(self.bins), 1))

    def make_decoder(self, channels: int | None = None) -> nn.Module:
        return super().make_decoder(2 if self.target == "regression" else WIDTH)

    def start(self, samples: Samples) -> None:
        if self.target == "classes":
            counts = torch.zeros(len(self.bins), dtype=torch.float64, device=self.bins.device)
            for raw in samples.chunks(size=64, max_samples=MAX_COUNTED):
                ab = self._reduced(rgb_to_lab(self._rgb(self.encoder.preprocess(raw)))[:, 1:])
                places, weights = soft_encode_ab(ab, self.bins)
                counts += torch.bincount(places.flatten(), weights.flatten().double(), len(self.bins))
            self.rarity.copy_(rebalancing_weights(counts))

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        return DamagedBatch(self._scaled(lightness_to_rgb(rgb_to_lab(self._rgb(x))[:, :1])), hidden)

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        return self.prepare_damaged(x)

    def transform(self, x: Tensor) -> Tensor:
        lab, predicted = rgb_to_lab(self._rgb(x)), self._predict(x)
        if self.target == "classes":
            predicted = torch.einsum("bq...,qc->bc...", (predicted / self.temperature).softmax(1), self.bins)
        colors = F.interpolate(predicted, x.shape[2:], mode="bilinear", align_corners=False)
        return self._scaled(lab_to_rgb(torch.cat([lab[:, :1], colors], 1)))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the rarity-weighted cross-entropy of the squares' colors, or the squared error of a and b in units of 10."""
        with torch.autocast(x.device.type, enabled=False):  # colors need all digits
            ab, visible = rgb_to_lab(self._rgb(x))[:, 1:], self.prepare_damaged(x).visible
            if self.target == "classes":
                bins, bin_weights = soft_encode_ab(self._reduced(ab), self.bins)  # (B, h, w, K)
        predicted = self._predict(visible)
        if self.target == "regression":
            return {"loss": (predicted - ab).square().mean() / 100}
        nats = -(predicted.log_softmax(1).movedim(1, -1).gather(-1, bins) * bin_weights).sum(-1)
        rarity = self.rarity[bins[..., 0]]
        return {"loss": batch_sum((rarity * nats).sum()) / batch_sum(rarity.sum()), "nats": nats.detach().mean()}

    def _predict(self, visible: Tensor) -> Tensor:
        """Return a and b (B, 2, H, W), or logits (B, Q, h, w), for images (B, 3, H, W)."""
        decoded = self.decode(resample(visible, self.encoder.spec.shape[1:]))
        # Initial outputs of the decoder are about 1; colors are of the order of 10.
        return 10 * decoded if self.target == "regression" else self.classifier(self._reduced(decoded)).float()

    def _reduced(self, x: Tensor) -> Tensor:
        return x if self.square == 1 else F.avg_pool2d(x, self.square, ceil_mode=True, count_include_pad=False)

    def _rgb(self, x: Tensor) -> Tensor:
        return (self.encoder.preprocess.inverse(x) / self.white).clamp(0, 1)

    def _scaled(self, rgb: Tensor) -> Tensor:
        return self.encoder.preprocess(rgb * self.white)
