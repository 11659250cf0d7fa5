"""A map: samples as points in the plane, by their codes, beside the plane that principal components see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aekit.artifacts import new_file
from aekit.data import reopen
from aekit.embeddings import Embeddings, embed
from aekit.encoder import load
from aekit.errors import DataError, OutputError
from aekit.progress import SILENT, Progress
from aekit.report.plots import draw_points
from aekit.samples import read_usable

MOST = 5000
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Map:
    """Points in the plane.

    Attributes:
        digest: of the encoder.
        ids: (N,) names of the samples that are shown.
        points: (N, 2), the code itself where it has two numbers, else t-SNE of it.
        principal: (N, 2), the first two principal components: of the code, or, where the code has two numbers and the
            samples are at hand, of the samples.
        labels: (N,) or None.
        titles: what the two planes are, in words.
        picture: of both, coloured by label.
    """

    digest: str
    ids: list[str]
    points: np.ndarray
    principal: np.ndarray
    labels: np.ndarray | None
    titles: tuple[str, str]
    picture: Image.Image

    def table(self) -> pa.Table:
        """A row for each sample: id, x, y, pca_x, pca_y, and label where there is one."""
        columns: dict[str, Any] = {"id": pa.array(self.ids, pa.string())}
        for prefix, plane in {"": self.points, "pca_": self.principal}.items():
            columns |= {f"{prefix}x": plane[:, 0].astype(np.float32), f"{prefix}y": plane[:, 1].astype(np.float32)}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels.tolist())
        return pa.table(columns).replace_schema_metadata({"aekit.digest": self.digest})


def draw_map(
    data: Any,
    *,
    out: str | Path | None = None,
    most: int = MOST,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Map:
    """Draws samples as points.

    A code of two numbers is drawn as it is. One of more is laid out by t-SNE (van der Maaten and Hinton, Visualizing data
    using t-SNE, 2008), which starts from the principal components and keeps neighbours together: distances between far
    groups, and their sizes, mean little.

    Args:
        data: embeddings or their folder, a run (the data that it was trained on is embedded), or vectors (N, D).
        out: picture to write, ``.png``; the coordinates go beside it, as ``.parquet``.
        most: samples shown; more are thinned evenly.
        seed: of t-SNE.
        progress: receives what was chosen.

    Raises:
        DataError: no embeddings, fewer than 3, or vectors of one number.
        OutputError: `out` is no ``.png``, or cannot be written.
    """
    if out is not None and Path(out).suffix.lower() != ".png":
        raise OutputError(f"{out}: expected a name that ends in .png")
    embeddings = _embeddings(data, progress)
    chosen = np.arange(0, len(embeddings), max(1, -(-len(embeddings) // most)))
    code = np.asarray(embeddings.vectors, np.float64)[chosen]
    if len(code) < 3 or code.shape[1] < 2:
        raise DataError(f"embeddings of shape {embeddings.vectors.shape}: a map needs 3 samples of 2 numbers at least")
    some = f"{len(code):,} samples" if len(code) == len(embeddings) else f"{len(code):,} of {len(embeddings):,} samples"
    progress.say(f"map: {some}")
    if code.shape[1] == 2:
        points, title = code, "the code itself"
        samples = _samples(embeddings, chosen)
        principal, share = _principal(code if samples is None else samples)
        what = "the code" if samples is None else f"the samples, of {samples.shape[1]:,} numbers"
    else:
        principal, share = _principal(code)
        what = f"the code, of {code.shape[1]:,} numbers"
        points, title = _neighbourly(code, principal, seed), f"t-SNE of {what}"
    beside = f"first two principal components of {what} ({100 * share:.0f} % of its variance)"
    labels = None if embeddings.labels is None else embeddings.labels[chosen]
    picture = draw_points({beside: principal, title: points}, labels, f"{some} by encoder {embeddings.digest[:12]}")
    ids = [embeddings.ids[int(row)] for row in chosen]
    found = Map(embeddings.digest, ids, points, principal, labels, (title, beside), picture)
    if out is not None:
        with new_file(Path(out)) as part:
            picture.save(part, "PNG")
        with new_file(Path(out).with_suffix(".parquet")) as part:
            pq.write_table(found.table(), part)
    return found


def _embeddings(data: Any, progress: Progress) -> Embeddings:
    if isinstance(data, Embeddings):
        return data
    if not isinstance(data, (str, Path)):
        vectors = np.asarray(data, np.float32)
        if vectors.ndim != 2:
            raise DataError(f"vectors of shape {vectors.shape}: expected (samples, width)")
        return Embeddings.from_array(vectors)
    if (Path(data) / "recipe.toml").is_file():
        encoder = load(data)
        if "source" not in encoder.record.get("data", {}):
            raise DataError(f"{data}: was trained on data in memory; embed data with it, and map the embeddings")
        return embed(encoder, reopen(encoder.record["data"], like=encoder.spec), progress=progress)
    return Embeddings.open(data)


def _samples(embeddings: Embeddings, chosen: np.ndarray) -> np.ndarray | None:
    """(N, F) of the raw samples, on the network's scale, where they are at hand."""
    encoder = embeddings.encoder()
    found = embeddings.source() if encoder else None
    if encoder is None or found is None:
        return None
    from aekit.evaluation.controls import flattened, raw_shape
    from aekit.samples import to_tensor

    source, places = found
    parts = []
    for start in range(0, len(chosen), 512):
        raw, _ = read_usable(source, places[chosen[start : start + 512]])
        parts.append(flattened(encoder.preprocess(to_tensor(raw).to(encoder.device)), raw_shape(encoder.spec)).cpu())
    return np.concatenate([part.numpy() for part in parts]).astype(np.float64)


def _principal(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """(N, D) -> (N, 2), and the share of the variance that they hold."""
    centred = rows - rows.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    total = float(np.square(sizes).sum())
    return left[:, :2] * sizes[:2], float(np.square(sizes[:2]).sum()) / total if total > 0 else 1.0


def _neighbourly(code: np.ndarray, principal: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    # Started from the principal components, so that what lies apart at large stays so (Kobak and Berens, 2019).
    start = principal / max(float(principal[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(PERPLEXITY, (len(code) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=-1)
    return layout.fit_transform(code.astype(np.float32))
