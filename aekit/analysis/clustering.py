"""Groups of samples that nobody named: k-means or HDBSCAN over embeddings, with a choice of how many."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from aekit.data.source import read_valid
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.loading import encoder_of
from aekit.errors import DataError, RecipeError
from aekit.evaluation.clusterers import DENSE, _distances, _ordered, _round, fit_hdbscan, silhouettes
from aekit.io.atomic import atomic_folder, write_json
from aekit.nn.low_rank import project_to_span
from aekit.progress import SILENT, Progress
from aekit.visualization.image_grid import draw_grid
from aekit.visualization.rendering import DisplayScale

FORMAT = 1
SHOWN, ROWS = 10, 30

Method = Literal["kmeans", "hdbscan"]


@dataclass(frozen=True)
class Clusters:
    """Groups of embedded samples.

    Attributes:
        digest: of the encoder.
        ids: (N,) names.
        clusters: (N,) numbers from 0, the largest group first; -1 for what lies in none.
        distances: (N,) to the center of the own group, or to the nearest center.
        centers: (K, D) means.
        silhouette: mean over some of the samples that are in a group, in -1..1; 0 where there is one group.
        tried: number of clusters -> silhouette, where the number was chosen.
        labels: (N,) or None.
        image: the samples nearest to each center, or None where the samples are not at hand.
    """

    digest: str
    ids: Sequence[str]
    clusters: np.ndarray
    distances: np.ndarray
    centers: np.ndarray
    silhouette: float
    silhouettes_by_count: dict[int, float]
    labels: np.ndarray | None
    image: Image.Image | None

    def rows(self) -> list[dict[str, Any]]:
        """A row for each group: its size, its most frequent label and that one's share, the sample nearest its center."""
        found = []
        for number in range(len(self.centers)):
            own = np.flatnonzero(self.clusters == number)
            row: dict[str, Any] = {"cluster": number, "samples": len(own)}
            if self.labels is not None:
                names, counts = np.unique(self.labels[own].astype(str), return_counts=True)
                row |= {"label": str(names[counts.argmax()]), "share": float(counts.max() / len(own))}
            found.append(row | {"nearest": self.ids[int(own[self.distances[own].argmin()])]})
        return found

    def save(self, folder: Path) -> None:
        """Writes ``clusters.csv``, ``clusters.json``, ``centers.safetensors`` and the image into a folder that is there."""
        with (folder / "clusters.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "cluster", "distance"])
            writer.writerows(zip(self.ids, self.clusters.tolist(), (f"{d:.6g}" for d in self.distances)))
        save_file({"centers": torch.from_numpy(self.centers).contiguous()}, folder / "centers.safetensors")
        told = {
            "format": FORMAT,
            "encoder": self.digest,
            "silhouette": self.silhouette,
            "tried": self.silhouettes_by_count,
        }
        write_json(folder / "clusters.json", told | {"clusters": self.rows()})
        if self.image is not None:
            self.image.save(folder / "image.png")


def find_clusters(
    embeddings: Any,
    *,
    clusters: int = 0,
    method: Method = "kmeans",
    out: str | Path | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Clusters:
    """Groups embeddings.

    Args:
        embeddings: `aekit.Embeddings`, their folder, or vectors (N, D).
        clusters: K; 0 tries 2, 3, 5, 8, 10, 15, 20 and 30 and takes the one of the highest silhouette (Rousseeuw, 1987).
        method: ``kmeans``, round groups of like size; ``hdbscan``, dense groups of any form and number, which leaves out
            what lies between (Campello, Moulavi and Sander, 2013). It is fitted on 20,000 samples at most; each other
            sample joins its nearest.
        out: new folder for the group of each sample, the centers and the image.
        seed: of the first centers and of the silhouette's sample.
        progress: receives what was chosen.

    Raises:
        DataError: no embeddings, or fewer than there are to be clusters.
        RecipeError: another method, or a number of clusters for ``hdbscan``, which finds it.
    """
    if method not in get_args(Method):
        raise RecipeError([f"method = {method!r}: expected kmeans or hdbscan"])
    if method == "hdbscan" and clusters:
        raise RecipeError([f"clusters = {clusters}: hdbscan finds the number of clusters itself"])
    if isinstance(embeddings, (str, Path)):
        embeddings = Embeddings.open(embeddings)
    elif not isinstance(embeddings, Embeddings):
        embeddings = Embeddings.from_array(embeddings)
    vectors = np.asarray(embeddings.vectors, np.float32)
    if len(vectors) < max(3, clusters + 1):
        raise DataError(f"{len(vectors)} embeddings for {clusters or 2} clusters: more samples are needed")
    with atomic_folder(Path(out)) if out is not None else nullcontext() as folder:
        with progress.task("cluster", len(vectors)) as task:
            tried: dict[int, float] = {}
            points = project_to_span(vectors)
            if method == "hdbscan":
                found = fit_hdbscan(points, points, DENSE)
            else:
                found, tried = _round(points, clusters, seed)
            task.advance(len(vectors))
        found, centers = _ordered(vectors, found)
        if tried:
            progress.say(f"{len(centers)} clusters, which have the highest silhouette of {', '.join(map(str, tried))}")
        distances, inside = _distances(vectors, centers, found), found >= 0
        made = Clusters(
            digest=embeddings.digest,
            ids=embeddings.ids,
            clusters=found,
            distances=distances,
            centers=centers,
            silhouette=float(silhouettes(points[inside], found[inside], seed).mean()),
            silhouettes_by_count=tried,
            labels=embeddings.labels,
            image=_image(embeddings, found, distances, len(centers)),
        )
        if folder is not None:
            made.save(folder)
    return made


def _image(embeddings: Embeddings, found: np.ndarray, distances: np.ndarray, count: int) -> Image.Image | None:
    """A row for each of the largest groups: what lies nearest to its center."""
    encoder = encoder_of(embeddings)
    at_hand = embeddings.source() if encoder else None
    if encoder is None or at_hand is None:
        return None
    source, places = at_hand
    drawn = DisplayScale(encoder.spec, encoder.preprocess)
    rows, titles, captions = [], [], []
    for number in range(min(count, ROWS)):
        own = np.flatnonzero(found == number)
        near = own[np.argsort(distances[own], kind="stable")[:SHOWN]]
        raw, _ = read_valid(source, places[near])
        rows.append([drawn.to_display(sample) for sample in raw])
        titles.append(f"{number} ({len(own):,})")
        captions.append([] if embeddings.labels is None else [str(label) for label in embeddings.labels[near]])
    rest = f"; {int((found < 0).sum()):,} samples are in none" if (found < 0).any() else ""
    title = f"{count} clusters, by size; from the left what is nearest to the center{rest}"
    return draw_grid(
        rows, source.spec, row_titles=titles, captions=captions, title=title, value_range=drawn.value_range
    )


FEWEST = 30
"""Samples below which no groups are looked for."""
