"""What a page may ask of an index: its samples by row number, their images, neighbors and places on a map.

Samples are named by their row in the index and by nothing else, so that no question can reach another file.
"""

from __future__ import annotations

import base64
import csv
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from aekit.analysis.layouts import project
from aekit.data.opening import reopen
from aekit.data.source import Source, read_valid
from aekit.errors import DataError
from aekit.index.vector_index import VectorIndex
from aekit.progress import SILENT, Progress
from aekit.visualization.map_data import color_options, map_data
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.sprite_sheets import SpriteSheetBuilder, cell_side
from aekit.visualization.thumbnails import thumbnail

MOST_POINTS = 5000
"""Samples on the map; more are thinned evenly."""
MOST_HITS = 500
MOST_PIXELS = 40_000_000
"""Of an image that is asked about."""
IMAGES_KEPT = 4000
"""Thumbnails kept in memory."""
CHUNK = 256
"""Samples read at a time."""
MOST_LABELS = 200
"""Labels that are told apart; a column of more is a text or a number, and no filter."""

_ENDING = {"image": ".png", "clip": ".npy", "series": ".npy", "vector": ".npy"}


class Catalog:
    """An index, the samples behind it, and a map of them.

    Args:
        index: that was opened.
        most: points on the map.
        method: of the map, as in `aekit.analysis.layouts.lay_out`.
        progress: receives what was chosen.

    Attributes:
        labels: (N,) of each row as text, "" where there is none; None where the index has no labels.
        splits: (N,) likewise.
        on_map: (M,) rows of the samples on the map.
        layout: what the map is, in words.
        map: ``rows`` of the samples on the map, the ``map`` as ``map.js`` draws it, and a ``sheet`` of their thumbnails or None.
    """

    def __init__(
        self, index: VectorIndex, *, max_samples: int = MOST_POINTS, method: str = "auto", progress: Progress = SILENT
    ) -> None:
        self.index = index
        self.labels, self.splits = self._texts("label"), self._texts("split")
        self.source, self._place_of = self._samples()
        # torch and FAISS bring threads of their own; requests take turns.
        self._turn = RLock()
        self.image = lru_cache(IMAGES_KEPT)(self._image)
        self.on_map = np.arange(0, len(index), max(1, -(-len(index) // max_samples)))
        self.map, self.layout = self._map(method, progress)

    def about(self) -> dict[str, Any]:
        """Facts for the page: what is indexed, by which encoder, and what can be done with it."""
        held, spec = self.index.manifest, self.source.spec if self.source else None
        counts = Counter(self.labels.tolist()) if self.labels is not None else Counter()
        few = 1 < len(counts) <= MOST_LABELS
        return {
            "count": len(self.index),
            "dim": self.index.dim,
            "digest": self.index.digest,
            "metric": held["metric"],
            "engine": held["engine"]["name"],
            "recall": held.get("recall"),
            "kind": spec.kind if spec else None,
            "spec": str(spec) if spec else None,
            "small": spec is not None and spec.is_visual and max(spec.shape[-2:]) <= 64,
            "images": self.source is not None,
            "files": self.index.encoder() is not None,
            "labels": dict(sorted(counts.items())) if few else {},
            "splits": sorted(set(self.splits.tolist())) if self.splits is not None else [],
            "layout": self.layout,
            "on_map": len(self.on_map),
        }

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Row, id, label and split of each.

        Raises:
            DataError: no such row.
        """
        found = []
        for row in rows:
            self._check(row)
            record: dict[str, Any] = {"row": row, "id": self.index.ids[row]}
            record |= {"label": self.labels[row]} if self.labels is not None else {}
            found.append(record | ({"split": self.splits[row]} if self.splits is not None else {}))
        return found

    def find(self, text: str, most: int = 20) -> list[dict[str, Any]]:
        """Samples whose id holds a text, in capitals or not."""
        wanted = text.casefold()
        rows = (row for row, name in enumerate(self.index.ids) if wanted in str(name).casefold())
        return self.describe([row for row, _ in zip(rows, range(most))])

    def neighbors_of_row(self, row: int, k: int, label: str | None = None) -> list[dict[str, Any]]:
        """The neighbors of a sample in the index, the nearest first.

        Args:
            row: of the sample, which is not among its neighbors.
            k: how many; 1 to `MOST_HITS`.
            label: only samples of this label.
        """
        self._check(row)
        with self._turn:
            vector = self.index.engine.vectors(np.asarray([row]))
        return self._nearest(vector, k, label, without=row)

    def neighbors_of_file(self, content: bytes, k: int, label: str | None = None) -> list[dict[str, Any]]:
        """The neighbors of what is in a file: an image, or an array (``.npy``) for an index of other samples.

        Raises:
            DataError: it cannot be read, does not fit, or is larger than what is looked at.
        """
        encoder = self.index.encoder()
        if encoder is None:
            raise DataError("this index has no encoder beside it, so that only its own samples can be looked for")
        if not content:
            raise DataError("an empty file")
        if encoder.spec.is_image:
            _refuse_many_pixels(content)
        # Named by us: what the sender calls the file says nothing about what it is.
        with tempfile.TemporaryDirectory() as folder, self._turn:
            path = Path(folder) / f"query{_ENDING[encoder.spec.kind]}"
            path.write_bytes(content)
            try:
                found = encoder.embed(str(path), strict=True)
            except DataError as error:
                told = str(error).replace(str(path), "the file").replace(path.name, "the file")
                raise DataError(told.removesuffix(" (--strict)")) from None
        return self._nearest(np.asarray(found.vectors[:1]), k, label)

    def table(self, rows: Sequence[int]) -> str:
        """Id, label and split of these rows, as CSV."""
        records = [{name: value for name, value in record.items() if name != "row"} for record in self.describe(rows)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(records[0]) if records else ["id"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return text.getvalue()

    def _nearest(self, vectors: np.ndarray, k: int, label: str | None, without: int = -1) -> list[dict[str, Any]]:
        if not 1 <= k <= MOST_HITS:
            raise DataError(f"k = {k}: expected 1 to {MOST_HITS}")
        wanted = None
        if label is not None:
            wanted = self.labels == label if self.labels is not None else np.zeros(len(self.index), bool)
            k = min(k, int(wanted.sum()) - int(without >= 0 and bool(wanted[without])))
        reach = k + 1
        while k > 0:
            with self._turn:
                scores, rows = self.index.search(vectors, min(reach, len(self.index)))
            kept = [
                (score, row)
                for score, row in zip(scores[0].tolist(), rows[0].tolist())
                if row not in (-1, without) and (wanted is None or wanted[row])
            ]
            # A rare label lies far out: look further, each time by so much that few rounds are needed.
            if len(kept) >= k or reach >= len(self.index):
                found = self.describe([row for _, row in kept[:k]])
                return [record | {"score": score} for record, (score, _) in zip(found, kept)]
            reach *= 8
        return []

    def _image(self, row: int) -> tuple[str, bytes]:
        """Media type and content of the thumbnail of a sample.

        Raises:
            DataError: no such row, or the sample is no longer at hand.
        """
        self._check(row)
        place = self._place_of.get(row)
        if self.source is None or place is None:
            raise DataError(f"row {row}: its sample is not at hand")
        with self._turn:
            raw, ok = read_valid(self.source, np.asarray([place]))
        if not ok[0]:
            raise DataError(f"row {row}: its sample cannot be read")
        encoder, sample, reach = self.index.encoder(), raw[0], None
        if encoder is not None and encoder.spec.is_vector:  # columns in units of their own
            drawn = DisplayScale(encoder.spec, encoder.preprocess)
            sample, reach = drawn.to_display(sample), drawn.value_range
        head, _, data = thumbnail(sample, self.source.spec, reach).partition(",")
        return head.removeprefix("data:").partition(";")[0], base64.b64decode(data)

    def _check(self, row: int) -> None:
        if not 0 <= row < len(self.index):
            raise DataError(f"row {row}: expected 0 to {len(self.index) - 1}")

    def _texts(self, column: str) -> np.ndarray | None:
        if column not in self.index.metadata.column_names:
            return None
        values = self.index.metadata[column].to_pylist()
        return np.asarray(["" if value is None else str(value) for value in values], object)

    def _samples(self) -> tuple[Source | None, dict[int, int]]:
        """The data that was indexed, where it is at hand, and the position in it of each row."""
        encoder, origin = self.index.encoder(), self.index.manifest["origin"]
        try:
            source = reopen(origin, like=encoder.spec) if encoder and origin else None
        except DataError:
            source = None
        places = {name: place for place, name in enumerate(source.ids)} if source else {}
        return source, {row: places[name] for row, name in enumerate(self.index.ids) if name in places}

    def _map(self, method: str, progress: Progress) -> tuple[dict[str, Any], str]:
        rows = self.on_map.tolist()
        if len(rows) < 3 or self.index.dim < 2:
            return {"rows": [], "map": None, "sheet": None}, "too few samples or numbers for a map"
        progress.say(f"map: laying out {len(rows):,} of {len(self.index):,} samples")
        places, layout = project(np.asarray(self.index.engine.vectors(self.on_map), np.float64), method)
        labels, splits = (None if texts is None else texts[self.on_map] for texts in (self.labels, self.splits))
        drawn = map_data(
            [str(self.index.ids[row]) for row in rows], {layout: places}, color_options(labels, splits, None), None
        )
        return {"rows": rows, "map": drawn, "sheet": self._sheet(progress)}, layout

    def _sheet(self, progress: Progress) -> dict[str, Any] | None:
        """Thumbnails of the samples on the map; those that are gone are left blank."""
        encoder, source = self.index.encoder(), self.source
        if encoder is None or source is None:
            return None
        sprites, side = SpriteSheetBuilder(encoder), cell_side(len(self.on_map))
        places = np.asarray([self._place_of.get(row, -1) for row in self.on_map.tolist()])
        parts = []
        with progress.task("thumbnails", len(places), "samples") as task:
            for start in range(0, len(places), CHUNK):
                some = places[start : start + CHUNK]
                raw, ok = read_valid(source, np.maximum(some, 0))
                raw[~ok | (some < 0)] = 0
                parts.append(sprites.raw_to_cells(raw, side))
                task.advance(len(some))
        return sprites.sprite_sheet(parts).described


def _refuse_many_pixels(content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        raise DataError("the file is not an image that can be read") from None
    if pixels > MOST_PIXELS:
        raise DataError(f"an image of {pixels:,} pixels: expected at most {MOST_PIXELS:,}")
