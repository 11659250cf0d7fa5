"""Denoising autoencoder: reconstruct the clean sample from a corrupted one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.blur import gaussian_blur
from aekit.plugin import Encoder, Field, Preprocess, RecipeError, Samples, Variant

DEFAULT_LEVELS = {
    "gaussian": 1.0,
    "blur": 1.0,
    "masking": 0.25,
    "blocks": 0.25,
    "salt-and-pepper": 0.25,
    "speckle": 0.25,
}
"""Noise -> default level; Gaussian noise has a scale of its own, set in `prepare`."""
UNIT_LEVEL, STANDARD_LEVEL = 0.1, 0.5
"""Default standard deviation of Gaussian noise, in parts of the range of values in [0, 1], and of the deviation of others."""
PARTIAL_NOISES = ("masking", "blocks", "salt-and-pepper")
"""Noises that corrupt only some entries; their level is the fraction of corrupted entries."""
BLOCKS = 8
"""Blocks along the shorter side of an image."""


class Denoising(Variant):
    """Corrupt each sample anew each time it is used, at a fixed level, a random level per sample, or a falling level.

    The default noise was chosen on images, tables and series (recipes/denoising). Set `noise` whenever you set a level, as the
    unit of a level depends on it. Masked entries are 0: black in images, the mean in standardized data. `alpha` and `beta`
    weight the errors of corrupted and of uncorrupted entries (the emphasis of the 2010 paper, which uses 1 and 0.5, or 1 and 0).

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
            Literal["auto", "gaussian", "masking", "blocks", "salt-and-pepper", "speckle", "blur"],
            Field(
                description="kind of corruption; auto: gaussian, of its default level; blocks masks whole neighborhoods in all "
                "channels, speckle multiplies entries by noise, blur averages over neighbors"
            ),
        ] = "auto",
        level: Annotated[
            float | None,
            Field(
                gt=0,
                description="gaussian: standard deviation in the data's own units (gray levels for 8-bit images), by "
                "default a tenth of their range if that is scaled to [0, 1], else half their standard deviation; masking, "
                "blocks and salt-and-pepper: fraction of the entries, by default 0.25; speckle: standard deviation of the "
                "factor, by default 0.25; blur: standard deviation of the Gaussian in entries, by default 1",
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
        # Not searched, as they need a noise that corrupts some entries.
        alpha: Annotated[
            float,
            Field(gt=0, description="weight of the errors of corrupted entries", json_schema_extra={"search": False}),
        ] = 1.0,
        beta: Annotated[
            float,
            Field(ge=0, description="weight of the errors of uncorrupted entries", json_schema_extra={"search": False}),
        ] = 1.0,
    ) -> None:
        super().__init__()
        self.is_auto = noise == "auto"
        noise = "gaussian" if noise == "auto" else noise
        self.default_level, highest = level is None and levels is None, level or DEFAULT_LEVELS[noise]
        self.low_level, self.high_level = levels or (0.0 if anneal else highest, highest)
        self.noise, self.anneal, self.alpha, self.beta = noise, anneal, alpha, beta
        setting = f"denoising.level = {level}" if levels is None else f"denoising.levels = {levels}"
        partial, unweighted = noise in PARTIAL_NOISES, alpha == beta == 1
        problems = {
            f"{setting}: set denoising.noise too, as the unit of a level depends on it": (
                self.is_auto and not self.default_level
            ),
            f"denoising.alpha, beta = {alpha}, {beta}: set denoising.noise too, to one that corrupts some entries": (
                self.is_auto and not unweighted
            ),
            f"{setting}: cannot be combined with denoising.level": level is not None and levels is not None,
            f"{setting}: expected the lower level first": self.low_level > self.high_level,
            f"{setting}: expected at most 1, a fraction of the entries with {noise} noise": (
                partial and self.high_level > 1
            ),
            f"denoising.alpha, beta = {alpha}, {beta}: expected 1, as {noise} noise corrupts every entry": (
                not self.is_auto and not partial and not unweighted
            ),
        }
        if any(problems.values()):
            raise RecipeError(problem for problem, applies in problems.items() if applies)
        for name in ("scale", "shift", "low", "high"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def prepare(self, preprocess: Preprocess) -> None:
        default_scale = torch.full_like(preprocess.scale, UNIT_LEVEL if preprocess.unit else STANDARD_LEVEL)
        if self.is_auto:
            values = "values in [0, 1]" if preprocess.unit else "scaled values"
            self.note = f"gaussian noise of standard deviation {default_scale.max():g} on {values}"
        self.scale = default_scale if self.default_level else preprocess.scale.abs()
        self.shift, self.low, self.high = preprocess.shift, preprocess.low, preprocess.high

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        if self.noise in ("blocks", "blur") and encoder.spec.is_vector:
            # The cause tells a caller that tries several kinds of samples that the kind does not fit.
            problem = f"denoising.noise = {self.noise!r}: needs series, images or clips, found vectors"
            raise RecipeError([problem]) from ValueError("vector")

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        level = self._level(x, generator)
        if self.noise == "blur":
            return gaussian_blur(x, level.flatten(), math.ceil(3 * self.high_level))
        if self.noise not in PARTIAL_NOISES:
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            # Without the shift, a sample is proportional to its values in the data's own units.
            return x + level * noise * (self.scale if self.noise == "gaussian" else x - self.shift)
        shape = x.shape if self.noise != "blocks" else (len(x), 1, *_grid(x.shape[2:]))
        uniform = torch.rand(shape, generator=generator, device=x.device)
        if self.noise == "blocks":
            uniform = F.interpolate(uniform, x.shape[2:]).expand_as(x)
        if self.noise in ("masking", "blocks"):
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


def _grid(size: Sequence[int]) -> list[int]:
    """Return the number of blocks along each axis of a sample of this size, which are about square."""
    side = max(1, round(min(size[-2:]) / BLOCKS))
    return [-(-length // side) for length in size]
