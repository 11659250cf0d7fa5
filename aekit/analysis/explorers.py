"""Write embeddings for explorers: Embedding Atlas and the projector of TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis.clustering import MIN_SAMPLES, find_clusters
from aekit.analysis.inputs import check_least, open_or_embed
from aekit.analysis.layouts import MIN_VECTORS, project
from aekit.data.source import read_valid
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.makers import available_samples
from aekit.errors import RecipeError
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.evaluation.splits import evenly_spaced
from aekit.io.atomic import atomic_folder, write_text
from aekit.io.remote import refuse_remote
from aekit.io.shell import argument
from aekit.io.summaries import png_bytes
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.image_grid import render_sample
from aekit.visualization.rendering import DisplayScale

ExplorerFormat = Literal["atlas", "projector"]

MAX_SAMPLES = 5000
NEIGHBORS = 10
_BATCH = 256
_MAX_SPRITE = 8192
"""Side of the largest sprite that TensorBoard accepts, in pixels."""
_CELL = 64


@dataclass(frozen=True)
class ExploreResult:
    """Files for an explorer.

    Attributes:
        folder: folder that was written.
        count: number of samples in it.
        command: command that opens it.
    """

    folder: Path
    count: int
    command: str


@checked_arguments
def explore(
    embeddings: Any,
    out: str | Path,
    *,
    format: ExplorerFormat = "atlas",
    method: str = "auto",
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> ExploreResult:
    """Write embeddings for an explorer.

    ``atlas`` writes a Parquet file with a row per sample: id, label and split if there are any, cluster, x, y, the ten nearest
    neighbors (as rows of the file, with cosine distances), and a PNG thumbnail if the samples are available. ``projector``
    writes a log folder for TensorBoard: vectors, metadata, a sprite of thumbnails, and a configuration.

    Args:
        embeddings: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        out: new folder.
        format: ``atlas`` or ``projector``.
        method: layout for ``atlas``: ``auto``, ``pca``, ``tsne`` or ``umap``, as in `aekit.draw_map`; the projector computes
            its own.
        max_samples: most samples to write; more are thinned evenly.
        seed: seed of the layout and the clusters.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows the number of samples that are written, and a bar, as in `aekit.fit`.

    Returns:
        The folder, the number of samples, and the command that opens it.

    Raises:
        DataError: no embeddings.
        RecipeError: another format or method, or `max_samples` below 3.
        OutputError: `out` exists already.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import aekit
        >>> vectors = np.random.default_rng(0).normal(size=(40, 8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     aekit.explore(vectors, f"{folder}/atlas", method="pca").count
        40
    """
    progress = open_progress(progress)
    if format not in get_args(ExplorerFormat):
        raise RecipeError([f"format = {format!r}: expected {' or '.join(get_args(ExplorerFormat))}"])
    check_least("max_samples", max_samples, MIN_VECTORS)
    refuse_remote(out, "an explorer")
    embeddings = open_or_embed(embeddings, progress, device)
    shown = evenly_spaced(np.arange(len(embeddings)), max_samples)
    if len(shown) < len(embeddings):
        progress.say(f"{len(shown):,} of {len(embeddings):,} samples, evenly spaced; set max_samples for more")
    vectors = np.asarray(embeddings.vectors, np.float32)[shown]
    columns = _columns(embeddings, shown, vectors, seed)
    folder = Path(out)
    with atomic_folder(folder) as part, progress.task("draw", len(shown)) as task:
        images = _images(embeddings, shown, task.advance)
        if format == "atlas":
            command = _atlas(part, folder, columns, vectors, images, method, seed)
        else:
            command = _projector(part, folder, columns, vectors, images)
    return ExploreResult(folder, len(shown), command)


def _columns(embeddings: Embeddings, shown: np.ndarray, vectors: np.ndarray, seed: int) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"id": [str(embeddings.ids[int(row)]) for row in shown]}
    for name, values in {"label": embeddings.labels, "split": embeddings.splits}.items():
        if values is not None:
            columns[name] = values[shown].tolist()
    if len(shown) >= MIN_SAMPLES:
        columns["cluster"] = [str(number) for number in find_clusters(vectors, seed=seed, progress=False).clusters]
    return columns


def _images(embeddings: Embeddings, shown: np.ndarray, advance: Any) -> Iterator[Image.Image] | None:
    """Draw each sample, or return None if the samples are not available."""
    available = available_samples(embeddings)
    if available is None:
        return None
    scaled, source, positions = available
    scale = DisplayScale(scaled.spec, scaled.preprocess)

    def draw() -> Iterator[Image.Image]:
        for start in range(0, len(shown), _BATCH):
            raw, _ = read_valid(source, positions[shown[start : start + _BATCH]])
            for sample in raw:
                yield render_sample(scale.to_display(sample), source.spec, scale.value_range)
            advance(len(raw))

    return draw()


def _atlas(
    part: Path,
    folder: Path,
    columns: dict[str, list[Any]],
    vectors: np.ndarray,
    images: Iterator[Image.Image] | None,
    method: str,
    seed: int,
) -> str:
    points, _ = project(vectors, method, seed=seed)
    cosines, neighbors = nearest_other_neighbors(vectors, NEIGHBORS)
    table: dict[str, Any] = dict(columns)
    table |= {"x": points[:, 0], "y": points[:, 1]}
    distances = (1 - cosines).clip(min=0)
    table["neighbors"] = pa.array(
        [{"ids": ids, "distances": by_id} for ids, by_id in zip(neighbors.tolist(), distances.tolist())],
        pa.struct({"ids": pa.list_(pa.int64()), "distances": pa.list_(pa.float64())}),
    )
    command = f"embedding-atlas {argument(folder / 'embeddings.parquet')} --x x --y y --neighbors neighbors"
    if images is not None:
        thumbnails = [{"bytes": png_bytes(image), "path": f"{name}.png"} for name, image in zip(columns["id"], images)]
        table["image"] = pa.array(thumbnails, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
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
    # TensorBoard expects no heading above a single column.
    head = ["\t".join(columns)] if len(columns) > 1 else []
    body = ["\t".join(" ".join(str(cell).split()) for cell in row) for row in rows]
    write_text(part / "metadata.tsv", "\n".join([*head, *body]) + "\n")
    np.savetxt(part / "tensors.tsv", vectors, "%.6g", "\t")
    lines = [f"tensor_name: {_quoted(folder.name)}", 'tensor_path: "tensors.tsv"', 'metadata_path: "metadata.tsv"']
    lines += [f"tensor_shape: {size}" for size in vectors.shape]
    if images is not None:
        across = math.ceil(math.sqrt(len(vectors)))
        side = min(_CELL, _MAX_SPRITE // across)
        sprite = Image.new("RGB", (across * side, across * side), "white")
        for number, image in enumerate(images):
            cell = image.copy()
            cell.thumbnail((side, side), Image.Resampling.LANCZOS)
            left, top = (number % across) * side, (number // across) * side
            sprite.paste(cell, (left + (side - cell.width) // 2, top + (side - cell.height) // 2))
        sprite.save(part / "sprite.png", optimize=True)
        lines.append(f'sprite {{ image_path: "sprite.png" single_image_dim: {side} single_image_dim: {side} }}')
    config = "\n".join(f"  {line}" for line in lines)
    write_text(part / "projector_config.pbtxt", f"embeddings {{\n{config}\n}}\n")
    return f"tensorboard --logdir {argument(folder)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
