"""Store embeddings in a folder of Parquet parts with a manifest.

Parts are written under a temporary name and renamed, so that a killed run leaves complete parts only and the next run
continues after them. Each row has a hash of its sample's content, so that a second run embeds only new and changed samples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aekit.data.source import Source
from aekit.encoder._parquet_parts import MANIFEST, known_checksums, read_part
from aekit.encoder._stored_columns import CurrentColumns
from aekit.encoder.embedded_rows import Rows, column_order, concatenate_rows, to_table
from aekit.encoder.identity import check_same_encoder, read_description
from aekit.encoder.inference import Precision
from aekit.errors import DamagedError, DataError, IdentityError, OutputError
from aekit.io.atomic import atomic_file, file_sha256, folder_lock, write_text
from aekit.io.csv_files import csv_text
from aekit.io.manifests import check_files, read_entries, write_manifest
from aekit.io.parquet import read_parquet
from aekit.progress import Progress, warn

_BEGINNINGS = ("part-", f"{MANIFEST}.", "skipped.csv")
"""What the names of files begin with that a folder with an encoder, but without a manifest, may hold."""
PART_BYTES = 32 * 2**20
PART_SECONDS = 30.0
"""Size and age at which a part is written: the most that a killed run can lose."""


@dataclass(frozen=True)
class Plan:
    """Which samples have to be embedded.

    Attributes:
        todo: (M,) positions in the source.
        done: number of samples that are embedded already.
    """

    todo: np.ndarray
    done: int


@contextmanager
def store_folder(folder: Path) -> Iterator[None]:
    """Create and lock a folder for embeddings, as `folder_lock` does, unless it holds something else.

    Raises:
        OutputError: it holds something else, which would be mixed up with embeddings, and its ``.part`` files removed; or as
            `folder_lock`.
    """
    _refuse_other_content(folder)
    with folder_lock(folder):
        yield


def _refuse_other_content(folder: Path) -> None:
    advice = "choose another folder as out (-o)"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if MANIFEST in names:
        with suppress(DamagedError):  # its embeddings are made again
            entries = read_entries(folder / MANIFEST)
            if "seal" not in entries or "engine" in entries:
                raise OutputError(f"{folder}: its {MANIFEST} is not that of embeddings; {advice}")
        return
    ours = "encoder" in names  # copied before the manifest is written
    for name in names:
        is_left = name in (".lock", "encoder", ".encoder.lock") or name.startswith("encoder.part")
        if not is_left and not (ours and name.startswith(_BEGINNINGS)):
            raise OutputError(f"{folder}: holds {name!r}, which is not part of embeddings; {advice}")


class Store:
    """Plan what to embed, collect rows, and write them part by part."""

    def __init__(
        self, folder: Path, manifest: dict[str, Any], source: Source, metadata: pa.Table | None = None
    ) -> None:
        """Open or create a folder.

        Args:
            folder: of the embeddings.
            manifest: its entries, but those that `close` adds.
            source: the data.
            metadata: further columns of all samples of the source, which stored rows get too; or None.

        Raises:
            IdentityError: it holds embeddings of another encoder.
        """
        self.folder, self.manifest, self.source, self.metadata = folder, manifest, source, metadata
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
        """Find new and changed samples, drop outdated rows, and bring labels, splits and metadata of the others up to date.

        Args:
            positions: (N,) positions of the samples in the source.
            drop_missing: also drop rows whose sample is no longer in the data.
            progress: receives how many samples are embedded already, and how many are missing.
        """
        todo, stale = self._changed(positions)
        names = {self.source.ids[int(i)] for i in positions} if self.stored else set()
        missing = {name for name in self.stored if name not in names}
        if missing and not drop_missing:
            progress.say(
                f"{len(missing)} embedded samples are no longer in the data; drop_missing=True (--drop-missing) removes them"
            )
        outdated = stale | (missing if drop_missing else set())
        if outdated or len(todo):
            self._mark_unfinished()
        self._drop(outdated)
        self._update_columns(progress)
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
            table = read_parquet(part)
            keep = np.asarray([name not in ids for name in table["id"].to_pylist()], bool)
            if keep.all():
                continue
            self.checksums.pop(part.name, None)
            if keep.any():
                with atomic_file(part) as fresh:
                    pq.write_table(table.filter(pa.array(keep)), fresh, compression="none")
            else:
                part.unlink()

    def _update_columns(self, progress: Progress) -> None:
        parts = sorted(self.folder.glob("part-*.parquet"))
        current = CurrentColumns(self.source, self.metadata) if parts else None
        is_reported = False
        for part in parts:
            names = [name for name in pq.read_schema(part).names if name != "vector"]
            columns = current.update(read_parquet(part, names)) if current else None
            if columns is None:
                continue
            if not is_reported:
                progress.say("labels, splits or metadata of embedded samples have changed: they are updated")
                is_reported = True
            self.checksums.pop(part.name, None)
            self._mark_unfinished()
            table = read_parquet(part)
            by_name = {name: table[name] for name in ("id", "vector", "hash")}
            by_name |= {name: columns[name] for name in columns.column_names}
            updated = pa.table({name: by_name[name] for name in sorted(by_name, key=column_order)})
            with atomic_file(part) as fresh:
                pq.write_table(updated.replace_schema_metadata(table.schema.metadata), fresh, compression="none")

    def _mark_unfinished(self) -> None:
        """Mark the folder as unfinished until the new manifest is written."""
        entries = {"unfinished": True, "sha256": self.checksums, "metadata": self.manifest.get("metadata")}
        write_manifest(self.folder / MANIFEST, entries)

    def _flush(self) -> None:
        if self._pending:
            self._write(concatenate_rows(self._pending, self.manifest["dim"]))
            self._pending = []

    def _write(self, rows: Rows) -> None:
        numbers = {int(part.stem.rpartition("-")[2]) for part in self.folder.glob("part-*.parquet")}
        path = self.folder / f"part-{max(numbers, default=-1) + 1:05d}.parquet"
        write_part(path, rows, self.manifest["digest"], self.precision or "fp32")

    def _write_manifest(self) -> None:
        parts = part_records(self.folder)
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


def write_part(path: Path, rows: Rows, digest: str, precision: Precision) -> None:
    """Write rows as a part of embeddings."""
    with atomic_file(path) as part:
        pq.write_table(to_table(rows, digest, precision), part, compression="none")


def part_records(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a manifest for the parts in a folder: file, rows and sha256."""
    return [
        {"file": path.name, "rows": pq.read_metadata(path).num_rows, "sha256": file_sha256(path)}
        for path in sorted(folder.glob("part-*.parquet"))
    ]


def _precision_of(table: pa.Table) -> Precision:
    return "bf16" if (table.schema.metadata or {}).get(b"aekit.precision") == b"bf16" else "fp32"


def skipped_csv(skipped: dict[str, str]) -> str:
    """Format the id and the reason of each skipped sample as CSV."""
    return csv_text(("id", "reason"), sorted(skipped.items()))
