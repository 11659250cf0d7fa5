"""Identify encoders: compute digests and check values, find encoder folders, and compare the encoders of artifacts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import DataError, IdentityError
from aekit.io.atomic import read_json
from aekit.io.weights import add_weights, canonical_json
from aekit.registry.discovery import Plugin

CHECK_TOLERANCE = 1e-3


def compute_digest(architecture: dict[str, Any], spec: SampleSpec, module: nn.Module) -> str:
    """Return the sha256 of an architecture, a sample spec and every weight's name, dtype, shape and bytes."""
    hasher = hashlib.sha256(canonical_json({"architecture": architecture, "spec": spec.to_dict()}))
    add_weights(hasher, module)
    return hasher.hexdigest()


def find_encoder_folder(path: str | Path) -> Path:
    """Return the encoder folder at `path`: the folder itself, or ``encoder`` in a folder of a run, embeddings or an index."""
    for folder in (Path(path), Path(path) / "encoder"):
        if (folder / "encoder.json").is_file():
            return folder
    if (Path(path) / "recipe.toml").is_file():
        raise DataError(f"{path}: this run has no encoder yet; finish it with aekit fit --resume")
    raise DataError(f"{path}: no encoder here; expected the folder of an encoder, a run, embeddings or an index")


def read_description(path: str | Path) -> dict[str, Any]:
    """Read ``encoder.json``, without building the encoder."""
    return read_json(find_encoder_folder(path) / "encoder.json")


def check_same_encoder(ours: str, theirs: str, *, what: str, maker: str) -> None:
    """Check that two artifacts come from the same encoder.

    Raises:
        IdentityError: the digests differ.
    """
    if ours != theirs:
        raise IdentityError(f"{what} comes from encoder {ours[:12]}, but {maker} from encoder {theirs[:12]}")


class _Vectors(Protocol):
    """Embeddings or an index, of one encoder in one precision."""

    @property
    def digest(self) -> str: ...
    @property
    def precision(self) -> str: ...


def check_same_maker(ours: _Vectors, theirs: _Vectors, *, what: str, maker: str) -> None:
    """Check that vectors come from the same encoder in the same precision.

    Raises:
        IdentityError: the digests or the precisions differ.
    """
    check_same_encoder(ours.digest, theirs.digest, what=what, maker=maker)
    if ours.precision != theirs.precision:
        here, there = ours.precision, theirs.precision
        raise IdentityError(f"{what} was computed in {here}, but {maker} in {there}; embed with precision {here}")


def check_values(encoder: nn.Module, spec: SampleSpec, preprocess: Preprocess) -> list[float]:
    """Return the first entries of the embedding of a synthetic sample, which reveal a change of code under equal weights."""
    training = encoder.training
    wave = torch.sin(0.01 * torch.arange(spec.size, dtype=torch.float64)).reshape(1, *spec.shape)
    low, high = preprocess.raw_range()
    raw = (low.cpu() + (high - low).cpu() * (wave + 1) / 2).to(getattr(torch, spec.dtype)).to(preprocess.scale.device)
    encoder.eval()
    with torch.no_grad():
        values = encoder(raw)[0, :16].double().cpu().tolist()
    encoder.train(training)
    return values


def version_changes(records: list[dict[str, str]], plugins: list[Plugin]) -> str:
    """Describe plugins whose installed version differs from the one that made the encoder, or return ``""``."""
    changes = [
        f"{plugin.kind} {plugin.name!r} is {plugin.distribution} {plugin.version} here, "
        f"the encoder was made with {record['distribution']} {record['version']}: "
        f"pip install '{record['distribution']}=={record['version']}'"
        for record, plugin in zip(records, plugins)
        if (plugin.distribution, plugin.version) != (record["distribution"], record["version"])
    ]
    return f" ({'; '.join(changes)})" if changes else ""
