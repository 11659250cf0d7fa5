"""The store of embeddings: a folder of Parquet parts with a manifest.

Parts are written under a temporary name and renamed, so a killed run leaves whole parts or none, and the next run goes on
after them. Each row carries a hash of its sample's content, so a second run embeds only what is new or changed.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aekit.data.source import Source
from aekit.encoder.identity import check_same_encoder, read_description
from aekit.errors import DataError
from aekit.io.atomic import atomic_file, file_sha256, write_json, write_text
from aekit.progress import Progress

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


@dataclass(frozen=True)
class Plan:
    """What is to be embedded.

    Attributes:
        todo: (M,) positions in the source.
        done: how many samples are embedded already.
    """

    todo: np.ndarray
    done: int


class Store:
    """Plan what is to be embedded, take the rows that an embedder yields, and write them part by part."""

    def __init__(self, folder: Path, manifest: dict[str, Any], source: Source) -> None:
        """Opens or starts a folder.

        Raises:
            IdentityError: it holds embeddings of another encoder than the manifest's.
        """
        self.folder, self.manifest, self.source = folder, manifest, source
        for leftover in folder.glob("part-*.part"):
            leftover.unlink()
        if (folder / "encoder").exists():
            made_by = read_description(folder / "encoder")["digest"]
            check_same_encoder(manifest["digest"], made_by, what="this embedding", maker=f"what {folder} holds is")
        self.parts = sorted(folder.glob("part-*.parquet"))
        self.stored: dict[str, str] = {}
        self._pending: list[Rows] = []
        self._part_opened = 0.0
        for part in self.parts:
            table = pq.read_table(part, columns=["id", "hash"])
            self.stored |= dict(zip(table["id"].to_pylist(), table["hash"].to_pylist()))

    def plan(self, wanted: np.ndarray, drop_missing: bool, progress: Progress) -> Plan:
        """Find what is new or changed among the samples at (N,) positions of the source, and drop rows that are outdated.

        Args:
            drop_missing: also drop rows whose sample is no longer in the data.
            progress: receives how many samples are embedded already, and how many are missing.
        """
        todo, stale = self._changed(wanted)
        names = {self.source.ids[int(i)] for i in wanted}
        missing = {name for name in self.stored if name not in names}
        if missing and not drop_missing:
            progress.say(f"{len(missing)} embedded samples are no longer in the data; --drop-missing removes them")
        outdated = stale | (missing if drop_missing else set())
        if outdated or len(todo):
            # Until the new manifest is written, the folder says of itself that it is unfinished.
            write_json(self.folder / "manifest.json", {"unfinished": True})
        self._drop(outdated)
        done = len(wanted) - len(todo)
        if done:
            progress.say(f"{done} of {len(wanted)} samples are embedded already")
        return Plan(todo, done)

    def append(self, rows: Rows) -> None:
        """Add rows, and write a part when it is large or old enough."""
        if not self._pending:
            self._part_opened = time.monotonic()
        self._pending.append(rows)
        count = sum(len(part.ids) for part in self._pending)
        too_large = count * self.manifest["dim"] * 4 >= PART_BYTES
        if too_large or time.monotonic() - self._part_opened > PART_SECONDS:
            self._flush()

    def close(self) -> None:
        """Write the last part, the list of skipped samples, and the manifest that makes the folder whole.

        Raises:
            DataError: no sample at all could be embedded.
        """
        self._flush()
        write_text(self.folder / "skipped.csv", skipped_csv(self.source.skipped))
        self._write_manifest()

    def _changed(self, wanted: np.ndarray) -> tuple[np.ndarray, set[str]]:
        """Positions to embed, and ids of rows whose sample has changed since."""
        if not self.stored:
            return wanted, set()
        todo, stale = [], set()
        for start in range(0, len(wanted), 1024):
            indices = wanted[start : start + 1024]
            known = [self.stored.get(self.source.ids[int(i)]) for i in indices]
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
                with atomic_file(part) as fresh:
                    pq.write_table(table.filter(pa.array(keep)), fresh, compression="none")
            else:
                part.unlink()

    def _flush(self) -> None:
        if self._pending:
            self._write(concatenate_rows(self._pending, self.manifest["dim"]))
            self._pending = []

    def _write(self, rows: Rows) -> None:
        taken = {int(part.stem.rpartition("-")[2]) for part in self.folder.glob("part-*.parquet")}
        path = self.folder / f"part-{max(taken, default=-1) + 1:05d}.parquet"
        with atomic_file(path) as part:
            pq.write_table(to_table(rows, self.manifest["digest"]), part, compression="none")

    def _write_manifest(self) -> None:
        parts = [
            {"file": path.name, "rows": pq.read_metadata(path).num_rows, "sha256": file_sha256(path)}
            for path in sorted(self.folder.glob("part-*.parquet"))
        ]
        count = sum(part["rows"] for part in parts)
        if not count:
            reasons = [f"{name}: {why}" for name, why in self.source.skipped.items()]
            raise DataError(f"none of {len(self.source)} samples can be embedded; {'; '.join(reasons[:3])}")
        counted = {"count": count, "skipped": len(self.source.skipped), "parts": parts}
        write_json(self.folder / "manifest.json", self.manifest | counted)


def to_table(rows: Rows, digest: str) -> pa.Table:
    """A part: id, vector, hash, and label and split where there are any."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.ravel()), rows.vectors.shape[1])
    columns = {"id": pa.array(rows.ids, pa.string()), "vector": vectors}
    if rows.labels is not None:
        columns["label"] = pa.array(rows.labels.tolist())
    if rows.splits is not None:
        columns["split"] = pa.array(rows.splits.tolist(), pa.string())
    columns["hash"] = pa.array(rows.hashes, pa.string())
    return pa.table(columns).replace_schema_metadata({"aekit.digest": digest})


def from_table(table: pa.Table) -> Rows:
    """The rows of a part."""
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
