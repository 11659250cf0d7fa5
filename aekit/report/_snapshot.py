"""Take a snapshot of a trained encoder: a sample of embeddings with thumbnails, neighbors, clusters and layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.analysis.clustering import MIN_SAMPLES, find_clusters
from aekit.analysis.layouts import NEIGHBORS_SHOWN, project
from aekit.data.samples import Samples, chunk_size, to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.embedded_rows import Rows
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.inference import Inference
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.evaluation.splits import select_labels, to_class_labels
from aekit.objectives.autoencoder import Autoencoder
from aekit.visualization.map_data import category_colors, color_options, map_data, scale_values
from aekit.visualization.sprite_cells import SpriteSheetBuilder
from aekit.visualization.sprite_sheets import SpriteSheet, cell_side

MOST = 2000
MOST_DECODED = 600
"""Samples that are read anew where reading is slow."""
TSNE_ITERATIONS = 500
"""Half of what `aekit map` takes: neighborhoods are then nearly as good."""
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Hold a sample of the data with its embeddings.

    Attributes:
        encoder, source: the encoder and the data.
        rows: (M,) positions in the source, rising.
        vectors: (M, D) float32.
        trained: (M,) bool, whether the encoder was trained on the sample.
        errors: (M,) of the reconstruction, a mean over the entries of a sample; None without an autoencoder.
        sprites: draws the samples.
        cells: thumbnails, from which `sprite_sheet` is made.
        seed: of clusters and layouts.
        layouts: title -> (M, 2) points.
    """

    encoder: Encoder
    source: Source
    rows: np.ndarray
    vectors: np.ndarray
    trained: np.ndarray
    errors: np.ndarray | None
    sprites: SpriteSheetBuilder
    cells: np.ndarray
    seed: int = 0
    layouts: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> list[str]:
        return [str(self.source.ids[int(row)]) for row in self.rows]

    @cached_property
    def classes(self) -> np.ndarray | None:
        """Return (M,) labels as text, "" where one is missing; None where the labels are not classes."""
        classes, _ = to_class_labels(self.labels, len(self), what="samples")
        return None if classes is None else classes.astype(str)

    @cached_property
    def splits(self) -> np.ndarray | None:
        """Return (M,) names of splits, or None."""
        return None if self.source.splits is None else np.asarray(self.source.splits)[self.rows].astype(str)

    @property
    def labels(self) -> np.ndarray | None:
        """Return (M,) classes or numbers, or None."""
        return None if self.source.labels is None else select_labels(self.source.labels, self.rows)

    @cached_property
    def sprite_sheet(self) -> SpriteSheet:
        """Return a sprite sheet with a thumbnail of each sample."""
        return self.sprites.sprite_sheet(self.cells)

    @cached_property
    def neighbors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (M, K) cosines and (M, K) positions in this snapshot of the nearest other samples, nearest first."""
        return nearest_other_neighbors(self.vectors, NEIGHBORS_SHOWN)

    @cached_property
    def clusters(self) -> np.ndarray | None:
        """Return (M,) clusters by k-means, as many as have the highest silhouette; None for too few samples."""
        return (
            find_clusters(self.vectors, seed=self.seed, progress=False).clusters if len(self) >= MIN_SAMPLES else None
        )

    def project(self, method: str) -> None:
        """Add points in the plane to `layouts`, if there are enough samples."""
        if len(self) >= 3 and self.vectors.shape[1] >= 2:
            points, title = project(self.vectors, method, seed=self.seed, iterations=TSNE_ITERATIONS)
            self.layouts[title] = points

    def embeddings(self) -> Embeddings:
        """Return the snapshot as embeddings, to evaluate it."""
        source = self.source
        splits = None if source.splits is None else np.asarray(source.splits)[self.rows]
        manifest = {"digest": self.encoder.digest, "dim": self.vectors.shape[1], "count": len(self)}
        rows = Rows([source.ids[int(row)] for row in self.rows], self.vectors, self.labels, splits, self.ids)
        return Embeddings(manifest | {"origin": source.origin}, rows=rows, encoder=self.encoder, source=source)


def take_snapshot(
    encoder: Encoder,
    source: Source,
    samples: Samples,
    *,
    autoencoder: Autoencoder | None = None,
    max_samples: int = MOST,
    seed: int = 0,
) -> Snapshot:
    """Embed evenly spaced samples of every split, and draw their thumbnails.

    Args:
        encoder: trained.
        source: that the samples came from.
        samples: that it was trained on; they are not read again.
        autoencoder: around the encoder, if there is one.
        max_samples: size of the snapshot; smaller where samples have to be decoded first.
        seed: of clusters and layouts.
    """
    positions = _choose(source, samples, max_samples)
    sprites = SpriteSheetBuilder(encoder)
    side = cell_side(len(positions))
    kept, vectors, cells = [], [], []
    whole, forward = (encoder, None) if autoencoder is None else (autoencoder, Autoencoder.embed_with_errors)
    run = Inference(whole, len(positions), device=encoder.device, forward=forward)
    with eval_mode(whole):
        for raw, rows in _raw(source, samples, positions):
            kept.append(rows)
            vectors.append(run(raw).cpu().numpy())
            cells.append(sprites.raw_to_cells(raw, side))
    rows = np.concatenate(kept)
    order = np.argsort(rows)
    embedded = np.concatenate(vectors)[order]
    return Snapshot(
        encoder=encoder,
        source=source,
        rows=rows[order],
        vectors=np.ascontiguousarray(embedded[:, : encoder.dim]),
        trained=np.isin(rows[order], samples.rows),
        errors=None if autoencoder is None else embedded[:, encoder.dim],
        sprites=sprites,
        cells=np.concatenate(cells)[order],
        seed=seed,
    )


def _choose(source: Source, samples: Samples, most: int) -> np.ndarray:
    """Return (M,) positions in rising order: equally many of each split, and all of a small one."""
    groups = [source.rows_of(None)]
    if source.splits is not None:
        groups = [np.flatnonzero(source.splits == name) for name in np.unique(source.splits)]
    chosen, left = [], most
    for number, rows in enumerate(sorted(groups, key=len)):
        count = min(len(rows), left // (len(groups) - number))
        selected = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
        known = np.isin(selected, samples.rows)
        if source.slow and (unread := selected[~known]).size > MOST_DECODED:
            unread = unread[np.linspace(0, len(unread) - 1, MOST_DECODED).round().astype(int)]
            selected = np.concatenate([selected[known], unread])
        chosen.append(selected)
        left -= len(selected)
    return np.unique(np.concatenate(chosen))


def _raw(source: Source, samples: Samples, positions: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield batches of raw samples on the encoder's device and their positions: first those in memory from training."""
    order = np.argsort(samples.rows, kind="stable")
    at = np.searchsorted(samples.rows, positions, sorter=order).clip(max=len(order) - 1)
    known = samples.rows[order[at]] == positions
    in_memory, unread = order[at[known]], positions[~known]
    size = chunk_size(source.spec, _BATCH)
    for start in range(0, len(in_memory), size):
        numbers = in_memory[start : start + size]
        yield samples.batch(torch.from_numpy(numbers)), samples.rows[numbers]
    for start in range(0, len(unread), size):
        rows = unread[start : start + size]
        raw, ok = read_valid(source, rows)
        if ok.any():
            yield to_tensor(raw[ok]).to(samples.device), rows[ok]


def snapshot_map(snapshot: Snapshot, *, clusters: bool = True) -> dict[str, Any]:
    """Return the data of the interactive map: layouts, colors, names and neighbors.

    Args:
        snapshot: the samples to draw.
        clusters: whether to find clusters, as one of the colorings.
    """
    colors = color_options(snapshot.labels, snapshot.splits, snapshot.clusters if clusters else None)
    if "split" not in colors and snapshot.trained.any() and not snapshot.trained.all():
        colors["trained on"] = category_colors(np.where(snapshot.trained, "yes", "no"))
    if snapshot.errors is not None:
        colors["error"] = scale_values(snapshot.errors)
    return map_data(snapshot.ids, snapshot.layouts, colors, snapshot.neighbors[1] if len(snapshot) > 1 else None)
