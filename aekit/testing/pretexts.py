"""Check what pretext tasks do with the encoder, and with samples once they are trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from aekit.objectives.base import Pretext
from aekit.testing.kit import NotApplicableError, check
from aekit.testing.objectives import has_shape, new_generator
from aekit.testing.trials import Trial


@check("pretext")
def preprocesses_once(trial: Trial) -> None:
    """its loss encodes samples with encoder.encode(), as encoder() would preprocess them again"""
    pretext = _pretext(trial)

    def refuse(module: nn.Module, inputs: Any) -> None:
        raise AssertionError("loss() calls encoder(), which preprocesses samples again; call encoder.encode()")

    handle = pretext.encoder.register_forward_pre_hook(refuse)
    try:
        pretext.loss(pretext.encoder.preprocess(trial.raw(7)), new_generator())
    finally:
        handle.remove()


@check("pretext", optional=True)
def transforms(trial: Trial) -> None:
    """transform() returns finite samples of the shape of its input, for batches of 1, 2 and 7"""
    pretext = _pretext(trial)
    transform = getattr(pretext, "transform", None)
    if not callable(transform):
        raise NotApplicableError("it has no transform()")
    for size in (1, 2, 7):
        x = pretext.encoder.preprocess(trial.raw(size))
        with torch.no_grad():
            changed = transform(x)
        has_shape("the result of transform()", changed, tuple(x.shape))
        assert torch.isfinite(changed).all(), "transform() returns values that are not finite"


def _pretext(trial: Trial) -> Pretext:
    pretext = trial.plugin_module(trial.objective().eval())
    assert isinstance(pretext, Pretext)
    return pretext
