"""Open what the functions of this package take: embeddings, a run, or arrays, each as a path or an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit.data.opening import reopen
from aekit.encoder.embedding import embed
from aekit.encoder.embeddings import Embeddings, open_embeddings
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.errors import DataError
from aekit.progress import SILENT, Progress


def open_or_embed(data: Any, progress: Progress = SILENT) -> Embeddings:
    """Open embeddings, or embed the data that a run was trained on.

    Args:
        data: `Embeddings`, their folder, a file of precomputed vectors or an array (N, D); or the folder of a run or its
            `Encoder`, whose training data is embedded.
        progress: receives the progress of embedding.

    Raises:
        DataError: no embeddings, or a run whose training data is not available.
    """
    if isinstance(data, (str, Path)) and (Path(data) / "recipe.toml").is_file():
        encoder, name = load(data), str(data)
    elif isinstance(data, Encoder):
        encoder, name = data, "the encoder"
    else:
        return open_embeddings(data, progress)
    origin = encoder.record.get("data", {})
    if "source" not in origin:
        raise DataError(f"{name}: was trained on data in memory; embed data with it and pass the embeddings instead")
    return embed(encoder, reopen(origin, like=encoder.spec), progress=progress)
