"""Build the optimizer: weight decay, layer-wise learning rates and the learning-rate schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from aekit.encoder.encoder import Encoder
from aekit.objectives.base import Objective
from aekit.training._fused_adam import FusedAdam

if TYPE_CHECKING:
    from aekit.training.settings import Settings

LBFGS_ITERATIONS = 20
Optimizer = torch.optim.Optimizer | FusedAdam


def make_optimizer(objective: Objective, settings: Settings) -> Optimizer:
    """Build the optimizer of the trained parameters, in groups whose ``lr_scale`` is a factor on the learning rate.

    Weight decay applies to matrices only, not to norms, biases and other vectors.
    """
    trainable = list(objective.trained())
    if settings.optimizer == "lbfgs":
        return torch.optim.LBFGS(
            trainable, lr=1.0, max_iter=LBFGS_ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
        )
    depth = _depths(objective.encoder) if settings.layer_decay < 1 else {}
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in trainable:
        members.setdefault((depth.get(id(parameter), 0), parameter.ndim <= 1), []).append(parameter)
    groups = [
        {
            "params": parameters,
            "weight_decay": 0.0 if vectors else settings.weight_decay,
            "lr_scale": settings.layer_decay**below,
        }
        for (below, vectors), parameters in sorted(members.items(), key=lambda item: item[0])
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return FusedAdam(groups, settings.lr, (settings.momentum, 0.999), decoupled=settings.optimizer == "adamw")


def _depths(encoder: Encoder) -> dict[int, int]:
    """Map the id of each encoder parameter to its depth below the heads, which have depth 0 (Clark et al., ELECTRA, 2020).

    Parameters outside of all layers get the depth of the lowest layer.
    """
    layers = encoder.layers
    depths = {id(p): len(layers) for p in encoder.parameters()}
    return depths | {id(p): len(layers) - number for number, layer in enumerate(layers) for p in layer.parameters()}


def learning_rate(settings: Settings, step: int, total: int) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or a half cosine down to zero."""
    warmup = settings.warmup * total
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
