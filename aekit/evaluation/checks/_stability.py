"""Check how much embeddings change when samples are perturbed by a small shift and a little noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.inference import Inference
from aekit.evaluation.baselines._cache import cached_features
from aekit.evaluation.baselines.build import flatten_samples, raw_shape
from aekit.evaluation.checks.embedding_health import NEIGHBORS, nearest_other_rows
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.evaluation.results import CheckResult
from aekit.evaluation.splits import evenly_spaced
from aekit.progress import SILENT, Progress

MAX_SAMPLES = 2000
PERTURBED_VALUES, MIN_PERTURBED = 2**24, 100
"""Numbers in all perturbed samples, and least of these: of photographs, whose embedding takes long, fewer are perturbed."""
NOISE = 0.1
"""Deviation of the noise, in deviations of the samples."""
MIN_SHIFTED_SIZE = 16
"""Size of an axis from which a shift by one position is small."""
MIN_NEIGHBORS_KEPT = 0.1
"""Fraction of kept neighbors below which an encoder is unstable, if the raw samples keep twice as many."""
BATCH = 256


def stability(
    encoder: Encoder,
    source: Source,
    rows: np.ndarray,
    *,
    vectors: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    free_cores: Callable[[], int] | None = None,
) -> CheckResult:
    """Measure how embeddings change under a small perturbation of the samples.

    Images, series and clips are shifted by one position along axes of 16 or more, and all samples get noise of a tenth of their
    deviation. Of samples that together have more than 16 million numbers, such as 111 photographs of 224 x 224, evenly spaced
    ones are perturbed; they are compared with all others, so that the expectation of what is measured stays. What takes long to
    compute is kept for the next evaluation.

    Args:
        encoder: the frozen encoder.
        source: source of the samples.
        rows: (N,) positions in the source, of which at most 2,000, evenly spaced, are used.
        vectors: (N, D) embeddings of these samples by the encoder in fp32; None: they are computed.
        seed: seed of the noise and of the directions.
        progress: receives a note on what was kept or read, and where.
        free_cores: as in `aekit.encoder.inference.Inference`.

    Returns:
        ``alignment``, the mean squared distance between a sample and its perturbed copy on the unit sphere (Wang and Isola,
        2020);
        ``neighbors_kept``, the fraction of a sample's 10 nearest neighbors that its perturbed copy shares; ``retrieved``, the
        fraction of perturbed copies whose nearest neighbor is the sample itself; and ``raw_neighbors_kept`` and
        ``raw_retrieved``, the same for the raw samples.
    """
    chosen = evenly_spaced(np.arange(len(rows)), MAX_SAMPLES)
    sample = rows[chosen]
    names = {"perturbed", "raw", "raw_perturbed"} | ({"clean"} if vectors is None else set())
    compute = partial(_features, encoder, source, sample, seed, free_cores, clean=vectors is None)
    features = cached_features(compute, source, sample, encoder, names, progress, seed, kind="stability")
    readable = np.isfinite(features["raw"]).all(axis=1)
    features = {name: array[readable] for name, array in features.items()}
    if len(features["raw"]) <= NEIGHBORS + 1:
        return CheckResult(notes=[f"stability was not measured, as {len(features['raw'])} samples are too few"])
    clean = features["clean"] if vectors is None else vectors[chosen[readable]]
    perturbed = np.flatnonzero(np.isfinite(features["raw_perturbed"]).all(axis=1))
    pairs = {
        "": (clean, features["perturbed"][perturbed]),
        "raw_": (features["raw"], features["raw_perturbed"][perturbed]),
    }
    squared_distances = np.square(unit_rows(clean[perturbed]) - unit_rows(pairs[""][1])).sum(axis=1)
    values = {"alignment": float(squared_distances.mean())}
    for prefix, (before, after) in pairs.items():
        values |= {f"{prefix}{name}": value for name, value in neighbor_fractions(before, after, perturbed).items()}
    warnings = []
    if values["neighbors_kept"] < min(MIN_NEIGHBORS_KEPT, 0.5 * values["raw_neighbors_kept"]):
        warnings.append(
            f"unstable: a slightly perturbed sample keeps {100 * values['neighbors_kept']:.0f}% of its {NEIGHBORS} nearest "
            f"neighbors, and raw samples keep {100 * values['raw_neighbors_kept']:.0f}%"
        )
    among = f" among {len(clean):,}" if len(perturbed) < len(clean) else ""
    return CheckResult(values, warnings, [f"stability: {len(perturbed):,} perturbed test samples{among}"])


def _features(
    encoder: Encoder,
    source: Source,
    rows: np.ndarray,
    seed: int,
    free_cores: Callable[[], int] | None,
    *,
    clean: bool,
) -> dict[str, np.ndarray]:
    """Compute the features of the samples at (N,) rows and of their perturbed copies; NaN where a sample cannot be read, and for
    copies of samples that are not perturbed.

    Returns:
        ``perturbed``, and with `clean` also ``clean``: (N, D) embeddings; ``raw`` and ``raw_perturbed``: (N, R) samples.
    """
    generator = torch.Generator(encoder.device).manual_seed(seed)
    limit = max(MIN_PERTURBED, PERTURBED_VALUES // encoder.spec.size)
    is_perturbed = np.isin(np.arange(len(rows)), evenly_spaced(np.arange(len(rows)), limit))
    infer = Inference(
        encoder,
        int(is_perturbed.sum()) + (len(rows) if clean else 0),
        device=encoder.device,
        forward=lambda network, x: network.encode(x),
        free_cores=free_cores,
    )

    def encode(x: Tensor) -> Tensor:
        code = infer(x)
        return torch.nn.functional.normalize(code, dim=1) if encoder.normalize else code

    parts: dict[str, list[np.ndarray]] = {}
    shape = raw_shape(encoder.spec)
    with eval_mode(encoder):
        for start in range(0, len(rows), BATCH):
            raw, ok = read_valid(source, rows[start : start + BATCH])
            copied = ok & is_perturbed[start : start + BATCH]
            x = encoder.preprocess(to_tensor(raw[ok]).to(encoder.device))
            shifted = perturb(x[torch.from_numpy(copied[ok]).to(x.device)], generator)
            batch = {"raw": (ok, flatten_samples(x, shape)), "raw_perturbed": (copied, flatten_samples(shifted, shape))}
            batch |= {"perturbed": (copied, encode(shifted))} | ({"clean": (ok, encode(x))} if clean else {})
            for name, (places, values) in batch.items():
                block = np.full((len(ok), values.shape[1]), np.nan, np.float32)
                block[places] = values.cpu().numpy()
                parts.setdefault(name, []).append(block)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def perturb(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each of (B, *shape) preprocessed samples by one position in a random direction, and add noise."""
    noise = torch.randn(x.shape, generator=generator, device=x.device) * (NOISE * x.std())
    return _shift(x, generator) + noise


def _shift(x: Tensor, generator: torch.Generator) -> Tensor:
    for axis in range(max(2, x.ndim - 2), x.ndim):  # height and width; time of series
        size = x.shape[axis]
        if size < MIN_SHIFTED_SIZE:
            continue
        step = torch.randint(-1, 2, (len(x),), generator=generator, device=x.device)
        at = (torch.arange(size, device=x.device) + step[:, None]).clamp(0, size - 1)  # the border is repeated
        at = at.view(len(x), *(1 for _ in range(1, axis)), size, *(1 for _ in range(axis + 1, x.ndim)))
        x = x.gather(axis, at.expand_as(x))
    return x


def neighbor_fractions(before: np.ndarray, after: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """Compare the neighbors of samples (N, D) at (M,) places, and of their perturbed copies (M, D)."""
    neighbors = nearest_other_rows(before)[places]
    _, positions = nearest_neighbors(after, before, NEIGHBORS + 1, metric="l2")
    itself = positions == places[:, None]
    retrieved = float(itself[:, 0].mean())
    itself[~itself.any(axis=1), -1] = True
    perturbed_neighbors = positions[~itself].reshape(len(places), NEIGHBORS)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(neighbors, perturbed_neighbors)]
    return {"neighbors_kept": float(np.mean(shared)) / NEIGHBORS, "retrieved": retrieved}


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale (N, D) rows to length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
