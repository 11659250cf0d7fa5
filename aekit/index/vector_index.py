"""Open and search an index over embeddings, which is bound to their encoder; and the contract of index engines.

The engine (`Index`) is a plugin and finds the nearest vectors. This module checks the encoder's digest, verifies the
checksum of the index file before opening it, and knows the ids of the rows. `aekit.index.build` builds indexes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from aekit._arguments import checked_arguments
from aekit.data.locations import resolved_origin
from aekit.data.opening import open_data
from aekit.data.spec import SampleSpec
from aekit.encoder.embedding import embed_samples
from aekit.encoder.embeddings import PRECOMPUTED, Embeddings
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import check_same_encoder, check_same_maker, read_description
from aekit.encoder.inference import Precision
from aekit.encoder.loading import load
from aekit.errors import DataError, IdentityError, closest_name
from aekit.index._hits import Hits
from aekit.index._index_manifest import Similarity as Similarity, read_index_manifest, read_metadata
from aekit.io.manifests import explain_read_errors
from aekit.io.remote import local_path
from aekit.io.summaries import html_summary
from aekit.progress import warn
from aekit.registry.discovery import registry

BatchFactory = Callable[[], Iterator[np.ndarray]]
"""A function that yields all vectors, as (B, D) float32 batches in the order of their rows."""


class Index(ABC):
    """Engine of nearest-neighbor search. The keyword-only parameters of ``__init__`` are its options; rows count from 0.

    For the cosine metric, vectors and queries have length 1, so that the cosine is the inner product.
    """

    plugin_kind: ClassVar[str] = "index"
    external: ClassVar[bool] = False
    """Whether the vectors are kept outside of the index folder, such as in a database, so that they outlive the process."""

    @abstractmethod
    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        """Build the index from `count` vectors of length `dim`, in bounded memory; `batches` may be called several times.

        Returns:
            a phrase that says which kind of index was chosen and why.
        """

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """Append vectors (N, D) float32 as new rows."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (Q, k) and rows (Q, k) of queries (Q, D) float32, best first; row -1 where fewer were found.

        A score is the inner product, or for ``l2`` the squared distance.
        """

    @abstractmethod
    def save(self, path: Path) -> dict[str, Any]:
        """Write one file; return plain settings that `load` needs in addition."""

    @abstractmethod
    def load(self, path: Path, settings: dict[str, Any]) -> None:
        """Read the file that `save` wrote; its checksum has been verified."""

    @abstractmethod
    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors (N, D) float32 of rows (N,), as precisely as they are stored."""

    def shape(self) -> tuple[int, int] | None:
        """Return the numbers of rows and dimensions, if the engine knows them; they must be those of the manifest."""
        return None

    def keep_digest(self, digest: str) -> None:  # noqa: B027  (for external engines)
        """Take the digest (64 hex digits) of the encoder, to be kept beside the vectors that are built next."""

    def kept_digest(self) -> str | None:
        """Return the digest that is kept beside the vectors, or None where they are in the folder."""
        return None

    def begin(self, folder: Path) -> None:  # noqa: B027  (for external engines)
        """Note in a folder where the vectors will be that are built next for it, in case the process is killed."""

    def finish(self, folder: Path) -> None:  # noqa: B027  (for external engines)
        """Delete what replaced or killed builds for a folder have left outside of it; this index is saved there."""

    def tune(self, recall: Callable[[], float]) -> None:  # noqa: B027  (tuning is optional)
        """Adjust how thoroughly it searches; `recall` measures the recall (0..1) with the current settings."""


class VectorIndex:
    """An index with the identity of its encoder, as `build_index` and `open_index` return it.

    Attributes:
        manifest: digest, engine, its settings, metric, count, dim, recall, and the reason for the kind of index.
        metadata: a table with one row per vector: id, hash, and label and split where present.
        folder: folder of the index, or None.
    """

    def __init__(self, engine: Index, manifest: dict[str, Any], metadata: pa.Table, folder: Path | None) -> None:
        self.engine, self.manifest, self.metadata, self.folder = engine, manifest, metadata, folder
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
            self._encoder = load(self.folder / "encoder")
            check_same_encoder(
                self.digest, self._encoder.digest, what=str(self.folder), maker="the encoder inside it is"
            )
        return self._encoder

    def _repr_html_(self) -> str:
        lines = [f"engine {self.manifest['engine']['name']}, {self.manifest['metric']}", f"encoder {self.digest[:12]}"]
        lines += (
            [f"recall {self.manifest['recall']:.3f} compared with exact search"] if "recall" in self.manifest else []
        )
        lines += [f"in {self.folder}"] if self.folder else []
        return html_summary(f"Index of {len(self):,} vectors of {self.dim} dimensions", lines)

    def search(self, queries: Any, k: int = 10) -> Hits:
        """Find the rows nearest to query vectors.

        Args:
            queries: (Q, D), or (D,) for one query; `Embeddings` must come from the same encoder.
            k: number of neighbors, at most the number of rows.

        Returns:
            hits with ids, scores and labels; ``scores, rows = index.search(...)`` unpacks the scores (Q, k), where higher is
            nearer (for ``l2`` the squared distance, where lower is nearer), and the rows (Q, k).

        Raises:
            IdentityError: `queries` are embeddings of another encoder or precision.
            DataError: the queries have another length or are not finite, or k is less than 1.
        """
        if k < 1:
            raise DataError(f"k = {k}: expected at least 1")
        if isinstance(queries, Embeddings) and not (queries.is_precomputed and self.is_precomputed):
            if queries.is_precomputed or self.is_precomputed:
                ours, theirs = (
                    ("precomputed", "an encoder's") if self.is_precomputed else ("an encoder's", "precomputed")
                )
                raise IdentityError(
                    f"this index holds {ours} vectors, the queries are {theirs}; expected vectors of one origin"
                )
            check_same_maker(self, queries, what="this index", maker="the query is")
        vectors = np.atleast_2d(np.asarray(queries, np.float32))
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DataError(f"queries of shape {vectors.shape}: expected (Q, {self.dim})")
        scores, rows = self._nearest(scale_for_metric(vectors, self.manifest["metric"]), k)
        names = queries.ids if isinstance(queries, Embeddings) else [str(number) for number in range(len(vectors))]
        return Hits.of(names, scores, rows, self.metadata)

    def search_ids(self, names: Sequence[str], k: int = 10) -> Hits:
        """Find the rows nearest to samples of the index, excluding the samples themselves.

        Args:
            names: Q ids.
            k: number of neighbors.

        Returns:
            hits, as `search`.

        Raises:
            DataError: an id is not in the index.
        """
        for name in names:
            if name not in self._rows:
                raise DataError(f"id:{name}: no such id in the index{_nearest(name, self.ids)}")
        query_rows = np.asarray([self._rows[name] for name in names])
        with self._explained():
            vectors = self.engine.vectors(query_rows)
        scores, rows = self._nearest(vectors, k + 1)
        # A duplicate may come before the sample, or an approximate index may miss it: then the last one is dropped.
        keep = rows != query_rows[:, None]
        keep[keep.all(axis=1), -1] = False
        shape = (len(rows), rows.shape[1] - 1)
        return Hits.of(names, scores[keep].reshape(shape), rows[keep].reshape(shape), self.metadata)

    def _nearest(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and rows (Q, k) from the engine, whose rows must be rows of the index."""
        with self._explained():
            scores, rows = self.engine.search(vectors, min(k, len(self)))
            if rows.size and not -1 <= rows.min() <= rows.max() < len(self):
                raise ValueError(f"it finds row {rows.max()} of {len(self)}")
        return scores, rows

    def _explained(self) -> AbstractContextManager[None]:
        """Turn errors of the engine into one line, if the index comes from a file, which may be damaged."""
        return nullcontext() if self.folder is None else explain_read_errors(self.folder, "rebuild the index")

    def search_data(
        self, data: Any, k: int = 10, *, encoder: Encoder | None = None, options: dict[str, Any] | None = None
    ) -> Hits:
        """Embed files or arrays with the encoder of the index and search for them; those that cannot be read are skipped, and
        a warning lists them.

        The queries of an index of precomputed vectors are vectors, too.

        Args:
            data: as in `aekit.open_data`: an image, a folder, an array file, an array.
            k: number of neighbors.
            encoder: the encoder of the index, where none is stored with it.
            options: options of the source, by its name.

        Returns:
            hits, which unpack as the Q ids of the queries, scores (Q, k) and rows (Q, k).

        Raises:
            DataError: there is no encoder, or none of the data can be read.
            IdentityError: `encoder` is not the one that made the index.
        """
        if self.is_precomputed:
            if encoder is not None:
                raise IdentityError(
                    f"this index holds precomputed vectors; encoder {encoder.digest[:12]} made none of them"
                )
            return self._search_vectors(data, k, options)
        encoder = encoder or self.encoder()
        if encoder is None:
            raise DataError("this index has no encoder stored with it; pass one as `encoder`")
        check_same_encoder(
            self.digest, encoder.digest, what="this index", maker="the query would be embedded by one that is"
        )
        source = open_data(data, options, like=encoder.spec)
        queries = embed_samples(encoder, source, progress=False, precision=self.precision)
        if not len(queries):
            name, reason = next(iter(source.skipped.items()))
            raise DataError(f"{name}: {reason}; none of {len(source)} queries can be used")
        for name, reason in source.skipped.items():
            warn(f"query {name}: {reason}; skipped")
        hits = self.search(queries, k)
        return Hits.of(queries.ids, hits.scores, hits.rows, self.metadata, named=True)

    def _search_vectors(self, data: Any, k: int, options: dict[str, Any] | None) -> Hits:
        """Search for the vectors (Q, D) or (D,) of data; only their length can be checked."""
        try:
            source = open_data(data, options, like=SampleSpec("vector", (self.dim,), "float32"))
        except DataError:  # integers fit as well; other problems are reported without `like`
            source = open_data(data, options)
        if source.spec.shape != (self.dim,):
            expected = f"this index holds precomputed vectors of {self.dim} entries: expected such vectors"
            raise DataError(f"the queries are {source.spec}; {expected}")
        hits = self.search(np.asarray(Embeddings.from_source(source)), k)
        return Hits.of(list(source.ids), hits.scores, hits.rows, self.metadata, named=True)

    def hits(self, queries: Sequence[str], scores: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return a record of each of (Q, k) neighbors: ``query``, ``rank`` from 1, ``id``, ``score``, ``label`` and ``split``."""
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
    engine: Index = plugin.load()()
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


def scale_for_metric(vectors: np.ndarray, metric: Similarity) -> np.ndarray:
    """Convert vectors (N, D) for an engine: float32, and for the cosine of length 1; zero vectors stay zero.

    Raises:
        DataError: a value is not finite.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"vector {row}: has values that are not finite")
    if metric != "cosine":
        return vectors
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _nearest(name: str, ids: Sequence[str]) -> str:
    return closest_name(name, ids) if len(ids) <= 10_000 else ""
