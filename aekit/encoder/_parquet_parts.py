"""Read the Parquet parts of embeddings, after checking that they are those of their manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from aekit.encoder.identity import check_same_encoder
from aekit.errors import DataError, IdentityError
from aekit.io.arrow import arrow_values
from aekit.io.manifest_models import Checksums, Count, Dim, Manifest, OriginRecord, Sha256
from aekit.io.manifests import check_files, explain_read_errors, path_inside, read_entries, read_manifest
from aekit.progress import warn

FORMAT, MANIFEST = 2, "manifest.json"
RESTORE = "embed again to restore it"


class PartRecord(Manifest):
    """A part of embeddings."""

    file: Annotated[str, Field(pattern=r"^part-[0-9]{5,}\.parquet$")]
    rows: Annotated[Count, Field(ge=1)]
    sha256: Sha256


class EmbeddingsManifest(Manifest):
    """Entries of ``manifest.json`` of embeddings."""

    digest: Sha256
    dim: Dim
    count: Annotated[Count, Field(ge=1)]
    skipped: Count
    precision: Literal["fp32", "bf16"]
    split: str | None
    metadata: Literal["auto", "none"] | list[str] | None = None
    origin: OriginRecord | None
    parts: Annotated[list[PartRecord], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> EmbeddingsManifest:
        names = [part.file for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError("parts: a file is listed twice")
        if (rows := sum(part.rows for part in self.parts)) != self.count:
            raise ValueError(f"count: {self.count}, but the parts have {rows} rows")
        return self


class UnfinishedManifest(Manifest):
    """Entries of ``manifest.json`` while embeddings are being written: the checksums of the parts that were complete before."""

    unfinished: bool
    sha256: Checksums
    metadata: Literal["auto", "none"] | list[str] | None = None


class Parts:
    """The parts of finished embeddings, each checked when it is first read.

    Attributes:
        folder: of the embeddings.
        manifest: of the embeddings.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self._checked: dict[str, tuple[int, int, int]] = {}

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a part.

        Raises:
            IdentityError: it is missing or damaged.
        """
        path = path_inside(self.folder, name)
        with explain_read_errors(path, RESTORE):
            status = path.stat()
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._checked.get(name) != state:
            (expected,) = (part["sha256"] for part in self.manifest["parts"] if part["file"] == name)
            check_files(self.folder, {name: expected}, RESTORE)
            self._checked[name] = state
        return read_part(self.folder, name, self.manifest, columns)

    @property
    def names(self) -> list[str]:
        """Names of the files."""
        return [part["file"] for part in self.manifest["parts"]]

    def columns(self) -> list[str]:
        """Return the names of the columns of the first part."""
        path = path_inside(self.folder, self.names[0])
        with explain_read_errors(path, RESTORE):
            return list(pq.read_schema(path).names)

    def metadata(self) -> pa.Table:
        """Return a table of all rows without their vectors.

        Raises:
            IdentityError: a part is missing or damaged.
        """
        columns = [name for name in self.columns() if name != "vector"]
        tables = [self.read(name, columns) for name in self.names]
        with explain_read_errors(self.folder, RESTORE):
            return pa.concat_tables(tables).replace_schema_metadata()


def read_embeddings_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of finished embeddings.

    Raises:
        DataError: the folder holds no embeddings, or unfinished ones.
        IdentityError: the manifest is damaged, or a part is missing.
    """
    path = folder / MANIFEST
    if not path.is_file() or "parts" not in read_entries(path):
        if any(folder.glob("part-*.parquet")):
            raise DataError(f"{folder}: embedding was interrupted; run aekit embed again to finish it")
        raise DataError(f"{folder}: no embeddings here; expected a folder that aekit embed wrote")
    manifest = read_manifest(path, EmbeddingsManifest, kind="embeddings", version=FORMAT)
    for part in manifest["parts"]:
        if not path_inside(folder, part["file"], "parts: ").is_file():
            raise IdentityError(f"{folder / part['file']}: is missing; run aekit embed again to restore it")
    return manifest


def known_checksums(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of the parts of a folder, finished or not; none if the manifest is damaged."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            return {}
        if "parts" in read_entries(path):
            manifest = read_manifest(path, EmbeddingsManifest, kind="embeddings", version=FORMAT)
            return {part["file"]: part["sha256"] for part in manifest["parts"]}
        return dict(read_manifest(path, UnfinishedManifest)["sha256"])
    except IdentityError as error:
        warn(f"{error}; a new one is written, from the parts that can be read")
        return {}


def recorded_metadata(folder: Path) -> Literal["auto", "none"] | list[str] | None:
    """Return which columns of metadata a folder was told to keep; None if it records none."""
    try:
        recorded = read_entries(folder / MANIFEST).get("metadata") if (folder / MANIFEST).is_file() else None
    except IdentityError:  # `known_checksums` warns of it
        return None
    is_list = isinstance(recorded, list) and all(isinstance(name, str) for name in recorded)
    return recorded if is_list or recorded in ("auto", "none") else None


def read_part(folder: Path, name: str, manifest: Mapping[str, Any], columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part, after checking that it holds rows of these embeddings.

    Args:
        folder: of the embeddings.
        name: of the part.
        manifest: of the embeddings: digest, dim, and the parts with their numbers of rows, where it is finished.
        columns: names of the columns to read; None: all.

    Raises:
        DamagedError: it is damaged.
        IdentityError: it is of another encoder.
    """
    path = path_inside(folder, name)
    with explain_read_errors(path, RESTORE):
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        vector = schema.field("vector").type
        if not pa.types.is_fixed_size_list(vector) or vector.list_size != manifest["dim"]:
            raise ValueError(f"has vectors of type {vector}; expected {manifest['dim']} entries")
        if vector.value_type != pa.float32() or any(schema.field(text).type != pa.string() for text in ("id", "hash")):
            raise ValueError("has columns of other types than embeddings have")
        digest = (schema.metadata or {}).get(b"aekit.digest", b"").decode()
        check_same_encoder(manifest["digest"], digest, what="this embedding", maker=f"{path} is")
        rows = {part["file"]: part["rows"] for part in manifest.get("parts", ())}.get(name, file.metadata.num_rows)
        if file.metadata.num_rows != rows:
            raise ValueError(f"has {file.metadata.num_rows} rows, the manifest says {rows}")
        table = file.read(columns=columns)
        table.validate(full=True)
        if len(table) != rows or any(table[text].null_count for text in table.column_names if text in _NEVER_NULL):
            raise ValueError("lacks values")
        if (
            "vector" in table.column_names
            and not np.isfinite(arrow_values(table["vector"].combine_chunks().flatten())).all()
        ):
            raise ValueError("has vectors that are not finite")
        return table


_NEVER_NULL = ("id", "vector", "hash")
