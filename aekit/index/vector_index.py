"""Open and search an index over embeddings, which is bound to their encoder.

The engine (`aekit.index.engine.Index`) is a plugin and finds the nearest vectors. This module checks the encoder's digest,
verifies the checksum of the index file before opening it, and knows the ids of the rows. `aekit.index.build` builds indexes.
Only what embeds queries imports torch, which takes longer than a search by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aekit._arguments import checked_arguments
from aekit.data.locations import resolved_origin
from aekit.data.spec import SampleSpec
from aekit.encoder.identity import PRECOMPUTED, check_same_encoder, check_same_maker, read_description
from aekit.encoder.vectors import closest_id
from aekit.errors import DataError, IdentityError
from aekit.index._filters import Condition, check_mask
from aekit.index._found import check_found
from aekit.index._hits import Hits
from aekit.index._index_manifest import read_index_manifest, read_metadata
from aekit.index._queries import as_embeddings, scale_for_metric
from aekit.index.engine import Index
from aekit.io.manifests import explain_read_errors
from aekit.io.remote import local_path
from aekit.io.summaries import html_summary
from aekit.progress import warn
from aekit.registry.discovery import registry

if TYPE_CHECKING:
    from aekit.encoder.encoder import Encoder
    from aekit.encoder.inference import Precision

Where = str | np.ndarray | None
"""A condition on the metadata of rows, a mask (N,) of bool over them, or None for all rows."""


class VectorIndex:
    """An index with the identity of its encoder, as `build_index` and `open_index` return it.

    Attributes:
        manifest: digest, engine, its settings, metric, count, dim, recall, and the reason for the kind of index.
        metadata: a table with one row per vector: id, hash, and label, split and further columns where present.
        folder: folder of the index, or None.
    """

    def __init__(self, engine: Index, manifest: dict[str, Any], metadata: pa.Table, folder: Path | None) -> None:
        self.engine, self.manifest, self.metadata = engine, manifest, metadata
        self.folder = folder and folder.absolute()
        self.ids: list[str] = metadata["id"].to_pylist()
        self._rows = {name: row for row, name in enumerate(self.ids)}
        self._encoder: Encoder | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        maker = "of precomputed vectors" if self.is_precomputed else "of encoder"
        return f"<VectorIndex {len(self)} x {self.dim} by {self.manifest['engine']['name']} {maker} {self.digest[:12]}>"

    @property
    def digest(self) -> str:
        return self.manifest["digest"]

    @property
    def dim(self) -> int:
        return self.manifest["dim"]

    @property
    def precision(self) -> Precision:
        """Precision in which its vectors were computed, and in which queries have to be."""
        return self.manifest.get("precision", "fp32")

    @property
    def is_precomputed(self) -> bool:
        """Whether its vectors were made by another program, so that no encoder belongs to them."""
        return self.manifest.get("kind") == PRECOMPUTED

    def encoder(self) -> Encoder | None:
        """Return the encoder of its vectors, or None if it is not stored with the index."""
        if self._encoder is None and self.folder is not None and (self.folder / "encoder").exists():
            from aekit.encoder.loading import load

            self._encoder = load(self.folder / "encoder")
            check_same_encoder(
                self.digest, self._encoder.digest, what=str(self.folder), maker="the encoder inside it is"
            )
        return self._encoder

    def _repr_html_(self) -> str:
        lines = [f"engine {self.manifest['engine']['name']}, {self.manifest['metric']}", f"encoder {self.digest[:12]}"]
        if "recall" in self.manifest:
            lines.append(f"recall {self.manifest['recall']:.3f} compared with exact search")
        lines += [f"in {self.folder}"] if self.folder else []
        return html_summary(f"Index of {len(self):,} vectors of {self.dim} dimensions", lines)

    def search(self, queries: Any, k: int = 10, *, where: Where = None) -> Hits:
        """Find the rows nearest to query vectors.

        Args:
            queries: (Q, D), or (D,) for one query; `Embeddings` must come from the same encoder.
            k: number of neighbors, at most the number of rows.
            where: condition on the neighbors, such as ``label = "cat" and split != "test"``, or a mask (N,) of bool over the
                rows; a warning says if fewer than k rows satisfy it.

        Returns:
            hits with ids, scores and labels; ``scores, rows = index.search(...)`` unpacks the scores (Q, k), where higher is
            nearer (for ``l2`` the squared distance, where lower is nearer), and the rows (Q, k).

        Raises:
            IdentityError: `queries` are embeddings of another encoder or precision.
            DataError: the queries have another length or are not finite, k is less than 1, or the condition cannot be read.
        """
        if k < 1:
            raise DataError(f"k = {k}: expected at least 1")
        among = None if where is None else self._rows_where(where, k)
        embeddings = as_embeddings(queries)
        if embeddings is not None and not (embeddings.is_precomputed and self.is_precomputed):
            if embeddings.is_precomputed or self.is_precomputed:
                ours, theirs = sorted(["an encoder's", "precomputed"], reverse=self.is_precomputed)
                raise IdentityError(
                    f"this index holds {ours} vectors, the queries are {theirs}; expected vectors of one origin"
                )
            check_same_maker(self, embeddings, what="this index", maker="the query is")
        try:
            vectors = np.asarray(queries, np.float32)
        except (TypeError, ValueError):
            raise self._unusable(f"of type {type(queries).__name__}") from None
        vectors = vectors[None] if vectors.ndim == 1 else vectors
        if vectors.ndim != 2 or vectors.shape[1] != self.manifest["dim"]:
            raise self._unusable(f"of shape {vectors.shape}")
        scores, rows = self._nearest(scale_for_metric(vectors, self.manifest["metric"]), k, among)
        return Hits.of(None if embeddings is None else embeddings.ids, scores, rows, self.metadata)

    def search_ids(self, names: str | Sequence[str], k: int = 10, *, where: Where = None) -> Hits:
        """Find the rows nearest to samples of the index, excluding the samples themselves.

        Args:
            names: Q ids, or one.
            k: number of neighbors.
            where: condition on the neighbors, as in `search`; the samples themselves need not satisfy it.

        Returns:
            hits, as `search`.

        Raises:
            DataError: an id is not in the index, or the condition cannot be read.
        """
        names = [names] if isinstance(names, str) else names
        for name in names:
            if name not in self._rows:
                raise DataError(f"id:{name}: no such id in the index{closest_id(name, self.ids)}")
        query_rows = np.asarray([self._rows[name] for name in names])
        with self._explained():
            vectors = self.engine.vectors(query_rows)
        among = self._rows_where(where, k)
        scores, rows = self._nearest(vectors, k + 1, among)
        # A duplicate may come before the sample, an approximate index may miss it, or the condition leaves it out.
        itself = rows == query_rows[:, None]
        order = np.argsort(itself, axis=1, kind="stable")
        others = len(self) - 1 if among is None else len(among) - bool(np.isin(query_rows, among).all())
        scores, rows = (np.take_along_axis(values, order, 1)[:, : min(k, others)] for values in (scores, rows))
        rows[rows == query_rows[:, None]] = -1
        return Hits.of(names, scores, rows, self.metadata)

    def mask(self, where: str) -> np.ndarray:
        """Return a mask (N,) of bool of the rows that satisfy a condition.

        Args:
            where: condition on id, label, split and other columns of `metadata`.

        Raises:
            DataError: the condition cannot be read, names no column, or compares a column with a value of another type.

        Examples:
            >>> embeddings = aekit.Embeddings.from_array(np.eye(3), labels=np.array(["cat", "dog", "cat"]))
            >>> index = aekit.build_index(embeddings)
            >>> index.mask('label = "cat"').tolist()
            [True, False, True]
            >>> index.search(np.eye(3)[1], k=1, where='label = "cat" and id != "0"').ids.tolist()
            [['2']]
        """
        return Condition(where, self.metadata).mask

    def compared_columns(self, where: str) -> list[str]:
        """Return the names of the columns that a condition compares; raises as `mask`."""
        return Condition(where, self.metadata).columns

    def _rows_where(self, where: Where, k: int) -> np.ndarray | None:
        """Return the rows (R,) that satisfy a condition, or None where there is no condition; warn of fewer than k rows."""
        if where is None:
            return None
        condition = Condition(where, self.metadata) if isinstance(where, str) else None
        rows = np.flatnonzero(condition.mask if condition else check_mask(where, len(self)))
        if len(rows) < k:
            reason = condition.unknown_value() if condition and not len(rows) else ""
            counts = f"{len(rows):,} of {len(self):,} vectors satisfy the condition, fewer than k = {k}"
            warn(f"where: {counts}{reason and '; '}{reason}")
        return rows

    def _unusable(self, problem: str) -> DataError:
        """Return the error of queries that are no vectors of the index's length."""
        expected = f"expected embeddings or (Q, {self.dim}); search_ids takes ids, search_data takes data"
        return DataError(f"queries {problem}: {expected}")

    def _nearest(self, vectors: np.ndarray, k: int, among: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and rows (Q, k) from the engine, whose rows must be rows of the index, and of those in `among` (R,)."""
        count = len(self.ids)
        try:  # a context manager takes longer than all other lines here
            if among is None:
                few = k if k < count else count
                scores, rows = check_found(self.engine.search(vectors, few), len(vectors), few, self.manifest)
            elif len(among):
                few = min(k, len(among))
                answer = self.engine.search_among(vectors, few, among)
                scores, rows = check_found(answer, len(vectors), few, self.manifest)
            else:
                scores, rows = np.empty((len(vectors), 0), np.float32), np.empty((len(vectors), 0), np.int64)
            if not self.engine.has_checked_rows and rows.size and not -1 <= rows.min() <= rows.max() < count:
                raise ValueError(f"it finds rows {rows.min()} to {rows.max()} of {count}")
            if among is not None and not np.isin(rows[rows >= 0], among).all():
                raise ValueError("it finds rows that the condition leaves out")
        except Exception:
            with self._explained():
                raise
        if among is not None and (missing := int((rows < 0).any(1).sum())):
            warn(f"where: fewer than {rows.shape[1]} neighbors are found for {missing} queries")
        return scores, rows

    def _explained(self) -> AbstractContextManager[None]:
        """Turn errors of the engine into one line, if the index comes from a file, which may be damaged."""
        return nullcontext() if self.folder is None else explain_read_errors(self.folder, "rebuild the index")

    def search_data(
        self,
        data: Any,
        k: int = 10,
        *,
        encoder: Encoder | None = None,
        options: dict[str, Any] | None = None,
        where: Where = None,
    ) -> Hits:
        """Embed files or arrays with the encoder of the index and search for them; those that cannot be read are skipped, and
        a warning lists them.

        The queries of an index of precomputed vectors are vectors, too.

        Args:
            data: as in `aekit.open_data`: an image, a folder, an array file, an array.
            k: number of neighbors.
            encoder: the encoder of the index, where none is stored with it.
            options: options of the source, by its name.
            where: condition on the neighbors, as in `search`.

        Returns:
            hits, which unpack as the Q ids of the queries, scores (Q, k) and rows (Q, k).

        Raises:
            DataError: there is no encoder, none of the data can be read, or the condition cannot be read.
            IdentityError: `encoder` is not the one that made the index.
        """
        from aekit.data.opening import open_data
        from aekit.encoder.embedding import embed_samples

        if self.is_precomputed:
            if encoder is not None:
                raise IdentityError(
                    f"this index holds precomputed vectors; encoder {encoder.digest[:12]} made none of them"
                )
            return self._search_vectors(data, k, options, where)
        encoder = encoder or self.encoder()
        if encoder is None:
            raise DataError("this index has no encoder stored with it; pass one as `encoder`")
        check_same_encoder(
            self.digest, encoder.digest, what="this index", maker="the query would be embedded by one that is"
        )
        source = open_data(data, options, like=encoder.spec)
        queries = embed_samples(encoder, source, metadata="none", progress=False, precision=self.precision)
        for name, reason in source.skipped.items():
            warn(f"query {name}: {reason}; skipped")
        hits = self.search(queries, k, where=where)
        return Hits.of(queries.ids, hits.scores, hits.rows, self.metadata, named=True)

    def _search_vectors(self, data: Any, k: int, options: dict[str, Any] | None, where: Where) -> Hits:
        """Search for the vectors (Q, D) or (D,) of data; only their length can be checked."""
        from aekit.data.opening import open_data
        from aekit.encoder.embeddings import Embeddings

        try:
            source = open_data(data, options, like=SampleSpec("vector", (self.dim,), "float32"))
        except DataError:  # integers fit as well; other problems are reported without `like`
            source = open_data(data, options)
        if source.spec.shape != (self.dim,):
            expected = f"this index holds precomputed vectors of {self.dim} entries: expected such vectors"
            raise DataError(f"the queries are {source.spec}; {expected}")
        hits = self.search(np.asarray(Embeddings.from_source(source)), k, where=where)
        return Hits.of(list(source.ids), hits.scores, hits.rows, self.metadata, named=True)

    def hits(self, queries: Sequence[str], scores: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return a record of each of (Q, k) neighbors, as `Hits.records`."""
        return Hits.of(queries, scores, rows, self.metadata).records()


@checked_arguments
def open_index(folder: str | Path) -> VectorIndex:
    """Open an index, after checking that its files are undamaged.

    Args:
        folder: folder that `build_index` or ``aekit index`` wrote.

    Raises:
        DataError: there is no index.
        IdentityError: a file is damaged, or its encoder is another one.
        PluginError: the engine is missing, disabled or broken.

    Examples:
        >>> vectors = np.random.default_rng(0).normal(size=(100, 8))
        >>> index = aekit.build_index(vectors, "my-index")
        >>> aekit.open_index("my-index").search(vectors[0], k=1)[1].tolist()
        [[0]]
        >>> index.search(vectors[:1], k=2).ids[0, 0]
        '0'
    """
    folder = local_path(folder)
    manifest = read_index_manifest(folder)
    if (folder / "encoder").exists():
        digest = read_description(folder / "encoder")["digest"]
        check_same_encoder(manifest["digest"], digest, what=str(folder), maker="the encoder inside it is")
    if manifest.get("origin"):
        manifest["origin"] = resolved_origin(manifest["origin"], folder)
    plugin = registry().require(manifest["engine"], required_by=str(folder))
    engine: Index = plugin.made()
    with explain_read_errors(folder / manifest["file"], "rebuild the index"):
        engine.load(folder / manifest["file"], manifest["settings"])
    if (kept := engine.kept_digest()) is not None:
        check_same_encoder(manifest["digest"], kept, what=str(folder), maker="the vectors that its engine keeps are")
    metadata = read_metadata(folder, manifest["count"])
    count, dim = engine.shape() or (manifest["count"], manifest["dim"])
    if dim != manifest["dim"] or count != manifest["count"]:
        problem = f"has {count} rows of {dim} dimensions, the manifest says {manifest['count']} of {manifest['dim']}"
        raise IdentityError(f"{folder / manifest['file']}: {problem}; rebuild the index")
    return VectorIndex(engine, manifest, metadata, folder)
