"""Groups of samples that nobody named: k-means or HDBSCAN over embeddings, with a choice of how many."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from aekit.artifacts import new_folder, write_json
from aekit.embeddings import Embeddings
from aekit.errors import DataError, RecipeError
from aekit.mathematics.span import in_their_span
from aekit.progress import SILENT, Progress
from aekit.report.grid import draw_grid
from aekit.report.showing import Drawn
from aekit.samples import read_usable

FORMAT = 1
MANY = 100_000
"""Samples above which the centres are fitted by mini-batches."""
DENSE = 20_000
"""Samples that densities are estimated from."""
ALL_PAIRS = 5000
"""Samples whose distances may be held at once."""
GRID = (2, 3, 5, 8, 10, 15, 20, 30)
"""Numbers of clusters that are tried where none is given."""
SILHOUETTES, SHOWN, ROWS = 2000, 10, 30

Method = Literal["kmeans", "hdbscan"]


@dataclass(frozen=True)
class Clusters:
    """Groups of embedded samples.

    Attributes:
        digest: of the encoder.
        ids: (N,) names.
        clusters: (N,) numbers from 0, the largest group first; -1 for what lies in none.
        distances: (N,) to the centre of the own group, or to the nearest centre.
        centres: (K, D) means.
        silhouette: mean over some of the samples that are in a group, in -1..1; 0 where there is one group.
        tried: number of clusters -> silhouette, where the number was chosen.
        labels: (N,) or None.
        picture: the samples nearest to each centre, or None where the samples are not at hand.
    """

    digest: str
    ids: Sequence[str]
    clusters: np.ndarray
    distances: np.ndarray
    centres: np.ndarray
    silhouette: float
    tried: dict[int, float]
    labels: np.ndarray | None
    picture: Image.Image | None

    def rows(self) -> list[dict[str, Any]]:
        """A row for each group: its size, its most frequent label and that one's share, the sample nearest its centre."""
        found = []
        for number in range(len(self.centres)):
            own = np.flatnonzero(self.clusters == number)
            row: dict[str, Any] = {"cluster": number, "samples": len(own)}
            if self.labels is not None:
                names, counts = np.unique(self.labels[own].astype(str), return_counts=True)
                row |= {"label": str(names[counts.argmax()]), "share": float(counts.max() / len(own))}
            found.append(row | {"nearest": self.ids[int(own[self.distances[own].argmin()])]})
        return found

    def save(self, folder: Path) -> None:
        """Writes ``clusters.csv``, ``clusters.json``, ``centres.safetensors`` and the picture into a folder that is there."""
        with (folder / "clusters.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "cluster", "distance"])
            writer.writerows(zip(self.ids, self.clusters.tolist(), (f"{d:.6g}" for d in self.distances)))
        save_file({"centres": torch.from_numpy(self.centres).contiguous()}, folder / "centres.safetensors")
        told = {"format": FORMAT, "encoder": self.digest, "silhouette": self.silhouette, "tried": self.tried}
        write_json(folder / "clusters.json", told | {"clusters": self.rows()})
        if self.picture is not None:
            self.picture.save(folder / "picture.png")


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
        out: new folder for the group of each sample, the centres and the picture.
        seed: of the first centres and of the silhouette's sample.
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
    with new_folder(Path(out)) if out is not None else nullcontext() as folder:
        with progress.task("cluster", len(vectors)) as task:
            tried: dict[int, float] = {}
            points = in_their_span(vectors)
            if method == "hdbscan":
                found = fit_dense(points, points, DENSE)
            else:
                found, tried = _round(points, clusters, seed)
            task.advance(len(vectors))
        found, centres = _ordered(vectors, found)
        if tried:
            progress.say(f"{len(centres)} clusters, which have the highest silhouette of {', '.join(map(str, tried))}")
        distances, inside = _distances(vectors, centres, found), found >= 0
        made = Clusters(
            digest=embeddings.digest,
            ids=embeddings.ids,
            clusters=found,
            distances=distances,
            centres=centres,
            silhouette=float(silhouettes(points[inside], found[inside], seed).mean()),
            tried=tried,
            labels=embeddings.labels,
            picture=_picture(embeddings, found, distances, len(centres)),
        )
        if folder is not None:
            made.save(folder)
    return made


def fit_kmeans(rows: np.ndarray, clusters: int, starts: int, seed: int) -> Any:
    """scikit-learn's k-means over (N, D), the best of several starts; by mini-batches where there are many rows."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(rows) > MANY:
        model: Any = MiniBatchKMeans(clusters, n_init=starts, random_state=seed, batch_size=8192)
    else:
        model = KMeans(clusters, n_init=starts, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: the figures say it
        return model.fit(rows)


def silhouettes(rows: np.ndarray, found: np.ndarray, seed: int) -> np.ndarray:
    """(min(N, 2000),) of a sample of (N, D) rows in (N,) clusters; zeros where all are in one, or each in its own."""
    from sklearn.metrics import silhouette_samples

    some = np.random.default_rng(seed).permutation(len(rows))[:SILHOUETTES]
    if not 1 < len(np.unique(found[some])) < len(some):
        return np.zeros(len(some))
    return silhouette_samples(rows[some], found[some])


def _round(vectors: np.ndarray, clusters: int, seed: int) -> tuple[np.ndarray, dict[int, float]]:
    """(N,) groups by k-means, and the silhouettes of the numbers that were tried."""
    if clusters:
        return fit_kmeans(vectors, clusters, 3, seed).predict(vectors), {}
    every = {k: fit_kmeans(vectors, k, 3, seed).predict(vectors) for k in GRID if k < len(vectors)}
    scores = {k: float(silhouettes(vectors, found, seed).mean()) for k, found in every.items()}
    return every[max(scores, key=lambda k: scores[k])], scores


def fit_dense(rows: np.ndarray, others: np.ndarray, most: int) -> np.ndarray:
    """(M,) groups of (M, D) others, by the density of (N, D) rows, -1 for what lies in none.

    Densities are estimated from `most` of the rows at most, evenly spaced; each of the others joins the nearest of these.
    """
    from sklearn.cluster import HDBSCAN

    from aekit.evaluation.neighbours import nearest
    from aekit.evaluation.splits import evenly

    some = evenly(rows, most)
    # Trees find no shorter way in many dimensions; all pairs of few samples are quicker, and still small.
    algorithm = "brute" if some.shape[1] >= 64 and len(some) <= ALL_PAIRS else "auto"
    own = HDBSCAN(min_cluster_size=max(5, len(some) // 100), algorithm=algorithm, copy=True).fit_predict(some)
    if some.shape == others.shape and np.array_equal(some, others):
        return own
    _, places = nearest(others, some, 1, metric="l2")
    return own[places[:, 0]]


def _ordered(vectors: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups numbered by size, and their means (K, D) float32."""
    names, counts = np.unique(found[found >= 0], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    if not len(order):
        raise DataError(f"no clusters: none of {len(found)} samples lies in a dense group; try kmeans")
    numbered = np.full(len(found), -1)
    for number, name in enumerate(order):
        numbered[found == name] = number
    return numbered, np.stack([vectors[numbered == n].mean(0, dtype=np.float64) for n in range(len(order))]).astype(
        np.float32
    )


def _distances(vectors: np.ndarray, centres: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(N,) to the own centre, or to the nearest where a sample has none."""
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), 4096):
        part, own = vectors[start : start + 4096], found[start : start + 4096]
        every = np.stack([np.linalg.norm(part - centre, axis=1) for centre in centres], 1)
        distances[start : start + 4096] = np.where(own >= 0, every[np.arange(len(own)), own], every.min(1))
    return distances


def _picture(embeddings: Embeddings, found: np.ndarray, distances: np.ndarray, count: int) -> Image.Image | None:
    """A row for each of the largest groups: what lies nearest to its centre."""
    encoder = embeddings.encoder()
    at_hand = embeddings.source() if encoder else None
    if encoder is None or at_hand is None:
        return None
    source, places = at_hand
    drawn = Drawn(encoder.spec, encoder.preprocess)
    rows, titles, captions = [], [], []
    for number in range(min(count, ROWS)):
        own = np.flatnonzero(found == number)
        near = own[np.argsort(distances[own], kind="stable")[:SHOWN]]
        raw, _ = read_usable(source, places[near])
        rows.append([drawn.of(sample) for sample in raw])
        titles.append(f"{number} ({len(own):,})")
        captions.append([] if embeddings.labels is None else [str(label) for label in embeddings.labels[near]])
    rest = f"; {int((found < 0).sum()):,} samples are in none" if (found < 0).any() else ""
    title = f"{count} clusters, by size; from the left what is nearest to the centre{rest}"
    return draw_grid(rows, source.spec, row_titles=titles, captions=captions, title=title, value_range=drawn.reach)
