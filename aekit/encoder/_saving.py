"""Save rows that are in memory, such as a selection of embeddings, in the format of a folder that `aekit.embed` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.locations import portable_record
from aekit.encoder._embedder import Embedder
from aekit.encoder._parquet_parts import FORMAT, MANIFEST
from aekit.encoder.embedded_rows import Rows, select_rows
from aekit.encoder.parquet_store import PART_BYTES, part_records, skipped_csv, write_part
from aekit.errors import DataError
from aekit.io.atomic import atomic_folder, copy_encoder, write_text
from aekit.io.manifests import write_manifest
from aekit.io.remote import output_folder
from aekit.version import __version__


def save_rows(
    rows: Rows, manifest: Mapping[str, Any], encoder: Embedder | Path | None, origin: Any, out: str | Path
) -> None:
    """Write rows and their encoder into a new folder, as `Embeddings.save` does, which describes the errors.

    Args:
        rows: to write.
        manifest: of the embeddings.
        encoder: that made them, or its folder; None if it is not available.
        origin: record of the data, as `Source.origin`; None: the folder names no data.
        out: the folder.
    """
    if encoder is None:
        raise DataError(f"{out}: embeddings are saved with their encoder, which these lack; numpy.save saves vectors")
    if not len(rows.ids):
        raise DataError(f"{out}: no rows to save")
    digest, dim, precision = manifest["digest"], manifest["dim"], manifest["precision"]
    with output_folder(out) as place, atomic_folder(place) as folder:
        if isinstance(encoder, Path):
            copy_encoder(encoder, folder / "encoder")
        else:
            encoder.copy_to(folder / "encoder")
        rows_of_a_part = max(1, PART_BYTES // (4 * dim))
        for number, start in enumerate(range(0, len(rows.ids), rows_of_a_part)):
            chosen = np.arange(start, min(start + rows_of_a_part, len(rows.ids)))
            write_part(folder / f"part-{number:05d}.parquet", select_rows(rows, chosen), digest, precision)
        write_text(folder / "skipped.csv", skipped_csv({}))
        entries = {
            "format": FORMAT,
            "aekit": __version__,
            "digest": digest,
            "dim": dim,
            "origin": None if origin is None else portable_record(origin, place),
            "split": manifest.get("split"),
            "metadata": manifest.get("metadata"),
            "precision": precision,
            "count": len(rows.ids),
            "skipped": 0,
            "parts": part_records(folder),
        }
        write_manifest(folder / MANIFEST, entries)
