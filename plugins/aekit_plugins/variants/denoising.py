"""The denoising autoencoder: the encoder sees a corrupted sample, the decoder is asked for the clean one."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.errors import RecipeError
from aekit.objective import Variant
from aekit.options import Field
from aekit.preprocess import Preprocess


class Denoising(Variant):
    """New corruption at every presentation.

    Vincent, Larochelle, Bengio and Manzagol, Extracting and composing robust features with denoising autoencoders, 2008.
    """

    sigma: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        *,
        noise: Annotated[
            Literal["gaussian", "masking", "salt-and-pepper"], Field(description="what the corruption does to an entry")
        ] = "masking",
        level: Annotated[
            float | None,
            Field(
                gt=0,
                description="gaussian: standard deviation in the data's own units (grey levels for 8-bit pictures), by "
                "default a quarter of their range or half their deviation; masking and salt-and-pepper: share of the "
                "entries, by default 0.25",
            ),
        ] = None,
    ) -> None:
        super().__init__()
        if level is not None and noise != "gaussian" and level > 1:
            raise RecipeError([f"denoising.level = {level}: is a share of the entries with {noise} noise; at most 1"])
        self.noise, self.level = noise, level
        self.share = 0.25 if level is None else level
        for name in ("sigma", "low", "high"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def prepare(self, preprocess: Preprocess) -> None:
        if self.level is None:
            self.sigma = torch.full_like(preprocess.scale, 0.25 if preprocess.unit else 0.5)
        else:
            self.sigma = self.level * preprocess.scale.abs()
        self.low, self.high = preprocess.low, preprocess.high

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.noise == "gaussian":
            return x + self.sigma * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        chance = torch.rand(x.shape, generator=generator, device=x.device)
        if self.noise == "masking":
            # Zero is black for pictures in [0, 1] and the mean for standardised data.
            return x.masked_fill(chance < self.share, 0.0)
        salted = torch.where(chance < self.share / 2, self.low, x)
        return torch.where(chance > 1 - self.share / 2, self.high, salted)
