"""Watermark removal: overlay text and logos on each image, and restore the clean one."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from aekit.objectives.restoration import DamagedBatch, LossOption, ResidualOption, RestorationTask
from aekit.objectives.watermarks import PROPORTION, draw_watermark_bank, find_fonts, place_watermarks
from aekit.plugin import Encoder, Field, Samples

Ratio = Annotated[float, Field(ge=0, le=1)]


class WatermarkRemoval(RestorationTask):
    """Overlay watermarks that differ in text, font, size, angle, position, opacity and color, half of them black or white; some
    are tiled over the whole image. They are drawn anew in every step from a bank of masks that is made once before training.

    To find a watermark, the network has to tell what belongs in an image from what does not.

    Raises:
        ValueError: samples that are not images.

    Dekel, Rubinstein, Liu and Freeman, On the effectiveness of visible watermarks, 2017, for how watermarks are overlaid.
    """

    task, damaged_label = "clean", "watermarked"
    bank: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_watermarks: Annotated[int, Field(ge=1, le=16, description="maximum number of watermarks in an image")] = 2,
        min_width: Annotated[float, Field(gt=0, description="minimum width, as a fraction of the longer side")] = 0.3,
        max_width: Annotated[float, Field(gt=0, le=2, description="maximum width")] = 1.0,
        max_angle: Annotated[float, Field(ge=0, le=180, description="maximum angle in degrees, each way")] = 45.0,
        min_opacity: Annotated[Ratio, Field(description="minimum opacity")] = 0.3,
        max_opacity: Annotated[Ratio, Field(description="maximum opacity; 1 hides the image below")] = 0.9,
        tiled_ratio: Annotated[Ratio, Field(description="fraction of watermarks that are tiled")] = 0.1,
        logo_ratio: Annotated[Ratio, Field(description="fraction of watermarks that are logos rather than text")] = 0.3,
        bank_size: Annotated[int, Field(ge=1, le=4096, description="number of masks in the bank")] = 256,
        fonts: Annotated[
            list[str] | None,
            Field(description="font files or folders of them; by default the system's fonts, or else Pillow's own"),
        ] = None,
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        encoder.spec.require("image")
        if min_width > max_width:
            raise ValueError(f"min_width = {min_width:g}: expected at most max_width = {max_width:g}")
        if min_opacity > max_opacity:
            raise ValueError(f"min_opacity = {min_opacity:g}: expected at most max_opacity = {max_opacity:g}")
        super().__init__(encoder, loss, residual)
        self.max_watermarks, self.max_angle, self.tiled_ratio = max_watermarks, math.radians(max_angle), tiled_ratio
        self.min_width, self.max_width = min_width, max_width
        self.min_opacity, self.max_opacity = min_opacity, max_opacity
        self.logo_ratio, self.fonts = logo_ratio, fonts or ()
        # The widest watermarks are drawn at their own size: enlarging blurs, reducing much leaves jagged edges.
        height = max(8, round(max_width * max(encoder.spec.shape[1:]) / PROPORTION))
        self.register_buffer("bank", torch.zeros(bank_size, height, PROPORTION * height, dtype=torch.uint8))

    def start(self, samples: Samples) -> None:
        fonts = find_fonts(self.fonts)
        count, height, _ = self.bank.shape
        self.bank.copy_(draw_watermark_bank(count, height, self.logo_ratio, fonts))
        self.note = f"watermark-removal: {count} watermarks in {len(fonts) or 1} fonts"

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        # Images larger than in training get more watermarks, of the same size.
        area = math.prod(x.shape[2:]) / math.prod(self.encoder.spec.shape[1:])
        most = max(self.max_watermarks, round(self.max_watermarks * area))
        count = (
            torch.randint(1, self.max_watermarks + 1, (len(x),), generator=generator, device=x.device)
            * most
            // self.max_watermarks
        )
        for number in range(most):
            marked = self._add_watermarks(x, generator, self.tiled_ratio * self.max_watermarks / most)
            x = torch.where((count > number).view(-1, 1, 1, 1), marked, x)
        return DamagedBatch(x)

    def _add_watermarks(self, x: Tensor, generator: torch.Generator, tiled: float) -> Tensor:
        """Overlay one watermark on each of (B, C, H, W); a fraction of them is tiled."""
        batch, channels, height, width = x.shape
        drawn = torch.rand(9, batch, generator=generator, device=x.device)
        masks = self.bank[(drawn[0] * len(self.bank)).long()].float() / 255
        longer = max(self.encoder.spec.shape[1:])
        narrowest, widest = math.log(self.min_width * longer), math.log(self.max_width * longer)
        place, size = (drawn[1:3] - 0.5), torch.exp(narrowest + drawn[3] * (widest - narrowest))
        angle, repeated = (2 * drawn[4] - 1) * self.max_angle, drawn[5] < tiled
        mask = place_watermarks(masks, place[0] * width, place[1] * height, size, angle, repeated, (height, width))
        opacity = self.min_opacity + drawn[6] * (self.max_opacity - self.min_opacity)
        color = torch.rand(batch, channels, 1, 1, generator=generator, device=x.device)
        plain = (drawn[8] < 0.5).float().view(-1, 1, 1, 1)
        color = torch.where((drawn[7] < 0.5).view(-1, 1, 1, 1), plain, color)
        black, white = self.encoder.preprocess.low, self.encoder.preprocess.high
        return x + opacity.view(-1, 1, 1, 1) * mask * (black + color * (white - black) - x)
