"""An index over embeddings, bound to the encoder that made them: the contract of its engine, opening and searching.

What finds the nearest vectors is a plugin (`Index`); what makes an index trustworthy is here: the encoder's digest, the
checksum of the file before anything opens it, and the names of the rows. `aekit.index.build` builds them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aekit.encoder.embeddings import Embeddings
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import check_same_encoder, read_description
from aekit.encoder.loading import load
from aekit.errors import DataError, IdentityError, closest_name
from aekit.io.atomic import file_sha256, read_json
from aekit.registry.discovery import registry

FORMAT = 1

Similarity = Literal["cosine", "l2", "ip"]
BatchFactory = Callable[[], Iterator[np.ndarray]]
"""Gives all vectors once a call, as (n, D) float32 batches in the order of their rows."""


class Index(ABC):
    """What an index plugin does. Options are the keyword-only parameters of ``__init__``; rows are numbered from 0.

    For the cosine metric, vectors and queries arrive with length 1, so that it is the inner product.
    """

    @abstractmethod
    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        """Takes in `count` vectors (N, dim), reading `batches` as often as needed, in bounded memory; says in a phrase
        which kind was chosen and why."""

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """(N, D) float32, as the rows after those it has."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(Q, D) float32 -> scores (Q, k) and rows (Q, k), best first; row -1 where fewer were found. A score is the
        inner product, or for ``l2`` the squared distance."""

    @abstractmethod
    def save(self, path: Path) -> dict[str, Any]:
        """Writes one file; returns plain settings that `load` needs beside it."""

    @abstractmethod
    def load(self, path: Path, settings: dict[str, Any]) -> None:
        """Reads what `save` wrote; its checksum has been verified."""

    @abstractmethod
    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """(N,) rows -> (N, D) float32, as exactly as they are stored."""

    def tune(self, recall: Callable[[], float]) -> None:  # noqa: B027  (doing nothing is a good answer)
        """May adjust how thoroughly it searches; `recall` measures (0..1) with the present settings."""


class VectorIndex:
    """An index with its identity: what `build_index` and `open_index` return.

    Attributes:
        manifest: digest, engine, its settings, metric, count, dim, recall, why this kind.
        names: a table with a row for each vector: id, hash, and label and split where there are any.
        folder: where it is stored, or None.
    """

    def __init__(self, engine: Index, manifest: dict[str, Any], names: pa.Table, folder: Path | None) -> None:
        self.engine, self.manifest, self.metadata, self.folder = engine, manifest, names, folder
        self.ids: list[str] = names["id"].to_pylist()
        self._rows = {name: row for row, name in enumerate(self.ids)}
        self._encoder: Encoder | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return (
            f"<VectorIndex {len(self)} x {self.dim} by {self.manifest['engine']['name']} of encoder {self.digest[:12]}>"
        )

    @property
    def digest(self) -> str:
        return self.manifest["digest"]

    @property
    def dim(self) -> int:
        return self.manifest["dim"]

    def encoder(self) -> Encoder | None:
        """The encoder that made its vectors, where it is at hand."""
        if self._encoder is None and self.folder is not None and (self.folder / "encoder").exists():
            self._encoder = load(self.folder / "encoder")
            check_same_encoder(
                self.digest, self._encoder.digest, what=str(self.folder), maker="the encoder inside it is"
            )
        return self._encoder

    def search(self, queries: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Nearest rows of query vectors.

        Args:
            queries: (Q, D), or (D,) for one; `Embeddings` must be of the same encoder.
            k: neighbors; clipped to the number of rows.

        Returns:
            scores (Q, k), higher is nearer (for ``l2`` the squared distance, lower is nearer), and rows (Q, k).

        Raises:
            IdentityError: `queries` are embeddings of another encoder.
            DataError: another width than the index has, numbers that are not finite, or k below 1.
        """
        if k < 1:
            raise DataError(f"k = {k}: expected at least 1")
        if isinstance(queries, Embeddings):
            check_same_encoder(self.digest, queries.digest, what="this index", maker="the query is")
        vectors = np.atleast_2d(np.asarray(queries, np.float32))
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DataError(f"queries of shape {vectors.shape}: the index holds vectors of {self.dim} numbers")
        return self.engine.search(scale_for_metric(vectors, self.manifest["metric"]), min(k, len(self)))

    def search_ids(self, names: Sequence[str], k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Nearest rows of samples that are in the index, themselves left out; scores and rows (Q, k).

        Raises:
            DataError: no such id.
        """
        for name in names:
            if name not in self._rows:
                raise DataError(f"id:{name}: no such id in the index{_near(name, self.ids)}")
        own = np.asarray([self._rows[name] for name in names])
        scores, rows = self.engine.search(self.engine.vectors(own), min(k + 1, len(self)))
        # A duplicate of the sample may come before it; an approximate index may miss it: then the last one goes.
        keep = rows != own[:, None]
        keep[keep.all(axis=1), -1] = False
        shape = (len(rows), rows.shape[1] - 1)
        return scores[keep].reshape(shape), rows[keep].reshape(shape)

    def search_data(
        self, data: Any, k: int = 10, *, encoder: Encoder | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Embeds files or arrays with the index's encoder and searches for them.

        Args:
            data: what `aekit.open_data` takes: an image, a folder, an array file, an array.
            k: neighbors.
            encoder: instead of the one stored with the index; must be the very same.
            options: of the source, by source name.

        Returns:
            the queries' ids, scores (Q, k), rows (Q, k).

        Raises:
            DataError: no encoder is at hand, or the data cannot be read.
            IdentityError: `encoder` is not the one that made the index, be it of equal width.
        """
        encoder = encoder or self.encoder()
        if encoder is None:
            raise DataError("this index has no encoder beside it; give one")
        check_same_encoder(
            self.digest, encoder.digest, what="this index", maker="the query would be embedded by one that is"
        )
        found = encoder.embed(data, options=options, strict=True)
        return list(found.ids), *self.search(found, k)

    def hits(self, queries: Sequence[str], scores: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
        """A record for each of (Q, k) neighbors: ``query``, ``rank`` from 1, ``id``, ``score``, ``label`` and ``split``."""
        labels, splits = (
            self.metadata[n].to_pylist() if n in self.metadata.column_names else None for n in ("label", "split")
        )
        records = []
        for query, query_scores, query_rows in zip(queries, scores.tolist(), rows.tolist()):
            for rank, (score, row) in enumerate(zip(query_scores, query_rows), 1):
                if row >= 0:
                    record = {"query": query, "rank": rank, "id": self.ids[row], "score": score}
                    record |= {"label": labels[row]} if labels else {}
                    records.append(record | ({"split": splits[row]} if splits else {}))
        return records


def open_index(folder: str | Path) -> VectorIndex:
    """Opens an index folder, after checking that it is whole.

    Raises:
        DataError: no index there.
        IdentityError: a file is damaged or belongs to another index.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").is_file() or "engine" not in read_json(folder / "manifest.json"):
        raise DataError(f"{folder}: no index here; expected a folder that aekit index wrote")
    manifest = read_json(folder / "manifest.json")
    if manifest["format"] != FORMAT:
        raise IdentityError(f"{folder}: index format {manifest['format']}, this aekit reads {FORMAT}")
    for name, expected in manifest["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise IdentityError(f"{path}: is missing; build the index again")
        # Before anything opens it: a damaged index file can crash the process.
        if file_sha256(path) != expected:
            raise IdentityError(f"{path}: is damaged (its sha256 differs from the manifest); build the index again")
    if (folder / "encoder").exists():
        made_by = read_description(folder / "encoder")["digest"]
        check_same_encoder(manifest["digest"], made_by, what=str(folder), maker="the encoder inside it is")
    plugin = registry().require(manifest["engine"], required_by=str(folder))
    engine: Index = plugin.load()()
    engine.load(folder / manifest["file"], manifest["settings"])
    return VectorIndex(engine, manifest, pq.read_table(folder / "ids.parquet"), folder)


def scale_for_metric(vectors: np.ndarray, metric: Similarity) -> np.ndarray:
    """(N, D) as engines take them: float32, of length 1 for the cosine; a vector of zeros stays one.

    Raises:
        DataError: a number is not finite.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"vector {row}: has numbers that are not finite")
    if metric != "cosine":
        return vectors
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _near(name: str, ids: Sequence[str]) -> str:
    return closest_name(name, ids) if len(ids) <= 10_000 else ""
