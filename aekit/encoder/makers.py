"""Find the encoder and the samples that embeddings were made from; torch is imported only where there is an encoder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.data.source import Source
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.stored_scaling import Scaled, read_scale

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from aekit.encoder.encoder import Encoder


def is_encoder(value: Any) -> TypeIs[Encoder]:
    """Return whether a value is an encoder: a process that has not imported its module holds none."""
    module = sys.modules.get("aekit.encoder.encoder")
    return isinstance(value, getattr(module, "Encoder", ()))


def encoder_of(embeddings: Embeddings) -> Encoder | None:
    """Return the encoder that made embeddings, or None if it is not available.

    Raises:
        DataError, IdentityError, PluginError: as `aekit.load`, of the encoder in their folder.
    """
    if embeddings.encoder is None and embeddings.encoder_folder is not None and not embeddings.is_precomputed:
        from aekit.encoder.loading import load

        embeddings.encoder = load(embeddings.encoder_folder)
    return embeddings.encoder if is_encoder(embeddings.encoder) else None


def available_samples(embeddings: Embeddings) -> tuple[Scaled, Source, np.ndarray] | None:
    """Return how samples are scaled, the data and each row's position in it (N,), or None if one of them is not available.

    An encoder that is not loaded yet is not loaded for this, as its network, and torch, take longer than drawing.

    Raises:
        DataError, IdentityError: the folder of the encoder is damaged.
    """
    if embeddings.encoder is None and embeddings.is_precomputed:
        return None
    located = embeddings.source()
    if located is None:
        return None
    if embeddings.encoder is None and embeddings.encoder_folder is not None:
        return (read_scale(embeddings.encoder_folder), *located)
    return (embeddings.encoder, *located) if is_encoder(embeddings.encoder) else None
