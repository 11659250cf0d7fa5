"""Vector-quantized autoencoder: build codes from the entries of a learned codebook."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.gather import batch_mean, gather
from aekit.nn.quantizer import VectorQuantizer
from aekit.plugin import Encoder, Field, RecipeError, Samples, Step, Variant

MIN_GROUP_DIM = 4
"""Smallest dimension of a group that `groups` defaults to."""


class VectorQuantized(Variant):
    """Split the code into `groups` and replace each group by the nearest of the `entries` of its codebook.

    The gradient passes straight through the quantization; ``commitment`` times the squared distance between code and entries
    keeps the two close. Each entry follows the exponential moving average of the codes assigned to it. Rarely used entries
    are moved onto codes of the batch, and all entries are at the first step.

    The embedding is the quantized code that the decoder reconstructs from, at most ``groups * log2(entries)`` bits.

    Van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, 2017, with the moving averages of its
    appendix A.1; unused entries: Dhariwal et al., Jukebox, 2020.
    """

    def __init__(
        self,
        *,
        groups: Annotated[
            int | None,
            Field(ge=1, description="groups of the code; by default as many as have at least 4 dimensions"),
        ] = None,
        entries: Annotated[int, Field(ge=2, description="vectors in the codebook of each group")] = 256,
        commitment: Annotated[float, Field(ge=0, description="weight of the distance to the entries")] = 0.25,
        decay: Annotated[float, Field(ge=0, lt=1, description="decay of the moving averages, per step")] = 0.99,
        revive: Annotated[
            float,
            Field(
                ge=0, lt=1, description="fraction of the mean use below which an entry is moved; 0: only if never used"
            ),
        ] = 0.05,
    ) -> None:
        super().__init__()
        self.groups, self.entries, self.commitment = groups, entries, commitment
        self.decay, self.revive = decay, revive
        self._batch: tuple[Tensor, Tensor, Tensor] | None = None

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        groups = self.groups or dim // next((w for w in range(MIN_GROUP_DIM, dim) if dim % w == 0), dim)
        if dim % groups:
            raise RecipeError(
                [f"vq.groups = {groups}: expected a divisor of encoder.dim = {dim}; change one of the two"]
            )
        return VectorQuantizer(math.prod(features_shape), dim, groups, self.entries)

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        assert isinstance(encoder.head, VectorQuantizer)
        # In a tuple, so that the head does not become a submodule.
        self._quantizer = (encoder.head,)

    def penalty(self, step: Step) -> dict[str, Tensor]:
        unquantized, indices = step.extras["unquantized"], step.extras["indices"]
        codes = gather(unquantized.detach())
        order = torch.randperm(len(codes), generator=step.generator, device=codes.device)
        self._batch = (codes, gather(indices.T).T, order)
        return {"commitment": self.commitment * (unquantized - step.code.detach()).square().sum(1).mean()}

    def metrics(self, step: Step) -> dict[str, Tensor]:
        """Return the ``perplexity`` of the entries' use in the batch, averaged over the groups."""
        frequencies = batch_mean(F.one_hot(step.extras["indices"], self.entries).float(), 1)  # (G, B, K) -> (G, K)
        return {"perplexity": torch.special.entr(frequencies).sum(1).exp().mean()}

    @torch.no_grad()
    def after_step(self) -> None:
        if self._batch is not None:
            self._quantizer[0].ema_update(*self._batch, decay=self.decay, revive=self.revive)
            self._batch = None
