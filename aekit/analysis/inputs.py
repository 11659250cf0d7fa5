"""Open the inputs of analyses: embeddings, a run, or arrays, each as a path or an object.

Only where there may be an encoder is torch imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.opening import reopen
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.identity import check_same_encoder
from aekit.encoder.makers import is_encoder
from aekit.encoder.opening import open_embeddings
from aekit.errors import DataError, RecipeError
from aekit.evaluation.labels import TARGET_DESCRIPTIONS, labels_of, make_targets
from aekit.io.remote import local_copy, remote_exists
from aekit.io.remote_urls import is_remote, join_url
from aekit.progress import SILENT, Progress


def open_or_embed(data: Any, progress: Progress = SILENT, device: str | None = None) -> Embeddings:
    """Open embeddings, or embed the data that a run was trained on.

    Args:
        data: `Embeddings`, their folder, a file of precomputed vectors or an array (N, D); or the folder of a run or its
            `Encoder`, whose training data is embedded.
        progress: receives the progress of embedding.
        device: device that the encoder of a run computes on; default: the CPU, or where an `Encoder` is.

    Raises:
        DataError: no embeddings, or a run whose training data is not available.
    """
    if is_remote(data) and remote_exists(join_url(str(data), "recipe.toml")):
        data = local_copy(data)
    is_run = isinstance(data, (str, Path)) and (Path(data) / "recipe.toml").is_file()
    if not is_run and not is_encoder(data):
        if device not in (None, "cpu"):
            from aekit.io.device import choose_device

            choose_device(device, "device")  # embeddings need none, but one that is not there is refused
        return open_embeddings(data, progress)
    from aekit.encoder.embedding import embed_samples
    from aekit.encoder.loading import open_encoder
    from aekit.io.device import choose_device

    chosen = None if device is None else choose_device(device, "device")
    encoder, name = open_encoder(data, device=chosen), str(data) if is_run else "the encoder"
    origin = encoder.record.get("data", {})
    if "source" not in origin:
        raise DataError(f"{name}: was trained on data in memory; embed data with it and pass the embeddings instead")
    return embed_samples(
        encoder, reopen(origin, like=encoder.spec, near=encoder.folder), metadata="none", progress=progress
    )


def labeled_classes(embeddings: Embeddings, labels: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the (M,) rows of the samples that have a label, their (M,) class numbers, and the (C,) names of the classes.

    Args:
        embeddings: of N samples.
        labels: (N,) classes, or as `aekit.evaluate` takes them; default: those stored with the embeddings.

    Raises:
        DataError: no labels, labels that are not classes, or a single class.
    """
    targets, _ = make_targets(labels_of(embeddings, labels), len(embeddings), what="embeddings")
    if targets is None:
        raise DataError("the embeddings have no labels: pass labels (--labels)")
    if targets.kind != "classes":
        raise DataError(f"the labels are {TARGET_DESCRIPTIONS[targets.kind]}: expected one class per sample")
    rows = np.flatnonzero(targets.has_target)
    names, codes = np.unique(targets.values[rows], return_inverse=True)
    if len(names) < 2:
        raise DataError(f"all {len(rows)} labels are {str(names[0])!r}: expected at least two classes")
    return rows, codes, names


def check_least(name: str, value: int, least: int) -> None:
    """Raise a `RecipeError` if a number is less than the least that it may be."""
    if value < least:
        raise RecipeError([f"{name} = {value}: expected at least {least}"])


def check_comparable(ours: Embeddings, theirs: Embeddings) -> None:
    """Check that two embeddings come from the same encoder, or that both are precomputed and of one length.

    Raises:
        IdentityError: embeddings of two encoders.
        DataError: vectors of two lengths.
    """
    if not (ours.is_precomputed and theirs.is_precomputed):
        check_same_encoder(ours.digest, theirs.digest, what="this embedding", maker="the other")
    if ours.dim != theirs.dim:
        raise DataError(f"vectors of length {theirs.dim}: expected {ours.dim}, like the others")
