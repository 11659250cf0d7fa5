"""Augment vectors: replace entries by those of other samples, and add noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength, format_percent, normal
from aekit.nn.gather import gather


@dataclass(frozen=True, kw_only=True)
class VectorAugmentation(Augmentation):
    """Keep a fraction `crop_scale` of the entries and replace each other by that of a random sample of the batch, a draw from the
    entry's marginal distribution; then add noise.

    Bahri, Jiang, Tay and Metzler, SCARF: self-supervised contrastive learning using random feature corruption, 2022. They
    replace 0.6 of the entries of one view; here both views are augmented, and replacing 0.4 of each leaves as many entries in
    common.

    Attributes:
        noise: standard deviation of the noise, on the preprocessed scale.
    """

    noise: float

    @property
    def description(self) -> str:
        return f"{format_percent(self.crop_scale)} of the entries, the rest from other samples; noise"

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        draws = torch.rand(x.shape, generator=generator, device=x.device)
        batch = gather(x)
        rows = torch.randint(len(batch), x.shape, generator=generator, device=x.device)
        mixed = torch.where(draws < self.crop_scales(len(x), generator)[:, None], x, batch.gather(0, rows))
        return mixed + self.noise * normal(*x.shape, generator=generator)


KEEP = {"weak": 0.8, "default": 0.6, "strong": 0.4}
NOISE = {"weak": 0.05, "default": 0.1, "strong": 0.2}
"""For data of standard deviation 1; data in [0, 1] has about a quarter of it."""


def vector_augmentation(preprocess: Preprocess, strength: Strength = "default") -> VectorAugmentation:
    """Return the augmentation for vectors (D,)."""
    noise = NOISE[strength] / (4 if preprocess.unit else 1)
    return VectorAugmentation(crop_scale=(KEEP[strength], KEEP[strength]), unit=preprocess.unit, noise=noise)
