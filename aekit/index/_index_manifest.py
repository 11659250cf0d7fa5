"""Read the manifest of an index, after checking that its files are undamaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from aekit.errors import DataError, IdentityError
from aekit.io.manifest_models import Checksums, Count, Dim, Manifest, OriginRecord, PluginRecord, Sha256
from aekit.io.manifests import check_files, explain_read_errors, path_inside, read_entries, read_manifest
from aekit.io.parquet import read_parquet

FORMAT = 2
IDS, MANIFEST = "ids.parquet", "manifest.json"

Similarity = Literal["cosine", "l2", "ip"]


class IndexManifest(Manifest):
    """Entries of ``manifest.json`` of an index."""

    digest: Sha256
    kind: Literal["precomputed"] | None = None
    engine: PluginRecord
    options: dict[str, Any]
    metric: Similarity
    count: Annotated[Count, Field(ge=1)]
    dim: Dim
    built_with: Annotated[Count, Field(ge=1)]
    reason: str
    recall: Annotated[float, Field(ge=0, le=1)]
    recall_queries: Count
    origin: OriginRecord | None
    settings: dict[str, Any]
    file: str
    sha256: Checksums

    @model_validator(mode="after")
    def _names_an_engine(self) -> IndexManifest:
        if self.engine.kind != "index":
            raise ValueError(f"engine.kind: {self.engine.kind!r}; expected 'index'")
        return self


def read_index_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of an index, and check the files that it names.

    Raises:
        DataError: there is no index.
        IdentityError: the manifest or a file is damaged.
    """
    if not (folder / MANIFEST).is_file() or "engine" not in read_entries(folder / MANIFEST):
        raise DataError(f"{folder}: no index here; expected a folder that aekit index wrote")
    manifest = read_manifest(folder / MANIFEST, IndexManifest, kind="index", version=FORMAT)
    path_inside(folder, manifest["file"], "file: ")
    # Before anything opens them: a damaged index file can crash the process.
    needed = (manifest["file"], IDS)
    check_files(folder, manifest["sha256"], "rebuild the index", needed=needed, manifest=MANIFEST)
    return manifest


def read_metadata(folder: Path, count: int) -> pa.Table:
    """Read the ids, hashes, labels and splits of the rows (N,).

    Raises:
        IdentityError: the file is damaged, or does not have `count` rows.
    """
    path = folder / IDS
    with explain_read_errors(path, "rebuild the index"):
        table = read_parquet(path)
        table.validate(full=True)
        for name in ("id", "hash"):
            if table.schema.field(name).type != pa.string() or table[name].null_count:
                raise ValueError(f"has no text in column {name!r}")
    if len(table) != count:
        problem = f"counts {count} vectors, {IDS} has {len(table)}"
        raise IdentityError(f"{folder / MANIFEST}: is damaged: {problem}; rebuild the index")
    return table
