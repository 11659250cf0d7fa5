"""Contractive autoencoder: penalize how much the code changes with the sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.gather import batch_mean, batch_size, first_samples
from aekit.nn.jacobian import (
    freeze_batch_statistics,
    random_probes,
    single_layer,
    squared_norms,
    unit_probes,
    vector_jacobian_products,
)
from aekit.plugin import Encoder, Field, RecipeError, Samples, Step, Variant

MAX_EXACT_DIM = 3
"""Largest code for which ``auto`` computes the exact Jacobian, with one backward pass per dimension."""


class Contractive(Variant):
    """Add ``weight`` times the mean of ||J||^2, the squared Frobenius norm of the encoder's Jacobian at the clean samples.

    J = d code / d sample, on the preprocessed scale. ``second_order_weight`` times the mean of ||J(x) - J(x + noise)||^2 is
    added too.

    A single layer act(Wx + b) has a closed form, the sum of act'^2 ||W_j||^2 over its units. Any other encoder needs one
    backward pass per dimension of the code, or one per vector of random signs, which has the same expectation (Hutchinson).
    Passes run in the precision of the step, sums in float32. With batch norm a code depends on the whole batch: then only
    Hutchinson's estimate is available, and it includes derivatives by the other samples, a term of the order of 1 / B.

    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders: explicit invariance during feature extraction, 2011;
    Rifai, Mesnil, Vincent, Muller, Bengio, Dauphin and Glorot, Higher order contractive auto-encoder, 2011.

    Attributes:
        note: the chosen method and the reason for it, set by `start`.

    Raises:
        RecipeError: the method does not apply to the encoder; raised by `start`.
    """

    needs_whole_weights = True

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="weight of the squared norm of the Jacobian")] = 0.1,
        method: Annotated[
            Literal["auto", "closed-form", "exact", "hutchinson"],
            Field(
                description="method; auto: closed-form for a single layer, exact for at most 3 dimensions, else hutchinson"
            ),
        ] = "auto",
        probes: Annotated[int, Field(ge=1, description="random vectors per sample, for hutchinson")] = 1,
        batch_fraction: Annotated[float, Field(gt=0, le=1, description="fraction of the batch to penalize")] = 0.5,
        second_order_weight: Annotated[
            float, Field(ge=0, description="weight of the Jacobian's change under noise")
        ] = 0.0,
        sigma: Annotated[
            float, Field(gt=0, description="standard deviation of the noise, for second_order_weight")
        ] = 0.1,
        neighbors: Annotated[int, Field(ge=1, description="noisy copies of each sample, for second_order_weight")] = 1,
    ) -> None:
        super().__init__()
        self.weight, self.method, self.probes, self.batch_fraction = weight, method, probes, batch_fraction
        self.second_order_weight, self.sigma, self.neighbors = second_order_weight, sigma, neighbors
        self.resolved_method: str = method
        self.note = ""

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        self._layer = single_layer(encoder)
        # In a tuple, so that they do not become submodules.
        self._norms = tuple(m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
        if self.method == "closed-form" and self._layer is None:
            required = "an encoder of one linear layer with sigmoid, tanh, relu or no activation; set it to 'auto'"
            raise RecipeError([f"contractive.method = 'closed-form': needs {required}"])
        second_order = self.second_order_weight
        if self._norms and (self.method == "exact" or second_order):
            option = f"second_order_weight = {second_order}" if second_order else "method = 'exact'"
            raise RecipeError([f"contractive.{option}: needs an encoder without batch norm, which mixes the samples"])
        if self.method == "auto":
            x = encoder.preprocess(samples.batch(torch.arange(min(2, len(samples)))))
            with torch.no_grad(), freeze_batch_statistics(self._norms):
                dim = encoder.encode(x).shape[1]
            deep_method = "exact" if dim <= MAX_EXACT_DIM and not self._norms else "hutchinson"
            self.resolved_method = "closed-form" if self._layer else deep_method
            size = "a single layer" if self._layer else f"several layers and a code of {dim} dimensions"
            self.note = f"Jacobian: {self.resolved_method}, for {size}{' with batch norm' if self._norms else ''}"

    @property
    def deterministic(self) -> bool:
        return self.resolved_method in ("closed-form", "exact") and not self.second_order_weight

    def penalty(self, step: Step) -> dict[str, Tensor]:
        size = batch_size(step.clean)
        if self.resolved_method != "closed-form":
            size = min(size, max(2, math.ceil(self.batch_fraction * size)))  # the first ones, as their order is random
        with first_samples(size) as count, freeze_batch_statistics(self._norms):
            x = step.clean if count == len(step.clean) else step.clean[:count]
            image = self._image(x, step)
            here = image(x)
            terms = {"jacobian": self.weight * batch_mean(squared_norms(here))}
            if self.second_order_weight:
                changes = []
                for _ in range(self.neighbors):
                    noise = torch.randn(x.shape, generator=step.generator, device=x.device)
                    changes.append(batch_mean(squared_norms(here - image(x + self.sigma * noise))))
                terms["change"] = self.second_order_weight * torch.stack(changes).mean()
        return terms

    def _image(self, x: Tensor, step: Step) -> Callable[[Tensor], Tensor]:
        """Return a function from samples (B, *shape) near x to images (K, B, ...) of their Jacobians.

        See `aekit.nn.jacobian` for what an image is.
        """
        layer, dim = self._layer, step.code.shape[1]
        if layer is not None and self.resolved_method == "closed-form":
            known_code = step.code if step.corrupted is x else None
            return lambda near: layer.image(near, known_code if near is x else None)
        exact = self.resolved_method == "exact"
        probes = unit_probes(x, dim) if exact else random_probes(x, dim, self.probes, step.generator)
        return partial(vector_jacobian_products, step.encode, probes=probes)
