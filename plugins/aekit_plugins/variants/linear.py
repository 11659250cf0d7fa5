"""Linear autoencoder: learn the subspace of the principal components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.pca import fit_pca
from aekit.objectives.autoencoder import repeat_draws
from aekit.plugin import Encoder, Field, RecipeError, Samples, Step, TiedLayer, Variant, eval_mode

TOLERANCE = 1e-3
"""Relative deviation from linearity that is put down to rounding."""


class Linear(Variant):
    """Check that network and loss are those for which the optimal code is PCA's, up to a linear map of the code.

    The network must be linear from the sample to the output, and the loss the squared error: then every minimum spans the
    subspace of the leading principal components, and all other stationary points are saddles. ``init = "pca"`` starts at
    that minimum, computed from at most about 20,000 samples, with the mean in the biases: the first reconstruction is PCA's.

    Bourlard and Kamp, Auto-association by multilayer perceptrons and singular value decomposition, 1988; Baldi and Hornik,
    Neural networks and principal component analysis: learning from examples without local minima, 1989.

    Raises:
        RecipeError: the network is not linear or the loss not the squared error; the message says what to set.
    """

    requires = {"encoder.backbone": "linear", "objective.loss": "mse"}  # noqa: RUF012
    needs_whole_weights = True

    def __init__(
        self,
        *,
        init: Annotated[
            Literal["random", "pca"], Field(description="initial weights: random, or the principal components")
        ] = "random",
    ) -> None:
        super().__init__()
        self.init, self.loss_checked = init, False

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        x = encoder.preprocess(samples.batch(torch.arange(min(8, len(samples)))))
        if not (_is_affine(encoder, encoder.encode, x) and _is_affine(decoder, decoder, encoder.encode(x))):
            problem = "encoder.backbone: the network is not linear, but variant 'linear' needs a linear one"
            raise RecipeError(
                [f"{problem}; set encoder.backbone to 'linear', or to 'mlp' with encoder.mlp.hidden = []"]
            )
        if self.init == "pca":
            explained = _set_principal(encoder, decoder, samples)
            self.note = f"starts at the principal components, which explain {explained:.1%} of the variance"

    def penalty(self, step: Step) -> dict[str, Tensor]:
        if not self.loss_checked:  # once is enough, as the loss does not change
            draws = len(step.code) // len(step.clean)
            squares = (step.reconstruction - repeat_draws(step.clean, draws)).square().flatten(1).sum(1)
            if not torch.allclose(step.errors, squares, rtol=TOLERANCE, atol=1e-6):
                raise RecipeError(["objective.loss: variant 'linear' needs the plain squared error; set it to 'mse'"])
            self.loss_checked = True
        return {}


def _is_affine(network: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Return whether f(x) + f(-3x) = f(-2x) + f(0) for a function (B, ...) -> (B, ...) of the network.

    The factors expose even and odd functions as well as ReLU and the like.
    """
    with eval_mode(network):
        values = [function(factor * x).flatten(1) for factor in (1.0, -3.0, -2.0, 0.0)]
    residual = values[0] + values[1] - values[2] - values[3]
    return bool(residual.abs().max() <= TOLERANCE * torch.stack(values).abs().max())


@torch.no_grad()
def _set_principal(encoder: Encoder, decoder: nn.Module, samples: Samples) -> float:
    """Set code V'(x - mean) and output V code + mean, with V (F, D) the principal directions; return the explained variance."""
    head = encoder.head
    output_layers = [layer for layer in decoder.modules() if isinstance(layer, (nn.Linear, TiedLayer))]
    if len(encoder.backbone.stages) or not isinstance(head, nn.Linear) or len(output_layers) != 1:
        raise RecipeError(["linear.init = 'pca': needs a backbone without layers; set encoder.backbone to 'linear'"])
    pca = fit_pca(samples, encoder.preprocess, encoder.dim)
    # With fewer directions than units, the spare units stay at zero.
    weight, bias = torch.zeros_like(head.weight), torch.zeros_like(head.bias)
    weight[: pca.dim], bias[: pca.dim] = pca.directions.T, -(pca.mean @ pca.directions)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    output_layers[0].bias.copy_(pca.mean)
    if isinstance(output_layers[0], nn.Linear):  # otherwise it is tied to the head
        output_layers[0].weight.copy_(weight.T)
    return pca.explained
