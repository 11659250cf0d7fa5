"""Draw a map of embeddings: samples as points in the plane, as an image and as a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis.clustering import MIN_SAMPLES, find_clusters
from aekit.analysis.inputs import check_least, open_or_embed
from aekit.analysis.layouts import MIN_VECTORS, NEIGHBORS_SHOWN, UNPROJECTED, pca_projection, project
from aekit.data.labels import check_label_count, to_label_array
from aekit.data.source import Source, read_valid
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.makers import available_samples, encoder_of
from aekit.errors import DataError, OutputError
from aekit.evaluation.labels import labels_of
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.evaluation.splits import evenly_spaced, select_labels
from aekit.io.arrow import arrow_numbers, arrow_texts
from aekit.io.atomic import atomic_file, refuse_inputs, write_text
from aekit.io.remote import output_file
from aekit.io.remote_urls import with_suffix
from aekit.io.summaries import data_frame, html_summary
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.map_data import color_options, map_data
from aekit.visualization.page import Page, card
from aekit.visualization.plots import draw_points
from aekit.visualization.sprite_cells import SpriteSheetBuilder
from aekit.visualization.sprite_sheets import cell_side

__all__ = ["Map", "draw_map"]

MAX_SAMPLES, _BATCH = 5000, 512


@dataclass(frozen=True, eq=False)
class Map:
    """Samples as points in the plane.

    Attributes:
        digest: digest of the encoder.
        ids: (N,) names of the samples on the map.
        points: (N, 2), the embeddings themselves if they have two dimensions, else their projection.
        pca: (N, 2), the first two principal components of the embeddings; of the samples if the embeddings have two dimensions
            and the samples are available.
        labels: (N,) or None.
        titles: titles of the two planes.
        image: both planes, colored by label.
    """

    digest: str
    ids: list[str]
    points: np.ndarray
    pca: np.ndarray
    labels: np.ndarray | None
    titles: tuple[str, str]
    image: Image.Image

    def __repr__(self) -> str:
        return f"<Map of {len(self.ids)} samples: {self.titles[0]}>"

    def _repr_html_(self) -> str:
        return html_summary(f"Map of {len(self.ids):,} samples, encoder {self.digest[:12]}", image=self.image)

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame` with the id as the index."""
        return data_frame(self.table().to_pydict()).set_index("id")

    def table(self) -> pa.Table:
        """Return a row per sample: id, x, y, pca_x, pca_y, and label if there are labels."""
        columns: dict[str, Any] = {"id": arrow_texts(self.ids)}
        for prefix, plane in {"": self.points, "pca_": self.pca}.items():
            x, y = (arrow_numbers(coordinates.astype(np.float32)) for coordinates in plane.T)
            columns |= {f"{prefix}x": x, f"{prefix}y": y}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels.tolist())
        return pa.table(columns).replace_schema_metadata({"aekit.digest": self.digest})


@checked_arguments
def draw_map(
    data: Any,
    *,
    labels: Any = None,
    out: str | Path | None = None,
    html: str | Path | None = None,
    method: str = "auto",
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> Map:
    """Draw samples as points in the plane.

    Args:
        data: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        labels: (N,) labels, or as `aekit.evaluate` takes them, whose colors the points get; default: those stored with the
            embeddings.
        out: image to write, ``.png``; the coordinates are written next to it as ``.parquet``.
        html: page to write, an interactive map that shows each point's sample and its neighbors.
        method: ``auto``, two-dimensional embeddings as they are and t-SNE of others; ``tsne``, ``umap`` or ``pca``.
        max_samples: most samples on the map; more are thinned evenly.
        seed: seed of t-SNE, UMAP and the clusters.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows the number of samples on the map, as in `aekit.fit`.

    Returns:
        The points and the image.

    Raises:
        DataError: no embeddings, fewer than 3, or of one dimension; not one label for each sample.
        RecipeError: another method, or `max_samples` below 3.
        AekitError: UMAP is not installed.
        OutputError: `out` does not end in ``.png``, a file cannot be written, or would overwrite another one or the data.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> vectors = np.random.default_rng(0).normal(size=(40, 8))
        >>> aekit.draw_map(vectors, method="pca").points.shape
        (40, 2)
    """
    progress = open_progress(progress)
    check_least("max_samples", max_samples, MIN_VECTORS)
    if out is not None and Path(out).suffix.lower() != ".png":
        raise OutputError(f"{out}: expected a name that ends in .png")
    images = [] if out is None else [out, with_suffix(out, ".parquet")]
    for path in [*images, *([] if html is None else [html])]:
        refuse_inputs(path, data)
    if html is not None and os.path.abspath(html) in map(os.path.abspath, images):
        raise OutputError(f"{html}: is the name of two outputs; choose another one for the page")
    embeddings = open_or_embed(data, progress, device)
    colors = _labels(embeddings, labels)
    shown = evenly_spaced(np.arange(len(embeddings)), max_samples)
    vectors = np.asarray(embeddings.vectors, np.float64)[shown]
    total = f"{len(embeddings):,} samples"
    count = total if len(shown) == len(embeddings) else f"{len(shown):,} of {total}"
    progress.say(f"map: {count}")
    points, layout = project(vectors, method, seed=seed)
    pca_rows, subject = vectors, f"the {vectors.shape[1]:,}-dimensional embeddings"
    if layout == UNPROJECTED:
        title = "2-dimensional embeddings"
        samples = _samples(embeddings, shown)
        if samples is not None:
            pca_rows, subject = samples, f"the {samples.shape[1]:,}-dimensional samples"
    else:
        title = layout if method == "pca" else f"{layout} of {subject}"
    plane, explained = pca_projection(pca_rows)
    pca_title = f"principal components of {subject} ({100 * explained:.0f}% of the variance)"
    labels = None if colors is None else select_labels(colors, shown)
    ids = [embeddings.ids[int(row)] for row in shown]
    planes = {pca_title: plane} if method == "pca" else {pca_title: plane, title: points}
    image = draw_points(planes, labels, f"{count}, encoder {embeddings.digest[:12]}")
    result = Map(embeddings.digest, ids, points, plane, labels, (title, pca_title), image)
    if out is not None:
        with output_file(out) as path, atomic_file(path) as part:
            image.save(part, "PNG")
        with output_file(with_suffix(out, ".parquet")) as path, atomic_file(path) as part:
            pq.write_table(result.table(), part)
    if html is not None:
        layouts = {layout: points} | ({} if method == "pca" else {"principal components": plane})
        with output_file(html) as path:
            write_text(path, _page(embeddings, labels, shown, layouts, count, seed))
    return result


def _labels(embeddings: Embeddings, labels: Any) -> np.ndarray | None:
    """Return labels (N,) for the colors of the map, or None.

    Raises:
        DataError: there is not one label for each sample.
    """
    if labels is None:  # those stored are of these samples
        return embeddings.labels
    array = check_label_count(to_label_array(labels_of(embeddings, labels)), len(embeddings), "draw_map")
    if array.ndim > 1:
        raise DataError(f"labels of shape {array.shape}: expected one label for each sample; pass one column alone")
    return array


def _page(
    embeddings: Embeddings,
    labels: np.ndarray | None,
    shown: np.ndarray,
    layouts: dict[str, np.ndarray],
    count: str,
    seed: int,
) -> str:
    vectors = np.asarray(embeddings.vectors, np.float32)[shown]
    splits = None if embeddings.splits is None else embeddings.splits[shown]
    clusters = find_clusters(vectors, seed=seed, progress=False).clusters if len(vectors) >= MIN_SAMPLES else None
    ids = [str(embeddings.ids[int(row)]) for row in shown]
    neighbors = nearest_other_neighbors(vectors, NEIGHBORS_SHOWN)[1]
    description = map_data(ids, layouts, color_options(labels, splits, clusters), neighbors)
    sheet, intro = None, "Each point is a sample. Point at it or tap it to see the sample and its neighbors."
    available = available_samples(embeddings)
    if available is not None:
        scale, source, positions = available
        sprites, side = SpriteSheetBuilder(scale), cell_side(len(shown))
        sheet = sprites.sprite_sheet([sprites.raw_to_cells(raw, side) for raw in _read(source, positions[shown])])
    else:
        intro += " There are no images: the samples are not available."
    page = Page("Map of embeddings", f"{count}, {vectors.shape[1]} dimensions, encoder {embeddings.digest[:12]}")
    page.add("", card("", intro, page.map(description, sheet)))
    return page.html()


def _read(source: Source, rows: np.ndarray) -> list[np.ndarray]:
    """Read raw samples in batches; samples that can no longer be read are zeros."""
    return [read_valid(source, rows[start : start + _BATCH])[0] for start in range(0, len(rows), _BATCH)]


def _samples(embeddings: Embeddings, shown: np.ndarray) -> np.ndarray | None:
    """Return the preprocessed samples (N, F), or None if they are not available."""
    located = embeddings.source()
    encoder = None if located is None else encoder_of(embeddings)
    if located is None or encoder is None:
        return None
    from aekit.data.samples import to_tensor  # imports torch, as the baselines do
    from aekit.evaluation.baselines.build import flatten_samples, raw_shape

    source, positions = located
    parts = [
        flatten_samples(encoder.preprocess(to_tensor(raw).to(encoder.device)), raw_shape(encoder.spec)).cpu()
        for raw in _read(source, positions[shown])
    ]
    return np.concatenate([part.numpy() for part in parts]).astype(np.float64)
