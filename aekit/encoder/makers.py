"""Find the encoder and the samples that embeddings were made from; torch is imported only where there is an encoder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.data.source import Source
from aekit.encoder.embeddings import Embeddings

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


def available_samples(embeddings: Embeddings) -> tuple[Encoder, Source, np.ndarray] | None:
    """Return the encoder, the data and each row's position in it (N,), or None if one of them is not available.

    Raises:
        DataError, IdentityError, PluginError: as `encoder_of`.
    """
    if embeddings.encoder is None and embeddings.is_precomputed:
        return None
    located = embeddings.source()  # first, as an encoder takes longer to load
    encoder = encoder_of(embeddings) if located is not None else None
    return None if located is None or encoder is None else (encoder, *located)
