"""Build the features of the baselines that every encoder has: raw samples, their principal components and random weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder
from aekit.encoder.inference import Inference
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import DataError
from aekit.evaluation.baselines._cache import FeatureCache
from aekit.evaluation.results import Split
from aekit.evaluation.splits import evenly_spaced
from aekit.progress import SILENT, Progress

MAX_RAW_DIM = 4096
"""Width of the raw features; larger samples are averaged down to it."""
MAX_SIDE = 32
"""Side of the images that large images are averaged down to."""
BATCH = 512
PREPROCESSED = 2**22
"""Values that are preprocessed at a time: memory for more is returned to the system after each step, and its pages fault anew."""
PCA_SAMPLES = 20_000
HELD_BYTES = 2**28
"""Size of samples that are held in memory between both passes over them rather than read again."""
BaselineKind = Literal["raw", "pca", "random", "untrained", "pretrained"]
EXACT_PCA = 1024
"""Number of samples, or of features, up to which PCA is exact, by a matrix of their products; above, scikit-learn chooses."""


class Baseline(NamedTuple):
    """Features of a method that needs no training of an encoder.

    Attributes:
        name: its name in tables.
        kind: ``raw``, ``pca``, ``random``, ``untrained`` or ``pretrained``.
        features: (N, F) float32.
    """

    name: str
    kind: BaselineKind
    features: np.ndarray


def baseline_features(
    source: Source,
    rows: np.ndarray,
    encoder: Encoder,
    split: Split,
    *,
    dim: int,
    kinds: Collection[str] = get_args(BaselineKind),
    seed: int = 0,
    progress: Progress = SILENT,
    free_cores: Callable[[], int] | None = None,
) -> Iterator[Baseline]:
    """Compute the features of the baselines for the same samples.

    Args:
        source: source of the samples.
        rows: (N,) position in the source of each embedding.
        encoder: encoder whose preprocessing and architecture the baselines share.
        split: positions in `rows`; principal components are fitted on its training part only.
        dim: D, width of the embeddings.
        kinds: kinds of the baselines to yield; ``untrained`` and ``pretrained`` are not among these.
        seed: seed of the random encoder.
        progress: receives a bar.
        free_cores: as in `aekit.encoder.inference.Inference`.

    Yields:
        ``raw`` (N, F), ``pca-D`` (N, D) and ``random`` (N, D). Large samples are averaged down; the name of ``raw`` then tells
        their size.

    Raises:
        DataError: a sample can no longer be read.
    """
    shape = raw_shape(encoder.spec)
    name = "raw" if shape is None else f"raw {'x'.join(map(str, shape))}"
    random_encoder = encoder.with_random_weights(seed)
    cache = FeatureCache(source, rows, random_encoder, progress, seed)
    features = cache.read({"raw", "random"})
    seconds, batches = 0.0, list[tuple[slice, Tensor]]()
    if not features:
        start = time.perf_counter()
        features["raw"], batches = _raw_features(source, rows, encoder, progress)
        seconds = time.perf_counter() - start
    # Evaluators may run on these while the random encoder embeds.
    if "raw" in kinds:
        yield Baseline(name, "raw", features["raw"])
    if "pca" in kinds:
        yield _pca_baseline(features["raw"], split.train, dim, seed)
    if "random" in kinds and "random" not in features:
        start = time.perf_counter()
        features["random"] = np.empty((len(rows), dim), np.float32)
        run_random = Inference(random_encoder, len(rows), device=encoder.device, free_cores=free_cores)
        with progress.task("embed by the random encoder", len(rows)) as task, torch.inference_mode():
            for block, batch in batches or _batches(source, rows, encoder):
                features["random"][block] = run_random(batch).cpu().numpy()
                task.advance(len(batch))
        batches.clear()
        cache.keep(features, seconds + time.perf_counter() - start)
    features.pop("raw")
    if "random" in kinds:
        yield Baseline("random", "random", features["random"])


def _raw_features(
    source: Source, rows: np.ndarray, encoder: Encoder, progress: Progress
) -> tuple[np.ndarray, list[tuple[slice, Tensor]]]:
    """Read the samples once.

    Returns:
        The raw features (N, F), and the batches of raw samples, each with its place, or none if they would take too much memory.
    """
    keeps_samples = len(rows) * encoder.spec.nbytes <= HELD_BYTES
    features, shape = np.empty((len(rows), raw_dim(encoder.spec)), np.float32), raw_shape(encoder.spec)
    batches = []
    with progress.task("read for the baselines", len(rows)) as task, torch.inference_mode():
        for block, batch in _batches(source, rows, encoder):
            parts = batch.split(max(1, PREPROCESSED // encoder.spec.size))
            features[block] = torch.cat([_raw_rows(part, encoder.preprocess, shape) for part in parts]).cpu().numpy()
            batches += [(block, batch)] if keeps_samples else []
            task.advance(len(batch))
    return features, batches


def _raw_rows(raw: Tensor, preprocess: Preprocess, shape: tuple[int, ...] | None) -> Tensor:
    """Return ``flatten_samples(preprocess(raw), shape)``; images are averaged before they are scaled, a fifth of the work."""
    if shape is not None and len(shape) == 2 and preprocess.center is None:
        return preprocess(adaptive_avg_pool2d(raw.float(), shape)).flatten(1)
    return flatten_samples(preprocess(raw), shape)


def _batches(source: Source, rows: np.ndarray, encoder: Encoder) -> Iterator[tuple[slice, Tensor]]:
    """Yield the batches of samples on the device of an encoder, each with its place in `rows`."""
    for start in range(0, len(rows), BATCH):
        block = slice(start, start + BATCH)
        yield block, _read(source, rows[block]).to(encoder.device)


def baseline_title(baseline: Baseline, spec: SampleSpec) -> str:
    """Return the name of a baseline within a sentence."""
    if baseline.kind == "untrained":
        return f"the untrained {baseline.name}"
    if baseline.kind == "pretrained":
        return f"pretrained {baseline.name}"
    raw = "raw pixels" if spec.is_visual else "raw data"
    return {"raw": raw, "pca": "PCA", "random": "random weights"}[baseline.kind]


def raw_dim(spec: SampleSpec) -> int:
    """Return F, the width of the raw features."""
    shape = raw_shape(spec)
    if shape is None:
        return spec.size
    return math.prod(shape) * (spec.shape[0] if len(shape) == 2 else 1)


def raw_shape(spec: SampleSpec) -> tuple[int, ...] | None:
    """Return the shape that raw samples are averaged down to: (height, width) of each channel, or (F,); None if small enough."""
    if spec.size <= MAX_RAW_DIM:
        return None
    side = min(MAX_SIDE, math.isqrt(MAX_RAW_DIM // spec.shape[0])) if spec.is_image else 0
    return (min(side, spec.shape[1]), min(side, spec.shape[2])) if side else (MAX_RAW_DIM,)


def flatten_samples(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """Flatten (B, *shape) to (B, F), averaged down to `shape`."""
    if shape is None:
        return x.flatten(1)
    if len(shape) == 2:
        return adaptive_avg_pool2d(x, shape).flatten(1)
    return adaptive_avg_pool1d(x.flatten(1)[:, None], shape[0])[:, 0]


def _pca_baseline(raw: np.ndarray, train: np.ndarray, dim: int, seed: int) -> Baseline:
    sample = evenly_spaced(train, PCA_SAMPLES)
    width = min(dim, raw.shape[1], len(sample))
    if min(raw.shape[1], len(sample)) <= EXACT_PCA:
        mean, directions = _exact_pca(raw[sample].astype(np.float64), width)
    else:
        from sklearn.decomposition import PCA

        pca = PCA(width, svd_solver="auto", random_state=seed)
        with np.errstate(invalid="ignore", divide="ignore"):  # constant samples have no variance to divide by
            pca.fit(raw[sample])
        mean, directions = pca.mean_, pca.components_
    mean, directions = mean.astype(np.float32), directions.astype(np.float32)
    parts = [(raw[start : start + 16384] - mean) @ directions.T for start in range(0, len(raw), 16384)]
    return Baseline(f"pca-{width}", "pca", np.concatenate(parts).astype(np.float32))


def _exact_pca(x: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (F,) and the first principal directions (width, F) of samples (N, F) float64; those beyond the rank are 0.

    For few samples, importing scikit-learn takes longer than all else.
    """
    mean = x.mean(0)
    x = x - mean
    if x.shape[1] <= len(x):
        return mean, np.linalg.eigh(x.T @ x)[1].T[::-1][:width]
    values, vectors = np.linalg.eigh(x @ x.T)
    values, vectors = values[::-1][:width], vectors.T[::-1][:width]
    above = values > 1e-12 * values[0]
    lengths = np.sqrt(np.where(above, values, 1.0))
    return mean, np.where(above, 1 / lengths, 0.0)[:, None] * (vectors @ x)


def _read(source: Source, indices: np.ndarray) -> Tensor:
    batch, ok = read_valid(source, indices)
    if not ok.all():
        name = source.ids[int(indices[np.flatnonzero(~ok)[0]])]
        raise DataError(f"{name}: {source.skipped[name]}; it could be read when it was embedded")
    return to_tensor(batch)
