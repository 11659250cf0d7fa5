"""Views of vectors: entries replaced by other samples', and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength, format_percent, normal


@dataclass(frozen=True, kw_only=True)
class VectorAugmentation(Augmentation):
    """All but a `share` of the entries are replaced, each by that of some sample of the batch: a draw from the entry's own
    distribution. Then noise is added.

    Bahri, Jiang, Tay and Metzler, SCARF: self-supervised contrastive learning using random feature corruption, 2022. They
    replace .6 of the entries of one view; here, where both are drawn alike, about .4 of each leave as many in which the two
    agree.

    Attributes:
        noise: its deviation, on the preprocessed scale.
    """

    noise: float

    @property
    def description(self) -> str:
        return f"{format_percent(self.crop_scale)} of the entries, the others from other samples; noise"

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(x.shape, generator=generator, device=x.device)
        rows = torch.randint(len(x), x.shape, generator=generator, device=x.device)
        mixed = torch.where(chance < self.crop_scales(len(x), generator)[:, None], x, x.gather(0, rows))
        return mixed + self.noise * normal(*x.shape, generator=generator)


KEEP = {"weak": 0.8, "usual": 0.6, "strong": 0.4}
NOISE = {"weak": 0.05, "usual": 0.1, "strong": 0.2}
"""For data of deviation 1; data in [0, 1] has about a quarter of that."""


def vector_augmentation(preprocess: Preprocess, strength: Strength = "usual") -> VectorAugmentation:
    """Views of vectors (D,)."""
    noise = NOISE[strength] / (4 if preprocess.unit else 1)
    return VectorAugmentation(crop_scale=(KEEP[strength], KEEP[strength]), unit=preprocess.unit, noise=noise)
