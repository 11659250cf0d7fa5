"""The contractive autoencoder: the code may move with the sample only where the reconstruction needs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.jacobian import (
    freeze_batch_statistics,
    random_probes,
    single_layer,
    squared_norms,
    unit_probes,
    vector_jacobian_products,
)
from aekit.objectives.base import Step, Variant
from aekit.plugin import Encoder, Field, RecipeError, Samples

FEW = 3
"""A code of at most so many numbers is worth a pass for each of them."""


class Contractive(Variant):
    """Adds ``weight`` times the mean of ||J||^2, the squared Frobenius norm of J = d code / d sample at the clean samples, on
    the preprocessed scale, and ``higher`` times the mean of ||J(x) - J(x + noise)||^2.

    One layer act(Wx + b) has a closed form, the sum of act'^2 ||W_j||^2 over its units. Any other encoder takes a pass back for
    each number of the code, or, on average the same, one for random signs (Hutchinson). Passes are in the step's precision,
    sums in float32. With batch norm a code depends on all of its batch: then only the estimate is there, of the derivatives
    by all of the batch, which to those by the sample itself add a part in the order of one over the batch's size.

    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders: explicit invariance during feature extraction, 2011;
    Rifai, Mesnil, Vincent, Muller, Bengio, Dauphin and Glorot, Higher order contractive auto-encoder, 2011.

    Attributes:
        note: which way was chosen and why, once `start` has seen the encoder.

    Raises:
        RecipeError: at `start`, if the encoder has no such Jacobian.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="of the norm against the reconstruction")] = 0.1,
        method: Annotated[
            Literal["auto", "closed-form", "exact", "hutchinson"],
            Field(description="auto: closed form for a single layer, exact for at most 3 numbers, else hutchinson"),
        ] = "auto",
        probes: Annotated[int, Field(ge=1, description="passes a sample, for hutchinson")] = 1,
        share: Annotated[
            float, Field(gt=0, le=1, description="of the batch that is looked at where there is no closed form")
        ] = 0.5,
        higher: Annotated[float, Field(ge=0, description="weight of how much the Jacobian changes nearby")] = 0.0,
        sigma: Annotated[float, Field(gt=0, description="how near: deviation on the preprocessed scale")] = 0.1,
        neighbors: Annotated[int, Field(ge=1, description="noisy samples for each, where higher is not 0")] = 1,
    ) -> None:
        super().__init__()
        self.weight, self.method, self.probes, self.share = weight, method, probes, share
        self.higher, self.sigma, self.neighbors = higher, sigma, neighbors
        self.way: str = method
        self.note = ""

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        self._layer = single_layer(encoder)
        # In a tuple, so that they do not become parts of this module.
        self._norms = tuple(m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        if self.method == "closed-form" and self._layer is None:
            wanted = "an encoder of one linear layer and sigmoid, tanh, relu or none; expected 'auto'"
            raise RecipeError([f"contractive.method = 'closed-form': needs {wanted}"])
        if self._norms and (self.method == "exact" or self.higher):
            option = f"higher = {self.higher}" if self.higher else "method = 'exact'"
            raise RecipeError([f"contractive.{option}: with batch norm a sample has no Jacobian of its own"])
        if self.method == "auto":
            x = encoder.preprocess(samples.batch(torch.arange(min(2, len(samples)))))
            with torch.no_grad(), freeze_batch_statistics(self._norms):
                dim = encoder.encode(x).shape[1]
            several = "exact" if dim <= FEW and not self._norms else "hutchinson"
            self.way = "closed-form" if self._layer else several
            size = "a single layer" if self._layer else f"several layers and a code of {dim} numbers"
            self.note = f"Jacobian: {self.way}, for {size}{' with batch norm' if self._norms else ''}"

    @property
    def deterministic(self) -> bool:
        return self.way in ("closed-form", "exact") and not self.higher

    def penalty(self, step: Step) -> dict[str, Tensor]:
        x = step.clean
        if self.way != "closed-form":
            x = x[: max(2, math.ceil(self.share * len(x)))]  # any of them, as their order is random
        image = self._image(x, step)
        with freeze_batch_statistics(self._norms):
            here = image(x)
            terms = {"jacobian": self.weight * squared_norms(here).mean()}
            if self.higher:
                changes = []
                for _ in range(self.neighbors):
                    noise = torch.randn(x.shape, generator=step.generator, device=x.device)
                    changes.append(squared_norms(here - image(x + self.sigma * noise)).mean())
                terms["change"] = self.higher * torch.stack(changes).mean()
        return terms

    def _image(self, x: Tensor, step: Step) -> Callable[[Tensor], Tensor]:
        """What takes (B, *shape) samples near x to an image (K, B, ...) of their Jacobians; see `aekit.nn.jacobian`."""
        layer, dim = self._layer, step.code.shape[1]
        if layer is not None and self.way == "closed-form":
            at_hand = step.code if step.corrupted is x else None
            return lambda near: layer.image(near, at_hand if near is x else None)
        exact = self.way == "exact"
        probes = unit_probes(x, dim) if exact else random_probes(x, dim, self.probes, step.generator)
        return partial(vector_jacobian_products, step.encode, probes=probes)
