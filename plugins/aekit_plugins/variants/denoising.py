"""The denoising autoencoder: the encoder sees a corrupted sample, the decoder is asked for the clean one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.blur import gaussian_blur
from aekit.objectives.base import Variant
from aekit.plugin import Encoder, Field, Preprocess, RecipeError, Samples

DEFAULT_LEVELS = {"gaussian": 1.0, "masking": 0.25, "salt-and-pepper": 0.25, "speckle": 0.25, "blur": 1.0}
"""Noise -> its level where none is set; that of the Gaussian is in units of its own."""
SHARES = ("masking", "salt-and-pepper")
"""Noises that leave a part of the entries alone; their level is the share of the others."""


class Denoising(Variant):
    """New corruption at every presentation, of one level, of one drawn for each sample, or of one that falls with training.

    Masked entries are 0: black in images, the mean in standardized data. With `alpha` and `beta` unequal, errors count by
    whether the entry was corrupted (emphasis; the 2010 paper takes 1 and 0.5, or 1 and 0).

    Vincent, Larochelle, Bengio and Manzagol, Extracting and composing robust features with denoising autoencoders, 2008;
    Vincent, Larochelle, Lajoie, Bengio and Manzagol, Stacked denoising autoencoders, 2010; Geras and Sutton, Scheduled
    denoising autoencoders, 2015.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        *,
        noise: Annotated[
            Literal["gaussian", "masking", "salt-and-pepper", "speckle", "blur"],
            Field(description="what becomes of an entry; speckle multiplies it, blur mixes it with those around it"),
        ] = "masking",
        level: Annotated[
            float | None,
            Field(
                gt=0,
                description="gaussian: standard deviation in the data's own units (gray levels for 8-bit images), by "
                "default a quarter of their range or half their deviation; masking and salt-and-pepper: share of the "
                "entries, by default 0.25; speckle: deviation of the factor from 1, by default 0.25; blur: deviation of "
                "the Gaussian in entries, by default 1",
            ),
        ] = None,
        levels: Annotated[
            list[Annotated[float, Field(ge=0)]] | None,
            Field(min_length=2, max_length=2, description="lowest and highest level: each sample draws one in between"),
        ] = None,
        anneal: Annotated[bool, Field(description="the level falls in training, from high to low or to 0")] = False,
        alpha: Annotated[float, Field(gt=0, description="factor on the errors of corrupted entries")] = 1.0,
        beta: Annotated[float, Field(ge=0, description="factor on the errors of the other entries")] = 1.0,
    ) -> None:
        super().__init__()
        self.usual, most = level is None and levels is None, level or DEFAULT_LEVELS[noise]
        self.low_level, self.high_level = levels or (0.0 if anneal else most, most)
        self.noise, self.anneal, self.alpha, self.beta = noise, anneal, alpha, beta
        level_is = f"denoising.level = {level}" if levels is None else f"denoising.levels = {levels}"
        part, plain = noise in SHARES, alpha == beta == 1
        problems = {
            f"{level_is}: expected it without denoising.level": level is not None and levels is not None,
            f"{level_is}: expected the lower one first": self.low_level > self.high_level,
            f"{level_is}: is a share of the entries with {noise} noise; at most 1": part and self.high_level > 1,
            f"denoising.alpha, beta: {noise} corrupts every entry, expected 1": not part and not plain,
        }
        if any(problems.values()):
            raise RecipeError(problem for problem, found in problems.items() if found)
        for name in ("scale", "shift", "low", "high"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def prepare(self, preprocess: Preprocess) -> None:
        usual = torch.full_like(preprocess.scale, 0.25 if preprocess.unit else 0.5)
        self.scale = usual if self.usual else preprocess.scale.abs()
        self.shift, self.low, self.high = preprocess.shift, preprocess.low, preprocess.high

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        if self.noise == "blur" and encoder.spec.is_vector:
            # The cause tells those who try one kind of sample after another that it is the kind which does not fit.
            problem = "denoising.noise = 'blur': needs series, images or clips; a vector's entries have no neighbors"
            raise RecipeError([problem]) from ValueError("vector")

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        level = self._level(x, generator)
        if self.noise == "blur":
            return gaussian_blur(x, level.flatten(), math.ceil(3 * self.high_level))
        if self.noise not in SHARES:
            drawn = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            # Without the shift, a sample is a multiple of what it was in the data's own units.
            return x + level * drawn * (self.scale if self.noise == "gaussian" else x - self.shift)
        chance = torch.rand(x.shape, generator=generator, device=x.device)
        if self.noise == "masking":
            self.touched = chance < level
            return x.masked_fill(self.touched, 0.0)
        pepper, salt = chance < level / 2, chance > 1 - level / 2
        self.touched = pepper | salt
        return torch.where(salt, self.high, torch.where(pepper, self.low, x))

    def loss_weights(self, clean: Tensor, corrupted: Tensor) -> Tensor | None:
        # By what was drawn and not by what changed: a black entry that is masked is a corrupted one.
        return None if self.alpha == self.beta == 1 else torch.where(self.touched, self.alpha, self.beta)

    def _level(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 1, ...) level of each sample of this step."""
        low, high, shape = self.low_level, self.high_level, (len(x),) + (1,) * (x.ndim - 1)
        if self.anneal or low == high:
            return torch.full(shape, high - self.progress * (high - low), device=x.device)
        return low + (high - low) * torch.rand(shape, generator=generator, device=x.device)
