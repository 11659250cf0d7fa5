"""Store embeddings in a folder of Parquet parts with a manifest.

Parts are written under a temporary name and renamed, so that a killed run leaves complete parts only and the next run
continues after them. Each row has a hash of its sample's content, so that a second run embeds only new and changed samples.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aekit.data.source import Source
from aekit.encoder._parquet_parts import MANIFEST, known_checksums, read_part
from aekit.encoder.identity import check_same_encoder, read_description
from aekit.encoder.inference import Precision
from aekit.errors import DamagedError, DataError, IdentityError
from aekit.io.atomic import atomic_file, file_sha256, write_text
from aekit.io.csv_files import csv_text
from aekit.io.manifests import check_files, write_manifest
from aekit.progress import Progress, warn

PART_BYTES = 32 * 2**20
PART_SECONDS = 30.0
"""Size and age at which a part is written: the most that a killed run can lose."""


@dataclass(frozen=True)
class Rows:
    """Embedded samples.

    Attributes:
        ids: (N,) ids.
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


@dataclass(frozen=True)
class Plan:
    """Which samples have to be embedded.

    Attributes:
        todo: (M,) positions in the source.
        done: number of samples that are embedded already.
    """

    todo: np.ndarray
    done: int


class Store:
    """Plan what to embed, collect rows, and write them part by part."""

    def __init__(self, folder: Path, manifest: dict[str, Any], source: Source) -> None:
        """Open or create a folder.

        Raises:
            IdentityError: it holds embeddings of another encoder.
        """
        self.folder, self.manifest, self.source = folder, manifest, source
        for leftover in folder.glob("part-*.part"):
            leftover.unlink()
        if (folder / "encoder").exists():
            digest = read_description(folder / "encoder")["digest"]
            check_same_encoder(manifest["digest"], digest, what="this embedding", maker=f"the content of {folder} is")
        self.stored: dict[str, str] = {}
        self._pending: list[Rows] = []
        self._part_opened = 0.0
        self.precision: Precision | None = None
        self.checksums = known_checksums(folder)
        for part in sorted(folder.glob("part-*.parquet")):
            try:
                self.stored |= self._read_hashes(part)
            except DamagedError as error:
                warn(f"{error}; its samples are embedded again")
                part.unlink()
        self.parts = sorted(folder.glob("part-*.parquet"))

    def precision_to_go_on_in(self, precision: Precision, progress: Progress) -> Precision:
        """Return the precision for new vectors: that of the stored ones, or `precision` if there are none.

        Raises:
            IdentityError: another one is asked for.
        """
        if self.precision is None:
            return precision
        if precision not in ("auto", self.precision):
            raise IdentityError(
                f"{self.folder}: holds vectors computed in {self.precision}, not in {precision}; "
                f"leave out the precision to go on in {self.precision}, or choose another folder"
            )
        if self.precision != "fp32":
            progress.say(f"computing in {self.precision}, as the vectors in {self.folder}")
        return self.precision

    def plan(self, positions: np.ndarray, drop_missing: bool, progress: Progress) -> Plan:
        """Find new and changed samples, and drop outdated rows.

        Args:
            positions: (N,) positions of the samples in the source.
            drop_missing: also drop rows whose sample is no longer in the data.
            progress: receives how many samples are embedded already, and how many are missing.
        """
        todo, stale = self._changed(positions)
        names = {self.source.ids[int(i)] for i in positions} if self.stored else set()
        missing = {name for name in self.stored if name not in names}
        if missing and not drop_missing:
            progress.say(f"{len(missing)} embedded samples are no longer in the data; --drop-missing removes them")
        outdated = stale | (missing if drop_missing else set())
        if outdated or len(todo):
            # Marks the folder as unfinished until the new manifest is written.
            write_manifest(self.folder / MANIFEST, {"unfinished": True, "sha256": self.checksums})
        self._drop(outdated)
        done = len(positions) - len(todo)
        if done:
            progress.say(f"{done} of {len(positions)} samples are embedded already")
        return Plan(todo, done)

    def _read_hashes(self, path: Path) -> dict[str, str]:
        """Return id -> hash of the rows of a part, which an interrupted run may have left without a checksum."""
        columns = None  # all: nothing else tells whether the vectors are whole
        if path.name in self.checksums:
            check_files(self.folder, {path.name: self.checksums[path.name]}, "it is removed")
            columns = ["id", "hash"]
        table = read_part(self.folder, path.name, self.manifest, columns)
        self.precision = _precision_of(table)
        return dict(zip(table["id"].to_pylist(), table["hash"].to_pylist()))

    def append(self, rows: Rows, precision: Precision = "fp32") -> None:
        """Add rows, all computed in the same precision, and write a part when it is large or old enough."""
        self.precision = precision
        if not self._pending:
            self._part_opened = time.monotonic()
        self._pending.append(rows)
        count = sum(len(part.ids) for part in self._pending)
        too_large = count * self.manifest["dim"] * 4 >= PART_BYTES
        if too_large or time.monotonic() - self._part_opened > PART_SECONDS:
            self._flush()

    def close(self) -> None:
        """Write the last part, the list of skipped samples, and the manifest, which completes the folder.

        Raises:
            DataError: no sample could be embedded.
        """
        self._flush()
        write_text(self.folder / "skipped.csv", skipped_csv(self.source.skipped))
        self._write_manifest()

    def _changed(self, positions: np.ndarray) -> tuple[np.ndarray, set[str]]:
        """Return the positions to embed, and ids of stored rows whose sample has changed."""
        if not self.stored:
            return positions, set()
        todo, stale = [], set()
        for start in range(0, len(positions), 1024):
            indices = positions[start : start + 1024]
            known = [self.stored.get(self.source.ids[int(i)]) for i in indices]
            fresh = self.source.fingerprints(indices)
            todo += [i for i, old, new in zip(indices, known, fresh) if old != new]
            stale |= {self.source.ids[int(i)] for i, old, new in zip(indices, known, fresh) if old not in (None, new)}
        return np.asarray(todo, np.int64), stale

    def _drop(self, ids: set[str]) -> None:
        for part in self.parts if ids else []:
            table = pq.read_table(part)
            keep = np.asarray([name not in ids for name in table["id"].to_pylist()], bool)
            if keep.all():
                continue
            self.checksums.pop(part.name, None)
            if keep.any():
                with atomic_file(part) as fresh:
                    pq.write_table(table.filter(pa.array(keep)), fresh, compression="none")
            else:
                part.unlink()

    def _flush(self) -> None:
        if self._pending:
            self._write(concatenate_rows(self._pending, self.manifest["dim"]))
            self._pending = []

    def _write(self, rows: Rows) -> None:
        numbers = {int(part.stem.rpartition("-")[2]) for part in self.folder.glob("part-*.parquet")}
        path = self.folder / f"part-{max(numbers, default=-1) + 1:05d}.parquet"
        with atomic_file(path) as part:
            pq.write_table(to_table(rows, self.manifest["digest"], self.precision or "fp32"), part, compression="none")

    def _write_manifest(self) -> None:
        parts = [
            {"file": path.name, "rows": pq.read_metadata(path).num_rows, "sha256": file_sha256(path)}
            for path in sorted(self.folder.glob("part-*.parquet"))
        ]
        count = sum(part["rows"] for part in parts)
        if not count:
            reasons = [f"{name}: {why}" for name, why in self.source.skipped.items()]
            raise DataError(f"none of {len(self.source)} samples can be embedded; {'; '.join(reasons[:3])}")
        counts = {
            "precision": self.precision or "fp32",
            "count": count,
            "skipped": len(self.source.skipped),
            "parts": parts,
        }
        write_manifest(self.folder / MANIFEST, self.manifest | counts)


def to_table(rows: Rows, digest: str, precision: Precision) -> pa.Table:
    """Return the table of a part: id, vector, hash, and label and split where present; digest and precision as metadata."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.ravel()), rows.vectors.shape[1])
    columns = {"id": pa.array(rows.ids, pa.string()), "vector": vectors}
    if rows.labels is not None:
        columns["label"] = pa.array(rows.labels.tolist())
    if rows.splits is not None:
        columns["split"] = pa.array(rows.splits.tolist(), pa.string())
    columns["hash"] = pa.array(rows.hashes, pa.string())
    return pa.table(columns).replace_schema_metadata({"aekit.digest": digest, "aekit.precision": precision})


def _precision_of(table: pa.Table) -> Precision:
    return "bf16" if (table.schema.metadata or {}).get(b"aekit.precision") == b"bf16" else "fp32"


def from_table(table: pa.Table) -> Rows:
    """Return the rows of a part."""
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


def concatenate_rows(parts: list[Rows], dim: int) -> Rows:
    """Concatenate rows; labels and splits are kept if all parts have them."""
    if not parts:
        return Rows([], np.empty((0, dim), np.float32), None, None, [])

    def together(arrays: list[np.ndarray | None]) -> np.ndarray | None:
        present = [array for array in arrays if array is not None]
        return np.concatenate(present) if len(present) == len(arrays) else None

    return Rows(
        [name for part in parts for name in part.ids],
        np.concatenate([part.vectors for part in parts]),
        together([part.labels for part in parts]),
        together([part.splits for part in parts]),
        [stamp for part in parts for stamp in part.hashes],
    )


def select_rows(rows: Rows, indices: np.ndarray) -> Rows:
    """Return the rows at (M,) indices."""
    labels, splits = (None if column is None else column[indices] for column in (rows.labels, rows.splits))
    ids, hashes = ([column[row] for row in indices.tolist()] for column in (rows.ids, rows.hashes))
    return Rows(ids, rows.vectors[indices], labels, splits, hashes)


def preview(rows: Rows, count: int = 5) -> list[dict[str, Any]]:
    """Return the first rows as short text: id, label and split where present, and the first entries of the vector."""
    more = ", ..." if rows.vectors.shape[1] > 4 else ""
    return [
        {name: values[row] for name, values in _columns(rows).items()}
        | {"vector": ", ".join(f"{value:.3g}" for value in rows.vectors[row, :4]) + more}
        for row in range(min(len(rows.ids), count))
    ]


def as_columns(rows: Rows) -> dict[str, Any]:
    """Return name -> values (N,): id, label and split where present, and ``0`` to ``D - 1`` for the entries of vectors."""
    return _columns(rows) | {str(place): rows.vectors[:, place] for place in range(rows.vectors.shape[1])}


def _columns(rows: Rows) -> dict[str, Any]:
    columns = {"id": list(rows.ids), "label": rows.labels, "split": rows.splits}
    return {name: values for name, values in columns.items() if values is not None}


def skipped_csv(skipped: dict[str, str]) -> str:
    """Format the id and the reason of each skipped sample as CSV."""
    return csv_text(("id", "reason"), sorted(skipped.items()))
