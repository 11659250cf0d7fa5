"""Mark removal: text and logos are laid over each image, and the clean one has to be restored."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from aekit.objectives.restoration import DamagedBatch, LossOption, ResidualOption, RestorationTask
from aekit.objectives.watermarks import PROPORTION, draw_watermark_bank, find_fonts, place_watermarks
from aekit.plugin import Encoder, Field, Samples

Share = Annotated[float, Field(ge=0, le=1)]


class WatermarkRemoval(RestorationTask):
    """Marks differ in words, font, size, angle, place, opacity and color, half of them black or white; some are tiled over the
    whole image. Which, is drawn anew at every presentation from a bank of masks, which is drawn once, before training.

    To find a mark the network has to tell what belongs into an image from what does not.

    Raises:
        ValueError: samples that are not images.

    Dekel, Rubinstein, Liu and Freeman, On the effectiveness of visible watermarks, 2017, for how marks are laid over.
    """

    task, damaged_label = "clean", "marks left"
    bank: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        most: Annotated[int, Field(ge=1, le=16, description="marks in an image; there is one at least")] = 2,
        smallest: Annotated[float, Field(gt=0, description="width of a mark, as a share of the longer side")] = 0.3,
        largest: Annotated[float, Field(gt=0, le=2, description="the same of the widest")] = 1.0,
        turn: Annotated[float, Field(ge=0, le=180, description="largest angle in degrees, each way")] = 45.0,
        faintest: Annotated[Share, Field(description="lowest opacity of a mark")] = 0.3,
        strongest: Annotated[Share, Field(description="the highest; 1 hides what is below")] = 0.9,
        tiled: Annotated[Share, Field(description="share of the marks that are repeated all over the image")] = 0.1,
        logos: Annotated[Share, Field(description="share of the marks that are logos, not text")] = 0.3,
        different: Annotated[int, Field(ge=1, le=4096, description="masks in the bank")] = 256,
        fonts: Annotated[
            list[str] | None,
            Field(description="font files, or folders of them; by default what the system has, or else Pillow's own"),
        ] = None,
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        if not encoder.spec.is_image:
            raise ValueError(f"expected images (C, H, W), found {encoder.spec}")
        if smallest > largest or faintest > strongest:
            what = f"smallest = {smallest:g}" if smallest > largest else f"faintest = {faintest:g}"
            raise ValueError(f"{what} is above its counterpart")
        super().__init__(encoder, loss, residual)
        self.most, self.turn, self.tiled = most, math.radians(turn), tiled
        self.smallest, self.largest, self.faintest, self.strongest = smallest, largest, faintest, strongest
        self.logos, self.fonts = logos, fonts or ()
        # The widest marks are drawn at their own size: what is enlarged is blurred, what is reduced much is ragged.
        height = max(8, round(largest * max(encoder.spec.shape[1:]) / PROPORTION))
        self.register_buffer("bank", torch.zeros(different, height, PROPORTION * height, dtype=torch.uint8))

    def start(self, samples: Samples) -> None:
        fonts = find_fonts(self.fonts)
        count, height, _ = self.bank.shape
        self.bank.copy_(draw_watermark_bank(count, height, self.logos, fonts))
        self.note = f"watermark-removal: {count} marks in {len(fonts) or 1} fonts"

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        # Images that are larger than in training have more marks, of the same size.
        area = math.prod(x.shape[2:]) / math.prod(self.encoder.spec.shape[1:])
        most = max(self.most, round(self.most * area))
        count = torch.randint(1, self.most + 1, (len(x),), generator=generator, device=x.device) * most // self.most
        for number in range(most):
            marked = self._add_watermarks(x, generator, self.tiled * self.most / most)
            x = torch.where((count > number).view(-1, 1, 1, 1), marked, x)
        return DamagedBatch(x)

    def _add_watermarks(self, x: Tensor, generator: torch.Generator, tiled: float) -> Tensor:
        """(B, C, H, W) with a mark each, of which a share is tiled."""
        batch, channels, high, wide = x.shape
        drawn = torch.rand(9, batch, generator=generator, device=x.device)
        masks = self.bank[(drawn[0] * len(self.bank)).long()].float() / 255
        low, top = (math.log(share * max(self.encoder.spec.shape[1:])) for share in (self.smallest, self.largest))
        place, width = (drawn[1:3] - 0.5), torch.exp(low + drawn[3] * (top - low))
        angle, repeated = (2 * drawn[4] - 1) * self.turn, drawn[5] < tiled
        mask = place_watermarks(masks, place[0] * wide, place[1] * high, width, angle, repeated, (high, wide))
        opacity = self.faintest + drawn[6] * (self.strongest - self.faintest)
        color = torch.rand(batch, channels, 1, 1, generator=generator, device=x.device)
        plain = (drawn[8] < 0.5).float().view(-1, 1, 1, 1)
        color = torch.where((drawn[7] < 0.5).view(-1, 1, 1, 1), plain, color)
        low_, high_ = self.encoder.preprocess.low, self.encoder.preprocess.high
        return x + opacity.view(-1, 1, 1, 1) * mask * (low_ + color * (high_ - low_) - x)
