"""Embeddings, and the only function that makes them: in bounded memory, reading ahead, skipping what cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from aekit.data.opening import open_data, reopen
from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder, load
from aekit.encoder.parquet_store import Rows, Store, concatenate_rows, from_table, to_table
from aekit.errors import DataError, IdentityError
from aekit.io.atomic import explain_write_errors, file_sha256, folder_lock, read_json
from aekit.progress import SILENT, Progress
from aekit.version import __version__

FORMAT = 1


class Embeddings:
    """Vectors of one encoder, in a folder or in memory; ``numpy.asarray`` gives them as (N, D) float32.

    Attributes:
        digest: of the encoder that made them.
        folder: where they are stored, or None.
        manifest: what ``manifest.json`` holds.
    """

    def __init__(
        self,
        manifest: dict[str, Any],
        *,
        folder: Path | None = None,
        rows: Rows | None = None,
        encoder: Encoder | None = None,
        source: Source | None = None,
    ) -> None:
        self.manifest, self.folder, self._rows = manifest, folder, rows
        self.digest: str = manifest["digest"]
        self._encoder, self._source = encoder, source

    @classmethod
    def open(cls, folder: str | Path) -> Embeddings:
        """Opens a folder that `embed` finished.

        Raises:
            DataError: no embeddings there, or unfinished ones.
            IdentityError: a part is missing or damaged.
        """
        folder = Path(folder)
        if not (folder / "manifest.json").is_file() or "parts" not in read_json(folder / "manifest.json"):
            if any(folder.glob("part-*.parquet")):
                raise DataError(f"{folder}: embedding was interrupted; run aekit embed again to finish it")
            raise DataError(f"{folder}: no embeddings here; expected a folder that aekit embed wrote")
        manifest = read_json(folder / "manifest.json")
        for part in manifest["parts"]:
            if not (folder / part["file"]).is_file():
                raise IdentityError(f"{folder / part['file']}: is missing; run aekit embed again to mend it")
        return cls(manifest, folder=folder)

    @classmethod
    def from_array(cls, vectors: Any) -> Embeddings:
        """(N, D) vectors that no aekit encoder made; their digest is that of their bytes.

        Raises:
            DataError: they are of another shape, or not finite.
        """
        vectors = finite_vectors(vectors)
        digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()
        ids = [str(row) for row in range(len(vectors))]
        manifest = {"digest": digest, "dim": vectors.shape[1], "count": len(vectors), "origin": None}
        return cls(manifest, rows=Rows(ids, vectors, None, None, ids))

    def __len__(self) -> int:
        return self.manifest["count"]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.vectors, dtype)

    def __repr__(self) -> str:
        return f"<Embeddings {len(self)} x {self.dim} of encoder {self.digest[:12]}>"

    @property
    def dim(self) -> int:
        return self.manifest["dim"]

    @property
    def rows(self) -> Rows:
        """Everything, read into memory on first use."""
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
        """The rows part by part, in bounded memory.

        Raises:
            IdentityError: a part is not the one that the manifest describes.
        """
        if self._rows is not None or self.folder is None:
            yield self.rows
            return
        for part in self.manifest["parts"]:
            path = self.folder / part["file"]
            if file_sha256(path) != part["sha256"]:
                raise IdentityError(
                    f"{path}: is damaged (its sha256 differs from the manifest); embed again to mend it"
                )
            yield from_table(pq.read_table(path))

    def metadata(self) -> pa.Table:
        """A row for each vector, without it: id, hash, and label and split where there are any."""
        if self.folder is None or self._rows is not None:
            return to_table(self.rows, self.digest).drop_columns("vector").replace_schema_metadata()
        columns = pq.read_schema(self.folder / self.manifest["parts"][0]["file"]).names
        wanted = [name for name in columns if name != "vector"]
        tables = [pq.read_table(self.folder / part["file"], columns=wanted) for part in self.manifest["parts"]]
        return pa.concat_tables(tables).replace_schema_metadata()

    def encoder(self) -> Encoder | None:
        """The encoder that made them, where it is at hand."""
        if self._encoder is None and self.folder is not None:
            self._encoder = load(self.folder)
        return self._encoder

    def source(self) -> tuple[Source, np.ndarray] | None:
        """The data they were made from and each row's position in it (N,), or None where it is no longer at hand."""
        if self._source is None:
            encoder = self.encoder()
            try:
                self._source = reopen(self.manifest["origin"], like=encoder.spec if encoder else None)
            except DataError:
                return None
        places = {name: place for place, name in enumerate(self._source.ids)}
        if not all(name in places for name in self.ids):
            return None
        return self._source, np.asarray([places[name] for name in self.ids], np.int64)


def finite_vectors(embeddings: Any) -> np.ndarray:
    """Vectors (N, D) float32.

    Raises:
        DataError: they are of another shape, no numbers, or not finite.
    """
    try:
        vectors = np.asarray(embeddings, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"embeddings that are no numbers: {error}") from error
    if vectors.ndim != 2 or not vectors.size:
        raise DataError(f"embeddings of shape {vectors.shape}: expected (samples, width)")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(f"{len(bad)} of {len(vectors)} embeddings are not finite, the first in row {bad[0]}")
    return vectors


def embed(
    encoder: Encoder,
    data: Any,
    *,
    out: str | Path | None = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    batch_size: int = 256,
    strict: bool = False,
    drop_missing: bool = False,
    progress: Progress = SILENT,
) -> Embeddings:
    """Embeds data in bounded memory, into a folder or (without `out`) into memory.

    Args:
        encoder: frozen; its device is used.
        data: what `aekit.open_data` takes.
        out: folder. If it holds embeddings of the same encoder, only new and changed samples are embedded.
        split: embed only this split of a data set that has splits.
        options: of the source, by source name.
        batch_size: samples a forward pass.
        strict: stop at the first sample that cannot be read.
        drop_missing: remove rows whose sample is no longer in the data.
        progress: receives a bar.

    Raises:
        DataError: unreadable data, or data of another shape or dtype than the encoder takes.
        IdentityError: `out` holds embeddings of another encoder.
    """
    source = open_data(data, options, like=encoder.spec)
    if source.note and source is not data:
        progress.say(f"data: {source.note}")
    wanted = source.rows_of(split)
    reader = BatchEmbedder(encoder.eval(), source, batch_size, strict)
    manifest = {
        "format": FORMAT,
        "aekit": __version__,
        "digest": encoder.digest,
        "dim": encoder.dim,
        "origin": source.origin,
        "split": split,
    }
    if out is None:
        with progress.task("embed", len(wanted)) as task:
            done = []
            for rows in reader.embed(wanted):
                done.append(rows)
                task.advance(len(rows.ids))
        found = concatenate_rows(done, encoder.dim)
        embeddings = Embeddings(manifest | {"count": len(found.ids), "skipped": len(source.skipped)}, rows=found)
    else:
        folder = Path(out)
        with folder_lock(folder):
            store = Store(folder, manifest, source)
            if not (folder / "encoder").exists():
                encoder.save(folder / "encoder")
            with explain_write_errors(folder):
                store.update(reader.embed, wanted, drop_missing, progress)
        embeddings = Embeddings.open(folder)
    embeddings._encoder, embeddings._source = encoder, source
    return embeddings


class BatchEmbedder:
    """Reads ahead by one batch while the encoder works on another."""

    def __init__(self, encoder: Encoder, source: Source, batch_size: int, strict: bool) -> None:
        self.encoder, self.source, self.batch_size, self.strict = encoder, source, batch_size, strict

    def embed(self, wanted: np.ndarray) -> Iterator[Rows]:
        """Embeds the samples at (N,) positions, batch by batch, leaving out what cannot be read."""
        slices = [wanted[start : start + self.batch_size] for start in range(0, len(wanted), self.batch_size)]
        with ThreadPoolExecutor(1) as ahead:
            upcoming = ahead.submit(self._read, slices[0]) if slices else None
            for number in range(len(slices)):
                assert upcoming is not None
                indices, raw, hashes = upcoming.result()
                upcoming = ahead.submit(self._read, slices[number + 1]) if number + 1 < len(slices) else None
                if len(indices):
                    yield self._embed(indices, raw, hashes)

    def _read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        raw, ok = read_valid(self.source, indices, self.strict)
        return indices[ok], raw[ok], self.source.fingerprints(indices[ok])

    @torch.inference_mode()
    def _embed(self, indices: np.ndarray, raw: np.ndarray, hashes: list[str]) -> Rows:
        vectors = self.encoder(to_tensor(raw).to(self.encoder.device)).float().cpu().numpy()
        if not np.isfinite(vectors).all():
            bad = self.source.ids[int(indices[np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]])]
            raise DataError(f"{bad}: its embedding is not finite; is this the kind of data the encoder was trained on?")
        source = self.source
        labels = None if source.labels is None else source.labels[indices]
        splits = None if source.splits is None else source.splits[indices]
        return Rows([source.ids[int(i)] for i in indices], vectors, labels, splits, hashes)
