"""Check that a network meets the contract of backbones before it is trained, and name the plugin where it does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aekit.data.spec import SampleSpec
from aekit.errors import PluginError


def check_attributes(backbone: Any, plugin: str, problem: str = "") -> None:
    """Check what a backbone has set when it is built.

    Args:
        backbone: the backbone.
        plugin: describes the plugin, for messages.
        problem: what is wrong with its methods, or "".

    Raises:
        PluginError: a method does not take its arguments, or an attribute is missing, or has another type.
    """
    if problem:
        raise PluginError(f"{plugin}: {problem}")
    stages = getattr(backbone, "stages", None)
    if not isinstance(stages, nn.ModuleList) or not len(stages):
        raise PluginError(f"{plugin}: stages is {_shown(stages)}: expected an nn.ModuleList with one module or more")
    dim, shape = getattr(backbone, "features_dim", None), getattr(backbone, "features_shape", None)
    if not isinstance(dim, int):
        raise PluginError(f"{plugin}: features_dim is {_shown(dim)}: expected the width of the features")
    if not isinstance(shape, (tuple, list, torch.Size)) or math.prod(shape) != dim:
        raise PluginError(f"{plugin}: features_shape is {_shown(shape)}: expected a tuple of {dim} entries in all")


def check_features(backbone: Any, spec: SampleSpec, plugin: str) -> None:
    """Run a backbone on two samples, and check its features; see `check_attributes`.

    Raises:
        PluginError: it raises, or returns features of another width than it says.
    """
    try:
        shape = features_shape(backbone, spec, lambda network, x: network(x))
    except ValueError as error:
        raise PluginError(f"{plugin}: {error}") from error
    if shape != (backbone.features_dim,):
        width = f"(2, {', '.join(map(str, shape))})"
        raise PluginError(
            f"{plugin}: forward returned {width}: expected (2, {backbone.features_dim}), its features_dim"
        )


def through_stages(backbone: Any, x: Tensor) -> Tensor:
    """Apply the stages in order, without flattening."""
    for stage in backbone.stages:
        x = stage(x)
    return x


def features_shape(backbone: Any, spec: SampleSpec, run: Callable[[Any, Tensor], Any]) -> tuple[int, ...]:
    """Return the shape of the features of one sample, found by running the network on two samples.

    Raises:
        ValueError: it does not map a batch of samples to a batch of features.
    """
    training, x = backbone.training, torch.zeros(2, *spec.shape)
    device = next((tensor.device for tensor in backbone.state_dict().values()), x.device)
    backbone.eval()
    try:
        with torch.no_grad():
            features = run(backbone, x.to(device))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"on a batch of shape {tuple(x.shape)} it raised {type(error).__name__}: {lines[0]}"
        ) from error
    finally:
        backbone.train(training)
    if not isinstance(features, Tensor) or features.ndim < 2 or len(features) != 2:
        what = f"a tensor of shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"for a batch of 2 samples it returned {what}; expected features (2, F)")
    return tuple(features.shape[1:])


def _shown(value: Any) -> str:
    return "missing" if value is None else f"{value!r}" if isinstance(value, (int, tuple)) else type(value).__name__
