"""Embeddings in the forms that other people's explorers open: Embedding Atlas and TensorBoard's projector."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aekit.analysis.clustering import FEWEST, find_clusters
from aekit.analysis.layouts import project
from aekit.data.source import read_valid
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.loading import encoder_of
from aekit.errors import RecipeError
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.io.atomic import atomic_folder, write_text
from aekit.progress import SILENT, Progress
from aekit.visualization.image_grid import render_sample
from aekit.visualization.rendering import DisplayScale

ExplorerFormat = Literal["atlas", "projector"]

MOST = 5000
NEAR = 10
_BATCH = 256
_SPRITE = 8192
"""Side of the largest sprite that TensorBoard takes."""
_CELL = 64


@dataclass(frozen=True)
class ExploreResult:
    """What was written.

    Attributes:
        folder: where.
        count: samples in it.
        command: that opens it.
    """

    folder: Path
    count: int
    command: str


def explore(
    embeddings: Any,
    out: str | Path,
    *,
    form: ExplorerFormat = "atlas",
    method: str = "auto",
    max_samples: int = MOST,
    seed: int = 0,
    progress: Progress = SILENT,
) -> ExploreResult:
    """Writes embeddings for an explorer.

    ``atlas`` is one Parquet file with a row for each sample: id, label and split where there are any, cluster, x, y, its
    ten nearest neighbors (by position in the file, with cosine distances), and a thumbnail as PNG where the samples are at
    hand. ``projector`` is a log folder of TensorBoard's: vectors, metadata, a sprite of thumbnails, and a configuration.

    Args:
        embeddings: `aekit.Embeddings`, or their folder.
        out: new folder.
        form: ``atlas`` or ``projector``.
        method: of the plane for ``atlas``, as in `aekit.analysis.layouts.lay_out`; the projector makes its own.
        most: samples; more are thinned evenly.
        seed: of the plane and the clusters.
        progress: receives what was left out, and a bar.

    Raises:
        DataError: no embeddings.
        RecipeError: another form or method.
        OutputError: `out` holds something already.
    """
    if form not in get_args(ExplorerFormat):
        raise RecipeError([f"form = {form!r}: expected {' or '.join(get_args(ExplorerFormat))}"])
    opened = embeddings if isinstance(embeddings, Embeddings) else Embeddings.open(embeddings)
    chosen = np.arange(0, len(opened), max(1, -(-len(opened) // max_samples)))
    if len(chosen) < len(opened):
        progress.say(f"{len(chosen):,} of {len(opened):,} samples, evenly spaced; --max-samples takes more")
    vectors = np.asarray(opened.vectors, np.float32)[chosen]
    columns = _columns(opened, chosen, vectors, seed)
    folder = Path(out)
    with atomic_folder(folder) as part, progress.task("draw", len(chosen)) as task:
        images = _images(opened, chosen, task.advance)
        if form == "atlas":
            command = _atlas(part, folder, columns, vectors, images, method, seed)
        else:
            command = _projector(part, folder, columns, vectors, images)
    return ExploreResult(folder, len(chosen), command)


def _columns(opened: Embeddings, chosen: np.ndarray, vectors: np.ndarray, seed: int) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"id": [str(opened.ids[int(row)]) for row in chosen]}
    for name, values in {"label": opened.labels, "split": opened.splits}.items():
        if values is not None:
            columns[name] = values[chosen].tolist()
    if len(chosen) >= FEWEST:
        columns["cluster"] = [str(number) for number in find_clusters(vectors, seed=seed).clusters]
    return columns


def _images(opened: Embeddings, chosen: np.ndarray, advance: Any) -> Iterator[Image.Image] | None:
    """Of each sample, or None where they are not at hand."""
    encoder = encoder_of(opened)
    found = opened.source() if encoder else None
    if encoder is None or found is None:
        return None
    drawn, (source, places) = DisplayScale(encoder.spec, encoder.preprocess), found

    def each() -> Iterator[Image.Image]:
        for start in range(0, len(chosen), _BATCH):
            raw, _ = read_valid(source, places[chosen[start : start + _BATCH]])
            for sample in raw:
                yield render_sample(drawn.to_display(sample), source.spec, drawn.value_range)
            advance(len(raw))

    return each()


def _atlas(
    part: Path,
    folder: Path,
    columns: dict[str, list[Any]],
    vectors: np.ndarray,
    images: Iterator[Image.Image] | None,
    method: str,
    seed: int,
) -> str:
    places, _ = project(vectors, method, seed=seed)
    cosines, near = nearest_other_neighbors(vectors, NEAR)
    table: dict[str, Any] = dict(columns)
    table |= {"x": places[:, 0], "y": places[:, 1]}
    table["neighbors"] = pa.array(
        [{"ids": ids, "distances": away} for ids, away in zip(near.tolist(), (1 - cosines).clip(min=0).tolist())],
        pa.struct({"ids": pa.list_(pa.int64()), "distances": pa.list_(pa.float64())}),
    )
    command = f"embedding-atlas {folder / 'embeddings.parquet'} --x x --y y --neighbors neighbors"
    if images is not None:
        held = [{"bytes": _png(image), "path": f"{name}.png"} for name, image in zip(columns["id"], images)]
        table["image"] = pa.array(held, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
        command += " --image image"
    pq.write_table(pa.table(table), part / "embeddings.parquet")
    return command


def _projector(
    part: Path,
    folder: Path,
    columns: dict[str, list[Any]],
    vectors: np.ndarray,
    images: Iterator[Image.Image] | None,
) -> str:
    rows = zip(*columns.values())
    # A single column has no heading there.
    head = ["\t".join(columns)] if len(columns) > 1 else []
    lines = ["\t".join(" ".join(str(cell).split()) for cell in row) for row in rows]
    write_text(part / "metadata.tsv", "\n".join([*head, *lines]) + "\n")
    np.savetxt(part / "tensors.tsv", vectors, "%.6g", "\t")
    told = [f"tensor_name: {_quoted(folder.name)}", 'tensor_path: "tensors.tsv"', 'metadata_path: "metadata.tsv"']
    told += [f"tensor_shape: {size}" for size in vectors.shape]
    if images is not None:
        across = math.ceil(math.sqrt(len(vectors)))
        side = min(_CELL, _SPRITE // across)
        sprite = Image.new("RGB", (across * side, across * side), "white")
        for number, image in enumerate(images):
            fitted = image.copy()
            fitted.thumbnail((side, side), Image.Resampling.LANCZOS)
            left, top = (number % across) * side, (number // across) * side
            sprite.paste(fitted, (left + (side - fitted.width) // 2, top + (side - fitted.height) // 2))
        sprite.save(part / "sprite.png", optimize=True)
        told.append(f'sprite {{ image_path: "sprite.png" single_image_dim: {side} single_image_dim: {side} }}')
    body = "\n".join(f"  {line}" for line in told)
    write_text(part / "projector_config.pbtxt", f"embeddings {{\n{body}\n}}\n")
    return f"tensorboard --logdir {folder}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _png(image: Image.Image) -> bytes:
    stored = io.BytesIO()
    image.save(stored, "PNG")
    return stored.getvalue()
