"""A map: samples as points in the plane, by their codes, beside the plane that principal components see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aekit.analysis.layouts import pca_projection, project
from aekit.data.opening import reopen
from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.embedding import embed
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.loading import encoder_of, load
from aekit.errors import DataError, OutputError
from aekit.evaluation.splits import select_labels
from aekit.io.atomic import atomic_file, write_text
from aekit.progress import SILENT, Progress
from aekit.visualization.plots import draw_points

__all__ = ["Map", "draw_map"]

MOST = 5000
_BATCH = 512


@dataclass(frozen=True)
class Map:
    """Points in the plane.

    Attributes:
        digest: of the encoder.
        ids: (N,) names of the samples that are shown.
        points: (N, 2), the code itself where it has two numbers, else what the method makes of it.
        principal: (N, 2), the first two principal components: of the code, or, where the code has two numbers and the
            samples are at hand, of the samples.
        labels: (N,) or None.
        titles: what the two planes are, in words.
        image: of both, colored by label.
    """

    digest: str
    ids: list[str]
    points: np.ndarray
    pca: np.ndarray
    labels: np.ndarray | None
    titles: tuple[str, str]
    image: Image.Image

    def table(self) -> pa.Table:
        """A row for each sample: id, x, y, pca_x, pca_y, and label where there is one."""
        columns: dict[str, Any] = {"id": pa.array(self.ids, pa.string())}
        for prefix, plane in {"": self.points, "pca_": self.pca}.items():
            columns |= {f"{prefix}x": plane[:, 0].astype(np.float32), f"{prefix}y": plane[:, 1].astype(np.float32)}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels.tolist())
        return pa.table(columns).replace_schema_metadata({"aekit.digest": self.digest})


def draw_map(
    data: Any,
    *,
    out: str | Path | None = None,
    html: str | Path | None = None,
    method: str = "auto",
    max_samples: int = MOST,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Map:
    """Draws samples as points.

    Args:
        data: embeddings or their folder, a run (the data that it was trained on is embedded), or vectors (N, D).
        out: image to write, ``.png``; the coordinates go beside it, as ``.parquet``.
        html: page to write, in which the map can be looked through: every point shows its sample and its neighbors.
        method: ``auto``, a code of two numbers as it is and t-SNE of one of more; ``tsne``, ``umap`` or ``pca``.
        most: samples shown; more are thinned evenly.
        seed: of t-SNE and UMAP.
        progress: receives what was chosen.

    Raises:
        DataError: no embeddings, fewer than 3, or vectors of one number.
        RecipeError: another method.
        AekitError: UMAP without its package.
        OutputError: `out` is no ``.png``, or cannot be written.
    """
    if out is not None and Path(out).suffix.lower() != ".png":
        raise OutputError(f"{out}: expected a name that ends in .png")
    embeddings = _embeddings(data, progress)
    chosen = np.arange(0, len(embeddings), max(1, -(-len(embeddings) // max_samples)))
    code = np.asarray(embeddings.vectors, np.float64)[chosen]
    some = f"{len(code):,} samples" if len(code) == len(embeddings) else f"{len(code):,} of {len(embeddings):,} samples"
    progress.say(f"map: {some}")
    points, layout = project(code, method, seed=seed)
    what, title = f"the code, of {code.shape[1]:,} numbers", layout
    seen = code
    if title == "the code itself":
        samples = _samples(embeddings, chosen)
        seen = code if samples is None else samples
        what = "the code" if samples is None else f"the samples, of {samples.shape[1]:,} numbers"
    elif method != "pca":
        title = f"{layout} of {what}"
    plane, share = pca_projection(seen)
    beside = f"first two principal components of {what} ({100 * share:.0f} % of its variance)"
    labels = None if embeddings.labels is None else select_labels(embeddings.labels, chosen)
    ids = [embeddings.ids[int(row)] for row in chosen]
    clouds = {beside: plane} if method == "pca" else {beside: plane, title: points}
    image = draw_points(clouds, labels, f"{some} by encoder {embeddings.digest[:12]}")
    found = Map(embeddings.digest, ids, points, plane, labels, (title, beside), image)
    if out is not None:
        with atomic_file(Path(out)) as part:
            image.save(part, "PNG")
        with atomic_file(Path(out).with_suffix(".parquet")) as part:
            pq.write_table(found.table(), part)
    if html is not None:
        layouts = {layout: points} | ({} if method == "pca" else {"principal components": plane})
        write_text(Path(html), _page(embeddings, chosen, layouts, some, seed))
    return found


def _page(embeddings: Embeddings, chosen: np.ndarray, layouts: dict[str, np.ndarray], some: str, seed: int) -> str:
    from aekit.analysis.clustering import FEWEST, find_clusters
    from aekit.analysis.layouts import NEAR
    from aekit.evaluation.neighbors import nearest_other_neighbors
    from aekit.visualization.map_data import color_options, map_data
    from aekit.visualization.page import Page, card
    from aekit.visualization.sprite_sheets import SpriteSheetBuilder, cell_side

    code = np.asarray(embeddings.vectors, np.float32)[chosen]
    labels = None if embeddings.labels is None else select_labels(embeddings.labels, chosen)
    splits = None if embeddings.splits is None else embeddings.splits[chosen]
    clusters = find_clusters(code, seed=seed).clusters if len(code) >= FEWEST else None
    ids = [str(embeddings.ids[int(row)]) for row in chosen]
    drawn = map_data(ids, layouts, color_options(labels, splits, clusters), nearest_other_neighbors(code, NEAR)[1])
    sheet, told = None, "Each point is a sample: point at it, or tap it, to see it and its neighbors."
    found, encoder = _at_hand(embeddings, chosen), encoder_of(embeddings)
    if found is not None and encoder is not None:
        sprites = SpriteSheetBuilder(encoder)
        side = cell_side(len(chosen))
        sheet = sprites.sprite_sheet([sprites.raw_to_cells(raw, side) for raw in _read(*found)])
    else:
        told += " The samples are not at hand, so that there are no images."
    page = Page("A map of embeddings", f"{some}, {code.shape[1]} numbers each, by encoder {embeddings.digest[:12]}")
    page.add("", card("", told, page.map(drawn, sheet)))
    return page.html()


def _embeddings(data: Any, progress: Progress) -> Embeddings:
    if isinstance(data, Embeddings):
        return data
    if not isinstance(data, (str, Path)):
        return Embeddings.from_array(data)
    if (Path(data) / "recipe.toml").is_file():
        encoder = load(data)
        if "source" not in encoder.record.get("data", {}):
            raise DataError(f"{data}: was trained on data in memory; embed data with it, and map the embeddings")
        return embed(encoder, reopen(encoder.record["data"], like=encoder.spec), progress=progress)
    return Embeddings.open(data)


def _at_hand(embeddings: Embeddings, chosen: np.ndarray) -> tuple[Source, np.ndarray] | None:
    """The source and the positions in it of the samples, where they are at hand."""
    encoder = encoder_of(embeddings)
    found = embeddings.source() if encoder else None
    return None if found is None else (found[0], found[1][chosen])


def _read(source: Source, rows: np.ndarray) -> list[np.ndarray]:
    """Raw samples by the batch; what can no longer be read is zeros."""
    return [read_valid(source, rows[start : start + _BATCH])[0] for start in range(0, len(rows), _BATCH)]


def _samples(embeddings: Embeddings, chosen: np.ndarray) -> np.ndarray | None:
    """(N, F) of the raw samples, on the network's scale, where they are at hand."""
    found, encoder = _at_hand(embeddings, chosen), encoder_of(embeddings)
    if found is None or encoder is None:
        return None
    from aekit.evaluation.baselines.build import flatten_samples, raw_shape

    parts = [
        flatten_samples(encoder.preprocess(to_tensor(raw).to(encoder.device)), raw_shape(encoder.spec)).cpu()
        for raw in _read(*found)
    ]
    return np.concatenate([part.numpy() for part in parts]).astype(np.float64)
