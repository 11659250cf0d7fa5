"""Adapt a pretrained backbone by low-rank updates of its linear layers, while its own weights stay as they are.

The updates are added to the weights when training ends, so the encoder that is saved has the architecture of its backbone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aekit.encoder.encoder import Encoder
from aekit.errors import RecipeError
from aekit.training.settings import Settings


class LowRankUpdate(nn.Module):
    """Add the product of two small matrices to a frozen matrix (O, I); at first the product is zero.

    Hu et al., LoRA: low-rank adaptation of large language models, 2021; their scale, alpha / rank, is 1.

    Args:
        weight: the matrix (O, I).
        rank: R.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated matrix (O, I)."""
        return weight + self.up @ self.down


def add_low_rank_updates(encoder: Encoder, rank: int) -> str:
    """Freeze the weights of the backbone, and train low-rank updates of the linear layers that are not frozen layers.

    Args:
        encoder: an encoder with pretrained weights.
        rank: rank of each update.

    Returns:
        a line about what is trained.

    Raises:
        RecipeError: the weights are random, or the layers are not there or are too small.
    """
    setting = f"train.low_rank = {rank}"
    if "weights" not in encoder.record:
        raise RecipeError([f"{setting}: keeps the weights of the backbone, which are random; set encoder.weights"])
    layers = [layer for stage in encoder.backbone.stages[encoder.frozen :] for layer in _linear_layers(stage)]
    if not layers:
        name = encoder.plugins[0].name
        raise RecipeError([f"{setting}: backbone {name!r} has no linear layers to update; expected a transformer"])
    smallest = min(min(layer.weight.shape) for layer in layers)
    if rank > smallest:
        raise RecipeError([f"{setting}: expected at most {smallest}, the shorter side of the smallest linear layer"])
    kept = [parameter for parameter in encoder.backbone.parameters() if parameter.requires_grad]
    for parameter in kept:
        parameter.requires_grad_(False)
    encoder.frozen_params += kept
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRankUpdate(layer.weight, rank))
    trained = sum(parameter.numel() for parameter in encoder.backbone.parameters() if parameter.requires_grad)
    whole = sum(parameter.numel() for parameter in kept)
    encoder.record["low_rank"] = {"rank": rank, "layers": len(layers), "parameters": trained}
    return f"low-rank updates of {len(layers)} linear layers, rank {rank}: {trained:,} parameters instead of {whole:,}"


@torch.no_grad()
def merge_low_rank_updates(encoder: Encoder) -> Encoder:
    """Add the updates to the weights of an encoder, if it has any, and return it."""
    for layer in [layer for layer in _linear_layers(encoder.backbone) if parametrize.is_parametrized(layer, "weight")]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return encoder


def refuse_low_rank_updates(settings: Settings) -> None:
    """Check that settings of fine-tuning, which trains the weights themselves, do not ask for low-rank updates.

    Raises:
        RecipeError: they do.
    """
    if settings.low_rank:
        reason = "fine-tuning has no low-rank updates; train fewer layers, or set layer_decay"
        raise RecipeError([f"train.low_rank = {settings.low_rank}: {reason}"])


def _linear_layers(module: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in module.modules() if isinstance(layer, nn.Linear))
