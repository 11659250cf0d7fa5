"""The linear autoencoder: a bottleneck and nothing else, trained to the subspace of the principal components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.nn.pca import fit_pca
from aekit.objectives.base import Step, Variant
from aekit.plugin import Encoder, Field, RecipeError, Samples, TiedLayer, eval_mode

TOLERANCE = 1e-3
"""Share of a map's own size by which rounding may keep it from being linear."""


class Linear(Variant):
    """Makes sure that the network and its error are those for which the code is PCA's, up to a linear map within the code.

    The network must be linear from the sample to the output and the error squared: then every minimum spans the subspace of
    the leading principal components, and other stationary points are saddles. ``start = "pca"`` begins at that minimum, as found
    from at most about 20,000 samples, with the mean in the biases, so that the first reconstruction is already PCA's.

    Bourlard and Kamp, Auto-association by multilayer perceptrons and singular value decomposition, 1988; Baldi and Hornik,
    Neural networks and principal component analysis: learning from examples without local minima, 1989.

    Raises:
        RecipeError: the network or the error is another; says what to set.
    """

    requires = {"encoder.backbone": "linear", "objective.loss": "mse"}  # noqa: RUF012

    def __init__(
        self,
        *,
        start: Annotated[
            Literal["random", "pca"], Field(description="first weights: random, or the principal components")
        ] = "random",
    ) -> None:
        super().__init__()
        self.first_weights, self.squared = start, False

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        x = encoder.preprocess(samples.batch(torch.arange(min(8, len(samples)))))
        if not (_is_affine(encoder, encoder.encode, x) and _is_affine(decoder, decoder, encoder.encode(x))):
            problem = "encoder.backbone: the network is not linear, as variant 'linear' needs it"
            raise RecipeError([f"{problem}; set --backbone linear, or --backbone mlp --set encoder.mlp.hidden=[]"])
        if self.first_weights == "pca":
            share = _set_principal(encoder, decoder, samples)
            self.note = f"starts at the principal components, which explain {share:.1%} of the variance"

    def penalty(self, step: Step) -> dict[str, Tensor]:
        if not self.squared:  # looked at once, as the error stays what it is
            draws = len(step.code) // len(step.clean)
            squares = (step.reconstruction - torch.cat([step.clean] * draws)).square().flatten(1).sum(1)
            if not torch.allclose(step.errors, squares, rtol=TOLERANCE, atol=1e-6):
                raise RecipeError(
                    ["objective.loss: is not the plain squared error that variant 'linear' needs; set it to 'mse'"]
                )
            self.squared = True
        return {}


def _is_affine(network: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether f(x) + f(-3x) = f(-2x) + f(0) for a function (B, ...) -> (B, ...) of the network. An even or an odd function,
    a ReLU and its like are all found out."""
    with eval_mode(network):
        values = [function(factor * x).flatten(1) for factor in (1.0, -3.0, -2.0, 0.0)]
    rest = values[0] + values[1] - values[2] - values[3]
    return bool(rest.abs().max() <= TOLERANCE * torch.stack(values).abs().max())


@torch.no_grad()
def _set_principal(encoder: Encoder, decoder: nn.Module, samples: Samples) -> float:
    """Code V'(x - mean) and output V code + mean, with V (F, D) the principal directions, which explain the share returned."""
    head, back = encoder.head, [layer for layer in decoder.modules() if isinstance(layer, (nn.Linear, TiedLayer))]
    if len(encoder.backbone.stages) or not isinstance(head, nn.Linear) or len(back) != 1:
        raise RecipeError(["linear.start = 'pca': the backbone has layers of its own; set --backbone linear"])
    found = fit_pca(samples, encoder.preprocess, encoder.dim)
    # Where there are fewer directions than units, the spare units stay at zero.
    weight, bias = torch.zeros_like(head.weight), torch.zeros_like(head.bias)
    weight[: found.dim], bias[: found.dim] = found.directions.T, -(found.mean @ found.directions)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    back[0].bias.copy_(found.mean)
    if isinstance(back[0], nn.Linear):  # else it is tied to the head
        back[0].weight.copy_(weight.T)
    return found.explained
