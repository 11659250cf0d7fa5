"""Compute what identifies an encoder: the digest of its weights, and check values that reveal a change of its code."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from aekit.data.spec import SampleSpec
from aekit.encoder.identity import CHECKED
from aekit.encoder.preprocessing import Preprocess
from aekit.io.manifests import canonical_json
from aekit.io.weights import add_weights


def compute_digest(architecture: dict[str, Any], spec: SampleSpec, module: nn.Module) -> str:
    """Return the sha256 of an architecture, a sample spec and every weight's name, dtype, shape and bytes."""
    hasher = hashlib.sha256(canonical_json({"architecture": architecture, "spec": spec.to_dict()}))
    add_weights(hasher, module.state_dict())
    return hasher.hexdigest()


def check_values(encoder: nn.Module, spec: SampleSpec, preprocess: Preprocess) -> list[float]:
    """Return the first entries of the embedding of a synthetic sample, which reveal a change of code under equal weights."""
    training = encoder.training
    wave = torch.sin(0.01 * torch.arange(spec.size, dtype=torch.float64)).reshape(1, *spec.shape)
    low, high = preprocess.raw_range()
    raw = (low.cpu() + (high - low).cpu() * (wave + 1) / 2).to(getattr(torch, spec.dtype)).to(preprocess.scale.device)
    encoder.eval()
    with torch.no_grad():
        values = encoder(raw)[0, :CHECKED].double().cpu().tolist()
    encoder.train(training)
    return values
