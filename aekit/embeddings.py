"""The only embed function, and the store it writes: a folder of Parquet parts with a manifest.

Parts are written under a temporary name and renamed, so a killed run leaves whole parts or none, and the next run goes on
after them. Each row carries a hash of its sample's content, so a second run embeds only what is new or changed.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import aekit
from aekit.artifacts import new_file, only_writer, read_json, sha256_of, write_json, write_text, writing
from aekit.data import open_data, reopen
from aekit.encoder import Encoder, check_same, load, read_description
from aekit.errors import DataError, IdentityError
from aekit.progress import SILENT, Progress
from aekit.samples import Source, read_usable, to_tensor

FORMAT = 1
PART_BYTES = 32 * 2**20
PART_SECONDS = 30.0
"""A part is closed when it holds so much, or after so long: what a kill can cost."""


@dataclass(frozen=True)
class Rows:
    """Some embedded samples.

    Attributes:
        ids: (N,) names.
        vectors: (N, D) float32.
        labels: (N,) or None.
        splits: (N,) of str or None.
        hashes: (N,) content hashes.
    """

    ids: Sequence[str]
    vectors: np.ndarray
    labels: np.ndarray | None
    splits: np.ndarray | None
    hashes: Sequence[str]


class Embeddings:
    """Vectors of one encoder, in a folder or in memory; ``numpy.asarray`` gives them as (N, D) float32.

    Attributes:
        digest: of the encoder that made them.
        folder: where they are stored, or None.
        manifest: what ``manifest.json`` holds.
    """

    def __init__(self, manifest: dict[str, Any], *, folder: Path | None = None, rows: Rows | None = None) -> None:
        self.manifest, self.folder, self._rows = manifest, folder, rows
        self.digest: str = manifest["digest"]
        self._encoder: Encoder | None = None
        self._source: Source | None = None

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
            self._rows = _join(list(self.batches()), self.dim)
        return self._rows

    @property
    def ids(self) -> Sequence[str]:
        return self.rows.ids

    @property
    def vectors(self) -> np.ndarray:
        return self.rows.vectors

    @property
    def labels(self) -> np.ndarray | None:
        return self.rows.labels

    @property
    def splits(self) -> np.ndarray | None:
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
            if sha256_of(path) != part["sha256"]:
                raise IdentityError(f"{path}: is damaged (its sha256 differs from the manifest); embed again to mend it")
            yield _from_table(pq.read_table(path))

    def encoder(self) -> Encoder | None:
        """The encoder that made them, where it is at hand."""
        if self._encoder is None and self.folder is not None:
            self._encoder = load(self.folder)
        return self._encoder

    def source(self) -> tuple[Source, np.ndarray] | None:
        """The data they were made from and each row's position in it, or None where it is no longer at hand."""
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
    wanted = source.rows_of(split)
    reader = _Reader(encoder.eval(), source, batch_size, strict)
    manifest = {
        "format": FORMAT,
        "aekit": aekit.__version__,
        "digest": encoder.digest,
        "dim": encoder.dim,
        "origin": source.origin,
        "split": split,
    }
    if out is None:
        with progress.task("embed", len(wanted)) as task:
            done = [rows for rows in reader.embed(wanted) if task.advance(len(rows.ids)) is None]
        found = _join(done, encoder.dim)
        embeddings = Embeddings(manifest | {"count": len(found.ids), "skipped": len(source.skipped)}, rows=found)
    else:
        folder = Path(out)
        with only_writer(folder):
            store = _Store(folder, manifest, source)
            if not (folder / "encoder").exists():
                encoder.save(folder / "encoder")
            with writing(folder):
                store.bring_up_to_date(reader, wanted, drop_missing, progress)
        embeddings = Embeddings.open(folder)
    embeddings._encoder, embeddings._source = encoder, source
    return embeddings


class _Reader:
    """Reads ahead by one batch while the encoder works on another."""

    def __init__(self, encoder: Encoder, source: Source, batch_size: int, strict: bool) -> None:
        self.encoder, self.source, self.batch_size, self.strict = encoder, source, batch_size, strict

    def embed(self, wanted: np.ndarray) -> Iterator[Rows]:
        """Embeds the samples at these positions, batch by batch, leaving out what cannot be read."""
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
        raw, ok = read_usable(self.source, indices)
        if self.strict and not ok.all():
            name = self.source.ids[int(indices[~ok][0])]
            raise DataError(f"{name}: {self.source.skipped[name]} (--strict)")
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


class _Store:
    """The folder: what it holds, and how it is brought up to date."""

    def __init__(self, folder: Path, manifest: dict[str, Any], source: Source) -> None:
        self.folder, self.manifest, self.source = folder, manifest, source
        for leftover in folder.glob("part-*.part"):
            leftover.unlink()
        if (folder / "encoder").exists():
            made_by = read_description(folder / "encoder")["digest"]
            check_same(manifest["digest"], made_by, what="this embedding", maker=f"what {folder} holds is")
        self.parts = sorted(folder.glob("part-*.parquet"))
        self.held: dict[str, str] = {}
        for part in self.parts:
            table = pq.read_table(part, columns=["id", "hash"])
            self.held |= dict(zip(table["id"].to_pylist(), table["hash"].to_pylist()))

    def bring_up_to_date(self, reader: _Reader, wanted: np.ndarray, drop_missing: bool, progress: Progress) -> None:
        todo, stale = self._plan(wanted)
        names = {self.source.ids[int(i)] for i in wanted}
        missing = {name for name in self.held if name not in names}
        if missing and not drop_missing:
            progress.say(f"{len(missing)} embedded samples are no longer in the data; --drop-missing removes them")
        gone = stale | (missing if drop_missing else set())
        if gone or len(todo):
            # Until the new manifest is written, the folder says of itself that it is unfinished.
            write_json(self.folder / "manifest.json", {"unfinished": True})
        self._drop(gone)
        done = len(wanted) - len(todo)
        if done:
            progress.say(f"{done} of {len(wanted)} samples are embedded already")
        with progress.task("embed", len(wanted), done=done) as task:
            for rows in self._in_parts(reader.embed(todo), task.advance):
                self._write(rows)
        write_text(self.folder / "skipped.csv", skipped_csv(self.source.skipped))
        self._write_manifest()

    def _plan(self, wanted: np.ndarray) -> tuple[np.ndarray, set[str]]:
        """Positions to embed, and ids of rows whose sample has changed since."""
        if not self.held:
            return wanted, set()
        todo, stale = [], set()
        for start in range(0, len(wanted), 1024):
            indices = wanted[start : start + 1024]
            known = [self.held.get(self.source.ids[int(i)]) for i in indices]
            fresh = self.source.fingerprints(indices)
            todo += [i for i, old, new in zip(indices, known, fresh) if old != new]
            stale |= {self.source.ids[int(i)] for i, old, new in zip(indices, known, fresh) if old not in (None, new)}
        return np.asarray(todo, np.int64), stale

    def _drop(self, gone: set[str]) -> None:
        for part in self.parts if gone else []:
            table = pq.read_table(part)
            keep = np.asarray([name not in gone for name in table["id"].to_pylist()], bool)
            if keep.all():
                continue
            if keep.any():
                with new_file(part) as fresh:
                    pq.write_table(table.filter(pa.array(keep)), fresh, compression="none")
            else:
                part.unlink()

    def _in_parts(self, batches: Iterable[Rows], advance: Any) -> Iterator[Rows]:
        gathered: list[Rows] = []
        count, opened = 0, time.monotonic()
        for rows in batches:
            gathered.append(rows)
            count += len(rows.ids)
            advance(len(rows.ids))
            if count * self.manifest["dim"] * 4 >= PART_BYTES or time.monotonic() - opened > PART_SECONDS:
                yield _join(gathered, self.manifest["dim"])
                gathered, count, opened = [], 0, time.monotonic()
        if gathered:
            yield _join(gathered, self.manifest["dim"])

    def _write(self, rows: Rows) -> None:
        taken = {int(part.stem.rpartition("-")[2]) for part in self.folder.glob("part-*.parquet")}
        path = self.folder / f"part-{max(taken, default=-1) + 1:05d}.parquet"
        with new_file(path) as part:
            pq.write_table(_to_table(rows, self.manifest["digest"]), part, compression="none")

    def _write_manifest(self) -> None:
        parts = [
            {"file": path.name, "rows": pq.read_metadata(path).num_rows, "sha256": sha256_of(path)}
            for path in sorted(self.folder.glob("part-*.parquet"))
        ]
        count = sum(part["rows"] for part in parts)
        if not count:
            reasons = [f"{name}: {why}" for name, why in self.source.skipped.items()]
            raise DataError(f"none of {len(self.source)} samples can be embedded; {'; '.join(reasons[:3])}")
        counted = {"count": count, "skipped": len(self.source.skipped), "parts": parts}
        write_json(self.folder / "manifest.json", self.manifest | counted)


def _to_table(rows: Rows, digest: str) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.ravel()), rows.vectors.shape[1])
    columns = {"id": pa.array(rows.ids, pa.string()), "vector": vectors}
    if rows.labels is not None:
        columns["label"] = pa.array(rows.labels.tolist())
    if rows.splits is not None:
        columns["split"] = pa.array(rows.splits.tolist(), pa.string())
    columns["hash"] = pa.array(rows.hashes, pa.string())
    return pa.table(columns).replace_schema_metadata({"aekit.digest": digest})


def _from_table(table: pa.Table) -> Rows:
    vectors = table["vector"].combine_chunks()
    dim = table.schema.field("vector").type.list_size
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    column = {name: table[name].to_numpy() for name in ("label", "split") if name in table.column_names}
    labels, splits = column.get("label"), column.get("split")
    return Rows(
        table["id"].to_pylist(),
        flat.reshape(-1, dim),
        labels.astype(str) if labels is not None and labels.dtype == object else labels,
        splits.astype(str) if splits is not None else None,
        table["hash"].to_pylist(),
    )


def _join(parts: list[Rows], dim: int) -> Rows:
    """One after the other."""
    if not parts:
        return Rows([], np.empty((0, dim), np.float32), None, None, [])

    def together(arrays: list[np.ndarray | None]) -> np.ndarray | None:
        known = [array for array in arrays if array is not None]
        return np.concatenate(known) if len(known) == len(arrays) else None

    return Rows(
        [name for part in parts for name in part.ids],
        np.concatenate([part.vectors for part in parts]),
        together([part.labels for part in parts]),
        together([part.splits for part in parts]),
        [stamp for part in parts for stamp in part.hashes],
    )


def skipped_csv(skipped: dict[str, str]) -> str:
    """Id and reason of each sample that was left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "reason"))
    writer.writerows(sorted(skipped.items()))
    return text.getvalue()
