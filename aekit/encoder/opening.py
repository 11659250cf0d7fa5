"""Open embeddings given as a folder, a file of vectors, an array or `Embeddings`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit.data.labels import ids_in_index
from aekit.data.opening import open_data
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError
from aekit.io.remote import local_copy
from aekit.io.remote_urls import is_remote
from aekit.io.tensors import without_tensor
from aekit.progress import SILENT, Progress


def open_embeddings(embeddings: Any, progress: Progress = SILENT) -> Embeddings:
    """Open embeddings given as a folder, as `Embeddings` or as an array: the rule for every function that takes embeddings.

    Args:
        embeddings: the path of a folder that `aekit.embed` wrote, `Embeddings`, or an array (N, D) such as a numpy array, a torch
            tensor, a data frame or a list of rows; or a file of precomputed vectors, in any format that `aekit.open_data`
            reads as vectors: ``.npy``, a Parquet table with a column of lists, ...
        progress: receives a note on precomputed vectors.

    Raises:
        DataError: another type, no embeddings at the path, or an array of another shape or with non-finite values.
        IdentityError: a part of the folder is missing.
    """
    if isinstance(embeddings, Embeddings):
        return embeddings
    if isinstance(embeddings, (str, Path)):
        return _open_path(embeddings, progress)
    embeddings = without_tensor(embeddings)
    if isinstance(embeddings, (list, tuple)) or hasattr(embeddings, "__array__"):
        return Embeddings.from_array(embeddings, ids=ids_in_index(embeddings))
    what = f"{type(embeddings).__name__}{' (encoder.embed(data) makes them)' if hasattr(embeddings, 'embed') else ''}"
    raise DataError(f"embeddings of type {what}: expected a path, Embeddings or an array (N, D)")


def _open_path(path: str | Path, progress: Progress) -> Embeddings:
    """Open a folder of embeddings, or read the vectors of a file or of ``SOURCE:NAME``."""
    if is_remote(path):
        local = local_copy(path)
        if local.is_dir() and local.suffix not in (".zarr", ".lance"):
            return Embeddings.open(local)
    named = ":" in str(path) and not Path(path).exists()
    is_data = Path(path).is_file() or Path(path).suffix in (".zarr", ".lance")  # formats that are folders
    if not named and not is_data:
        return Embeddings.open(path)
    source = open_data(path)
    source.report_notes(progress)
    try:
        vectors = Embeddings.from_source(source, progress)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    # A table of measurements opens as well: its reader says what becomes of its columns.
    progress.say(f"{len(vectors)} precomputed vectors of {vectors.dim} entries, used as they are")
    return vectors
