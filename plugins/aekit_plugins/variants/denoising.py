"""Denoising autoencoder: reconstruct the clean sample from a corrupted one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.blur import gaussian_blur
from aekit.objectives.base import Variant
from aekit.plugin import Encoder, Field, Preprocess, RecipeError, Samples

DEFAULT_LEVELS = {"gaussian": 1.0, "masking": 0.25, "salt-and-pepper": 0.25, "speckle": 0.25, "blur": 1.0}
"""Noise -> default level; Gaussian noise has a scale of its own, set in `prepare`."""
PARTIAL_NOISES = ("masking", "salt-and-pepper")
"""Noises that corrupt only some entries; their level is the fraction of corrupted entries."""


class Denoising(Variant):
    """Corrupt each sample anew each time it is used, at a fixed level, a random level per sample, or a falling level.

    Masked entries are 0: black in images, the mean in standardized data. `alpha` and `beta` weight the errors of corrupted
    and of uncorrupted entries (the emphasis of the 2010 paper, which uses 1 and 0.5, or 1 and 0).

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
            Field(description="kind of corruption; speckle multiplies entries by noise, blur averages over neighbors"),
        ] = "masking",
        level: Annotated[
            float | None,
            Field(
                gt=0,
                description="gaussian: standard deviation in the data's own units (gray levels for 8-bit images), by "
                "default a quarter of their range or half their standard deviation; masking and salt-and-pepper: "
                "fraction of the entries, by default 0.25; speckle: standard deviation of the factor, by default 0.25; "
                "blur: standard deviation of the Gaussian in entries, by default 1",
            ),
        ] = None,
        levels: Annotated[
            list[Annotated[float, Field(ge=0)]] | None,
            Field(
                min_length=2,
                max_length=2,
                description="lowest and highest level, between which each sample draws its own",
            ),
        ] = None,
        anneal: Annotated[
            bool, Field(description="lower the level during training, from the highest to the lowest or to 0")
        ] = False,
        alpha: Annotated[float, Field(gt=0, description="weight of the errors of corrupted entries")] = 1.0,
        beta: Annotated[float, Field(ge=0, description="weight of the errors of uncorrupted entries")] = 1.0,
    ) -> None:
        super().__init__()
        self.default_level, highest = level is None and levels is None, level or DEFAULT_LEVELS[noise]
        self.low_level, self.high_level = levels or (0.0 if anneal else highest, highest)
        self.noise, self.anneal, self.alpha, self.beta = noise, anneal, alpha, beta
        setting = f"denoising.level = {level}" if levels is None else f"denoising.levels = {levels}"
        partial, unweighted = noise in PARTIAL_NOISES, alpha == beta == 1
        problems = {
            f"{setting}: cannot be combined with denoising.level": level is not None and levels is not None,
            f"{setting}: expected the lower level first": self.low_level > self.high_level,
            f"{setting}: expected at most 1, a fraction of the entries with {noise} noise": (
                partial and self.high_level > 1
            ),
            f"denoising.alpha, beta = {alpha}, {beta}: expected 1, as {noise} noise corrupts every entry": (
                not partial and not unweighted
            ),
        }
        if any(problems.values()):
            raise RecipeError(problem for problem, applies in problems.items() if applies)
        for name in ("scale", "shift", "low", "high"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def prepare(self, preprocess: Preprocess) -> None:
        default_scale = torch.full_like(preprocess.scale, 0.25 if preprocess.unit else 0.5)
        self.scale = default_scale if self.default_level else preprocess.scale.abs()
        self.shift, self.low, self.high = preprocess.shift, preprocess.low, preprocess.high

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        if self.noise == "blur" and encoder.spec.is_vector:
            # The cause tells a caller that tries several kinds of samples that the kind does not fit.
            problem = "denoising.noise = 'blur': needs series, images or clips, found vectors"
            raise RecipeError([problem]) from ValueError("vector")

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        level = self._level(x, generator)
        if self.noise == "blur":
            return gaussian_blur(x, level.flatten(), math.ceil(3 * self.high_level))
        if self.noise not in PARTIAL_NOISES:
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            # Without the shift, a sample is proportional to its values in the data's own units.
            return x + level * noise * (self.scale if self.noise == "gaussian" else x - self.shift)
        uniform = torch.rand(x.shape, generator=generator, device=x.device)
        if self.noise == "masking":
            self.corrupted = uniform < level
            return x.masked_fill(self.corrupted, 0.0)
        pepper, salt = uniform < level / 2, uniform > 1 - level / 2
        self.corrupted = pepper | salt
        return torch.where(salt, self.high, torch.where(pepper, self.low, x))

    def loss_weights(self, clean: Tensor, corrupted: Tensor) -> Tensor | None:
        # By what was drawn, not by what changed: a black entry that is masked counts as corrupted.
        return None if self.alpha == self.beta == 1 else torch.where(self.corrupted, self.alpha, self.beta)

    def _level(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the (B, 1, ...) level of each sample in this step."""
        low, high, shape = self.low_level, self.high_level, (len(x),) + (1,) * (x.ndim - 1)
        if self.anneal or low == high:
            return torch.full(shape, high - self.progress * (high - low), device=x.device)
        return low + (high - low) * torch.rand(shape, generator=generator, device=x.device)
