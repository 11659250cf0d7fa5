"""Open the data to search for duplicates, and group the duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aekit.analysis.inputs import check_comparable, open_or_embed
from aekit.data.opening import open_data, reopen
from aekit.data.readers.image_headers import all_headers
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.makers import is_encoder
from aekit.evaluation.checks.leakage import CHANCE, NEAR_DISTANCE, participation_ratio
from aekit.index.build import build_index
from aekit.io.remote import is_artifact
from aekit.progress import Progress

READ_SIZE = 128
"""Side at which image files are read, whole, whatever their proportions."""
NEIGHBORS = 5
_BATCH = 1024


@dataclass
class Collection:
    """One or two data sets whose samples are compared, one after the other.

    Attributes:
        ids: N ids.
        hashes: N hashes of the content.
        is_other: (N,) bool, whether a sample is of the second data set; None if there is only one.
        images: source and (M,) positions of each data set, if its samples are images that can be read; else empty.
        vectors: (N, D) embeddings, or None.
        files: path of each sample that is an image file.
        embedded: the embeddings of each data set, if `vectors` are theirs; else empty.
        notes: remarks on what is compared.
    """

    ids: list[str]
    hashes: list[str]
    is_other: np.ndarray | None
    images: list[tuple[Source, np.ndarray]]
    vectors: np.ndarray | None
    files: dict[int, Path]
    embedded: list[Embeddings] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _sizes: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def locate(self, row: int) -> tuple[Source, int]:
        """Return the source of images that holds a sample, and its position there."""
        for source, positions in self.images:
            if row < len(positions):
                return source, int(positions[row])
            row -= len(positions)
        raise IndexError(row)

    def equal_pairs(self) -> list[tuple[int, int]]:
        """Return pairs that link the samples of equal content."""
        first: dict[tuple[str, bool], int] = {}
        pairs = []
        for row, content in enumerate(self.hashes):
            side = self.is_other is not None and bool(self.is_other[row])
            partner = first.get((content, not side if self.is_other is not None else side))
            first.setdefault((content, side), row)
            if partner is not None:
                pairs.append((partner, row))
        return pairs

    def measure(self, row: int) -> tuple[int, int, int]:
        """Return width, height and bytes of an image file; zeros if it is none."""
        if row not in self._sizes:
            path = self.files.get(row)
            self._sizes[row] = (0, 0, 0)
            if path is not None and path.is_file():
                with ThreadPoolExecutor(1) as pool:
                    header = all_headers([path], pool)[0]
                height, width = (0, 0) if header is None else header.size
                self._sizes[row] = (width, height, path.stat().st_size)
        return self._sizes[row]

    def size(self, row: int) -> tuple[int, int] | None:
        """Return width and height of an image file, or None."""
        width, height, _ = self.measure(row)
        return (width, height) if width else None

    def preference(self, row: int) -> tuple[Any, ...]:
        """Return a sorting key that puts the sample to keep first."""
        width, height, weight = self.measure(row)
        return self.is_other is not None and bool(self.is_other[row]), -width * height, -weight, row

    def reason(self, members: Sequence[int]) -> str:
        """Return why the first of several samples is the one to keep."""
        (width, height, weight), *others = (self.measure(row) for row in members)
        size = f" ({width}x{height}, {weight / 1000:.0f} kB)" if width else ""
        if self.is_other is not None:
            return f"in the first data set{size}"
        if any(width * height > w * h for w, h, _ in others):
            return f"most pixels{size}"
        if any(weight > b for _, _, b in others):
            return f"largest file{size}"
        return f"first{size}"


def open_collection(
    data: Any, other: Any, options: dict[str, Any] | None, device: str | None, progress: Progress
) -> Collection:
    """Open one or two data sets, each as samples or as embeddings.

    Raises:
        DataError: unusable data.
        IdentityError: embeddings of two encoders.
    """
    parts = [_open(one, options, device, progress) for one in ([data] if other is None else [data, other])]
    embedded = [part for part in parts if isinstance(part, Embeddings)]
    vectors, notes = None, []
    if len(embedded) == len(parts):
        if len(parts) == 2:
            check_comparable(*embedded)
        vectors = np.concatenate([np.asarray(part.vectors, np.float32) for part in embedded])
    elif embedded:
        notes.append("embeddings were not compared, as only one of the two data sets is embedded")
    ids, hashes, files, images = list[str](), list[str](), dict[int, Path](), []
    for part in parts:
        located = part.source() if isinstance(part, Embeddings) else (part, np.arange(len(part)))
        if located is not None and located[0].spec.kind == "image":
            source, positions = located
            images.append((_uncropped(source), positions))
            paths = getattr(source, "paths", [])
            files |= {len(ids) + row: paths[place] for row, place in enumerate(positions.tolist()) if paths}
        ids += [str(name) for name in part.ids]
        hashes += _contents(part, progress)
    if len(images) < len(parts):
        images = []
        if vectors is None:
            notes.append(
                "only exact duplicates were searched: near duplicates need images, or embeddings of the samples"
            )
    is_other = np.arange(len(ids)) >= len(parts[0]) if len(parts) == 2 else None
    return Collection(ids, hashes, is_other, images, vectors, files, [] if vectors is None else embedded, notes)


def _open(data: Any, options: dict[str, Any] | None, device: str | None, progress: Progress) -> Embeddings | Source:
    if isinstance(data, Embeddings) or is_encoder(data) or is_artifact(data):
        return open_or_embed(data, progress, device)
    source = open_data(data, options)
    source.report_notes(progress)
    return source


def _uncropped(source: Source) -> Source:
    """Return the source with whole images of one size, if it reads image files, which it would crop otherwise."""
    if not getattr(source, "paths", []) or source.origin is None:
        return source
    channels = source.spec.shape[0] if source.spec.shape[0] in (1, 3) else 3
    return reopen(source.origin, SampleSpec("image", (channels, READ_SIZE, READ_SIZE), source.spec.dtype, "stretch"))


def _contents(part: Embeddings | Source, progress: Progress) -> list[str]:
    if isinstance(part, Embeddings):
        if not part.is_precomputed:
            return list(part.rows.hashes)
        return [row.tobytes().hex() for row in np.asarray(part.vectors, np.float32)]
    hashes: list[str] = []
    with progress.task("read", len(part)) as task:
        for start in range(0, len(part), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(part)))
            hashes += part.fingerprints(rows)
            task.advance(len(rows))
    return hashes


def near_embeddings(collection: Collection) -> tuple[np.ndarray | None, list[tuple[int, int, float]]]:
    """Return (N, K) rows of the nearest embeddings, and nearly equal pairs with their fraction of the typical distance.

    The neighbors come from an index of FAISS. As in the check for leakage, a pair is nearly equal at a tenth of the median
    distance between neighbors, or less in few dimensions, where small distances are frequent.
    """
    vectors = collection.vectors
    if vectors is None or len(vectors) < 3:
        return None, []
    other = collection.is_other
    sides = [(np.arange(len(vectors)), np.arange(len(vectors)))]
    if other is not None:
        ours, theirs = np.flatnonzero(~other), np.flatnonzero(other)
        sides = [(ours, theirs), (theirs, ours)]
    neighbors = np.full((len(vectors), NEIGHBORS + 1), -1, np.int64)
    for queries, searched in sides:
        index = build_index(vectors[searched], progress=False, metric="l2")
        _, rows = index.search(vectors[queries], k=min(NEIGHBORS + 1, len(searched)))
        neighbors[queries, : rows.shape[1]] = np.where(rows >= 0, searched[rows], -1)
    distances = np.linalg.norm(vectors[:, None].astype(np.float32) - vectors[neighbors], axis=2)
    distances[(neighbors < 0) | (neighbors == np.arange(len(vectors))[:, None])] = np.inf
    nearest = np.where(distances > 0, distances, np.inf).min(1)
    typical = float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else 0.0
    limit = typical * min(NEAR_DISTANCE, CHANCE ** (1 / max(1.0, participation_ratio(vectors))))
    rows, places = np.nonzero((distances <= limit) & np.isfinite(distances))
    near = [(int(a), int(neighbors[a, p]), float(distances[a, p] / max(typical, 1e-30))) for a, p in zip(rows, places)]
    return neighbors, near


def group_pairs(links: Sequence[tuple[int, int]], count: int) -> list[list[int]]:
    """Return the groups of rows that pairs link, the largest first."""
    if not links:
        return []
    pairs = np.array(links)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    member = connected_components(graph, directed=False)[1]
    groups: dict[int, list[int]] = {}
    for row in np.unique(pairs).tolist():
        groups.setdefault(int(member[row]), []).append(row)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))
