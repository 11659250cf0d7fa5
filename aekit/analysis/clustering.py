"""Cluster embeddings by k-means or HDBSCAN, and choose the number of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from aekit._arguments import checked_arguments
from aekit.analysis._results import AnalysisResult
from aekit.analysis._samples_image import draw_embedded, embedded_thumbnails, shown_samples
from aekit.analysis.inputs import check_least, open_or_embed
from aekit.data.labels import label_texts
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError, RecipeError
from aekit.evaluation.clusterers import (
    DENSE,
    MIN_CLUSTER,
    center_distances,
    choose_kmeans,
    fit_hdbscan,
    order_by_size,
    silhouettes,
)
from aekit.io.remote import optional_folder
from aekit.io.text_table import format_columns
from aekit.nn.low_rank import project_to_span
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.sample_page import SamplePage, Section

MIN_SAMPLES = 30
"""Samples that a map or an export needs to be clustered."""
STRUCTURE = {0.7: "strong", 0.5: "reasonable", 0.25: "weak"}
"""Least mean silhouette of each kind of structure (Kaufman and Rousseeuw, Finding groups in data, 1990)."""
DOMINANT = 0.9
"""Fraction of the samples in the largest cluster from which the others are outliers: few far points have a high silhouette."""
IMAGE_COLUMNS, IMAGE_ROWS = 10, 30
PAGE_SAMPLES = 16
"""Most samples of a cluster on the page."""

Method = Literal["kmeans", "hdbscan"]


@dataclass(frozen=True, eq=False)
class Clusters(AnalysisResult):
    """Clusters of embedded samples.

    Attributes:
        digest: digest of the encoder.
        ids: (N,) names.
        clusters: (N,) cluster numbers from 0, the largest cluster first; -1 for samples in no cluster.
        distances: (N,) distance to the center of the sample's cluster, or to the nearest center.
        centers: (K, D) means of the clusters.
        silhouette: mean silhouette of up to 2,000 samples in clusters, in -1..1; 0 for a single cluster.
        silhouettes_by_count: number of clusters -> silhouette, of the numbers that were tried.
        labels: (N,) or None.
        image: the samples nearest to each center, or None if the samples are not available.
        page: the same samples, and the clusters.
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
    page: SamplePage | None = None

    stem = "clusters"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per cluster: size, most frequent label and its fraction, and the sample nearest the center."""
        rows = []
        for number in range(len(self.centers)):
            members = np.flatnonzero(self.clusters == number)
            row: dict[str, Any] = {"cluster": number, "samples": len(members)}
            if self.labels is not None:
                names, counts = np.unique(label_texts(self.labels[members]), return_counts=True)
                row |= {"label": str(names[counts.argmax()]), "fraction": float(counts.max() / len(members))}
            rows.append(row | {"nearest": self.ids[int(members[self.distances[members].argmin()])]})
        return rows

    def details(self) -> list[str]:
        return [format_columns(self.rows())]

    def table(self) -> list[dict[str, Any]]:
        return self.rows()

    def columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {"id": list(self.ids), "cluster": self.clusters, "distance": self.distances}
        return columns | ({} if self.labels is None else {"label": self.labels})

    def save(self, folder: Path) -> None:
        """Write ``clusters.csv``, ``clusters.json``, ``centers.safetensors``, ``image.png`` and the page to a folder."""
        super().save(folder)
        save_file({"centers": np.ascontiguousarray(self.centers)}, folder / "centers.safetensors")

    def conclusion(self) -> str:
        """Return how many clusters there are, and how clear they are, as a sentence without its full stop."""
        rows = self.rows()
        clustered = sum(row["samples"] for row in rows)
        structure = next((name for least, name in STRUCTURE.items() if self.silhouette >= least), "no clear")
        conclusion = (
            f"{clustered:,} of {len(self.ids):,} samples" if clustered < len(self.ids) else f"{clustered:,} samples"
        )
        conclusion += f" form {len(rows)} clusters with {structure} structure (silhouette {self.silhouette:.3f})"
        largest = rows[0]["samples"] / clustered
        if len(rows) > 1 and largest >= DOMINANT:
            conclusion = (
                f"{clustered:,} samples, {100 * largest:.0f}% of them in one cluster: the others are outliers rather than "
                f"clusters (silhouette {self.silhouette:.3f})"
            )
        if len(rows) == 1:
            conclusion = f"{clustered:,} of {len(self.ids):,} samples form a single cluster"
        if self.labels is not None:
            purity = sum(row["samples"] * row["fraction"] for row in rows) / clustered
            conclusion += f"; {100 * purity:.0f}% of them have the most frequent label of their cluster"
        return conclusion

    def __repr__(self) -> str:
        return f"<Clusters: {self.conclusion()}>"

    def summary(self) -> dict[str, Any]:
        silhouettes = {"silhouette": self.silhouette, "silhouettes_by_count": self.silhouettes_by_count}
        return silhouettes | {"clusters": self.rows()}


@checked_arguments
def find_clusters(
    embeddings: Any,
    *,
    clusters: int = 0,
    method: Method = "kmeans",
    out: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> Clusters:
    """Cluster embeddings.

    Args:
        embeddings: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        clusters: number of clusters; 0 tries 2, 3, 5, 8, 10, 15, 20 and 30 and keeps the number with the highest silhouette
            (Rousseeuw, 1987).
        method: ``kmeans`` finds round clusters of similar size; ``hdbscan`` finds dense clusters of any shape and number, and
            leaves samples between them in no cluster (Campello, Moulavi and Sander, 2013). HDBSCAN is fitted on at most
            20,000 samples; every other sample joins the cluster of its nearest neighbor.
        out: new folder for the cluster of each sample, the centers, the image and the page.
        seed: seed of the initial centers and of the samples whose silhouette is measured.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows the number of clusters that was chosen, as in `aekit.fit`.

    Returns:
        The clusters, numbered from the largest to the smallest.

    Raises:
        DataError: no embeddings, or too few for the number of clusters.
        RecipeError: another method, a negative number of clusters, or a number of clusters for ``hdbscan``.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> vectors = np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], [20, 15, 10], axis=0)
        >>> vectors += 0.1 * np.random.default_rng(0).normal(size=vectors.shape)
        >>> clustering = aekit.find_clusters(vectors)
        >>> np.bincount(clustering.clusters).tolist()
        [20, 15, 10]
    """
    progress = open_progress(progress)
    if method not in get_args(Method):
        raise RecipeError([f"method = {method!r}: expected kmeans or hdbscan"])
    check_least("clusters", clusters, 0)
    if method == "hdbscan" and clusters:
        raise RecipeError([f"clusters = {clusters}: hdbscan finds the number of clusters itself"])
    embeddings = open_or_embed(embeddings, progress, device)
    vectors = np.asarray(embeddings.vectors, np.float32)
    least = MIN_CLUSTER if method == "hdbscan" else max(3, clusters + 1)
    if len(vectors) < least and method == "hdbscan":
        raise DataError(
            f"{len(vectors)} embeddings: HDBSCAN needs at least {least}, the size of its smallest cluster; try kmeans"
        )
    if len(vectors) < least:
        raise DataError(f"{len(vectors)} embeddings: {clusters or 2} clusters need at least {least}")
    with optional_folder(out) as folder:
        with progress.task("cluster", len(vectors)) as task:
            silhouettes_by_count: dict[int, float] = {}
            points = project_to_span(vectors)
            if method == "hdbscan":
                assigned = fit_hdbscan(points, points, DENSE)
            else:
                assigned, silhouettes_by_count = choose_kmeans(points, clusters, seed)
            task.advance(len(vectors))
        assigned, centers = order_by_size(vectors, assigned)
        if silhouettes_by_count:
            counts = ", ".join(map(str, silhouettes_by_count))
            progress.say(f"{len(centers)} clusters: the highest silhouette among {counts} clusters")
        distances, clustered = center_distances(vectors, centers, assigned), assigned >= 0
        result = Clusters(
            digest=embeddings.digest,
            ids=embeddings.ids,
            clusters=assigned,
            distances=distances,
            centers=centers,
            silhouette=float(silhouettes(points[clustered], assigned[clustered], seed).mean()),
            silhouettes_by_count=silhouettes_by_count,
            labels=embeddings.labels,
            image=_image(embeddings, assigned, distances, len(centers)),
        )
        result = replace(result, page=_page(embeddings, result))
        if folder is not None:
            result.save(folder)
    return result


def _nearest(assigned: np.ndarray, distances: np.ndarray, number: int, count: int) -> np.ndarray:
    """Return the rows of the samples of a cluster nearest to its center; of those in no cluster, the ones farthest from all."""
    members = np.flatnonzero(assigned == number)
    order = distances[members] if number >= 0 else -distances[members]
    return members[np.argsort(order, kind="stable")[:count]]


def _page(embeddings: Embeddings, result: Clusters) -> SamplePage:
    """Show the samples nearest to the center of each of the largest clusters, and those in no cluster."""
    sections, parts = [], []
    for number in [*range(min(len(result.centers), IMAGE_ROWS)), -1]:
        rows = _nearest(result.clusters, result.distances, number, PAGE_SAMPLES)
        if not len(rows):
            continue
        total = int((result.clusters == number).sum())
        title, order = f"Cluster {number}", "nearest to the center first."
        if number < 0:
            title, order = "In no cluster", "farthest from all centers first."
        remark = f"{len(rows)} of {total:,} samples, the {order}" if len(rows) < total else f"The {order}"
        labels = [""] * len(rows) if result.labels is None else label_texts(result.labels[rows]).tolist()
        captions = [f"distance {distance:.3g}" for distance in result.distances[rows]]
        samples = shown_samples(embeddings, rows.tolist(), labels, captions)
        sections.append(Section(title=f"{title}: {total:,} samples", remark=remark, samples=samples))
        parts.append(rows)
    has_more = len(result.centers) > IMAGE_ROWS
    remark = f"The {IMAGE_ROWS} largest of {len(result.centers)} are shown above." if has_more else ""
    return SamplePage(
        title="Clusters",
        conclusion=f"{result.conclusion()}.",
        severity="good" if result.silhouette >= min(STRUCTURE) else "notice",
        encoder=result.digest,
        sections=[*sections, Section(title="All clusters", remark=remark, table=result.rows())],
        thumbnails=embedded_thumbnails(*((embeddings, rows) for rows in parts)),
    )


def _image(embeddings: Embeddings, assigned: np.ndarray, distances: np.ndarray, count: int) -> Image.Image | None:
    """Draw a row for each of the largest clusters: the samples nearest to its center."""
    rows, titles, captions = [], [], []
    for number in range(min(count, IMAGE_ROWS)):
        nearest = _nearest(assigned, distances, number, IMAGE_COLUMNS)
        rows.append(nearest)
        titles.append(f"{number} ({int((assigned == number).sum()):,})")
        captions.append([] if embeddings.labels is None else [str(label) for label in embeddings.labels[nearest]])
    outside = int((assigned < 0).sum())
    title = f"{count} clusters, the largest first; in each row, the samples nearest to the center"
    title += f" ({outside:,} samples are in no cluster)" if outside else ""
    return draw_embedded(embeddings, rows, row_titles=titles, captions=captions, title=title)
