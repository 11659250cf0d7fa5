"""Answer requests of the page about an index: samples by row number, their images, their neighbors and the map.

Samples are identified by their row in the index only, so that no request can reach another file.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from aekit.analysis.layouts import project
from aekit.data.reopening import reopen_if_available
from aekit.data.source import Source, read_valid
from aekit.errors import DataError, printable
from aekit.evaluation.splits import evenly_spaced
from aekit.index.vector_index import VectorIndex, open_index
from aekit.io.atomic import write_text
from aekit.io.csv_files import csv_text
from aekit.progress import SILENT, Progress
from aekit.visualization.map_data import color_options, map_data
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.sprite_cells import SpriteSheetBuilder
from aekit.visualization.sprite_sheets import cell_side
from aekit.visualization.thumbnails import thumbnail

MAX_POINTS = 5000
"""Most samples on the map; more are thinned evenly."""
MAX_HITS = 500
MAX_PIXELS = 40_000_000
"""Most pixels of an image that is sent."""
CACHED_IMAGES = 4000
"""Thumbnails that are cached in memory."""
CHUNK = 256
"""Samples that are read at a time."""
MAX_LABELS = 200
"""Most labels to filter by; a column with more is text or a number."""

_SUFFIX = {"image": ".png", "clip": ".npy", "series": ".npy", "vector": ".npy"}


class Catalog:
    """An index, its samples, and a map of them.

    Args:
        index: the index.
        max_samples: most samples on the map.
        method: layout of the map: ``auto``, ``pca``, ``tsne`` or ``umap``, as in `aekit.draw_map`.
        progress: receives the number of samples on the map, and a progress bar.
        drawn: file of the map that another process has drawn and written with `save_map`; None: it is drawn here.

    Attributes:
        labels: (N,) label of each row as text, "" if it has none; None if the index has no labels.
        splits: (N,) split of each row, likewise.
        on_map: (M,) rows of the samples on the map.
        layout: name of the layout of the map.
        watched: file that is replaced when the index has changed: its manifest, or that of the map.
        stamp: `file_stamp` of that file as it was when the index was opened.
        map: ``rows`` of the samples on the map, the ``map`` that ``map.js`` draws, and the ``sheet`` of thumbnails or None.
    """

    def __init__(
        self,
        index: VectorIndex,
        *,
        max_samples: int = MAX_POINTS,
        method: str = "auto",
        progress: Progress = SILENT,
        drawn: Path | None = None,
    ) -> None:
        self.watched = drawn or (index.folder / "manifest.json" if index.folder else None)
        self.stamp = file_stamp(self.watched)  # before the map is drawn, which takes long
        self.index, self._max_samples, self._method = index, max_samples, method
        self.labels, self.splits = self._texts("label"), self._texts("split")
        shown = ("id", "hash", "label", "split")
        self._further = [name for name in index.metadata.column_names if name not in shown]
        self.source, self._position_of = self._samples()
        # torch and FAISS use their own threads, so requests run one at a time.
        self._lock = RLock()
        self.image = lru_cache(CACHED_IMAGES)(self._image)
        self._drawn = drawn
        if drawn is not None:
            saved = json.loads(drawn.read_text("utf-8"))
            self.map, self.layout, self.on_map = saved["map"], saved["layout"], np.asarray(saved["on_map"], np.int64)
            return
        self.on_map = evenly_spaced(np.arange(len(index)), max_samples)
        self.map, self.layout = self._map(method, progress)

    def save_map(self, path: Path) -> None:
        """Write the map for other processes that serve the same index, in one step."""
        write_text(path, json.dumps({"map": self.map, "layout": self.layout, "on_map": self.on_map.tolist()}))

    def reopened(self) -> Catalog:
        """Open the folder of the index again, as it is now.

        Raises:
            AekitError: it cannot be opened.
        """
        assert self.index.folder is not None
        index = open_index(self.index.folder)
        return Catalog(index, max_samples=self._max_samples, method=self._method, drawn=self._drawn)

    def about(self) -> dict[str, Any]:
        """Return facts about the index for the page: its samples, its encoder, and the available features."""
        manifest, spec = self.index.manifest, self.source.spec if self.source else None
        counts = Counter(self.labels.tolist()) if self.labels is not None else Counter()
        filterable = 1 < len(counts) <= MAX_LABELS
        return {
            "count": len(self.index),
            "dim": self.index.dim,
            "digest": self.index.digest,
            "metric": manifest["metric"],
            "engine": manifest["engine"]["name"],
            "recall": manifest.get("recall"),
            "kind": spec.kind if spec else None,
            "spec": str(spec) if spec else None,
            "small": spec is not None and spec.is_visual and max(spec.shape[-2:]) <= 64,
            "images": self.source is not None,
            "files": self.index.encoder() is not None,
            "labels": {label: count for label, count in sorted(counts.items()) if label} if filterable else {},
            "splits": sorted(set(self.splits.tolist())) if self.splits is not None else [],
            "metadata": self._further,
            "layout": self.layout,
            "on_map": len(self.on_map),
        }

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the row, id, label, split and further columns of each row.

        Raises:
            DataError: no such row.
        """
        records = []
        for row in rows:
            self._check(row)
            record: dict[str, Any] = {"row": row, "id": self.index.ids[row]}
            record |= {"label": self.labels[row]} if self.labels is not None else {}
            record |= {"split": self.splits[row]} if self.splits is not None else {}
            records.append(record | {name: _plain(self.index.metadata[name][row].as_py()) for name in self._further})
        return records

    def find(self, text: str, max_samples: int = 20) -> list[dict[str, Any]]:
        """Find samples whose id contains a text, ignoring case; one that has it as its id is the first."""
        pattern, exact = text.casefold(), [self.index.ids.index(text)] if text in self.index.ids else []
        rows = (row for row, name in enumerate(self.index.ids) if pattern in name.casefold() and row not in exact)
        return self.describe([*exact, *islice(rows, max_samples - len(exact))])

    def neighbors_of_row(self, row: int, k: int, label: str | None = None, where: str = "") -> list[dict[str, Any]]:
        """Return the neighbors of a sample in the index, the nearest first.

        Args:
            row: row of the sample, which is not among its neighbors.
            k: number of neighbors, 1 to `MAX_HITS`.
            label: return only samples with this label.
            where: return only samples that satisfy this condition, as in `VectorIndex.search`; "": all.

        Raises:
            DataError: no such row, `k` out of range, or the condition cannot be read.
        """
        self._check(row)
        with self._lock:
            vector = self.index.engine.vectors(np.asarray([row]))
        return self._nearest(vector, k, self._among(label, where), excluded=row)

    def neighbors_of_file(
        self, content: bytes, k: int, label: str | None = None, where: str = ""
    ) -> list[dict[str, Any]]:
        """Return the neighbors of the sample in a file: an image, or an array (``.npy``) for an index of other samples.

        Raises:
            DataError: the file cannot be read, does not fit the encoder, or has too many pixels; or the condition cannot be read.
        """
        encoder = self.index.encoder()
        if encoder is None:
            raise DataError("this index has no encoder: search by one of its samples instead of a file")
        if not content:
            raise DataError("the file is empty")
        among = self._among(label, where)
        if encoder.spec.is_image:
            _refuse_many_pixels(content)
        # The sender's file name is not used: it says nothing about the content.
        with tempfile.TemporaryDirectory() as folder, self._lock:
            path = Path(folder) / f"query{_SUFFIX[encoder.spec.kind]}"
            path.write_bytes(content)
            try:
                embeddings = encoder.embed(
                    str(path), metadata="none", strict=True, progress=False, precision=self.index.precision
                )
            except DataError as error:
                message = str(error).replace(str(path), "the file").replace(path.name, "the file")
                raise DataError(message.removesuffix(" (strict)")) from None
        return self._nearest(np.asarray(embeddings.vectors[:1]), k, among)

    def table(self, rows: Sequence[int]) -> str:
        """Return the id, label, split and further columns of rows as CSV."""
        records = [{name: value for name, value in record.items() if name != "row"} for record in self.describe(rows)]
        return csv_text(list(records[0]) if records else ["id"], (record.values() for record in records))

    def _among(self, label: str | None, where: str) -> np.ndarray | None:
        """Return a mask (N,) of the samples that may be neighbors, or None for all."""
        if label is None and not where:
            return None
        among = np.ones(len(self.index), bool)
        if label is not None:
            among &= self.labels == label if self.labels is not None else False
        if where:
            among &= self.index.mask(where)
        return among

    def _nearest(
        self, vectors: np.ndarray, k: int, among: np.ndarray | None, excluded: int = -1
    ) -> list[dict[str, Any]]:
        if not 1 <= k <= MAX_HITS:
            raise DataError(f"k = {printable(str(k))}: expected 1 to {MAX_HITS}")
        depth = min(k + (excluded >= 0), len(self.index) if among is None else int(among.sum()))
        if not depth:
            return []
        with self._lock:
            scores, rows = self.index.search(vectors, depth, where=among)
        pairs = zip(scores[0].tolist(), rows[0].tolist())
        hits = [(score, row) for score, row in pairs if row not in (-1, excluded)][:k]
        records = self.describe([row for _, row in hits])
        return [record | {"score": score} for record, (score, _) in zip(records, hits)]

    def _image(self, row: int) -> tuple[str, bytes]:
        """Return the media type and the content of the thumbnail of a sample.

        Raises:
            DataError: no such row, or its sample is not available.
        """
        self._check(row)
        position = self._position_of.get(row)
        if self.source is None or position is None:
            raise DataError(f"row {row}: its sample is not available")
        with self._lock:
            raw, ok = read_valid(self.source, np.asarray([position]))
        if not ok[0]:
            raise DataError(f"row {row}: its sample cannot be read")
        encoder, sample, value_range = self.index.encoder(), raw[0], None
        if encoder is not None and encoder.spec.is_vector:  # columns differ in their units
            scale = DisplayScale(encoder.spec, encoder.preprocess)
            sample, value_range = scale.to_display(sample), scale.value_range
        head, _, data = thumbnail(sample, self.source.spec, value_range).partition(",")
        return head.removeprefix("data:").partition(";")[0], base64.b64decode(data)

    def _check(self, row: int) -> None:
        if not 0 <= row < len(self.index):
            raise DataError(f"row {printable(str(row))}: expected 0 to {len(self.index) - 1}")

    def _texts(self, column: str) -> np.ndarray | None:
        if column not in self.index.metadata.column_names:
            return None
        values = self.index.metadata[column].to_pylist()
        return np.asarray(["" if value is None else str(value) for value in values], object)

    def _samples(self) -> tuple[Source | None, dict[int, int]]:
        """Return the indexed data, or None if it is not available, and the position in it of each row."""
        encoder, origin = self.index.encoder(), self.index.manifest["origin"]
        source = reopen_if_available(origin, encoder.spec, near=self.index.folder) if encoder else None
        positions = {name: position for position, name in enumerate(source.ids)} if source else {}
        return source, {row: positions[name] for row, name in enumerate(self.index.ids) if name in positions}

    def _map(self, method: str, progress: Progress) -> tuple[dict[str, Any], str]:
        rows = self.on_map.tolist()
        if len(rows) < 3 or self.index.dim < 2:
            return {"rows": [], "map": None, "sheet": None}, "no map: it needs at least 3 samples and 2 dimensions"
        progress.say(f"map: {len(rows):,} of {len(self.index):,} samples")
        points, layout = project(np.asarray(self.index.engine.vectors(self.on_map), np.float64), method)
        labels, splits = (None if texts is None else texts[self.on_map] for texts in (self.labels, self.splits))
        ids = [str(self.index.ids[row]) for row in rows]
        description = map_data(ids, {layout: points}, color_options(labels, splits, None), None)
        return {"rows": rows, "map": description, "sheet": self._sheet(progress)}, layout

    def _sheet(self, progress: Progress) -> dict[str, Any] | None:
        """Draw thumbnails of the samples on the map; samples that are not available are blank."""
        encoder, source = self.index.encoder(), self.source
        if encoder is None or source is None:
            return None
        sprites, side = SpriteSheetBuilder(encoder), cell_side(len(self.on_map))
        positions = np.asarray([self._position_of.get(row, -1) for row in self.on_map.tolist()])
        parts = []
        with progress.task("thumbnails", len(positions), "samples") as task:
            for start in range(0, len(positions), CHUNK):
                chunk = positions[start : start + CHUNK]
                raw, ok = read_valid(source, np.maximum(chunk, 0))
                raw[~ok | (chunk < 0)] = 0
                parts.append(sprites.raw_to_cells(raw, side))
                task.advance(len(chunk))
        return sprites.sprite_sheet(parts).described


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: dates and times as text."""
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def file_stamp(path: Path | None) -> tuple[int, int]:
    """Return what changes when a file is replaced; zeros where there is none."""
    try:
        status = path.stat() if path else None
    except OSError:
        status = None
    return (status.st_mtime_ns, status.st_ino) if status else (0, 0)


def _refuse_many_pixels(content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        raise DataError("the file is not a readable image") from None
    if pixels > MAX_PIXELS:
        raise DataError(f"the image has {pixels:,} pixels: expected at most {MAX_PIXELS:,}")
