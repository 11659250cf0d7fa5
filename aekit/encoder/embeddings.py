"""Embeddings: the vectors of one encoder, in a folder or in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aekit._arguments import checked_arguments
from aekit.data.labels import to_label_array
from aekit.data.locations import resolved_origin
from aekit.data.metadata import checked_metadata
from aekit.data.reopening import reopen_if_available
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.encoder import embedded_rows
from aekit.encoder._parquet_parts import Parts, read_embeddings_manifest
from aekit.encoder.embedded_rows import Rows, as_columns, concatenate_rows, from_table, preview, select_rows, to_table
from aekit.encoder.identity import PRECOMPUTED, check_same_maker, read_description
from aekit.encoder.vectors import (
    cosine_similarity,
    finite_vectors,
    hash_vectors,
    read_vectors,
    row_of_id,
    selected_rows,
)
from aekit.errors import DataError
from aekit.io.remote import local_path
from aekit.io.summaries import data_frame, html_summary
from aekit.io.tensors import without_tensor
from aekit.progress import SILENT, Progress

if TYPE_CHECKING:
    from aekit.encoder._embedder import Embedder
    from aekit.encoder.inference import Precision


class Embeddings:
    """Vectors of one encoder, in a folder or in memory; ``numpy.asarray`` returns them as (N, D) float32.

    ``embeddings[3]`` and ``embeddings["id"]`` are vectors (D,); slices, masks and lists of rows select `Embeddings`. A pickle
    holds the vectors with their ids, labels and splits, without the encoder and the data.

    Attributes:
        digest: digest of the encoder.
        precision: in which it computed the vectors, ``fp32`` or ``bf16``.
        encoder: the encoder, if it is loaded; see `aekit.encoder.makers.encoder_of`.
        folder: folder of the embeddings, or None.
        encoder_folder: folder with the encoder, which is kept where rows are selected; or None.
        manifest: content of ``manifest.json``.

    Examples:
        >>> embeddings = aekit.Embeddings.from_array(np.eye(3))
        >>> len(embeddings), embeddings.dim, list(embeddings.ids)
        (3, 3, ['0', '1', '2'])
        >>> embeddings[1].tolist(), embeddings[1:].shape
        ([0.0, 1.0, 0.0], (2, 3))
    """

    def __init__(
        self,
        manifest: dict[str, Any],
        *,
        folder: Path | None = None,
        rows: Rows | None = None,
        encoder: Embedder | None = None,
        source: Source | None = None,
    ) -> None:
        self.manifest, self.folder, self._rows = manifest, folder and folder.absolute(), rows
        self.digest: str = manifest["digest"]
        self.precision: Precision = manifest.get("precision", "fp32")
        self.encoder, self.encoder_folder, self._source = encoder, self.folder, source
        self._row_by_id: dict[str, int] | None = None
        self._opened_parts: Parts | None = None

    @classmethod
    @partial(checked_arguments, name="Embeddings.open")
    def open(cls, folder: str | Path) -> Embeddings:
        """Open a folder that `aekit.embed` wrote.

        Raises:
            DataError: it holds no embeddings, or unfinished ones.
            IdentityError: it is damaged, or a part is missing.
        """
        folder = local_path(folder)
        manifest = read_embeddings_manifest(folder)
        if manifest.get("origin"):
            manifest["origin"] = resolved_origin(manifest["origin"], folder)
        return cls(manifest, folder=folder)

    @classmethod
    def from_array(
        cls,
        vectors: Any,
        *,
        ids: Sequence[str] | None = None,
        labels: np.ndarray | Sequence[Any] | None = None,
        splits: np.ndarray | Sequence[str] | None = None,
        metadata: Any = None,
    ) -> Embeddings:
        """Wrap vectors (N, D) of another program, with an identity of their own: the sha256 of their kind, shape and bytes.

        Args:
            vectors: (N, D).
            ids: N unique ids; default: the row numbers.
            labels: (N,) or None.
            splits: (N,) of str or None.
            metadata: table of N rows with further columns, of pandas, polars or pyarrow, or None.

        Raises:
            DataError: vectors that are not finite or not (N, D); not N ids, labels or splits; metadata that cannot be kept.
        """
        vectors = finite_vectors(vectors)
        ids = [str(row) for row in range(len(vectors))] if ids is None else list(ids)
        labels, splits = (None if values is None else to_label_array(values) for values in (labels, splits))
        embedded_rows.check_counts(len(vectors), ids=ids, labels=labels, splits=splits)
        manifest = {"kind": PRECOMPUTED, "digest": hash_vectors(vectors, PRECOMPUTED), "dim": vectors.shape[1]}
        manifest |= {"count": len(vectors), "origin": None}
        return cls(manifest, rows=Rows(ids, vectors, labels, splits, ids, checked_metadata(metadata, len(vectors))))

    @classmethod
    def from_source(cls, source: Source, progress: Progress = SILENT) -> Embeddings:
        """Wrap the vectors of a source, with its ids, labels and splits, and its further columns if they are small.

        Raises:
            DataError: its samples are not vectors, or values are not finite.
        """
        embeddings = cls.from_array(read_vectors(source), ids=source.ids, labels=source.labels, splits=source.splits)
        if source.metadata is not None:
            embeddings._rows = replace(embeddings.rows, metadata=source.metadata.choose("auto", progress))
        return embeddings

    def __len__(self) -> int:
        return self.manifest["count"]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.vectors, dtype) if copy else np.asarray(self.vectors, dtype)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Iterate over the vectors (D,)."""
        return iter(self.vectors)

    def __getitem__(self, which: Any) -> Any:
        """Return the vector (D,) of a row or an id, or the `Embeddings` of a slice, a mask or a list of rows or ids.

        Raises:
            IndexError: no such row, or a mask of another length.
            KeyError: no such id.
        """
        if isinstance(which, str):
            return self.vectors[self._row(which)]
        if isinstance(which, (int, np.integer)) and not isinstance(which, (bool, np.bool_)):
            return self.vectors[which]
        rows = selected_rows(which, len(self), self._row)
        manifest = {name: value for name, value in self.manifest.items() if name != "parts"} | {"count": len(rows)}
        part = Embeddings(manifest, rows=select_rows(self.rows, rows), encoder=self.encoder, source=self._source)
        part.encoder_folder = self.encoder_folder
        return part

    def _row(self, name: str) -> int:
        if self._row_by_id is None:
            self._row_by_id = {known: row for row, known in enumerate(self.ids)}
        return row_of_id(name, self._row_by_id)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_rows": self.rows, "encoder": None, "_source": None, "_row_by_id": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if self.encoder_folder is not None and not self.encoder_folder.is_dir():  # unpickled on another machine
            self.folder = self.encoder_folder = None

    def __repr__(self) -> str:
        extras = [name for name in ("labels", "splits") if self._has(name)]
        return f"<{', '.join([f'Embeddings {len(self)} x {self.dim} {self._maker()}', *extras])}>"

    def _has(self, column: str) -> bool:
        """Return whether the rows have labels or splits, without reading rows that are in a folder."""
        if self._rows is None and self.folder is not None and self.manifest.get("parts"):
            return column.removesuffix("s") in self._parts(self.folder).columns()
        return getattr(self.rows, column) is not None

    def _repr_html_(self) -> str:
        rows = preview(next(self.batches()))  # the first part is enough
        lines = [self._maker()] if self.folder is None else [self._maker(), f"in {self.folder}"]
        return html_summary(f"{len(self):,} embeddings of {self.dim} dimensions", lines, rows, total=len(self))

    def _maker(self) -> str:
        return f"precomputed, {self.digest[:12]}" if self.is_precomputed else f"of encoder {self.digest[:12]}"

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self), self.dim

    def similarity(self, other: Any = None) -> np.ndarray:
        """Return the cosine similarities (N, M) float32 in -1..1 to other embeddings, by default to these; 0 for zeros.

        Args:
            other: `Embeddings` of the same encoder, their folder, or vectors (M, D) or (D,).

        Raises:
            IdentityError: embeddings of another encoder.
            DataError: vectors of another length, or not finite.
        """
        theirs = self
        if other is not None:
            if isinstance(other, (str, Path)):
                other = Embeddings.open(other)
            theirs = other
            if not isinstance(other, Embeddings):
                vectors = np.asarray(without_tensor(other))
                theirs = Embeddings.from_array(vectors[None] if vectors.ndim == 1 else vectors)
            else:
                check_same_maker(self, theirs, what="this embedding", maker="the other")
            if theirs.dim != self.dim:
                raise DataError(f"vectors of length {theirs.dim}: expected {self.dim}, as these embeddings")
        return cosine_similarity(self.vectors, theirs.vectors)

    @partial(checked_arguments, name="Embeddings.save")
    def save(self, folder: str | Path) -> Embeddings:
        """Write the rows with their encoder into a new folder, which `aekit.embed` can extend, and open it.

        Raises:
            DataError: there are no rows, or no encoder, as of precomputed vectors.
            OutputError: the folder exists and is not empty, or cannot be written.
        """
        from aekit.encoder._saving import save_rows  # imports torch

        located = self.source()  # data that may not be opened is not vouched for by the mark of this user
        encoder = self.encoder or (self.encoder_folder and self.encoder_folder / "encoder")
        save_rows(self.rows, self.manifest, encoder, located and located[0].origin, folder)
        return Embeddings.open(folder)

    def to_pandas(self, *, metadata: bool = True) -> Any:
        """Return a `pandas.DataFrame` with a row per sample: id as the index, label and split where present, further columns,
        and one for each dimension, ``0`` to ``D - 1``.

        Args:
            metadata: False leaves out all but the dimensions, which a table that has the further columns can join.
        """
        columns = as_columns(self.rows)
        kept = columns if metadata else {name: columns[name] for name in ("id", *map(str, range(self.dim)))}
        return data_frame(kept).set_index("id")

    @property
    def dim(self) -> int:
        return self.manifest["dim"]

    @property
    def is_precomputed(self) -> bool:
        """Whether another program made the vectors, so that no encoder belongs to them."""
        return self.manifest.get("kind") == PRECOMPUTED

    @property
    def rows(self) -> Rows:
        """All rows, read into memory on first use."""
        if self._rows is None:
            self._rows = concatenate_rows(list(self.batches()), self.dim)
        return self._rows

    @property
    def ids(self) -> Sequence[str]:
        return self.rows.ids

    @property
    def vectors(self) -> np.ndarray:
        """(N, D) float32."""
        return self.rows.vectors

    @property
    def labels(self) -> np.ndarray | None:
        """(N,) or None."""
        return self.rows.labels

    @property
    def splits(self) -> np.ndarray | None:
        """(N,) of str or None."""
        return self.rows.splits

    def batches(self) -> Iterator[Rows]:
        """Yield the rows part by part, in bounded memory.

        Raises:
            IdentityError: a part is damaged.
        """
        if self._rows is not None or self.folder is None:
            yield self.rows
            return
        parts = self._parts(self.folder)
        for name in parts.names:
            yield from_table(parts.read(name))

    def _parts(self, folder: Path) -> Parts:
        if self._opened_parts is None or self._opened_parts.folder != folder:
            self._opened_parts = Parts(folder, self.manifest)
        return self._opened_parts

    def metadata(self) -> pa.Table:
        """Return a table of the rows without their vectors: id, hash, label and split where present, and further columns."""
        if self.folder is None or self._rows is not None:
            return to_table(self.rows, self.digest, self.precision).drop_columns("vector").replace_schema_metadata()
        return self._parts(self.folder).metadata()

    def source(self) -> tuple[Source, np.ndarray] | None:
        """Return the data they were made from and each row's position in it (N,), or None if it is not available."""
        if self._source is None:
            self._source = reopen_if_available(
                self.manifest.get("origin"), self._encoder_spec(), near=self.encoder_folder
            )
            if self._source is None:
                return None
        positions = {name: position for position, name in enumerate(self._source.ids)}
        if not all(name in positions for name in self.ids):
            return None
        return self._source, np.asarray([positions[name] for name in self.ids], np.int64)

    def _encoder_spec(self) -> SampleSpec | None:
        """Return the sample spec of the encoder, without loading its weights."""
        if self.encoder is not None or self.encoder_folder is None:
            return self.encoder.spec if self.encoder is not None else None
        return SampleSpec.from_dict(read_description(self.encoder_folder)["spec"])
