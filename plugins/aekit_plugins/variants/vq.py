"""The vector-quantized autoencoder: a code is made of a few entries out of a codebook that is learned with it."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.quantizer import VectorQuantizer
from aekit.objectives.base import Step, Variant
from aekit.plugin import Encoder, Field, RecipeError, Samples

PART = 4
"""Numbers that one entry stands for, or a few more, unless `groups` says otherwise."""


class VectorQuantized(Variant):
    """Splits the code into `groups` parts and replaces each by the nearest of the `entries` of that part's codebook.

    The gradient passes the quantization as if it were not there; ``commitment`` times the squared distance of code and entries
    keeps the two together. The codebook follows the means of the codes that fall to each entry, exponentially smoothed over
    the steps. Entries that hardly any code falls to are moved onto codes of the batch; so are all at the first step.

    The embedding is the quantized code: what the decoder restores from, at most ``groups * log2(entries)`` bits.

    Van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, 2017, with the means of its appendix A.1;
    unused entries: Dhariwal et al., Jukebox, 2020.
    """

    def __init__(
        self,
        *,
        groups: Annotated[
            int | None,
            Field(ge=1, description="parts of the code; by default as many as have 4 numbers, or a few more"),
        ] = None,
        entries: Annotated[int, Field(ge=2, description="vectors in the codebook of a part")] = 256,
        commitment: Annotated[float, Field(ge=0, description="weight of the distance of code and entries")] = 0.25,
        decay: Annotated[float, Field(ge=0, lt=1, description="of the codebook's means and counts, a step")] = 0.99,
        revive: Annotated[
            float, Field(ge=0, lt=1, description="share of the mean use below which an entry moves; 0: if never used")
        ] = 0.05,
    ) -> None:
        super().__init__()
        self.groups, self.entries, self.commitment = groups, entries, commitment
        self.decay, self.revive = decay, revive
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        groups = self.groups or dim // next((w for w in range(PART, dim) if dim % w == 0), dim)
        if dim % groups:
            raise RecipeError(
                [f"vq.groups = {groups}: does not divide the code's {dim} numbers; set encoder.dim or groups"]
            )
        return VectorQuantizer(math.prod(features_shape), dim, groups, self.entries)

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        # In a tuple, so that the head does not become a part of this module.
        self._quantizer = (encoder.head,)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        whole, chosen = step.extras["whole"], step.extras["chosen"]
        order = torch.randperm(len(whole), generator=step.generator, device=whole.device)
        self._seen = (whole.detach(), chosen, order)
        return {"commitment": self.commitment * (whole - step.code.detach()).square().sum(1).mean()}

    def metrics(self, step: Step) -> dict[str, Tensor]:
        """``perplexity``: how many entries of a codebook a batch uses, if it used them alike; the mean over the parts."""
        shares = F.one_hot(step.extras["chosen"], self.entries).float().mean(1)  # (G, B, K) -> (G, K)
        return {"perplexity": torch.special.entr(shares).sum(1).exp().mean()}

    @torch.no_grad()
    def after_step(self) -> None:
        if self._seen is not None:
            self._quantizer[0].ema_update(*self._seen, decay=self.decay, revive=self.revive)  # type: ignore[operator]
            self._seen = None
